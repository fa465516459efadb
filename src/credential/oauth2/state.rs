//! What is known of one entry: its token, what became of the last attempt to get one, and what is planned.
//!
//! Only the entry's refresher makes a new [`State`], and it publishes each whole. So whoever loads one sees a token, a
//! failure and a plan that belong together.
//!
//! # How attempts are numbered
//!
//! By their ends, from 1: `attempts` is the number of the last one that ended. Each wish of a worker is for a numbered
//! attempt, so that a wish that was met in between is recognized as met, and none that was not is lost:
//!
//! ```text
//!              attempts = n                          attempts = n + 1
//!   ──────────────┬───────────┬───────────────────────────┬─────────────►
//!             n ends     n + 1 begins                 n + 1 ends
//!                 └ ending(): n + 1 ───────────────────┘└ ending(): n + 2
//!                 └ beginning(): n + 1 ┘└ beginning(): n + 2
//! ```
//!
//! Who needs a token, however it came about, asks for the attempt that ends next ([`State::ending`]) and so joins one
//! that is in flight. Who knows of a change asks for the one that begins next ([`State::beginning`]): one that is in
//! flight may have begun before the change.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::failure::{FailureKind, TokenFailure};
use crate::clock::Moment;
use crate::credential::Error;
use crate::secret::Secret;

/// A token in hand.
#[derive(Debug)]
pub(crate) struct Token {
    /// Unique in the process, and higher than that of any token fetched before: [`crate::credential::SentToken`] relies
    /// on it.
    pub(in crate::credential) generation: u64,
    pub(in crate::credential) access_token: Secret,
    pub(in crate::credential) sent: Moment,
    pub(in crate::credential) life: Duration,
}

/// What the refresher knows, as of its last step.
#[derive(Clone, Debug, Default)]
pub(in crate::credential) struct State {
    /// The last token that was had; it may have expired.
    pub(in crate::credential) token: Option<Arc<Token>>,
    /// Why the last attempt failed; `None`: it did not, or there was none.
    pub(in crate::credential) failure: Option<Arc<TokenFailure>>,
    pub(in crate::credential) in_flight: bool,
    /// The next attempt will replace a token that the service called dead.
    pub(in crate::credential) replacing: bool,
    /// When the next attempt is due.
    pub(in crate::credential) due: Option<Moment>,
    /// From when on a dead token is replaced.
    pub(in crate::credential) replaceable: Option<Moment>,
    pub(in crate::credential) refreshed_at: Option<SystemTime>,
    /// Attempts that ended.
    pub(in crate::credential) attempts: u64,
    pub(in crate::credential) failures: u64,
    /// The refresher has ended, though the slot is still there: no attempt will follow.
    pub(in crate::credential) abandoned: bool,
}

/// For status and metrics; holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenStatus {
    pub(crate) state: TokenState,
    pub(crate) token_type: Option<String>,
    pub(crate) expires_at: Option<SystemTime>,
    /// How long it lives in all, from the request that brought it.
    pub(crate) lifetime: Option<Duration>,
    pub(crate) refreshed_at: Option<SystemTime>,
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    /// Why the last attempt failed.
    pub(crate) last_error: Option<String>,
}

/// How an entry is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenState {
    /// Nobody has asked for a token yet.
    None,
    /// The first one is being fetched.
    Pending,
    Valid,
    /// There was one, and no other could be had yet.
    Expired,
    /// There never was one, and the last attempt to get one failed.
    Failed,
}

impl Token {
    /// From when on it is not used any more.
    pub(in crate::credential) fn expires(&self) -> Moment {
        self.sent + self.life
    }
}

impl State {
    /// The number of the attempt that ends next: the one in flight, else the next.
    pub(in crate::credential) fn ending(&self) -> u64 {
        self.attempts + 1
    }

    /// The number of the attempt that begins next: one in flight began already.
    pub(in crate::credential) fn beginning(&self) -> u64 {
        self.ending() + u64::from(self.in_flight)
    }

    pub(in crate::credential) fn generation(&self) -> u64 {
        self.token.as_ref().map_or(0, |token| token.generation)
    }

    pub(in crate::credential) fn live(&self, now: Moment) -> Option<&Arc<Token>> {
        self.token.as_ref().filter(|token| now < token.expires())
    }

    pub(in crate::credential) fn is_overdue(&self, now: Moment) -> bool {
        !self.in_flight && self.due.is_some_and(|due| now >= due)
    }

    /// Whether a request need not take the last failure for its answer.
    pub(in crate::credential) fn may_ask_again(&self, now: Moment) -> bool {
        !self.abandoned && (self.in_flight || self.due.is_none_or(|due| now >= due))
    }

    /// Whether a token that is called dead now will be replaced: joins an attempt on its way, or may start one.
    pub(in crate::credential) fn replaces(&self, now: Moment) -> bool {
        !self.abandoned && (self.in_flight || self.replacing || self.replaceable.is_none_or(|from| now >= from))
    }

    /// What a request is told that gets no token because of this.
    pub(in crate::credential) fn error(&self, failure: &Arc<TokenFailure>, now: Moment) -> Error {
        let wait = self.due.map_or(Duration::ZERO, |due| due.since(now));
        // Whole seconds, rounded up: who comes back then finds that attempt made.
        let retry_after = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let (failure, retry_after) = (Arc::clone(failure), retry_after.max(1));
        match failure.kind {
            FailureKind::Rejected => Error::Rejected { failure, retry_after },
            FailureKind::Unavailable => Error::Unavailable { failure, retry_after },
            FailureKind::Unready => Error::Unready { failure, retry_after },
        }
    }

    pub(in crate::credential) fn word(&self, now: Moment) -> TokenState {
        match (&self.token, &self.failure) {
            (Some(token), _) if now < token.expires() => TokenState::Valid,
            (Some(_), _) => TokenState::Expired,
            (None, Some(_)) => TokenState::Failed,
            (None, None) if self.in_flight => TokenState::Pending,
            (None, None) => TokenState::None,
        }
    }
}
