//! Requests that ask for another protocol: they go over HTTP/1.1, whatever the service speaks else, and end the connection
//! as one of HTTP.
//!
//! Where the handshake may come to HTTP/2, a connection that offers HTTP/1.1 alone is made for such a request. It counts
//! among `pool.max_connections` as any other, and keeps the pauses after failures; it does not wait in the queue, as what
//! is made there for others is not what it wants.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout};

use super::connection::{Busy, Switched};
use super::lease::ConnectionLease;
use super::outage::Recovery;
use super::queue::WaitOutcome;
use super::{Choice, Error, Pool, Timing};
use crate::clock::Moment;
use crate::transport::{self, Protocol, Sender};

/// A connection on which the service has switched to another protocol. Dropped before both sides have ended it ends in a
/// reset.
pub(crate) struct UpgradedConnection {
    /// `None` once it is dropped.
    connection: Option<Switched>,
    pool: Rc<Pool>,
}

impl UpgradedConnection {
    pub(super) fn new(connection: Switched, pool: Rc<Pool>) -> Self {
        Self { connection: Some(connection), pool }
    }

    fn poll<T>(
        self: Pin<&mut Self>,
        poll: impl FnOnce(Pin<&mut transport::SwitchedConnection>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut self.get_mut().connection {
            Some(connection) => poll(Pin::new(&mut connection.http)),
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

impl Pool {
    /// A connection that speaks HTTP/1.1.
    pub(super) async fn lease_http1(
        self: &Rc<Self>,
        choice: Choice,
        timing: &Cell<Timing>,
    ) -> WaitOutcome<ConnectionLease> {
        let certain = self.upstream.connector.protocol();
        if certain == Some(Protocol::Http2) {
            return Err(transport::Error::UpgradeForbidden.into());
        }
        if certain == Some(Protocol::Http1) || self.queue.borrow().speaks_http1() {
            let lease = self.lease(choice, timing).await?;
            if lease.is_whole() {
                return Ok(lease);
            }
            // Since the last handshake the service has learnt HTTP/2: the stream is given back.
        }
        let idle = if choice == Choice::Any { self.idle.borrow_mut().take() } else { None };
        if let Some(idle) = idle {
            return Ok(ConnectionLease::whole(Rc::clone(self), idle.rouse(), None));
        }
        let began = Instant::now();
        let dialed = self.dial_http1().await;
        let before = timing.get();
        timing.set(Timing { waited: before.waited + began.elapsed(), ..before });
        let lease = dialed?;
        timing.set(Timing { connected: lease.made.as_deref().copied(), ..timing.get() });
        self.count();
        Ok(lease)
    }

    async fn dial_http1(self: &Rc<Self>) -> WaitOutcome<ConnectionLease> {
        // A permit first, as for every dial; then the pause, so that whoever waits for one does not wait for the other too.
        let permit = self.permit().await?;
        let pause = self.queue.borrow().pauses_until(Moment::now());
        if let Some(due) = pause {
            sleep(due.since(Moment::now())).await;
        }
        let ticket = self.queue.borrow_mut().draw();
        match self.upstream.connector.over_http1().connect().await {
            Ok(connected) => match connected.sender {
                Sender::Http1(http) => {
                    let busy = Busy::new(http, self.place(permit, connected.spent), Moment::now());
                    Ok(ConnectionLease::whole(Rc::clone(self), busy, Some(Box::new(connected.spent))))
                }
                // It was offered nothing but HTTP/1.1.
                Sender::Http2(_) => Err(transport::Error::UpgradeForbidden.into()),
            },
            Err(error) => {
                drop(permit);
                self.queue.borrow_mut().failed(ticket, &error, Recovery::Handshake, Moment::now());
                Err(error.into())
            }
        }
    }

    /// The right to one more connection, waited for as long as for a connection.
    async fn permit(&self) -> WaitOutcome<OwnedSemaphorePermit> {
        if let Some(permit) = self.upstream.permits.take() {
            return Ok(permit);
        }
        let permit = self.upstream.permits.wait();
        match self.upstream.connector.connect_limit() {
            Some(limit) => timeout(limit, permit)
                .await
                .map_err(|_| Error::Overloaded { limit: self.upstream.pool.max_connections }),
            None => Ok(permit.await),
        }
    }
}
