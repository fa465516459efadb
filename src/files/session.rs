//! A session with a file server, of either protocol.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::begun::UnfinishedFile;
use super::conditions::FileVersion;
use super::entry::{EntryKind, Found, Overwrite};
use super::error::{FileError, FileErrorKind, no_folder};
use super::found::{of_attributes, of_entry};
use super::path::FilePath;
use super::{ftp, sftp, ssh};

/// A session in which nothing is under way.
pub(crate) enum FileSession {
    Sftp(Box<sftp::SftpSession<ssh::SftpStream>>),
    Ftp(Box<ftp::FtpSession>),
}

/// A failure, and the session if that goes on.
pub(crate) struct Failure {
    pub(crate) error: FileError,
    pub(crate) session: Option<FileSession>,
}

/// A file of which nothing was read yet.
pub(crate) enum Opened {
    Sftp(Box<sftp::SftpDownload<ssh::SftpStream>>),
    /// Looked at; by FTP nothing is opened but to be read.
    Ftp {
        session: Box<FileSession>,
        path: Vec<u8>,
        /// As it was looked at, and as the app is told.
        size: Option<u64>,
    },
}

/// What came of a wish for a part of a file.
pub(crate) enum PartRead {
    Part(Reading),
    /// The server begins nowhere but at the start.
    Whole(Reading),
}

/// A file that comes.
pub(crate) enum Reading {
    Sftp(Box<sftp::SftpDownload<ssh::SftpStream>>),
    Ftp {
        download: Box<ftp::FtpDownload>,
        /// How many bytes of it are wanted.
        left: u64,
    },
}

/// A file that goes.
pub(crate) enum Writing {
    Sftp(Box<sftp::SftpUpload<ssh::SftpStream>>),
    Ftp(Box<ftp::FtpUpload>),
}

/// A folder whose entries come.
pub(crate) enum Entries {
    Sftp(Box<sftp::SftpListing<ssh::SftpStream>>),
    Ftp(Box<ftp::FtpListing>),
}

impl FileSession {
    /// Whether another file can be asked for in it.
    pub(crate) fn can_transfer(&self) -> bool {
        match self {
            Self::Sftp(_) => true,
            Self::Ftp(session) => session.can_transfer(),
        }
    }

    /// Whether a part of a file can be asked for, as far as is known.
    pub(crate) fn may_read_parts(&self) -> bool {
        match self {
            Self::Sftp(_) => true,
            Self::Ftp(session) => session.may_restart(),
        }
    }

    /// Whether it is of no use any more, as far as is known.
    pub(crate) fn has_ended(&mut self) -> bool {
        match self {
            Self::Sftp(session) => session.has_ended(),
            Self::Ftp(session) => session.has_ended(),
        }
    }

    /// What the server calls this path.
    pub(crate) fn place(&self, path: &FilePath) -> Vec<u8> {
        match self {
            Self::Sftp(_) => path.relative(),
            Self::Ftp(session) => path.absolute(&session.home),
        }
    }

    /// Whether a folder can be listed; only its first entries are asked for.
    pub(crate) async fn look_into(self, path: &str) -> Result<(), FileError> {
        let path = FilePath::read(path).map_err(|error| FileError::new(FileErrorKind::Request, error.to_string()))?;
        let place = self.place(&path);
        let mut entries = self.list(&place).await.map_err(|failure| failure.error)?;
        entries.next().await.map(drop)
    }

    /// What is there; a link is followed. Nothing there is an error of its own kind, as far as the server tells.
    pub(crate) async fn stat(&mut self, path: &[u8]) -> Result<Found, FileError> {
        match self {
            Self::Sftp(session) => {
                Ok(of_attributes(session.stat(path).await.map_err(|error| FileError::from(&error))?))
            }
            Self::Ftp(session) => {
                session.stat(path).await.map_or_else(|error| Err(of_look(&error)), |it| Ok(of_entry(&it)))
            }
        }
    }

    /// The same of a link itself; by FTP there is no such question.
    pub(crate) async fn lstat(&mut self, path: &[u8]) -> Result<Found, FileError> {
        match self {
            Self::Sftp(session) => {
                Ok(of_attributes(session.lstat(path).await.map_err(|error| FileError::from(&error))?))
            }
            Self::Ftp(_) => self.stat(path).await,
        }
    }

