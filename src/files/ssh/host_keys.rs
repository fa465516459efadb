//! The keys that a server is known by.

use std::sync::Arc;

use aws_lc_rs::hmac;
use russh::keys::ssh_key::known_hosts::{Entry, HostPatterns, Marker};
use russh::keys::{Algorithm, HashAlg, PublicKey};

use super::error::Mistrust;
use crate::digest::Digest;

/// Which keys a server may show.
#[derive(Clone)]
pub(crate) struct HostKeys(Arc<Known>);

/// A line of a `known_hosts` file that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is no entry of a `known_hosts` file")]
pub(crate) struct KnownHostsError {
    /// Counted from 1.
    pub(crate) line: usize,
}

enum Known {
    /// `SHA256:…` of each.
    Pinned(Vec<String>),
    /// Of a file in OpenSSH's form, those that are for this host.
    Listed { keys: Vec<PublicKey>, revoked: Vec<PublicKey> },
}

impl HostKeys {
    /// The key with one of these fingerprints, as `ssh-keygen -l` shows them.
    pub(crate) fn pinned(fingerprints: Vec<String>) -> Self {
        Self(Arc::new(Known::Pinned(fingerprints)))
    }

    /// What the text of a `known_hosts` file says of this host.
    ///
    /// # Errors
    /// When a line is neither an entry nor a comment.
    pub(crate) fn listed(text: &str, host: &str, port: u16) -> Result<Self, KnownHostsError> {
        let name = known_name(host, port);
        let (mut keys, mut revoked) = (Vec::new(), Vec::new());
        for (line, text) in text.lines().enumerate() {
            // OpenSSH takes any blanks between words, and the library one space.
            let words = text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
            if words.is_empty() || words.starts_with('#') {
                continue;
            }
            let entry: Entry = words.parse().map_err(|_| KnownHostsError { line: line + 1 })?;
            if !matches(entry.host_patterns(), &name) {
                continue;
            }
            match entry.marker() {
                None => keys.push(entry.public_key().clone()),
                Some(Marker::Revoked) => revoked.push(entry.public_key().clone()),
                // Certificates of servers are not asked for.
                Some(Marker::CertAuthority) => {}
            }
        }
        Ok(Self(Arc::new(Known::Listed { keys, revoked })))
    }

    /// Puts in all that decides whom they trust.
    pub(crate) fn digest(&self, digest: &mut Digest) {
        let of = |keys: &[PublicKey]| keys.iter().map(|key| key.fingerprint(HashAlg::Sha256).to_string()).collect();
        let (pinned, listed, revoked): (&[String], Vec<String>, Vec<String>) = match &*self.0 {
            Known::Pinned(fingerprints) => (fingerprints, Vec::new(), Vec::new()),
            Known::Listed { keys, revoked } => (&[], of(keys), of(revoked)),
        };
        digest.list(pinned.iter());
        digest.list(listed.iter());
        digest.list(revoked.iter());
    }

    /// There is none: every server would be turned away.
    pub(crate) fn is_empty(&self) -> bool {
        match &*self.0 {
            Known::Pinned(fingerprints) => fingerprints.is_empty(),
            Known::Listed { keys, .. } => keys.is_empty(),
        }
    }

    /// Whether there is a key of this kind. Of a fingerprint nobody knows.
    pub(super) fn have(&self, algorithm: &Algorithm) -> bool {
        match &*self.0 {
            Known::Pinned(_) => false,
            Known::Listed { keys, .. } => keys.iter().any(|key| is_kind(key, algorithm)),
        }
    }

    pub(super) fn judge(&self, shown: &PublicKey) -> Result<(), Mistrust> {
        let fingerprint = shown.fingerprint(HashAlg::Sha256).to_string();
        let mistrust = |revoked, same_kind| Mistrust {
            fingerprint: fingerprint.clone(),
            kind: shown.algorithm().to_string(),
            revoked,
            same_kind,
        };
        match &*self.0 {
            Known::Pinned(fingerprints) if fingerprints.contains(&fingerprint) => Ok(()),
            Known::Pinned(_) => Err(mistrust(false, None)),
            Known::Listed { keys, revoked } => {
                let is_shown = |key: &PublicKey| key.key_data() == shown.key_data();
                match (revoked.iter().any(is_shown), keys.iter().any(is_shown)) {
                    (true, _) => Err(mistrust(true, Some(true))),
                    (false, true) => Ok(()),
                    (false, false) => {
                        Err(mistrust(false, Some(keys.iter().any(|key| is_kind(key, &shown.algorithm())))))
                    }
                }
            }
        }
    }
}

/// What a server is called in a `known_hosts` file.
pub(crate) fn known_name(host: &str, port: u16) -> String {
    if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") }
}

/// RSA is one kind of key, whatever it signs with.
fn is_kind(key: &PublicKey, algorithm: &Algorithm) -> bool {
    match (key.algorithm(), algorithm) {
        (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
        (kind, algorithm) => kind == *algorithm,
    }
}

fn matches(patterns: &HostPatterns, name: &str) -> bool {
    match patterns {
        HostPatterns::Patterns(patterns) => {
            let is_in =
                |pattern: &str| fits(pattern.to_ascii_lowercase().as_bytes(), name.to_ascii_lowercase().as_bytes());
            let excluded = patterns.iter().filter_map(|pattern| pattern.strip_prefix('!')).any(is_in);
            !excluded && patterns.iter().any(|pattern| is_in(pattern))
        }
        HostPatterns::HashedName { salt, hash } => {
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
            hmac::sign(&key, name.as_bytes()).as_ref() == hash
        }
    }
}

/// `*` stands for any characters, `?` for one.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => fits(rest, name) || name.split_first().is_some_and(|(_, name)| fits(pattern, name)),
        (Some((b'?', pattern)), Some((_, name))) => fits(pattern, name),
        (Some((wanted, pattern)), Some((found, name))) => wanted == found && fits(pattern, name),
        _ => false,
    }
}
