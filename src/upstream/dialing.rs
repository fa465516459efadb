//! Making connections for the requests that wait: in tasks of the pool's own, each with a permit.

use std::rc::{Rc, Weak};
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_local;

use super::Pool;
use super::lease::{Connection, Lease, Place, Shared};
use super::queue::Ticket;
use crate::clock::Moment;
use crate::transport::{self, Connected, Sender};

impl Pool {
    /// Makes connections for those who wait, as many as the queue wants and permits are left.
    pub(super) fn dial_for_waiting(&self) {
        while self.queue.borrow().wants_dial() {
            match self.upstream.permit_now() {
                Some(permit) => self.dial(permit),
                None => return self.beg(),
            }
        }
    }

    fn dial(&self, permit: OwnedSemaphorePermit) {
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
        self.queue.borrow_mut().dial_began(ticket, task.abort_handle());
    }

    fn dialed(&self, ticket: Ticket, outcome: Result<Connected, transport::Error>, permit: OwnedSemaphorePermit) {
        match outcome {
            Ok(connected) => self.connected(connected, permit),
            Err(error) => {
                drop(permit);
                let told = self.queue.borrow_mut().failed(ticket);
                for tell in told {
                    drop(tell.send(Err(error.clone().into())));
                }
            }
        }
        self.dial_for_waiting();
    }

    fn connected(&self, connected: Connected, permit: OwnedSemaphorePermit) {
        let spent = connected.spent;
        let protocol = connected.sender.protocol();
        self.numbers.connected(spent.lookup + spent.tcp + spent.tls);
        self.queue.borrow_mut().succeeded(protocol);
        let (place, now) = (Place::new(permit, &self.open), Moment::now());
        self.lend_when_wanted();
        match connected.sender {
            Sender::Http1(http) => {
                if let Some(pool) = self.rc() {
                    self.hand_over(Lease::whole(pool, Connection::new(*http, place, now), Some(spent)));
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
        let wanted = self.queue.borrow().wants_dial();
        if wanted {
            self.dial(permit);
        }
        self.dial_for_waiting();
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
