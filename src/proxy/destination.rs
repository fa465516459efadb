//! What is asked of a service of files, as far as the request itself tells: so that nobody logs in for what no server could do.
//!
//! Where a file is to be moved the app says in the form of its own request, and the partner knows another one.

use http::header::{HOST, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, request};
use percent_encoding::percent_decode_str;

use super::Error;
use crate::files::FileOperation;
use crate::legible::excerpt;
use crate::route::allow::Allow;
use crate::route::{Match, target};
use crate::{transport, upstream};

/// What becomes of a request for a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileAdmission {
    Carry,
    /// It asks what can be asked.
    AnswerOptions,
}

/// Looks at a request that goes to `sent`, and puts the partner's path into its `Destination`.
///
/// # Errors
/// When no server of files could do it, or none may be asked to.
pub(super) fn admit(
    head: &mut request::Parts,
    found: &Match<'_>,
    base_path: &str,
    allow: Option<&Allow>,
    sent: &PathAndQuery,
) -> Result<FileAdmission, Error> {
    if head.method == Method::OPTIONS {
        return Ok(FileAdmission::AnswerOptions);
    }
    map(head, found, base_path, allow)?;
    match FileOperation::read(&head.method, sent, &head.headers) {
        Ok(_) => Ok(FileAdmission::Carry),
        Err(error) => Err(upstream::Error::from(transport::Error::of_file(error)).into()),
    }
}

/// Puts the partner's path into `Destination`, if the request says where something goes: by that field, or by `rename=`.
///
/// # Errors
/// When that is not of the same route and service: nobody can move a file from one to the other. When `allow` has no place
/// for it.
fn map(head: &mut request::Parts, found: &Match<'_>, base_path: &str, allow: Option<&Allow>) -> Result<(), Error> {
    let written = match head.method.as_str() {
        "MOVE" => head.headers.get(&DESTINATION).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
        "POST" => head.uri.query().and_then(|query| query.strip_prefix("rename=")).map(unwrapped),
        _ => None,
    };
    // What is missing is told by who knows the methods of files; what the app says beside counts for nothing.
    let Some(written) = written else {
        head.headers.remove(&DESTINATION);
        return Ok(());
    };
    let wrong = || Error::Destination { written: excerpt(&written).into_owned() };
    let path = own_path(&written, head).ok_or_else(wrong)?;
    target::check(path)?;
    let prefix = head.uri.path().get(..found.strip).unwrap_or_default();
    let is_of_route = path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
    if !is_of_route || !path.starts_with(found.within) {
        return Err(wrong());
    }
    let asked = PathAndQuery::try_from(path).map_err(|_| wrong())?;
    let to = target::build(&asked, found, base_path)?;
    if let Some(allow) = allow
        && !allow.admits(&head.method, to.path())
    {
        return Err(Error::NotAllowed { method: head.method.clone(), path: to.path().to_owned() });
    }
    let value = HeaderValue::from_str(to.path()).map_err(|_| wrong())?;
    head.headers.insert(&DESTINATION, value);
    Ok(())
}

/// A form may have encoded all of the path once more.
fn unwrapped(value: &str) -> String {
    match value.starts_with('/') {
        true => value.to_owned(),
        false => percent_decode_str(value).decode_utf8_lossy().into_owned(),
    }
}

/// The path of it, if it has no other origin than the request, and neither a query nor a fragment.
fn own_path<'w>(written: &'w str, head: &request::Parts) -> Option<&'w str> {
    let path = match written.strip_prefix("http://") {
        None => written,
        Some(rest) => {
            let (authority, _) = rest.split_once('/')?;
            let own = own_authority(&head.uri, &head.headers)?;
            authority.eq_ignore_ascii_case(own).then(|| rest.get(authority.len()..))??
        }
    };
    (path.starts_with('/') && !path.contains(['?', '#'])).then_some(path)
}

/// Under which the app knows the service.
fn own_authority<'h>(uri: &'h http::Uri, fields: &'h HeaderMap) -> Option<&'h str> {
    uri.authority().map(http::uri::Authority::as_str).or_else(|| fields.get(HOST)?.to_str().ok())
}

static DESTINATION: HeaderName = HeaderName::from_static("destination");

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(uri: &str, host: &str) -> request::Parts {
        Request::builder().method("MOVE").uri(uri).header(HOST, host).body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_destination_has_the_origin_of_its_request() {
        let check = |written: &str, expected: Option<&str>| {
            assert_eq!(own_path(written, &head("/files/a", "localhost:9800")), expected, "{written}");
        };
        check("/files/b", Some("/files/b"));
        check("http://localhost:9800/files/b%20c", Some("/files/b%20c"));
        check("http://LOCALHOST:9800/files/b", Some("/files/b"));
        check("http://localhost/files/b", None);
        check("https://localhost:9800/files/b", None);
        check("sftp://partner.example/files/b", None);
        check("files/b", None);
        check("/files/b?x", None);
        check("http://localhost:9800", None);
        let forward = head("http://files.example/in/a", "files.example");
        assert_eq!(own_path("http://files.example/in/b", &forward), Some("/in/b"));
    }

    #[test]
    fn a_path_in_a_query_may_be_encoded_once_more() {
        assert_eq!(unwrapped("/files/b%20c"), "/files/b%20c");
        assert_eq!(unwrapped("%2Ffiles%2Fb%2520c"), "/files/b%20c");
    }
}
