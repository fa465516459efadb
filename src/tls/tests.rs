//! Handshakes, rustls against rustls over memory.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{HandshakeKind, ServerConfig};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::leaf::public_key;
use super::*;
use crate::demo::certificates::{CertificateAuthority, Issued, named};
use crate::digest::sha256;
use crate::name::CertificateName;

/// A CA, a server of it for loopback names, and a client that trusts it.
struct Lab {
    authority: CertificateAuthority,
    server: Issued,
    written: config::Tls,
    host: &'static str,
    certificate: Option<Arc<Certificate>>,
    version: HttpVersion,
}

impl Lab {
    fn new() -> Self {
        let authority = CertificateAuthority::new("Test CA").unwrap();
        let server = authority.server().unwrap();
        let (written, host) = (config::Tls::default(), "localhost");
        Self { authority, server, written, host, certificate: None, version: HttpVersion::Auto }
    }

    fn client(&self) -> ClientTls {
        self.client_that_trusts(&self.authority)
    }

    fn client_that_trusts(&self, authority: &CertificateAuthority) -> ClientTls {
        let trust = TrustAnchors::new(vec![authority.certificate().clone()], None);
        let trust = (!self.written.danger_skip_verification).then_some(&trust);
        let server_name = ServerName::try_from(self.host).unwrap();
        ClientTls::new(&self.written, trust, server_name, self.certificate.as_ref(), self.version)
    }

    fn server(&self) -> ServerConfig {
        let mut config = builder(&version::TLS13)
            .with_no_client_auth()
            .with_single_cert(vec![self.server.certificate.clone()], self.server.key())
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
        config
    }

    fn server_that_wants_a_certificate(&self, version: &'static SupportedProtocolVersion) -> ServerConfig {
        let roots = Arc::new(self.authority.roots().unwrap());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider())).build().unwrap();
        builder(version)
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![self.server.certificate.clone()], self.server.key())
            .unwrap()
    }

    fn pin(&self) -> [u8; 32] {
        sha256(public_key(&self.server.certificate).unwrap())
    }
}

fn builder(version: &'static SupportedProtocolVersion) -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(Arc::clone(provider())).with_protocol_versions(&[version]).unwrap()
}

fn certificate(issued: &Issued) -> Arc<Certificate> {
    let key = key::read(issued.key_pem().as_bytes(), None).unwrap();
    Arc::new(Certificate {
        name: CertificateName::parse("app").unwrap(),
        title: "app".to_owned(),
        leaf: Leaf::read(&issued.certificate).unwrap(),
        presented: Arc::new(CertifiedKey::new(vec![issued.certificate.clone()], key)),
    })
}

fn pinned(pin: [u8; 32]) -> Vec<At<[u8; 32]>> {
    vec![At { value: pin, span: Span::default() }]
}

/// Shakes hands and reads one byte: what a server of TLS 1.3 thinks of our certificate comes after the handshake.
async fn shake(client: &ClientTls, server: ServerConfig) -> Result<TlsStream<DuplexStream>, TlsFailure> {
    let (near, far) = duplex(64 << 10);
    let server = async {
        if let Ok(mut stream) = TlsAcceptor::from(Arc::new(server)).accept(far).await {
            stream.write_all(b"!").await.unwrap();
        }
    };
    let ((answer, seen), ()) = tokio::join!(observed(TlsOrigin::Service, first_byte(client, near)), server);
    answer.map_err(|error| TlsFailure::of(error, &seen))
}

async fn first_byte(client: &ClientTls, near: DuplexStream) -> std::io::Result<TlsStream<DuplexStream>> {
    let connector = TlsConnector::from(Arc::clone(&client.config));
    let mut stream = connector.connect(client.server_name.clone(), near).await?;
    stream.read_u8().await?;
    Ok(stream)
}

#[track_caller]
fn refused<T>(answer: Result<T, TlsFailure>) -> String {
    match answer.map(drop).unwrap_err() {
        TlsFailure::Certificate(why) => why.to_string(),
        other => panic!("no certificate error: {other:?}"),
    }
}

