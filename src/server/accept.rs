//! Taking connections off a listening socket, as many at a time as `limits.connections` allows.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::net;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use super::listener::{self, Socket};
use super::stream::{Detached, Stream};
use crate::proxy::Peer;

/// A connection that was accepted on this thread.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) stream: Stream,
    pub(crate) peer: Peer,
    /// Its place among `limits.connections`.
    pub(crate) place: Place,
}

/// A connection on its way to another thread: no runtime watches it.
#[derive(Debug)]
pub(crate) struct HandedOver {
    socket: Detached,
    peer: Peer,
    place: Place,
}

impl Accepted {
    /// Takes it from the runtime of this thread.
    ///
    /// # Errors
    /// When the runtime does not let go of it: the connection is lost then.
    pub(crate) fn hand_over(self) -> io::Result<HandedOver> {
        Ok(HandedOver { socket: self.stream.detach()?, peer: self.peer, place: self.place })
    }
}

impl HandedOver {
    /// Gives it to the runtime of this thread.
    ///
    /// # Errors
    /// When the runtime can't watch it: the connection is lost then.
    pub(crate) fn receive(self) -> io::Result<Accepted> {
        Ok(Accepted { stream: Stream::attach(self.socket)?, peer: self.peer, place: self.place })
    }
}

/// How many connections may be open; a reload may change it.
#[derive(Debug)]
pub(crate) struct Gate {
    places: Arc<Semaphore>,
    size: Mutex<Size>,
    given_back: Notify,
}

#[derive(Debug)]
struct Size {
    /// Places that there are, taken or free.
    places: usize,
    /// Places that there should be: less, while connections are open over a limit that was lowered.
    wanted: usize,
}

/// The place of an open connection among `limits.connections`.
#[derive(Debug)]
pub(crate) struct Place {
    /// Here until it is dropped.
    permit: Option<OwnedSemaphorePermit>,
    gate: Arc<Gate>,
}

impl Gate {
    pub(crate) fn new(capacity: usize) -> Self {
        let size = Mutex::new(Size { places: capacity, wanted: capacity });
        Self { places: Arc::new(Semaphore::new(capacity)), size, given_back: Notify::new() }
    }

    /// Connections over a lowered limit are not closed: their places are taken away as they come free.
    pub(crate) fn resize(&self, wanted: usize) {
        let mut size = self.size();
        size.wanted = wanted;
        if wanted > size.places {
            self.places.add_permits(wanted - size.places);
            size.places = wanted;
        } else {
            size.places -= self.places.forget_permits(size.places - wanted);
        }
    }

    /// Connections that are open now.
    pub(crate) fn open(&self) -> usize {
        self.size().places.saturating_sub(self.places.available_permits())
    }

    /// Resolves once no connection is open.
    pub(crate) async fn emptied(&self) {
        loop {
            let mut given_back = pin!(self.given_back.notified());
            // Registered before looking: a place that is given back between the two is not missed.
            given_back.as_mut().enable();
            if self.open() == 0 {
                return;
            }
            given_back.await;
        }
    }

    async fn place(self: &Arc<Self>) -> Option<Place> {
        let permit = Arc::clone(&self.places).acquire_owned().await.ok()?;
        Some(Place { permit: Some(permit), gate: Arc::clone(self) })
    }

    fn size(&self) -> MutexGuard<'_, Size> {
        self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        let mut size = self.gate.size();
        if size.places > size.wanted {
            size.places -= 1;
            permit.forget();
        } else {
            drop(permit);
        }
        self.gate.given_back.notify_waiters();
    }
}

/// Accepts from `socket` until `stop` says so, then what is left in its queue.
pub(crate) async fn run(
    socket: Arc<Socket>,
    gate: Arc<Gate>,
    mut stop: watch::Receiver<bool>,
    serve: impl Fn(Accepted),
) {
    let listener = match Listener::watch(&socket) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a listening socket can't be watched"),
    };
    loop {
        let Some(place) = gate.place().await else { return };
        let next = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => None,
            next = poll_fn(|cx| listener.poll_accept(cx)) => Some(next),
        };
        match next {
            Some(Ok((stream, peer))) => serve(Accepted { stream, peer, place }),
            Some(Err(error)) => pause_after(&error, &socket.address()).await,
            None => return empty_queue(&listener, place, &gate, serve).await,
        }
    }
}

/// The clients in the queue were told that they are connected.
async fn empty_queue(listener: &Listener, mut place: Place, gate: &Arc<Gate>, serve: impl Fn(Accepted)) {
    let accept_now = || poll_fn(|cx| Poll::Ready(listener.poll_accept(cx)));
    // No longer than the queue is: a client that keeps connecting must not keep it open.
    for _ in 0..listener::BACKLOG {
        let Poll::Ready(Ok((stream, peer))) = accept_now().await else { return };
        serve(Accepted { stream, peer, place });
        match gate.place().await {
            Some(next) => place = next,
            None => return,
        }
    }
}

/// A listening socket that the runtime of this thread watches.
enum Listener {
    Tcp(net::TcpListener),
    Unix(net::UnixListener),
}

impl Listener {
    fn watch(socket: &Socket) -> io::Result<Self> {
        Ok(match socket {
            Socket::Tcp(listener) => Self::Tcp(net::TcpListener::from_std(listener.try_clone()?)?),
            Socket::Unix(listener, _) => Self::Unix(net::UnixListener::from_std(listener.try_clone()?)?),
        })
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, Peer)>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = ready!(listener.poll_accept(cx))?;
                // Parts of a streamed answer must not wait for the acknowledgement of the part before.
                stream.set_nodelay(true)?;
                Poll::Ready(Ok((Stream::Tcp(stream), Peer::Tcp(peer))))
            }
            Self::Unix(listener) => {
                let (stream, _) = ready!(listener.poll_accept(cx))?;
                let uid = stream.peer_cred()?.uid();
                Poll::Ready(Ok((Stream::Unix(stream), Peer::Unix { uid })))
            }
        }
    }
}

/// A connection that is gone already costs nothing; a full descriptor table must not become a busy loop.
async fn pause_after(error: &io::Error, address: &str) {
    let gone = [ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset, ErrorKind::Interrupted];
    if gone.contains(&error.kind()) {
        return;
    }
    tracing::warn!(%error, address, "can't accept a connection; trying again");
    tokio::time::sleep(PAUSE).await;
}

const PAUSE: Duration = Duration::from_millis(100);
