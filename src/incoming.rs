//! The body of a client's request, and whether it was read to its end.
//!
//! A connection may only carry another request once the body of the one before was read to its end: whatever is left
//! of it would be read as a request. Who reads a body can't be asked, as it may have let go of it, so the body itself
//! keeps the account.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// The body of a request, as it arrives from the client.
#[derive(Debug)]
pub(crate) struct IncomingBody {
    incoming: Incoming,
    end: BodyEnd,
}

/// Whether a request's body was read to its end, asked from elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct BodyEnd(Option<Rc<Cell<bool>>>);

impl IncomingBody {
    pub(crate) fn new(incoming: Incoming) -> Self {
        // A request without a body, as most are, costs no memory for it.
        let end = BodyEnd((!incoming.is_end_stream()).then(Rc::default));
        Self { incoming, end }
    }

    /// Tells of this body's end, whoever reads it.
    pub(crate) fn end(&self) -> BodyEnd {
        self.end.clone()
    }
}

impl BodyEnd {
    /// Of a request that has no body.
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// An end that nobody waits for.
    fn never() -> Self {
        Self(Some(Rc::default()))
    }

    fn reach(&self) {
        if let Self(Some(reached)) = self {
            reached.set(true);
        }
    }

    /// Whether not a byte of the body is left on its connection. One that broke off, or was let go of, never ends.
    pub(crate) fn is_reached(&self) -> bool {
        self.0.as_ref().is_none_or(|reached| reached.get())
    }
}

impl Body for IncomingBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.incoming).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => this.end.reach(),
            // Who reads a body of known length does not ask again after its last byte, and nobody after trailers.
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() || this.incoming.is_end_stream() => this.end.reach(),
            // From here on the account is closed: what hyper gives after an error is no end.
            Poll::Ready(Some(Err(_))) => this.end = BodyEnd::never(),
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl From<Incoming> for IncomingBody {
    fn from(incoming: Incoming) -> Self {
        Self::new(incoming)
    }
}