    pub(crate) async fn remove(&mut self, path: &[u8]) -> Result<(), FileError> {
        match self {
            Self::Sftp(session) => session.remove(path).await.map_err(|error| (&error).into()),
            Self::Ftp(session) => session.remove(path).await.map_err(|error| (&error).into()),
        }
    }

    /// As [`remove`](Self::remove), and it is well if there is nothing.
    pub(crate) async fn remove_if_there(&mut self, path: &[u8]) -> Result<(), FileError> {
        let Err(error) = self.remove(path).await else { return Ok(()) };
        if error.kind == FileErrorKind::NotFound {
            return Ok(());
        }
        match self.stat(path).await {
            Err(why) if why.kind == FileErrorKind::NotFound => Ok(()),
            _ => Err(error),
        }
    }

    pub(crate) async fn remove_folder(&mut self, path: &[u8]) -> Result<(), FileError> {
        match self {
            Self::Sftp(session) => session.remove_folder(path).await.map_err(|error| (&error).into()),
            Self::Ftp(session) => session.remove_folder(path).await.map_err(|error| (&error).into()),
        }
    }

    pub(crate) async fn make_folder(&mut self, path: &[u8]) -> Result<(), FileError> {
        match self {
            Self::Sftp(session) => session.make_folder(path).await.map_err(|error| (&error).into()),
            Self::Ftp(session) => session.make_folder(path).await.map_err(|error| (&error).into()),
        }
    }

    /// By FTP nobody can refuse what is there in one step: it is looked at just before.
    pub(crate) async fn rename(
        &mut self,
        from: &[u8],
        to: &[u8],
        over: Overwrite,
        begun: &UnfinishedFile,
    ) -> Result<(), FileError> {
        match self {
            Self::Sftp(session) => session.rename(from, to, over, begun).await.map_err(|error| (&error).into()),
            Self::Ftp(session) => match over {
                Overwrite::Replaced => session.rename_over(from, to, begun).await.map_err(|error| (&error).into()),
                Overwrite::Refused => match session.stat(to).await.map_err(|error| of_look(&error)) {
                    Ok(_) => Err(FileError::new(FileErrorKind::Precondition, "something has that name already")),
                    // Only who has said so knows that nothing is there.
                    Err(error) if error.kind == FileErrorKind::NotFound => {
                        session.rename(from, to).await.map_err(|error| (&error).into())
                    }
                    Err(error) => Err(error),
                },
            },
        }
    }

    /// Opens a file, and says what it is: some servers open folders, too.
    pub(crate) async fn open(mut self, path: Vec<u8>) -> Result<(Opened, Found), Failure> {
        match self {
            Self::Sftp(session) => match session.open_file(&path).await {
                Ok(download) => {
                    let found = of_attributes(download.attributes());
                    Ok((Opened::Sftp(Box::new(download)), found))
                }
                Err((error, session)) => Err(Failure::of_sftp(&error, session)),
            },
            Self::Ftp(ref mut session) => match session.stat(&path).await {
                Ok(entry) => {
                    let (found, size) = (of_entry(&entry), entry.size);
                    Ok((Opened::Ftp { session: Box::new(self), path, size }, found))
                }
                // What can't be looked at may be read all the same.
                Err(ftp::Error::Untold) => {
                    let found = Found { kind: EntryKind::File, version: FileVersion::default() };
                    Ok((Opened::Ftp { session: Box::new(self), path, size: None }, found))
                }
                Err(error) => Err(Failure::new(of_look(&error), self)),
            },
        }
    }

    /// Whether a file that was refused to be made is certainly not there: by FTP it may be, and be empty.
    pub(crate) fn begins_in_one_step(&self) -> bool {
        matches!(self, Self::Sftp(_))
    }

    /// Makes a file, or empties the one that is there. By SFTP `over` says whether there may be one; FTP has no word for that,
    /// and whoever minds has looked before.
    pub(crate) async fn write(self, path: &[u8], over: Overwrite) -> Result<Writing, Failure> {
        match self {
            Self::Sftp(session) => match session.create(path, over).await {
                Ok(upload) => Ok(Writing::Sftp(Box::new(upload))),
                Err((error, session)) => Err(Failure::of_sftp(&error, session)),
            },
            Self::Ftp(session) => match session.create(path).await {
                Ok(upload) => Ok(Writing::Ftp(Box::new(upload))),
                Err(failed) => Err(failed.into()),
            },
        }
    }

