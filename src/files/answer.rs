//! What a request for a file becomes: the table of verbs.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, LAST_MODIFIED, LOCATION,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, StatusCode};

use super::begun::UnfinishedFile;
use super::conditions::{self, Condition, FileVersion, RangePart};
use super::content::{FileContent, ListingContent};
use super::entry::{EntryKind, Found, Overwrite};
use super::error::{FileError, FileErrorKind, no_folder};
use super::links::refuse_links;
use super::listing::Form;
use super::options::FileOptions;
use super::path::FilePath;
use super::put;
use super::session::{Failure, FileSession, Opened, PartRead};
use super::suffix::{OtherName, suffix_of};
use super::verb::{FileOperation, Verb};

/// A request as far as it is about a file.
pub(crate) struct FileRequest<'a> {
    pub(crate) operation: &'a FileOperation,
    /// Path and query at the partner.
    pub(crate) target: &'a PathAndQuery,
    pub(crate) fields: &'a HeaderMap,
    pub(crate) begun: &'a UnfinishedFile,
}

/// What came of a request.
pub(crate) struct FileOutcome {
    pub(crate) answer: Result<FileAnswer, FileError>,
    /// The session, if it is free already.
    pub(crate) session: Option<FileSession>,
}

/// An answer, and what is still to come of it.
pub(crate) struct FileAnswer {
    pub(crate) status: StatusCode,
    pub(crate) fields: HeaderMap,
    pub(crate) content: Option<FileContent>,
}

impl FileOutcome {
    pub(super) fn answered(answer: FileAnswer, session: Option<FileSession>) -> Self {
        Self { answer: Ok(answer), session }
    }

    /// It is done, and there is nothing else to say of it.
    fn done(status: StatusCode, session: FileSession) -> Self {
        Self::answered(FileAnswer::bare(status, HeaderMap::new()), Some(session))
    }
}

impl From<Failure> for FileOutcome {
    fn from(Failure { error, session }: Failure) -> Self {
        Self { answer: Err(error), session }
    }
}

/// Does what is asked for. `random` makes a temporary name that nobody else has.
pub(crate) async fn answer<B>(
    mut session: FileSession,
    request: &FileRequest<'_>,
    options: &FileOptions,
    body: B,
    random: u64,
) -> FileOutcome
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let FileOperation { verb, path } = request.operation;
    let suffix = match suffix_of(&mut session, path, verb, options).await {
        Ok(suffix) => suffix,
        Err(error) => return Failure::new(error, session).into(),
    };
    let other_name = |path: &FilePath| OtherName::of(path, options.name_suffix.as_deref(), suffix.is_some());
    let shown = path;
    let path = suffix.map_or_else(|| shown.clone(), |suffix| shown.with_suffix(suffix));
    if let Err(error) = refuse_links(&mut session, &path, verb, options).await {
        return Failure::new(error, session).into();
    }
    let done = match verb {
        Verb::Read if path.is_folder() => list(session, &path, request, options).await,
        Verb::Look if path.is_folder() => look_at_folder(session, &path, request).await,
        Verb::Read => read(session, &path, request).await,
        Verb::Look => look(session, &path, request).await,
        Verb::Put => return put::put(session, (&path, other_name(shown)), request, options, body, random).await,
        Verb::Delete => delete(session, &path, request).await,
        Verb::MakeFolder => make_folder(session, &path).await,
        Verb::Move(to) => {
            // What is moved keeps the end of its name.
            let suffix = suffix.filter(|_| !to.is_folder());
            let other = other_name(to).filter(|_| !path.is_folder());
            let to = suffix.map_or_else(|| to.clone(), |suffix| to.with_suffix(suffix));
            rename(session, &path, (&to, other), request, options).await
        }
    };
    done.unwrap_or_else(FileOutcome::from)
}

/// The methods that files know, and the one that asks for them.
pub(crate) const ALLOWED: &str = "GET, HEAD, PUT, DELETE, MKCOL, MOVE, POST, OPTIONS";

impl FileAnswer {
    pub(super) fn bare(status: StatusCode, fields: HeaderMap) -> Self {
        Self { status, fields, content: None }
    }

