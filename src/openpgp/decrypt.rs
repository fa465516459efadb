//! A message is read: on a thread, as it comes.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use bytes::Bytes;
use pgp::armor::{Dearmor, DearmorOptions};
use pgp::composed::{DecryptionOptions, Edata, Esk, Message, PlainSessionKey, TheRing};
use pgp::packet::{ProtectedDataConfig, SymEncryptedProtectedDataConfig};
use pgp::types::Seipdv1ReadMode;

use super::armor::ArmorText;
use super::error::{MessageError, MessageErrorKind};
use super::framing::{FramingProgress, MessageFraming};
use super::keys::{SignerKey, UnlockedKey};
use super::pipe::{PipeReader, PipeWriter};
use super::seipd_v1::{AesCfb, SeipdV1Reader};

/// What decrypts.
#[derive(Debug)]
pub(crate) struct Decryptor {
    pub(crate) keys: Vec<Arc<UnlockedKey>>,
    /// One of which must have signed; empty: nobody need.
    pub(crate) signers: Vec<Arc<SignerKey>>,
    pub(crate) options: DecryptorOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DecryptorOptions {
    /// Up to so many bytes a message whose check stands at its end is held until it is checked.
    pub(crate) check_first: u64,
    pub(crate) beyond: BeyondCheck,
    /// So many bytes come out at most.
    pub(crate) max_plaintext: u64,
}

/// What becomes of a message that is longer than `check_first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BeyondCheck {
    /// It goes on as it comes, and breaks off if its check is bad.
    Stream,
    Refuse,
}

/// Asked for the memory of what is held, so many bytes in all; `false`: there is no room.
pub(crate) type Hold = Box<dyn FnMut(usize) -> bool + Send>;

/// As much goes on at once.
const PIECE_BYTES: usize = 32 << 10;
/// Packets in packets: a message that is only wrapping has no end.
const MOST_LAYERS: usize = 8;
/// A header of armor is a few lines.
const MOST_ARMOR_HEADER_BYTES: usize = 16 << 10;

impl Decryptor {
    /// Reads `from` to its end. `Ok` says that all of `to` is good.
    pub(super) fn run(&self, from: PipeReader, to: &PipeWriter, mut hold: Hold) -> Result<(), MessageError> {
        let progress = FramingProgress::default();
        let read = self.read(Incoming::new(from, progress.clone()), to, &mut hold, &progress);
        // What was seen beneath is nearer to the cause.
        read.map_err(|error| progress.fault().unwrap_or(error))
    }

