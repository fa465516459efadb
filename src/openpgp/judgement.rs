//! Whether a key may be used, and which part of it: the library beneath encrypts to expired, revoked and forged keys alike.

use std::time::{Duration, SystemTime};

use pgp::composed::{SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::packet::{KeyFlags, Signature, SignatureType};
use pgp::ser::Serialize;
use pgp::types::{KeyDetails, PublicParams, Tag};

use super::key_file::KeyFileError;
use crate::clock::rfc3339;

/// What is told of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyFacts {
    /// In upper-case hex, as `gpg --fingerprint` has it, without spaces.
    pub(crate) fingerprint: String,
    /// The name and address that it says it belongs to.
    pub(crate) user: Option<String>,
    /// The earliest of its own end and those of the parts that are used.
    pub(crate) expires_at: Option<SystemTime>,
    /// What is not wrong, but soon may be.
    pub(crate) warnings: Vec<String>,
}

/// What a key is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyPurpose {
    Encrypt,
    Sign,
}

impl KeyPurpose {
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::Sign => "sign",
        }
    }
}

/// A key that may be used.
#[derive(Debug)]
pub(super) struct Judgement {
    pub(super) facts: KeyFacts,
    /// The newest first; one at least.
    pub(super) parts: Vec<JudgedPart>,
    /// Whether its owner's program says that it reads messages of version 2.
    pub(super) reads_v2: bool,
}

/// A part that may be used, and until when: its own end or that of the whole key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JudgedPart {
    pub(super) part: KeyPart,
    pub(super) expires_at: Option<SystemTime>,
}

/// The part of a key that is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyPart {
    Primary,
    /// The place among its subkeys.
    Subkey(usize),
}

/// Below that an RSA key is weak.
const FEW_RSA_BITS: u16 = 2048;
/// Within that somebody should see to it.
const SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Judges a key as of `now`.
///
/// # Errors
/// When it may not be used for this.
pub(super) fn judge(key: &SignedPublicKey, purpose: KeyPurpose, now: SystemTime) -> Result<Judgement, KeyFileError> {
    let name = format!("{:X}", key.fingerprint());
    let primary = Primary { key, name: name.clone() };
    let own = primary.self_signatures()?;
    primary.check_revocation()?;
    if own.first().is_some_and(|newest| is_weak(newest)) {
        return Err(KeyFileError::WeakDigest { key: name });
    }
    let expiry = own.iter().find(|signature| signature.key_expiration_time().is_some());
    let expiry = expiry.and_then(|signature| expires_at(key, signature));
    check_expiry(&name, expiry, now)?;

    let mut reasons = Vec::new();
    let mut parts = Vec::new();
    for (place, subkey) in key.public_subkeys.iter().enumerate() {
        match primary.subkey(subkey, purpose, now) {
            Ok(Some(ends)) => {
                let expires_at = expiry.into_iter().chain(ends).min();
                let part = JudgedPart { part: KeyPart::Subkey(place), expires_at };
                parts.push((subkey.key.created_at().as_secs(), part));
            }
            Ok(None) => {}
            Err(reason) => reasons.push(reason),
        }
    }
    parts.sort_by_key(|&(created, _)| std::cmp::Reverse(created));
    let flagged = own.iter().find(|signature| has_flags(&signature.key_flags())).or(own.first());
    if parts.is_empty() && flagged.is_some_and(|signature| is_for(purpose, signature, key.algorithm())) {
        parts.push((0, JudgedPart { part: KeyPart::Primary, expires_at: expiry }));
    }
    let Some(&(_, chosen)) = parts.first() else {
        let mut of_parts = key.public_subkeys.iter().map(|subkey| subkey.key.algorithm());
        let no_use = if purpose == KeyPurpose::Encrypt && of_parts.any(is_elgamal) {
            KeyFileError::Elgamal { key: name }
        } else {
            KeyFileError::NoUse { key: name, purpose: purpose.verb() }
        };
        return Err(reasons.pop().unwrap_or(no_use));
    };
    let params = match chosen.part {
        KeyPart::Primary => key.public_params(),
        KeyPart::Subkey(place) => {
            key.public_subkeys.get(place).map_or(key.public_params(), |one| one.key.public_params())
        }
    };
    let warnings = warnings(&name, chosen.expires_at, [key.public_params(), params], now);
    let user = key.details.users.first().map(|user| String::from_utf8_lossy(user.id.id()).into_owned());
    let facts = KeyFacts { fingerprint: name, user, expires_at: chosen.expires_at, warnings };
    let reads_v2 = own.iter().find_map(|signature| signature.features()).is_some_and(|features| features.seipd_v2());
    Ok(Judgement { facts, parts: parts.into_iter().map(|(_, part)| part).collect(), reads_v2 })
}

