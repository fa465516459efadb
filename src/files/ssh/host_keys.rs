//! The keys that a server is known by.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::hmac;
use russh::keys::ssh_key::known_hosts::{Entry, HostPatterns, Marker};
use russh::keys::{Algorithm, HashAlg, PublicKey};

use super::error::{Mistrust, ShownKey};
use crate::digest::Digest;

/// Which keys a server may show.
#[derive(Clone)]
pub(crate) struct HostKeys(Arc<KnownKeys>);

/// A line of a `known_hosts` file that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is no entry of a `known_hosts` file")]
pub(crate) struct KnownHostsError {
    /// Counted from 1.
    pub(crate) line: usize,
}

enum KnownKeys {
    /// A fingerprint does not say of what kind its key is.
    Pinned {
        /// `SHA256:…` of each.
        fingerprints: Vec<String>,
        /// The kind of the first key that had one of them: it is asked for first from then on.
        fitting: OnceLock<Algorithm>,
    },
    /// Of a file in OpenSSH's form, those that are for this host.
    Listed { keys: Vec<PublicKey>, revoked: Vec<PublicKey> },
}

impl HostKeys {
    /// The key with one of these fingerprints, as `ssh-keygen -l` shows them.
    pub(crate) fn pinned(fingerprints: Vec<String>) -> Self {
        Self(Arc::new(KnownKeys::Pinned { fingerprints, fitting: OnceLock::new() }))
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
        Ok(Self(Arc::new(KnownKeys::Listed { keys, revoked })))
    }

    /// Puts in all that decides whom they trust.
    pub(crate) fn digest(&self, digest: &mut Digest) {
        let of = |keys: &[PublicKey]| keys.iter().map(|key| key.fingerprint(HashAlg::Sha256).to_string()).collect();
        let (pinned, listed, revoked): (&[String], Vec<String>, Vec<String>) = match &*self.0 {
            KnownKeys::Pinned { fingerprints, .. } => (fingerprints, Vec::new(), Vec::new()),
            KnownKeys::Listed { keys, revoked } => (&[], of(keys), of(revoked)),
        };
        digest.list(pinned.iter());
        digest.list(listed.iter());
        digest.list(revoked.iter());
    }

    /// There is none: every server would be turned away.
    pub(crate) fn is_empty(&self) -> bool {
        match &*self.0 {
            KnownKeys::Pinned { fingerprints, .. } => fingerprints.is_empty(),
            KnownKeys::Listed { keys, .. } => keys.is_empty(),
        }
    }

    /// Whether there is a key of this kind, as far as is known.
    pub(super) fn have(&self, algorithm: &Algorithm) -> bool {
        match &*self.0 {
            KnownKeys::Pinned { fitting, .. } => fitting.get().is_some_and(|kind| is_same_kind(kind, algorithm)),
            KnownKeys::Listed { keys, .. } => keys.iter().any(|key| is_kind(key, algorithm)),
        }
    }

    /// Whether a server that shows a key that is none of them may have one of them all the same, of another kind.
    pub(super) fn may_be_of_any_kind(&self) -> bool {
        matches!(&*self.0, KnownKeys::Pinned { .. })
    }

