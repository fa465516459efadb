//! The private key of a login: OpenSSH's format, PKCS#8, PKCS#1 and SEC1 in, one form out.
//!
//! What stands in a file instead is told apart, so that nobody has to guess. No error quotes the file.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pkcs8::pkcs5::pbes2::Kdf;
use pkcs8::{EncryptedPrivateKeyInfoRef, pkcs5};
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::ssh_key::{self, Kdf as OpensshKdf};
use russh::keys::{Algorithm, PrivateKey, decode_secret_key};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Why a file is no key to log in with; [`KeyError::help`] says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("this file is empty")]
    Empty,
    #[error("no private key in this file")]
    NoKey,
    #[error("this is {0}, where a private key is wanted")]
    Other(&'static str),
    #[error("this is a key in PuTTY's format")]
    Putty,
    #[error("this is a key in the format of ssh.com")]
    SshCom,
    #[error("{0} private keys in this file, where one is expected")]
    Several(usize),
    #[error("the private key is damaged")]
    Damaged,
    #[error("the private key is encrypted, and there is no passphrase")]
    PassphraseMissing,
    #[error("there is a passphrase, but the private key is not encrypted")]
    PassphraseNotNeeded,
    #[error("the passphrase is wrong")]
    PassphraseWrong,
    #[error("the private key is encrypted in a way that is too weak or unknown")]
    OldEncryption,
    #[error("opening the private key would cost too much memory or time")]
    TooCostly,
    #[error("the private key is of a kind that can't be used")]
    Unsupported,
}

impl KeyError {
    /// What to do about it; `path` is the file, for command lines that can be copied.
    pub(crate) fn help(&self, path: &Path) -> String {
        let file = path.display();
        match self {
            Self::Empty | Self::NoKey | Self::Other(_) => {
                "name the file that `ssh-keygen` made without `.pub`: it begins with `-----BEGIN`".to_owned()
            }
            Self::Putty => format!("convert it: puttygen {file} -O private-openssh -o NEW"),
            Self::SshCom => format!("convert it: ssh-keygen -i -f {file} > NEW"),
            Self::Several(_) => "keep one private key in the file".to_owned(),
            Self::Damaged => "copy the file again, whole and byte for byte".to_owned(),
            Self::PassphraseMissing => "add `passphrase`, say `passphrase: { file: PATH }`".to_owned(),
            Self::PassphraseNotNeeded => "remove `passphrase`, or use the encrypted key".to_owned(),
            Self::PassphraseWrong => {
                "one trailing newline of a passphrase file is dropped; all else counts, spaces too".to_owned()
            }
            Self::OldEncryption | Self::TooCostly => {
                format!("encrypt it anew: install -m 600 {file} NEW && ssh-keygen -p -f NEW")
            }
            Self::Unsupported => "Ed25519, ECDSA on P-256, P-384 and P-521, and RSA can be used".to_owned(),
        }
    }
}

/// Reads the one private key of a file.
///
/// # Errors
/// When there is none or more than one, when the passphrase does not fit, and when the key can't be used.
pub(crate) fn read_key(file: &[u8], passphrase: Option<&Secret>) -> Result<PrivateKey, KeyError> {
    let section = KeySection::only(file)?;
    let key = match (section.label, passphrase) {
        (OPENSSH, passphrase) => openssh(&section.decoded()?, passphrase)?,
        (ENCRYPTED, None) => return Err(KeyError::PassphraseMissing),
        (ENCRYPTED, Some(passphrase)) => of_der(&decrypted(&section.decoded()?, passphrase)?)?,
        _ if section.is_traditionally_encrypted() => return Err(KeyError::OldEncryption),
        (PKCS8 | PKCS1 | SEC1, Some(_)) => return Err(KeyError::PassphraseNotNeeded),
        (PKCS8 | SEC1, None) => of_der(&section.decoded()?)?,
        (PKCS1, None) => of_pkcs1(&section.decoded()?)?,
        _ => return Err(KeyError::Unsupported),
    };
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::Rsa { .. } => Ok(key),
        _ => Err(KeyError::Unsupported),
    }
}

