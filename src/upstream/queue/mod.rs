//! Who waits for a connection, and how many are being made for them.
//!
//! Decides only; opens nothing. Four rules keep a service that is down from being stormed, and a request that comes
//! when it is up again from hearing of the past:
//!
//! 1. As long as it is not known that the service speaks HTTP/1.1, one connection is made at a time: it may turn out
//!    to carry everybody. Else one for each that waits, at most [`DIALS`] at a time.
//! 2. After a failure, and until a success, it is one at a time again, and each failure makes the pause before the
//!    next attempt longer ([`Outage`]). Who comes in a pause waits for its end.
//! 3. A failure is told to the one that waited longest; the second in a row to all that waited since before that
//!    attempt began, and to nobody who came later.
//! 4. One at a time or not, an attempt that hangs for [`HANGING`] keeps nobody from making another: behind one
//!    address there may be many machines, and one of them dead.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::Error;
use super::outage::{Outage, Recovery};
use crate::clock::Moment;
use crate::transport::{self, Protocol};

/// One worker's waiting requests, in order of arrival, and its attempts to connect. `T` is what they wait for.
pub(super) struct Queue<T> {
    waiting: VecDeque<QueuedRequest<T>>,
    dials: Vec<Dial>,
    /// Stands in line for a permit.
    permit_waiter: Option<AbortHandle>,
    alarm: Option<Alarm>,
    next: Ticket,
    outage: Option<Outage>,
    protocol: Option<Protocol>,
}

/// Whether one more connection should be made for those who wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Now,
    /// Not before.
    At(Moment),
    /// There are enough on their way.
    Enough,
}

/// Numbers requests and dials in the order in which they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// What a waiting request is told.
pub(super) type WaitOutcome<T> = Result<T, Error>;

struct QueuedRequest<T> {
    ticket: Ticket,
    tell: oneshot::Sender<WaitOutcome<T>>,
}

struct Dial {
    ticket: Ticket,
    began: Moment,
    /// `None`: it is made, and how many requests it carries is to be heard of its service.
    task: Option<AbortHandle>,
}

/// Looks again at `due`.
struct Alarm {
    due: Moment,
    task: AbortHandle,
}

impl<T> Queue<T> {
    /// `protocol`: what every connection will speak, if that is certain.
    pub(super) fn new(protocol: Option<Protocol>) -> Self {
        Self {
            waiting: VecDeque::new(),
            dials: Vec::new(),
            permit_waiter: None,
            alarm: None,
            next: Ticket(0),
            outage: None,
            protocol,
        }
    }

    /// Puts a request at the end.
    pub(super) fn join(&mut self) -> (Ticket, oneshot::Receiver<WaitOutcome<T>>) {
        let (tell, outcome) = oneshot::channel();
        let ticket = self.draw();
        self.waiting.push_back(QueuedRequest { ticket, tell });
        (ticket, outcome)
    }