#[tokio::test]
async fn a_service_of_the_named_ca_is_trusted_by_name_and_by_address() {
    let mut lab = Lab::new();
    for host in ["localhost", "127.0.0.1", "::1"] {
        lab.host = host;

        let stream = shake(&lab.client(), lab.server()).await.unwrap();

        assert_eq!(stream.get_ref().1.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3), "{host}");
    }
}

#[tokio::test]
async fn the_key_exchange_is_post_quantum_where_the_service_can() {
    let lab = Lab::new();

    let stream = shake(&lab.client(), lab.server()).await.unwrap();

    let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
}

#[tokio::test]
async fn a_service_of_another_ca_is_not_trusted() {
    let lab = Lab::new();
    let client = lab.client_that_trusts(&CertificateAuthority::new("Another CA").unwrap());

    let text = refused(shake(&client, lab.server()).await);

    let expected = "the service's certificate comes from a CA that is not trusted here, CN=Test CA; name that CA in `tls.ca`; \
         or, if it is an intermediate one, have the service send its certificate too, which it did not";
    assert_eq!(text, expected);
}

fn untrusted(chain: &[rustls_pki_types::CertificateDer<'_>], trust: &TrustAnchors) -> String {
    let chain = server_certificate::Chain { leaf: &chain[0], others: &chain[1..], roots: Some(&trust.roots) };
    ServerCertificateError::of(&rustls::CertificateError::UnknownIssuer, &chain, TlsOrigin::Service).to_string()
}

/// What is said of a chain from a leaf of `signed_by` on, with `sent` beside it, where `Another CA` is trusted.
fn said_of(signed_by: &CertificateAuthority, sent: &[&CertificateAuthority]) -> String {
    let issued = signed_by.server().unwrap();
    let mut chain = vec![issued.certificate.clone()];
    chain.extend(sent.iter().map(|authority| authority.certificate().clone()));
    let trust = TrustAnchors::new(vec![CertificateAuthority::new("Another CA").unwrap().certificate().clone()], None);
    untrusted(&chain, &trust)
}

#[test]
fn the_issuer_that_is_missing_is_named() {
    let [private, another] = ["Private CA", "Another CA"].map(|name| CertificateAuthority::new(name).unwrap());

    assert!(said_of(&private, &[]).contains("CN=Private CA; name that CA in `tls.ca`; or, if it is an intermediate"));
    assert!(said_of(&private, &[&private]).ends_with("CN=Private CA; name that CA in `tls.ca`"));
    assert!(
        said_of(&private, &[&another])
            .contains("CN=Private CA; name that CA in `tls.ca`; or, if it is an intermediate")
    );
    assert!(said_of(&another, &[]).contains("a CA of that name is trusted here, but with another key"));
    let itself = private.certificate();
    let trust = TrustAnchors::new(vec![another.certificate().clone()], None);
    assert!(untrusted(std::slice::from_ref(itself), &trust).contains("is self-signed, CN=Private CA"));
}

#[tokio::test]
async fn a_certificate_that_is_itself_named_as_a_ca_is_trusted_as_it_is() {
    let mut params = named("service");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.subject_alt_names = vec![rcgen::SanType::DnsName("localhost".try_into().unwrap())];
    let shown = async |params: &rcgen::CertificateParams, host: &'static str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let itself = params.self_signed(&key).unwrap().der().clone();
        let trust = TrustAnchors::new(vec![itself.clone()], None);
        let name = ServerName::try_from(host).unwrap();
        let client = ClientTls::new(&config::Tls::default(), Some(&trust), name, None, HttpVersion::Auto);
        let key = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let server = builder(&version::TLS13).with_no_client_auth().with_single_cert(vec![itself], key).unwrap();
        shake(&client, server).await
    };

    shown(&params, "localhost").await.unwrap();
    assert!(refused(shown(&params, "elsewhere.example").await).contains("is for localhost, not for elsewhere.example"));
    params.not_after = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
    assert!(refused(shown(&params, "localhost").await).contains("expired at 2023-11-14"));
}

