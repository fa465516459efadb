//! Why there is no SFTP to be spoken.

use std::fmt;
use std::io::ErrorKind;

/// What went wrong before SFTP.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nothing was shown to the server.
    #[error("{0}")]
    Mistrusted(Mistrust),
    /// The server takes none of what was shown.
    #[error("the server refused the login with {tried}; it offers {offered}")]
    Refused { tried: &'static str, offered: String },
    #[error("the server and Sidekey have no {kind} in common; it offers {theirs}")]
    NothingInCommon { kind: String, theirs: String },
    #[error("the server opens no channel: {0}")]
    NoChannel(russh::Error),
    #[error("the server has too many connections: {0}")]
    TooMany(String),
    #[error("the server offers no SFTP")]
    NoSftp,
    #[error("the server ended the connection before SFTP was spoken")]
    Ended,
    #[error("SSH: {0}")]
    Other(russh::Error),
}

/// A key that is none of those that the server is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistrust {
    /// Of the key that was shown, as `SHA256:…`.
    pub(crate) fingerprint: String,
    /// `ssh-ed25519` and the like.
    pub(crate) kind: String,
    pub(crate) revoked: bool,
    /// Whether a key of that kind is known; of fingerprints nobody knows.
    pub(crate) same_kind: Option<bool>,
}

impl fmt::Display for Mistrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fingerprint, kind, revoked, same_kind } = self;
        write!(f, "the server's host key is {fingerprint} ({kind}), ")?;
        match (revoked, same_kind) {
            (true, _) => f.write_str("which `known_hosts` has as revoked"),
            (false, None) => f.write_str("which `host_key` does not list"),
            (false, Some(true)) => f.write_str("another than `known_hosts` has for it"),
            (false, Some(false)) => f.write_str("and `known_hosts` has none of that kind for it"),
        }
    }
}

/// Whether the connection is over, however that was said.
fn has_ended(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof
    )
}

impl From<russh::Error> for Error {
    fn from(error: russh::Error) -> Self {
        match error {
            russh::Error::NoCommonAlgo { kind, theirs, .. } => {
                Self::NothingInCommon { kind: format!("{kind:?}").to_lowercase(), theirs: theirs.join(", ") }
            }
            russh::Error::Disconnect | russh::Error::HUP | russh::Error::RecvError | russh::Error::SendError => {
                Self::Ended
            }
            russh::Error::IO(error) if has_ended(error.kind()) => Self::Ended,
            other => Self::Other(other),
        }
    }
}
