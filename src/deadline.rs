//! One deadline per client connection, kept by a sweep instead of a timer per request.
//!
//! A timer of the runtime costs a few hundred instructions each time it is set, and a request needs several: its
//! head, the answer's head, each pause of a body. Here setting one is a store into a cell. A task per worker, the
//! [`Sweep`], advances a clock of 250 ms ticks and wakes those whose time is up. So every limit ends late by up to
//! two ticks, and never early.
//!
//! A connection waits for one thing at a time, so one deadline serves them all. All of this is of one thread.
//!
//! A connection that is silent, from which nothing is awaited but its next word or its end, says so here: where there is no
//! room for another, the one that has been silent for longest is dismissed.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// The deadline of one client connection.
#[derive(Debug)]
pub(crate) struct Deadline {
    clock: Rc<Cell<u32>>,
    /// The tick at which the time is up.
    due: Cell<u32>,
    /// In ticks, what was last armed.
    limit: Cell<u32>,
    expired: Cell<bool>,
    /// The tick from which an exchange counts as long.
    long: Cell<u32>,
    /// The tick since which it has been silent; [`NEVER`]: it is not.
    silent_since: Cell<u32>,
    /// Its silence was the longest: the time is up, whatever was armed.
    dismissed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// Every deadline of one worker, moved on by one task.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    clock: Rc<Cell<u32>>,
    deadlines: RefCell<Vec<Weak<Deadline>>>,
}

/// The time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expired;

impl Deadline {
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

    /// From now on it is among those of whom the one that has been silent for longest is dismissed.
    pub(crate) fn fall_silent(&self) {
        self.silent_since.set(self.clock.get());
    }

