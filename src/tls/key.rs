//! Private keys: PKCS#8, encrypted PKCS#8, PKCS#1 and SEC1 in, one canonical form out.
//!
//! The canonical form signs and never shows the key; the bytes that were read on the way are wiped.

use std::path::PathBuf;
use std::sync::Arc;

use pkcs8::pkcs5::pbes2::Kdf;
use pkcs8::{EncryptedPrivateKeyInfoRef, pkcs5};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::SigningKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use zeroize::Zeroizing;

use super::certificate_error::CertificateError;
use super::foreign::Foreign;
use super::kind;
use super::pem::{Pem, Section};
use crate::config::{At, Inputs, Report};
use crate::secret::Secret;

/// Reads the one private key of a PEM file.
///
/// # Errors
/// When there is none or more than one, when the passphrase does not fit, and when the key can't be used.
pub(super) fn read(file: &[u8], passphrase: Option<&Secret>) -> Result<Arc<dyn SigningKey>, CertificateError> {
    // Its key is PEM within JSON: damaged, to whoever looks for PEM alone.
    if let Some(found @ Foreign::GoogleAccount) = Foreign::of(file) {
        return Err(CertificateError::NoKey { found: Some(found) });
    }
    from_pem(&Pem::read(file)?, passphrase)
}

/// As [`read`] does, of a file whose sections are known.
pub(super) fn from_pem(pem: &Pem<'_>, passphrase: Option<&Secret>) -> Result<Arc<dyn SigningKey>, CertificateError> {
    let section = the_key(pem)?;
    match (section.label, passphrase) {
        (ENCRYPTED, Some(passphrase)) => signing(decrypt(section, passphrase)?),
        (ENCRYPTED, None) => Err(CertificateError::PassphraseMissing),
        _ if section.is_traditionally_encrypted() => Err(CertificateError::OldEncryption),
        (PKCS8 | PKCS1 | SEC1, Some(_)) => Err(CertificateError::PassphraseNotNeeded),
        (PKCS8, None) => from_pkcs8(&section.decoded()?),
        (PKCS1, None) => signing(PrivatePkcs1KeyDer::from(section.decoded()?.to_vec()).into()),
        (SEC1, None) => signing(PrivateSec1KeyDer::from(section.decoded()?.to_vec()).into()),
        _ => Err(CertificateError::NoKey { found: pem.foreign_key() }),
    }
}

/// Reads the key file that a field outside `certificates` names, and reports what is wrong with it: there is no
/// passphrase beside such a field.
///
/// `None` without a word where no secrets are read.
pub(crate) fn compile(file: &At<PathBuf>, inputs: &Inputs, report: &mut Report) -> Option<Arc<dyn SigningKey>> {
    if !inputs.reads_secrets() {
        return None;
    }
    let text = inputs.read_secret(&file.value, file.span, report)?;
    read(&text, None).map_err(|unusable| report_unusable(file, &unusable, report)).ok()
}

fn report_unusable(file: &At<PathBuf>, unusable: &CertificateError, report: &mut Report) {
    let path = file.value.display();
    let (message, help) = match unusable {
        CertificateError::PassphraseMissing | CertificateError::OldEncryption => (
            "the private key is encrypted, and nothing here takes a passphrase".to_owned(),
            Some(format!("keep it unencrypted, for this user alone: openssl pkey -in {path} -out NEW")),
        ),
        unusable => (unusable.to_string(), unusable.help_with_lone_key(&file.value)),
    };
    let error = report.error(file.span, message);
    if let Some(help) = help {
        error.help(help);
    }
}

/// Takes over a PKCS#8 key that a container held.
pub(super) fn from_pkcs8(der: &[u8]) -> Result<Arc<dyn SigningKey>, CertificateError> {
    signing(PrivatePkcs8KeyDer::from(der.to_vec()).into()).map_err(|unusable| match kind::unusable(der) {
        Some(kind) => CertificateError::UnsupportedKind(kind),
        None => unusable,
    })
}

fn the_key<'p, 'f>(pem: &'p Pem<'f>) -> Result<&'p Section<'f>, CertificateError> {
    let mut keys = pem.sections().iter().filter(|section| section.label.ends_with("PRIVATE KEY"));
    let key = keys.next().ok_or_else(|| CertificateError::NoKey { found: pem.found() })?;
    match keys.count() {
        0 => Ok(key),
        more => Err(CertificateError::SeveralKeys(1 + more)),
    }
}

