//! Mutual TLS: which certificate is presented, whom Sidekey trusts, and what happens when files change.

use std::fs;
use std::process::{Child, Command, Stdio};

use crate::lab::certificates::{Authority, Validity, openssl};
use crate::lab::fault::{Fault, Gate, Reply};
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, free_port, until, until_listening};

const PAYMENTS: &str = "services: { payments: { url: $SERVICE/v1, certificate: partner } }";

/// One service with these settings; the certificate `partner` is described by `certificate`.
fn config(service: &str, certificate: &str) -> String {
    format!("services: {{ payments: {{ {service} }} }}\ncertificates: {{ partner: {{ {certificate} }} }}")
}

#[tokio::test]
async fn the_service_sees_the_linked_certificate() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(PAYMENTS).await;

    let seen = sidekey.get("/payments/orders").await.at_service();

    assert_eq!((seen.subject.as_str(), seen.fingerprint), ("CN=partner", lab.partner.fingerprint()));
}

#[tokio::test]
async fn a_key_may_come_in_every_usual_format() {
    let lab = Lab::start().await;
    lab.write("tls/pass", "correct horse\n");
    let tls = lab.path("tls");
    openssl(&tls, "ec -in partner.key -out sec1.key");
    openssl(&tls, "pkcs8 -topk8 -in partner.key -out encrypted.key -passout file:pass");
    openssl(&tls, "pkcs12 -export -in partner.pem -inkey partner.key -out modern.p12 -passout file:pass");
    openssl(&tls, "pkcs12 -export -legacy -in partner.pem -inkey partner.key -out legacy.p12 -passout file:pass");
    openssl(
        &tls,
        "pkcs12 -export -in partner.pem -inkey partner.key -certfile ca.pem -out chain.p12 -passout file:pass",
    );

    for certificate in [
        "chain: tls/partner.pem, key: tls/partner.key",
        "chain: tls/partner.pem, key: tls/sec1.key",
        "chain: tls/partner.pem, key: tls/encrypted.key, passphrase: { file: tls/pass }",
        "pkcs12: tls/modern.p12, passphrase: { file: tls/pass }",
        "pkcs12: tls/legacy.p12, passphrase: { file: tls/pass }",
        "pkcs12: tls/chain.p12, passphrase: { file: tls/pass }",
    ] {
        let sidekey = lab.sidekey(&config("url: $SERVICE, certificate: partner", certificate)).await;
        let seen = sidekey.get("/payments/orders").await.at_service();
        assert_eq!(seen.fingerprint, lab.partner.fingerprint(), "{certificate}");
    }
}

#[tokio::test]
async fn an_rsa_key_may_come_as_pkcs1() {
    let lab = Lab::start().await;
    let tls = lab.path("tls");
    openssl(&tls, "req -x509 -newkey rsa:2048 -noenc -keyout pkcs8.key -out rsa.pem -subj /CN=rsa -days 2");
    openssl(&tls, "rsa -traditional -in pkcs8.key -out pkcs1.key");
    assert!(fs::read_to_string(tls.join("pkcs1.key")).unwrap().contains("BEGIN RSA PRIVATE KEY"));

    let sidekey =
        lab.sidekey(&config("url: $SERVICE, certificate: partner", "chain: tls/rsa.pem, key: tls/pkcs1.key")).await;

    // nginx does not know who signed it, so it answers 400: it was presented all the same.
    let answer = sidekey.get("/payments/orders").await;
    assert_eq!(answer.status_of_service(), 400);
    assert!(answer.text().contains("SSL certificate error"), "{answer:?}");
}

#[tokio::test]
async fn a_key_that_does_not_match_ends_the_start_with_2() {
    let lab = Lab::start().await;
    let certificate = "chain: tls/partner.pem, key: tls/other.key";

    let sidekey = lab.sidekey_starting(&config("url: $SERVICE, certificate: partner", certificate));
    let (code, log) = sidekey.ended().await;

    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("certificate `partner`: the key does not belong to the certificate"), "{log}");
}

#[tokio::test]
async fn an_expired_client_certificate_is_presented_and_the_services_answer_passes_through() {
    let lab = Lab::start().await;
    lab.write_pair("partner", &lab.ca.client("partner", Validity::EXPIRED));
    let sidekey = lab.sidekey(PAYMENTS).await;

    let answer = sidekey.get("/payments/orders").await;

    assert_eq!(answer.status_of_service(), 400);
    assert!(answer.text().contains("The SSL certificate error"), "{answer:?}");
}