    /// It is no longer silent; if it was dismissed in this moment, that does not count.
    pub(crate) fn speak(&self) {
        self.silent_since.set(NEVER);
        self.dismissed.set(false);
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

    /// An exchange begins that counts as long once `ticks` have passed; its task is woken then.
    pub(crate) fn long_after(&self, ticks: u32) {
        // The tick in progress does not count.
        self.long.set(self.clock.get().saturating_add(ticks + 1));
    }

    /// Whether the exchange is a long one.
    pub(crate) fn is_long(&self) -> bool {
        self.long.get() <= self.clock.get()
    }

    /// The tick that it is now.
    pub(crate) fn now(&self) -> u32 {
        self.clock.get()
    }

    /// Ready once the armed time is up; the task that polls is woken then, and when the sweep wakes everybody.
    pub(crate) fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<Expired> {
        if self.expired.get() || self.dismissed.get() {
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

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Sweep {
    /// A deadline of this worker; forgotten when its connection drops it.
    pub(crate) fn deadline(&self) -> Rc<Deadline> {
        let deadline = Rc::new(Deadline {
            clock: Rc::clone(&self.clock),
            due: Cell::new(NEVER),
            limit: Cell::new(NEVER),
            expired: Cell::new(false),
            long: Cell::new(NEVER),
            silent_since: Cell::new(NEVER),
            dismissed: Cell::new(false),
            waker: RefCell::new(None),
        });
        self.deadlines.borrow_mut().push(Rc::downgrade(&deadline));
        deadline
    }

    /// Moves the clock on by one tick and wakes those whose time is up, and those whose exchange has become long.
    pub(crate) fn tick(&self) {
        let now = self.clock.get().saturating_add(1);
        self.clock.set(now);
        self.each(|deadline| {
            if deadline.due.get() <= now {
                deadline.due.set(NEVER);
                deadline.expired.set(true);
                deadline.wake();
            } else if deadline.long.get() == now {
                deadline.wake();
            }
        });
    }

    /// The tick at which the first of them is due.
    #[cfg(test)]
    pub(crate) fn next_due(&self) -> Option<u32> {
        self.deadlines.borrow().iter().filter_map(Weak::upgrade).map(|deadline| deadline.due.get()).min()
    }

    /// For how many ticks the one has been silent that has been so for longest; `None`: none is that has had its chance.
    pub(crate) fn longest_silence(&self) -> Option<u32> {
        self.longest_silent().map(|deadline| self.clock.get() - deadline.silent_since.get())
    }

    /// Ends the one that has been silent for longest. `false`: none is that has had its chance.
    pub(crate) fn dismiss_longest_silent(&self) -> bool {
        let Some(deadline) = self.longest_silent() else { return false };
        deadline.silent_since.set(NEVER);
        deadline.dismissed.set(true);
        deadline.wake();
        true
    }

    /// Of several, the one that was accepted first. What was accepted a moment ago is on the point of saying something.
    fn longest_silent(&self) -> Option<Rc<Deadline>> {
        let latest = self.clock.get().checked_sub(SILENCE)?;
        let deadlines = self.deadlines.borrow();
        let silent = deadlines.iter().filter_map(Weak::upgrade).filter(|one| one.silent_since.get() <= latest);
        silent.min_by_key(|deadline| deadline.silent_since.get())
    }

    /// Wakes every connection, due or not: something that all of them look at has changed.
    pub(crate) fn wake_all(&self) {
        self.each(Deadline::wake);
    }

    /// Ticks until it is dropped.
    pub(crate) async fn run(&self) -> Infallible {
        let mut interval = tokio::time::interval(TICK);
        // After a pause of the machine one tick is enough: nothing was waiting in the meantime.
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.tick();
        }
    }

    fn each(&self, visit: impl Fn(&Deadline)) {
        self.deadlines.borrow_mut().retain(|deadline| {
            let alive = deadline.upgrade();
            if let Some(deadline) = &alive {
                visit(deadline);
            }
            alive.is_some()
        });
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
/// In ticks: who has said nothing for so long is silent, and not only slow.
const SILENCE: u32 = 2;

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn what_takes_too_long_expires_and_never_early() {
        let sweep = Sweep::default();
        let deadline = sweep.deadline();
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
        let deadline = sweep.deadline();

        assert_eq!(deadline.within(Some(Duration::ZERO), async { 7 }).await, Ok(7));
    }

    #[tokio::test]
    async fn off_means_for_ever() {
        let sweep = Sweep::default();
        let deadline = sweep.deadline();
        let mut waiting = pin!(deadline.within(None, pending::<()>()));

        for _ in 0..1_000 {
            sweep.tick();
        }

        assert!(poll_once(waiting.as_mut()).is_pending());
    }

    #[test]
    fn the_longest_silence_is_the_first_to_be_ended() {
        let sweep = Sweep::default();
        let [early, late, busy] = std::array::from_fn(|_| sweep.deadline());
        early.fall_silent();
        sweep.tick();
        assert_eq!((sweep.longest_silence(), sweep.dismiss_longest_silent()), (None, false), "too early to tell");
        late.fall_silent();
        sweep.tick();
        sweep.tick();

        assert_eq!(sweep.longest_silence(), Some(3));
        assert!(sweep.dismiss_longest_silent());
        assert_eq!([&early, &late, &busy].map(|one| one.dismissed.get()), [true, false, false]);
        assert!(sweep.dismiss_longest_silent() && late.dismissed.get());
        assert!(!sweep.dismiss_longest_silent() && !busy.dismissed.get());
    }

    #[test]
    fn who_speaks_in_the_last_moment_is_not_dismissed() {
        let sweep = Sweep::default();
        let deadline = sweep.deadline();
        deadline.fall_silent();
        (0..SILENCE).for_each(|_| sweep.tick());
        assert!(sweep.dismiss_longest_silent());

        deadline.speak();

        assert!(deadline.poll_expired(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(sweep.longest_silence(), None);
    }

    #[test]
    fn a_dropped_deadline_is_forgotten() {
        let sweep = Sweep::default();
        drop(sweep.deadline());

        sweep.tick();

        assert!(sweep.deadlines.borrow().is_empty());
    }

    fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }
}
