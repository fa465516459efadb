//! The packets that a message is made of (RFC 9580 §4.2), as far as one has to know where it ends and how much it may be.
//!
//! ```text
//!  session keys* ─► encrypted data ─► white space, or nothing
//!                     └ signatures*, literal data, signatures*, or all that compressed
//! ```
//!
//! What a packet says is the library's; that there is nothing around a message is seen here, byte by byte: one that ends early
//! is cut, whatever its packets say, and what follows it belongs to nobody.

use std::io::{BufRead, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::armor::white_space_to_end;
use super::buffered;
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

/// Hands on the packets of a message, or of what was inside one, as far as they are any use to the library: that keeps in
/// memory what it is given of keys, signatures and padding, however much it is.
#[derive(Debug)]
pub(super) struct PacketFraming<R> {
    source: R,
    layer: PacketLayer,
    progress: FramingProgress,
    /// A header, or a length, that is still to be handed on.
    head: Vec<u8>,
    at: usize,
    part: PacketPart,
    /// Packets that the library keeps, and their bytes.
    kept: u32,
    kept_bytes: u64,
}

/// Where the packets stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PacketLayer {
    /// Keys, and then what they open, which nothing follows.
    Message,
    /// In what was encrypted, or compressed.
    Inside,
}

impl PacketLayer {
    /// A packet ends before its end.
    fn cut(self, progress: &FramingProgress) -> std::io::Error {
        progress.raise(match self {
            Self::Message => MessageError::cut(),
            Self::Inside => MessageError::damaged(),
        })
    }
}

#[derive(Clone, Copy, Debug)]
enum PacketPart {
    Header,
    Body {
        left: u64,
        /// Whether another length follows (RFC 9580 §4.2.1.4).
        is_partial: bool,
        fate: PacketFate,
    },
    /// To the end of all (RFC 9580 §4.2.2).
    Unbounded(PacketFate),
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PacketFate {
    HandedOn,
    /// The same, and nothing follows.
    Last,
    /// It says nothing (RFC 9580 §4.3).
    Skipped,
}

/// How much of the source may be handed on next.
enum NextPacket {
    Head,
    Body(u64),
    Nothing,
}

/// So many keys may open a message, and so many packets sign it: one in front and one behind for each signature.
const MOST_KEYS: u32 = 256;
const MOST_SIGNATURES: u32 = 64;
/// So long may either be in all.
const MOST_KEPT_BYTES: u64 = 256 << 10;

impl<R: BufRead> PacketFraming<R> {
    pub(super) fn of_message(source: R, progress: FramingProgress) -> Self {
        Self::new(source, PacketLayer::Message, progress)
    }

    pub(super) fn inside(source: R, progress: FramingProgress) -> Self {
        Self::new(source, PacketLayer::Inside, progress)
    }

    fn new(source: R, layer: PacketLayer, progress: FramingProgress) -> Self {
        let (head, part) = (Vec::new(), PacketPart::Header);
        Self { source, layer, progress, head, at: 0, part, kept: 0, kept_bytes: 0 }
    }

