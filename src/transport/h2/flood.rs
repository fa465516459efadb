//! How much a service sends that brings no request on.
//!
//! Windows and readers bound content; nothing bounds the rest: PRIORITY, frames of unknown kinds, PING, SETTINGS,
//! WINDOW_UPDATE, heads for streams that were given up. A service that sends nothing else keeps a core busy, for as long as
//! it likes; so does one that sends DATA without content, or for streams that were given up. So the bytes of all frames that
//! bring nobody anything are counted here, less half of what is written; they are forgotten whenever a request comes on, and
//! in the course of time: an idle connection that is kept alive by a PING now and then may be so for ever.

use crate::clock::Moment;

/// Of one connection.
#[derive(Debug)]
pub(super) struct FloodMeter {
    /// What came since a request last came on, of frames that carry no content, less half of what was written since.
    unpaid_bytes: u64,
    window_began: Moment,
}

impl FloodMeter {
    pub(super) fn new(now: Moment) -> Self {
        Self { unpaid_bytes: 0, window_began: now }
    }

    /// A frame came that carries no content.
    pub(super) fn came(&mut self, bytes: usize) {
        self.unpaid_bytes += bytes as u64;
    }

    /// A request was answered, or something of its answer was taken.
    pub(super) fn came_on(&mut self) {
        self.unpaid_bytes = 0;
    }

    /// Half of what is written pays for what comes: a service that reads an upload opens its windows again and again. What we
    /// answer to a PING or SETTINGS is not longer than they are, so these are never paid for in full.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.unpaid_bytes = self.unpaid_bytes.saturating_sub(bytes as u64 / 2);
    }

    /// Whether more came than is borne of a service that is to answer so many requests, whose heads are all read before the
    /// first of them is told. Only what is too much has the clock read: it is borne in each second anew.
    pub(super) fn is_flooded(&mut self, requests: usize, head_bytes: u32, now: impl FnOnce() -> Moment) -> bool {
        if self.unpaid_bytes <= UNPAID_BYTES
            || self.unpaid_bytes <= UNPAID_BYTES + requests as u64 * u64::from(head_bytes)
        {
            return false;
        }
        let now = now();
        self.unpaid_bytes = 0;
        now.since(std::mem::replace(&mut self.window_began, now)).as_millis() < WINDOW_MILLISECONDS
    }
}

/// Within a second. 15,000 PINGs are as much, and less than one part in a hundred of a core.
const UNPAID_BYTES: u64 = 256 * 1024;
const WINDOW_MILLISECONDS: u128 = 1_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_too_much_for_a_second_is_not_for_two() {
        let began = Moment::now();
        let mut meter = FloodMeter::new(began);
        let mut flooded_at = |milliseconds| {
            meter.came(UNPAID_BYTES as usize + 1);
            meter.is_flooded(0, 0, || began + Duration::from_millis(milliseconds))
        };

        assert!(!flooded_at(1_000));
        assert!(flooded_at(1_999));
    }

    #[test]
    fn what_brings_a_request_on_is_no_flood() {
        let began = Moment::now();
        let mut meter = FloodMeter::new(began);
        let is_flooded = |meter: &mut FloodMeter, requests| meter.is_flooded(requests, 1_000, || began);

        for _ in 0..10 {
            meter.came(UNPAID_BYTES as usize);
            assert!(!is_flooded(&mut meter, 0));
            meter.came_on();
        }
        meter.came(UNPAID_BYTES as usize + 2_000);
        assert!(!is_flooded(&mut meter, 2));
        meter.wrote(4_000);
        assert!(!is_flooded(&mut meter, 0));
        meter.came(1);
        assert!(is_flooded(&mut meter, 0));
    }
}
