//! One worker's connections to one service.
//!
//! A request takes what is free: a stream on an HTTP/2 connection, or the HTTP/1.1 connection that was used last. Else
//! it joins the queue, and is served by whatever comes first: a connection that another request gives back, one that
//! is made, or the news that none can be.
//!
//! Connections are made in tasks of the pool's own. A request that is dropped leaves the queue and nothing else: a
//! handshake half done is finished (its limit sees to that) and serves the next. Without a limit it is given up with
//! the last request that waits.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::lease::{Lease, Resting, Shared};
use super::queue::{Outcome, Queue, Ticket};
use super::{Choice, Error, Failure, PooledBody, Timing, Upstream};
use crate::clock::Moment;
use crate::telemetry::metrics::Numbers;
use crate::transport::Outgoing;

/// The worker's half: idle connections newest first, streams counted, one dial until ALPN is known.
pub(crate) struct Pool {
    pub(super) me: Weak<Self>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) numbers: Arc<Numbers>,
    /// This worker's share of `max_idle`, and of `max_connections`.
    max_idle: usize,
    pub(super) fair_share: usize,
    /// HTTP/1.1, the one used last at the end.
    pub(super) idle: RefCell<VecDeque<Idle>>,
    /// HTTP/2.
    pub(super) shared: RefCell<Vec<Rc<Shared>>>,
    pub(super) queue: RefCell<Queue<Lease>>,
    pub(super) open: Rc<Cell<usize>>,
    /// When the sweep came last: precise enough for lifetimes, and no clock is read for a request.
    pub(super) now: Cell<Moment>,
    retired: Cell<bool>,
    /// Active and idle, as they were told: the numbers are of the service, which may have other pools.
    counted: Cell<(i64, i64)>,
    pub(super) lender: RefCell<Option<AbortHandle>>,
}

pub(super) struct Idle {
    pub(super) connection: Resting,
    since: Moment,
}

impl Pool {
    /// `workers` share `max_idle` out among themselves. Tasks are spawned with `tokio::task::spawn_local`.
    pub(crate) fn new(upstream: Arc<Upstream>, workers: usize, numbers: Arc<Numbers>) -> Rc<Self> {
        let workers = workers.max(1);
        Rc::new_cyclic(|me| Self {
            me: me.clone(),
            numbers,
            max_idle: (upstream.pool.max_idle / workers).max(1),
            fair_share: upstream.pool.max_connections / workers,
            idle: RefCell::default(),
            shared: RefCell::default(),
            queue: RefCell::new(Queue::new(upstream.connector.protocol())),
            open: Rc::default(),
            now: Cell::new(Moment::now()),
            retired: Cell::new(false),
            counted: Cell::default(),
            lender: RefCell::default(),
            upstream,
        })
    }

    /// Sends one request. A pooled connection found dead before any byte left is replaced silently. Of `outgoing` the body
    /// is taken; the rest stays, for another sending.
    ///
    /// # Errors
    ///
    /// When no head of an answer comes, with how far the request had come.
    pub(crate) async fn send(
        self: &Rc<Self>,
        outgoing: &mut Outgoing,
        choice: Choice,
        timing: &Cell<Timing>,
    ) -> Result<Response<PooledBody>, Failure> {
        // Each round takes one dead connection out of the pool, so it can't be more than there are.
        let mut replaceable = self.max_idle;
        loop {
            let mut lease = match self.lease(choice, timing).await {
                Ok(lease) => lease,
                Err(error) => return Err(Failure::unconnected(error)),
            };
            timing.set(Timing { sent: true, ..timing.get() });
            let first_use = lease.made.map(|_| self.queue.borrow_mut().draw());
            let outcome = lease.send(outgoing).await;
            if let Some(began) = first_use {
                self.used_first(began, outcome.as_ref().err());
            }
            let unsent = match outcome {
                Ok(mut response) => {
                    lease.write_on(response.body_mut());
                    return Ok(response.map(|answer| PooledBody::new(answer, lease)));
                }
                Err(unsent) => unsent,
            };
            let replace = unsent.whole && lease.made.is_none() && replaceable > 0;
            if !replace {
                return Err(Failure::unanswered(unsent));
            }
            replaceable -= 1;
        }
    }

    /// Closes idle connections that are too old, idle for too long, or closed by the service; the worker's sweep calls it
    /// about once a second.
    pub(crate) fn sweep(&self, now: Moment) {
        self.now.set(now);
        let is_fresh = |since| self.upstream.pool.idle_timeout.is_none_or(|limit| now.since(since) < limit);
        self.idle.borrow_mut().retain_mut(|idle| self.is_fit(&mut idle.connection) && is_fresh(idle.since));
        self.shared.borrow_mut().retain(|shared| {
            let is_good = !shared.sender.is_closed() && self.is_young(shared.born);
            is_good && (!shared.is_idle() || (is_fresh(shared.idle_since.get()) && !shared.is_suspect()))
        });
        self.lend();
        self.count();
    }

    /// Closes every idle connection; running ones close when they end. Called when a reload drops this half.
    pub(crate) fn retire(&self) {
        self.idle.borrow_mut().clear();
        self.shared.borrow_mut().clear();
        self.tell((0, 0));
        self.retired.set(true);
    }

    /// A connection: one that is free, or else the first that comes.
    async fn lease(&self, choice: Choice, timing: &Cell<Timing>) -> Outcome<Lease> {
        if let Some(lease) = self.free(choice) {
            self.count();
            return Ok(lease);
        }
        let began = Instant::now();
        // In a box: few requests wait, and those that do not need no room for it.
        let lease = Box::pin(self.wait()).await;
        let before = timing.get();
        timing.set(Timing { waited: before.waited + began.elapsed(), ..before });
        let lease = lease?;
        timing.set(Timing { connected: lease.made.or(before.connected), ..timing.get() });
        self.count();
        Ok(lease)
    }

