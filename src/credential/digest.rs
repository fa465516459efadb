//! SHA-256: over several fields, so that no two lists of them look alike, and over a body.

use aws_lc_rs::digest;

use super::Error;
use crate::hex::hex;
use crate::transport::Body;

/// A digest in the making: each field goes in with its length before it, so that none can run into the next.
pub(super) struct Digest(digest::Context);

impl Digest {
    pub(super) fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    pub(super) fn field(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    /// A list as one field: an optional value is a list of at most one.
    pub(super) fn list<'a>(&mut self, fields: impl Iterator<Item = &'a [u8]>) {
        let fields: Vec<_> = fields.collect();
        self.field(&(fields.len() as u64).to_be_bytes());
        fields.iter().for_each(|field| self.field(field));
    }

    pub(super) fn finish(self) -> [u8; 32] {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(self.0.finish().as_ref());
        sha256
    }
}

/// SHA-256 of a body, in hex.
///
/// # Errors
/// When it is not in memory.
pub(super) fn body_sha256(body: &Body) -> Result<String, Error> {
    let mut sha256 = digest::Context::new(&digest::SHA256);
    if !body.digest(&mut sha256) {
        return Err(Error::unsignable("its body is not in memory"));
    }
    Ok(hex(sha256.finish().as_ref()))
}
