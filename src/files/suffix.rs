//! Names that end otherwise at the partner than for apps (`name_suffix`): two files there may be one name here, and what is
//! shown under it is the one that has the end.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::vec;

use super::entry::{EntryKind, Found};
use super::error::{FileError, FileErrorKind};
use super::options::FileOptions;
use super::path::FilePath;
use super::session::{Entries, FileSession};
use super::verb::Verb;

/// The names of a listing as apps see them, each once.
pub(super) enum ShownNames {
    AsTheyAre,
    Shorter(Box<ShorterNames>),
}

/// Whoever has the end is shown as it comes, and a fingerprint of its name is kept. Whoever has not waits for the end of the
/// listing: only there it is known that no other file is shown under its name.
pub(super) struct ShorterNames {
    suffix: Vec<u8>,
    shown: HashSet<u64>,
    hasher: RandomState,
    waiting: Vec<(Vec<u8>, Found)>,
    /// What the waiting ones take.
    bytes: usize,
    /// Once the listing has come to its end.
    left: Option<vec::IntoIter<(Vec<u8>, Found)>>,
}

impl ShownNames {
    pub(super) fn new(suffix: Option<&str>) -> Self {
        let Some(suffix) = suffix else { return Self::AsTheyAre };
        Self::Shorter(Box::new(ShorterNames {
            suffix: suffix.as_bytes().to_vec(),
            shown: HashSet::new(),
            hasher: RandomState::new(),
            waiting: Vec::new(),
            bytes: 0,
            left: None,
        }))
    }

    /// The next entry of these under its name for apps.
    pub(super) async fn next(&mut self, entries: &mut Entries) -> Result<Option<(Vec<u8>, Found)>, FileError> {
        match self {
            Self::AsTheyAre => entries.next().await,
            Self::Shorter(names) => names.next(entries).await,
        }
    }
}

impl ShorterNames {
    async fn next(&mut self, entries: &mut Entries) -> Result<Option<(Vec<u8>, Found)>, FileError> {
        while self.left.is_none() {
            match entries.next().await? {
                None => self.left = Some(std::mem::take(&mut self.waiting).into_iter()),
                Some((name, found)) if found.kind == EntryKind::Folder => return Ok(Some((name, found))),
                Some((mut name, found)) => match name.strip_suffix(&*self.suffix).filter(|name| !name.is_empty()) {
                    Some(shorter) => {
                        name.truncate(shorter.len());
                        self.shown.insert(self.hasher.hash_one(&name));
                        return Ok(Some((name, found)));
                    }
                    None => self.keep_waiting(name, found)?,
                },
            }
        }
        let is_shown = |name: &Vec<u8>| self.shown.contains(&self.hasher.hash_one(name));
        Ok(self.left.as_mut().and_then(|left| left.find(|(name, _)| !is_shown(name))))
    }

    fn keep_waiting(&mut self, name: Vec<u8>, found: Found) -> Result<(), FileError> {
        self.bytes += size_of::<(Vec<u8>, Found)>() + name.len();
        if self.bytes > MOST_WAITING {
            let what = format!(
                "the folder has more files without `{}` at the ends of their names than can be remembered: list it by a service \
                 without `name_suffix`",
                String::from_utf8_lossy(&self.suffix)
            );
            return Err(FileError::new(FileErrorKind::Partner, what));
        }
        self.waiting.push((name, found));
        Ok(())
    }
}

/// What the name of a file has at its end at the partner: whatever is written has it, and whatever else is done is done to the
/// file that has it, if there is one.
pub(super) async fn suffix_of<'o>(
    session: &mut FileSession,
    path: &FilePath,
    verb: &Verb,
    options: &'o FileOptions,
) -> Result<Option<&'o str>, FileError> {
    let Some(suffix) = options.name_suffix.as_deref().filter(|_| !path.is_folder()) else { return Ok(None) };
    let written = match verb {
        Verb::Move(to) => to,
        _ => path,
    };
    if matches!(verb, Verb::Put | Verb::Move(_)) && !written.has_room_for(suffix) {
        let what = format!("its name is longer than 255 bytes with `{suffix}` at its end, as the partner has it");
        return Err(FileError::new(FileErrorKind::Request, what));
    }
    match verb {
        // No disk has it.
        _ if !path.has_room_for(suffix) => return Ok(None),
        Verb::Put => return Ok(Some(suffix)),
        Verb::MakeFolder => return Ok(None),
        Verb::Read | Verb::Look | Verb::Delete | Verb::Move(_) => {}
    }
    match session.stat(&session.place(&path.with_suffix(suffix))).await {
        Ok(found) => Ok(Some(suffix).filter(|_| found.kind != EntryKind::Folder)),
        Err(error) if error.kind == FileErrorKind::NotFound => Ok(None),
        // Where nobody knows whether it is there, another file must not be taken for it.
        Err(error) => Err(error),
    }
}

/// What else a name stands for, beside the file that it leads to first.
pub(super) struct OtherName {
    path: FilePath,
    /// It is shown under the name even where there is the first one.
    pub(super) is_shown_first: bool,
}

impl OtherName {
    /// Of a path as apps write it. `has_end`: what it leads to has `suffix` at the end of its name.
    pub(super) fn of(path: &FilePath, suffix: Option<&str>, has_end: bool) -> Option<Self> {
        let suffix = suffix.filter(|_| !path.is_folder())?;
        match has_end {
            true => Some(Self { path: path.clone(), is_shown_first: false }),
            false => path.has_room_for(suffix).then(|| Self { path: path.with_suffix(suffix), is_shown_first: true }),
        }
    }

    /// The file of that name, if there is one.
    pub(super) async fn look(&self, session: &mut FileSession) -> Result<Option<Found>, FileError> {
        match session.stat(&session.place(&self.path)).await {
            Ok(found) => Ok(Some(found).filter(|found| found.kind != EntryKind::Folder)),
            // Who may not look may still be let write.
            Err(error) if matches!(error.kind, FileErrorKind::NotFound | FileErrorKind::Forbidden) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Some ten thousand names.
const MOST_WAITING: usize = 1024 * 1024;
