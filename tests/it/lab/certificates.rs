//! Certificates, made anew for each lab: an authority and what it signs.

use std::process::Command;

use aws_lc_rs::digest;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, PublicKeyData,
};
use serde_json::Value;
use time::{Duration, OffsetDateTime};

use super::{keys, program};

/// Signs certificates, and is what the other side trusts.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// A certificate and its key.
pub struct Pair {
    /// PEM, leaf first.
    pub chain: String,
    /// PEM, PKCS#8.
    pub key: String,
    pub der: Vec<u8>,
    public_key: Vec<u8>,
}

/// From when to when a certificate is valid, in days from now.
#[derive(Clone, Copy)]
pub struct Validity(pub i64, pub i64);

impl Validity {
    pub const LONG: Self = Self(-1, 90);
    pub const EXPIRED: Self = Self(-30, -1);
    pub const NOT_YET: Self = Self(2, 30);
    pub const ENDS_SOON: Self = Self(-1, 8);
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = params(name, &[], Validity::LONG);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { pem: pem("CERTIFICATE", certificate.der()), issuer: Issuer::new(params, key) }
    }

    pub fn client(&self, name: &str, validity: Validity) -> Pair {
        self.issue(params(name, &[], validity), ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A client with an RSA key, which some partners want.
    pub fn client_with_rsa(&self, name: &str) -> Pair {
        self.client_with(name, &rcgen::PKCS_RSA_SHA256)
    }

    /// A client with a key of a kind that some services don't know.
    pub fn client_with(&self, name: &str, kind: &'static rcgen::SignatureAlgorithm) -> Pair {
        let key = KeyPair::generate_for(kind).unwrap();
        self.issue_for(&key, params(name, &[], Validity::LONG), ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A client whose certificate names no use of its own.
    pub fn client_for_any_use(&self, name: &str) -> Pair {
        self.issue(params(name, &[], Validity::LONG), ExtendedKeyUsagePurpose::Any)
    }

    /// A client whose certificate comes from an authority between it and this one; that is in the chain.
    pub fn client_of_an_intermediate(&self, name: &str) -> Pair {
        let mut params = params(&format!("{name}'s authority"), &[], Validity::LONG);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let between = Self { pem: pem("CERTIFICATE", certificate.der()), issuer: Issuer::new(params, key) };
        let pair = between.client(name, Validity::LONG);
        Pair { chain: pair.chain + &between.pem, ..pair }
    }

    pub fn server(&self, hosts: &[&str]) -> Pair {
        self.issue(params(hosts[0], hosts, Validity::LONG), ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A server with an RSA key, which some servers want.
    pub fn server_with_rsa(&self, hosts: &[&str]) -> Pair {
        let key = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        self.issue_for(&key, params(hosts[0], hosts, Validity::LONG), ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn issue(&self, params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Pair {
        self.issue_for(&KeyPair::generate().unwrap(), params, usage)
    }

    fn issue_for(&self, key: &KeyPair, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Pair {
        params.extended_key_usages.push(usage);
        params.use_authority_key_identifier_extension = true;
        Pair::new(&params.signed_by(key, &self.issuer).unwrap(), key)
    }
}

impl Pair {
    /// A client certificate that no authority vouches for.
    pub fn self_signed(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self::new(&params(name, &[], Validity::LONG).self_signed(&key).unwrap(), &key)
    }

    fn new(certificate: &Certificate, key: &KeyPair) -> Self {
        Self {
            chain: pem("CERTIFICATE", certificate.der()),
            key: pem("PRIVATE KEY", key.serialized_der()),
            der: certificate.der().to_vec(),
            public_key: key.subject_public_key_info(),
        }
    }

    /// The JWK of the public key, with the certificate in it (`x5c`).
    pub fn jwk(&self) -> Value {
        let mut jwk = keys::jwk(&self.public_key);
        jwk["x5c"] = [BASE64_STANDARD.encode(&self.der)].as_slice().into();
        jwk
    }

    /// As nginx prints it: SHA-1, lower-case hex.
    pub fn fingerprint(&self) -> String {
        hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &self.der).as_ref())
    }

    /// SHA-256, lower-case hex.
    pub fn sha256(&self) -> String {
        hex(digest::digest(&digest::SHA256, &self.der).as_ref())
    }

    /// The `x5t#S256` of RFC 8705 §3.1.
    pub fn thumbprint(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &self.der))
    }

    /// SHA-256 of the public key, as `pin_sha256` wants it.
    pub fn pin(&self) -> String {
        BASE64_STANDARD.encode(digest::digest(&digest::SHA256, &self.public_key))
    }
}

/// Runs `openssl` in `folder`, for the key formats that rcgen does not write.
#[track_caller]
pub fn openssl(folder: &std::path::Path, command: &str) {
    let output = program::output(Command::new("openssl").args(command.split(' ')).current_dir(folder));
    assert!(output.status.success(), "openssl {command}: {}", String::from_utf8_lossy(&output.stderr));
}

fn params(name: &str, hosts: &[&str], Validity(from, until): Validity) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = OffsetDateTime::now_utc() + Duration::days(from);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(until);
    params
}

fn pem(label: &str, der: &[u8]) -> String {
    let base64 = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
