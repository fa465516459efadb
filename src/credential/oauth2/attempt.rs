//! What a token request goes by that is no part of what decides which token it is.

use std::time::Duration;

/// What one attempt goes by: what the services that share the entry want of it.
#[derive(Clone, Debug)]
pub(crate) struct TokenAttempt {
    /// It takes no longer in all.
    pub(in crate::credential) timeout: Duration,
    pub(in crate::credential) types: TokenTypes,
    /// Their names, for the log.
    pub(in crate::credential) services: String,
}

/// Which types of token will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::credential) enum TokenTypes {
    /// The one that the token is sent as.
    Expected,
    /// The config says itself how the token is sent (`token_header`, `token_prefix`).
    Any,
}
