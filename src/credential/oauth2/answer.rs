//! From the bytes of a token answer to a token.
//!
//! Pure and bounded, for it reads what a stranger wrote: whatever comes in, the result is a token that can be sent or
//! a [`TokenFailure`] with a clear reason. What it may be at most is decided here; that no more than
//! [`LARGEST_ANSWER`] bytes of it are read is up to `call`.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CONTENT_ENCODING, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::advice::{Given, Learnt};
use super::attempt::TokenTypes;
use super::complaint::{is_nothing, without_mark};
use super::failure::{FailureKind, TokenFailure};
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
    /// What is odd about it, and yet no reason to do without.
    pub(in crate::credential) oddities: Oddities,
}

/// What people should know of a token that is used all the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Oddities {
    /// An `expires_in` that says nothing, as it was written.
    pub(crate) expires_in: Option<String>,
    /// Scopes that were asked for, and not granted (RFC 6749 §3.3).
    pub(crate) missing_scopes: Vec<String>,
}

impl Oddities {
    /// What is told of a life that is not said, and what to do about it.
    pub(crate) fn of_life(&self) -> Option<(String, &'static str)> {
        let written = self.expires_in.as_ref()?;
        let what = format!(
            "the endpoint gives `expires_in` as {written}, which is no time that a token lives and counts as missing"
        );
        Some((what, "`default_lifetime` says how long a token lives that does not say so itself"))
    }

    /// What is told of scopes that were not granted, and what to do about it.
    pub(crate) fn of_scopes(&self) -> Option<(String, &'static str)> {
        let missing: Vec<_> = self.missing_scopes.iter().map(|scope| format!("`{scope}`")).collect();
        (!missing.is_empty()).then(|| {
            let what =
                format!("the endpoint grants fewer scopes than `scope` asks for, without {}", missing.join(", "));
            (what, "let this client have them there; the service may refuse what needs them")
        })
    }

    /// All that is told of them.
    pub(crate) fn told(&self) -> impl Iterator<Item = (String, &'static str)> {
        self.of_life().into_iter().chain(self.of_scopes())
    }
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
    /// What of the config a refusal may be about.
    pub(super) given: &'a Given,
    /// What is known of the endpoint from its issuer.
    pub(super) learnt: Learnt<'a>,
    /// Scopes, parted by spaces.
    pub(super) scope: Option<&'a str>,
    pub(super) types: TokenTypes,
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
        Some(wire) if answer.status.is_success() && is_nothing(&wire.error) && !wire.access_token.is_null() => {
            granted(wire, answer.status, asked, now)
        }
        _ => Err(asked.refusal(answer, now)),
    }
}

/// The refresh token that came with the answer, whatever else is wrong with it. One that could not be sent is none.
pub(super) fn refresh_token(answer: &TokenAnswer<'_>) -> Option<Secret> {
    let wire: Rotation = readable(answer).filter(|_| answer.status.is_success()).and_then(object)?;
    if !is_nothing(&wire.error) || wire.refresh_token.is_null() {
        return None;
    }
    token(wire.refresh_token, "refresh_token", answer.status).ok()
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
    // A word that names no coding, `utf-8` say, was written in the wrong place and changes nothing.
    let mut codings =
        fields.get_all(CONTENT_ENCODING).iter().flat_map(|coding| coding.as_bytes().split(|byte| *byte == b','));
    codings.any(|coding| CODINGS.iter().any(|known| coding.trim_ascii().eq_ignore_ascii_case(known.as_bytes())))
}

/// Parses a JSON object; serde would take an array for a struct as well.
pub(super) fn object<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let bytes = without_mark(bytes);
    let starts_as_object = bytes.trim_ascii_start().starts_with(b"{");
    starts_as_object.then(|| serde_json::from_slice(bytes).ok()).flatten()
}

fn granted(
    wire: AnswerMembers,
    status: StatusCode,
    asked: &AnswerExpectation<'_>,
    now: SystemTime,
) -> Result<Granted, TokenFailure> {
    let access_token = token(wire.access_token, "access_token", status).map_err(|what| asked.unusable(what))?;
    expect_type(&wire.token_type, asked)?;
    let claims = claims(access_token.expose());
    expect_same_certificate(&claims, asked)?;
    expect_same_key(&claims, asked)?;
    let stated = stated_life(&wire.expires_in);
    let scope = granted_scope(&wire.scope);
    let odd = || asked.secrets.words(&wire.expires_in.to_string(), LONGEST_WORD).unwrap_or_default();
    let oddities = Oddities {
        expires_in: (stated.is_none() && !wire.expires_in.is_null()).then(odd),
        missing_scopes: asked.missing_scopes(scope.as_deref()),
    };
    let life = stated.or_else(|| claimed_life(&claims, now)).map(|life| life.min(LONGEST_LIFE));
    let scope = scope.and_then(|scope| asked.secrets.words(&scope, LONGEST_DESCRIPTION));
    Ok(Granted { access_token, sent: asked.sent, life, scope, oddities })
}

