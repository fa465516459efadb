//! Why a request can't be given its credential.

use std::sync::Arc;

use http::HeaderName;

use super::jws::SigningError;
use super::oauth2::TokenFailure;
use crate::code::Code;

/// Why a request can't be given its credential. It is not sent without one.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The token endpoint said no.
    #[error("{failure}")]
    Rejected {
        failure: Arc<TokenFailure>,
        /// Whole seconds to the next attempt, at least 1.
        retry_after: u64,
    },
    /// The token endpoint gave no usable answer.
    #[error("{failure}")]
    Unavailable { failure: Arc<TokenFailure>, retry_after: u64 },
    /// The token endpoint was not asked: a part of the request is not here, or could not be signed.
    #[error("{failure}")]
    Unready { failure: Arc<TokenFailure>, retry_after: u64 },
    /// A secret of the method, read from elsewhere, can't be had.
    #[error("{reason}; it is run again until it gives the secret")]
    NoSecret { reason: Arc<str> },
    /// A proof for the token.
    #[error("{0}")]
    Unsigned(#[from] SigningError),
    /// The request does not say on whose behalf it is made.
    #[error("the request has no field `{field}` with the token of the subject on whose behalf it is made")]
    NoSubject { field: HeaderName },
    #[error("the request has more than one `{field}`: it is made on behalf of one subject")]
    SubjectRepeated { field: HeaderName },
    #[error("`{field}` of the request is no token: visible ASCII, with or without `Bearer` before it")]
    SubjectMalformed { field: HeaderName },
    #[error("the request can't be signed: {reason}")]
    Unsignable { reason: String },
    #[error("`OPTIONS *` has no query that could carry the parameter `{parameter}`")]
    NoQuery { parameter: String },
    #[error("the target is too long with the credential in its query: 65,534 bytes at most")]
    TargetTooLong,
}

impl Error {
    /// The request can't be signed.
    pub(super) fn unsignable(reason: impl ToString) -> Self {
        Self::Unsignable { reason: reason.to_string() }
    }

    /// The word of our answer.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Rejected { .. } => Code::TokenRejected,
            Self::Unavailable { .. } => Code::TokenUnavailable,
            Self::Unready { .. } | Self::NoSecret { .. } | Self::Unsigned(_) | Self::Unsignable { .. } => {
                Code::CredentialUnavailable
            }
            Self::NoSubject { .. }
            | Self::SubjectRepeated { .. }
            | Self::SubjectMalformed { .. }
            | Self::NoQuery { .. } => Code::BadRequest,
            Self::TargetTooLong => Code::HeadersTooLarge,
        }
    }

    /// Whole seconds to the next attempt, at least 1.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Rejected { retry_after, .. }
            | Self::Unavailable { retry_after, .. }
            | Self::Unready { retry_after, .. } => Some(*retry_after),
            Self::NoSecret { .. }
            | Self::Unsigned(_)
            | Self::Unsignable { .. }
            | Self::NoSubject { .. }
            | Self::SubjectRepeated { .. }
            | Self::SubjectMalformed { .. }
            | Self::NoQuery { .. }
            | Self::TargetTooLong => None,
        }
    }
}
