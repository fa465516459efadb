//! HTTP/2, a client of our own: many requests on one connection, all of whose state is of one thread.
//!
//! Promises that an answer is whole only if its stream was ended (END_STREAM), whatever else the service says; that what
//! is wrong with one stream ends that stream alone; that a slow app holds nobody else up, and no more memory than two windows
//! and a few buffers; and that a connection which nobody uses any more ends soon, even if the service has stopped reading.
//!
//! ```text
//!  Http2Handle ─► RequestStream ─► Outflow ───────────────┐         ┌─ hpack (heads) · frames · flow · flood
//!   (a clone for        └────────► Inflow ─────┐           ▼         │
//!    each request)                             └──► Connection ──► Multiplexer ──► streams: what each waits for
//!  driver ──────────────────────────────────────────┘  (socket,      (pure)
//!   (moves the bytes where no request does)              wakers)
//! ```
//!
//! What is above the multiplexer moves bytes and wakes tasks, what is below it knows of neither.

mod answer;
mod backlog;
mod capacity;
mod connection;
mod driver;
mod ending;
mod flood;
mod flow;
mod frames;
mod hpack;
mod inflow;
mod multiplexer;
mod outbox;
mod outflow;
mod received_frames;
mod request;
mod socket;
mod streams;
#[cfg(test)]
mod tests;
#[cfg(any(test, feature = "bench"))]
pub(crate) mod trial;
mod watch;

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;

use http::Response;

pub(crate) use self::ending::StreamEnding;
pub(crate) use self::inflow::Inflow;
pub(crate) use self::outflow::Outflow;

use self::connection::Connection;
use self::driver::DriverSeat;
use self::request::RequestStream;
use super::error::{Error, Unsent};
use super::http::{AnswerBody, ConnectionDriver};
use super::wire::Wire;
use super::{DialTarget, Outgoing};
use crate::raw_query::first_spelt;

/// An HTTP/2 connection.
#[derive(Clone)]
pub(crate) struct Http2Handle(Rc<Leash>);

/// Gone with the last handle: then the driver comes to an end.
struct Leash(Rc<RefCell<Connection>>);

impl Drop for Leash {
    fn drop(&mut self) {
        self.0.borrow_mut().let_go_of_all();
    }
}

/// How many requests an HTTP/2 connection may carry. It does not keep the connection open.
pub(crate) struct StreamGrowth {
    connection: Rc<RefCell<Connection>>,
    seen: u32,
}

impl StreamGrowth {
    /// Resolves when they are more than before: with the service's first settings, and when later ones allow more. `false`:
    /// it carries no more requests, and never will.
    pub(crate) async fn next(&mut self) -> bool {
        poll_fn(|cx| self.connection.borrow_mut().poll_growth(&mut self.seen, cx)).await
    }
}

/// Begins to speak HTTP/2. Nothing is written before the first request is, or the driver has its first turn.
pub(super) fn handshake(wire: Wire, endpoint: &DialTarget) -> (Http2Handle, ConnectionDriver) {
    let connection = Rc::new(RefCell::new(Connection::new(wire)));
    let driver = driver::drive(DriverSeat(Rc::clone(&connection)), endpoint.address(), endpoint.told.clone());
    (Http2Handle(Rc::new(Leash(connection))), Box::pin(driver))
}

impl Http2Handle {
    /// Sends one request on a stream of its own; see [`Sender::send`](super::Sender::send).
    pub(crate) async fn send(&mut self, outgoing: &mut Outgoing) -> Result<Response<AnswerBody>, Unsent> {
        // What HTTP/2 is spoken with takes no such byte, and to write another would be another target.
        if let Some((byte, _)) = first_spelt(outgoing.target.as_str()) {
            return Err(Unsent::finally(Error::Target { byte }));
        }
        // No `100` of the service is waited for: `Expect` is not sent.
        if let Some(gate) = outgoing.body.gate() {
            gate.open();
        }
        let mut request = RequestStream::new(&self.0.0);
        poll_fn(|cx| request.poll(outgoing, cx)).await
    }

    /// Whether no other request may be sent on it: it ended, or the service wants no more.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.0.borrow().multiplexer.refusal().is_some()
    }

    /// How many requests it may carry at a time: what the service's settings allow, and our own window has room for; one until
    /// the service has said how many.
    pub(crate) fn streams(&self) -> usize {
        self.0.0.borrow().multiplexer.capacity.most()
    }

    /// Tells when that becomes more.
    pub(crate) fn growth(&self) -> StreamGrowth {
        StreamGrowth { connection: Rc::clone(&self.0.0), seen: self.0.0.borrow().multiplexer.capacity.growths() }
    }

    /// How many bytes went.
    #[cfg(test)]
    pub(crate) fn sent(&self) -> u64 {
        self.0.0.borrow().multiplexer.outbox.written()
    }

    /// How many bytes the service has sent on this connection: none since a request was sent may mean that it is gone.
    pub(crate) fn heard(&self) -> u64 {
        self.0.0.borrow().watch.heard
    }
}
