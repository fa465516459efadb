//! Heads of HTTP/1.1: a request's is written, an answer's is read (RFC 9112). Pure: bytes and fields, no connection.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::BytesMut;
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING,
};
use http::{Method, StatusCode, Version};
use httparse::{Header, ParserConfig, Status};
use hyper::body::Body as _;
use hyper::ext::ReasonPhrase;

use super::body::AnswerRest;
use crate::raw_query::target_as_read;
use crate::transport::bounds::{HEAD_BYTES, HEAD_FIELDS};
use crate::transport::{Outgoing, ProtocolSwitch, Spelling};

/// How a request's body is framed (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
}

/// An answer's status line, and what its fields say of the message.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    /// Only if it is not the usual one; hyper's server writes it then.
    pub(super) reason: Option<ReasonPhrase>,
    length: Option<u64>,
    coding: Option<Coding>,
    close: bool,
}

/// What is no HTTP/1.1 as we read it, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Chunked,
    Other,
}

impl Framing {
    pub(super) fn of(request: &Outgoing) -> Self {
        if request.body.is_end_stream() {
            return Self::Length(0);
        }
        match request.body.size_hint().exact() {
            Some(length) if !request.fields.contains_key(TRANSFER_ENCODING) => Self::Length(length),
            _ => Self::Chunked,
        }
    }
}

/// Appends the head of `request`: origin-form, `Host` (RFC 9112 §3.2.1), and framing from `framing` alone.
pub(super) fn write(request: &Outgoing, framing: Framing, spelling: Spelling, out: &mut Vec<u8>) {
    let host = request.authority.as_str().as_bytes();
    let target = target_as_read(&request.target);
    for part in [request.method.as_str().as_bytes(), b" ", &target, b" HTTP/1.1\r\n"] {
        out.extend_from_slice(part);
    }
    // RFC 9110 §7.2 wants it at the front; where the fields keep a place for it, that is there.
    if !request.fields.contains_key(HOST) {
        write_field(&HOST, host, spelling, out);
    }
    let mut has_te = false;
    for (name, value) in &request.fields {
        match *name {
            HOST => write_field(name, host, spelling, out),
            // Whoever else says where the body ends would be believed by somebody.
            CONTENT_LENGTH | TRANSFER_ENCODING | CONNECTION => {}
            _ => {
                has_te |= *name == TE;
                write_field(name, value.as_bytes(), spelling, out);
            }
        }
    }
    match framing {
        Framing::Chunked => write_field(&TRANSFER_ENCODING, b"chunked", spelling, out),
        // Some servers answer 411 to a POST that says nothing of its length (RFC 9110 §8.6).
        Framing::Length(0) if !has_body_by_nature(&request.method) => {}
        Framing::Length(length) => write_length(length, spelling, out),
    }
    // A server that passes them on must know that they were meant for itself (RFC 9110 §7.8, §10.1.4).
    match (request.switch, has_te) {
        (ProtocolSwitch::NotAsked, false) => {}
        (ProtocolSwitch::NotAsked, true) => write_field(&CONNECTION, b"te", spelling, out),
        // With a capital letter, as everybody writes it: some services compare no other way.
        (ProtocolSwitch::Asked, false) => write_field(&CONNECTION, b"Upgrade", spelling, out),
        (ProtocolSwitch::Asked, true) => write_field(&CONNECTION, b"Upgrade, te", spelling, out),
    }
    out.extend_from_slice(b"\r\n");
}

/// The trailers that `request` announces: no others go out (RFC 9110 §6.6.2).
pub(super) fn announced(request: &Outgoing) -> Vec<HeaderName> {
    let lines = request.fields.get_all(TRAILER).into_iter();
    let members = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let names = members.filter_map(|member| HeaderName::from_bytes(member.trim_ascii()).ok());
    // A cache must know it before the body; what else no trailer may be was taken out by the body's screen.
    names.filter(|name| *name != CACHE_CONTROL).collect()
}