    /// What the fields say of a file.
    fn of_file(status: StatusCode, version: FileVersion) -> Self {
        let mut fields = HeaderMap::new();
        fields.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        if let Some(tag) = version.tag().and_then(|tag| HeaderValue::try_from(tag).ok()) {
            fields.insert(ETAG, tag);
        }
        // A date in the future could be that of another version (RFC 9110 §8.8.2.1).
        let moment = version.moment().filter(|moment| *moment <= SystemTime::now());
        if let Some(moment) = moment.and_then(|moment| HeaderValue::try_from(httpdate::fmt_http_date(moment)).ok()) {
            fields.insert(LAST_MODIFIED, moment);
        }
        Self { status, fields, content: None }
    }

    /// The same of a folder that is listed.
    fn of_folder(form: Form) -> Self {
        let fields = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(form.content_type()))]);
        Self::bare(StatusCode::OK, fields)
    }

    /// Says that parts of it may be asked for, if the server can begin anywhere.
    fn with_ranges(mut self, may_read_parts: bool) -> Self {
        if !may_read_parts {
            self.fields.remove(ACCEPT_RANGES);
        }
        self
    }

    fn with(mut self, name: http::HeaderName, value: String) -> Self {
        if let Ok(value) = HeaderValue::try_from(value) {
            self.fields.insert(name, value);
        }
        self
    }
}

async fn read(session: FileSession, path: &FilePath, request: &FileRequest<'_>) -> Result<FileOutcome, Failure> {
    let place = session.place(path);
    let (opened, found) = match session.open(place.clone()).await {
        Ok(opened) => opened,
        Err(Failure { error, session: Some(mut session) }) if error.wants_a_look() => {
            // It may be a folder, which some do not open or forbid to, or nothing at all.
            return match session.stat(&place).await {
                Ok(Found { kind: EntryKind::Folder, .. }) => {
                    Ok(FileOutcome::answered(to_folder(request), Some(session)))
                }
                Err(why) if why.kind == FileErrorKind::NotFound => Err(Failure::new(why, session)),
                _ => Err(Failure::new(error, session)),
            };
        }
        Err(failure) => return Err(failure),
    };
    if found.kind == EntryKind::Folder {
        return Ok(FileOutcome::answered(to_folder(request), opened.close().await));
    }
    send_file(opened, found.version, request).await
}

async fn send_file(opened: Opened, version: FileVersion, request: &FileRequest<'_>) -> Result<FileOutcome, Failure> {
    match conditions::of_reading(request.fields, version) {
        Condition::GoesOn => {}
        Condition::NotModified => {
            let mut answer = FileAnswer::of_file(StatusCode::NOT_MODIFIED, version);
            answer.fields.remove(CONTENT_TYPE);
            return Ok(FileOutcome::answered(answer, opened.close().await));
        }
        Condition::Failed => return Err(Failure { error: failed_condition(), session: opened.close().await }),
    }
    let Some(size) = version.size else {
        let content = Some(FileContent::File(opened.read().await?));
        return Ok(FileOutcome::answered(FileAnswer { content, ..FileAnswer::of_file(StatusCode::OK, version) }, None));
    };
    let may_read_parts = opened.may_read_parts();
    let whole = |reading| {
        let answer = FileAnswer::of_file(StatusCode::OK, version).with(CONTENT_LENGTH, size.to_string());
        FileAnswer { content: Some(FileContent::File(reading)), ..answer }
    };
    let answer = match conditions::part(request.fields, size) {
        RangePart::Whole => whole(opened.read().await?).with_ranges(may_read_parts),
        RangePart::Range(from, to) => match opened.read_part(from, to).await? {
            PartRead::Part(reading) => {
                let answer = FileAnswer::of_file(StatusCode::PARTIAL_CONTENT, version)
                    .with(CONTENT_LENGTH, (to - from).to_string())
                    .with(CONTENT_RANGE, format!("bytes {from}-{}/{size}", to - 1));
                FileAnswer { content: Some(FileContent::File(reading)), ..answer }
            }
            // Whoever asks for a part has to take the whole as well (RFC 9110 §14.2).
            PartRead::Whole(reading) => whole(reading).with_ranges(false),
        },
        RangePart::Unsatisfiable => {
            let error = FileError::new(FileErrorKind::Range { size }, format!("the file has {size} bytes"));
            return Err(Failure { error, session: opened.close().await });
        }
    };
    Ok(FileOutcome::answered(answer, None))
}

