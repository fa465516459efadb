//! What workers want of an entry's refresher: left in a few atomics, and a wake-up with it.
//!
//! A signal is written first and the refresher woken then, so that it finds what it was woken for: the other way round it
//! could look in between, find nothing and sleep on. One wake-up is kept for a refresher that is not asleep, so it looks
//! once more before it is. Each signal is a number that only grows until the refresher takes it: who writes a smaller one
//! takes back nothing of what another wants. How attempts are numbered is told in `state`.

use super::sync::{AtomicBool, AtomicU64, AtomicUsize, Notify, Ordering};

/// Somebody who waits for an attempt to end, until this is dropped.
pub(super) struct TokenWait<'a>(&'a RefreshSignals);

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
    /// So many wait for an attempt to end.
    waiting: AtomicUsize,
    pub(super) gone: AtomicBool,
    pub(super) wake: Notify,
}

impl RefreshSignals {
    pub(super) fn want(&self, attempt: u64) {
        self.wanted.fetch_max(attempt, Ordering::AcqRel);
        self.wake.notify_one();
    }

    /// Whoever waits is counted first and says what for then: see [`RefreshSignals::withdraw`].
    pub(super) fn waiting(&self) -> TokenWait<'_> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        TokenWait(self)
    }

    /// Takes back the wish for an attempt if nobody waits any more. `false`: somebody does.
    pub(super) fn withdraw(&self) -> bool {
        // The wish goes first and the count is looked at then. Who comes in between has been counted before it wrote its
        // wish: if that was before this one cleared it, the count shows it; if it was after, the wish stands. The other way
        // round a request could come between the two, lose its wish, and wait for what nobody does.
        let wanted = self.wanted.swap(0, Ordering::AcqRel);
        if self.waiting.load(Ordering::Acquire) == 0 {
            return true;
        }
        self.wanted.fetch_max(wanted, Ordering::AcqRel);
        false
    }

    pub(super) fn demand(&self, attempt: u64) {
        // It is waited for as well: where that decides who goes first, this one does.
        self.wanted.fetch_max(attempt, Ordering::AcqRel);
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

impl Drop for TokenWait<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}
