//! What an upload has left over is put in order, by another session.

use super::begun::{Leftover, SetAside, UnfinishedFile};
use super::entry::Overwrite;
use super::error::{FileError, FileErrorKind};
use super::session::FileSession;

impl FileSession {
    /// Puts in order what another session has left over.
    pub(crate) async fn clear_up(&mut self, left: &Leftover) -> Result<(), FileError> {
        if let Some(SetAside { aside, place }) = &left.aside {
            match self.lstat(place).await {
                Ok(_) => self.remove_if_there(aside).await?,
                // The new one has not come: the old one goes back, if it was set aside.
                Err(error) if error.kind == FileErrorKind::NotFound => match self.lstat(aside).await {
                    Ok(_) => self.rename(aside, place, Overwrite::Refused, &UnfinishedFile::default()).await?,
                    Err(error) if error.kind == FileErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                },
                Err(error) => return Err(error),
            }
        }
        match &left.temporary {
            Some(temporary) => self.remove_if_there(temporary).await,
            None => Ok(()),
        }
    }
}
