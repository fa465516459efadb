//! Token endpoints on bad days: down, slow, or talking nonsense.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpListener;

use crate::lab::fault::{Fault, Received, Reply};
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, free_port, until};

fn config(token_url: &str) -> String {
    format!(
        "
services:
  payments:
    url: $SERVICE/v1
    certificate: partner
    auth:
      type: oauth2_client_credentials
      token_url: {token_url}
      client_id: me
      client_secret: client-secret
      default_lifetime: 7m
      timeout: 1s
"
    )
}

/// A lab with a token endpoint that answers so.
async fn with_endpoint(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> (Lab, Fault, Sidekey) {
    let lab = Lab::start().await;
    let idp = Fault::idp(answer).await;
    let sidekey = lab.sidekey(&config(&idp.url())).await;
    (lab, idp, sidekey)
}

/// Checks that requests fail with this code, fast and with our `Retry-After`, and that the detail has all `words`.
async fn check_fails(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static, code: &str, words: &[&str]) {
    let (_lab, idp, sidekey) = with_endpoint(answer).await;

    let answer = sidekey.get("/payments/orders").await;

    let detail = answer.problem(code);
    assert!(answer.retry_after() >= 1, "{answer:?}");
    assert_eq!(answer.json()["service"], "payments");
    for word in words {
        assert!(detail.contains(word), "{word:?} in {detail:?}");
    }
    assert!(!detail.contains("client-secret"), "{detail}");
    let requests = idp.count();
    for _ in 0..20 {
        sidekey.get("/payments/orders").await.problem(code);
    }
    assert!(idp.count() <= requests + 1, "requests that fail ask for no token each: {}", idp.count());
}

/// Checks that the token of this answer serves, and returns its life in seconds as the status has it.
async fn check_serves(answer: Value) -> i64 {
    let (_lab, _idp, sidekey) = with_endpoint(move |_| Reply::json(&answer)).await;

    assert_eq!(sidekey.get("/payments/orders").await.at_service().authorization, "Bearer abc");

    let token = sidekey.until_token("payments", "valid").await;
    let [from, until] = ["refreshed_at", "expires_at"].map(|name| seconds(&token[name]));
    until - from
}

fn seconds(time: &Value) -> i64 {
    OffsetDateTime::parse(time.as_str().unwrap(), &Rfc3339).unwrap().unix_timestamp()
}

#[track_caller]
fn assert_about(seconds: i64, wanted: i64) {
    assert!((wanted - 2..=wanted + 2).contains(&seconds), "{seconds} s, wanted {wanted}");
}

#[tokio::test]
async fn an_endpoint_that_is_down_at_start_stops_nothing_and_is_asked_again() {
    let lab = Lab::start().await;
    let port = free_port();
    let sidekey = lab.sidekey(&config(&format!("http://127.0.0.1:{port}/token"))).await;

    let answer = sidekey.get("/payments/orders").await;
    answer.problem("token_unavailable");
    assert!((1..=60).contains(&answer.retry_after()), "{answer:?}");

    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let idp = Fault::on(listener, |_| Reply::token("abc", 300));
    until("the first token", async || (sidekey.get("/payments/orders").await.status == 200).then_some(())).await;
    assert_eq!(idp.count(), 1);
}

#[tokio::test]
async fn an_endpoint_that_hangs_is_given_up_in_time() {
    check_fails(|_| Reply::hang(), "token_unavailable", &[]).await;
}

#[tokio::test]
async fn an_endpoint_that_trickles_is_given_up_in_time() {
    let trickle = |_: &Received| {
        let byte = || Reply::raw(" ").pause(Duration::from_millis(300));
        let head = Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
        (0..20).fold(head, |reply, _| reply.then(byte()))
    };
    check_fails(trickle, "token_unavailable", &[]).await;
}

#[tokio::test]
async fn a_500_is_unavailable() {
    check_fails(|_| Reply::status(500), "token_unavailable", &["500"]).await;
}

#[tokio::test]
async fn a_500_is_unavailable_whatever_its_body_says() {
    let body = r#"{"error": "invalid_client"}"#;
    check_fails(|_| Reply::new(500, &[], body), "token_unavailable", &["500"]).await;
}

#[tokio::test]
async fn a_429_is_unavailable_for_as_long_as_it_says() {
    let (_lab, idp, sidekey) = with_endpoint(|_| Reply::new(429, &[("Retry-After", "120")], "")).await;

    let answer = sidekey.get("/payments/orders").await;

    answer.problem("token_unavailable");
    assert!((115..=120).contains(&answer.retry_after()), "{answer:?}");
    assert_eq!(idp.count(), 1);
}

#[tokio::test]
async fn retry_after_is_honoured_up_to_five_minutes() {
    let (_lab, _idp, sidekey) = with_endpoint(|_| Reply::new(503, &[("Retry-After", "86400")], "")).await;

    let answer = sidekey.get("/payments/orders").await;

    assert!((295..=300).contains(&answer.retry_after()), "{answer:?}");
}

#[tokio::test]
async fn a_rejection_names_error_and_description_but_no_secret() {
    let body = r#"{"error": "invalid_client", "error_description": "no such client: me/client-secret\u0007"}"#;
    let rejects = |_: &Received| Reply::new(401, &[("Content-Type", "application/json")], body);
    check_fails(rejects, "token_rejected", &["invalid_client", "no such client"]).await;
}

#[tokio::test]
async fn a_200_with_an_error_is_a_rejection() {
    check_fails(|_| Reply::json(&json!({ "error": "invalid_scope" })), "token_rejected", &["invalid_scope"]).await;
}

#[tokio::test]
async fn a_rejection_that_may_pass_is_unavailable() {
    for error in ["temporarily_unavailable", "server_error"] {
        let body = json!({ "error": error }).to_string();
        check_fails(move |_| Reply::new(400, &[], &body), "token_unavailable", &[]).await;
    }
}

#[tokio::test]
async fn an_empty_200_is_unavailable() {
    check_fails(|_| Reply::ok(""), "token_unavailable", &[]).await;
}

#[tokio::test]
async fn html_is_unavailable() {
    let page = "<html><body>Please log in</body></html>";
    check_fails(|_| Reply::new(200, &[("Content-Type", "text/html")], page), "token_unavailable", &[]).await;
}

#[tokio::test]
async fn a_token_with_a_line_break_is_unavailable_and_never_sent() {
    check_fails(|_| Reply::token("abc\r\nX-Injected: 1", 300), "token_unavailable", &[]).await;
}

#[tokio::test]
async fn a_token_of_another_type_is_unavailable() {
    let mac = json!({ "access_token": "abc", "token_type": "mac", "expires_in": 300 });
    check_fails(move |_| Reply::json(&mac), "token_unavailable", &["mac"]).await;
}

#[tokio::test]
async fn a_redirect_is_told_and_not_followed() {
    let elsewhere = Fault::idp(|_| Reply::token("abc", 300)).await;
    let location = elsewhere.url();
    for (status, code) in
        [(302, "token_unavailable"), (307, "token_unavailable"), (301, "token_rejected"), (308, "token_rejected")]
    {
        let (location, told) = (location.clone(), format!("a redirect to {location}"));
        check_fails(move |_| Reply::new(status, &[("Location", &location)], ""), code, &[&told]).await;
    }
    assert_eq!(elsewhere.count(), 0, "credentials follow no redirect");
}

#[tokio::test]
async fn a_body_of_10_mib_is_unavailable_and_not_read() {
    let body = format!(r#"{{"access_token": "abc", "filler": "{}"}}"#, "x".repeat(10 << 20));
    check_fails(move |_| Reply::ok(&body), "token_unavailable", &["64"]).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_unavailable() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"access_token\": \"abc\"";
    check_fails(move |_| Reply::raw(half).then_close(), "token_unavailable", &[]).await;
}

#[tokio::test]
async fn garbage_is_unavailable() {
    check_fails(|_| Reply::raw("\x15\x03\x01 garbage\r\n\r\n").then_close(), "token_unavailable", &[]).await;
}

#[tokio::test]
async fn a_missing_expires_in_means_the_default_lifetime() {
    assert_about(check_serves(json!({ "access_token": "abc" })).await, 7 * 60);
}

#[tokio::test]
async fn an_expires_in_of_an_odd_kind_counts_as_missing() {
    for odd in [json!(null), json!(true), json!([300]), json!("soon"), json!("")] {
        assert_about(check_serves(json!({ "access_token": "abc", "expires_in": odd })).await, 7 * 60);
    }
}

#[tokio::test]
async fn an_expires_in_may_be_a_string_of_digits() {
    assert_about(check_serves(json!({ "access_token": "abc", "expires_in": "300" })).await, 300);
}

#[tokio::test]
async fn a_huge_expires_in_is_capped_at_a_day() {
    for huge in [json!(86_401), json!(u64::MAX), json!("99999999999999999999999"), json!(1e300)] {
        assert_about(check_serves(json!({ "access_token": "abc", "expires_in": huge })).await, 24 * 3600);
    }
}

#[tokio::test]
async fn a_jwt_tells_its_own_lifetime_where_the_answer_does_not() {
    let claims = base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, r#"{"iat": 1000, "exp": 1900}"#);
    let token = format!("e30.{claims}.c2ln");
    let (_lab, _idp, sidekey) = with_endpoint(move |_| Reply::json(&json!({ "access_token": token }))).await;

    let token = sidekey.until_token("payments", "valid").await;

    assert_about(seconds(&token["expires_at"]) - seconds(&token["refreshed_at"]), 900);
}

#[tokio::test]
async fn a_life_that_is_none_counts_as_missing_and_is_told_once_a_service() {
    for none in [json!(0), json!(-1), json!("0")] {
        let lab = Lab::start().await;
        let answer = json!({ "access_token": "abc", "expires_in": none });
        let idp = Fault::idp(move |_| Reply::json(&answer)).await;
        let both = config(&idp.url()).replace("default_lifetime: 7m", "default_lifetime: 4s\n      refresh_ahead: 2s");
        let service = both.trim_start().strip_prefix("services:\n").unwrap();
        let sidekey = lab.sidekey(&format!("{both}{}", service.replace("payments:", "orders:"))).await;

        idp.until_received(3).await;

        assert_eq!(sidekey.get("/payments/orders").await.at_service().authorization, "Bearer abc");
        sidekey.until_logged("counts as missing").await;
        let told = sidekey.log().lines().filter(|line| line.contains("counts as missing")).count();
        assert_eq!(told, 1, "{}", sidekey.log());
    }
}

#[tokio::test]
async fn each_line_about_tokens_names_the_services_and_the_client() {
    let lab = Lab::start().await;
    let asked = AtomicUsize::new(0);
    let idp = Fault::idp(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::status(500),
        _ => Reply::json(&json!({ "access_token": "abc", "expires_in": 300, "scope": "read" })),
    })
    .await;
    let one = config(&idp.url()).replace("client_id: me", "client_id: me\n      scope: read write");
    let service = one.trim_start().strip_prefix("services:\n").unwrap();
    let sidekey = lab.sidekey(&format!("{one}{}", service.replace("payments:", "orders:"))).await;

    sidekey.until_logged("token obtained").await;

    let log = sidekey.log();
    for said in ["answered 500", "without `write`", "token obtained"] {
        let lines: Vec<_> = log.lines().filter(|line| line.contains(said)).collect();
        assert_eq!(lines.len(), 1, "{said}: {log}");
        assert!(lines[0].contains(r#"service="orders, payments" client_id="me""#), "{}", lines[0]);
    }
}

#[tokio::test]
async fn a_token_of_any_type_is_sent_where_the_config_says_how() {
    let lab = Lab::start().await;
    let idp = Fault::idp(|_| Reply::json(&json!({ "access_token": "abc", "token_type": "mac" }))).await;
    let prefixed = config(&idp.url()).replace("client_id: me", "client_id: me\n      token_prefix: Token");
    let sidekey = lab.sidekey(&prefixed).await;

    assert_eq!(sidekey.get("/payments/orders").await.at_service().authorization, "Token abc");
}

#[tokio::test]
async fn what_big_providers_answer_is_a_token() {
    let token = r#"{"access_token":"abc","expires_in":300}"#;
    let answers = [
        (201, "application/json", "identity", token.to_owned()),
        (200, "text/plain", "utf-8", token.to_owned()),
        (200, "application/json", "", format!("\u{feff}{token}")),
        (200, "application/json", "", token.replace("\"abc\"", "\"abc\",\"token_type\":\"BearerToken\"")),
        (200, "application/json", "", token.replace("\"abc\"", "\"abc\",\"error\":\"\"")),
        (200, "application/json", "", token.replace("\"abc\"", "\" Bearer abc\\n\"")),
    ];
    for (status, kind, coding, body) in answers {
        let fields = [("Content-Type", kind), ("Content-Encoding", coding)];
        let (_lab, _idp, sidekey) = with_endpoint(move |_| Reply::new(status, &fields, &body)).await;

        assert_eq!(sidekey.get("/payments/orders").await.at_service().authorization, "Bearer abc", "{coding} {kind}");
    }
}

#[tokio::test]
async fn an_expires_in_of_1_serves_without_a_failure_and_without_a_storm() {
    let (_lab, idp, sidekey) = with_endpoint(|request| Reply::token(&format!("token-{}", request.number), 1)).await;
    let start = Instant::now();

    while start.elapsed() < Duration::from_secs(3) {
        sidekey.get("/payments/orders").await.at_service();
    }

    assert!((3..=5).contains(&idp.count()), "{} token requests in 3 s", idp.count());
}

#[tokio::test]
async fn an_endpoint_that_repeats_an_ageing_token_is_asked_less_and_less() {
    let lab = Lab::start().await;
    let issued = Instant::now();
    let idp = Fault::idp(move |_| match Duration::from_secs(6).checked_sub(issued.elapsed()) {
        Some(left) => Reply::token("the-same", left.as_secs().max(1)),
        None => Reply::token("a-new-one", 300),
    })
    .await;
    let sidekey = lab.sidekey(&config(&idp.url()).replace("timeout: 1s", "refresh_ahead: 3s")).await;

    until("the new token", async || {
        let seen = sidekey.get("/payments/orders").await.at_service();
        (seen.authorization == "Bearer a-new-one").then_some(())
    })
    .await;

    assert!((3..=7).contains(&idp.count()), "{} token requests", idp.count());
}

#[tokio::test]
async fn a_bound_token_of_another_certificate_is_unavailable() {
    let claims = base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, r#"{"cnf":{"x5t#S256":"AAAA"}}"#);
    let token = format!("e30.{claims}.c2ln");
    check_fails(move |_| Reply::token(&token, 300), "token_unavailable", &["certificate"]).await;
}

#[tokio::test]
async fn nothing_is_sent_to_the_service_without_its_token() {
    let lab = Lab::start().await;
    let idp = Fault::idp(|_| Reply::status(500)).await;
    let service = Fault::plain(|_| Reply::ok("")).await;
    let config = config(&idp.url()).replace("$SERVICE", &service.url()).replace("certificate: partner", "");
    let sidekey = lab.sidekey(&config).await;

    for _ in 0..10 {
        sidekey.post("/payments/orders", "x").await.problem("token_unavailable");
    }

    assert_eq!(service.count(), 0);
}

#[tokio::test]
async fn what_the_endpoint_repeats_of_us_is_not_shown_however_it_is_spelt() {
    let (_lab, idp, sidekey) = with_endpoint(|request| {
        let basic = request.field("authorization").unwrap_or_default();
        let said = format!("no {basic}, no client%2dSecret, no &#99;lient-secret!");
        Reply::new(401, &[], &json!({ "error": "invalid_client", "error_description": said }).to_string())
    })
    .await;

    let detail = sidekey.get("/payments/orders").await.problem("token_rejected");

    sidekey.until_logged("token_rejected").await;
    let pair = idp.received()[0].field("authorization").unwrap();
    assert!(pair.starts_with("Basic "), "{pair}");
    assert!(detail.contains("`invalid_client` (no Basic ***, no ***, no ***!)"), "{detail}");
    let status = sidekey.status().await.to_string();
    let hidden = ["client%2dSecret", "&#99;lient", pair.trim_start_matches("Basic ").trim_end_matches('=')];
    for text in [sidekey.log(), status] {
        assert!(text.contains("no Basic ***") && !hidden.iter().any(|spelling| text.contains(spelling)), "{text}");
    }
}
