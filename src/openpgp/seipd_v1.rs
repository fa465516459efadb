//! The packet with a message's encrypted data, version 1 (RFC 9580 §5.13.1): AES in CFB mode, and SHA-1 of the plaintext at
//! its end.
//!
//! ```text
//!  version │ 16 random bytes, the last 2 again │ packets │ 0xd3 0x14, SHA-1 of all before it
//!          └──────────────────────── encrypted ────────────────────────────┘
//! ```
//!
//! The library beneath has this packet too, for any cipher; here it takes half the time. A block of CFB can't begin before the
//! block in front of it is encrypted, nor can one of SHA-1: by turns, 64 bytes each, the processor does both at once.

use std::fmt;
use std::io::{BufRead, Error, ErrorKind, Read, Write};

use aes::cipher::generic_array::GenericArray;
use aes::cipher::{AsyncStreamCipher, BlockEncryptMut, KeyIvInit};
use aes::{Aes128, Aes192, Aes256};
use cfb_mode::{BufDecryptor, Encryptor};
use pgp::composed::{MessageReader, PacketBodyReader, PlainSessionKey};
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::types::PacketLength;
use rand_core::{OsRng, RngCore};
use sha1::{Digest, Sha1};

use super::buffered;
use super::layers::check_over;

/// A block, and the two bytes that are there twice.
const PREFIX_BYTES: usize = AES_BLOCK_BYTES + 2;
const AES_BLOCK_BYTES: usize = 16;
const SHA1_BLOCK_BYTES: usize = 64;
const SHA1_BYTES: usize = 20;
/// Of the packet with the check (RFC 9580 §5.13.1): a header that is part of what is checked, and the digest.
const MDC_HEADER: [u8; 2] = [0xd3, 0x14];
const MDC_BYTES: usize = MDC_HEADER.len() + SHA1_BYTES;
const VERSION: u8 = 1;

/// Begins from nothing (RFC 9580 §13.9): what is random stands in the prefix.
const NO_IV: [u8; AES_BLOCK_BYTES] = [0; AES_BLOCK_BYTES];

/// Encrypts packets into one of these, in parts (RFC 9580 §4.2.1.4).
pub(super) struct SeipdV1Writer<W> {
    out: W,
    encryptor: Encryptor<Aes256>,
    hasher: Sha1,
    /// A part: room for its header, then what is encrypted, then what is not yet.
    part: Vec<u8>,
    /// Where the latter begins.
    encrypted: usize,
    /// Whether the packet's own header is written.
    is_begun: bool,
}

/// The body of every part but the last. Of these and the library's, and of what is written at once, there are up to three in
/// memory.
pub(super) const PART_BYTES: usize = 64 << 10;
/// What says that a part is so long and not the last: 224, and the binary logarithm.
const PART_LENGTH: u8 = 224 + PART_BYTES.trailing_zeros() as u8;
/// This packet's type, 18, in the newer form.
const TYPE: u8 = 0xc0 | 18;
const PART_HEADER_BYTES: usize = 1;

impl<W: Write> SeipdV1Writer<W> {
    /// `key` is one of AES-256.
    pub(super) fn new(key: &[u8; 32], out: W) -> Self {
        let mut prefix = [0; PREFIX_BYTES];
        OsRng.fill_bytes(&mut prefix[..AES_BLOCK_BYTES]);
        prefix.copy_within(AES_BLOCK_BYTES - 2..AES_BLOCK_BYTES, AES_BLOCK_BYTES);
        let mut part = Vec::with_capacity(PART_HEADER_BYTES + PART_BYTES + SHA1_BLOCK_BYTES);
        part.extend_from_slice(&[PART_LENGTH, VERSION]);
        let encrypted = part.len();
        part.extend_from_slice(&prefix);
        let encryptor = Encryptor::new(key.into(), &NO_IV.into());
        Self { out, encryptor, hasher: Sha1::new(), part, encrypted, is_begun: false }
    }

    /// Writes what is left, with the check.
    pub(super) fn finish(mut self) -> std::io::Result<()> {
        self.encrypt();
        self.write_whole_parts()?;
        self.begin()?;
        self.part.extend_from_slice(&MDC_HEADER);
        self.hasher.update(self.part.get(self.encrypted..).unwrap_or_default());
        let digest = self.hasher.finalize();
        self.part.extend_from_slice(&digest);
        let rest = self.part.get_mut(self.encrypted..).unwrap_or_default();
        self.encryptor.encrypt(rest);
        let body = self.part.get(PART_HEADER_BYTES..).unwrap_or_default();
        let length = PacketLength::Fixed(u32::try_from(body.len()).map_err(Error::other)?);
        length.to_writer_new(&mut self.out).map_err(Error::other)?;
        self.out.write_all(body)
    }

    /// All blocks of SHA-1 that are whole, each of which is four of AES.
    fn encrypt(&mut self) {
        let Self { encryptor, hasher, part, encrypted, .. } = self;
        let rest = part.get_mut(*encrypted..).unwrap_or_default();
        for block in rest.chunks_exact_mut(SHA1_BLOCK_BYTES) {
            hasher.update(&block);
            for block in block.chunks_exact_mut(AES_BLOCK_BYTES) {
                encryptor.encrypt_block_mut(GenericArray::from_mut_slice(block));
            }
            *encrypted += SHA1_BLOCK_BYTES;
        }
    }

