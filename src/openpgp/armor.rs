//! A message in ASCII armor (RFC 9580 §6): where its text begins and ends.
//!
//! What is inside is decoded by the library beneath, which looks for a first line for as long as anything comes, and stops
//! after the last one: both would let something stand around a message that nobody has looked at.

use std::io::{BufRead, Read};

use super::buffered;
use super::error::{MessageError, MessageErrorKind};
use super::framing::FramingProgress;

const BEGIN: &[u8] = b"-----BEGIN PGP MESSAGE-----";
const END: &[u8] = b"-----END PGP MESSAGE-----";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Hands on the lines from the first to the last of the armor: around them is white space alone.
#[derive(Debug)]
pub(super) struct ArmorText<R> {
    source: R,
    progress: FramingProgress,
    /// A line, or a part of a long one, and how much of it is handed on.
    piece: Vec<u8>,
    at: usize,
    is_line_start: bool,
    part: ArmorPart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ArmorPart {
    Before,
    /// To the first line without anything.
    Headers,
    Lines,
    Over,
}

/// Lines have 76 characters (RFC 9580 §6.3); longer ones come in parts.
const MOST_PIECE_BYTES: u64 = 4 << 10;

impl<R: BufRead> ArmorText<R> {
    pub(super) fn new(source: R, progress: FramingProgress) -> Self {
        Self { source, progress, piece: Vec::new(), at: 0, is_line_start: true, part: ArmorPart::Before }
    }

    /// The next piece is in `piece`; empty at the end.
    fn next_piece(&mut self) -> std::io::Result<()> {
        (self.at, self.piece) = (0, std::mem::take(&mut self.piece));
        self.piece.clear();
        while self.part != ArmorPart::Over {
            self.piece.clear();
            let is_start = self.is_line_start;
            let read = self.source.by_ref().take(MOST_PIECE_BYTES).read_until(b'\n', &mut self.piece)?;
            self.is_line_start = self.piece.ends_with(b"\n");
            match self.part {
                _ if read == 0 && self.part == ArmorPart::Before => return Err(self.no_armor()),
                _ if read == 0 => return Err(self.progress.raise(MessageError::cut())),
                ArmorPart::Before => {
                    let line = self.piece.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&self.piece).trim_ascii();
                    if line == BEGIN {
                        self.piece = [BEGIN, b"\n"].concat();
                        self.part = ArmorPart::Headers;
                        return Ok(());
                    }
                    if !line.is_empty() {
                        return Err(self.no_armor());
                    }
                }
                ArmorPart::Headers | ArmorPart::Lines if is_start && self.piece.starts_with(END) => {
                    // Nothing of the last line is handed on before all that follows it was looked at: with it the library
                    // says that the message is whole.
                    self.check_rest()?;
                    self.piece = [END, b"\n"].concat();
                    self.part = ArmorPart::Over;
                    return Ok(());
                }
                ArmorPart::Headers | ArmorPart::Lines => return self.check_line(is_start),
                ArmorPart::Over => {}
            }
        }
        Ok(())
    }

    /// Behind its headers armor has no `-`: the library would take what follows some for the last line.
    fn check_line(&mut self, is_start: bool) -> std::io::Result<()> {
        if is_start && self.piece.trim_ascii().is_empty() {
            self.part = ArmorPart::Lines;
        }
        if self.part == ArmorPart::Lines && self.piece.contains(&b'-') {
            return Err(self.progress.raise(MessageError::damaged()));
        }
        Ok(())
    }

    fn check_rest(&mut self) -> std::io::Result<()> {
        let of_line = self.piece.get(END.len()..).unwrap_or_default();
        if !of_line.trim_ascii().is_empty() {
            return Err(self.progress.raise(MessageError::trailing()));
        }
        white_space_to_end(&mut self.source, &self.progress)
    }

    fn no_armor(&self) -> std::io::Error {
        let what =
            "this is no OpenPGP message: it begins neither as a binary one nor with `-----BEGIN PGP MESSAGE-----`";
        self.progress.raise(MessageError::new(MessageErrorKind::NoMessage, what))
    }
}

/// Reads on to the end, past white space alone.
pub(super) fn white_space_to_end(source: &mut impl BufRead, progress: &FramingProgress) -> std::io::Result<()> {
    loop {
        let rest = source.fill_buf()?;
        if rest.is_empty() {
            return Ok(());
        }
        if !rest.trim_ascii().is_empty() {
            return Err(progress.raise(MessageError::trailing()));
        }
        let length = rest.len();
        source.consume(length);
    }
}

impl<R: BufRead> BufRead for ArmorText<R> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.at == self.piece.len() {
            self.next_piece()?;
        }
        Ok(self.piece.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl<R: BufRead> Read for ArmorText<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        buffered::read(self, into)
    }
}
