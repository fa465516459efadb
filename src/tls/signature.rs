//! Signatures of a service's chain, and of its handshake, that do not hold.

use rustls::CertificateError;
use rustls_pki_types::TrustAnchor;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::chain::{ReadChain, Remedy};
use super::distinguished;
use super::issuers::inside;

/// A signature is not that of the key which should have made it; so it looks, too, where that key is too short.
pub(super) fn unmatched(chain: &ReadChain<'_>) -> (String, Remedy) {
    let path = chain.path();
    // The issuers as they came; the leaf's own key signs no certificate.
    for issuer in path.iter().skip(1) {
        if let Some(bits) = short_key(issuer.public_key()) {
            return (too_short(&distinguished::text(issuer.subject()), bits), Remedy::Owner);
        }
    }
    let last = path.last().copied().unwrap_or(&chain.leaf);
    let (issuer, ca) = (distinguished::text(last.issuer()), chain.origin.tls("ca"));
    let named: Vec<_> =
        chain.roots.map_or(&[][..], |roots| &roots.roots).iter().filter(|root| is_of(root, last)).collect();
    if let Some(bits) = named.iter().find_map(|root| short_root(root)) {
        return (too_short(&issuer, bits), Remedy::Owner);
    }
    match (named.is_empty(), path.len()) {
        (false, 1) => (
            format!(
                "the service's certificate comes from {issuer}; a CA of that name is trusted here, but another one, with \
                 another key, signed it; name its certificate in {ca}"
            ),
            Remedy::Ca,
        ),
        (false, _) => (
            format!(
                "a signature of the service's chain is of another key than its issuer's: {issuer} is trusted here, and it or \
                 a CA below it has a new key; name the new certificate in {ca}, or have the service send its new chain"
            ),
            Remedy::Ca,
        ),
        (true, _) => (
            "a signature of the service's chain is not its issuer's: a certificate that it sends has another key than the \
             one that signed, or is damaged"
                .to_owned(),
            Remedy::Owner,
        ),
    }
}

/// A certificate is signed in a way that is no longer believed, or was never common.
pub(super) fn unsupported(chain: &ReadChain<'_>) -> String {
    let scheme = |certificate: &X509Certificate<'_>| {
        let oid = certificate.signature_algorithm.algorithm.to_id_string();
        REFUSED.iter().find(|(refused, _)| *refused == oid).map(|(_, name)| *name)
    };
    let path = chain.path();
    let Some((name, certificate)) = path.iter().find_map(|certificate| Some((scheme(certificate)?, *certificate)))
    else {
        return "a certificate of the service's chain is signed by an algorithm, or with a key, that is not accepted; it has \
                to be issued anew, with SHA-256 and an RSA or a P-256 key"
            .to_owned();
    };
    let whose = chain.whose(|one| one.subject().as_raw() == certificate.subject().as_raw());
    format!("{whose} is signed with {name}, which is not accepted; it has to be issued anew, with SHA-256")
}

/// The handshake is not signed by the certificate's key (RFC 8446 §4.4.3).
pub(super) fn of_handshake(error: &CertificateError, leaf: &X509Certificate<'_>) -> String {
    if let Some(bits) = short_key(leaf.public_key()) {
        return format!(
            "the RSA key of the service's certificate has {bits} bits, and fewer than {LEAST_BITS} are not accepted; it \
             needs a new key"
        );
    }
    if matches!(error, CertificateError::BadSignature) {
        return "the service's handshake is not signed by the key of the certificate that it shows, or was changed on the way"
            .to_owned();
    }
    "the key of the service's certificate is of a kind that is not accepted; RSA, P-256, P-384 and P-521 are".to_owned()
}

fn too_short(issuer: &str, bits: usize) -> String {
    format!(
        "the service's certificate comes from {issuer}, a CA whose RSA key has {bits} bits, and fewer than {LEAST_BITS} are \
         not accepted; it has to come from another CA"
    )
}

fn is_of(root: &TrustAnchor<'_>, certificate: &X509Certificate<'_>) -> bool {
    root.subject.as_ref() == inside(certificate.issuer())
}

fn short_key(key: &SubjectPublicKeyInfo<'_>) -> Option<usize> {
    match key.parsed().ok()? {
        PublicKey::RSA(key) => Some(key.key_size()).filter(|bits| *bits < LEAST_BITS),
        _ => None,
    }
}

/// A trust anchor has its key without the header of its sequence; one that is too short fits into a length of one byte.
fn short_root(root: &TrustAnchor<'_>) -> Option<usize> {
    let key = root.subject_public_key_info.as_ref();
    let length = u8::try_from(key.len()).ok()?;
    let header: &[u8] = if length < 0x80 { &[0x30, length] } else { &[0x30, 0x81, length] };
    let der = [header, key].concat();
    let (_, key) = SubjectPublicKeyInfo::from_der(&der).ok()?;
    short_key(&key)
}

const LEAST_BITS: usize = 2048;

const REFUSED: [(&str, &str); 9] = [
    ("1.2.840.113549.1.1.2", "MD2"),
    ("1.2.840.113549.1.1.4", "MD5"),
    ("1.2.840.113549.1.1.5", "SHA-1"),
    ("1.2.840.10045.4.1", "SHA-1"),
    ("1.2.840.10045.4.3.1", "SHA-224"),
    ("1.2.840.113549.1.1.14", "SHA-224"),
    ("1.2.840.10040.4.3", "DSA"),
    ("2.16.840.1.101.3.4.3.2", "DSA"),
    ("1.3.101.113", "Ed448"),
];
