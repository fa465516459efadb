//! An answer's body on its way in.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use super::connection::StreamHold;
use super::ending::StreamEnding;
use super::outflow::Outflow;
use super::streams::NextPart;
use crate::transport::Error;

/// What is still to come of an answer. Dropped before its end, it resets the stream.
pub(crate) struct Inflow {
    /// `None`: all of it was taken.
    stream: Option<StreamHold>,
    /// What the head says is to come.
    left: Option<u64>,
    /// The rest of the request, which goes on with the answer unless somebody else sees to it.
    pub(super) outflow: Option<Box<Outflow>>,
}

impl Inflow {
    pub(super) fn new(stream: StreamHold, declared: Option<u64>) -> Self {
        let mut inflow = Self { stream: Some(stream), left: declared, outflow: None };
        inflow.look_for_end();
        inflow
    }

    /// The rest of the request, for whoever sees to it from now on; `None`: it was written to its end.
    pub(crate) fn take_outflow(&mut self) -> Option<Box<Outflow>> {
        self.outflow.take()
    }

    /// All of it, if that is here and in one piece: nothing is left of it then.
    pub(super) fn take_whole(&mut self) -> Option<Bytes> {
        let Some(stream) = &self.stream else { return Some(Bytes::new()) };
        let whole = stream.connection.borrow_mut().take_whole(stream.key)?;
        self.stream = None;
        Some(whole)
    }

    /// The next piece.
    ///
    /// # Errors
    ///
    /// When it breaks off. That is all but END_STREAM: not even a reset that speaks of no error says that all was sent
    /// (RFC 9113 §8.1).
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(Poll::Ready(outcome)) = self.outflow.as_mut().map(|outflow| outflow.poll(cx)) {
            self.outflow = None;
            outcome.map_err(|error| Error::RequestBody(error.to_string()))?;
        }
        let Some(stream) = &self.stream else { return Poll::Ready(None) };
        let part = ready!(stream.connection.borrow_mut().poll_part(stream.key, cx));
        let frame = match part {
            NextPart::Data(data, _) => {
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                Some(Ok(Frame::data(data)))
            }
            NextPart::Trailers(trailers) => Some(Ok(Frame::trailers(trailers))),
            NextPart::Broken(ending) => return Poll::Ready(Some(Err(Error::incomplete(&ending)))),
            NextPart::End | NextPart::Nothing => None,
        };
        self.look_for_end();
        Poll::Ready(frame)
    }

    /// Waits for the end of a body that is empty.
    ///
    /// # Errors
    ///
    /// When it is not, or breaks off.
    pub(super) fn poll_nothing(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Some(stream) = &self.stream else { return Poll::Ready(Ok(())) };
        let outcome = ready!(stream.connection.borrow_mut().poll_body_end(stream.key, cx));
        Poll::Ready(outcome.map_err(|ending| match ending {
            // Content that the head did not speak of has ended it.
            StreamEnding::ResetForFault(_) => Error::Protocol("it has content, and a `Content-Length` of 0".to_owned()),
            ending => Error::incomplete(&ending),
        }))
    }

    /// Whether all of it was taken.
    pub(crate) fn is_over(&self) -> bool {
        self.stream.as_ref().is_none_or(|stream| stream.connection.borrow().is_over(stream.key))
    }

    /// How much is to come.
    pub(crate) fn size_hint(&self) -> SizeHint {
        match self.left {
            _ if self.is_over() => SizeHint::with_exact(0),
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }

    /// Nothing is left of the stream once all of the answer was taken, unless the request still goes on.
    fn look_for_end(&mut self) {
        if self.is_over() {
            self.stream = None;
        }
    }
}
