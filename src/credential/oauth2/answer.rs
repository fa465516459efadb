//! From the bytes of a token answer to a token.
//!
//! Pure and bounded, for it reads what a stranger wrote: whatever comes in, the result is a token that can be sent or
//! a [`TokenFailure`] with a clear reason. What it may be at most is decided here; that no more than
//! [`LARGEST_ANSWER`] bytes of it are read is up to `call`.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use httpdate::HttpDate;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::failure::{FailureKind, TokenFailure};
use super::origin::UrlOrigin;
use super::spellings::Spellings;
use crate::clock::Moment;
use crate::credential::Compact;
use crate::secret::Secret;

/// A token as the endpoint gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    /// Visible ASCII, 1 byte to 16 KiB.
    pub(in crate::credential) access_token: Secret,
    /// When the request for it was sent: its life counts from here.
    pub(in crate::credential) sent: Moment,
    /// At most 24 h; zero serves only those who waited for it. `None`: neither the answer nor the token says.
    pub(in crate::credential) life: Option<Duration>,
    /// What it is good for, if the endpoint says so; for people.
    pub(in crate::credential) scope: Option<String>,
}

/// What came back.
pub(in crate::credential) struct TokenAnswer<'a> {
    pub(in crate::credential) status: StatusCode,
    pub(in crate::credential) fields: &'a HeaderMap,
    /// `None`: longer than [`LARGEST_ANSWER`].
    pub(in crate::credential) body: Option<&'a [u8]>,
}

/// What was asked for, and how: what an answer is held against.
pub(super) struct AnswerExpectation<'a> {
    pub(super) endpoint: &'a str,
    pub(super) secrets: &'a Spellings,
    /// Fingerprint of the certificate that the endpoint saw.
    pub(super) certificate: Option<[u8; 32]>,
    /// Thumbprint of the key that the token is to be bound to (RFC 9449).
    pub(super) proof_key: Option<&'a str>,
    pub(super) origin: UrlOrigin,
    pub(super) sent: Moment,
}

/// More than any answer with a token of 16 KiB needs.
pub(super) const LARGEST_ANSWER: usize = 64 * 1024;

/// Reads an answer that arrived at `now` by the wall clock.
///
/// # Errors
/// When it holds no usable token: see [`FailureKind`] for who can do something about it.
pub(super) fn read(
    answer: &TokenAnswer<'_>,
    asked: &AnswerExpectation<'_>,
    now: SystemTime,
) -> Result<Granted, TokenFailure> {
    let wire: Option<AnswerMembers> = readable(answer).and_then(object);
    match wire {
        Some(wire) if answer.status == StatusCode::OK && wire.error.is_null() => granted(wire, asked, now),
        Some(wire) if !wire.error.is_null() => Err(asked.complaint(answer, &wire, now)),
        _ => Err(asked.no_answer(answer, now)),
    }
}

/// The refresh token that came with the answer, whatever else is wrong with it. One that could not be sent is none.
pub(super) fn refresh_token(answer: &TokenAnswer<'_>) -> Option<Secret> {
    let wire: Rotation = readable(answer).filter(|_| answer.status == StatusCode::OK).and_then(object)?;
    if !wire.error.is_null() || wire.refresh_token.is_null() {
        return None;
    }
    token(wire.refresh_token, "refresh_token").ok()
}

/// The members of an answer that mean something to us (RFC 6749 §5.1, §5.2). Any kind of value is let in here, so
/// that an odd one is judged by itself and does not take the others with it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct AnswerMembers {
    access_token: Value,
    token_type: Value,
    expires_in: Value,
    scope: Value,
    error: Value,
    error_description: Value,
}

/// What of an answer is read for the refresh token in it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Rotation {
    refresh_token: Value,
    error: Value,
}

/// The claims of an access token that happens to be a JWT. It is not verified: that is the service's affair, and the
/// endpoint that we trust has just handed it to us.
#[derive(Default, Deserialize)]
#[serde(default)]
struct AccessTokenClaims {
    exp: Value,
    iat: Value,
    cnf: Value,
}

/// The body, if it can be read as it is: we ask for `identity`, so a compressed one is nobody's wish, and a few bytes
/// of it could unpack to gigabytes.
pub(super) fn readable<'a>(answer: &TokenAnswer<'a>) -> Option<&'a [u8]> {
    if is_compressed(answer.fields) { None } else { answer.body }
}

