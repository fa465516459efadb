//! Requests that ask for another protocol: they go over HTTP/1.1, whatever the service speaks else, and end the connection
//! as one of HTTP.
//!
//! Where the handshake may come to HTTP/2, a connection that offers HTTP/1.1 alone is made for such a request. It counts
//! among `pool.max_connections` as any other, and keeps the pauses after failures; it does not wait in the queue, as what
//! is made there for others is not what it wants.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout};

use super::connection::Busy;
use super::lease::ConnectionLease;
use super::outage::Recovery;
use super::queue::WaitOutcome;
use super::{Choice, Error, Pool, Timing};
use crate::clock::Moment;
use crate::transport::{self, Protocol, Sender};

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
