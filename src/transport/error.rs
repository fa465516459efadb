//! Why there is no connection, or no answer on it; of HTTP/2, what became of a stream in the words of our answers.

use std::borrow::Cow;

use h2::Reason;

use super::h2::StreamEnding;
use crate::code::Code;
#[cfg(feature = "files")]
use crate::files::{FileError, FileErrorKind, LoginFailure, LoginFailureKind};
use crate::tls::{ServerCertificateError, TlsFailure};

/// Why there is no connection, or no answer on it. `Clone`, as requests that wait for one connection share its failure.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    /// `reason`, here and below: also which proxy is on the way, or why none is. One text for both, as this is moved with every
    /// answer.
    #[error("`{host}` can't be looked up: {reason}")]
    Lookup { host: String, reason: String },
    #[error("looking up `{host}` took too long: {reason}")]
    LookupTimeout { host: String, reason: String },
    /// Refused, or out of reach.
    #[error("no connection to {address}: {reason}")]
    Refused { address: String, reason: String },
    #[error("connecting to {address} took too long: {reason}")]
    Timeout { address: String, reason: String },
    /// The outbound proxy opened no tunnel. `refused`: by what it was told to do, so that it would say the same again.
    #[error("the outbound proxy {what}")]
    Proxy { what: String, code: Code, refused: bool },
    /// The connection or stream ended before the answer's head.
    #[error("the service closed the connection before it answered: {0}")]
    Terminated(String),
    /// Our side does not trust the service's certificate.
    #[error("{0}")]
    Certificate(Box<ServerCertificateError>),
    /// The service refused the handshake, maybe only after the request was written (TLS 1.3).
    #[error("{0}")]
    Alert(String),
    /// It did so as it speaks none of the HTTP versions that were offered.
    #[error("{0}")]
    NoProtocol(String),
    #[error("{0}")]
    Tls(String),
    #[error("the service does not speak HTTP as it should: {0}")]
    Protocol(String),
    /// The answer's body broke off.
    #[error("the service's answer broke off: {0}")]
    Incomplete(String),
    /// HTTP_1_1_REQUIRED (RFC 9113 §7): nothing was done with the request. Told only where it can't be sent again.
    #[error(
        "the service takes this request over HTTP/1.1 only, and too much of its body was sent over HTTP/2 to send it \
         again; from now on the service is spoken to over HTTP/1.1: repeat the request"
    )]
    Http1Required,
    /// The same, where the config wants HTTP/2.
    #[error("the service takes this request over HTTP/1.1 only: set `http_version` to `auto` or `1.1`")]
    Http1Forbidden,
    /// HTTP/2 has no `Upgrade` (RFC 9113 §8.6), and the config wants nothing else.
    #[error(
        "a WebSocket is asked for over HTTP/1.1, and `http_version: 2` is set for the service: set it to `auto` or `1.1`"
    )]
    UpgradeForbidden,
    /// The handshake for it offered HTTP/1.1 and was refused for that.
    #[error(
        "a WebSocket is asked for over HTTP/1.1, and the service offers HTTP/2 alone: it ended the handshake with the TLS alert \
         no_application_protocol; have it offer HTTP/1.1 as well"
    )]
    Http2Alone,
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
    /// The file server lets nobody in.
    #[cfg(feature = "files")]
    #[error("{0}")]
    Login(LoginFailure),
    /// A WebSocket is asked for where there are only files.
    #[cfg(feature = "files")]
    #[error("a WebSocket is asked for, and this service is a file server")]
    FileUpgrade,
    /// What became of a request for a file.
    #[cfg(feature = "files")]
    #[error("{0}")]
    File(FileError),
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
            Self::Proxy { code, .. } => *code,
            Self::Terminated(_) | Self::Http1Required => Code::ConnectionTerminated,
            Self::Certificate(_) => Code::TlsCertificateError,
            Self::Alert(_) | Self::NoProtocol(_) => Code::TlsAlertReceived,
            Self::Tls(_) => Code::TlsProtocolError,
            Self::Protocol(_) | Self::Http1Forbidden => Code::HttpProtocolError,
            Self::UpgradeForbidden | Self::Http2Alone => Code::HttpUpgradeFailed,
            #[cfg(feature = "files")]
            Self::FileUpgrade => Code::HttpUpgradeFailed,
            Self::Incomplete(_) => Code::HttpResponseIncomplete,
            Self::RequestBody(_) | Self::Target { .. } => Code::BadRequest,
            #[cfg(feature = "files")]
            Self::Login(failure) => of_login(failure.kind),
            #[cfg(feature = "files")]
            Self::File(error) => of_file(error.kind),
            Self::Panicked => Code::InternalError,
        }
    }

    /// Whether there would be no connection the next time either: what a handshake comes to, or a proxy's refusal.
    pub(crate) fn is_verdict(&self) -> bool {
        matches!(self, Self::Proxy { refused: true, .. } | Self::Http2Alone)
            || matches!(
                self.code(),
                Code::TlsCertificateError
                    | Code::TlsAlertReceived
                    | Code::TlsProtocolError
                    | Code::LoginRejected
                    | Code::HostKeyMismatch
                    | Code::FileError
            )
    }

    /// What became of a request for a file; the app's own body is told of as everywhere.
    #[cfg(feature = "files")]
    pub(crate) fn of_file(error: FileError) -> Self {
        match error.kind {
            FileErrorKind::RequestBody => Self::RequestBody(error.what),
            _ => Self::File(error),
        }
    }

    /// What to do about it, where that does not depend on who wanted the connection.
    pub(crate) fn help(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Certificate(why) => Some(why.help().into()),
            Self::Proxy { .. } => {
                Some("check `outbound_proxy`, or `HTTPS_PROXY` and `NO_PROXY` in the environment".into())
            }
            #[cfg(feature = "files")]
            Self::Login(failure) => match failure.kind {
                LoginFailureKind::Lacks => Some(
                    "the server is there and lacks what is wanted: ask the partner whether it offers SFTP, or TLS, and with \
                     which algorithms"
                        .into(),
                ),
                LoginFailureKind::DemandsTls => Some("leave out `tls: off`".into()),
                _ => None,
            },
            _ => None,
        }
    }

    /// The body of an answer broke off on HTTP/2.
    pub(super) fn incomplete(ending: &StreamEnding) -> Self {
        match ending {
            StreamEnding::BrokenOff => Self::RequestBody(BROKEN_OFF.to_owned()),
            ending => Self::Incomplete(in_words(ending)),
        }
    }

    /// An exchange of HTTP/2 ended without an answer.
    pub(super) fn unanswered(ending: &StreamEnding) -> Self {
        match ending {
            StreamEnding::BrokenOff => Self::RequestBody(BROKEN_OFF.to_owned()),
            ending if wants_http1(ending) => Self::Http1Required,
            StreamEnding::ResetByService(_)
            | StreamEnding::ClosedByService(_)
            | StreamEnding::Socket(_)
            | StreamEnding::Full => Self::Terminated(in_words(ending)),
            StreamEnding::ResetForFault(_)
            | StreamEnding::Refused(_)
            | StreamEnding::GivenUp(_)
            | StreamEnding::Flooded
            | StreamEnding::Exhausted => Self::Protocol(in_words(ending)),
        }
    }
}

