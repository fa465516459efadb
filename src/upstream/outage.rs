//! A service that can't be connected to: when it is tried again, and what is said until then.

use std::time::Duration;

use super::queue::Ticket;
use crate::clock::{Backoff, Moment};
use crate::transport;

/// The time from a failed attempt to the next success.
pub(super) struct Outage {
    backoff: Backoff,
    /// From when on the next attempt may be made.
    pub(super) due: Moment,
    /// Attempts with an earlier ticket ran beside the one that failed last: their failures are the same one.
    counted: Ticket,
    pub(super) error: transport::Error,
    ends_with: Recovery,
    /// The last attempt that failed after the first: all that waited since before it are told.
    again: Option<Ticket>,
}

/// What shows that a service is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recovery {
    Handshake,
    /// It shook hands before it refused: with TLS 1.3 our certificate is judged after our side of the handshake ended.
    Answer,
}

impl Outage {
    /// `next`: the ticket of whatever comes after this failure.
    pub(super) fn begin(error: transport::Error, ends_with: Recovery, next: Ticket, now: Moment) -> Self {
        let mut backoff = Backoff::new(SHORTEST, LONGEST);
        let due = now + backoff.next(Duration::ZERO);
        Self { backoff, due, counted: next, error, ends_with, again: None }
    }

    /// The attempt with the ticket `began` failed too.
    pub(super) fn go_on(
        &mut self,
        error: transport::Error,
        ends_with: Recovery,
        began: Ticket,
        next: Ticket,
        now: Moment,
    ) {
        (self.error, self.ends_with, self.again) = (error, ends_with, self.again.max(Some(began)));
        // A refusal after the handshake was counted at the handshake's end.
        if ends_with == Recovery::Handshake && began >= self.counted {
            self.wait_longer(next, now);
        }
    }

    /// Whether a handshake ends it. If not, others wait as if it had failed, until an answer comes.
    pub(super) fn ends_with_handshake(&mut self, next: Ticket, now: Moment) -> bool {
        if self.ends_with == Recovery::Answer {
            self.wait_longer(next, now);
        }
        self.ends_with == Recovery::Handshake
    }

    /// What whoever waits since this ticket is to be told.
    pub(super) fn told_since(&self, ticket: Ticket) -> Option<&transport::Error> {
        self.again.is_some_and(|began| ticket < began).then_some(&self.error)
    }

    fn wait_longer(&mut self, next: Ticket, now: Moment) {
        self.counted = next;
        self.due = now + self.backoff.next(Duration::ZERO);
    }
}

/// A service that restarts is found again in no time.
const SHORTEST: Duration = Duration::from_millis(10);
/// Four handshakes a second and worker are little to a service, and a request that comes meanwhile does not wait long.
const LONGEST: Duration = Duration::from_millis(250);
