//! An answer's body: where it ends, and what of it is in what was read (RFC 9112 §6 and §7). Pure, like `head`.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use hyper::body::Frame;

use super::head::{self, Malformed};
use crate::transport::bounds::HEAD_BYTES;

/// What is still to come of an answer's body.
#[derive(Debug)]
pub(super) enum AnswerRest {
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

impl AnswerRest {
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
    let end = read.iter().position(|byte| *byte == b'\n');
    if end.unwrap_or(read.len()) > SIZE_LINE_BYTES {
        return Err(Malformed("the line of a chunk's size is longer than 16 KiB"));
    }
    let Some(end) = end else { return Ok(None) };
    // Invariant: the line's end was found there.
    let line = read[..end].strip_suffix(b"\r").ok_or(NO_SIZE)?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, extension) = line.split_at(digits);
    let extension = extension.trim_ascii_start();
    // Invariant: what is looked at first is not empty.
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
    let may_end = head::may_end(read, *looked);
    *looked = read.len();
    if may_end || read.len() > HEAD_BYTES { head::parse_trailers(read) } else { Ok(None) }
}

const NO_SIZE: Malformed = Malformed("a chunk has no size");

/// With an extension that nobody reads; hyper allows as much for a whole body.
const SIZE_LINE_BYTES: usize = 16 * 1024;