pub(super) fn write_field(name: &HeaderName, value: &[u8], spelling: Spelling, out: &mut Vec<u8>) {
    let name = name.as_str().as_bytes();
    out.reserve(name.len() + value.len() + 4);
    match spelling {
        Spelling::LowerCase => out.extend_from_slice(name),
        Spelling::TitleCase => write_title_case(name, out),
    }
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn write_title_case(name: &[u8], out: &mut Vec<u8>) {
    let mut before = b'-';
    for &byte in name {
        out.push(if before == b'-' { byte.to_ascii_uppercase() } else { byte });
        before = byte;
    }
}

fn write_length(length: u64, spelling: Spelling, out: &mut Vec<u8>) {
    write_field(&CONTENT_LENGTH, HeaderValue::from(length).as_bytes(), spelling, out);
}

/// Methods whose requests have a body, if only an empty one.
fn has_body_by_nature(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// Takes a head off the front of `read`, its fields into `fields` (an interim answer's are dropped); `None` if it is
/// not all there. Values are slices of what was read.
///
/// # Errors
///
/// When there will be no head of HTTP/1.x, whatever else comes, or one that is too large.
pub(super) fn parse(read: &mut BytesMut, fields: &mut HeaderMap) -> Result<Option<Head>, Malformed> {
    let mut lines = [MaybeUninit::uninit(); HEAD_FIELDS];
    let mut places = [FieldSpan::default(); HEAD_FIELDS];
    let mut answer = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut answer, read, &mut lines);
    let bytes = match parsed {
        Ok(Status::Complete(bytes)) if bytes <= HEAD_BYTES => bytes,
        Ok(Status::Partial) if read.len() <= HEAD_BYTES => return Ok(None),
        Ok(_) => return Err(TOO_LONG),
        // An alert, to a request that is no handshake.
        Err(_) if read.starts_with(&TLS_ALERT) => return Err(SPEAKS_TLS),
        Err(error) => return Err(Malformed(in_words(error))),
    };
    let code = answer.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Malformed("it has no status"))?;
    let version = if answer.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let reason = answer.reason.filter(|reason| Some(*reason) != code.canonical_reason());
    let reason = reason.and_then(|reason| ReasonPhrase::try_from(reason.as_bytes()).ok());
    let count = answer.headers.len();
    for (place, line) in places.iter_mut().zip(answer.headers.iter()) {
        *place = FieldSpan::of(line, read);
    }

    let text = read.split_to(bytes).freeze();
    let mut head = Head { status: code, version, reason, length: None, coding: None, close: false };
    if head.is_interim() {
        return Ok(Some(head));
    }
    fields.clear();
    fields.reserve(count);
    // Invariant: the parser found so many fields, each of them within the head that was split off.
    for place in &places[..count] {
        let name = HeaderName::from_bytes(&text[place.name()]);
        let value = HeaderValue::from_maybe_shared(text.slice(place.value()));
        let (Ok(name), Ok(value)) = (name, value) else { return Err(Malformed("one of its fields is none")) };
        head.note(&name, &value)?;
        fields.append(name, value);
    }
    Ok(Some(head))
}

/// Whether a head or trailers may end in `bytes`, of which the first `looked` were found to hold no end: spares
/// parsing from the start at each of many small reads.
pub(super) fn may_end(bytes: &[u8], looked: usize) -> bool {
    // Invariant: what was looked at is still there, and a line's end is within the news.
    let news = &bytes[looked.saturating_sub(2)..];
    let line_ends = || news.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| &news[at + 1..]);
    looked == 0 || line_ends().any(|rest| rest.starts_with(b"\n") || rest.starts_with(b"\r\n"))
}

/// Trailers, once all of `read` up to the empty line is there; as fields are read in a head.
pub(super) fn parse_trailers(read: &mut BytesMut) -> Result<Option<HeaderMap>, Malformed> {
    let mut lines = [httparse::EMPTY_HEADER; HEAD_FIELDS];
    match httparse::parse_headers(read, &mut lines) {
        Ok(Status::Complete((bytes, lines))) if bytes <= HEAD_BYTES => {
            let mut trailers = HeaderMap::with_capacity(lines.len());
            for line in lines {
                let (name, value) = (HeaderName::from_bytes(line.name.as_bytes()), HeaderValue::from_bytes(line.value));
                let (Ok(name), Ok(value)) = (name, value) else { return Err(Malformed("one of its trailers is none")) };
                trailers.append(name, value);
            }
            let text = read.split_to(bytes);
            // No line is empty but the last, so each line end is whole if each line ends in CR.
            let whole = text.split_inclusive(|byte| *byte == b'\n').all(|line| line.ends_with(b"\r\n"));
            if whole { Ok(Some(trailers)) } else { Err(Malformed("a line of its trailers ends without CR")) }
        }
        Ok(Status::Partial) if read.len() <= HEAD_BYTES => Ok(None),
        Ok(_) => Err(Malformed("its trailers are longer than 64 KiB")),
        Err(error) => Err(Malformed(in_words(error))),
    }
}

impl Head {
    pub(super) fn is_interim(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }

    /// Whether another request may follow on the connection, as far as the head says.
    ///
    /// After HTTP/1.0 none does: who claims to keep the connection alive does so in ways of his own.
    pub(super) fn keeps_alive(&self) -> bool {
        let two_framings = self.coding.is_some() && self.length.is_some();
        self.version == Version::HTTP_11 && !self.close && !two_framings && !self.announces_the_impossible()
    }

    /// Whether the service gives up an idle connection with these words, as it may (RFC 9110 §15.5.9).
    pub(super) fn gives_up_waiting(&self) -> bool {
        self.status == StatusCode::REQUEST_TIMEOUT && self.close
    }

    /// Whether it says that a body follows where none may. The answer itself is a good one, so the app gets it; but who
    /// writes such a head may write the body too, and it would answer the next request.
    pub(super) fn announces_the_impossible(&self) -> bool {
        let announces = self.coding.is_some() || self.length.is_some_and(|length| length > 0);
        match self.status {
            // RFC 9110 §8.6, RFC 9112 §6.1.
            StatusCode::NO_CONTENT => announces,
            // It has no content either (§15.3.6), but without a length of zero its framing says "until the end"
            // (RFC 9112 §6.3).
            StatusCode::RESET_CONTENT => announces || self.length.is_none(),
            _ => false,
        }
    }

    /// What follows the head (RFC 9112 §6.3, in its order).
    pub(super) fn rest(&self, method: &Method) -> Result<AnswerRest, Malformed> {
        let bodiless = [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED];
        if *method == Method::HEAD || bodiless.contains(&self.status) {
            return Ok(AnswerRest::Over);
        }
        match (self.coding, self.length) {
            (Some(Coding::Chunked), _) if self.version == Version::HTTP_11 => Ok(AnswerRest::chunked()),
            (Some(_), _) => Err(Malformed("its transfer coding is not the one of HTTP/1.1, `chunked`")),
            (None, Some(0)) => Ok(AnswerRest::Over),
            (None, Some(length)) => Ok(AnswerRest::Length(length)),
            (None, None) => Ok(AnswerRest::UntilClose),
        }
    }

    fn note(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<(), Malformed> {
        match *name {
            CONTENT_LENGTH => {
                let length = digits(value.as_bytes()).ok_or(Malformed("its `Content-Length` is no number"))?;
                if self.length.replace(length).is_some() {
                    return Err(Malformed("it has two `Content-Length`"));
                }
            }
            TRANSFER_ENCODING => {
                let chunked = self.coding.is_none() && value.as_bytes().eq_ignore_ascii_case(b"chunked");
                self.coding = Some(if chunked { Coding::Chunked } else { Coding::Other });
            }
            CONNECTION => {
                let mut options = value.as_bytes().split(|byte| *byte == b',');
                self.close |= options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Where a field stands in what was read: name and value, each from and to.
#[derive(Clone, Copy, Default)]
struct FieldSpan([u32; 4]);

impl FieldSpan {
    fn of(line: &Header<'_>, read: &[u8]) -> Self {
        let name = line.name.as_ptr().addr() - read.as_ptr().addr();
        let value = line.value.as_ptr().addr() - read.as_ptr().addr();
        // No head is longer than HEAD_BYTES.
        Self([name, name + line.name.len(), value, value + line.value.len()].map(|at| at as u32))
    }

    // Invariant: four places are four.
    fn name(self) -> Range<usize> {
        self.0[0] as usize..self.0[1] as usize
    }

    fn value(self) -> Range<usize> {
        self.0[2] as usize..self.0[3] as usize
    }
}

/// Digits only: no sign, no list (RFC 9110 §8.6).
fn digits(text: &[u8]) -> Option<u64> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    let add = |sum: u64, byte| sum.checked_mul(10)?.checked_add(digit(byte)?);
    if text.is_empty() { None } else { text.iter().try_fold(0, add) }
}

fn in_words(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "the name of a field has bytes that no name has",
        httparse::Error::HeaderValue => "the value of a field has bytes that no value has",
        httparse::Error::Version => "it names no version of HTTP/1",
        httparse::Error::Status => "its status line is malformed",
        httparse::Error::NewLine => "one of its lines ends in the middle of a line end",
        httparse::Error::TooManyHeaders => "it has more than 100 fields",
        httparse::Error::Token => "a line is none of HTTP/1",
    }
}

/// An alert of any version (RFC 8446 §5.1).
const TLS_ALERT: [u8; 2] = [21, 3];
const SPEAKS_TLS: Malformed =
    Malformed("it answers with a TLS alert; if this port speaks TLS, its url begins with https://");
pub(super) const TOO_LONG: Malformed = Malformed("its head is longer than 64 KiB");
