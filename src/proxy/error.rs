//! Why a request gets an answer of our own.

use std::error::Error as _;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use http::{Method, StatusCode};

use crate::code::Code;
#[cfg(feature = "files")]
use crate::files::FileError;
use crate::guard::Panicked;
use crate::legible::excerpt;
use crate::name::ServiceName;
#[cfg(feature = "openpgp")]
use crate::openpgp::{MessageError, MessageErrorKind};
use crate::route::target::TargetError;
use crate::snapshot::{IdentityError, LimitError};
use crate::transport::BodyError;
use crate::{credential, transport, upstream};

/// Whose message it was: who can do something about it.
#[cfg(feature = "openpgp")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageOrigin {
    App,
    Service,
}

/// Why a request gets an answer of our own: what `admit` and the other phases say, and what comes from the floors below.
///
/// The text is the `detail` that the app's people read: it names what was sent, never a secret, and quotes no more than
/// the beginning of it: whoever can connect decides how long that is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// In origin-form.
    #[error(
        "`access.token` is set: send it as `Authorization`, `Bearer` or as the password of `Basic`, or in the URL: \
         `http://x:TOKEN@…`"
    )]
    Token,
    /// In absolute-form, and for a tunnel.
    #[error("`access.token` is set: send it as `Proxy-Authorization`, `Bearer` or as the password of `Basic`")]
    ProxyToken,
    #[error("the unix user {uid} is not in `access.unix_users`")]
    UnixUser { uid: u32 },
    #[error(
        "no tunnel is opened: use an `http://` URL and leave TLS to Sidekey; or, for a tunnel that nothing is added to, list \
         host and port in `connect.allow`"
    )]
    Connect,
    /// At a port of a service's own.
    #[error(
        "this port is the service `{service}`'s own, and no tunnel leads elsewhere from it: use an `http://` URL with the port \
         here, or the port of `listen` for a tunnel"
    )]
    ConnectAtOwnPort { service: ServiceName },
    #[error("no tunnel is opened to Sidekey's own admin port: whoever may use the proxy could reload it")]
    ConnectToAdmin,
    #[error("no tunnel is opened inside a tunnel: plain HTTP is spoken there")]
    TunnelInTunnel,
    #[error("a `CONNECT` has no body: what follows its head is the tunnel's")]
    TunnelWithContent,
    #[error("{} is not carried", excerpt(.method.as_str()))]
    Method { method: Method },
    #[error("`Transfer-Encoding: {}`: `chunked` alone is spoken here", excerpt(.value))]
    Coding { value: String },
    #[error("the target is neither a path nor an `http://` URL")]
    Form,
    #[error("the request has no `Host` field")]
    HostMissing,
    #[error("the request has more than one `Host` field")]
    HostRepeated,
    #[error("`Host: {}`", excerpt(.value))]
    HostMalformed { value: String, source: TargetError },
    #[error("`Host: {}` is no local name; {}", excerpt(.value), allowing_host(.host))]
    Host { value: String, host: String },
    /// A service's own; the second text names the ways to get to it.
    #[error("`Host: {}` {ways}", excerpt(.value))]
    HostOfService { value: String, ways: String },
    /// A web page that is not named. The second text says what would let it call.
    #[error("`Origin: {}`: web pages may not call; {advice}", excerpt(.value))]
    Origin { value: String, advice: String },
    /// A field that only browsers send, with its value. The second text says what to do about it.
    #[error("`{field}`: {advice}")]
    Browser { field: String, advice: String },
    #[error("the request has been here before: `Via` has this very process, so a service's `url` leads back to it")]
    Loop,
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("no route fits `{}` at `{}`; `sidekey explain` shows which there are", excerpt(.path), excerpt(.host))]
    NoRoute { host: String, path: String },
    /// A reload took it away while connections to its own port went on.
    #[error("this connection came to the own port of the service `{service}`, which the config no longer has")]
    ServiceGone { service: ServiceName },
    #[error("the service's `allow` has no place for {} {}", excerpt(.method.as_str()), excerpt(.path))]
    NotAllowed { method: Method, path: String },
    #[error("`{name}` is set by Sidekey, and `on_client_authorization: reject` is set: do not send it")]
    ClientCredential { name: String },
    #[error("`{name}` was sent more than once")]
    ClientCredentialTwice { name: String },
    #[error("`{name}` is named in `Connection`, which says that it goes no further than here: leave it out there")]
    ClientCredentialNominated { name: String },
    #[error("`{name}` is empty, and `on_client_authorization: keep` is set: send it with a value, or not at all")]
    ClientCredentialEmpty { name: String },
    #[cfg(feature = "files")]
    #[error("`{written}` is no place of this route: write where it goes as this request's own URL is written")]
    Destination { written: String },
    #[error(transparent)]
    Limit(#[from] LimitError),
    #[error("the body is longer than {most} bytes, the most that the service's `limits.body` allows")]
    BodyOverLimit { most: usize },
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Credential(#[from] credential::Error),
    #[error(transparent)]
    Upstream(#[from] upstream::Error),
    #[error("the service did not answer within `timeouts.response`, or paused for longer than `timeouts.idle`")]
    ResponseTimeout,
    #[error("the request's body paused for longer than `timeouts.idle`")]
    BodyStalled,
    #[error(
        "the body is longer than {most} bytes, the most that is kept to sign it: see `max_signed_body`, and `limits.held_bodies`"
    )]
    BodyTooLong { most: usize },
    #[error(
        "the bodies that are held in memory, to be signed, leave no room for this one: see `limits.held_bodies`, and try \
         again when others are done"
    )]
    BodiesHeld,
    #[error("the service's answer has a `Transfer-Encoding` other than `chunked`")]
    AnswerCoding,
    #[error("the service's answer to the handshake of a WebSocket {what} (RFC 6455 §4.1)")]
    Upgrade { what: &'static str },
    /// In HTTP/2 its 2xx would say that the WebSocket is open.
    #[error("the service answered {status} to the handshake of a WebSocket: there is none at this path")]
    NoUpgrade { status: StatusCode },
    #[error("the system has no random bytes for the handshake of a WebSocket")]
    NoRandom,
    /// To an `openpgp:` service.
    #[cfg(feature = "openpgp")]
    #[error("{} does nothing here: `POST` a body, and it comes back encrypted or decrypted", excerpt(.method.as_str()))]
    OnlyPost { method: Method },
    #[cfg(feature = "openpgp")]
    #[error("the keys of this service can't be had: {reason}")]
    NoKeys { reason: String },
    /// What is encrypted or decrypted.
    #[cfg(feature = "openpgp")]
    #[error("{error}")]
    Message { error: MessageError, origin: MessageOrigin },
    #[cfg(feature = "openpgp")]
    #[error("the service's answer can't be decrypted: it is {what}")]
    NotWhole { what: &'static str },
    #[error("a fault of Sidekey's own; its log has the place")]
    Panicked,
}

impl Error {
    /// The word of our answer.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Token => Code::Unauthorized,
            Self::ProxyToken => Code::ProxyAuthenticationRequired,
            Self::UnixUser { .. }
            | Self::Host { .. }
            | Self::HostOfService { .. }
            | Self::Origin { .. }
            | Self::Browser { .. }
            | Self::NotAllowed { .. } => Code::Forbidden,
            Self::Connect
            | Self::ConnectAtOwnPort { .. }
            | Self::ConnectToAdmin
            | Self::TunnelInTunnel
            | Self::Method { .. } => Code::MethodNotAllowed,
            #[cfg(feature = "openpgp")]
            Self::OnlyPost { .. } => Code::MethodNotAllowed,
            Self::Coding { .. } => Code::NotImplemented,
            Self::Target(TargetError::TooLong) => Code::HeadersTooLarge,
            Self::Form
            | Self::TunnelWithContent
            | Self::HostMissing
            | Self::HostRepeated
            | Self::HostMalformed { .. }
            | Self::Target(_)
            | Self::ClientCredential { .. }
            | Self::ClientCredentialTwice { .. }
            | Self::ClientCredentialNominated { .. }
            | Self::ClientCredentialEmpty { .. }
            | Self::Identity(_) => Code::BadRequest,
            #[cfg(feature = "files")]
            Self::Destination { .. } => Code::BadRequest,
            Self::Loop => Code::ProxyLoopDetected,
            Self::NoRoute { .. } | Self::ServiceGone { .. } => Code::NoRoute,
            Self::Credential(error) => error.code(),
            Self::Upstream(error) => error.code(),
            Self::ResponseTimeout => Code::HttpResponseTimeout,
            Self::BodyStalled => Code::RequestTimeout,
            Self::BodyTooLong { .. } | Self::BodyOverLimit { .. } => Code::BodyTooLarge,
            Self::BodiesHeld | Self::Limit(LimitError::Concurrency { .. }) => Code::Overloaded,
            Self::Limit(LimitError::Rate { .. }) => Code::RateLimited,
            Self::AnswerCoding => Code::HttpProtocolError,
            Self::Upgrade { .. } | Self::NoUpgrade { .. } => Code::HttpUpgradeFailed,
            #[cfg(feature = "openpgp")]
            Self::NoKeys { .. } => Code::CredentialUnavailable,
            #[cfg(feature = "openpgp")]
            Self::Message { error, .. } => of_message(error.kind),
            #[cfg(feature = "openpgp")]
            Self::NotWhole { .. } => Code::DecryptFailed,
            Self::NoRandom | Self::Panicked => Code::InternalError,
        }
    }

    /// The status of our answer: the code's, but for a message that the app can do something about itself.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            #[cfg(feature = "openpgp")]
            Self::Message { error, origin: MessageOrigin::Service } if error.kind == MessageErrorKind::BeyondCheck => {
                StatusCode::BAD_GATEWAY
            }
            #[cfg(feature = "openpgp")]
            Self::Message { origin: MessageOrigin::App, .. } if self.code() == Code::DecryptFailed => {
                StatusCode::BAD_REQUEST
            }
            _ => self.code().status(),
        }
    }

    /// What the answer's `detail` says, and the log, and status: the error and its causes.
    pub(crate) fn detail(&self) -> String {
        let mut text = String::with_capacity(MOST_DETAILS_BYTES);
        // Writing to a `String` can't fail.
        let _ = write!(text, "{self}");
        let causes = std::iter::successors(self.source(), |&cause| cause.source());
        for cause in causes {
            let _ = write!(text, ": {cause}");
        }
        // Each value is quoted in part. This is for one that nobody has thought of.
        text.truncate(text.floor_char_boundary(DETAIL_BYTES));
        text
    }

    /// What became of a request for a file.
    #[cfg(feature = "files")]
    pub(super) fn file_error(&self) -> Option<&FileError> {
        match self {
            Self::Upstream(upstream::Error::Transport(transport::Error::File(error))) => Some(error),
            _ => None,
        }
    }

    /// Whole seconds after which it may work; `None` if nothing says so.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Credential(error) => error.retry_after(),
            #[cfg(feature = "files")]
            Self::Upstream(upstream::Error::Transport(transport::Error::Login(failure)))
                if !failure.pause.is_zero() =>
            {
                Some(failure.pause.as_millis().div_ceil(1_000) as u64)
            }
            Self::Limit(LimitError::Rate { wait, .. }) => Some(wait.as_millis().div_ceil(1_000).max(1) as u64),
            #[cfg(feature = "files")]
            Self::Upstream(error) if error.code() == Code::Overloaded => Some(1),
            #[cfg(feature = "openpgp")]
            Self::Message { error, .. } if error.kind == MessageErrorKind::NoRoom => Some(1),
            Self::Upstream(upstream::Error::Overloaded { .. })
            | Self::BodiesHeld
            | Self::Limit(LimitError::Concurrency { .. }) => Some(1),
            _ => None,
        }
    }
}

