//! Deadlines that are kept by a sweep instead of a timer per request.
//!
//! A timer of the runtime costs a few hundred instructions each time it is set, and a request needs several: its
//! head, the answer's head, each pause of a body. Here setting one is a store into a cell. A task per worker, the
//! [`Sweep`], advances a clock of 250 ms ticks and wakes those whose time is up. So every limit ends late by up to
//! two ticks, and never early.
//!
//! There are two kinds, and each has one owner. A client connection has a [`ConnectionDeadline`] for what it waits for
//! between exchanges: a head, the next request, the end. An exchange has an [`ExchangeDeadline`] for what it waits for
//! itself: an answer, the next piece of a body. Each waits for one thing at a time, so one deadline serves all of them.
//! All of this is of one thread.

mod connection;
mod exchange;
mod sweep;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

pub(crate) use connection::ConnectionDeadline;
pub(crate) use exchange::ExchangeDeadline;
pub(crate) use sweep::Sweep;

/// A deadline of any kind.
#[derive(Debug)]
pub(crate) struct Deadline {
    clock: Rc<Cell<u32>>,
    /// The tick at which the time is up.
    due: Cell<u32>,
    /// In ticks, what was last armed.
    limit: Cell<u32>,
    expired: Cell<bool>,
    /// The time is up, whatever is armed.
    cut: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// The time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expired;

impl Deadline {
    fn new(clock: &Rc<Cell<u32>>) -> Self {
        Self {
            clock: Rc::clone(clock),
            due: Cell::new(NEVER),
            limit: Cell::new(NEVER),
            expired: Cell::new(false),
            cut: Cell::new(false),
            waker: RefCell::new(None),
        }
    }

    /// Gives `future` until `limit` from now (`None`: for ever).
    ///
    /// # Errors
    /// When the time is up first; `future` is dropped then.
    pub(crate) async fn within<F: Future>(&self, limit: Option<Duration>, future: F) -> Result<F::Output, Expired> {
        self.arm(limit);
        let mut future = pin!(future);
        let outcome = poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => self.poll_expired(cx).map(Err),
        })
        .await;
        self.disarm();
        outcome
    }

    /// (Re)starts the time in which something must move; cheap enough for every frame of a body.
    pub(crate) fn arm(&self, limit: Option<Duration>) {
        self.limit.set(limit.map_or(NEVER, ticks));
        self.rearm();
    }

    /// As [`Deadline::arm`], with the time counted from an earlier tick.
    pub(crate) fn arm_since(&self, tick: u32, limit: Option<Duration>) {
        self.arm(limit);
        self.due.set(tick.saturating_add(self.limit.get()));
    }

    /// Gives what was last armed its whole time again.
    pub(crate) fn rearm(&self) {
        self.expired.set(false);
        self.due.set(self.clock.get().saturating_add(self.limit.get()));
    }

    /// Nothing is waited for.
    pub(crate) fn disarm(&self) {
        self.arm(None);
    }

    /// The tick that it is now.
    pub(crate) fn now(&self) -> u32 {
        self.clock.get()
    }

    /// Ready once the armed time is up; the task that polls is woken then, and when the sweep wakes everybody.
    pub(crate) fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<Expired> {
        if self.expired.get() || self.cut.get() {
            return Poll::Ready(Expired);
        }
        self.listen(cx);
        Poll::Pending
    }

    /// Lets the sweep wake the task that polls, for whatever it has to tell.
    pub(crate) fn listen(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    /// It is this tick now. Wakes whoever waits if the time is up.
    fn tick(&self, now: u32) {
        if self.due.get() <= now {
            self.due.set(NEVER);
            self.expired.set(true);
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The tick in progress does not count, so a limit never ends early.
fn ticks(limit: Duration) -> u32 {
    let whole = limit.as_millis().div_ceil(TICK.as_millis()).saturating_add(1);
    u32::try_from(whole).unwrap_or(NEVER)
}

/// How precise a limit is, and how often an idle worker wakes up.
pub(crate) const TICK: Duration = Duration::from_millis(250);
const NEVER: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn what_takes_too_long_expires_and_never_early() {
        let sweep = Sweep::default();
        let deadline = sweep.exchange();
        let mut waiting = pin!(deadline.within(Some(Duration::from_millis(300)), pending::<()>()));

        for _ in 0..3 {
            assert!(poll_once(waiting.as_mut()).is_pending());
            sweep.tick();
        }

        assert_eq!(poll_once(waiting.as_mut()), Poll::Ready(Err(Expired)));
    }

    #[tokio::test]
    async fn what_is_in_time_comes_through() {
        let sweep = Sweep::default();
        let deadline = sweep.exchange();

        assert_eq!(deadline.within(Some(Duration::ZERO), async { 7 }).await, Ok(7));
    }

    #[tokio::test]
    async fn off_means_for_ever() {
        let sweep = Sweep::default();
        let deadline = sweep.exchange();
        let mut waiting = pin!(deadline.within(None, pending::<()>()));

        for _ in 0..1_000 {
            sweep.tick();
        }

        assert!(poll_once(waiting.as_mut()).is_pending());
    }

    fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }
}
