//! Why a server did not do what it was asked for.

use std::io;

use super::super::ending::is_end;
use super::reply::FtpReply;

/// What went wrong in a session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the server closed the connection")]
    Ended,
    #[error("{0}")]
    Io(io::Error),
    /// The handshake of a control or a data connection.
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error("the server does not speak FTP as it should: {0}")]
    Protocol(&'static str),
    /// The server said no.
    #[error("the server refused {operation}: {} ({})", .reply.text(), .reply.code)]
    Refused { operation: &'static str, reply: FtpReply },
    /// It lets nobody in who does not speak TLS, and the config has that off.
    #[error("{0}; it demands TLS: leave out `tls: off`")]
    TlsDemanded(Box<Self>),
    /// There is no data connection to be had.
    #[error("no data connection: {0}")]
    NoData(Box<Self>),
    /// A file ended without the server's word that this was all of it.
    #[error("the file broke off after {0} bytes")]
    BrokenOff(u64),
    /// What that line tells of would be missing in a listing that looks whole.
    #[error(
        "the server's listing has a line that nobody understands: `{0}`; files are read by their names all the same, and a server \
         that has `MLSD`, or lists as Unix or Windows does, is listed"
    )]
    Unread(String),
    /// A path has a byte that can't be sent.
    #[error("a name has a CR, LF, NUL or 0xFF, which FTP can't say")]
    Unspeakable,
    /// A path is longer than servers read.
    #[error("a path of {0} bytes is more than servers read")]
    TooLong(usize),
}

impl Error {
    /// The same, known to come of a session without TLS, if the server's words say so.
    pub(crate) fn where_tls_is_off(self) -> Self {
        let demands_tls = |reply: &FtpReply| {
            let words = reply.text().to_ascii_uppercase();
            matches!(reply.code, 421 | 500..=599) && TLS.iter().any(|word| words.contains(word))
        };
        if self.reply().is_some_and(demands_tls) { Self::TlsDemanded(Box::new(self)) } else { self }
    }

    /// The reply, where the server said no.
    pub(crate) fn reply(&self) -> Option<&FtpReply> {
        match self {
            Self::Refused { reply, .. } => Some(reply),
            Self::NoData(error) | Self::TlsDemanded(error) => error.reply(),
            _ => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        if is_end(&error) { Self::Ended } else { Self::Io(error) }
    }
}

/// What it is called by servers that demand it.
const TLS: [&str; 5] = ["TLS", "SSL", "ENCRYPT", "SECURE", "CLEARTEXT"];
