//! What a request for a file has begun when nobody waits for its answer any more, or its session is gone: it must not stay
//! at the partner, and whoever uses the session next must not find it in the middle.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use super::connection::Busy;
use super::{Choice, Pool, Timing};
use crate::clock::Backoff;
use crate::files::{FileErrorKind, Leftover};
use crate::transport::SerialConnection;

impl Pool {
    /// The connection of a request that was not answered, or not to its end.
    pub(super) fn give_up(self: &Rc<Self>, connection: Busy) {
        let SerialConnection::File(file) = &connection.carried else { return drop(connection) };
        if file.owes() {
            let counted = CountedRemoval::begin();
            // In a task of its own: the request may be dropped because the app is gone.
            drop(spawn_local(clean_up(Rc::clone(self), connection, counted)));
        } else if let Some(resting) = connection.into_rest() {
            // It was answered, by an error: nothing is wrong with the session.
            self.give_back(resting);
        }
    }
}

async fn clean_up(pool: Rc<Pool>, mut connection: Busy, _counted: CountedRemoval) {
    let SerialConnection::File(file) = &mut connection.carried else { return };
    // A server that has stopped reading does not hold a permit for ever, nor what is to be removed.
    let left = match timeout(LONGEST, file.settle()).await {
        Ok(left) => left,
        Err(_) => file.take_leftover(),
    };
    // It goes first: its permit may be the one that is wanted for another.
    pool.exchange_ended(connection);
    if let Some(left) = left {
        remove(&pool, &Owed { left, why: RefCell::default() }).await;
    }
}

/// What is to be removed, until it is. Given up with its task, as the process ends, it is told of.
struct Owed {
    left: Leftover,
    /// Why it is still there.
    why: RefCell<Option<String>>,
}

impl Owed {
    fn is_still_there(&self, why: String) {
        *self.why.borrow_mut() = Some(why);
    }

    fn is_gone(&self) {
        self.why.replace(None);
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        if let Some(why) = self.why.get_mut().take() {
            self.left.warn(&why);
        }
    }
}

/// Removes it over another session, once there is one that works: what has ended the first may have ended those that were
/// idle as well, or keep others from coming about for a moment.
async fn remove(pool: &Rc<Pool>, owed: &Owed) {
    owed.is_still_there(TOO_LONG.to_owned());
    let (mut choice, mut waits) = (Choice::Any, Backoff::new(SHORTEST_WAIT, LONGEST_WAIT));
    let removing = async {
        loop {
            match try_to_remove(pool, &owed.left, choice).await {
                Ok(()) => return owed.is_gone(),
                Err(RemovalError::Refused(what)) => return owed.is_still_there(what),
                Err(RemovalError::NoSession(what)) => owed.is_still_there(what),
            }
            choice = Choice::NotIdle;
            sleep(waits.next(Duration::ZERO)).await;
        }
    };
    let _late = timeout(LONGEST_REMOVAL, removing).await;
}

/// Waits until nothing of this worker's is left to be removed.
pub(crate) async fn nothing_left_over() {
    let counts = COUNTS.with(Rc::clone);
    while counts.tasks.get() > 0 {
        counts.fewer.notified().await;
    }
}

/// Tasks of this worker that remove something.
#[derive(Default)]
struct RemovalCounts {
    tasks: Cell<usize>,
    fewer: Notify,
}

thread_local! {
    static COUNTS: Rc<RemovalCounts> = Rc::default();
}

/// One of them, until it is dropped.
struct CountedRemoval(Rc<RemovalCounts>);

impl CountedRemoval {
    fn begin() -> Self {
        let counts = COUNTS.with(Rc::clone);
        counts.tasks.set(counts.tasks.get() + 1);
        Self(counts)
    }
}

impl Drop for CountedRemoval {
    fn drop(&mut self) {
        self.0.tasks.set(self.0.tasks.get() - 1);
        // Kept for who looks only now: one waits, the worker that ends.
        self.0.fewer.notify_one();
    }
}

/// Why something is still there.
enum RemovalError {
    /// The server does not remove it.
    Refused(String),
    /// No session has come about, or it has ended: another one may do better.
    NoSession(String),
}

async fn try_to_remove(pool: &Rc<Pool>, left: &Leftover, choice: Choice) -> Result<(), RemovalError> {
    let lease = pool.lease(choice, &Cell::new(Timing::default())).await;
    let lease = lease.map_err(|error| RemovalError::NoSession(error.to_string()))?;
    let Some(mut connection) = lease.into_busy() else { return Ok(()) };
    let SerialConnection::File(file) = &mut connection.carried else { return Ok(()) };
    let Ok(removed) = timeout(LONGEST, file.clear_up(left)).await else {
        // What it says later would be taken for the answer to another request.
        drop(connection);
        pool.connection_ended();
        return Err(RemovalError::NoSession(TOO_LONG.to_owned()));
    };
    pool.exchange_ended(connection);
    removed.map_err(|error| match error.kind {
        FileErrorKind::Ended => RemovalError::NoSession(error.to_string()),
        _ => RemovalError::Refused(error.to_string()),
    })
}

/// More than a server takes that works.
const LONGEST: Duration = Duration::from_secs(10);
/// A way that is interrupted is well again in a moment, mostly. After a login that was interrupted there is none for up to a
/// minute.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_REMOVAL: Duration = Duration::from_secs(120);
const TOO_LONG: &str = "the partner's server took too long";
