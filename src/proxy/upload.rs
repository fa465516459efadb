//! The app's body on its way to the service: which time-out runs while it does.
//!
//! ```text
//!   pieces go on ──► the last one went ──► the answer's head came
//!    `idle` each         `response`          `idle`, with the answer's pieces
//! ```
//!
//! A body that is signed is read into memory first: `idle` for each piece, and then it is as if it had been there.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Error;
use crate::config::Timeouts;
use crate::deadline::ExchangeDeadline;
use crate::transport::{Observer, Passage};

/// Follows one app's body, and arms the exchange's deadline as it moves.
#[derive(Debug)]
pub(super) struct UploadWatch {
    deadline: Rc<ExchangeDeadline>,
    timeouts: Timeouts,
    /// Until when the app waits for an answer, where it says so.
    waited_for_until: Option<Instant>,
    last: Cell<Passage>,
    phase: Cell<UploadPhase>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UploadPhase {
    /// There is no connection yet: its own time-out runs.
    Connecting,
    /// It is read into memory, before there is a connection.
    Gathering,
    Sent,
    Answered,
    /// The exchange is over: the deadline may be another's by now, though the rest of the body still moves.
    Over,
}

impl UploadWatch {
    pub(super) fn new(deadline: &Rc<ExchangeDeadline>, timeouts: Timeouts, until: Option<Instant>) -> Rc<Self> {
        Rc::new(Self {
            deadline: Rc::clone(deadline),
            timeouts,
            waited_for_until: until,
            last: Cell::new(Passage::Moved),
            phase: Cell::new(UploadPhase::Connecting),
        })
    }

    /// Who the body tells how it gets on.
    pub(super) fn observer(self: &Rc<Self>) -> Observer {
        let upload = Rc::clone(self);
        Rc::new(move |passage| upload.went(passage))
    }

    /// It is read into memory, for what has to know all of it.
    pub(super) fn gathering(&self) {
        self.phase.set(UploadPhase::Gathering);
        self.arm();
    }

    /// What can be read ahead was read.
    pub(super) fn gathered(&self) {
        self.phase.set(UploadPhase::Connecting);
        self.deadline.disarm();
    }

    /// There is a connection.
    pub(super) fn sent(&self) {
        self.phase.set(UploadPhase::Sent);
        self.arm();
    }

    /// There is none any more: the one that there was had been dead.
    pub(super) fn not_sent(&self) {
        self.phase.set(UploadPhase::Connecting);
    }

    /// The answer's head came, maybe before the body's end.
    pub(super) fn answered(&self) {
        self.phase.set(UploadPhase::Answered);
    }

    pub(super) fn over(&self) {
        self.phase.set(UploadPhase::Over);
    }

    /// Whether the request's last byte went on.
    fn has_ended(&self) -> bool {
        self.last.get() == Passage::Ended
    }

    /// Whose silence it was when the time was up.
    pub(super) fn expired(&self) -> Error {
        match self.last.get() {
            Passage::Waiting => Error::BodyStalled,
            // The app would send, but the service does not read.
            Passage::Moved | Passage::MovedOn | Passage::Ended | Passage::OverLimit => Error::ResponseTimeout,
        }
    }

    /// Whether more came of the body than the service is sent.
    pub(super) fn is_over_limit(&self) -> bool {
        self.last.get() == Passage::OverLimit
    }

    fn went(&self, passage: Passage) {
        // What moves on was taken before: who is waited for stays as it was.
        if passage != Passage::MovedOn {
            self.last.set(passage);
        }
        if passage != Passage::Waiting {
            self.arm();
        }
    }

    fn arm(&self) {
        match self.phase.get() {
            UploadPhase::Connecting | UploadPhase::Over => {}
            UploadPhase::Sent if self.has_ended() => {
                self.deadline.arm(response_limit(self.timeouts, self.waited_for_until));
            }
            UploadPhase::Gathering | UploadPhase::Sent | UploadPhase::Answered => self.deadline.arm(self.timeouts.idle),
        }
    }
}

/// How long an answer is waited for from now on: an app that says how long it waits knows better than the config.
pub(super) fn response_limit(timeouts: Timeouts, until: Option<Instant>) -> Option<Duration> {
    match until {
        Some(until) => Some(until.saturating_duration_since(Instant::now())),
        None => timeouts.response,
    }
}
