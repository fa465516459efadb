//! Why a request can't be given its credential.

use std::sync::Arc;

use super::oauth2::Failure;
use crate::code::Code;

/// Why a request can't be given its credential. It is not sent without one.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The token endpoint said no.
    #[error("{failure}")]
    Rejected {
        failure: Arc<Failure>,
        /// Whole seconds to the next attempt, at least 1.
        retry_after: u64,
    },
    /// The token endpoint gave no usable answer.
    #[error("{failure}")]
    Unavailable { failure: Arc<Failure>, retry_after: u64 },
    /// A secret of the method, read from elsewhere, can't be had.
    #[error("{reason}; it is run again until it gives the secret")]
    NoSecret { reason: Arc<str> },
    #[error("`OPTIONS *` has no query that could carry the parameter `{parameter}`")]
    NoQuery { parameter: String },
    #[error("the target is too long with the credential in its query: 65,534 bytes at most")]
    TargetTooLong,
}

impl Error {
    /// The word of our answer.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Rejected { .. } => Code::TokenRejected,
            Self::Unavailable { .. } => Code::TokenUnavailable,
            Self::NoSecret { .. } => Code::CredentialUnavailable,
            Self::NoQuery { .. } => Code::BadRequest,
            Self::TargetTooLong => Code::HeadersTooLarge,
        }
    }

    /// Whole seconds to the next attempt, at least 1.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Rejected { retry_after, .. } | Self::Unavailable { retry_after, .. } => Some(*retry_after),
            Self::NoSecret { .. } | Self::NoQuery { .. } | Self::TargetTooLong => None,
        }
    }
}
