//! When the heap is worth trimming: after a burst of connections that went to rest, and not for each that does.

use std::cell::Cell;

/// What connections have left to the heap since it was last trimmed, by the kind of connection.
#[derive(Debug, Default)]
pub(crate) struct TrimSchedule {
    /// Of clients, that were taken apart.
    parkings: Cell<u32>,
    /// To services, that were closed for being idle.
    closed: Cell<usize>,
    /// For so many sweeps those are not looked at.
    rest: Cell<u32>,
}

impl TrimSchedule {
    pub(crate) fn parked(&self) {
        self.parkings.set(self.parkings.get() + 1);
    }

    #[cfg(test)]
    pub(crate) fn parkings(&self) -> u32 {
        self.parkings.get()
    }

    /// Whether to trim now; called once a second, with how many connections to services have been closed since.
    pub(super) fn is_due(&self, closed: usize) -> bool {
        self.closed.set(self.closed.get().saturating_add(closed));
        self.rest.set(self.rest.get().saturating_sub(1));
        // Where some are closed all the time, as many are made: what one leaves the next takes, and to look through the
        // whole heap for it would cost milliseconds every few seconds, for ever.
        let after_closed = self.closed.get() >= AFTER_CLOSED && self.rest.get() == 0;
        if after_closed {
            self.rest.set(REST);
        }
        let is_due = after_closed || self.parkings.get() >= AFTER_PARKINGS;
        if is_due {
            self.parkings.set(0);
            self.closed.set(0);
        }
        is_due
    }
}

const AFTER_PARKINGS: u32 = 256;
/// Far dearer than client connections, and made anew far more seldom.
const AFTER_CLOSED: usize = 32;
/// Sweeps. After a load the first few connections that are idle for too long bring a trim, and all others go in the next
/// sweeps: with the ten seconds for which pools keep what was in use, all is given back 70 s after the load.
const REST: u32 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    /// At which sweeps it is trimmed, given how many are closed in each.
    fn trims(closed: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let schedule = TrimSchedule::default();
        closed.into_iter().enumerate().filter_map(|(sweep, closed)| schedule.is_due(closed).then_some(sweep)).collect()
    }

    #[test]
    fn a_burst_of_closed_connections_is_followed_by_a_trim_at_once() {
        assert_eq!(trims([0, 0, 256, 0, 0]), [2]);
        assert_eq!(trims([31, 0, 0]), [] as [usize; 0]);
        assert_eq!(trims([20, 11, 1]), [2]);
    }

    #[test]
    fn where_connections_are_closed_all_the_time_there_are_few_trims() {
        assert_eq!(trims([3; 600]).len(), 12);
        assert_eq!(trims([1_000; 600]).len(), 12);
    }

    #[test]
    fn what_a_second_burst_leaves_is_given_back_once_the_rest_is_over() {
        let mut closed = [0; 200];
        (closed[0], closed[1]) = (100, 100);

        assert_eq!(trims(closed), [0, 50]);
    }

    #[test]
    fn a_burst_of_parkings_is_followed_by_a_trim_whatever_was_closed_before() {
        let schedule = TrimSchedule::default();
        assert!(schedule.is_due(100));

        for _ in 0..AFTER_PARKINGS {
            assert!(!schedule.is_due(0));
            schedule.parked();
        }

        assert!(schedule.is_due(0));
        assert_eq!(schedule.parkings(), 0);
    }
}
