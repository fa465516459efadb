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

use super::Error;
use crate::config::Timeouts;
use crate::deadline::Deadline;
use crate::transport::{Observer, Passage};

/// Follows one app's body, and arms the connection's deadline as it moves.
#[derive(Debug)]
pub(super) struct Upload {
    deadline: Rc<Deadline>,
    /// What the server is told: that the body is still coming.
    coming: Rc<Cell<bool>>,
    timeouts: Timeouts,
    last: Cell<Passage>,
    phase: Cell<Phase>,
    /// Somebody has asked for it.
    begun: Cell<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// There is no connection yet: its own time-out runs.
    Connecting,
    /// It is read into memory, before there is a connection.
    Gathering,
    Sent,
    Answered,
    /// The exchange is over: the deadline is the server's again.
    Over,
}

impl Upload {
    pub(super) fn new(deadline: &Rc<Deadline>, coming: &Rc<Cell<bool>>, timeouts: Timeouts) -> Rc<Self> {
        coming.set(true);
        Rc::new(Self {
            deadline: Rc::clone(deadline),
            coming: Rc::clone(coming),
            timeouts,
            last: Cell::new(Passage::Moved),
            phase: Cell::new(Phase::Connecting),
            begun: Cell::new(false),
        })
    }

    /// Who the body tells how it gets on.
    pub(super) fn observer(self: &Rc<Self>) -> Observer {
        let upload = Rc::clone(self);
        Rc::new(move |passage| upload.went(passage))
    }

    /// It is read into memory, for what has to know all of it.
    pub(super) fn gathering(&self) {
        self.phase.set(Phase::Gathering);
        self.arm();
    }

    /// What can be read ahead was read.
    pub(super) fn gathered(&self) {
        self.phase.set(Phase::Connecting);
        self.deadline.disarm();
    }

    /// There is a connection.
    pub(super) fn sent(&self) {
        self.phase.set(Phase::Sent);
        self.arm();
    }

    /// The answer's head came, maybe before the body's end.
    pub(super) fn answered(&self) {
        self.phase.set(Phase::Answered);
    }

    pub(super) fn over(&self) {
        self.phase.set(Phase::Over);
    }

    /// Whether anybody has asked for it: an app that waits for a `100` is sent one then.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.get()
    }

    /// Whether the request's last byte went on.
    pub(super) fn has_ended(&self) -> bool {
        self.last.get() == Passage::Ended
    }

    /// Whose silence it was when the time was up.
    pub(super) fn expired(&self) -> Error {
        match self.last.get() {
            Passage::Waiting => Error::BodyStalled,
            // The app would send, but the service does not read.
            Passage::Moved | Passage::Ended => Error::ResponseTimeout,
        }
    }

    fn went(&self, passage: Passage) {
        self.begun.set(true);
        self.last.set(passage);
        if passage == Passage::Ended {
            self.coming.set(false);
        }
        if passage != Passage::Waiting {
            self.arm();
        }
    }

    fn arm(&self) {
        match self.phase.get() {
            Phase::Connecting | Phase::Over => {}
            Phase::Sent if self.has_ended() => self.deadline.arm(self.timeouts.response),
            Phase::Gathering | Phase::Sent | Phase::Answered => self.deadline.arm(self.timeouts.idle),
        }
    }
}

/// Neither the exchange nor the connection to the service wants more of the body.
impl Drop for Upload {
    fn drop(&mut self) {
        self.coming.set(false);
    }
}
