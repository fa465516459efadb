//! Name look-up, TCP, the proxy on the way, TLS: within one limit.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::HandshakeKind;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::proxy::{ProxyFailure, Tunnel};
use super::wire::{Wire, WireStream};
use super::{DialTarget, Error, addresses};
use crate::coalesced_writes::Gathering;
use crate::code::Code;
use crate::config::HttpVersion;
use crate::tls::{self, ClientCertificate, ClientTls, Observation, TlsFailure};

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
    /// None of HTTP: a session with a file server.
    #[cfg(feature = "files")]
    File,
}

impl Protocol {
    /// Whether each connection carries one request at a time.
    pub(crate) fn is_serial(self) -> bool {
        self != Self::Http2
    }
}

/// Where the time of a new connection went; `None`: it did not come through that, or there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectTimings {
    /// Whom TCP reached: the service, or the proxy on the way.
    pub(crate) reached: Option<SocketAddr>,
    pub(crate) lookup: Option<Duration>,
    pub(crate) tcp: Option<Duration>,
    /// The proxy on the way: TLS to it, if that is spoken, and `CONNECT`.
    pub(crate) proxy: Option<Duration>,
    pub(crate) tls: Option<Duration>,
}

/// What is told of a connection's making while it is made, whatever becomes of it.
#[derive(Default)]
pub(super) struct DialNotes {
    /// Each step that was come through.
    pub(super) spent: Cell<ConnectTimings>,
    pub(super) client_certificate: Cell<ClientCertificate>,
    /// Why an address that was reached brought nothing, while others are tried.
    failure: Cell<Option<Error>>,
}

/// A connection that is ready for HTTP.
pub(super) struct Dialed {
    pub(super) wire: Wire,
    pub(super) protocol: Protocol,
}

/// Connects to the endpoint, all within its limit.
pub(super) async fn dial(endpoint: &DialTarget, notes: &DialNotes) -> Result<Dialed, Error> {
    let (addresses, deadline) = resolve(endpoint, notes).await?;
    dial_one(endpoint, addresses, notes, deadline).await
}

/// Looks up the endpoint: where it is, and until when there has to be a connection.
///
/// At each connection anew: addresses move, and the system's resolver knows how long it may remember them.
pub(super) async fn resolve(
    endpoint: &DialTarget,
    notes: &DialNotes,
) -> Result<(Vec<SocketAddr>, Option<Instant>), Error> {
    let began = Instant::now();
    let deadline = endpoint.connect_limit.map(|limit| began + limit);
    let addresses = by(deadline, look_up(endpoint)).await.unwrap_or_else(|| Err(lookup_too_long(endpoint)))?;
    notes.spent.set(ConnectTimings { lookup: Some(began.elapsed()), ..ConnectTimings::default() });
    Ok((addresses, deadline))
}

/// Connects to one of these addresses.
pub(super) async fn dial_one(
    endpoint: &DialTarget,
    addresses: Vec<SocketAddr>,
    notes: &DialNotes,
    deadline: Option<Instant>,
) -> Result<Dialed, Error> {
    let connected = by(deadline, connect_first(endpoint, addresses, notes)).await;
    let connected =
        connected.unwrap_or_else(|| Err(notes.failure.take().unwrap_or_else(|| connect_too_long(endpoint))));
    if let (Err(_), Some(reached)) = (&connected, notes.spent.get().reached) {
        endpoint.pass_over(reached);
    }
    let (stream, seen) = connected?;
    let protocol = protocol(endpoint, &stream)?;
    Ok(Dialed { wire: Wire::new(stream, seen), protocol })
}

