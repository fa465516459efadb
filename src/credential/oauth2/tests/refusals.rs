//! Answers that bring no token: whose turn it is, and what is told.

use http::header::{CONTENT_TYPE, DATE, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName};
use serde_json::json;

use super::super::advice::{Given, Learnt};
use super::super::failure::FailureKind;
use super::super::spellings::Spellings;
use super::answers::{check_failure, fields, read, read_with};
use crate::config::At;
use crate::config::auth::oauth2::ClientAuth;
use crate::credential::tests::oauth2;
use crate::secret::Secret;

#[test]
fn where_the_metadata_name_the_endpoint_they_are_what_to_look_at() {
    let (url, methods) = ("https://idp.example/t", ["private_key_jwt".to_owned(), "client_secret_jwt".to_owned()]);
    let failure = |status| {
        let learnt = Learnt { url: Some(url), methods: &methods };
        read_with(status, &HeaderMap::new(), Some(b""), |asked| asked.learnt = learnt).expect_err("no token")
    };

    for status in [200, 302, 404, 405] {
        let text = "the metadata of `issuer` names https://idp.example/t as the token endpoint, which it is not";
        assert_eq!(failure(status).help, text, "{status}");
    }
    assert_eq!(failure(503).help, "if this goes on, ask those who run it");
    let text = "check `client_id` and `client_secret`, and whether the endpoint wants `client_auth: post`; its issuer lists \
                private_key_jwt, client_secret_jwt; it was asked at https://idp.example/t";
    assert_eq!(failure(401).help, text);
}

fn kind(status: u16, body: &str) -> FailureKind {
    read(status, &HeaderMap::new(), Some(body.as_bytes())).expect_err(body).kind
}