/// The bits of an RSA key; `None`: it is of another kind.
pub(crate) fn rsa_bits(key: &PrivateKey) -> Option<usize> {
    let KeypairData::Rsa(pair) = key.key_data() else { return None };
    let modulus = pair.public().n().as_positive_bytes()?;
    let leading = modulus.first().map_or(0, |first| first.leading_zeros());
    Some(modulus.len() * 8 - usize::try_from(leading).unwrap_or_default())
}

fn openssh(bytes: &[u8], passphrase: Option<&Secret>) -> Result<PrivateKey, KeyError> {
    let key = PrivateKey::from_bytes(bytes).map_err(|error| match error {
        ssh_key::Error::AlgorithmUnknown | ssh_key::Error::AlgorithmUnsupported { .. } => KeyError::Unsupported,
        _ => KeyError::Damaged,
    })?;
    match (key.is_encrypted(), passphrase) {
        (false, None) => Ok(key),
        (false, Some(_)) => Err(KeyError::PassphraseNotNeeded),
        (true, None) => Err(KeyError::PassphraseMissing),
        (true, Some(_)) if matches!(key.kdf(), OpensshKdf::Bcrypt { rounds, .. } if *rounds > MOST_ROUNDS) => {
            Err(KeyError::TooCostly)
        }
        (true, Some(passphrase)) => key.decrypt(passphrase.expose()).map_err(|error| match error {
            ssh_key::Error::AlgorithmUnknown | ssh_key::Error::AlgorithmUnsupported { .. } => KeyError::OldEncryption,
            _ => KeyError::PassphraseWrong,
        }),
    }
}

fn of_der(der: &[u8]) -> Result<PrivateKey, KeyError> {
    russh::keys::pkcs8::decode_pkcs8(der, None).map_err(|error| match error {
        russh::keys::Error::UnknownAlgorithm(_) | russh::keys::Error::UnsupportedKeyType { .. } => {
            KeyError::Unsupported
        }
        _ => KeyError::Damaged,
    })
}

/// The library reads it from PEM alone, and wants that as it writes it itself.
fn of_pkcs1(der: &[u8]) -> Result<PrivateKey, KeyError> {
    let base64 = Zeroizing::new(STANDARD.encode(der));
    let pem = Secret::of_parts(|| ["-----BEGIN RSA PRIVATE KEY-----\n", &base64, "\n"].into_iter());
    decode_secret_key(pem.expose(), None).map_err(|_| KeyError::Damaged)
}

fn decrypted(der: &[u8], passphrase: &Secret) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|_| KeyError::OldEncryption)?;
    let scheme = encrypted.encryption_algorithm.pbes2().ok_or(KeyError::OldEncryption)?;
    if !is_affordable(&scheme.kdf) {
        return Err(KeyError::TooCostly);
    }
    let key = encrypted.decrypt(passphrase.expose()).map_err(|error| match error {
        // A wrong passphrase yields bytes without valid padding, or now and then with it, but no DER.
        pkcs8::Error::EncryptedPrivateKey(pkcs5::Error::DecryptFailed) | pkcs8::Error::Asn1(_) => {
            KeyError::PassphraseWrong
        }
        _ => KeyError::OldEncryption,
    })?;
    Ok(Zeroizing::new(key.as_bytes().to_vec()))
}

/// A file must not stop a load for minutes or take a small container's memory.
fn is_affordable(kdf: &Kdf) -> bool {
    match kdf {
        Kdf::Pbkdf2(pbkdf2) => pbkdf2.iteration_count <= MOST_ITERATIONS,
        Kdf::Scrypt(scrypt) => {
            let blocks = scrypt.cost_parameter.saturating_mul(u64::from(scrypt.block_size));
            blocks.saturating_mul(128) <= MOST_SCRYPT_BYTES && scrypt.parallelization <= MOST_SCRYPT_LANES
        }
        _ => false,
    }
}

