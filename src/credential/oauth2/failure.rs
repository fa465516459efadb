//! Why a token request came to nothing, told so that a person can act on it.
//!
//! Promises that no secret of ours is in the text: what an endpoint says of a request may repeat what was in it, so
//! its words are stripped, shortened and escaped before they are kept.

use std::borrow::Cow;
use std::time::Duration;

use crate::code::Code;

/// One token request that brought no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{endpoint} {what}; {help}")]
pub(crate) struct TokenFailure {
    pub(in crate::credential) kind: FailureKind,
    /// Host and port of the token endpoint.
    pub(in crate::credential) endpoint: String,
    pub(in crate::credential) what: String,
    pub(in crate::credential) help: Cow<'static, str>,
    /// How long the endpoint asks to be left alone.
    pub(in crate::credential) retry_after: Option<Duration>,
}

/// Whether asking again could help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The endpoint understood and said no: somebody must change the config, or the client's registration.
    Rejected,
    /// No usable answer: it may come right by itself.
    Unavailable,
    /// The endpoint was not asked: what the request needs is not here.
    Unready,
}

/// What to do about what may come right by itself, and no key of the config is about. Not that it is asked again: in a running
/// process that is so, and its log says when; `check --online` and `token` ask once.
pub(in crate::credential) const HELP_ELSEWHERE: &str = "if this goes on, ask those who run it";

/// Why a token request could not be written.
#[derive(Debug)]
pub(in crate::credential) struct NotAsked {
    pub(in crate::credential) what: String,
    pub(in crate::credential) help: &'static str,
}

impl TokenFailure {
    /// The request could not be written.
    pub(in crate::credential) fn unready(endpoint: &str, NotAsked { what, help }: NotAsked) -> Self {
        let what = format!("was not asked: {what}");
        Self { kind: FailureKind::Unready, endpoint: endpoint.to_owned(), what, help: help.into(), retry_after: None }
    }

    /// The word of our answer to a request that got no token because of this.
    pub(crate) fn code(&self) -> Code {
        match self.kind {
            FailureKind::Rejected => Code::TokenRejected,
            FailureKind::Unavailable => Code::TokenUnavailable,
            FailureKind::Unready => Code::CredentialUnavailable,
        }
    }

    /// What happened, without what to do about it.
    pub(crate) fn what(&self) -> String {
        format!("{} {}", self.endpoint, self.what)
    }

    /// What to do about it.
    pub(crate) fn help(&self) -> &str {
        &self.help
    }
}
