//! `identities`: one service called as many clients, each with its own credential, tokens and connections.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::lab::client::{Connection, Request};
use crate::lab::fault::{Fault, Received, Reply};
use crate::lab::nginx::Seen;
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, until};

/// Three callers of the lab's service, with these further fields of `identities`.
fn three(fields: &str) -> String {
    format!(
        "
workers: 1
services:
  payments:
    url: $SERVICE
    certificate: partner
    auth: {{ type: bearer, token: own }}
    identities:
      sets: [{{ name: alice, token: alices }}, {{ token: bobs }}, {{ name: carol, token: carols }}]
      {fields}
"
    )
}

/// Whom the service takes the sender of a request for.
async fn sender(connection: &mut Connection) -> String {
    seen(connection).await.authorization
}

async fn seen(connection: &mut Connection) -> Seen {
    connection.send(Request::get("/payments/orders")).await.at_service()
}

/// Gives each client its own name as its token.
fn token_for(request: &Received) -> Reply {
    let field = request.field("authorization").unwrap();
    let pair = BASE64_STANDARD.decode(field.strip_prefix("Basic ").unwrap()).unwrap();
    let pair = String::from_utf8(pair).unwrap();
    Reply::token(pair.split(':').next().unwrap(), 600)
}

/// A service whose identities stand in `ids.csv`, and have tokens of `idp`.
fn from_file(service: &str, idp: &Fault, fields: &str) -> String {
    format!(
        "
services:
  payments:
    url: '{service}'
    auth: {{ type: oauth2_client_credentials, token_url: '{}/token' }}
    identities: {{ file: ids.csv, {fields} }}
",
        idp.url()
    )
}

async fn ask(sidekey: &Sidekey, who: &str) -> Seen {
    sidekey.send(Request::get("/payments/orders").field("X-Who", who)).await.at_service()
}

#[tokio::test]
async fn requests_are_sent_as_the_identities_in_turn() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(&three("")).await;
    let mut connection = sidekey.connect().await;

    let mut senders = Vec::new();
    for _ in 0..4 {
        senders.push(sender(&mut connection).await);
    }

    assert_eq!(senders, ["Bearer alices", "Bearer bobs", "Bearer carols", "Bearer alices"]);
}

#[tokio::test]
async fn a_connection_of_an_app_keeps_the_identity_that_it_got_in_turn() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(&three("pick: connection")).await;
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(sidekey.connect().await);
    }

    let mut senders = Vec::new();
    for connection in &mut connections {
        senders.push(sender(connection).await);
    }

    assert_eq!(senders, ["Bearer alices", "Bearer bobs", "Bearer carols", "Bearer alices"]);
    for (connection, expected) in connections.iter_mut().zip(senders) {
        assert_eq!(sender(connection).await, expected);
    }
}

#[tokio::test]
async fn an_app_names_or_numbers_the_identity_in_a_field_that_is_not_forwarded() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(&three("pick: header\n      header: X-Who")).await;

    for (who, expected) in [("alice", "Bearer alices"), ("carol", "Bearer carols"), ("1", "Bearer bobs")] {
        let seen = ask(&sidekey, who).await;
        assert_eq!(seen.authorization, expected, "{who}");
        assert_eq!(seen.field("x-who"), None);
    }
}

#[tokio::test]
async fn an_unknown_or_missing_identity_is_a_bad_request() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(&three("pick: header\n      header: X-Who")).await;

    let missing = sidekey.get("/payments/orders").await.problem("bad_request");
    assert!(missing.contains("`x-who` is missing"), "{missing}");
    for who in ["dave", "3", "-1", ""] {
        let answer = sidekey.send(Request::get("/payments/orders").field("X-Who", who)).await;
        let unknown = answer.problem("bad_request");
        assert!(unknown.contains("`x-who` has neither the name nor the number"), "{who}: {unknown}");
    }
}

