//! A file with OpenPGP keys: binary or in ASCII armor, one key or several.

use std::io::{Cursor, Read};

use pgp::armor::{Dearmor, DearmorOptions};
use pgp::composed::{Deserializable, SignedPublicKey, SignedSecretKey};
use zeroize::Zeroizing;

/// What is wrong with a file of keys, or with a key in it; [`KeyFileError::help`] says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyFileError {
    #[error("this is no OpenPGP key: the file {0}")]
    NoKey(&'static str),
    #[error("this is a private key, where the public key of somebody else is expected")]
    PrivateKey,
    #[error("this is a public key, where a private key is expected")]
    PublicKey,
    #[error("the OpenPGP key is damaged or of a kind that can't be read")]
    Damaged,
    #[error("{0} private keys in this file, where one is expected")]
    SeveralKeys(usize),
    #[error("the private key is locked, and there is no passphrase")]
    PassphraseMissing,
    #[error("the passphrase is wrong")]
    PassphraseWrong,
    #[error("there is a passphrase, but the private key is not locked")]
    PassphraseNotNeeded,
    #[error("the key {key} has no private part to {purpose} with in this file")]
    NoPrivatePart { key: String, purpose: &'static str },
    #[error("the key {key} expired on {day}")]
    Expired { key: String, day: String },
    #[error("the key {key} has been revoked by its owner")]
    Revoked { key: String },
    #[error("the key {key} is bound by SHA-1 or an older digest, which can be forged")]
    WeakDigest { key: String },
    #[error("the key {key} has no valid signature of its own: nobody can tell what it is for")]
    Unbound { key: String },
    #[error("the key {key} has no part that may be used to {purpose}")]
    NoUse { key: String, purpose: &'static str },
    #[error("the key {key} encrypts with ElGamal, which is not spoken here")]
    Elgamal { key: String },
}

impl KeyFileError {
    /// What to do about it.
    pub(crate) fn help(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoKey(_) | Self::Damaged => {
                "export it anew: `gpg --armor --export KEY`, or `--export-secret-keys` for a private one"
            }
            Self::PrivateKey => {
                "ask the partner for the public key, and never for the private one; of a key of your own: `gpg --armor --export KEY`"
            }
            Self::PublicKey => "export it by `gpg --armor --export-secret-keys KEY`",
            Self::SeveralKeys(_) => "put each into a file of its own",
            Self::PassphraseMissing => "add `passphrase: { env: NAME }` or `{ file: PATH }`",
            Self::PassphraseWrong => "check where it comes from; `gpg --import` of the file asks for the same one",
            Self::PassphraseNotNeeded => "remove `passphrase`",
            Self::NoPrivatePart { .. } => {
                "export it on the machine that has it, by `gpg --armor --export-secret-keys KEY`"
            }
            Self::Expired { .. } => "its owner can renew it (`gpg --quick-set-expire`) and export it anew",
            Self::Revoked { .. } => "ask its owner for the new one",
            Self::WeakDigest { .. } => {
                "its owner can sign it anew: gpg 2.2 does so with `--quick-set-expire`, then export it again"
            }
            Self::Unbound { .. } | Self::NoUse { .. } => "ask its owner for one that is for this, or export it anew",
            Self::Elgamal { .. } => "ask its owner for one of RSA or Curve25519",
        })
    }
}

/// The public keys of a file.
pub(super) fn public_keys(bytes: &[u8]) -> Result<Vec<SignedPublicKey>, KeyFileError> {
    keys(bytes, KeyFileKind::Public)
}

/// The private keys of a file.
pub(super) fn private_keys(bytes: &[u8]) -> Result<Vec<SignedSecretKey>, KeyFileError> {
    keys(bytes, KeyFileKind::Private)
}