/// What stands between the lines that begin and end a private key in PEM.
struct KeySection<'f> {
    label: &'f str,
    text: &'f str,
}

impl<'f> KeySection<'f> {
    /// That of a file with one key in it.
    fn only(file: &'f [u8]) -> Result<Self, KeyError> {
        let text = std::str::from_utf8(file).map_err(|_| other(file))?;
        let mut keys = text.split(BEGIN).skip(1).filter_map(|rest| {
            let (label, text) = rest.split_once(DASHES)?;
            label.ends_with("PRIVATE KEY").then_some((label, text))
        });
        let Some((label, text)) = keys.next() else { return Err(other(file)) };
        match keys.count() {
            0 => {}
            more => return Err(KeyError::Several(1 + more)),
        }
        // What is cut has lost its end.
        let (text, _) = text.split_once("-----END").ok_or(KeyError::Damaged)?;
        Ok(Self { label, text })
    }

    fn is_traditionally_encrypted(&self) -> bool {
        self.text.trim_start().starts_with("Proc-Type:")
    }

    fn decoded(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        // Taken at its full size at once: a buffer that grew would leave copies of a key behind.
        let mut base64 = Zeroizing::new(Vec::with_capacity(self.text.len()));
        base64.extend(self.text.bytes().filter(|byte| !byte.is_ascii_whitespace()));
        STANDARD.decode(&*base64).map(Zeroizing::new).map_err(|_| KeyError::Damaged)
    }
}

/// What a file is that has no private key in PEM.
fn other(file: &[u8]) -> KeyError {
    let Ok(text) = std::str::from_utf8(file) else { return KeyError::NoKey };
    let text = text.trim_start_matches('\u{feff}').trim();
    let first = text.split_ascii_whitespace().next().unwrap_or_default();
    match () {
        () if text.is_empty() => KeyError::Empty,
        () if text.starts_with("PuTTY-User-Key-File-") => KeyError::Putty,
        () if text.starts_with("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY") => KeyError::SshCom,
        () if first.ends_with("-cert-v01@openssh.com") => KeyError::Other("a certificate of OpenSSH"),
        () if text.starts_with("-----BEGIN CERTIFICATE") => KeyError::Other("a certificate of TLS"),
        () if PUBLIC.iter().any(|start| first.starts_with(start)) => KeyError::Other("a public key"),
        () if text.starts_with("----") && text.lines().next().is_some_and(|line| line.contains("PUBLIC KEY")) => {
            KeyError::Other("a public key")
        }
        () => KeyError::NoKey,
    }
}

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";
const OPENSSH: &str = "OPENSSH PRIVATE KEY";
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";
const PKCS8: &str = "PRIVATE KEY";
const PKCS1: &str = "RSA PRIVATE KEY";
const SEC1: &str = "EC PRIVATE KEY";
/// What lines of `.pub` files begin with.
const PUBLIC: [&str; 4] = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"];
/// A few seconds of one core; `ssh-keygen` writes 16 or 24.
const MOST_ROUNDS: u32 = 2_000;
/// A few seconds of one core; OpenSSL writes 2,048, OWASP recommends 600,000.
const MOST_ITERATIONS: u32 = 5_000_000;
/// OpenSSL's default is 16 MiB.
const MOST_SCRYPT_BYTES: u64 = 256 << 20;
const MOST_SCRYPT_LANES: u16 = 16;

#[cfg(test)]
mod tests {
    use std::process::Command;

    use tempfile::TempDir;

    use super::*;

    /// A fresh folder in which other programs make keys.
    struct Folder(TempDir);

    impl Folder {
        fn new() -> Self {
            Self(TempDir::new().unwrap())
        }

