//! From an address to an HTTP connection, and a request's way over it.
//!
//! Promises that a connection says how it ended ([`Error`]), that a request which never left comes back whole, and
//! that a body which breaks off is never ended as if whole. Starts no task: HTTP/1.1 needs none, and an HTTP/2
//! connection's driver is handed to the caller. Leaves pooling to `upstream`.

mod body;
mod bounds;
mod continue_gate;
mod copied;
mod dial;
mod error;
mod h1;
mod h2;
mod held;
mod http;
mod outgoing;
mod probe;
mod refusal;
mod scratch;
#[cfg(test)]
pub(crate) mod tests;
mod wire;

use std::sync::{Arc, Once};
use std::time::Duration;

pub(crate) use self::body::{BodyError, BodyNeed, Observer, Passage, ReplayBuffer, RequestBody, TrailerFilter};
pub(crate) use self::continue_gate::ContinueGate;
pub(crate) use self::dial::{ConnectTimings, Protocol};
pub(crate) use self::error::{Error, Unsent};
#[cfg(any(test, feature = "bench"))]
pub(crate) use self::h1::trial::{pieces_make_no_difference, reuse_is_earned};
pub(crate) use self::h1::{AtRest, Http1Connection};
pub(crate) use self::h2::{Http2Handle, Outflow};
pub(crate) use self::held::HeldBodies;
pub(crate) use self::http::{AnswerBody, AnswerReading, Connected, ConnectionDriver, Sender};
pub(crate) use self::outgoing::Outgoing;
pub(crate) use self::probe::{ConnectStep, ProbeResult, Probed};

use ::http::uri::{Authority, PathAndQuery};

use self::dial::DialNotes;
use crate::config::{HttpVersion, Scheme, Url};
use crate::digest::Digest;
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
    /// What is wrong with the service in a way that no answer of ours tells is logged once.
    told: Arc<Once>,
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
        let told = Arc::new(Once::new());
        Self(Arc::new(DialTarget { host, port, tls, version, connect_limit, spelling, told }))
    }

    /// Looks up, connects, shakes hands, speaks HTTP/1.1 or HTTP/2 as negotiated.
    ///
    /// # Errors
    ///
    /// When there is no connection, or none within the limit: no byte of a request has left then.
    pub(crate) async fn connect(&self) -> Result<Connected, Error> {
        let notes = DialNotes::default();
        let dialed = dial::dial(&self.0, &notes).await?;
        http::handshake(dialed, notes.spent.get(), &self.0).await
    }

    /// Looks up, connects and shakes hands as [`Connector::connect`] does, only to see how far that goes: in full, with no
    /// session resumed. Sends no request.
    pub(crate) async fn probe(&self) -> Probed {
        probe::probe(&self.0).await
    }

    /// What the service answers to an `OPTIONS` of `target` on a connection of its own, without a credential, in as much as
    /// that speaks of our client certificate; `None`: it does not.
    ///
    /// Some services shake hands whatever they are shown, and refuse it with a status (nginx's 400, say).
    pub(crate) async fn refusal_by_status(&self, authority: &Authority, target: PathAndQuery) -> Option<String> {
        refusal::ask(&self.0, authority, target).await
    }

    /// What every connection will speak; `None`: each one's handshake decides.
    pub(crate) fn protocol(&self) -> Option<Protocol> {
        match (self.0.version, &self.0.tls) {
            (HttpVersion::Http1, _) | (HttpVersion::Auto, None) => Some(Protocol::Http1),
            (HttpVersion::Http2, _) => Some(Protocol::Http2),
            (HttpVersion::Auto, Some(_)) => None,
        }
    }

    /// The time that all of a connection's making may take.
    pub(crate) fn connect_limit(&self) -> Option<Duration> {
        self.0.connect_limit
    }

    /// What a request is told that waited in vain for a connection in the making.
    pub(crate) fn timed_out(&self) -> Error {
        dial::connect_too_long(&self.0)
    }

    /// SHA-256 over all that decides where connections go and what they trust and present: equal means interchangeable.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let endpoint = &*self.0;
        let mut digest = Digest::new();
        digest.list(endpoint.tls.iter().map(|tls| tls.fingerprint));
        digest.field(&[endpoint.version as u8, endpoint.spelling as u8]);
        digest.field(&endpoint.port.to_be_bytes());
        digest.field(endpoint.host.as_bytes());
        digest.finish()
    }
}

impl DialTarget {
    /// `host:port`, for people.
    fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}
