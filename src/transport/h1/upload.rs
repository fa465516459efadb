//! A request on its way out.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName};
use hyper::body::{Body as _, Frame};
use tokio::io::AsyncWrite;

use super::head::{self, Framing};
use crate::transport::body::{BodyError, UploadBody};
use crate::transport::{ContinueGate, Outgoing, RequestBody, Spelling};

/// Its head, and its body as far as it has come.
pub(super) struct RequestWriter {
    body: RequestBody,
    /// What is written next: the head or a chunk's size from `at` on, then `data`, then `tail`.
    lines: Vec<u8>,
    at: usize,
    data: Bytes,
    tail: &'static [u8],
    kind: UploadFraming,
    /// Bytes of it that went on.
    written: u64,
    /// Something was taken of the body.
    taken: bool,
    flushed: bool,
}

/// That a request was written to its end. Made by [`RequestWriter::poll`] alone, once for each request; whoever has none can't
/// call a connection free.
#[derive(Debug)]
pub(super) struct WrittenToEnd(());

/// How its body is written.
enum UploadFraming {
    Length(u64),
    /// With the trailers that were announced.
    Chunked(Vec<HeaderName>, Spelling),
    /// The end is among what is to be written, or was.
    Ended,
}

/// Why a request does not go on.
pub(super) enum UploadStuck {
    Body(BodyError),
    /// The app's body is shorter than it said.
    Short,
    Connection(io::Error),
}

impl WrittenToEnd {
    /// As if a request had been written, for answers that are read from bytes alone.
    #[cfg(any(test, feature = "bench"))]
    pub(super) fn on_trial() -> Self {
        Self(())
    }
}

impl RequestWriter {
    /// Nothing to be written.
    pub(super) fn none() -> Self {
        Self {
            body: RequestBody::Empty,
            lines: Vec::new(),
            at: 0,
            data: Bytes::new(),
            tail: b"",
            kind: UploadFraming::Ended,
            written: 0,
            taken: false,
            flushed: true,
        }
    }

    /// Takes the body of `request`, and writes its head into `lines`.
    pub(super) fn begin(&mut self, request: &mut Outgoing, mut lines: Vec<u8>, spelling: Spelling) {
        let framing = Framing::of(request);
        head::write(request, framing, spelling, &mut lines);
        self.kind = match framing {
            Framing::Length(0) => UploadFraming::Ended,
            Framing::Length(length) => UploadFraming::Length(length),
            Framing::Chunked => UploadFraming::Chunked(head::announced(request), spelling),
        };
        if !matches!(self.kind, UploadFraming::Ended) {
            self.body = std::mem::replace(&mut request.body, RequestBody::Empty);
        }
        (self.lines, self.at, self.flushed) = (lines, 0, false);
        (self.written, self.taken) = (0, false);
    }

    /// Whether the request was written to its end.
    pub(super) fn is_done(&self) -> bool {
        self.flushed
    }

    /// Whether a byte of it went on.
    pub(super) fn has_begun(&self) -> bool {
        self.written > 0
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn gate(&self) -> Option<&ContinueGate> {
        self.body.gate()
    }

    /// It is done: lets go of the body, and gives the memory of its lines away.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        self.body = RequestBody::Empty;
        std::mem::take(&mut self.lines)
    }

    /// The body again, if nothing was taken of it.
    pub(super) fn take_back(&mut self) -> Option<RequestBody> {
        let untouched = !self.has_begun() && !self.taken;
        untouched.then(|| std::mem::replace(&mut self.body, RequestBody::Empty))
    }

