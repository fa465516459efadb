//! The deadline of an exchange.

use std::cell::Cell;
use std::ops::Deref;
use std::rc::Rc;

use super::{Deadline, NEVER};

/// What one exchange waits for, and since when it is a long one.
///
/// A connection that carries one exchange after the other lends the same one to each of them.
#[derive(Debug)]
pub(crate) struct ExchangeDeadline {
    deadline: Deadline,
    /// The tick from which the exchange counts as long.
    long: Cell<u32>,
}

impl ExchangeDeadline {
    pub(super) fn new(clock: &Rc<Cell<u32>>) -> Self {
        Self { deadline: Deadline::new(clock), long: Cell::new(NEVER) }
    }

    /// An exchange begins, which counts as long once `ticks` have passed; its task is woken then.
    pub(crate) fn begin(&self, ticks: u32) {
        // The tick in progress does not count.
        self.long.set(self.now().saturating_add(ticks + 1));
    }

    /// Whether the exchange is a long one.
    pub(crate) fn is_long(&self) -> bool {
        self.long.get() <= self.now()
    }

    pub(super) fn tick(&self, now: u32) {
        self.deadline.tick(now);
        if self.long.get() == now {
            self.deadline.wake();
        }
    }
}

impl Deref for ExchangeDeadline {
    type Target = Deadline;

    fn deref(&self) -> &Deadline {
        &self.deadline
    }
}
