//! A message is read: on a thread, as it comes.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use pgp::armor::{Dearmor, DearmorOptions};
use pgp::composed::{DecryptionOptions, Edata, Esk, Message, PlainSessionKey};
use pgp::packet::{ProtectedDataConfig, SymEncryptedProtectedDataConfig};
use pgp::types::Seipdv1ReadMode;

use super::armor::ArmorText;
use super::buffered;
use super::error::{MessageError, MessageErrorKind};
use super::framing::{FramingProgress, PacketFraming};
use super::keys::{SignerKey, UnlockedKey};
use super::layers::{Decompressed, Decrypted, InflationLimit};
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
const PIECE_BYTES: usize = 64 << 10;
/// Packets in packets: a message that is only wrapping has no end.
const MOST_LAYERS: usize = 8;
/// Beside the plaintext: signatures, headers, padding.
const MOST_WRAPPING_BYTES: u64 = 1 << 20;
/// A header of armor is a few lines.
const MOST_ARMOR_HEADER_BYTES: usize = 16 << 10;

impl Decryptor {
    /// Reads `from` to its end. `Ok` says that all of `to` is good.
    pub(super) fn run(&self, from: PipeReader, to: &PipeWriter, hold: Hold) -> Result<(), MessageError> {
        let progress = FramingProgress::default();
        let read = self.read(Incoming::new(from, progress.clone()), to, hold, &progress);
        // What was seen beneath is nearer to the cause.
        read.map_err(|error| progress.fault().unwrap_or(error))
    }

    fn read(
        &self,
        incoming: Incoming,
        to: &PipeWriter,
        hold: Hold,
        progress: &FramingProgress,
    ) -> Result<(), MessageError> {
        let message = open(incoming, progress)?;
        let limit = InflationLimit {
            most_bytes: self.options.max_plaintext.saturating_add(MOST_WRAPPING_BYTES),
            watch: to.watch(),
            progress: progress.clone(),
        };
        let Inside { mut message, is_checked_at_end } = self.decrypt(message, &limit)?;
        if !self.signers.is_empty() && !matches!(message, Message::Signed { .. }) {
            return Err(unsigned());
        }
        let holds = is_checked_at_end || !self.signers.is_empty();
        let held = holds.then(|| Held { pieces: Vec::new(), hold });
        let mut outlet = Outlet { to, held, total: 0, options: self.options };
        loop {
            let piece = piece(&mut message).map_err(|_| MessageError::damaged())?;
            if piece.is_empty() {
                break;
            }
            outlet.give(piece)?;
        }
        // The end of the plaintext is none until the library has read what follows it, the check among it, and we have
        // seen that nothing follows that.
        if !progress.is_whole() {
            return Err(MessageError::damaged());
        }
        self.check_signature(&message)?;
        outlet.release()
    }