pub(super) fn is_compressed(fields: &HeaderMap) -> bool {
    fields.get_all(CONTENT_ENCODING).iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Parses a JSON object; serde would take an array for a struct as well.
pub(super) fn object<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let starts_as_object = bytes.trim_ascii_start().starts_with(b"{");
    starts_as_object.then(|| serde_json::from_slice(bytes).ok()).flatten()
}

fn granted(wire: AnswerMembers, asked: &AnswerExpectation<'_>, now: SystemTime) -> Result<Granted, TokenFailure> {
    let access_token = token(wire.access_token, "access_token").map_err(|what| asked.unusable(what))?;
    expect_type(&wire.token_type, asked)?;
    let claims = claims(access_token.expose());
    expect_same_certificate(&claims, asked)?;
    expect_same_key(&claims, asked)?;
    let life = stated_life(&wire.expires_in).or_else(|| claimed_life(&claims, now));
    let scope = wire.scope.as_str().map(|scope| asked.secrets.quote(scope, LONGEST_DESCRIPTION));
    Ok(Granted { access_token, sent: asked.sent, life: life.map(|life| life.min(LONGEST_LIFE)), scope })
}

/// How long a token that happens to be a JWT is still good.
pub(super) fn time_left(token: &str, now: SystemTime) -> Option<Duration> {
    let wall = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    claims(token).exp.as_f64().map(|expires| seconds_of(expires - wall))
}

/// A token. Moved out of the parsed answer, so that the only copy is one that is wiped.
fn token(value: Value, member: &str) -> Result<Secret, String> {
    let Value::String(text) = value else {
        return Err(format!("answered 200 without an `{member}`"));
    };
    let token = Secret::new(text);
    let bytes = token.expose().as_bytes();
    match bytes.len() {
        0 => Err(format!("answered with an empty `{member}`")),
        1..=LONGEST_TOKEN if bytes.iter().all(u8::is_ascii_graphic) => Ok(token),
        // A line break in it would end the header field that carries it.
        1..=LONGEST_TOKEN => Err(format!("answered with an `{member}` that is not all visible ASCII")),
        _ => Err(format!("answered with an `{member}` of more than 16 KiB")),
    }
}

/// A type that is missing counts as Bearer.
fn expect_type(token_type: &Value, asked: &AnswerExpectation<'_>) -> Result<(), TokenFailure> {
    let (expected, help) = match asked.proof_key {
        None => ("Bearer", HELP_ENDPOINT),
        Some(_) => ("DPoP", HELP_DPOP),
    };
    let found = match token_type {
        Value::Null => "Bearer",
        Value::String(name) => name,
        _ => return Err(asked.unusable("answered with a `token_type` that is no text".to_owned())),
    };
    if found.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    // RFC 8693 §2.2.1.
    if found.eq_ignore_ascii_case("n_a") {
        let what =
            format!("answered with a token of type `N_A`, which is no access token and can't be sent as {expected}");
        return Err(TokenFailure { help: HELP_REQUESTED_TYPE, ..asked.unusable(what) });
    }
    let name = asked.secrets.quote(found, LONGEST_WORD);
    Err(asked.failure(
        FailureKind::Unavailable,
        format!("answered with a token of type `{name}`, not {expected}"),
        help,
        None,
    ))
}

/// A token that is bound to a certificate is worth nothing beside another (RFC 8705 §3).
fn expect_same_certificate(claims: &AccessTokenClaims, asked: &AnswerExpectation<'_>) -> Result<(), TokenFailure> {
    let Some(thumbprint) = claims.cnf.get("x5t#S256") else { return Ok(()) };
    let bound_to = thumbprint.as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let ours = asked.certificate.as_ref().map(<[u8; 32]>::as_slice);
    if bound_to.is_some() && bound_to.as_deref() == ours {
        return Ok(());
    }
    let what = "answered with a token that is bound to another certificate (`cnf.x5t#S256`)".to_owned();
    Err(TokenFailure { help: HELP_CERTIFICATE, ..asked.unusable(what) })
}