fn decrypt(section: &Section<'_>, passphrase: &Secret) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let der = section.decoded()?;
    let encrypted =
        EncryptedPrivateKeyInfoRef::try_from(der.as_slice()).map_err(|_| CertificateError::OldEncryption)?;
    let scheme = encrypted.encryption_algorithm.pbes2().ok_or(CertificateError::OldEncryption)?;
    if !is_affordable(&scheme.kdf) {
        return Err(CertificateError::TooCostly);
    }
    let key = encrypted.decrypt(passphrase.expose()).map_err(unopened)?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

fn unopened(error: pkcs8::Error) -> CertificateError {
    match error {
        // A wrong passphrase yields bytes without valid padding, or now and then with it, but no DER.
        pkcs8::Error::EncryptedPrivateKey(pkcs5::Error::DecryptFailed) | pkcs8::Error::Asn1(_) => {
            CertificateError::PassphraseWrong
        }
        _ => CertificateError::OldEncryption,
    }
}

/// A file must not stop a load for minutes or take a small container's memory.
fn is_affordable(kdf: &Kdf) -> bool {
    match kdf {
        Kdf::Pbkdf2(pbkdf2) => pbkdf2.iteration_count <= MOST_ITERATIONS,
        Kdf::Scrypt(scrypt) => {
            let blocks = scrypt.cost_parameter.saturating_mul(u64::from(scrypt.block_size));
            let bytes = blocks.saturating_mul(128);
            bytes <= MOST_SCRYPT_BYTES && scrypt.parallelization <= MOST_SCRYPT_LANES
        }
        _ => false,
    }
}

fn signing(key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, CertificateError> {
    any_supported_type(&Zeroizing::new(key)).map_err(|_| CertificateError::UnsupportedKey)
}

const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";
const PKCS8: &str = "PRIVATE KEY";
const PKCS1: &str = "RSA PRIVATE KEY";
const SEC1: &str = "EC PRIVATE KEY";
/// A few seconds of one core; OpenSSL writes 2,048, OWASP recommends 600,000.
const MOST_ITERATIONS: u32 = 5_000_000;
/// OpenSSL's default is 16 MiB.
const MOST_SCRYPT_BYTES: u64 = 256 << 20;
const MOST_SCRYPT_LANES: u16 = 16;

#[cfg(test)]
mod tests {
    use rustls::SignatureAlgorithm as Algorithm;

    use super::super::foreign::Foreign;
    use super::super::openssl::Openssl;
    use super::*;

    #[track_caller]
    fn check(file: &[u8], passphrase: Option<&str>, expected: Result<Algorithm, CertificateError>) {
        let passphrase = passphrase.map(|text| Secret::new(text.to_owned()));
        let read = read(file, passphrase.as_ref()).map(|key| key.algorithm());
        assert_eq!(read, expected, "{}", String::from_utf8_lossy(file));
    }

    fn p256(openssl: &Openssl) -> Vec<u8> {
        openssl.make("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out out")
    }

    #[test]
    fn keys_of_all_kinds_and_formats_are_read() {
        let openssl = Openssl::new();
        for curve in ["P-256", "P-384", "P-521"] {
            let key = openssl.make(&format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:{curve} -out out"));
            check(&key, None, Ok(Algorithm::ECDSA));
        }
        check(&openssl.make("genpkey -algorithm ed25519 -out out"), None, Ok(Algorithm::ED25519));
        check(&openssl.make("ecparam -name prime256v1 -genkey -out out"), None, Ok(Algorithm::ECDSA));
        check(&openssl.make("genrsa -out out 2048"), None, Ok(Algorithm::RSA));
        check(&openssl.make("genrsa -traditional -out out 2048"), None, Ok(Algorithm::RSA));
    }

    #[test]
    fn an_encrypted_key_opens_with_its_passphrase_alone() {
        let openssl = Openssl::new();
        p256(&openssl);
        for with in ["", " -v2prf hmacWithSHA512", " -v2 aes-128-cbc", " -iter 100000", " -scrypt"] {
            openssl.run(&format!("pkcs8 -topk8 -in out -passout pass:horse{with} -out key"));
            let key = openssl.read("key");

            check(&key, Some("horse"), Ok(Algorithm::ECDSA));
            check(&key, Some("mule"), Err(CertificateError::PassphraseWrong));
            check(&key, None, Err(CertificateError::PassphraseMissing));
        }
    }

    #[test]
    fn a_passphrase_for_a_key_that_needs_none_is_refused() {
        check(&p256(&Openssl::new()), Some("horse"), Err(CertificateError::PassphraseNotNeeded));
    }

    #[test]
    fn old_encryption_is_refused_with_the_command_that_helps() {
        let openssl = Openssl::new();
        p256(&openssl);
        openssl.run("pkcs8 -topk8 -in out -passout pass:horse -v2 des3 -out triple-des");
        openssl.run("pkcs8 -topk8 -in out -passout pass:horse -v1 PBE-SHA1-3DES -out version-1");
        openssl.run("pkcs8 -topk8 -in out -passout pass:horse -v2prf hmacWithSHA1 -out sha-1");
        openssl.run("ec -in out -aes256 -passout pass:horse -out traditional");

        for file in ["triple-des", "version-1", "sha-1", "traditional"] {
            check(&openssl.read(file), Some("horse"), Err(CertificateError::OldEncryption));
        }
        assert_eq!(
            CertificateError::OldEncryption.help("tls/app.key".as_ref()).unwrap(),
            "encrypt it anew: openssl pkcs8 -topk8 -v2 aes-256-cbc -in tls/app.key -out NEW"
        );
    }

    #[test]
    fn a_key_that_asks_for_absurd_work_is_refused_at_once() {
        let openssl = Openssl::new();
        p256(&openssl);
        openssl.run("pkcs8 -topk8 -in out -passout pass:horse -iter 1 -out cheap");
        let cheap = openssl.read("cheap");
        let cheap = Pem::read(&cheap).unwrap().sections()[0].decoded().unwrap().to_vec();
        let one = [0x02, 0x01, 0x01, 0x30];
        let place = cheap.windows(4).position(|window| window == one).unwrap();

        // The iteration count becomes 99,999,999, and every length around it grows by three.
        let mut dear = cheap.clone();
        dear.splice(place..place + 3, [0x02, 0x04, 0x05, 0xf5, 0xe0, 0xff]);
        let lengths = lengths_around(&cheap, place);
        for at in lengths {
            dear[at] += 3;
        }

        let pem = pkcs8::der::pem::encode_string(ENCRYPTED, pkcs8::LineEnding::LF, &dear).unwrap();
        check(pem.as_bytes(), Some("horse"), Err(CertificateError::TooCostly));
    }

    /// Where the lengths of the sequences stand that contain the byte at `inside`.
    fn lengths_around(der: &[u8], inside: usize) -> Vec<usize> {
        let (mut lengths, mut at) = (Vec::new(), 0);
        while at < inside {
            let (header, length) = match der[at + 1] {
                0x81 => (3, usize::from(der[at + 2])),
                short => (2, usize::from(short)),
            };
            let contains = inside < at + header + length;
            if contains && der[at] == 0x30 {
                lengths.push(at + header - 1);
            }
            at += if contains { header } else { header + length };
        }
        lengths
    }

    #[test]
    fn a_file_without_a_key_is_told_by_what_it_holds() {
        let openssl = Openssl::new();
        p256(&openssl);
        openssl.run("req -x509 -key out -subj /CN=app -out certificate");
        openssl.run("pkey -in out -outform DER -out der");
        let no_key = |found| Err(CertificateError::NoKey { found });

        check(&openssl.read("certificate"), None, no_key(Some(Foreign::Section("CERTIFICATE".to_owned()))));
        check(&openssl.read("der"), None, no_key(Some(Foreign::Der)));
        check(b"half a certif", None, no_key(None));
        check(b"", None, no_key(Some(Foreign::Empty)));
    }

    #[test]
    fn one_key_is_expected() {
        let openssl = Openssl::new();
        let two = [p256(&openssl), p256(&openssl)].concat();

        check(&two, None, Err(CertificateError::SeveralKeys(2)));
    }

    #[test]
    fn damaged_and_unknown_keys_are_refused() {
        let openssl = Openssl::new();
        let good = String::from_utf8(p256(&openssl)).unwrap();
        let damaged = good.replace("\nM", "\n!");

        let half = good[..good.len() / 2].to_owned();
        let flat = good.replace('\n', "");
        for file in [damaged, half, flat] {
            assert!(matches!(read(file.as_bytes(), None), Err(CertificateError::DamagedPem { .. })), "{file}");
        }
    }

    #[test]
    fn a_key_of_a_kind_that_can_not_be_used_is_named() {
        let openssl = Openssl::new();
        for (made, kind) in [
            ("genpkey -algorithm ed448 -out out", "an Ed448 key"),
            ("genpkey -algorithm x25519 -out out", "an X25519 key, for key agreement"),
            ("genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out out", "an RSA-PSS key"),
            ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1 -out out", "an EC key on another curve"),
            ("genrsa -out out 1024", "an RSA key of 1024 bits"),
        ] {
            check(&openssl.make(made), None, Err(CertificateError::UnsupportedKind(kind)));
        }
    }
}
