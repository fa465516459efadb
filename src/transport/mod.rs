//! From an address to an HTTP connection, and a request's way over it.
//!
//! Promises that a connection says how it ended ([`Error`]), that a request which never left comes back whole, and
//! that a body which breaks off is never ended as if whole. Starts no task: HTTP/1.1 needs none, and an HTTP/2
//! connection's driver is handed to the caller. Leaves pooling to `upstream`.

mod addresses;
mod body;
mod bounds;
mod continue_gate;
mod copied;
mod dial;
mod error;
#[cfg(feature = "files")]
mod file;
mod h1;
mod h2;
mod held;
mod http;
mod outgoing;
mod probe;
mod proxy;
mod refusal;
mod scratch;
#[cfg(test)]
pub(crate) mod tests;
mod wire;

use std::net::SocketAddr;
use std::sync::{Arc, Once, OnceLock};
use std::time::Duration;

pub(crate) use self::body::{BodyError, BodyNeed, Observer, Passage, ReplayBuffer, RequestBody, TrailerFilter};
pub(crate) use self::continue_gate::ContinueGate;
pub(crate) use self::dial::{ConnectTimings, Protocol};
pub(crate) use self::error::{Error, Unsent};
#[cfg(feature = "files")]
pub(crate) use self::file::FileTimings;
#[cfg(all(any(test, feature = "bench"), any(feature = "files", feature = "openpgp")))]
pub(crate) use self::h1::trial::pieces;
#[cfg(any(test, feature = "bench"))]
pub(crate) use self::h1::trial::{pieces_make_no_difference, reuse_is_earned};
pub(crate) use self::h1::{AtRest, Http1Connection, SwitchedConnection};
#[cfg(any(test, feature = "bench"))]
pub(crate) use self::h2::trial::cuts_make_no_difference;
pub(crate) use self::h2::{Http2Handle, Outflow, StreamGrowth};
pub(crate) use self::held::HeldBodies;
pub(crate) use self::http::{
    AnswerBody, AnswerReading, Connected, ConnectionDriver, Sender, SerialAtRest, SerialConnection,
};
pub(crate) use self::outgoing::{Outgoing, ProtocolSwitch};
pub(crate) use self::probe::{ConnectStep, ProbeResult, Probed};
pub(crate) use self::proxy::{ProxySelector, WayOut};
pub(crate) use self::refusal::{Objection, wants_tls};
pub(crate) use self::wire::Wire;

use ::http::uri::{Authority, PathAndQuery};
use tokio::time::Instant;

use self::addresses::DeadAddresses;
use self::dial::DialNotes;
use self::proxy::WhyDirect;
use crate::config::{HttpVersion, Scheme, Url};
use crate::digest::Digest;
#[cfg(feature = "files")]
use crate::files::FileServer;
use crate::tls::ClientTls;

/// Makes connections to one endpoint: a service's url, or a token endpoint. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connector(Arc<DialTarget>);

/// Where connections go, and how.
#[derive(Clone)]
struct DialTarget {
    host: String,
    port: u16,
    tls: Option<ClientTls>,
    version: HttpVersion,
    connect_limit: Option<Duration>,
    spelling: Spelling,
    way: WayOut,
    dead: Arc<DeadAddresses>,
    /// What is wrong with the service in a way that no answer of ours tells is logged once.
    told: Arc<Once>,
    /// It was offered HTTP/2, and has asked for HTTP/1.1: it is offered nothing else from then on.
    wants_http1: OnceLock<()>,
    /// Files are asked for there, and no HTTP is spoken; what TLS there is, is this one's.
    #[cfg(feature = "files")]
    files: Option<file::FileTarget>,
}

/// How HTTP/1.1 field names are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    LowerCase,
    /// `Like-This`.
    TitleCase,
}

impl Connector {
    /// `tls` is `None` for `http://`. `connect_limit` covers name look-up, TCP and TLS together (`None`: off).
    pub(crate) fn new(
        url: &Url,
        tls: Option<ClientTls>,
        version: HttpVersion,
        connect_limit: Option<Duration>,
        spelling: Spelling,
    ) -> Self {
        debug_assert_eq!(tls.is_some(), url.scheme == Scheme::Https, "https and only https has TLS");
        let (host, port) = (url.authority.host.clone(), url.authority.port);
        let (told, dead) = (Arc::new(Once::new()), Arc::default());
        let wants_http1 = OnceLock::new();
        let way = WayOut::Direct(WhyDirect::Loopback);
        Self(Arc::new(DialTarget {
            host,
            port,
            tls,
            version,
            connect_limit,
            spelling,
            way,
            dead,
            told,
            wants_http1,
            #[cfg(feature = "files")]
            files: None,
        }))
    }

    /// The same for a service whose partner speaks no HTTP. `connect_limit` covers the whole way to where files can be asked for.
    #[cfg(feature = "files")]
    pub(crate) fn of_files(url: &Url, server: Arc<FileServer>, connect_limit: Option<Duration>) -> Self {
        let Self(target) = Self::new(url, None, HttpVersion::Http1, connect_limit, Spelling::LowerCase);
        let files = Some(file::FileTarget { server, folder: url.path.clone() });
        Self(Arc::new(DialTarget { files, ..Arc::unwrap_or_clone(target) }))
    }

    /// Why there is no connection to be had for now, without a try; `None`: it may be tried.
    #[cfg(feature = "files")]
    pub(crate) fn refusal(&self) -> Option<Error> {
        Some(self.0.files.as_ref()?.server.refusal()?.into())
    }

