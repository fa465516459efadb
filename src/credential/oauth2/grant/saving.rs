//! The end of all requests with refresh tokens, and the writes that must come before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// The end of all requests with refresh tokens, and what must come before it.
pub(super) struct LeasesEnd {
    has_begun: AtomicBool,
    /// How many writes are under way.
    saves: watch::Sender<usize>,
}

/// One write under way, until it is dropped.
pub(super) struct Saving(Arc<LeasesEnd>);

impl LeasesEnd {
    /// Whoever gets a lock from now on gives it back unused.
    pub(super) fn begin(&self) {
        self.has_begun.store(true, Ordering::Release);
    }

    pub(super) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Acquire)
    }

    /// Resolves once no write is under way.
    pub(super) async fn saved(&self) {
        let mut saves = self.saves.subscribe();
        // The sender is here, so it does not end otherwise.
        let _none = saves.wait_for(|saves| *saves == 0).await;
    }
}

impl Default for LeasesEnd {
    fn default() -> Self {
        Self { has_begun: AtomicBool::new(false), saves: watch::Sender::new(0) }
    }
}

impl Saving {
    pub(super) fn begin(ending: &Arc<LeasesEnd>) -> Self {
        ending.saves.send_modify(|saves| *saves += 1);
        Self(Arc::clone(ending))
    }
}

impl Drop for Saving {
    fn drop(&mut self) {
        self.0.saves.send_modify(|saves| *saves -= 1);
    }
}
