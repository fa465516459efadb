//! PKCS#12 files: one private key with its certificate and what leads from there to a CA.
//!
//! Old exports (RC2, 3DES, SHA-1) open too: that is what most tools still write. The crate bounds the work that a
//! file may ask for.

use std::sync::Arc;

use p12_keystore::error::Error;
use p12_keystore::{Certificate, Pkcs12Archive};
use rustls::sign::SigningKey;
use rustls_pki_types::CertificateDer;

use super::certificate_error::CertificateError;
use super::foreign::Foreign;
use super::key;
use super::leaf::public_key;
use crate::secret::Secret;

/// A key and its chain, leaf first, self-signed roots left out.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: Arc<dyn SigningKey>,
}

/// Opens a file; without a passphrase it is tried with an empty one.
pub(super) fn read(file: &[u8], passphrase: Option<&Secret>) -> Result<Contents, CertificateError> {
    match Foreign::of(file) {
        Some(Foreign::Pkcs12 | Foreign::Der) => {}
        found => return Err(CertificateError::NoPkcs12 { found }),
    }
    let archive = Pkcs12Archive::from_pkcs12(file, passphrase.map_or("", Secret::expose))
        .map_err(|error| unreadable(&error, file, passphrase))?;
    let key = match archive.keys.as_slice() {
        [] => return Err(CertificateError::NoKey { found: None }),
        [only] => key::from_pkcs8(only.key.as_der())?,
        several => return Err(CertificateError::SeveralKeys(several.len())),
    };
    let certificates: Vec<_> = archive.certs.iter().map(|bag| &bag.cert).collect();
    let chain = chain_of(&*key, &certificates)?;
    Ok(Contents { chain, key })
}

fn unreadable(error: &Error, file: &[u8], passphrase: Option<&Secret>) -> CertificateError {
    if file.windows(PBMAC1.len()).any(|window| window == PBMAC1) {
        return CertificateError::Pbmac1;
    }
    match (error, passphrase) {
        (Error::MacError(_) | Error::UnpadError, Some(_)) => CertificateError::PassphraseWrong,
        (Error::MacError(_) | Error::UnpadError, None) => CertificateError::PassphraseMissing,
        (error, _) => CertificateError::UnreadablePkcs12(error.to_string()),
    }
}

/// The certificate of `key`, then each one's issuer: bags come in any order, and not every tool links them by id.
fn chain_of(
    key: &dyn SigningKey,
    certificates: &[&Certificate],
) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let ours = key.public_key().ok_or(CertificateError::UnsupportedKey)?;
    let leaf = certificates.iter().find(|certificate| public_key(certificate.as_der()) == Some(ours.as_ref()));
    let mut chain = vec![*leaf.ok_or(CertificateError::NoCertificateOfKey)?];
    while let Some(issuer) = issuer_of(chain[chain.len() - 1], certificates) {
        // Two CAs that certify each other would lead round and round.
        if chain.contains(&issuer) {
            break;
        }
        chain.push(issuer);
    }
    Ok(chain.into_iter().map(|certificate| CertificateDer::from(certificate.as_der().to_vec())).collect())
}

fn issuer_of<'a>(certificate: &Certificate, certificates: &[&'a Certificate]) -> Option<&'a Certificate> {
    let is_root = |candidate: &Certificate| candidate.subject() == candidate.issuer();
    let issued = |candidate: &Certificate| candidate.subject() == certificate.issuer();
    certificates.iter().copied().find(|candidate| issued(candidate) && !is_root(candidate))
}

/// Its object identifier (RFC 9579 §3), as DER: it stands in a file that is protected by it.
const PBMAC1: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0e";

#[cfg(test)]
mod tests {
    use super::super::leaf::Leaf;
    use super::super::openssl::Openssl;
    use super::*;

