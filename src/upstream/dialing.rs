//! Making connections for the requests that wait: in tasks of the pool's own, each with a permit.

use std::rc::{Rc, Weak};
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::Pool;
use super::lease::{Busy, Lease, Place, Shared};
use super::outage::Proof;
use super::queue::{Next, Ticket};
use crate::clock::Moment;
use crate::transport::{self, Connected, Sender, Unsent};

impl Pool {
    /// Makes connections for those who wait, as many as the queue wants and permits are left.
    pub(super) fn dial_for_waiting(&self) {
        if self.queue.borrow().is_empty() {
            // Most calls end here, and read no clock.
            return;
        }
        let now = Moment::now();
        loop {
            let next = self.queue.borrow().next_dial(now);
            match next {
                Next::Now => match self.upstream.permit_now() {
                    Some(permit) => self.dial(permit, now),
                    None => return self.beg(),
                },
                Next::At(due) => return self.wake_at(due, now),
                Next::Enough => return,
            }
        }
    }

    fn dial(&self, permit: OwnedSemaphorePermit, now: Moment) {
        let ticket = self.queue.borrow_mut().draw();
        let dialing = Dialing { pool: self.me.clone(), ticket };
        let upstream = Arc::clone(&self.upstream);
        let task = spawn_local(async move {
            let outcome = upstream.connector.connect().await;
            if let Some(pool) = dialing.pool.upgrade() {
                drop(dialing);
                pool.dialed(ticket, outcome, permit);
            }
        });
        self.queue.borrow_mut().dial_began(ticket, now, task.abort_handle());
    }

    fn dialed(&self, ticket: Ticket, outcome: Result<Connected, transport::Error>, permit: OwnedSemaphorePermit) {
        match outcome {
            Ok(connected) => self.connected(connected, permit),
            Err(error) => {
                drop(permit);
                self.queue.borrow_mut().failed(ticket, &error, Proof::Handshake, Moment::now());
            }
        }
        self.dial_for_waiting();
    }

    pub(super) fn connected(&self, connected: Connected, permit: OwnedSemaphorePermit) {
        let now = Moment::now();
        let spent = connected.spent;
        let protocol = connected.sender.protocol();
        self.numbers.connected(spent.total());
        self.queue.borrow_mut().succeeded(protocol, now);
        let place = Place::new(permit, &self.open);
        self.lend_when_wanted();
        match connected.sender {
            Sender::Http1(http) => {
                if let Some(pool) = self.rc() {
                    self.hand_over(Lease::whole(pool, Busy::new(http, place, now), Some(spent)));
                }
            }
            Sender::Http2(sender) => {
                let shared = Shared::start(sender, connected.driver, place, now);
                self.shared.borrow_mut().push(Rc::clone(&shared));
                if let Some(pool) = self.rc() {
                    let mut first = Lease::stream(pool, &shared);
                    first.made = Some(spent);
                    self.hand_over(first);
                }
                self.fill_streams();
            }
        }
        self.count();
    }

    /// Learns from the first request on a new connection, which was sent under the ticket `began`.
    pub(super) fn used_first(&self, began: Ticket, unsent: Option<&Unsent>) {
        let mut queue = self.queue.borrow_mut();
        match unsent.map(|unsent| &unsent.error) {
            None => queue.answered(),
            // The handshake's failure, heard late: each request would make a connection of its own to hear it again.
            Some(alert @ transport::Error::Alert(_)) => queue.failed(began, alert, Proof::Answer, Moment::now()),
            Some(_) => {}
        }
    }

    /// Stands in line for a permit: one place for this worker, however many wait in it.
    fn beg(&self) {
        if self.queue.borrow().has_beggar() {
            return;
        }
        let (pool, upstream) = (self.me.clone(), Arc::clone(&self.upstream));
        let beggar = spawn_local(async move {
            let permit = upstream.permit().await;
            if let Some(pool) = pool.upgrade() {
                pool.permitted(permit);
            }
        });
        self.queue.borrow_mut().beg(beggar.abort_handle());
    }

    fn permitted(&self, permit: OwnedSemaphorePermit) {
        self.queue.borrow_mut().begged();
        let now = Moment::now();
        let next = self.queue.borrow().next_dial(now);
        if next == Next::Now {
            self.dial(permit, now)
        } else {
            drop(permit)
        }
        self.dial_for_waiting();
    }

    fn wake_at(&self, due: Moment, now: Moment) {
        if self.queue.borrow().wakes_by(due) {
            return;
        }
        let pool = self.me.clone();
        let alarm = spawn_local(async move {
            sleep(due.since(now)).await;
            if let Some(pool) = pool.upgrade() {
                pool.queue.borrow_mut().woken();
                pool.dial_for_waiting();
            }
        });
        self.queue.borrow_mut().wake_at(due, alarm.abort_handle());
    }
}

/// A connection in the making: counted until it ends, however it ends.
struct Dialing {
    pool: Weak<Pool>,
    ticket: Ticket,
}

impl Drop for Dialing {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.queue.borrow_mut().dial_ended(self.ticket);
        }
    }
}
