//! Requests that ask for another protocol: they go over HTTP/1.1, whatever the service speaks else, and end the connection
//! as one of HTTP.
//!
//! Where the handshake may come to HTTP/2, a connection that offers HTTP/1.1 alone is made for such a request. It counts
//! among `pool.max_connections` as any other. It does not wait in the queue, as what is made there for others is not what it
//! wants, but keeps to the same rules: so many attempts at a time and no more, one after a failure and each after a pause,
//! and a failure told to those that waited through it.
//!
//! What a handshake comes to that offers HTTP/1.1 alone says nothing of one that offers both, so no other request hears of
//! it. That the service can't be reached is the same for all.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;

use tokio::sync::{OwnedSemaphorePermit, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::connection::Busy;
use super::lease::ConnectionLease;
use super::outage::Recovery;
use super::pool::GRACE;
use super::queue::{HANGING, Ticket, WaitOutcome};
use super::turns::TurnsTaken;
use super::{Choice, Error, Pool, Timing};
use crate::clock::Moment;
use crate::transport::{self, Connected, Protocol, Sender};

impl Pool {
    /// A connection that speaks HTTP/1.1.
    pub(super) async fn lease_http1(
        self: &Rc<Self>,
        choice: Choice,
        timing: &Cell<Timing>,
    ) -> WaitOutcome<ConnectionLease> {
        let certain = self.upstream.connector.protocol();
        if certain == Some(Protocol::Http2) {
            return Err(transport::Error::UpgradeForbidden.into());
        }
        #[cfg(feature = "files")]
        if certain == Some(Protocol::File) {
            return Err(transport::Error::FileUpgrade.into());
        }
        if certain == Some(Protocol::Http1) || self.queue.borrow().speaks_http1() {
            let lease = self.lease(choice, timing).await?;
            if lease.is_http1() {
                return Ok(lease);
            }
            // Since the last handshake the service has learnt HTTP/2: the stream is given back.
        }
        let idle = if choice == Choice::Any { self.idle.borrow_mut().take() } else { None };
        if let Some(idle) = idle {
            self.count();
            return Ok(ConnectionLease::whole(Rc::clone(self), idle.rouse(), None));
        }
        let began = Instant::now();
        let dialed = self.dial_http1().await;
        let before = timing.get();
        timing.set(Timing { waited: before.waited + began.elapsed(), ..before });
        let lease = dialed?;
        timing.set(Timing { connected: lease.made.as_deref().copied(), ..timing.get() });
        self.count();
        Ok(lease)
    }

    async fn dial_http1(self: &Rc<Self>) -> WaitOutcome<ConnectionLease> {
        // One for all that follows.
        let deadline = self.upstream.connector.connect_limit().map(|limit| Instant::now() + limit + GRACE);
        let arrived = self.queue.borrow_mut().draw();
        loop {
            // The turn first: a permit that is held through a pause, or in line for a turn, is kept from requests that could
            // use it.
            let turn = by(deadline, self.turn(arrived)).await.unwrap_or_else(|| Err(self.out_of_turn()))?;
            let permit = by(deadline, self.permit()).await;
            let permit = permit.ok_or(Error::Overloaded { limit: self.upstream.pool.max_connections })?;
            // While the permit was waited for the service may have gone down.
            if self.upgrades_pause_until(Moment::now()).is_none() {
                let dialed = by(deadline, self.dial_in_turn(turn, permit)).await;
                return dialed.unwrap_or_else(|| Err(self.upstream.connector.timed_out().into()));
            }
        }
    }

    /// The right to make an attempt now.
    async fn turn(&self, arrived: Ticket) -> WaitOutcome<SemaphorePermit<'_>> {
        loop {
            let turns = self.turns_of_an_attempt();
            let turn = self.upgrades.take(turns).await;
            // What was known before the turn came, or before the pause, may be known better now: each time all is looked at
            // again. Else all that wait would make their attempts at the end of the same pause.
            while self.turns_of_an_attempt() == turns {
                let told = self.upgrades.told_since(arrived);
                if let Some(error) = told.or_else(|| self.queue.borrow().told_since(arrived).cloned()) {
                    return Err(error.into());
                }
                let now = Moment::now();
                let Some(due) = self.upgrades_pause_until(now) else { return Ok(turn) };
                sleep(due.since(now)).await;
            }
        }
    }

    async fn dial_in_turn(
        self: &Rc<Self>,
        turn: SemaphorePermit<'_>,
        permit: OwnedSemaphorePermit,
    ) -> WaitOutcome<ConnectionLease> {
        let ticket = self.queue.borrow_mut().draw();
        let mut dial = pin!(self.upstream.over_http1().connect());
        let dialed = match timeout(HANGING, dial.as_mut()).await {
            Ok(dialed) => dialed,
            Err(_) => {
                // It keeps nobody from another attempt any longer.
                drop(turn);
                dial.await
            }
        };
        match dialed {
            Ok(Connected { sender: Sender::Serial(carried), spent, .. }) => {
                self.upgrades.succeeded();
                self.queue.borrow_mut().handshake_succeeded(Moment::now());
                let busy = Busy::new(carried, self.place(permit, spent), Moment::now());
                Ok(ConnectionLease::whole(Rc::clone(self), busy, Some(Box::new(spent))))
            }
            // It was offered nothing but HTTP/1.1.
            Ok(Connected { sender: Sender::Http2(_), .. }) => Err(transport::Error::UpgradeForbidden.into()),
            Err(error) => {
                // Before others are told: one of them may go on to make the next attempt.
                drop(permit);
                Err(self.upgrade_failed(ticket, error).into())
            }
        }
    }

    /// What was tried under this ticket failed; says with what.
    fn upgrade_failed(&self, ticket: Ticket, error: transport::Error) -> transport::Error {
        let error = match error {
            transport::Error::NoProtocol(_) => transport::Error::Http2Alone,
            error => error,
        };
        let now = Moment::now();
        if error.is_verdict() {
            let next = self.queue.borrow_mut().draw();
            self.upgrades.was_refused(ticket, error.clone(), next, now);
        } else {
            self.queue.borrow_mut().failed(ticket, &error, Recovery::Handshake, now);
        }
        error
    }

    fn turns_of_an_attempt(&self) -> TurnsTaken {
        if self.last_upgrade_failure().is_some() { TurnsTaken::All } else { TurnsTaken::One }
    }

    fn upgrades_pause_until(&self, now: Moment) -> Option<Moment> {
        self.upgrades.pauses_until(now).max(self.queue.borrow().pauses_until(now))
    }

    fn last_upgrade_failure(&self) -> Option<transport::Error> {
        self.upgrades.last_refusal().or_else(|| self.queue.borrow().last_failure().cloned())
    }

    /// Why no turn came in time.
    fn out_of_turn(&self) -> Error {
        match self.last_upgrade_failure() {
            Some(error) => error.into(),
            // Those that have a turn wait for a permit.
            None if self.upstream.permits.waiting() > 0 => {
                Error::Overloaded { limit: self.upstream.pool.max_connections }
            }
            None => self.upstream.connector.timed_out().into(),
        }
    }

    /// The right to one more connection.
    async fn permit(&self) -> OwnedSemaphorePermit {
        match self.upstream.permits.take() {
            Some(permit) => permit,
            None => self.upstream.permits.wait().await,
        }
    }
}

async fn by<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    match deadline {
        Some(deadline) => timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}
