//! Work that may take for ever: a mount that hangs holds whoever touches it, and no time-out ends that.
//!
//! Such work is done on threads of its own. It says beforehand what it is about to do ([`mark`]), so that the log can name
//! what hangs and since when, whoever waits for it or no longer does; and what is tried again and again has a [`Lane`], in
//! which what hangs holds one thread, and not one for each try.

use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval, timeout_at};

use crate::clock::rfc3339;

/// What is under way on some thread, until it is dropped.
pub(crate) struct BlockingMark(Arc<Work>);

struct Work {
    what: String,
    since: SystemTime,
    begun: Instant,
    told: AtomicBool,
}

/// Says what this thread is about to do: `reading …`.
pub(crate) fn mark(what: String) -> BlockingMark {
    let work = Work { what, since: SystemTime::now(), begun: Instant::now(), told: AtomicBool::new(false) };
    let work = Arc::new(work);
    under_way().push(Arc::clone(&work));
    BlockingMark(work)
}

/// As [`mark`], for the reading of a file or folder.
pub(crate) fn mark_reading(path: &Path) -> BlockingMark {
    mark(reading(path))
}

/// Since when a reading of this path has hung; `None`: none does.
pub(crate) fn hangs_reading(path: &Path) -> Option<String> {
    let what = reading(path);
    let all = under_way();
    let hanging = all.iter().find(|work| work.what == what && work.hangs());
    hanging.map(|work| rfc3339(work.since))
}

/// What has hung for longest, and since when; `None`: nothing does.
pub(crate) fn longest_hang() -> Option<String> {
    let all = under_way();
    let longest = all.iter().filter(|work| work.hangs()).min_by_key(|work| work.begun);
    longest.map(|work| format!("{} hangs, since {}", work.what, rfc3339(work.since)))
}

/// Tells the log of what hangs, each once, for as long as it is polled.
pub(crate) async fn tell_of_hangs() -> Infallible {
    let mut looks = interval(BETWEEN_LOOKS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        // Taken out first: a log that is slow to take a line would hold up every thread that has something to mark.
        let untold: Vec<_> = under_way().iter().filter(|work| work.is_news()).map(Arc::clone).collect();
        for work in untold {
            tracing::warn!("{} hangs, since {}; what does not need it goes on", work.what, rfc3339(work.since));
        }
    }
}

impl Work {
    fn hangs(&self) -> bool {
        self.begun.elapsed() >= HANGS_AFTER
    }

    /// Whether it hangs and was not told of, which it is from now on.
    fn is_news(&self) -> bool {
        self.hangs() && !self.told.swap(true, Ordering::AcqRel)
    }
}

impl Drop for BlockingMark {
    fn drop(&mut self) {
        under_way().retain(|work| !Arc::ptr_eq(work, &self.0));
        // Also where it was not told of: whoever tells may have been what hung.
        if self.0.told.load(Ordering::Acquire) || self.0.hangs() {
            let seconds = self.0.begun.elapsed().as_secs();
            tracing::info!("{} hangs no more, it took {seconds} s", self.0.what);
        }
    }
}

fn reading(path: &Path) -> String {
    format!("reading `{}`", path.display())
}

fn under_way() -> MutexGuard<'static, Vec<Arc<Work>>> {
    // Held for a few instructions: no mark is made or dropped with it in hand.
    static UNDER_WAY: Mutex<Vec<Arc<Work>>> = Mutex::new(Vec::new());
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Blocking work of one kind, one at a time. What is not waited for any more goes on, and the next one begins after it.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    running: Option<JoinHandle<()>>,
}

/// Why a [`Lane`] gave nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaneError {
    /// It goes on, and what it comes to is lost.
    #[error("{}", longest_hang().unwrap_or_else(|| "it takes too long".to_owned()))]
    Late,
    #[error("{0}")]
    Panicked(tokio::task::JoinError),
}

