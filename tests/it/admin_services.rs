//! What the admin port does with one service: another token, a probe, its credential handed out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::lab::client::{Answer, Request, exchange};
use crate::lab::fault::{Fault, Reply};
use crate::lab::problems::check_admin;
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, free_port, until};

async fn post(sidekey: &Sidekey, page: &str) -> Answer {
    let target = format!("/api/services/{page}");
    exchange(&sidekey.admin, Request::post(&target, "").field("Sidekey-Admin", "1")).await
}

fn oauth2(endpoint: &str) -> String {
    format!(
        "auth: {{ type: oauth2_client_credentials, token_url: '{endpoint}', client_id: me, client_secret: hunter2 }}"
    )
}

/// An endpoint that numbers its tokens, and fails from request `fails_from` on.
async fn numbering(fails_from: usize) -> Fault {
    Fault::idp(move |request| {
        if request.number < fails_from {
            Reply::token(&format!("token-{}", request.number), 300)
        } else {
            Reply::new(400, &[], r#"{"error": "invalid_scope"}"#)
        }
    })
    .await
}

/// Demands another token as soon as that is allowed.
async fn refreshed(sidekey: &Sidekey) -> Answer {
    until("a demand that is allowed", async || {
        let answer = post(sidekey, "payments/token/refresh").await;
        (answer.status != 429).then_some(answer)
    })
    .await
}

#[tokio::test]
async fn a_demanded_refresh_brings_another_token_at_once_and_shows_all_but_the_token() {
    let lab = Lab::start().await;
    let idp = numbering(9).await;
    let service = Fault::plain(|request| Reply::ok(&request.field("authorization").unwrap())).await;
    let (url, auth) = (service.url(), oauth2(&idp.url()));
    let sidekey = lab.sidekey(&format!("services: {{ payments: {{ url: '{url}', {auth} }} }}")).await;
    assert_eq!(sidekey.get("/payments/x").await.text(), "Bearer token-0");

    let answer = refreshed(&sidekey).await;
    let again = post(&sidekey, "payments/token/refresh").await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    let shown = answer.json();
    assert_eq!((&shown["type"], &shown["lifetime"]), (&"Bearer".into(), &300.into()), "{shown}");
    assert!(shown["expires_at"].as_str().unwrap().ends_with('Z'), "{shown}");
    assert!(!answer.text().contains("token-1"), "{shown}");
    assert_eq!(sidekey.get("/payments/x").await.text(), "Bearer token-1");
    check_admin(&again, "rate_limited");
    assert_eq!(again.retry_after(), 1);
}

#[tokio::test]
async fn a_demanded_refresh_that_fails_says_why_and_leaves_the_old_token() {
    let lab = Lab::start().await;
    let idp = numbering(1).await;
    let service = Fault::plain(|request| Reply::ok(&request.field("authorization").unwrap())).await;
    let (url, auth) = (service.url(), oauth2(&idp.url()));
    let sidekey = lab.sidekey(&format!("services: {{ payments: {{ url: '{url}', {auth} }} }}")).await;
    sidekey.until_token("payments", "valid").await;

    // The second comes within the back-off of the first.
    for requests in [2, 3] {
        let answer = refreshed(&sidekey).await;

        let detail = check_admin(&answer, "token_rejected");
        assert!(detail.contains("invalid_scope"), "{detail}");
        assert!(answer.retry_after() >= 10);
        assert_eq!(idp.count(), requests);
    }
    assert_eq!(sidekey.get("/payments/x").await.text(), "Bearer token-0");
}

/// Sixty identities; `refuses` is who gets no other token after the first.
async fn sixty(lab: &Lab, refuses: &'static str, most: &Arc<AtomicUsize>) -> (Sidekey, Fault) {
    let (begun, ended, most) = (AtomicUsize::new(0), Arc::<AtomicUsize>::default(), Arc::clone(most));
    let idp = Fault::reading_idp(move |request| {
        let (client, first) = (request.form("client_id").unwrap(), request.number < 60);
        if !first && client == refuses {
            return Reply::new(400, &[], r#"{"error": "invalid_client"}"#);
        }
        let answer = Reply::token(&format!("{client}-{}", request.number), 300);
        if first {
            return answer;
        }
        let now = begun.fetch_add(1, Ordering::Relaxed) + 1 - ended.load(Ordering::Relaxed);
        most.fetch_max(now, Ordering::Relaxed);
        Reply::default().pause(Duration::from_millis(200)).count(&ended).then(answer)
    })
    .await;
    let rows: String = (0..60).map(|number| format!("name-{number},client-{number},secret\n")).collect();
    lab.write("ids.csv", &format!("name,client_id,client_secret\n{rows}"));
    let auth =
        format!("{{ type: oauth2_client_credentials, client_auth: post, timeout: 4s, token_url: '{}' }}", idp.url());
    let identities = "{ file: ids.csv, pick: header, header: X-Who }";
    let url = "http://$SERVICE_PLAIN";
    let config = format!("services: {{ payments: {{ url: '{url}', auth: {auth}, identities: {identities} }} }}");
    let sidekey = lab.sidekey(&config).await;
    idp.until_received(60).await;
    let valid = "sidekey_token_requests_total{service=\"payments\",outcome=\"ok\"}";
    sidekey.until_metric(valid, 60.0).await;
    (sidekey, idp)
}

#[tokio::test]
async fn a_demanded_refresh_of_many_identities_is_made_for_some_at_once_and_tells_of_each() {
    let lab = Lab::start().await;
    let most = Arc::<AtomicUsize>::default();
    let (sidekey, idp) = sixty(&lab, "nobody", &most).await;

    let answer = refreshed(&sidekey).await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    assert_eq!((&told["type"], &told["lifetime"]), (&"Bearer".into(), &300.into()), "{told}");
    let identities = told["identities"].as_array().unwrap();
    assert_eq!(identities.len(), 60);
    for (number, identity) in identities.iter().enumerate() {
        let name = format!("name-{number}");
        assert_eq!((&identity["number"], &identity["name"]), (&number.into(), &name.into()), "{identity}");
        assert_eq!((&identity["outcome"], &identity["lifetime"]), (&"refreshed".into(), &300.into()), "{identity}");
        assert!(identity["expires_at"].as_str().unwrap().ends_with('Z'), "{identity}");
    }
    assert_eq!(idp.count(), 120, "each once");
    assert_eq!(most.load(Ordering::Relaxed), 10, "one after the other takes twelve seconds");
}

#[tokio::test]
async fn an_identity_that_is_refused_another_token_stops_none_of_the_others() {
    let lab = Lab::start().await;
    let most = Arc::<AtomicUsize>::default();
    let (sidekey, idp) = sixty(&lab, "client-3", &most).await;

    let answer = refreshed(&sidekey).await;

    let detail = check_admin(&answer, "token_rejected");
    assert!(detail.starts_with("1 of 60 identities have no other token; the first is 3: "), "{detail}");
    assert!(detail.contains("invalid_client") && answer.retry_after() >= 10, "{detail}");
    let told = answer.json();
    let outcomes: Vec<_> = told["identities"].as_array().unwrap().iter().map(|it| it["outcome"].clone()).collect();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == "refreshed").count(), 59, "{told}");
    let refused = &told["identities"][3];
    assert_eq!((&refused["outcome"], &refused["name"]), (&"token_rejected".into(), &"name-3".into()), "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("invalid_client"), "{refused}");
    assert!(refused["retry_after"].as_u64().unwrap() >= 10, "{refused}");
    assert_eq!(idp.count(), 120, "each once");
}

#[tokio::test]
async fn a_service_without_a_token_has_none_to_refresh() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey("services: { payments: { url: $SERVICE, certificate: partner } }").await;

    check_admin(&post(&sidekey, "payments/token/refresh").await, "conflict");
    check_admin(&post(&sidekey, "nobody/token/refresh").await, "not_found");
    check_admin(&post(&sidekey, "payments/nothing").await, "not_found");
}

