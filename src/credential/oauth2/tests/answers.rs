//! Answers of token endpoints, good and bad.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::advice::{Given, Learnt};
use super::super::answer::{self, AnswerExpectation, Granted, TokenAnswer};
use super::super::attempt::TokenTypes;
use super::super::failure::{FailureKind, TokenFailure};
use super::super::spellings::Spellings;
use crate::clock::Moment;

pub(super) fn fields(fields: &[(HeaderName, &'static str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
}

pub(super) fn read(status: u16, fields: &HeaderMap, body: Option<&[u8]>) -> Result<Granted, TokenFailure> {
    read_with(status, fields, body, |_| {})
}

/// With another expectation.
pub(super) fn read_with<'a>(
    status: u16,
    fields: &HeaderMap,
    body: Option<&[u8]>,
    change: impl FnOnce(&mut AnswerExpectation<'a>),
) -> Result<Granted, TokenFailure> {
    let answer = TokenAnswer { status: StatusCode::from_u16(status).expect("a status"), fields, body };
    let mut asked = AnswerExpectation {
        endpoint: "idp",
        secrets: &SECRETS,
        certificate: Some(CERTIFICATE),
        proof_key: None,
        given: &GIVEN,
        learnt: Learnt::default(),
        scope: None,
        types: TokenTypes::Expected,
        sent: Moment::now(),
    };
    change(&mut asked);
    answer::read(&answer, &asked, now())
}

/// Half past the hour in which the tokens of these tests are issued.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
}

fn jwt(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2ln", part(&json!({ "alg": "ES256" })), part(claims))
}

#[track_caller]
fn check_life(answer: &Value, seconds: Option<f64>) {
    let granted = read(200, &HeaderMap::new(), Some(answer.to_string().as_bytes()));

    let life = granted.map(|granted| granted.life.map(|life| life.as_secs_f64()));
    assert_eq!(life, Ok(seconds), "{answer}");
}

#[track_caller]
pub(super) fn check_failure(status: u16, body: &str, kind: FailureKind, text: &str) {
    let failure = read(status, &HeaderMap::new(), Some(body.as_bytes())).expect_err(body);

    assert_eq!((failure.kind, failure.to_string().as_str()), (kind, text), "{status} {body}");
}

#[test]
fn a_life_is_a_number_or_a_string_of_digits() {
    let token = |expires_in: Value| json!({ "access_token": "t", "expires_in": expires_in });

    check_life(&token(json!(3600)), Some(3600.0));
    check_life(&token(json!("3600")), Some(3600.0));
    check_life(&token(json!(1.5)), Some(1.5));
    check_life(&token(json!(86_401)), Some(86_400.0));
    check_life(&token(json!(1e300)), Some(86_400.0));
    check_life(&token(json!("99999999999999999999999")), Some(86_400.0));
    check_life(&token(json!(null)), None);
}

/// What people are told of an answer that brings a token all the same.
fn told<'a>(answer: &Value, change: impl FnOnce(&mut AnswerExpectation<'a>)) -> Vec<String> {
    let granted = read_with(200, &HeaderMap::new(), Some(answer.to_string().as_bytes()), change).expect("a token");
    granted.oddities.told().map(|(what, _)| what).collect()
}

#[test]
fn a_life_that_is_none_counts_as_missing_and_is_told() {
    let token = |expires_in: &Value| json!({ "access_token": "t", "expires_in": expires_in });

    let odd = [json!(0), json!(0.0), json!(-1), json!(1e-12), json!("0"), json!("000"), json!("-5"), json!("1.5")];
    for odd in odd.into_iter().chain([json!(""), json!("1h"), json!(true), json!([1]), json!({})]) {
        check_life(&token(&odd), None);
        let text = format!(
            "the endpoint gives `expires_in` as {odd}, which is no time that a token lives and counts as missing"
        );
        assert_eq!(told(&token(&odd), |_| {}), [text]);
    }
    // A token that says itself how long it lives needs no other.
    let answer = json!({ "access_token": jwt(&json!({ "iat": 500, "exp": 1100 })), "expires_in": 0 });
    check_life(&answer, Some(600.0));
    for plain in [json!(1), json!("60"), json!(1e300), json!(null)] {
        assert_eq!(told(&token(&plain), |_| {}), [""; 0], "{plain}");
    }
}