/// Connects to the first behind which a handshake comes to its end: one machine of several may be broken in a way that TCP
/// does not show.
async fn connect_first(
    endpoint: &DialTarget,
    mut addresses: Vec<SocketAddr>,
    notes: &DialNotes,
) -> Result<(WireStream, Observation), Error> {
    loop {
        let failure = match connect(endpoint, &addresses, notes).await {
            Ok(connected) => return Ok(connected),
            Err(failure) => failure,
        };
        // What is told is the first failure behind an address that was reached: that of others, which TCP does not get to,
        // has another cause.
        let failure = notes.failure.take().unwrap_or(failure);
        // Where TCP reached nobody, all were tried; a proxy's address is not to blame for what is behind it.
        let Some(broken) = notes.spent.get().reached.filter(|_| endpoint.way.proxy().is_none()) else {
            return Err(failure);
        };
        endpoint.pass_over(broken);
        addresses.retain(|address| !endpoint.dead.has(address, Instant::now()));
        if addresses.is_empty() {
            return Err(failure);
        }
        notes.failure.set(Some(failure));
        notes.spent.set(ConnectTimings { reached: None, ..notes.spent.get() });
    }
}

/// The addresses of the service or, where one is on the way, of the proxy: then it is the proxy that looks the service up.
async fn look_up(endpoint: &DialTarget) -> Result<Vec<SocketAddr>, Error> {
    let found = lookup_host(endpoint.first_hop()).await;
    let found = found.map_err(|error| error.to_string()).map(|addresses| addresses.collect::<Vec<_>>());
    match found {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses),
        Ok(_) => Err(unknown(endpoint, "it has no address".to_owned())),
        Err(reason) => Err(unknown(endpoint, reason)),
    }
}

async fn connect(
    endpoint: &DialTarget,
    addresses: &[SocketAddr],
    notes: &DialNotes,
) -> Result<(WireStream, Observation), Error> {
    let tunnel = open(endpoint, addresses, &notes.spent).await?;
    let Some(tls) = &endpoint.tls else { return Ok((tunnel.into(), Observation::default())) };

    // Offered both, it would choose HTTP/2 again.
    let over_http1 = endpoint.wants_http1.get().map(|()| tls.over_http1());
    let tls = over_http1.as_ref().unwrap_or(tls);
    let began = Instant::now();
    let shaken = match shake(tls, tunnel).await {
        // A service that no longer takes its own sessions, or never did, refuses each of them in its own way, and whoever
        // goes on offering them gets no connection again. So all are forgotten, and it is tried once more in full; what
        // fails then fails for another reason (RFC 5246 §7.2.2, RFC 8446 §6.2).
        Err((_, Observation { session_offered: true, .. })) => {
            tls.session_was_refused();
            shake(&tls.unresumed(), open(endpoint, addresses, &notes.spent).await?).await
        }
        shaken => shaken,
    };
    let (Ok((_, seen)) | Err((_, seen))) = &shaken;
    notes.client_certificate.set(seen.client_certificate);
    let shaken = shaken.map_err(|(failure, _)| failure)?;
    notes.spent.set(ConnectTimings { tls: Some(began.elapsed()), ..notes.spent.get() });
    Ok(shaken)
}

/// A way for bytes to the service: TCP, or a tunnel through the proxy.
pub(super) async fn open(
    endpoint: &DialTarget,
    addresses: &[SocketAddr],
    spent: &Cell<ConnectTimings>,
) -> Result<Tunnel, Error> {
    let began = Instant::now();
    let tcp = addresses::connect(addresses.to_vec(), &endpoint.dead).await;
    let tcp = tcp.map_err(|error| unconnected(endpoint, &error))?;
    prepare(&tcp);
    spent.set(ConnectTimings { tcp: Some(began.elapsed()), reached: tcp.peer_addr().ok(), ..spent.get() });

    let Some(proxy) = endpoint.way.proxy() else { return Ok(Tunnel::Tcp(tcp)) };
    let began = Instant::now();
    let tunnel = proxy.open_tunnel(tcp, &endpoint.address()).await?;
    spent.set(ConnectTimings { proxy: Some(began.elapsed()), ..spent.get() });
    Ok(tunnel)
}

