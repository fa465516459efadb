//! Taking connections off a listening socket, as many at a time as `limits.connections` allows.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::net;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::connection::ThreadShared;
use super::listener::{self, ListeningSocket};
use super::stream::{ClientStream, Detached};
use super::vital::{Due, VitalEnd};
use super::worker::RunningWorker;
use crate::deadline::TICK;
use crate::locked::locked;
use crate::proxy::Peer;

/// A connection that was accepted on this thread.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) stream: ClientStream,
    pub(crate) peer: Peer,
    /// Its place among `limits.connections`.
    pub(crate) place: ConnectionSlot,
}

/// A connection on its way to another thread: no runtime watches it.
#[derive(Debug)]
pub(crate) struct HandedOver {
    socket: Detached,
    peer: Peer,
    place: ConnectionSlot,
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
        Ok(Accepted { stream: ClientStream::attach(self.socket)?, peer: self.peer, place: self.place })
    }
}

/// How many connections may be open; a reload may change it.
#[derive(Debug)]
pub(crate) struct ConnectionLimit {
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
pub(crate) struct ConnectionSlot {
    /// Here until it is dropped.
    permit: Option<OwnedSemaphorePermit>,
    gate: Arc<ConnectionLimit>,
}

impl ConnectionLimit {
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
        let mut limit = locked(&self.limit);
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

    /// A place, once one is free.
    async fn place(self: &Arc<Self>) -> ConnectionSlot {
        // Invariant: nothing ever closes the semaphore.
        #[allow(clippy::expect_used)]
        self.taken_by(Arc::clone(&self.places).acquire_owned().await.expect("an open semaphore"))
    }

    fn place_now(self: &Arc<Self>) -> Option<ConnectionSlot> {
        Arc::clone(&self.places).try_acquire_owned().ok().map(|permit| self.taken_by(permit))
    }

    fn taken_by(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> ConnectionSlot {
        self.taken.fetch_add(1, Ordering::AcqRel);
        ConnectionSlot { permit: Some(permit), gate: Arc::clone(self) }
    }

    /// Whether one of the places in excess was left, to be taken away or spared by the caller.
    fn takes_one_away(&self) -> bool {
        // A plain load most of the time.
        self.excess.load(Ordering::Acquire) > 0
            && self.excess.fetch_update(Ordering::AcqRel, Ordering::Acquire, |excess| excess.checked_sub(1)).is_ok()
    }
}

impl Drop for ConnectionSlot {
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

/// Where one port's connections are carried: whoever wants room for another asks here.
#[derive(Clone)]
pub(crate) enum Carriers {
    /// On this thread.
    Here(Rc<ThreadShared>),
    Workers(Rc<[RunningWorker]>),
}

impl Carriers {
    /// Ends the connection that has been silent for longest, so that its place comes free in a moment. Nothing happens if
    /// each of them has something to say, or to hear.
    async fn dismiss_longest_silent(&self) {
        match self {
            Self::Here(shared) => {
                shared.sweep.dismiss_longest_silent();
            }
            Self::Workers(workers) => {
                // All are asked before the first answer is waited for, and for no longer than a tick in all: one that
                // hangs says nothing, and the places of the others are as good.
                let turning = workers.iter().filter(|worker| !worker.hangs());
                let asked: Vec<_> = turning.map(|worker| (worker.number(), worker.longest_silence())).collect();
                let deadline = Instant::now() + TICK;
                let mut longest = None;
                for (number, silence) in asked {
                    let silence = timeout_at(deadline, silence).await.ok().flatten();
                    longest = longest.max(silence.map(|ticks| (ticks, number)));
                }
                let quietest = longest.and_then(|(_, number)| workers.get(number));
                quietest.into_iter().for_each(RunningWorker::dismiss_longest_silent);
            }
        }
    }
}

/// Whether one role's connections are still taken off a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    No,
    /// The socket closes: those in its queue were told that they are connected.
    Closing,
    /// The socket stays open, and what is in its queue is another's.
    HandedOn,
}

/// Accepts from `socket` until `stop` says so, then what is left in its queue. Told of as [`NAME`].
pub(crate) async fn run(
    socket: Arc<ListeningSocket>,
    gate: Arc<ConnectionLimit>,
    mut stop: watch::Receiver<Stop>,
    carriers: Carriers,
    serve: impl Fn(Accepted),
) -> VitalEnd {
    let listener =
        Listener::watch(&socket).map_err(|error| format!("{} can't be watched: {error}", socket.address()))?;
    loop {
        let next = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop != Stop::No) => break,
            next = poll_fn(|cx| listener.poll_accept(cx)) => next,
        };
        match next {
            // A place is for a connection, not for the wait for one: another listener may have more to do. With none
            // free this one waits here, and all others in the backlog.
            Ok((stream, peer)) => serve(Accepted { stream, peer, place: place_for(&gate, &carriers).await }),
            Err(error) => pause_after(&error, &socket.address()).await,
        }
    }
    if *stop.borrow() != Stop::HandedOn {
        let serve = async |(stream, peer)| serve(Accepted { stream, peer, place: place_for(&gate, &carriers).await });
        let address = socket.address();
        empty_queue(|| accept_now(&socket), &address, &serve).await;
        // Who is in the middle of a handshake with it is in no queue yet. Where another socket has taken its place, these are
        // the last that come here.
        sleep(LAST_HANDSHAKES).await;
        empty_queue(|| accept_now(&socket), &address, &serve).await;
    }
    Ok(Due)
}