#[tokio::test]
async fn a_probe_says_how_far_a_request_would_come_and_whom_it_would_meet() {
    let lab = Lab::start().await;
    let idp = numbering(9).await;
    let auth = oauth2(&idp.url());
    let sidekey = lab
        .sidekey(&format!(
            "services:
  one: {{ url: $SERVICE, certificate: partner, {auth} }}
  two: {{ url: $SERVICE_HTTP2, certificate: partner }}
  old: {{ url: $SERVICE_TLS12, certificate: partner }}"
        ))
        .await;

    let [one, two, old] = [
        post(&sidekey, "one/probe").await.json(),
        post(&sidekey, "two/probe").await.json(),
        post(&sidekey, "old/probe").await.json(),
    ];

    for (probe, protocol, version) in [(&one, "http/1.1", "1.3"), (&two, "h2", "1.3"), (&old, "http/1.1", "1.2")] {
        assert_eq!(probe["ok"], true, "{probe:#}");
        assert_eq!((&probe["protocol"], &probe["tls_version"]), (&protocol.into(), &version.into()), "{probe:#}");
        assert_eq!(probe["certificate"]["sha256"], lab.server.sha256(), "{probe:#}");
        assert_eq!(probe["certificate"]["issuer"], "CN=lab authority");
        assert_eq!(probe["client_certificate"], "shown");
        assert!(probe["certificate"]["not_after"].as_str().unwrap().ends_with('Z'));
        for phase in ["dns", "tcp", "tls"] {
            assert!(probe["timings"][phase].is_number(), "{phase}: {probe:#}");
        }
    }
    assert!(one["timings"]["token"].is_number(), "{one:#}");
    assert!(two["timings"]["token"].is_null(), "it has none: {two:#}");
}

