//! Taking connections off a listening socket, as many at a time as `limits.connections` allows.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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
    /// As it was last set; locked while it changes, and never for a connection.
    limit: Mutex<usize>,
    /// Places to take away as they come free: connections are open over a limit that was lowered.
    excess: AtomicUsize,
    taken: AtomicUsize,
    emptied: Notify,
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
        Self {
            places: Arc::new(Semaphore::new(capacity)),
            limit: Mutex::new(capacity),
            excess: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            emptied: Notify::new(),
        }
    }

    /// Connections over a lowered limit are not closed: their places are taken away as they come free.
    pub(crate) fn resize(&self, wanted: usize) {
        let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        let (more, fewer) = (wanted.saturating_sub(*limit), limit.saturating_sub(wanted));
        let spared = (0..more).take_while(|_| self.takes_one_away()).count();
        self.places.add_permits(more - spared);
        // A place that comes free between these two is taken away when it comes free the next time.
        let free = self.places.forget_permits(fewer);
        self.excess.fetch_add(fewer - free, Ordering::AcqRel);
        *limit = wanted;
    }

    /// Connections that are open now.
    pub(crate) fn open(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// Resolves once no connection is open.
    pub(crate) async fn emptied(&self) {
        loop {
            let mut emptied = pin!(self.emptied.notified());
            // Registered before looking: a place that is given back between the two is not missed.
            emptied.as_mut().enable();
            if self.open() == 0 {
                return;
            }
            emptied.await;
        }
    }

    async fn place(self: &Arc<Self>) -> Option<Place> {
        let permit = Arc::clone(&self.places).acquire_owned().await.ok()?;
        self.taken.fetch_add(1, Ordering::AcqRel);
        Some(Place { permit: Some(permit), gate: Arc::clone(self) })
    }

    /// Whether one of the places in excess was left, to be taken away or spared by the caller.
    fn takes_one_away(&self) -> bool {
        // A plain load most of the time.
        self.excess.load(Ordering::Acquire) > 0
            && self.excess.fetch_update(Ordering::AcqRel, Ordering::Acquire, |excess| excess.checked_sub(1)).is_ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        if self.gate.takes_one_away() {
            permit.forget();
        } else {
            drop(permit);
        }
        // Only the last one has news for `emptied`, which costs a lock.
        if self.gate.taken.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.gate.emptied.notify_waiters();
        }
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

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    async fn has_room(gate: &Arc<Gate>) -> bool {
        // The semaphore answers at the first poll where it has a place.
        timeout(Duration::ZERO, gate.place()).await.is_ok()
    }

    #[tokio::test]
    async fn places_over_a_lowered_limit_go_as_they_come_free() {
        let gate = Arc::new(Gate::new(3));
        let mut places = vec![gate.place().await, gate.place().await, gate.place().await];

        gate.resize(1);

        for _ in 0..2 {
            places.pop();
            assert!(!has_room(&gate).await);
        }
        places.pop();
        assert!(has_room(&gate).await);
        assert_eq!(gate.open(), 0);
    }

    #[tokio::test]
    async fn a_limit_that_is_raised_again_spares_what_was_to_go() {
        let gate = Arc::new(Gate::new(3));
        let mut places = vec![gate.place().await, gate.place().await, gate.place().await];

        gate.resize(1);
        gate.resize(4);

        places.push(timeout(Duration::ZERO, gate.place()).await.unwrap());
        assert!(!has_room(&gate).await);
        assert_eq!(gate.open(), 4);
    }

    #[tokio::test]
    async fn the_last_place_that_is_given_back_is_heard_of() {
        let gate = Arc::new(Gate::new(3));
        let places = [gate.place().await, gate.place().await];
        let emptied = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.emptied().await }
        });

        for place in places {
            assert!(!emptied.is_finished());
            drop(place);
            tokio::task::yield_now().await;
        }

        emptied.await.unwrap();
    }
}
