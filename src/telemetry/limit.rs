//! A bound on lines that anybody can make us write.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Moment;

/// Lets `LINES` lines through in any `interval`, wherever it begins, and counts what it held back.
#[derive(Debug)]
pub(crate) struct LineLimit<const LINES: usize> {
    interval: Duration,
    /// When the last ones passed, in milliseconds since boot; 0: there was none. A ring: the next takes the place of
    /// the oldest.
    passed: [AtomicU64; LINES],
    /// How many have passed.
    count: AtomicU64,
    held_back: AtomicU64,
}

impl<const LINES: usize> LineLimit<LINES> {
    pub(crate) const fn in_each(interval: Duration) -> Self {
        let passed = [const { AtomicU64::new(0) }; LINES];
        Self { interval, passed, count: AtomicU64::new(0), held_back: AtomicU64::new(0) }
    }

    /// Whether a line may be written now: then how many were not, since the last one.
    pub(crate) fn pass(&self, now: Moment) -> Option<u64> {
        let now = now.milliseconds();
        let oldest = &self.passed[self.count.load(Ordering::Relaxed) as usize % LINES];
        let last = oldest.load(Ordering::Relaxed);
        let is_due = last == 0 || u128::from(now.saturating_sub(last)) >= self.interval.as_millis();
        // Of several that are due in the same moment, one writes. Until it has counted itself, others find its place
        // taken and are held back: there are fewer lines then, never more.
        if is_due && oldest.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.count.fetch_add(1, Ordering::Relaxed);
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
        let limit = LineLimit::<1>::in_each(Duration::from_secs(1));
        let start = Moment::now();
        let after = |milliseconds| start + Duration::from_millis(milliseconds);

        let passed = [0, 1, 999, 1_000, 1_500, 2_001, 9_000].map(|at| limit.pass(after(at)));

        assert_eq!(passed, [Some(0), None, None, Some(2), None, Some(1), Some(0)]);
    }

    #[test]
    fn no_interval_has_more_lines_wherever_it_begins() {
        let limit = LineLimit::<3>::in_each(Duration::from_secs(1));
        let start = Moment::now();

        let passed: Vec<u64> =
            (0..5_000).filter(|at| limit.pass(start + Duration::from_millis(*at)).is_some()).collect();

        assert_eq!(passed[..5], [0, 1, 2, 1_000, 1_001]);
        assert!(passed.windows(4).all(|lines| lines[3] - lines[0] >= 1_000), "{passed:?}");
        assert_eq!(passed.len(), 15);
    }

    #[test]
    fn several_threads_share_the_lines_and_lose_no_count() {
        let limit = LineLimit::<9>::in_each(Duration::from_secs(3_600));
        let now = Moment::now();

        let told: Vec<u64> = std::thread::scope(|scope| {
            let asks = || (0..1_000).filter_map(|_| limit.pass(now)).map(|others| others + 1).collect::<Vec<_>>();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(asks)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });

        assert!((1..=9).contains(&told.len()), "{told:?}");
        assert_eq!(told.iter().sum::<u64>() + limit.held_back.load(Ordering::Relaxed), 4_000);
    }
}