#[cfg(feature = "openpgp")]
fn of_message(kind: MessageErrorKind) -> Code {
    match kind {
        MessageErrorKind::NoMessage
        | MessageErrorKind::ForSomebodyElse
        | MessageErrorKind::Damaged
        | MessageErrorKind::Unsigned
        | MessageErrorKind::Unsupported
        | MessageErrorKind::BrokenOff => Code::DecryptFailed,
        MessageErrorKind::TooLong | MessageErrorKind::BeyondCheck => Code::BodyTooLarge,
        MessageErrorKind::NoRoom => Code::Overloaded,
        MessageErrorKind::Key => Code::CredentialUnavailable,
        MessageErrorKind::Internal => Code::InternalError,
    }
}

/// The line that would let a name in. An address that is written in a way of its own, or is none, can't stand there.
fn allowing_host(host: &str) -> String {
    let is_numeric = host.bytes().all(|byte| byte.is_ascii_hexdigit() || b".xX".contains(&byte));
    let is_address = host.contains(':') || (is_numeric && host.starts_with(|first: char| first.is_ascii_digit()));
    let is_one_to_name = host.parse().is_ok_and(|address: Ipv4Addr| !address.is_unspecified());
    if is_address && !is_one_to_name {
        return "call this machine `localhost`, or by a name of yours that `access: {hosts: […]}` lists".to_owned();
    }
    format!("if it is one of yours, add `access: {{hosts: [\"{}\"]}}`", excerpt(host))
}

