//! When a token is fetched: the fields of a service that decide that, and not which token it is.
//!
//! Services that share an entry may write them differently. Each holds its own policy, the entry knows them weakly and
//! goes by what suits them all: so a config that was refused, or is gone, has no say.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use super::attempt::{TokenAttempt, TokenTypes};
use crate::config::auth::oauth2::{OAuth2, RefreshAhead};
use crate::credential::digest::Digest;
use crate::locked::locked;
use crate::name::ServiceName;

/// The policy of one service.
#[derive(Clone, Debug)]
pub(crate) struct RefreshPolicy {
    ahead: RefreshAhead,
    default_lifetime: Duration,
    timeout: Duration,
    types: TokenTypes,
    told: Arc<Told>,
}

/// A service, and what its people were told of its tokens. Outlives a reload, so that it is said once.
#[derive(Debug)]
pub(in crate::credential) struct Told {
    service: ServiceName,
    of_life: AtomicBool,
    of_scopes: AtomicBool,
}

impl RefreshPolicy {
    pub(in crate::credential) fn of(written: &OAuth2, told: Arc<Told>) -> Self {
        Self {
            ahead: written.refresh_ahead,
            default_lifetime: written.default_lifetime,
            timeout: written.timeout,
            types: if written.names_its_type { TokenTypes::Any } else { TokenTypes::Expected },
            told,
        }
    }

    /// Of keys that are lent: refreshed as tokens are by default.
    pub(in crate::credential) fn of_keys(default_lifetime: Duration, timeout: Duration, told: Arc<Told>) -> Self {
        Self { ahead: RefreshAhead::Share(0.2), default_lifetime, timeout, types: TokenTypes::Expected, told }
    }

    pub(in crate::credential) fn digest(&self, digest: &mut Digest) {
        let (kind, ahead) = match self.ahead {
            RefreshAhead::Share(share) => (0, u128::from(share.to_bits())),
            RefreshAhead::Fixed(time) => (1, time.as_nanos()),
        };
        for number in [kind, ahead, self.default_lifetime.as_nanos(), self.timeout.as_nanos()] {
            digest.field(&number.to_be_bytes());
        }
        digest.field(&[u8::from(self.types == TokenTypes::Any)]);
    }

    fn ahead(&self, life: Duration) -> Duration {
        match self.ahead {
            RefreshAhead::Share(share) => life.mul_f64(share.clamp(0.0, 1.0)),
            RefreshAhead::Fixed(time) => time,
        }
    }
}

impl Told {
    pub(in crate::credential) fn nothing(service: ServiceName) -> Self {
        Self { service, of_life: AtomicBool::new(false), of_scopes: AtomicBool::new(false) }
    }
}

/// The policies of all services that share an entry.
#[derive(Debug, Default)]
pub(in crate::credential) struct RefreshPolicies {
    all: Mutex<Vec<Weak<RefreshPolicy>>>,
    /// The longest time-out of all, in milliseconds, for those who may take no lock. As of the last that joined: what one
    /// that is gone has left behind is at most too long.
    longest_timeout: AtomicU64,
}

impl RefreshPolicies {
    /// Adds a service's policy, for as long as the service holds it.
    pub(in crate::credential) fn join(&self, policy: &Arc<RefreshPolicy>) {
        {
            let mut policies = self.lock();
            policies.retain(|sharer| sharer.strong_count() > 0);
            policies.push(Arc::downgrade(policy));
        }
        let longest = u64::try_from(self.timeout().as_millis()).unwrap_or(u64::MAX);
        self.longest_timeout.store(longest, Ordering::Relaxed);
    }

    /// How long somebody waits at most for an attempt to end: as long as one may take, and the time before it begins.
    pub(in crate::credential) fn longest_wait(&self) -> Duration {
        Duration::from_millis(self.longest_timeout.load(Ordering::Relaxed)) + BEFORE_AN_ATTEMPT
    }

    /// How much of `life` should be left at a refresh: what the most careful one wants.
    pub(in crate::credential) fn ahead(&self, life: Duration) -> Duration {
        self.of_all(|policy| policy.ahead(life)).max().unwrap_or_default()
    }

    /// How long a token lives that does not say: as the most careful one assumes.
    pub(in crate::credential) fn default_lifetime(&self) -> Duration {
        self.of_all(|policy| policy.default_lifetime).min().unwrap_or_default()
    }