        /// Runs one line of a shell, which writes the file `key`, and reads that.
        #[track_caller]
        fn make(&self, line: &str) -> Vec<u8> {
            let output = Command::new("sh").args(["-c", line]).current_dir(&self.0).output().unwrap();
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            self.read("key")
        }

        fn read(&self, file: &str) -> Vec<u8> {
            std::fs::read(self.0.path().join(file)).unwrap()
        }

        /// What `ssh-keygen -l` shows of the file `key`.
        fn fingerprint(&self) -> String {
            let shown = Command::new("ssh-keygen").args(["-lf", "key"]).current_dir(&self.0).output().unwrap();
            let shown = String::from_utf8(shown.stdout).unwrap();
            shown.split(' ').nth(1).unwrap().to_owned()
        }
    }

    #[track_caller]
    fn check(file: &[u8], passphrase: Option<&str>, expected: Result<&str, KeyError>) {
        let passphrase = passphrase.map(|text| Secret::new(text.to_owned()));
        let read = read_key(file, passphrase.as_ref());
        let read = read.map(|key| key.public_key().fingerprint(russh::keys::HashAlg::Sha256).to_string());
        assert_eq!(read.as_deref(), expected.as_ref().map(|shown| *shown), "{}", String::from_utf8_lossy(file));
    }

    #[test]
    fn keys_of_all_kinds_and_formats_are_read() {
        for kind in ["-t ed25519", "-t ecdsa -b 256", "-t ecdsa -b 384", "-t ecdsa -b 521", "-t rsa -b 2048"] {
            let folder = Folder::new();
            let key = folder.make(&format!("ssh-keygen -q {kind} -N '' -f key"));
            let shown = folder.fingerprint();
            check(&key, None, Ok(&shown));

            // OpenSSH writes Ed25519 in no other format.
            for format in ["PKCS8", "PEM"].iter().filter(|_| !kind.contains("ed25519")) {
                let converted = folder.make(&format!("ssh-keygen -q -p -P '' -N '' -m {format} -f key"));
                assert!(!String::from_utf8_lossy(&converted).contains("OPENSSH"), "{kind} as {format}");
                check(&converted, None, Ok(&shown));
                check(&[b"\xef\xbb\xbfby hand\r\n", &*converted].concat(), None, Ok(&shown));
            }
        }
        let folder = Folder::new();
        let key = folder.make("openssl genpkey -algorithm ed25519 -out key && chmod 600 key");
        assert!(read_key(&key, None).is_ok_and(|key| key.algorithm() == Algorithm::Ed25519));
    }

    #[test]
    fn an_encrypted_key_opens_with_its_passphrase_alone() {
        for make in [
            "ssh-keygen -q -t ed25519 -N horse -f key",
            "ssh-keygen -q -t rsa -b 2048 -N horse -Z aes256-gcm@openssh.com -f key",
            "ssh-keygen -q -t ecdsa -N horse -m PKCS8 -f key",
            "openssl genpkey -algorithm ed25519 -out open && openssl pkcs8 -topk8 -in open -passout pass:horse -out key",
            "openssl genpkey -algorithm ed25519 -out open && openssl pkcs8 -topk8 -scrypt -in open -passout pass:horse -out key",
        ] {
            let key = Folder::new().make(make);

            assert!(read_key(&key, Some(&Secret::new("horse".to_owned()))).is_ok(), "{make}");
            check(&key, Some("mule"), Err(KeyError::PassphraseWrong));
            check(&key, None, Err(KeyError::PassphraseMissing));
        }
    }

    #[test]
    fn a_passphrase_for_a_key_that_needs_none_is_refused() {
        for make in ["ssh-keygen -q -t ed25519 -N '' -f key", "ssh-keygen -q -t ecdsa -N '' -m PKCS8 -f key"] {
            check(&Folder::new().make(make), Some("horse"), Err(KeyError::PassphraseNotNeeded));
        }
    }