#[cfg(feature = "files")]
impl From<LoginFailure> for Error {
    fn from(failure: LoginFailure) -> Self {
        Self::Login(failure)
    }
}

#[cfg(feature = "files")]
fn of_login(kind: LoginFailureKind) -> Code {
    match kind {
        LoginFailureKind::Refused | LoginFailureKind::DemandsTls => Code::LoginRejected,
        LoginFailureKind::HostKey => Code::HostKeyMismatch,
        LoginFailureKind::Overloaded => Code::Overloaded,
        LoginFailureKind::NoFiles | LoginFailureKind::Lacks => Code::FileError,
        LoginFailureKind::Ended => Code::ConnectionTerminated,
        LoginFailureKind::Unanswered => Code::ConnectionTimeout,
    }
}

#[cfg(feature = "files")]
fn of_file(kind: FileErrorKind) -> Code {
    match kind {
        FileErrorKind::Request | FileErrorKind::RequestBody => Code::BadRequest,
        FileErrorKind::Method => Code::MethodNotAllowed,
        FileErrorKind::NotFound => Code::FileNotFound,
        FileErrorKind::Forbidden => Code::FileForbidden,
        FileErrorKind::Conflict => Code::FileConflict,
        FileErrorKind::Precondition => Code::PreconditionFailed,
        FileErrorKind::Range { .. } => Code::RangeNotSatisfiable,
        FileErrorKind::NoSpace => Code::FileNoSpace,
        FileErrorKind::Unsupported => Code::FileUnsupported,
        FileErrorKind::Partner | FileErrorKind::NotNow => Code::FileError,
        FileErrorKind::Ended => Code::ConnectionTerminated,
    }
}

