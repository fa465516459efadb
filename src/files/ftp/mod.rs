//! A client of FTP (RFC 959), over TLS (RFC 4217) or plain.
//!
//! Promises that a [`FtpSession`] is at rest: whatever goes on has it, and gives it back once the server has said how it went;
//! that a file counts as read or written only after the server's `226`; that no data connection goes to another
//! host than the control connection; and that no CR, LF or NUL gets into a command. What is broken off costs the control
//! connection: servers do not agree on what follows then.
//!
//! ```text
//!            open_file            226            create              end of data, 226
//!   Session ───────────► Download ───► Session ────────► Upload ─────────────────────► Session
//! ```

mod control;
mod data;
mod date;
mod download;
mod error;
mod facts;
mod lines;
mod list;
mod listing;
mod reply;
mod session;
#[cfg(test)]
mod tests;
mod tickets;
#[cfg(any(test, feature = "bench"))]
pub(crate) mod trial;
mod upload;
mod wire;

pub(crate) use self::download::FtpDownload;
pub(crate) use self::error::Error;
pub(crate) use self::listing::FtpListing;
pub(crate) use self::session::Failed;
pub(crate) use self::session::{FtpCredentials, FtpSession, LOG_IN};
pub(crate) use self::upload::FtpUpload;
pub(crate) use self::wire::{Security, TlsClient};

use super::entry::EntryKind;

/// What stands in a folder, or is under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FtpEntry {
    pub(crate) kind: EntryKind,
    pub(crate) size: Option<u64>,
    /// Seconds since 1970, where the server is known to tell them in UTC.
    pub(crate) modified: Option<i64>,
}