#[track_caller]
fn check_scopes(asked: Option<&str>, granted: Value, missing: &[&str]) {
    let answer = json!({ "access_token": "t", "expires_in": 60, "scope": granted });

    let names = missing.iter().map(|scope| format!("`{scope}`")).collect::<Vec<_>>().join(", ");
    let expected = format!("the endpoint grants fewer scopes than `scope` asks for, without {names}");
    let expected: Vec<_> = (!missing.is_empty()).then_some(expected).into_iter().collect();
    assert_eq!(told(&answer, |expectation| expectation.scope = asked), expected, "{answer}");
}

#[test]
fn scopes_that_were_asked_for_and_not_granted_are_told() {
    check_scopes(Some("read write"), json!("read"), &["write"]);
    check_scopes(Some("read write admin"), json!("other write"), &["read", "admin"]);
    check_scopes(Some("read"), json!(""), &["read"]);
    check_scopes(Some("read"), json!("Read"), &["read"]);
    check_scopes(Some("read write"), json!("write  other read"), &[]);
    check_scopes(Some("read"), json!(null), &[]);
    check_scopes(Some("read"), json!(["read"]), &[]);
    check_scopes(Some("read write"), json!(["write", 7]), &["read"]);
    check_scopes(Some("read"), json!([]), &["read"]);
    check_scopes(Some("read write"), json!("write,read"), &[]);
    check_scopes(Some("read write"), json!("write, other"), &["read"]);
    check_scopes(Some("a,b"), json!("a,b"), &[]);
    check_scopes(Some("read"), json!({ "read": true }), &[]);
    check_scopes(None, json!("read"), &[]);
    // It stands for all that an administrator has granted.
    check_scopes(Some("https://vault.example/.default"), json!("https://vault.example/read"), &[]);
}

#[test]
fn a_jwt_says_how_long_it_lives_if_the_answer_does_not() {
    let token = |claims: Value| json!({ "access_token": jwt(&claims) });

    check_life(&token(json!({ "iat": 500, "exp": 1100 })), Some(600.0));
    check_life(&token(json!({ "iat": 500, "exp": 400 })), Some(0.0));
    check_life(&token(json!({ "exp": 1_000_060 })), Some(60.0));
    check_life(&token(json!({ "iat": 500 })), None);
    check_life(&token(json!({ "exp": "soon" })), None);
    check_life(&token(json!(["exp"])), None);
    check_life(&json!({ "access_token": "a.!.c" }), None);
    check_life(&json!({ "access_token": jwt(&json!({ "iat": 0, "exp": 9 })), "expires_in": 60 }), Some(60.0));
}

#[test]
fn a_type_is_bearer_in_any_case_or_missing() {
    let bearer =
        ["Bearer", "bearer", "BEARER", "BearerToken", "bearertoken", " Bearer ", "", " "].map(|word| json!(word));
    for token_type in bearer.into_iter().chain([json!(null)]) {
        check_life(&json!({ "access_token": "t", "expires_in": 1, "token_type": token_type }), Some(1.0));
    }
    check_life(&json!({ "access_token": "t", "expires_in": 1 }), Some(1.0));
}

#[test]
fn any_type_will_do_where_the_config_says_how_the_token_is_sent_but_those_that_cannot_be_sent_so() {
    let read = |token_type: &Value, types, proof_key| {
        let answer = json!({ "access_token": "t", "token_type": token_type }).to_string();
        read_with(200, &HeaderMap::new(), Some(answer.as_bytes()), |asked| {
            (asked.types, asked.proof_key) = (types, proof_key);
        })
    };

    for other in ["mac", "Token", "SSWS", "Bearer token", "urn:x"].map(|word| json!(word)) {
        read(&other, TokenTypes::Any, None).expect("a token");
        read(&other, TokenTypes::Expected, None).expect_err("another type");
        read(&other, TokenTypes::Any, Some("our-thumbprint")).expect_err("not bound to our key");
    }
    for never in ["N_A", "n_a", "DPoP", "dpop"].map(|word| json!(word)) {
        read(&never, TokenTypes::Any, None).expect_err("it can't be sent so");
    }
    read(&json!(7), TokenTypes::Any, None).expect_err("no type");
}