#[tokio::test]
async fn identities_never_share_a_connection_whatever_their_certificates() {
    let lab = Lab::start().await;
    let config = "
workers: 1
services:
  payments:
    url: $SERVICE
    certificate: partner
    identities: { sets: [{ name: own }, { name: twin }, { name: other, certificate: other }], pick: header, header: X-Who }
";
    let sidekey = lab.sidekey(config).await;

    let mut connections = HashSet::new();
    for round in 0..6 {
        for (who, subject) in [("own", "CN=partner"), ("twin", "CN=partner"), ("other", "CN=other")] {
            let seen = ask(&sidekey, who).await;
            assert_eq!(seen.subject, subject, "{who} in round {round}");
            connections.insert((seen.connection, who));
        }
    }

    let distinct: HashSet<_> = connections.iter().map(|(connection, _)| connection).collect();
    assert_eq!(distinct.len(), connections.len(), "{connections:?}");
    sidekey.until_metric("sidekey_upstream_connections{service=\"payments\",state=\"idle\"}", 3.0).await;
    let certificates = sidekey.status().await["certificates"].clone();
    let users: Vec<_> = certificates.as_array().unwrap().iter().map(|it| it["services"][0].as_str()).collect();
    assert_eq!(users, [Some("payments"); 2], "{certificates}");
}

#[tokio::test]
async fn each_identity_has_its_own_token_and_status_tells_of_all_of_them() {
    let lab = Lab::start().await;
    let idp = Fault::idp(token_for).await;
    lab.write("ids.csv", "name,client_id,client_secret\nalice,a,secret\nbob,b,secret\ncarol,c,secret\n");
    let sidekey = lab.sidekey(&from_file("http://$SERVICE_PLAIN", &idp, "pick: header, header: X-Who")).await;

    for (who, expected) in [("alice", "Bearer a"), ("bob", "Bearer b"), ("2", "Bearer c")] {
        assert_eq!(ask(&sidekey, who).await.authorization, expected);
    }

    assert_eq!(idp.count(), 3);
    let token = sidekey.until_token("payments", "valid").await;
    assert_eq!((&token["requests"], &token["failures"]), (&3.into(), &0.into()));
    sidekey.until_metric("sidekey_token_requests_total{service=\"payments\",outcome=\"ok\"}", 3.0).await;
}

#[tokio::test]
async fn a_reload_keeps_the_tokens_and_connections_of_identities_that_are_the_same() {
    let lab = Lab::start().await;
    let idp = Fault::idp(token_for).await;
    let service = Fault::plain(|_| Reply::ok("")).await;
    let ids = "name,client_id,client_secret\nalice,a,secret\nbob,b,secret\n";
    lab.write("ids.csv", ids);
    let config = format!("workers: 1\n{}", from_file(&service.url(), &idp, "pick: header, header: X-Who"));
    let sidekey = lab.sidekey(&config).await;
    let ask = async |who| {
        sidekey.send(Request::get("/payments/x").field("X-Who", who)).await.status_of_service();
        let last = service.received().pop().unwrap();
        (last.connection, last.field("authorization").unwrap())
    };
    let before = (ask("alice").await, ask("bob").await);
    let generation = sidekey.generation().await;

    lab.write("ids.csv", &ids.replace("bob,b", "dave,d,secret\nbob,e"));
    sidekey.until_reloaded_since(generation).await;

    let after = (ask("alice").await, ask("bob").await);
    assert_eq!(after.0, before.0);
    assert_eq!(after.1.1, "Bearer e");
    assert_ne!(after.1.0, before.1.0);
    assert_eq!(ask("dave").await.1, "Bearer d");
    assert_eq!(idp.count(), 4, "{:?}", idp.received());
    sidekey.until_logged("service `payments` changed (identities), some tokens dropped").await;
}

