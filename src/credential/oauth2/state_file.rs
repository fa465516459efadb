//! Where a refresh token that took another's place outlives the process.
//!
//! The file is replaced whole: written beside its place, synced, renamed, and the folder synced. So a crash leaves the
//! old one or the new one, and never a half. A rename would take a lock on the file itself away with it, so the lock is
//! on a file beside it, `PATH.lock`, and held for as long as somebody here uses the state.

#![allow(clippy::disallowed_methods, reason = "whoever reads or writes a state does so on a thread of its own")]

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use nix::unistd::{AccessFlags, access};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::blocking;
use crate::hex::hex;
use crate::locked::locked;
use crate::secret::Secret;

/// What a state file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RefreshState {
    /// SHA-256 of the refresh token that the config had: with another one in the config, this is of no more use.
    pub(super) config: [u8; 32],
    /// How many have taken each other's place since that one: of two files the one with more of them is newer.
    pub(super) rotation: u64,
    pub(super) refresh_token: Secret,
}

/// A state file as it was found.
#[derive(Debug)]
pub(super) struct StoredState {
    pub(super) kept: RefreshState,
    /// Whether others than its owner may read it.
    pub(super) is_public: bool,
}

/// Why a state file can't be read. Going on without it would lose the only refresh token that is still good.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateFileError {
    #[error("it is no regular file")]
    NotRegular,
    #[error("it holds something other than a state that Sidekey has written")]
    Garbage,
    #[error("{0}")]
    Other(#[from] io::Error),
}

/// Why a state can't be had for this process alone.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimError {
    #[error("the state file `{}` is in use by another process{}", .path.display(), named(*.process))]
    InUse { path: PathBuf, process: Option<u32> },
    #[error("the state file `{}` can't be read: {why}", .path.display())]
    Unreadable { path: PathBuf, why: StateFileError },
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub(super) enum LockError {
    #[error("it is in use by another process{}", named(*.process))]
    InUse { process: Option<u32> },
    #[error("{0}")]
    Other(#[from] io::Error),
}

/// A state file that belongs to this process. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Lock {
    /// Held open: the kernel's lock goes with it.
    _file: File,
    path: PathBuf,
    /// Whose state is kept in it: of those who share it, the one that was configured last. Locked for as long as one
    /// of them writes.
    owner: Mutex<u64>,
    /// Whether its file was here before, or is to be here afterwards.
    stays: AtomicBool,
}

/// The locks that this process holds, by path: those before and after a reload have one together.
#[derive(Debug, Default)]
pub(super) struct Locks(Mutex<HashMap<PathBuf, Arc<LockPlace>>>);

/// The lock of one path. Held while its file is opened: of two who want it at once, one opens.
type LockPlace = Mutex<Weak<Lock>>;

impl Locks {
    /// The lock of this file: the one that is held already, or a new one.
    ///
    /// # Errors
    /// When another process holds it, or the file beside can't be made.
    pub(super) fn take(&self, path: &Path) -> Result<Arc<Lock>, LockError> {
        let place = self.place(path);
        // Not with all of them in hand: a disk that hangs must not keep anybody from the files on the others.
        let mut held = locked(&place);
        if let Some(lock) = held.upgrade() {
            return Ok(lock);
        }
        let lock = Arc::new(Lock::take(beside(path, ".lock"))?);
        *held = Arc::downgrade(&lock);
        Ok(lock)
    }

    fn place(&self, path: &Path) -> Arc<LockPlace> {
        let mut places = locked(&self.0);
        if let Some(place) = places.get(path) {
            return Arc::clone(place);
        }
        // What somebody has in hand, or is about to, is in use.
        places.retain(|_, place| Arc::get_mut(place).is_none_or(is_held));
        let place = Arc::default();
        places.insert(path.to_owned(), Arc::clone(&place));
        place
    }
}

fn is_held(place: &mut LockPlace) -> bool {
    place.get_mut().unwrap_or_else(PoisonError::into_inner).strong_count() > 0
}

impl Lock {
    fn take(path: PathBuf) -> Result<Self, LockError> {
        loop {
            let is_new = !path.exists();
            let file = lock(&path)?;
            // Whoever gave a lock back may have removed its file between our opening it and our locking it: what we
            // hold is then no lock, for the next one makes a file of that name anew.
            let is_there = fs::symlink_metadata(&path).is_ok_and(|there| {
                file.metadata().is_ok_and(|held| (held.dev(), held.ino()) == (there.dev(), there.ino()))
            });
            if is_there {
                return Ok(Self { _file: file, path, owner: Mutex::new(0), stays: AtomicBool::new(!is_new) });
            }
        }
    }

    /// The state is used from now on: the file of the lock is not removed with it.
    pub(super) fn stay(&self) {
        self.stays.store(true, Ordering::Release);
    }

