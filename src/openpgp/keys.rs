//! Keys that may be used: a partner's to encrypt to or to have signed, and our own.

use std::fmt;
use std::time::SystemTime;

use pgp::composed::{
    EncryptionSeipdV2, Message, MessageBuilder, PlainSessionKey, RawSessionKey, SignedPublicKey, SignedSecretKey,
};
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::packet::{PublicKey, PublicKeyEncryptedSessionKey, PublicSubkey};
use pgp::types::{
    DecryptionKey, EskType, KeyId, Password, PkeskVersion, S2kParams, SecretParams, SigningKey, StringToKey,
    VerifyingKey,
};
use rand_core::OsRng;

use super::decrypt::Incoming;
use super::judgement::{JudgedPart, Judgement, KeyFacts, KeyPart, KeyPurpose, has_expired, is_weak, judge};
use super::key_file::{self, KeyFileError};
use crate::secret::Secret;

/// One who can read what is encrypted.
#[derive(Debug)]
pub(crate) struct Recipient {
    facts: KeyFacts,
    part: PublicPart,
    reads_v2: bool,
}

/// One whose signature is good.
#[derive(Debug)]
pub(crate) struct SignerKey {
    facts: KeyFacts,
    parts: Vec<SignerPart>,
}

#[derive(Debug)]
struct SignerPart {
    key: PublicPart,
    expires_at: Option<SystemTime>,
}

/// A private key, unlocked. Its parts are wiped when they are dropped.
pub(crate) struct UnlockedKey {
    facts: KeyFacts,
    secret: SignedSecretKey,
    /// The one that signs; of a key that decrypts all do.
    part: KeyPart,
}

/// What a private key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnlockedKeyUse {
    Decrypt,
    Sign,
}

#[derive(Debug)]
enum PublicPart {
    Primary(PublicKey),
    Subkey(PublicSubkey),
}

impl Recipient {
    /// The keys of a file, each of which can be encrypted to.
    ///
    /// # Errors
    /// When it is no file of public keys, or one of them may not be used.
    pub(crate) fn read(file: &[u8], now: SystemTime) -> Result<Vec<Self>, KeyFileError> {
        let read = |key: SignedPublicKey| {
            let Judgement { facts, parts, reads_v2 } = judge(&key, KeyPurpose::Encrypt, now)?;
            let newest = parts.first().map_or(KeyPart::Primary, |newest| newest.part);
            Ok(Self { facts, part: public_part(&key, newest), reads_v2 })
        };
        key_file::public_keys(file)?.into_iter().map(read).collect()
    }

    pub(crate) fn facts(&self) -> &KeyFacts {
        &self.facts
    }

    /// Whether its owner's program says that it reads messages of version 2.
    pub(super) fn reads_v2(&self) -> bool {
        self.reads_v2
    }

    /// The packet with the key of a message of version 1.
    pub(super) fn session_key(
        &self,
        cipher: SymmetricKeyAlgorithm,
        session_key: &RawSessionKey,
        is_hidden: bool,
    ) -> pgp::errors::Result<PublicKeyEncryptedSessionKey> {
        let mut packet = match &self.part {
            PublicPart::Primary(key) => {
                PublicKeyEncryptedSessionKey::from_session_key_v3(OsRng, session_key, cipher, key)
            }
            PublicPart::Subkey(key) => {
                PublicKeyEncryptedSessionKey::from_session_key_v3(OsRng, session_key, cipher, key)
            }
        }?;
        if let PublicKeyEncryptedSessionKey::V3 { id, .. } = &mut packet
            && is_hidden
        {
            *id = KeyId::WILDCARD;
        }
        Ok(packet)
    }