    pub(super) fn judge(&self, shown: &PublicKey) -> Result<(), Mistrust> {
        let fingerprint = shown.fingerprint(HashAlg::Sha256).to_string();
        let mistrust = |revoked, same_kind| Mistrust {
            shown: vec![ShownKey { fingerprint: fingerprint.clone(), kind: shown.algorithm() }],
            revoked,
            same_kind,
        };
        match &*self.0 {
            KnownKeys::Pinned { fingerprints, fitting } if fingerprints.contains(&fingerprint) => {
                fitting.get_or_init(|| shown.algorithm());
                Ok(())
            }
            KnownKeys::Pinned { .. } => Err(mistrust(false, None)),
            KnownKeys::Listed { keys, revoked } => {
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

fn is_kind(key: &PublicKey, algorithm: &Algorithm) -> bool {
    is_same_kind(&key.algorithm(), algorithm)
}

/// RSA is one kind of key, whatever it signs with.
pub(super) fn is_same_kind(one: &Algorithm, other: &Algorithm) -> bool {
    match (one, other) {
        (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
        (one, other) => one == other,
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

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPDMyW3mIJC1Q7dPRHYIPWz1sC3YyoL3EYJ7gQ0Vwk9i";

    fn key(text: &str) -> PublicKey {
        PublicKey::from_openssh(text).unwrap()
    }

    #[track_caller]
    fn check(text: &str, host: &str, port: u16, expected: bool) {
        let keys = HostKeys::listed(text, host, port).unwrap();
        assert_eq!(keys.judge(&key(ED25519)).is_ok(), expected, "{text}");
        assert_eq!(keys.is_empty(), !expected, "{text}");
    }

    #[test]
    fn a_server_is_found_by_its_name_and_port() {
        check(&format!("files.example {ED25519}"), "files.example", 22, true);
        check(&format!("# by hand\n\n  files.example,10.0.0.1\t{ED25519} comment # more\r\n"), "10.0.0.1", 22, true);
        check(&format!("files.example  {}", ED25519.replace(' ', "\t ")), "files.example", 22, true);
        check(&format!("files.example {ED25519}"), "files.example", 2222, false);
        check(&format!("[files.example]:2222 {ED25519}"), "files.example", 2222, true);
        check(&format!("[files.example]:2222 {ED25519}"), "files.example", 22, false);
        check(&format!("::1 {ED25519}"), "::1", 22, true);
        check(&format!("*.example,!old.example {ED25519}"), "files.example", 22, true);
        check(&format!("*.example,!old.example {ED25519}"), "old.example", 22, false);
        check(&format!("@cert-authority *.example {ED25519}"), "files.example", 22, false);
        check(&format!("@revoked files.example {ED25519}"), "files.example", 22, false);
        // As `ssh-keygen -H` writes `files.example`.
        let hashed = "|1|MDEyMzQ1Njc4OTAxMjM0NTY3ODk=|";
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"01234567890123456789");
        let hash = base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            hmac::sign(&key, b"files.example").as_ref(),
        );
        check(&format!("{hashed}{hash} {ED25519}"), "files.example", 22, true);
        check(&format!("{hashed}{hash} {ED25519}"), "other.example", 22, false);
    }

    #[test]
    fn a_revoked_key_is_none_whatever_else_is_said_of_it() {
        let text = format!("files.example {ED25519}\n@revoked * {ED25519}\nfiles.example {OTHER}");
        let keys = HostKeys::listed(&text, "files.example", 22).unwrap();

        assert!(keys.judge(&key(ED25519)).unwrap_err().revoked);
        assert!(keys.judge(&key(OTHER)).is_ok());
    }

    #[test]
    fn a_line_that_is_no_entry_is_told_by_its_number() {
        for line in
            ["words", "files.example", "files.example ssh-ed25519", "files.example ssh-ed25519 AAAA", "@revokd * x y"]
        {
            let text = format!("# keys\r\n\r\nfiles.example {ED25519}\n{line}\n");
            let error = HostKeys::listed(&text, "other.example", 22).err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), Some("line 4 is no entry of a `known_hosts` file"), "{line}");
        }
    }

    #[test]
    fn what_is_said_of_other_servers_counts_for_nothing() {
        let digest = |text: &str| {
            let mut digest = Digest::new();
            HostKeys::listed(text, "files.example", 22).unwrap().digest(&mut digest);
            digest.finish()
        };
        let one = digest(&format!("files.example {ED25519}"));

        assert_eq!(digest(&format!("other.example {OTHER}\nfiles.example {ED25519} moved")), one);
        assert_ne!(digest(&format!("files.example {ED25519}\nfiles.example {OTHER}")), one);
        assert_ne!(digest(&format!("files.example {ED25519}\n@revoked files.example {ED25519}")), one);
    }
}
