//! Why a message was not made or not read.

use std::fmt;

/// What became of a message; the text says it to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MessageError {
    pub(crate) kind: MessageErrorKind,
    what: String,
}

/// What a reader of the error would do differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageErrorKind {
    /// It is no encrypted message.
    NoMessage,
    /// None of the keys opens it.
    ForSomebodyElse,
    /// It was cut or changed, or is followed by what does not belong to it.
    Damaged,
    /// None of those who must have signed it did, or the signature is bad.
    Unsigned,
    /// It is written in a way that is not read here.
    Unsupported,
    /// Its plaintext is longer than may come out.
    TooLong,
    /// It is longer than can be checked before its first byte goes on.
    BeyondCheck,
    /// What others hold in memory leaves no room to hold it.
    NoRoom,
    /// A key may not be used any more.
    Key,
    /// The body that is transformed broke off.
    BrokenOff,
    /// A fault of ours.
    Internal,
}

impl MessageError {
    pub(super) fn new(kind: MessageErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into() }
    }

    pub(super) fn broken_off() -> Self {
        Self::new(MessageErrorKind::BrokenOff, "the body broke off")
    }

    pub(super) fn damaged() -> Self {
        Self::new(MessageErrorKind::Damaged, "the message is damaged: it was cut or changed on its way")
    }

    pub(super) fn cut() -> Self {
        Self::new(MessageErrorKind::Damaged, "the message ends before its end: it was cut")
    }

    pub(super) fn trailing() -> Self {
        Self::new(MessageErrorKind::Damaged, "something that is no white space follows the message")
    }
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for MessageError {}