fn keys<K: Deserializable>(bytes: &[u8], wanted: KeyFileKind) -> Result<Vec<K>, KeyFileError> {
    let mut keys = Vec::new();
    for block in blocks(bytes)? {
        match block.kind {
            kind if kind == wanted => keys.extend(block.read()?),
            KeyFileKind::Private => return Err(KeyFileError::PrivateKey),
            KeyFileKind::Public => return Err(KeyFileError::PublicKey),
        }
    }
    Ok(keys)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyFileKind {
    Public,
    Private,
}

/// A block of armor, or a whole file without any.
struct Block<'f> {
    kind: KeyFileKind,
    bytes: &'f [u8],
}

impl Block<'_> {
    fn read<K: Deserializable>(&self) -> Result<Vec<K>, KeyFileError> {
        let is_armored = self.bytes.first().is_some_and(|first| first & 0x80 == 0);
        let read = || -> pgp::errors::Result<Vec<K>> {
            let mut decoded = Zeroizing::new(Vec::new());
            let mut packets = self.bytes;
            if is_armored {
                let options = DearmorOptions::new().set_limit(self.bytes.len());
                Dearmor::with_options(Cursor::new(self.bytes), options).read_to_end(&mut decoded)?;
                packets = &decoded;
            }
            K::from_bytes_many(Cursor::new(packets))?.collect()
        };
        match read() {
            Ok(keys) if !keys.is_empty() => Ok(keys),
            _ => Err(KeyFileError::Damaged),
        }
    }
}

/// What a file is made of; text around armor is for people.
fn blocks(bytes: &[u8]) -> Result<Vec<Block<'_>>, KeyFileError> {
    let Some(first) = bytes.first() else { return Err(KeyFileError::NoKey("is empty")) };
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if first & 0x80 != 0 && bytes.first() == Some(first) {
        let tag = if first & 0x40 != 0 { first & 0x3f } else { (first & 0x3c) >> 2 };
        return Ok(vec![Block { kind: kind_of_tag(tag)?, bytes }]);
    }
    let starts = memchr::memmem::find_iter(bytes, BEGIN).collect::<Vec<_>>();
    if starts.is_empty() {
        return Err(KeyFileError::NoKey("has no `-----BEGIN PGP PUBLIC KEY BLOCK-----` or the like"));
    }
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    let mut blocks = Vec::new();
    for (start, end) in starts.iter().zip(ends) {
        let bytes = bytes.get(*start..end).unwrap_or_default();
        blocks.push(Block { kind: kind_of_label(bytes.get(BEGIN.len()..).unwrap_or_default())?, bytes });
    }
    Ok(blocks)
}

const BEGIN: &[u8] = b"-----BEGIN ";

fn kind_of_tag(tag: u8) -> Result<KeyFileKind, KeyFileError> {
    match tag {
        5 => Ok(KeyFileKind::Private),
        6 => Ok(KeyFileKind::Public),
        1 | 3 | 8 | 9 | 18 | 20 => Err(KeyFileError::NoKey("is an OpenPGP message")),
        2 => Err(KeyFileError::NoKey("is an OpenPGP signature")),
        _ => Err(KeyFileError::NoKey("begins with no packet of a key")),
    }
}

fn kind_of_label(label: &[u8]) -> Result<KeyFileKind, KeyFileError> {
    let begins = |with: &str| label.starts_with(with.as_bytes());
    let other = match () {
        () if begins("PGP PUBLIC KEY BLOCK-----") => return Ok(KeyFileKind::Public),
        () if begins("PGP PRIVATE KEY BLOCK-----") => return Ok(KeyFileKind::Private),
        () if begins("PGP MESSAGE") => "is an OpenPGP message",
        () if begins("PGP SIGNATURE") || begins("PGP SIGNED") => "is an OpenPGP signature",
        () if begins("OPENSSH") => "is an SSH key",
        () if begins("CERTIFICATE") => "is an X.509 certificate",
        () => "has PEM of another kind",
    };
    Err(KeyFileError::NoKey(other))
}
