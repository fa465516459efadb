//! What moves all deadlines of a thread.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::rc::{Rc, Weak};

use super::{ConnectionDeadline, ExchangeDeadline, TICK};

/// Every deadline of one worker, moved on by one task.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    clock: Rc<Cell<u32>>,
    connections: RefCell<Vec<Weak<ConnectionDeadline>>>,
    exchanges: RefCell<Vec<Weak<ExchangeDeadline>>>,
    silent: RefCell<Silent>,
}

/// Connections that were silent at the last look, the longest first, each with the tick since which it was.
///
/// Whoever falls silent later has been so for less long than all of them, so nobody is looked for again before these
/// have gone: where there is no room, each new connection asks.
#[derive(Debug, Default)]
struct Silent {
    longest_first: VecDeque<(u32, Weak<ConnectionDeadline>)>,
    looked_at: Option<u32>,
}

impl Sweep {
    /// A deadline for a connection of this worker; forgotten when it is dropped.
    pub(crate) fn connection(&self) -> Rc<ConnectionDeadline> {
        let deadline = Rc::new(ConnectionDeadline::new(&self.clock));
        self.connections.borrow_mut().push(Rc::downgrade(&deadline));
        deadline
    }

    /// A deadline for an exchange of this worker, or for one after the other; forgotten when it is dropped.
    pub(crate) fn exchange(&self) -> Rc<ExchangeDeadline> {
        let deadline = Rc::new(ExchangeDeadline::new(&self.clock));
        self.exchanges.borrow_mut().push(Rc::downgrade(&deadline));
        deadline
    }

    /// Moves the clock on by one tick and wakes those whose time is up, and those whose exchange has become long.
    pub(crate) fn tick(&self) {
        let now = self.clock.get().saturating_add(1);
        self.clock.set(now);
        each(&self.connections, |connection| connection.tick(now));
        each(&self.exchanges, |exchange| exchange.tick(now));
    }

    /// The tick at which the first of them is due.
    #[cfg(test)]
    pub(crate) fn next_due(&self) -> Option<u32> {
        let exchanges = self.exchanges.borrow();
        let exchanges = exchanges.iter().filter_map(Weak::upgrade).map(|deadline| deadline.due.get());
        let connections = self.connections.borrow();
        let connections = connections.iter().filter_map(Weak::upgrade).map(|deadline| deadline.due.get());
        exchanges.chain(connections).min()
    }

    /// For how many ticks the one has been silent that has been so for longest; `None`: none is that has had its chance.
    pub(crate) fn longest_silence(&self) -> Option<u32> {
        self.longest_silent().map(|connection| self.clock.get() - connection.silent_since())
    }

    /// Ends the one that has been silent for longest. `false`: none is that has had its chance.
    pub(crate) fn dismiss_longest_silent(&self) -> bool {
        let longest = self.longest_silent();
        longest.iter().for_each(|connection| connection.dismiss());
        longest.is_some()
    }

    /// Of several, the one that was accepted first. What was accepted a moment ago is on the point of saying something.
    fn longest_silent(&self) -> Option<Rc<ConnectionDeadline>> {
        let now = self.clock.get();
        let mut silent = self.silent.borrow_mut();
        loop {
            while let Some((since, connection)) = silent.longest_first.front() {
                // One that has spoken meanwhile, and is silent again, is so since another tick.
                let still = connection.upgrade().filter(|connection| connection.silent_since() == *since);
                if still.is_some() {
                    return still;
                }
                silent.longest_first.pop_front();
            }
            // In one tick nobody else becomes silent enough.
            if silent.looked_at.replace(now) == Some(now) {
                return None;
            }
            silent.longest_first = self.silent_for(SILENCE, now);
        }
    }

    fn silent_for(&self, ticks: u32, now: u32) -> VecDeque<(u32, Weak<ConnectionDeadline>)> {
        let Some(latest) = now.checked_sub(ticks) else { return VecDeque::new() };
        let connections = self.connections.borrow();
        let since = |weak: &Weak<ConnectionDeadline>| Some((weak.upgrade()?.silent_since(), Weak::clone(weak)));
        let mut silent: Vec<_> = connections.iter().filter_map(since).filter(|(since, _)| *since <= latest).collect();
        silent.sort_by_key(|(since, _)| *since);
        silent.into()
    }

    /// Wakes every connection, due or not: something that all of them look at has changed.
    pub(crate) fn wake_all(&self) {
        each(&self.connections, ConnectionDeadline::wake);
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
}

fn each<T>(deadlines: &RefCell<Vec<Weak<T>>>, visit: impl Fn(&T)) {
    deadlines.borrow_mut().retain(|deadline| {
        let alive = deadline.upgrade();
        if let Some(deadline) = &alive {
            visit(deadline);
        }
        alive.is_some()
    });
}

/// In ticks: who has said nothing for so long is silent, and not only slow.
const SILENCE: u32 = 2;

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    fn is_over(connection: &ConnectionDeadline) -> bool {
        connection.poll_expired(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn the_longest_silence_is_the_first_to_be_ended() {
        let sweep = Sweep::default();
        let [early, late, busy] = std::array::from_fn(|_| sweep.connection());
        early.fall_silent();
        sweep.tick();
        assert_eq!((sweep.longest_silence(), sweep.dismiss_longest_silent()), (None, false), "too early to tell");
        late.fall_silent();
        sweep.tick();
        sweep.tick();

        assert_eq!(sweep.longest_silence(), Some(3));
        assert!(sweep.dismiss_longest_silent());
        assert_eq!([&early, &late, &busy].map(|one| is_over(one)), [true, false, false]);
        assert!(sweep.dismiss_longest_silent() && is_over(&late));
        assert!(!sweep.dismiss_longest_silent() && !is_over(&busy));
    }

    #[test]
    fn who_speaks_in_the_last_moment_is_not_dismissed() {
        let sweep = Sweep::default();
        let connection = sweep.connection();
        connection.fall_silent();
        (0..SILENCE).for_each(|_| sweep.tick());
        assert!(sweep.dismiss_longest_silent());

        connection.speak();

        assert!(!is_over(&connection));
        assert_eq!(sweep.longest_silence(), None);
    }

    #[test]
    fn who_spoke_since_the_last_look_is_behind_those_who_did_not() {
        let sweep = Sweep::default();
        let [first, second, third] = std::array::from_fn(|_| sweep.connection());
        for connection in [&first, &second, &third] {
            connection.fall_silent();
            sweep.tick();
        }
        (0..SILENCE).for_each(|_| sweep.tick());
        assert_eq!(sweep.longest_silence(), Some(SILENCE + 3));

        first.speak();
        first.fall_silent();
        drop(second);
        sweep.tick();

        assert_eq!(sweep.longest_silence(), Some(SILENCE + 2));
        assert!(sweep.dismiss_longest_silent() && is_over(&third) && !is_over(&first));
        (1..SILENCE).for_each(|_| sweep.tick());
        assert!(sweep.dismiss_longest_silent() && is_over(&first));
    }

    #[test]
    fn a_dropped_deadline_is_forgotten() {
        let sweep = Sweep::default();
        drop((sweep.connection(), sweep.exchange()));

        sweep.tick();

        assert!(sweep.connections.borrow().is_empty() && sweep.exchanges.borrow().is_empty());
    }
}
