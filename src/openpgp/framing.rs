//! The packets that a message is made of (RFC 9580 §4.2), as far as one has to know where it ends.
//!
//! ```text
//!  session keys* ─► encrypted data ─► white space, or nothing
//! ```
//!
//! What is inside the encrypted data is the library's; that there is nothing around it is seen here, byte by byte: a message
//! that ends early is cut, whatever its packets say, and what follows it belongs to nobody.

use std::io::{BufRead, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::armor::white_space_to_end;
use super::error::{MessageError, MessageErrorKind};

/// What the readers beneath have seen. The library tells of their errors in words of its own.
#[derive(Clone, Debug, Default)]
pub(super) struct FramingProgress(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    fault: OnceLock<MessageError>,
    is_whole: AtomicBool,
}

impl FramingProgress {
    /// Notes the first fault, and makes an error for the library of it.
    pub(super) fn raise(&self, error: MessageError) -> std::io::Error {
        let text = error.to_string();
        // A later one follows from the first.
        drop(self.0.fault.set(error));
        std::io::Error::other(text)
    }

    pub(super) fn fault(&self) -> Option<MessageError> {
        self.0.fault.get().cloned()
    }

    /// Whether the message was read to its end, and nothing follows it.
    pub(super) fn is_whole(&self) -> bool {
        self.0.is_whole.load(Ordering::Acquire)
    }
}

/// Hands on the packets of one message, and its end after nothing else.
#[derive(Debug)]
pub(super) struct MessageFraming<R> {
    source: R,
    progress: FramingProgress,
    /// A header, or a length, that is still to be handed on.
    head: Vec<u8>,
    at: usize,
    part: PacketPart,
}

#[derive(Clone, Copy, Debug)]
enum PacketPart {
    Header,
    Body {
        left: u64,
        /// Whether another length follows (RFC 9580 §4.2.1.4).
        is_partial: bool,
        is_last: bool,
    },
    /// To the end of all (RFC 9580 §4.2.2).
    Unbounded,
    Over,
}

/// How much of the source may be handed on next.
enum NextPacket {
    Head,
    Body(u64),
    Nothing,
}

impl<R: BufRead> MessageFraming<R> {
    pub(super) fn new(source: R, progress: FramingProgress) -> Self {
        Self { source, progress, head: Vec::new(), at: 0, part: PacketPart::Header }
    }

    fn next(&mut self) -> std::io::Result<NextPacket> {
        loop {
            if self.at < self.head.len() {
                return Ok(NextPacket::Head);
            }
            match self.part {
                PacketPart::Body { left, .. } if left > 0 => return Ok(NextPacket::Body(left)),
                PacketPart::Body { is_partial: true, is_last, .. } => {
                    self.clear_head();
                    self.part = self.length(is_last)?;
                }
                PacketPart::Body { is_last: true, .. } => self.part = PacketPart::Over,
                PacketPart::Body { .. } | PacketPart::Header => self.header()?,
                PacketPart::Unbounded => return Ok(NextPacket::Body(u64::MAX)),
                PacketPart::Over => {
                    if !self.progress.is_whole() {
                        white_space_to_end(&mut self.source, &self.progress)?;
                        self.progress.0.is_whole.store(true, Ordering::Release);
                    }
                    return Ok(NextPacket::Nothing);
                }
            }
        }
    }

    fn clear_head(&mut self) {
        self.head.clear();
        self.at = 0;
    }

    fn header(&mut self) -> std::io::Result<()> {
        self.clear_head();
        let first = self.byte()?;
        let is_new = first & 0x40 != 0;
        let tag = if is_new { first & 0x3f } else { (first & 0x3c) >> 2 };
        let is_last = match tag {
            PUBLIC_KEY_SESSION_KEY | SYMMETRIC_SESSION_KEY | MARKER | PADDING if first & 0x80 != 0 => false,
            ENCRYPTED | PROTECTED | GNUPG_PROTECTED if first & 0x80 != 0 => true,
            _ => return Err(self.not_encrypted(tag)),
        };
        self.part = match first & 0x03 {
            _ if is_new => self.length(is_last)?,
            3 if is_last => PacketPart::Unbounded,
            3 => return Err(self.not_encrypted(tag)),
            octets => {
                let mut left = 0;
                for _ in 0..1 << octets {
                    left = left << 8 | u64::from(self.byte()?);
                }
                PacketPart::Body { left, is_partial: false, is_last }
            }
        };
        Ok(())
    }

    /// RFC 9580 §4.2.1.
    fn length(&mut self, is_last: bool) -> std::io::Result<PacketPart> {
        let first = u64::from(self.byte()?);
        let (left, is_partial) = match first {
            0..=191 => (first, false),
            192..=223 => (((first - 192) << 8) + u64::from(self.byte()?) + 192, false),
            224..=254 => (1 << (first & 0x1f), true),
            _ => {
                let mut left = 0;
                for _ in 0..4 {
                    left = left << 8 | u64::from(self.byte()?);
                }
                (left, false)
            }
        };
        Ok(PacketPart::Body { left, is_partial, is_last })
    }

    /// The next byte of a header or a length.
    fn byte(&mut self) -> std::io::Result<u8> {
        let Some(&byte) = self.source.fill_buf()?.first() else { return Err(self.progress.raise(MessageError::cut())) };
        self.source.consume(1);
        self.head.push(byte);
        Ok(byte)
    }

    fn not_encrypted(&self, tag: u8) -> std::io::Error {
        let what = match tag {
            2 | 4 => "this OpenPGP message is signed and not encrypted",
            5 | 6 | 7 | 14 => "this is an OpenPGP key and no message",
            8 | 11 => "this OpenPGP message is not encrypted",
            _ => "this is no OpenPGP message",
        };
        self.progress.raise(MessageError::new(MessageErrorKind::NoMessage, what))
    }
}

const PUBLIC_KEY_SESSION_KEY: u8 = 1;
const SYMMETRIC_SESSION_KEY: u8 = 3;
const ENCRYPTED: u8 = 9;
const MARKER: u8 = 10;
const PROTECTED: u8 = 18;
const GNUPG_PROTECTED: u8 = 20;
const PADDING: u8 = 21;

impl<R: BufRead> BufRead for MessageFraming<R> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        match self.next()? {
            NextPacket::Head => Ok(self.head.get(self.at..).unwrap_or_default()),
            NextPacket::Nothing => Ok(&[]),
            NextPacket::Body(left) => {
                let is_bounded = left < u64::MAX;
                let buffered = self.source.fill_buf()?;
                if buffered.is_empty() && is_bounded {
                    return Err(self.progress.raise(MessageError::cut()));
                }
                if buffered.is_empty() {
                    self.part = PacketPart::Over;
                    self.progress.0.is_whole.store(true, Ordering::Release);
                }
                let length = usize::try_from(left).map_or(buffered.len(), |left| left.min(buffered.len()));
                Ok(buffered.get(..length).unwrap_or_default())
            }
        }
    }

    fn consume(&mut self, amount: usize) {
        if self.at < self.head.len() {
            self.at += amount;
            return;
        }
        self.source.consume(amount);
        if let PacketPart::Body { left, .. } = &mut self.part {
            *left -= amount as u64;
        }
    }
}

impl<R: BufRead> Read for MessageFraming<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let length = self.fill_buf()?.read(into)?;
        self.consume(length);
        Ok(length)
    }
}
