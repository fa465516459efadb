//! The body of a client's request, and whether it was read to its end.
//!
//! A connection of HTTP/1 may only carry another request once the body of the one before was read to its end: whatever is
//! left of it would be read as a request. Who reads a body can't be asked, as it may have let go of it, so the body itself
//! keeps the account. A stream of HTTP/2 has an end of its own, and nothing after it.

mod chunks;
mod stream;

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http::header::EXPECT;
use hyper::body::{Body, Frame, Incoming, SizeHint};

pub(crate) use stream::StreamBody;

/// The body of a request, as it arrives from the client.
#[derive(Debug)]
pub(crate) struct IncomingBody(BodySource);

#[derive(Debug)]
enum BodySource {
    /// On a connection of HTTP/1, and whether all of it was read.
    Message(Incoming, BodyEnd),
    /// On a stream of HTTP/2.
    Stream(Rc<StreamBody>),
    /// A stream that ended with its head.
    Nothing,
}

/// Why a request's body ends before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IncomingBodyError {
    #[error(transparent)]
    Message(hyper::Error),
    /// It is no body as HTTP/1.1 has them.
    #[error("{0}")]
    Malformed(&'static str),
    /// The app reset it, or its connection is gone.
    #[error(transparent)]
    Stream(#[from] h2::Error),
    #[error("its stream was not ended")]
    NotEnded,
    /// The request was refused: nobody needs the rest.
    #[error("the rest of it is not wanted")]
    Unwanted,
}

/// Whether a request's body was read to its end, asked from elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct BodyEnd(Option<Rc<Cell<bool>>>);

impl IncomingBody {
    pub(crate) fn new(incoming: Incoming) -> Self {
        // A request without a body, as most are, costs no memory for it.
        let end = BodyEnd((!incoming.is_end_stream()).then(Rc::default));
        Self(BodySource::Message(incoming, end))
    }

    /// What comes on a stream of HTTP/2; `None`: the stream ended with its head.
    pub(crate) fn of_stream(stream: Option<&Rc<StreamBody>>) -> Self {
        Self(stream.map_or(BodySource::Nothing, |stream| BodySource::Stream(Rc::clone(stream))))
    }

    /// Tells of this body's end, whoever reads it.
    pub(crate) fn end(&self) -> BodyEnd {
        match &self.0 {
            BodySource::Message(_, end) => end.clone(),
            // What comes after it is on another stream.
            BodySource::Stream(_) | BodySource::Nothing => BodyEnd::none(),
        }
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
    type Error = IncomingBodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, IncomingBodyError>>> {
        let (incoming, end) = match &mut self.get_mut().0 {
            BodySource::Message(incoming, end) => (incoming, end),
            BodySource::Stream(stream) => return stream.poll_frame(cx),
            BodySource::Nothing => return Poll::Ready(None),
        };
        let polled = Pin::new(&mut *incoming).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => end.reach(),
            // Who reads a body of known length does not ask again after its last byte, and nobody after trailers.
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() || incoming.is_end_stream() => end.reach(),
            // From here on the account is closed: what hyper gives after an error is no end.
            Poll::Ready(Some(Err(_))) => *end = BodyEnd::never(),
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled.map_err(IncomingBodyError::from)
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            BodySource::Message(incoming, _) => incoming.is_end_stream(),
            BodySource::Stream(stream) => stream.is_over(),
            BodySource::Nothing => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            BodySource::Message(incoming, _) => incoming.size_hint(),
            BodySource::Stream(stream) => stream.size_hint(),
            BodySource::Nothing => SizeHint::with_exact(0),
        }
    }
}

impl From<hyper::Error> for IncomingBodyError {
    fn from(error: hyper::Error) -> Self {
        chunks::fault(&error).map_or(Self::Message(error), Self::Malformed)
    }
}

/// Whether a client sends its body only once it hears that it is wanted (RFC 9110 §10.1.1).
pub(crate) fn awaits_continue(fields: &HeaderMap) -> bool {
    fields.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

impl From<Incoming> for IncomingBody {
    fn from(incoming: Incoming) -> Self {
        Self::new(incoming)
    }
}