    /// How long one token request may take in all: as long as the most patient one waits.
    pub(in crate::credential) fn timeout(&self) -> Duration {
        self.of_all(|policy| policy.timeout).max().unwrap_or_default()
    }

    /// What the next attempt goes by.
    pub(in crate::credential) fn attempt(&self) -> TokenAttempt {
        let is_any = self.of_all(|policy| policy.types == TokenTypes::Any).any(|is_any| is_any);
        let types = if is_any { TokenTypes::Any } else { TokenTypes::Expected };
        TokenAttempt { timeout: self.timeout(), types, services: self.services() }
    }

    /// The names of all of them, for people.
    pub(in crate::credential) fn services(&self) -> String {
        named(self.of_all(|policy| policy.told.service.clone()))
    }

    /// The names of those that were not told yet of a life that is not said; they are now.
    pub(in crate::credential) fn to_tell_of_life(&self) -> Option<String> {
        self.to_tell(|told| &told.of_life)
    }

    /// The names of those that were not told yet of scopes that are missing; they are now.
    pub(in crate::credential) fn to_tell_of_scopes(&self) -> Option<String> {
        self.to_tell(|told| &told.of_scopes)
    }

    fn to_tell(&self, what: impl Fn(&Told) -> &AtomicBool) -> Option<String> {
        let untold = |policy: &RefreshPolicy| {
            let is_told = what(&policy.told).swap(true, Ordering::Relaxed);
            (!is_told).then(|| policy.told.service.clone())
        };
        let names = named(self.of_all(untold).flatten());
        (!names.is_empty()).then_some(names)
    }

    fn of_all<T>(&self, field: impl Fn(&RefreshPolicy) -> T) -> impl Iterator<Item = T> {
        let fields: Vec<_> = self.lock().iter().filter_map(Weak::upgrade).map(|policy| field(&policy)).collect();
        fields.into_iter()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<RefreshPolicy>>> {
        locked(&self.all)
    }
}

/// Each once: the identities of a service have its name.
fn named(services: impl Iterator<Item = ServiceName>) -> String {
    let names: BTreeSet<ServiceName> = services.collect();
    names.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(", ")
}

/// Attempts lie a second apart. The other is for who waits to hear of the attempt's own time-out, which says more than that
/// the wait was too long.
const BEFORE_AN_ATTEMPT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(ahead: RefreshAhead, lifetime: u64, timeout: u64) -> Arc<RefreshPolicy> {
        let default_lifetime = Duration::from_secs(lifetime);
        let told = Arc::new(Told::nothing(ServiceName::parse("api").expect("a name")));
        let timeout = Duration::from_secs(timeout);
        Arc::new(RefreshPolicy { ahead, default_lifetime, timeout, types: TokenTypes::Expected, told })
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

    fn named(service: &str, types: TokenTypes) -> Arc<RefreshPolicy> {
        let told = Arc::new(Told::nothing(ServiceName::parse(service).expect("a name")));
        let policy = policy(RefreshAhead::Share(0.2), 300, 10);
        Arc::new(RefreshPolicy { types, told, ..RefreshPolicy::clone(&policy) })
    }

    #[test]
    fn any_type_will_do_where_one_of_them_says_how_tokens_are_sent() {
        let policies = RefreshPolicies::default();
        let one = named("one", TokenTypes::Expected);
        policies.join(&one);
        assert_eq!(policies.attempt().types, TokenTypes::Expected);

        let two = named("two", TokenTypes::Any);
        policies.join(&two);
        assert_eq!((policies.attempt().types, &*policies.attempt().services), (TokenTypes::Any, "one, two"));
        drop(two);
        assert_eq!((policies.attempt().types, &*policies.attempt().services), (TokenTypes::Expected, "one"));
    }

    #[test]
    fn each_service_is_told_once() {
        let policies = RefreshPolicies::default();
        let sharers = ["b", "a"].map(|service| named(service, TokenTypes::Expected));
        sharers.iter().for_each(|policy| policies.join(policy));
        assert_eq!(policies.to_tell_of_life().as_deref(), Some("a, b"));
        assert_eq!(policies.to_tell_of_life(), None);

        // After a reload: another policy of the same service.
        let again = Arc::new(RefreshPolicy::clone(&sharers[0]));
        let new = named("c", TokenTypes::Expected);
        [&again, &new].into_iter().for_each(|policy| policies.join(policy));
        assert_eq!(policies.to_tell_of_life().as_deref(), Some("c"));
        assert_eq!(policies.to_tell_of_scopes().as_deref(), Some("a, b, c"));
    }
}