    /// The packet's own header, in front of its first part.
    fn begin(&mut self) -> std::io::Result<()> {
        if std::mem::replace(&mut self.is_begun, true) { Ok(()) } else { self.out.write_all(&[TYPE]) }
    }

    fn write_whole_parts(&mut self) -> std::io::Result<()> {
        const WHOLE: usize = PART_HEADER_BYTES + PART_BYTES;
        while self.encrypted >= WHOLE {
            self.begin()?;
            self.out.write_all(self.part.get(..WHOLE).unwrap_or_default())?;
            // The header of the next stands where this one's stood.
            self.part.drain(PART_HEADER_BYTES..WHOLE);
            self.encrypted -= PART_BYTES;
        }
        Ok(())
    }
}

impl<W: Write> Write for SeipdV1Writer<W> {
    fn write(&mut self, plaintext: &[u8]) -> std::io::Result<usize> {
        let room = (PART_HEADER_BYTES + PART_BYTES + SHA1_BLOCK_BYTES).saturating_sub(self.part.len());
        let taken = plaintext.get(..room).unwrap_or(plaintext);
        self.part.extend_from_slice(taken);
        if taken.len() == room {
            self.encrypt();
            self.write_whole_parts()?;
        }
        Ok(taken.len())
    }

    /// What is not yet a part has to wait.
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What decrypts, by the length of its key.
pub(super) enum AesCfb {
    Aes128(BufDecryptor<Aes128>),
    Aes192(BufDecryptor<Aes192>),
    Aes256(BufDecryptor<Aes256>),
}

impl AesCfb {
    /// `None`: it is for another cipher, or another version.
    pub(super) fn new(session_key: &PlainSessionKey) -> Option<Self> {
        let PlainSessionKey::V3_4 { sym_alg, key } = session_key else { return None };
        let key = key.as_ref();
        match sym_alg {
            SymmetricKeyAlgorithm::AES128 => BufDecryptor::new_from_slices(key, &NO_IV).ok().map(Self::Aes128),
            SymmetricKeyAlgorithm::AES192 => BufDecryptor::new_from_slices(key, &NO_IV).ok().map(Self::Aes192),
            SymmetricKeyAlgorithm::AES256 => BufDecryptor::new_from_slices(key, &NO_IV).ok().map(Self::Aes256),
            _ => None,
        }
    }

    fn decrypt(&mut self, bytes: &mut [u8]) {
        match self {
            Self::Aes128(decryptor) => decryptor.decrypt(bytes),
            Self::Aes192(decryptor) => decryptor.decrypt(bytes),
            Self::Aes256(decryptor) => decryptor.decrypt(bytes),
        }
    }
}

/// The body of one of these behind its version, as the library gives it.
pub(super) type SeipdV1Body = PacketBodyReader<MessageReader<'static>>;

/// Decrypts one. Its end is none before the check was good, and nothing follows the packet.
pub(super) struct SeipdV1Reader {
    /// `None` once it was read to its end.
    source: Option<SeipdV1Body>,
    decryptor: AesCfb,
    hasher: Sha1,
    /// Decrypted: what was handed on, what may be, and what may turn out to be the check.
    buffer: Vec<u8>,
    at: usize,
    ready: usize,
    /// Of the prefix.
    to_skip: usize,
}

impl SeipdV1Reader {
    pub(super) fn new(decryptor: AesCfb, body: SeipdV1Body) -> Self {
        let (source, hasher, buffer) = (Some(body), Sha1::new(), Vec::new());
        Self { source, decryptor, hasher, buffer, at: 0, ready: 0, to_skip: PREFIX_BYTES }
    }

    fn read_on(&mut self, mut source: SeipdV1Body) -> std::io::Result<()> {
        self.buffer.drain(..self.ready);
        let piece = source.fill_buf()?;
        if piece.is_empty() {
            return self.check(source);
        }
        let (held, length) = (self.buffer.len(), piece.len());
        self.buffer.extend_from_slice(piece);
        source.consume(length);
        self.source = Some(source);

        self.decryptor.decrypt(self.buffer.get_mut(held..).unwrap_or_default());
        self.ready = self.buffer.len().saturating_sub(MDC_BYTES);
        self.hasher.update(self.buffer.get(..self.ready).unwrap_or_default());
        self.at = self.to_skip.min(self.ready);
        self.to_skip -= self.at;
        Ok(())
    }

    /// What is left is the check.
    fn check(&mut self, source: SeipdV1Body) -> std::io::Result<()> {
        (self.at, self.ready) = (0, 0);
        let Some((header, digest)) = self.buffer.split_at_checked(MDC_HEADER.len()) else { return Err(bad()) };
        self.hasher.update(header);
        if header != MDC_HEADER || digest != self.hasher.finalize_reset().as_slice() || self.to_skip > 0 {
            return Err(bad());
        }
        self.buffer.clear();
        check_over(&mut source.into_inner())
    }
}

fn bad() -> Error {
    Error::from(ErrorKind::InvalidData)
}

impl BufRead for SeipdV1Reader {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        while self.at == self.ready
            && let Some(source) = self.source.take()
        {
            self.read_on(source)?;
        }
        Ok(self.buffer.get(self.at..self.ready).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Read for SeipdV1Reader {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        buffered::read(self, into)
    }
}

/// Leaves out all that is private.
impl fmt::Debug for SeipdV1Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeipdV1Reader").finish_non_exhaustive()
    }
}
