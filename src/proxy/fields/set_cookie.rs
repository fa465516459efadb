//! `Set-Cookie`: a cookie of the service becomes one that the app sends to this service, and to no other.

use super::edit::Edit;
use crate::route::{CookiePath, WayBack};

/// The cookie as the app gets it; `None`: it stays. What is not mapped is kept byte for byte.
///
/// The app speaks plain HTTP, so `Secure` would keep the cookie from ever coming back. `Domain` names a host that the app
/// does not know, but in forward-proxy form, where it knows no other.
pub(super) fn set_cookie(value: &[u8], way_back: &WayBack<'_>) -> Option<Vec<u8>> {
    let is_forward_proxy = way_back.is_forward_proxy();
    let mut edit = Edit::of(value);
    let mut has_path = is_forward_proxy;
    let mut parts = value.split(|byte| *byte == b';');
    // The name and the value of the cookie itself.
    let mut end = parts.next().map_or(0, <[u8]>::len);
    for part in parts {
        // With the semicolon before it.
        let place = end..end + 1 + part.len();
        end = place.end;
        let Attribute { name, written, value } = Attribute::read(part);
        match name {
            AttributeName::Secure => edit.replace(place, &[]),
            AttributeName::Domain if !is_forward_proxy => edit.replace(place, &[]),
            AttributeName::Path if !is_forward_proxy => {
                has_path = true;
                // The last one counts for a client: each is mapped by itself, so that the last is right.
                match way_back.cookie_path(Some(value)) {
                    CookiePath::Becomes { prefix, rest } if !is_joined(written, prefix, rest) => {
                        edit.replace(place, &[PATH, prefix, rest]);
                    }
                    CookiePath::Becomes { .. } | CookiePath::Stays => {}
                }
            }
            AttributeName::Domain | AttributeName::Path | AttributeName::Other => {}
        }
    }
    if let (false, CookiePath::Becomes { prefix, rest }) = (has_path, way_back.cookie_path(None)) {
        // Without one, the path of the request that got it would count, and what is beside that would have no part in it.
        edit.replace(value.len()..value.len(), &[PATH, prefix, rest]);
    }
    edit.finish()
}

fn is_joined(whole: &[u8], first: &[u8], second: &[u8]) -> bool {
    whole.strip_prefix(first) == Some(second)
}

/// What stands after one of the semicolons (RFC 6265 §5.2): quotes hide none of those.
struct Attribute<'v> {
    name: AttributeName,
    written: &'v [u8],
    /// Without quotes: some services write them, and some clients take them for a part of it.
    value: &'v [u8],
}

#[derive(Clone, Copy)]
enum AttributeName {
    Path,
    Domain,
    Secure,
    Other,
}

impl<'v> Attribute<'v> {
    fn read(part: &'v [u8]) -> Self {
        let equals = part.iter().position(|byte| *byte == b'=');
        // Invariant: the sign was found there, and after the last byte there is nothing, which may be taken.
        let (name, value) = equals.map_or((part, &b""[..]), |at| (&part[..at], &part[at + 1..]));
        let is = |wanted: &str| name.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes());
        let name = match () {
            () if is("path") => AttributeName::Path,
            () if is("domain") => AttributeName::Domain,
            () if is("secure") => AttributeName::Secure,
            () => AttributeName::Other,
        };
        let written = value.trim_ascii();
        let unquoted = written.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        Self { name, written, value: unquoted.unwrap_or(written) }
    }
}

const PATH: &[u8] = b"; Path=";