/// How long a token that happens to be a JWT is still good.
pub(super) fn time_left(token: &str, now: SystemTime) -> Option<Duration> {
    let wall = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    claims(token).exp.as_f64().map(|expires| seconds_of(expires - wall))
}

/// A token. Moved out of the parsed answer, so that the only copy is one that is wiped.
fn token(value: Value, member: &str, status: StatusCode) -> Result<Secret, String> {
    let Value::String(text) = value else {
        return Err(format!("answered {} without an `{member}`", status.as_u16()));
    };
    let text = Secret::new(text);
    let token = bare(text.expose());
    match token.len() {
        0 => Err(format!("answered with an empty `{member}`")),
        1..=LONGEST_TOKEN if token.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Secret::new(token.to_owned())),
        // A line break in it would end the header field that carries it.
        1..=LONGEST_TOKEN => Err(format!("answered with an `{member}` that is not all visible ASCII")),
        _ => Err(format!("answered with an `{member}` of more than 16 KiB")),
    }
}

/// Without white space around it, and without the word that would go before it in a header.
fn bare(token: &str) -> &str {
    let token = token.trim();
    match token.split_once(' ') {
        Some((word, rest)) if word.eq_ignore_ascii_case("Bearer") => rest.trim_start(),
        _ => token,
    }
}

/// A type that is missing counts as Bearer.
fn expect_type(token_type: &Value, asked: &AnswerExpectation<'_>) -> Result<(), TokenFailure> {
    let (expected, help) = match asked.proof_key {
        None => ("Bearer", HELP_TYPE),
        Some(_) => ("DPoP", HELP_DPOP),
    };
    let found = match token_type {
        Value::Null => "Bearer",
        Value::String(name) if name.trim().is_empty() || name.eq_ignore_ascii_case("BearerToken") => "Bearer",
        Value::String(name) => name.trim(),
        _ => return Err(asked.unusable("answered with a `token_type` that is no text".to_owned())),
    };
    let is_named_otherwise = asked.types == TokenTypes::Any
        && asked.proof_key.is_none()
        && !["N_A", "DPoP"].iter().any(|word| found.eq_ignore_ascii_case(word));
    if found.eq_ignore_ascii_case(expected) || is_named_otherwise {
        return Ok(());
    }
    // RFC 8693 §2.2.1.
    if found.eq_ignore_ascii_case("n_a") {
        let what =
            format!("answered with a token of type `N_A`, which is no access token and can't be sent as {expected}");
        return Err(TokenFailure { help: HELP_REQUESTED_TYPE.into(), ..asked.unusable(what) });
    }
    let name = asked.secrets.code(found, LONGEST_WORD).map(|name| format!("of type `{name}`"));
    let what = format!("answered with a token {}, not {expected}", name.as_deref().unwrap_or("of another type"));
    Err(asked.failure(FailureKind::Unavailable, what, help.into(), None))
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
    Err(TokenFailure { help: HELP_CERTIFICATE.into(), ..asked.unusable(what) })
}

/// A token that is bound to a key is worth nothing with the proofs of another (RFC 9449 §6.1).
fn expect_same_key(claims: &AccessTokenClaims, asked: &AnswerExpectation<'_>) -> Result<(), TokenFailure> {
    match (asked.proof_key, claims.cnf.get("jkt")) {
        (Some(ours), Some(thumbprint)) if thumbprint.as_str() != Some(ours) => {
            let what = "answered with a token that is bound to another key (`cnf.jkt`)".to_owned();
            Err(asked.failure(FailureKind::Unavailable, what, HELP_DPOP.into(), None))
        }
        _ => Ok(()),
    }
}

/// Whether the endpoint wants a proof with the nonce of this answer (RFC 9449 §8).
pub(super) fn wants_nonce(answer: &TokenAnswer<'_>) -> bool {
    let wire: Option<AnswerMembers> = readable(answer).and_then(object);
    answer.status == StatusCode::BAD_REQUEST && wire.is_some_and(|wire| wire.error == "use_dpop_nonce")
}