/// The clients in the queue were told that they are connected. The system is asked (`accept`), and not the runtime, which
/// knows only of those that came before it last looked.
async fn empty_queue<C>(accept: impl Fn() -> io::Result<C>, address: &str, serve: &impl AsyncFn(C)) {
    // No longer than the queue is: a client that keeps connecting must not keep it open.
    for _ in 0..listener::BACKLOG {
        match accept() {
            Ok(accepted) => serve(accepted).await,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            // Of one connection, or of a moment: those behind it would be reset with the socket.
            Err(error) => pause_after(&error, address).await,
        }
    }
}

fn accept_now(socket: &ListeningSocket) -> io::Result<(ClientStream, Peer)> {
    match socket {
        ListeningSocket::Tcp(listener) => {
            let (stream, peer) = listener.accept()?;
            stream.set_nonblocking(true)?;
            of_tcp(net::TcpStream::from_std(stream)?, peer)
        }
        ListeningSocket::Unix(listener, _) => {
            let (stream, _) = listener.accept()?;
            stream.set_nonblocking(true)?;
            of_unix(net::UnixStream::from_std(stream)?)
        }
    }
}

fn of_tcp(stream: net::TcpStream, peer: SocketAddr) -> io::Result<(ClientStream, Peer)> {
    // Parts of a streamed answer must not wait for the acknowledgement of the part before.
    stream.set_nodelay(true)?;
    Ok((ClientStream::Tcp(stream), Peer::Tcp(peer)))
}

fn of_unix(stream: net::UnixStream) -> io::Result<(ClientStream, Peer)> {
    let uid = stream.peer_cred()?.uid();
    Ok((ClientStream::Unix(stream), Peer::Unix { uid }))
}

/// A place, the first that is free: whoever is silent is no reason to wait.
pub(super) async fn place_for(gate: &Arc<ConnectionLimit>, carriers: &Carriers) -> ConnectionSlot {
    loop {
        if let Some(place) = gate.place_now() {
            return place;
        }
        // One that speaks now may fall silent.
        let dismissed = async {
            carriers.dismiss_longest_silent().await;
            sleep(TICK).await;
        };
        tokio::select! {
            biased;
            // A place that comes free of its own accord ends the look for one, too.
            place = gate.place() => return place,
            () = dismissed => {}
        }
    }
}

/// A listening socket that the runtime of this thread watches.
enum Listener {
    Tcp(net::TcpListener),
    Unix(net::UnixListener),
}

