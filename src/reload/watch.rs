//! "Something changed", nothing else.
//!
//! Promises to resolve within a second after the content of a watched path has changed, and within ten where the
//! kernel's notifications don't work (network file systems, exhausted inotify limits). Says nothing of what changed:
//! names in events can't be relied on, so an event only makes it look, and a look compares contents. Commands make no
//! events; `command_refresh` runs them again.
//!
//! ```text
//!  new paths: the kernel is asked for events of them, on a thread of its own; looks go on meanwhile
//!  event ──► settle: quiet for 50 ms, at most 500 ms ──► look ──► other content: resolved
//!  every 10 s ───────────────────────────────────────────► │ ────► same: wait on
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use super::command_refresh::CommandRefreshes;
use super::watched_folders;
use crate::blocking::{self, Lane, LaneError};
use crate::config::Watched;

/// Watches what a load has read and run.
pub(crate) struct Watcher {
    files: WatchedFiles,
    turns: CommandRefreshes,
}

/// Watches the files.
struct WatchedFiles {
    watched: Watched,
    /// What the last load has found, or what was found since and told of: a load that came to nothing, and so has not said
    /// what to watch, is not asked for again until it would find something else.
    answered: Look,
    stirred: Arc<Notify>,
    /// Something may have changed that nobody has looked at yet.
    unseen: bool,
    /// The kernel's, until it is dropped; those of a load before until there are those of `watched`.
    notifications: Option<RecommendedWatcher>,
    /// Whether `notifications` are those of `watched`, or it is known that there are none.
    is_armed: bool,
    /// Whether the user was told that they can't be had.
    is_told: bool,
    arming: Lane,
    looking: Lane,
    look_every: Duration,
}

/// What a look came to.
#[derive(PartialEq, Eq)]
enum Look {
    Found(Watched),
    /// The load will meet that again, and say so.
    Panicked,
}

impl Watcher {
    /// Watches what a load has just read.
    pub(crate) fn new(watched: Watched) -> Self {
        Self { turns: CommandRefreshes::new(&watched), files: WatchedFiles::new(watched) }
    }

    /// Watches what the next load has just read, a failed one too: other paths perhaps, and other directories on the
    /// way to them.
    pub(crate) fn watch(&mut self, watched: Watched) {
        self.turns = CommandRefreshes::new(&watched);
        self.files.watch(watched);
    }

    /// Resolves when a load now would read something else than the last one did.
    ///
    /// May be dropped and called again at any time: nothing that happens in between is lost.
    pub(crate) async fn changed(&mut self) {
        tokio::select! {
            () = self.files.changed() => {}
            () = self.turns.changed() => {}
        }
    }
}

impl WatchedFiles {
    fn new(watched: Watched) -> Self {
        let stirred = Arc::new(Notify::new());
        Self {
            answered: Look::Found(watched.clone()),
            watched,
            stirred,
            unseen: true,
            notifications: None,
            is_armed: false,
            is_told: false,
            arming: Lane::default(),
            looking: Lane::default(),
            look_every: LOOK_EVERY,
        }
    }

    fn watch(&mut self, watched: Watched) {
        self.answered = Look::Found(watched.clone());
        self.watched = watched;
        self.is_armed = false;
        // It may have changed between the load and the new watches.
        self.unseen = true;
    }

    async fn changed(&mut self) {
        loop {
            // Before the look, which then sees what happened while there were no events yet.
            self.arm().await;
            if !self.unseen {
                // Without an event in all that time: the look that stands in for notifications.
                drop(timeout(self.look_every, self.stirred.notified()).await);
                self.unseen = true;
            }
            self.settle().await;
            if self.is_different().await {
                return;
            }
            self.unseen = false;
        }
    }

    /// Asks for events of what is watched now. Until they are had, those of before are better than none.
    async fn arm(&mut self) {
        if self.is_armed {
            return;
        }
        let (watched, stirred) = (self.watched.clone(), Arc::clone(&self.stirred));
        let asked = self.arming.run(ARM_WITHIN, move || notifications(&watched, &stirred)).await;
        self.take_notifications(asked);
    }

