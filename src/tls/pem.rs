//! What is in a PEM file, before any of it is decoded (RFC 7468).
//!
//! Its errors never quote the file: a key whose line breaks were lost is one line, and would be quoted whole.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{Error, PemObject};

use super::certificate_error::{CertificateError, DER};

/// The labels of all sections, in order: `CERTIFICATE`, `ENCRYPTED PRIVATE KEY`, ….
pub(super) fn labels(pem: &[u8]) -> impl Iterator<Item = &str> {
    begins(pem).filter_map(label)
}

/// What a file without the label that was looked for holds instead.
pub(super) fn found(file: &[u8]) -> Option<String> {
    let is_der = file.first() == Some(&DER_SEQUENCE);
    labels(file).next().or(is_der.then_some(DER)).map(str::to_owned)
}

/// Whether a section begins in the midst of a line, as it does where line breaks were lost.
pub(super) fn is_flattened(pem: &[u8]) -> bool {
    begins(pem).any(|line| label(line).is_none())
}

/// All certificates, in order; at least one.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    if is_flattened(pem) {
        return Err(CertificateError::DamagedPem(FLATTENED));
    }
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(damaged)?;
    // The decoder passes over a section whose end is missing if another begins behind it: half a chain is none.
    if certificates.len() < labels(pem).filter(|label| *label == "CERTIFICATE").count() {
        return Err(CertificateError::DamagedPem(UNENDED));
    }
    if certificates.is_empty() {
        return Err(CertificateError::NoCertificate { found: found(pem) });
    }
    Ok(certificates)
}

/// An error of the decoder in words of our own.
pub(super) fn damaged(error: Error) -> CertificateError {
    CertificateError::DamagedPem(match error {
        Error::IllegalSectionStart { .. } => FLATTENED,
        Error::MissingSectionEnd { .. } => UNENDED,
        Error::Base64Decode(_) => "a section is no base64",
        _ => "it can't be decoded",
    })
}

fn begins(pem: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = pem.split(|byte| matches!(byte, b'\n' | b'\r'));
    lines.filter_map(|line| line.strip_prefix(b"-----BEGIN "))
}

fn label(begin: &[u8]) -> Option<&str> {
    let (label, rest) = std::str::from_utf8(begin).ok()?.split_once("-----")?;
    rest.trim_end().is_empty().then_some(label)
}

/// What is wrong where [`is_flattened`].
pub(super) const FLATTENED: &str = "the line that begins a section goes on; line breaks may have been lost";
const UNENDED: &str = "a section does not end";
const DER_SEQUENCE: u8 = 0x30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_found_whatever_the_line_ends_and_comments() {
        let pem = b"subject=CN=app\r\n-----BEGIN CERTIFICATE-----\r\nAA==\r\n-----END CERTIFICATE-----\r\n\
            \xff\n-----BEGIN EC PRIVATE KEY----- \nAA==\n-----END EC PRIVATE KEY-----\n";

        assert_eq!(labels(pem).collect::<Vec<_>>(), ["CERTIFICATE", "EC PRIVATE KEY"]);
        assert_eq!(certificates(pem).unwrap().len(), 1);
    }

    #[test]
    fn a_certificate_whose_end_is_missing_is_not_passed_over() {
        let whole = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let unended = "-----BEGIN CERTIFICATE-----\nAAAA\n";

        for pem in [[unended, whole].concat(), [whole, unended, whole].concat(), [whole, unended].concat()] {
            assert_eq!(certificates(pem.as_bytes()).unwrap_err(), CertificateError::DamagedPem(UNENDED), "{pem}");
        }
    }

    #[test]
    fn an_error_never_quotes_a_file_whose_line_breaks_were_lost() {
        let pem = b"-----BEGIN PRIVATE KEY-----c2VjcmV0-----END PRIVATE KEY-----\n";

        assert!(is_flattened(pem));
        assert_eq!(found(pem), None);
        assert_eq!(certificates(pem).unwrap_err(), CertificateError::DamagedPem(FLATTENED));
    }
}
