//! Why a file was not read, written or changed, in kinds that both protocols share.

use std::fmt;

use super::{ftp, sftp};

/// What became of a request for a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileError {
    pub(crate) kind: FileErrorKind,
    /// What was tried, and the partner's number and words.
    pub(crate) what: String,
}

/// What the app is told in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileErrorKind {
    /// The request names no file, or asks for what no file is asked.
    Request,
    /// Files know no such method.
    Method,
    NotFound,
    Forbidden,
    /// What is there is in the way, or is of another kind.
    Conflict,
    Precondition,
    /// Nothing of what is asked for is within the file.
    Range {
        size: u64,
    },
    NoSpace,
    /// The partner can't do it.
    Unsupported,
    /// The partner can't do it now, or what it was asked for is changing: that says nothing of what is there.
    NotNow,
    /// Anything else that the partner said.
    Partner,
    /// The session has ended: nothing is known of what was under way.
    Ended,
    /// The app's body broke off.
    RequestBody,
}

impl FileError {
    pub(super) fn new(kind: FileErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into() }
    }

    /// Whether the partner said no, and not why: what is there has to be looked at.
    pub(super) fn is_vague(&self) -> bool {
        self.kind == FileErrorKind::Partner
    }

    /// Whether a look at what is there may tell more: some forbid to open a folder.
    pub(super) fn wants_a_look(&self) -> bool {
        matches!(self.kind, FileErrorKind::Partner | FileErrorKind::Forbidden)
    }

    /// The same words, under a kind that a second look has shown.
    pub(super) fn known_as(self, kind: FileErrorKind) -> Self {
        Self { kind, ..self }
    }
}

/// A path ends in `/`, and leads to something else.
pub(super) fn no_folder() -> FileError {
    FileError::new(FileErrorKind::NotFound, "there is a file of that name, and no folder")
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl From<&sftp::Error> for FileError {
    fn from(error: &sftp::Error) -> Self {
        let kind = match error {
            sftp::Error::Refused { refusal, .. } => of_words(of_status(refusal.code), &refusal.to_string()),
            sftp::Error::Ended | sftp::Error::Io(_) | sftp::Error::Protocol(_) | sftp::Error::Version(_) => {
                FileErrorKind::Ended
            }
            sftp::Error::Shrunk { .. } => FileErrorKind::Partner,
        };
        Self::new(kind, error.to_string())
    }
}

/// Numbers above 8 are of later versions of SFTP; servers send them all the same.
fn of_status(code: u32) -> FileErrorKind {
    match code {
        2 | 10 => FileErrorKind::NotFound,
        3 | 12 => FileErrorKind::Forbidden,
        8 => FileErrorKind::Unsupported,
        11 => FileErrorKind::Conflict,
        14 | 15 => FileErrorKind::NoSpace,
        _ => FileErrorKind::Partner,
    }
}

impl From<&ftp::Error> for FileError {
    fn from(error: &ftp::Error) -> Self {
        let kind = match (error, error.reply()) {
            // It is the way to the file that is refused, and not the file.
            (ftp::Error::NoData(_), Some(reply)) => match of_words(of_reply(reply.code), &reply.text()) {
                FileErrorKind::Partner => FileErrorKind::NotNow,
                kind => kind,
            },
            (_, Some(reply)) => of_words(of_reply(reply.code), &reply.text()),
            (ftp::Error::Unspeakable | ftp::Error::TooLong(_), _) => FileErrorKind::Request,
            (ftp::Error::Changed { .. } | ftp::Error::Grown(_), _) => FileErrorKind::NotNow,
            (ftp::Error::Untold, _) => FileErrorKind::Unsupported,
            (ftp::Error::BrokenOff(_) | ftp::Error::Unread(_), _) => FileErrorKind::Partner,
            _ => FileErrorKind::Ended,
        };
        Self::new(kind, error.to_string())
    }
}

/// What a server calls a failure, and no more, its words may tell.
fn of_words(kind: FileErrorKind, words: &str) -> FileErrorKind {
    let words = words.to_ascii_lowercase();
    let says = |any: &[&str]| any.iter().any(|some| words.contains(some));
    match kind {
        FileErrorKind::Partner | FileErrorKind::NotNow if says(&DENIED) => FileErrorKind::Forbidden,
        FileErrorKind::Partner | FileErrorKind::NotNow if says(&FULL) => FileErrorKind::NoSpace,
        kind => kind,
    }
}

/// As errno(3) is put into words, mostly: EACCES, EPERM, EROFS; ENOSPC, EDQUOT.
const DENIED: [&str; 3] = ["permission denied", "operation not permitted", "read-only file system"];
const FULL: [&str; 2] = ["no space left", "quota exceeded"];

/// RFC 959 §4.2. 550 is said of anything.
fn of_reply(code: u16) -> FileErrorKind {
    match code {
        421 => FileErrorKind::Ended,
        // No data connection, it was cut, the file is in use, or something is wrong there.
        425 | 426 | 450 | 451 => FileErrorKind::NotNow,
        452 | 552 => FileErrorKind::NoSpace,
        500..=504 => FileErrorKind::Unsupported,
        530 | 532 | 553 => FileErrorKind::Forbidden,
        _ => FileErrorKind::Partner,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_tell_what_a_number_does_not() {
        for (words, kind) in [
            ("Permission denied.", FileErrorKind::Forbidden),
            ("/in/.a.csv.1f.part: Operation not permitted", FileErrorKind::Forbidden),
            ("No space left on device (status 4)", FileErrorKind::NoSpace),
            ("Failed to open file.", FileErrorKind::Partner),
        ] {
            assert_eq!(of_words(FileErrorKind::Partner, words), kind, "{words}");
        }
        assert_eq!(of_words(FileErrorKind::NotFound, "Permission denied"), FileErrorKind::NotFound);
    }
}
