//! The deadline of a client connection.
//!
//! A connection that is silent, from which nothing is awaited but its next word or its end, says so here: where there is
//! no room for another, the one that has been silent for longest is dismissed.

use std::cell::Cell;
use std::ops::Deref;
use std::rc::Rc;

use super::{Deadline, NEVER};

/// What one client connection waits for between exchanges, and since when it has been silent.
#[derive(Debug)]
pub(crate) struct ConnectionDeadline {
    deadline: Deadline,
    /// The tick since which it has been silent; [`NEVER`]: it is not.
    silent_since: Cell<u32>,
}

impl ConnectionDeadline {
    pub(super) fn new(clock: &Rc<Cell<u32>>) -> Self {
        Self { deadline: Deadline::new(clock), silent_since: Cell::new(NEVER) }
    }

    /// From now on it is among those of whom the one that has been silent for longest is dismissed.
    pub(crate) fn fall_silent(&self) {
        self.silent_since.set(self.now());
    }

    /// It is no longer silent; if it was dismissed in this moment, that does not count.
    pub(crate) fn speak(&self) {
        self.silent_since.set(NEVER);
        self.deadline.cut.set(false);
    }

    /// Its silence was the longest: its time is up.
    pub(super) fn dismiss(&self) {
        self.silent_since.set(NEVER);
        self.deadline.cut.set(true);
        self.wake();
    }

    pub(super) fn silent_since(&self) -> u32 {
        self.silent_since.get()
    }

    pub(super) fn tick(&self, now: u32) {
        self.deadline.tick(now);
    }

    pub(super) fn wake(&self) {
        self.deadline.wake();
    }
}

impl Deref for ConnectionDeadline {
    type Target = Deadline;

    fn deref(&self) -> &Deadline {
        &self.deadline
    }
}