impl From<TlsFailure> for Error {
    fn from(failure: TlsFailure) -> Self {
        match failure {
            TlsFailure::Certificate(why) => Self::Certificate(Box::new(why)),
            TlsFailure::Alert(text) => Self::Alert(text),
            TlsFailure::NoProtocol(text) => Self::NoProtocol(text),
            TlsFailure::Protocol(text) => Self::Tls(text),
            TlsFailure::Io(error) => Self::Terminated(error.to_string()),
        }
    }
}

/// Whether the service said that it did nothing with the request: a GOAWAY that does not cover its stream
/// (RFC 9113 §6.8), REFUSED_STREAM (§8.7), or HTTP_1_1_REQUIRED (§7).
pub(super) fn disclaims(ending: &StreamEnding) -> bool {
    matches!(ending, StreamEnding::ClosedByService(_) | StreamEnding::ResetByService(Reason::REFUSED_STREAM))
        || wants_http1(ending)
}

/// Whether the service wants the request over HTTP/1.1.
fn wants_http1(ending: &StreamEnding) -> bool {
    let (StreamEnding::ClosedByService(reason) | StreamEnding::ResetByService(reason)) = ending else { return false };
    *reason == Reason::HTTP_1_1_REQUIRED
}

/// What happened, in words of ours and the RFC's alone: what else a GOAWAY says is the service's to choose, and may repeat a
/// secret that it was sent.
fn in_words(ending: &StreamEnding) -> String {
    let (what, reason) = match ending {
        StreamEnding::ClosedByService(reason) => ("it ended the connection", reason),
        StreamEnding::ResetByService(reason) => ("it reset the stream", reason),
        StreamEnding::GivenUp(reason) => ("its connection had to be given up", reason),
        StreamEnding::ResetForFault(reason) => ("its stream had to be reset", reason),
        StreamEnding::Refused(why) => return (*why).to_owned(),
        StreamEnding::Flooded => return FLOOD.to_owned(),
        StreamEnding::Socket(what) => return what.to_string(),
        StreamEnding::BrokenOff => return BROKEN_OFF.to_owned(),
        StreamEnding::Exhausted => return "the connection takes no more requests".to_owned(),
        StreamEnding::Full => return "the connection carries as many requests as its service takes".to_owned(),
    };
    format!("{what}: {}", reason.description())
}

fn legible_byte(byte: u8) -> String {
    match byte {
        b'!'..=b'~' => format!("`{}`", char::from(byte)),
        other => format!("0x{other:02X}"),
    }
}

/// What may be behind a connection without TLS that ends without a word.
pub(super) const PERHAPS_TLS: &str = "if this port speaks TLS, its url begins with https://";

const FLOOD: &str = "the connection was given up for all requests on it, as it is flooded with frames that carry no content (HEADERS, PING \
     and the like)";

const BROKEN_OFF: &str = "the app's body broke off";

/// No answer came.
pub(crate) struct Unsent {
    pub(crate) error: Error,
    /// The request is whole again, as if it had never been sent: not a byte of it had left, or the service wants it over
    /// HTTP/1.1 and nothing was taken of its body.
    pub(crate) whole: bool,
    /// No byte of it had left, or the service said that it did nothing with it (GOAWAY beyond the last stream,
    /// REFUSED_STREAM, HTTP_1_1_REQUIRED).
    pub(crate) not_processed: bool,
}

impl Unsent {
    /// It was answered, but not with anything that can be passed on.
    pub(crate) fn finally(error: Error) -> Self {
        Self { error, whole: false, not_processed: false }
    }
}