#[test]
fn an_error_that_says_nothing_beside_a_token_is_none() {
    for nothing in [json!(null), json!(""), json!(" ")] {
        check_life(&json!({ "access_token": "t", "expires_in": 1, "error": nothing }), Some(1.0));
        let refused = json!({ "error": nothing }).to_string();
        let failure = read(200, &HeaderMap::new(), Some(refused.as_bytes())).expect_err("no token");
        assert_eq!(failure.kind, FailureKind::Unavailable, "{refused}");
    }
}

#[test]
fn any_status_that_says_that_all_is_well_brings_a_token() {
    for status in [200, 201, 202, 203, 299] {
        read(status, &HeaderMap::new(), Some(br#"{"access_token":"t"}"#)).expect("a token");
    }
}

#[test]
fn a_byte_order_mark_before_it_counts_for_nothing() {
    let token = read(200, &HeaderMap::new(), Some(b"\xef\xbb\xbf {\"access_token\":\"t\"}")).expect("a token");
    assert_eq!(token.access_token.expose(), "t");
    read(200, &HeaderMap::new(), Some(b"\xef\xbb\xbf\xef\xbb\xbf{\"access_token\":\"t\"}")).expect_err("two of them");
}

#[test]
fn what_stands_around_a_token_is_no_part_of_it() {
    for around in ["t", " t", "t\n", "\t\r\n t \n", "Bearer t", "bearer  t ", " BEARER t"] {
        let answer = json!({ "access_token": around }).to_string();
        let token = read(200, &HeaderMap::new(), Some(answer.as_bytes())).expect(around);
        assert_eq!(token.access_token.expose(), "t", "{around:?}");
    }
    for broken in ["a b", "Bearer a b", "DPoP a", "Bearer\tt", " ", "Bearer ", "Bearer"] {
        let answer = json!({ "access_token": broken }).to_string();
        let read = read(200, &HeaderMap::new(), Some(answer.as_bytes()));
        // The last is a token like any other word.
        assert_eq!(read.is_ok(), broken.trim() == "Bearer", "{broken:?}");
    }
}

#[test]
fn a_scope_is_kept_for_people() {
    for (scope, kept) in [
        (json!("read write"), Some("read write")),
        (json!(["read", "write"]), Some("read write")),
        (json!([7, "read"]), Some("read")),
        (json!([]), Some("")),
        (json!(""), Some("")),
        (json!(null), None),
        (json!(7), None),
        (json!({ "read": true }), None),
    ] {
        let answer = json!({ "access_token": "t", "scope": scope }).to_string();

        let granted = read(200, &HeaderMap::new(), Some(answer.as_bytes())).expect("a token");

        assert_eq!(granted.scope.as_deref(), kept, "{answer}");
    }
}

#[test]
fn a_200_that_brings_no_usable_token_says_why() {
    const HELP: &str = "; check that `token_url` is a token endpoint";
    let unusable = |body: &str, what: &str| {
        check_failure(200, body, FailureKind::Unavailable, &format!("idp answered {what}{HELP}"))
    };

    unusable("", "200 with an empty body");
    unusable("<html>", "200 with something that is no token answer in JSON");
    unusable("[]", "200 with something that is no token answer in JSON");
    unusable("[\"t\",\"Bearer\",1,null,null]", "200 with something that is no token answer in JSON");
    unusable("{\"access_token\":\"a\",\"access_token\":\"b\"}", "200 with something that is no token answer in JSON");
    unusable("{}", "200 without an `access_token`");
    unusable("{\"access_token\":1}", "200 without an `access_token`");
    unusable("{\"access_token\":\"\"}", "with an empty `access_token`");
    unusable("{\"access_token\":\"a\\nb\"}", "with an `access_token` that is not all visible ASCII");
    unusable("{\"access_token\":\"a b\"}", "with an `access_token` that is not all visible ASCII");
    unusable("{\"access_token\":\"ä\"}", "with an `access_token` that is not all visible ASCII");
    unusable("{\"access_token\":\"a\",\"token_type\":1}", "with a `token_type` that is no text");
    let other = "idp answered with a token of type `DPoP`, not Bearer; check that `token_url` is a token endpoint; with \
                 `token_prefix` set, tokens of any type are sent after it";
    check_failure(200, "{\"access_token\":\"a\",\"token_type\":\"DPoP\"}", FailureKind::Unavailable, other);
    let long = format!("{{\"access_token\":\"{}\"}}", "a".repeat(16_385));
    unusable(&long, "with an `access_token` of more than 16 KiB");
}

#[test]
fn a_token_may_have_sixteen_kibibytes() {
    let longest = "a".repeat(16_384);
    check_life(&json!({ "access_token": longest, "expires_in": 1 }), Some(1.0));
}

#[test]
fn a_token_bound_to_another_certificate_is_refused() {
    let bound = |thumbprint: &str| json!({ "access_token": jwt(&json!({ "cnf": { "x5t#S256": thumbprint } })) });
    let ours = URL_SAFE_NO_PAD.encode(CERTIFICATE);
    let text = "idp answered with a token that is bound to another certificate (`cnf.x5t#S256`); \
                the endpoint must bind tokens to the certificate that it is called with";

    check_life(&bound(&ours), None);
    check_failure(200, &bound(&URL_SAFE_NO_PAD.encode([8; 32])).to_string(), FailureKind::Unavailable, text);
    check_failure(200, &bound("?").to_string(), FailureKind::Unavailable, text);
}

/// A token answer to a request with a proof.
fn proven(body: &Value) -> Result<Granted, TokenFailure> {
    let body = body.to_string();
    read_with(200, &HeaderMap::new(), Some(body.as_bytes()), |asked| asked.proof_key = Some("our-thumbprint"))
}

#[test]
fn a_token_that_was_to_be_bound_is_of_the_type_dpop() {
    let token = |token_type: Value| json!({ "access_token": "t", "token_type": token_type });
    let failure = |token_type: Value| proven(&token(token_type)).expect_err("another type");

    for token_type in ["DPoP", "dpop", "DPOP"] {
        assert!(proven(&token(json!(token_type))).is_ok(), "{token_type}");
    }
    for missing in [json!(null), json!("Bearer")] {
        let text = "idp answered with a token of type `Bearer`, not DPoP; \
                    let the endpoint bind tokens of this client to its proofs, or remove `dpop: true`";
        let failure = failure(missing);
        assert_eq!((failure.kind, failure.to_string().as_str()), (FailureKind::Unavailable, text));
    }
    assert_eq!(failure(json!("mac")).what, "answered with a token of type `mac`, not DPoP");
}

#[test]
fn a_token_bound_to_another_key_is_refused() {
    let bound = |jkt: Value| json!({ "access_token": jwt(&json!({ "cnf": { "jkt": jkt } })), "token_type": "DPoP" });

    assert!(proven(&bound(json!("our-thumbprint"))).is_ok());
    for other in [json!("another"), json!(1), json!(null)] {
        let failure = proven(&bound(other)).expect_err("another key");
        assert_eq!(failure.what, "answered with a token that is bound to another key (`cnf.jkt`)");
    }
}

#[test]
fn only_a_400_asks_for_a_nonce() {
    let asks = |status: u16, body: &str| {
        let status = StatusCode::from_u16(status).expect("a status");
        answer::wants_nonce(&TokenAnswer { status, fields: &HeaderMap::new(), body: Some(body.as_bytes()) })
    };

    assert!(asks(400, r#"{"error":"use_dpop_nonce"}"#));
    assert!(!asks(401, r#"{"error":"use_dpop_nonce"}"#));
    assert!(!asks(400, r#"{"error":"invalid_request"}"#));
    assert!(!asks(400, "use_dpop_nonce"));
}

#[test]
fn an_answer_that_is_too_long_or_compressed_is_not_read() {
    let json = br#"{"access_token":"t"}"#;
    let long = read(200, &HeaderMap::new(), None).expect_err("too long");
    let gzip = read(200, &fields(&[(CONTENT_ENCODING, "gzip")]), Some(json)).expect_err("compressed");
    for none in ["Identity", "identity", "utf-8", "UTF-8", "none", "", "identity, utf-8"] {
        read(200, &fields(&[(CONTENT_ENCODING, none)]), Some(json)).expect(none);
    }
    for coded in ["br", "GZIP", "x-gzip", "deflate", "zstd", "identity, gzip", "utf-8,br"] {
        read(200, &fields(&[(CONTENT_ENCODING, coded)]), Some(json)).expect_err(coded);
    }
    let rejected = read(400, &HeaderMap::new(), None).expect_err("rejected");

    assert_eq!(long.what, "answered 200 with more than 64 KiB");
    assert_eq!(gzip.what, "answered 200 compressed, though it was asked not to (`Accept-Encoding: identity`)");
    assert_eq!(rejected.kind, FailureKind::Rejected);
}

#[test]
fn an_answer_of_another_kind_is_called_by_its_name() {
    let html = read(200, &fields(&[(CONTENT_TYPE, "text/html")]), Some(b"<html>")).expect_err("HTML");

    assert_eq!(html.what, "answered 200 with something that is no token answer in JSON, but text/html");
}

#[track_caller]
fn check_retry_after(value: &'static str, seconds: Option<u64>) {
    let failure = read(503, &fields(&[(RETRY_AFTER, value)]), Some(b"")).expect_err("503");

    assert_eq!(failure.retry_after, seconds.map(Duration::from_secs), "{value}");
}

#[test]
fn retry_after_is_read_in_seconds_and_as_a_date() {
    check_retry_after("120", Some(120));
    check_retry_after("0", Some(0));
    check_retry_after("Mon, 12 Jan 1970 13:47:40 GMT", Some(60));
    check_retry_after("Mon, 12 Jan 1970 13:00:00 GMT", None);
    check_retry_after("soon", None);
    check_retry_after("-1", None);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(status in 100_u16..1000, body: Vec<u8>) {
        read(status, &HeaderMap::new(), Some(&body)).ok();
    }

    #[test]
    fn no_token_or_claim_makes_it_panic(token in "[!-~]{0,40}", claims in "\\PC{0,60}", life: f64) {
        let claims = URL_SAFE_NO_PAD.encode(claims);
        for token in [token.clone(), format!("a.{claims}.c"), format!("a.{token}.c")] {
            let body = json!({ "access_token": token, "expires_in": life }).to_string();
            read(200, &HeaderMap::new(), Some(body.as_bytes())).ok();
        }
    }

    #[test]
    fn claims_of_any_size_make_a_life_of_a_day_at_most(issued: f64, expires: f64) {
        let body = json!({ "access_token": jwt(&json!({ "iat": issued, "exp": expires })) }).to_string();
        let granted = read(200, &HeaderMap::new(), Some(body.as_bytes())).expect("a token");
        prop_assert!(granted.life.is_none_or(|life| life <= Duration::from_secs(86_400)));
    }
}

const CERTIFICATE: [u8; 32] = [7; 32];
static SECRETS: LazyLock<Spellings> = LazyLock::new(|| Spellings::of(["hunter2-hunter2"]));
static GIVEN: LazyLock<Given> = LazyLock::new(Given::by_secret);

#[test]
fn a_refresh_token_is_kept_whatever_becomes_of_the_access_token() {
    let find = |status: u16, body: Value| {
        let (status, fields, body) = (StatusCode::from_u16(status).unwrap(), HeaderMap::new(), body.to_string());
        let found = answer::refresh_token(&TokenAnswer { status, fields: &fields, body: Some(body.as_bytes()) });
        found.map(|token| token.expose().to_owned())
    };
    let next = Some("next".to_owned());

    assert_eq!(find(200, json!({ "access_token": "t", "refresh_token": "next" })), next);
    assert_eq!(find(200, json!({ "access_token": "t", "token_type": "mac", "refresh_token": "next" })), next);
    assert_eq!(find(200, json!({ "error": "server_error", "refresh_token": "next" })), None);
    assert_eq!(find(400, json!({ "refresh_token": "next" })), None);
    for unusable in [json!(null), json!(""), json!(7), json!("a\nb"), json!("a".repeat(16_385))] {
        assert_eq!(find(200, json!({ "access_token": "t", "refresh_token": unusable })), None);
    }
}

#[test]
fn what_is_no_access_token_is_refused_with_a_reason() {
    let text = "idp answered with a token of type `N_A`, which is no access token and can't be sent as Bearer; \
                ask for an access token by `requested_token_type`";

    check_failure(200, "{\"access_token\":\"a\",\"token_type\":\"N_A\"}", FailureKind::Unavailable, text);
}
