//! What servers that others wrote make of our client certificate, and the words for it; `docs/partners.md` has both.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::lab::Lab;
use crate::lab::client::{Answer, Request};
use crate::lab::sidekey::Sidekey;
use crate::lab::tls_partners::{Shown, TlsPartners, VERSIONS, Way};

/// Those that start at once.
const QUICK: [&str; 8] =
    ["nginx", "apache", "haproxy", "lighttpd-openssl", "lighttpd-gnutls", "stunnel", "gnutls-serv", "node"];

/// Those that are installed or built for minutes, by `./test field`.
const SLOW: [&str; 3] = ["go", "tomcat", "envoy"];

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_minds_is_named_in_the_answer_in_check_and_in_the_documentation() {
    check(&QUICK).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "Go, Tomcat and Envoy: ./test field"]
async fn what_a_slow_server_minds_is_named_in_the_answer_in_check_and_in_the_documentation() {
    check(&SLOW).await;
}

#[tokio::test]
async fn an_alert_after_the_handshake_is_told_as_one_whatever_is_under_way() {
    check_alerts(&["haproxy", "lighttpd-openssl"]).await;
}

#[tokio::test]
#[ignore = "Go and Envoy: ./test field"]
async fn an_alert_of_a_slow_server_is_told_as_one_whatever_is_under_way() {
    check_alerts(&["go", "envoy"]).await;
}

#[tokio::test]
async fn a_renegotiation_for_some_paths_is_refused_at_once() {
    check_renegotiation("apache-location").await;
}

#[tokio::test]
#[ignore = "Tomcat: ./test field"]
async fn a_renegotiation_of_tomcats_is_refused_at_once() {
    check_renegotiation("tomcat-client-cert").await;
}

/// What came of a way, as the documentation has it.
struct Outcome {
    way: Way,
    /// `ok`, `400`, an alert, or `closed`.
    short: String,
    /// The whole sentence of ours, without what varies.
    sentence: Option<String>,
}

async fn check(servers: &[&'static str]) {
    let lab = Lab::start().await;
    let partners = TlsPartners::start(&lab, servers).await;
    let sidekey = partners.sidekey(&lab).await;

    let mut outcomes = Vec::new();
    for way in partners.ways() {
        outcomes.push(Outcome::of(way, &sidekey.get(&format!("/{}/", way.service())).await));
    }
    let checked = tokio::task::block_in_place(|| lab.run("check --online --config sidekey.yaml --format json"));

    for outcome in &outcomes {
        check_cause(outcome);
    }
    check_online(&outcomes, &serde_json::from_str(&checked.stdout).unwrap());
    check_page(&outcomes);
}

impl Outcome {
    #[track_caller]
    fn of(way: Way, answer: &Answer) -> Self {
        if answer.field("proxy-status").is_none() {
            let short = if answer.status == 200 { "ok".to_owned() } else { answer.status.to_string() };
            return Self { way, short, sentence: None };
        }
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        let (short, sentence) = match detail.strip_prefix("the service ended it with the TLS alert ") {
            Some(rest) => {
                answer.problem("tls_alert_received");
                let (alert, advice) = rest.split_once(": ").unwrap_or_else(|| panic!("{way:?}: {detail}"));
                (format!("`{alert}`"), advice.to_owned())
            }
            None => {
                answer.problem("connection_terminated");
                let closed = detail.strip_prefix("the service closed the connection before it answered: ");
                let (_, advice) =
                    closed.and_then(|closed| closed.split_once("; ")).unwrap_or_else(|| panic!("{way:?}: {detail}"));
                ("closed".to_owned(), advice.to_owned())
            }
        };
        Self { way, short, sentence: Some(sentence) }
    }
}

/// The sentence names the true cause, or what was seen and what it may mean; never another one.
#[track_caller]
fn check_cause(outcome: &Outcome) {
    let Outcome { way, short, sentence } = outcome;
    let causes: &[&str] = match way.shown {
        Shown::Good => &[],
        Shown::Nothing => &["it wants a client certificate; link one", "perhaps it wants one; link one"],
        Shown::OfUnknownAuthority => &[
            "its issuer is none of the CAs that the service names",
            "it does not know the CA of our client certificate",
            "its CA is not known there",
            "it may not be known there",
        ],
        Shown::Expired => &["which has expired"],
        Shown::NotForClients => &["its extended key usage lacks clientAuth"],
        Shown::OfIntermediate => &["a chain longer than it allows"],
        Shown::Ed25519 | Shown::P521 => &["lists no signature scheme of its key's kind", "its kind of key may be one"],
    };
    match sentence {
        Some(sentence) => {
            assert!(causes.iter().any(|cause| sentence.contains(cause)), "{way:?}: {sentence}");
            assert!(!sentence.contains("http") && !sentence.contains("rustls"), "{way:?}: {sentence}");
        }
        // nginx says it in an answer of its own, and GnuTLS looks at no use.
        None if way.shown == Shown::NotForClients => assert!(["ok", "400"].contains(&&**short), "{way:?}: {short}"),
        None if short == "400" => assert_eq!(way.server, "nginx", "{way:?}"),
        None => {
            assert!(short == "ok" && !causes.contains(&"which has expired") && way.shown != Shown::Nothing, "{way:?}")
        }
    }
}

/// `check --online` says the same, and of what is answered with a status too.
#[track_caller]
fn check_online(outcomes: &[Outcome], problems: &Value) {
    for Outcome { way, short, sentence } in outcomes {
        let start = format!("`{}`: ", way.service());
        let problems = problems.as_array().unwrap().iter();
        let told: Vec<_> = problems
            .filter(|problem| problem["severity"] == "error")
            .filter_map(|problem| problem["message"].as_str()?.strip_prefix(&start))
            .collect();
        match (sentence, short.as_str()) {
            (Some(sentence), _) => assert!(told[0].ends_with(sentence), "{way:?}: {told:?} for {sentence}"),
            (None, "ok") => assert!(told.is_empty(), "{way:?}: {told:?}"),
            (None, status) => {
                assert!(told[0].starts_with(&format!("it answers `OPTIONS /` with {status}: ")), "{way:?}: {told:?}");
                let known = match way.shown {
                    Shown::Nothing => "it wants a client certificate; link one",
                    Shown::Expired => "which has expired",
                    Shown::NotForClients => "lacks clientAuth",
                    _ => "its issuer is none of the CAs that the service names",
                };
                assert!(told[0].contains(known), "{way:?}: {told:?}");
            }
        }
    }
}

/// The documentation has a row for each server, and each sentence.
#[track_caller]
fn check_page(outcomes: &[Outcome]) {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/partners.md")).unwrap();
    let section = page.split_once("\n## TLS servers that want a client certificate\n").expect("the section").1;
    let section = section.split("\n## ").next().unwrap();
    let rows = rows(outcomes);
    // Between the name, however it is written, and the cells stands the version.
    let is_told = |server: &str, cells: &str| {
        let mut lines = section.lines().filter(|line| line.to_lowercase().starts_with(&format!("| {server} ")));
        lines.any(|line| line.ends_with(cells))
    };

    let wanting: Vec<_> = rows.iter().filter(|(server, cells)| !is_told(server, cells)).collect();
    let untold: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| outcome.sentence.as_ref())
        .filter(|sentence| !section.contains(&format!("| {sentence} |")))
        .collect();

    assert!(wanting.is_empty(), "docs/partners.md is without these rows: {wanting:#?}");
    assert!(untold.is_empty(), "docs/partners.md is without these sentences: {untold:#?}");
}

