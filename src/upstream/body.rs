//! A service's answer body, with the connection that it comes on.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use super::lease::{ConnectionLease, UpgradedConnection};
use crate::transport::{AnswerBody, Error};

/// The service's answer body; gives its connection back to the pool when it ends, and closes it when it is
/// dropped before that or breaks off.
pub(crate) struct PooledBody {
    answer: AnswerBody,
    /// Gone as soon as nothing of the answer is left on the connection.
    lease: Option<ConnectionLease>,
}

impl PooledBody {
    pub(super) fn new(answer: AnswerBody, lease: ConnectionLease) -> Self {
        let mut body = Self { answer, lease: Some(lease) };
        let is_read = matches!(body.answer, AnswerBody::Whole(_)) || body.is_over();
        if is_read {
            body.end();
        }
        body
    }

    /// What follows a 101; `None`: it was none.
    pub(crate) fn into_upgraded(mut self) -> Option<UpgradedConnection> {
        self.lease.take()?.into_upgraded()
    }

    fn is_over(&self) -> bool {
        match &self.lease {
            Some(lease) => lease.with(|connection| self.answer.is_over(connection)),
            None => self.answer.is_over(None),
        }
    }

    fn end(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.end();
        }
    }
}

impl hyper::body::Body for PooledBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let answer = &mut this.answer;
        let polled = match &mut this.lease {
            Some(lease) => lease.with_mut(|connection| answer.poll_frame(connection, cx)),
            None => answer.poll_frame(None, cx),
        };
        let frame = ready!(polled);
        match &frame {
            Some(Err(_)) => this.lease = None,
            // Who reads a body of known length does not ask again after its last byte.
            Some(Ok(_)) if !this.is_over() => {}
            _ => this.end(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.lease {
            Some(lease) => lease.with(|connection| self.answer.size_hint(connection)),
            None => self.answer.size_hint(None),
        }
    }
}

impl fmt::Debug for PooledBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledBody").finish_non_exhaustive()
    }
}
