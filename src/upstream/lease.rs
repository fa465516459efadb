//! A connection, and the right of one request to use it.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;

use http::Response;
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{AbortHandle, spawn_local};

use super::Pool;
use crate::clock::Moment;
use crate::transport::{Connected, Multiplexed, Outgoing, Sender, Spent, Unsent};

/// An open connection whose bytes are moved by a task of its own.
pub(super) struct Connection {
    pub(super) sender: Sender,
    pub(super) born: Moment,
    driver: AbortHandle,
    _place: Rc<Place>,
}

/// A connection's permit and its place in the count: given up when both its user and its task have let go of it.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    open: Rc<Cell<usize>>,
}

/// An HTTP/2 connection and how many requests it carries.
pub(super) struct Shared {
    pub(super) connection: Connection,
    running: Cell<usize>,
    /// A request was given up on it while not a byte came: it may be dead, so nobody joins it any more.
    suspect: Cell<bool>,
    pub(super) idle_since: Cell<Moment>,
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
    Whole(Box<Connection>),
    Stream(Rc<Shared>, Multiplexed),
}

impl Connection {
    /// Starts the task that drives it.
    pub(super) fn start(connected: Connected, place: Place, born: Moment) -> Self {
        let place = Rc::new(place);
        let held = Rc::clone(&place);
        let driver = spawn_local(async move {
            connected.driver.await;
            drop(held);
        });
        Self { sender: connected.sender, born, driver: driver.abort_handle(), _place: place }
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
    pub(super) fn new(connection: Connection, now: Moment) -> Self {
        Self { connection, running: Cell::new(0), suspect: Cell::new(false), idle_since: Cell::new(now) }
    }

    /// Whether it may carry one more request.
    pub(super) fn has_room(&self) -> bool {
        !self.suspect.get() && self.running.get() < self.connection.sender.streams()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running.get() == 0
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.get()
    }
}

impl Lease {
    pub(super) fn whole(pool: Rc<Pool>, connection: Box<Connection>, made: Option<Spent>) -> Self {
        Self { pool, carrier: Some(Carrier::Whole(connection)), used: false, unheard_since: None, made }
    }

    /// A stream on an HTTP/2 connection; `None` if it is none.
    pub(super) fn stream(pool: Rc<Pool>, shared: &Rc<Shared>) -> Option<Self> {
        let sender = shared.connection.sender.share()?;
        shared.running.set(shared.running.get() + 1);
        let carrier = Some(Carrier::Stream(Rc::clone(shared), sender));
        Some(Self { pool, carrier, used: false, unheard_since: None, made: None })
    }

    pub(super) async fn send(&mut self, outgoing: Outgoing) -> Result<Response<Incoming>, Unsent> {
        self.used = true;
        // Invariant: only `end` and `drop` take the carrier, and nothing is sent after them.
        #[allow(clippy::expect_used)]
        match self.carrier.as_mut().expect("a lease that has not ended") {
            Carrier::Whole(connection) => connection.sender.send(outgoing).await,
            Carrier::Stream(_, sender) => {
                self.unheard_since = Some(sender.heard());
                let outcome = sender.send(outgoing).await;
                self.unheard_since = None;
                outcome
            }
        }
    }

    /// The answer was read to its end: gives the connection back, once it is ready for another request.
    pub(super) fn end(mut self) {
        let Some(Carrier::Whole(mut connection)) = self.carrier.take_if(|carrier| matches!(carrier, Carrier::Whole(_)))
        else {
            return;
        };
        let pool = Rc::clone(&self.pool);
        if connection.sender.is_ready() || connection.sender.is_closed() {
            pool.give_back(connection);
            return;
        }
        // The answer came before the request was all written.
        spawn_local(async move {
            if poll_fn(|cx| connection.sender.poll_ready(cx)).await.is_ok() {
                pool.give_back(connection);
            }
        });
    }

    /// The connection of a lease that nobody came to use; `None` if it is a stream.
    pub(super) fn unused(mut self) -> Option<Box<Connection>> {
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
            Some(Carrier::Whole(connection)) if self.used => connection.driver.abort(),
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
