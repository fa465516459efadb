//! The fields of a request, on their way to the service.

use http::header::{
    CONTENT_LENGTH, EXPECT, HeaderMap, HeaderName, HeaderValue, MAX_FORWARDS, TE, TRAILER, TRANSFER_ENCODING,
};
use http::{Method, Version};

use super::{
    AppsCredential, FieldNames, Instance, Name, Present, Rules, is_no_trailer_of_apps, list, remove_hop_by_hop,
    remove_where,
};
use crate::config::{Forwarded, OnClientAuthorization};
use crate::proxy::Error;
use crate::spelling::same_field;

/// What of a request decides about its fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestContext<'a> {
    pub(crate) method: &'a Method,
    pub(crate) version: Version,
    /// Whether the length of its body is known only when it ends.
    pub(crate) chunked: bool,
    pub(crate) instance: &'a Instance,
    /// Which of the fields that we have to do with are there: `admit` has looked.
    pub(crate) present: Present,
    /// The fields that decide about any route.
    pub(crate) routed_by: &'a FieldNames,
}

/// Makes an app's fields those of the request that goes to the service; only the credential is missing then.
///
/// # Errors
/// When the app sent what our credential owns and the config rejects that, or keeps it and it can't be kept.
pub(crate) fn request(
    fields: &mut HeaderMap,
    request: RequestContext<'_>,
    rules: &Rules,
) -> Result<AppsCredential, Error> {
    let present = request.present;
    // Looked at before what `Connection` names is gone.
    match rules.on_client_authorization {
        OnClientAuthorization::Reject => refuse_owned(fields, rules)?,
        OnClientAuthorization::Keep if present.has(Name::Connection) => refuse_nominated(fields, rules)?,
        OnClientAuthorization::Keep | OnClientAuthorization::Replace => {}
    }
    let trailers_welcome = present.has(Name::Te) && accepts_trailers(fields);
    remove_hop_by_hop(fields, present);
    if present.has(Name::ContentLength) {
        // A known length is said anew from the body itself.
        fields.remove(CONTENT_LENGTH);
    }
    // Taken out before other spellings of it go, and put back after: what was taken is one field, as it was sent.
    let apps_own = AppsCredential::take(fields, rules)?;
    remove_unsaid(fields, rules);
    apps_own.put_back(fields);

    if trailers_welcome {
        fields.insert(TE, HeaderValue::from_static("trailers"));
    }
    if present.has(Name::Trailer) {
        announce_trailers(fields, request.routed_by, rules);
    }
    frame(fields, request);
    count_forwards(fields, request.method);
    rules.request.apply(fields);
    if rules.signs {
        request.instance.sign(fields, request.version);
    }
    Ok(apps_own)
}

/// Whether the sender of these fields wants trailers (RFC 9110 §10.1.4).
pub(crate) fn accepts_trailers(fields: &HeaderMap) -> bool {
    fields.get_all(TE).iter().flat_map(list).any(|coding| coding.eq_ignore_ascii_case("trailers"))
}

/// A field that `Connection` names counts as sent: hiding it there would make `reject` a matter of spelling.
fn refuse_owned(fields: &HeaderMap, rules: &Rules) -> Result<(), Error> {
    let sent = fields.keys().map(HeaderName::as_str).chain(nominated(fields));
    match sent.into_iter().find(|name| rules.contested.has(name)) {
        None => Ok(()),
        Some(name) => Err(Error::ClientCredential { name: name.to_ascii_lowercase() }),
    }
}

/// What `Connection` names goes no further: kept, it would be lost on the way, and nobody would have sent anything.
fn refuse_nominated(fields: &HeaderMap, rules: &Rules) -> Result<(), Error> {
    match nominated(fields).find(|name| rules.contested.has(name)) {
        None => Ok(()),
        Some(name) => Err(Error::ClientCredentialNominated { name: name.to_ascii_lowercase() }),
    }
}

fn nominated(fields: &HeaderMap) -> impl Iterator<Item = &str> {
    fields.get_all(http::header::CONNECTION).iter().flat_map(list)
}

/// Removes what only we may set, and what would name somebody else as the sender, or another request than this.
fn remove_unsaid(fields: &mut HeaderMap, rules: &Rules) {
    let keeps = |name: &str| rules.forwarded == Forwarded::Keep && !is_meant_for_us(name);
    remove_where(fields, |name| rules.unsaid.has(name) || names_a_sender(name) && !keeps(name));
}

/// `Proxy-…`.
fn is_meant_for_us(name: &str) -> bool {
    name.starts_with(['p', 'P'])
}

/// `Forwarded`, `X-Forwarded-…`, and `Proxy-…`, which is meant for us.
pub(super) fn names_a_sender(name: &str) -> bool {
    let begins = |prefix: &str| name.get(..prefix.len()).is_some_and(|start| same_field(start, prefix));
    // By the first letter: nearly every field of every request is none of them.
    match name.as_bytes().first() {
        Some(b'f' | b'F') => same_field(name, "forwarded"),
        Some(b'x' | b'X') => begins("x-forwarded-"),
        Some(b'p' | b'P') => begins("proxy-"),
        _ => false,
    }
}

/// Takes out of `Trailer` what no trailer may be, so that an HTTP/1.1 connection does not write it.
fn announce_trailers(fields: &mut HeaderMap, routed_by: &FieldNames, rules: &Rules) {
    let refused = |name: &str| is_no_trailer_of_apps(name, &rules.untrailed) || routed_by.has(name);
    if !fields.get_all(TRAILER).iter().flat_map(list).any(refused) {
        return;
    }
    let announced: Vec<_> = fields.get_all(TRAILER).iter().flat_map(list).filter(|name| !refused(name)).collect();
    match HeaderValue::try_from(announced.join(", ")) {
        Ok(value) if !value.is_empty() => drop(fields.insert(TRAILER, value)),
        _ => drop(fields.remove(TRAILER)),
    }
}

fn frame(fields: &mut HeaderMap, request: RequestContext<'_>) {
    if request.chunked {
        // Also where it is sent again from memory and its length is known: so it keeps its framing, and its trailers.
        fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if request.version == Version::HTTP_10 {
        // RFC 9110 §10.1.1: such a client would not wait, and does not know an interim answer.
        fields.remove(EXPECT);
    }
}

/// RFC 9110 §7.6.2. A zero was answered by us already.
fn count_forwards(fields: &mut HeaderMap, method: &Method) {
    if method != Method::OPTIONS {
        return;
    }
    let left = fields.get(MAX_FORWARDS).and_then(forwards);
    if let Some(left) = left {
        fields.insert(MAX_FORWARDS, HeaderValue::from(left.saturating_sub(1)));
    }
}

/// How many more hops a `Max-Forwards` allows; `None` if it is no number.
pub(crate) fn forwards(value: &HeaderValue) -> Option<u64> {
    let digits =
        value.to_str().ok().filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))?;
    // More hops than we can count are as good as any number.
    Some(digits.parse().unwrap_or(u64::MAX))
}
