//! Messages given as any bytes, as the fuzz targets and their test do it.

use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use bytes::Bytes;
use pgp::composed::RawSessionKey;
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::packet::{PacketTrait, PublicKeyEncryptedSessionKey, SymEncryptedProtectedData};
use rand_core::OsRng;

use super::decrypt::{BeyondCheck, Decryptor, DecryptorOptions};
use super::error::MessageError;
use super::keys::{UnlockedKey, UnlockedKeyUse};
use super::pipe::pipe;

/// What became of a message.
type Read = (Vec<u8>, Result<(), MessageError>);

/// Panics unless a message that comes in pieces is read as if it had come at once: to the same plaintext, or the same words for
/// why not. What is not made with our key is never read to a good end, as little comes out as is allowed, and as little is held.
/// Says whether it was read to such an end.
pub(crate) fn messages_are_read_alike(message: &[u8], pieces: &[&[u8]], beyond: BeyondCheck) -> bool {
    let (plaintext, end) = alike(message, pieces, beyond);
    // Nobody has its key but who made the seeds: what else has a good end was changed, and not seen to be.
    assert!(end.is_err() || plaintext == PLAINTEXT, "{}", message.escape_ascii());
    end.is_ok()
}

/// The same of what is inside a message of version 1: whatever was encrypted there. Where it has no good end nothing of it
/// is given but what is beyond what can be checked first.
pub(crate) fn insides_are_read_alike(inside: &[u8], cuts: impl Fn(&[u8]) -> Vec<&[u8]>, beyond: BeyondCheck) -> bool {
    let message = [&*KEYS.session, &encrypted(inside)].concat();
    let (plaintext, end) = alike(&message, &cuts(&message), beyond);
    let is_beyond = beyond == BeyondCheck::Stream && plaintext.len() as u64 > OPTIONS.check_first;
    assert!(end.is_ok() || plaintext.is_empty() || is_beyond, "{}", inside.escape_ascii());
    end.is_ok()
}

fn alike(message: &[u8], pieces: &[&[u8]], beyond: BeyondCheck) -> Read {
    let whole = read(&[message], beyond);
    assert_eq!(read(pieces, beyond), whole, "{}", message.escape_ascii());
    assert!(whole.0.len() as u64 <= OPTIONS.max_plaintext, "more comes out than may");
    if let Err(error) = &whole.1 {
        let text = error.to_string();
        assert!(text.len() < 300 && !text.contains(char::is_control), "{text:?}");
    }
    whole
}

fn read(pieces: &[&[u8]], beyond: BeyondCheck) -> Read {
    let options = DecryptorOptions { beyond, ..OPTIONS };
    let decryptor = Decryptor { keys: vec![Arc::clone(&KEYS.own)], signers: Vec::new(), options };
    // As little as comes out is less than a pipe takes without a reader.
    let ((feed, from), (to, out)) = (pipe(), pipe());
    pieces.iter().for_each(|piece| feed.put(Bytes::copy_from_slice(piece)));
    feed.end(Ok(()));
    let hold = |bytes: usize| {
        assert!(bytes as u64 <= OPTIONS.check_first, "{bytes} bytes are held");
        true
    };
    let end = decryptor.run(from, &to, Box::new(hold));
    to.end(end);
    let mut plaintext = Vec::new();
    loop {
        match out.next() {
            Some(Ok(piece)) => plaintext.extend_from_slice(&piece),
            Some(Err(error)) => return (plaintext, Err(error)),
            None => return (plaintext, Ok(())),
        }
    }
}

struct TrialKeys {
    own: Arc<UnlockedKey>,
    /// The packet that opens what [`encrypted`] makes.
    session: Vec<u8>,
}

static KEYS: LazyLock<TrialKeys> = LazyLock::new(|| {
    let file = include_bytes!("../../fuzz/key.asc");
    let own = UnlockedKey::read(file, None, UnlockedKeyUse::Decrypt, SystemTime::now());
    let own = own.unwrap_or_else(|error| panic!("fuzz/key.asc: {error}"));
    let public = own.secret().to_public_key();
    let subkey = &public.public_subkeys[0].key;
    let session = PublicKeyEncryptedSessionKey::from_session_key_v3(
        OsRng,
        &RawSessionKey::from(SESSION_KEY),
        SymmetricKeyAlgorithm::AES128,
        subkey,
    );
    TrialKeys { session: written(session), own: Arc::new(own) }
});

fn encrypted(inside: &[u8]) -> Vec<u8> {
    written(SymEncryptedProtectedData::encrypt_seipdv1(OsRng, SymmetricKeyAlgorithm::AES128, SESSION_KEY, inside))
}

fn written<P: PacketTrait>(packet: pgp::errors::Result<P>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = packet.and_then(|packet| packet.to_writer_with_header(&mut bytes));
    written.unwrap_or_else(|error| panic!("a packet: {error}"));
    bytes
}

const SESSION_KEY: &[u8] = &[7; 16];
const PLAINTEXT: &[u8] = b"The quick brown fox.";
const OPTIONS: DecryptorOptions =
    DecryptorOptions { check_first: 4 << 10, beyond: BeyondCheck::Stream, max_plaintext: 32 << 10 };