    #[test]
    fn encryption_that_is_too_old_or_too_dear_is_refused_at_once() {
        let traditional = Folder::new().make("ssh-keygen -q -t ecdsa -N horse -m PEM -f key");
        check(&traditional, Some("horse"), Err(KeyError::OldEncryption));

        let folder = Folder::new();
        let key = String::from_utf8(folder.make("ssh-keygen -q -t ed25519 -a 1 -N horse -f key")).unwrap();
        let base64: String = key.lines().filter(|line| !line.starts_with('-')).collect();
        let mut bytes = STANDARD.decode(base64).unwrap();
        // The salt has 16 bytes, and the rounds come after it.
        let options = bytes.windows(6).position(|window| window == b"bcrypt").unwrap() + 6;
        let rounds = options + 4 + 4 + 16;
        assert_eq!(bytes[rounds..rounds + 4], [0, 0, 0, 1]);
        bytes[rounds..rounds + 4].copy_from_slice(&[0xff; 4]);
        let dear = format!("-----BEGIN {OPENSSH}-----\n{}\n-----END {OPENSSH}-----\n", STANDARD.encode(bytes));
        check(dear.as_bytes(), Some("horse"), Err(KeyError::TooCostly));
    }

    #[test]
    fn what_is_no_private_key_is_told_by_what_it_is() {
        let folder = Folder::new();
        let key = folder.make(
            "ssh-keygen -q -t ed25519 -N '' -f key && ssh-keygen -q -s key -I me key.pub && \
             ssh-keygen -e -f key.pub > ssh2 && ssh-keygen -e -m PKCS8 -f key.pub > pkcs8 2> /dev/null || true",
        );
        check(&folder.read("key.pub"), None, Err(KeyError::Other("a public key")));
        check(&folder.read("key-cert.pub"), None, Err(KeyError::Other("a certificate of OpenSSH")));
        check(&folder.read("ssh2"), None, Err(KeyError::Other("a public key")));
        folder.make("openssl req -x509 -newkey ed25519 -noenc -keyout open -subj /CN=a -out key");
        check(&folder.read("key"), None, Err(KeyError::Other("a certificate of TLS")));
        folder.make("openssl pkey -in open -pubout -out key");
        check(&folder.read("key"), None, Err(KeyError::Other("a public key")));
        check(b"PuTTY-User-Key-File-3: ssh-ed25519\r\nEncryption: none\r\n", None, Err(KeyError::Putty));
        check(b"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nAAAA\n", None, Err(KeyError::SshCom));
        check(b" \n", None, Err(KeyError::Empty));
        check(b"hunter2", None, Err(KeyError::NoKey));
        check(&[0x30, 0x82, 0xff], None, Err(KeyError::NoKey));
        check(&[&key[..], &key[..]].concat(), None, Err(KeyError::Several(2)));
        check(&key[..key.len() / 2], None, Err(KeyError::Damaged));
        check(&key[..key.len() - 60], None, Err(KeyError::Damaged));
        let mut flipped = key;
        flipped[100] = if flipped[100] == b'A' { b'B' } else { b'A' };
        check(&flipped, None, Err(KeyError::Damaged));
    }

    #[test]
    fn a_kind_of_key_that_can_not_be_used_is_refused() {
        for make in [
            "openssl genpkey -algorithm ed448 -out key",
            "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1 -out key",
        ] {
            check(&Folder::new().make(make), None, Err(KeyError::Unsupported));
        }
    }

    #[test]
    fn the_bits_of_an_rsa_key_are_counted() {
        for (make, bits) in [
            ("ssh-keygen -q -t rsa -b 1024 -N '' -f key", Some(1024)),
            ("ssh-keygen -q -t rsa -b 2048 -N '' -f key", Some(2048)),
            ("ssh-keygen -q -t ed25519 -N '' -f key", None),
        ] {
            assert_eq!(rsa_bits(&read_key(&Folder::new().make(make), None).unwrap()), bits, "{make}");
        }
    }
}