    pub(super) fn encrypt_v2(
        &self,
        builder: &mut MessageBuilder<'_, Incoming, EncryptionSeipdV2>,
        is_hidden: bool,
    ) -> pgp::errors::Result<()> {
        match (&self.part, is_hidden) {
            (PublicPart::Primary(key), false) => builder.encrypt_to_key(OsRng, key),
            (PublicPart::Primary(key), true) => builder.encrypt_to_key_anonymous(OsRng, key),
            (PublicPart::Subkey(key), false) => builder.encrypt_to_key(OsRng, key),
            (PublicPart::Subkey(key), true) => builder.encrypt_to_key_anonymous(OsRng, key),
        }
        .map(drop)
    }
}

impl SignerKey {
    /// The keys of a file, each of which signs.
    ///
    /// # Errors
    /// When it is no file of public keys, or one of them may not be used.
    pub(crate) fn read(file: &[u8], now: SystemTime) -> Result<Vec<Self>, KeyFileError> {
        let read = |key: SignedPublicKey| {
            let Judgement { facts, mut parts, .. } = judge(&key, KeyPurpose::Sign, now)?;
            // Who has a subkey for it may sign with the key itself all the same.
            if !parts.iter().any(|part| part.part == KeyPart::Primary) {
                parts.extend(judge_primary(&key, now));
            }
            let part = |JudgedPart { part, expires_at }| SignerPart { key: public_part(&key, part), expires_at };
            Ok(Self { facts, parts: parts.into_iter().map(part).collect() })
        };
        key_file::public_keys(file)?.into_iter().map(read).collect()
    }

    pub(crate) fn facts(&self) -> &KeyFacts {
        &self.facts
    }

    /// Whether the signature at this place of a message that was read to its end is a good one of this key, as of `now`.
    pub(super) fn has_signed(&self, message: &Message<'_>, index: usize, now: SystemTime) -> bool {
        self.parts.iter().filter(|part| part.expires_at.is_none_or(|end| end > now)).any(|part| {
            let key: &dyn VerifyingKey = match &part.key {
                PublicPart::Primary(key) => key,
                PublicPart::Subkey(key) => key,
            };
            let signature = message.verify_nested_explicit(index, key);
            signature.is_ok_and(|signature| !is_weak(signature) && !has_expired(signature, now))
        })
    }
}

impl UnlockedKey {
    /// The key of a file, unlocked.
    ///
    /// # Errors
    /// When it is no file with one private key, it can't be unlocked, or it may not be used for this.
    pub(crate) fn read(
        file: &[u8],
        passphrase: Option<&Secret>,
        purpose: UnlockedKeyUse,
        now: SystemTime,
    ) -> Result<Self, KeyFileError> {
        let mut keys = key_file::private_keys(file)?;
        let count = keys.len();
        let (Some(mut secret), 1) = (keys.pop(), count) else { return Err(KeyFileError::SeveralKeys(count)) };
        let is_locked = is_locked(secret.primary_key.secret_params())
            || secret.secret_subkeys.iter().any(|subkey| is_locked(subkey.key.secret_params()));
        if passphrase.is_some() && !is_locked {
            return Err(KeyFileError::PassphraseNotNeeded);
        }
        let judged_for = match purpose {
            UnlockedKeyUse::Decrypt => KeyPurpose::Encrypt,
            UnlockedKeyUse::Sign => KeyPurpose::Sign,
        };
        // The subkeys come in this order in both.
        secret.public_subkeys.clear();
        let Judgement { facts, parts, .. } = judge(&secret.to_public_key(), judged_for, now)?;
        unlock(&mut secret, passphrase)?;
        let has = |part: &KeyPart| match part {
            KeyPart::Primary => !secret.primary_key.secret_params().is_encrypted(),
            KeyPart::Subkey(place) => {
                secret.secret_subkeys.get(*place).is_some_and(|subkey| !subkey.key.secret_params().is_encrypted())
            }
        };
        let Some(part) = parts.into_iter().map(|part| part.part).find(has) else {
            let verb = if purpose == UnlockedKeyUse::Decrypt { "decrypt" } else { "sign" };
            return Err(KeyFileError::NoPrivatePart { key: facts.fingerprint, purpose: verb });
        };
        Ok(Self { facts, secret, part })
    }