    /// The entries of a folder. Servers say of much that can't be listed that it can't be, and no more: it is looked at then.
    pub(crate) async fn list(self, path: &[u8]) -> Result<Entries, Failure> {
        let (error, mut session) = match self.open_folder(path).await {
            Err(Failure { error, session: Some(session) }) => (error, session),
            opened => return opened,
        };
        let error = match session.stat(path).await {
            Ok(Found { kind: EntryKind::Folder, .. }) => error,
            // A file with a `/` behind it is not there, whatever the server calls that.
            Ok(_) => no_folder(),
            Err(why) if why.kind == FileErrorKind::NotFound => error.known_as(FileErrorKind::NotFound),
            Err(_) => error,
        };
        Err(Failure::new(error, session))
    }

    async fn open_folder(self, path: &[u8]) -> Result<Entries, Failure> {
        match self {
            Self::Sftp(session) => match session.open_folder(path).await {
                Ok(listing) => Ok(Entries::Sftp(Box::new(listing))),
                Err((error, session)) => Err(Failure::of_sftp(&error, session)),
            },
            Self::Ftp(session) => match session.open_folder(path).await {
                Ok(listing) => Ok(Entries::Ftp(Box::new(listing))),
                Err(failed) => Err(failed.into()),
            },
        }
    }
}

impl Failure {
    pub(super) fn new(error: FileError, session: FileSession) -> Self {
        let session = (error.kind != FileErrorKind::Ended).then_some(session);
        Self { error, session }
    }

    fn of_sftp(error: &sftp::Error, session: Option<sftp::SftpSession<ssh::SftpStream>>) -> Self {
        Self { error: error.into(), session: session.map(|session| FileSession::Sftp(Box::new(session))) }
    }
}

impl From<ftp::Failed> for Failure {
    fn from(failed: ftp::Failed) -> Self {
        Self { error: (&failed.error).into(), session: failed.session.map(FileSession::Ftp) }
    }
}

impl Opened {
    /// Reads all of it.
    pub(crate) async fn read(self) -> Result<Reading, Failure> {
        match self {
            Self::Sftp(download) => Ok(Reading::Sftp(download)),
            Self::Ftp { session, path, size } => session.retrieve(&path, size, 0, u64::MAX).await,
        }
    }

    /// Reads it from `from` to before `to`, if the server can begin there.
    pub(crate) async fn read_part(self, from: u64, to: u64) -> Result<PartRead, Failure> {
        match self {
            Self::Sftp(mut download) => {
                download.limit(from, to);
                Ok(PartRead::Part(Reading::Sftp(download)))
            }
            Self::Ftp { session, path, size } => match session.retrieve(&path, size, from, to).await {
                Ok(reading) => Ok(PartRead::Part(reading)),
                Err(Failure { session: Some(session), .. }) if from > 0 && !session.may_read_parts() => {
                    Ok(PartRead::Whole(session.retrieve(&path, size, 0, u64::MAX).await?))
                }
                Err(failure) => Err(failure),
            },
        }
    }

    pub(crate) fn may_read_parts(&self) -> bool {
        match self {
            Self::Sftp(_) => true,
            Self::Ftp { session, .. } => session.may_read_parts(),
        }
    }

    /// Leaves it unread.
    pub(crate) async fn close(self) -> Option<FileSession> {
        match self {
            Self::Sftp(download) => Some(FileSession::Sftp(Box::new(download.finish().await.ok()?))),
            Self::Ftp { session, .. } => Some(*session),
        }
    }
}

impl FileSession {
    async fn retrieve(self, path: &[u8], size: Option<u64>, from: u64, to: u64) -> Result<Reading, Failure> {
        let Self::Ftp(session) = self else {
            let error = FileError::new(FileErrorKind::Ended, "files are opened otherwise by SFTP");
            return Err(Failure::new(error, self));
        };
        match session.open_file(path, from, size).await {
            Ok(download) => Ok(Reading::Ftp { download: Box::new(download), left: to.saturating_sub(from) }),
            Err(failed) => Err(failed.into()),
        }
    }
}