    fn decrypt(&self, message: Message<'static>, limit: &InflationLimit) -> Result<Inside, MessageError> {
        let Message::Encrypted { esk, edata, .. } = message else { return Err(not_encrypted()) };
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
                inside(SeipdV1Reader::new(decryptor, reader.into_inner()), limit)
            }
            (mut edata, _) => {
                // What is held back until the check is held by us: that has a limit in bytes that come out.
                let as_it_comes = DecryptionOptions::new().set_seipdv1_read_mode(Seipdv1ReadMode::Streaming);
                let decrypted = edata.decrypt_with_options(&session_key, as_it_comes.enable_gnupg_aead());
                decrypted.map_err(|_| MessageError::damaged())?;
                inside(Decrypted(edata), limit)
            }
        };
        let mut message = opened.map_err(|_| MessageError::damaged())?;
        for _ in 0..MOST_LAYERS {
            match message {
                Message::Literal { .. } => return Ok(Inside { message, is_checked_at_end }),
                Message::Signed { ref reader, .. } if reader.get_ref().is_literal() => {
                    return Ok(Inside { message, is_checked_at_end });
                }
                Message::Signed { .. } => {
                    let what = "the message is compressed inside its signature, and not around it: it is not read";
                    return Err(MessageError::new(MessageErrorKind::Unsupported, what));
                }
                Message::Compressed { reader, .. } => {
                    let packet = reader.decompress().map_err(|error| compression(error.into()))?;
                    message = inside(Decompressed::new(packet, limit.clone()), limit).map_err(compression)?;
                }
                Message::Encrypted { .. } => break,
            }
        }
        let what = "the message has another encrypted one inside, or nothing but wrapping";
        Err(MessageError::new(MessageErrorKind::Unsupported, what))
    }

    /// The key of a message: the first that one of ours opens.
    fn session_key(&self, packets: &[Esk]) -> Option<PlainSessionKey> {
        let packets = packets.iter().filter_map(|packet| match packet {
            Esk::PublicKeyEncryptedSessionKey(packet) => Some(packet),
            Esk::SymKeyEncryptedSessionKey(_) => None,
        });
        packets.flat_map(|packet| self.keys.iter().map(move |key| key.session_key(packet))).flatten().next()
    }

    /// One good signature of one of them is enough.
    fn check_signature(&self, message: &Message<'_>) -> Result<(), MessageError> {
        if self.signers.is_empty() {
            return Ok(());
        }
        let Message::Signed { reader, .. } = message else { return Err(unsigned()) };
        let now = SystemTime::now();
        let is_good = |index| self.signers.iter().any(|signer| signer.has_signed(message, index, now));
        if (0..reader.num_signatures()).any(is_good) {
            return Ok(());
        }
        let what = "the message has no good signature of any of `signers`";
        Err(MessageError::new(MessageErrorKind::Unsigned, what))
    }
}

/// A message that was decrypted.
struct Inside {
    /// It has plaintext, or a signature and that.
    message: Message<'static>,
    is_checked_at_end: bool,
}

/// The packets that were inside a layer.
fn inside(
    packets: impl BufRead + std::fmt::Debug + Send + 'static,
    limit: &InflationLimit,
) -> pgp::errors::Result<Message<'static>> {
    Message::from_bytes(PacketFraming::inside(packets, limit.progress.clone()))
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
        Message::from_bytes(PacketFraming::of_message(incoming, progress.clone()))
    } else {
        let text = ArmorText::new(incoming, progress.clone());
        let options = DearmorOptions::new().set_limit(MOST_ARMOR_HEADER_BYTES);
        let decoded = BufReader::with_capacity(PIECE_BYTES, Dearmor::with_options(text, options));
        Message::from_bytes(PacketFraming::of_message(decoded, progress.clone()))
    };
    message.map_err(|_| MessageError::damaged())
}

/// As much as goes on at once, or what is left; empty at the end.
fn piece(message: &mut Message<'_>) -> std::io::Result<Bytes> {
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    while piece.len() < PIECE_BYTES {
        let available = message.fill_buf()?;
        let taken = available.len().min(PIECE_BYTES - piece.len());
        if taken == 0 {
            break;
        }
        piece.extend_from_slice(available.get(..taken).unwrap_or_default());
        message.consume(taken);
    }
    // It may be held for long: not with room that it does not need.
    Ok(if piece.len() < PIECE_BYTES / 2 { Bytes::copy_from_slice(&piece) } else { Bytes::from(piece) })
}

fn unsigned() -> MessageError {
    MessageError::new(MessageErrorKind::Unsigned, "the message is not signed, and `signers` says that it has to be")
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
    MessageError::damaged()
}

/// Where plaintext goes: held until it is checked, or on.
struct Outlet<'o> {
    to: &'o PipeWriter,
    held: Option<Held>,
    total: u64,
    options: DecryptorOptions,
}

struct Held {
    pieces: Vec<Bytes>,
    /// Dropped with them: then they are in nobody's way any more.
    hold: Hold,
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
        if !(held.hold)(all) {
            let what = "the messages that are held in memory to be checked leave no room for this one: see `limits.held_bodies`";
            return Err(MessageError::new(MessageErrorKind::NoRoom, what));
        }
        held.pieces.push(piece);
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
        let Some(Held { pieces, hold }) = self.held.take() else { return Ok(()) };
        let pushed = pieces.into_iter().try_for_each(|piece| self.push(piece));
        drop(hold);
        pushed
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
        buffered::read(self, into)
    }
}