    /// A connection on which nothing is spoken but what the caller says, made within the limit.
    ///
    /// # Errors
    ///
    /// As [`Connector::connect`].
    pub(crate) async fn open(&self) -> Result<Wire, Error> {
        Ok(dial::dial(&self.0, &DialNotes::default()).await?.wire)
    }

    /// The same by this way, and not straight as for what is on this machine.
    pub(crate) fn by(self, way: WayOut) -> Self {
        Self(Arc::new(DialTarget { way, ..Arc::unwrap_or_clone(self.0) }))
    }

    /// How connections get there.
    pub(crate) fn way(&self) -> &WayOut {
        &self.0.way
    }

    /// Looks up, connects, shakes hands, speaks HTTP/1.1 or HTTP/2 as negotiated.
    ///
    /// # Errors
    ///
    /// When there is no connection, or none within the limit: no byte of a request has left then.
    pub(crate) async fn connect(&self) -> Result<Connected, Error> {
        #[cfg(feature = "files")]
        if let Some(files) = &self.0.files {
            return file::connect(&self.0, &files.server).await;
        }
        let notes = DialNotes::default();
        let dialed = dial::dial(&self.0, &notes).await?;
        http::handshake(dialed, notes.spent.get(), &self.0).await
    }

    /// Looks up, connects and shakes hands as [`Connector::connect`] does, only to see how far that goes: in full, with no
    /// session resumed. Sends no request.
    pub(crate) async fn probe(&self) -> Probed {
        #[cfg(feature = "files")]
        if let Some(files) = &self.0.files {
            return file::probe(&self.0, files).await;
        }
        probe::probe(&self.0).await
    }

    /// What an `OPTIONS` of `target` on a connection of its own, without a credential, shows that all requests would meet;
    /// `None`: nothing.
    pub(crate) async fn objection(&self, authority: &Authority, target: PathAndQuery) -> Option<Objection> {
        refusal::ask(&self.0, authority, target).await
    }

    /// Whether a connection shows by its handshake who is there, and what is spoken.
    pub(crate) fn has_tls(&self) -> bool {
        self.0.tls.is_some()
    }

    /// A connection to this address was made, and brought nothing: others go first for a while.
    pub(crate) fn pass_over(&self, address: SocketAddr) {
        self.0.pass_over(address);
    }

    /// What every connection will speak; `None`: each one's handshake decides.
    pub(crate) fn protocol(&self) -> Option<Protocol> {
        #[cfg(feature = "files")]
        if self.0.files.is_some() {
            return Some(Protocol::File);
        }
        match (self.0.version, &self.0.tls) {
            (HttpVersion::Http1, _) | (HttpVersion::Auto, None) => Some(Protocol::Http1),
            (HttpVersion::Http2, _) => Some(Protocol::Http2),
            (HttpVersion::Auto, Some(_)) => self.wants_http1().then_some(Protocol::Http1),
        }
    }

    /// The service wants HTTP/1.1: every connection that is made from now on speaks that. Says whether the config lets it.
    pub(crate) fn fall_back_to_http1(&self) -> bool {
        let may = self.0.version == HttpVersion::Auto && self.0.tls.is_some();
        if may {
            self.0.wants_http1.get_or_init(|| ());
        }
        may
    }

    /// The same, for connections that speak HTTP/1.1 whatever the handshake could agree on. What comes of them says nothing
    /// of the others: its sessions are its own, and so is what it knows of addresses.
    pub(crate) fn over_http1(&self) -> Self {
        let target = DialTarget::clone(&self.0);
        target.wants_http1.get_or_init(|| ());
        let (tls, dead) = (target.tls.as_ref().map(ClientTls::apart), Arc::default());
        Self(Arc::new(DialTarget { tls, dead, ..target }))
    }

    /// Whether the service was offered HTTP/2 and has asked for HTTP/1.1.
    pub(crate) fn wants_http1(&self) -> bool {
        self.0.wants_http1.get().is_some()
    }

    /// The time that all of a connection's making may take.
    pub(crate) fn connect_limit(&self) -> Option<Duration> {
        self.0.connect_limit
    }

    /// What a request is told that waited in vain for a connection in the making.
    pub(crate) fn timed_out(&self) -> Error {
        dial::connect_too_long(&self.0)
    }

    /// Whether the other one makes connections to the same host and port, however it makes them.
    pub(crate) fn leads_where(&self, other: &Self) -> bool {
        (&self.0.host, self.0.port) == (&other.0.host, other.0.port)
    }

    /// SHA-256 over all that decides where connections go and what they trust and present: equal means interchangeable.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let endpoint = &*self.0;
        let mut digest = Digest::new();
        digest.list(endpoint.tls.iter().map(|tls| tls.fingerprint));
        digest.field(&[endpoint.version as u8, endpoint.spelling as u8]);
        digest.field(&endpoint.port.to_be_bytes());
        digest.field(endpoint.host.as_bytes());
        endpoint.way.digest(&mut digest);
        digest.finish()
    }
}

impl DialTarget {
    /// Behind this address there is nobody who answers, whatever TCP says.
    fn pass_over(&self, address: SocketAddr) {
        if self.way.proxy().is_none() {
            self.dead.condemn(address, Instant::now());
        }
    }

    /// Whom TCP connects to: the proxy on the way, or the endpoint itself.
    fn first_hop(&self) -> (&str, u16) {
        self.way.proxy().map_or((&self.host, self.port), |proxy| proxy.host())
    }

    /// `host:port`, for people.
    fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}