async fn shake(tls: &ClientTls, tunnel: Tunnel) -> Result<(WireStream, Observation), (TlsFailure, Observation)> {
    match tunnel {
        Tunnel::Tcp(tcp) => {
            let (stream, seen) = shake_over(tls, tcp).await?;
            Ok((WireStream::Tls(Box::new(stream)), seen))
        }
        Tunnel::Tls(proxied) => {
            let (stream, seen) = shake_over(tls, *proxied).await?;
            Ok((WireStream::TlsOverTls(Box::new(stream)), seen))
        }
    }
}

async fn shake_over<S: AsyncRead + AsyncWrite + Unpin>(
    tls: &ClientTls,
    stream: S,
) -> Result<(TlsStream<Gathering<S>>, Observation), (TlsFailure, Observation)> {
    let connector = TlsConnector::from(tls.config.clone());
    let handshake = async { connector.connect(tls.server_name.clone(), Gathering(stream)).await };
    match tls::observed(tls.origin, handshake).await {
        (Ok(stream), mut seen) => {
            if stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
                tls.session_was_resumed();
                seen.client_certificate = ClientCertificate::OfSession;
            }
            Ok((stream, seen))
        }
        (Err(error), seen) => Err((TlsFailure::of_first_use(error, &seen), seen)),
    }
}

/// What ALPN chose, or prior knowledge.
fn protocol(endpoint: &DialTarget, stream: &WireStream) -> Result<Protocol, Error> {
    let chosen = stream.tls().and_then(|tls| tls.alpn_protocol());
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

impl ConnectTimings {
    /// All of it.
    pub(crate) fn total(self) -> Duration {
        [self.lookup, self.tcp, self.proxy, self.tls].into_iter().flatten().sum()
    }
}

pub(super) async fn by<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    match deadline {
        Some(deadline) => timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}

/// Nobody knows the name, be it the service's or that of the proxy on the way.
fn unknown(endpoint: &DialTarget, reason: String) -> Error {
    match endpoint.way.proxy() {
        Some(proxy) => proxy.failed(ProxyFailure {
            code: Code::DnsError,
            what: format!("can't be looked up: {reason}"),
            refused: false,
        }),
        None => Error::Lookup { host: endpoint.host.clone(), reason: reason + &endpoint.way.to_string() },
    }
}

fn lookup_too_long(endpoint: &DialTarget) -> Error {
    let limit = endpoint.connect_limit.unwrap_or_default();
    match endpoint.way.proxy() {
        Some(proxy) => {
            let what = format!("could not be looked up within {limit:?}");
            proxy.failed(ProxyFailure { code: Code::DnsTimeout, what, refused: false })
        }
        None => Error::LookupTimeout {
            host: endpoint.host.clone(),
            reason: format!("`timeouts.connect` is {limit:?}{}", endpoint.way),
        },
    }
}

/// TCP did not get through.
fn unconnected(endpoint: &DialTarget, error: &io::Error) -> Error {
    let timed_out = error.kind() == io::ErrorKind::TimedOut;
    if let Some(proxy) = endpoint.way.proxy() {
        let code = if timed_out { Code::ConnectionTimeout } else { Code::ConnectionRefused };
        return proxy.failed(ProxyFailure { code, what: format!("can't be reached: {error}"), refused: false });
    }
    let (address, reason) = (endpoint.address(), format!("{error}{}", endpoint.way));
    if timed_out { Error::Timeout { address, reason } } else { Error::Refused { address, reason } }
}

pub(super) fn connect_too_long(endpoint: &DialTarget) -> Error {
    let limit = endpoint.connect_limit.unwrap_or_default();
    Error::Timeout { address: endpoint.address(), reason: format!("`timeouts.connect` is {limit:?}{}", endpoint.way) }
}

/// A connection silent for this long is probed; with the probes it takes a minute to see that the other side is gone.
/// `TCP_USER_TIMEOUT` would see it in mid-request too, but also ends an upload that a slow service lets wait.
const SILENCE: Duration = Duration::from_secs(30);
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;
