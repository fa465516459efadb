//! How many connections there may be: over all workers by permits, for one of them by its share.
//!
//! A worker that finds no permit left stands in line for one, and the others hear of it: an idle connection of one holds
//! what a request of another waits for.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::futures::Notified;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::clock::Moment;

/// The permits of one upstream, which all workers share.
pub(super) struct ConnectionPermits {
    left: Arc<Semaphore>,
    /// How many workers stand in line.
    waiting: AtomicUsize,
    /// Tells the others that one does.
    joined: Notify,
}

/// What one worker may hold of them while others want some.
pub(super) struct Share {
    connections: usize,
    /// Not every worker can have one: they take turns.
    in_turns: bool,
    open: Rc<Cell<usize>>,
}

/// A connection's permit and its place in the count: given up when all that use it have let go of it.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    open: Rc<Cell<usize>>,
}

/// One worker's place in the line for a permit.
struct InLine<'a>(&'a ConnectionPermits);

impl ConnectionPermits {
    pub(super) fn new(connections: usize) -> Self {
        let left = Arc::new(Semaphore::new(connections.clamp(1, Semaphore::MAX_PERMITS)));
        Self { left, waiting: AtomicUsize::new(0), joined: Notify::new() }
    }

    /// The right to one more connection, if there is one left and nobody stands in line for it.
    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.left).try_acquire_owned().ok()
    }

    /// The right to one more connection, first come first served over all workers.
    pub(super) async fn wait(&self) -> OwnedSemaphorePermit {
        let _in_line = InLine::join(self);
        // Invariant: nothing ever closes the semaphore.
        #[allow(clippy::expect_used)]
        Arc::clone(&self.left).acquire_owned().await.expect("an open semaphore")
    }

    /// How many workers stand in line.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many workers stand in line beside this one, which is asked whether it does only if anybody does.
    pub(super) fn others_waiting(&self, awaits: impl FnOnce() -> bool) -> usize {
        match self.waiting() {
            0 => 0,
            waiting => waiting - usize::from(awaits()).min(waiting),
        }
    }

    /// Resolves when one more does. Enable it before looking.
    pub(super) fn joined(&self) -> Notified<'_> {
        self.joined.notified()
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> usize {
        self.left.available_permits()
    }
}

impl<'a> InLine<'a> {
    fn join(permits: &'a ConnectionPermits) -> Self {
        permits.waiting.fetch_add(1, Ordering::Relaxed);
        // Idle connections of other workers hold permits: they give them up now.
        permits.joined.notify_waiters();
        Self(permits)
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Share {
    /// One connection at least: a share of none would have each connection made anew for every request.
    pub(super) fn of(connections: usize, workers: usize) -> Self {
        let workers = workers.max(1);
        Self { connections: (connections / workers).max(1), in_turns: connections < workers, open: Rc::default() }
    }

    /// A place for one more connection.
    pub(super) fn place(&self, permit: OwnedSemaphorePermit) -> Place {
        self.open.set(self.open.get() + 1);
        Place { _permit: permit, open: Rc::clone(&self.open) }
    }

    /// How many connections are open.
    pub(super) fn open(&self) -> usize {
        self.open.get()
    }

    /// Whether all that is open here is this worker's by right, so that it may keep it for its next requests.
    pub(super) fn is_kept(&self) -> bool {
        !self.in_turns && self.open.get() <= self.connections
    }

    /// Whether a connection made at `born` is another worker's by right, though somebody here could use it. The time is
    /// asked for only where workers take turns.
    pub(super) fn is_exceeded(&self, born: Moment, now: impl FnOnce() -> Moment) -> bool {
        self.open.get() > self.connections || (self.in_turns && now().since(born) >= TURN)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
    }
}

/// Long beside a handshake, so that most of a turn is spent on requests; short beside `timeouts.connect`, so that all
/// workers of a large machine have theirs before it ends.
const TURN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_share_is_less_than_one_connection() {
        for (connections, workers, share, in_turns) in
            [(1, 1, 1, false), (1, 2, 1, true), (3, 2, 1, false), (8, 2, 4, false), (7, 64, 1, true), (5, 0, 5, false)]
        {
            let of = Share::of(connections, workers);

            assert_eq!((of.connections, of.in_turns), (share, in_turns), "{connections} for {workers}");
        }
    }

    #[test]
    fn a_turn_ends_and_where_all_can_have_one_there_are_none() {
        let born = Moment::now();
        let exceeded = |share: Share, after| share.is_exceeded(born, || born + after);

        assert!(!exceeded(Share::of(1, 2), TURN / 2));
        assert!(exceeded(Share::of(1, 2), TURN));
        assert!(!exceeded(Share::of(2, 2), TURN * 1000));
    }
}
