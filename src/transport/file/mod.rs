//! A session with a file server as a connection: requests of HTTP go in, and answers come out.
//!
//! Promises what [`Http1Connection`](super::Http1Connection) does: a session is used again only if nothing is under way in
//! it on either side, and a body that breaks off is never taken for whole. Beyond that it knows what a request has begun
//! that must not stay.

mod connection;
mod content;
mod dial;
mod lent;
mod probe;

pub(crate) use self::connection::{FileAnswerBody, FileAtRest, FileConnection};
pub(super) use self::dial::connect;
pub(crate) use self::probe::FileTimings;
pub(super) use self::probe::probe;

use std::sync::Arc;

use crate::files::FileServer;

/// What a connection to a file server is made with, beside where it goes.
#[derive(Clone)]
pub(super) struct FileTarget {
    pub(super) server: Arc<FileServer>,
    /// The path of the service's URL.
    pub(super) folder: String,
}
