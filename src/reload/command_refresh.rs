//! Commands that a load has run, each run again when it is due.
//!
//! Promises to resolve once a command gives something else than the load got from it. A command that fails keeps what
//! it gave before in service: it is warned about, once for each cause, and tried again.
//!
//! ```text
//!  due ──► run, on a thread of its own ──► something else: resolved
//!   ▲          │                  │
//!   │          ▼ the same         ▼ failed
//!   └──── `refresh` ◄──── after 1 s, twice that, … 60 s, or at `refresh` if that is sooner
//! ```
//!
//! One without `refresh` is due only where it has failed.

use std::future::pending;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use crate::clock::Backoff;
use crate::config::{Watched, WatchedCommand};

/// The refreshes of all commands of a load.
pub(super) struct CommandRefreshes {
    refreshes: Vec<CommandRefresh>,
    /// A refresh that is under way, and its place.
    running: Option<(usize, JoinHandle<WatchedCommand>)>,
}

struct CommandRefresh {
    /// As the load ran it.
    loaded: WatchedCommand,
    next: Option<Instant>,
    backoff: Backoff,
    /// Of the last run, the load's included.
    failure: Option<String>,
}

impl CommandRefreshes {
    pub(super) fn new(watched: &Watched) -> Self {
        Self { refreshes: watched.commands().iter().cloned().map(CommandRefresh::new).collect(), running: None }
    }

    /// Resolves when a command gives something else than the load got from it.
    ///
    /// May be dropped and called again at any time: a run that is under way is waited for the next time.
    pub(super) async fn changed(&mut self) {
        loop {
            if self.running.is_none() {
                self.begin().await;
            }
            let Some((place, run)) = &mut self.running else { continue };
            let (place, ran) = (*place, run.await);
            self.running = None;
            if self.refreshes.get_mut(place).is_some_and(|refresh| refresh.is_changed_by(ran.ok())) {
                return;
            }
        }
    }

    async fn begin(&mut self) {
        let refreshes = self.refreshes.iter().enumerate();
        let next = refreshes
            .filter_map(|(place, refresh)| Some((refresh.next?, place, refresh)))
            .min_by_key(|(next, ..)| *next);
        let Some((next, place, refresh)) = next else { return pending().await };
        sleep_until(next).await;
        let command = refresh.loaded.clone();
        // It blocks: the background has sockets to answer meanwhile.
        self.running = Some((place, spawn_blocking(move || command.again())));
    }
}