/// `HEAD`.
async fn look(mut session: FileSession, path: &FilePath, request: &FileRequest<'_>) -> Result<FileOutcome, Failure> {
    let found = match session.stat(&session.place(path)).await {
        Ok(found) => found,
        Err(error) => return Err(Failure::new(error, session)),
    };
    if found.kind == EntryKind::Folder {
        return Ok(FileOutcome::answered(to_folder(request), Some(session)));
    }
    let status = match conditions::of_reading(request.fields, found.version) {
        Condition::GoesOn => StatusCode::OK,
        Condition::NotModified => StatusCode::NOT_MODIFIED,
        Condition::Failed => return Err(Failure::new(failed_condition(), session)),
    };
    let answer = FileAnswer::of_file(status, found.version).with_ranges(session.may_read_parts());
    let answer = match found.version.size {
        Some(size) if status == StatusCode::OK => answer.with(CONTENT_LENGTH, size.to_string()),
        _ => answer,
    };
    Ok(FileOutcome::answered(answer, Some(session)))
}

async fn list(
    session: FileSession,
    path: &FilePath,
    request: &FileRequest<'_>,
    options: &FileOptions,
) -> Result<FileOutcome, Failure> {
    let form = Form::wanted(request.fields);
    let place = session.place(path);
    let entries = session.list(&place).await?;
    let listing = ListingContent::begin(entries, form, options).await;
    let listing = listing.map_err(|error| Failure { error, session: None })?;
    let content = Some(FileContent::Listing(listing));
    Ok(FileOutcome::answered(FileAnswer { content, ..FileAnswer::of_folder(form) }, None))
}

/// `HEAD` of a folder: nothing of a listing is wanted, and one that is not read to its end costs the session.
async fn look_at_folder(
    mut session: FileSession,
    path: &FilePath,
    request: &FileRequest<'_>,
) -> Result<FileOutcome, Failure> {
    let error = match session.stat(&session.place(path)).await {
        Ok(Found { kind: EntryKind::Folder, .. }) => {
            let answer = FileAnswer::of_folder(Form::wanted(request.fields));
            return Ok(FileOutcome::answered(answer, Some(session)));
        }
        Ok(_) => no_folder(),
        Err(error) => error,
    };
    Err(Failure::new(error, session))
}

async fn delete(mut session: FileSession, path: &FilePath, request: &FileRequest<'_>) -> Result<FileOutcome, Failure> {
    let place = session.place(path);
    if let Err(error) = check_conditions(&mut session, &place, request).await {
        return Err(Failure::new(error, session));
    }
    let removed = match path.is_folder() {
        true => session.remove_folder(&place).await,
        false => session.remove(&place).await,
    };
    match removed {
        Ok(()) => Ok(FileOutcome::done(StatusCode::NO_CONTENT, session)),
        Err(error) if error.kind == FileErrorKind::Ended => Err(Failure::new(error, session)),
        Err(error) => {
            let error = match (session.lstat(&place).await, path.is_folder()) {
                (Ok(Found { kind: EntryKind::Folder, .. }), false) => {
                    FileError::new(FileErrorKind::Conflict, "it is a folder: its path ends in `/`")
                }
                (Ok(Found { kind: EntryKind::Folder, .. }), true) if error.is_vague() => {
                    error.known_as(FileErrorKind::Conflict)
                }
                (Ok(found), true) if found.kind != EntryKind::Folder => no_folder(),
                (Err(why), _) if why.kind == FileErrorKind::NotFound => error.known_as(FileErrorKind::NotFound),
                _ => error,
            };
            Err(Failure::new(error, session))
        }
    }
}

async fn make_folder(mut session: FileSession, path: &FilePath) -> Result<FileOutcome, Failure> {
    let place = session.place(path);
    match session.make_folder(&place).await {
        Ok(()) => Ok(FileOutcome::done(StatusCode::CREATED, session)),
        Err(error) if error.kind == FileErrorKind::Ended => Err(Failure::new(error, session)),
        Err(error) => {
            // What is there is in the way; what is not there is perhaps the folder around it (RFC 4918 §9.3.1).
            let is_there = session.lstat(&place).await.is_ok();
            let is_missing = error.kind == FileErrorKind::NotFound || error.is_vague();
            let error = if is_there || is_missing { error.known_as(FileErrorKind::Conflict) } else { error };
            Err(Failure::new(error, session))
        }
    }
}