#[tokio::test]
async fn a_service_of_another_name_is_not_trusted() {
    let mut lab = Lab::new();
    lab.host = "api.partner.example";

    let text = refused(shake(&lab.client(), lab.server()).await);

    assert_eq!(
        text,
        "the service's certificate is for localhost, 127.0.0.1, ::1, not for api.partner.example; \
         if that is meant, say so with `tls.server_name` (and `host_header`, where a service goes by `Host` too)"
    );
}

#[tokio::test]
async fn names_of_a_services_certificate_steer_no_terminal() {
    let mut lab = Lab::new();
    let names = ["a\u{1b}[31mx\r\nERROR.example".to_owned(), "b".repeat(300)];
    let mut params = named("localhost");
    params.subject_alt_names = names.map(|name| rcgen::SanType::DnsName(name.try_into().unwrap())).into();
    lab.server = lab.authority.issue(&params).unwrap();

    let said = refused(shake(&lab.client(), lab.server()).await);
    let named = format!("is for a\\u{{1b}}[31mx\\r\\nERROR.example, {}…, not for localhost", "b".repeat(200));
    assert!(said.contains(&named), "{said:?}");
}

#[tokio::test]
async fn an_expired_certificate_of_the_service_is_named_so() {
    let mut lab = Lab::new();
    let mut params = named("localhost");
    params.subject_alt_names = vec![rcgen::SanType::DnsName("localhost".try_into().unwrap())];
    params.not_after = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
    params.not_before = params.not_after - Duration::from_secs(60);
    lab.server = lab.authority.issue(&params).unwrap();

    let text = refused(shake(&lab.client(), lab.server()).await);

    assert_eq!(text, "the service's certificate expired at 2023-11-14T22:13:20Z; or the clock here is wrong");
}

#[tokio::test]
async fn a_pin_admits_the_one_key_and_names_the_key_it_refuses() {
    let mut lab = Lab::new();
    lab.written.pin_sha256 = pinned(lab.pin());
    shake(&lab.client(), lab.server()).await.unwrap();

    lab.written.pin_sha256 = pinned([7; 32]);
    let text = refused(shake(&lab.client(), lab.server()).await);

    assert!(text.contains(&STANDARD.encode(lab.pin())), "{text}");
}

#[tokio::test]
async fn a_pin_does_not_replace_the_ca() {
    let mut lab = Lab::new();
    lab.written.pin_sha256 = pinned(lab.pin());
    let client = lab.client_that_trusts(&CertificateAuthority::new("Another CA").unwrap());

    refused(shake(&client, lab.server()).await);
}

#[tokio::test]
async fn without_verification_any_chain_will_do_but_a_pin_still_counts() {
    let mut lab = Lab::new();
    lab.host = "api.partner.example";
    lab.written.danger_skip_verification = true;
    shake(&lab.client(), lab.server()).await.unwrap();

    lab.written.pin_sha256 = pinned([7; 32]);
    refused(shake(&lab.client(), lab.server()).await);
}

#[tokio::test]
async fn a_service_below_the_least_version_is_refused() {
    let mut lab = Lab::new();
    lab.certificate = Some(certificate(&lab.authority.client("app").unwrap()));
    shake(&lab.client(), lab.server_that_wants_a_certificate(&version::TLS12)).await.unwrap();

    lab.written.min_version = Some(TlsVersion::Tls13);
    let failure = shake(&lab.client(), lab.server_that_wants_a_certificate(&version::TLS12)).await.map(drop);

    assert_eq!(
        failure.unwrap_err().to_string(),
        "the service ended it with the TLS alert protocol_version: \
         it speaks none of the TLS versions that `tls.min_version` allows"
    );
}

#[tokio::test]
async fn the_linked_certificate_is_presented() {
    let mut lab = Lab::new();
    let app = lab.authority.client("app").unwrap();
    lab.certificate = Some(certificate(&app));

    for version in [&version::TLS12, &version::TLS13] {
        shake(&lab.client(), lab.server_that_wants_a_certificate(version)).await.unwrap();
    }
}

