//! A panic is a fault of ours that costs the work it happened in, not the thread that others need.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

/// The work ended in a panic. The panic hook has logged the place and the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

/// Does `work`, unless it panics.
///
/// What it shares with others must not be left half-changed across an await; a `RefCell` that was borrowed is given back
/// as the stack unwinds. It comes pinned: by value it would stand twice in the future of every request.
///
/// # Errors
/// When it panicked.
pub(crate) async fn guarded<F: Future>(mut work: Pin<&mut F>) -> Result<F::Output, Panicked> {
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Ok),
        Err(_) => Poll::Ready(Err(Panicked)),
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn a_panic_ends_the_work_and_nothing_else() {
        let work = async {
            yield_now().await;
            panic!("a fault of ours")
        };

        let outcome: Result<(), _> = guarded(pin!(work)).await;

        assert_eq!(outcome, Err(Panicked));
    }

    #[tokio::test]
    async fn without_a_panic_the_outcome_is_that_of_the_work() {
        let waited = async {
            yield_now().await;
            7
        };

        assert_eq!(guarded(pin!(waited)).await, Ok(7));
    }
}
