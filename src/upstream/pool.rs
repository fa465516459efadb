//! One worker's connections to one service.
//!
//! A request takes what is free: a stream on an HTTP/2 connection, or the HTTP/1.1 connection that was used last. Else
//! it joins the queue, and is served by whatever comes first: a connection that another request gives back, one that
//! is made, or the news that none can be.
//!
//! ```text
//!   free? ─── yes ──────────────────────────────────────────► Lease ─► answer ─► given back: the queue, then the shelf
//!     │ no                                                      ▲
//!     └► Queue ◄── a connection given back, a stream that ended ┤
//!          │                                                    │
//!          └► a permit (or the line for one) ─► a dial ─────────┘
//! ```
//!
//! Connections are made in tasks of the pool's own. A request that is dropped leaves the queue and nothing else: a
//! handshake half done is finished (its limit sees to that) and serves the next. Without a limit it is given up with
//! the last request that waits.
//!
//! Who waits and when one more is made is decided by the [`Queue`]; what this worker may hold, by its [`Share`]. Here is
//! what they do together: no cell stays borrowed while another request, or a lease's end, may come back to the pool.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::connection::{Busy, Resting};
use super::count::Count;
use super::demand::Demand;
use super::idle::IdleConnections;
use super::lease::ConnectionLease;
use super::permits::Share;
use super::queue::{Queue, Ticket, WaitOutcome};
use super::streams::{Shared, SharedConnections};
use super::turns::UpgradeTurns;
use super::{Choice, Error, PooledBody, SendFailure, Timing, Upstream};
use crate::aside::aside;
use crate::clock::Moment;
use crate::telemetry::metrics::Numbers;
use crate::transport::{Outgoing, ProtocolSwitch};

/// The worker's half: idle connections newest first, streams counted, one dial until ALPN is known.
pub(crate) struct Pool {
    pub(super) me: Weak<Self>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) counted: Count,
    /// HTTP/1.1.
    pub(super) idle: RefCell<IdleConnections>,
    /// HTTP/2.
    pub(super) shared: RefCell<SharedConnections>,
    pub(super) queue: RefCell<Queue<ConnectionLease>>,
    pub(super) upgrades: UpgradeTurns,
    pub(super) share: Share,
    pub(super) demand: Demand,
    /// When the sweep came last: precise enough for lifetimes, and no clock is read for a request.
    pub(super) now: Cell<Moment>,
    retired: Cell<bool>,
    /// Listens for other workers, from the first connection on.
    pub(super) sharing: RefCell<Option<AbortHandle>>,
}

