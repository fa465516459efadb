//! Races by hand, and what they leave.

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
fn raced(addresses: &[SocketAddr], happened: &[&dyn Fn(&Network)]) -> Option<(Result<u16, io::ErrorKind>, Vec<u16>)> {
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
