//! The line with which a request begins, on its way to hyper: what of its query hyper's types do not take is spelt
//! otherwise ([`crate::raw_query`]).
//!
//! Where a head begins is known here, as hyper takes one after the other, and reads on only when it has none. Nothing is
//! copied unless a line has a byte that may have to be spelt, or comes in a piece or together with the next head and such a
//! byte. Then that head goes to hyper by itself, and what came behind it is held back until hyper asks for more: whether it is
//! a body or a head is known then.

use std::sync::LazyLock;

use bytes::{Buf, Bytes};
use memchr::memchr;
use memchr::memmem::Finder;
use tokio::io::ReadBuf;

use crate::raw_query::{may_need_spelling, spell};

/// What of a connection's bytes hyper has not got yet, and how much of a request's head it has.
#[derive(Debug, Default)]
pub(super) struct RequestLines {
    part: HeadPart,
    /// Whether the head is of a method that has no body, by its first letter: what comes behind it is the next head.
    is_bodiless: bool,
    /// hyper may have got bytes of the next head already.
    read_ahead: bool,
    /// Ready for hyper.
    spelt: Bytes,
    /// As it came, not looked at.
    held_back: Bytes,
    /// The first byte of the last line that can't be carried, and its place in it, from 1.
    refused: Option<(u8, usize)>,
}

/// How far a head has come.
///
/// ```text
///                  ?          SP
///  BeforeQuery ───────► Query ─────► Line ◄──────────────┐
///       │                 │           │ LF               │ anything else
///       └───── LF ────────┴─── LF ────┴────► LineStart ──┤
///                                                        └─ [CR] LF ─► Done
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum HeadPart {
    /// Nothing of it yet. Empty lines before a request are ignored (RFC 9112 §2.2).
    #[default]
    Start,
    /// So many bytes of what comes before a query.
    BeforeQuery {
        bytes: usize,
    },
    Query,
    /// Within the first line behind the target, or within a field.
    Line,
    LineStart,
    /// A CR where a line begins.
    LineStartCr,
    /// Over, or all that may have to be spelt of it is.
    Done,
    /// Somewhere in a head whose first bytes hyper got together with a body's last.
    Unknown,
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
        (self.part, self.refused) = (HeadPart::Start, None);
    }

    /// Gives hyper what there is of held back bytes; `false`: there are none. `is_head`: they are of a head.
    pub(super) fn give(&mut self, buffer: &mut ReadBuf<'_>, is_head: bool) -> bool {
        if self.spelt.is_empty() && !self.held_back.is_empty() && is_head && self.part != HeadPart::Done {
            let raw = std::mem::take(&mut self.held_back);
            self.take_head(raw);
        }
        let next = if self.spelt.is_empty() { &mut self.held_back } else { &mut self.spelt };
        if next.is_empty() {
            return false;
        }
        let fits = next.len().min(buffer.remaining());
        // Invariant: no more than there is.
        buffer.put_slice(&next[..fits]);
        next.advance(fits);
        if !is_head {
            self.pass_over();
        }
        true
    }

    /// hyper got bytes that are no head's, and behind them maybe some of the next one.
    pub(super) fn pass_over(&mut self) {
        self.read_ahead = true;
    }

    /// Looks at what was read of a head, from `before` on in `buffer`, and takes back what hyper must not see so.
    pub(super) fn look(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        // Invariant: so much was filled before.
        let read = &buffer.filled()[before..];
        if read.ends_with(HEAD_END) && !may_need_spelling(read) {
            // Nearly every head comes so. If several do, all are whole: hyper reads on where one begins.
            self.read_ahead = false;
            return;
        }
        self.recognize(read);
        if self.begins_with_plain_line(read) && (!self.is_bodiless || whole_head(read) == Some(read)) {
            // What follows is none of ours: fields, and a body, most of which have a `"`. The end of that may bring the next
            // head along.
            (self.part, self.read_ahead) = (HeadPart::Done, !self.is_bodiless);
            return;
        }
        if matches!(self.part, HeadPart::Done | HeadPart::Unknown) {
            self.read_ahead = true;
            return;
        }
        let (part, length) = self.part.after_head(read);
        if (length == read.len() || !self.is_bodiless) && !may_need_spelling(read) {
            (self.part, self.read_ahead) = (part, length < read.len());
            return;
        }
        let raw = Bytes::copy_from_slice(read);
        buffer.set_filled(before);
        self.take_head(raw);
        self.give(buffer, true);
    }

    /// Whether `read` begins with the whole line of a request, in which nothing has to be spelt.
    fn begins_with_plain_line(&self, read: &[u8]) -> bool {
        let is_first = self.part == HeadPart::Start && read.first().is_some_and(|byte| !is_line_end(*byte));
        // Invariant: it was found there.
        is_first && memchr(b'\n', read).is_some_and(|end| !may_need_spelling(&read[..end]))
    }

    /// Finds out where in a head `first` stands, if that is not known.
    fn recognize(&mut self, first: &[u8]) {
        if self.part != HeadPart::Start {
            return;
        }
        if self.read_ahead && !begins_request(first) {
            // It may be in the midst of a field, where nothing must be spelt. What should have been is refused by hyper.
            self.part = HeadPart::Unknown;
        }
        if let Some(letter) = first.iter().find(|byte| !is_line_end(**byte)) {
            self.is_bodiless = matches!(letter, b'G' | b'H');
        }
    }

    /// Spells what `raw` has of one head, and holds back the rest.
    fn take_head(&mut self, mut raw: Bytes) {
        self.recognize(&raw);
        let length = self.part.after_head(&raw).1;
        let head = raw.split_to(length);
        self.held_back = raw;
        // Where an unknown head ends is as unknown as where it began.
        self.read_ahead = self.part == HeadPart::Unknown;
        if !may_need_spelling(&head) {
            self.part = self.part.after_head(&head).0;
            self.spelt = head;
            return;
        }
        let mut spelt = Vec::with_capacity(head.len() + 64);
        let mut rest = &head[..];
        while !rest.is_empty() {
            self.part = self.part.entered(rest);
            let next = self.part.after_one_part(rest);
            // Invariant: a part has no more bytes than there are.
            let (part, further) = rest.split_at(next.1);
            match self.part {
                HeadPart::Query => spell(part, &mut spelt),
                before => {
                    self.refuse(before, part);
                    spelt.extend_from_slice(part);
                }
            }
            (self.part, rest) = (next.0, further);
        }
        self.spelt = spelt.into();
    }

    /// Notes what nobody takes in a path: there it names something, and no spelling of ours must.
    fn refuse(&mut self, part: HeadPart, bytes: &[u8]) {
        let HeadPart::BeforeQuery { bytes: come } = part else { return };
        let found = bytes.iter().position(|byte| matches!(byte, b'<' | b'>' | b'`' | 0x80..));
        // Invariant: it was found there.
        self.refused = self.refused.or(found.map(|at| (bytes[at], come + at + 1)));
    }
}

