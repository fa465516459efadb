//! TLS servers that nobody here wrote, with the habits that they have.

use std::time::Duration;

use tokio::time::timeout;

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
