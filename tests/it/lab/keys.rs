//! Keys for signatures, and their public halves as identity providers want to have them.

use std::path::Path;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use serde_json::{Value, json};

use super::certificates::openssl;

/// A key that was made for one algorithm.
pub struct Key {
    /// Where it lies in the lab's folder: PEM, PKCS#8.
    pub file: String,
    pub pem: String,
    /// The public half, with the key's name as `kid`.
    pub jwk: Value,
}

impl Key {
    /// Makes `keys/NAME.pem` in `folder`; `algorithm` as JOSE names it.
    #[track_caller]
    pub fn make(folder: &Path, name: &str, algorithm: &str) -> Self {
        let file = format!("keys/{name}.pem");
        std::fs::create_dir_all(folder.join("keys")).unwrap();
        openssl(folder, &format!("genpkey {} -out {file}", parameters(algorithm)));
        openssl(folder, &format!("pkey -in {file} -pubout -outform DER -out {file}.pub"));
        let mut jwk = jwk(&std::fs::read(folder.join(format!("{file}.pub"))).unwrap());
        jwk["kid"] = name.into();
        jwk["alg"] = algorithm.into();
        jwk["use"] = "sig".into();
        Self { pem: std::fs::read_to_string(folder.join(&file)).unwrap(), file, jwk }
    }

    /// The JWK set that has this key alone.
    pub fn set(&self) -> Value {
        json!({ "keys": [self.jwk] })
    }
}

/// The JWK of a public key as certificates have it (SubjectPublicKeyInfo); each kind that the lab makes has a length
/// of its own.
pub fn jwk(public_key: &[u8]) -> Value {
    let last = |bytes: usize, before: usize| {
        let end = public_key.len() - before;
        BASE64_URL_SAFE_NO_PAD.encode(&public_key[end - bytes..end])
    };
    match public_key.len() {
        44 => json!({ "kty": "OKP", "crv": "Ed25519", "x": last(32, 0) }),
        91 => json!({ "kty": "EC", "crv": "P-256", "x": last(32, 32), "y": last(32, 0) }),
        120 => json!({ "kty": "EC", "crv": "P-384", "x": last(48, 48), "y": last(48, 0) }),
        // The exponent, 65537, takes the last five bytes.
        294 => json!({ "kty": "RSA", "n": last(256, 5), "e": "AQAB" }),
        bytes => panic!("a public key of {bytes} bytes"),
    }
}

fn parameters(algorithm: &str) -> &'static str {
    match algorithm {
        "RS256" | "RS384" | "RS512" | "PS256" | "PS384" | "PS512" => "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
        "ES256" => "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
        "ES384" => "-algorithm EC -pkeyopt ec_paramgen_curve:P-384",
        "EdDSA" => "-algorithm ED25519",
        _ => panic!("the lab makes no keys for {algorithm}"),
    }
}
