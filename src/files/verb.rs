//! Which of the things that can be done with a file a request asks for.

use http::Method;

use super::error::{FileError, FileErrorKind};
use super::path::FilePath;

/// What is asked of a file or a folder.
pub(super) enum Verb {
    Read,
    Look,
    Put,
    Delete,
    MakeFolder,
    Move(FilePath),
    Options,
}

impl Verb {
    pub(super) fn of(method: &Method, query: Option<&str>, destination: Option<&str>) -> Result<Self, FileError> {
        match method.as_str() {
            "GET" => Ok(Self::Read),
            "HEAD" => Ok(Self::Look),
            "PUT" => Ok(Self::Put),
            "DELETE" => Ok(Self::Delete),
            "MKCOL" => Ok(Self::MakeFolder),
            "OPTIONS" => Ok(Self::Options),
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
