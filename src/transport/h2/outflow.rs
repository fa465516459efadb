//! A request's body on its way out.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::Frame;

use super::connection::StreamHold;
use super::frames::StreamEnd;
use super::multiplexer::UploadRoom;
use crate::transport::RequestBody;
use crate::transport::body::{BodyError, UploadBody};

/// What is still to be written of a request. Dropped before its end, it resets the stream.
pub(crate) struct Outflow<B = RequestBody> {
    body: B,
    stream: StreamHold,
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

impl<B: UploadBody> Outflow<B> {
    pub(super) fn new(body: B, stream: StreamHold) -> Self {
        let (piece, stage) = (Bytes::new(), OutflowStage::Flowing);
        Self { body, stream, piece, taken: false, written: 0, stage }
    }

    /// Hands on what there is room for. Ready when the end was written, or the service takes no more of it; what that means
    /// is said by its answer.
    ///
    /// # Errors
    ///
    /// When the body breaks off: the stream is reset, so that half of it does not look whole.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let polled = self.poll_on(cx);
        // What was handed on goes with the next write, whoever waits for the answer.
        self.stream.connection.borrow_mut().attend_to(self.stream.key);
        polled
    }

    /// How many bytes of the body were handed on.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Whether nothing more of it is to be written.
    pub(super) fn is_over(&self) -> bool {
        self.stage == OutflowStage::Over
    }

    fn poll_on(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        while self.stage == OutflowStage::Flowing {
            let room = self.stream.connection.borrow_mut().room(self.stream.key, cx);
            match room {
                UploadRoom::Never => self.stage = OutflowStage::Over,
                UploadRoom::Bytes(room) => {
                    if self.piece.is_empty() {
                        ready!(self.poll_piece(cx))?;
                    } else {
                        self.body.moved_on();
                    }
                    self.write(room);
                }
                // What comes next may be the end, which needs no room, and the service may wait for it before it opens any. If
                // it is content that is one piece, and waits here; what the app sends after it waits on its own connection.
                UploadRoom::NoWindow if self.piece.is_empty() => ready!(self.poll_piece(cx))?,
                UploadRoom::NoWindow | UploadRoom::Held | UploadRoom::Crowded => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_pending() {
            // The service may want no more of it before the app has any.
            self.stream.connection.borrow_mut().wait_to_write(self.stream.key, cx);
        }
        let frame = ready!(polled);
        self.taken = true;
        match frame {
            Some(Ok(frame)) => self.take(frame),
            Some(Err(error)) => {
                self.stage = OutflowStage::Over;
                self.stream.connection.borrow_mut().break_off(self.stream.key);
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
                Ok(trailers) if !trailers.is_empty() => self.end_with(&trailers),
                // A block of no fields says nothing, and a service may take even that for a fault (nginx 1.22 does).
                _ => self.end(Bytes::new()),
            },
        }
    }

    /// Writes as much of the piece as there is room for.
    fn write(&mut self, room: usize) {
        let part = self.piece.split_to(room.min(self.piece.len()));
        if part.is_empty() {
            return;
        }
        if self.piece.is_empty() && self.body.is_end_stream() {
            return self.end(part);
        }
        self.send(&part, StreamEnd::Later);
    }

    fn end(&mut self, part: Bytes) {
        self.stage = OutflowStage::Over;
        self.send(&part, StreamEnd::Here);
    }

    fn end_with(&mut self, trailers: &HeaderMap) {
        self.stage = OutflowStage::Over;
        self.stream.connection.borrow_mut().send_trailers(self.stream.key, trailers);
    }

    fn send(&mut self, part: &[u8], end: StreamEnd) {
        self.written += part.len() as u64;
        self.stream.connection.borrow_mut().send(self.stream.key, part, end);
    }
}

impl Outflow {
    /// The body again, if nothing was taken of it.
    pub(super) fn untouched(&mut self) -> Option<RequestBody> {
        (!self.taken).then(|| std::mem::replace(&mut self.body, RequestBody::Empty))
    }
}
