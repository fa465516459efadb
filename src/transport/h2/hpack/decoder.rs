//! A head's bytes, read (RFC 7541): whatever a service may write, and nothing else.
//!
//! What is no field of an answer is one here all the same: it says so, and takes up its place in the table, so that the
//! heads after it mean what they were meant to.

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue};

use super::huffman;
use super::known::{self, LAST_KNOWN, ReceivedName};
use super::received::{ReceivedField, ReceivedTable};

/// Reads the heads of one connection, in the order in which they come.
pub(in crate::transport::h2) struct HeadDecoder {
    table: ReceivedTable,
    /// What values are written into that came in letters: they are slices of it, several heads of one piece of memory.
    text: BytesMut,
}

/// What can't be read: from here on nothing on the connection can (RFC 7541 §2.2, RFC 9113 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::transport::h2) struct NotHpack;

/// What is written in full of a field: its bytes in Huffman's code, or as they are.
#[derive(Clone, Copy)]
enum Letters<'a> {
    Huffman(&'a [u8]),
    Plain(&'a [u8]),
}

impl HeadDecoder {
    pub(in crate::transport::h2) fn new() -> Self {
        Self { table: ReceivedTable::new(TABLE_BYTES), text: BytesMut::new() }
    }

    /// Gives each field of `block` to `take`.
    ///
    /// # Errors
    ///
    /// When it is none, or the service uses more of the table than we said there is.
    pub(in crate::transport::h2) fn decode(
        &mut self,
        block: &[u8],
        mut take: impl FnMut(ReceivedField),
    ) -> Result<(), NotHpack> {
        let mut rest = block;
        self.resize(&mut rest)?;
        while let Some(first) = rest.first().copied() {
            if first & INDEXED != 0 {
                take(self.indexed(integer(&mut rest, 7)?)?);
            } else if first & REMEMBERED != 0 {
                let field = self.literal(6, &mut rest)?;
                self.table.insert(field.clone());
                take(field);
            } else if first & RESIZED == 0 {
                let mut field = self.literal(4, &mut rest)?;
                if let (true, Some(value)) = (first & NEVER_REMEMBERED != 0, &mut field.value) {
                    value.set_sensitive(true);
                }
                take(field);
            } else {
                // In the middle of a block (§4.2).
                return Err(NotHpack);
            }
        }
        Ok(())
    }

    /// Follows what a block may begin with (§6.3).
    fn resize(&mut self, rest: &mut &[u8]) -> Result<(), NotHpack> {
        while rest.first().is_some_and(|first| first >> 5 == RESIZED >> 5) {
            let limit = integer(rest, 5)?;
            if limit > TABLE_BYTES {
                return Err(NotHpack);
            }
            self.table.resize(limit);
        }
        Ok(())
    }

    fn indexed(&self, number: usize) -> Result<ReceivedField, NotHpack> {
        if number > LAST_KNOWN {
            return self.table.get(number - LAST_KNOWN - 1).cloned().ok_or(NotHpack);
        }
        let (name, length) = known::name(number).ok_or(NotHpack)?;
        let value = known::value(number);
        Ok(ReceivedField { name, name_bytes: length, value_bytes: value.len(), value: Some(value) })
    }

    fn literal(&mut self, prefix: u32, rest: &mut &[u8]) -> Result<ReceivedField, NotHpack> {
        let (name, name_bytes) = match integer(rest, prefix)? {
            0 => {
                let name = self.text(Letters::split(rest)?)?;
                (read_name(&name), name.len())
            }
            number if number > LAST_KNOWN => {
                let field = self.table.get(number - LAST_KNOWN - 1).ok_or(NotHpack)?;
                (field.name.clone(), field.name_bytes)
            }
            number => known::name(number).ok_or(NotHpack)?,
        };
        let value = self.text(Letters::split(rest)?)?;
        let value_bytes = value.len();
        Ok(ReceivedField { name, value: HeaderValue::from_maybe_shared(value).ok(), name_bytes, value_bytes })
    }

    /// In memory of its own: what was read from the socket can be read into again.
    fn text(&mut self, letters: Letters<'_>) -> Result<Bytes, NotHpack> {
        let most = letters.most_bytes();
        if self.text.capacity() < most {
            self.text = BytesMut::with_capacity(most.max(TEXT_BYTES));
        }
        match letters {
            Letters::Plain(plain) => self.text.extend_from_slice(plain),
            Letters::Huffman(coded) => huffman::decode(coded, &mut self.text).map_err(|_| NotHpack)?,
        }
        let text = self.text.split().freeze();
        if most > TEXT_BYTES {
            // Nobody else's letters hold the memory of so many.
            self.text = BytesMut::new();
        }
        Ok(text)
    }
}

impl<'a> Letters<'a> {
    /// Takes them off the front of `rest` (§5.2).
    fn split(rest: &mut &'a [u8]) -> Result<Self, NotHpack> {
        let is_huffman = rest.first().is_some_and(|first| first & 128 != 0);
        let length = integer(rest, 7)?;
        let (letters, after) = rest.split_at_checked(length).ok_or(NotHpack)?;
        *rest = after;
        Ok(if is_huffman { Self::Huffman(letters) } else { Self::Plain(letters) })
    }

    fn most_bytes(self) -> usize {
        match self {
            Self::Huffman(coded) => coded.len() * 8 / 5,
            Self::Plain(plain) => plain.len(),
        }
    }
}

/// In lower case, or it is none (RFC 9113 §8.2.1).
fn read_name(name: &[u8]) -> ReceivedName {
    match HeaderName::from_lowercase(name) {
        Ok(name) => ReceivedName::Plain(name),
        Err(_) if name == b":status" => ReceivedName::Status,
        Err(_) => ReceivedName::Forbidden,
    }
}

/// Takes a number off the front of `rest`, whose first byte has so many bits of it (§5.1). None that we read is longer than
/// four bytes more say: a block is not.
fn integer(rest: &mut &[u8], prefix: u32) -> Result<usize, NotHpack> {
    let (first, after) = rest.split_first().ok_or(NotHpack)?;
    *rest = after;
    let most = (1 << prefix) - 1;
    let mut value = usize::from(*first) & most;
    if value < most {
        return Ok(value);
    }
    for shift in [0, 7, 14, 21] {
        let (next, after) = rest.split_first().ok_or(NotHpack)?;
        *rest = after;
        value += usize::from(next & 127) << shift;
        if next & 128 == 0 {
            return Ok(value);
        }
    }
    Err(NotHpack)
}

/// What a field's first bits say it is (§6).
const INDEXED: u8 = 0b1000_0000;
const REMEMBERED: u8 = 0b0100_0000;
const RESIZED: u8 = 0b0010_0000;
const NEVER_REMEMBERED: u8 = 0b0001_0000;

/// What a service may use unless we say otherwise (RFC 9113 §6.5.2), which we never do.
const TABLE_BYTES: usize = 4096;

/// The values of some twenty heads. Who holds one of them holds the memory of all: the table, which has room for no more than
/// 128, or an answer that is read.
const TEXT_BYTES: usize = 2048;
