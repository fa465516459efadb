//! TLS servers that nobody here wrote, with the habits that they have.

use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use crate::lab::fault::{Fault, Reply};
use crate::lab::part::Part;
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, bed};

/// A server of pyOpenSSL's; `how` is told in its script.
async fn server(lab: &Lab, how: &str, version: &str) -> Part {
    let files = ["tls/server.pem", "tls/server.key", "tls/ca.pem"].map(|file| lab.path(file).display().to_string());
    let arguments: Vec<_> = [how, version].map(str::to_owned).into_iter().chain(files).collect();
    Part::start(bed::python(), "tests/client/tls_server.py", &arguments).await
}

async fn sidekey(lab: &Lab, server: &Part, certificate: &str) -> Sidekey {
    let port = server.port("port").unwrap();
    let service = format!("url: 'https://localhost:{port}', {certificate} tls: {{ ca: tls/ca.pem }}");
    lab.sidekey(&format!("services: {{ payments: {{ {service}, timeouts: {{ response: 30s }} }} }}")).await
}

#[tokio::test]
async fn a_session_that_the_server_refuses_is_forgotten_and_the_handshake_made_in_full() {
    let lab = Lab::start().await;
    for version in ["1.2", "1.3"] {
        let server = server(&lab, "no-context", version).await;
        let sidekey = sidekey(&lab, &server, "certificate: partner,").await;

        for number in 1..=12 {
            let answer = sidekey.get("/payments/").await;

            assert_eq!((answer.status, answer.text()), (200, format!("{{\"handshakes\": {number}}}")), "TLS {version}");
        }
    }
}

#[tokio::test]
async fn a_renegotiation_is_refused_at_once_and_told() {
    let lab = Lab::start().await;
    for how in ["renegotiate", "insist"] {
        let server = server(&lab, how, "1.2").await;
        let sidekey = sidekey(&lab, &server, "certificate: partner,").await;

        for request in 0..3 {
            let answer = timeout(Duration::from_secs(10), sidekey.get("/payments/")).await.expect("an answer at once");

            let detail = answer.problem("tls_protocol_error");
            assert!(detail.contains("asked for a renegotiation"), "{how} {request}: {detail}");
        }
    }
}

#[tokio::test]
async fn a_close_without_an_alert_is_told_by_what_was_seen_before() {
    let lab = Lab::start().await;
    for version in ["1.2", "1.3"] {
        let server = server(&lab, "silent", version).await;
        let sidekey = sidekey(&lab, &server, "certificate: partner,").await;

        let detail = sidekey.get("/payments/").await.problem("connection_terminated");

        assert!(detail.contains("our client certificate was shown before"), "TLS {version}: {detail}");
        assert!(!detail.contains("http"), "{detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_online_says_where_no_certificate_was_asked_for_and_minds_it_only_where_it_is_linked_for_nothing_else() {
    let lab = Lab::start().await;
    let idp = Fault::idp(|_| Reply::token("abc", 300)).await;
    let auth = format!(
        "auth: {{ type: oauth2_client_credentials, token_url: '{}', client_id: me, client_secret: hunter2-hunter2 }}",
        idp.url()
    );
    for version in ["1.2", "1.3"] {
        // It asks for none in the handshake.
        let server = server(&lab, "renegotiate", version).await;
        let url = format!("url: 'https://localhost:{}', tls: {{ ca: tls/ca.pem }}", server.port("port").unwrap());
        lab.write(
            "sidekey.yaml",
            &format!(
                "certificates: {{ partner: {{ chain: tls/partner.pem, key: tls/partner.key }} }}
services:
  for-both: {{ {url}, certificate: partner, {auth} }}
  linked: {{ {url}, certificate: partner }}
  without: {{ {url} }}"
            ),
        );

        let ended = tokio::task::block_in_place(|| lab.run("check --online --format json"));

        assert_eq!(ended.code, Some(0), "TLS {version}: {ended:?}");
        let problems: Value = serde_json::from_str(&ended.stdout).unwrap();
        let told = problems.as_array().unwrap().iter().map(|problem| problem["message"].as_str().unwrap());
        let told: Vec<_> = told.filter(|message| message.contains("client certificate")).collect();
        let words = "`linked`: the service asked for no client certificate, so that none was shown";
        assert_eq!(told, [words], "TLS {version}: {problems:#}");
    }
}
