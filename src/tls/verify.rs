//! Is this the service? Its chain, its name, its key's pin; or, where danger is wanted, the pin alone.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::leaf::public_key;
use super::provider;
use super::trust::TrustAnchors;
use crate::digest::sha256;

/// What a service's certificate must pass. The handshake's signatures are checked whatever the config says.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    /// `None`: `danger_skip_verification`.
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// Empty: any key will do.
    pins: Vec<[u8; 32]>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    pub(super) fn new(trust: Option<&TrustAnchors>, pins: Vec<[u8; 32]>) -> Self {
        let algorithms = provider().signature_verification_algorithms;
        Self { chain: trust.map(chain_verifier), pins, algorithms }
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

fn chain_verifier(trust: &TrustAnchors) -> Arc<WebPkiServerVerifier> {
    let built = WebPkiServerVerifier::builder_with_provider(Arc::clone(&trust.roots), Arc::clone(provider())).build();
    // Invariant: building fails for a store without roots and for bad revocation lists; `Trust` is never empty, and
    // there are no lists.
    #[allow(clippy::expect_used)]
    built.expect("roots")
}

/// The service's key is none of those that were pinned.
#[derive(Debug, thiserror::Error)]
#[error("its key has the pin {0}, which is none of `pin_sha256`")]
pub(super) struct PinMismatch(String);

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(chain) = &self.chain {
            chain.verify_server_cert(leaf, intermediates, name, ocsp, now)?;
        }
        self.check_pin(leaf)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
