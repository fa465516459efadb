//! Whose turn it is to try for a connection that offers HTTP/1.1 alone, and what came of those that were refused.

use std::cell::RefCell;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::outage::{Outage, Recovery};
use super::queue::{DIALS, Ticket};
use crate::clock::Moment;
use crate::transport;

/// One worker's attempts at such connections.
pub(super) struct UpgradeTurns {
    free: Semaphore,
    /// Handshakes were refused, which says nothing of those that offer more. What else failed is in the queue, for all.
    refused: RefCell<Option<Outage>>,
}

/// How many turns an attempt takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TurnsTaken {
    One,
    /// After a failure: there is one attempt at a time.
    All,
}

impl UpgradeTurns {
    pub(super) fn new() -> Self {
        Self { free: Semaphore::new(DIALS), refused: RefCell::default() }
    }

    /// So many turns, first come first served.
    pub(super) async fn take(&self, taken: TurnsTaken) -> SemaphorePermit<'_> {
        let turns = match taken {
            TurnsTaken::One => 1,
            TurnsTaken::All => DIALS as u32,
        };
        // Invariant: nothing ever closes the semaphore.
        #[allow(clippy::expect_used)]
        self.free.acquire_many(turns).await.expect("an open semaphore")
    }

    /// The handshake that was tried under the ticket `began` was refused; `next`: the ticket of whatever comes after it.
    pub(super) fn was_refused(&self, began: Ticket, error: transport::Error, next: Ticket, now: Moment) {
        match &mut *self.refused.borrow_mut() {
            Some(outage) => outage.go_on(error, Recovery::Handshake, began, next, now),
            none => *none = Some(Outage::begin(error, Recovery::Handshake, next, now)),
        }
    }

    pub(super) fn succeeded(&self) {
        self.refused.take();
    }

    /// Until when no attempt is made; `None`: it may be made now.
    pub(super) fn pauses_until(&self, now: Moment) -> Option<Moment> {
        self.refused.borrow().as_ref().map(|outage| outage.due).filter(|due| now < *due)
    }

    /// What whoever waits since this ticket is to be told.
    pub(super) fn told_since(&self, ticket: Ticket) -> Option<transport::Error> {
        self.refused.borrow().as_ref().and_then(|outage| outage.told_since(ticket)).cloned()
    }

    /// Why the last handshake was refused, if it was.
    pub(super) fn last_refusal(&self) -> Option<transport::Error> {
        self.refused.borrow().as_ref().map(|outage| outage.error.clone())
    }
}
