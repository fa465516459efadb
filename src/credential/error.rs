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
    /// The token endpoint was not asked: a part of the request is not here, or could not be signed.
    #[error("{failure}")]
    Unready { failure: Arc<Failure>, retry_after: u64 },
    #[error("the request can't be signed: {reason}")]
    Unsigned { reason: String },
    #[error("`OPTIONS *` has no query that could carry the parameter `{parameter}`")]
    NoQuery { parameter: String },
    #[error("the target is too long with the credential in its query: 65,534 bytes at most")]
    TargetTooLong,
}

impl Error {
    /// The request can't be signed.
    pub(super) fn unsigned(reason: impl ToString) -> Self {
        Self::Unsigned { reason: reason.to_string() }
    }

    /// The word of our answer.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Rejected { .. } => Code::TokenRejected,
            Self::Unavailable { .. } => Code::TokenUnavailable,
            Self::Unready { .. } => Code::CredentialUnavailable,
            Self::Unsigned { .. } => Code::CredentialUnavailable,
            Self::NoQuery { .. } => Code::BadRequest,
            Self::TargetTooLong => Code::HeadersTooLarge,
        }
    }

    /// Whole seconds to the next attempt, at least 1.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Rejected { retry_after, .. }
            | Self::Unavailable { retry_after, .. }
            | Self::Unready { retry_after, .. } => Some(*retry_after),
            Self::Unsigned { .. } | Self::NoQuery { .. } | Self::TargetTooLong => None,
        }
    }
}
