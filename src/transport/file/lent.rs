//! The app's body while its file is written: it can be taken back by who gives the request up.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::{Body, Frame};

use crate::transport::{BodyError, RequestBody};

/// What the file is written from. Of two halves of it one reads, the other takes it back.
#[derive(Clone)]
pub(super) struct LentBody(Rc<RefCell<LentState>>);

struct LentState {
    /// `None`: it was taken back.
    body: Option<RequestBody>,
    /// Somebody has asked for its first byte.
    is_begun: bool,
    reader: Option<Waker>,
}

impl LentBody {
    pub(super) fn new(body: RequestBody) -> Self {
        Self(Rc::new(RefCell::new(LentState { body: Some(body), is_begun: false, reader: None })))
    }

    pub(super) fn is_begun(&self) -> bool {
        self.0.borrow().is_begun
    }

    /// To its reader it has broken off.
    pub(super) fn take_back(&self) -> Option<RequestBody> {
        let mut lent = self.0.borrow_mut();
        if let Some(reader) = lent.reader.take() {
            reader.wake();
        }
        lent.body.take()
    }
}

impl Body for LentBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut lent = self.0.borrow_mut();
        let LentState { body, is_begun, reader } = &mut *lent;
        let Some(body) = body else { return Poll::Ready(Some(Err(BodyError::TakenBack))) };
        if !std::mem::replace(is_begun, true)
            && let Some(gate) = body.gate()
        {
            // Where the file is to go is known to be well: the app is told to send it.
            gate.open();
        }
        let polled = Pin::new(body).poll_frame(cx);
        *reader = polled.is_pending().then(|| cx.waker().clone());
        polled
    }
}
