//! From `gpg_encrypt` and `gpg_decrypt` of a service to what makes and reads its messages.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use crate::config::auth::{BeyondCheckFirst, GpgDecrypt, GpgEncrypt, PgpCompression, PgpFormat, SignWith, Transform};
use crate::config::{self, At, Auth, Inputs, Report};
use crate::digest::Digest;
use crate::openpgp::{
    BeyondCheck, Compression, Decryptor, DecryptorOptions, Encryptor, EncryptorOptions, KeyFacts, KeyFileError,
    MessageFormat, Recipient, SignerKey, UnlockedKey, UnlockedKeyUse,
};
use crate::secret::Secret;

/// What becomes of the bodies of a service.
#[derive(Debug)]
pub(crate) struct Transforms {
    /// Of what is sent.
    pub(crate) encryptor: Option<Arc<Encryptor>>,
    /// Of what comes back.
    pub(crate) decryptor: Option<Arc<Decryptor>>,
    /// SHA-256 over all files that made them, and all that opened these.
    pub(super) fingerprint: [u8; 32],
}

impl Transforms {
    /// Reads the files of the methods. `Some(None)`: it has none of them, or one of them lacks a secret, so that it gets no
    /// requests.
    ///
    /// `None`: what is wrong has been reported, or no secrets are read.
    #[allow(clippy::option_option, reason = "a service without any, and one that can't be made")]
    pub(super) fn compile(
        service: &config::ServiceConfig,
        inputs: &Inputs,
        report: &mut Report,
    ) -> Option<Option<Box<Self>>> {
        let written = service.auth.iter().filter_map(|method| match &method.value {
            Auth::Transforms(transform) => Some(transform),
            _ => None,
        });
        let written: Vec<&Transform> = written.collect();
        if written.is_empty() {
            return Some(None);
        }
        if !inputs.reads_secrets() {
            return None;
        }
        let mut keys = KeyReader { inputs, report, now: SystemTime::now(), digest: Digest::new(), is_wrong: false };
        let mut transforms = Self { encryptor: None, decryptor: None, fingerprint: [0; 32] };
        for transform in written {
            match transform {
                Transform::Encrypt(written) => transforms.encryptor = Some(Arc::new(keys.encryptor(written))),
                Transform::Decrypt(written) => transforms.decryptor = Some(Arc::new(keys.decryptor(written))),
            }
        }
        if keys.is_wrong {
            return None;
        }
        transforms.fingerprint = keys.digest.finish();
        Some(Some(Box::new(transforms)))
    }

    /// All keys that are used, for those who see to it that they are renewed.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &KeyFacts> {
        let recipients = self.encryptor.iter().flat_map(|encryptor| {
            let own = encryptor.sign_with.iter().map(|key| key.facts());
            encryptor.recipients.iter().map(|recipient| recipient.facts()).chain(own)
        });
        let own = self.decryptor.iter().flat_map(|decryptor| {
            let signers = decryptor.signers.iter().map(|signer| signer.facts());
            decryptor.keys.iter().map(|key| key.facts()).chain(signers)
        });
        recipients.chain(own)
    }
}

/// Reads files of keys. All of them are read before any is given up: a user wants to hear of every problem at once.
struct KeyReader<'r> {
    inputs: &'r Inputs,
    report: &'r mut Report,
    now: SystemTime,
    digest: Digest,
    is_wrong: bool,
}