    pub(crate) fn facts(&self) -> &KeyFacts {
        &self.facts
    }

    #[cfg(any(test, feature = "bench"))]
    pub(super) fn secret(&self) -> &SignedSecretKey {
        &self.secret
    }

    /// What is in one of a message's packets with its key, if that is for a part of this one.
    pub(super) fn session_key(&self, packet: &PublicKeyEncryptedSessionKey) -> Option<PlainSessionKey> {
        let kind = match packet.version() {
            PkeskVersion::V3 => EskType::V3_4,
            PkeskVersion::V6 => EskType::V6,
            PkeskVersion::Other(_) => return None,
        };
        let values = packet.values().ok()?;
        let open = |key: &dyn DecryptionKey| key.decrypt(&Password::empty(), values, kind).ok()?.ok();
        let primary = &self.secret.primary_key;
        let primary = packet.match_identity(primary.public_key()).then(|| open(primary)).flatten();
        primary.or_else(|| {
            let mut subkeys = self.secret.secret_subkeys.iter().map(|subkey| &subkey.key);
            subkeys.find_map(|key| packet.match_identity(key.public_key()).then(|| open(key)).flatten())
        })
    }

    pub(super) fn signing(&self) -> &dyn SigningKey {
        match self.part {
            KeyPart::Primary => &self.secret.primary_key,
            KeyPart::Subkey(place) => {
                self.secret.secret_subkeys.get(place).map_or(&self.secret.primary_key, |subkey| &subkey.key as _)
            }
        }
    }
}

/// Leaves out all that is private.
impl fmt::Debug for UnlockedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnlockedKey").field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// A subkey that does not sign says nothing of the key itself.
fn judge_primary(key: &SignedPublicKey, now: SystemTime) -> Option<JudgedPart> {
    let alone = SignedPublicKey { public_subkeys: Vec::new(), ..key.clone() };
    judge(&alone, KeyPurpose::Sign, now).ok()?.parts.pop()
}

fn public_part(key: &SignedPublicKey, part: KeyPart) -> PublicPart {
    let subkey = match part {
        KeyPart::Primary => None,
        KeyPart::Subkey(place) => key.public_subkeys.get(place),
    };
    subkey.map_or_else(|| PublicPart::Primary(key.primary_key.clone()), |subkey| PublicPart::Subkey(subkey.key.clone()))
}

/// Unlocks all that can be, for good: a passphrase is slow on purpose, and not to be asked for with each message. What stays
/// locked after that is only named in the file.
fn unlock(secret: &mut SignedSecretKey, passphrase: Option<&Secret>) -> Result<(), KeyFileError> {
    let password = passphrase.map(|passphrase| Password::from(passphrase.expose()));
    let open = |is_locked: bool, open: &mut dyn FnMut(&Password) -> pgp::errors::Result<()>| match &password {
        _ if !is_locked => Ok(()),
        None => Err(KeyFileError::PassphraseMissing),
        Some(password) => open(password).map_err(|_| KeyFileError::PassphraseWrong),
    };
    let primary = &mut secret.primary_key;
    open(is_locked(primary.secret_params()), &mut |password| primary.remove_password(password))?;
    for subkey in &mut secret.secret_subkeys {
        let key = &mut subkey.key;
        open(is_locked(key.secret_params()), &mut |password| key.remove_password(password))?;
    }
    Ok(())
}

/// Whether there is something to unlock. Where a key is kept elsewhere (on a card, or off this machine), its file has a
/// placeholder of gpg's, which looks as if it were locked.
fn is_locked(params: &SecretParams) -> bool {
    let SecretParams::Encrypted(locked) = params else { return false };
    !matches!(
        locked.string_to_key_params(),
        S2kParams::Cfb { s2k: StringToKey::Private { .. }, .. }
            | S2kParams::MalleableCfb { s2k: StringToKey::Private { .. }, .. }
    )
}
