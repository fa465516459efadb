//! A head's bytes (RFC 7541), for those who pay for each: the other end decodes whatever is well-formed.
//!
//! A token is one byte from the second time on, and any other field that comes again and again from the third. Whatever
//! else there is goes as it is, without Huffman's code: that would save a fifth of its bytes, and cost both ends ten times
//! the work of moving them.

use std::hash::{DefaultHasher, Hasher};

use http::header::{self, AUTHORIZATION, CONTENT_LENGTH, COOKIE};
use http::{HeaderName, HeaderValue, Method};

use super::sent::{FieldTable, SentName};
use crate::config::Scheme;

/// Writes the heads of one connection, in the order in which the service reads them.
pub(in crate::transport::h2) struct HeadEncoder {
    table: FieldTable,
    /// What the table was made smaller to, at the least and at last, since the service was told.
    resized: Option<(usize, usize)>,
    /// What went by lately, as hashes: two fields that share one are remembered a little early, no more.
    seen: [u64; FIELDS_SEEN],
    seen_next: usize,
}

/// A request's head as HTTP/2 writes it (RFC 9113 §8.3.1), but for its fields.
pub(in crate::transport::h2) struct RequestLine<'a> {
    pub(in crate::transport::h2) method: &'a Method,
    pub(in crate::transport::h2) scheme: Scheme,
    pub(in crate::transport::h2) authority: &'a str,
    pub(in crate::transport::h2) target: &'a str,
}

/// What the other end may do with a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Memory {
    /// Remember it, once it has come twice.
    Recurring,
    /// Remember it at once where there is room, as it will come again: a token of ours.
    Token,
    /// Nothing (RFC 7541 §6.2.2).
    None,
    /// Nothing, nor may anybody on the way (RFC 7541 §6.2.3).
    Never,
}

impl HeadEncoder {
    pub(in crate::transport::h2) fn new() -> Self {
        let table = FieldTable::new(TABLE_BYTES);
        Self { table, resized: None, seen: [0; FIELDS_SEEN], seen_next: 0 }
    }

    /// Keeps to what the service bears from now on, and says so with the next head (RFC 7541 §4.2).
    pub(in crate::transport::h2) fn resize(&mut self, limit: usize) {
        let limit = limit.min(TABLE_BYTES);
        if limit == self.table.limit() {
            return;
        }
        self.table.resize(limit);
        let least = self.resized.map_or(limit, |(least, _)| least.min(limit));
        self.resized = Some((least, limit));
    }

    /// Appends what a request begins with to `block`.
    pub(in crate::transport::h2) fn begin(&mut self, line: &RequestLine<'_>, block: &mut Vec<u8>) {
        self.begin_block(block);
        match *line.method {
            Method::GET => block.push(INDEXED | 2),
            Method::POST => block.push(INDEXED | 3),
            ref other => self.field(SentName::Method, other.as_str().as_bytes(), Memory::Recurring, block),
        }
        block.push(if line.scheme == Scheme::Https { INDEXED | 7 } else { INDEXED | 6 });
        self.field(SentName::Authority, line.authority.as_bytes(), Memory::Recurring, block);
        // Seldom the same, and a credential may be in its query.
        literal(Some(4), ":path", line.target.as_bytes(), NOT_INDEXED, block);
    }

    /// Appends what trailers begin with.
    pub(in crate::transport::h2) fn begin_block(&mut self, block: &mut Vec<u8>) {
        let Some((least, last)) = self.resized.take() else { return };
        integer(least, 5, RESIZED, block);
        if last != least {
            integer(last, 5, RESIZED, block);
        }
    }

    /// Appends a field.
    pub(in crate::transport::h2) fn add(&mut self, name: &HeaderName, value: &HeaderValue, block: &mut Vec<u8>) {
        self.field(SentName::Plain(name), value.as_bytes(), memory(name, value), block);
    }

    /// Appends a length, which is nobody's to remember.
    pub(in crate::transport::h2) fn add_length(&mut self, length: u64, block: &mut Vec<u8>) {
        let length = HeaderValue::from(length);
        literal(Some(28), CONTENT_LENGTH.as_str(), length.as_bytes(), NOT_INDEXED, block);
    }

    /// Appends a field that nobody remembers.
    pub(in crate::transport::h2) fn add_once(&mut self, name: &HeaderName, value: &HeaderValue, block: &mut Vec<u8>) {
        let name = SentName::Plain(name);
        let form = if value.is_sensitive() { NEVER_INDEXED } else { NOT_INDEXED };
        literal(static_number(name), name.as_str(), value.as_bytes(), form, block);
    }

    fn field(&mut self, name: SentName<'_>, value: &[u8], memory: Memory, block: &mut Vec<u8>) {
        if memory.may_stay()
            && let Some(number) = self.table.find(name, value)
        {
            return integer(number, 7, INDEXED, block);
        }
        let is_to_stay = match memory {
            Memory::None | Memory::Never => false,
            _ if !self.table.may_have(name, value) => false,
            // Among many tokens each comes seldom: one drives out nothing until it has come twice.
            Memory::Token => self.table.has_room_beside(name, value) || self.has_seen(name, value),
            Memory::Recurring => self.has_seen(name, value),
        };
        let form = match memory {
            _ if is_to_stay => REMEMBERED,
            Memory::Recurring | Memory::None => NOT_INDEXED,
            Memory::Token | Memory::Never => NEVER_INDEXED,
        };
        literal(static_number(name), name.as_str(), value, form, block);
        if is_to_stay {
            self.table.insert(name, value);
        }
    }

