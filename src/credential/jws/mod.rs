//! Signed JWTs: JSON Web Signatures in their compact form (RFC 7515 §3.1).
//!
//! A [`JwsSigner`] is made once, of a key and an algorithm. The key was parsed then, and is not again: a proof is signed for
//! each request. An algorithm of JWS names a key's kind, padding and digest just as a signature scheme of TLS 1.3 does,
//! so whatever key could be presented in a handshake signs here too, and never shows itself. Only ECDSA is written
//! otherwise: JWS wants two numbers of fixed length (RFC 7518 §3.4) where TLS has DER.

mod compact;
#[cfg(test)]
mod tests;

use std::fmt;

use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pkcs8::der::asn1::UintRef;
use pkcs8::der::{self, Reader, SliceReader};
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::sign::SigningKey;
use rustls_pki_types::{PrivateKeyDer, PrivateSec1KeyDer};

pub(crate) use compact::Compact;

use crate::config::auth::oauth2::JwsAlgorithm;
use crate::config::{At, Report, Span};
use crate::digest::sha256;
use crate::secret::Secret;

/// Signs JWTs with one key in one way. Cheap to use, not to make.
#[derive(Debug)]
pub(super) struct JwsSigner {
    /// The `alg` of what it signs.
    pub(super) algorithm: &'static str,
    key: JwsKey,
}

/// A key that is parsed.
enum JwsKey {
    /// With its public half, a SubjectPublicKeyInfo.
    Private { signer: Box<dyn rustls::sign::Signer>, public: Vec<u8> },
    /// Shared with who verifies.
    Secret(Box<hmac::Key>),
}

/// No random number could be had, or the key is no key after all.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the signature could not be made")]
pub(crate) struct SigningError;

impl JwsSigner {
    /// Signs with a private key, in the usual way of its kind if `algorithm` is `None`; `place` is where the key was
    /// named. `None`: what is wrong has been reported.
    pub(super) fn compile(
        key: &dyn SigningKey,
        algorithm: Option<At<JwsAlgorithm>>,
        place: Span,
        report: &mut Report,
    ) -> Option<Self> {
        let Some(&usual) = fitting(key).first() else {
            let error = report.error(place, "this key signs no JWT");
            error.help("RSA from 2048 bits, EC on P-256, P-384 or P-521, and Ed25519 do");
            return None;
        };
        let way = algorithm.map_or(usual, |written| way(written.value));
        let Some(signer) = Self::with_private_key(key, way) else {
            report_misfit(key, way, algorithm.map_or(place, |written| written.span), place, report);
            return None;
        };
        Some(signer)
    }

    /// Authenticates with a secret (HS256).
    pub(super) fn with_secret(secret: &Secret) -> Self {
        Self {
            algorithm: "HS256",
            key: JwsKey::Secret(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes()))),
        }
    }

    /// Makes a key on P-256, for ES256, that lives as long as this.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(super) fn generate() -> Result<Self, SigningError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|_| SigningError)?;
        // Wiped as it is dropped.
        let der: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().map_err(|_| SigningError)?;
        let key =
            any_ecdsa_type(&PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(der.as_ref()))).map_err(|_| SigningError)?;
        Self::with_private_key(&*key, way(JwsAlgorithm::Es256)).ok_or(SigningError)
    }

    /// The public half of a key on P-256 as a JWK with the members that it must have, in the order and form that
    /// [`thumbprint`] wants; `None`: it is another kind of key.
    pub(super) fn public_jwk(&self) -> Option<String> {
        let JwsKey::Private { signer, public } = &self.key else { return None };
        let is_p256 = signer.scheme() == SignatureScheme::ECDSA_NISTP256_SHA256;
        let (rest, y) = public.split_last_chunk::<32>().filter(|_| is_p256)?;
        let (_, x) = rest.split_last_chunk::<32>()?;
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        Some(format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#))
    }

    /// `None`: the key is of another kind.
    fn with_private_key(key: &dyn SigningKey, way: &Way) -> Option<Self> {
        let signer = key.choose_scheme(&[way.scheme])?;
        let public = key.public_key()?.as_ref().to_vec();
        Some(Self { algorithm: way.name, key: JwsKey::Private { signer, public } })
    }

    /// Signs a JWT with this head and these claims, each of them JSON.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(super) fn sign(&self, head: &str, claims: &str) -> Result<Secret, SigningError> {
        // One allocation: a longer one in its place would leave a copy behind that nobody wipes.
        let mut jws = String::with_capacity((head.len() + claims.len()).div_ceil(3) * 4 + ROOM_FOR_SIGNATURE);
        URL_SAFE_NO_PAD.encode_string(head, &mut jws);
        jws.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut jws);
        let signature = self.signature(jws.as_bytes())?;
        jws.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut jws);
        Ok(Secret::new(jws))
    }

    /// Whether a signature takes longer than a shared thread should be held up.
    pub(super) fn takes_long(&self) -> bool {
        matches!(self.key, JwsKey::Private { .. })
    }

    /// Says which key and algorithm these are, and nothing of what is secret in the key: for the digest of an entry.
    pub(super) fn identity(&self) -> Vec<u8> {
        let mut identity = self.algorithm.as_bytes().to_vec();
        match &self.key {
            JwsKey::Private { public, .. } => identity.extend_from_slice(public),
            JwsKey::Secret(key) => identity.extend_from_slice(hmac::sign(key, b"sidekey: which secret").as_ref()),
        }
        identity
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        match &self.key {
            JwsKey::Private { signer, .. } => {
                let signature = signer.sign(message).map_err(|_| SigningError)?;
                match number_length(signer.scheme()) {
                    Some(length) => fixed(&signature, length).ok_or(SigningError),
                    None => Ok(signature),
                }
            }
            JwsKey::Secret(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
        }
    }
}

