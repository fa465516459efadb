//! Links in a path, where `files.links` refuses them.

use super::entry::{EntryKind, Found};
use super::error::{FileError, FileErrorKind};
use super::options::{FileOptions, Links};
use super::path::FilePath;
use super::session::FileSession;
use super::verb::Verb;

/// Refuses a path through a link, or to one that would be followed. Both sides of a new name count; by FTP only what the
/// server tells.
///
/// It is a look and not a lock: whoever may write there can put a link in place between this and what is done then.
pub(super) async fn refuse_links(
    session: &mut FileSession,
    path: &FilePath,
    verb: &Verb,
    options: &FileOptions,
) -> Result<(), FileError> {
    if options.links == Links::Follow {
        return Ok(());
    }
    let last = match verb {
        Verb::Read | Verb::Look | Verb::Put => LastName::Followed,
        // A link is removed, or gets another name, and what it leads to stays as it is.
        Verb::Delete | Verb::MakeFolder | Verb::Move(_) => LastName::Taken,
    };
    refuse(session, path, last, options).await?;
    match verb {
        Verb::Move(to) => refuse(session, to, LastName::Taken, options).await,
        _ => Ok(()),
    }
}

/// What becomes of the last name of a path if that is a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastName {
    Followed,
    Taken,
}

async fn refuse(
    session: &mut FileSession,
    path: &FilePath,
    last: LastName,
    options: &FileOptions,
) -> Result<(), FileError> {
    let steps: Vec<_> = path.steps().collect();
    let looked_at = if last == LastName::Taken { steps.len().saturating_sub(1) } else { steps.len() };
    for step in steps.iter().take(looked_at).skip(options.names_of_config) {
        match session.lstat(&session.place(step)).await {
            Ok(Found { kind: EntryKind::Link, .. }) => {
                let name = String::from_utf8_lossy(step.name().unwrap_or_default()).into_owned();
                let what = format!("`{name}` in its path is a link, which `files.links` refuses");
                return Err(FileError::new(FileErrorKind::Forbidden, what));
            }
            Err(error) if error.kind == FileErrorKind::Ended => return Err(error),
            // Below it there is nothing.
            Err(error) if error.kind == FileErrorKind::NotFound => return Ok(()),
            // What may not be looked at ends what is asked for by itself.
            _ => {}
        }
    }
    Ok(())
}
