//! A connection, and the right of one request to use it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use http::Response;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::timeout;

use super::Pool;
use crate::clock::Moment;
use crate::transport::{Answer, AtRest, Driver, Exclusive, Multiplexed, Outflow, Outgoing, Spent, Unsent};

/// An open HTTP/1.1 connection: one request's ([`Busy`]), or nobody's ([`Resting`]). Only an exchange that ended on both
/// sides makes the former the latter again.
pub(super) struct Connection<H> {
    http: H,
    pub(super) born: Moment,
    place: Place,
}

/// Whoever uses it moves its bytes.
pub(super) type Busy = Connection<Box<Exclusive>>;

/// Free for any request.
pub(super) type Resting = Connection<AtRest>;

/// An open HTTP/2 connection, whose bytes are moved by a task of its own, and how many requests it carries.
pub(super) struct Shared {
    pub(super) sender: Multiplexed,
    pub(super) born: Moment,
    running: Cell<usize>,
    /// A request was given up on it while not a byte came: it may be dead, so nobody joins it any more.
    suspect: Cell<bool>,
    pub(super) idle_since: Cell<Moment>,
}

/// One request's place on an HTTP/2 connection, until both its answer and the request itself have ended.
struct Seat {
    shared: Rc<Shared>,
    pool: Rc<Pool>,
}

/// A connection's permit and its place in the count: given up when all that use it have let go of it.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    open: Rc<Cell<usize>>,
}

/// One request's right to a connection.
///
/// Unused, it gives the connection back when it is dropped. Used, it ends the exchange: an HTTP/1.1 connection is
/// reset, as nobody knows what still comes on it, and an HTTP/2 stream frees its place.
pub(super) struct Lease {
    pool: Rc<Pool>,
    carrier: Option<Carrier>,
    used: bool,
    /// What had been heard on the connection when the request was sent; `None` once it is answered.
    unheard_since: Option<u64>,
    /// Where the time of this connection's making went, if it was made just now.
    pub(super) made: Option<Spent>,
}

enum Carrier {
    Whole(Busy),
    /// The request was answered before its end. A task writes the rest of it, and beside it somebody may read the
    /// answer; nobody gives the connection back.
    Last(Rc<Last>, AbortHandle),
    /// Beside it a task may write the rest of a request that was answered before its end.
    Stream(Rc<Seat>, Multiplexed, Option<AbortHandle>),
}

/// An HTTP/1.1 connection with the last exchange that it carries.
struct Last(RefCell<Busy>);

impl Busy {
    pub(super) fn new(http: Box<Exclusive>, place: Place, born: Moment) -> Self {
        Self { http, born, place }
    }

    /// The connection without its request, if that has ended so that another may follow; else it is closed.
    fn into_rest(self) -> Option<Resting> {
        let Self { http, born, place } = self;
        Some(Connection { http: http.into_rest()?, born, place })
    }
}

impl Resting {
    pub(super) fn rouse(self) -> Busy {
        let Self { http, born, place } = self;
        Connection { http: http.rouse(), born, place }
    }

    /// Whether no request may be sent on it, as far as is known.
    pub(super) fn is_closed(&mut self) -> bool {
        self.http.is_closed()
    }

    /// Whether something came on it that was not looked at yet.
    #[cfg(test)]
    pub(super) fn has_news(&self) -> bool {
        self.http.has_news()
    }
}

impl Last {
    fn is_answered(&self) -> bool {
        self.0.borrow().http.is_over()
    }

    fn uploaded(&self) -> u64 {
        self.0.borrow().http.uploaded()
    }

    /// Writes the rest of the request. Gives up when the answer is over and for so long as an idle connection is kept
    /// nothing of the rest went on: nobody else would notice, as the app may be gone.
    async fn write_on(&self, limit: Option<Duration>) {
        loop {
            let before = self.uploaded();
            let writing = poll_fn(|cx| self.0.borrow_mut().http.poll_upload(cx));
            let Some(limit) = limit else {
                return writing.await;
            };
            if timeout(limit, writing).await.is_ok() || (self.is_answered() && self.uploaded() == before) {
                return;
            }
        }
    }
}

impl Place {
    pub(super) fn new(permit: OwnedSemaphorePermit, open: &Rc<Cell<usize>>) -> Self {
        open.set(open.get() + 1);
        Self { _permit: permit, open: Rc::clone(open) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
    }
}

impl Shared {
    /// Starts the task that drives it, which has the socket, and with it the place: a service that has stopped reading
    /// counts for as long as it takes up one.
    pub(super) fn start(sender: Multiplexed, driver: Option<Driver>, place: Place, born: Moment) -> Rc<Self> {
        spawn_local(async move {
            if let Some(driver) = driver {
                driver.await;
            }
            drop(place);
        });
        let (running, suspect, idle_since) = (Cell::new(0), Cell::new(false), Cell::new(born));
        Rc::new(Self { sender, born, running, suspect, idle_since })
    }

    /// Whether it may carry one more request.
    pub(super) fn has_room(&self) -> bool {
        !self.suspect.get() && self.running.get() < self.sender.streams()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running.get() == 0
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.get()
    }
}

impl Seat {
    fn take(pool: Rc<Pool>, shared: &Rc<Shared>) -> Rc<Self> {
        shared.running.set(shared.running.get() + 1);
        Rc::new(Self { shared: Rc::clone(shared), pool })
    }