impl Reading {
    /// The next bytes; `None` at the end, which the server has vouched for, unless only a part was asked for.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, FileError> {
        match self {
            Self::Sftp(download) => download.next().await.map_err(|error| (&error).into()),
            Self::Ftp { left: 0, .. } => Ok(None),
            Self::Ftp { download, left } => {
                let bytes = download.next().await.map_err(|error| FileError::from(&error))?;
                Ok(bytes.map(|mut bytes| {
                    bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= bytes.len() as u64;
                    bytes
                }))
            }
        }
    }

    /// The session, if it can go on after this.
    pub(crate) async fn finish(self) -> Option<FileSession> {
        match self {
            Self::Sftp(download) => Some(FileSession::Sftp(Box::new(download.finish().await.ok()?))),
            // One that was cut is of no use: servers do not agree on what follows.
            Self::Ftp { download, .. } => Some(FileSession::Ftp(Box::new(download.finish()?))),
        }
    }
}

impl Writing {
    pub(crate) async fn push(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        match self {
            Self::Sftp(upload) => upload.push(bytes).await.map_err(|error| (&error).into()),
            Self::Ftp(upload) => upload.push(bytes).await.map_err(|error| (&error).into()),
        }
    }

    /// For who waits for bytes to be pushed: ready when the server has refused what came before. By FTP it can't be heard, as it
    /// says so at the end alone.
    pub(crate) fn poll_refusal(&mut self, cx: &mut Context<'_>) -> Poll<FileError> {
        match self {
            Self::Sftp(upload) => upload.poll_refusal(cx).map(|error| (&error).into()),
            Self::Ftp(_) => Poll::Pending,
        }
    }

    pub(crate) fn written(&self) -> u64 {
        match self {
            Self::Sftp(upload) => upload.written(),
            Self::Ftp(upload) => upload.written(),
        }
    }

    /// All of it is there.
    pub(crate) async fn finish(self) -> Result<FileSession, Failure> {
        match self {
            Self::Sftp(upload) => match upload.finish().await {
                Ok(session) => Ok(FileSession::Sftp(Box::new(session))),
                Err((error, session)) => Err(Failure::of_sftp(&error, session)),
            },
            Self::Ftp(upload) => match upload.finish().await {
                Ok(session) => Ok(FileSession::Ftp(Box::new(session))),
                Err(failed) => Err(failed.into()),
            },
        }
    }

    /// It will not be whole. The session, if it goes on: by FTP it never does, as only its end says that this was no end of the file.
    pub(crate) async fn abandon(self) -> Option<FileSession> {
        match self {
            Self::Sftp(upload) => Some(FileSession::Sftp(Box::new(upload.abandon().await.ok()?))),
            Self::Ftp(_) => None,
        }
    }
}

impl Entries {
    /// The next one, in the server's order.
    pub(crate) async fn next(&mut self) -> Result<Option<(Vec<u8>, Found)>, FileError> {
        match self {
            Self::Sftp(listing) => {
                let entry = listing.next().await.map_err(|error| FileError::from(&error))?;
                Ok(entry.map(|(name, attributes)| (name.to_vec(), of_attributes(attributes))))
            }
            Self::Ftp(listing) => {
                let entry = listing.next().await.map_err(|error| FileError::from(&error))?;
                Ok(entry.map(|(name, entry)| (name, of_entry(&entry))))
            }
        }
    }

    /// The session, once all were read.
    pub(crate) async fn finish(self) -> Option<FileSession> {
        match self {
            Self::Sftp(listing) => Some(FileSession::Sftp(Box::new(listing.finish().await.ok()?))),
            Self::Ftp(listing) => Some(FileSession::Ftp(Box::new(listing.finish()?))),
        }
    }
}

/// What a look by FTP came to: neither a file nor a folder, to somebody who may look at both, is nothing.
fn of_look(error: &ftp::Error) -> FileError {
    let is_nothing = error.reply().is_some_and(|reply| reply.code == 550);
    let error = FileError::from(error);
    if is_nothing { error.known_as(FileErrorKind::NotFound) } else { error }
}