/// Several times what the longest of them has.
const DETAIL_BYTES: usize = 4 << 10;
/// As long as most of them are.
const MOST_DETAILS_BYTES: usize = 256;

/// The app's body could not be read ahead.
impl From<BodyError> for Error {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLong { most } => Self::BodyTooLong { most },
            BodyError::NoRoom => Self::BodiesHeld,
            BodyError::OverLimit { most } => Self::BodyOverLimit { most },
            error => Self::Upstream(transport::Error::RequestBody(error.to_string()).into()),
        }
    }
}

impl From<Panicked> for Error {
    fn from(_: Panicked) -> Self {
        Self::Panicked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of a code in the docs.
    fn rows(docs: &str, code: Code) -> Vec<&str> {
        let cell = format!("| `{}` |", code.word());
        docs.lines().filter(|line| line.starts_with(&cell)).collect()
    }

    #[test]
    fn the_docs_have_every_code_with_its_status() {
        let docs = include_str!("../../docs/errors.md");

        for code in Code::ALL {
            let rows = rows(docs, code);
            assert!(!rows.is_empty(), "`{}` is missing", code.word());
            let status = format!("| {} |", code.status().as_u16());
            assert!(rows.iter().all(|row| row.contains(&status)), "{rows:?} and not {status}");
        }
    }

    #[test]
    fn a_detail_names_its_causes_once() {
        let error = Error::HostMalformed { value: "a b".to_owned(), source: TargetError::Host };

        assert_eq!(error.detail(), "`Host: a b`: the host is malformed");
        assert_eq!(Error::from(TargetError::DotSegment).detail(), "the path has a dot segment");
    }

    #[test]
    fn the_line_that_would_let_a_host_in_is_one_that_the_config_takes() {
        let said = |host: &str| Error::Host { value: host.to_owned(), host: host.to_owned() }.detail();

        for host in ["sidekey.internal", "cafe", "10.0.0.1"] {
            assert!(said(host).ends_with(&format!("add `access: {{hosts: [\"{host}\"]}}`")), "{}", said(host));
        }
        for host in ["::ffff:127.0.0.1", "::", "127.1", "0x7f.1", "2130706433", "0177.0.0.1", "0.0.0.0"] {
            assert!(said(host).contains("call this machine `localhost`"), "{}", said(host));
        }
    }

    #[test]
    fn only_what_time_may_heal_says_when_to_try_again() {
        let overloaded = Error::from(upstream::Error::Overloaded { limit: 8 });

        assert_eq!(overloaded.retry_after(), Some(1));
        assert_eq!(Error::Loop.retry_after(), None);
    }

    #[test]
    fn a_panic_is_an_internal_error() {
        let error = Error::from(Panicked);

        assert_eq!(error.code(), Code::InternalError);
        assert_eq!(error.detail(), "a fault of Sidekey's own; its log has the place");
    }
}
