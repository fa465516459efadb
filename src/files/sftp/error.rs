//! Why a server did not do what it was asked for.

use std::io;

use super::super::ending::is_end;
use super::packet::MalformedPacket;

/// What went wrong in a session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The session has ended, or the connection below it.
    #[error("the server ended the session")]
    Ended,
    #[error("{0}")]
    Io(io::Error),
    /// It is no SFTP that the server speaks, or none of version 3.
    #[error("the server does not speak SFTP as it should: {0}")]
    Protocol(&'static str),
    #[error("the server speaks version {0} of SFTP alone; version 3 was asked for")]
    Version(u32),
    /// The server said no.
    #[error("the server refused {operation}: {refusal}")]
    Refused { operation: &'static str, refusal: SftpRefusal },
    /// There is less of the file than the server said when it was opened.
    #[error("the file ended after {read} of {size} bytes")]
    Shrunk { read: u64, size: u64 },
}

/// A status that is not OK. What its number means is a hint: servers answer 4 to anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SftpRefusal {
    pub(crate) code: u32,
    /// The server's words, bounded and legible.
    pub(crate) text: String,
}

impl SftpRefusal {
    pub(super) fn new(code: u32, text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).take(LONGEST_TEXT).collect();
        Self { code, text }
    }
}

impl std::fmt::Display for SftpRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.text.is_empty(), NAMES.get(self.code as usize)) {
            (false, _) => write!(f, "{} (status {})", self.text, self.code),
            (true, Some(name)) => write!(f, "{name} (status {})", self.code),
            (true, None) => write!(f, "status {}", self.code),
        }
    }
}

impl From<MalformedPacket> for Error {
    fn from(MalformedPacket(why): MalformedPacket) -> Self {
        Self::Protocol(why)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        if is_end(&error) { Self::Ended } else { Self::Io(error) }
    }
}

pub(super) const OK: u32 = 0;
pub(super) const END: u32 = 1;
pub(super) const EXISTS: u32 = 11;
/// Of the draft, and those of later versions that servers send in version 3 all the same.
const NAMES: [&str; 12] = [
    "ok",
    "end of file",
    "no such file",
    "permission denied",
    "failure",
    "bad message",
    "no connection",
    "connection lost",
    "operation unsupported",
    "invalid handle",
    "no such path",
    "file already exists",
];
const LONGEST_TEXT: usize = 200;