    fn free(&self, choice: Choice) -> Option<Lease> {
        if let Some(stream) = self.free_stream() {
            return Some(stream);
        }
        if choice == Choice::NotIdle {
            return None;
        }
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { mut connection, .. }) = idle.pop_back() {
            if !connection.is_closed() {
                return Some(Lease::whole(self.rc()?, connection.rouse(), None));
            }
        }
        None
    }

    fn free_stream(&self) -> Option<Lease> {
        let mut shared = self.shared.borrow_mut();
        // A dead one holds a permit that the next may need.
        shared.retain(|shared| !shared.sender.is_closed() && !shared.is_suspect());
        let roomy = shared.iter().find(|shared| shared.has_room())?;
        Some(Lease::stream(self.rc()?, roomy))
    }

    async fn wait(&self) -> Outcome<Lease> {
        let (ticket, outcome) = self.queue.borrow_mut().join();
        let _place = InQueue { pool: self, ticket };
        self.dial_for_waiting();
        let limit = self.upstream.connector.connect_limit();
        let told = match limit {
            Some(limit) => timeout(limit + GRACE, outcome).await.map_err(|_| self.out_of_time())?,
            None => outcome.await,
        };
        // The queue is emptied untold only with the pool.
        told.unwrap_or_else(|_| Err(self.out_of_time()))
    }

    fn out_of_time(&self) -> Error {
        let queue = self.queue.borrow();
        match queue.last_failure() {
            _ if queue.is_dialing() => self.upstream.connector.timed_out().into(),
            Some(error) if !queue.has_beggar() => error.clone().into(),
            _ => Error::Overloaded { limit: self.upstream.pool.max_connections },
        }
    }

    /// Gives a connection to the request that waited longest, or keeps it.
    pub(super) fn hand_over(&self, mut lease: Lease) {
        while let Some(tell) = self.first() {
            // A lease comes back if the request left in this moment.
            let Err(Ok(back)) = tell.send(Ok(lease)) else { return };
            lease = back;
        }
        if let Some(connection) = lease.unused() {
            self.shelve(connection);
        }
    }

    fn first(&self) -> Option<oneshot::Sender<Outcome<Lease>>> {
        self.queue.borrow_mut().first()
    }

    pub(super) fn fill_streams(&self) {
        while !self.queue.borrow().is_empty() {
            let Some(stream) = self.free_stream() else { return };
            self.hand_over(stream);
        }
    }

    /// An HTTP/1.1 connection is ready for another request: only one whose exchange has ended can be given here.
    pub(super) fn give_back(&self, mut connection: Resting) {
        if !self.is_fit(&mut connection) || self.must_yield() {
            drop(connection);
            self.dial_for_waiting();
        } else if self.queue.borrow().is_empty() {
            self.shelve(connection);
        } else if let Some(pool) = self.rc() {
            self.hand_over(Lease::whole(pool, connection.rouse(), None));
        }
        self.count();
    }

    /// An HTTP/1.1 connection was closed after its exchange.
    pub(super) fn connection_ended(&self) {
        self.dial_for_waiting();
        self.count();
    }

    fn shelve(&self, connection: Resting) {
        if self.retired.get() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        idle.push_back(Idle { connection, since: self.now.get() });
        if idle.len() > self.max_idle {
            idle.pop_front();
        }
    }

    /// A stream of an HTTP/2 connection ended.
    pub(super) fn stream_ended(&self, shared: &Rc<Shared>) {
        shared.idle_since.set(self.now.get());
        if shared.is_idle() && (self.retired.get() || shared.is_suspect() || self.must_yield()) {
            self.shared.borrow_mut().retain(|other| !Rc::ptr_eq(other, shared));
        }
        self.fill_streams();
        self.dial_for_waiting();
        self.count();
    }

    /// Whether it may carry another request.
    fn is_fit(&self, connection: &mut Resting) -> bool {
        !connection.is_closed() && self.is_young(connection.born)
    }

    fn is_young(&self, born: Moment) -> bool {
        self.upstream.pool.max_lifetime.is_none_or(|limit| self.now.get().since(born) < limit)
    }

    pub(super) fn count(&self) {
        if self.retired.get() {
            // The numbers are its successor's now.
            return;
        }
        let shared = self.shared.borrow();
        let idle = self.idle.borrow().len() + shared.iter().filter(|shared| shared.is_idle()).count();
        self.tell((self.open.get().saturating_sub(idle) as i64, idle as i64));
    }

    fn tell(&self, now: (i64, i64)) {
        let before = self.counted.replace(now);
        self.numbers.connections(now.0 - before.0, now.1 - before.1);
    }

    /// `None` only while it is being dropped.
    pub(super) fn rc(&self) -> Option<Rc<Self>> {
        self.me.upgrade()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.get_mut().stop();
        if let Some(lender) = self.lender.get_mut().take() {
            lender.abort();
        }
    }
}

/// A request's place in the queue.
struct InQueue<'a> {
    pool: &'a Pool,
    ticket: Ticket,
}

impl Drop for InQueue<'_> {
    fn drop(&mut self) {
        let mut queue = self.pool.queue.borrow_mut();
        queue.leave(self.ticket);
        if queue.is_empty() && self.pool.upstream.connector.connect_limit().is_none() {
            queue.abort_dials();
        }
    }
}

/// A dial's own failure says more than that time is up, and it began a little later than the request that waits.
const GRACE: Duration = Duration::from_millis(20);