impl Pool {
    /// `workers` share `max_idle` and `max_connections` out among themselves. Tasks are spawned with
    /// `tokio::task::spawn_local`.
    pub(crate) fn new(upstream: Arc<Upstream>, workers: usize, numbers: Arc<Numbers>) -> Rc<Self> {
        let (limits, now) = (upstream.pool, Moment::now());
        Rc::new_cyclic(|me| Self {
            me: me.clone(),
            counted: Count::new(numbers),
            idle: RefCell::new(IdleConnections::new(limits.max_idle, workers)),
            shared: RefCell::default(),
            queue: RefCell::new(Queue::new(upstream.connector.protocol())),
            upgrades: UpgradeTurns::new(),
            share: Share::of(limits.max_connections, workers),
            demand: Demand::new(now),
            now: Cell::new(now),
            retired: Cell::new(false),
            sharing: RefCell::default(),
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
    ) -> Result<Response<PooledBody>, SendFailure> {
        // Each round takes one dead connection out of the pool, so it can't be more than there are.
        let mut replaceable = self.upstream.pool.max_connections;
        loop {
            let leased = match outgoing.switch {
                ProtocolSwitch::NotAsked => self.lease(choice, timing).await,
                ProtocolSwitch::Asked => aside(|| self.lease_http1(choice, timing)).await,
            };
            let mut lease = match leased {
                Ok(lease) => lease,
                Err(error) => return Err(SendFailure::unconnected(error)),
            };
            timing.set(Timing { sent: true, ..timing.get() });
            let first_use = lease.made.as_ref().map(|_| self.queue.borrow_mut().draw());
            let outcome = lease.send(outgoing).await;
            if let Some(began) = first_use {
                let error = outcome.as_ref().err().map(|unsent| &unsent.error);
                self.queue.borrow_mut().used_first(began, error, Moment::now);
                error.into_iter().for_each(|error| lease.blames_address(error));
            }
            let mut unsent = match outcome {
                Ok(mut response) => {
                    lease.write_on(response.body_mut());
                    return Ok(response.map(|answer| PooledBody::new(answer, lease)));
                }
                Err(unsent) => unsent,
            };
            let goes_elsewhere = self.upstream.falls_back_to_http1(&mut unsent);
            let replace = unsent.whole && (lease.made.is_none() || goes_elsewhere) && replaceable > 0;
            if !replace {
                return Err(SendFailure::unanswered(unsent));
            }
            replaceable -= 1;
            // The service has not been asked anything yet: what is waited for now is a connection again, under the
            // connection's own time-outs. The dead one goes before that, as its permit may be the one that is wanted.
            timing.set(Timing { sent: false, ..timing.get() });
        }
    }

    /// Closes every idle connection; running ones close when they end. Called when a reload drops this half.
    pub(crate) fn retire(&self) {
        self.idle.borrow_mut().clear();
        self.shared.borrow_mut().clear();
        self.counted.end();
        self.retired.set(true);
    }

    /// For how long an idle connection is kept.
    pub(super) fn idle_timeout(&self) -> Option<Duration> {
        self.upstream.pool.idle_timeout
    }

    /// A connection: one that is free, or else the first that comes.
    pub(super) async fn lease(&self, choice: Choice, timing: &Cell<Timing>) -> WaitOutcome<ConnectionLease> {
        if let Some(lease) = self.free(choice) {
            self.count();
            return Ok(lease);
        }
        let began = Instant::now();
        let lease = aside(|| self.wait()).await;
        let before = timing.get();
        timing.set(Timing { waited: before.waited + began.elapsed(), ..before });
        let lease = lease?;
        timing.set(Timing { connected: lease.made.as_deref().copied().or(before.connected), ..timing.get() });
        self.count();
        Ok(lease)
    }

    fn free(&self, choice: Choice) -> Option<ConnectionLease> {
        if let Some(stream) = self.free_stream() {
            return Some(stream);
        }
        if choice == Choice::NotIdle {
            return None;
        }
        let connection = self.idle.borrow_mut().take()?;
        Some(ConnectionLease::whole(self.rc()?, connection.rouse(), None))
    }

    fn free_stream(&self) -> Option<ConnectionLease> {
        let mut shared = self.shared.borrow_mut();
        let roomy = shared.with_room()?;
        if self.upstream.connector.wants_http1() {
            // Each holds a permit that a connection of HTTP/1.1 may need.
            shared.clear();
            return None;
        }
        Some(ConnectionLease::stream(self.rc()?, roomy))
    }

    async fn wait(&self) -> WaitOutcome<ConnectionLease> {
        // A login that was refused a moment ago is not tried for this request: it is told so at once.
        #[cfg(feature = "files")]
        if let Some(refusal) = self.upstream.connector.refusal() {
            return Err(refusal.into());
        }
        let (ticket, outcome) = self.queue.borrow_mut().join();
        // A connection is made for it, even if it is served by another in the end: what was made is wanted as well.
        self.demand.record(self.share.open() + self.queue.borrow().len());
        let _place = InQueue { pool: self, ticket };
        // After it has joined: a connection is made only for somebody who waits.
        self.dial_for_waiting();
        let limit = self.upstream.connector.connect_limit();
        let told = match limit {
            Some(limit) => timeout(limit + GRACE, outcome).await.map_err(|_| self.out_of_time())?,
            None => outcome.await,
        };
        // The queue is emptied untold only with the pool.
        told.unwrap_or_else(|_| Err(self.out_of_time()))
    }

    pub(super) fn out_of_time(&self) -> Error {
        self.upstream.out_of_time(&self.queue.borrow())
    }

    /// An HTTP/1.1 connection is ready for another request: only one whose exchange has ended can be given here.
    pub(super) fn give_back(&self, mut connection: Resting) {
        if !self.is_fit(&mut connection) || self.must_yield(connection.born) {
            // Its permit goes to whoever stood in line first, which may be another worker. Only then does this one ask.
            drop(connection);
            self.dial_for_waiting();
        } else if self.queue.borrow().is_empty() {
            self.shelve(connection);
        } else if let Some(pool) = self.rc() {
            self.hand_over(ConnectionLease::whole(pool, connection.rouse(), None));
        }
        self.count();
    }

    /// The exchange on it is over: another one may follow, or it is closed.
    pub(super) fn exchange_ended(&self, connection: Busy) {
        match connection.into_rest() {
            Some(resting) => self.give_back(resting),
            None => self.connection_ended(),
        }
    }

    /// A connection that carries one exchange at a time was closed.
    pub(super) fn connection_ended(&self) {
        self.dial_for_waiting();
        self.count();
    }

    /// A stream of an HTTP/2 connection ended.
    pub(super) fn stream_ended(&self, shared: &Rc<Shared>) {
        shared.leave(self.now.get());
        // One that is never idle would never be another's turn: nobody joins it any more, and it closes with its last.
        if self.others_waiting() > 0 && self.share.is_exceeded(shared.born, Moment::now) {
            shared.close_in_time();
        }
        if shared.is_idle() && (self.retired.get() || self.must_yield(shared.born)) {
            self.shared.borrow_mut().remove(shared);
        }
        self.fill_streams();
        self.dial_for_waiting();
        self.count();
    }

    /// Gives a connection to the request that waited longest, or keeps it.
    pub(super) fn hand_over(&self, mut lease: ConnectionLease) {
        while let Some(tell) = self.first_waiting() {
            // A lease comes back if the request left in this moment.
            let Err(Ok(back)) = tell.send(Ok(lease)) else { return };
            lease = back;
        }
        if let Some(connection) = lease.unused() {
            self.shelve(connection);
        }
    }

    /// On its own, so that the queue is not borrowed while a lease is told of: dropped, it comes back here.
    fn first_waiting(&self) -> Option<oneshot::Sender<WaitOutcome<ConnectionLease>>> {
        self.queue.borrow_mut().first()
    }

    pub(super) fn fill_streams(&self) {
        while !self.queue.borrow().is_empty() {
            let Some(stream) = self.free_stream() else { return };
            self.hand_over(stream);
        }
    }

    fn shelve(&self, connection: Resting) {
        if !self.retired.get() {
            self.idle.borrow_mut().keep(connection, self.now.get());
        }
    }

    /// Whether it may carry another request.
    pub(super) fn is_fit(&self, connection: &mut Resting) -> bool {
        !connection.is_closed() && self.is_young(connection.born)
    }

    pub(super) fn is_young(&self, born: Moment) -> bool {
        self.upstream.pool.max_lifetime.is_none_or(|limit| self.now.get().since(born) < limit)
    }

    /// Tells how many connections there are, and remembers how many of them are in use: called whenever that changes.
    pub(super) fn count(&self) {
        let (open, idle) = self.open_and_idle();
        self.demand.record(open.saturating_sub(idle));
        self.counted.tell(open, idle);
    }

    pub(super) fn open_and_idle(&self) -> (usize, usize) {
        (self.share.open(), self.idle.borrow().len() + self.shared.borrow().count_idle())
    }

    /// `None` only while it is being dropped.
    pub(super) fn rc(&self) -> Option<Rc<Self>> {
        self.me.upgrade()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.get_mut().stop();
        if let Some(sharing) = self.sharing.get_mut().take() {
            sharing.abort();
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
pub(super) const GRACE: Duration = Duration::from_millis(20);
