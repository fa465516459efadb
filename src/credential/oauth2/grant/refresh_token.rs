//! A refresh token (RFC 6749 §6), and what an endpoint gives in its place.
//!
//! An endpoint that rotates takes a token that was used twice for a stolen one, and ends all that came of it. So those
//! that began with the same one are a [`Family`]: one token is good for all of them, and one of them at a time uses it.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use arc_swap::ArcSwapOption;
use tokio::sync::OwnedMutexGuard;

use super::super::state_file::{self, Kept, Lock, Locks, Unclaimed, Unlocked};
use crate::config::auth::oauth2::OAuth2;
use crate::config::{At, Report};
use crate::credential::digest::Digest;
use crate::locked::locked;
use crate::secret::Secret;

/// A refresh token as it was configured.
pub(in crate::credential::oauth2) struct RefreshToken {
    written: Secret,
    family: Arc<Family>,
}

/// Where the refresh token is that is good now.
pub(in crate::credential::oauth2) struct Family {
    /// SHA-256 of the refresh token in the config.
    config: [u8; 32],
    /// Locked for as long as a request with it is under way.
    current: Arc<tokio::sync::Mutex<Secret>>,
    /// `None`: it lasts as long as the process.
    file: Option<PathBuf>,
    locks: Arc<Locks>,
    claim: Mutex<Claim>,
    /// Of those that share a file, the highest keeps its state there.
    turn: AtomicU64,
    /// Why the token that is good now is on no disk.
    trouble: ArcSwapOption<String>,
}

/// What was done about the file.
#[derive(Default)]
struct Claim {
    read: bool,
    lock: Option<Arc<Lock>>,
}

/// The refresh token for one request.
pub(in crate::credential::oauth2) struct Lease {
    family: Arc<Family>,
    token: OwnedMutexGuard<Secret>,
}

/// Every family that a snapshot, old or new, holds.
#[derive(Default)]
pub(in crate::credential::oauth2) struct Families {
    known: Mutex<HashMap<[u8; 32], Weak<Family>>>,
    locks: Arc<Locks>,
}

impl RefreshToken {
    /// `None`: what is wrong has been reported.
    pub(super) fn compile(
        written: &OAuth2,
        refresh_token: &Secret,
        state_file: Option<&At<PathBuf>>,
        families: &Families,
        report: &mut Report,
    ) -> Option<Self> {
        if let Some(file) = state_file.filter(|_| report.reads_secrets()) {
            check(file, report)?;
        }
        let file = state_file.map(|file| state_file::resolved(&file.value));
        let family = families.family(written, refresh_token, file);
        Some(Self { written: refresh_token.clone(), family })
    }

    /// Digests what was configured: what has taken its place makes no other entry.
    pub(super) fn digest(&self, digest: &mut Digest) {
        let file = self.family.file.as_ref().map(|file| file.as_os_str().as_encoded_bytes());
        digest.field(self.written.expose().as_bytes());
        digest.list(file.into_iter());
    }

    pub(super) fn family(&self) -> &Arc<Family> {
        &self.family
    }
}

/// Reports a state file that can't be used, or that others can read. Takes no lock.
fn check(file: &At<PathBuf>, report: &mut Report) -> Option<()> {
    let path = file.value.display();
    match state_file::read(&file.value) {
        Ok(None) => {}
        Ok(Some(found)) if found.is_public => {
            let warning = report.warning(file.span, format!("`{path}` holds a refresh token that others can read"));
            warning.help(format!("chmod 600 {path}"));
        }
        Ok(Some(_)) => {}
        Err(why) => {
            let error = report.error(file.span, format!("the state file `{path}` can't be read: {why}"));
            error.help("put back what Sidekey wrote there; or remove it, to begin with the config's refresh token");
            return None;
        }
    }
    Some(())
}

impl Families {
    /// The family of this refresh token: the one that is there, or a new one.
    fn family(&self, written: &OAuth2, refresh_token: &Secret, file: Option<PathBuf>) -> Arc<Family> {
        let config = sha256(refresh_token);
        let mut digest = Digest::new();
        digest.field(&config);
        match &file {
            Some(file) => digest.field(file.as_os_str().as_encoded_bytes()),
            None => {
                digest.field(written.endpoint.value.to_string().as_bytes());
                digest.list(written.client_id.iter().map(String::as_bytes));
            }
        }
        let key = digest.finish();

        let mut known = locked(&self.known);
        if let Some(family) = known.get(&key).and_then(Weak::upgrade) {
            return family;
        }
        known.retain(|_, family| family.strong_count() > 0);
        let family = Arc::new(Family {
            config,
            current: Arc::new(tokio::sync::Mutex::new(refresh_token.clone())),
            file,
            locks: Arc::clone(&self.locks),
            claim: Mutex::default(),
            turn: AtomicU64::new(0),
            trouble: ArcSwapOption::empty(),
        });
        known.insert(key, Arc::downgrade(&family));
        family
    }
}

