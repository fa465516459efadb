//! What wraps the packets of a message, taken off: encryption by the library, and compression.
//!
//! Of both there is no end before what is beneath has ended too: its check is read by then, and nothing follows.

use std::fmt;
use std::io::{BufRead, Error, ErrorKind, Read};

use pgp::composed::{CompressedDataReader, Edata, MessageReader};

use super::buffered;
use super::error::{MessageError, MessageErrorKind};
use super::framing::FramingProgress;
use super::pipe::ReaderWatch;

/// What the library has decrypted.
#[derive(Debug)]
pub(super) struct Decrypted(pub(super) Edata<'static>);

impl BufRead for Decrypted {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.0.fill_buf()?.is_empty() {
            check_over(self.0.get_mut().get_mut())?;
        }
        self.0.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.0.consume(amount);
    }
}

impl Read for Decrypted {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        buffered::read(self, into)
    }
}

/// What the library has inflated: so much at most, and only as long as anybody is there to read what comes of it. A few bytes
/// may become more than anybody could wait for.
pub(super) struct Decompressed {
    packet: CompressedDataReader<MessageReader<'static>>,
    left: u64,
    limit: InflationLimit,
}

/// For each layer of compression.
#[derive(Clone)]
pub(super) struct InflationLimit {
    pub(super) most_bytes: u64,
    pub(super) watch: ReaderWatch,
    pub(super) progress: FramingProgress,
}

impl InflationLimit {
    /// What is wrong with a layer that is longer.
    fn too_long(&self) -> Error {
        let what = format!("the message inflates to more than {} bytes, see `max_plaintext`", self.most_bytes);
        self.progress.raise(MessageError::new(MessageErrorKind::TooLong, what))
    }
}

impl Decompressed {
    pub(super) fn new(packet: CompressedDataReader<MessageReader<'static>>, limit: InflationLimit) -> Self {
        Self { packet, left: limit.most_bytes, limit }
    }
}

/// The packet itself is not shown: it has plaintext.
impl fmt::Debug for Decompressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressed").field("left", &self.left).finish_non_exhaustive()
    }
}

impl BufRead for Decompressed {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.limit.watch.is_gone() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if self.left == 0 {
            return Err(self.limit.too_long());
        }
        if self.packet.fill_buf()?.is_empty() {
            let body = self.packet.get_mut();
            // What stands behind the end of the compressed data says nothing.
            loop {
                let rest = body.fill_buf()?.len();
                if rest == 0 {
                    break;
                }
                body.consume(rest);
            }
            check_over(body.get_mut())?;
        }
        self.packet.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.packet.consume(amount);
        self.left = self.left.saturating_sub(amount as u64);
    }
}

impl Read for Decompressed {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        buffered::read(self, into)
    }
}

/// Whoever reads on sees to what is beneath: its check, and what follows it.
pub(super) fn check_over(beneath: &mut impl BufRead) -> std::io::Result<()> {
    if beneath.fill_buf()?.is_empty() { Ok(()) } else { Err(Error::from(ErrorKind::InvalidData)) }
}
