//! A state file, had for this process alone before it is used: a config that is refused afterwards leaves nothing behind.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::super::state_file::{Lock, LockError, Locks, RefreshState};
use super::family::Family;
use crate::locked::locked;

/// A state file as one config names it.
pub(in crate::credential::oauth2) struct StateFile {
    path: PathBuf,
    locks: Arc<Locks>,
    /// `None`: it is not in force yet, or could not be locked.
    lock: Mutex<Option<Arc<Lock>>>,
    /// Of those that share a file, the highest keeps its state there.
    turn: AtomicU64,
}

/// A state file that this process has for itself. Dropping it gives it back, and leaves nothing behind.
#[must_use = "what is not committed is given back"]
pub(crate) struct Claim {
    pub(super) family: Arc<Family>,
    pub(super) file: Arc<StateFile>,
    pub(super) lock: Result<Arc<Lock>, LockError>,
    pub(super) kept: Option<RefreshState>,
}

impl StateFile {
    pub(super) fn new(path: PathBuf, locks: Arc<Locks>) -> Self {
        Self { path, locks, lock: Mutex::default(), turn: AtomicU64::new(0) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The lock of its path: the one that somebody here holds, or a new one.
    pub(super) fn lock(&self) -> Result<Arc<Lock>, LockError> {
        match &*locked(&self.lock) {
            Some(lock) => Ok(Arc::clone(lock)),
            None => self.locks.take(&self.path),
        }
    }

    /// Its lock is in force.
    fn has(&self, lock: Arc<Lock>) {
        lock.stay();
        *locked(&self.lock) = Some(lock);
    }

    /// Replaces what it holds, unless another config has the file by now. Blocks.
    pub(super) fn write(&self, kept: impl FnOnce() -> RefreshState) -> Result<(), LockError> {
        let lock = {
            let mut lock = locked(&self.lock);
            match &*lock {
                Some(lock) => Arc::clone(lock),
                // The folder may have been mended since.
                None => Arc::clone(lock.insert(self.locks.take(&self.path)?)),
            }
        };
        lock.stay();
        Ok(lock.write(&self.path, self.turn.load(Ordering::Acquire), kept)?)
    }
}

impl Claim {
    /// The config that names the file is in force now. Blocks on nothing.
    ///
    /// What the process knows is newer than what is in a file, which only a process before it can have written: a file
    /// that comes late is brought up to date, and one that is there at the start is where all begins.
    pub(crate) fn commit(self) {
        let Self { family, file, lock, kept } = self;
        // Anew each time: a config that comes back later is the newest one again.
        file.turn.store(TURNS.fetch_add(1, Ordering::Relaxed), Ordering::Release);
        family.keep_in(&file);
        match lock {
            Ok(lock) => {
                file.has(lock);
            }
            Err(why) => family.complain(Some(&file), &why),
        }
        if family.takes_up(kept) {
            // Not waited for: a request that brings a newer one puts that there, in whatever order.
            drop(family.save());
        }
    }
}

static TURNS: AtomicU64 = AtomicU64::new(1);