    fn take_notifications(&mut self, asked: Result<notify::Result<RecommendedWatcher>, LaneError>) {
        match asked {
            Ok(Ok(on)) => {
                self.notifications = Some(on);
                (self.is_armed, self.is_told) = (true, false);
            }
            Ok(Err(error)) => {
                // Where the kernel has no more of them to give, those of before are too many.
                self.notifications = None;
                self.is_armed = true;
                self.fall_back(&error);
            }
            // A mount that hangs may come back: asked for again at the next turn. Those of before go on: they are not of
            // what hangs.
            Err(stuck) => self.fall_back(&stuck),
        }
    }

    /// Waits for the end of a burst: whoever writes a certificate and then its key has done both.
    async fn settle(&self) {
        let latest = Instant::now() + SETTLE_AT_MOST;
        loop {
            let quiet = Instant::now() + QUIET;
            let stirred = timeout_at(quiet.min(latest), self.stirred.notified()).await.is_ok();
            if !stirred || Instant::now() >= latest {
                return;
            }
        }
    }

    async fn is_different(&mut self) -> bool {
        let before = self.watched.clone();
        // Reading may block: the background has sockets to answer meanwhile.
        let look = match self.looking.run(LOOK_WITHIN, move || before.again()).await {
            Ok(found) => Look::Found(found),
            // Looked at again at the next turn, once what hangs is through; a load now would hang in the same place.
            Err(LaneError::Late) => return false,
            Err(LaneError::Panicked(_)) => Look::Panicked,
        };
        let is_news = look != self.answered;
        self.answered = look;
        is_news
    }

    fn fall_back(&mut self, error: &dyn fmt::Display) {
        if !self.is_told {
            tracing::warn!("changes of files are noticed within 10 s only: {error}");
        }
        self.is_told = true;
    }
}

/// New notifications for all directories on the way to what is watched.
///
/// They are made anew for each load: a watch belongs to an inode, and the path that it was made for may lead to
/// another one by now. Blocks.
fn notifications(watched: &Watched, stirred: &Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let directories: BTreeSet<PathBuf> = watched.paths().flat_map(watched_folders::directories).collect();
    let stirred = Arc::clone(stirred);
    let mut watcher = notify::recommended_watcher(move |event| {
        if is_of_interest(&event) {
            stirred.notify_one();
        }
    })?;
    for directory in directories {
        let _mark = blocking::mark(format!("watching `{}`", directory.display()));
        match watcher.watch(&directory, RecursiveMode::NonRecursive) {
            // Gone since it was found: the look that follows each load sees that.
            Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => {}
            other => other?,
        }
    }
    Ok(watcher)
}

/// Whether an event can mean a change. Our own reading makes events too: to look at those would never end.
fn is_of_interest(event: &notify::Result<notify::Event>) -> bool {
    match event {
        Ok(event) => match event.kind {
            EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
            _ => true,
        },
        // An overflowing queue, say: anything may have changed.
        Err(_) => true,
    }
}