impl Lane {
    /// Does `work` on a thread of its own, once what was begun before is through; what that comes to is old by then, and
    /// is dropped there: locks that a load has taken are given back before the next load asks for them.
    ///
    /// May be dropped: what is under way is then waited for the next time.
    ///
    /// # Errors
    /// When it takes longer than `limit`, or panics.
    pub(crate) async fn run<T: Send + 'static>(
        &mut self,
        limit: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, LaneError> {
        let deadline = tokio::time::Instant::now() + limit;
        if let Some(earlier) = &mut self.running {
            // How it ended was for whoever began it to hear.
            drop(timeout_at(deadline, earlier).await.map_err(|_| LaneError::Late)?);
        }
        let (tell, mut told) = oneshot::channel();
        // With nobody left to tell, what it came to is dropped on that thread: the drop may block like the work.
        let running = self.running.insert(spawn_blocking(move || drop(tell.send(work()))));
        let ended = timeout_at(deadline, running).await;
        if ended.is_ok() {
            self.running = None;
        }
        // What came between the two is not late.
        told.close();
        match (told.try_recv(), ended) {
            (Ok(done), _) => Ok(done),
            (Err(_), Ok(Err(panic))) => Err(LaneError::Panicked(panic)),
            (Err(_), _) => Err(LaneError::Late),
        }
    }

    /// Resolves once what did not come in time is through.
    pub(crate) async fn through(&mut self) {
        let Some(running) = &mut self.running else { return std::future::pending().await };
        drop(running.await);
        self.running = None;
    }
}

/// A disk that wakes up, or a server that is failed over, needs no word.
const HANGS_AFTER: Duration = if cfg!(test) { Duration::from_millis(50) } else { Duration::from_secs(5) };
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    const SOON: Duration = Duration::from_secs(30);
    const AT_ONCE: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn what_hangs_holds_one_thread_however_often_it_is_tried() {
        let mut lane = Lane::default();
        let (release, held) = mpsc::channel::<()>();
        let first = lane.run(AT_ONCE, move || held.recv().is_ok()).await;
        assert!(matches!(first, Err(LaneError::Late)), "{first:?}");

        for _ in 0..3 {
            let again = lane.run(AT_ONCE, || panic!("begun beside the one that hangs")).await;
            assert!(matches!(again, Err(LaneError::Late)), "{again:?}");
        }

        drop(release);
        lane.through().await;
        assert!(lane.run(SOON, || true).await.expect("it is through"), "what it came to is its own");
    }

    #[tokio::test]
    async fn what_was_not_waited_for_is_not_taken_for_the_next() {
        let mut lane = Lane::default();
        let (release, held) = mpsc::channel::<()>();
        drop(lane.run(AT_ONCE, move || (held.recv().is_ok(), "old").1).await);

        drop(release);

        assert_eq!(lane.run(SOON, || "new").await.expect("it is through"), "new");
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_dropped_where_it_was_made_and_before_the_next() {
        struct Claim(mpsc::Sender<thread::ThreadId>);
        impl Drop for Claim {
            fn drop(&mut self) {
                self.0.send(thread::current().id()).expect("a listener");
            }
        }
        let mut lane = Lane::default();
        let (release, held) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let late = lane.run(AT_ONCE, move || (held.recv().is_ok(), Claim(tell)).1).await;
        assert!(matches!(late, Err(LaneError::Late)));

        drop(release);

        let dropped = lane.run(SOON, move || told.try_recv()).await.expect("it is through");
        assert_ne!(dropped.expect("it is dropped"), thread::current().id());
    }

    #[tokio::test]
    async fn a_hang_is_named_for_as_long_as_it_lasts() {
        let path = Path::new("/mnt/gone/key.pem");
        let mark = mark_reading(path);
        assert_eq!(hangs_reading(path), None, "too early to tell");

        let since = async {
            loop {
                match hangs_reading(path) {
                    Some(since) => return since,
                    None => tokio::time::sleep(AT_ONCE).await,
                }
            }
        };
        let since = tokio::time::timeout(SOON, since).await.expect("it hangs");

        assert!(since.ends_with('Z'), "{since}");
        assert_eq!(hangs_reading(Path::new("/mnt/other")), None);
        drop(mark);
        assert_eq!(hangs_reading(path), None);
    }
}