/// Whether it is an object that could be a token answer.
pub(super) fn is_object(answer: &TokenAnswer<'_>) -> bool {
    readable(answer).and_then(object::<AnswerMembers>).is_some()
}

/// Whether it has an `error` that is one.
pub(super) fn has_error(answer: &TokenAnswer<'_>) -> bool {
    let members: Option<AnswerMembers> = readable(answer).and_then(object);
    members.is_some_and(|members| !is_nothing(&members.error))
}

/// The claims of a JWT; empty for any other token.
fn claims(token: &str) -> AccessTokenClaims {
    let payload = Compact::of(token).and_then(|jwt| jwt.payload());
    payload.as_deref().and_then(object).unwrap_or_default()
}

/// `expires_in`: a number, or a string of digits as some endpoints write it. Any other kind counts as missing.
fn stated_life(expires_in: &Value) -> Option<Duration> {
    match expires_in {
        // A token of no life, or of less, is one whose life is not said: it was just given.
        Value::Number(seconds) => seconds.as_f64().map(seconds_of).filter(|life| !life.is_zero()),
        Value::String(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            let life = text.parse().map_or(LONGEST_LIFE, Duration::from_secs);
            (!life.is_zero()).then_some(life)
        }
        _ => None,
    }
}

/// Scopes parted by spaces (RFC 6749 §5.1), or the list that some endpoints make of them. Any other kind says nothing.
fn granted_scope(scope: &Value) -> Option<String> {
    match scope {
        Value::String(text) => Some(text.clone()),
        Value::Array(list) => Some(list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")),
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
    /// Scopes that were asked for and are not among those `granted`; an endpoint that says nothing has granted all.
    fn missing_scopes(&self, granted: Option<&str>) -> Vec<String> {
        let (Some(wanted), Some(granted)) = (self.scope, granted) else { return Vec::new() };
        // Some part them by commas, which a scope may have in it as well: so both readings count.
        let commas = granted.split(|letter: char| letter == ',' || letter.is_whitespace());
        let granted: Vec<_> = granted.split_whitespace().chain(commas).collect();
        let is_missing = |scope: &&str| !granted.contains(scope) && !stands_for_others(scope);
        // They are our own words, and no secret.
        let ours = Spellings::of([]);
        wanted.split_whitespace().filter(is_missing).map(|scope| ours.quote(scope, LONGEST_WORD)).collect()
    }

    fn unusable(&self, what: String) -> TokenFailure {
        self.failure(FailureKind::Unavailable, what, HELP_ENDPOINT.into(), None)
    }

    pub(super) fn failure(
        &self,
        kind: FailureKind,
        what: String,
        help: Cow<'static, str>,
        retry_after: Option<Duration>,
    ) -> TokenFailure {
        let help = match (self.learnt.url, &*help) {
            (Some(url), HELP_ENDPOINT | HELP_REDIRECT) => {
                format!("the metadata of `issuer` names {url} as the token endpoint, which it is not").into()
            }
            _ => help,
        };
        TokenFailure { kind, endpoint: self.endpoint.to_owned(), what, help, retry_after }
    }
}

/// A scope that stands for whatever the client was granted by an administrator is not in what comes back.
fn stands_for_others(scope: &str) -> bool {
    scope.ends_with("/.default")
}

/// `Retry-After` in either form (RFC 9110 §10.2.3).
pub(super) fn retry_after(fields: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = fields.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds.or_else(|| httpdate::parse_http_date(text).ok()?.duration_since(now).ok())
}

const HELP_ENDPOINT: &str = "check that `token_url` is a token endpoint";
pub(super) const HELP_REDIRECT: &str = "set `token_url` to the endpoint itself, redirects are not followed";
const HELP_TYPE: &str =
    "check that `token_url` is a token endpoint; with `token_prefix` set, tokens of any type are sent after it";
const HELP_DPOP: &str = "let the endpoint bind tokens of this client to its proofs, or remove `dpop: true`";
const HELP_REQUESTED_TYPE: &str = "ask for an access token by `requested_token_type`";
const HELP_CERTIFICATE: &str = "the endpoint must bind tokens to the certificate that it is called with";

/// Codings that change the bytes (RFC 9110 §8.4.1, and the registry).
const CODINGS: [&str; 11] =
    ["gzip", "x-gzip", "deflate", "compress", "x-compress", "br", "zstd", "dcb", "dcz", "exi", "aes128gcm"];

const LONGEST_TOKEN: usize = 16 * 1024;
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// An error's or a type's name.
pub(super) const LONGEST_WORD: usize = 64;
pub(super) const LONGEST_DESCRIPTION: usize = 200;
