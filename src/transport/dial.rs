//! Name look-up, TCP, TLS: within one limit.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::HandshakeKind;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, Sleep, sleep, timeout_at};
use tokio_rustls::TlsConnector;

use super::wire::{Wire, WireStream};
use super::{DialTarget, Error};
use crate::coalesced_writes::Gathering;
use crate::config::HttpVersion;
use crate::tls::{self, ClientCertificate, ClientTls, Observation, TlsFailure};

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Where the time of a new connection went; `None`: it did not come through that, or there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectTimings {
    pub(crate) lookup: Option<Duration>,
    pub(crate) tcp: Option<Duration>,
    pub(crate) tls: Option<Duration>,
}

/// What is told of a connection's making while it is made, whatever becomes of it.
#[derive(Default)]
pub(super) struct DialNotes {
    /// Each step that was come through.
    pub(super) spent: Cell<ConnectTimings>,
    pub(super) client_certificate: Cell<ClientCertificate>,
}

/// A connection that is ready for HTTP.
pub(super) struct Dialed {
    pub(super) wire: Wire,
    pub(super) protocol: Protocol,
}

/// Connects to the endpoint, all within its limit.
pub(super) async fn dial(endpoint: &DialTarget, notes: &DialNotes) -> Result<Dialed, Error> {
    let began = Instant::now();
    let deadline = endpoint.connect_limit.map(|limit| began + limit);

    let addresses = by(deadline, look_up(endpoint)).await.unwrap_or_else(|| Err(lookup_too_long(endpoint)))?;
    notes.spent.set(ConnectTimings { lookup: Some(began.elapsed()), ..ConnectTimings::default() });

    let connected = by(deadline, connect(endpoint, &addresses, notes)).await;
    let (stream, seen) = connected.unwrap_or_else(|| Err(connect_too_long(endpoint)))?;

    let protocol = protocol(endpoint, &stream)?;
    Ok(Dialed { wire: Wire::new(stream, seen), protocol })
}

async fn look_up(endpoint: &DialTarget) -> Result<Vec<SocketAddr>, Error> {
    let failed = |reason: String| Error::Lookup { host: endpoint.host.clone(), reason };
    let found = lookup_host((endpoint.host.as_str(), endpoint.port)).await;
    let addresses: Vec<_> = found.map_err(|error| failed(error.to_string()))?.collect();
    if addresses.is_empty() { Err(failed("it has no address".to_owned())) } else { Ok(addresses) }
}

async fn connect(
    endpoint: &DialTarget,
    addresses: &[SocketAddr],
    notes: &DialNotes,
) -> Result<(WireStream, Observation), Error> {
    let began = Instant::now();
    let tcp = open(endpoint, addresses).await?;
    notes.spent.set(ConnectTimings { tcp: Some(began.elapsed()), ..notes.spent.get() });
    let Some(tls) = &endpoint.tls else { return Ok((WireStream::Plain(tcp), Observation::default())) };

    let began = Instant::now();
    let shaken = match shake(tls, tcp).await {
        // A service that no longer takes its own sessions, or never did, refuses each of them in its own way, and whoever
        // goes on offering them gets no connection again. So all are forgotten, and it is tried once more in full; what
        // fails then fails for another reason (RFC 5246 §7.2.2, RFC 8446 §6.2).
        Err((_, Observation { session_offered: true, .. })) => {
            tls.session_was_refused();
            shake(&tls.unresumed(), open(endpoint, addresses).await?).await
        }
        shaken => shaken,
    };
    let (Ok((_, seen)) | Err((_, seen))) = &shaken;
    notes.client_certificate.set(seen.client_certificate);
    let shaken = shaken.map_err(|(failure, _)| failure)?;
    notes.spent.set(ConnectTimings { tls: Some(began.elapsed()), ..notes.spent.get() });
    Ok(shaken)
}

async fn open(endpoint: &DialTarget, addresses: &[SocketAddr]) -> Result<TcpStream, Error> {
    let tcp = first_of(addresses).await.map_err(|error| Error::unconnected(endpoint.address(), &error))?;
    prepare(&tcp);
    Ok(tcp)
}

async fn shake(tls: &ClientTls, tcp: TcpStream) -> Result<(WireStream, Observation), (TlsFailure, Observation)> {
    let connector = TlsConnector::from(tls.config.clone());
    let handshake = async { connector.connect(tls.server_name.clone(), Gathering(tcp)).await };
    match tls::observed(handshake).await {
        (Ok(stream), seen) => {
            if stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
                tls.session_was_resumed();
            }
            Ok((WireStream::Tls(Box::new(stream)), seen))
        }
        (Err(error), seen) => Err((TlsFailure::of(error, &seen), seen)),
    }
}

