//! A client of SFTP, version 3 (draft-ietf-secsh-filexfer-02), over any stream of bytes.
//!
//! Promises that a [`SftpSession`] is at rest: whatever goes on has it, and gives it back once nothing is owed on either
//! side; that a file is read to the size which the server told, or it is an error; that a file counts as written only
//! when the server has said so of every byte and of its end; and that names and handles are bytes. Memory is bounded:
//! 1 MiB for what is under way, and as much again for what waits to be sent.
//!
//! Knows nothing of SSH: what carries the bytes is somebody else's.
//!
//! ```text
//!            open_file              read to its end            finish
//!   Session ───────────► Download ──────────────────► ended ──────────► Session
//!       │    create                 all written        finish or abandon
//!       ├───────────────► Upload ────────────────────────────────────► Session
//!       │    open_folder            all read           finish
//!       └───────────────► Listing ───────────────────────────────────► Session
//! ```

mod download;
mod error;
mod listing;
mod packet;
mod session;
#[cfg(test)]
mod tests;
#[cfg(any(test, feature = "bench"))]
pub(crate) mod trial;
mod upload;

pub(crate) use self::download::SftpDownload;
pub(crate) use self::error::{Error, SftpRefusal};
pub(crate) use self::listing::SftpListing;
pub(crate) use self::packet::Attributes;
pub(crate) use self::session::{SftpChannel, SftpSession};
pub(crate) use self::upload::SftpUpload;
