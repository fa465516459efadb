//! First tokens of one service's identities, so that ten thousand of them are no storm at the token endpoint.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The way in for first tokens: a few at a time, in line, and those first that a request waits for.
///
/// ```text
///  nobody waits ──► line (one at a time) ──┐
///                                          ├──► places (ten) ──► token request
///  a request waits ────────────────────────┘
/// ```
///
/// So whoever is waited for has at most one before it that is not, whatever the length of the line.
#[derive(Debug)]
pub(crate) struct FirstTokenLimiter {
    line: Semaphore,
    places: Arc<Semaphore>,
}

impl Default for FirstTokenLimiter {
    fn default() -> Self {
        Self { line: Semaphore::new(1), places: Arc::new(Semaphore::new(FIRST_AT_A_TIME)) }
    }
}

impl FirstTokenLimiter {
    /// A place, held until it is dropped. `wanted` resolves when a request waits for the token.
    pub(in crate::credential) async fn enter(
        &self,
        wanted: Pin<&mut impl Future<Output = ()>>,
    ) -> Option<OwnedSemaphorePermit> {
        let _first_in_line = tokio::select! {
            biased;
            () = wanted => None,
            line = self.line.acquire() => line.ok(),
        };
        Arc::clone(&self.places).acquire_owned().await.ok()
    }
}

/// First tokens of one service's identities.
const FIRST_AT_A_TIME: usize = 10;

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn who_is_waited_for_goes_before_the_line() {
        let limiter = FirstTokenLimiter::default();
        let mut inside = Vec::new();
        for _ in 0..FIRST_AT_A_TIME {
            inside.push(limiter.enter(pin!(std::future::pending())).await);
        }
        let mut line: Vec<_> =
            (0..10).map(|_| Box::pin(async { limiter.enter(pin!(std::future::pending())).await })).collect();
        assert!(line.iter_mut().all(|one| poll(one.as_mut()).is_pending()));
        let mut hasty = Box::pin(async { limiter.enter(pin!(std::future::ready(()))).await });
        assert!(poll(hasty.as_mut()).is_pending());

        inside.truncate(FIRST_AT_A_TIME - 2);

        let [hasty, first] = [poll(hasty.as_mut()), poll(line[0].as_mut())];
        assert!(hasty.is_ready() && first.is_ready());
        assert!(line[1..].iter_mut().all(|one| poll(one.as_mut()).is_pending()));
    }
}