#[tokio::test]
async fn a_service_that_misses_our_certificate_says_so_by_an_alert() {
    let lab = Lab::new();

    let failure = shake(&lab.client(), lab.server_that_wants_a_certificate(&version::TLS13)).await.map(drop);

    let text = match failure.unwrap_err() {
        TlsFailure::Alert(text) => text,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        text,
        "the service ended it with the TLS alert certificate_required: \
         it wants a client certificate; link one with `certificate`"
    );
}

#[tokio::test]
async fn what_speaks_no_tls_is_told_from_what_breaks_off() {
    let lab = Lab::new();
    let client = lab.client();
    let answer = async |bytes: &'static [u8]| {
        let (near, mut far) = duplex(64 << 10);
        let server = async {
            far.write_all(bytes).await.unwrap();
            far.shutdown().await.unwrap();
            far
        };
        let ((answer, seen), _far) = tokio::join!(observed(TlsOrigin::Service, first_byte(&client, near)), server);
        TlsFailure::of(answer.map(drop).unwrap_err(), &seen)
    };

    let plain = answer(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let gone = answer(b"").await;

    assert!(matches!(&plain, TlsFailure::Protocol(text) if text.contains("begins with http://")), "{plain:?}");
    assert!(matches!(&gone, TlsFailure::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof), "{gone:?}");
}

#[tokio::test]
async fn http_versions_are_offered_as_configured() {
    let mut lab = Lab::new();
    let mut offered = Vec::new();
    for version in [HttpVersion::Auto, HttpVersion::Http1, HttpVersion::Http2] {
        lab.version = version;
        let stream = shake(&lab.client(), lab.server()).await.unwrap();
        offered.push(stream.get_ref().1.alpn_protocol().unwrap().to_vec());
    }

    // The server prefers HTTP/1.1, and can have it where it is offered.
    assert_eq!(offered, [b"http/1.1".to_vec(), b"http/1.1".to_vec(), b"h2".to_vec()]);
}

#[tokio::test]
async fn sessions_are_resumed_by_one_client_and_never_by_another_of_the_same_making() {
    let lab = Lab::new();
    let server = lab.server();
    let (one, other) = (lab.client(), lab.client());
    let kind = async |client: &ClientTls| {
        let stream = shake(client, server.clone()).await.unwrap();
        stream.get_ref().1.handshake_kind().unwrap()
    };

    assert_ne!(kind(&one).await, HandshakeKind::Resumed);
    assert_eq!(kind(&one).await, HandshakeKind::Resumed);
    assert_ne!(kind(&other).await, HandshakeKind::Resumed);

    // A refusal of its sessions is none of the others.
    let apart = one.apart();
    apart.session_was_refused();
    assert_ne!(kind(&apart).await, HandshakeKind::Resumed);
    assert_eq!(kind(&one).await, HandshakeKind::Resumed);
}

#[test]
fn a_fingerprint_covers_all_that_makes_a_client() {
    let mut lab = Lab::new();
    let changes: [fn(&mut Lab); 7] = [
        |lab| lab.host = "127.0.0.1",
        |lab| lab.version = HttpVersion::Http1,
        |lab| lab.written.min_version = Some(TlsVersion::Tls13),
        |lab| lab.written.pin_sha256 = pinned([7; 32]),
        |lab| lab.certificate = Some(certificate(&lab.authority.client("app").unwrap())),
        |lab| lab.authority = CertificateAuthority::new("Test CA").unwrap(),
        |lab| lab.written.danger_skip_verification = true,
    ];
    let mut seen = vec![lab.client().fingerprint];
    assert_eq!(lab.client().fingerprint, seen[0]);

    for change in changes {
        change(&mut lab);

        let fingerprint = lab.client().fingerprint;

        assert!(!seen.contains(&fingerprint), "change {} is not seen", seen.len());
        seen.push(fingerprint);
    }
}

#[test]
fn a_certificate_is_the_same_as_long_as_its_chain_is() {
    let authority = CertificateAuthority::new("Test CA").unwrap();
    let issued = authority.client("app").unwrap();
    let renewed = authority.client("app").unwrap();

    assert!(certificate(&issued).same_material(&certificate(&issued)));
    assert!(!certificate(&issued).same_material(&certificate(&renewed)));
}
