//! What an answer says of the service itself, in the form in which the app asks for it: `Location`, `Content-Location`,
//! `Link`, `Set-Cookie`. Works in place, and touches nothing but what is mapped.

use std::ops::Range;

use http::header::{CONTENT_LOCATION, Entry, HeaderMap, HeaderName, HeaderValue, LINK, LOCATION, SET_COOKIE};

use super::edit::Edit;
use super::set_cookie::set_cookie;
use super::{Name, Present};
use crate::config::Cookies;
use crate::route::WayBack;

/// Maps what there is of these fields.
pub(super) fn map_names(fields: &mut HeaderMap, present: Present, way_back: &WayBack<'_>, cookies: Cookies) {
    for (name, field) in [(Name::Location, LOCATION), (Name::ContentLocation, CONTENT_LOCATION)] {
        if present.has(name) {
            map_values(fields, field, |value| way_back.reference(value));
        }
    }
    if present.has(Name::Link) {
        map_values(fields, LINK, |value| links(value, way_back));
    }
    if present.has(Name::SetCookie) && cookies == Cookies::Map {
        map_values(fields, SET_COOKIE, |value| set_cookie(value, way_back));
    }
}

/// Each value in its place: their order says which cookie comes last.
fn map_values(fields: &mut HeaderMap, name: HeaderName, map: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    let Entry::Occupied(mut values) = fields.entry(name) else { return };
    for value in values.iter_mut() {
        // What was mapped has bytes of the value and of the config's paths, which are all that a value may have.
        if let Some(mapped) = map(value.as_bytes()).and_then(|mapped| HeaderValue::try_from(mapped).ok()) {
            *value = mapped;
        }
    }
}

/// The targets of a list of links (RFC 8288 §3): what stands between `<` and `>` where a link begins. From where the list is
/// malformed on it stays.
fn links(value: &[u8], way_back: &WayBack<'_>) -> Option<Vec<u8>> {
    let mut edit = Edit::of(value);
    let mut at = 0;
    while let Some(target) = target(value, at) {
        at = next_link(value, target.end);
        // Invariant: it was found in the value.
        if let Some(reference) = way_back.reference(&value[target.clone()]) {
            edit.replace(target, &[&reference]);
        }
    }
    edit.finish()
}

/// Where the target of the link begins and ends that is next from `at` on.
fn target(value: &[u8], at: usize) -> Option<Range<usize>> {
    let is_between = |byte: &u8| matches!(byte, b' ' | b'\t' | b',');
    let start = at + value.get(at..)?.iter().position(|byte| !is_between(byte))?;
    let target = value.get(start..)?.strip_prefix(b"<")?;
    let end = target.iter().position(|byte| *byte == b'>')?;
    Some(start + 1..start + 1 + end)
}

/// The comma after a link, which its quoted parameters may have too.
fn next_link(value: &[u8], from: usize) -> usize {
    let mut is_quoted = false;
    let mut bytes = value.iter().enumerate().skip(from);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\\' if is_quoted => drop(bytes.next()),
            b',' if !is_quoted => return at,
            _ => {}
        }
    }
    value.len()
}