struct Primary<'k> {
    key: &'k SignedPublicKey,
    name: String,
}

impl<'k> Primary<'k> {
    /// Those that say what holds now, the newest first: the last of the key itself, and of each name that it has. Not each says
    /// everything: one that names somebody who may revoke the key says nothing else.
    fn self_signatures(&self) -> Result<Vec<&'k Signature>, KeyFileError> {
        let primary = &self.key.primary_key;
        let direct = self.key.details.direct_signatures.iter();
        let direct = direct.filter(|signature| signature.verify_key(primary).is_ok());
        let of_users = self.key.details.users.iter().filter_map(|user| {
            let is_own =
                |signature: &&Signature| signature.verify_certification(primary, Tag::UserId, &user.id).is_ok();
            let newest = user.signatures.iter().filter(is_own).max_by_key(|signature| made_at(signature));
            // A name that its owner took back says nothing.
            newest.filter(|signature| signature.typ() != Some(SignatureType::CertRevocation))
        });
        // Of two that were made at once the one that ends sooner: a careful reader of both would go by that.
        let order = |signature: &&Signature| {
            let life = signature.key_expiration_time().map_or(u32::MAX, |life| life.as_secs());
            (made_at(signature), std::cmp::Reverse(life))
        };
        let mut all: Vec<_> = direct.chain(of_users).collect();
        all.sort_by_key(|signature| std::cmp::Reverse(order(signature)));
        if all.is_empty() { Err(self.without_self_signature()) } else { Ok(all) }
    }

    /// Some signatures by SHA-1 are not even looked at by the library.
    fn without_self_signature(&self) -> KeyFileError {
        let details = &self.key.details;
        let mut all = details.direct_signatures.iter().chain(details.users.iter().flat_map(|user| &user.signatures));
        let key = self.name.clone();
        if all.any(is_weak) { KeyFileError::WeakDigest { key } } else { KeyFileError::Unbound { key } }
    }

    fn check_revocation(&self) -> Result<(), KeyFileError> {
        let mut revocations = self.key.details.revocation_signatures.iter();
        if revocations.any(|revocation| revocation.verify_key(&self.key.primary_key).is_ok()) {
            return Err(KeyFileError::Revoked { key: self.name.clone() });
        }
        Ok(())
    }

    /// Until when a subkey may be used for this; `None`: it is for something else.
    #[allow(clippy::option_option, reason = "a part that is not for this, and one that never ends")]
    fn subkey(
        &self,
        subkey: &SignedPublicSubKey,
        purpose: KeyPurpose,
        now: SystemTime,
    ) -> Result<Option<Option<SystemTime>>, KeyFileError> {
        let primary = &self.key.primary_key;
        let is_valid = |signature: &&Signature| signature.verify_subkey_binding(primary, &subkey.key).is_ok();
        let is_revocation = |signature: &Signature| signature.typ() == Some(SignatureType::SubkeyRevocation);
        let valid: Vec<&Signature> = subkey.signatures.iter().filter(is_valid).collect();
        let bindings = valid.iter().filter(|signature| !is_revocation(signature));
        let Some(binding) = bindings.max_by_key(|signature| made_at(signature)) else {
            let is_forgeable =
                |signature: &Signature| is_weak(signature) && is_for(purpose, signature, subkey.key.algorithm());
            let key = format!("{:X}", subkey.key.fingerprint());
            let is_weak = subkey.signatures.iter().any(is_forgeable);
            return if is_weak { Err(KeyFileError::WeakDigest { key }) } else { Ok(None) };
        };
        if !is_for(purpose, binding, subkey.key.algorithm()) {
            return Ok(None);
        }
        let name = format!("{:X}", subkey.key.fingerprint());
        if valid.iter().any(|signature| is_revocation(signature)) {
            return Err(KeyFileError::Revoked { key: name });
        }
        if is_weak(binding) {
            return Err(KeyFileError::WeakDigest { key: name });
        }
        // A subkey that signs has to say so itself: else somebody could claim another's for their own.
        if purpose == KeyPurpose::Sign {
            let back = binding.embedded_signature();
            if !back.is_some_and(|back| back.verify_primary_key_binding(&subkey.key, primary).is_ok() && !is_weak(back))
            {
                return Err(KeyFileError::Unbound { key: name });
            }
        }
        let expiry = expires_at(&subkey.key, binding);
        check_expiry(&name, expiry, now)?;
        Ok(Some(expiry))
    }
}

