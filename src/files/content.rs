//! What comes of a file or a folder, piece by piece.

use bytes::Bytes;

use super::error::{FileError, FileErrorKind};
use super::listing::Form;
use super::options::FileOptions;
use super::session::{Entries, FileSession, Reading};
use super::suffix::ShownNames;

/// What comes from the partner as it is read.
pub(crate) enum FileContent {
    File(Reading),
    Listing(ListingContent),
}

/// A listing in the app's form.
pub(crate) struct ListingContent {
    entries: Entries,
    names: ShownNames,
    form: Form,
    listed: usize,
    limit: usize,
    /// What was read before the answer's head went out.
    first: Option<Bytes>,
    state: ListingState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ListingState {
    GoesOn,
    /// There are more entries than may be listed.
    OverLimit,
    Ended,
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
    /// Reads its beginning, or all of it if that is short: what nobody can read there is an error and no answer that breaks off.
    ///
    /// # Errors
    /// When there is none to be given. The session is gone with it.
    pub(super) async fn begin(entries: Entries, form: Form, options: &FileOptions) -> Result<Self, FileError> {
        let names = ShownNames::new(options.name_suffix.as_deref());
        let (limit, state) = (options.list_limit, ListingState::GoesOn);
        let mut listing = Self { entries, names, form, listed: 0, limit, first: None, state };
        listing.first = listing.read_on().await?;
        Ok(listing)
    }

    async fn next(&mut self) -> Result<Option<Bytes>, FileError> {
        match (self.first.take(), self.state) {
            (Some(first), _) => Ok(Some(first)),
            (None, ListingState::GoesOn) => self.read_on().await,
            (None, ListingState::OverLimit) => Err(self.over_limit()),
            (None, ListingState::Ended) => Ok(None),
        }
    }

    /// The next piece; what there is up to the limit goes before the error.
    async fn read_on(&mut self) -> Result<Option<Bytes>, FileError> {
        let mut out = Vec::with_capacity(AT_A_TIME);
        if self.listed == 0 {
            self.form.begin(&mut out);
        }
        while out.len() < AT_A_TIME {
            let Some((name, found)) = self.names.next(&mut self.entries).await? else {
                self.state = ListingState::Ended;
                self.form.end(&mut out);
                break;
            };
            if self.listed == self.limit {
                self.state = ListingState::OverLimit;
                break;
            }
            self.form.write(&name, &found, self.listed == 0, &mut out);
            self.listed += 1;
        }
        match self.state {
            // It has come to the limit just where the last piece ended.
            ListingState::OverLimit if out.is_empty() => Err(self.over_limit()),
            _ => Ok(Some(out.into()).filter(|bytes: &Bytes| !bytes.is_empty())),
        }
    }

    fn over_limit(&self) -> FileError {
        let what = format!("the folder has more than {} entries (`files.list_limit`)", self.limit);
        FileError::new(FileErrorKind::Partner, what)
    }
}

const AT_A_TIME: usize = 16 * 1024;
