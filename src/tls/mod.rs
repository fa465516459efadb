//! TLS to services and token endpoints: trust, and every rustls setting.
//!
//! Promises that a [`ClientTls`] presents the linked certificate or does not exist, that each has sessions of its
//! own to resume (never another service's, nor those of a certificate that was replaced), and that a handshake's end
//! is one of four [`TlsFailure`]s. Leaves dialing to `transport`.

mod alert;
mod certificate;
mod certificate_error;
mod chain;
#[cfg(test)]
mod chains;
#[cfg(test)]
mod checked_names;
mod distinguished;
mod failure;
mod fitness;
mod flaw;
mod foreign;
mod handshake;
mod issuers;
mod key;
mod kind;
mod leaf;
#[cfg(test)]
mod openssl;
mod origin;
mod pem;
mod pkcs12;
mod server_certificate;
mod signature;
mod system;
#[cfg(test)]
mod tests;
#[cfg(any(test, feature = "bench"))]
pub(crate) mod trial;
mod trust;
mod verify;

use std::sync::{Arc, LazyLock};

use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{SupportedProtocolVersion, version};
use rustls_pki_types::{InvalidDnsNameError, ServerName};

pub(crate) use certificate::{Certificate, Leaf};
pub(crate) use failure::{Renegotiation, SILENT_END, TlsFailure};
#[cfg(test)]
pub(crate) use handshake::IssuerListing;
pub(crate) use handshake::{ClientCertificate, Observation, observed};
pub(crate) use key::compile as private_key;
pub(crate) use origin::TlsOrigin;
pub(crate) use server_certificate::ServerCertificateError;

use self::handshake::{LinkedCertificate, Sessions};
use self::trust::TrustAnchors;
use self::verify::ServerVerifier;
use crate::config::{self, At, HttpVersion, Inputs, Report, Span, TlsVersion};
use crate::digest::Digest;

/// All that one endpoint's TLS connections are made with. Cheap to clone; has its own store of resumable sessions.
#[derive(Clone, Debug)]
pub(crate) struct ClientTls {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) server_name: ServerName<'static>,
    /// Whose keys of the config made it, for what is told of a failure.
    pub(crate) origin: TlsOrigin,
    sessions: Arc<Sessions>,
    /// SHA-256 over everything that made it: roots, name, versions, pins, ALPN, the certificate's chain.
    /// Two with the same fingerprint trust and present the same.
    pub(crate) fingerprint: [u8; 32],
}

/// All of a [`ClientTls`] but the name of the server, for endpoints that are learnt of later.
#[derive(Clone, Debug)]
pub(crate) struct TlsTemplate {
    tls: config::Tls,
    /// `None`: the config says that nobody is checked.
    trust: Option<TrustAnchors>,
    certificate: Option<Arc<Certificate>>,
    version: HttpVersion,
    origin: TlsOrigin,
}

/// Where an endpoint was configured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TlsPlace {
    /// Its URL, for errors that concern no key of `tls`.
    pub(crate) url: Span,
    pub(crate) origin: TlsOrigin,
}

impl ClientTls {
    /// Builds it for the endpoint `host` (a name or an IP address, no brackets).
    ///
    /// `None` without a word where no secrets are read: CA files are not read then.
    pub(crate) fn compile(
        written: Option<&At<config::Tls>>,
        host: &str,
        certificate: Option<&Arc<Certificate>>,
        version: HttpVersion,
        place: TlsPlace,
        inputs: &Inputs,
        report: &mut Report,
    ) -> Option<Self> {
        let server_name = report_name(written.map(|written| &written.value), host, place.url, report);
        let nameless = TlsTemplate::compile(written, certificate, version, place, inputs, report);
        Some(nameless?.named(server_name?))
    }

