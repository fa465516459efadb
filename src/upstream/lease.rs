//! The right of one request to use a connection.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Response;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::timeout;

use super::Pool;
use super::connection::{Busy, Resting, Switched};
use super::streams::Shared;
use crate::transport::{
    self, AnswerBody, ConnectTimings, Http2Handle, Outflow, Outgoing, SerialConnection, SwitchedConnection, Unsent,
};

/// One request's place on an HTTP/2 connection, until both its answer and the request itself have ended.
struct Seat {
    shared: Rc<Shared>,
    pool: Rc<Pool>,
}

/// One request's right to a connection.
///
/// Unused, it gives the connection back when it is dropped. Used, it ends the exchange: an HTTP/1.1 connection is
/// reset, as nobody knows what still comes on it, and an HTTP/2 stream frees its place.
pub(super) struct ConnectionLease {
    pool: Rc<Pool>,
    carrier: Option<Carrier>,
    used: bool,
    /// What had been heard on the connection when the request was sent; `None` once it is answered.
    unheard_since: Option<u64>,
    /// Where the time of this connection's making went, if it was made just now. In a box: a lease is moved with every answer,
    /// and few are of a new connection.
    pub(super) made: Option<Box<ConnectTimings>>,
}

enum Carrier {
    Whole(Busy),
    /// The request was answered before its end. A task writes the rest of it, and beside it somebody may read the
    /// answer; nobody gives the connection back.
    Last(Rc<ConnectionUse>, AbortHandle),
    /// Beside it a task may write the rest of a request that was answered before its end.
    Stream(Rc<Seat>, Http2Handle, Option<AbortHandle>),
}

/// A connection with the last exchange that it carries.
struct ConnectionUse(RefCell<Busy>);

/// What is left of a request that was answered before its end.
trait Remainder {
    /// Ready when all of it went on, or that has become pointless.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// How many bytes of the request went on.
    fn written(&self) -> u64;

    /// Whether nobody reads the answer any more, or all of it was read.
    fn is_answered(&self) -> bool;
}

/// Writes the rest of a request. Gives up when the answer is over and for so long as an idle connection is kept nothing of
/// the rest went on: nobody else would notice, as the app may be gone.
async fn write_on(rest: impl Remainder, limit: Option<Duration>) {
    loop {
        let before = rest.written();
        let writing = poll_fn(|cx| rest.poll(cx));
        let Some(limit) = limit else {
            return writing.await;
        };
        if timeout(limit, writing).await.is_ok() || (rest.is_answered() && rest.written() == before) {
            return;
        }
    }
}

impl Remainder for Rc<ConnectionUse> {
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.borrow_mut().carried.poll_upload(cx)
    }

    fn written(&self) -> u64 {
        self.0.borrow().carried.uploaded()
    }

    fn is_answered(&self) -> bool {
        self.0.borrow().carried.is_over()
    }
}

/// The rest of a request on an HTTP/2 connection.
struct StreamRest {
    seat: Rc<Seat>,
    outflow: RefCell<Box<Outflow>>,
}

impl Remainder for StreamRest {
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.outflow.borrow_mut().poll(cx).map(drop)
    }

    fn written(&self) -> u64 {
        self.outflow.borrow().written()
    }

    fn is_answered(&self) -> bool {
        // Who reads the answer has the other one.
        Rc::strong_count(&self.seat) == 1
    }
}

impl Seat {
    fn take(pool: Rc<Pool>, shared: &Rc<Shared>) -> Rc<Self> {
        shared.join();
        Rc::new(Self { shared: Rc::clone(shared), pool })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.pool.stream_ended(&self.shared);
    }
}

impl ConnectionLease {
    pub(super) fn whole(pool: Rc<Pool>, connection: Busy, made: Option<Box<ConnectTimings>>) -> Self {
        Self::new(pool, Carrier::Whole(connection), made)
    }

    /// A stream on an HTTP/2 connection.
    pub(super) fn stream(pool: Rc<Pool>, shared: &Rc<Shared>) -> Self {
        let seat = Seat::take(Rc::clone(&pool), shared);
        Self::new(pool, Carrier::Stream(seat, shared.sender.clone(), None), None)
    }

    fn new(pool: Rc<Pool>, carrier: Carrier, made: Option<Box<ConnectTimings>>) -> Self {
        Self { pool, carrier: Some(carrier), used: false, unheard_since: None, made }
    }

