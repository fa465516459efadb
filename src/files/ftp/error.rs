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
    /// The handshake of a control or a data connection, or an alert behind it: of TLS 1.3 a client certificate is judged when
    /// the client has long begun to speak (RFC 8446 §4.4.2.4).
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
    /// Another file has the name now.
    #[error("the file has changed since it was looked at: it had {was} bytes, and has {now}")]
    Changed { was: u64, now: u64 },
    #[error("more of the file comes than the {0} bytes that it had when it was looked at")]
    Grown(u64),
    /// Nothing is known of what is there, not even whether anything is.
    #[error("the server has neither `MLST` nor `SIZE`, so that nobody can tell whether there is such a file")]
    Untold,
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
        let of_tls = error.get_ref().and_then(|inner| inner.downcast_ref());
        match (error.kind(), of_tls) {
            (_, Some(rustls::Error::AlertReceived(_))) => Self::Tls(error),
            _ if is_end(&error) => Self::Ended,
            _ => Self::Io(error),
        }
    }
}

/// What it is called by servers that demand it.
const TLS: [&str; 5] = ["TLS", "SSL", "ENCRYPT", "SECURE", "CLEARTEXT"];