fn made_at(signature: &Signature) -> u32 {
    signature.created().map_or(0, |created| created.as_secs())
}

/// Whether its digest may have been forged.
pub(super) fn is_weak(signature: &Signature) -> bool {
    let strong = [
        HashAlgorithm::Sha224,
        HashAlgorithm::Sha256,
        HashAlgorithm::Sha384,
        HashAlgorithm::Sha512,
        HashAlgorithm::Sha3_256,
        HashAlgorithm::Sha3_512,
    ];
    !signature.hash_alg().is_some_and(|digest| strong.contains(&digest))
}

/// By its flags; old keys have none, and are for what their algorithm can.
fn is_for(purpose: KeyPurpose, binding: &Signature, algorithm: PublicKeyAlgorithm) -> bool {
    use PublicKeyAlgorithm as A;
    let flags = binding.key_flags();
    let has_flags = has_flags(&flags);
    match purpose {
        KeyPurpose::Encrypt => {
            let can = matches!(algorithm, A::RSA | A::RSAEncrypt | A::ECDH | A::X25519 | A::X448);
            can && (flags.encrypt_comms() || flags.encrypt_storage() || !has_flags)
        }
        KeyPurpose::Sign => {
            let can =
                matches!(algorithm, A::RSA | A::RSASign | A::DSA | A::ECDSA | A::EdDSALegacy | A::Ed25519 | A::Ed448);
            can && (flags.sign() || !has_flags)
        }
    }
}

fn is_elgamal(algorithm: PublicKeyAlgorithm) -> bool {
    matches!(algorithm, PublicKeyAlgorithm::Elgamal | PublicKeyAlgorithm::ElgamalEncrypt)
}

fn has_flags(flags: &KeyFlags) -> bool {
    flags.sign() || flags.encrypt_comms() || flags.encrypt_storage() || flags.certify() || flags.authentication()
}

/// Whether it was good for a time that is over (RFC 9580 §5.2.3.18).
pub(super) fn has_expired(signature: &Signature, now: SystemTime) -> bool {
    let life = signature.signature_expiration_time().map(|life| life.as_secs()).filter(|&life| life > 0);
    life.is_some_and(|life| moment(made_at(signature)) + Duration::from_secs(life.into()) <= now)
}

fn moment(seconds: u32) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.into())
}

/// `None`: it never ends.
fn expires_at(key: &impl KeyDetails, signature: &Signature) -> Option<SystemTime> {
    let life = signature.key_expiration_time().map(|life| life.as_secs()).filter(|&life| life > 0)?;
    Some(moment(key.created_at().as_secs()) + Duration::from_secs(life.into()))
}

fn check_expiry(name: &str, expiry: Option<SystemTime>, now: SystemTime) -> Result<(), KeyFileError> {
    match expiry {
        Some(expiry) if expiry <= now => Err(KeyFileError::Expired { key: name.to_owned(), day: rfc3339(expiry) }),
        _ => Ok(()),
    }
}

fn warnings(name: &str, expiry: Option<SystemTime>, params: [&PublicParams; 2], now: SystemTime) -> Vec<String> {
    let soon = expiry.filter(|&expiry| expiry < now + SOON);
    let soon = soon.map(|expiry| format!("the key {name} expires on {}", rfc3339(expiry)));
    let weakest = params.into_iter().filter_map(rsa_bits).min().filter(|&bits| bits < FEW_RSA_BITS);
    let weak =
        weakest.map(|bits| format!("the key {name} is RSA of {bits} bits, which is too few to be safe for long"));
    soon.into_iter().chain(weak).collect()
}

fn rsa_bits(params: &PublicParams) -> Option<u16> {
    let PublicParams::RSA(_) = params else { return None };
    // It is written as a number of bits and so many of them (RFC 9580 §3.2), the modulus first.
    let written = params.to_bytes().ok()?;
    Some(u16::from_be_bytes(*written.first_chunk()?))
}
