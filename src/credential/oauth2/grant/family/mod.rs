//! All that came of one refresh token, and what of it is good now.
//!
//! An endpoint that rotates takes a token that was used twice for a stolen one, and ends all that came of it. So those
//! that began with the same one, at the same endpoint and as the same client, are a [`Family`]: one token is good for all
//! of them, and one of them at a time uses it. Where it is kept is no part of that: a file may be added, moved or removed
//! and the family goes on. Nor is who uses it: a family that was rotated is remembered when its last service is gone,
//! which may come back.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::future::pending;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use aws_lc_rs::digest;
use tokio::runtime::Handle;
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::file::{StateFile, StateWrite};
use super::saving::{LeasesEnd, Saving};
use crate::config::auth::oauth2::OAuth2;
use crate::credential::digest::Digest;
use crate::credential::oauth2::source::Holdup;
use crate::credential::oauth2::state_file::{Locks, RefreshState};
use crate::locked::locked;
use crate::secret::Secret;

/// Where the refresh token is that is good now.
pub(in crate::credential::oauth2) struct Family {
    /// SHA-256 of the refresh token in the config.
    config: [u8; 32],
    /// Counts the families of the process.
    number: u64,
    /// Locked for as long as a request with the token is under way.
    request: Arc<tokio::sync::Mutex<()>>,
    newest: Mutex<Newest>,
    /// Those that a config in force names, or one whose last answer is still under way.
    files: Mutex<Vec<Weak<StateFile>>>,
    ending: Arc<LeasesEnd>,
}

/// The token that is good now.
struct Newest {
    token: Secret,
    /// How many have taken each other's place since the config's, which is good no more from the first of them on.
    rotation: u64,
    /// An answer to this process brought it: whatever a file holds is older.
    is_ours: bool,
}

/// One file that is being brought up to date.
pub(super) struct Save {
    file: Arc<StateFile>,
    number: u64,
    written: JoinHandle<()>,
}

/// The refresh token for one request.
pub(in crate::credential::oauth2) struct RefreshTokenLease {
    family: Arc<Family>,
    token: Secret,
    _request: OwnedMutexGuard<()>,
}

/// Every family of the process.
#[derive(Default)]
pub(in crate::credential::oauth2) struct Families {
    known: Mutex<KnownFamilies>,
    locks: Arc<Locks>,
    ending: Arc<LeasesEnd>,
}

#[derive(Default)]
struct KnownFamilies {
    by_key: HashMap<[u8; 32], Arc<Family>>,
    /// At this many, those that are of no more use are looked for.
    full: usize,
    made: u64,
}

impl Families {
    /// The family of this refresh token: the one that is known, or a new one.
    pub(super) fn family(&self, written: &OAuth2, refresh_token: &Secret) -> Arc<Family> {
        let config = sha256(refresh_token);
        let mut digest = Digest::new();
        digest.field(&config);
        digest.field(written.endpoint.value.to_string().as_bytes());
        digest.list(written.client_id.iter().map(String::as_bytes));
        let key = digest.finish();

        let mut known = locked(&self.known);
        if let Some(family) = known.by_key.get(&key) {
            return Arc::clone(family);
        }
        known.make_room();
        known.made += 1;
        let family = Arc::new(Family {
            config,
            number: known.made,
            request: Arc::default(),
            newest: Mutex::new(Newest { token: refresh_token.clone(), rotation: 0, is_ours: false }),
            files: Mutex::default(),
            ending: Arc::clone(&self.ending),
        });
        known.by_key.insert(key, Arc::clone(&family));
        family
    }

    pub(super) fn file(&self, path: PathBuf, client_id: Option<String>) -> StateFile {
        StateFile::new(path, Arc::clone(&self.locks), client_id)
    }