    /// Whether it went by lately. What comes but once, such as a request's number, must not drive out of the table what
    /// comes always.
    fn has_seen(&mut self, name: SentName<'_>, value: &[u8]) -> bool {
        let mut hasher = DefaultHasher::new();
        hasher.write(name.as_str().as_bytes());
        hasher.write(value);
        let hash = hasher.finish();
        if self.seen.contains(&hash) {
            return true;
        }
        if let Some(oldest) = self.seen.get_mut(self.seen_next % FIELDS_SEEN) {
            *oldest = hash;
        }
        self.seen_next = self.seen_next.wrapping_add(1);
        false
    }
}

impl Memory {
    fn may_stay(self) -> bool {
        matches!(self, Self::Recurring | Self::Token)
    }
}

/// What is secret goes by unremembered, so that the length of what is sent tells nothing of it (RFC 7541 §7.1), with one
/// exception: a long bearer token of ours. HPACK matches whole values alone, so who wanted to learn it by the lengths of
/// what is sent would have to guess all of it at once (§7.1.1); and nobody writes that field on this connection but us.
fn memory(name: &HeaderName, value: &HeaderValue) -> Memory {
    let is_long_token = || {
        let bytes = value.as_bytes();
        bytes.len() >= TOKEN_BYTES && TOKEN_SCHEMES.iter().any(|scheme| bytes.starts_with(scheme))
    };
    match (value.is_sensitive(), name) {
        (true, &AUTHORIZATION) if is_long_token() => Memory::Token,
        (true, _) => Memory::Never,
        // These are the app's: as secret, and it may have several users, who are nobody's business but its own.
        (false, &(AUTHORIZATION | COOKIE | CONTENT_LENGTH)) => Memory::None,
        (false, name) if SECRET_NAMES.iter().any(|end| name.as_str().ends_with(end)) => Memory::None,
        (false, _) => Memory::Recurring,
    }
}

/// How the names of an app's own keys end.
const SECRET_NAMES: [&str; 4] = ["-key", "-token", "-secret", "-password"];

/// A field that has no number of its own (RFC 7541 §6.2), by its name's if that has one.
fn literal(number: Option<usize>, name: &str, value: &[u8], (prefix, form): (u8, u8), block: &mut Vec<u8>) {
    integer(number.unwrap_or(0), prefix, form, block);
    if number.is_none() {
        string(name.as_bytes(), block);
    }
    string(value, block);
}

/// RFC 7541 §5.2, as it is.
fn string(bytes: &[u8], block: &mut Vec<u8>) {
    integer(bytes.len(), 7, 0, block);
    block.extend_from_slice(bytes);
}

/// RFC 7541 §5.1.
fn integer(value: usize, prefix: u8, form: u8, block: &mut Vec<u8>) {
    let most = (1 << prefix) - 1;
    if value < most {
        return block.push(form | value as u8);
    }
    block.push(form | most as u8);
    let mut rest = value - most;
    while rest >= 128 {
        block.push(rest as u8 | 128);
        rest >>= 7;
    }
    block.push(rest as u8);
}

/// The number of a name that everybody knows (RFC 7541 Appendix A), as far as requests have it.
fn static_number(name: SentName<'_>) -> Option<usize> {
    let name = match name {
        SentName::Authority => return Some(1),
        SentName::Method => return Some(2),
        SentName::Plain(name) => name,
    };
    Some(match *name {
        header::ACCEPT_CHARSET => 15,
        header::ACCEPT_ENCODING => 16,
        header::ACCEPT_LANGUAGE => 17,
        header::ACCEPT => 19,
        header::AUTHORIZATION => 23,
        header::CACHE_CONTROL => 24,
        header::CONTENT_DISPOSITION => 25,
        header::CONTENT_ENCODING => 26,
        header::CONTENT_LANGUAGE => 27,
        header::CONTENT_LENGTH => 28,
        header::CONTENT_LOCATION => 29,
        header::CONTENT_RANGE => 30,
        header::CONTENT_TYPE => 31,
        header::COOKIE => 32,
        header::DATE => 33,
        header::FROM => 37,
        header::IF_MATCH => 39,
        header::IF_MODIFIED_SINCE => 40,
        header::IF_NONE_MATCH => 41,
        header::IF_RANGE => 42,
        header::IF_UNMODIFIED_SINCE => 43,
        header::LINK => 45,
        header::MAX_FORWARDS => 47,
        header::RANGE => 50,
        header::REFERER => 51,
        header::USER_AGENT => 58,
        header::VIA => 60,
        _ => return None,
    })
}

/// The first bits of a field, and how many are left for the number beside them.
const INDEXED: u8 = 0b1000_0000;
const RESIZED: u8 = 0b0010_0000;
const REMEMBERED: (u8, u8) = (6, 0b0100_0000);
const NOT_INDEXED: (u8, u8) = (4, 0);
const NEVER_INDEXED: (u8, u8) = (4, 0b0001_0000);

/// What a service has room for unless it says otherwise (RFC 9113 §6.5.2); of more we never make use.
const TABLE_BYTES: usize = 4096;

/// About three requests' worth of fields that change each time.
const FIELDS_SEEN: usize = 32;

/// Nobody guesses so long a token: even of hexadecimal digits it has 128 bits.
const TOKEN_BYTES: usize = "Bearer ".len() + 32;
const TOKEN_SCHEMES: [&[u8]; 2] = [b"Bearer ", b"DPoP "];
