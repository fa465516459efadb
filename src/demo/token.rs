//! Access tokens: JWTs (RFC 7519, RFC 9068) signed with ES256 and bound to a certificate (RFC 8705 §3.1).

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::Error;
use crate::tls::Leaf;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DemoClaims {
    pub(super) iss: String,
    pub(super) sub: String,
    pub(super) aud: String,
    pub(super) scope: String,
    /// Seconds since 1970.
    pub(super) iat: u64,
    pub(super) exp: u64,
    /// The certificate that the token works with; without one it works with none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cnf: Option<Confirmation>,
}

/// The thumbprint of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Confirmation {
    #[serde(rename = "x5t#S256")]
    thumbprint: String,
}

impl Confirmation {
    /// `None` if the certificate is damaged.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let leaf = Leaf::read(certificate)?;
        Some(Self { thumbprint: URL_SAFE_NO_PAD.encode(leaf.sha256) })
    }
}

/// The issuer's half: a new key, which nobody else has.
pub(super) struct TokenSigner(EcdsaKeyPair);

impl TokenSigner {
    pub(super) fn new() -> Result<Self, Error> {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Self).map_err(|_| Error::SigningKey)
    }

    pub(super) fn sign(&self, claims: &DemoClaims) -> Result<String, Error> {
        let header = serde_json::json!({ "alg": "ES256", "typ": "at+jwt" });
        let claims = serde_json::to_vec(claims).map_err(|_| Error::SigningKey)?;
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).map_err(|_| Error::SigningKey)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    pub(super) fn verifier(&self) -> TokenVerifier {
        TokenVerifier(UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.0.public_key().as_ref().to_vec()))
    }
}

/// The service's half.
pub(super) struct TokenVerifier(UnparsedPublicKey<Vec<u8>>);

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RefusedToken {
    #[error("the token was not issued by the demo's token endpoint")]
    NotOurs,
    #[error("the token is for another audience")]
    Audience,
    #[error("the token has expired")]
    Expired,
    #[error("the token is bound to another certificate, or to none")]
    Binding,
}

impl TokenVerifier {
    /// The claims of a token that `audience` may accept from the holder of `certificate` at this time.
    pub(super) fn verify(
        &self,
        token: &str,
        audience: &str,
        certificate: &CertificateDer<'_>,
        now: u64,
    ) -> Result<DemoClaims, RefusedToken> {
        let claims = self.claims(token).ok_or(RefusedToken::NotOurs)?;
        if claims.aud != audience {
            return Err(RefusedToken::Audience);
        }
        if claims.exp <= now {
            return Err(RefusedToken::Expired);
        }
        if claims.cnf.is_none() || claims.cnf != Confirmation::of(certificate) {
            return Err(RefusedToken::Binding);
        }
        Ok(claims)
    }

    /// The claims, if the signature is good. The header is not asked for the algorithm: there is only one.
    fn claims(&self, token: &str) -> Option<DemoClaims> {
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        self.0.verify(signed.as_bytes(), &signature).ok()?;
        let (_, claims) = signed.split_once('.')?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }
}

/// Seconds since 1970, as tokens count.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
