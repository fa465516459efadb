//! The head of an answer, or its trailers, put together of what was read (RFC 9113 §8). Pure.

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};
use http::{Response, StatusCode, Version};

use super::hpack::{ReceivedField, ReceivedName};
use crate::transport::bounds::{HEAD_BYTES, HEAD_FIELDS};

/// What an answer begins with.
#[derive(Debug)]
pub(super) struct AnswerHead {
    pub(super) status: StatusCode,
    pub(super) fields: HeaderMap,
    /// How long its body is, if it says so.
    pub(super) length: Option<u64>,
}

/// Why a head is none that can be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadFault {
    /// RFC 9113 §8.1.1.
    Malformed,
    /// More than HTTP/1.1 would let pass either, in words.
    TooMuch(&'static str),
}

/// Takes the fields of one head as they are read. Past the first fault nothing is kept: they are read on only for what the
/// connection's next heads refer to.
pub(super) struct HeadBuilder {
    status: Option<StatusCode>,
    fields: HeaderMap,
    length: Option<u64>,
    /// As RFC 9113 §6.5.2 counts.
    bytes: usize,
    fault: Option<HeadFault>,
}

impl HeadBuilder {
    /// Puts what it gets into `fields`, which are empty.
    pub(super) fn new(fields: HeaderMap) -> Self {
        Self { status: None, fields, length: None, bytes: 0, fault: None }
    }

    pub(super) fn take(&mut self, field: ReceivedField) {
        if self.fault.is_none() {
            self.fault = self.note(field).err();
        }
    }

    /// # Errors
    ///
    /// When it is none.
    pub(super) fn into_head(self) -> Result<AnswerHead, HeadFault> {
        match (self.fault, self.status) {
            (Some(fault), _) => Err(fault),
            (None, Some(status)) => Ok(AnswerHead { status, fields: self.fields, length: self.length }),
            (None, None) => Err(HeadFault::Malformed),
        }
    }

    /// # Errors
    ///
    /// When these are none: they have no pseudo-header field (§8.1).
    pub(super) fn into_trailers(self) -> Result<HeaderMap, HeadFault> {
        match (self.fault, self.status) {
            (Some(fault), _) => Err(fault),
            (None, Some(_)) => Err(HeadFault::Malformed),
            (None, None) => Ok(self.fields),
        }
    }

    fn note(&mut self, field: ReceivedField) -> Result<(), HeadFault> {
        let bytes = field.bytes();
        let value = field.value.ok_or(HeadFault::Malformed)?;
        let name = match field.name {
            ReceivedName::Plain(name) => name,
            ReceivedName::Status => return self.note_status(&value),
            ReceivedName::Forbidden => return Err(HeadFault::Malformed),
        };
        if is_of_connection(&name, &value) {
            return Err(HeadFault::Malformed);
        }
        self.bytes += bytes;
        if self.bytes > HEAD_BYTES {
            return Err(TOO_LONG);
        }
        if self.fields.len() == HEAD_FIELDS {
            return Err(TOO_MANY);
        }
        if name == CONTENT_LENGTH {
            let length = digits(value.as_bytes()).ok_or(HeadFault::Malformed)?;
            if self.length.replace(length).is_some() {
                return Err(TWO_LENGTHS);
            }
        }
        self.fields.append(name, value);
        Ok(())
    }

    /// It stands before all others, and once.
    fn note_status(&mut self, value: &HeaderValue) -> Result<(), HeadFault> {
        let status = StatusCode::from_bytes(value.as_bytes()).map_err(|_| HeadFault::Malformed)?;
        let is_first = self.fields.is_empty() && self.status.replace(status).is_none();
        if is_first { Ok(()) } else { Err(HeadFault::Malformed) }
    }
}

impl AnswerHead {
    pub(super) fn is_interim(&self) -> bool {
        self.status.is_informational()
    }

    /// Whether no body follows it, whatever it says of one (RFC 9110 §6.4.1).
    pub(super) fn is_bodiless(&self) -> bool {
        matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }

    pub(super) fn with_body<B>(self, body: B) -> Response<B> {
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.version_mut() = Version::HTTP_2;
        *response.headers_mut() = self.fields;
        response
    }
}

