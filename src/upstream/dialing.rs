//! How a pool makes connections for those who wait, and hears what became of them.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::Pool;
use super::connection::Busy;
use super::lease::ConnectionLease;
use super::outage::Recovery;
use super::permits::Place;
use super::queue::{Next, Ticket};
use super::streams::Shared;
use super::tasks::{self, TaskOwner};
use crate::clock::Moment;
use crate::transport::{self, ConnectTimings, Connected, Sender};

impl Pool {
    /// Makes connections for those who wait, as many as the queue wants and permits are left.
    pub(super) fn dial_for_waiting(&self) {
        // Most calls end here, and read no clock. Who stands in line for a permit looks again when it comes, and none is left
        // until then: at the limit each request would ask for one in vain, twice.
        if self.queue.borrow().is_seen_to() {
            return;
        }
        let now = Moment::now();
        loop {
            let next = self.queue.borrow().next_dial(now);
            match next {
                // A permit first: a dial without one could end in a connection that nobody may keep.
                Next::Now => match self.upstream.permits.take() {
                    Some(permit) => self.dial(permit, now),
                    None => return self.await_permit(),
                },
                Next::At(due) => return self.wake_at(due, now),
                Next::Enough => return,
            }
        }
    }

    fn dial(&self, permit: OwnedSemaphorePermit, now: Moment) {
        let ticket = self.queue.borrow_mut().draw();
        let upstream = Arc::clone(&self.upstream);
        let connect = async move { upstream.connector.connect().await };
        let task = tasks::dial(&self.me, connect, ticket, permit);
        self.queue.borrow_mut().dial_began(ticket, now, task);
    }

    pub(super) fn connected(&self, connected: Connected, permit: OwnedSemaphorePermit) {
        let now = Moment::now();
        let Connected { sender, driver, spent } = connected;
        self.queue.borrow_mut().succeeded(sender.protocol(), now);
        let place = self.place(permit, spent);
        match sender {
            Sender::Serial(carried) => {
                if let Some(pool) = self.rc() {
                    self.hand_over(ConnectionLease::whole(pool, Busy::new(carried, place, now), Some(Box::new(spent))));
                }
            }
            Sender::Http2(sender) => {
                // One request may go at once; what the others are to do is known in a round trip. Before that none of them is
                // given this connection, as it could not leave it again, and no other is made for them.
                let ticket = self.queue.borrow_mut().draw();
                self.queue.borrow_mut().greeting_began(ticket, now);
                tasks::follow_growth(&self.me, sender.growth(), ticket);
                let shared = Shared::start(sender, driver, place, now);
                self.shared.borrow_mut().add(Rc::clone(&shared));
                if let Some(pool) = self.rc() {
                    let mut first = ConnectionLease::stream(pool, &shared);
                    first.made = Some(Box::new(spent));
                    self.hand_over(first);
                }
                self.fill_streams();
            }
        }
        self.count();
    }

    /// The place of a connection that was made just now.
    pub(super) fn place(&self, permit: OwnedSemaphorePermit, spent: ConnectTimings) -> Place {
        self.counted.numbers.connected(spent.total());
        self.sharing.borrow_mut().get_or_insert_with(|| tasks::share_permits(&self.me, &self.upstream));
        self.share.place(permit)
    }

    fn wake_at(&self, due: Moment, now: Moment) {
        if !self.queue.borrow().wakes_by(due) {
            let alarm = tasks::wake_after(&self.me, due.since(now));
            self.queue.borrow_mut().wake_at(due, alarm);
        }
    }

    // Permits go round among workers.

    fn await_permit(&self) {
        if !self.queue.borrow().awaits_permit() {
            let waiter = tasks::wait_for_permit(&self.me, &self.upstream);
            self.queue.borrow_mut().await_permit(waiter);
        }
    }
}

impl TaskOwner for Pool {
    fn dialed(&self, ticket: Ticket, outcome: Result<Connected, transport::Error>, permit: OwnedSemaphorePermit) {
        match outcome {
            // Another is made for who waits for it.
            Ok(connected) if self.upstream.is_outdated(&connected) => drop(permit),
            Ok(connected) => self.connected(connected, permit),
            Err(error) => {
                // Before the others are told: one of them may go on to make the next attempt.
                drop(permit);
                self.queue.borrow_mut().failed(ticket, &error, Recovery::Handshake, Moment::now());
            }
        }
        self.dial_for_waiting();
    }

    fn dial_ended(&self, ticket: Ticket) {
        self.queue.borrow_mut().dial_ended(ticket);
    }

    fn woken(&self) {
        self.queue.borrow_mut().woken();
        self.dial_for_waiting();
    }

    fn permitted(&self, permit: OwnedSemaphorePermit) {
        self.queue.borrow_mut().permit_came();
        let now = Moment::now();
        let next = self.queue.borrow().next_dial(now);
        // Those who waited may have been served meanwhile: then it is the next worker's at once.
        if next == Next::Now {
            self.dial(permit, now)
        } else {
            drop(permit)
        }
        self.dial_for_waiting();
    }

    fn streams_changed(&self) {
        self.fill_streams();
        self.dial_for_waiting();
        self.count();
    }

    fn share_permits(&self) -> usize {
        self.close_for_others()
    }
}
