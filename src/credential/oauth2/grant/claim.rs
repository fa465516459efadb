//! State files, had for this process alone before they are used: a config that is refused afterwards leaves nothing behind.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::super::state_file::{Lock, LockError, RefreshState};
use super::family::Family;
use super::file::StateFile;

/// A state file that this process has for itself. Dropping it gives it back, and leaves nothing behind.
#[must_use = "what is not committed is given back"]
pub(crate) struct Claim {
    pub(super) family: Arc<Family>,
    pub(super) file: Arc<StateFile>,
    pub(super) lock: Result<Arc<Lock>, LockError>,
    pub(super) kept: Option<RefreshState>,
}

impl Claim {
    /// The config that names the files is in force now. Blocks on nothing: what has to be written is, on a thread of
    /// `runtime`'s.
    ///
    /// All together, for the files of one family may differ, where the disk of one has failed. So each is looked at before
    /// any is written: the newest one is what is good, whichever comes first, and the others are brought up to date.
    pub(crate) fn commit_all(claims: impl IntoIterator<Item = Self>, runtime: &Handle) {
        let in_force: Vec<_> = claims.into_iter().map(Self::put_in_force).collect();
        for (family, file, kept) in in_force {
            if family.is_ahead_of(kept.as_ref()) {
                // Not waited for: a request that brings a newer one puts that there, in whatever order.
                drop(family.save_in(file, runtime));
            }
        }
    }

    fn put_in_force(self) -> (Arc<Family>, Arc<StateFile>, Option<RefreshState>) {
        let Self { family, file, lock, kept } = self;
        family.keep_in(&file);
        file.put_in_force(lock);
        family.takes_up(kept.as_ref());
        (family, file, kept)
    }
}
