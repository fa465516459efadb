//! Who waits for a connection, and how many are being made for them.
//!
//! Decides only; opens nothing. Three rules keep a service that is down from being stormed, and a request that comes
//! when it is up again from hearing of the past:
//!
//! 1. As long as it is not known that the service speaks HTTP/1.1, one connection is made at a time: it may turn out
//!    to carry everybody. Else one for each that waits, at most [`DIALS`] at a time.
//! 2. After a failure, and until a success, it is one at a time again.
//! 3. A failure is told to the one that waited longest; the second in a row to all that waited since before that
//!    attempt began, and to nobody who came later.

use std::collections::VecDeque;

use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::Error;
use crate::transport::Protocol;

/// One worker's waiting requests, in order of arrival, and its attempts to connect. `T` is what they wait for.
pub(super) struct Queue<T> {
    waiting: VecDeque<Waiting<T>>,
    dials: Vec<Dial>,
    /// Stands in line for a permit.
    beggar: Option<AbortHandle>,
    next: Ticket,
    failing: bool,
    protocol: Option<Protocol>,
}

/// Numbers requests and dials in the order in which they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// What a waiting request is told.
pub(super) type Outcome<T> = Result<T, Error>;

struct Waiting<T> {
    ticket: Ticket,
    tell: oneshot::Sender<Outcome<T>>,
}

struct Dial {
    ticket: Ticket,
    task: AbortHandle,
}

impl<T> Queue<T> {
    /// `protocol`: what every connection will speak, if that is certain.
    pub(super) fn new(protocol: Option<Protocol>) -> Self {
        Self { waiting: VecDeque::new(), dials: Vec::new(), beggar: None, next: Ticket(0), failing: false, protocol }
    }

    /// Puts a request at the end.
    pub(super) fn join(&mut self) -> (Ticket, oneshot::Receiver<Outcome<T>>) {
        let (tell, outcome) = oneshot::channel();
        let ticket = self.draw();
        self.waiting.push_back(Waiting { ticket, tell });
        (ticket, outcome)
    }

    /// The request waits no longer.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        if let Ok(place) = self.waiting.binary_search_by_key(&ticket, |waiting| waiting.ticket) {
            self.waiting.remove(place);
        }
        self.dismiss_beggar_if_idle();
    }

    /// The request that waited longest, to be told.
    pub(super) fn first(&mut self) -> Option<oneshot::Sender<Outcome<T>>> {
        let first = self.waiting.pop_front()?;
        self.dismiss_beggar_if_idle();
        Some(first.tell)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether one more connection should be made for those who wait.
    pub(super) fn wants_dial(&self) -> bool {
        let most = if self.failing || self.protocol != Some(Protocol::Http1) { 1 } else { DIALS };
        self.dials.len() < self.waiting.len().min(most)
    }

    /// A number for a dial that begins now.
    pub(super) fn draw(&mut self) -> Ticket {
        let ticket = self.next;
        self.next = Ticket(ticket.0 + 1);
        ticket
    }

    pub(super) fn dial_began(&mut self, ticket: Ticket, task: AbortHandle) {
        self.dials.push(Dial { ticket, task });
    }

    pub(super) fn dial_ended(&mut self, ticket: Ticket) {
        self.dials.retain(|dial| dial.ticket != ticket);
    }

    pub(super) fn is_dialing(&self) -> bool {
        !self.dials.is_empty()
    }

    pub(super) fn abort_dials(&mut self) {
        self.dials.drain(..).for_each(|dial| dial.task.abort());
    }

    pub(super) fn succeeded(&mut self, protocol: Protocol) {
        self.failing = false;
        self.protocol = Some(protocol);
    }

    /// The dial with this ticket failed: who is to be told.
    pub(super) fn failed(&mut self, dial: Ticket) -> Vec<oneshot::Sender<Outcome<T>>> {
        let again = std::mem::replace(&mut self.failing, true);
        let longer = self.waiting.partition_point(|waiting| waiting.ticket < dial);
        let told = if again { longer } else { longer.min(1) };
        let told = self.waiting.drain(..told).map(|waiting| waiting.tell).collect();
        self.dismiss_beggar_if_idle();
        told
    }

    pub(super) fn has_beggar(&self) -> bool {
        self.beggar.is_some()
    }

    pub(super) fn beg(&mut self, beggar: AbortHandle) {
        self.beggar = Some(beggar);
    }

    pub(super) fn begged(&mut self) {
        self.beggar = None;
    }

    /// Everything stops: nobody is left to be served.
    pub(super) fn stop(&mut self) {
        self.waiting.clear();
        self.abort_dials();
        self.dismiss_beggar_if_idle();
    }

    fn dismiss_beggar_if_idle(&mut self) {
        if self.waiting.is_empty()
            && let Some(beggar) = self.beggar.take()
        {
            beggar.abort();
        }
    }
}

