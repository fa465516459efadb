//! What goes on beside the requests: each a task that the pool starts, and that comes back to it when there is news.
//!
//! None of them holds the pool: it is gone with its view, and they with it.

use std::pin::pin;
use std::rc::Weak;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::sleep;

use super::queue::Ticket;
use super::{Pool, Upstream};
use std::time::Duration;

/// Makes a connection.
pub(super) fn dial(
    pool: &Weak<Pool>,
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
pub(super) fn wait_for_permit(pool: &Weak<Pool>, upstream: &Arc<Upstream>) -> AbortHandle {
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
pub(super) fn wake_after(pool: &Weak<Pool>, pause: Duration) -> AbortHandle {
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
pub(super) fn share_permits(pool: &Weak<Pool>, upstream: &Arc<Upstream>) -> AbortHandle {
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
struct Dialing {
    pool: Weak<Pool>,
    ticket: Ticket,
}

impl Drop for Dialing {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.dial_ended(self.ticket);
        }
    }
}
