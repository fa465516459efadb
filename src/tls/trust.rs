//! Which CAs vouch for a service: those of `ca`, the system's, or both.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;

use super::certificate_error::CertificateError;
use super::pem::Pem;
use super::system;
use crate::config::{self, At, Inputs, Report, Span};
use crate::digest::{Digest, sha256};

/// A set of CAs, never empty where it is used.
#[derive(Clone, Debug)]
pub(super) struct TrustAnchors {
    pub(super) roots: Arc<RootCertStore>,
    /// SHA-256 of each certificate of `ca`: such a one is trusted as it is, whoever issued it.
    pub(super) own: Arc<HashSet<[u8; 32]>>,
    /// Over the certificates, in their order.
    pub(super) fingerprint: [u8; 32],
}

impl TrustAnchors {
    /// Reads the CAs that `tls` names; `place` is where the endpoint's URL stands.
    pub(super) fn compile(tls: &config::Tls, place: Span, inputs: &Inputs, report: &mut Report) -> Option<Self> {
        if tls.ca.is_empty() {
            return system::roots(place, inputs, report);
        }
        // Every file is read before any is given up.
        let files: Vec<_> = tls.ca.iter().map(|file| read(file, inputs, report)).collect();
        let own = files.into_iter().collect::<Option<Vec<_>>>()?.concat();
        let system = if tls.system_roots { Some(system::roots(place, inputs, report)?) } else { None };
        Some(Self::new(own, system))
    }

    pub(super) fn new(certificates: Vec<CertificateDer<'static>>, system: Option<Self>) -> Self {
        let mut fingerprint = Digest::new();
        fingerprint.list(certificates.iter());
        let own = certificates.iter().map(|certificate| sha256(certificate)).collect();
        let mut roots = RootCertStore::empty();
        if let Some(system) = system {
            fingerprint.field(&system.fingerprint);
            roots.clone_from(&system.roots);
        }
        roots.add_parsable_certificates(certificates);
        Self { roots: Arc::new(roots), own: Arc::new(own), fingerprint: fingerprint.finish() }
    }
}

fn read(file: &At<PathBuf>, inputs: &Inputs, report: &mut Report) -> Option<Vec<CertificateDer<'static>>> {
    let text = inputs.read(&file.value, file.span, report)?;
    match Pem::read(&text).and_then(|pem| pem.certificates()) {
        Ok(certificates) => usable(certificates, file, report),
        Err(unusable) => refuse(file, &unusable, report),
    }
}

/// Drops what is no CA, with a word: one odd certificate of a large bundle must not keep the others out.
fn usable(
    certificates: Vec<CertificateDer<'static>>,
    file: &At<PathBuf>,
    report: &mut Report,
) -> Option<Vec<CertificateDer<'static>>> {
    let damaged = certificates.iter().position(|certificate| !is_root(certificate));
    let Some(place) = damaged else { return Some(certificates) };
    let unusable = CertificateError::DamagedCertificate { number: place + 1 };
    let good: Vec<_> = certificates.into_iter().filter(is_root).collect();
    if good.is_empty() {
        return refuse(file, &unusable, report);
    }
    report.warning(file.span, format!("ca: {unusable}, it is left out; the number of others is {}", good.len()));
    Some(good)
}

fn is_root(certificate: &CertificateDer<'static>) -> bool {
    RootCertStore::empty().add(certificate.clone()).is_ok()
}

fn refuse<T>(file: &At<PathBuf>, unusable: &CertificateError, report: &mut Report) -> Option<T> {
    let diagnostic = report.error(file.span, format!("ca: {unusable}"));
    if let Some(help) = unusable.help_with_authorities(&file.value) {
        diagnostic.help(help);
    }
    None
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::config::Secrets;
    use crate::demo::certificates::{CertificateAuthority, certificate_pem};

    /// What a load makes of a CA file: the number of roots, and what it says.
    fn compile(file: &[u8]) -> (Option<usize>, Vec<String>) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("ca.pem");
        fs::write(&path, file).unwrap();
        let ca = vec![At { value: path, span: Span::default() }];
        let tls = config::Tls { ca, ..config::Tls::default() };
        let (inputs, mut report) = (Inputs::new(Secrets::Read), Report::default());

        let trust = TrustAnchors::compile(&tls, Span::default(), &inputs, &mut report);

        let said = report.diagnostics().iter().map(|diagnostic| diagnostic.message.clone()).collect();
        (trust.map(|trust| trust.roots.len()), said)
    }

    fn ca() -> String {
        certificate_pem(CertificateAuthority::new("Test CA").unwrap().certificate())
    }

    const DAMAGED: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    #[test]
    fn a_bundle_may_hold_many_cas() {
        assert_eq!(compile([ca(), ca()].concat().as_bytes()), (Some(2), vec![]));
    }

    #[test]
    fn one_odd_certificate_of_a_bundle_is_left_out_with_a_warning() {
        let said = "ca: certificate 2 of this file is damaged, it is left out; the number of others is 2".to_owned();

        assert_eq!(compile([&ca(), DAMAGED, &ca()].concat().as_bytes()), (Some(2), vec![said]));
    }

    #[test]
    fn a_file_without_a_ca_is_refused() {
        let no_certificate = "ca: no certificate in this file".to_owned();

        assert_eq!(compile(DAMAGED.as_bytes()), (None, vec!["ca: certificate 1 of this file is damaged".to_owned()]));
        assert_eq!(compile(b""), (None, vec![no_certificate.clone()]));
        assert_eq!(compile(b"0\x82"), (None, vec![no_certificate]));
    }
}