    /// Writes what there is: a body's first piece together with the head. Ready when all of it went on.
    pub(super) fn poll(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<WrittenToEnd, UploadStuck>> {
        while !self.flushed {
            // What was taken before and could not go on at once moves with each part of it.
            let is_left = !self.data.is_empty();
            let waiting = self.poll_body(cx)?.is_pending();
            while self.at < self.lines.len() || !self.data.is_empty() || !self.tail.is_empty() {
                let written = ready!(self.poll_write(stream, cx)).map_err(UploadStuck::Connection)?;
                self.advance(written);
                if is_left {
                    self.body.moved_on();
                }
            }
            self.lines.clear();
            self.at = 0;
            let ended = matches!(self.kind, UploadFraming::Ended);
            if waiting || ended {
                // TLS may hold back what was written.
                ready!(Pin::new(&mut *stream).poll_flush(cx)).map_err(UploadStuck::Connection)?;
                self.flushed = ended;
            }
            if waiting {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(WrittenToEnd(())))
    }

    /// Makes the body's next piece ready to be written, if none is.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UploadStuck>> {
        while self.data.is_empty() && self.tail.is_empty() && !matches!(self.kind, UploadFraming::Ended) {
            let polled = ready!(Pin::new(&mut self.body).poll_frame(cx));
            self.taken = true;
            match polled {
                Some(Ok(frame)) => self.frame(frame)?,
                Some(Err(error)) => return Poll::Ready(Err(UploadStuck::Body(error))),
                None => self.end(None)?,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn frame(&mut self, frame: Frame<Bytes>) -> Result<(), UploadStuck> {
        match frame.into_data() {
            // An empty chunk would end the body.
            Ok(data) if data.is_empty() => {}
            Ok(data) => self.piece(data),
            Err(frame) => self.end(frame.trailers_ref())?,
        }
        Ok(())
    }

    fn piece(&mut self, mut data: Bytes) {
        match &mut self.kind {
            UploadFraming::Length(left) => {
                // Never more than the head says: it would be read as another request.
                data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= data.len() as u64;
                if *left == 0 {
                    self.kind = UploadFraming::Ended;
                }
            }
            UploadFraming::Chunked(..) => {
                write_size(data.len(), &mut self.lines);
                self.tail = b"\r\n";
                // Nobody need be asked for the end that is known.
                if self.body.is_end_stream() {
                    (self.kind, self.tail) = (UploadFraming::Ended, b"\r\n0\r\n\r\n");
                }
            }
            UploadFraming::Ended => return,
        }
        self.data = data;
    }

    fn end(&mut self, trailers: Option<&HeaderMap>) -> Result<(), UploadStuck> {
        match std::mem::replace(&mut self.kind, UploadFraming::Ended) {
            UploadFraming::Ended => {}
            UploadFraming::Length(_) => return Err(UploadStuck::Short),
            UploadFraming::Chunked(announced, spelling) => {
                self.lines.extend_from_slice(b"0\r\n");
                let trailers = trailers.into_iter().flatten().filter(|(name, _)| announced.contains(name));
                trailers.for_each(|(name, value)| head::write_field(name, value.as_bytes(), spelling, &mut self.lines));
                self.lines.extend_from_slice(b"\r\n");
            }
        }
        Ok(())
    }

    fn poll_write(&self, stream: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // Invariant: `advance` goes no further than the lines do.
        let lines = &self.lines[self.at..];
        let written = if self.data.is_empty() && self.tail.is_empty() {
            ready!(Pin::new(stream).poll_write(cx, lines))?
        } else {
            let all = [lines, &self.data, self.tail].map(IoSlice::new);
            ready!(Pin::new(stream).poll_write_vectored(cx, &all))?
        };
        Poll::Ready(if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) })
    }

    fn advance(&mut self, written: usize) {
        self.written += written as u64;
        let of_lines = written.min(self.lines.len() - self.at);
        self.at += of_lines;
        let of_data = (written - of_lines).min(self.data.len());
        self.data.advance(of_data);
        // Invariant: no more is written than there was, lines, data and tail.
        self.tail = &self.tail[written - of_lines - of_data..];
    }
}

fn write_size(size: usize, lines: &mut Vec<u8>) {
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4);
    let digit = |place: u32| char::from_digit(((size >> (4 * place)) & 0xf) as u32, 16).unwrap_or('0');
    lines.extend((0..digits).rev().map(|place| digit(place) as u8));
    lines.extend_from_slice(b"\r\n");
}
