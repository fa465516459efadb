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
use crate::transport::{Answer, Driver, Exclusive, Multiplexed, Outgoing, Spent, Unsent};

/// An open HTTP/1.1 connection. Whoever uses it moves its bytes.
pub(super) struct Connection {
    pub(super) http: RefCell<Exclusive>,
    pub(super) born: Moment,
    _place: Place,
}

/// An open HTTP/2 connection, whose bytes are moved by a task of its own, and how many requests it carries.
pub(super) struct Shared {
    pub(super) sender: Multiplexed,
    pub(super) born: Moment,
    running: Cell<usize>,
    /// A request was given up on it while not a byte came: it may be dead, so nobody joins it any more.
    suspect: Cell<bool>,
    pub(super) idle_since: Cell<Moment>,
    /// Its task has one too.
    _place: Rc<Place>,
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
    /// Writes the rest of a request that was answered before its end.
    rest: Option<AbortHandle>,
    /// What had been heard on the connection when the request was sent; `None` once it is answered.
    unheard_since: Option<u64>,
    /// Where the time of this connection's making went, if it was made just now.
    pub(super) made: Option<Spent>,
}

enum Carrier {
    Whole(Rc<Connection>),
    Stream(Rc<Shared>, Multiplexed),
}

impl Connection {
    pub(super) fn new(http: Exclusive, place: Place, born: Moment) -> Rc<Self> {
        Rc::new(Self { http: RefCell::new(http), born, _place: place })
    }

    /// Whether something came on it that was not looked at yet.
    #[cfg(test)]
    pub(super) fn has_news(&self) -> bool {
        self.http.borrow().has_news()
    }

    fn is_answered(&self) -> bool {
        self.http.borrow().is_over()
    }

    /// Writes the rest of the request. `false`: the answer is over, and for so long as an idle connection is kept
    /// nothing of the rest went on; nobody else would notice, as the app may be gone.
    async fn write_on(&self, limit: Option<Duration>) -> bool {
        loop {
            let before = self.http.borrow().uploaded();
            let writing = poll_fn(|cx| self.http.borrow_mut().poll_upload(cx));
            let Some(limit) = limit else {
                writing.await;
                return true;
            };
            if timeout(limit, writing).await.is_ok() {
                return true;
            }
            if self.is_answered() && self.http.borrow().uploaded() == before {
                return false;
            }
        }
    }

    /// Whether no other request may be sent on it, as far as is known.
    pub(super) fn is_closed(&self) -> bool {
        self.http.borrow_mut().is_closed()
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
    /// Starts the task that drives it.
    pub(super) fn start(sender: Multiplexed, driver: Option<Driver>, place: Place, born: Moment) -> Rc<Self> {
        let place = Rc::new(place);
        if let Some(driver) = driver {
            let held = Rc::clone(&place);
            spawn_local(async move {
                driver.await;
                drop(held);
            });
        }
        let (running, suspect, idle_since) = (Cell::new(0), Cell::new(false), Cell::new(born));
        Rc::new(Self { sender, born, running, suspect, idle_since, _place: place })
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

impl Lease {
    pub(super) fn whole(pool: Rc<Pool>, connection: Rc<Connection>, made: Option<Spent>) -> Self {
        Self::new(pool, Carrier::Whole(connection), made)
    }

    /// A stream on an HTTP/2 connection.
    pub(super) fn stream(pool: Rc<Pool>, shared: &Rc<Shared>) -> Self {
        shared.running.set(shared.running.get() + 1);
        Self::new(pool, Carrier::Stream(Rc::clone(shared), shared.sender.clone()), None)
    }

    fn new(pool: Rc<Pool>, carrier: Carrier, made: Option<Spent>) -> Self {
        Self { pool, carrier: Some(carrier), used: false, rest: None, unheard_since: None, made }
    }

    pub(super) async fn send(&mut self, outgoing: &mut Outgoing) -> Result<Response<Answer>, Unsent> {
        self.used = true;
        // Invariant: only `end` and `drop` take the carrier, and nothing is sent after them.
        #[allow(clippy::expect_used)]
        match self.carrier.as_mut().expect("a lease that has not ended") {
            Carrier::Whole(connection) => poll_fn(|cx| connection.http.borrow_mut().poll_send(outgoing, cx)).await,
            Carrier::Stream(_, sender) => {
                self.unheard_since = Some(sender.heard());
                let outcome = sender.send(outgoing).await;
                self.unheard_since = None;
                outcome
            }
        }
    }

    /// Lets a request whose answer came before its end go on in a task of its own: an app may read nothing of the
    /// answer until it has sent all, while the service sends more than buffers hold.
    pub(super) fn write_on(&mut self) {
        let Some(Carrier::Whole(connection)) = &self.carrier else { return };
        if !connection.http.borrow().is_uploading() {
            return;
        }
        let (pool, connection) = (Rc::clone(&self.pool), Rc::clone(connection));
        let rest = spawn_local(async move {
            let is_written = connection.write_on(pool.upstream.pool.idle_timeout).await;
            if is_written && connection.is_answered() {
                pool.give_back(connection);
            }
        });
        self.rest = Some(rest.abort_handle());
    }

    /// Shows its HTTP/1.1 connection, if it is one.
    pub(super) fn with<T>(&self, look: impl FnOnce(Option<&mut Exclusive>) -> T) -> T {
        match &self.carrier {
            Some(Carrier::Whole(connection)) => look(Some(&mut *connection.http.borrow_mut())),
            Some(Carrier::Stream(..)) | None => look(None),
        }
    }

    /// The answer was read to its end: gives the connection back, unless the request is still on its way; then
    /// whoever writes it does.
    pub(super) fn end(mut self) {
        if let Some(Carrier::Whole(connection)) = self.carrier.take_if(|carrier| matches!(carrier, Carrier::Whole(_)))
            && !connection.http.borrow().is_uploading()
        {
            self.pool.give_back(connection);
        }
    }

    /// The connection of a lease that nobody came to use; `None` if it is a stream.
    pub(super) fn unused(mut self) -> Option<Rc<Connection>> {
        match self.carrier.take()? {
            Carrier::Whole(connection) => Some(connection),
            stream @ Carrier::Stream(..) => {
                self.carrier = Some(stream);
                None
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match self.carrier.take() {
            None => {}
            Some(Carrier::Whole(connection)) if self.used => {
                if let Some(rest) = self.rest.take() {
                    rest.abort();
                }
                drop(connection);
            }
            Some(Carrier::Whole(connection)) => self.pool.give_back(connection),
            Some(Carrier::Stream(shared, sender)) => {
                if self.unheard_since == Some(sender.heard()) {
                    shared.suspect.set(true);
                }
                drop(sender);
                shared.running.set(shared.running.get() - 1);
                self.pool.stream_ended(&shared);
            }
        }
    }
}
