//! Whether a client's connection persists after an exchange (RFC 9112 §9.3): decided once, with the answer's head, and
//! said there.

use http::header::CONNECTION;
use http::{HeaderMap, HeaderValue, Response, Version, request};
use hyper::body::Body as _;

use crate::incoming::{BodyEnd, IncomingBody};
use crate::proxy::{DrainPhase, ResponseBody};

/// Whether a connection persists after an exchange (RFC 9112 §9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// Another request may follow.
    Again,
    /// What still comes is no request.
    Last(RequestRest),
    /// What still comes is a tunnel's.
    Tunnel,
}

/// What becomes of the rest of a request that was answered before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestRest {
    /// Whoever reads it may read on.
    Wanted,
    /// It was refused.
    Unwanted,
}

/// What a request says of its connection.
#[derive(Debug)]
pub(super) struct RequestPersistence {
    version: Version,
    /// The client will send another request, for all it says.
    persists: bool,
    body: BodyEnd,
}

impl RequestPersistence {
    pub(super) fn of(head: &request::Parts, body: &IncomingBody) -> Self {
        let (version, fields) = (head.version, &head.headers);
        let persists = if version == Version::HTTP_11 {
            !has_option(fields, "close")
        } else {
            has_option(fields, "keep-alive") && !has_option(fields, "close")
        };
        Self { version, persists, body: body.end() }
    }

    /// Of no request.
    pub(super) fn none() -> Self {
        Self { version: Version::HTTP_11, persists: false, body: BodyEnd::none() }
    }

    /// Whether all of the request has been read.
    pub(super) fn is_read(&self) -> bool {
        self.body.is_reached()
    }

    /// Decides with the head of `answer`, and says so in it: no port does that itself.
    ///
    /// A body that is not read to its end by now may never be, and what follows it can't be told from it. So that is the
    /// end, even where the rest is read a moment later.
    pub(super) fn persist(&self, answer: &mut Response<ResponseBody>, drain: DrainPhase) -> Persistence {
        let persists = self.persists
            && drain == DrainPhase::Ahead
            && self.body.is_reached()
            && (self.version == Version::HTTP_11 || answer.body().size_hint().exact().is_some());
        if persists {
            return Persistence::Again;
        }
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        if self.version != Version::HTTP_11 {
            // hyper would say `keep-alive` beside it in an answer that is not of the client's own version.
            *answer.version_mut() = Version::HTTP_10;
        }
        let refused = answer.status().is_client_error() || answer.status().is_server_error();
        Persistence::Last(if refused { RequestRest::Unwanted } else { RequestRest::Wanted })
    }
}

/// Whether `Connection` has this option.
fn has_option(fields: &HeaderMap, option: &str) -> bool {
    fields.get_all(CONNECTION).iter().any(|line| is_among(option.as_bytes(), line.as_bytes()))
}

fn is_among(option: &[u8], line: &[u8]) -> bool {
    // Nearly always it is one of these, and every request comes here.
    if line == b"keep-alive" || line == b"close" {
        return line == option;
    }
    line.split(|byte| *byte == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(option))
}
