//! What goes on beside the requests: each a task that the pool starts, and that comes back to it when there is news.
//!
//! None of them holds the pool: it is gone with its view, and they with it.

use std::pin::pin;
use std::rc::Weak;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::sleep;

use super::Upstream;
use super::queue::Ticket;
use crate::transport::{self, Connected};

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

    /// Closes as many idle connections, the oldest first, as other workers want permits.
    fn share_permits(&self);
}

/// Makes a connection.
pub(super) fn dial<P: TaskOwner>(
    pool: &Weak<P>,
    upstream: &Arc<Upstream>,
    ticket: Ticket,
    permit: OwnedSemaphorePermit,
) -> AbortHandle {
    let (dialing, upstream) = (Dialing { pool: pool.clone(), ticket }, Arc::clone(upstream));
    let dial = spawn_local(async move {
        let outcome = upstream.connector.connect().await;
        if let Some(pool) = dialing.pool.upgrade() {
            // It counts no longer as one in the making: whoever is told of it may want another.
            drop(dialing);
            pool.dialed(ticket, outcome, permit);
        }
    });
    dial.abort_handle()
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
            match pool.upgrade() {
                Some(pool) => pool.share_permits(),
                None => return,
            }
            joined.await;
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
