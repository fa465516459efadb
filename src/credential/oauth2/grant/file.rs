//! A state file as one config names it, and what came of the last writes.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::super::policy::RefreshPolicies;
use super::super::state_file::{Lock, LockError, Locks, RefreshState};
use super::saving::Saving;
use crate::locked::locked;

/// A state file as one config names it.
pub(in crate::credential::oauth2) struct StateFile {
    path: PathBuf,
    locks: Arc<Locks>,
    /// `None`: it is not in force yet, or could not be locked. Never held while the disk is waited for.
    lock: Mutex<Option<Arc<Lock>>>,
    /// Of those that share a file, the highest keeps its state there.
    turn: AtomicU64,
    /// Held by whoever writes, until it is noted what came of that: so the last to be noted is the last that was written.
    writing: Mutex<()>,
    writes: Mutex<Writes>,
    client_id: Option<String>,
    /// Of the entries that keep it here, for people.
    services: Mutex<Vec<Weak<RefreshPolicies>>>,
}

/// The writes of one file, numbered as they begin. They may end in any order.
#[derive(Default)]
struct Writes {
    begun: u64,
    /// How many of them have ended.
    ended: u64,
    /// The highest that has ended. Each writes what is newest then, so none before it is missed.
    last_ended: u64,
    /// Why the token that is good now is not in there.
    trouble: Option<Arc<str>>,
}

/// One write under way, until it is dropped.
pub(super) struct StateWrite {
    file: Arc<StateFile>,
    number: u64,
    is_over: bool,
    _saving: Saving,
}

impl StateFile {
    pub(super) fn new(path: PathBuf, locks: Arc<Locks>, client_id: Option<String>) -> Self {
        let (lock, turn, services) = (Mutex::default(), AtomicU64::new(0), Mutex::default());
        Self { path, locks, lock, turn, writing: Mutex::default(), writes: Mutex::default(), client_id, services }
    }

    /// The services of this entry keep it here.
    pub(super) fn serves(&self, services: &Arc<RefreshPolicies>) {
        let mut known = locked(&self.services);
        known.retain(|known| known.strong_count() > 0 && !std::ptr::eq(known.as_ptr(), Arc::as_ptr(services)));
        known.push(Arc::downgrade(services));
    }

    /// The names of those who keep it here, and of the client.
    pub(super) fn owners(&self) -> (String, Option<&str>) {
        let known: Vec<_> = locked(&self.services).iter().filter_map(Weak::upgrade).collect();
        let services = known.iter().map(|policies| policies.services()).collect::<Vec<_>>().join(", ");
        (services, self.client_id.as_deref())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The lock of its path: the one that somebody here holds, or a new one. Blocks.
    pub(super) fn lock(&self) -> Result<Arc<Lock>, LockError> {
        let held = locked(&self.lock).clone();
        held.map_or_else(|| self.locks.take(&self.path), Ok)
    }

    /// The config that names it is in force. Without a lock it is tried again when there is something to write.
    pub(super) fn put_in_force(&self, lock: Result<Arc<Lock>, LockError>) {
        // Anew each time: a config that comes back later is the newest one again.
        self.turn.store(TURNS.fetch_add(1, Ordering::Relaxed), Ordering::Release);
        match lock {
            Ok(lock) => {
                lock.stay();
                *locked(&self.lock) = Some(lock);
            }
            Err(why) => self.complain(&why, |_| true),
        }
    }

    /// Why the token that is good now is not in there.
    pub(super) fn trouble(&self) -> Option<Arc<str>> {
        locked(&self.writes).trouble.clone()
    }

    pub(super) fn is_being_written(&self) -> bool {
        let writes = locked(&self.writes);
        writes.ended < writes.begun
    }

    /// Write number `number` has taken so long that nobody waits for it any more.
    pub(super) fn is_late(&self, number: u64, why: &dyn fmt::Display) {
        // It may have ended just now.
        self.complain(why, |writes| writes.last_ended < number);
    }

    fn complain(&self, why: &dyn fmt::Display, still: impl FnOnce(&Writes) -> bool) {
        let text = format!(
            "the state file `{}` can't be written: {why}; the refresh token is in memory alone, and lost with the \
             process: mend it before the next restart",
            self.path.display()
        );
        {
            let mut writes = locked(&self.writes);
            if !still(&writes) {
                return;
            }
            writes.trouble = Some(text.as_str().into());
        }
        let (service, client_id) = self.owners();
        tracing::error!(target: LOG, service, client_id, "{text}");
    }

    /// Replaces what it holds, unless another config has the file by now. Blocks.
    fn write(&self, kept: impl FnOnce() -> RefreshState) -> Result<(), LockError> {
        // The folder may have been mended since there was none.
        let lock = self.lock()?;
        lock.stay();
        *locked(&self.lock) = Some(Arc::clone(&lock));
        Ok(lock.write(&self.path, self.turn.load(Ordering::Acquire), kept)?)
    }
}

impl Writes {
    /// Counts it and clears the trouble at once: one that is still to come may have more to write, and clears it then.
    fn end(&mut self, number: u64, is_written: bool) {
        self.ended += 1;
        self.last_ended = self.last_ended.max(number);
        if is_written && self.ended == self.begun {
            self.trouble = None;
        }
    }
}

impl StateWrite {
    /// To be begun after that is known which is to be written.
    pub(super) fn begin(file: Arc<StateFile>, saving: Saving) -> Self {
        let number = {
            let mut writes = locked(&file.writes);
            writes.begun += 1;
            writes.begun
        };
        Self { file, number, is_over: false, _saving: saving }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Writes what `kept` says by then, and notes what came of it. Blocks.
    pub(super) fn carry_out(mut self, kept: impl FnOnce() -> RefreshState) {
        let file = Arc::clone(&self.file);
        let _alone = locked(&file.writing);
        let written = file.write(kept);
        self.is_over = true;
        locked(&file.writes).end(self.number, written.is_ok());
        if let Err(why) = written {
            file.complain(&why, |_| true);
        }
    }
}

/// One that never came to write, for the process ends, is waited for no more.
impl Drop for StateWrite {
    fn drop(&mut self) {
        if !self.is_over {
            locked(&self.file.writes).ended += 1;
        }
    }
}

static TURNS: AtomicU64 = AtomicU64::new(1);
const LOG: &str = "sidekey::token";