    /// A root, an intermediate CA and a leaf `CN=app` with its key in `key`.
    fn chain() -> Openssl {
        let openssl = Openssl::new();
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        let ca = "-addext basicConstraints=critical,CA:TRUE";
        openssl.run(&format!("req -x509 {key} -keyout root.key -subj /CN=root {ca} -out root"));
        openssl.run(&format!(
            "req -x509 {key} -keyout middle.key -subj /CN=middle {ca} -CA root -CAkey root.key -out middle"
        ));
        openssl.run(&format!("req -x509 {key} -keyout key -subj /CN=app -CA middle -CAkey middle.key -out leaf"));
        let others = [openssl.read("root"), openssl.read("middle")].concat();
        openssl.write("others", &others);
        openssl
    }

    fn export(openssl: &Openssl, with: &str) -> Vec<u8> {
        openssl.make(&format!("pkcs12 -export -inkey key -in leaf -certfile others -out out {with}"))
    }

    fn open(file: &[u8], passphrase: Option<&str>) -> Result<Vec<String>, CertificateError> {
        let passphrase = passphrase.map(|text| Secret::new(text.to_owned()));
        let contents = read(file, passphrase.as_ref())?;
        Ok(contents.chain.iter().map(|certificate| Leaf::read(certificate).unwrap().subject).collect())
    }

    #[test]
    fn new_and_old_exports_yield_the_chain_from_the_leaf_up_to_the_root() {
        let openssl = chain();
        for with in ["", " -legacy", " -keypbe AES-128-CBC -certpbe NONE", " -legacy -descert"] {
            let file = export(&openssl, &format!("-passout pass:horse{with}"));

            assert_eq!(open(&file, Some("horse")).unwrap(), ["CN=app", "CN=middle"], "{with}");
        }
    }

    #[test]
    fn an_export_with_an_empty_passphrase_opens_without_one() {
        let file = export(&chain(), "-passout pass:");

        assert_eq!(open(&file, None).unwrap(), ["CN=app", "CN=middle"]);
    }

    #[test]
    fn a_wrong_and_a_missing_passphrase_are_told_apart() {
        let openssl = chain();
        for with in ["", " -legacy"] {
            let file = export(&openssl, &format!("-passout pass:horse{with}"));

            assert_eq!(open(&file, Some("mule")).unwrap_err(), CertificateError::PassphraseWrong, "{with}");
            assert_eq!(open(&file, None).unwrap_err(), CertificateError::PassphraseMissing, "{with}");
        }
    }

    #[test]
    fn a_key_without_its_certificate_is_no_identity() {
        let openssl = chain();
        let only_key = openssl.make("pkcs12 -export -inkey key -nocerts -passout pass: -out out");
        let only_certificates = openssl.make("pkcs12 -export -nokeys -in leaf -passout pass: -out out");

        assert_eq!(open(&only_key, None).unwrap_err(), CertificateError::NoCertificateOfKey);
        assert_eq!(open(&only_certificates, None).unwrap_err(), CertificateError::NoKey { found: None });
    }

    #[test]
    fn what_is_no_pkcs12_is_refused_with_a_reason() {
        let pem = chain().read("leaf");
        let section = Some(Foreign::Section("CERTIFICATE".to_owned()));
        for (file, found) in [(&pem[..], section), (b"", Some(Foreign::Empty)), (b"half a p12", None)] {
            assert_eq!(open(file, Some("horse")).unwrap_err(), CertificateError::NoPkcs12 { found });
        }
        assert!(matches!(open(b"\x30\x03\x02\x01", Some("horse")), Err(CertificateError::UnreadablePkcs12(_))));
    }

    #[test]
    fn a_file_that_is_protected_by_pbmac1_is_told() {
        let file = export(&chain(), "-passout pass:horse");
        // The MAC's digest is named last: SHA-256 becomes PBMAC1 (RFC 9579 §3), an identifier of the same length.
        let sha256 = *b"\x60\x86\x48\x01\x65\x03\x04\x02\x01";
        let place = file.windows(9).rposition(|window| window == sha256).unwrap();
        let mut changed = file;
        changed[place..place + 9].copy_from_slice(PBMAC1);

        assert_eq!(open(&changed, Some("horse")).unwrap_err(), CertificateError::Pbmac1);
    }
}