impl CommandRefresh {
    fn new(loaded: WatchedCommand) -> Self {
        let failure = loaded.failure().map(str::to_owned);
        let mut refresh = Self { loaded, next: None, backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT), failure };
        refresh.schedule();
        refresh
    }

    /// Takes what a run came to. A panic (`None`) is taken for a change: the load will meet it again, and say so.
    fn is_changed_by(&mut self, ran: Option<WatchedCommand>) -> bool {
        let Some(ran) = ran else {
            // It gave nothing, and says nothing of the secret either: a failure of before is not over.
            self.schedule();
            return true;
        };
        let failure = ran.failure().map(str::to_owned);
        let name = self.loaded.name();
        match (&failure, &self.failure) {
            (Some(failure), before) if before.as_ref() != Some(failure) => {
                let meanwhile = match self.loaded.failure() {
                    None => "the secret that it gave before stays in service",
                    Some(_) => "it has given no secret yet",
                };
                tracing::warn!("the command `{name}` {failure}; {meanwhile}");
            }
            (None, Some(_)) => tracing::info!("the command `{name}` gives a secret again"),
            _ => {}
        }
        self.failure = failure;
        if self.failure.is_none() {
            self.backoff.reset();
        }
        self.schedule();
        self.failure.is_none() && ran != self.loaded
    }

    fn schedule(&mut self) {
        let refresh = self.loaded.refresh();
        let wait = match self.failure {
            None => refresh,
            Some(_) => refresh.into_iter().chain([self.backoff.next(Duration::ZERO)]).min(),
        };
        self.next = wait.map(|wait| Instant::now() + wait);
    }
}

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use tempfile::TempDir;
    use tokio::time::timeout;

    use super::*;
    use crate::config::{self, ConfigSource, Inputs, Secrets};

    /// Long enough for the slowest machine.
    const SOON: Duration = Duration::from_secs(20);

    /// A folder with a script that prints `secret` and counts its runs, and the refreshes of a load of it.
    fn refreshes(refresh: &str, secret: Option<&str>) -> (TempDir, CommandRefreshes) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sidekey.yaml");
        let command = format!("command: [sh, -c, 'echo run >>runs; cat secret']{refresh}");
        let text = format!(
            "services: {{ a: {{ url: 'https://a.example', auth: {{ type: bearer, token: {{ {command} }} }} }} }}"
        );
        fs::write(&path, text).unwrap();
        if let Some(secret) = secret {
            fs::write(folder.path().join("secret"), secret).unwrap();
        }
        let inputs = Inputs::new(Secrets::Read);
        let (config, _) = config::load(&ConfigSource::Path(path), &inputs);
        assert!(config.is_some());
        assert_eq!((inputs.watched().commands().len(), runs(folder.path())), (1, 1));
        (folder, CommandRefreshes::new(&inputs.watched()))
    }

    fn runs(folder: &Path) -> usize {
        fs::read_to_string(folder.join("runs")).unwrap().lines().count()
    }

    /// Waits until there were `count` runs, none of which is a change.
    async fn pass(refreshes: &mut CommandRefreshes, folder: &TempDir, count: usize) {
        let reached = async {
            while runs(folder.path()) < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            () = refreshes.changed() => panic!("a change after {} runs", runs(folder.path())),
            reached = timeout(SOON, reached) => reached.expect("the runs"),
        }
    }

    #[tokio::test]
    async fn another_secret_is_a_change_and_the_same_is_none() {
        let (folder, mut refreshes) = refreshes(", refresh: 20ms", Some("hunter2"));

        pass(&mut refreshes, &folder, 4).await;
        fs::write(folder.path().join("secret"), "hunter3").unwrap();

        assert!(timeout(SOON, refreshes.changed()).await.is_ok());
    }

    #[tokio::test]
    async fn a_failure_is_no_change_and_neither_is_its_end() {
        let (folder, mut refreshes) = refreshes(", refresh: 20ms", Some("hunter2"));

        fs::rename(folder.path().join("secret"), folder.path().join("aside")).unwrap();
        pass(&mut refreshes, &folder, 4).await;
        assert!(
            refreshes.refreshes[0].failure.as_ref().is_some_and(|said| said.starts_with("ended with status 1: cat: "))
        );
        fs::rename(folder.path().join("aside"), folder.path().join("secret")).unwrap();
        pass(&mut refreshes, &folder, 8).await;

        assert_eq!(refreshes.refreshes[0].failure, None);
    }

    #[tokio::test]
    async fn a_run_that_panicked_is_a_change_and_no_end_of_a_failure() {
        let (_folder, mut refreshes) = refreshes("", None);
        let refresh = &mut refreshes.refreshes[0];
        let failure = refresh.failure.clone();
        assert!(failure.is_some());

        assert!(refresh.is_changed_by(None));

        assert_eq!(refresh.failure, failure);
        assert!(refresh.next.is_some(), "it is tried again");
    }

    #[tokio::test]
    async fn a_command_that_failed_is_tried_again_without_refresh() {
        let (folder, mut refreshes) = refreshes("", None);

        pass(&mut refreshes, &folder, 2).await;
        fs::write(folder.path().join("secret"), "hunter2").unwrap();

        assert!(timeout(SOON, refreshes.changed()).await.is_ok());
    }

    #[tokio::test]
    async fn a_command_without_refresh_that_gave_a_secret_has_no_turn() {
        let (_folder, refreshes) = refreshes("", Some("hunter2"));

        assert_eq!(refreshes.refreshes[0].next, None);
    }

    #[test]
    fn waits_after_failures_grow_to_a_minute_and_never_beyond_refresh() {
        let waits = |refresh: &str| {
            let (_folder, refreshes) = refreshes(refresh, None);
            let mut refresh = refreshes.refreshes.into_iter().next().unwrap();
            let mut wait = || {
                refresh.schedule();
                refresh.next.unwrap().duration_since(Instant::now()).as_secs_f32().round()
            };
            (0..10).map(|_| wait()).collect::<Vec<_>>()
        };

        let alone = waits("");
        assert!(alone[0] <= 4.0 && alone.is_sorted() && alone[9] == 60.0, "{alone:?}");
        assert_eq!(waits(", refresh: 3s")[9], 3.0);
    }
}
