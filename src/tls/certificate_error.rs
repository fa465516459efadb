//! Why files are no certificate with its key, in words for the person who put them there.

use std::path::Path;

use super::foreign::{Foreign, Sought};

/// What is wrong with a file of a certificate, its key or a CA; [`CertificateError::help`] says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error("no private key in this file")]
    NoKey {
        /// What it holds instead, if that can be told.
        found: Option<Foreign>,
    },
    #[error("{0} private keys in this file, where one is expected")]
    SeveralKeys(usize),
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
    #[error("the private key is damaged or of a kind that can't be used")]
    UnsupportedKey,
    #[error("the private key is {0}, which can't be used")]
    UnsupportedKind(&'static str),
    #[error("no certificate in this file")]
    NoCertificate {
        /// What it holds instead, if that can be told.
        found: Option<Foreign>,
    },
    #[error("certificate {number} of this file is damaged")]
    DamagedCertificate {
        /// Counted from 1.
        number: usize,
    },
    #[error("the PEM text is damaged: the section that begins in line {line} {what}")]
    DamagedPem {
        /// Counted from 1.
        line: usize,
        what: &'static str,
    },
    #[error("the line breaks of this file are written as `\\n`")]
    EscapedPem,
    #[error("this is no PKCS#12 file")]
    NoPkcs12 {
        /// What it is instead, if that can be told.
        found: Option<Foreign>,
    },
    #[error("this is no PKCS#12 file that can be read: {0}")]
    UnreadablePkcs12(String),
    #[error("this PKCS#12 file is protected by PBMAC1 (RFC 9579), which can't be checked here")]
    Pbmac1,
    #[error("the certificate of the private key is not in this file")]
    NoCertificateOfKey,
}

impl CertificateError {
    /// What to do about it; `path` is the file, for command lines that can be copied.
    pub(crate) fn help(&self, path: &Path) -> Option<String> {
        let file = path.display();
        Some(match self {
            Self::NoKey { found } => return Some(found.as_ref()?.help(Sought::Key, path)),
            Self::NoCertificate { found } => return Some(found.as_ref()?.help(Sought::Certificate, path)),
            Self::NoPkcs12 { found } => return Some(found.as_ref()?.help(Sought::Pkcs12, path)),
            Self::EscapedPem => {
                format!(r#"write real ones: printf '%b\n' "$(tr -d '"' < {file})" > NEW"#)
            }
            Self::DamagedPem { line, .. } => format!("look at {file}:{line}"),
            Self::SeveralKeys(_) | Self::NoCertificateOfKey => {
                "keep one private key with its own certificate in the file".to_owned()
            }
            Self::PassphraseMissing => "add `passphrase`, say `passphrase: { file: PATH }`".to_owned(),
            Self::PassphraseNotNeeded => "remove `passphrase`, or use the encrypted key".to_owned(),
            Self::PassphraseWrong => {
                "one trailing newline of a passphrase file is dropped; all else counts, spaces too".to_owned()
            }
            Self::OldEncryption | Self::TooCostly => {
                format!("encrypt it anew: openssl pkcs8 -topk8 -v2 aes-256-cbc -in {file} -out NEW")
            }
            Self::UnsupportedKey | Self::UnsupportedKind(_) => {
                "RSA from 2048 bits and EC on P-256 are taken everywhere; P-384, P-521 and Ed25519 can be used where the service \
                 takes them"
                    .to_owned()
            }
            Self::Pbmac1 => format!(
                "export it anew, with an OpenSSL from 3.4 that reads such files: \
                 openssl pkcs12 -in {file} -out all.pem && openssl pkcs12 -export -in all.pem -out NEW"
            ),
            Self::UnreadablePkcs12(_) => format!(
                "export it anew: openssl pkcs12 -legacy -in {file} -out all.pem && openssl pkcs12 -export -in all.pem -out NEW"
            ),
            Self::DamagedCertificate { .. } => return None,
        })
    }
}
