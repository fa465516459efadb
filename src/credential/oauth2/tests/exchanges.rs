//! Token requests over real connections.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::{Slots, refresh};
use crate::config::{self, ConfigSource, Inputs, Report, Secrets};
use crate::credential::tests::{credential, outgoing};
use crate::credential::{Attachments, Credential, Error, Material, SubjectTokens};
use crate::demo::Demo;
use crate::name::ServiceName;
use crate::tls::Certificate;

/// Starts the loops of all new slots.
fn start(slots: &Slots) {
    for slot in slots.take_new() {
        tokio::task::spawn_local(refresh::run(Arc::downgrade(&slot)));
    }
}

/// What the credential puts into `Authorization`.
async fn authorization(credential: &Credential) -> Result<String, Error> {
    let mut request = outgoing("/", &[]);
    credential.authorize(&RefCell::new(Attachments::default()), &SubjectTokens::default(), &mut request).await?;
    Ok(request.fields[AUTHORIZATION].to_str().expect("ASCII").to_owned())
}

/// Answers one connection with these bytes, and says what came.
async fn answer_once(listener: TcpListener, answer: Vec<u8>) -> String {
    let (mut connection, _) = listener.accept().await.expect("a connection");
    let mut came = Vec::new();
    while !came.ends_with(b"tenant=t1") {
        let mut buffer = [0; 1024];
        let read = connection.read(&mut buffer).await.expect("a request");
        assert_ne!(read, 0, "the request broke off");
        came.extend_from_slice(&buffer[..read]);
    }
    // Whoever hears enough hangs up.
    connection.write_all(&answer).await.ok();
    String::from_utf8(came).expect("text")
}

/// One token request against an endpoint that answers these bytes: what came of it, and what the endpoint saw.
async fn ask(answer: Vec<u8>) -> (Result<String, Error>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let endpoint = tokio::task::spawn_local(answer_once(listener, answer));
    let slots = Slots::default();
    let credential = credential(
        &format!(
            "auth: {{ type: oauth2_client_credentials, token_url: 'http://127.0.0.1:{port}/token?v=1', client_id: app, \
             client_secret: s3cret, scope: [read, write], params: {{ tenant: t1 }}, timeout: 2s }}"
        ),
        &slots,
    );
    start(&slots);
    (authorization(&credential).await, endpoint.await.expect("the endpoint"))
}

fn answer(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[tokio::test(flavor = "local")]
async fn a_token_request_is_a_form_and_its_answer_a_token() {
    let (sent, seen) = ask(answer("200 OK", "{\"access_token\":\"abc\",\"expires_in\":60}")).await;

    assert_eq!(sent.expect("a token"), "Bearer abc");
    let (head, form) = seen.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("POST /token?v=1 HTTP/1.1\r\nhost: 127.0.0.1:"), "{head}");
    for line in [
        "accept: application/json",
        "accept-encoding: identity",
        "authorization: Basic YXBwOnMzY3JldA==",
        "content-type: application/x-www-form-urlencoded",
        concat!("user-agent: sidekey/", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(head.contains(&format!("\r\n{line}")), "{line} in {head}");
    }
    assert_eq!(form, "grant_type=client_credentials&scope=read+write&tenant=t1");
}

#[track_caller]
fn check_failure(asked: (Result<String, Error>, String), what: &str) {
    let text = asked.0.expect_err(what).to_string();

    assert!(text.contains(what), "{what} in {text}");
    assert!(!text.contains("s3cret"), "{text}");
}

#[tokio::test(flavor = "local")]
async fn an_endpoint_that_misbehaves_is_a_failure_with_a_reason() {
    check_failure(ask(answer("302 Found", "")).await, "answered 302 with an empty body");
    check_failure(ask(answer("200 OK", &"x".repeat(10 << 20))).await, "answered 200 with more than 64 KiB");
    check_failure(ask(answer("200 OK", "")).await, "answered 200 with an empty body");
    check_failure(ask(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()).await, "gave no answer: ");
    check_failure(ask(Vec::new()).await, "gave no answer: ");
    check_failure(ask(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".to_vec()).await, "broke its answer off");
    let rejected = answer("400 Bad Request", "{\"error\":\"invalid_client\",\"error_description\":\"not s3cret\"}");
    check_failure(ask(rejected).await, "answered 400 `invalid_client`; ");
}

#[tokio::test(flavor = "local")]
async fn an_endpoint_that_hangs_is_given_up_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/token", listener.local_addr().expect("an address"));
    let slots = Slots::default();
    let method = format!("type: oauth2_client_credentials, token_url: '{url}', client_id: app, timeout: 200ms");
    let credential = credential(&format!("auth: {{ {method} }}"), &slots);
    start(&slots);

    let error = authorization(&credential).await.expect_err("no answer");

    let text = error.to_string();
    assert!(text.contains(" made us wait for its whole answer until `timeout` (200ms) was over; "), "{text}");
}

/// The credential of the demo's service, presenting its certificate.
fn demo_credential(demo: &Demo, slots: &Slots) -> (Credential, Arc<Certificate>) {
    let inputs = Inputs::new(Secrets::Read);
    let (config, mut report): (_, Report) = config::load(&ConfigSource::Path(demo.config_path()), &inputs);
    let config = config.expect("the demo's config");
    let (name, written) = config.certificates.first_key_value().expect("a certificate");
    let certificate = Certificate::compile(name, written, &inputs, &mut report).expect("a certificate");
    let service = &config.services[Demo::SERVICE].value;
    let certificates = BTreeMap::from([(name.clone(), Arc::clone(&certificate))]);
    let material = Material {
        inputs: &inputs,
        name: &ServiceName::parse("api").expect("a name"),
        service,
        certificate: Some(&certificate),
        certificates: &certificates,
        slots,
        first_tokens: None,
        tls_cache: &<_>::default(),
        proxies: &<_>::default(),
    };
    (Credential::compile(&material, &mut report).expect("a credential"), certificate)
}

#[tokio::test(flavor = "local")]
async fn a_token_is_had_over_mutual_tls_and_bound_to_the_certificate() {
    let demo = Demo::start().await.expect("the demo");
    let slots = Slots::default();
    let (credential, certificate) = demo_credential(&demo, &slots);
    start(&slots);

    let sent = authorization(&credential).await.expect("a token");

    assert!(sent.starts_with("Bearer ey"), "{sent}");
    assert_eq!(credential.slot().expect("a slot").certificate(), Some(certificate.leaf.sha256));
    let slot = credential.slot().expect("a slot");
    assert!(slot.is_live());
    assert!(slot.expires().expect("an expiry").since(crate::clock::Moment::now()) > Duration::from_secs(1));
}

#[tokio::test(flavor = "local")]
async fn nothing_is_asked_of_the_endpoint_without_the_certificate_that_is_linked() {
    let demo = Demo::start().await.expect("the demo");
    let inputs = Inputs::new(Secrets::Read);
    let (config, mut report) = config::load(&ConfigSource::Path(demo.config_path()), &inputs);
    let config = config.expect("the demo's config");
    let service = &config.services[Demo::SERVICE].value;
    let slots = Slots::default();

    let material = Material {
        inputs: &inputs,
        name: &ServiceName::parse("api").expect("a name"),
        service,
        certificate: None,
        certificates: &BTreeMap::new(),
        slots: &slots,
        first_tokens: None,
        tls_cache: &<_>::default(),
        proxies: &<_>::default(),
    };

    assert!(Credential::compile(&material, &mut report).is_none());
    assert!(slots.take_new().is_empty());
}
