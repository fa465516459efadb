//! The last errors, for status: a ring that is written without a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwapOption;

use crate::code::Code;

/// The last [`ERRORS_KEPT`] of our own answers that were somebody's problem, and of failed token requests.
///
/// Workers and the background write here, each failure as it happens. A lock would make them wait for each other in
/// the very moment in which everything fails, so each entry takes the next place of a ring and swaps itself in.
#[derive(Debug)]
pub(crate) struct Recent {
    places: [ArcSwapOption<RecentError>; ERRORS_KEPT],
    next: AtomicU64,
}

/// One error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecentError {
    number: u64,
    pub(crate) time: SystemTime,
    /// Empty: a request without a service.
    pub(crate) service: String,
    pub(crate) code: Code,
    /// What the answer's `detail` said; holds no secret.
    pub(crate) detail: String,
}

impl Recent {
    /// Adds an error that happened now; the oldest one gives way.
    pub(crate) fn add(&self, service: &str, code: Code, detail: impl Into<String>) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let entry =
            RecentError { number, time: SystemTime::now(), service: service.to_owned(), code, detail: detail.into() };
        let place = number % ERRORS_KEPT as u64;
        self.places[place as usize].store(Some(Arc::new(entry)));
    }

    /// The errors, oldest first.
    pub(crate) fn list(&self) -> Vec<Arc<RecentError>> {
        let mut entries: Vec<_> = self.places.iter().filter_map(ArcSwapOption::load_full).collect();
        entries.sort_by_key(|entry| entry.number);
        entries
    }
}

impl Default for Recent {
    fn default() -> Self {
        Self { places: std::array::from_fn(|_| ArcSwapOption::empty()), next: AtomicU64::new(0) }
    }
}

/// As many as a page shows; each holds a few hundred bytes.
const ERRORS_KEPT: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_fifty_errors_are_kept_in_order() {
        let recent = Recent::default();

        for number in 0..60 {
            recent.add("payments", Code::DnsError, number.to_string());
        }

        let details: Vec<_> = recent.list().iter().map(|entry| entry.detail.clone()).collect();
        let expected: Vec<_> = (10..60).map(|number| number.to_string()).collect();
        assert_eq!(details, expected);
    }

    #[test]
    fn an_entry_says_who_failed_and_how() {
        let recent = Recent::default();

        recent.add("payments", Code::TokenUnavailable, "the token endpoint answered 500");

        let [entry] = &recent.list()[..] else { panic!("one entry") };
        assert_eq!((entry.service.as_str(), entry.code), ("payments", Code::TokenUnavailable));
        assert_eq!(entry.detail, "the token endpoint answered 500");
    }
}
