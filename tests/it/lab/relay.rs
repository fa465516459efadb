//! A way to a server that can be cut, at a byte: it is reached at an address of its own, at the server's ports.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Where the ways begin; they end at 127.0.0.1.
pub const HOST: &str = "127.0.0.2";

/// Ends, with all connections that it carries, when it is dropped.
pub struct Relay {
    ways: Arc<Ways>,
    _listening: JoinSet<()>,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToServer,
    ToClient,
}

/// An end of connections.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    pub direction: Direction,
    /// How many bytes still pass in that direction.
    pub after: u64,
    /// Whether all connections end, or the one alone on which the byte would have come.
    pub all: bool,
    /// Whether they end by a reset.
    pub hard: bool,
}

struct Ways {
    state: Mutex<State>,
    /// Told where all connections end: whether by a reset.
    end: watch::Sender<bool>,
    opened: AtomicUsize,
    /// Closed before a byte of them has passed.
    refusing: AtomicUsize,
    carried: AtomicUsize,
    /// Whether nothing passes, though nothing ends.
    held: watch::Sender<bool>,
    /// How long each piece of a few bytes takes.
    slowness: watch::Sender<Duration>,
}

#[derive(Default)]
struct State {
    cut: Option<Cut>,
    passed: [u64; 2],
}

/// A connection is over, and how.
struct Over {
    hard: bool,
}

impl Relay {
    pub async fn start(ports: RangeInclusive<u16>) -> Self {
        let ways = Ways {
            state: Mutex::default(),
            end: watch::Sender::new(false),
            opened: AtomicUsize::new(0),
            refusing: AtomicUsize::new(0),
            carried: AtomicUsize::new(0),
            held: watch::Sender::new(false),
            slowness: watch::Sender::new(Duration::ZERO),
        };
        let (ways, mut listening) = (Arc::new(ways), JoinSet::new());
        for port in ports {
            let listener = TcpListener::bind((HOST, port)).await.unwrap();
            listening.spawn(listen(listener, port, ways.clone()));
        }
        Self { ways, _listening: listening }
    }

    /// Once; counts from now.
    pub fn cut(&self, cut: Cut) {
        *self.ways.state() = State { cut: Some(cut), passed: [0; 2] };
    }

    /// Nothing is cut any more. How many bytes have passed since the last time, to the server and to the client.
    pub fn mend(&self) -> [u64; 2] {
        std::mem::take(&mut *self.ways.state()).passed
    }

    /// Whether what was to be cut is cut.
    pub fn has_cut(&self) -> bool {
        self.ways.state().cut.is_none()
    }

    /// The next connections, so many, are closed at once.
    pub fn refuse(&self, number: usize) {
        self.ways.refusing.store(number, Ordering::Relaxed);
    }

    /// Nothing passes any more, or again.
    pub fn hold(&self, holds: bool) {
        self.ways.held.send_replace(holds);
    }

    /// Each piece of a few bytes takes so long from now on.
    pub fn slow_down(&self, pause: Duration) {
        self.ways.slowness.send_replace(pause);
    }

    /// How many connections are open.
    pub fn carried(&self) -> usize {
        self.ways.carried.load(Ordering::Relaxed)
    }

    /// How many connections have come, those that were closed at once among them.
    pub fn opened(&self) -> usize {
        self.ways.opened.load(Ordering::Relaxed)
    }
}

impl Ways {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// How many of these bytes pass, and the cut that comes behind them.
    fn pass(&self, direction: Direction, length: usize) -> (usize, Option<Cut>) {
        let mut state = self.state();
        let passed = &mut state.passed[direction as usize];
        *passed += length as u64;
        let beyond = *passed;
        match state.cut {
            Some(cut) if cut.direction == direction && beyond > cut.after => {
                state.cut = None;
                (length - usize::try_from(beyond - cut.after).unwrap(), Some(cut))
            }
            _ => (length, None),
        }
    }
}

async fn listen(listener: TcpListener, port: u16, ways: Arc<Ways>) {
    let mut carried = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        ways.opened.fetch_add(1, Ordering::Relaxed);
        let closes = |left: usize| left.checked_sub(1);
        if ways.refusing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, closes).is_err() {
            carried.spawn(carry(near, port, ways.clone()));
        }
    }
}

async fn carry(mut near: TcpStream, port: u16, ways: Arc<Ways>) {
    let _counted = Counted::new(&ways.carried);
    let Ok(mut far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
    for stream in [&near, &far] {
        stream.set_nodelay(true).unwrap();
    }
    let mut end = ways.end.subscribe();
    let over = {
        let ((near_read, near_write), (far_read, far_write)) = (near.split(), far.split());
        let both = async {
            tokio::try_join!(
                pump(&ways, Direction::ToServer, near_read, far_write),
                pump(&ways, Direction::ToClient, far_read, near_write)
            )
        };
        tokio::select! {
            both = both => both.err().unwrap_or(Over { hard: false }),
            _ = end.changed() => Over { hard: *end.borrow() },
        }
    };
    if over.hard {
        // It may be over already.
        let _gone = (near.set_zero_linger(), far.set_zero_linger());
    }
}

/// A connection as long as it is carried.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(number: &'a AtomicUsize) -> Self {
        number.fetch_add(1, Ordering::Relaxed);
        Self(number)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn pump(ways: &Ways, direction: Direction, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Result<(), Over> {
    let (mut buffer, mut held) = (vec![0; 16 * 1024], ways.held.subscribe());
    loop {
        let pause = *ways.slowness.borrow();
        let most = if pause.is_zero() { buffer.len() } else { 4096 };
        tokio::time::sleep(pause).await; // a slow way, not a wait for something
        let read = from.read(&mut buffer[..most]).await.map_err(|_| Over { hard: true })?;
        drop(held.wait_for(|held| !held).await);
        if read == 0 {
            return to.shutdown().await.map_err(|_| Over { hard: true });
        }
        let (passing, cut) = ways.pass(direction, read);
        let written = to.write_all(&buffer[..passing]).await;
        if let Some(Cut { all, hard, .. }) = cut {
            if all {
                ways.end.send_replace(hard);
            }
            return Err(Over { hard });
        }
        written.map_err(|_| Over { hard: true })?;
    }
}