    fn next(&mut self) -> std::io::Result<NextPacket> {
        loop {
            if self.at < self.head.len() {
                return Ok(NextPacket::Head);
            }
            match self.part {
                PacketPart::Body { left, fate: PacketFate::Skipped, .. } if left > 0 => self.skip(left)?,
                PacketPart::Body { left, .. } if left > 0 => return Ok(NextPacket::Body(left)),
                PacketPart::Body { is_partial: true, fate, .. } => {
                    self.clear_head();
                    self.part = self.length(fate)?;
                    self.hide_if_skipped(fate);
                }
                PacketPart::Body { fate: PacketFate::Last, .. } => self.part = PacketPart::Over,
                PacketPart::Body { .. } | PacketPart::Header => self.header()?,
                PacketPart::Unbounded(PacketFate::Skipped) => self.skip(u64::MAX)?,
                PacketPart::Unbounded(_) => return Ok(NextPacket::Body(u64::MAX)),
                PacketPart::Over => {
                    if self.layer == PacketLayer::Message && !self.progress.is_whole() {
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

    fn hide_if_skipped(&mut self, fate: PacketFate) {
        if fate == PacketFate::Skipped {
            self.clear_head();
        }
    }

    fn skip(&mut self, left: u64) -> std::io::Result<()> {
        let buffered = self.source.fill_buf()?.len();
        if buffered == 0 && left < u64::MAX {
            return Err(self.layer.cut(&self.progress));
        }
        if buffered == 0 {
            self.part = PacketPart::Over;
        }
        self.consume_body(usize::try_from(left).map_or(buffered, |left| left.min(buffered)));
        Ok(())
    }

    fn header(&mut self) -> std::io::Result<()> {
        self.clear_head();
        if self.layer == PacketLayer::Inside && self.source.fill_buf()?.is_empty() {
            self.part = PacketPart::Over;
            return Ok(());
        }
        let first = self.byte()?;
        let is_new = first & 0x40 != 0;
        let tag = if is_new { first & 0x3f } else { (first & 0x3c) >> 2 };
        if first & 0x80 == 0 {
            return Err(self.misplaced(tag));
        }
        let fate = self.fate(tag)?;
        self.part = match first & 0x03 {
            _ if is_new => self.length(fate)?,
            3 if fate == PacketFate::Last || self.layer == PacketLayer::Inside => PacketPart::Unbounded(fate),
            3 => return Err(self.misplaced(tag)),
            octets => {
                let mut left = 0;
                for _ in 0..1 << octets {
                    left = left << 8 | u64::from(self.byte()?);
                }
                PacketPart::Body { left, is_partial: false, fate }
            }
        };
        self.hide_if_skipped(fate);
        if KEPT.contains(&tag) {
            self.check_kept()?;
        }
        Ok(())
    }

    fn fate(&self, tag: u8) -> std::io::Result<PacketFate> {
        match (self.layer, tag) {
            (_, MARKER | PADDING) => Ok(PacketFate::Skipped),
            (PacketLayer::Message, PUBLIC_KEY_SESSION_KEY | SYMMETRIC_SESSION_KEY) => Ok(PacketFate::HandedOn),
            (PacketLayer::Message, ENCRYPTED | PROTECTED | GNUPG_PROTECTED) => Ok(PacketFate::Last),
            (PacketLayer::Message, _) => Err(self.misplaced(tag)),
            // Whoever knows none of these is to go past them.
            (PacketLayer::Inside, 40..) => Ok(PacketFate::Skipped),
            (
                PacketLayer::Inside,
                PUBLIC_KEY_SESSION_KEY | SYMMETRIC_SESSION_KEY | ENCRYPTED | PROTECTED | GNUPG_PROTECTED,
            ) => {
                let what = "the message has another encrypted one inside";
                Err(self.progress.raise(MessageError::new(MessageErrorKind::Unsupported, what)))
            }
            (PacketLayer::Inside, _) => Ok(PacketFate::HandedOn),
        }
    }

    /// The packet that begins is one that the library keeps.
    fn check_kept(&mut self) -> std::io::Result<()> {
        self.kept += 1;
        self.kept_bytes = match self.part {
            PacketPart::Body { left, is_partial: false, .. } => self.kept_bytes.saturating_add(left),
            _ => u64::MAX,
        };
        let (most, what) = match self.layer {
            PacketLayer::Message => (MOST_KEYS, "keys"),
            PacketLayer::Inside => (MOST_SIGNATURES, "signatures"),
        };
        if self.kept <= most && self.kept_bytes <= MOST_KEPT_BYTES {
            return Ok(());
        }
        let what = format!("the message has more than {most} packets of {what}, or more than 256 KiB of them");
        Err(self.progress.raise(MessageError::new(MessageErrorKind::Unsupported, what)))
    }

    /// RFC 9580 §4.2.1.
    fn length(&mut self, fate: PacketFate) -> std::io::Result<PacketPart> {
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
        Ok(PacketPart::Body { left, is_partial, fate })
    }

    /// The next byte of a header or a length.
    fn byte(&mut self) -> std::io::Result<u8> {
        let Some(&byte) = self.source.fill_buf()?.first() else { return Err(self.layer.cut(&self.progress)) };
        self.source.consume(1);
        self.head.push(byte);
        Ok(byte)
    }

    fn consume_body(&mut self, amount: usize) {
        self.source.consume(amount);
        if let PacketPart::Body { left, .. } = &mut self.part {
            *left -= amount as u64;
        }
    }

    /// It is no packet, or none that may stand here.
    fn misplaced(&self, tag: u8) -> std::io::Error {
        if self.layer == PacketLayer::Inside {
            return self.progress.raise(MessageError::damaged());
        }
        let what = match tag {
            2 | 4 => "this OpenPGP message is signed and not encrypted",
            5 | 6 | 7 | 14 => "this is an OpenPGP key and no message",
            8 | 11 => "this OpenPGP message is not encrypted",
            _ => "this is no OpenPGP message",
        };
        self.progress.raise(MessageError::new(MessageErrorKind::NoMessage, what))
    }
}

/// Of them the library makes something that it keeps.
const KEPT: [u8; 4] = [PUBLIC_KEY_SESSION_KEY, SIGNATURE, SYMMETRIC_SESSION_KEY, ONE_PASS_SIGNATURE];
const PUBLIC_KEY_SESSION_KEY: u8 = 1;
const SIGNATURE: u8 = 2;
const SYMMETRIC_SESSION_KEY: u8 = 3;
const ONE_PASS_SIGNATURE: u8 = 4;
const ENCRYPTED: u8 = 9;
const MARKER: u8 = 10;
const PROTECTED: u8 = 18;
const GNUPG_PROTECTED: u8 = 20;
const PADDING: u8 = 21;

impl<R: BufRead> BufRead for PacketFraming<R> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        match self.next()? {
            NextPacket::Head => Ok(self.head.get(self.at..).unwrap_or_default()),
            NextPacket::Nothing => Ok(&[]),
            NextPacket::Body(left) => {
                let is_bounded = left < u64::MAX;
                let buffered = self.source.fill_buf()?;
                if buffered.is_empty() && is_bounded {
                    return Err(self.layer.cut(&self.progress));
                }
                if buffered.is_empty() {
                    self.part = PacketPart::Over;
                    if self.layer == PacketLayer::Message {
                        self.progress.0.is_whole.store(true, Ordering::Release);
                    }
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
        self.consume_body(amount);
    }
}

impl<R: BufRead> Read for PacketFraming<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        buffered::read(self, into)
    }
}
