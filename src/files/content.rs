//! What comes of a file or a folder, piece by piece.

use bytes::Bytes;

use super::entry::EntryKind;
use super::error::{FileError, FileErrorKind};
use super::listing::Form;
use super::options::FileOptions;
use super::session::{Entries, FileSession, Reading};

/// What comes from the partner as it is read.
pub(crate) enum FileContent {
    File(Reading),
    Listing(ListingContent),
}

/// A listing in the app's form.
pub(crate) struct ListingContent {
    entries: Entries,
    form: Form,
    listed: usize,
    limit: usize,
    /// What names of files end with, which apps do not see.
    suffix: Option<String>,
    ended: bool,
}

impl FileContent {
    /// The next bytes; `None` at the end, which the partner has vouched for.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, FileError> {
        match self {
            Self::File(reading) => reading.next().await,
            Self::Listing(listing) => listing.next().await,
        }
    }

    /// The session, if it goes on after this.
    pub(crate) async fn finish(self) -> Option<FileSession> {
        match self {
            Self::File(reading) => reading.finish().await,
            Self::Listing(listing) => listing.entries.finish().await,
        }
    }
}

impl ListingContent {
    pub(super) fn new(entries: Entries, form: Form, options: &FileOptions) -> Self {
        let (limit, suffix) = (options.list_limit, options.name_suffix.clone());
        Self { entries, form, listed: 0, limit, suffix, ended: false }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, FileError> {
        if self.ended {
            return Ok(None);
        }
        let mut out = Vec::with_capacity(AT_A_TIME);
        if self.listed == 0 {
            self.form.begin(&mut out);
        }
        while out.len() < AT_A_TIME {
            let Some((name, found)) = self.entries.next().await? else {
                self.ended = true;
                self.form.end(&mut out);
                break;
            };
            if self.listed == self.limit {
                let what = format!("the folder has more than {} entries (`files.list_limit`)", self.limit);
                return Err(FileError::new(FileErrorKind::Partner, what));
            }
            let suffix = self.suffix.as_ref().filter(|_| found.kind != EntryKind::Folder);
            let shorter =
                suffix.and_then(|suffix| name.strip_suffix(suffix.as_bytes())).filter(|name| !name.is_empty());
            self.form.write(shorter.unwrap_or(&name), &found, self.listed == 0, &mut out);
            self.listed += 1;
        }
        Ok(Some(out.into()).filter(|bytes: &Bytes| !bytes.is_empty()))
    }
}

const AT_A_TIME: usize = 16 * 1024;