#[tokio::test]
async fn a_probe_sends_no_request() {
    let lab = Lab::start().await;
    let service = Fault::tls(&lab, |_| Reply::ok("")).await;
    let url = service.url();
    let sidekey = lab.sidekey(&format!("services: {{ payments: {{ url: '{url}', certificate: partner }} }}")).await;

    let probe = post(&sidekey, "payments/probe").await.json();
    sidekey.get("/payments/x").await.status_of_service();

    assert_eq!(probe["ok"], true, "{probe:#}");
    assert!(service.only().head.starts_with("GET /x "), "the app's alone");
}

#[tokio::test]
async fn a_probe_names_the_phase_that_failed() {
    let lab = Lab::start().await;
    let idp = numbering(0).await;
    let (auth, nobody) = (oauth2(&idp.url()), free_port());
    let sidekey = lab
        .sidekey(
            &format!(
                "services:
  closed: {{ url: 'http://127.0.0.1:{nobody}' }}
  unknown: {{ url: 'http://no-such-name.invalid' }}
  strange: {{ url: $SERVICE, certificate: partner, tls: {{ ca: tls/stranger-ca.pem }} }}
  poor: {{ url: $SERVICE_PLAIN_URL, {auth} }}"
            )
            .replace("$SERVICE_PLAIN_URL", "http://$SERVICE_PLAIN"),
        )
        .await;

    for (service, phase, code) in [
        ("closed", "tcp", "connection_refused"),
        ("unknown", "dns", "dns_error"),
        ("strange", "tls", "tls_certificate_error"),
        ("poor", "token", "token_rejected"),
    ] {
        let answer = post(&sidekey, &format!("{service}/probe")).await;

        assert_eq!(answer.status, 200);
        let probe = answer.json();
        assert_eq!(probe["ok"], false, "{probe:#}");
        assert_eq!(probe["failures"].as_array().unwrap().len(), 1, "{probe:#}");
        let failure = &probe["failures"][0];
        assert_eq!((&failure["phase"], &failure["code"]), (&phase.into(), &code.into()), "{probe:#}");
        assert!(probe["timings"][phase].is_null(), "{probe:#}");
    }
}

async fn handed_out(sidekey: &Sidekey, service: &str) -> Answer {
    let request = Request::get(&format!("/api/services/{service}/authorization"));
    let request = request.field("Authorization", "Bearer sesame").field("Sidekey-Admin", "1");
    exchange(&sidekey.admin, request).await
}

#[tokio::test]
async fn a_credential_is_handed_out_as_a_request_would_carry_it() {
    let lab = Lab::start().await;
    let idp = numbering(9).await;
    let auth = oauth2(&idp.url());
    let bound = oauth2("http://127.0.0.1:1").replace(" }", ", dpop: true }");
    let sidekey = lab
        .sidekey(&format!(
            "admin: {{ listen: $ADMIN, token: sesame, hand_out: true }}
services:
  bound: {{ url: $SERVICE, {bound} }}
  signed: {{ url: $SERVICE, auth: {{ type: hmac, key: abc, header: X-Signature, template: '{{path}}' }} }}
  payments: {{ url: $SERVICE, certificate: partner, {auth} }}
  query: {{ url: $SERVICE, auth: {{ type: api_key, key: 'a b&c', query: key }} }}
  cookie: {{ url: $SERVICE, auth: {{ type: api_key, key: abc, cookie: session }} }}"
        ))
        .await;

    let answer = handed_out(&sidekey, "payments").await;

    assert_eq!((answer.status, answer.field("cache-control").as_deref()), (200, Some("no-store")));
    let shown = answer.json();
    assert_eq!(shown["headers"], serde_json::json!({ "authorization": "Bearer token-0" }));
    assert!(shown["expires_at"].as_str().unwrap().ends_with('Z'), "{shown}");
    let query = handed_out(&sidekey, "query").await.json();
    assert_eq!((&query["query"]["key"], &query["expires_at"]), (&"a b&c".into(), &Value::Null), "{query}");
    assert_eq!(handed_out(&sidekey, "cookie").await.json()["cookies"]["session"], "abc");
    check_admin(&handed_out(&sidekey, "bound").await, "conflict");
    check_admin(&handed_out(&sidekey, "signed").await, "conflict");
}

#[tokio::test]
async fn a_credential_is_not_handed_out_unless_that_is_open() {
    let lab = Lab::start().await;
    let services = "services: { payments: { url: $SERVICE, auth: { type: bearer, token: abc } } }";
    let sidekey = lab.sidekey(&format!("admin: {{ listen: $ADMIN, token: sesame }}\n{services}")).await;

    check_admin(&handed_out(&sidekey, "payments").await, "not_found");
}