#[test]
fn what_the_endpoint_refuses_is_rejected() {
    let body = r#"{"error":"invalid_client","error_description":"wrong secret hunter2-hunter2"}"#;
    let text = "idp answered 401 `invalid_client` (wrong secret ***); check `client_id` and `client_secret`, and whether the \
                endpoint wants `client_auth: post`";
    check_failure(401, body, FailureKind::Rejected, text);

    let refusal = r#"{"error":"x"}"#;
    let passing = [407, 408, 409, 421, 423, 425, 429, 460, 499];
    for status in (400..500).filter(|status| !passing.contains(status)).chain([301, 308, 501]) {
        assert_eq!(kind(status, ""), FailureKind::Rejected, "{status}");
        assert_eq!(kind(status, refusal), FailureKind::Rejected, "{status}");
        for passing in ["temporarily_unavailable", "server_error"] {
            assert_eq!(kind(status, &json!({ "error": passing }).to_string()), FailureKind::Unavailable, "{status}");
        }
    }
    for status in passing.into_iter().chain([300, 302, 303, 304, 305, 307, 399, 500, 502, 503, 504, 505, 511, 600, 100])
    {
        assert_eq!(kind(status, refusal), FailureKind::Unavailable, "{status}");
        assert_eq!(kind(status, r#"{"access_token":"t"}"#), FailureKind::Unavailable, "{status}");
    }
}

#[test]
fn an_error_that_says_that_all_is_well_is_a_rejection_too() {
    for status in [200, 201, 204] {
        for error in [json!("invalid_scope"), json!({}), json!({ "message": "no" }), json!(7), json!(["x"])] {
            let body = json!({ "error": error, "access_token": "t" }).to_string();
            assert_eq!(kind(status, &body), FailureKind::Rejected, "{status} {body}");
        }
        for passing in ["temporarily_unavailable", "server_error"] {
            assert_eq!(kind(status, &json!({ "error": passing }).to_string()), FailureKind::Unavailable);
        }
        for other in [r#"{"message":"no"}"#, r#"{"errorCode":"x"}"#, "{}", "", "no"] {
            assert_eq!(kind(status, other), FailureKind::Unavailable, "{status} {other}");
        }
    }
}

/// What is told of a refusal, without what to do about it.
#[track_caller]
fn check_said(status: u16, named: &[(HeaderName, &'static str)], body: &str, what: &str) {
    let failure = read(status, &fields(named), Some(body.as_bytes())).expect_err(body);

    assert_eq!(failure.what, what, "{body}");
}

#[test]
fn what_the_endpoint_says_is_told_wherever_it_says_it() {
    check_said(401, &[], r#"{"error":{"code":"401","message":"no"}}"#, "answered 401 `401` (no)");
    check_said(400, &[], r#"{"error":{"type":"OAuthException","message":"no"}}"#, "answered 400 `OAuthException` (no)");
    check_said(400, &[], r#"{"message":"no"}"#, "answered 400 (no)");
    check_said(400, &[], r#"{"ErrorCode":"x","Error":"no such client"}"#, "answered 400 `no such client`");
    check_said(401, &[], r#"{"fault":{"faultstring":"no","detail":{"errorcode":"x"}}}"#, "answered 401 (no)");
    check_said(400, &[], r#"{"error":"x","error_description":"no"}"#, "answered 400 `x` (no)");
    check_said(200, &[], r#"{"message":"no"}"#, "answered 200 without an `access_token` (no)");
    check_said(401, &[], "", "answered 401 with an empty body");
    check_said(401, &[], "{}", "answered 401");
    let refused = [(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\", error_description=\"no\"")];
    check_said(401, &refused, "", "answered 401 `invalid_token` (no)");
    check_said(401, &refused, r#"{"error":"x"}"#, "answered 401 `x` (no)");

    let other = "with something that is no token answer in JSON";
    check_said(403, &[], "no way\r\n", &format!("answered 403 {other} (no way)"));
    check_said(403, &[], "a\u{1b}[31m\u{202e}b", &format!("answered 403 {other} (a[31m\\u{{202e}}b)"));
    let html = [(CONTENT_TYPE, "text/html")];
    let page = "<!doctype html><title>Sorry</title><p>no hunter2-hunter2";
    check_said(502, &html, page, &format!("answered 502 {other}, but text/html (Sorry no ***)"));
    check_said(400, &[], &"x".repeat(201), &format!("answered 400 {other} ({}…)", "x".repeat(200)));
}

#[test]
fn words_that_hold_a_short_secret_are_left_out_and_the_error_stays() {
    let said = |body: &str| {
        let secrets = Spellings::of(["client"]);
        let read = read_with(401, &HeaderMap::new(), Some(body.as_bytes()), |asked| asked.secrets = &secrets);
        read.expect_err(body).what
    };

    let told = r#"{"error":"invalid_client","error_description":"the client's secret is client"}"#;
    assert_eq!(said(told), "answered 401 `invalid_client`");
    let untold = r#"{"error":"invalid_client","error_description":"who are you?"}"#;
    assert_eq!(said(untold), "answered 401 `invalid_client` (who are you?)");
    assert_eq!(said(r#"{"error":"no client"}"#), "answered 401");
    assert_eq!(said("no client"), "answered 401 with something that is no token answer in JSON");
}

#[track_caller]
fn check_clocks(date: &'static str, error: &str, differ: bool) {
    let body = json!({ "error": error }).to_string();
    let mut method = oauth2();
    let refused = |given: &Given| {
        read_with(400, &fields(&[(DATE, date)]), Some(body.as_bytes()), |asked| asked.given = given)
            .expect_err("refused")
    };
    let plain = refused(&Given::of(&method, false));
    assert!(!plain.help.contains("clock"), "{}: no JWT was sent", plain.help);

    method.client_auth = ClientAuth::SecretJwt(At::nowhere(Secret::new("secret".to_owned())));
    let failure = refused(&Given::of(&method, false));

    assert_eq!(failure.help.starts_with("its clock and ours are more than a minute apart"), differ, "{date} {error}");
}

#[test]
fn clocks_that_differ_are_told_where_a_jwt_may_have_been_refused_for_it() {
    // Now is 13:46:40.
    check_clocks("Mon, 12 Jan 1970 13:45:39 GMT", "invalid_client", true);
    check_clocks("Mon, 12 Jan 1970 13:45:40 GMT", "invalid_client", false);
    check_clocks("Mon, 12 Jan 1970 13:47:40 GMT", "invalid_client", false);
    check_clocks("Mon, 12 Jan 1970 13:47:41 GMT", "invalid_grant", true);
    check_clocks("Mon, 12 Jan 1970 13:47:41 GMT", "invalid_scope", false);
    check_clocks("yesterday", "invalid_client", false);
}

#[test]
fn a_redirect_is_not_followed_and_its_target_is_named() {
    let help = "set `token_url` to the endpoint itself, redirects are not followed";
    let to = |status: u16, target: &'static str| {
        let failure = read(status, &fields(&[(LOCATION, target)]), Some(b"moved")).expect_err("no token");
        assert_eq!(failure.help, help);
        (failure.kind, failure.what)
    };
    check_failure(302, "", FailureKind::Unavailable, &format!("idp answered 302 with an empty body; {help}"));

    let (url, what) = ("https://idp.example/login", "a redirect to https://idp.example/login");
    assert_eq!(to(302, url), (FailureKind::Unavailable, format!("answered 302, {what}")));
    assert_eq!(to(307, url), (FailureKind::Unavailable, format!("answered 307, {what}")));
    assert_eq!(to(301, url), (FailureKind::Rejected, format!("answered 301, {what}")));
    assert_eq!(to(308, url), (FailureKind::Rejected, format!("answered 308, {what}")));
    assert_eq!(to(302, "/?s=hunter2-hunter2").1, "answered 302, a redirect to /?s=***");
}
