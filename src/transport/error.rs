//! Why there is no connection, or no answer on it; of HTTP/2, hyper's and h2's errors in the words of our answers.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use super::body::BodyError;
use crate::code::Code;
use crate::tls::Failure;

/// Why there is no connection, or no answer on it. `Clone`, as requests that wait for one connection share its failure.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("`{host}` can't be looked up: {reason}")]
    Lookup { host: String, reason: String },
    #[error("looking up `{host}` took longer than {limit:?}")]
    LookupTimeout { host: String, limit: Duration },
    /// Refused, or out of reach.
    #[error("no connection to {address}: {reason}")]
    Refused { address: String, reason: String },
    #[error("connecting to {address} took too long: {reason}")]
    Timeout { address: String, reason: String },
    /// The connection or stream ended before the answer's head.
    #[error("the service closed the connection before it answered: {0}")]
    Terminated(String),
    /// Our side does not trust the service's certificate.
    #[error("{0}")]
    Certificate(String),
    /// The service refused the handshake, maybe only after the request was written (TLS 1.3).
    #[error("{0}")]
    Alert(String),
    #[error("{0}")]
    Tls(String),
    #[error("the service does not speak HTTP as it should: {0}")]
    Protocol(String),
    /// The answer's body broke off.
    #[error("the service's answer broke off: {0}")]
    Incomplete(String),
    /// The app's body broke off.
    #[error("{0}")]
    RequestBody(String),
}

impl Error {
    /// The word of our answer.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Lookup { .. } => Code::DnsError,
            Self::LookupTimeout { .. } => Code::DnsTimeout,
            Self::Refused { .. } => Code::ConnectionRefused,
            Self::Timeout { .. } => Code::ConnectionTimeout,
            Self::Terminated(_) => Code::ConnectionTerminated,
            Self::Certificate(_) => Code::TlsCertificateError,
            Self::Alert(_) => Code::TlsAlertReceived,
            Self::Tls(_) => Code::TlsProtocolError,
            Self::Protocol(_) => Code::HttpProtocolError,
            Self::Incomplete(_) => Code::HttpResponseIncomplete,
            Self::RequestBody(_) => Code::BadRequest,
        }
    }

    /// The body of an answer broke off on HTTP/2.
    pub(super) fn incomplete(error: &hyper::Error) -> Self {
        Self::Incomplete(whole_text(error))
    }

    /// TCP did not get through to `address`.
    pub(super) fn unconnected(address: String, error: &io::Error) -> Self {
        let reason = error.to_string();
        match error.kind() {
            io::ErrorKind::TimedOut => Self::Timeout { address, reason },
            _ => Self::Refused { address, reason },
        }
    }

    /// An exchange of HTTP/2 ended without an answer.
    pub(super) fn unanswered(error: &hyper::Error) -> Self {
        if let Some(stream) = source_of::<h2::Error>(error) {
            return Self::of_stream(stream);
        }
        if let Some(broken) = source_of::<BodyError>(error) {
            return Self::RequestBody(broken.to_string());
        }
        Self::Terminated(whole_text(error))
    }

    fn of_stream(error: &h2::Error) -> Self {
        let reset_by_us = error.is_reset() && !error.is_remote() && !error.is_library();
        if reset_by_us {
            return Self::RequestBody("the app's body broke off".to_owned());
        }
        if error.is_remote() || error.is_io() {
            return Self::Terminated(error.to_string());
        }
        Self::Protocol(error.to_string())
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Certificate(text) => Self::Certificate(text),
            Failure::Alert(text) => Self::Alert(text),
            Failure::Protocol(text) => Self::Tls(text),
            Failure::Io(error) => Self::Terminated(error.to_string()),
        }
    }
}

/// Whether the service said that it did nothing with the request: a GOAWAY that does not cover its stream
/// (RFC 9113 §6.8), or REFUSED_STREAM (§8.7).
pub(super) fn disclaims(error: &hyper::Error) -> bool {
    source_of::<h2::Error>(error).is_some_and(|error| {
        error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

fn source_of<E: StdError + 'static>(error: &hyper::Error) -> Option<&E> {
    std::iter::successors(error.source(), |&error| error.source()).find_map(|error| error.downcast_ref())
}

/// hyper's errors leave their causes to the reader.
fn whole_text(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let causes = std::iter::successors(error.source(), |&error| error.source());
    for cause in causes.map(ToString::to_string).filter(|cause| !cause.is_empty()) {
        text.push_str(": ");
        text.push_str(&cause);
    }
    text
}