/// What ALPN chose, or prior knowledge.
fn protocol(endpoint: &DialTarget, stream: &WireStream) -> Result<Protocol, Error> {
    let chosen = match stream {
        WireStream::Plain(_) => None,
        WireStream::Tls(stream) => stream.get_ref().1.alpn_protocol(),
    };
    match (endpoint.version, &endpoint.tls) {
        (HttpVersion::Http2, None) => Ok(Protocol::Http2),
        (HttpVersion::Http2, Some(_)) if chosen != Some(b"h2") => {
            Err(Error::Protocol("it does not offer HTTP/2; set `http_version` to `auto` or `1.1`".to_owned()))
        }
        _ if chosen == Some(b"h2") => Ok(Protocol::Http2),
        _ => Ok(Protocol::Http1),
    }
}

/// Sends small writes at once, and notices a service that vanished without a word.
fn prepare(tcp: &TcpStream) {
    let socket = SockRef::from(tcp);
    let keepalive = TcpKeepalive::new().with_time(SILENCE).with_interval(PROBE_INTERVAL).with_retries(PROBES);
    // A kernel that refuses one of these still carries the connection.
    drop(tcp.set_nodelay(true));
    drop(socket.set_tcp_keepalive(&keepalive));
}

/// Tries addresses in turn, each with a head start on the next: one that does not answer holds nobody up for long, and
/// the first that does wins (RFC 8305, without its sorting: the resolver has sorted by RFC 6724).
async fn first_of(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    if let [only] = addresses {
        return TcpStream::connect(only).await;
    }
    let mut race =
        Race { untried: addresses, running: Vec::new(), head_start: Box::pin(sleep(HEAD_START)), failure: None };
    race.start_next();
    poll_fn(|cx| race.poll(cx)).await
}

struct Race<'a> {
    untried: &'a [SocketAddr],
    running: Vec<Attempt>,
    head_start: Pin<Box<Sleep>>,
    failure: Option<io::Error>,
}

type Attempt = Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>;

impl ConnectTimings {
    /// All of it.
    pub(crate) fn total(self) -> Duration {
        [self.lookup, self.tcp, self.tls].into_iter().flatten().sum()
    }
}

impl Race<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        loop {
            if let Some(connected) = self.poll_running(cx) {
                return Poll::Ready(Ok(connected));
            }
            let nobody_runs = self.running.is_empty();
            if nobody_runs && self.untried.is_empty() {
                let failure = self.failure.take().unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into());
                return Poll::Ready(Err(failure));
            }
            if !nobody_runs && (self.untried.is_empty() || self.head_start.as_mut().poll(cx).is_pending()) {
                return Poll::Pending;
            }
            self.start_next();
        }
    }

    /// The first attempt that got through; those that failed are put aside.
    fn poll_running(&mut self, cx: &mut Context<'_>) -> Option<TcpStream> {
        let mut connected = None;
        self.running.retain_mut(|attempt| match attempt.as_mut().poll(cx) {
            Poll::Pending => true,
            Poll::Ready(Ok(tcp)) => {
                connected.get_or_insert(tcp);
                false
            }
            Poll::Ready(Err(error)) => {
                self.failure = Some(error);
                false
            }
        });
        connected
    }

    fn start_next(&mut self) {
        if let Some((next, untried)) = self.untried.split_first() {
            self.untried = untried;
            self.running.push(Box::pin(TcpStream::connect(*next)));
            self.head_start.as_mut().reset(Instant::now() + HEAD_START);
        }
    }
}

async fn by<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    match deadline {
        Some(deadline) => timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}

fn lookup_too_long(endpoint: &DialTarget) -> Error {
    Error::LookupTimeout { host: endpoint.host.clone(), limit: endpoint.connect_limit.unwrap_or_default() }
}

pub(super) fn connect_too_long(endpoint: &DialTarget) -> Error {
    let limit = endpoint.connect_limit.unwrap_or_default();
    Error::Timeout { address: endpoint.address(), reason: format!("`timeouts.connect` is {limit:?}") }
}

/// RFC 8305 §5 recommends this delay between attempts.
const HEAD_START: Duration = Duration::from_millis(250);

/// A connection silent for this long is probed; with the probes it takes a minute to see that the other side is gone.
/// `TCP_USER_TIMEOUT` would see it in mid-request too, but also ends an upload that a slow service lets wait.
const SILENCE: Duration = Duration::from_secs(30);
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;

#[cfg(test)]
mod tests {
    use socket2::{Domain, Socket, Type};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test(flavor = "local")]
    async fn an_address_that_does_not_answer_holds_nobody_up_for_long() {
        let deaf = Deaf::new();
        let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = service.local_addr().unwrap();

        let tcp = first_of(&[deaf.address, address]).await.unwrap();

        assert_eq!(tcp.peer_addr().unwrap(), address);
    }

    #[tokio::test(flavor = "local")]
    async fn an_address_that_refuses_is_passed_over_at_once() {
        let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = service.local_addr().unwrap();
        let began = Instant::now();

        let tcp = first_of(&[refusing().await, address]).await.unwrap();

        assert_eq!(tcp.peer_addr().unwrap(), address);
        assert!(began.elapsed() < HEAD_START);
    }

    #[tokio::test(flavor = "local")]
    async fn the_last_failure_is_told_when_nobody_answers() {
        let error = first_of(&[refusing().await, refusing().await]).await.unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
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
