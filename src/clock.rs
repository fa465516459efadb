//! Time: a clock for lifetimes, the wall clock for people, and the waits of a back-off.
//!
//! Lifetimes count on a clock that neither steps of the wall clock nor a suspended machine disturb
//! (`CLOCK_BOOTTIME`): a token that expired while a laptop slept is expired when it wakes. Everything that decides
//! takes a [`Moment`] as a parameter, so tests need not wait.

use std::ops::Add;
use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use nix::time::{ClockId, clock_gettime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A point in time since boot, suspend included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(Duration);

impl Moment {
    /// Reads the clock: one call into the vDSO.
    pub(crate) fn now() -> Self {
        let since_boot = clock_gettime(ClockId::CLOCK_BOOTTIME).or_else(|_| clock_gettime(ClockId::CLOCK_MONOTONIC));
        // Invariant: Linux has had both clocks since 2.6.39.
        #[allow(clippy::expect_used)]
        Self(since_boot.expect("a monotonic clock").into())
    }

    /// Whole milliseconds since boot.
    pub(crate) fn milliseconds(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    /// How much later this is than `earlier`; zero if it is not.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The wall-clock time that stands for this moment now, for people.
    pub(crate) fn wall(self) -> SystemTime {
        let now = Self::now();
        let wall = SystemTime::now();
        if self >= now { wall + self.since(now) } else { wall - now.since(self) }
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }
}

/// A time for people and machines: RFC 3339, UTC, whole seconds.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let whole_seconds = OffsetDateTime::from(time).replace_nanosecond(0);
    // Invariant: every year that a certificate or clock here can name is within 0..=9999; else the empty text says so.
    whole_seconds.ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

/// The waits between tries of something that keeps failing: doubling, with jitter, never over a limit.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    waits: ExponentialBackoff,
}

impl Backoff {
    /// Waits that start at `first` and double up to `longest`.
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, waits: Self::waits(first, longest) }
    }

    /// The next wait, at least `floor` (a rejection, or the server's `Retry-After`).
    pub(crate) fn next(&mut self, floor: Duration) -> Duration {
        let wait = self.waits.next().unwrap_or(self.longest);
        // backon adds its jitter on top: the limit is ours to keep.
        wait.min(self.longest).max(floor)
    }

    /// Starts over after a success.
    pub(crate) fn reset(&mut self) {
        self.waits = Self::waits(self.first, self.longest);
    }

    fn waits(first: Duration, longest: Duration) -> ExponentialBackoff {
        ExponentialBuilder::new()
            .with_min_delay(first)
            .with_max_delay(longest)
            .with_factor(2.0)
            .without_max_times()
            .with_jitter()
            .build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_limit_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

        let waits: Vec<_> = (0..12).map(|_| backoff.next(Duration::ZERO)).collect();

        assert!(waits[0] >= Duration::from_secs(1) && waits[0] <= Duration::from_secs(2), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(60)), "{waits:?}");
        assert_eq!(waits[11], Duration::from_secs(60));
        backoff.reset();
        assert!(backoff.next(Duration::ZERO) <= Duration::from_secs(2));
    }

    #[test]
    fn a_floor_is_kept() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

        assert_eq!(backoff.next(Duration::from_secs(300)), Duration::from_secs(300));
    }

    #[test]
    fn times_are_printed_in_utc_to_the_second() {
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH + Duration::from_millis(1_500)), "1970-01-01T00:00:01Z");
    }
}