impl HeadPart {
    /// What follows the rest of a head, and how many of these bytes belong to it.
    fn after_head(mut self, bytes: &[u8]) -> (Self, usize) {
        let mut come = 0;
        while come < bytes.len() && self != Self::Done {
            // Invariant: a part has no more bytes than there are.
            let (next, length) = self.after_one_part(&bytes[come..]);
            (self, come) = (next, come + length);
        }
        (self, come)
    }

    /// The part to which the first of these bytes belongs: some parts end in front of one.
    fn entered(self, bytes: &[u8]) -> Self {
        match (self, bytes.first()) {
            (Self::Start, Some(first)) if !is_line_end(*first) => Self::BeforeQuery { bytes: 0 },
            (Self::Query, Some(b' ' | b'\n')) => Self::Line,
            (Self::LineStart, Some(first)) if !is_line_end(*first) => Self::Line,
            (Self::LineStartCr, Some(first)) if *first != b'\n' => Self::Line,
            (part, _) => part,
        }
    }

    /// What follows, and how many of these bytes, one at least, belong to this part still.
    fn after_one_part(self, bytes: &[u8]) -> (Self, usize) {
        let until = |ends: fn(u8) -> bool| bytes.iter().position(|byte| ends(*byte));
        match self.entered(bytes) {
            Self::Start => match until(|byte| !is_line_end(byte)) {
                Some(at) => (Self::BeforeQuery { bytes: 0 }, at),
                None => (Self::Start, bytes.len()),
            },
            Self::BeforeQuery { bytes: come } => match until(|byte| matches!(byte, b'?' | b'\n')) {
                // Invariant: it was found there.
                Some(at) if bytes[at] == b'?' => (Self::Query, at + 1),
                Some(at) => (Self::LineStart, at + 1),
                None => (Self::BeforeQuery { bytes: come + bytes.len() }, bytes.len()),
            },
            Self::Query => match until(|byte| matches!(byte, b' ' | b'\n')) {
                Some(at) => (Self::Line, at),
                None => (Self::Query, bytes.len()),
            },
            Self::LineStart if bytes.starts_with(b"\r") => (Self::LineStartCr, 1),
            Self::LineStart | Self::LineStartCr => (Self::Done, 1),
            Self::Line => match until(|byte| byte == b'\n') {
                Some(at) => (Self::LineStart, at + 1),
                None => (Self::Line, bytes.len()),
            },
            part @ (Self::Done | Self::Unknown) => (part, bytes.len()),
        }
    }
}