    /// The request waits no longer.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        if let Ok(place) = self.waiting.binary_search_by_key(&ticket, |waiting| waiting.ticket) {
            self.waiting.remove(place);
        }
        self.dismiss_if_idle();
    }

    /// The request that waited longest, to be told.
    pub(super) fn first(&mut self) -> Option<oneshot::Sender<WaitOutcome<T>>> {
        let first = self.waiting.pop_front()?;
        self.dismiss_if_idle();
        Some(first.tell)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether one more connection should be made.
    pub(super) fn next_dial(&self, now: Moment) -> Next {
        let in_making = self.dials.iter().filter(|dial| dial.task.is_some()).count();
        if in_making >= self.waiting.len().min(DIALS) || self.dials.len() >= DIALS {
            return Next::Enough;
        }
        if self.outage.is_none() && self.protocol.is_some_and(Protocol::is_serial) {
            return Next::Now;
        }
        let hangs = self.dials.last().map(|newest| newest.began + HANGING);
        let due = hangs.max(self.outage.as_ref().map(|outage| outage.due));
        due.filter(|due| now < *due).map_or(Next::Now, Next::At)
    }

    /// Until when no connection is made, as the last attempt failed; `None`: it may be made now.
    pub(super) fn pauses_until(&self, now: Moment) -> Option<Moment> {
        self.outage.as_ref().map(|outage| outage.due).filter(|due| now < *due)
    }

    /// What a request is told that waits elsewhere since this ticket, by the third rule.
    pub(super) fn told_since(&self, ticket: Ticket) -> Option<&transport::Error> {
        self.outage.as_ref().and_then(|outage| outage.told_since(ticket))
    }

    /// Whether each connection carries one request, as far as is known.
    pub(super) fn speaks_http1(&self) -> bool {
        self.protocol == Some(Protocol::Http1)
    }

    /// A number for what begins now.
    pub(super) fn draw(&mut self) -> Ticket {
        let ticket = self.next;
        self.next = Ticket(ticket.0 + 1);
        ticket
    }

    pub(super) fn dial_began(&mut self, ticket: Ticket, began: Moment, task: AbortHandle) {
        self.dials.push(Dial { ticket, began, task: Some(task) });
    }

    /// A connection was made of which it is not known yet how many of those that wait it will carry: until that is
    /// ([`Queue::dial_ended`]), no other is made beside it, unless it hangs.
    pub(super) fn greeting_began(&mut self, ticket: Ticket, began: Moment) {
        self.dials.push(Dial { ticket, began, task: None });
    }

    pub(super) fn dial_ended(&mut self, ticket: Ticket) {
        self.dials.retain(|dial| dial.ticket != ticket);
    }

    pub(super) fn is_dialing(&self) -> bool {
        !self.dials.is_empty()
    }

    pub(super) fn abort_dials(&mut self) {
        self.dials.retain(|dial| match &dial.task {
            Some(task) => {
                task.abort();
                false
            }
            None => true,
        });
    }

    /// A connection was made.
    pub(super) fn succeeded(&mut self, protocol: Protocol, now: Moment) {
        self.protocol = Some(protocol);
        self.handshake_succeeded(now);
    }

    /// A connection was made that shows nothing of what the next will speak.
    pub(super) fn handshake_succeeded(&mut self, now: Moment) {
        let next = self.next;
        self.outage.take_if(|outage| outage.ends_with_handshake(next, now));
    }

    /// Learns from the first request on a new connection, which was sent under the ticket `began`.
    pub(super) fn used_first(&mut self, began: Ticket, error: Option<&transport::Error>, now: impl FnOnce() -> Moment) {
        match error {
            None => self.outage = None,
            // The handshake's failure, heard late: each request would make a connection of its own to hear it again.
            Some(alert @ transport::Error::Alert(_)) => self.failed(began, alert, Recovery::Answer, now()),
            Some(_) => {}
        }
    }

    /// What was tried under this ticket failed: tells those who are to know.
    pub(super) fn failed(&mut self, began: Ticket, error: &transport::Error, until: Recovery, now: Moment) {
        let longer = self.waiting.partition_point(|waiting| waiting.ticket < began);
        let told = match &mut self.outage {
            Some(outage) => {
                outage.go_on(error.clone(), until, began, self.next, now);
                longer
            }
            None => {
                self.outage = Some(Outage::begin(error.clone(), until, self.next, now));
                longer.min(1)
            }
        };
        for waiting in self.waiting.drain(..told) {
            // It may have left in this moment.
            drop(waiting.tell.send(Err(error.clone().into())));
        }
        self.dismiss_if_idle();
    }

    /// Why there is no connection, if the last attempt failed.
    pub(super) fn last_failure(&self) -> Option<&transport::Error> {
        self.outage.as_ref().map(|outage| &outage.error)
    }

    pub(super) fn awaits_permit(&self) -> bool {
        self.permit_waiter.is_some()
    }

    /// Whether no connection has to be thought of: nobody waits, or there is nothing to do until a permit comes.
    pub(super) fn is_seen_to(&self) -> bool {
        self.waiting.is_empty() || self.awaits_permit()
    }

    pub(super) fn await_permit(&mut self, waiter: AbortHandle) {
        self.permit_waiter = Some(waiter);
    }

    pub(super) fn permit_came(&mut self) {
        self.permit_waiter = None;
    }

    /// Whether somebody looks again at `due`, or before.
    pub(super) fn wakes_by(&self, due: Moment) -> bool {
        self.alarm.as_ref().is_some_and(|alarm| alarm.due <= due)
    }

    /// Sets the alarm, in place of one for later.
    pub(super) fn wake_at(&mut self, due: Moment, task: AbortHandle) {
        if let Some(later) = self.alarm.replace(Alarm { due, task }) {
            later.task.abort();
        }
    }

    pub(super) fn woken(&mut self) {
        self.alarm = None;
    }

    /// Everything stops: nobody is left to be served.
    pub(super) fn stop(&mut self) {
        self.waiting.clear();
        self.abort_dials();
        self.dismiss_if_idle();
    }

    /// Nothing is done for nobody.
    fn dismiss_if_idle(&mut self) {
        if self.waiting.is_empty() {
            let alarm = self.alarm.take().map(|alarm| alarm.task);
            self.permit_waiter.take().into_iter().chain(alarm).for_each(|task| task.abort());
        }
    }
}

/// Enough to warm a pool in a few round trips, few enough for a service that is just coming up.
pub(super) const DIALS: usize = 16;

/// Far more than a handshake takes that does not hang.
pub(super) const HANGING: Duration = Duration::from_secs(1);
