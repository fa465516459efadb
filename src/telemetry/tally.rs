//! Numbers that one thread writes and any thread reads.
//!
//! A writer that is alone needs no read-modify-write: a relaxed load and a relaxed store cost what they cost on
//! plain memory, while `fetch_add` locks the cache line even if nobody else wants it. A reader may see one number of
//! an exchange and not yet the next, which a scrape never notices.

use std::time::Duration;

use http::StatusCode;

use super::sync::{AtomicU16, AtomicU64, OnceLock, Ordering};

/// One number.
#[derive(Debug, Default)]
pub(super) struct Tally(AtomicU64);

/// How many answers there were of each status.
///
/// A service answers with a handful of the 900 possible codes: they are found by a walk over eight places, and a
/// service that knows more gets eight more.
#[derive(Debug, Default)]
pub(super) struct Statuses {
    places: [SeriesIndex; 8],
    more: OnceLock<Box<Self>>,
}

#[derive(Debug, Default)]
struct SeriesIndex {
    /// 0: free.
    status: AtomicU16,
    count: Tally,
}

/// How many observations fell between two bounds, and their sum.
#[derive(Debug)]
pub(super) struct Histogram {
    /// Upper bounds, ascending; a value equal to its bound counts there.
    bounds: &'static [Duration],
    /// One per bound, and one for all above the last; not cumulated.
    counts: Box<[Tally]>,
    sum_nanos: Tally,
}

impl Tally {
    pub(super) fn add(&self, more: u64) {
        self.set(self.value().wrapping_add(more));
    }

    pub(super) fn subtract(&self, less: u64) {
        self.set(self.value().saturating_sub(less));
    }

    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(super) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Statuses {
    /// Counts one answer.
    pub(super) fn add(&self, status: StatusCode) {
        let wanted = status.as_u16();
        for place in &self.places {
            let taken = place.status.load(Ordering::Relaxed);
            if taken == 0 {
                place.count.add(1);
                // Release: a reader that sees the status sees its count too.
                return place.status.store(wanted, Ordering::Release);
            }
            if taken == wanted {
                return place.count.add(1);
            }
        }
        self.more.get_or_init(Box::default).add(status);
    }

    /// Calls `each` with every status that was counted, and its count.
    pub(super) fn for_each(&self, each: &mut impl FnMut(u16, u64)) {
        for place in &self.places {
            match place.status.load(Ordering::Acquire) {
                0 => return,
                status => each(status, place.count.value()),
            }
        }
        if let Some(more) = self.more.get() {
            more.for_each(each);
        }
    }
}

impl Histogram {
    pub(super) fn new(bounds: &'static [Duration]) -> Self {
        Self { bounds, counts: (0..=bounds.len()).map(|_| Tally::default()).collect(), sum_nanos: Tally::default() }
    }

    /// Counts one value.
    pub(super) fn observe(&self, value: Duration) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket].add(1);
        // Wraps after 584 years of waiting.
        self.sum_nanos.add(value.as_nanos() as u64);
    }

    /// The count of each bucket, not cumulated.
    pub(super) fn counts(&self) -> impl Iterator<Item = u64> {
        self.counts.iter().map(Tally::value)
    }

    pub(super) fn sum_nanos(&self) -> u64 {
        self.sum_nanos.value()
    }
}
