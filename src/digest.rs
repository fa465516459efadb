//! SHA-256: of one text, and over several so that no two lists of them look alike.

use aws_lc_rs::digest;

/// Of one text.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    sha256
}

/// A digest in the making: each field goes in with its length before it, so that none can run into the next.
pub(crate) struct Digest(digest::Context);

impl Digest {
    pub(crate) fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    pub(crate) fn field(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    /// A list as one field: an optional value is a list of at most one.
    pub(crate) fn list(&mut self, fields: impl Iterator<Item = impl AsRef<[u8]>>) {
        let fields: Vec<_> = fields.collect();
        self.field(&(fields.len() as u64).to_be_bytes());
        fields.iter().for_each(|field| self.field(field.as_ref()));
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(self.0.finish().as_ref());
        sha256
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::hex;

    #[test]
    fn one_text_is_digested_as_everybody_does() {
        // FIPS 180-4, the example of one block.
        assert_eq!(hex(&sha256(b"abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn no_two_lists_look_alike() {
        let of = |lists: &[&[&str]]| {
            let mut digest = Digest::new();
            lists.iter().for_each(|list| digest.list(list.iter()));
            digest.finish()
        };
        let all = [
            of(&[&["a", "b"]]),
            of(&[&["ab"]]),
            of(&[&["a"], &["b"]]),
            of(&[&["ab", ""]]),
            of(&[&[], &["ab"]]),
            of(&[]),
        ];

        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "list {at}");
        }
    }
}