#[tokio::test]
async fn a_service_that_refuses_the_certificate_by_an_alert_is_tls_alert_received() {
    let lab = Lab::start().await;
    lab.write_pair("partner", &lab.ca.client("partner", Validity::EXPIRED));
    let server = OpensslServer::start(&lab, "-Verify 1 -verify_return_error -tls1_3").await;
    let sidekey =
        lab.sidekey(&format!("services: {{ payments: {{ url: {}, certificate: partner }} }}", server.url())).await;

    sidekey.get("/payments/orders").await.problem("tls_alert_received");
    sidekey.post("/payments/orders", "x").await.problem("tls_alert_received");
}

#[tokio::test]
async fn an_unknown_authority_is_a_tls_certificate_error() {
    let lab = Lab::start().await;
    let sidekey = lab
        .sidekey("services: { payments: { url: $SERVICE, certificate: partner, tls: { ca: tls/stranger-ca.pem } } }")
        .await;

    sidekey.get("/payments/orders").await.problem("tls_certificate_error");
}

#[tokio::test]
async fn own_authorities_replace_the_systems_unless_asked_otherwise() {
    let lab = Lab::start().await;
    let sidekey = lab
        .sidekey(
            "
services:
  system: { url: $SERVICE, certificate: partner }
  both: { url: $SERVICE, certificate: partner, tls: { ca: tls/stranger-ca.pem, system_roots: true } }
  list: { url: $SERVICE, certificate: partner, tls: { ca: [tls/stranger-ca.pem, tls/ca.pem] } }
",
        )
        .await;

    for service in ["system", "both", "list"] {
        sidekey.get(&format!("/{service}/x")).await.at_service();
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_a_tls_certificate_error_unless_that_name_is_expected() {
    let lab = Lab::start().await;
    let sidekey = lab
        .sidekey(
            "
services:
  surprised: { url: $SERVICE_MISNAMED, certificate: partner }
  expecting: { url: $SERVICE_MISNAMED, certificate: partner, tls: { server_name: elsewhere.example } }
",
        )
        .await;

    sidekey.get("/surprised/x").await.problem("tls_certificate_error");
    sidekey.get("/expecting/x").await.at_service();
}

#[tokio::test]
async fn a_pin_is_checked_on_top_of_the_authority() {
    let lab = Lab::start().await;
    let [right, wrong] = [lab.server.pin(), lab.partner.pin()];
    let sidekey = lab
        .sidekey(&format!(
            "
services:
  right: {{ url: $SERVICE, certificate: partner, tls: {{ pin_sha256: ['{wrong}', '{right}'] }} }}
  wrong: {{ url: $SERVICE, certificate: partner, tls: {{ pin_sha256: ['{wrong}'] }} }}
  stranger: {{ url: $SERVICE, certificate: partner, tls: {{ ca: tls/stranger-ca.pem, pin_sha256: ['{right}'] }} }}
"
        ))
        .await;

    sidekey.get("/right/x").await.at_service();
    sidekey.get("/wrong/x").await.problem("tls_certificate_error");
    sidekey.get("/stranger/x").await.problem("tls_certificate_error");
}

#[tokio::test]
async fn verification_can_be_skipped_and_that_is_said_aloud() {
    let lab = Lab::start().await;
    let tls = "{ ca: tls/stranger-ca.pem, danger_skip_verification: true }";
    let sidekey =
        lab.sidekey(&format!("services: {{ payments: {{ url: $SERVICE, certificate: partner, tls: {tls} }} }}")).await;

    sidekey.get("/payments/x").await.at_service();

    sidekey.until_logged("danger_skip_verification").await;
}

#[tokio::test]
async fn tls_1_2_is_spoken_unless_the_minimum_is_1_3() {
    let lab = Lab::start().await;
    let sidekey = lab
        .sidekey(
            "
services:
  old: { url: $SERVICE_TLS12, certificate: partner }
  new: { url: $SERVICE_TLS12, certificate: partner, tls: { min_version: 1.3 } }
",
        )
        .await;

    assert_eq!(sidekey.get("/old/x").await.at_service().subject, "CN=partner");
    sidekey.get("/new/x").await.problem("tls_alert_received");
}

#[tokio::test]
async fn tls_to_a_plain_port_is_a_tls_protocol_error() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey("services: { payments: { url: 'https://$SERVICE_PLAIN', certificate: partner } }").await;

    sidekey.get("/payments/orders").await.problem("tls_protocol_error");
}

#[tokio::test]
async fn http2_is_spoken_where_the_service_offers_it() {
    let lab = Lab::start().await;
    let sidekey = lab
        .sidekey(
            "
services:
  auto: { url: $SERVICE_HTTP2/v1, certificate: partner, auth: { type: bearer, token: abc } }
  old: { url: $SERVICE_HTTP2/v1, certificate: partner, http_version: 1.1 }
",
        )
        .await;

    let seen = sidekey.post("/auto/a//b?x=%20", "hello").await.at_service();

    assert_eq!((seen.protocol.as_str(), seen.subject.as_str()), ("HTTP/2.0", "CN=partner"));
    assert_eq!((seen.target.as_str(), seen.body.as_str()), ("/v1/a//b?x=%20", "hello"));
    assert_eq!(seen.authorization, "Bearer abc");
    assert_eq!(sidekey.get("/old/x").await.at_service().protocol, "HTTP/1.1");
}

#[tokio::test]
async fn two_services_on_one_host_with_different_certificates_never_share_a_connection() {
    for service in ["$SERVICE", "$SERVICE_HTTP2"] {
        let lab = Lab::start().await;
        let config = "
services:
  one: { url: $SERVICE, certificate: partner }
  two: { url: $SERVICE, certificate: other }
  none: { url: $SERVICE }
";
        let sidekey = lab.sidekey(&config.replace("$SERVICE", service)).await;
        let mut connections = [Vec::new(), Vec::new()];

        for _ in 0..20 {
            for (number, (name, subject)) in [("one", "CN=partner"), ("two", "CN=other")].into_iter().enumerate() {
                let seen = sidekey.get(&format!("/{name}/x")).await.at_service();
                assert_eq!(seen.subject, subject);
                connections[number].push(seen.connection);
            }
            // nginx wants a certificate: it must not get one of the neighbours'.
            assert_eq!(sidekey.get("/none/x").await.status_of_service(), 400);
        }

        let shared = connections[0].iter().find(|connection| connections[1].contains(connection));
        assert_eq!(shared, None, "{connections:?}");
    }
}

#[tokio::test]
async fn a_rotated_certificate_is_presented_by_new_connections_and_no_old_one_is_used_again() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(PAYMENTS).await;
    let before = sidekey.get("/payments/orders").await.at_service();

    let rotated = lab.rotate("partner");

    until_presented(&sidekey, &rotated.fingerprint()).await;
    for _ in 0..20 {
        let seen = sidekey.get("/payments/orders").await.at_service();
        assert_eq!(seen.fingerprint, rotated.fingerprint());
        assert_ne!(seen.connection, before.connection);
    }
}