/// The thumbprint (RFC 7638) of a JWK that has the members it must have and no others, in the order of their names,
/// without spaces.
pub(super) fn thumbprint(jwk: &str) -> String {
    URL_SAFE_NO_PAD.encode(sha256(jwk.as_bytes()))
}

/// Nothing of a key.
impl fmt::Debug for JwsKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

fn report_misfit(key: &dyn SigningKey, way: &Way, at: Span, place: Span, report: &mut Report) {
    let fitting: Vec<_> = fitting(key).into_iter().map(|way| way.name).collect();
    report
        .error(at, format!("`{}` does not fit the key", way.name))
        .label(format!("the key signs by {}", fitting.join(", ")))
        .also(place, "the key")
        .help("write what the key can do, or nothing: each kind of key has a usual algorithm");
}

/// What a key can do, the usual first.
fn fitting(key: &dyn SigningKey) -> Vec<&'static Way> {
    WAYS.iter().filter(|way| key.choose_scheme(&[way.scheme]).is_some()).collect()
}

fn way(algorithm: JwsAlgorithm) -> &'static Way {
    &WAYS[algorithm as usize]
}

/// How long each number of an ECDSA signature is, in bytes; `None`: it is none.
fn number_length(scheme: SignatureScheme) -> Option<usize> {
    match scheme {
        SignatureScheme::ECDSA_NISTP256_SHA256 => Some(32),
        SignatureScheme::ECDSA_NISTP384_SHA384 => Some(48),
        SignatureScheme::ECDSA_NISTP521_SHA512 => Some(66),
        _ => None,
    }
}

/// The two numbers of an ECDSA signature in DER, each in `length` bytes; `None`: it is no such signature.
fn fixed(signature: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut reader = SliceReader::new(signature).ok()?;
    let numbers: [UintRef<'_>; 2] =
        reader.sequence(|numbers| Ok::<_, der::Error>([numbers.decode()?, numbers.decode()?])).ok()?;
    let mut fixed = Vec::with_capacity(2 * length);
    for number in numbers {
        // DER leaves leading zeros out: one signature in 128 is shorter than its numbers could be.
        let zeros = length.checked_sub(number.as_bytes().len())?;
        fixed.resize(fixed.len() + zeros, 0);
        fixed.extend_from_slice(number.as_bytes());
    }
    Some(fixed)
}

/// An algorithm in the words of JWS and of TLS.
struct Way {
    name: &'static str,
    scheme: SignatureScheme,
}

const fn of(name: &'static str, scheme: SignatureScheme) -> Way {
    Way { name, scheme }
}

/// By [`JwsAlgorithm`]; of those that one key can do the usual comes first.
static WAYS: [Way; 10] = [
    of("RS256", SignatureScheme::RSA_PKCS1_SHA256),
    of("RS384", SignatureScheme::RSA_PKCS1_SHA384),
    of("RS512", SignatureScheme::RSA_PKCS1_SHA512),
    of("PS256", SignatureScheme::RSA_PSS_SHA256),
    of("PS384", SignatureScheme::RSA_PSS_SHA384),
    of("PS512", SignatureScheme::RSA_PSS_SHA512),
    of("ES256", SignatureScheme::ECDSA_NISTP256_SHA256),
    of("ES384", SignatureScheme::ECDSA_NISTP384_SHA384),
    of("ES512", SignatureScheme::ECDSA_NISTP521_SHA512),
    of("EdDSA", SignatureScheme::ED25519),
];

/// Of an RSA key of 8192 bits, the largest that is read, in base64.
const ROOM_FOR_SIGNATURE: usize = 1_400;
