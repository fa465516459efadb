//! A request's body on its way out.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::HeaderMap;
use hyper::body::{Body as _, Frame};

use crate::transport::RequestBody;
use crate::transport::body::BodyError;

/// What is still to be written of a request. Dropped before its end, it resets the stream.
pub(crate) struct Outflow {
    body: RequestBody,
    stream: SendStream<Bytes>,
    /// What was taken of the body and waits for room in the service's windows.
    piece: Bytes,
    /// Something was taken of the body.
    taken: bool,
    written: u64,
    stage: OutflowStage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OutflowStage {
    Flowing,
    /// The end was written, or the service wants no more.
    Over,
}

/// Whether a part is the last that the stream carries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum StreamEnd {
    Later,
    Here,
}

impl Outflow {
    pub(super) fn new(body: RequestBody, stream: SendStream<Bytes>) -> Self {
        Self { body, stream, piece: Bytes::new(), taken: false, written: 0, stage: OutflowStage::Flowing }
    }

    /// Hands on what there is room for. Ready when the end was written, or the service takes no more of it; what that means
    /// is said by its answer.
    ///
    /// # Errors
    ///
    /// When the body breaks off: the stream is reset, so that half of it does not look whole.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        while self.stage == OutflowStage::Flowing {
            if self.piece.is_empty() {
                ready!(self.poll_piece(cx))?;
            } else {
                ready!(self.poll_write(cx));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// How many bytes of the body were handed on.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Whether nothing more of it is to be written.
    pub(super) fn is_over(&self) -> bool {
        self.stage == OutflowStage::Over
    }

    /// The body again, if nothing was taken of it.
    pub(super) fn untouched(self) -> Option<RequestBody> {
        (!self.taken).then_some(self.body)
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        if self.stream.capacity() == 0 {
            // The app is asked for more only when there is room: what it sends meanwhile waits on its own connection.
            self.stream.reserve_capacity(1);
            if !ready!(self.poll_room(cx)) {
                return Poll::Ready(Ok(()));
            }
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_pending() && self.stream.poll_reset(cx).is_ready() {
            self.stage = OutflowStage::Over;
            return Poll::Ready(Ok(()));
        }
        let frame = ready!(polled);
        self.taken = true;
        match frame {
            Some(Ok(frame)) => self.take(frame),
            Some(Err(error)) => {
                self.stage = OutflowStage::Over;
                self.stream.send_reset(Reason::CANCEL);
                return Poll::Ready(Err(error));
            }
            None => self.end(Bytes::new()),
        }
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, frame: Frame<Bytes>) {
        match frame.into_data() {
            Ok(data) => {
                self.piece = data;
                if self.piece.is_empty() && self.body.is_end_stream() {
                    self.end(Bytes::new());
                }
            }
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) if !trailers.is_empty() => self.end_with(trailers),
                // A block of no fields says nothing, and a service may take even that for a fault (nginx 1.22 does).
                _ => self.end(Bytes::new()),
            },
        }
    }

    /// Writes as much of the piece as there is room for.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut room = self.stream.capacity();
        if room < self.piece.len() {
            self.stream.reserve_capacity(self.piece.len());
            room = self.stream.capacity();
            if room == 0 && ready!(self.poll_room(cx)) {
                room = self.stream.capacity();
            }
        }
        let part = self.piece.split_to(room.min(self.piece.len()));
        if self.piece.is_empty() && self.body.is_end_stream() {
            self.end(part);
        } else if !part.is_empty() {
            self.send(part, StreamEnd::Later);
        }
        Poll::Ready(())
    }

    /// Ready once there is room, or will never be any: `false`.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let granted = matches!(ready!(self.stream.poll_capacity(cx)), Some(Ok(_)));
        if !granted {
            self.stage = OutflowStage::Over;
        }
        Poll::Ready(granted)
    }

    fn end(&mut self, part: Bytes) {
        self.stage = OutflowStage::Over;
        self.send(part, StreamEnd::Here);
    }

    fn end_with(&mut self, mut trailers: HeaderMap) {
        self.stage = OutflowStage::Over;
        // So h2 writes them in full, without its table: that is not the one which the service has (see `heads`).
        trailers.values_mut().for_each(|value| value.set_sensitive(true));
        // It fails where the service wants no more.
        drop(self.stream.send_trailers(trailers));
    }

    fn send(&mut self, part: Bytes, end: StreamEnd) {
        self.written += part.len() as u64;
        if self.stream.send_data(part, end == StreamEnd::Here).is_err() {
            self.stage = OutflowStage::Over;
        }
    }
}
