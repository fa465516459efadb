//! Why there is no SFTP to be spoken.

use std::fmt;

use russh::keys::Algorithm;

/// What went wrong before SFTP.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nothing was shown to the server.
    #[error("{0}")]
    Mistrusted(Mistrust),
    /// The same so far: the server may have a key of another kind, which is asked for over another connection.
    #[error("{0}")]
    OtherKindWanted(Mistrust),
    /// The server takes none of what was shown.
    #[error("the server refused the login with {tried}; it offers {offered}")]
    Refused { tried: &'static str, offered: String },
    #[error("the server and Sidekey have no {kind} in common; it offers {theirs}")]
    NothingInCommon { kind: String, theirs: String },
    #[error("the server opens no channel: {0}")]
    NoChannel(russh::Error),
    #[error("the server has too many connections: {0}")]
    TooMany(String),
    /// Something else is spoken there.
    #[error("the server speaks no SSH: {0}")]
    NoSsh(String),
    #[error("the server ended the connection before SSH was spoken, and said `{0}`")]
    Dismissed(String),
    #[error("the server offers no SFTP")]
    NoSftp,
    #[error("the server ended the connection before SFTP was spoken")]
    Ended,
    #[error("SSH: {0}")]
    Other(russh::Error),
}

/// A server whose keys are none of those that it is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistrust {
    /// One of each kind that was asked for.
    pub(super) shown: Vec<ShownKey>,
    pub(super) revoked: bool,
    /// Whether a key of that kind is known; of fingerprints nobody knows.
    pub(super) same_kind: Option<bool>,
}

/// What a server has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShownKey {
    /// As `SHA256:…`.
    pub(super) fingerprint: String,
    /// `ssh-ed25519` and the like.
    pub(super) kind: Algorithm,
}

impl fmt::Display for Mistrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shown, revoked, same_kind } = self;
        let keys: Vec<_> =
            shown.iter().map(|ShownKey { fingerprint, kind }| format!("{fingerprint} ({kind})")).collect();
        let (keys, are) = (keys.join(", "), if shown.len() > 1 { "s are" } else { " is" });
        write!(f, "the server's host key{are} {keys}, ")?;
        match (revoked, same_kind) {
            (true, _) => f.write_str("which `known_hosts` has as revoked"),
            (false, None) if shown.len() > 1 => f.write_str("none of which `host_key` lists"),
            (false, None) => f.write_str("which `host_key` does not list"),
            (false, Some(true)) => f.write_str("another than `known_hosts` has for it"),
            (false, Some(false)) => f.write_str("and `known_hosts` has none of that kind for it"),
        }
    }
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
            // What a socket fails with says that it is over.
            russh::Error::IO(_) => Self::Ended,
            other => Self::Other(other),
        }
    }
}
