//! What endpoints and issuers answer given as any bytes, as the fuzz targets and their test do it.
//!
//! The first byte says with which status and fields the rest comes, and what it is held against.

use std::time::{Duration, SystemTime};

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::advice::{Given, Learnt};
use super::answer::{self, AnswerExpectation, Granted, TokenAnswer};
use super::attempt::TokenTypes;
use super::failure::TokenFailure;
use super::metadata::{self, Expected, MetadataError};
use super::spellings::Spellings;
use crate::clock::Moment;
use crate::config::{Scheme, Url};
use crate::legible::is_legible;

/// Panics unless an answer is a token that can be sent, and says the same once it is written down and read again, or a
/// reason that quotes the endpoint legibly and without our secret. Says whether it is a token.
pub(crate) fn an_answer_is_a_token_or_a_reason(bytes: &[u8]) -> bool {
    let (how, body) = split(bytes);
    let proof_key = (how & 8 != 0).then_some("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
    let read = read(status(how), &fields(how), body, proof_key);
    match &read {
        Ok(granted) => {
            let token = granted.access_token.expose();
            assert!(token.bytes().all(|byte| byte.is_ascii_graphic()), "{}", body.escape_ascii());
            assert!((1..=16 * 1024).contains(&token.len()), "{} bytes", token.len());
            assert!(granted.life.is_none_or(|life| life <= DAY), "{:?}", granted.life);
            expect_legible(granted.scope.as_deref().unwrap_or_default(), body);
            granted.oddities.told().for_each(|(told, _)| expect_legible(&told, body));
            expect_same_again(granted, proof_key, body);
        }
        Err(failure) => [&*failure.what, &*failure.help].iter().for_each(|shown| expect_legible(shown, body)),
    }
    let rotated = answer::refresh_token(&TokenAnswer { status: status(how), fields: &fields(how), body: Some(body) });
    assert!(rotated.is_none_or(|token| token.expose().bytes().all(|byte| byte.is_ascii_graphic())));
    read.is_ok()
}

/// Panics unless what an issuer names is an endpoint where credentials may go, or a reason that quotes it legibly. Says whether they
/// name one.
pub(crate) fn metadata_lead_to_no_worse_place(bytes: &[u8]) -> bool {
    let (how, body) = split(bytes);
    let scheme = if how & 8 != 0 { Scheme::Http } else { Scheme::Https };
    let expected = Expected { issuer: ISSUER, scheme, plaintext: false, certificate: how & 32 != 0 };
    let read = metadata::read(&TokenAnswer { status: status(how), fields: &fields(how), body: Some(body) }, &expected);
    match &read {
        Ok(found) => {
            let url = &found.token_endpoint;
            assert!(url.scheme == Scheme::Https || scheme == Scheme::Http && url.is_loopback(), "{url}");
            assert_eq!(Url::endpoint(&url.to_string()).as_ref(), Some(url), "{url}");
            let named: Named = serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(named.issuer, ISSUER, "{}", body.escape_ascii());
            found.auth_methods.iter().flatten().for_each(|method| expect_legible(method, body));
        }
        Err(MetadataError::Absent) => {}
        Err(MetadataError::Unusable(what) | MetadataError::Wrong(what, _)) => expect_legible(what, body),
    }
    read.is_ok()
}

/// What of a document says whose it is: of members that mean nothing to us we don't care what is in their strings.
#[derive(Deserialize)]
struct Named {
    issuer: String,
}

fn split(bytes: &[u8]) -> (u8, &[u8]) {
    bytes.split_first().map_or((0, bytes), |(how, body)| (*how, body))
}

fn status(how: u8) -> StatusCode {
    match how & 7 {
        0..=3 => StatusCode::OK,
        4 => StatusCode::BAD_REQUEST,
        5 => StatusCode::UNAUTHORIZED,
        6 => StatusCode::FOUND,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn fields(how: u8) -> HeaderMap {
    let mut fields = HeaderMap::new();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; a=hunter2"));
    fields.insert(DATE, HeaderValue::from_static("Mon, 12 Jan 1970 13:46:40 GMT"));
    fields.insert(RETRY_AFTER, HeaderValue::from_static("7"));
    if how & 16 != 0 {
        fields.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    fields
}

fn read(status: StatusCode, fields: &HeaderMap, body: &[u8], proof_key: Option<&str>) -> Result<Granted, TokenFailure> {
    let secrets = Spellings::of([SECRET]);
    let asked = AnswerExpectation {
        endpoint: "https://idp.example/token",
        secrets: &secrets,
        certificate: None,
        proof_key,
        given: &Given::by_secret(),
        learnt: Learnt::default(),
        scope: Some("read write"),
        types: TokenTypes::Expected,
        sent: Moment::now(),
    };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    answer::read(&TokenAnswer { status, fields, body: Some(body) }, &asked, now)
}

fn expect_same_again(granted: &Granted, proof_key: Option<&str>, body: &[u8]) {
    let token_type = if proof_key.is_some() { "DPoP" } else { "Bearer" };
    let mut written = json!({ "access_token": granted.access_token.expose(), "token_type": token_type });
    if let Some(life) = granted.life {
        written["expires_in"] = json!(life.as_secs_f64());
    }
    let again = read(StatusCode::OK, &HeaderMap::new(), written.to_string().as_bytes(), proof_key);
    let again = again.unwrap_or_else(|failure| panic!("{}, read again: {}", body.escape_ascii(), failure.what));
    assert_eq!(again.access_token, granted.access_token);
    let off = again.life.unwrap_or_default().abs_diff(granted.life.unwrap_or_default());
    assert!(
        again.life.is_some() == granted.life.is_some() && off < Duration::from_micros(1),
        "{off:?}: {}",
        body.escape_ascii()
    );
}

#[track_caller]
fn expect_legible(shown: &str, body: &[u8]) {
    assert!(shown.chars().all(is_legible), "{shown:?}: {}", body.escape_ascii());
    assert!(!shown.contains(SECRET), "{shown:?}: {}", body.escape_ascii());
}

const ISSUER: &str = "https://idp.example/realms/x";
const SECRET: &str = "hunter2";
const DAY: Duration = Duration::from_secs(24 * 3600);