impl Listener {
    fn watch(socket: &ListeningSocket) -> io::Result<Self> {
        Ok(match socket {
            ListeningSocket::Tcp(listener) => Self::Tcp(net::TcpListener::from_std(listener.try_clone()?)?),
            ListeningSocket::Unix(listener, _) => Self::Unix(net::UnixListener::from_std(listener.try_clone()?)?),
        })
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(ClientStream, Peer)>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = ready!(listener.poll_accept(cx))?;
                Poll::Ready(of_tcp(stream, peer))
            }
            Self::Unix(listener) => {
                let (stream, _) = ready!(listener.poll_accept(cx))?;
                Poll::Ready(of_unix(stream))
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
    sleep(PAUSE).await;
}

/// What it is called where its end is told of.
pub(crate) const NAME: &str = "an accepting loop";
const PAUSE: Duration = Duration::from_millis(100);
/// Longer than one takes on this machine, or on one beside it.
const LAST_HANDSHAKES: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::TcpStream;

    use super::*;
    use crate::config::ListenAddress;

    /// How many of three who have connected are served by a loop that is stopped before it has begun.
    async fn served(stop: Stop, socket: &Arc<ListeningSocket>) -> usize {
        let (_stop, stopped) = watch::channel(stop);
        let (gate, here) = (Arc::new(ConnectionLimit::new(10)), Carriers::Here(Rc::default()));
        let served = Cell::new(0);
        let ended = run(Arc::clone(socket), gate, stopped, here, |_| served.set(served.get() + 1)).await;
        assert_eq!(ended, Ok(Due));
        served.get()
    }

    #[tokio::test(flavor = "local")]
    async fn who_is_in_the_queue_is_served_though_the_runtime_has_not_heard_of_it_unless_another_is_there_for_it() {
        let any = ListenAddress::Tcp(([127, 0, 0, 1], 0).into());
        let sockets = listener::bind(&any, 0o600, &[]).unwrap();
        let [socket] = &sockets[..] else { panic!("{sockets:?}") };
        let _clients: Vec<_> = (0..3).map(|_| TcpStream::connect(socket.address()).unwrap()).collect();

        assert_eq!(served(Stop::HandedOn, socket).await, 0);
        assert_eq!(served(Stop::Closing, socket).await, 3);
    }

    #[tokio::test]
    async fn a_connection_that_is_gone_and_a_full_table_keep_nobody_in_the_queue_from_being_served() {
        let error = |number| Err(io::Error::from_raw_os_error(number));
        let queue = Cell::new(vec![Ok("last"), error(libc::EMFILE), Ok("first"), error(libc::ECONNABORTED)]);
        let accept = || {
            let mut rest = queue.take();
            let next = rest.pop().unwrap_or_else(|| error(libc::EAGAIN));
            queue.set(rest);
            next
        };
        let served = Cell::new(Vec::new());

        empty_queue(accept, "the test's", &async |client| served.set([served.take(), vec![client]].concat())).await;

        assert_eq!(served.take(), ["first", "last"]);
    }

    fn has_room(gate: &Arc<ConnectionLimit>) -> bool {
        gate.place_now().is_some()
    }

    #[tokio::test]
    async fn places_over_a_lowered_limit_go_as_they_come_free() {
        let gate = Arc::new(ConnectionLimit::new(3));
        let mut places = vec![gate.place().await, gate.place().await, gate.place().await];

        gate.resize(1);

        for _ in 0..2 {
            places.pop();
            assert!(!has_room(&gate));
        }
        places.pop();
        assert!(has_room(&gate));
        assert_eq!(gate.open(), 0);
    }

    #[tokio::test]
    async fn a_limit_that_is_raised_again_spares_what_was_to_go() {
        let gate = Arc::new(ConnectionLimit::new(3));
        let mut places = vec![gate.place().await, gate.place().await, gate.place().await];

        gate.resize(1);
        gate.resize(4);

        places.push(gate.place_now().unwrap());
        assert!(!has_room(&gate));
        assert_eq!(gate.open(), 4);
    }

    #[tokio::test]
    async fn the_last_place_that_is_given_back_is_heard_of() {
        let gate = Arc::new(ConnectionLimit::new(3));
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
