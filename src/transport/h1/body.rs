//! Bodies of HTTP/1.1: what is still to come of an answer, and a request on its way out (RFC 9112 §6 and §7).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName};
use hyper::body::{Body as _, Frame};
use tokio::io::AsyncWrite;

use super::head::{self, Framing, Malformed};
use crate::transport::body::BodyError;
use crate::transport::{Body, Gate, Outgoing, Spelling};

/// What is still to come of an answer's body.
#[derive(Debug)]
pub(super) enum Rest {
    Over,
    Length(u64),
    Chunked(Chunk),
    /// All that comes until the connection ends.
    UntilClose,
}

/// What comes next of a chunked body (RFC 9112 §7.1).
#[derive(Debug)]
pub(super) enum Chunk {
    Size,
    Data(u64),
    /// The line end behind the data.
    DataEnd,
    /// The trailers, of which so many bytes are known to hold no end.
    Trailers(usize),
    /// Trailers that came, with the body's end.
    Ready(HeaderMap),
}

impl Rest {
    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunk::Size)
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// How many bytes will come, if that is certain.
    pub(super) fn exact(&self) -> Option<u64> {
        match self {
            Self::Over => Some(0),
            Self::Length(left) => Some(*left),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }

    /// The whole body, if `read` holds it and it says its length.
    pub(super) fn whole(&mut self, read: &mut BytesMut) -> Option<Bytes> {
        let length = self.exact().and_then(|length| usize::try_from(length).ok());
        let length = length.filter(|length| *length <= read.len())?;
        *self = Self::Over;
        Some(if length == 0 { Bytes::new() } else { read.split_to(length).freeze() })
    }

    /// Takes the next frame out of `read`; `None` if there is none in it. Is over as soon as the last byte was taken,
    /// so that nobody need ask for it.
    ///
    /// # Errors
    ///
    /// When what comes is no body of this kind: the answer breaks off.
    pub(super) fn next(&mut self, read: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Malformed> {
        match self {
            Self::Over => Ok(None),
            Self::Length(left) => {
                let data = take(left, read);
                if *left == 0 {
                    *self = Self::Over;
                }
                Ok(data.map(Frame::data))
            }
            Self::UntilClose => Ok((!read.is_empty()).then(|| Frame::data(read.split().freeze()))),
            Self::Chunked(_) => self.next_of_chunks(read),
        }
    }

    /// The connection ended.
    ///
    /// # Errors
    ///
    /// When that is not the body's end.
    pub(super) fn close(&mut self) -> Result<(), Malformed> {
        match self {
            Self::Over => Ok(()),
            Self::UntilClose => {
                *self = Self::Over;
                Ok(())
            }
            Self::Length(_) | Self::Chunked(_) => Err(Malformed("the connection ended in the middle of it")),
        }
    }

    fn next_of_chunks(&mut self, read: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Malformed> {
        self.skip(read)?;
        let frame = match self {
            Self::Chunked(Chunk::Data(left)) => {
                let data = take(left, read);
                if *left == 0 {
                    *self = Self::Chunked(Chunk::DataEnd);
                }
                data.map(Frame::data)
            }
            Self::Chunked(Chunk::Ready(trailers)) => {
                let frame = Frame::trailers(std::mem::take(trailers));
                *self = Self::Over;
                return Ok(Some(frame));
            }
            _ => None,
        };
        // The end may be here already.
        self.skip(read)?;
        Ok(frame)
    }

    /// Passes over all that is no data.
    fn skip(&mut self, read: &mut BytesMut) -> Result<(), Malformed> {
        while let Self::Chunked(chunk) = self {
            let next = match chunk {
                Chunk::Size => size(read)?.map(|size| if size == 0 { Chunk::Trailers(0) } else { Chunk::Data(size) }),
                Chunk::DataEnd => line_end(read)?.then_some(Chunk::Size),
                Chunk::Trailers(looked) => match trailers(read, looked)? {
                    Some(trailers) if trailers.is_empty() => {
                        *self = Self::Over;
                        return Ok(());
                    }
                    trailers => trailers.map(Chunk::Ready),
                },
                Chunk::Data(_) | Chunk::Ready(_) => return Ok(()),
            };
            match next {
                Some(next) => *chunk = next,
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

fn take(left: &mut u64, read: &mut BytesMut) -> Option<Bytes> {
    let here = usize::try_from(*left).map_or(read.len(), |left| left.min(read.len()));
    *left -= here as u64;
    (here > 0).then(|| read.split_to(here).freeze())
}

/// A chunk's size line; what an extension says is of no interest (RFC 9112 §7.1.1).
fn size(read: &mut BytesMut) -> Result<Option<u64>, Malformed> {
    let Some(end) = read.iter().position(|byte| *byte == b'\n') else {
        let too_long = read.len() > SIZE_LINE_BYTES;
        return if too_long { Err(Malformed("the line of a chunk's size has no end")) } else { Ok(None) };
    };
    let line = read[..end].strip_suffix(b"\r").ok_or(NO_SIZE)?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, extension) = line.split_at(digits);
    let extension = extension.trim_ascii_start();
    if digits.is_empty() || !(extension.is_empty() || extension[0] == b';') || extension.contains(&b'\r') {
        return Err(NO_SIZE);
    }
    let size = digits.iter().try_fold(0_u64, |sum, digit| {
        let digit = char::from(*digit).to_digit(16).map(u64::from);
        sum.checked_mul(16).zip(digit).map(|(sum, digit)| sum + digit)
    });
    read.advance(end + 1);
    size.map(Some).ok_or(NO_SIZE)
}

fn line_end(read: &mut BytesMut) -> Result<bool, Malformed> {
    match read[..] {
        [b'\r', b'\n', ..] => {
            read.advance(2);
            Ok(true)
        }
        [] | [b'\r'] => Ok(false),
        _ => Err(Malformed("a chunk is longer than its size")),
    }
}

fn trailers(read: &mut BytesMut, looked: &mut usize) -> Result<Option<HeaderMap>, Malformed> {
    if read.starts_with(b"\r\n") {
        read.advance(2);
        return Ok(Some(HeaderMap::new()));
    }
    if !head::may_end(read, *looked) {
        return Ok(None);
    }
    *looked = read.len();
    head::parse_trailers(read)
}

/// A request on its way out.
pub(super) struct Upload {
    body: Body,
    /// What is written next: the head or a chunk's size from `at` on, then `data`, then `tail`.
    lines: Vec<u8>,
    at: usize,
    data: Bytes,
    tail: &'static [u8],
    kind: Kind,
    begun: bool,
    flushed: bool,
}

/// How its body is written.
enum Kind {
    Length(u64),
    /// With the trailers that were announced.
    Chunked(Vec<HeaderName>, Spelling),
    /// The end is among what is to be written, or was.
    Ended,
}

/// Why a request does not go on.
pub(super) enum Stuck {
    Body(BodyError),
    /// The app's body is shorter than it said.
    Short,
    Connection(io::Error),
}

impl Upload {
    /// Nothing to be written.
    pub(super) fn none() -> Self {
        Self {
            body: Body::Empty,
            lines: Vec::new(),
            at: 0,
            data: Bytes::new(),
            tail: b"",
            kind: Kind::Ended,
            begun: false,
            flushed: true,
        }
    }

    /// Takes the body of `request`, and writes its head into `lines`.
    pub(super) fn begin(&mut self, request: &mut Outgoing, mut lines: Vec<u8>, spelling: Spelling) {
        let framing = Framing::of(request);
        head::write(request, framing, spelling, &mut lines);
        self.kind = match framing {
            Framing::Length(0) => Kind::Ended,
            Framing::Length(length) => Kind::Length(length),
            Framing::Chunked => Kind::Chunked(head::announced(request), spelling),
        };
        if !matches!(self.kind, Kind::Ended) {
            self.body = std::mem::replace(&mut request.body, Body::Empty);
        }
        (self.lines, self.at, self.begun, self.flushed) = (lines, 0, false, false);
    }

    /// Whether the request was written to its end.
    pub(super) fn is_done(&self) -> bool {
        self.flushed
    }

    /// Whether a byte of it went on.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    pub(super) fn gate(&self) -> Option<&Gate> {
        self.body.gate()
    }

    /// Ends it where it is; the memory of its lines comes back.
    pub(super) fn stop(&mut self) -> Vec<u8> {
        (self.kind, self.data, self.tail, self.flushed) = (Kind::Ended, Bytes::new(), b"", true);
        self.body = Body::Empty;
        self.lines.clear();
        self.at = 0;
        std::mem::take(&mut self.lines)
    }

    /// The body again, if nothing was taken of it.
    pub(super) fn take_back(&mut self) -> Option<Body> {
        let untouched = !self.begun && self.data.is_empty() && self.tail.is_empty();
        untouched.then(|| std::mem::replace(&mut self.body, Body::Empty))
    }

    /// Writes what there is: a body's first piece together with the head. Ready when all of it went on.
    pub(super) fn poll(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Stuck>> {
        while !self.flushed {
            let waiting = self.poll_body(cx)?.is_pending();
            while self.at < self.lines.len() || !self.data.is_empty() || !self.tail.is_empty() {
                let written = ready!(self.poll_write(stream, cx)).map_err(Stuck::Connection)?;
                self.advance(written);
            }
            self.lines.clear();
            self.at = 0;
            let ended = matches!(self.kind, Kind::Ended);
            if waiting || ended {
                // TLS may hold back what was written.
                ready!(Pin::new(&mut *stream).poll_flush(cx)).map_err(Stuck::Connection)?;
                self.flushed = ended;
            }
            if waiting {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Makes the body's next piece ready to be written, if none is.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stuck>> {
        while self.data.is_empty() && self.tail.is_empty() && !matches!(self.kind, Kind::Ended) {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => self.frame(frame)?,
                Some(Err(error)) => return Poll::Ready(Err(Stuck::Body(error))),
                None => self.end(None)?,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn frame(&mut self, frame: Frame<Bytes>) -> Result<(), Stuck> {
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
            Kind::Length(left) => {
                // Never more than the head says: it would be read as another request.
                data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= data.len() as u64;
                if *left == 0 {
                    self.kind = Kind::Ended;
                }
            }
            Kind::Chunked(..) => {
                write_size(data.len(), &mut self.lines);
                self.tail = b"\r\n";
                // Nobody need be asked for the end that is known.
                if self.body.is_end_stream() {
                    (self.kind, self.tail) = (Kind::Ended, b"\r\n0\r\n\r\n");
                }
            }
            Kind::Ended => return,
        }
        self.data = data;
    }

    fn end(&mut self, trailers: Option<&HeaderMap>) -> Result<(), Stuck> {
        match std::mem::replace(&mut self.kind, Kind::Ended) {
            Kind::Ended => {}
            Kind::Length(_) => return Err(Stuck::Short),
            Kind::Chunked(announced, spelling) => {
                self.lines.extend_from_slice(b"0\r\n");
                let trailers = trailers.into_iter().flatten().filter(|(name, _)| announced.contains(name));
                trailers.for_each(|(name, value)| head::write_field(name, value.as_bytes(), spelling, &mut self.lines));
                self.lines.extend_from_slice(b"\r\n");
            }
        }
        Ok(())
    }

    fn poll_write(&self, stream: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
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
        self.begun = true;
        let of_lines = written.min(self.lines.len() - self.at);
        self.at += of_lines;
        let of_data = (written - of_lines).min(self.data.len());
        self.data.advance(of_data);
        self.tail = &self.tail[written - of_lines - of_data..];
    }
}

fn write_size(size: usize, lines: &mut Vec<u8>) {
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4);
    let digit = |place: u32| char::from_digit(((size >> (4 * place)) & 0xf) as u32, 16).unwrap_or('0');
    lines.extend((0..digits).rev().map(|place| digit(place) as u8));
    lines.extend_from_slice(b"\r\n");
}

const NO_SIZE: Malformed = Malformed("a chunk has no size");

/// With an extension that nobody reads; hyper allows as much for a whole body.
const SIZE_LINE_BYTES: usize = 16 * 1024;
