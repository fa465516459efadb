//! When a token is fetched: the fields of a service that decide that, and not which token it is.
//!
//! Services that share an entry may write them differently. Each holds its own policy, the entry knows them weakly and
//! goes by what suits them all: so a config that was refused, or is gone, has no say.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::config::auth::oauth2::{OAuth2, RefreshAhead};
use crate::credential::digest::Digest;

/// The policy of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RefreshPolicy {
    ahead: RefreshAhead,
    default_lifetime: Duration,
    timeout: Duration,
}

impl RefreshPolicy {
    pub(super) fn of(written: &OAuth2) -> Self {
        Self { ahead: written.refresh_ahead, default_lifetime: written.default_lifetime, timeout: written.timeout }
    }

    /// Of keys that are lent: refreshed as tokens are by default.
    pub(super) fn of_keys(default_lifetime: Duration, timeout: Duration) -> Self {
        Self { ahead: RefreshAhead::Share(0.2), default_lifetime, timeout }
    }

    pub(super) fn digest(&self, digest: &mut Digest) {
        let (kind, ahead) = match self.ahead {
            RefreshAhead::Share(share) => (0, u128::from(share.to_bits())),
            RefreshAhead::Fixed(time) => (1, time.as_nanos()),
        };
        for number in [kind, ahead, self.default_lifetime.as_nanos(), self.timeout.as_nanos()] {
            digest.field(&number.to_be_bytes());
        }
    }

    fn ahead(&self, life: Duration) -> Duration {
        match self.ahead {
            RefreshAhead::Share(share) => life.mul_f64(share.clamp(0.0, 1.0)),
            RefreshAhead::Fixed(time) => time,
        }
    }
}

/// The policies of all services that share an entry.
#[derive(Debug, Default)]
pub(super) struct RefreshPolicies {
    all: Mutex<Vec<Weak<RefreshPolicy>>>,
    /// The longest time-out of all, in milliseconds, for those who may take no lock. As of the last that joined: what one
    /// that is gone has left behind is at most too long.
    longest_timeout: AtomicU64,
}

impl RefreshPolicies {
    /// Adds a service's policy, for as long as the service holds it.
    pub(super) fn join(&self, policy: &Arc<RefreshPolicy>) {
        {
            let mut policies = self.lock();
            policies.retain(|sharer| sharer.strong_count() > 0);
            policies.push(Arc::downgrade(policy));
        }
        let longest = u64::try_from(self.timeout().as_millis()).unwrap_or(u64::MAX);
        self.longest_timeout.store(longest, Ordering::Relaxed);
    }

    /// How long somebody waits at most for an attempt to end: as long as one may take, and the time before it begins.
    pub(super) fn longest_wait(&self) -> Duration {
        Duration::from_millis(self.longest_timeout.load(Ordering::Relaxed)) + BEFORE_AN_ATTEMPT
    }

    /// How much of `life` should be left at a refresh: what the most careful one wants.
    pub(super) fn ahead(&self, life: Duration) -> Duration {
        self.of_all(|policy| policy.ahead(life)).max().unwrap_or_default()
    }

    /// How long a token lives that does not say: as the most careful one assumes.
    pub(super) fn default_lifetime(&self) -> Duration {
        self.of_all(|policy| policy.default_lifetime).min().unwrap_or_default()
    }

    /// How long one token request may take in all: as long as the most patient one waits.
    pub(super) fn timeout(&self) -> Duration {
        self.of_all(|policy| policy.timeout).max().unwrap_or_default()
    }

    fn of_all(&self, field: impl Fn(&RefreshPolicy) -> Duration) -> impl Iterator<Item = Duration> {
        let fields: Vec<_> = self.lock().iter().filter_map(Weak::upgrade).map(|policy| field(&policy)).collect();
        fields.into_iter()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<RefreshPolicy>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Attempts lie a second apart. The other is for who waits to hear of the attempt's own time-out, which says more than that
/// the wait was too long.
const BEFORE_AN_ATTEMPT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(ahead: RefreshAhead, lifetime: u64, timeout: u64) -> Arc<RefreshPolicy> {
        let default_lifetime = Duration::from_secs(lifetime);
        Arc::new(RefreshPolicy { ahead, default_lifetime, timeout: Duration::from_secs(timeout) })
    }

    #[track_caller]
    fn check(policies: &RefreshPolicies, ahead: u64, lifetime: u64, timeout: u64) {
        let found = (policies.ahead(Duration::from_secs(100)), policies.default_lifetime(), policies.timeout());

        assert_eq!(found, (Duration::from_secs(ahead), Duration::from_secs(lifetime), Duration::from_secs(timeout)));
    }

    #[test]
    fn sharers_get_what_suits_them_all_and_those_that_are_gone_have_no_say() {
        let policies = RefreshPolicies::default();
        let patient = policy(RefreshAhead::Share(0.2), 300, 10);
        let hasty = policy(RefreshAhead::Fixed(Duration::from_secs(30)), 60, 2);
        policies.join(&patient);
        policies.join(&hasty);

        check(&policies, 30, 60, 10);
        drop(hasty);
        check(&policies, 20, 300, 10);
    }
}
