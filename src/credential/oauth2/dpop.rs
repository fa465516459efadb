//! Proof of possession (DPoP, RFC 9449): a key per entry, and the proofs that it signs.
//!
//! Tokens of the entry are bound to the key, and each request that carries one carries a proof too: a JWT over its
//! method and URL, good once. The key is made here, lives as long as its slot, and never leaves the process.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use super::assertion::fresh_name;
use super::challenge;
use crate::config::Scheme;
use crate::credential::jws::{JwsSigner, SigningError, thumbprint};
use crate::credential::sensitive::secret_value;
use crate::credential::verdict::Verdict;
use crate::digest::sha256;
use crate::secret::Secret;

/// The field of a proof.
pub(super) static FIELD: HeaderName = HeaderName::from_static("dpop");

/// What one server is shown: proofs of this key, with the nonce that it gave last (RFC 9449 §8).
#[derive(Debug)]
pub(super) struct Prover {
    key: Arc<ProofKey>,
    /// Read with one atomic load; written where an answer brings another.
    nonce: ArcSwapOption<String>,
}

/// The key that the tokens of one entry are bound to.
pub(crate) struct ProofKey {
    signer: JwsSigner,
    /// Of each proof.
    head: String,
    thumbprint: String,
}

/// What a request is for, as far as a proof says it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resource<'a> {
    pub(super) scheme: Scheme,
    /// As it is sent.
    pub(super) authority: &'a str,
    /// As it is sent; `*` for none.
    pub(super) path: &'a str,
}

/// The type of tokens that are bound to this key, if they are to one.
pub(super) fn token_type(key: Option<&Arc<ProofKey>>) -> &'static str {
    if key.is_some() { "DPoP" } else { "Bearer" }
}

impl Prover {
    pub(super) fn new(key: Arc<ProofKey>) -> Self {
        Self { key, nonce: ArcSwapOption::empty() }
    }

    pub(super) fn key(&self) -> &Arc<ProofKey> {
        &self.key
    }

    /// A proof for one sending, of this token if the request carries one.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(super) fn prove(
        &self,
        method: &str,
        resource: Resource<'_>,
        token: Option<&Secret>,
    ) -> Result<HeaderValue, SigningError> {
        let nonce = self.nonce.load();
        self.key.prove(method, resource, token, nonce.as_deref().map(String::as_str))
    }

    /// Takes the nonce out of an answer; `false`: there is none.
    pub(super) fn remember(&self, fields: &HeaderMap) -> bool {
        let Some(nonce) = fields.get(&NONCE).and_then(|value| value.to_str().ok()).filter(|nonce| is_nonce(nonce))
        else {
            return false;
        };
        // Most answers repeat it, or have none: they cost no write.
        if self.nonce.load().as_deref().is_none_or(|known| known != nonce) {
            self.nonce.store(Some(Arc::new(nonce.to_owned())));
        }
        true
    }

    /// What a service's answer means for the proof that the request carried. `None`: nothing.
    pub(super) fn verdict(&self, status: StatusCode, fields: &HeaderMap) -> Option<Verdict> {
        let given = self.remember(fields);
        let asked = status == StatusCode::UNAUTHORIZED
            && fields.get_all(WWW_AUTHENTICATE).iter().any(|line| challenge::has_error(line, "dpop", "use_dpop_nonce"));
        // Without a nonce the next proof would be as good as this one; the token is not to blame in either case.
        asked.then_some(if given { Verdict::Again } else { Verdict::Pass })
    }
}

impl ProofKey {
    /// A new key, for ES256.
    pub(super) fn generate() -> Self {
        // Invariant: it fails only where the machine has no randomness, and nothing here works without.
        #[allow(clippy::expect_used)]
        let signer = JwsSigner::generate().expect("a new key");
        let jwk = signer.public_jwk().unwrap_or_default();
        let head = format!(r#"{{"typ":"dpop+jwt","alg":"{}","jwk":{jwk}}}"#, signer.algorithm);
        Self { signer, head, thumbprint: thumbprint(&jwk) }
    }

    /// RFC 7638.
    pub(super) fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    fn prove(
        &self,
        method: &str,
        resource: Resource<'_>,
        token: Option<&Secret>,
        nonce: Option<&str>,
    ) -> Result<HeaderValue, SigningError> {
        let claims = ProofClaims {
            jti: fresh_name()?,
            htm: method,
            htu: resource.to_string(),
            iat: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            ath: token.map(|token| hashed(token.expose().as_bytes())),
            nonce,
        };
        let claims = serde_json::to_string(&claims).map_err(|_| SigningError)?;
        let proof = self.signer.sign(&self.head, &claims)?;
        // It is no secret, but marked as one: HTTP/2 would keep a copy of each for a repetition that never comes.
        Ok(secret_value(proof.expose()))
    }
}

/// RFC 9449 §4.2.
#[derive(Serialize)]
struct ProofClaims<'a> {
    jti: String,
    htm: &'a str,
    htu: String,
    iat: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ath: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
}

/// The URL without query and fragment (RFC 9449 §4.2).
impl fmt::Display for Resource<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path == "*" { "" } else { self.path };
        write!(formatter, "{}{}{path}", self.scheme.start(), self.authority)
    }
}

impl fmt::Debug for ProofKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ProofKey").field("thumbprint", &self.thumbprint).finish_non_exhaustive()
    }
}

fn hashed(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(sha256(bytes))
}

/// RFC 9449 §8.1: visible ASCII but for `"` and `\`. One that is too long for a proof is none.
fn is_nonce(text: &str) -> bool {
    let octet = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    (1..=LONGEST_NONCE).contains(&text.len()) && text.bytes().all(octet)
}

static NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
const LONGEST_NONCE: usize = 1024;