/// A disk that is there answers at once.
const ARM_WITHIN: Duration = Duration::from_secs(2);
const LOOK_WITHIN: Duration = Duration::from_secs(30);
const QUIET: Duration = Duration::from_millis(50);
const SETTLE_AT_MOST: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;
    use crate::config::{Inputs, Report, Secrets, Span};

    /// Long enough for the slowest machine, and shorter than the look that stands in for notifications.
    const SOON: Duration = Duration::from_secs(8);

    fn load(path: &Path) -> Watched {
        let inputs = Inputs::new(Secrets::Read);
        inputs.read(path, Span::NOWHERE, &mut Report::default());
        inputs.watched()
    }

    /// A watcher of `path` that has nothing left to look at.
    async fn watcher(path: &Path) -> WatchedFiles {
        let mut watcher = WatchedFiles::new(load(path));
        watcher.arm().await;
        watcher.settle().await;
        assert!(!watcher.is_different().await, "nothing has changed yet");
        watcher.unseen = false;
        watcher
    }

    /// Each change is seen, and the next one too once the watcher was renewed.
    async fn check(path: &Path, changes: &[&dyn Fn()]) {
        let mut watcher = watcher(path).await;
        for (number, change) in changes.iter().enumerate() {
            change();
            assert!(timeout(SOON, watcher.changed()).await.is_ok(), "change number {number} was not seen");
            watcher.watch(load(path));
        }
    }

    #[tokio::test]
    async fn three_swaps_of_a_data_link_are_seen() {
        let mount = tempfile::tempdir().unwrap();
        let at = |name: &str| mount.path().join(name);
        let swap = |version: &str| {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("secret"), version).unwrap();
            symlink(version, at("..data_tmp")).unwrap();
            fs::rename(at("..data_tmp"), at("..data")).unwrap();
        };
        swap("..v0");
        symlink("..data/secret", at("secret")).unwrap();

        check(&at("secret"), &[&|| swap("..v1"), &|| swap("..v2"), &|| swap("..v3")]).await;
    }

    #[tokio::test]
    async fn a_write_in_place_a_rename_and_a_new_file_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "one").unwrap();
        let rename = || {
            fs::write(folder.path().join("new"), "three").unwrap();
            fs::rename(folder.path().join("new"), &path).unwrap();
        };

        check(
            &path,
            &[
                &|| fs::write(&path, "two").unwrap(),
                &rename,
                &|| fs::write(&path, "four").unwrap(),
                &|| fs::remove_file(&path).unwrap(),
                &|| fs::write(&path, "five").unwrap(),
            ],
        )
        .await;
    }

    #[tokio::test]
    async fn a_directory_that_goes_and_comes_back_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("tls");
        let path = inner.join("key");
        fs::create_dir(&inner).unwrap();
        fs::write(&path, "one").unwrap();
        let come_back = || {
            fs::create_dir(&inner).unwrap();
            fs::write(&path, "two").unwrap();
        };

        check(&path, &[&|| fs::remove_dir_all(&inner).unwrap(), &come_back, &|| fs::write(&path, "three").unwrap()])
            .await;
    }

    #[tokio::test]
    async fn a_change_between_the_load_and_the_watch_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "one").unwrap();
        let watched = load(&path);
        fs::write(&path, "two").unwrap();

        let mut watcher = WatchedFiles::new(watched);

        assert!(timeout(SOON, watcher.changed()).await.is_ok());
    }

    #[tokio::test]
    async fn the_same_content_again_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "one").unwrap();
        let mut watcher = watcher(&path).await;

        fs::write(&path, "one").unwrap();
        let stirred = Arc::clone(&watcher.stirred);
        timeout(SOON, stirred.notified()).await.expect("an event for the write");
        stirred.notify_one();

        let seen = timeout(SETTLE_AT_MOST * 3, watcher.changed()).await;
        assert!(seen.is_err(), "a reload of the same content");
    }

    #[tokio::test]
    async fn without_notifications_a_change_is_seen_by_looking() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "one").unwrap();
        let mut watcher = watcher(&path).await;
        watcher.notifications = None;
        watcher.look_every = QUIET;

        fs::write(&path, "two").unwrap();

        assert!(timeout(SOON, watcher.changed()).await.is_ok());
    }

    #[tokio::test]
    async fn while_new_notifications_hang_those_of_before_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "one").unwrap();
        let mut watcher = watcher(&path).await;
        let stirred = Arc::clone(&watcher.stirred);

        watcher.take_notifications(Err(LaneError::Late));
        fs::write(&path, "two").unwrap();

        timeout(SOON, stirred.notified()).await.expect("an event for the write");
    }

    #[tokio::test]
    async fn a_load_that_comes_to_nothing_is_asked_for_again_only_for_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "one").unwrap();
        let mut watcher = watcher(&path).await;

        fs::write(&path, "two").unwrap();
        assert!(timeout(SOON, watcher.changed()).await.is_ok());

        // Nobody has said what to watch: the load panicked.
        assert!(!watcher.is_different().await, "asked for the same load again");
        fs::write(&path, "three").unwrap();
        assert!(timeout(SOON, watcher.changed()).await.is_ok());
    }

    #[test]
    fn our_own_reading_is_no_event() {
        let of = |kind| is_of_interest(&Ok(notify::Event::new(kind)));

        assert!(!of(EventKind::Access(AccessKind::Open(AccessMode::Any))));
        assert!(!of(EventKind::Access(AccessKind::Close(AccessMode::Read))));
        assert!(of(EventKind::Access(AccessKind::Close(AccessMode::Write))));
        assert!(of(EventKind::Create(notify::event::CreateKind::File)));
    }
}
