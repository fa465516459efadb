//! The HTTP proxy on the way out: a tunnel through it is asked for with `CONNECT` (RFC 9110 §9.3.6), whatever the URL's
//! scheme, so that nothing of a request is ever the proxy's to read that TLS hides from others.
//!
//! Promises that a failure of the proxy is told as the proxy's, by its address and never with its user or password, and that
//! whoever is to be reached through one is never reached without.

mod handshake;
mod selector;
#[cfg(test)]
mod tests;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

pub(crate) use self::selector::{ProxySelector, WayOut, WhyDirect};

use super::Error;
use crate::coalesced_writes::Gathering;
use crate::code::Code;
use crate::config::{HttpVersion, Inputs, ProxyAddress, ProxyLogin, Report, Scheme, Span};
use crate::digest::Digest;
use crate::secret::Secret;
use crate::tls::{self, ClientTls, TlsFailure, TlsOrigin, TlsPlace};

/// An HTTP proxy, and how it is spoken to.
#[derive(Debug)]
pub(crate) struct OutboundProxy {
    address: ProxyAddress,
    /// For `https://`: trusts the system's authorities, and presents nothing.
    tls: Option<ClientTls>,
    /// The value of `Proxy-Authorization`.
    authorization: Option<Secret>,
}

/// The bytes that a proxy carries.
pub(super) enum Tunnel {
    Tcp(TcpStream),
    /// The proxy itself is reached over TLS.
    Tls(Box<TlsToProxy>),
}

pub(super) type TlsToProxy = TlsStream<Gathering<TcpStream>>;

impl OutboundProxy {
    /// `place` is where its URL is written, or that of the first who uses it. `None`: what is wrong has been reported, or no
    /// secrets are read.
    fn compile(
        address: &ProxyAddress,
        login: Option<&ProxyLogin>,
        place: Span,
        inputs: &Inputs,
        report: &mut Report,
    ) -> Option<Self> {
        let tls = match address.scheme {
            Scheme::Http | Scheme::Sftp | Scheme::Ftp | Scheme::Ftps | Scheme::OpenPgp => None,
            Scheme::Https => {
                let (host, version) = (&address.authority.host, HttpVersion::Http1);
                let place = TlsPlace { url: place, origin: TlsOrigin::OutboundProxy };
                Some(ClientTls::compile(None, host, None, version, place, inputs, report)?)
            }
        };
        Some(Self { address: address.clone(), tls, authorization: login.map(authorization) })
    }

    pub(super) fn host(&self) -> (&str, u16) {
        (&self.address.authority.host, self.address.authority.port)
    }

    /// Asks for a tunnel to `host:port` over a connection to the proxy.
    pub(super) async fn open_tunnel(&self, tcp: TcpStream, target: &str) -> Result<Tunnel, Error> {
        let login = self.authorization.as_ref();
        let failed = |failure| self.failed(failure);
        match &self.tls {
            None => {
                let mut tcp = tcp;
                handshake::connect(&mut tcp, target, login).await.map_err(failed)?;
                Ok(Tunnel::Tcp(tcp))
            }
            Some(tls) => {
                let mut stream = Box::new(self.shake(tls, tcp).await?);
                handshake::connect(&mut *stream, target, login).await.map_err(failed)?;
                Ok(Tunnel::Tls(stream))
            }
        }
    }

    /// In full each time: a proxy that refuses its own sessions would else cost a request.
    async fn shake(&self, tls: &ClientTls, tcp: TcpStream) -> Result<TlsToProxy, Error> {
        let tls = tls.unresumed();
        let connector = TlsConnector::from(tls.config.clone());
        let name: ServerName<'static> = tls.server_name.clone();
        let (outcome, seen) = tls::observed(tls.origin, async { connector.connect(name, Gathering(tcp)).await }).await;
        outcome.map_err(|error| {
            let (code, what) = match TlsFailure::of(error, &seen) {
                TlsFailure::Certificate(why) => (Code::TlsCertificateError, why.to_string()),
                TlsFailure::Alert(text) | TlsFailure::NoProtocol(text) => (Code::TlsAlertReceived, text),
                TlsFailure::Protocol(text) => (Code::TlsProtocolError, text),
                TlsFailure::Io(error) => (Code::ConnectionTerminated, error.to_string()),
            };
            self.failed(ProxyFailure { code, what: format!("can't be reached over TLS: {what}"), refused: false })
        })
    }

    /// The proxy's failure, as the failure of a connection.
    pub(super) fn failed(&self, ProxyFailure { code, what, refused }: ProxyFailure) -> Error {
        Error::Proxy { what: format!("{} {what}", self.address), code, refused }
    }

    /// Equal means that a connection through the one is as good as one through the other.
    fn digest(&self, digest: &mut Digest) {
        digest.field(self.address.to_string().as_bytes());
        digest.list(self.tls.iter().map(|tls| tls.fingerprint));
        digest.list(self.authorization.iter().map(|secret| secret.expose().as_bytes()));
    }
}

/// Where it is, for people: neither user nor password.
impl std::fmt::Display for OutboundProxy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.address.fmt(formatter)
    }
}

/// What a proxy did instead of opening a tunnel.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ProxyFailure {
    pub(super) code: Code,
    /// With the proxy as its subject.
    pub(super) what: String,
    /// Whether it was understood, and refused for good.
    pub(super) refused: bool,
}

/// RFC 7617 §2.
fn authorization(login: &ProxyLogin) -> Secret {
    let pair = Zeroizing::new([&login.username, ":", login.password.expose()].concat());
    let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
    Secret::of_parts(|| ["Basic ", &encoded].into_iter())
}