    /// One of another making, as it is.
    #[cfg(test)]
    pub(crate) fn made_of(config: ClientConfig, server_name: ServerName<'static>) -> Self {
        let (sessions, origin) = (Arc::new(Sessions::new(1)), TlsOrigin::Service);
        Self { config: Arc::new(config), server_name, origin, sessions, fingerprint: [0; 32] }
    }

    /// The same with no session to resume: each handshake is a full one.
    pub(crate) fn unresumed(&self) -> Self {
        self.with(Sessions::new(1))
    }

    /// The same with sessions of its own: whether those are taken says nothing of these.
    pub(crate) fn apart(&self) -> Self {
        self.with(Sessions::new(SESSIONS))
    }

    fn with(&self, sessions: Sessions) -> Self {
        let (mut config, sessions) = (ClientConfig::clone(&self.config), Arc::new(sessions));
        config.resumption = Resumption::store(sessions.clone());
        Self { config: Arc::new(config), sessions, ..self.clone() }
    }

    /// The same, offering HTTP/1.1 alone.
    pub(crate) fn over_http1(&self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = protocols(HttpVersion::Http1);
        Self { config: Arc::new(config), ..self.clone() }
    }

    /// The same, offering no protocol: what is spoken inside is no HTTP.
    #[cfg(feature = "files")]
    pub(crate) fn without_protocols(&self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = Vec::new();
        Self { config: Arc::new(config), ..self.clone() }
    }

    /// Throws away all sessions: the service has refused one. One that refuses all that it is offered is not asked again.
    pub(crate) fn session_was_refused(&self) {
        self.sessions.refused(&self.server_name);
    }

    /// The service has resumed a session.
    pub(crate) fn session_was_resumed(&self) {
        self.sessions.resumed();
    }

    fn new(
        tls: &config::Tls,
        trust: Option<&TrustAnchors>,
        server_name: ServerName<'static>,
        certificate: Option<&Arc<Certificate>>,
        version: HttpVersion,
    ) -> Self {
        let fingerprint = fingerprint(tls, trust, &server_name, certificate, version);
        let mut config = unnegotiated(tls, trust, certificate);
        config.alpn_protocols = protocols(version);
        let sessions = Arc::new(Sessions::new(SESSIONS));
        config.resumption = Resumption::store(sessions.clone());
        Self { config: Arc::new(config), server_name, origin: TlsOrigin::Service, sessions, fingerprint }
    }
}

impl TlsTemplate {
    /// Builds it for endpoints of which one was configured at `place`; as [`ClientTls::compile`] does.
    pub(crate) fn compile(
        written: Option<&At<config::Tls>>,
        certificate: Option<&Arc<Certificate>>,
        version: HttpVersion,
        place: TlsPlace,
        inputs: &Inputs,
        report: &mut Report,
    ) -> Option<Self> {
        let tls = written.map(|written| written.value.clone()).unwrap_or_default();
        if let Some(written) = written {
            warn_of_danger(written, report);
        }
        if !inputs.reads_secrets() {
            return None;
        }
        let trust = if tls.danger_skip_verification {
            None
        } else {
            Some(TrustAnchors::compile(&tls, place.url, inputs, report)?)
        };
        Some(Self { tls, trust, certificate: certificate.cloned(), version, origin: place.origin })
    }

    /// For this host; `None`: its name is none that a certificate could be checked against.
    pub(crate) fn of(&self, host: &str) -> Option<ClientTls> {
        server_name(Some(&self.tls), host).ok().map(|name| self.named(name))
    }

    fn named(&self, server_name: ServerName<'static>) -> ClientTls {
        let made = ClientTls::new(&self.tls, self.trust.as_ref(), server_name, self.certificate.as_ref(), self.version);
        ClientTls { origin: self.origin, ..made }
    }
}

/// The one crypto provider of this process, named wherever rustls wants one: a default could be installed by anybody.
pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    &PROVIDER
}