async fn rename(
    mut session: FileSession,
    from: &FilePath,
    (to, other): (&FilePath, Option<OtherName>),
    request: &FileRequest<'_>,
    options: &FileOptions,
) -> Result<FileOutcome, Failure> {
    let (from, to) = (session.place(from), session.place(to));
    if let Err(error) = check_conditions(&mut session, &from, request).await {
        return Err(Failure::new(error, session));
    }
    let may_replace = options.overwrite && request.fields.get("overwrite").is_none_or(|value| value != "F");
    let replaces = match look_at_target(&mut session, (&from, &to), other, may_replace).await {
        Ok(replaces) => replaces,
        Err(error) => return Err(Failure::new(error, session)),
    };
    let over = if may_replace { Overwrite::Replaced } else { Overwrite::Refused };
    match session.rename(&from, &to, over, request.begun).await {
        Ok(()) => {
            let status = if replaces { StatusCode::NO_CONTENT } else { StatusCode::CREATED };
            Ok(FileOutcome::done(status, session))
        }
        Err(error) if error.kind == FileErrorKind::Ended => Err(Failure::new(error, session)),
        // It has come in between.
        Err(_) if !may_replace && session.lstat(&to).await.is_ok() => {
            let error = FileError::new(FileErrorKind::Precondition, "something has that name already");
            Err(Failure::new(error, session))
        }
        Err(error) => {
            let error = match session.lstat(&from).await {
                Err(why) if why.kind == FileErrorKind::NotFound => error.known_as(FileErrorKind::NotFound),
                // It is there: where it shall go is not.
                Ok(_) if error.is_vague() || error.kind == FileErrorKind::NotFound => {
                    error.known_as(FileErrorKind::Conflict)
                }
                _ => error,
            };
            Err(Failure::new(error, session))
        }
    }
}

/// Looks at what has the new name, before anything is renamed: whether something is there that may be replaced.
async fn look_at_target(
    session: &mut FileSession,
    (from, to): (&[u8], &[u8]),
    other: Option<OtherName>,
    may_replace: bool,
) -> Result<bool, FileError> {
    let in_the_way = match session.lstat(to).await {
        Ok(found) => Some(found),
        Err(error) if error.kind == FileErrorKind::Ended => return Err(error),
        Err(_) => None,
    };
    let shown = match other {
        Some(other) => other.look(session).await?.map(|_| other),
        None => None,
    };
    let refused = |kind, what: &str| Err(FileError::new(kind, what));
    if !may_replace && (in_the_way.is_some() || shown.is_some()) {
        return refused(FileErrorKind::Precondition, "something has that name already");
    }
    if shown.as_ref().is_some_and(|other| other.is_shown_first) {
        let what = "a file with `name_suffix` at the end of its name is shown under that name, and would be still";
        return refused(FileErrorKind::Conflict, what);
    }
    match in_the_way {
        Some(Found { kind: EntryKind::Folder, .. }) => {
            refused(FileErrorKind::Conflict, "a folder has that name already")
        }
        // Some servers put a folder in the place of a file, and that is gone.
        Some(_) => match session.lstat(from).await {
            Ok(Found { kind: EntryKind::Folder, .. }) => {
                refused(FileErrorKind::Conflict, "a file has that name already, and no folder takes its place")
            }
            Err(error) if error.kind == FileErrorKind::Ended => Err(error),
            // What is not there is refused when it is to be renamed.
            _ => Ok(true),
        },
        None => Ok(shown.is_some()),
    }
}

/// `If-Match` and the like, of what is to be changed.
async fn check_conditions(session: &mut FileSession, place: &[u8], request: &FileRequest<'_>) -> Result<(), FileError> {
    if !conditions::has_any(request.fields) {
        return Ok(());
    }
    let version = match session.stat(place).await {
        Ok(found) => Some(found.version),
        Err(error) if error.kind == FileErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    match conditions::of_writing(request.fields, version) {
        Condition::GoesOn => Ok(()),
        _ => Err(failed_condition()),
    }
}

pub(super) fn failed_condition() -> FileError {
    FileError::new(FileErrorKind::Precondition, "what is there is not what the request's conditions speak of")
}

/// 301: the same with a `/` behind it.
fn to_folder(request: &FileRequest<'_>) -> FileAnswer {
    let query = request.target.query().map(|query| format!("?{query}")).unwrap_or_default();
    let fields = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static("0"))]);
    FileAnswer::bare(StatusCode::MOVED_PERMANENTLY, fields).with(LOCATION, format!("{}/{query}", request.target.path()))
}
