//! Of what kind a private key is that can't be used (RFC 5958).

use pkcs8::PrivateKeyInfoRef;
use pkcs8::der::asn1::ObjectIdentifier;

/// Names the kind, where it is one that is known and can't be used; else the key is damaged.
pub(super) fn unusable(pkcs8: &[u8]) -> Option<&'static str> {
    let info = PrivateKeyInfoRef::try_from(pkcs8).ok()?;
    let algorithm = info.algorithm.oid;
    if algorithm == EC {
        let curve = info.algorithm.parameters_oid().ok();
        return (!curve.is_some_and(|curve| CURVES.contains(&curve))).then_some("an EC key on another curve");
    }
    if algorithm == RSA {
        return short_rsa(info.private_key.as_bytes());
    }
    KINDS.iter().find(|(known, _)| *known == algorithm).map(|(_, name)| *name)
}

/// A key of 1024 bits is about 600 bytes long, one of 2048 about 1,190.
fn short_rsa(pkcs1: &[u8]) -> Option<&'static str> {
    (pkcs1.starts_with(&[0x30]) && (500..750).contains(&pkcs1.len())).then_some("an RSA key of 1024 bits")
}

const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// P-256, P-384, P-521.
const CURVES: [ObjectIdentifier; 3] = [
    ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"),
    ObjectIdentifier::new_unwrap("1.3.132.0.34"),
    ObjectIdentifier::new_unwrap("1.3.132.0.35"),
];
const KINDS: [(ObjectIdentifier, &str); 6] = [
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10"), "an RSA-PSS key"),
    (ObjectIdentifier::new_unwrap("1.2.840.10040.4.1"), "a DSA key"),
    (ObjectIdentifier::new_unwrap("1.3.101.113"), "an Ed448 key"),
    (ObjectIdentifier::new_unwrap("1.3.101.110"), "an X25519 key, for key agreement"),
    (ObjectIdentifier::new_unwrap("1.3.101.111"), "an X448 key, for key agreement"),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.3.1"), "a Diffie-Hellman key, for key agreement"),
];
