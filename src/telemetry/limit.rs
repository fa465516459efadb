//! A bound on lines that anybody can make us write.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Moment;

/// Lets a line through once in `interval`, and counts what it held back.
#[derive(Debug)]
pub(crate) struct LineLimit {
    interval: Duration,
    /// In milliseconds since boot; 0: there was none.
    last: AtomicU64,
    held_back: AtomicU64,
}

impl LineLimit {
    pub(crate) const fn once_in(interval: Duration) -> Self {
        Self { interval, last: AtomicU64::new(0), held_back: AtomicU64::new(0) }
    }

    /// Whether a line may be written now: then how many were not, since the last one.
    pub(crate) fn pass(&self, now: Moment) -> Option<u64> {
        let now = now.milliseconds();
        let last = self.last.load(Ordering::Relaxed);
        let is_due = last == 0 || u128::from(now.saturating_sub(last)) >= self.interval.as_millis();
        // Of several that are due in the same moment, one writes.
        if is_due && self.last.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            return Some(self.held_back.swap(0, Ordering::Relaxed));
        }
        self.held_back.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_passes_in_an_interval_and_says_how_many_did_not() {
        let limit = LineLimit::once_in(Duration::from_secs(1));
        let start = Moment::now();
        let after = |milliseconds| start + Duration::from_millis(milliseconds);

        let passed = [0, 1, 999, 1_000, 1_500, 2_001, 9_000].map(|at| limit.pass(after(at)));

        assert_eq!(passed, [Some(0), None, None, Some(2), None, Some(1), Some(0)]);
    }
}