    pub(super) async fn send(&mut self, outgoing: &mut Outgoing) -> Result<Response<AnswerBody>, Unsent> {
        self.used = true;
        // Invariant: only `end` and `drop` take the carrier, and nothing is sent after them.
        #[allow(clippy::expect_used)]
        match self.carrier.as_mut().expect("a lease that has not ended") {
            Carrier::Whole(connection) => poll_fn(|cx| connection.carried.poll_send(outgoing, cx)).await,
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
    pub(super) fn write_on(&mut self, answer: &mut AnswerBody) {
        if let Some(Carrier::Stream(seat, _, task)) = &mut self.carrier {
            let limit = self.pool.idle_timeout();
            let rest = answer.take_outflow().map(|outflow| {
                let rest = StreamRest { seat: Rc::clone(seat), outflow: RefCell::new(outflow) };
                spawn_local(write_on(rest, limit))
            });
            *task = rest.map(|rest| rest.abort_handle());
            return;
        }
        let early = |carrier: &mut Carrier| matches!(carrier, Carrier::Whole(busy) if busy.carried.is_uploading());
        let Some(Carrier::Whole(busy)) = self.carrier.take_if(early) else { return };
        let last = Rc::new(ConnectionUse(RefCell::new(busy)));
        let rest = spawn_local(write_on(Rc::clone(&last), self.pool.idle_timeout()));
        self.carrier = Some(Carrier::Last(last, rest.abort_handle()));
    }

    /// Shows its connection, if it carries nothing else.
    pub(super) fn with<T>(&self, look: impl FnOnce(Option<&SerialConnection>) -> T) -> T {
        match &self.carrier {
            Some(Carrier::Whole(connection)) => look(Some(&connection.carried)),
            Some(Carrier::Last(last, _)) => look(Some(&last.0.borrow().carried)),
            Some(Carrier::Stream(..)) | None => look(None),
        }
    }

    /// As [`ConnectionLease::with`], to read from it.
    pub(super) fn with_mut<T>(&mut self, read: impl FnOnce(Option<&mut SerialConnection>) -> T) -> T {
        match &mut self.carrier {
            Some(Carrier::Whole(connection)) => read(Some(&mut connection.carried)),
            Some(Carrier::Last(last, _)) => read(Some(&mut last.0.borrow_mut().carried)),
            Some(Carrier::Stream(..)) | None => read(None),
        }
    }

    /// The answer was read to its end: gives the connection back if another request may follow. Where the request is
    /// still on its way, it goes on and the connection is closed after it.
    pub(super) fn end(mut self) {
        match self.carrier.take() {
            Some(Carrier::Whole(busy)) => self.pool.exchange_ended(busy),
            Some(Carrier::Last(..) | Carrier::Stream(..)) | None => {}
        }
    }

    /// The answer was a 101: the connection, for what follows it.
    pub(super) fn into_upgraded(mut self) -> Option<UpgradedConnection> {
        let Some(Carrier::Whole(busy)) = self.carrier.take_if(|carrier| matches!(carrier, Carrier::Whole(_))) else {
            return None;
        };
        Some(UpgradedConnection::new(busy.into_switched()?, Rc::clone(&self.pool)))
    }

    /// What a new connection brought instead of an answer counts against the machine, if it is one of HTTP/1.1: a reset
    /// of a stream is an answer.
    pub(super) fn blames_address(&self, error: &transport::Error) {
        if let (Some(made), true) = (&self.made, self.is_http1()) {
            self.pool.upstream.was_let_down(made, error);
        }
    }

    /// Its connection, for what is no request.
    #[cfg(feature = "files")]
    pub(super) fn into_busy(mut self) -> Option<Busy> {
        match self.carrier.take()? {
            Carrier::Whole(busy) => Some(busy),
            Carrier::Last(..) | Carrier::Stream(..) => None,
        }
    }

    /// Whether it is one of HTTP/1.1.
    pub(super) fn is_http1(&self) -> bool {
        matches!(self.carrier, Some(Carrier::Whole(_)))
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

impl Drop for ConnectionLease {
    fn drop(&mut self) {
        match self.carrier.take() {
            None => {}
            #[cfg(feature = "files")]
            Some(Carrier::Whole(busy)) if self.used => self.pool.give_up(busy),
            #[cfg(not(feature = "files"))]
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
                    seat.shared.close_in_time();
                }
                if let Some(rest) = rest {
                    rest.abort();
                }
            }
        }
    }
}

/// A connection on which the service has switched to another protocol. Dropped before our side has ended it ends in a reset.
pub(crate) struct UpgradedConnection {
    /// `None` once it is dropped.
    connection: Option<Switched>,
    pool: Rc<Pool>,
}

impl UpgradedConnection {
    fn new(connection: Switched, pool: Rc<Pool>) -> Self {
        Self { connection: Some(connection), pool }
    }

    /// Ends in a reset when it is dropped, even where our side has ended before.
    pub(crate) fn reset_on_close(&self) {
        if let Some(connection) = &self.connection {
            connection.carried.reset_on_close();
        }
    }

    fn poll<T>(
        self: Pin<&mut Self>,
        poll: impl FnOnce(Pin<&mut SwitchedConnection>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut self.get_mut().connection {
            Some(connection) => poll(Pin::new(&mut connection.carried)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncRead for UpgradedConnection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll(|connection| connection.poll_read(cx, room))
    }
}

impl AsyncWrite for UpgradedConnection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(|connection| connection.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|connection| connection.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|connection| connection.poll_shutdown(cx))
    }
}

impl Drop for UpgradedConnection {
    fn drop(&mut self) {
        // First: its permit may be what the next one in the queue waits for.
        drop(self.connection.take());
        self.pool.connection_ended();
    }
}
