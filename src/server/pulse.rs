//! Whether each worker still turns, as `/livez` says it.
//!
//! A thread that hangs ends nothing and says nothing, so each worker moves a number on once a second, and the background
//! looks whether it has moved. It counts its own looks and not the time: where the whole process stood still (a
//! suspended machine, `SIGSTOP`, a container without CPU), the background stood still with it and has missed nothing.
//!
//! ```text
//!  worker      beat ── beat ── beat ── hangs
//!  background       look ── look ── look 1 ── look 2 ── … ── look 10: /livez 503 ── … ── a beat: /livez 200
//! ```

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::admin::Liveness;

/// A number that a worker moves on for as long as it turns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pulse(Arc<Beats>);

#[derive(Debug, Default)]
struct Beats {
    count: AtomicU32,
    /// The background's looks since it last moved.
    missed: AtomicU32,
    /// The worker has ended as it was told to: no beat is due any more.
    ended: AtomicBool,
}

impl Pulse {
    /// The worker turns.
    pub(crate) fn beat(&self) {
        self.0.count.fetch_add(1, Ordering::Relaxed);
    }

    /// The worker has ended as it was told to.
    pub(crate) fn end(&self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }

    /// Whether it has stood still for a few looks: its worker should be given nothing that another can do.
    pub(crate) fn is_still(&self) -> bool {
        self.0.missed.load(Ordering::Relaxed) >= STILL_AFTER
    }

    fn count(&self) -> u32 {
        self.0.count.load(Ordering::Relaxed)
    }
}

/// The background's look at every worker.
pub(crate) struct Pulses {
    /// In order of the workers' numbers.
    workers: Vec<Felt>,
    liveness: Arc<Liveness>,
}

/// One worker's pulse as it was last felt.
struct Felt {
    pulse: Pulse,
    count: u32,
    /// Looks since it last moved.
    missed: u32,
}

impl Pulses {
    /// `pulses` in order of the workers' numbers.
    pub(crate) fn new(pulses: impl Iterator<Item = Pulse>, liveness: Arc<Liveness>) -> Self {
        let felt = |pulse: Pulse| Felt { count: pulse.count(), pulse, missed: 0 };
        Self { workers: pulses.map(felt).collect(), liveness }
    }

    /// Looks for as long as the background lives.
    pub(crate) async fn run(mut self) -> Infallible {
        let mut looks = looks();
        loop {
            looks.tick().await;
            self.look();
        }
    }

    fn look(&mut self) {
        for (number, felt) in self.workers.iter_mut().enumerate() {
            let before = felt.missed;
            felt.look();
            // Once for each time that it hangs.
            if felt.missed == MISSED_AT_MOST {
                tracing::error!(worker = number, "a worker has not turned for {MISSED_AT_MOST} s: `/livez` says so");
            } else if felt.missed == 0 && before >= MISSED_AT_MOST {
                tracing::warn!(worker = number, "the worker turns again, after {before} s");
            }
        }
        self.liveness.set(self.reason());
    }

    fn reason(&self) -> Option<String> {
        let mut hanging = self.workers.iter().enumerate().filter(|(_, felt)| felt.missed >= MISSED_AT_MOST);
        let (number, felt) = hanging.next()?;
        let others = match hanging.count() {
            0 => String::new(),
            others => format!(", and {others} more"),
        };
        Some(format!("worker {number} has not turned for {} s{others}", felt.missed))
    }
}

fn looks() -> Interval {
    let mut looks = interval(BEAT);
    // All that a pause of the process held up would come at once, and count as missed what nobody could do.
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}

impl Felt {
    fn look(&mut self) {
        let count = self.pulse.count();
        // Asked for here and not where the drain begins: until it is cut a worker may hang as at any other time, and after
        // that the wait for the last tokens may be longer than it takes to be called hanging.
        let moves = count != self.count || self.pulse.0.ended.load(Ordering::Relaxed);
        self.missed = if moves { 0 } else { self.missed.saturating_add(1) };
        self.pulse.0.missed.store(self.missed, Ordering::Relaxed);
        self.count = count;
    }
}

/// Between two beats of a worker, and between two looks; tests have less patience.
pub(crate) const BEAT: Duration = if cfg!(test) { Duration::from_millis(20) } else { Duration::from_secs(1) };
/// Looks. Nothing that a worker does takes as long by design; one that is short of CPU is so together with the
/// background. A container that is probed every 10 s, three times, is restarted half a minute later.
const MISSED_AT_MOST: u32 = 10;
/// Looks. Between two there may be no beat in a worker that is merely busy; to be passed over costs it nothing.
const STILL_AFTER: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn pulses(count: usize) -> (Vec<Pulse>, Pulses) {
        let pulses: Vec<_> = (0..count).map(|_| Pulse::default()).collect();
        (pulses.clone(), Pulses::new(pulses.into_iter(), Arc::default()))
    }

    #[test]
    fn a_worker_that_hangs_is_told_of_after_ten_looks_and_no_more_once_it_turns() {
        let (workers, mut pulses) = pulses(2);
        let look = |pulses: &mut Pulses, times: u32| {
            for _ in 0..times {
                workers[0].beat();
                pulses.look();
            }
            pulses.liveness.reason().map(|reason| reason.to_string())
        };

        assert_eq!(look(&mut pulses, 9), None);
        assert_eq!(look(&mut pulses, 1).as_deref(), Some("worker 1 has not turned for 10 s"));
        assert_eq!(look(&mut pulses, 5).as_deref(), Some("worker 1 has not turned for 15 s"));
        workers[1].beat();
        assert_eq!(look(&mut pulses, 1), None);
    }

    #[test]
    fn the_first_is_named_and_the_others_are_counted() {
        let (workers, mut pulses) = pulses(4);

        for _ in 0..MISSED_AT_MOST {
            workers[1].beat();
            pulses.look();
        }

        let said = pulses.liveness.reason().map(|reason| reason.to_string());
        assert_eq!(said.as_deref(), Some("worker 0 has not turned for 10 s, and 2 more"));
    }

    #[test]
    fn a_worker_that_has_ended_as_it_should_is_not_missed() {
        let (workers, mut pulses) = pulses(2);
        workers[0].end();

        for _ in 0..MISSED_AT_MOST {
            workers[1].beat();
            pulses.look();
        }

        assert_eq!(pulses.liveness.reason(), None);
    }

    #[test]
    fn a_pulse_that_stands_still_is_known_to_long_before_the_worker_is_given_up() {
        let (workers, mut pulses) = pulses(2);

        for _ in 0..STILL_AFTER {
            assert!(!workers[1].is_still());
            workers[0].beat();
            pulses.look();
        }

        assert_eq!([&workers[0], &workers[1]].map(|pulse| pulse.is_still()), [false, true]);
        workers[1].beat();
        pulses.look();
        assert!(!workers[1].is_still());
    }

    #[tokio::test]
    async fn a_pause_of_the_whole_process_costs_one_look() {
        assert_eq!(looks().missed_tick_behavior(), MissedTickBehavior::Delay);
    }
}
