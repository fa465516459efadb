//! The keys that a server is known by.

use std::sync::Arc;

use aws_lc_rs::hmac;
use russh::keys::ssh_key::known_hosts::{HostPatterns, KnownHosts, Marker};
use russh::keys::{Algorithm, HashAlg, PublicKey};

use super::error::Mistrust;

/// Which keys a server may show.
#[derive(Clone)]
pub(crate) struct HostKeys(Arc<Known>);

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

    /// What the text of a `known_hosts` file says of this host; the error is that of its first line that is none.
    pub(crate) fn listed(text: &str, host: &str, port: u16) -> Result<Self, String> {
        let name = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
        let (mut keys, mut revoked) = (Vec::new(), Vec::new());
        for entry in KnownHosts::new(text) {
            let entry = entry.map_err(|error| error.to_string())?;
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
            let is_in = |pattern: &str| fits(pattern.to_ascii_lowercase().as_bytes(), name.to_ascii_lowercase().as_bytes());
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