/// Whether these are a request's first bytes: `METHOD /` or `METHOD http`.
fn begins_request(bytes: &[u8]) -> bool {
    let method = bytes.iter().position(|byte| !byte.is_ascii_uppercase()).unwrap_or(0);
    // Invariant: so many bytes are there.
    let target = &bytes[method..];
    method > 0 && (target.starts_with(b" /") || target.starts_with(b" http"))
}

/// What comes before the first empty line, and that line.
fn whole_head(bytes: &[u8]) -> Option<&[u8]> {
    static EMPTY_LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(HEAD_END));
    bytes.get(..EMPTY_LINE.find(bytes)? + HEAD_END.len())
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

const HEAD_END: &[u8] = b"\r\n\r\n";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::raw_query::as_read;

    /// Reads as hyper does: one head after the other, what is left of a read before the next one, and the body that a head
    /// of these tests announces.
    #[derive(Default)]
    struct Reader {
        lines: RequestLines,
        unread: Vec<u8>,
        has_begun: bool,
        body_left: usize,
        heads: Vec<Vec<u8>>,
        bodies: Vec<u8>,
    }

    impl Reader {
        fn receive(&mut self, piece: &[u8]) {
            let mut socket = piece;
            loop {
                let mut memory = vec![0; 4096];
                let mut buffer = ReadBuf::new(&mut memory);
                let is_head = self.body_left == 0;
                if is_head && !self.has_begun {
                    self.lines.begin();
                }
                if !self.lines.give(&mut buffer, is_head) {
                    if socket.is_empty() {
                        return;
                    }
                    buffer.put_slice(std::mem::take(&mut socket));
                    match is_head {
                        true => self.lines.look(&mut buffer, 0),
                        false => self.lines.pass_over(),
                    }
                }
                self.has_begun |= is_head;
                self.unread.extend_from_slice(buffer.filled());
                while self.take() {}
            }
        }

        /// Takes what is there of a body, or a whole head.
        fn take(&mut self) -> bool {
            if self.body_left > 0 {
                let length = self.body_left.min(self.unread.len());
                self.bodies.extend(self.unread.drain(..length));
                self.body_left -= length;
                return length > 0;
            }
            let empty = self.unread.iter().take_while(|byte| is_line_end(**byte)).count();
            let Some(length) = self.unread[empty..].windows(4).position(|window| window == HEAD_END) else {
                return false;
            };
            let head: Vec<u8> = self.unread.drain(..empty + length + 4).skip(empty).collect();
            let announced = String::from_utf8_lossy(&head).split_once("Length: ").map(|(_, rest)| rest.to_owned());
            self.body_left = announced.map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
            self.heads.push(head);
            self.has_begun = false;
            true
        }
    }

    #[track_caller]
    fn check(pieces: &[&[u8]], expected: &str) {
        let mut reader = Reader::default();
        pieces.iter().for_each(|piece| reader.receive(piece));
        let heads = String::from_utf8(reader.heads.concat()).expect("text");
        assert_eq!(heads.escape_default().to_string(), expected.escape_default().to_string());
    }

    #[test]
    fn only_the_query_is_spelt() {
        let [quote, less, high] = ["\u{10FF22}", "\u{10FF3C}", "\u{10FFFC}"];
        let head = |query: &str| format!("GET /a\"b?{query} HTTP/1.1\r\nX: \"<?\"\r\n\r\n");
        let spelt = head(&format!("{quote}{less}ü"));

        check(&[head("\"<ü").as_bytes()], &spelt);
        check(&[b"GET /?\xfc HTTP/1.1\r\n\r\n"], &format!("GET /?{high} HTTP/1.1\r\n\r\n"));
        check(
            &[b"GET /?\"", b"< HTTP/1.1\r\nX: \"\r\n\r\n"],
            &format!("GET /?{quote}{less} HTTP/1.1\r\nX: \"\r\n\r\n"),
        );
        check(&[b"GET / HTTP/1.1\r\nX: ?\"\r\n\r\n"], "GET / HTTP/1.1\r\nX: ?\"\r\n\r\n");
    }

    #[test]
    fn a_head_that_began_behind_a_body_is_never_spelt_in_the_wrong_place() {
        let post = b"POST / HTTP/1.1\r\nLength: 3\r\n\r\nabcGET / HTTP/1.1\r\nX: /".as_slice();
        let whole = "POST / HTTP/1.1\r\nLength: 3\r\n\r\nGET / HTTP/1.1\r\nX: /?\"a\"\r\n\r\n";

        check(&[post, b"?\"a\"\r\n\r\n"], whole);
    }

    #[test]
    fn what_stands_in_a_path_is_named_with_its_place() {
        for (line, expected) in [
            (b"\r\nGET /a<b?< HTTP/1.1\r\n".as_slice(), Some((b'<', 7))),
            (b"GET /\xfc HTTP/1.1\r\n", Some((0xfc, 6))),
            (b"GET /?< HTTP/1.1\r\nX: <\r\n", None),
        ] {
            let mut reader = Reader::default();
            for byte in line {
                reader.receive(&[*byte]);
            }
            assert_eq!(reader.lines.refused(), expected, "{}", line.escape_ascii());
        }
    }

    fn request() -> impl Strategy<Value = Vec<u8>> {
        let bytes = prop_oneof![Just(b'"'), Just(b'<'), Just(b'?'), Just(0xff), Just(0xf4), Just(b'a'), Just(b'/')];
        let query = prop::collection::vec(bytes.clone(), 0..6);
        let value = prop::collection::vec(bytes.clone(), 0..6);
        let body = prop::collection::vec(prop_oneof![bytes, Just(b'\r'), Just(b'\n'), Just(b' ')], 1..9);
        (query, value, prop::option::of(body)).prop_map(|(query, value, body)| {
            let method: &[u8] = if body.is_some() { b"POST /?" } else { b"GET /?" };
            let length = body.as_ref().map(|body| format!("Length: {}\r\n", body.len())).unwrap_or_default();
            let tail: &[u8] = b"\r\n\r\n";
            let head = [method, &query, b" HTTP/1.1\r\n", length.as_bytes(), b"X: ", &value, tail].concat();
            [head, body.unwrap_or_default()].concat()
        })
    }

    proptest! {
        /// However the bytes arrive, each head is the one that was sent, but for its query; and that one means the same.
        #[test]
        fn heads_come_out_as_they_went_in_however_they_are_cut(
            requests in prop::collection::vec(request(), 1..6),
            cuts in prop::collection::vec(1_usize..40, 1..30),
        ) {
            let sent = requests.concat();
            let mut untouched = Reader { unread: sent.clone(), ..Reader::default() };
            while untouched.take() {}
            let mut reader = Reader::default();
            let (mut rest, mut cuts) = (&sent[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, further) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                reader.receive(piece);
                rest = further;
            }

            prop_assert_eq!(reader.heads.len(), requests.len());
            prop_assert_eq!(&reader.bodies, &untouched.bodies);
            // Behind a body that hyper got in pieces nobody knows where a head begins.
            let mut follows_body = false;
            for (head, original) in reader.heads.iter().zip(&untouched.heads) {
                let line_end = |head: &[u8]| head.iter().position(|byte| *byte == b'\n').unwrap();
                let (line, fields) = head.split_at(line_end(head));
                let (sent_line, sent_fields) = original.split_at(line_end(original));
                prop_assert_eq!(fields, sent_fields);
                match std::str::from_utf8(line) {
                    Ok(text) if line != sent_line || !may_need_spelling(line) => {
                        prop_assert_eq!(&*as_read(text), sent_line);
                    }
                    // Then it is refused.
                    _ => prop_assert!(follows_body && line == sent_line, "{}", line.escape_ascii()),
                }
                follows_body |= head.starts_with(b"POST");
            }
        }
    }
}
