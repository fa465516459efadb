//! Permits between workers: an idle connection of one holds what a request of another waits for.

use std::pin::pin;
use std::sync::Arc;

use tokio::task::spawn_local;

use super::Pool;

impl Pool {
    /// Whether a connection that comes free here should be closed for the sake of another worker: nobody here needs
    /// it, or this worker has more than its share.
    pub(super) fn must_yield(&self) -> bool {
        self.others_wanting() > 0 && (self.queue.borrow().is_empty() || self.open.get() > self.fair_share)
    }

    fn others_wanting(&self) -> usize {
        match self.upstream.wanting() {
            0 => 0,
            wanting => wanting - usize::from(self.queue.borrow().has_beggar()).min(wanting),
        }
    }

    /// Listens for other workers that want a permit: an idle connection here holds one.
    pub(super) fn lend_when_wanted(&self) {
        if self.lender.borrow().is_some() {
            return;
        }
        let (pool, upstream) = (self.me.clone(), Arc::clone(&self.upstream));
        let lender = spawn_local(async move {
            loop {
                let mut wanted = pin!(upstream.wanted.notified());
                // Registered first, so that nobody is missed who wants one while we look.
                wanted.as_mut().enable();
                match pool.upgrade() {
                    Some(pool) => pool.lend(),
                    None => return,
                }
                wanted.await;
            }
        });
        *self.lender.borrow_mut() = Some(lender.abort_handle());
    }

    /// Closes as many idle connections, the oldest first, as other workers want permits.
    pub(super) fn lend(&self) {
        for _ in 0..self.others_wanting() {
            if self.idle.borrow_mut().pop_front().is_none() {
                let mut shared = self.shared.borrow_mut();
                if let Some(idle) = shared.iter().position(|shared| shared.is_idle()) {
                    shared.remove(idle);
                }
            }
        }
    }
}
