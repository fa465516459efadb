//! To which of a host's addresses a connection is made: the first that gets through (RFC 8305, "happy eyeballs").
//!
//! ```text
//!  [v6 a, v6 b, v4 c]  ─ interleaved ─►  a ── 250 ms ──► c ── 250 ms ──► b      the first connection wins, the others
//!   as the resolver sorted them          └─ refused: the next one at once       are dropped
//! ```
//!
//! What did not get through is tried after all others for a while, so that an address behind which nobody is costs one
//! connection its head start, and not each; so is what gets through and then brings neither a handshake nor an answer. The look-up is the system's, which asks for both families and gives all that it
//! has at once: there is nothing to wait for as in §3 of the RFC.

#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// The addresses of one host that did not get through of late; of all workers together.
#[derive(Debug, Default)]
pub(super) struct DeadAddresses(ArcSwap<Vec<(SocketAddr, Instant)>>);

/// A connection to the first of these addresses that gets through.
///
/// # Errors
/// When none does: what the last one said.
pub(super) async fn connect(found: Vec<SocketAddr>, dead: &DeadAddresses) -> io::Result<TcpStream> {
    let addresses = dead.last(found, Instant::now());
    if let [only] = addresses.as_slice() {
        return TcpStream::connect(only).await;
    }
    let won = race(&addresses, TcpStream::connect, || sleep(HEAD_START)).await;
    dead.note(&won.passed, won.outcome.as_ref().ok().map(|(address, _)| *address), Instant::now());
    won.outcome.map(|(_, connection)| connection)
}

impl DeadAddresses {
    /// Whether it brought nothing of late.
    pub(super) fn has(&self, address: &SocketAddr, now: Instant) -> bool {
        self.0.load().iter().any(|(dead, since)| dead == address && now < *since + DEAD_FOR)
    }

    /// In the order in which they are tried.
    fn last(&self, found: Vec<SocketAddr>, now: Instant) -> Vec<SocketAddr> {
        let (dead, alive): (Vec<_>, Vec<_>) = found.into_iter().partition(|address| self.has(address, now));
        [interleaved(alive), interleaved(dead)].concat()
    }

    /// This one got through, and nobody was there all the same.
    pub(super) fn condemn(&self, address: SocketAddr, now: Instant) {
        self.0.rcu(|known| {
            let stays = |(dead, since): &&(SocketAddr, Instant)| *dead != address && now < *since + DEAD_FOR;
            let others = known.iter().filter(stays).copied();
            others.chain([(address, now)]).collect::<Vec<_>>()
        });
    }

    /// These did not get through; this one did.
    fn note(&self, passed: &[SocketAddr], alive: Option<SocketAddr>, now: Instant) {
        // Where none gets through, none is worse than another: it may be the network, and the order is the resolver's.
        let Some(alive) = alive else { return };
        let known = self.0.load();
        if passed.is_empty() && !known.iter().any(|(dead, _)| *dead == alive) {
            return;
        }
        self.0.rcu(|known| {
            let stays = |(dead, since): &&(SocketAddr, Instant)| {
                *dead != alive && !passed.contains(dead) && now < *since + DEAD_FOR
            };
            let others = known.iter().filter(stays).copied();
            others.chain(passed.iter().map(|address| (*address, now))).collect::<Vec<_>>()
        });
    }
}

/// One of each family in turn, beginning with that of the first; each family in the order that the resolver gave it
/// (RFC 6724). So one family that leads nowhere holds up no more than one attempt (RFC 8305 §4).
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv4) else { return addresses };
    let count = addresses.len();
    let (one, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv4() == first);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut mixed = Vec::with_capacity(count);
    while mixed.len() < count {
        mixed.extend(one.next());
        mixed.extend(other.next());
    }
    mixed
}

/// How a race ended.
struct Won<T> {
    outcome: io::Result<(SocketAddr, T)>,
    /// Those that failed, and those that had begun before the winner and were not through yet.
    passed: Vec<SocketAddr>,
}

/// Tries the addresses in turn. Each has a head start on the next, which ends early when an attempt fails.
async fn race<T, C, H>(
    addresses: &[SocketAddr],
    connect: impl Fn(SocketAddr) -> C,
    head_start: impl Fn() -> H,
) -> Won<T>
where
    C: Future<Output = io::Result<T>>,
    H: Future<Output = ()>,
{
    let mut race = Race {
        untried: addresses.iter(),
        running: Vec::new(),
        head_start: Box::pin(head_start()),
        passed: Vec::new(),
        failure: io::ErrorKind::AddrNotAvailable.into(),
    };
    race.start_next(&connect);
    let outcome = poll_fn(|cx| race.poll(&connect, &head_start, cx)).await;
    Won { outcome, passed: race.passed }
}

struct Race<'a, C, H> {
    untried: std::slice::Iter<'a, SocketAddr>,
    /// In the order in which they began.
    running: Vec<(SocketAddr, Pin<Box<C>>)>,
    /// Of the one that began last.
    head_start: Pin<Box<H>>,
    passed: Vec<SocketAddr>,
    failure: io::Error,
}

impl<T, C, H> Race<'_, C, H>
where
    C: Future<Output = io::Result<T>>,
    H: Future<Output = ()>,
{
    fn poll(
        &mut self,
        connect: &impl Fn(SocketAddr) -> C,
        head_start: &impl Fn() -> H,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(SocketAddr, T)>> {
        loop {
            let running = self.running.len();
            if let Some(connected) = self.poll_running(cx) {
                return Poll::Ready(Ok(connected));
            }
            let one_failed = self.running.len() < running;
            if self.untried.len() == 0 {
                let failure = std::mem::replace(&mut self.failure, io::ErrorKind::AddrNotAvailable.into());
                return if self.running.is_empty() { Poll::Ready(Err(failure)) } else { Poll::Pending };
            }
            if !one_failed && self.head_start.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.start_next(connect);
            self.head_start.set(head_start());
        }
    }

    /// The first attempt that got through; those that failed are put aside.
    fn poll_running(&mut self, cx: &mut Context<'_>) -> Option<(SocketAddr, T)> {
        let mut at = 0;
        while let Some((address, attempt)) = self.running.get_mut(at) {
            match attempt.as_mut().poll(cx) {
                Poll::Pending => at += 1,
                Poll::Ready(Ok(connection)) => {
                    let winner = *address;
                    self.passed.extend(self.running.iter().take(at).map(|(slower, _)| *slower));
                    return Some((winner, connection));
                }
                Poll::Ready(Err(error)) => {
                    self.failure = error;
                    self.passed.push(self.running.remove(at).0);
                }
            }
        }
        None
    }

    fn start_next(&mut self, connect: &impl Fn(SocketAddr) -> C) {
        if let Some(next) = self.untried.next() {
            self.running.push((*next, Box::pin(connect(*next))));
        }
    }
}

/// RFC 8305 §5 recommends this delay between attempts.
const HEAD_START: Duration = Duration::from_millis(250);

/// Long enough that a load does not pay for a dead address again and again; short enough that nobody waits for one that
/// comes back.
const DEAD_FOR: Duration = Duration::from_secs(30);