#[tokio::test]
async fn a_running_request_ends_undisturbed_by_a_rotation() {
    let lab = Lab::start().await;
    let gate = Gate::closed();
    let held = gate.clone();
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst";
    let service = Fault::tls(&lab, move |_| Reply::raw(half).wait(&held).send("-last")).await;
    let sidekey =
        lab.sidekey(&format!("services: {{ payments: {{ url: '{}', certificate: partner }} }}", service.url())).await;
    let mut running = sidekey.raw("GET /payments/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    running.until("first").await;
    let generation = sidekey.generation().await;

    lab.rotate("partner");
    sidekey.until_reloaded_since(generation).await;
    gate.open();

    assert_eq!(running.answer().await.text(), "first-last");
}

#[tokio::test]
async fn a_certificate_replaced_before_its_key_keeps_the_old_pair_in_service() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(PAYMENTS).await;
    let new = lab.ca.client("partner", Validity::LONG);

    lab.write("tls/partner.pem", &new.chain);
    let error = sidekey.until_reload_refused().await;
    let seen = sidekey.get("/payments/orders").await.at_service();
    lab.write("tls/partner.key", &new.key);

    assert!(error.contains("does not belong to the certificate"), "{error}");
    assert_eq!(seen.fingerprint, lab.partner.fingerprint());
    until_presented(&sidekey, &new.fingerprint()).await;
}

