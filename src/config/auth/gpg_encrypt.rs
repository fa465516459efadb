//! `gpg_encrypt`: what is sent is an OpenPGP message (RFC 9580).

use std::path::PathBuf;

use super::transform::Transform;
use super::{Auth, CertificateUse, MethodRow};
use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::{SectionFields, SectionReader, Wrong};
use crate::config::section::{read_section, section, words};
use crate::config::value::At;
use crate::secret::Secret;

pub(super) const METHOD: MethodRow =
    MethodRow { name: "gpg_encrypt", certificate: CertificateUse::Refused, keys: GpgEncryptKeys::properties, read };

/// How bodies are encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpgEncrypt {
    /// Files of public keys; at least one.
    pub recipients: Vec<At<PathBuf>>,
    /// Whose signature is inside.
    pub sign_with: Option<SignWith>,
    /// In ASCII, or binary.
    pub armor: bool,
    /// Before it is encrypted.
    pub compression: PgpCompression,
    /// Which version of encrypted data.
    pub format: PgpFormat,
    /// Whether the message names none of its recipients.
    pub hide_recipients: bool,
    /// What the partner's files have at the end of their names, and the app's do not.
    pub name_suffix: Option<At<String>>,
}

section! {
    /// The key that signs what is encrypted.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SignWith {
        /// File with one private OpenPGP key.
        pub private_key: At<PathBuf>,
        /// Of a key that is locked.
        pub passphrase: Option<At<Secret>> = None,
    }
}

read_section!(SignWith);

words! {
    /// What is done with a body before it is encrypted.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum PgpCompression ("a compression of OpenPGP") {
        /// Nothing.
        "none" => None,
        /// Deflate (RFC 1951).
        "zip" => Zip,
        /// The same with a checksum (RFC 1950).
        "zlib" => Zlib,
    }
}

words! {
    /// The version of the packet that has the encrypted data (RFC 9580 §5.13).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum PgpFormat ("a version of encrypted data") {
        /// Version 2 if the key of every recipient says that it is read, else version 1.
        "auto" => Auto,
        /// What every program reads.
        "v1" => V1,
        /// What is checked as it goes.
        "v2" => V2,
    }
}

section! {
    struct GpgEncryptKeys {
        /// Files with the public OpenPGP keys of those who can read it: one path or a list.
        recipients: Vec<At<PathBuf>>,
        /// The private key that signs it: `{private_key, passphrase}`.
        sign_with: Option<SignWith> = None,
        /// Whether it is ASCII, and not binary.
        armor: bool = false,
        /// What is done before it is encrypted.
        compression: PgpCompression = PgpCompression::None,
        /// Which version of encrypted data; `auto`: 2 if every key says that it is read.
        format: PgpFormat = PgpFormat::Auto,
        /// Whether the message names none of its recipients.
        hide_recipients: bool = false,
        /// What encrypted files have at the end of their names at a server of files; apps name them without it.
        name_suffix: Option<At<String>> = None,
    }
}

fn read(fields: &mut SectionFields<'_>, node: &Node, reader: &mut SectionReader<'_>) -> Result<Option<Auth>, Reported> {
    let GpgEncryptKeys { recipients, sign_with, armor, compression, format, hide_recipients, name_suffix } =
        GpgEncryptKeys::from_fields(fields, reader)?;
    if recipients.is_empty() {
        let span = node.entry("recipients").map_or(node.span, |entry| entry.key.span);
        let wrong = Wrong::new("`recipients` lists none: nobody could read what is encrypted");
        return Err(wrong.help("write the path of the partner's public key").report(span, reader.report));
    }
    let is_odd = |suffix: &str| suffix.is_empty() || suffix.len() > 64 || suffix.contains(['/', '\r', '\n', '\0']);
    if let Some(suffix) = name_suffix.as_ref().filter(|suffix| is_odd(&suffix.value)) {
        let wrong =
            Wrong::new("this is no end of a file's name").help("write up to 64 characters without `/`, as `.pgp`");
        return Err(wrong.report(suffix.span, reader.report));
    }
    let written = GpgEncrypt { recipients, sign_with, armor, compression, format, hide_recipients, name_suffix };
    Ok(Some(Auth::Transforms(Transform::Encrypt(Box::new(written)))))
}
