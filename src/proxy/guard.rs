//! A panic while a request is handled is a fault of ours that costs that request, not its worker.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

use super::Error;

/// Runs the phases of one request; a panic in them ends them with [`Error::Panicked`].
///
/// What the phases share with other requests is never left half-changed across an await, and a `RefCell` that was
/// borrowed is given back as the stack unwinds. The panic hook has logged the place and the message.
///
/// They come pinned: by value they would stand twice in the future of every request.
///
/// # Errors
/// Theirs, or that they panicked.
pub(super) async fn guarded<T>(mut phases: Pin<&mut impl Future<Output = Result<T, Error>>>) -> Result<T, Error> {
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| phases.as_mut().poll(cx)));
        polled.unwrap_or(Poll::Ready(Err(Error::Panicked)))
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::task::yield_now;

    use super::*;
    use crate::code::Code;

    #[tokio::test]
    async fn a_panic_is_an_internal_error() {
        let phases = async {
            yield_now().await;
            panic!("a fault of ours")
        };

        let error = guarded::<()>(pin!(phases)).await.unwrap_err();

        assert_eq!(error.code(), Code::InternalError);
        assert_eq!(error.detail(), "a fault of Sidekey's own; its log has the place");
    }

    #[tokio::test]
    async fn without_a_panic_the_outcome_is_that_of_the_phases() {
        let waited = async {
            yield_now().await;
            Ok(7)
        };

        assert_eq!(guarded(pin!(waited)).await.unwrap(), 7);
        assert_eq!(guarded::<()>(pin!(async { Err(Error::HostMissing) })).await.unwrap_err().code(), Code::BadRequest);
    }
}
