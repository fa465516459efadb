//! A gate in front of a request's body, for `Expect: 100-continue`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Holds a body back until it is opened: by the service's `100`, by its final answer, or by who waited long enough.
///
/// Opens once and never closes.
#[derive(Clone, Debug, Default)]
pub(crate) struct ContinueGate(Rc<Latch>);

#[derive(Debug, Default)]
struct Latch {
    open: Cell<bool>,
    held: RefCell<Option<Waker>>,
}

impl ContinueGate {
    /// Lets the body through.
    pub(crate) fn open(&self) {
        self.0.open.set(true);
        if let Some(held) = self.0.held.take() {
            held.wake();
        }
    }

    /// Whether the body may go.
    pub(crate) fn is_open(&self) -> bool {
        self.0.open.get()
    }

    /// Ready once it is open; the body's task is woken then.
    pub(super) fn poll_open(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_open() {
            return Poll::Ready(());
        }
        *self.0.held.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}