    fn read(
        &self,
        incoming: Incoming,
        to: &PipeWriter,
        hold: &mut Hold,
        progress: &FramingProgress,
    ) -> Result<(), MessageError> {
        let message = open(incoming, progress)?;
        let mut message = self.decrypt(message)?;
        let is_checked_at_end = message.1 || !self.signers.is_empty();
        let mut outlet = Outlet { to, held: is_checked_at_end.then(Vec::new), total: 0, hold, options: self.options };
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let length = fill(&mut message.0, &mut buffer).map_err(|_| damaged())?;
            if length == 0 {
                break;
            }
            outlet.give(Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default()))?;
        }
        // The end of the plaintext is none until the library has read what follows it, the check among it, and we have
        // seen that nothing follows that.
        if !progress.is_whole() {
            return Err(damaged());
        }
        self.check_signature(&message.0)?;
        outlet.release()
    }

    /// The message inside, and whether its check stands at its end.
    fn decrypt(&self, message: Message<'static>) -> Result<(Message<'static>, bool), MessageError> {
        let Message::Encrypted { esk, edata, is_nested } = message else { return Err(not_encrypted()) };
        let version_1 = ProtectedDataConfig::Seipd(SymEncryptedProtectedDataConfig::V1);
        let is_checked_at_end = match &edata {
            Edata::SymEncryptedProtectedData { reader } => *reader.config() == version_1,
            Edata::GnupgAeadData { .. } => false,
            Edata::SymEncryptedData { .. } => {
                let what = "the message has no protection against changes (RFC 9580 §5.7): it is not read";
                return Err(MessageError::new(MessageErrorKind::Unsupported, what));
            }
        };
        let Some(session_key) = self.session_key(&esk) else {
            let what = "none of the private keys opens the message: it is for somebody else";
            return Err(MessageError::new(MessageErrorKind::ForSomebodyElse, what));
        };
        let opened = match (edata, AesCfb::new(&session_key)) {
            (Edata::SymEncryptedProtectedData { reader }, Some(decryptor)) if is_checked_at_end => {
                Message::from_bytes(SeipdV1Reader::new(decryptor, reader.into_inner()))
            }
            (edata, _) => {
                let ring = TheRing {
                    session_keys: vec![session_key],
                    decrypt_options: DecryptionOptions::new()
                        .enable_gnupg_aead()
                        // What is held back until the check is held by us: that has a limit in bytes that come out.
                        .set_seipdv1_read_mode(Seipdv1ReadMode::Streaming),
                    ..TheRing::default()
                };
                Message::Encrypted { esk, edata, is_nested }.decrypt_the_ring(ring, true).map(|(message, _)| message)
            }
        };
        let mut message = opened.map_err(|_| damaged())?;
        for _ in 0..MOST_LAYERS {
            match message {
                Message::Literal { .. } => return Ok((message, is_checked_at_end)),
                Message::Signed { .. } => {
                    return message.decompress().map(|message| (message, is_checked_at_end)).map_err(compression);
                }
                Message::Compressed { .. } => message = message.decompress().map_err(compression)?,
                Message::Encrypted { .. } => break,
            }
        }
        let what = "the message has another encrypted one inside, or nothing but wrapping";
        Err(MessageError::new(MessageErrorKind::Unsupported, what))
    }

    /// One good signature of one of them is enough.
    /// The key of a message: the first that one of ours opens.
    fn session_key(&self, packets: &[Esk]) -> Option<PlainSessionKey> {
        let packets = packets.iter().filter_map(|packet| match packet {
            Esk::PublicKeyEncryptedSessionKey(packet) => Some(packet),
            Esk::SymKeyEncryptedSessionKey(_) => None,
        });
        packets.flat_map(|packet| self.keys.iter().map(move |key| key.session_key(packet))).flatten().next()
    }

    fn check_signature(&self, message: &Message<'_>) -> Result<(), MessageError> {
        if self.signers.is_empty() {
            return Ok(());
        }
        let Message::Signed { reader, .. } = message else {
            let what = "the message is not signed, and `signers` says that it has to be";
            return Err(MessageError::new(MessageErrorKind::Unsigned, what));
        };
        let is_good = |index| self.signers.iter().any(|signer| signer.has_signed(message, index));
        if (0..reader.num_signatures()).any(is_good) {
            return Ok(());
        }
        let what = "the message has no good signature of any of `signers`";
        Err(MessageError::new(MessageErrorKind::Unsigned, what))
    }
}

/// Puts together what reads the packets, of armor or not.
fn open(mut incoming: Incoming, progress: &FramingProgress) -> Result<Message<'static>, MessageError> {
    let first = incoming.fill_buf().map_err(|_| MessageError::broken_off())?;
    let Some(&byte) = first.first() else {
        return Err(MessageError::new(MessageErrorKind::NoMessage, "the body is empty: there is no OpenPGP message"));
    };
    // A packet begins with this bit, and no text does but a byte order mark.
    let is_binary = byte & 0x80 != 0 && byte != 0xef;
    let message = if is_binary {
        Message::from_bytes(MessageFraming::new(incoming, progress.clone()))
    } else {
        let text = ArmorText::new(incoming, progress.clone());
        let options = DearmorOptions::new().set_limit(MOST_ARMOR_HEADER_BYTES);
        let decoded = BufReader::with_capacity(PIECE_BYTES, Dearmor::with_options(text, options));
        Message::from_bytes(MessageFraming::new(decoded, progress.clone()))
    };
    message.map_err(|_| damaged())
}