/// What is between two ends of an HTTP/1.1 connection, and has no meaning here (RFC 9113 §8.2.2).
fn is_of_connection(name: &HeaderName, value: &HeaderValue) -> bool {
    match *name {
        CONNECTION | TRANSFER_ENCODING | UPGRADE => true,
        TE => value != "trailers",
        _ => matches!(name.as_str(), "keep-alive" | "proxy-connection"),
    }
}

/// Digits only: no sign, no list (RFC 9110 §8.6).
fn digits(text: &[u8]) -> Option<u64> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    let add = |sum: u64, byte| sum.checked_mul(10)?.checked_add(digit(byte)?);
    if text.is_empty() { None } else { text.iter().try_fold(0, add) }
}

const TOO_LONG: HeadFault = HeadFault::TooMuch("its head is longer than 64 KiB");
const TOO_MANY: HeadFault = HeadFault::TooMuch("its head has more than 100 fields");
const TWO_LENGTHS: HeadFault = HeadFault::TooMuch("it has two `Content-Length`");

#[cfg(test)]
mod tests {
    use super::*;

    fn built(lines: &[(&str, &str)]) -> HeadBuilder {
        let mut head = HeadBuilder::new(HeaderMap::new());
        for (name, value) in lines {
            let field = ReceivedField {
                name: match HeaderName::from_lowercase(name.as_bytes()) {
                    Ok(name) => ReceivedName::Plain(name),
                    Err(_) if *name == ":status" => ReceivedName::Status,
                    Err(_) => ReceivedName::Forbidden,
                },
                value: HeaderValue::from_str(value).ok(),
                name_bytes: name.len(),
                value_bytes: value.len(),
            };
            head.take(field);
        }
        head
    }

    #[track_caller]
    fn malformed(lines: &[(&str, &str)]) {
        assert_eq!(built(lines).into_head().unwrap_err(), HeadFault::Malformed, "{lines:?}");
    }

    #[test]
    fn a_head_has_one_status_before_all_else_and_nothing_of_a_connection() {
        let head = built(&[(":status", "200"), ("content-length", "12"), ("x", ""), ("x", "\u{fc}")]).into_head();
        let head = head.unwrap();
        assert_eq!((head.status, head.length, head.fields.len()), (StatusCode::OK, Some(12), 3));

        malformed(&[]);
        malformed(&[("x", "y")]);
        malformed(&[("x", "y"), (":status", "200")]);
        malformed(&[(":status", "200"), (":status", "200")]);
        for status in ["", "20", "2000", "abc", "+20", "099"] {
            malformed(&[(":status", status)]);
        }
        for (name, value) in [
            (":method", "GET"),
            (":x", "y"),
            ("X", "y"),
            ("x y", "z"),
            ("", "x"),
            ("x", "\0"),
            ("x", "a\r\nb: c"),
            ("connection", "close"),
            ("keep-alive", "1"),
            ("proxy-connection", "close"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "gzip"),
            ("content-length", "1,1"),
            ("content-length", "+1"),
            ("content-length", ""),
            ("content-length", "18446744073709551616"),
        ] {
            malformed(&[(":status", "200"), (name, value)]);
        }
    }

    #[test]
    fn more_than_is_borne_is_told() {
        let long = "x".repeat(HEAD_BYTES - 33);
        assert!(built(&[(":status", "200"), ("x", &long)]).into_head().is_ok());
        assert_eq!(built(&[(":status", "200"), ("x", &long), ("y", "")]).into_head().unwrap_err(), TOO_LONG);
        let many = vec![("x", ""); HEAD_FIELDS];
        assert!(built(&[&[(":status", "200")][..], &many].concat()).into_head().is_ok());
        assert_eq!(built(&[&[(":status", "200"), ("x", "")][..], &many].concat()).into_head().unwrap_err(), TOO_MANY);
        let twice = [(":status", "200"), ("content-length", "5"), ("content-length", "5")];
        assert_eq!(built(&twice).into_head().unwrap_err(), TWO_LENGTHS);
    }

    #[test]
    fn trailers_have_no_status() {
        assert_eq!(built(&[("grpc-status", "0")]).into_trailers().unwrap().len(), 1);
        assert_eq!(built(&[(":status", "200")]).into_trailers().unwrap_err(), HeadFault::Malformed);
    }
}
