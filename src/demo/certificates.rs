//! Certificates made on the spot: a CA, and what it issues.

use std::time::Duration;

use pkcs8::LineEnding;
use pkcs8::der::pem;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

use super::Error;

/// A CA that signs whatever it is asked to.
pub(crate) struct CertificateAuthority(CertifiedIssuer<'static, KeyPair>);

impl CertificateAuthority {
    /// Makes a CA with a new key.
    pub(crate) fn new(common_name: &str) -> Result<Self, Error> {
        let mut params = named(common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// A certificate for a server on this machine's loopback addresses.
    pub(crate) fn server(&self) -> Result<Issued, Error> {
        let mut params = named("localhost");
        params.subject_alt_names = CertificateParams::new(LOOPBACK.map(str::to_owned))?.subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(&params)
    }

    /// A certificate for a client.
    pub(crate) fn client(&self, common_name: &str) -> Result<Issued, Error> {
        let mut params = named(common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&params)
    }

    /// A certificate as described, for a new key.
    pub(crate) fn issue(&self, params: &CertificateParams) -> Result<Issued, Error> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.0)?.der().clone();
        Ok(Issued { certificate, key })
    }

    /// The CA's own certificate.
    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        self.0.der()
    }

    /// Trust in this CA alone.
    pub(crate) fn roots(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate().clone())?;
        Ok(roots)
    }
}

/// A certificate and its private key.
pub(crate) struct Issued {
    pub(crate) certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl Issued {
    /// The private key as rustls takes it.
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    /// The private key as PEM.
    pub(crate) fn key_pem(&self) -> String {
        to_pem("PRIVATE KEY", self.key.serialized_der())
    }
}

/// Parameters of a certificate with one name in its subject, valid from yesterday for 90 days.
pub(crate) fn named(common_name: &str) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = now - DAY;
    params.not_after = now + 90 * DAY;
    params.use_authority_key_identifier_extension = true;
    params
}

/// A certificate as PEM.
pub(crate) fn certificate_pem(certificate: &CertificateDer<'_>) -> String {
    to_pem("CERTIFICATE", certificate)
}

fn to_pem(label: &str, der: &[u8]) -> String {
    // Invariant: encoding fails for labels that are no printable ASCII and for lengths beyond 32 bits.
    #[allow(clippy::expect_used)]
    pem::encode_string(label, LineEnding::LF, der).expect("PEM")
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
