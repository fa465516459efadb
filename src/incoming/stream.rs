//! A request's body on a stream of HTTP/2.
//!
//! It has two holders: who reads it, and the exchange of the stream. That one says when the rest is not wanted any more;
//! and it has to know whether somebody has begun to read, which is when an app that waits for a `100` is told to go on.
//!
//! Promises that it is whole only if the stream was ended (END_STREAM), whatever the app's reset says, and that what is not
//! read holds no more memory than the stream's window: room is given back as pieces are taken, and not before.

use std::cell::RefCell;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use h2::RecvStream;
use hyper::body::{Frame, SizeHint};

use super::IncomingBodyError;

/// What is still to come of a request.
#[derive(Debug)]
pub(crate) struct StreamBody(RefCell<StreamReading>);

#[derive(Debug)]
struct StreamReading {
    /// `None`: it was not wanted any more, or it broke off.
    stream: Option<RecvStream>,
    /// What the head says is to come.
    left: Option<u64>,
    /// How much of it was read.
    taken: u64,
    /// Somebody has asked for the first piece.
    begun: bool,
    /// Who waits for the next piece, to be told that there is none.
    reader: Option<Waker>,
}

impl StreamBody {
    /// `declared` is what the head says of its length.
    pub(crate) fn new(stream: RecvStream, declared: Option<u64>) -> Self {
        Self(RefCell::new(StreamReading { stream: Some(stream), left: declared, taken: 0, begun: false, reader: None }))
    }

    /// Whether somebody has begun to read it.
    pub(crate) fn is_begun(&self) -> bool {
        self.0.borrow().begun
    }

    /// How much of it was read so far.
    pub(crate) fn taken(&self) -> u64 {
        self.0.borrow().taken
    }

    /// What is still to come, which is not wanted: who reads it hears so. Once it is dropped the app is told, too
    /// (RST_STREAM with `NO_ERROR` behind a whole answer, RFC 9113 §8.1). `None`: nothing is.
    pub(crate) fn take_rest(&self) -> Option<RecvStream> {
        let mut reading = self.0.borrow_mut();
        if reading.stream.as_ref().is_some_and(RecvStream::is_end_stream) {
            return None;
        }
        // Whoever wakes up may look at this at once.
        let (rest, reader) = (reading.stream.take(), reading.reader.take());
        drop(reading);
        if let Some(reader) = reader {
            reader.wake();
        }
        rest
    }

    pub(super) fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, IncomingBodyError>>> {
        let mut reading = self.0.borrow_mut();
        reading.begun = true;
        let Some(stream) = &mut reading.stream else {
            return Poll::Ready(Some(Err(IncomingBodyError::Unwanted)));
        };
        match poll_stream(stream, cx) {
            Poll::Ready(next) => {
                match &next {
                    Some(Ok(frame)) => reading.take(frame),
                    // Half of it must never look whole, however often it is asked for.
                    Some(Err(_)) => reading.stream = None,
                    None => {}
                }
                Poll::Ready(next)
            }
            Poll::Pending => {
                if !reading.reader.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                    reading.reader = Some(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    /// Whether it was read to its end.
    pub(crate) fn is_over(&self) -> bool {
        self.0.borrow().stream.as_ref().is_some_and(RecvStream::is_end_stream)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match self.0.borrow().left {
            _ if self.is_over() => SizeHint::with_exact(0),
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }
}

impl StreamReading {
    /// Who takes a piece makes room for more, in the stream's window and in the connection's.
    fn take(&mut self, frame: &Frame<Bytes>) {
        let Some(data) = frame.data_ref() else { return };
        self.taken += data.len() as u64;
        self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
        if let Some(stream) = &mut self.stream {
            // It fails only for more than was taken.
            drop(stream.flow_control().release_capacity(data.len()));
        }
    }
}

/// The next piece, or the trailers; empty pieces are passed over.
fn poll_stream(stream: &mut RecvStream, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, IncomingBodyError>>> {
    loop {
        return Poll::Ready(match ready!(stream.poll_data(cx)) {
            Some(Ok(data)) if data.is_empty() => continue,
            Some(Ok(data)) => Some(Ok(Frame::data(data))),
            Some(Err(error)) => Some(Err(error.into())),
            None => match ready!(stream.poll_trailers(cx)) {
                Err(error) => Some(Err(error.into())),
                Ok(Some(trailers)) => Some(Ok(Frame::trailers(trailers))),
                Ok(None) if stream.is_end_stream() => None,
                Ok(None) => Some(Err(IncomingBodyError::NotEnded)),
            },
        });
    }
}
