//! OpenPGP (RFC 9580): keys and whether they may be used, and bodies that are encrypted or decrypted on the way.
//!
//! Promises that the end of a plaintext is given only once its check is good, whatever the message, and that a transfer
//! takes 1 MiB at most, but for what is held to be checked first. Keys come as bytes and are judged once, when they are read:
//! what an [`Encryptor`] or a [`Decryptor`] has may be used.
//!
//! Knows nothing of services, of files and of the config's text, and makes no answer.

mod armor;
mod body;
mod buffered;
mod decrypt;
mod encrypt;
mod error;
mod framing;
mod judgement;
mod key_file;
mod keys;
mod layers;
mod pipe;
mod seipd_v1;
#[cfg(test)]
mod tests;
mod threads;
#[cfg(any(test, feature = "bench"))]
pub(crate) mod trial;

pub(crate) use self::body::{TransformError, TransformedBody};
pub(crate) use self::decrypt::{BeyondCheck, Decryptor, DecryptorOptions, Hold};
pub(crate) use self::encrypt::{Compression, Encryptor, EncryptorOptions, MessageFormat};
pub(crate) use self::error::{MessageError, MessageErrorKind};
pub(crate) use self::judgement::KeyFacts;
pub(crate) use self::key_file::KeyFileError;
pub(crate) use self::keys::{Recipient, SignerKey, UnlockedKey, UnlockedKeyUse};
pub(crate) use self::threads::ThreadLane;
