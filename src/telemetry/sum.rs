//! One service's numbers over all workers, and the bounds of the histograms.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::metrics::{Numbers, Totals};
use super::tally::Histogram;
use crate::code::Code;

/// One service's numbers over all workers.
#[derive(Debug, Default)]
pub(super) struct Sum {
    pub(super) statuses: BTreeMap<u16, u64>,
    /// By [`Code::index`].
    pub(super) errors: Vec<u64>,
    pub(super) in_flight: u64,
    pub(super) duration: Buckets,
    pub(super) overhead: Buckets,
    pub(super) connect: Buckets,
    pub(super) active: u64,
    pub(super) idle: u64,
}

/// One histogram over all workers.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    /// Of each bucket, not cumulated.
    pub(super) counts: Vec<u64>,
    pub(super) sum_nanos: u64,
}

impl Sum {
    pub(super) fn of(workers: &BTreeMap<usize, Arc<Numbers>>) -> Self {
        let mut sum = Self { errors: vec![0; Code::ALL.len()], ..Self::default() };
        for numbers in workers.values() {
            sum.add(numbers);
        }
        sum
    }

    pub(super) fn totals(&self) -> Totals {
        Totals {
            requests: self.statuses.values().sum(),
            errors: self.errors.iter().sum(),
            active: self.active,
            idle: self.idle,
        }
    }

    fn add(&mut self, numbers: &Numbers) {
        numbers.statuses.for_each(&mut |status, count| *self.statuses.entry(status).or_default() += count);
        for (sum, more) in self.errors.iter_mut().zip(&numbers.errors) {
            *sum += more.value();
        }
        self.in_flight += numbers.in_flight.value();
        self.duration.add(&numbers.duration);
        self.overhead.add(&numbers.overhead);
        self.connect.add(&numbers.connect);
        self.active += numbers.active.value();
        self.idle += numbers.idle.value();
    }
}

impl Buckets {
    fn add(&mut self, histogram: &Histogram) {
        let more: Vec<_> = histogram.counts().collect();
        self.counts.resize(more.len(), 0);
        for (sum, more) in self.counts.iter_mut().zip(more) {
            *sum += more;
        }
        self.sum_nanos += histogram.sum_nanos();
    }
}

/// From a hit in memory next door to the longest that a service is usually given.
pub(super) const DURATION_BOUNDS: &[Duration] = &[
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

/// Our own share is tens of microseconds; a worker that is starved shows in the upper ones.
pub(super) const OVERHEAD_BOUNDS: &[Duration] = &[
    Duration::from_micros(5),
    Duration::from_micros(10),
    Duration::from_micros(25),
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(100),
];

/// Up to twice the default limit of connecting.
pub(super) const CONNECT_BOUNDS: &[Duration] = &[
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_secs(10),
];