/// The name that the endpoint's certificate must have: the one that is written, else the host's.
fn server_name(tls: Option<&config::Tls>, host: &str) -> Result<ServerName<'static>, InvalidDnsNameError> {
    let written = tls.and_then(|tls| tls.server_name.as_ref());
    ServerName::try_from(written.map_or(host, |written| &written.value).to_owned())
}

fn report_name(tls: Option<&config::Tls>, host: &str, place: Span, report: &mut Report) -> Option<ServerName<'static>> {
    let server_name = server_name(tls, host);
    if server_name.is_err() {
        let written = tls.and_then(|tls| tls.server_name.as_ref());
        let (name, span) = written.map_or((host, place), |written| (written.value.as_str(), written.span));
        report
            .error(span, format!("`{name}` is neither a DNS name nor an IP address"))
            .help("a service's certificate is checked against this name");
    }
    server_name.ok()
}

fn warn_of_danger(written: &At<config::Tls>, report: &mut Report) {
    if written.value.danger_skip_verification {
        report
            .warning(written.span, "danger_skip_verification: anybody on the way can pose as this service")
            .help("name the service's own CA instead: tls: { ca: PATH }");
    }
}

fn unnegotiated(
    tls: &config::Tls,
    trust: Option<&TrustAnchors>,
    certificate: Option<&Arc<Certificate>>,
) -> ClientConfig {
    let pins = tls.pin_sha256.iter().map(|pin| pin.value).collect();
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(provider())).with_protocol_versions(versions(tls.min_version));
    // Invariant: it fails only for a provider without a cipher suite for a version, and aws-lc-rs has some for both.
    #[allow(clippy::expect_used)]
    let builder = builder.expect("cipher suites").dangerous();
    let builder = builder.with_custom_certificate_verifier(Arc::new(ServerVerifier::new(trust, pins)));
    let linked = certificate.map(|certificate| Arc::clone(&certificate.presented));
    builder.with_client_cert_resolver(Arc::new(LinkedCertificate::new(linked)))
}

fn versions(least: Option<TlsVersion>) -> &'static [&'static SupportedProtocolVersion] {
    static FROM_1_2: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
    match least {
        Some(TlsVersion::Tls13) => &FROM_1_2[..1],
        Some(TlsVersion::Tls12) | None => &FROM_1_2,
    }
}

/// As rustls wants them.
fn protocols(version: HttpVersion) -> Vec<Vec<u8>> {
    alpn(version).iter().map(|protocol| protocol.to_vec()).collect()
}

fn alpn(version: HttpVersion) -> &'static [&'static [u8]] {
    match version {
        HttpVersion::Auto => &[b"h2", b"http/1.1"],
        HttpVersion::Http1 => &[b"http/1.1"],
        HttpVersion::Http2 => &[b"h2"],
    }
}

fn fingerprint(
    tls: &config::Tls,
    trust: Option<&TrustAnchors>,
    server_name: &ServerName<'_>,
    certificate: Option<&Arc<Certificate>>,
    version: HttpVersion,
) -> [u8; 32] {
    let mut pins: Vec<_> = tls.pin_sha256.iter().map(|pin| pin.value).collect();
    pins.sort_unstable();
    let least = tls.min_version.unwrap_or(TlsVersion::Tls12);
    let chain = certificate.map_or(&[][..], |certificate| &certificate.presented.cert);

    let mut fingerprint = Digest::new();
    fingerprint.list(trust.map(|trust| trust.fingerprint).iter());
    fingerprint.field(server_name.to_str().as_bytes());
    fingerprint.field(&[least as u8]);
    fingerprint.list(pins.iter());
    fingerprint.list(alpn(version).iter());
    fingerprint.list(chain.iter());
    fingerprint.finish()
}

/// Tickets kept for one endpoint, about 1 KiB each. Each is used once and mostly brings another: at 32 requests at a
/// time, each on a connection of its own, nine in ten handshakes find one. rustls keeps no more than this of a server.
const SESSIONS: usize = 8;