    /// Lets no further request begin, and resolves once the answers of those under way are heard, and on the disk.
    ///
    /// Each of them ends within its own `timeout`, and its write within [`DISK`] or not at all: so does this.
    pub(in crate::credential::oauth2) async fn settle(&self) {
        // Said before anybody is asked: whoever gets a lock from now on gives it back unused.
        self.ending.begin();
        // All that the process has known, and not what is published: an answer may be under way for a service that a
        // reload has removed, or for a rotated certificate that waits for it.
        let families: Vec<_> = locked(&self.known).by_key.values().map(Arc::clone).collect();
        for family in &families {
            drop(family.request.lock().await);
        }
        // Whoever had a lease waited no longer for its write than this, and gave it back with the write still under way.
        if timeout(DISK, self.saved()).await.is_err() {
            families.iter().for_each(|family| family.tell_of_hangs());
        }
    }

    /// Resolves once nothing that was received is still on its way to the disk.
    pub(in crate::credential::oauth2) async fn saved(&self) {
        self.ending.saved().await;
    }
}

impl KnownFamilies {
    /// Forgets what is of no more use, before there is more of it than of the rest.
    fn make_room(&mut self) {
        if self.by_key.len() < self.full {
            return;
        }
        let is_in_use = |family: &Arc<Family>| Arc::strong_count(family) > 1;
        // Those of configs that were refused, say, which are no secret that anybody gave us.
        self.by_key.retain(|_, family| is_in_use(family) || locked(&family.newest).is_rotated());
        let mut idle: Vec<u64> = self.by_key.values().filter(|it| !is_in_use(it)).map(|it| it.number).collect();
        // A command that prints another one every minute makes a new family each time.
        if idle.len() > REMEMBERED {
            idle.sort_unstable();
            let first_kept = idle[idle.len() - REMEMBERED];
            self.by_key.retain(|_, family| is_in_use(family) || family.number >= first_kept);
        }
        self.full = 2 * self.by_key.len().max(FEW);
    }
}

impl Family {
    /// Tells the families of the process apart.
    pub(in crate::credential::oauth2) fn number(&self) -> u64 {
        self.number
    }

    /// The refresh token, once nobody else is using it. Never, once the process ends.
    pub(in crate::credential::oauth2) async fn lease(self: &Arc<Self>) -> RefreshTokenLease {
        let request = Arc::clone(&self.request).lock_owned().await;
        // Asked with the lock in hand: a request that begins after this is one that `settle` waits for.
        if self.ending.has_begun() {
            drop(request);
            return pending().await;
        }
        let token = locked(&self.newest).token.clone();
        RefreshTokenLease { family: Arc::clone(self), token, _request: request }
    }

    /// Why the token that is good now is not on each disk where it has a place.
    pub(in crate::credential::oauth2) fn trouble(&self) -> Option<String> {
        self.files().iter().find_map(|file| file.trouble()).map(|trouble| trouble.to_string())
    }

    /// What a request with the token would have to wait for now.
    pub(super) fn holdup(&self) -> Option<Holdup> {
        if let Some(file) = self.files().iter().find(|file| file.is_being_written()) {
            return Some(Holdup::Disk { path: file.path().to_owned() });
        }
        self.request.try_lock().is_err().then_some(Holdup::OtherRequest)
    }

    /// Begins with what a file holds, unless more is known. Of several the newest counts, whichever comes first.
    pub(super) fn takes_up(&self, kept: Option<&RefreshState>) {
        let Some(kept) = kept.filter(|kept| kept.config == self.config) else { return };
        let mut newest = locked(&self.newest);
        if newest.is_ours {
            // However often that one was rotated: it is of a process before this one, and what is written in its place
            // must be the newest for the next process too.
            if kept.refresh_token != newest.token {
                newest.rotation = newest.rotation.max(kept.rotation.saturating_add(1));
            }
        } else if kept.rotation > newest.rotation {
            let (token, rotation) = (kept.refresh_token.clone(), kept.rotation);
            *newest = Newest { token, rotation, is_ours: false };
        }
    }

