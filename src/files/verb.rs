//! What a request asks of a file or a folder, as far as the request itself tells. Pure.

use http::header::{CONTENT_RANGE, HeaderName};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method};

use super::error::{FileError, FileErrorKind};
use super::path::FilePath;

/// What is asked for, and of what. It is read before there is a session: for what no server could do none is logged in to.
pub(crate) struct FileOperation {
    pub(super) verb: Verb,
    pub(super) path: FilePath,
}

/// What is asked of a file or a folder.
pub(super) enum Verb {
    Read,
    Look,
    Put,
    Delete,
    MakeFolder,
    Move(FilePath),
}

impl FileOperation {
    /// Of a request as it is sent: `target`, and `Destination`, are paths at the partner.
    ///
    /// # Errors
    /// When it is none that a server of files could do anything with.
    pub(crate) fn read(method: &Method, target: &PathAndQuery, fields: &HeaderMap) -> Result<Self, FileError> {
        let path = match FilePath::read(target.path()) {
            Ok(path) => path,
            Err(error) => return Err(FileError::new(FileErrorKind::Request, error.to_string())),
        };
        let destination = fields.get(&DESTINATION).and_then(|to| to.to_str().ok());
        let verb = Verb::of(method, target.query(), destination)?;
        if matches!(verb, Verb::Put) {
            if fields.contains_key(CONTENT_RANGE) {
                let what = "a `PUT` with `Content-Range` would leave half a file";
                return Err(FileError::new(FileErrorKind::Request, what));
            }
            if path.is_folder() {
                let what = "a path that ends in `/` is a folder: `MKCOL` makes one";
                return Err(FileError::new(FileErrorKind::Conflict, what));
            }
        }
        Ok(Self { verb, path })
    }
}

impl Verb {
    fn of(method: &Method, query: Option<&str>, destination: Option<&str>) -> Result<Self, FileError> {
        match method.as_str() {
            "GET" => Ok(Self::Read),
            "HEAD" => Ok(Self::Look),
            "PUT" => Ok(Self::Put),
            "DELETE" => Ok(Self::Delete),
            "MKCOL" => Ok(Self::MakeFolder),
            "MOVE" => Self::to(destination, "`MOVE` needs a `Destination` in the form of this request's own URL"),
            // An empty value is how forms write that there is none.
            "POST" if matches!(query, Some("mkdir" | "mkdir=")) => Ok(Self::MakeFolder),
            "POST" if query.is_some_and(|query| query.starts_with("rename=") && !query.contains('&')) => {
                Self::to(destination, "`rename=` needs a path in the form of this request's own URL")
            }
            "POST" => {
                let what = "a `POST` here has `?mkdir` or `?rename=PATH`, and nothing beside: a `&` in a name is `%26`";
                Err(FileError::new(FileErrorKind::Request, what))
            }
            _ => Err(FileError::new(FileErrorKind::Method, format!("a file is not asked to {}", method))),
        }
    }

    fn to(destination: Option<&str>, missing: &str) -> Result<Self, FileError> {
        let Some(to) = destination else { return Err(FileError::new(FileErrorKind::Request, missing)) };
        match FilePath::read(to) {
            Ok(to) => Ok(Self::Move(to)),
            Err(error) => Err(FileError::new(FileErrorKind::Request, format!("where it shall go: {error}"))),
        }
    }
}

/// Where `MOVE` goes (RFC 4918 §10.3); as it comes here, a path at the partner.
static DESTINATION: HeaderName = HeaderName::from_static("destination");
