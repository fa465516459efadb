//! Token requests of subjects: a bounded number at a time, so that a crowd of new ones is a line and no flood.
//!
//! ```text
//!  subjects of one entry ──► its own places (64) ──┐
//!                                                  ├──► places of all (128) ─► token request
//!  subjects of another ────► its own places (64) ──┘
//! ```
//!
//! Both are lines: who came first goes first. What is no subject's does not come through here, so the refresh of another
//! service waits for no crowd, at the same endpoint neither.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The way in for the token requests of one entry's subjects.
#[derive(Debug)]
pub(super) struct RequestLimiter {
    of_entry: Arc<Semaphore>,
    of_all: Arc<Semaphore>,
}

/// The places that the subjects of all entries share.
#[derive(Clone, Debug)]
pub(super) struct SharedPlaces(Arc<Semaphore>);

/// Leave to send one token request, until this is dropped.
#[derive(Debug)]
pub(super) struct RequestPermit {
    _of_entry: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl RequestLimiter {
    pub(super) fn new(shared: &SharedPlaces) -> Self {
        Self { of_entry: Arc::new(Semaphore::new(OF_ENTRY)), of_all: Arc::clone(&shared.0) }
    }

    /// Leave to send a request; `None`: never, the process is ending.
    pub(super) async fn enter(&self) -> Option<RequestPermit> {
        // Of the entry first: so no more of its subjects than it has places stand in the line that is common to all, and
        // those of another entry wait for these at most, however many there are.
        let of_entry = Arc::clone(&self.of_entry).acquire_owned().await.ok()?;
        let of_all = Arc::clone(&self.of_all).acquire_owned().await.ok()?;
        Some(RequestPermit { _of_entry: of_entry, _of_all: of_all })
    }
}

impl Default for SharedPlaces {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(OF_ALL)))
    }
}

/// Two thousand that come at once have their tokens within ten seconds, of an endpoint that takes 300 ms.
const OF_ENTRY: usize = 64;
const OF_ALL: usize = 2 * OF_ENTRY;

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Entering<'a> = Pin<Box<dyn Future<Output = Option<RequestPermit>> + 'a>>;

    /// Those of `count` who get in, and those who are left in line.
    fn crowd(limiter: &RequestLimiter, count: usize) -> (Vec<RequestPermit>, Vec<Entering<'_>>) {
        let (mut inside, mut line) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let mut entering: Entering<'_> = Box::pin(limiter.enter());
            match poll(&mut entering) {
                Poll::Ready(permit) => inside.extend(permit),
                Poll::Pending => line.push(entering),
            }
        }
        (inside, line)
    }

    fn poll<'a>(entering: &mut Entering<'a>) -> Poll<Option<RequestPermit>> {
        entering.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_crowd_waits_in_line_and_leaves_room_for_others() {
        let shared = SharedPlaces::default();
        let [first, second, third] = [(); 3].map(|()| RequestLimiter::new(&shared));

        let (mut inside, mut line) = crowd(&first, 1_000);
        assert_eq!((inside.len(), line.len()), (OF_ENTRY, 1_000 - OF_ENTRY));
        let (others, _) = crowd(&second, 1_000);
        assert_eq!(others.len(), OF_ENTRY, "the crowd before them is in nobody else's way");
        let (nobody, mut late) = crowd(&third, 1);
        assert!(nobody.is_empty(), "so many are enough in all");

        drop(others);
        assert!(poll(&mut late[0]).is_ready(), "and no longer than that");
        inside.pop();
        let first = poll(&mut line[0]);
        assert!(first.is_ready(), "who came first goes first");
        assert!(poll(&mut line[1]).is_pending());
    }
}