/// A token that is bound to a key is worth nothing with the proofs of another (RFC 9449 §6.1).
fn expect_same_key(claims: &AccessTokenClaims, asked: &AnswerExpectation<'_>) -> Result<(), TokenFailure> {
    match (asked.proof_key, claims.cnf.get("jkt")) {
        (Some(ours), Some(thumbprint)) if thumbprint.as_str() != Some(ours) => {
            let what = "answered with a token that is bound to another key (`cnf.jkt`)".to_owned();
            Err(asked.failure(FailureKind::Unavailable, what, HELP_DPOP, None))
        }
        _ => Ok(()),
    }
}

/// Whether the endpoint wants a proof with the nonce of this answer (RFC 9449 §8).
pub(super) fn wants_nonce(answer: &TokenAnswer<'_>) -> bool {
    let wire: Option<AnswerMembers> = readable(answer).and_then(object);
    answer.status == StatusCode::BAD_REQUEST && wire.is_some_and(|wire| wire.error == "use_dpop_nonce")
}

/// The claims of a JWT; empty for any other token.
fn claims(token: &str) -> AccessTokenClaims {
    let payload = Compact::of(token).and_then(|jwt| jwt.payload());
    payload.as_deref().and_then(object).unwrap_or_default()
}

/// `expires_in`: a number, or a string of digits as some endpoints write it. Any other kind counts as missing.
fn stated_life(expires_in: &Value) -> Option<Duration> {
    match expires_in {
        Value::Number(seconds) => seconds.as_f64().map(seconds_of),
        Value::String(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(text.parse().map_or(LONGEST_LIFE, Duration::from_secs))
        }
        _ => None,
    }
}

/// `exp − iat`, or what is left by the wall clock of a JWT that does not say when it was issued.
fn claimed_life(claims: &AccessTokenClaims, now: SystemTime) -> Option<Duration> {
    let expires = claims.exp.as_f64()?;
    let wall = || now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    Some(seconds_of(expires - claims.iat.as_f64().unwrap_or_else(wall)))
}

/// Seconds as an endpoint states them: what is less than nothing is nothing, what is more than a day a day.
fn seconds_of(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.max(0.0).min(LONGEST_LIFE.as_secs_f64()))
}

impl AnswerExpectation<'_> {
    /// The endpoint said what it did not like (RFC 6749 §5.2).
    fn complaint(&self, answer: &TokenAnswer<'_>, wire: &AnswerMembers, now: SystemTime) -> TokenFailure {
        let error = wire.error.as_str().unwrap_or_default();
        let mut what = format!("answered {} `{}`", answer.status.as_u16(), self.secrets.quote(error, LONGEST_WORD));
        if let Some(description) = wire.error_description.as_str() {
            what += &format!(" ({})", self.secrets.quote(description, LONGEST_DESCRIPTION));
        }
        let kind = match error {
            "temporarily_unavailable" | "server_error" => FailureKind::Unavailable,
            _ => kind_of(answer.status, FailureKind::Rejected),
        };
        let is_about_jwt = kind == FailureKind::Rejected && matches!(error, "invalid_client" | "invalid_grant");
        let help = match help_for(kind, error, answer.status) {
            _ if is_about_jwt && clocks_differ(answer.fields, now) => HELP_CLOCKS,
            help => help,
        };
        self.failure(kind, what, help, retry_after(answer.fields, now))
    }

    /// The answer has nothing in it that we can read.
    fn no_answer(&self, answer: &TokenAnswer<'_>, now: SystemTime) -> TokenFailure {
        let status = answer.status.as_u16();
        let what = match answer {
            TokenAnswer { body: None, .. } => format!("answered {status} with more than 64 KiB"),
            TokenAnswer { fields, .. } if is_compressed(fields) => {
                format!("answered {status} compressed, though it was asked not to (`Accept-Encoding: identity`)")
            }
            TokenAnswer { body: Some([]), .. } => format!("answered {status} with an empty body"),
            TokenAnswer { fields, .. } => format!("answered {status} with {}", self.content(fields)),
        };
        let kind = kind_of(answer.status, FailureKind::Unavailable);
        self.failure(kind, what, help_for(kind, "", answer.status), retry_after(answer.fields, now))
    }

    fn content(&self, fields: &HeaderMap) -> String {
        let named = fields.get(CONTENT_TYPE).and_then(|name| name.to_str().ok());
        let named = named.map(|name| format!(" ({})", self.secrets.quote(name, LONGEST_WORD)));
        format!("something that is no token answer in JSON{}", named.unwrap_or_default())
    }

    fn unusable(&self, what: String) -> TokenFailure {
        self.failure(FailureKind::Unavailable, what, HELP_ENDPOINT, None)
    }

    fn failure(
        &self,
        kind: FailureKind,
        what: String,
        help: &'static str,
        retry_after: Option<Duration>,
    ) -> TokenFailure {
        let help = match (self.origin, help) {
            (UrlOrigin::Metadata, HELP_ENDPOINT | HELP_REDIRECT | HELP_ADDRESS) => HELP_METADATA,
            _ => help,
        };
        TokenFailure { kind, endpoint: self.endpoint.to_owned(), what, help, retry_after }
    }
}

