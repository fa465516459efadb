//! What workers want of an entry's refresher: left in a few atomics, and a wake-up with it.
//!
//! A signal is written first and the refresher woken then, so that it finds what it was woken for. Each is a number that
//! only grows until the refresher takes it: who writes a smaller one takes back nothing of what another wants. How
//! attempts are numbered is told in `state`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// What the refresher is asked for.
#[derive(Debug, Default)]
pub(super) struct RefreshSignals {
    /// Attempt number `wanted` is waited for by a request.
    pub(super) wanted: AtomicU64,
    /// Attempt number `hurried` may come before its time.
    pub(super) hurried: AtomicU64,
    /// Attempt number `demanded` is made at once.
    pub(super) demanded: AtomicU64,
    /// The service called the token of this generation dead.
    pub(super) rejected: AtomicU64,
    pub(super) gone: AtomicBool,
    pub(super) wake: Notify,
}

impl RefreshSignals {
    pub(super) fn want(&self, attempt: u64) {
        self.wanted.fetch_max(attempt, Ordering::AcqRel);
        self.wake.notify_one();
    }

    pub(super) fn demand(&self, attempt: u64) {
        self.demanded.fetch_max(attempt, Ordering::AcqRel);
        self.wake.notify_one();
    }

    pub(super) fn hurry(&self, attempt: u64) {
        self.hurried.fetch_max(attempt, Ordering::AcqRel);
        self.wake.notify_one();
    }

    pub(super) fn reject(&self, generation: u64) {
        self.rejected.fetch_max(generation, Ordering::AcqRel);
        self.wake.notify_one();
    }

    /// The slot is gone: nobody will want anything any more.
    pub(super) fn leave(&self) {
        self.gone.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Attempt number `attempt` is waited for, or nobody will wait for any.
    pub(super) async fn until_wanted(&self, attempt: u64) {
        while self.wanted.load(Ordering::Acquire) < attempt && !self.gone.load(Ordering::Acquire) {
            self.wake.notified().await;
        }
    }

    pub(super) async fn until_gone(&self) {
        while !self.gone.load(Ordering::Acquire) {
            // Other wake-ups are for later: what they are for stays in the atomics.
            self.wake.notified().await;
        }
    }
}
