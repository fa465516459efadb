//! How many connections a pool tells of.

use std::cell::Cell;
use std::sync::Arc;

use crate::telemetry::metrics::Numbers;

/// What was told of one pool. The numbers are of the service, which may have other pools.
pub(super) struct Count {
    pub(super) numbers: Arc<Numbers>,
    /// Active and idle.
    told: Cell<(i64, i64)>,
    over: Cell<bool>,
}

impl Count {
    pub(super) fn new(numbers: Arc<Numbers>) -> Self {
        Self { numbers, told: Cell::default(), over: Cell::new(false) }
    }

    /// So many are open, and so many of them idle.
    pub(super) fn tell(&self, open: usize, idle: usize) {
        // After its end the numbers are its successor's.
        if !self.over.get() {
            self.change((open.saturating_sub(idle) as i64, idle as i64));
        }
    }

    /// The pool has none to tell of any more.
    pub(super) fn end(&self) {
        self.change((0, 0));
        self.over.set(true);
    }

    fn change(&self, now: (i64, i64)) {
        let before = self.told.replace(now);
        self.numbers.connections(now.0 - before.0, now.1 - before.1);
    }
}
