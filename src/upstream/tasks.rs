//! What goes on beside the requests: each a task that the pool starts, and that comes back to it when there is news.
//!
//! None of them holds the pool: it is gone with its view, and they with it.

use std::pin::pin;
use std::rc::Weak;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{sleep, timeout};

use super::Upstream;
use super::idle::RESTED;
use super::queue::Ticket;
use crate::guard::guarded;
use crate::transport::{self, Connected, StreamGrowth};

/// To whom they come back.
pub(super) trait TaskOwner: 'static {
    /// A dial came to its end.
    fn dialed(&self, ticket: Ticket, outcome: Result<Connected, transport::Error>, permit: OwnedSemaphorePermit);

    /// A dial is over, whether its end was heard of or not.
    fn dial_ended(&self, ticket: Ticket);

    /// The permit that was waited for.
    fn permitted(&self, permit: OwnedSemaphorePermit);

    /// The time has come to look again.
    fn woken(&self);

    /// An HTTP/2 connection may carry more requests than before, or has come to its end.
    fn streams_changed(&self);

    /// Closes as many idle connections, the oldest first, as other workers want permits; of its share only those that have
    /// been idle for [`RESTED`]. Says how many still want one.
    fn share_permits(&self) -> usize;
}

/// Makes a connection, by `connect`.
pub(super) fn dial<P: TaskOwner>(
    pool: &Weak<P>,
    connect: impl Future<Output = Result<Connected, transport::Error>> + 'static,
    ticket: Ticket,
    permit: OwnedSemaphorePermit,
) -> AbortHandle {
    let dialing = Dialing { pool: pool.clone(), ticket };
    let dial = spawn_local(async move {
        // Whoever waits for it may have no time-out of its own: a panic is told like any other failure, and followed by the
        // same pause before the next attempt.
        let outcome = guarded(pin!(connect)).await.unwrap_or(Err(transport::Error::Panicked));
        if let Some(pool) = dialing.pool.upgrade() {
            // It counts no longer as one in the making: whoever is told of it may want another.
            drop(dialing);
            pool.dialed(ticket, outcome, permit);
        }
    });
    dial.abort_handle()
}

/// Tells of an HTTP/2 connection whenever it may carry more requests. Until it is known how many it carries at all, it is one in
/// the making under `ticket`.
pub(super) fn follow_growth<P: TaskOwner>(pool: &Weak<P>, mut growth: StreamGrowth, ticket: Ticket) {
    let (pool, mut dialing) = (pool.clone(), Some(Dialing { pool: pool.clone(), ticket }));
    spawn_local(async move {
        loop {
            let goes_on = growth.next().await;
            // First: whoever is told looks how many are in the making.
            drop(dialing.take());
            let Some(pool) = pool.upgrade() else { return };
            pool.streams_changed();
            if !goes_on {
                return;
            }
        }
    });
}

/// Stands in line for a permit: one place for this worker, however many wait in it.
pub(super) fn wait_for_permit<P: TaskOwner>(pool: &Weak<P>, upstream: &Arc<Upstream>) -> AbortHandle {
    let (pool, upstream) = (pool.clone(), Arc::clone(upstream));
    let waiter = spawn_local(async move {
        let permit = upstream.permits.wait().await;
        if let Some(pool) = pool.upgrade() {
            pool.permitted(permit);
        }
    });
    waiter.abort_handle()
}

/// Has the pool look again after a while.
pub(super) fn wake_after<P: TaskOwner>(pool: &Weak<P>, pause: Duration) -> AbortHandle {
    let pool = pool.clone();
    let alarm = spawn_local(async move {
        sleep(pause).await;
        if let Some(pool) = pool.upgrade() {
            pool.woken();
        }
    });
    alarm.abort_handle()
}

/// Listens for other workers that want a permit: an idle connection here holds one.
pub(super) fn share_permits<P: TaskOwner>(pool: &Weak<P>, upstream: &Arc<Upstream>) -> AbortHandle {
    let (pool, upstream) = (pool.clone(), Arc::clone(upstream));
    let sharing = spawn_local(async move {
        loop {
            let mut joined = pin!(upstream.permits.joined());
            // Registered first, so that nobody is missed who wants one while we look.
            joined.as_mut().enable();
            let Some(waiting) = pool.upgrade().map(|pool| pool.share_permits()) else { return };
            if waiting == 0 {
                joined.await;
            } else {
                // Looks again though nobody joins: what is idle now may be so still.
                timeout(RESTED, joined).await.ok();
            }
        }
    });
    sharing.abort_handle()
}

/// A connection in the making: counted until it ends, however it ends.
struct Dialing<P: TaskOwner> {
    pool: Weak<P>,
    ticket: Ticket,
}

impl<P: TaskOwner> Drop for Dialing<P> {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.dial_ended(self.ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    use tokio::sync::{Notify, Semaphore};

    use super::*;
    use crate::upstream::queue::Queue;

    #[derive(Default)]
    struct Owner {
        failures: RefCell<Vec<transport::Error>>,
        ended: Cell<usize>,
        told: Notify,
    }

    impl TaskOwner for Owner {
        fn dialed(&self, _: Ticket, outcome: Result<Connected, transport::Error>, _: OwnedSemaphorePermit) {
            self.failures.borrow_mut().extend(outcome.err());
            self.told.notify_one();
        }

        fn dial_ended(&self, _: Ticket) {
            self.ended.set(self.ended.get() + 1);
        }

        fn permitted(&self, _: OwnedSemaphorePermit) {}

        fn woken(&self) {}

        fn streams_changed(&self) {}

        fn share_permits(&self) -> usize {
            0
        }
    }

    #[tokio::test(flavor = "local")]
    async fn a_dial_that_panics_is_told_of_like_one_that_fails() {
        let (owner, permits) = (Rc::<Owner>::default(), Arc::new(Semaphore::new(1)));
        let permit = Arc::clone(&permits).try_acquire_owned().expect("a permit");
        let ticket = Queue::<()>::new(None).draw();

        dial(&Rc::downgrade(&owner), async { panic!("a fault of ours") }, ticket, permit);

        timeout(Duration::from_secs(10), owner.told.notified()).await.expect("a word of it");
        assert!(matches!(owner.failures.borrow()[..], [transport::Error::Panicked]));
        assert_eq!((owner.ended.get(), permits.available_permits()), (1, 1));
    }
}
