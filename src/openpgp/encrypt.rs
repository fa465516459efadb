//! A message is made: on a thread, as its plaintext comes.

use std::io::Write;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use pgp::composed::{ArmorOptions, Encryption, MessageBuilder, NoEncryption};
use pgp::crypto::aead::{AeadAlgorithm, ChunkSize};
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::types::{CompressionAlgorithm, Password};
use rand_core::OsRng;

use super::decrypt::Incoming;
use super::error::{MessageError, MessageErrorKind};
use super::framing::FramingProgress;
use super::keys::{Recipient, UnlockedKey};
use super::pipe::{PipeReader, PipeWriter};

/// What encrypts.
#[derive(Debug)]
pub(crate) struct Encryptor {
    /// One at least.
    pub(crate) recipients: Vec<Arc<Recipient>>,
    pub(crate) sign_with: Option<Arc<UnlockedKey>>,
    pub(crate) options: EncryptorOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EncryptorOptions {
    /// In ASCII, or binary.
    pub(crate) armor: bool,
    pub(crate) compression: Compression,
    pub(crate) format: MessageFormat,
    /// The message names none of those who can read it.
    pub(crate) hide_recipients: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Zip,
    Zlib,
}

/// The version of the packet with the encrypted data (RFC 9580 §5.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageFormat {
    /// 2 if every recipient's key says that it reads it.
    Auto,
    V1,
    V2,
}

/// What is written at once, and the parts of which a packet is made: there are up to three of them in memory.
const PART_BYTES: u32 = 32 << 10;
/// Room for the head of a part, and what stands in front of the first.
const PART_HEAD_BYTES: usize = 1024;

type Builder<'b, E> = MessageBuilder<'b, Incoming, E>;

impl Encryptor {
    /// Reads `from` to its end. `Ok` says that all of the message is in `to`.
    pub(super) fn run(&self, from: PipeReader, to: &PipeWriter) -> Result<(), MessageError> {
        self.check_expiry(SystemTime::now())?;
        let progress = FramingProgress::default();
        let incoming = Incoming::new(from, progress.clone());
        let builder = MessageBuilder::from_reader("", incoming);
        let made = if self.is_v2() { self.v2(builder, to) } else { self.v1(builder, to) };
        made.map_err(|_| {
            progress.fault().unwrap_or_else(|| {
                MessageError::new(MessageErrorKind::Internal, "the message could not be made with these keys")
            })
        })
    }

    /// Whether it may still encrypt.
    ///
    /// # Errors
    /// When one of its keys has expired.
    pub(crate) fn check(&self) -> Result<(), MessageError> {
        self.check_expiry(SystemTime::now())
    }

    /// A key may expire while it is in use: nothing is sent then that the partner should not read.
    fn check_expiry(&self, now: SystemTime) -> Result<(), MessageError> {
        let recipients = self.recipients.iter().map(|recipient| recipient.facts());
        let facts = recipients.chain(self.sign_with.iter().map(|key| key.facts()));
        for facts in facts {
            if facts.expires_at.is_some_and(|expiry| expiry <= now) {
                let what = format!("the OpenPGP key {} has expired since it was read: renew it", facts.fingerprint);
                return Err(MessageError::new(MessageErrorKind::Key, what));
            }
        }
        Ok(())
    }

    fn is_v2(&self) -> bool {
        match self.options.format {
            MessageFormat::Auto => self.recipients.iter().all(|recipient| recipient.reads_v2()),
            MessageFormat::V1 => false,
            MessageFormat::V2 => true,
        }
    }

    fn v1(&self, builder: Builder<'_, NoEncryption>, to: &PipeWriter) -> pgp::errors::Result<()> {
        let mut builder = builder.seipd_v1(OsRng, SymmetricKeyAlgorithm::AES256);
        for recipient in &self.recipients {
            recipient.encrypt_v1(&mut builder, self.options.hide_recipients)?;
        }
        self.finish(builder, to)
    }

    fn v2(&self, builder: Builder<'_, NoEncryption>, to: &PipeWriter) -> pgp::errors::Result<()> {
        // OCB is the mode that everybody has who reads version 2 (RFC 9580 §9.6).
        let (cipher, mode) = (SymmetricKeyAlgorithm::AES256, AeadAlgorithm::Ocb);
        let mut builder = builder.seipd_v2(OsRng, cipher, mode, ChunkSize::C16KiB);
        for recipient in &self.recipients {
            recipient.encrypt_v2(&mut builder, self.options.hide_recipients)?;
        }
        self.finish(builder, to)
    }

    fn finish<'b, E: Encryption>(&'b self, mut builder: Builder<'b, E>, to: &PipeWriter) -> pgp::errors::Result<()> {
        builder.partial_chunk_size(PART_BYTES)?;
        match self.options.compression {
            Compression::None => {}
            Compression::Zip => drop(builder.compression(CompressionAlgorithm::ZIP)),
            Compression::Zlib => drop(builder.compression(CompressionAlgorithm::ZLIB)),
        }
        if let Some(key) = &self.sign_with {
            let signing = key.signing();
            builder.sign(signing, Password::empty(), signing.hash_alg());
        }
        let mut out = Pieces { to, piece: Vec::new() };
        if self.options.armor {
            builder.to_armored_writer(OsRng, ArmorOptions::default(), &mut out)?;
        } else {
            builder.to_writer(OsRng, &mut out)?;
        }
        Ok(out.flush()?)
    }
}

/// Gathers what is written, which comes in parts of any size.
struct Pieces<'p> {
    to: &'p PipeWriter,
    piece: Vec<u8>,
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.piece.is_empty() {
            // Most that is written is as long as a part, or completes one.
            self.piece.reserve(PART_BYTES as usize + PART_HEAD_BYTES);
        }
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PART_BYTES as usize {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::take(&mut self.piece));
        self.to.push(piece).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }
}
