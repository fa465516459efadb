//! Is this the service? Its chain, its name, its key's pin; or, where danger is wanted, the pin alone.

use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::handshake::note;
use super::leaf::{Leaf, public_key};
use super::origin::TlsOrigin;
use super::provider;
use super::server_certificate::{Chain, PinMismatch, ServerCertificateError};
use super::trust::TrustAnchors;
use crate::digest::sha256;

/// What a service's certificate must pass. The handshake's signatures are checked whatever the config says.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    /// `None`: `danger_skip_verification`.
    trusted: Option<Trusted>,
    /// Empty: any key will do.
    pins: Vec<[u8; 32]>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    pub(super) fn new(trust: Option<&TrustAnchors>, pins: Vec<[u8; 32]>) -> Self {
        let algorithms = provider().signature_verification_algorithms;
        Self { trusted: trust.map(Trusted::new), pins, algorithms }
    }

    fn check_pin(&self, leaf: &CertificateDer<'_>) -> Result<(), CertificateError> {
        if self.pins.is_empty() {
            return Ok(());
        }
        let seen = sha256(public_key(leaf).ok_or(CertificateError::BadEncoding)?);
        if self.pins.contains(&seen) {
            return Ok(());
        }
        Err(CertificateError::Other(OtherError(Arc::new(PinMismatch(STANDARD.encode(seen))))))
    }
}

/// Whom the service's certificate has to come from, or which it has to be.
#[derive(Debug)]
struct Trusted {
    chain: Arc<WebPkiServerVerifier>,
    trust: TrustAnchors,
}

impl Trusted {
    fn new(trust: &TrustAnchors) -> Self {
        let roots = Arc::clone(&trust.roots);
        let built = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider())).build();
        // Invariant: building fails for a store without roots and for bad revocation lists; `Trust` is never empty, and
        // there are no lists.
        #[allow(clippy::expect_used)]
        let chain = built.expect("roots");
        Self { chain, trust: trust.clone() }
    }

    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<(), Error> {
        if self.trust.own.contains(&sha256(leaf)) {
            return check_itself(leaf, name, now);
        }
        self.chain.verify_server_cert(leaf, intermediates, name, ocsp, now).map(drop)
    }
}

/// A certificate that the config names is trusted as it is: a path from it to itself would be none, and one that is a CA
/// too (as `openssl req -x509` makes them) no end of any. Its name and its time count all the same.
fn check_itself(leaf: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), Error> {
    verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
    let bounds = Leaf::read(leaf).ok_or(CertificateError::BadEncoding)?;
    let [not_before, not_after] = [bounds.not_before, bounds.not_after].map(unix_time);
    if now.as_secs() < not_before.as_secs() {
        return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
    }
    if now.as_secs() > not_after.as_secs() {
        return Err(CertificateError::ExpiredContext { time: now, not_after }.into());
    }
    Ok(())
}

fn unix_time(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let checked = match &self.trusted {
            Some(trusted) => trusted.check(leaf, intermediates, name, ocsp, now),
            None => Ok(()),
        };
        checked.and_then(|()| Ok(self.check_pin(leaf)?)).inspect_err(|error| {
            let roots = self.trusted.as_ref().map(|trusted| &*trusted.trust.roots);
            let chain = Chain { leaf, others: intermediates, roots };
            note_untrusted(error, |error, origin| ServerCertificateError::of(error, &chain, origin));
        })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms).inspect_err(|error| {
            note_untrusted(error, |error, origin| ServerCertificateError::of_handshake(error, certificate, origin));
        })
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms).inspect_err(|error| {
            note_untrusted(error, |error, origin| ServerCertificateError::of_handshake(error, certificate, origin));
        })
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The chain is at hand only here; the error that comes back names a kind alone.
fn note_untrusted(error: &Error, told: impl FnOnce(&CertificateError, TlsOrigin) -> ServerCertificateError) {
    if let Error::InvalidCertificate(error) = error {
        note(|seen| seen.untrusted = Some(Box::new(told(error, seen.origin))));
    }
}
