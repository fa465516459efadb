//! Why there is no connection, or no answer on it; of HTTP/2, h2's errors in the words of our answers.

use std::io;
use std::time::Duration;

use crate::code::Code;
use crate::tls::TlsFailure;

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
    /// The query has a byte that RFC 3986 forbids.
    #[error(
        "the query has the byte {}, which can't be sent over HTTP/2: write it as `%{byte:02X}`, or set `http_version: 1.1` \
         for the service",
        legible_byte(*.byte)
    )]
    Target { byte: u8 },
    /// A fault of ours, which the log tells of.
    #[error("connecting failed by a fault of Sidekey's own; its log has the place")]
    Panicked,
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
            Self::RequestBody(_) | Self::Target { .. } => Code::BadRequest,
            Self::Panicked => Code::InternalError,
        }
    }

    /// The body of an answer broke off on HTTP/2.
    pub(super) fn incomplete(error: &h2::Error) -> Self {
        if is_reset_by_us(error) {
            return Self::RequestBody(BROKEN_OFF.to_owned());
        }
        Self::Incomplete(reason(error))
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
    pub(super) fn unanswered(error: &h2::Error) -> Self {
        if is_reset_by_us(error) {
            return Self::RequestBody(BROKEN_OFF.to_owned());
        }
        if error.is_remote() || error.is_io() {
            return Self::Terminated(reason(error));
        }
        Self::Protocol(reason(error))
    }
}

impl From<TlsFailure> for Error {
    fn from(failure: TlsFailure) -> Self {
        match failure {
            TlsFailure::Certificate(text) => Self::Certificate(text),
            TlsFailure::Alert(text) => Self::Alert(text),
            TlsFailure::Protocol(text) => Self::Tls(text),
            TlsFailure::Io(error) => Self::Terminated(error.to_string()),
        }
    }
}

/// Whether the service said that it did nothing with the request: a GOAWAY that does not cover its stream
/// (RFC 9113 §6.8), or REFUSED_STREAM (§8.7).
pub(super) fn disclaims(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
}

/// Only the app's body that broke off makes us reset a stream on which somebody still waits.
fn is_reset_by_us(error: &h2::Error) -> bool {
    error.is_reset() && !error.is_remote() && !error.is_library()
}

/// What happened, in words of ours and h2's alone: what else a GOAWAY says is the service's to choose, and may repeat a
/// secret that it was sent.
fn reason(error: &h2::Error) -> String {
    let Some(reason) = error.reason() else {
        return error.get_io().map_or_else(|| "the connection takes no more requests".to_owned(), of_socket);
    };
    let what = match (error.is_remote(), error.is_go_away()) {
        (true, true) => "it ended the connection",
        (true, false) => "it reset the stream",
        (false, true) => "its connection had to be given up",
        (false, false) => "its stream had to be reset",
    };
    format!("{what}: {}", reason.description())
}

fn legible_byte(byte: u8) -> String {
    match byte {
        b'!'..=b'~' => format!("`{}`", char::from(byte)),
        other => format!("0x{other:02X}"),
    }
}

/// What became of the socket. h2 calls the other side's end a broken pipe, which nobody's pipe is.
fn of_socket(error: &io::Error) -> String {
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::BrokenPipe, None) => "it closed the connection".to_owned(),
        _ => error.to_string(),
    }
}

const BROKEN_OFF: &str = "the app's body broke off";

/// No answer came.
pub(crate) struct Unsent {
    pub(crate) error: Error,
    /// The request is whole again, as if it had never been sent: not a byte of it had left.
    pub(crate) whole: bool,
    /// No byte of it had left, or the service said that it did nothing with it (GOAWAY beyond the last stream,
    /// REFUSED_STREAM).
    pub(crate) not_processed: bool,
}

impl Unsent {
    /// It was answered, but not with anything that can be passed on.
    pub(super) fn finally(error: Error) -> Self {
        Self { error, whole: false, not_processed: false }
    }
}
