//! The threads on which messages are made and read: the cipher takes its time, and the library beneath waits for its input.
//!
//! There are so many at most, for most of them wait for a slow app or partner; other bodies wait in line for a while, without a
//! worker waiting with them.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::error::{MessageError, MessageErrorKind};

/// Which way a body goes. Each has threads of its own: a request whose body waits for the service to read on would else
/// hold the thread without which the service's answer is not read, and the service may wait for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ThreadLane {
    /// From the app.
    Request,
    /// To the app.
    Answer,
}

/// Each way. A thread that waits takes no time, and little memory.
const THREADS: usize = 64;
/// So long a body waits for one of them: those that are at work have only just begun, or move slowly.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

static REQUESTS: Semaphore = Semaphore::const_new(THREADS);
static ANSWERS: Semaphore = Semaphore::const_new(THREADS);

/// The right to have a thread; given back when the thread ends.
pub(super) type Permit = SemaphorePermit<'static>;

/// Waits in line; `None`: for too long.
pub(super) async fn permit(lane: ThreadLane) -> Option<Permit> {
    let line = match lane {
        ThreadLane::Request => &REQUESTS,
        ThreadLane::Answer => &ANSWERS,
    };
    permit_of(line, LONGEST_WAIT).await
}

async fn permit_of(line: &Semaphore, longest: Duration) -> Option<SemaphorePermit<'_>> {
    timeout(longest, line.acquire()).await.ok()?.ok()
}

/// What becomes of a body that has waited in vain.
pub(super) fn none_is_free() -> MessageError {
    let what = format!("{THREADS} bodies are encrypted or decrypted already, and none of them has ended in time");
    MessageError::new(MessageErrorKind::NoRoom, what)
}

/// Does `work` on a thread of its own.
///
/// # Errors
/// When the system has none left.
pub(super) fn start(permit: Permit, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let named = std::thread::Builder::new().name("openpgp".to_owned());
    let thread = named.spawn(move || {
        work();
        drop(permit);
    });
    // Nobody waits for it: its pipes say how it ended.
    thread.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_in_vain_gets_none_and_leaves_the_line() {
        let line = Semaphore::new(1);
        let first = permit_of(&line, LONGEST_WAIT).await.unwrap();

        let in_vain = permit_of(&line, Duration::from_millis(1)).await;

        assert!(in_vain.is_none());
        drop(first);
        assert!(permit_of(&line, LONGEST_WAIT).await.is_some());
        assert_eq!(none_is_free().kind, MessageErrorKind::NoRoom);
    }
}
