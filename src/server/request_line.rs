//! The line with which a request begins, on its way to hyper: what of its query hyper's types do not take is spelt
//! otherwise ([`crate::raw_query`]).
//!
//! Nothing is copied unless a head has a byte that may be such, anywhere. Then that head goes to hyper by itself, and what
//! came behind it (a body, or the next head) is held back until hyper asks for more: whether it is a head is known then.

use bytes::{Buf, Bytes};
use tokio::io::ReadBuf;

use crate::raw_query::{may_need_spelling, spell};

/// What of a connection's bytes hyper has not got yet, and how much of a request's first line it has.
#[derive(Debug, Default)]
pub(super) struct RequestLines {
    part: LinePart,
    /// Ready for hyper.
    spelt: Bytes,
    /// As it came, not looked at.
    held_back: Bytes,
    /// The first byte of the last line that can't be carried, and its place in it, from 1.
    refused: Option<(u8, usize)>,
}

/// How far the first line of a head has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LinePart {
    /// So many bytes of what comes before a query.
    #[default]
    Start,
    BeforeQuery {
        bytes: usize,
    },
    Query,
    /// It is over.
    Past,
}

impl RequestLines {
    /// Goes on with what an earlier connection of hyper's had read too far.
    pub(super) fn replaying(unread: Bytes) -> Self {
        Self { held_back: unread, ..Self::default() }
    }

    /// What hyper has not got.
    pub(super) fn into_unread(self) -> Bytes {
        match self.spelt.is_empty() {
            true => self.held_back,
            false => [self.spelt, self.held_back].concat().into(),
        }
    }

    /// The byte for which hyper takes the last line for none, and its place.
    pub(super) fn refused(&self) -> Option<(u8, usize)> {
        self.refused
    }

    /// A head was taken: the next line is a new one.
    pub(super) fn begin(&mut self) {
        (self.part, self.refused) = (LinePart::Start, None);
    }

    /// Gives hyper what there is of held back bytes; `false`: there are none. `is_head`: they are of a head.
    pub(super) fn give(&mut self, buffer: &mut ReadBuf<'_>, is_head: bool) -> bool {
        if self.spelt.is_empty() && is_head && self.part != LinePart::Past {
            let raw = std::mem::take(&mut self.held_back);
            if may_need_spelling(&raw) {
                self.take_head(raw);
            } else {
                self.part = self.part.after(&raw);
                self.spelt = raw;
            }
        }
        let next = if self.spelt.is_empty() { &mut self.held_back } else { &mut self.spelt };
        if next.is_empty() {
            return false;
        }
        let fits = next.len().min(buffer.remaining());
        // Invariant: no more than there is.
        buffer.put_slice(&next[..fits]);
        next.advance(fits);
        true
    }

    /// Looks at what was read of a head, from `before` on in `buffer`, and takes back what hyper must not see so.
    pub(super) fn look(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        // Invariant: so much was filled before.
        let read = &buffer.filled()[before..];
        if self.part == LinePart::Past {
            return;
        }
        if !may_need_spelling(read) {
            if !read.ends_with(HEAD_END) {
                // The rest of the line may come with the next piece.
                self.part = self.part.after(read);
            }
            return;
        }
        let raw = Bytes::copy_from_slice(read);
        buffer.set_filled(before);
        self.take_head(raw);
        self.give(buffer, true);
    }

    /// Spells what `raw` has of one head, and holds back the rest.
    fn take_head(&mut self, mut raw: Bytes) {
        let ends = raw.windows(HEAD_END.len()).position(|window| window == HEAD_END);
        let head = raw.split_to(ends.map_or(raw.len(), |at| at + HEAD_END.len()));
        let mut spelt = Vec::with_capacity(head.len() + 64);
        let mut rest = &head[..];
        while !rest.is_empty() {
            let next = self.part.after_one_part(rest);
            // Invariant: a part has no more bytes than there are.
            let (part, further) = rest.split_at(next.1);
            match self.part {
                LinePart::Query => spell(part, &mut spelt),
                before => {
                    self.refuse(before, part);
                    spelt.extend_from_slice(part);
                }
            }
            (self.part, rest) = (next.0, further);
        }
        (self.spelt, self.held_back) = (spelt.into(), raw);
    }

    /// Notes what nobody takes in a path: there it names something, and no spelling of ours must.
    fn refuse(&mut self, part: LinePart, bytes: &[u8]) {
        let come = match part {
            LinePart::Start => 0,
            LinePart::BeforeQuery { bytes } => bytes,
            LinePart::Query | LinePart::Past => return,
        };
        let found = bytes.iter().position(|byte| matches!(byte, b'<' | b'>' | b'`' | 0x80..));
        // Invariant: it was found there.
        self.refused = self.refused.or(found.map(|at| (bytes[at], come + at + 1)));
    }
}

impl LinePart {
    fn after(mut self, mut bytes: &[u8]) -> Self {
        while !bytes.is_empty() {
            let (next, length) = self.after_one_part(bytes);
            // Invariant: a part has no more bytes than there are.
            (self, bytes) = (next, &bytes[length..]);
        }
        self
    }

    /// What follows, and how many of these bytes, one at least, belong to this part still.
    fn after_one_part(self, bytes: &[u8]) -> (Self, usize) {
        let until = |ends: fn(u8) -> bool| bytes.iter().position(|byte| ends(*byte));
        match self {
            // Empty lines before a request are ignored (RFC 9112 §2.2).
            Self::Start => match until(|byte| !matches!(byte, b'\r' | b'\n')) {
                Some(0) => Self::BeforeQuery { bytes: 0 }.after_one_part(bytes),
                Some(at) => (Self::BeforeQuery { bytes: 0 }, at),
                None => (Self::Start, bytes.len()),
            },
            Self::BeforeQuery { bytes: come } => match until(|byte| matches!(byte, b'?' | b'\n')) {
                // Invariant: it was found there.
                Some(at) if bytes[at] == b'?' => (Self::Query, at + 1),
                Some(at) => (Self::Past, at + 1),
                None => (Self::BeforeQuery { bytes: come + bytes.len() }, bytes.len()),
            },
            Self::Query => match until(|byte| matches!(byte, b' ' | b'\n')) {
                Some(0) => (Self::Past, 1),
                Some(at) => (Self::Past, at),
                None => (Self::Query, bytes.len()),
            },
            Self::Past => (Self::Past, bytes.len()),
        }
    }
}

const HEAD_END: &[u8] = b"\r\n\r\n";
