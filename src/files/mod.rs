//! Files at partners that speak no HTTP: a request for one becomes what SFTP or FTP has for it, and what comes of that
//! becomes an answer.
//!
//! Promises that nothing half is ever whole: what is read ends only where the server has vouched for the end, and what is
//! written has its name only once it is there to its last byte. Names are bytes.
//!
//! Knows nothing of pools, credentials or the app's connection; makes no connection itself.

mod answer;
mod begun;
mod clear_up;
mod conditions;
mod content;
mod ending;
mod entry;
mod error;
mod found;
pub(crate) mod ftp;
mod links;
mod listing;
mod login;
mod options;
mod path;
mod put;
mod replace;
mod server;
mod session;
pub(crate) mod sftp;
pub(crate) mod ssh;
mod suffix;
mod verb;

pub(crate) use self::answer::{ALLOWED, FileAnswer, FileOutcome, FileRequest, answer};
pub(crate) use self::begun::{Leftover, UnfinishedFile};
pub(crate) use self::content::FileContent;
pub(crate) use self::error::{FileError, FileErrorKind};
pub(crate) use self::login::{LoginDeadline, LoginFailure, LoginFailureKind};
pub(crate) use self::options::{FileOptions, Links, UploadMode};
pub(crate) use self::server::{FileServer, FileSocket, FtpAccess, LoginError, LoginTimings, ServerAccess};
pub(crate) use self::session::FileSession;
pub(crate) use self::verb::FileOperation;
