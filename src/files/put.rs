//! A file that is put: under a temporary name until it is there to its last byte, and then under its own.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::body::Body;

use super::answer::{FileAnswer, FileOutcome, FileRequest, failed_condition};
use super::begun::UnfinishedFile;
use super::conditions::{self, Condition};
use super::entry::{EntryKind, Found, Overwrite};
use super::error::{FileError, FileErrorKind};
use super::options::{FileOptions, UploadMode};
use super::path::{FilePath, temporary};
use super::session::{Failure, FileSession, Writing};
use super::suffix::OtherName;

pub(super) async fn put<B>(
    mut session: FileSession,
    (path, other): (&FilePath, Option<OtherName>),
    request: &FileRequest<'_>,
    options: &FileOptions,
    body: B,
    random: u64,
) -> FileOutcome
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let place = session.place(path);
    let there = match may_write(&mut session, (&place, other), request, options).await {
        Ok(there) => there,
        Err(error) => return Failure::new(error, session).into(),
    };
    let may_replace = may_replace(request, options);
    let (under, over) = match (options.upload, path.name()) {
        (UploadMode::Atomic, Some(name)) => {
            (session.place(&path.sibling(temporary(name, &options.temp_suffix, random))), Overwrite::Refused)
        }
        _ if may_replace => (place.clone(), Overwrite::Replaced),
        _ => (place.clone(), Overwrite::Refused),
    };
    // Before it is made: if the session ends here, nobody knows whether it was.
    request.begun.set(&under);
    let written = match session.write(&under, over).await {
        Ok(writing) => write(writing, body, &under, request.begun).await,
        Err(Failure { error, session }) => {
            // Around it there may be nothing, or no folder.
            let error = if error.kind == FileErrorKind::NotFound || error.is_vague() {
                error.known_as(FileErrorKind::Conflict)
            } else {
                error
            };
            if under == place || session.as_ref().is_some_and(FileSession::begins_in_one_step) {
                // What has that name may be the old one; and what was not opened is not there.
                request.begun.clear();
                return Failure { error, session }.into();
            }
            // By FTP it is there, and empty, even where a data connection was refused.
            return removed(Failure { error, session }, &under, request.begun).await;
        }
    };
    let mut session = match written {
        Ok(session) => session,
        Err(outcome) => return outcome,
    };
    if request.begun.is_given_up() {
        let error = FileError::new(FileErrorKind::RequestBody, "nobody waits for it any more");
        return removed(Failure::new(error, session), &under, request.begun).await;
    }
    if under != place {
        let over = if may_replace { Overwrite::Replaced } else { Overwrite::Refused };
        if let Err(error) = session.rename(&under, &place, over, request.begun).await {
            // In one step it was found that something has come in between.
            let is_there = !may_replace && error.kind != FileErrorKind::Ended && session.stat(&place).await.is_ok();
            let error = if is_there { failed_condition() } else { error };
            return removed(Failure::new(error, session), &under, request.begun).await;
        }
    }
    request.begun.clear();
    let replaced = there.is_some();
    let (status, mut fields) = (if replaced { StatusCode::NO_CONTENT } else { StatusCode::CREATED }, HeaderMap::new());
    if !replaced && let Ok(location) = HeaderValue::from_str(request.target.path()) {
        fields.insert(LOCATION, location);
    }
    FileOutcome::answered(FileAnswer::bare(status, fields), Some(session))
}

fn may_replace(request: &FileRequest<'_>, options: &FileOptions) -> bool {
    options.overwrite && !conditions::wants_none(request.fields)
}

/// Looks at what is there before anything is begun.
async fn may_write(
    session: &mut FileSession,
    (place, other): (&[u8], Option<OtherName>),
    request: &FileRequest<'_>,
    options: &FileOptions,
) -> Result<Option<Found>, FileError> {
    let there = match session.stat(place).await {
        Ok(found) => Some(found),
        Err(error) if error.kind == FileErrorKind::NotFound => None,
        Err(error) if error.kind == FileErrorKind::Ended => return Err(error),
        // Nothing but this look keeps what is there.
        Err(error) if !may_replace(request, options) && !session.begins_in_one_step() => return Err(error),
        // Who may not look may still be let write.
        Err(_) => None,
    };
    // To the app a file without the end is the one that has this name.
    let there = match other {
        Some(other) if there.is_none() => other.look(session).await?,
        _ => there,
    };
    match there {
        Some(Found { kind: EntryKind::Folder, .. }) => {
            return Err(FileError::new(FileErrorKind::Conflict, "a folder has that name already"));
        }
        Some(_) if !options.overwrite => {
            return Err(FileError::new(
                FileErrorKind::Precondition,
                "a file has that name already (`files.overwrite: false`)",
            ));
        }
        _ => {}
    }
    match conditions::of_writing(request.fields, there.map(|found| found.version)) {
        Condition::GoesOn => Ok(there),
        _ => Err(failed_condition()),
    }
}

/// Writes the whole body, and looks whether all of it has arrived.
async fn write<B>(
    mut writing: Writing,
    mut body: B,
    under: &[u8],
    begun: &UnfinishedFile,
) -> Result<FileSession, FileOutcome>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    loop {
        // While the app sends nothing the server is heard: a disk that is full is told of before more comes.
        let next = poll_fn(|cx| match Pin::new(&mut body).poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(frame.map(|frame| frame.map_err(|error| body_error(&error)))),
            Poll::Pending => writing.poll_refusal(cx).map(|error| Some(Err(error))),
        });
        let pushed = match next.await {
            None => break,
            Some(Ok(frame)) => match frame.data_ref() {
                Some(data) => writing.push(data).await,
                // Trailers say nothing that a file could keep.
                None => Ok(()),
            },
            Some(Err(error)) => Err(error),
        };
        if let Err(error) = pushed {
            let session = writing.abandon().await;
            return Err(removed(Failure { error, session }, under, begun).await);
        }
    }
    let written = writing.written();
    let mut session = match writing.finish().await {
        Ok(session) => session,
        Err(failure) => return Err(removed(failure, under, begun).await),
    };
    let error = match session.stat(under).await {
        Ok(found) if found.version.size.is_none_or(|size| size == written) => return Ok(session),
        Ok(found) => {
            let size = found.version.size.unwrap_or_default();
            FileError::new(FileErrorKind::Partner, format!("the partner has {size} of {written} bytes"))
        }
        // Who may write and not look has to be believed.
        Err(error) if error.kind == FileErrorKind::Ended => error,
        Err(_) => return Ok(session),
    };
    Err(removed(Failure::new(error, session), under, begun).await)
}

fn body_error(error: &impl std::fmt::Display) -> FileError {
    FileError::new(FileErrorKind::RequestBody, error.to_string())
}

/// Takes away what was begun; what can't be, here and now, stays known as begun.
async fn removed(Failure { error, session }: Failure, under: &[u8], begun: &UnfinishedFile) -> FileOutcome {
    let Some(mut session) = session else { return FileOutcome { answer: Err(error), session: None } };
    let is_gone = session.remove_if_there(under).await.is_ok();
    if is_gone {
        begun.clear();
    }
    FileOutcome { answer: Err(error), session: Some(session).filter(|_| is_gone) }
}
