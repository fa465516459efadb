//! The latest of what one writer publishes, and those who wait until it is what they wait for.
//!
//! ```text
//!  who waits:   register ─► look ─► not yet ─► sleep ──────┐
//!  the writer:                 publish ─► wake all who ────┴─► look again
//!                                         are registered
//! ```
//!
//! Whichever way the two sides' steps fall, one of them sees the other: who looks before it is published has registered
//! before that, and is woken; who registers after the waking looks after the publishing.

use std::pin::pin;
use std::sync::Arc;

use super::sync::{ArcSwap, Guard, Notify};

/// What was published last.
#[derive(Debug)]
pub(super) struct Latest<S> {
    current: ArcSwap<S>,
    announced: Notify,
}

impl<S> Latest<S> {
    pub(super) fn new(first: S) -> Self {
        Self { current: ArcSwap::from_pointee(first), announced: Notify::new() }
    }

    /// Without touching its reference count.
    pub(super) fn load(&self) -> Guard<Arc<S>> {
        self.current.load()
    }

    pub(super) fn load_full(&self) -> Arc<S> {
        self.current.load_full()
    }

    /// Publishes what nobody waits for.
    pub(super) fn publish(&self, next: Arc<S>) {
        self.current.store(next);
    }

    /// Publishes it, and wakes who waits.
    pub(super) fn announce(&self, next: Arc<S>) {
        // In this order: who is woken looks once, and if it was not published by then it waits for the next.
        self.current.store(next);
        self.announced.notify_waiters();
    }

    /// The first that is announced, or is there already, of which this holds.
    pub(super) async fn until(&self, holds: impl Fn(&S) -> bool) -> Arc<S> {
        loop {
            let mut announced = pin!(self.announced.notified());
            // Registered first, looked at then: what is announced in between wakes this one too.
            announced.as_mut().enable();
            let current = self.load_full();
            if holds(&current) {
                return current;
            }
            announced.await;
        }
    }
}
