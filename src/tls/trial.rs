//! Files of certificates and keys given as any bytes, as the fuzz targets and their test do it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;

use super::certificate_error::CertificateError;
use super::leaf::{Leaf, public_key};
use super::pem::Pem;
use super::{key, pkcs12};
use crate::legible::is_legible;
use crate::secret::Secret;

/// Panics unless each section that begins in a PEM file is read, or the file refused: no certificate is left out, and a key
/// is the only one. Says whether there are certificates and a key.
pub(crate) fn every_section_counts(file: &[u8]) -> bool {
    let begun = begun(file);
    let certificates = certificates_of(file);
    match &certificates {
        Ok(read) => {
            assert_eq!(
                read.len(),
                begun.iter().filter(|label| [&b"CERTIFICATE"[..], b"X509 CERTIFICATE"].contains(*label)).count(),
                "{}",
                file.escape_ascii()
            );
            assert_eq!(certificates_of(written(read).as_bytes()).as_ref(), Ok(read), "{}", file.escape_ascii());
            for certificate in read {
                // Whatever is in it: it is read, or it is none.
                let _facts = Leaf::read(certificate);
            }
        }
        Err(unusable) => assert!(unusable.to_string().chars().all(is_legible), "{unusable:?}"),
    }
    let key = key::read(file, None);
    match &key {
        Ok(_) => {
            let keys = begun.iter().filter(|label| label.ends_with(b"PRIVATE KEY")).count();
            assert_eq!(keys, 1, "{}", file.escape_ascii());
        }
        Err(unusable) => assert!(unusable.to_string().chars().all(is_legible), "{unusable:?}"),
    }
    certificates.is_ok() && key.is_ok()
}

/// Panics unless the chain of a PKCS#12 file begins with the certificate of its key, and has each certificate once. Says
/// whether it could be opened.
pub(crate) fn a_chain_begins_with_its_key(file: &[u8]) -> bool {
    let mut is_open = false;
    for passphrase in [None, Some(Secret::new("horse".to_owned()))] {
        let Ok(contents) = pkcs12::read(file, passphrase.as_ref()) else { continue };
        is_open = true;

        let key = contents.key.public_key();
        assert_eq!(contents.chain.first().and_then(|leaf| public_key(leaf)), key.as_deref(), "{}", file.escape_ascii());
        for (place, certificate) in contents.chain.iter().enumerate() {
            assert!(!contents.chain[..place].contains(certificate), "twice in the chain: {}", file.escape_ascii());
        }
    }
    is_open
}

fn certificates_of(file: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    Pem::read(file)?.certificates()
}

/// The labels of all sections that begin, wherever they do.
fn begun(file: &[u8]) -> Vec<&[u8]> {
    let (begin, dashes) = (b"-----BEGIN ", b"-----");
    let begins = file.windows(begin.len()).enumerate().filter(|(_, window)| window == begin);
    let labels = begins.filter_map(|(at, _)| {
        let rest = file.get(at + begin.len()..)?;
        rest.get(..rest.windows(dashes.len()).position(|window| window == dashes)?)
    });
    labels.collect()
}

/// RFC 7468 §5.1.
fn written(certificates: &[CertificateDer<'_>]) -> String {
    let section = |der: &CertificateDer<'_>| {
        let encoded = STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{encoded}\n-----END CERTIFICATE-----\n")
    };
    certificates.iter().map(section).collect()
}