    /// Writes the rest of a request, and gives up as [`Last::write_on`] does.
    async fn write_on(self: Rc<Self>, mut outflow: Box<Outflow>) {
        let limit = self.pool.upstream.pool.idle_timeout;
        loop {
            let before = outflow.written();
            let writing = poll_fn(|cx| outflow.poll(cx).map(drop));
            let Some(limit) = limit else {
                return writing.await;
            };
            let is_answered = || Rc::strong_count(&self) == 1;
            if timeout(limit, writing).await.is_ok() || (is_answered() && outflow.written() == before) {
                return;
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.running.set(self.shared.running.get() - 1);
        self.pool.stream_ended(&self.shared);
    }
}

impl Lease {
    pub(super) fn whole(pool: Rc<Pool>, connection: Busy, made: Option<Spent>) -> Self {
        Self::new(pool, Carrier::Whole(connection), made)
    }

    /// A stream on an HTTP/2 connection.
    pub(super) fn stream(pool: Rc<Pool>, shared: &Rc<Shared>) -> Self {
        let seat = Seat::take(Rc::clone(&pool), shared);
        Self::new(pool, Carrier::Stream(seat, shared.sender.clone(), None), None)
    }

    fn new(pool: Rc<Pool>, carrier: Carrier, made: Option<Spent>) -> Self {
        Self { pool, carrier: Some(carrier), used: false, unheard_since: None, made }
    }

    pub(super) async fn send(&mut self, outgoing: &mut Outgoing) -> Result<Response<Answer>, Unsent> {
        self.used = true;
        // Invariant: only `end` and `drop` take the carrier, and nothing is sent after them.
        #[allow(clippy::expect_used)]
        match self.carrier.as_mut().expect("a lease that has not ended") {
            Carrier::Whole(connection) => poll_fn(|cx| connection.http.poll_send(outgoing, cx)).await,
            // Invariant: it becomes this only with an answer, and one request is sent on a lease.
            Carrier::Last(..) => unreachable!("a lease is for one request"),
            Carrier::Stream(_, sender, _) => {
                self.unheard_since = Some(sender.heard());
                let outcome = sender.send(outgoing).await;
                self.unheard_since = None;
                outcome
            }
        }
    }

    /// Lets a request whose answer came before its end go on in a task of its own: an app may read nothing of the
    /// answer until it has sent all, while the service sends more than buffers hold.
    pub(super) fn write_on(&mut self, answer: &mut Answer) {
        if let Some(Carrier::Stream(seat, _, task)) = &mut self.carrier {
            let rest = answer.take_outflow().map(|outflow| spawn_local(Rc::clone(seat).write_on(outflow)));
            *task = rest.map(|rest| rest.abort_handle());
            return;
        }
        let early = |carrier: &mut Carrier| matches!(carrier, Carrier::Whole(busy) if busy.http.is_uploading());
        let Some(Carrier::Whole(busy)) = self.carrier.take_if(early) else { return };
        let last = Rc::new(Last(RefCell::new(busy)));
        let (limit, writing) = (self.pool.upstream.pool.idle_timeout, Rc::clone(&last));
        let rest = spawn_local(async move { writing.write_on(limit).await });
        self.carrier = Some(Carrier::Last(last, rest.abort_handle()));
    }

    /// Shows its HTTP/1.1 connection, if it is one.
    pub(super) fn with<T>(&self, look: impl FnOnce(Option<&Exclusive>) -> T) -> T {
        match &self.carrier {
            Some(Carrier::Whole(connection)) => look(Some(&connection.http)),
            Some(Carrier::Last(last, _)) => look(Some(&last.0.borrow().http)),
            Some(Carrier::Stream(..)) | None => look(None),
        }
    }

    /// As [`Lease::with`], to read from it.
    pub(super) fn with_mut<T>(&mut self, read: impl FnOnce(Option<&mut Exclusive>) -> T) -> T {
        match &mut self.carrier {
            Some(Carrier::Whole(connection)) => read(Some(&mut connection.http)),
            Some(Carrier::Last(last, _)) => read(Some(&mut last.0.borrow_mut().http)),
            Some(Carrier::Stream(..)) | None => read(None),
        }
    }

    /// The answer was read to its end: gives the connection back if another request may follow. Where the request is
    /// still on its way, it goes on and the connection is closed after it.
    pub(super) fn end(mut self) {
        match self.carrier.take() {
            Some(Carrier::Whole(busy)) => match busy.into_rest() {
                Some(resting) => self.pool.give_back(resting),
                None => self.pool.connection_ended(),
            },
            Some(Carrier::Last(..) | Carrier::Stream(..)) | None => {}
        }
    }

    /// The connection of a lease that nobody came to use, if it can be kept.
    pub(super) fn unused(mut self) -> Option<Resting> {
        match self.carrier.take()? {
            Carrier::Whole(busy) => busy.into_rest(),
            other => {
                self.carrier = Some(other);
                None
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match self.carrier.take() {
            None => {}
            Some(Carrier::Whole(busy)) if self.used => drop(busy),
            Some(Carrier::Whole(busy)) => {
                if let Some(resting) = busy.into_rest() {
                    self.pool.give_back(resting);
                }
            }
            Some(Carrier::Last(last, rest)) => {
                rest.abort();
                drop(last);
            }
            Some(Carrier::Stream(seat, sender, rest)) => {
                if self.unheard_since == Some(sender.heard()) {
                    seat.shared.suspect.set(true);
                }
                if let Some(rest) = rest {
                    rest.abort();
                }
            }
        }
    }
}