/// Fills as much of `buffer` as there is.
fn fill(message: &mut Message<'_>, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match message.read(rest)? {
            0 => break,
            more => length += more,
        }
    }
    Ok(length)
}

fn damaged() -> MessageError {
    MessageError::new(MessageErrorKind::Damaged, "the message is damaged: it was cut or changed on its way")
}

fn not_encrypted() -> MessageError {
    MessageError::new(MessageErrorKind::NoMessage, "this OpenPGP message is not encrypted")
}

fn compression(error: pgp::errors::Error) -> MessageError {
    let is_unknown = matches!(error, pgp::errors::Error::Unsupported { .. } | pgp::errors::Error::Unimplemented { .. })
        || error.to_string().contains("nsupported");
    if is_unknown {
        let what = "the message is compressed by a method that is not read here (`zip` and `zlib` are)";
        return MessageError::new(MessageErrorKind::Unsupported, what);
    }
    damaged()
}

/// Where plaintext goes: held until it is checked, or on.
struct Outlet<'o> {
    to: &'o PipeWriter,
    held: Option<Vec<Bytes>>,
    total: u64,
    hold: &'o mut Hold,
    options: DecryptorOptions,
}

impl Outlet<'_> {
    fn give(&mut self, piece: Bytes) -> Result<(), MessageError> {
        self.total += piece.len() as u64;
        if self.total > self.options.max_plaintext {
            let what =
                format!("the plaintext is longer than {} bytes, see `max_plaintext`", self.options.max_plaintext);
            return Err(MessageError::new(MessageErrorKind::TooLong, what));
        }
        if self.held.is_some() && self.total > self.options.check_first {
            self.beyond()?;
        }
        let Some(held) = &mut self.held else { return self.push(piece) };
        let all = usize::try_from(self.total).unwrap_or(usize::MAX);
        if !(self.hold)(all) {
            let what = "the messages that are held in memory to be checked leave no room for this one: see `limits.held_bodies`";
            return Err(MessageError::new(MessageErrorKind::NoRoom, what));
        }
        held.push(piece);
        Ok(())
    }

    fn beyond(&mut self) -> Result<(), MessageError> {
        match self.options.beyond {
            BeyondCheck::Stream => self.release(),
            BeyondCheck::Refuse => {
                let most = self.options.check_first;
                let what = format!(
                    "the message is longer than the {most} bytes of `check_first`, and `beyond: refuse` is set"
                );
                Err(MessageError::new(MessageErrorKind::BeyondCheck, what))
            }
        }
    }

    /// Lets go of what was held, and of all that follows.
    fn release(&mut self) -> Result<(), MessageError> {
        let held = self.held.take().unwrap_or_default();
        held.into_iter().try_for_each(|piece| self.push(piece))
    }

    fn push(&self, piece: Bytes) -> Result<(), MessageError> {
        self.to.push(piece).map_err(|_| MessageError::broken_off())
    }
}

/// A body as the library reads it.
pub(super) struct Incoming {
    from: PipeReader,
    piece: Bytes,
    progress: FramingProgress,
}

impl Incoming {
    pub(super) fn new(from: PipeReader, progress: FramingProgress) -> Self {
        Self { from, piece: Bytes::new(), progress }
    }
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").finish_non_exhaustive()
    }
}

impl BufRead for Incoming {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        while self.piece.is_empty() {
            match self.from.next() {
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(error)) => return Err(self.progress.raise(error)),
                None => break,
            }
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, amount: usize) {
        // What was read is not wanted again.
        drop(self.piece.split_to(amount));
    }
}

impl Read for Incoming {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let length = self.fill_buf()?.read(into)?;
        self.consume(length);
        Ok(length)
    }
}
