//! The threads on which messages are made and read: the cipher takes its time, and the library beneath waits for its input.
//!
//! There are so many at most; other bodies wait in line, without a worker waiting with them.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Which way a body goes. Each has threads of its own: a request whose body waits for the service to read on would else
/// hold the thread without which the service's answer is not read, and the service may wait for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ThreadLane {
    /// From the app.
    Request,
    /// To the app.
    Answer,
}

/// Eight each way are sixteen; more than a machine's cores would only take turns.
const THREADS: usize = 8;

static REQUESTS: Semaphore = Semaphore::const_new(THREADS);
static ANSWERS: Semaphore = Semaphore::const_new(THREADS);

/// The right to have a thread; given back when the thread ends.
pub(super) type Permit = SemaphorePermit<'static>;

/// Waits in line.
pub(super) async fn permit(lane: ThreadLane) -> Permit {
    let line = match lane {
        ThreadLane::Request => &REQUESTS,
        ThreadLane::Answer => &ANSWERS,
    };
    // Invariant: nothing ever closes these semaphores.
    #[allow(clippy::expect_used)]
    line.acquire().await.expect("an open semaphore")
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
