//! `gpg_decrypt`: what comes back is an OpenPGP message (RFC 9580), and the app gets what is inside.

use std::path::PathBuf;

use super::transform::Transform;
use super::{Auth, CertificateUse, MethodRow};
use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::{SectionFields, SectionReader, Wrong};
use crate::config::section::{section, words};
use crate::config::value::{At, Size};
use crate::secret::Secret;

pub(super) const METHOD: MethodRow =
    MethodRow { name: "gpg_decrypt", certificate: CertificateUse::Refused, keys: GpgDecryptKeys::properties, read };

/// How bodies are decrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpgDecrypt {
    /// Files of one private key each; at least one.
    pub private_key: Vec<At<PathBuf>>,
    /// Of those that are locked.
    pub passphrase: Option<At<Secret>>,
    /// Files of public keys, one of which must have signed; empty: nobody need.
    pub signers: Vec<At<PathBuf>>,
    /// Up to so many bytes a message whose check stands at its end is held until it is checked.
    pub check_first: usize,
    /// What becomes of longer ones.
    pub beyond: BeyondCheckFirst,
    /// So many bytes come out at most.
    pub max_plaintext: usize,
}

words! {
    /// What becomes of a message that is too long to be checked before its first byte goes on.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum BeyondCheckFirst ("what becomes of a message beyond `check_first`") {
        /// It goes on as it comes, and breaks off if its check is bad.
        "stream" => Stream,
        /// It is refused.
        "refuse" => Refuse,
    }
}

section! {
    struct GpgDecryptKeys {
        /// Files with the private OpenPGP key, or keys, that open it: one path or a list.
        private_key: Vec<At<PathBuf>>,
        /// Of keys that are locked.
        passphrase: Option<At<Secret>> = None,
        /// Files with public OpenPGP keys, one of which must have signed it: one path or a list; by default nobody need.
        signers: Vec<At<PathBuf>> = Vec::new(),
        /// Up to this size a message whose check stands at its end is held and checked before its first byte goes on.
        check_first: usize as Size<0, 1_048_576> = 8 << 20,
        /// What becomes of longer ones.
        beyond: BeyondCheckFirst = BeyondCheckFirst::Stream,
        /// The most that may come out of a message.
        max_plaintext: usize as Size<1, 17_179_869_184> = 10 << 30,
    }
}

fn read(fields: &mut SectionFields<'_>, node: &Node, reader: &mut SectionReader<'_>) -> Result<Option<Auth>, Reported> {
    let GpgDecryptKeys { private_key, passphrase, signers, check_first, beyond, max_plaintext } =
        GpgDecryptKeys::from_fields(fields, reader)?;
    let none =
        |key: &str, list: &[At<PathBuf>]| node.entry(key).filter(|_| list.is_empty()).map(|entry| entry.key.span);
    if let Some(span) = none("private_key", &private_key) {
        let wrong = Wrong::new("`private_key` lists none: nothing could be decrypted");
        return Err(wrong.help("write the path of your private key").report(span, reader.report));
    }
    if let Some(span) = none("signers", &signers) {
        // Whoever writes the key wants signatures: an empty list would let everything through.
        let wrong = Wrong::new("`signers` lists none");
        return Err(wrong
            .help("write the path of the partner's public key, or remove `signers`")
            .report(span, reader.report));
    }
    let written = GpgDecrypt { private_key, passphrase, signers, check_first, beyond, max_plaintext };
    Ok(Some(Auth::Transforms(Transform::Decrypt(Box::new(written)))))
}