#[tokio::test]
async fn a_half_written_certificate_keeps_the_old_one_in_service() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(PAYMENTS).await;
    let new = lab.ca.client("partner", Validity::LONG);

    // In place, as `cp` does it, and not to the end.
    fs::write(lab.path("tls/partner.pem"), &new.chain[..new.chain.len() / 2]).unwrap();
    sidekey.until_reload_refused().await;
    let seen = sidekey.get("/payments/orders").await.at_service();
    fs::write(lab.path("tls/partner.key"), &new.key).unwrap();
    fs::write(lab.path("tls/partner.pem"), &new.chain).unwrap();

    assert_eq!(seen.fingerprint, lab.partner.fingerprint());
    until_presented(&sidekey, &new.fingerprint()).await;
}

#[tokio::test]
async fn a_rotated_authority_is_trusted_by_new_connections() {
    let lab = Lab::start().await;
    lab.write("tls/trust.pem", &fs::read_to_string(lab.path("tls/stranger-ca.pem")).unwrap());
    let sidekey = lab
        .sidekey("services: { payments: { url: $SERVICE, certificate: partner, tls: { ca: tls/trust.pem } } }")
        .await;
    sidekey.get("/payments/orders").await.problem("tls_certificate_error");

    lab.write("tls/trust.pem", &lab.ca.pem);

    until("trust", async || (sidekey.get("/payments/orders").await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn certificates_that_expire_are_warned_about() {
    let lab = Lab::start().await;
    for (validity, days) in
        [(Validity::EXPIRED, "expired"), (Validity::NOT_YET, "not valid before"), (Validity::ENDS_SOON, "7 days")]
    {
        lab.write_pair("partner", &lab.ca.client("partner", validity));
        let sidekey = lab.sidekey(PAYMENTS).await;
        let log = until("a warning", async || {
            let log = sidekey.log();
            log.contains("WARN").then_some(log)
        })
        .await;
        assert!(log.contains("partner") && log.contains(days), "{days}: {log}");
    }
}

async fn until_presented(sidekey: &Sidekey, fingerprint: &str) {
    until("the new certificate", async || {
        let seen = sidekey.get("/payments/orders").await.at_service();
        (seen.fingerprint == fingerprint).then_some(())
    })
    .await;
}

/// `openssl s_server`, which speaks its mind in alerts.
struct OpensslServer {
    process: Child,
    port: u16,
}

impl OpensslServer {
    async fn start(lab: &Lab, options: &str) -> Self {
        let port = free_port();
        let process = Command::new("openssl")
            .args(
                format!(
                    "s_server -quiet -www -accept 127.0.0.1:{port} -cert server.pem -key server.key -CAfile ca.pem"
                )
                .split(' '),
            )
            .args(options.split(' '))
            .current_dir(lab.path("tls"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until_listening(port).await;
        Self { process, port }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }
}

impl Drop for OpensslServer {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

#[tokio::test]
async fn the_roots_of_the_system_are_watched() {
    let lab = Lab::start().await;
    fs::create_dir(lab.path("roots")).unwrap();
    lab.write("roots.pem", &Authority::new("another").pem);
    let path = |name: &str| lab.path(name).display().to_string();
    let roots = [("SSL_CERT_FILE", path("roots.pem")), ("SSL_CERT_DIR", path("roots"))];
    let sidekey = lab.sidekey_with(PAYMENTS, &[], &roots).await;
    assert_eq!(sidekey.get("/payments/orders").await.status, 502);

    let generation = sidekey.generation().await;
    lab.write("roots/lab.pem", &lab.ca.pem);
    sidekey.until_reloaded_since(generation).await;
    assert_eq!(sidekey.get("/payments/orders").await.status_of_service(), 200);
    sidekey.until_logged("reloaded: service `payments` changed (tls").await;

    let generation = sidekey.generation().await;
    fs::remove_file(lab.path("roots/lab.pem")).unwrap();
    sidekey.until_reloaded_since(generation).await;
    assert_eq!(sidekey.get("/payments/orders").await.status, 502);

    // As `update-ca-certificates` does it.
    let generation = sidekey.generation().await;
    lab.write("roots.new", &lab.ca.pem);
    fs::rename(lab.path("roots.new"), lab.path("roots.pem")).unwrap();
    sidekey.until_reloaded_since(generation).await;
    assert_eq!(sidekey.get("/payments/orders").await.status_of_service(), 200);
}
