//! A gate in front of a request's body, for `Expect: 100-continue`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;

/// Holds a body back until it is opened: by the service's `100`, by its final answer, or by who waited long enough.
///
/// Opens once and never closes. `Send + Sync`, since hyper wants that of whoever hears of a `100`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<Door>);

#[derive(Debug, Default)]
struct Door {
    open: AtomicBool,
    held: AtomicWaker,
}

impl Gate {
    /// Lets the body through.
    pub(crate) fn open(&self) {
        self.0.open.store(true, Ordering::Release);
        self.0.held.wake();
    }

    /// Whether the body may go.
    pub(crate) fn is_open(&self) -> bool {
        self.0.open.load(Ordering::Acquire)
    }

    /// Ready once it is open; the body's task is woken then.
    pub(super) fn poll_open(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_open() {
            return Poll::Ready(());
        }
        self.0.held.register(cx.waker());
        // It may have opened between the look and the registration.
        if self.is_open() { Poll::Ready(()) } else { Poll::Pending }
    }
}