    /// Replaces the state at `path`, whose lock this is, unless it is that of somebody who came after `turn`. Blocks.
    pub(super) fn write(&self, path: &Path, turn: u64, kept: impl FnOnce() -> RefreshState) -> io::Result<()> {
        let mut owner = locked(&self.owner);
        if *owner > turn {
            return Ok(());
        }
        *owner = turn;
        write(path, &kept())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if !*self.stays.get_mut() {
            // While it is still locked: nobody else can have it. What can't be removed is in nobody's way.
            let _left = fs::remove_file(&self.path);
        }
    }
}

/// The file that is meant, through links: it is replaced, and not the link to it.
pub(super) fn resolved(path: &Path) -> PathBuf {
    let in_folder = || {
        let folder = path.parent().filter(|folder| *folder != "").unwrap_or(Path::new("."));
        folder.canonicalize().ok().zip(path.file_name()).map(|(folder, name)| folder.join(name))
    };
    path.canonicalize().ok().or_else(in_folder).unwrap_or_else(|| path.to_owned())
}

/// Where it lies; `None`: at the root, which is no file.
pub(super) fn folder(path: &Path) -> Option<&Path> {
    path.parent().map(|folder| if folder == Path::new("") { Path::new(".") } else { folder })
}

/// Why no file can be made in a folder, as far as that can be told without making one. Blocks.
pub(super) fn unwritable(folder: &Path) -> Option<io::ErrorKind> {
    let _mark = blocking::mark_reading(folder);
    match fs::metadata(folder) {
        Err(error) => Some(error.kind()),
        Ok(found) if !found.is_dir() => Some(io::ErrorKind::NotADirectory),
        Ok(_) => access(folder, AccessFlags::W_OK | AccessFlags::X_OK).err().map(|_| io::ErrorKind::PermissionDenied),
    }
}

/// Reads a state file; `None` if there is none yet. Blocks.
pub(super) fn read(path: &Path) -> Result<Option<StoredState>, StateFileError> {
    let _mark = blocking::mark_reading(path);
    // Without O_NONBLOCK a FIFO in its place would hang the start.
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(StateFileError::NotRegular);
    }
    let mut text = Zeroizing::new(Vec::with_capacity(LARGEST_STATE));
    file.take(LARGEST_STATE as u64).read_to_end(&mut text)?;
    let kept = parse(&text).ok_or(StateFileError::Garbage)?;
    Ok(Some(StoredState { kept, is_public: metadata.permissions().mode() & OTHERS != 0 }))
}

/// Replaces a state file, so that it is on the disk when this returns. Blocks.
pub(super) fn write(path: &Path, kept: &RefreshState) -> io::Result<()> {
    let _mark = blocking::mark(format!("writing `{}`", path.display()));
    let new = beside(path, ".new");
    // One that a crash has left may be anybody's to read.
    fs::remove_file(&new).or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(&new)?;
    file.write_all(&text(kept)?)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    let folder = path.parent().filter(|folder| *folder != "").unwrap_or(Path::new("."));
    OpenOptions::new().read(true).open(folder)?.sync_all()
}

#[derive(Serialize, Deserialize)]
struct StateFileMembers<'a> {
    /// In hexadecimal digits.
    config: Cow<'a, str>,
    #[serde(default = "first_rotation")]
    rotation: u64,
    refresh_token: Cow<'a, str>,
}

fn text(kept: &RefreshState) -> io::Result<Zeroizing<Vec<u8>>> {
    let wire = StateFileMembers {
        config: hex(&kept.config).into(),
        rotation: kept.rotation,
        refresh_token: kept.refresh_token.expose().into(),
    };
    // Never grows, so no unwiped copy is left behind.
    let mut text = Zeroizing::new(Vec::with_capacity(LARGEST_STATE));
    serde_json::to_writer(&mut *text, &wire)?;
    text.push(b'\n');
    Ok(text)
}

fn parse(text: &[u8]) -> Option<RefreshState> {
    let wire: StateFileMembers<'_> = serde_json::from_slice(text).ok()?;
    let digits = |at: usize| wire.config.get(at * 2..at * 2 + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    let mut config = [0; 32];
    for (at, byte) in config.iter_mut().enumerate() {
        *byte = digits(at)?;
    }
    let whole = wire.config.len() == 64 && !wire.refresh_token.is_empty();
    let refresh_token = Secret::new(wire.refresh_token.into_owned());
    whole.then_some(RefreshState { config, rotation: wire.rotation, refresh_token })
}

/// Of a file from before it was counted: something has taken the place of the config's, or there would be no file.
fn first_rotation() -> u64 {
    1
}

/// The file of this name and ending in the same folder.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn lock(path: &Path) -> Result<File, LockError> {
    let mut open = OpenOptions::new();
    open.read(true).write(true).create(true).truncate(false).mode(PRIVATE).custom_flags(libc::O_NOFOLLOW);
    let mut file = open.open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(LockError::InUse { process: process(&mut file) }),
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    // For people: the lock itself is the kernel's.
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}

