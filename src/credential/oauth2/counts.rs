//! What became of the token requests of an entry: of its one slot, or of all its subjects' together.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;

use super::failure::{FailureKind, TokenFailure};
use super::state::State;
use crate::clock::Moment;
use crate::telemetry::metrics::{TokenNumbers, TokenOutcome};

/// Counts token requests for every service that shares their entry.
#[derive(Debug, Default)]
pub(super) struct Counts {
    services: ArcSwap<Vec<Arc<TokenNumbers>>>,
    sums: ArcSwap<Sums>,
}

/// Of all attempts so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    pub(super) requests: u64,
    pub(super) failures: u64,
    /// Why the last attempt failed; `None`: it did not, or there was none.
    pub(super) failure: Option<Arc<TokenFailure>>,
    /// When the last of the tokens that were had expires.
    pub(super) expires: Option<Moment>,
    pub(super) refreshed_at: Option<SystemTime>,
}

impl Counts {
    /// Who counts from now on.
    pub(super) fn count_for(&self, services: Vec<Arc<TokenNumbers>>) {
        self.services.store(Arc::new(services));
    }

    /// An attempt ended in this.
    pub(super) fn ended(&self, state: &State) {
        self.sums.rcu(|sums| sums.and(state));
        for numbers in self.services.load().iter() {
            numbers.requested(outcome(state.failure.as_deref()));
            if let Some(failure) = &state.failure {
                numbers.failed(failure.code(), &failure.to_string());
            }
        }
    }

    pub(super) fn sums(&self) -> Arc<Sums> {
        self.sums.load_full()
    }
}

impl Sums {
    fn and(&self, state: &State) -> Self {
        let failed = state.failure.is_some();
        let expires = state.token.as_ref().map(|token| token.expires());
        Self {
            requests: self.requests + 1,
            failures: self.failures + u64::from(failed),
            failure: state.failure.clone(),
            expires: self.expires.max(expires),
            refreshed_at: if failed { self.refreshed_at } else { state.refreshed_at },
        }
    }
}

fn outcome(failure: Option<&TokenFailure>) -> TokenOutcome {
    match failure.map(|failure| failure.kind) {
        None => TokenOutcome::Ok,
        Some(FailureKind::Rejected) => TokenOutcome::Rejected,
        Some(FailureKind::Unavailable | FailureKind::Unready) => TokenOutcome::Unavailable,
    }
}