/// For each server what comes of each certificate: once if both versions of TLS agree.
fn rows(outcomes: &[Outcome]) -> Vec<(&'static str, String)> {
    let mut servers: Vec<&str> = outcomes.iter().map(|outcome| outcome.way.server).collect();
    servers.dedup();
    let row = |server| {
        let cells = IN_THE_TABLE.map(|shown| {
            let of: BTreeMap<_, _> = outcomes
                .iter()
                .filter(|outcome| outcome.way.server == server && outcome.way.shown == shown)
                .map(|outcome| (outcome.way.version, outcome.short.as_str()))
                .collect();
            match VERSIONS.map(|version| of[version]) {
                [old, new] if old == new => old.to_owned(),
                [old, new] => format!("1.2: {old}, 1.3: {new}"),
            }
        });
        (server, format!("| {} |", cells.join(" | ")))
    };
    servers.into_iter().map(row).collect()
}

const IN_THE_TABLE: [Shown; 7] = [
    Shown::Nothing,
    Shown::OfUnknownAuthority,
    Shown::Expired,
    Shown::NotForClients,
    Shown::OfIntermediate,
    Shown::Ed25519,
    Shown::P521,
];

/// Each alert that comes after the handshake, over both versions of HTTP, to what may be sent again and to what may not.
///
/// With an upload under way the server's close is a reset, which a write may find before the alert was read.
async fn check_alerts(servers: &[&'static str]) {
    let lab = Lab::start().await;
    let partners = TlsPartners::start(&lab, servers).await;
    for http_version in ["1.1", "2"] {
        let keys = format!(", http_version: '{http_version}', retry: {{ attempts: 3 }}");
        let sidekey = partners.sidekey_with(&lab, &keys).await;
        let refused = partners.ways().into_iter().filter(|way| way.version == "1.3" && REFUSED.contains(&way.shown));
        for way in refused {
            let (target, service) = (format!("/{}/", way.service()), way.service());
            for _ in 0..ROUNDS {
                for request in [Request::get(&target), Request::post(&target, vec![b'x'; 1024 * 1024])] {
                    sidekey.send(request).await.problem("tls_alert_received");
                }
            }
            let label = format!(r#"{{service="{service}""#);
            let refusals = f64::from(2 * ROUNDS);
            sidekey
                .until_metric(&format!(r#"sidekey_errors_total{label},error="tls_alert_received"}}"#), refusals)
                .await;
            // Each was sent once: the next connection would have been refused for the same reason.
            sidekey.until_metric(&format!("sidekey_upstream_connect_seconds_count{label}}}"), refusals).await;
        }
    }
}

const REFUSED: [Shown; 4] = [Shown::Nothing, Shown::OfUnknownAuthority, Shown::Expired, Shown::NotForClients];

const ROUNDS: u32 = 5;

async fn check_renegotiation(server: &'static str) {
    let lab = Lab::start().await;
    let partners = TlsPartners::start(&lab, &[server]).await;
    let sidekey = partners.sidekey(&lab).await;

    for shown in [Shown::Good, Shown::Nothing] {
        let [old, new] = VERSIONS.map(|version| Way { server, version, shown }.service());

        let detail = get_private(&sidekey, &old).await.problem("tls_protocol_error");
        assert!(detail.contains("asked for a renegotiation, which is refused"), "{detail}");
        // TLS 1.3 has none, and what stands in for it was not offered: that is for the server to tell.
        let status = get_private(&sidekey, &new).await.status_of_service();
        assert!([401, 403].contains(&status), "{status}");
    }
}

async fn get_private(sidekey: &Sidekey, service: &str) -> Answer {
    sidekey.get(&format!("/{service}/private/")).await
}