fn process(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn named(process: Option<u32>) -> String {
    process.map(|process| format!(" ({process})")).unwrap_or_default()
}

/// More than a token of 16 KiB needs, escapes and all.
const LARGEST_STATE: usize = 64 * 1024;
const PRIVATE: u32 = 0o600;
const OTHERS: u32 = 0o077;

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(token: &str) -> RefreshState {
        RefreshState { config: [0xab; 32], rotation: 7, refresh_token: Secret::new(token.to_owned()) }
    }

    #[test]
    fn what_is_written_is_read_again_and_is_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        assert!(read(&path).unwrap().is_none());

        for token in ["first", "second \"quoted\" \u{fc}"] {
            write(&path, &kept(token)).unwrap();

            let found = read(&path).unwrap().unwrap();
            assert_eq!((found.kept, found.is_public), (kept(token), false));
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_file_from_before_rotations_were_counted_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        fs::write(&path, format!("{{\"config\":\"{}\",\"refresh_token\":\"t\"}}", "ab".repeat(32))).unwrap();

        assert_eq!(read(&path).unwrap().unwrap().kept, RefreshState { rotation: 1, ..kept("t") });
    }

    #[test]
    fn what_a_crash_has_left_beside_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        fs::write(beside(&path, ".new"), "half a st").unwrap();

        write(&path, &kept("token")).unwrap();

        assert_eq!(read(&path).unwrap().unwrap().kept, kept("token"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_link_is_followed_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("state"), folder.path().join("link"));
        write(&path, &kept("old")).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();

        write(&resolved(&link), &kept("new")).unwrap();

        assert_eq!(read(&path).unwrap().unwrap().kept, kept("new"));
        assert!(link.is_symlink());
        let missing = folder.path().join("missing/state");
        assert_eq!(resolved(&missing), missing);
    }

    #[test]
    fn what_sidekey_has_not_written_is_no_state() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let digest = "ab".repeat(32);
        for text in [
            String::new(),
            "{".to_owned(),
            "[]".to_owned(),
            "{\"config\":\"ab\",\"refresh_token\":\"t\"}".to_owned(),
            format!("{{\"config\":\"{digest}\",\"refresh_token\":\"\"}}"),
            format!("{{\"config\":\"{digest}00\",\"refresh_token\":\"t\"}}"),
            format!("{{\"config\":\"{}\",\"refresh_token\":\"t\"}}", "\u{fc}".repeat(32)),
        ] {
            fs::write(&path, &text).unwrap();

            assert!(matches!(read(&path), Err(StateFileError::Garbage)), "{text}");
        }
        assert!(matches!(read(folder.path()), Err(StateFileError::NotRegular)));
    }

    #[test]
    fn a_lock_is_one_for_all_who_share_it_and_for_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let (here, elsewhere) = (Locks::default(), Locks::default());

        let first = here.take(&path).unwrap();
        let second = here.take(&path).unwrap();

        assert!(Arc::ptr_eq(&first, &second));
        let refused = elsewhere.take(&path).unwrap_err().to_string();
        assert_eq!(refused, format!("it is in use by another process ({})", std::process::id()));
        drop((first, second));
        elsewhere.take(&path).unwrap();
    }

    #[test]
    fn a_lock_that_is_waited_for_is_in_the_way_of_no_other_path() {
        let folder = tempfile::tempdir().unwrap();
        let (hangs, other) = (folder.path().join("hangs"), folder.path().join("other"));
        let locks = Locks::default();
        let place = locks.place(&hangs);
        // As while the file is being opened.
        let _opens = locked(&place);

        let lock = locks.take(&other).unwrap();

        assert!(Arc::ptr_eq(&lock, &locks.take(&other).unwrap()));
    }

    #[test]
    fn the_state_of_whoever_was_configured_last_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let lock = Locks::default().take(&path).unwrap();
        let after = |turn: u64, token: &str| {
            lock.write(&path, turn, || kept(token)).unwrap();
            read(&path).unwrap().unwrap().kept
        };

        assert_eq!(after(1, "first"), kept("first"));
        assert_eq!(after(2, "second"), kept("second"));
        assert_eq!(after(1, "late"), kept("second"));
        assert_eq!(after(2, "third"), kept("third"));
    }

    #[test]
    fn a_lock_that_was_taken_for_nothing_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let files = || fs::read_dir(folder.path()).unwrap().count();

        drop(Locks::default().take(&path).unwrap());
        assert_eq!(files(), 0);

        Locks::default().take(&path).unwrap().stay();
        assert_eq!(files(), 1);
        drop(Locks::default().take(&path).unwrap());
        assert_eq!(files(), 1, "it was there before");
    }
}
