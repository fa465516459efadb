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
    /// In the order in which they are tried.
    fn last(&self, found: Vec<SocketAddr>, now: Instant) -> Vec<SocketAddr> {
        let known = self.0.load();
        let is_dead =
            |address: &SocketAddr| known.iter().any(|(dead, since)| dead == address && now < *since + DEAD_FOR);
        let (dead, alive): (Vec<_>, Vec<_>) = found.into_iter().partition(is_dead);
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::HashMap;
    use std::task::Waker;

    use socket2::{Domain, Socket, Type};
    use tokio::net::TcpListener;
    use tokio::sync::oneshot;

    use super::*;

    /// `4` and `6`: addresses of IPv4 and IPv6, told apart by their ports.
    fn addresses(written: &str) -> Vec<SocketAddr> {
        let of = |(at, family): (usize, char)| {
            let port = u16::try_from(at + 1).unwrap();
            if family == '4' {
                ([192, 0, 2, 1], port).into()
            } else {
                ("2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap(), port).into()
            }
        };
        written.chars().enumerate().map(of).collect()
    }

    fn ports(addresses: &[SocketAddr]) -> Vec<u16> {
        addresses.iter().map(SocketAddr::port).collect()
    }

    #[test]
    fn families_take_turns_and_each_keeps_its_order() {
        for (found, expected) in [
            ("6644", vec![1, 3, 2, 4]),
            ("4446", vec![1, 4, 2, 3]),
            ("666", vec![1, 2, 3]),
            ("64444", vec![1, 2, 3, 4, 5]),
            ("", vec![]),
        ] {
            assert_eq!(ports(&interleaved(addresses(found))), expected, "{found}");
        }
    }

    /// A network by hand: who gets through, who fails, and when a head start is over.
    #[derive(Default)]
    struct Network {
        attempts: RefCell<HashMap<u16, oneshot::Sender<io::Result<u16>>>>,
        head_start: RefCell<Option<oneshot::Sender<()>>>,
    }

    impl Network {
        /// Those that are under way.
        fn under_way(&self) -> Vec<u16> {
            let attempts = self.attempts.borrow();
            let mut ports: Vec<_> =
                attempts.iter().filter(|(_, attempt)| !attempt.is_closed()).map(|(port, _)| *port).collect();
            ports.sort_unstable();
            ports
        }

        fn ends(&self, port: u16, outcome: io::Result<u16>) {
            self.attempts.borrow_mut().remove(&port).unwrap().send(outcome).unwrap();
        }

        fn refuses(&self, port: u16) {
            self.ends(port, Err(io::ErrorKind::ConnectionRefused.into()));
        }

        fn time_passes(&self) {
            self.head_start.borrow_mut().take().unwrap().send(()).unwrap();
        }
    }

    /// What came of a race in which these things happened, one after the other.
    fn raced(
        addresses: &[SocketAddr],
        happened: &[&dyn Fn(&Network)],
    ) -> Option<(Result<u16, io::ErrorKind>, Vec<u16>)> {
        let network = Network::default();
        let connect = |address: SocketAddr| {
            let (ends, ended) = oneshot::channel();
            network.attempts.borrow_mut().insert(address.port(), ends);
            async move { ended.await.unwrap() }
        };
        let head_start = || {
            let (over, is_over) = oneshot::channel();
            *network.head_start.borrow_mut() = Some(over);
            async move { is_over.await.unwrap() }
        };
        let mut cx = Context::from_waker(Waker::noop());
        let mut race = std::pin::pin!(race(addresses, connect, head_start));
        let mut polled = race.as_mut().poll(&mut cx);
        for happens in happened {
            assert!(polled.is_pending(), "it is over already");
            happens(&network);
            polled = race.as_mut().poll(&mut cx);
        }
        let Poll::Ready(Won { outcome, passed }) = polled else { return None };
        let outcome = outcome.map(|(address, connection)| {
            assert_eq!(address.port(), connection);
            connection
        });
        Some((outcome.map_err(|error| error.kind()), ports(&passed)))
    }

    #[test]
    fn the_first_address_has_a_head_start_and_then_the_next_runs_beside_it() {
        let all = addresses("646");

        let won = raced(
            &all,
            &[
                &|network| {
                    assert_eq!(network.under_way(), [1]);
                    network.time_passes();
                },
                &|network| {
                    assert_eq!(network.under_way(), [1, 2]);
                    network.time_passes();
                },
                &|network| {
                    assert_eq!(network.under_way(), [1, 2, 3]);
                    network.ends(2, Ok(2));
                },
            ],
        );

        // The third had less time than the winner, and may be as good.
        assert_eq!(won, Some((Ok(2), vec![1])));
    }

    #[test]
    fn an_address_that_fails_gives_way_at_once() {
        let won = raced(
            &addresses("64"),
            &[&|network| network.refuses(1), &|network| {
                assert_eq!(network.under_way(), [2]);
                network.ends(2, Ok(2));
            }],
        );

        assert_eq!(won, Some((Ok(2), vec![1])));
    }

    #[test]
    fn one_that_was_slow_may_win_all_the_same() {
        let won = raced(
            &addresses("64"),
            &[&Network::time_passes, &|network| network.refuses(2), &|network| network.ends(1, Ok(1))],
        );

        assert_eq!(won, Some((Ok(1), vec![2])));
    }

    #[test]
    fn the_last_failure_is_told_where_nobody_answers() {
        let won = raced(
            &addresses("64"),
            &[&|network| network.refuses(1), &|network| network.ends(2, Err(io::ErrorKind::HostUnreachable.into()))],
        );

        assert_eq!(won, Some((Err(io::ErrorKind::HostUnreachable), vec![1, 2])));
    }

    #[test]
    fn the_others_are_dropped_when_one_has_won() {
        let network = Network::default();
        let connect = |address: SocketAddr| {
            let (ends, ended) = oneshot::channel();
            network.attempts.borrow_mut().insert(address.port(), ends);
            async move { ended.await.unwrap() }
        };
        let all = addresses("64");
        let mut cx = Context::from_waker(Waker::noop());
        {
            let mut race = std::pin::pin!(race(&all, connect, || std::future::ready(())));
            assert!(race.as_mut().poll(&mut cx).is_pending());
            network.ends(2, Ok(2));
            assert!(race.as_mut().poll(&mut cx).is_ready());
        }

        assert!(network.under_way().is_empty());
    }

    #[test]
    fn a_dead_address_comes_last_until_it_is_forgiven_or_gets_through() {
        let (dead, now) = (DeadAddresses::default(), Instant::now());
        let all = addresses("646");
        let order = |at| ports(&dead.last(all.clone(), at));

        dead.note(&all[..1], Some(all[1]), now);
        assert_eq!(order(now), [2, 3, 1]);
        assert_eq!(order(now + DEAD_FOR - Duration::from_millis(1)), [2, 3, 1]);
        assert_eq!(order(now + DEAD_FOR), [1, 2, 3]);

        dead.note(&all[1..2], Some(all[0]), now);
        assert_eq!(order(now), [1, 3, 2]);
        dead.note(&[], Some(all[1]), now);
        assert_eq!(order(now), [1, 2, 3]);
    }

    #[test]
    fn where_nobody_gets_through_the_order_stays_the_resolvers() {
        let (dead, now) = (DeadAddresses::default(), Instant::now());
        let all = addresses("64");

        dead.note(&all, None, now);

        assert_eq!(ports(&dead.last(all, now)), [1, 2]);
    }

    #[tokio::test(flavor = "local")]
    async fn an_address_that_does_not_answer_costs_one_connection_its_head_start_and_not_the_next() {
        let deaf = Deaf::new();
        let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, dead) = (service.local_addr().unwrap(), DeadAddresses::default());
        let found = vec![deaf.address, address];

        let first = connect(found.clone(), &dead).await.unwrap();
        let then = dead.last(found, Instant::now());

        assert_eq!(first.peer_addr().unwrap(), address);
        assert_eq!(then, [address, deaf.address]);
    }

    #[tokio::test(flavor = "local")]
    async fn an_address_that_refuses_is_passed_over_at_once() {
        let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = service.local_addr().unwrap();
        let began = Instant::now();

        let tcp = connect(vec![refusing().await, address], &DeadAddresses::default()).await.unwrap();

        assert_eq!(tcp.peer_addr().unwrap(), address);
        assert!(began.elapsed() < HEAD_START);
    }

    async fn refusing() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
    }

    /// A listener whose backlog is full: the kernel drops what else comes.
    struct Deaf {
        address: SocketAddr,
        _sockets: Vec<Socket>,
    }

    impl Deaf {
        fn new() -> Self {
            let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
            listener.listen(0).unwrap();
            let address = listener.local_addr().unwrap();
            let mut sockets = vec![listener];
            for _ in 0..4 {
                let waiting = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                waiting.set_nonblocking(true).unwrap();
                // In progress, or waiting for ever.
                drop(waiting.connect(&address));
                sockets.push(waiting);
            }
            Self { address: address.as_socket().unwrap(), _sockets: sockets }
        }
    }
}