/// Enough to warm a pool in a few round trips, few enough for a service that is just coming up.
const DIALS: usize = 16;

#[cfg(test)]
mod tests {
    use std::future::pending;

    use oneshot::error::TryRecvError;
    use tokio::task::spawn_local;

    use super::*;
    use crate::transport;

    #[tokio::test(flavor = "local")]
    async fn one_connection_is_made_at_a_time_until_it_is_known_to_carry_one_request_only() {
        let mut queue = Queue::<()>::new(None);
        let _waiting: Vec<_> = (0..100).map(|_| queue.join()).collect();

        assert_eq!(dial_as_wanted(&mut queue).len(), 1);
        queue.succeeded(Protocol::Http1);

        assert_eq!(dial_as_wanted(&mut queue).len(), DIALS - 1);
    }

    #[tokio::test(flavor = "local")]
    async fn no_more_connections_are_made_than_requests_wait() {
        let mut queue = Queue::<()>::new(Some(Protocol::Http1));
        let _waiting: Vec<_> = (0..3).map(|_| queue.join()).collect();

        assert_eq!(dial_as_wanted(&mut queue).len(), 3);
    }

    #[tokio::test(flavor = "local")]
    async fn after_a_failure_it_is_one_at_a_time_until_a_success() {
        let mut queue = Queue::<()>::new(Some(Protocol::Http1));
        let _waiting: Vec<_> = (0..100).map(|_| queue.join()).collect();

        for dial in dial_as_wanted(&mut queue) {
            queue.dial_ended(dial);
            queue.failed(dial);
        }
        let _more: Vec<_> = (0..100).map(|_| queue.join()).collect();
        assert_eq!(dial_as_wanted(&mut queue).len(), 1);
        queue.succeeded(Protocol::Http1);

        assert_eq!(dial_as_wanted(&mut queue).len(), DIALS - 1);
    }

    #[tokio::test(flavor = "local")]
    async fn the_second_failure_in_a_row_is_told_to_all_that_waited_through_it() {
        let mut queue = Queue::<()>::new(Some(Protocol::Http1));
        let mut early: Vec<_> = (0..3).map(|_| queue.join().1).collect();
        fail_one(&mut queue);
        assert!(early.remove(0).try_recv().unwrap().is_err());
        let second = dial_as_wanted(&mut queue)[0];
        let mut late = queue.join().1;

        queue.dial_ended(second);
        let told = queue.failed(second);

        assert_eq!(told.len(), 2);
        told.into_iter().for_each(tell);
        early.iter_mut().for_each(|waiting| assert!(waiting.try_recv().unwrap().is_err()));
        assert!(matches!(late.try_recv(), Err(TryRecvError::Empty)));
        assert!(queue.wants_dial());
    }

    #[tokio::test(flavor = "local")]
    async fn who_left_is_told_nothing() {
        let mut queue = Queue::<()>::new(Some(Protocol::Http1));
        let (first, _) = queue.join();
        let (_, mut second) = queue.join();

        queue.leave(first);
        fail_one(&mut queue);

        assert!(second.try_recv().unwrap().is_err());
        assert!(queue.is_empty());
    }

    #[tokio::test(flavor = "local")]
    async fn a_worker_stands_in_line_only_as_long_as_somebody_waits() {
        let mut queue = Queue::<()>::new(Some(Protocol::Http1));
        let (ticket, _outcome) = queue.join();
        let beggar = spawn_local(pending::<()>());
        queue.beg(beggar.abort_handle());

        queue.leave(ticket);

        assert!(!queue.has_beggar());
        assert!(beggar.await.unwrap_err().is_cancelled());
    }

    fn dial_as_wanted(queue: &mut Queue<()>) -> Vec<Ticket> {
        let mut dials = Vec::new();
        while queue.wants_dial() {
            let ticket = queue.draw();
            queue.dial_began(ticket, spawn_local(pending::<()>()).abort_handle());
            dials.push(ticket);
        }
        dials
    }

    fn fail_one(queue: &mut Queue<()>) {
        let dial = dial_as_wanted(queue)[0];
        queue.dials.clear();
        queue.failed(dial).into_iter().for_each(tell);
    }

    fn tell(waiting: oneshot::Sender<Outcome<()>>) {
        waiting.send(Err(transport::Error::Terminated("gone".to_owned()).into())).unwrap();
    }
}
