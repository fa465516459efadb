//! A message is made: on a thread, as its plaintext comes.

use std::cell::Cell;
use std::io::Write;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use pgp::armor::{self, BlockType};
use pgp::composed::{Encryption, MessageBuilder, RawSessionKey};
use pgp::crypto::aead::{AeadAlgorithm, ChunkSize};
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::packet::PacketTrait;
use pgp::ser::Serialize;
use pgp::types::{CompressionAlgorithm, Password};
use rand_core::{OsRng, RngCore};
use zeroize::Zeroizing;

use super::decrypt::Incoming;
use super::error::{MessageError, MessageErrorKind};
use super::framing::FramingProgress;
use super::keys::{Recipient, UnlockedKey};
use super::pipe::{PipeReader, PipeWriter};
use super::seipd_v1::{PART_BYTES, SeipdV1Writer};

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

/// Room for the head of a part, and what stands in front of the first.
const PART_HEAD_BYTES: usize = 1024;

impl Encryptor {
    /// Reads `from` to its end. `Ok` says that all of the message is in `to`.
    pub(super) fn run(&self, from: PipeReader, to: &PipeWriter) -> Result<(), MessageError> {
        self.check_expiry(SystemTime::now())?;
        let progress = FramingProgress::default();
        let incoming = Incoming::new(from, progress.clone());
        let message = MessageToMake { encryptor: self, plaintext: Cell::new(Some(incoming)) };
        message.write(to).map_err(|_| {
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
}

/// What the library writes, as it is or in ASCII armor.
struct MessageToMake<'e> {
    encryptor: &'e Encryptor,
    /// Read when it is written, which is once.
    plaintext: Cell<Option<Incoming>>,
}

impl MessageToMake<'_> {
    fn write(&self, to: &PipeWriter) -> pgp::errors::Result<()> {
        let mut out = Pieces { to, piece: Vec::new() };
        if self.encryptor.options.armor {
            armor::write(self, BlockType::Message, &mut out, None, true)?;
        } else {
            self.to_writer(&mut out)?;
        }
        Ok(out.flush()?)
    }

    fn write_v1(&self, plaintext: Incoming, mut out: &mut dyn Write) -> pgp::errors::Result<()> {
        let mut key = Zeroizing::new([0; 32]);
        OsRng.fill_bytes(&mut *key);
        let session_key = RawSessionKey::from(key.as_slice());
        let (cipher, is_hidden) = (SymmetricKeyAlgorithm::AES256, self.encryptor.options.hide_recipients);
        for recipient in &self.encryptor.recipients {
            recipient.session_key(cipher, &session_key, is_hidden)?.to_writer_with_header(&mut out)?;
        }
        let mut protected = SeipdV1Writer::new(&key, out);
        let mut builder = MessageBuilder::from_reader("", plaintext);
        self.apply_options(&mut builder)?;
        builder.to_writer(OsRng, &mut protected)?;
        Ok(protected.finish()?)
    }

    fn write_v2(&self, plaintext: Incoming, out: &mut dyn Write) -> pgp::errors::Result<()> {
        // OCB is the mode that everybody has who reads version 2 (RFC 9580 §9.6).
        let (cipher, mode) = (SymmetricKeyAlgorithm::AES256, AeadAlgorithm::Ocb);
        let mut builder = MessageBuilder::from_reader("", plaintext).seipd_v2(OsRng, cipher, mode, ChunkSize::C16KiB);
        for recipient in &self.encryptor.recipients {
            recipient.encrypt_v2(&mut builder, self.encryptor.options.hide_recipients)?;
        }
        self.apply_options(&mut builder)?;
        builder.to_writer(OsRng, out)
    }

    fn apply_options<'b, E: Encryption>(
        &'b self,
        builder: &mut MessageBuilder<'b, Incoming, E>,
    ) -> pgp::errors::Result<()> {
        builder.partial_chunk_size(PART_BYTES as u32)?;
        match self.encryptor.options.compression {
            Compression::None => {}
            Compression::Zip => drop(builder.compression(CompressionAlgorithm::ZIP)),
            Compression::Zlib => drop(builder.compression(CompressionAlgorithm::ZLIB)),
        }
        if let Some(key) = &self.encryptor.sign_with {
            let signing = key.signing();
            builder.sign(signing, Password::empty(), signing.hash_alg());
        }
        Ok(())
    }
}

impl Serialize for MessageToMake<'_> {
    fn to_writer<W: Write>(&self, out: &mut W) -> pgp::errors::Result<()> {
        let Some(plaintext) = self.plaintext.take() else { return Err(std::io::Error::other("written twice").into()) };
        if self.encryptor.is_v2() { self.write_v2(plaintext, out) } else { self.write_v1(plaintext, out) }
    }

    /// Nobody knows: it is not asked for.
    fn write_len(&self) -> usize {
        0
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
            self.piece.reserve(PART_BYTES + PART_HEAD_BYTES);
        }
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PART_BYTES {
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
