//! Tokens from a real identity provider: got, put on requests, shared and kept fresh.

use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine};
use serde_json::Value;

use crate::lab::client::Request;
use crate::lab::fault::{Fault, Gate, Reply};
use crate::lab::idp::Idp;
use crate::lab::{Lab, until};

/// A service whose token comes from `idp`, with these further fields of `auth`.
fn oauth(token_url: &str, fields: &str) -> String {
    format!(
        "
services:
  payments:
    url: $SERVICE/v1
    certificate: partner
    auth: {{ type: oauth2_client_credentials, token_url: '{token_url}', {fields} }}
"
    )
}

fn real(idp: &Idp, fields: &str) -> String {
    oauth(&format!("https://localhost:{}/token", idp.port), fields)
}

/// The claims of the bearer token in an `Authorization` field.
#[track_caller]
pub fn claims(authorization: &str) -> Value {
    let token = authorization.strip_prefix("Bearer ").unwrap_or_else(|| panic!("no bearer token: {authorization:?}"));
    let payload = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

#[tokio::test]
async fn a_token_by_client_secret_basic_reaches_the_service() {
    let lab = Lab::start().await;
    let idp = lab.idp().await;
    let sidekey =
        lab.sidekey(&real(&idp, "client_id: by-basic, client_secret: basic-secret, scope: payments.read")).await;

    let seen = sidekey.get("/payments/orders").await.at_service();

    let claims = claims(&seen.authorization);
    assert_eq!((&claims["client_id"], &claims["scope"]), (&"by-basic".into(), &"payments.read".into()));
    let requests = idp.token_requests().await;
    let request = Idp::only(&requests);
    assert_eq!(request["authorization"], format!("Basic {}", BASE64_STANDARD.encode("by-basic:basic-secret")));
    assert_eq!(request["fields"]["client_secret"], Value::Null, "one client authentication only: {request}");
}

#[tokio::test]
async fn a_token_by_client_secret_post_reaches_the_service() {
    let lab = Lab::start().await;
    let idp = lab.idp().await;
    let fields =
        "client_id: by-post, client_secret: post-secret, client_auth: post, scope: [payments.read, payments.write]";
    let sidekey = lab.sidekey(&real(&idp, fields)).await;

    let seen = sidekey.get("/payments/orders").await.at_service();

    let claims = claims(&seen.authorization);
    assert_eq!((&claims["client_id"], &claims["scope"]), (&"by-post".into(), &"payments.read payments.write".into()));
    let requests = idp.token_requests().await;
    let request = Idp::only(&requests);
    assert_eq!(request["authorization"], Value::Null, "one client authentication only: {request}");
    assert_eq!(request["fields"]["client_secret"], "post-secret");
}

#[tokio::test]
async fn a_token_by_tls_client_auth_is_bound_to_the_certificate_that_the_service_sees() {
    let lab = Lab::start().await;
    let idp = lab.idp().await;
    // A certificate and neither secret nor key: `tls_client_auth` is what is left.
    let sidekey = lab.sidekey(&real(&idp, "client_id: by-certificate")).await;

    let seen = sidekey.get("/payments/orders").await.at_service();

    assert_eq!(claims(&seen.authorization)["cnf"]["x5t#S256"], lab.partner.thumbprint());
    assert_eq!(seen.fingerprint, lab.partner.fingerprint());
    let requests = idp.token_requests().await;
    let request = Idp::only(&requests);
    assert_eq!(request["fields"]["client_id"], "by-certificate", "RFC 8705 §2.1: sent in the form: {request}");
}

#[tokio::test]
async fn client_id_and_secret_are_form_encoded_before_basic() {
    let lab = Lab::start().await;
    let idp = lab.idp().await;
    let sidekey = lab.sidekey(&real(&idp, "client_id: 'odd:id%', client_secret: 's3cr+t %&:=?/'")).await;

    let seen = sidekey.get("/payments/orders").await.at_service();

    assert_eq!(claims(&seen.authorization)["client_id"], "odd:id%");
}

#[tokio::test]
async fn a_bound_token_and_its_certificate_rotate_together() {
    let lab = Lab::start().await;
    let idp = lab.idp().await;
    let sidekey = lab.sidekey(&real(&idp, "client_id: by-certificate")).await;
    sidekey.get("/payments/orders").await.at_service();

    let rotated = lab.rotate("partner");

    until("the new certificate", async || {
        let seen = sidekey.get("/payments/orders").await.at_service();
        let bound = claims(&seen.authorization)["cnf"]["x5t#S256"].clone();
        let new = seen.fingerprint == rotated.fingerprint();
        assert_eq!(bound, if new { rotated.thumbprint() } else { lab.partner.thumbprint() }, "a pair of two halves");
        new.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_thousand_cold_requests_make_one_token_request() {
    let lab = Lab::start().await;
    let gate = Gate::closed();
    let held = gate.clone();
    let idp = Fault::idp(move |_| Reply::after(&held).then(Reply::token("abc", 300))).await;
    let sidekey = lab.sidekey(&oauth(&idp.url(), "client_id: me, client_secret: s")).await;

    let mut waiting = Vec::new();
    for _ in 0..1000 {
        let mut connection = sidekey.connect().await;
        connection.write(Request::get("/payments/orders").to_bytes("localhost")).await;
        waiting.push(connection);
    }
    until("1000 requests in flight", async || {
        (sidekey.metric("sidekey_requests_in_flight{service=\"payments\"}").await >= 1000.0).then_some(())
    })
    .await;
    gate.open();

    for connection in &mut waiting {
        assert_eq!(connection.answer().await.at_service().authorization, "Bearer abc");
    }
    assert_eq!(idp.count(), 1, "token requests");
}

#[tokio::test]
async fn the_first_token_is_fetched_before_traffic_asks() {
    let lab = Lab::start().await;
    let idp = Fault::idp(|_| Reply::token("abc", 300)).await;

    let sidekey = lab.sidekey(&oauth(&idp.url(), "client_id: me, client_secret: s")).await;

    sidekey.until_token("payments", "valid").await;
    assert_eq!(idp.count(), 1);
}

#[tokio::test]
async fn the_token_request_has_all_that_the_entry_says() {
    let lab = Lab::start().await;
    let idp = Fault::idp(|_| Reply::token("abc", 300)).await;
    let fields = "client_id: me, client_secret: s, scope: a b, audience: urn:aud, resource: [urn:one, urn:two], \
                  params: { tenant: acme }, headers: { x-tenant: acme }";
    let sidekey = lab.sidekey(&oauth(&format!("{}/oauth2/token?realm=1", idp.url()), fields)).await;

    sidekey.until_token("payments", "valid").await;

    let request = idp.only();
    assert_eq!((request.method(), request.target()), ("POST", "/oauth2/token?realm=1"));
    assert_eq!(request.field("content-type").as_deref(), Some("application/x-www-form-urlencoded"));
    assert_eq!(request.field("x-tenant").as_deref(), Some("acme"));
    for (name, value) in
        [("grant_type", "client_credentials"), ("scope", "a b"), ("audience", "urn:aud"), ("tenant", "acme")]
    {
        assert_eq!(request.form(name).as_deref(), Some(value), "{}", request.text());
    }
    let resources: Vec<_> =
        request.text().split('&').filter(|pair| pair.starts_with("resource=")).map(str::to_owned).collect();
    assert_eq!(resources, ["resource=urn%3Aone", "resource=urn%3Atwo"]);
}

#[tokio::test]
async fn a_public_client_sends_only_its_id() {
    let lab = Lab::start().await;
    let idp = Fault::idp(|_| Reply::token("abc", 300)).await;
    let sidekey = lab.sidekey(&oauth(&idp.url(), "client_id: me, client_auth: none")).await;

    sidekey.until_token("payments", "valid").await;

    let request = idp.only();
    assert_eq!((request.form("client_id").as_deref(), request.field("authorization")), (Some("me"), None));
}

#[tokio::test]
async fn the_token_can_go_into_another_field_with_another_prefix() {
    let lab = Lab::start().await;
    let idp = Fault::idp(|_| Reply::token("abc", 300)).await;
    for (prefix, value) in [("Token", "Token abc"), ("''", "abc")] {
        let fields = format!("client_id: me, client_secret: s, token_header: X-Access-Token, token_prefix: {prefix}");
        let sidekey = lab.sidekey(&oauth(&idp.url(), &fields)).await;

        let seen = sidekey.send(Request::get("/payments/orders").field("x-access-token", "mine")).await.at_service();

        assert_eq!((seen.fields("x-access-token"), seen.authorization.as_str()), (vec![value.to_owned()], ""));
    }
}

#[tokio::test]
async fn services_that_agree_on_everything_share_a_token_and_others_never_do() {
    let lab = Lab::start().await;
    let idp = Fault::idp(|request| Reply::token(&format!("token-{}", request.number), 300)).await;
    let auth = |scope: &str| {
        let url = idp.url();
        format!(
            "{{ type: oauth2_client_credentials, token_url: '{url}', client_id: me, client_secret: s, scope: {scope} }}"
        )
    };
    let sidekey = lab
        .sidekey(&format!(
            "
services:
  one: {{ url: $SERVICE, certificate: partner, auth: {read} }}
  two: {{ url: $SERVICE, certificate: partner, auth: {read} }}
  other-scope: {{ url: $SERVICE, certificate: partner, auth: {write} }}
  other-certificate: {{ url: $SERVICE, certificate: other, auth: {read} }}
",
            read = auth("read"),
            write = auth("write")
        ))
        .await;
    let token = async |service: &str| sidekey.get(&format!("/{service}/x")).await.at_service().authorization;

    let tokens = [token("one").await, token("other-scope").await, token("other-certificate").await];

    assert_eq!(token("two").await, tokens[0]);
    assert!(tokens[0] != tokens[1] && tokens[1] != tokens[2] && tokens[0] != tokens[2], "{tokens:?}");
    assert_eq!(idp.count(), 3);
}

#[tokio::test]
async fn a_token_is_refreshed_ahead_while_requests_go_on_with_the_old_one() {
    let lab = Lab::start().await;
    let gate = Gate::closed();
    let held = gate.clone();
    let idp = Fault::idp(move |request| match request.number {
        0 => Reply::token("first", 4),
        _ => Reply::after(&held).then(Reply::token("second", 300)),
    })
    .await;
    let sidekey = lab.sidekey(&oauth(&idp.url(), "client_id: me, client_secret: s, refresh_ahead: 2s")).await;
    let token = async || sidekey.get("/payments/orders").await.at_service().authorization;

    idp.until_received(2).await;
    assert_eq!(token().await, "Bearer first");
    gate.open();

    until("the second token", async || (token().await == "Bearer second").then_some(())).await;
    assert_eq!(idp.count(), 2);
}

#[tokio::test]
async fn if_refreshing_fails_the_old_token_serves_until_its_expiry_and_not_longer() {
    let lab = Lab::start().await;
    let idp = Fault::idp(|request| match request.number {
        0 => Reply::token("first", 4),
        _ => Reply::status(500),
    })
    .await;
    let start = Instant::now();
    let sidekey = lab.sidekey(&oauth(&idp.url(), "client_id: me, client_secret: s, refresh_ahead: 2s")).await;

    idp.until_received(2).await;
    let old = sidekey.get("/payments/orders").await;
    let failure = until("the expiry", async || {
        let answer = sidekey.get("/payments/orders").await;
        (answer.status != 200).then_some(answer)
    })
    .await;

    assert_eq!(old.at_service().authorization, "Bearer first");
    assert!(start.elapsed() >= Duration::from_secs(3), "gone after {:?}", start.elapsed());
    failure.problem("token_unavailable");
    sidekey.until_token("payments", "expired").await;
}

#[tokio::test]
async fn tokens_are_never_seen_in_status_metrics_or_log() {
    let lab = Lab::start().await;
    let idp = Fault::idp(|_| Reply::token("very-secret-token", 300)).await;
    let sidekey = lab
        .sidekey(
            &(oauth(&idp.url(), "client_id: me, client_secret: client-secret")
                + "\nlog: { level: trace, access: all }"),
        )
        .await;
    sidekey.get("/payments/orders?query=never-logged").await.at_service();

    let shown = [sidekey.status().await.to_string(), sidekey.admin("/metrics").await.text(), sidekey.log()].concat();

    for secret in ["very-secret-token", "client-secret", "never-logged", &BASE64_STANDARD.encode("me:client-secret")] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}
