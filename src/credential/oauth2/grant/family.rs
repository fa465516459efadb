//! All that came of one refresh token, and what of it is good now.
//!
//! An endpoint that rotates takes a token that was used twice for a stolen one, and ends all that came of it. So those
//! that began with the same one, at the same endpoint and as the same client, are a [`Family`]: one token is good for all
//! of them, and one of them at a time uses it. Where it is kept is no part of that: a file may be added, moved or removed
//! and the family goes on. Nor is who uses it: a family that was rotated is remembered when its last service is gone,
//! which may come back.

use std::collections::HashMap;
use std::fmt;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use aws_lc_rs::digest;
use tokio::sync::{OwnedMutexGuard, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::super::policy::RefreshPolicies;
use super::super::state_file::{Locks, RefreshState};
use super::claim::StateFile;
use crate::config::auth::oauth2::OAuth2;
use crate::credential::digest::Digest;
use crate::locked::locked;
use crate::secret::Secret;

/// Where the refresh token is that is good now.
pub(in crate::credential::oauth2) struct Family {
    /// SHA-256 of the refresh token in the config.
    config: [u8; 32],
    client_id: Option<String>,
    /// Of the entries that ask with it, for people.
    services: Mutex<Vec<Weak<RefreshPolicies>>>,
    /// Counts the families of the process.
    number: u64,
    /// Locked for as long as a request with the token is under way.
    request: Arc<tokio::sync::Mutex<()>>,
    newest: Mutex<Newest>,
    /// Those that a config in force names, or one whose last answer is still under way.
    files: Mutex<Vec<Weak<StateFile>>>,
    /// Why the token that is good now is on no disk.
    trouble: ArcSwapOption<String>,
    ending: Arc<LeasesEnd>,
}

/// The token that is good now.
struct Newest {
    token: Secret,
    /// It has taken the place of the config's, which is good no more.
    is_rotated: bool,
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

/// The end of all requests with refresh tokens, and what must come before it.
struct LeasesEnd {
    has_begun: AtomicBool,
    /// How many writes are under way.
    saves: watch::Sender<usize>,
}

/// One write under way, until it is dropped.
struct Saving(Arc<LeasesEnd>);

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
            client_id: written.client_id.clone(),
            services: Mutex::default(),
            number: known.made,
            request: Arc::default(),
            newest: Mutex::new(Newest { token: refresh_token.clone(), is_rotated: false }),
            files: Mutex::default(),
            trouble: ArcSwapOption::empty(),
            ending: Arc::clone(&self.ending),
        });
        known.by_key.insert(key, Arc::clone(&family));
        family
    }

    pub(super) fn file(&self, path: PathBuf) -> StateFile {
        StateFile::new(path, Arc::clone(&self.locks))
    }

    /// Lets no further request begin, and resolves once the answers of those under way are heard, and on the disk.
    ///
    /// Each of them ends within its own `timeout`, and its write within [`DISK`]: so does this.
    pub(in crate::credential::oauth2) async fn settle(&self) {
        // Said before anybody is asked: whoever gets a lock from now on gives it back unused.
        self.ending.has_begun.store(true, Ordering::Release);
        // All that the process has known, and not what is published: an answer may be under way for a service that a
        // reload has removed, or for a rotated certificate that waits for it.
        let families: Vec<_> = locked(&self.known).by_key.values().map(Arc::clone).collect();
        for family in families {
            drop(family.request.lock().await);
        }
        self.saved().await;
    }

    /// Resolves once nothing that was received is still on its way to the disk.
    pub(in crate::credential::oauth2) async fn saved(&self) {
        let mut saves = self.ending.saves.subscribe();
        // The sender is here, so it does not end otherwise.
        let _none = saves.wait_for(|saves| *saves == 0).await;
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
        self.by_key.retain(|_, family| is_in_use(family) || locked(&family.newest).is_rotated);
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
    /// The refresh token, once nobody else is using it. Never, once the process ends.
    pub(in crate::credential::oauth2) async fn lease(self: &Arc<Self>) -> RefreshTokenLease {
        let request = Arc::clone(&self.request).lock_owned().await;
        // Asked with the lock in hand: a request that begins after this is one that `settle` waits for.
        if self.ending.has_begun.load(Ordering::Acquire) {
            drop(request);
            return pending().await;
        }
        let token = locked(&self.newest).token.clone();
        RefreshTokenLease { family: Arc::clone(self), token, _request: request }
    }

    pub(in crate::credential::oauth2) fn trouble(&self) -> Option<String> {
        self.trouble.load().as_deref().cloned()
    }

    /// Begins with what a file holds, unless more is known. Says whether the file has to be brought up to date.
    pub(super) fn takes_up(&self, kept: Option<RefreshState>) -> bool {
        let kept = kept.filter(|kept| kept.config == self.config).map(|kept| kept.refresh_token);
        let mut newest = locked(&self.newest);
        match kept {
            Some(token) if !newest.is_rotated => {
                *newest = Newest { token, is_rotated: true };
                false
            }
            kept => newest.is_rotated && kept.as_ref() != Some(&newest.token),
        }
    }

    async fn replace(self: &Arc<Self>, token: Secret) {
        *locked(&self.newest) = Newest { token, is_rotated: true };
        let Some(save) = self.save() else { return };
        // The access token that came with it waits for this: not for ever.
        if timeout(DISK, save).await.is_err() {
            self.complain(None, &format!("its disk has not answered within {} s", DISK.as_secs()));
        }
    }

    /// Puts what is good now on the disk, if it has a place there. Goes on though nobody waits for it.
    pub(super) fn save(self: &Arc<Self>) -> Option<tokio::task::JoinHandle<()>> {
        let files = self.files();
        if files.is_empty() {
            return None;
        }
        let (family, saving) = (Arc::clone(self), Saving::begin(&self.ending));
        Some(spawn_blocking(move || {
            family.write(&files);
            drop(saving);
        }))
    }

    fn write(&self, files: &[Arc<StateFile>]) {
        let mut failed = false;
        for file in files {
            // Read as it is written: of two writes the later one may come first, and must not be undone by the other.
            let kept = || RefreshState { config: self.config, refresh_token: locked(&self.newest).token.clone() };
            if let Err(why) = file.write(kept) {
                self.complain(Some(file), &why);
                failed = true;
            }
        }
        if !failed {
            self.trouble.store(None);
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

    /// The services of this entry ask with it.
    pub(super) fn serves(&self, services: &Arc<RefreshPolicies>) {
        let mut known = locked(&self.services);
        known.retain(|known| known.strong_count() > 0 && !std::ptr::eq(known.as_ptr(), Arc::as_ptr(services)));
        known.push(Arc::downgrade(services));
    }

    fn services(&self) -> String {
        let known: Vec<_> = locked(&self.services).iter().filter_map(Weak::upgrade).collect();
        known.iter().map(|policies| policies.services()).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn complain(&self, file: Option<&StateFile>, why: &dyn fmt::Display) {
        let first = self.files().into_iter().next();
        let path = file.or(first.as_deref()).map_or(Path::new(""), StateFile::path).display();
        let text = format!(
            "the state file `{path}` can't be written: {why}; the refresh token is in memory alone, and lost with the \
             process: mend it before the next restart"
        );
        let (service, client_id) = (self.services(), self.client_id.as_deref());
        tracing::error!(target: LOG, service, client_id, "{text}");
        self.trouble.store(Some(Arc::new(text)));
    }
}

impl RefreshTokenLease {
    pub(super) fn token(&self) -> &Secret {
        &self.token
    }

    /// The endpoint gave this one in its place. It is on the disk when this returns, if that can be.
    pub(in crate::credential::oauth2) async fn replace(&mut self, refresh_token: Secret) {
        // One that could not be written is tried again, though it is the same.
        if self.token != refresh_token || self.family.trouble.load().is_some() {
            self.token = refresh_token.clone();
            self.family.replace(refresh_token).await;
        }
    }
}

impl Default for LeasesEnd {
    fn default() -> Self {
        Self { has_begun: AtomicBool::new(false), saves: watch::Sender::new(0) }
    }
}

impl Saving {
    fn begin(ending: &Arc<LeasesEnd>) -> Self {
        ending.saves.send_modify(|saves| *saves += 1);
        Self(Arc::clone(ending))
    }
}

impl Drop for Saving {
    fn drop(&mut self) {
        self.0.saves.send_modify(|saves| *saves -= 1);
    }
}

fn sha256(secret: &Secret) -> [u8; 32] {
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest::digest(&digest::SHA256, secret.expose().as_bytes()).as_ref());
    sha256
}

/// As long as a token request by default; a disk that takes longer hangs.
const DISK: Duration = Duration::from_secs(10);
/// So many families that nobody uses any more.
const REMEMBERED: usize = 1024;
const FEW: usize = 32;
const LOG: &str = "sidekey::token";

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Waker};

    use super::*;
    use crate::credential::oauth2::grant::Claim;
    use crate::credential::tests::oauth2;

    fn secret(token: &str) -> Secret {
        Secret::new(token.to_owned())
    }

    fn is_pending(future: Pin<&mut impl Future>) -> bool {
        future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    #[tokio::test]
    async fn the_end_waits_for_who_has_a_lease_and_for_nobody_who_waits_for_one() {
        let families = Families::default();
        let family = families.family(&oauth2(), &secret("a"));
        let mut lease = family.lease().await;
        let mut second = pin!(family.lease());
        assert!(is_pending(second.as_mut()));

        let mut settled = pin!(families.settle());

        assert!(is_pending(settled.as_mut()));
        lease.replace(secret("b")).await;
        assert!(is_pending(settled.as_mut()));
        drop(lease);
        tokio::select! {
            _ = second.as_mut() => panic!("a request that begins when all has ended"),
            () = settled => {}
        }
        assert!(is_pending(pin!(family.lease())));
    }

    #[tokio::test]
    async fn the_end_waits_for_what_is_on_its_way_to_the_disk() {
        let families = Families::default();
        let saving = Saving::begin(&families.ending);
        let mut settled = pin!(families.settle());
        assert!(is_pending(settled.as_mut()));

        drop(saving);

        settled.await;
    }

    #[tokio::test]
    async fn what_has_taken_anothers_place_is_remembered_when_nobody_uses_it() {
        let families = Families::default();
        let known = |token: &str| families.family(&oauth2(), &secret(token));
        known("rotated").lease().await.replace(secret("next")).await;

        // More than there is room for, each refused or used by nobody.
        for number in 0..3 * FEW {
            known(&format!("never used {number}"));
        }

        assert_eq!(known("rotated").lease().await.token().expose(), "next");
        assert!(locked(&families.known).by_key.len() <= 2 * FEW + 1);
    }

    #[tokio::test]
    async fn of_what_nobody_uses_the_latest_are_remembered() {
        let families = Families::default();
        for number in 0..2 * REMEMBERED + FEW {
            let family = families.family(&oauth2(), &secret(&format!("a {number}")));
            family.lease().await.replace(secret("next")).await;
            locked(&families.known).full = 0;
        }

        let newest =
            |number: usize| locked(&families.family(&oauth2(), &secret(&format!("a {number}"))).newest).is_rotated;
        assert!(newest(2 * REMEMBERED + FEW - 1));
        assert!(!newest(0));
    }

    #[tokio::test]
    async fn of_two_writes_whichever_comes_last_the_newest_is_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let families = Families::default();
        let family = families.family(&oauth2(), &secret("a"));
        let file = Arc::new(families.file(path.clone()));
        Claim { family: Arc::clone(&family), file: Arc::clone(&file), lock: file.lock(), kept: None }.commit();

        family.lease().await.replace(secret("b")).await;
        let early = family.files();
        family.lease().await.replace(secret("c")).await;
        family.write(&early);

        let kept = super::super::super::state_file::read(&path).unwrap().unwrap().kept;
        assert_eq!(kept.refresh_token, secret("c"));
    }
}