impl KeyReader<'_> {
    fn encryptor(&mut self, written: &GpgEncrypt) -> Encryptor {
        let files = written.recipients.iter();
        let recipients = files.flat_map(|file| self.public(file, Recipient::read, Recipient::facts)).collect();
        let sign_with = written.sign_with.as_ref().and_then(|written| self.signing(written));
        let options = EncryptorOptions {
            armor: written.armor,
            compression: match written.compression {
                PgpCompression::None => Compression::None,
                PgpCompression::Zip => Compression::Zip,
                PgpCompression::Zlib => Compression::Zlib,
            },
            format: match written.format {
                PgpFormat::Auto => MessageFormat::Auto,
                PgpFormat::V1 => MessageFormat::V1,
                PgpFormat::V2 => MessageFormat::V2,
            },
            hide_recipients: written.hide_recipients,
        };
        Encryptor { recipients, sign_with, options }
    }

    fn decryptor(&mut self, written: &GpgDecrypt) -> Decryptor {
        let passphrase = written.passphrase.as_ref();
        let is_lone = written.private_key.len() == 1;
        let mut is_needed = false;
        let mut keys = Vec::new();
        for file in &written.private_key {
            match self.own(file, passphrase, UnlockedKeyUse::Decrypt, is_lone) {
                Some((key, was_locked)) => {
                    is_needed |= was_locked;
                    keys.push(Arc::new(key));
                }
                // Whatever is wrong with it, the passphrase may be for it.
                None => is_needed = true,
            }
        }
        if let Some(passphrase) = passphrase.filter(|_| !is_needed && !is_lone) {
            self.refuse_at(passphrase.span, "none of the private keys is locked: there is nothing to open with this");
        }
        let signers = written.signers.iter().flat_map(|file| self.public(file, SignerKey::read, SignerKey::facts));
        let signers = signers.collect();
        let options = DecryptorOptions {
            check_first: written.check_first as u64,
            beyond: match written.beyond {
                BeyondCheckFirst::Stream => BeyondCheck::Stream,
                BeyondCheckFirst::Refuse => BeyondCheck::Refuse,
            },
            max_plaintext: written.max_plaintext as u64,
        };
        Decryptor { keys, signers, options }
    }

    fn signing(&mut self, written: &SignWith) -> Option<Arc<UnlockedKey>> {
        let (key, _) = self.own(&written.private_key, written.passphrase.as_ref(), UnlockedKeyUse::Sign, true)?;
        Some(Arc::new(key))
    }

    /// The keys of a file of others' keys.
    fn public<K>(
        &mut self,
        file: &At<PathBuf>,
        read: fn(&[u8], SystemTime) -> Result<Vec<K>, KeyFileError>,
        facts: fn(&K) -> &KeyFacts,
    ) -> Vec<Arc<K>> {
        let Some(bytes) = self.inputs.read(&file.value, file.span, self.report) else {
            self.is_wrong = true;
            return Vec::new();
        };
        self.digest.field(&bytes);
        match read(&bytes, self.now) {
            Ok(keys) => {
                keys.iter().for_each(|key| self.warn(file, facts(key)));
                keys.into_iter().map(Arc::new).collect()
            }
            Err(error) => {
                self.refuse(file, None, &error);
                Vec::new()
            }
        }
    }

    /// A key of our own, and whether it was locked.
    fn own(
        &mut self,
        file: &At<PathBuf>,
        passphrase: Option<&At<Secret>>,
        purpose: UnlockedKeyUse,
        is_lone: bool,
    ) -> Option<(UnlockedKey, bool)> {
        let Some(bytes) = self.inputs.read_secret(&file.value, file.span, self.report) else {
            self.is_wrong = true;
            return None;
        };
        self.digest.field(&bytes);
        self.digest.list(passphrase.iter().map(|passphrase| passphrase.value.expose()));
        let given = passphrase.map(|passphrase| &passphrase.value);
        let (read, was_locked) = match UnlockedKey::read(&bytes, given, purpose, self.now) {
            // Of several keys some may be locked and others not.
            Err(KeyFileError::PassphraseNotNeeded) if !is_lone => {
                (UnlockedKey::read(&bytes, None, purpose, self.now), false)
            }
            read => (read, given.is_some()),
        };
        match read {
            Ok(key) => {
                self.warn(file, key.facts());
                Some((key, was_locked))
            }
            Err(error) => {
                self.refuse(file, passphrase, &error);
                None
            }
        }
    }

    fn warn(&mut self, file: &At<PathBuf>, facts: &KeyFacts) {
        for warning in &facts.warnings {
            let path = file.value.display();
            self.report.warning(file.span, format!("`{path}`: {warning}")).help("ask its owner for a newer one");
        }
    }

    fn refuse(&mut self, file: &At<PathBuf>, passphrase: Option<&At<Secret>>, error: &KeyFileError) {
        self.is_wrong = true;
        let is_of_passphrase = matches!(error, KeyFileError::PassphraseWrong | KeyFileError::PassphraseNotNeeded);
        let span = passphrase.filter(|_| is_of_passphrase).map_or(file.span, |passphrase| passphrase.span);
        let said = self.report.error(span, format!("`{}`: {error}", file.value.display()));
        if let Some(help) = error.help() {
            said.help(help);
        }
    }

    fn refuse_at(&mut self, span: config::Span, what: &str) {
        self.is_wrong = true;
        self.report.error(span, what).help("remove `passphrase`");
    }
}