/// Whose turn it is after this status; `at_200` decides where the status says nothing.
fn kind_of(status: StatusCode, at_200: FailureKind) -> FailureKind {
    match status.as_u16() {
        200 => at_200,
        400 | 401 | 403 | 404 | 405 => FailureKind::Rejected,
        _ => FailureKind::Unavailable,
    }
}

fn help_for(kind: FailureKind, error: &str, status: StatusCode) -> &'static str {
    match (kind, error, status.as_u16()) {
        (_, _, 300..=399) => HELP_REDIRECT,
        (_, _, 429) => "it is asked too often, raise its limit for this client",
        (FailureKind::Unavailable, _, 200) => HELP_ENDPOINT,
        (FailureKind::Unavailable, ..) => "it will be asked again",
        (_, "invalid_client", _) => "check `client_id`, `client_secret` and `client_auth`",
        (_, "invalid_scope", _) => "check `scope`, and which scopes this client may have",
        (_, "invalid_grant", _) => HELP_GRANT,
        (_, "invalid_target", _) => "check `resource` and `audience`",
        (_, "unauthorized_client" | "unsupported_grant_type", _) => {
            "let this client use the grant of `auth.type` at the endpoint"
        }
        (_, "invalid_dpop_proof", _) => "check the clock of this machine, a proof says when it was made",
        (_, "use_dpop_nonce", _) => "the endpoint refuses the nonce that it has just given out",
        (_, _, 404 | 405) => HELP_ADDRESS,
        (_, "", 401 | 403) => "check `client_id`, `client_secret`, `client_auth` and the certificate",
        _ => "check the fields of `auth` against the endpoint's documentation",
    }
}

/// `Retry-After` in either form (RFC 9110 §10.2.3).
pub(super) fn retry_after(fields: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = fields.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds.or_else(|| httpdate::parse_http_date(text).ok()?.duration_since(now).ok())
}

/// Whether the endpoint's clock is so far from ours that a JWT of a minute's life is over, or not yet begun, over there.
fn clocks_differ(fields: &HeaderMap, now: SystemTime) -> bool {
    let theirs = fields.get(DATE).and_then(|date| date.to_str().ok()?.parse::<HttpDate>().ok());
    theirs.map(SystemTime::from).is_some_and(|theirs| {
        let apart = theirs.duration_since(now).unwrap_or_else(|earlier| earlier.duration());
        apart > LARGEST_DIFFERENCE
    })
}

const HELP_ENDPOINT: &str = "check that `token_url` is a token endpoint";
const HELP_REDIRECT: &str = "set `token_url` to the endpoint itself, redirects are not followed";
const HELP_ADDRESS: &str = "check `token_url`";
const HELP_METADATA: &str = "the metadata of `issuer` names it as the token endpoint, which it is not";
const HELP_DPOP: &str = "let the endpoint bind tokens of this client to its proofs, or remove `dpop: true`";
const HELP_GRANT: &str =
    "what the token is asked for with is wrong, expired, used up or revoked: replace it in the fields of `auth`";
const HELP_REQUESTED_TYPE: &str = "ask for an access token by `requested_token_type`";
const HELP_CERTIFICATE: &str = "the endpoint must bind tokens to the certificate that it is called with";

const HELP_CLOCKS: &str = "its clock and ours are more than a minute apart, too far for a JWT that is signed here: set them \
     right, or check `client_id` and `client_auth`";

const LARGEST_DIFFERENCE: Duration = Duration::from_secs(60);
const LONGEST_TOKEN: usize = 16 * 1024;
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// An error's or a type's name.
const LONGEST_WORD: usize = 64;
const LONGEST_DESCRIPTION: usize = 200;