impl Family {
    pub(in crate::credential::oauth2) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Makes the state file this process's own, before anything is asked with what it holds. Blocks.
    ///
    /// # Errors
    /// When another process has it, or what is in it can't be read. A folder that can't be written to is none: the
    /// token then lasts as long as the process.
    pub(in crate::credential::oauth2) fn claim(&self) -> Result<(), Unclaimed> {
        let Some(path) = &self.file else { return Ok(()) };
        // Anew each time: a config that comes back later is the newest one again.
        self.turn.store(TURNS.fetch_add(1, Ordering::Relaxed), Ordering::Release);
        let mut claim = locked(&self.claim);
        if claim.read {
            return Ok(());
        }
        match self.locks.take(path) {
            Ok(lock) => claim.lock = Some(lock),
            Err(Unlocked::InUse { process }) => return Err(Unclaimed::InUse { path: path.clone(), process }),
            Err(Unlocked::Other(error)) => self.complain(&error),
        }
        let found = state_file::read(path).map_err(|why| Unclaimed::Unreadable { path: path.clone(), why })?;
        let kept = found.map(|found| found.kept).filter(|kept| kept.config == self.config);
        // Nobody has leased it before it was claimed.
        if let (Some(kept), Ok(mut current)) = (kept, self.current.try_lock()) {
            *current = kept.refresh_token;
        }
        claim.read = true;
        Ok(())
    }

    /// The refresh token, once nobody else is using it.
    pub(in crate::credential::oauth2) async fn lease(self: &Arc<Self>) -> Lease {
        let token = Arc::clone(&self.current).lock_owned().await;
        Lease { family: Arc::clone(self), token }
    }

    pub(in crate::credential::oauth2) fn trouble(&self) -> Option<String> {
        self.trouble.load().as_deref().cloned()
    }

    /// Puts it on the disk, if it has a place there.
    async fn save(self: &Arc<Self>, refresh_token: &Secret) {
        if self.file.is_none() {
            return;
        }
        let (family, kept) = (Arc::clone(self), Kept { config: self.config, refresh_token: refresh_token.clone() });
        let saved = tokio::task::spawn_blocking(move || family.write(&kept)).await;
        match saved {
            Ok(Ok(())) => self.trouble.store(None),
            Ok(Err(why)) => self.complain(&why),
            Err(panic) => self.complain(&panic),
        }
    }

    fn write(&self, kept: &Kept) -> Result<(), Unlocked> {
        let Some(path) = &self.file else { return Ok(()) };
        let mut claim = locked(&self.claim);
        let lock = match &claim.lock {
            Some(lock) => lock,
            // The folder may have been mended since.
            None => claim.lock.insert(self.locks.take(path)?),
        };
        if lock.is_owned_by(self.turn.load(Ordering::Acquire)) {
            state_file::write(path, kept)?;
        }
        Ok(())
    }

    fn complain(&self, why: &dyn fmt::Display) {
        let path = self.file.as_deref().unwrap_or(Path::new("")).display();
        let text = format!(
            "the state file `{path}` can't be written: {why}; the refresh token is in memory alone, and lost with the \
             process: mend it before the next restart"
        );
        tracing::error!(target: LOG, "{text}");
        self.trouble.store(Some(Arc::new(text)));
    }
}

impl Lease {
    pub(super) fn token(&self) -> &Secret {
        &self.token
    }

    /// The endpoint gave this one in its place. It is on the disk when this returns, if that can be.
    pub(in crate::credential::oauth2) async fn replace(&mut self, refresh_token: Secret) {
        // One that could not be written is tried again, though it is the same.
        if *self.token != refresh_token || self.family.trouble.load().is_some() {
            *self.token = refresh_token;
            self.family.save(&self.token).await;
        }
    }
}

fn sha256(secret: &Secret) -> [u8; 32] {
    crate::digest::sha256(secret.expose().as_bytes())
}

static TURNS: AtomicU64 = AtomicU64::new(1);

const LOG: &str = "sidekey::token";
