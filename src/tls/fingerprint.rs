//! One hash over many parts.

use aws_lc_rs::digest;

/// SHA-256 over parts, each preceded by its length, so that no two lists of parts look alike.
pub(super) struct Fingerprint(digest::Context);

impl Fingerprint {
    pub(super) fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    pub(super) fn part(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    /// A list: its length, then its parts.
    pub(super) fn list(&mut self, parts: &[impl AsRef<[u8]>]) -> &mut Self {
        self.0.update(&(parts.len() as u64).to_be_bytes());
        parts.iter().fold(self, |fingerprint, part| fingerprint.part(part.as_ref()))
    }

    pub(super) fn finish(self) -> [u8; 32] {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(self.0.finish().as_ref());
        sha256
    }
}