    /// Whether a file that holds this has to be brought up to date.
    pub(super) fn is_ahead_of(&self, kept: Option<&RefreshState>) -> bool {
        let kept = kept.filter(|kept| kept.config == self.config).map(|kept| &kept.refresh_token);
        let newest = locked(&self.newest);
        newest.is_rotated() && kept != Some(&newest.token)
    }

    async fn replace(self: &Arc<Self>, token: Secret) {
        {
            let mut newest = locked(&self.newest);
            *newest = Newest { token, rotation: newest.rotation.saturating_add(1), is_ours: true };
        }
        let runtime = Handle::current();
        let mut saves: Vec<_> = self.files().into_iter().map(|file| self.save_in(file, &runtime)).collect();
        let all_written = async {
            for save in &mut saves {
                // One that panicked has ended too.
                let _ended = (&mut save.written).await;
            }
        };
        // The access token that came with it waits for this: not for ever.
        if timeout(DISK, all_written).await.is_err() {
            let why = format!("its disk has not answered within {} s", DISK.as_secs());
            saves.iter().for_each(|save| save.file.is_late(save.number, &why));
        }
    }

    /// Puts what is good now into this file. Goes on though nobody waits for it.
    pub(super) fn save_in(self: &Arc<Self>, file: Arc<StateFile>, runtime: &Handle) -> Save {
        let write = StateWrite::begin(Arc::clone(&file), Saving::begin(&self.ending));
        let (family, number) = (Arc::clone(self), write.number());
        // Read as it is written: of two writes the later one may come first, and must not be undone by the other.
        let written = runtime.spawn_blocking(move || write.carry_out(|| family.state()));
        Save { file, number, written }
    }

    fn state(&self) -> RefreshState {
        let newest = locked(&self.newest);
        RefreshState { config: self.config, rotation: newest.rotation, refresh_token: newest.token.clone() }
    }

    fn tell_of_hangs(&self) {
        for file in self.files().iter().filter(|file| file.is_being_written()) {
            let (path, seconds) = (file.path().display(), DISK.as_secs());
            let (service, client_id) = file.owners();
            tracing::error!(
                target: LOG,
                service,
                client_id,
                "the state file `{path}` is still being written after {seconds} s: the process does not wait for its disk \
                 any longer, and the refresh token may be lost with it"
            );
        }
    }

    /// A config in force keeps it there too, from now on.
    pub(super) fn keep_in(&self, file: &Arc<StateFile>) {
        let mut files = locked(&self.files);
        files.retain(|known| known.strong_count() > 0 && !std::ptr::eq(known.as_ptr(), Arc::as_ptr(file)));
        files.push(Arc::downgrade(file));
    }

    fn files(&self) -> Vec<Arc<StateFile>> {
        locked(&self.files).iter().filter_map(Weak::upgrade).collect()
    }
}

impl Newest {
    fn is_rotated(&self) -> bool {
        self.rotation > 0
    }
}

impl RefreshTokenLease {
    pub(super) fn token(&self) -> &Secret {
        &self.token
    }

    /// The endpoint gave this one in its place. It is on the disk when this returns, if that can be.
    pub(in crate::credential::oauth2) async fn replace(&mut self, refresh_token: Secret) {
        // One that could not be written is tried again, though it is the same.
        if self.token != refresh_token || self.family.trouble().is_some() {
            self.token = refresh_token.clone();
            self.family.replace(refresh_token).await;
        }
    }
}

fn sha256(secret: &Secret) -> [u8; 32] {
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest::digest(&digest::SHA256, secret.expose().as_bytes()).as_ref());
    sha256
}

/// As long as a token request by default; a disk that takes longer hangs.
const DISK: Duration = if cfg!(test) { Duration::from_millis(50) } else { Duration::from_secs(10) };
/// So many families that nobody uses any more.
const REMEMBERED: usize = 1024;
const FEW: usize = 32;
const LOG: &str = "sidekey::token";
