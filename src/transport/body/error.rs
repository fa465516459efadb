//! Why the body of a request breaks off.

use crate::incoming::IncomingBodyError;
#[cfg(feature = "openpgp")]
use crate::openpgp::MessageError;

/// Why a body ends before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the app's body broke off")]
    Broken(#[source] IncomingBodyError),
    /// Nobody can tell where it ends.
    #[error("the app's body is malformed: {0}")]
    Malformed(&'static str),
    /// It goes out in another attempt now.
    #[error("the app's body was taken back")]
    TakenBack,
    /// There is more of it than [`BodyNeed::Whole`](super::BodyNeed::Whole) allows.
    #[error("the body is longer than {most} bytes")]
    TooLong { most: usize },
    /// There is more of it than its service is sent.
    #[error("the app's body is longer than {most} bytes")]
    OverLimit { most: usize },
    /// It could not be encrypted.
    #[cfg(feature = "openpgp")]
    #[error("{0}")]
    Unencrypted(MessageError),
    /// It was to be held in memory, and what others hold leaves no room for it.
    #[error("the bodies that are held in memory leave no room for it")]
    NoRoom,
}

impl From<IncomingBodyError> for BodyError {
    fn from(error: IncomingBodyError) -> Self {
        match error {
            IncomingBodyError::Malformed(fault) => Self::Malformed(fault),
            error => Self::Broken(error),
        }
    }
}