#[tokio::test]
async fn ten_thousand_identities_start_without_a_storm_and_who_is_asked_for_goes_first() {
    let lab = Lab::start().await;
    let (begun, ended, most) = <(Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let [counted, done, peak] = [&begun, &ended, &most].map(Arc::clone);
    let idp = Fault::idp(move |request| {
        // What has ended is counted before the client can know it, so that this is never too much.
        let now = counted.fetch_add(1, Ordering::Relaxed) + 1 - done.load(Ordering::Relaxed);
        peak.fetch_max(now, Ordering::Relaxed);
        Reply::default().pause(Duration::from_millis(50)).count(&done).then(token_for(request))
    })
    .await;
    let rows: String = (0..10_000).map(|number| format!("client-{number},secret-{number}\n")).collect();
    lab.write("ids.csv", &format!("client_id,client_secret\n{rows}"));
    let config = from_file("http://$SERVICE_PLAIN", &idp, "pick: header, header: X-Who");
    let quick = Fault::idp(token_for).await;
    let other = format!(
        "  other: {{ url: 'http://$SERVICE_PLAIN', auth: {{ type: oauth2_client_credentials, \
         token_url: '{}/token', client_id: other, client_secret: secret }}, ready: required }}\n",
        quick.url()
    );
    let sidekey = lab.sidekey(&(config + &other)).await;

    assert_eq!(ask(&sidekey, "9999").await.authorization, "Bearer client-9999");
    assert_eq!(ask(&sidekey, "5000").await.authorization, "Bearer client-5000");
    assert!(begun.load(Ordering::Relaxed) < 5_000, "they waited for those before them");

    until("500 tokens", async || (ended.load(Ordering::Relaxed) >= 500).then_some(())).await;
    assert_eq!(most.load(Ordering::Relaxed), 10);
}

#[tokio::test]
async fn a_token_and_the_certificate_that_it_is_bound_to_rotate_together_for_each_identity() {
    let lab = Lab::start().await;
    let idp = lab.idp().await;
    let config = format!(
        "
services:
  payments:
    url: $SERVICE
    auth: {{ type: oauth2_client_credentials, token_url: 'https://localhost:{}/token' }}
    identities:
      sets:
        - {{ name: bound, client_id: by-certificate, certificate: partner }}
        - {{ name: basic, client_id: by-basic, client_secret: basic-secret, certificate: other }}
      pick: header
      header: X-Who
",
        idp.port
    );
    let sidekey = lab.sidekey(&config).await;
    ask(&sidekey, "bound").await;

    let rotated = lab.rotate("partner");

    until("the new certificate", async || {
        let seen = ask(&sidekey, "bound").await;
        let bound = crate::tokens::claims(&seen.authorization)["cnf"]["x5t#S256"].clone();
        let new = seen.fingerprint == rotated.fingerprint();
        assert_eq!(bound, if new { rotated.thumbprint() } else { lab.partner.thumbprint() }, "a pair of two halves");
        new.then_some(())
    })
    .await;
    assert_eq!(ask(&sidekey, "basic").await.subject, "CN=other");
}

#[tokio::test]
async fn a_file_of_secrets_that_others_can_read_is_warned_about() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::start().await;
    let config = "services:\n  a: { url: 'https://a.example', auth: { type: bearer, token: own }, \
                  identities: { file: ids.csv } }\n";
    lab.write("check.yaml", config);
    lab.write("ids.csv", "token\nhunter2\n");
    std::fs::set_permissions(lab.path("ids.csv"), std::fs::Permissions::from_mode(0o644)).unwrap();

    let checked = lab.run("check --config check.yaml");

    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.stderr.contains("ids.csv` holds a secret that others can read"), "{checked:?}");
    assert!(!format!("{checked:?}").contains("hunter2"));
}

#[tokio::test]
async fn explain_says_how_the_identity_is_picked() {
    let lab = Lab::start().await;
    lab.write("explain.yaml", &lab.fill_in(&three("")).replace("    certificate: partner\n", ""));

    let explained = lab.run("explain --config explain.yaml /payments/orders");

    assert!(explained.stdout.contains("identity   one of 3, in turn\n"), "{explained:?}");
}
