//! An answer's body on its way in.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use hyper::body::{Frame, SizeHint};

use super::ended::EndedStreams;
use super::outflow::Outflow;
use super::watched::Watch;
use crate::transport::Error;
use crate::transport::bounds::HEAD_FIELDS;

/// What is still to come of an answer. Dropped before its end, it resets the stream.
pub(crate) struct Inflow {
    /// `None`: all of it was taken, and h2 is told later.
    stream: Option<RecvStream>,
    /// By whom; `None`: h2 is told at once.
    ended: Option<Rc<EndedStreams>>,
    /// What the head says is to come.
    left: Option<u64>,
    watch: Rc<Watch>,
    /// The rest of the request, which goes on with the answer unless somebody else sees to it.
    pub(super) outflow: Option<Box<Outflow>>,
}

impl Inflow {
    pub(super) fn new(stream: RecvStream, declared: Option<u64>, watch: Rc<Watch>) -> Self {
        Self { stream: Some(stream), ended: None, left: declared, watch, outflow: None }
    }

    /// The request was written to its end: nothing is left of the stream once all of the answer was taken.
    pub(super) fn end_later(&mut self, ended: Rc<EndedStreams>) {
        self.ended = Some(ended);
        self.look_for_end();
    }

    /// The rest of the request, for whoever sees to it from now on; `None`: it was written to its end.
    pub(crate) fn take_outflow(&mut self) -> Option<Box<Outflow>> {
        self.outflow.take()
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
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        let frame = loop {
            break match ready!(stream.poll_data(cx)) {
                Some(Ok(data)) if data.is_empty() => continue,
                Some(Ok(data)) => {
                    self.watch.come_on();
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    // Whoever takes it makes room for more, in the stream's window and in the connection's. It fails only for
                    // more than was taken.
                    drop(stream.flow_control().release_capacity(data.len()));
                    Some(Ok(Frame::data(data)))
                }
                Some(Err(error)) => Some(Err(Error::incomplete(&error))),
                None => match ready!(stream.poll_trailers(cx)).map_err(|error| Error::incomplete(&error))? {
                    Some(trailers) if trailers.len() > HEAD_FIELDS => {
                        Some(Err(Error::Incomplete(format!("it has more than {HEAD_FIELDS} trailers"))))
                    }
                    Some(trailers) => Some(Ok(Frame::trailers(trailers))),
                    None if stream.is_end_stream() => None,
                    None => Some(Err(Error::Incomplete("its stream was not ended".to_owned()))),
                },
            };
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
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(())) };
        while !stream.is_end_stream() {
            match ready!(stream.poll_data(cx)) {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Err(error)) if !error.is_library() => return Poll::Ready(Err(Error::incomplete(&error))),
                // h2 finds it out by itself.
                Some(_) => {
                    let error = "it has content, and a `Content-Length` of 0".to_owned();
                    return Poll::Ready(Err(Error::Protocol(error)));
                }
                // Trailers, which are the end.
                None => break,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Whether all of it was taken.
    pub(crate) fn is_over(&self) -> bool {
        self.stream.as_ref().is_none_or(RecvStream::is_end_stream)
    }

    /// How much is to come.
    pub(crate) fn size_hint(&self) -> SizeHint {
        match self.left {
            _ if self.is_over() => SizeHint::with_exact(0),
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }

    fn look_for_end(&mut self) {
        let Some(ended) = &self.ended else { return };
        if let Some(stream) = self.stream.take_if(|stream| stream.is_end_stream()) {
            ended.keep(stream);
        }
    }
}
