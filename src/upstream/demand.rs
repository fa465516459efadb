//! How many connections a pool was in want of at once, of late.

use std::cell::Cell;
use std::time::Duration;

use crate::clock::Moment;

/// The greatest number of connections that were wanted at once within the last [`WINDOW`].
///
/// The time is kept in a few parts of which the oldest is forgotten when a new one begins: telling of a request is a
/// comparison, and what is forgotten is older than the window by a part at most.
pub(super) struct Demand {
    /// Since the current part began.
    current: Cell<usize>,
    /// In the parts before, the newest first.
    past: Cell<[usize; PARTS]>,
    began: Cell<Moment>,
}

impl Demand {
    pub(super) fn new(now: Moment) -> Self {
        Self { current: Cell::new(0), past: Cell::new([0; PARTS]), began: Cell::new(now) }
    }

    /// So many are wanted now.
    pub(super) fn tell(&self, wanted: usize) {
        if wanted > self.current.get() {
            self.current.set(wanted);
        }
    }

    /// The most that were wanted at once, given how many are so now. Called now and then: how often decides how much older
    /// than the window something may be that is not forgotten.
    pub(super) fn most(&self, wanted: usize, now: Moment) -> usize {
        self.tell(wanted);
        self.forget(wanted, now);
        self.past.get().into_iter().fold(self.current.get(), usize::max)
    }

    /// Begins a new part if the current one has lasted long enough.
    fn forget(&self, wanted: usize, now: Moment) {
        let parts = (now.since(self.began.get()).as_nanos() / PART.as_nanos()) as usize;
        if parts == 0 {
            return;
        }
        let mut past = self.past.get();
        // Nobody looked for longer than a part: what was there before is older by all of them, while the current one, of
        // which nobody knows when it was at its greatest, may have been so just now.
        past.rotate_right(parts.min(PARTS));
        past[..parts.min(PARTS)].fill(0);
        past[0] = self.current.get();
        self.past.set(past);
        // Not from nothing: what is in use all the time is told of once.
        self.current.set(wanted);
        self.began.set(now);
    }
}

/// For how long a demand is remembered.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

const PARTS: usize = 5;
const PART: Duration = Duration::from_secs(WINDOW.as_secs() / PARTS as u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_at_least_what_was_wanted_within_the_window_and_at_most_what_was_shortly_before() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let begin = Moment::now();
            let demand = Demand::new(begin);
            // When which number began to be wanted.
            let mut history = vec![(begin, 0)];
            // Looked at about once a second, as the sweep does, or seldom, as after a pause of the machine.
            let (mut now, mut looked, slowest) = (begin, begin, [1_200, 30_000][usize::from(seed % 4 == 0)]);
            let mut looks_apart = Duration::ZERO;

            for step in 0..600 {
                now = now + Duration::from_millis(random.u64(0..slowest / 4));
                let level = [3, 10, 1_000][random.usize(0..3)];
                let wanted = random.usize(0..level);
                history.push((now, wanted));
                demand.tell(wanted);
                if now.since(looked).as_millis() < u128::from(slowest / 2) {
                    continue;
                }
                looks_apart = looks_apart.max(now.since(looked));
                looked = now;

                let most = demand.most(wanted, now);

                let case = format!("seed {seed}, step {step}");
                assert!(most >= peak(&history, now, WINDOW), "{case}: {most}");
                // Each part may last for as long as nobody looks.
                let longest = (PART + looks_apart) * 6;
                assert!(most <= peak(&history, now, longest), "{case}: {most}");
            }
        }
    }

    #[test]
    fn what_goes_on_for_longer_than_the_window_is_not_forgotten() {
        let begin = Moment::now();
        let demand = Demand::new(begin);
        demand.tell(7);

        for second in 0..60 {
            assert_eq!(demand.most(7, begin + Duration::from_secs(second)), 7);
        }
    }

    #[test]
    fn swept_once_a_second_it_is_forgotten_after_12_seconds() {
        let begin = Moment::now();
        let demand = Demand::new(begin);
        demand.tell(7);

        let mosts: Vec<_> = (0..20).map(|second| demand.most(0, begin + Duration::from_secs(second))).collect();

        let forgotten = mosts.iter().position(|most| *most == 0);
        assert_eq!(forgotten, Some(12), "{mosts:?}");
    }

    /// The most that were wanted at once within `window` before `now`.
    fn peak(history: &[(Moment, usize)], now: Moment, window: Duration) -> usize {
        let began_before = |(begun, _): &&(Moment, usize)| now.since(*begun) >= window;
        // What was wanted when the window began, and all that came after.
        let before = history.iter().rfind(began_before).map_or(0, |(_, wanted)| *wanted);
        let within = history.iter().rev().take_while(|(begun, _)| now.since(*begun) < window);
        within.map(|(_, wanted)| *wanted).fold(before, usize::max)
    }
}
