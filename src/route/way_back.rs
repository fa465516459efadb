//! The way back: what an answer says of the service's own resources, in the form in which the app asks for them.
//!
//! Promises that whoever follows what was mapped comes through the same route to the very place that the service named,
//! or, where another route says more about that, to whom it says; and that what can't be said in that form stays byte for
//! byte. Allocates only where something is mapped.

use http::uri::Authority;

use super::authority::RequestAuthority;
use super::mismatch::{RouteOrigin, unless_default};
use super::rule::is_under;
use super::target::stays_where_it_is;
use super::{Match, RouteTable};
use crate::config::Scheme;

/// How the app names what is the service's, by the route of its request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WayBack<'t> {
    origin: &'t RouteOrigin,
    /// What the service is told that it was called by, where that is not its URL's authority: so it may name itself.
    called: Option<&'t Authority>,
    scheme: Scheme,
    form: AppForm<'t>,
}

/// The form of a request's route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AppForm<'t> {
    /// By path or by host: `prefix` stands in the place of the base path. What is not under `within` would be another
    /// route's: one whose path is not stripped has no other.
    Path { prefix: &'t str, within: &'t str },
    /// The service's own authority, and the path as it is.
    ForwardProxy,
}

/// What becomes of a cookie's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CookiePath<'a> {
    /// It is none of the service's under this route.
    Stays,
    /// One after the other.
    Becomes { prefix: &'a [u8], rest: &'a [u8] },
}

impl RouteTable {
    /// The way back of a route that was found. `scheme` is that of its service's URL.
    pub(crate) fn way_back<'t>(&'t self, found: &Match<'t>, scheme: Scheme) -> WayBack<'t> {
        let form = match found.prepend {
            true => AppForm::Path { prefix: found.prefix, within: found.within },
            false => AppForm::ForwardProxy,
        };
        // Invariant: a match names a service of the table that found it.
        WayBack { origin: &self.sites[found.service], called: None, scheme, form }
    }
}

impl<'t> WayBack<'t> {
    /// The same where the service is called by `authority`.
    pub(crate) fn called(self, authority: &'t Authority) -> Self {
        Self { called: Some(authority), ..self }
    }

    /// Whether the app knows the service by its own name, and so keeps its cookies apart from those of others.
    pub(crate) fn is_forward_proxy(&self) -> bool {
        self.form == AppForm::ForwardProxy
    }

    /// The form of the route for an absolute URL of the service, or an absolute path (RFC 3986 §4.2). `None`: it stays.
    pub(crate) fn reference(&self, reference: &[u8]) -> Option<Vec<u8>> {
        let from_path = self.path_onwards(reference)?;
        let path_ends = from_path.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(from_path.len());
        let (path, rest) = from_path.split_at(path_ends);
        // An authority alone is its root.
        let path: &[u8] = if path.is_empty() { b"/" } else { path };
        let below = below(&self.origin.base_path, path)?;
        // Who resolves it would be elsewhere, maybe with another service.
        if !stays_where_it_is(path) {
            return None;
        }
        let AppForm::Path { prefix, within } = self.form else {
            // Sent through us it would be refused.
            return (!path.starts_with(b"//")).then(|| [&self.authority(), path, rest].concat());
        };
        // Without a prefix that would name another authority.
        if below.starts_with(b"//") {
            return None;
        }
        let below: &[u8] = if prefix.is_empty() && below.is_empty() { b"/" } else { below };
        // Where nothing is stripped there is no prefix.
        is_under_bytes(below, within).then(|| [prefix.as_bytes(), below, rest].concat())
    }

    /// What the path of a cookie of the service is here (RFC 6265 §5.2.4); `None`: it has none that counts.
    pub(crate) fn cookie_path<'a>(&'a self, path: Option<&'a [u8]>) -> CookiePath<'a> {
        let AppForm::Path { prefix, within } = self.form else { return CookiePath::Stays };
        // One of both, at most.
        let whole = if within.is_empty() { prefix } else { within };
        let whole = CookiePath::Becomes { prefix: if whole.is_empty() { b"/" } else { whole.as_bytes() }, rest: b"" };
        let base_path = &*self.origin.base_path;
        let Some(path) = path.filter(|path| path.starts_with(b"/") && !covers(path, base_path)) else {
            // All that the app asks of this service lies below such a path, and nothing of other services must.
            return whole;
        };
        let Some(rest) = below(base_path, path) else { return CookiePath::Stays };
        match is_under_bytes(rest, within) {
            true if prefix.is_empty() && rest.is_empty() => whole,
            true => CookiePath::Becomes { prefix: prefix.as_bytes(), rest },
            false if covers(rest, within) => whole,
            false => CookiePath::Stays,
        }
    }

    /// From the path on; `None` for what names no place at the service.
    fn path_onwards<'r>(&self, reference: &'r [u8]) -> Option<&'r [u8]> {
        if reference.starts_with(b"/") {
            return (!reference.starts_with(b"//")).then_some(reference);
        }
        let (scheme, rest) = split_scheme(reference)?;
        // A service that is spoken to in the clear, and says `https://`, wants to be called otherwise: mapped, that would
        // lead to the same answer for ever.
        if scheme == Scheme::Https && self.scheme == Scheme::Http {
            return None;
        }
        let authority_ends = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let (authority, from_path) = rest.split_at(authority_ends);
        let authority = RequestAuthority::parse(std::str::from_utf8(authority).ok()?).ok()?;
        let is_ours = *authority.host == *self.origin.host && unless_default(authority.port) == self.origin.port;
        (is_ours || self.is_called(&authority)).then_some(from_path)
    }

    fn is_called(&self, authority: &RequestAuthority<'_>) -> bool {
        let called = self.called.and_then(|called| RequestAuthority::parse(called.as_str()).ok());
        called.is_some_and(|called| {
            *called.host == *authority.host && unless_default(called.port) == unless_default(authority.port)
        })
    }

    /// `http://authority`, as the app writes it to its proxy.
    fn authority(&self) -> Vec<u8> {
        let mut authority = self.origin.to_string().into_bytes();
        authority.truncate(authority.len() - self.origin.base_path.len());
        authority
    }
}

/// `http://` and `https://` in any case, and what follows.
fn split_scheme(reference: &[u8]) -> Option<(Scheme, &[u8])> {
    [("http://", Scheme::Http), ("https://", Scheme::Https)].into_iter().find_map(|(start, scheme)| {
        let (own, rest) = reference.split_at_checked(start.len())?;
        own.eq_ignore_ascii_case(start.as_bytes()).then_some((scheme, rest))
    })
}

/// What of `path` comes after the base path, on a segment boundary.
fn below<'p>(base_path: &str, path: &'p [u8]) -> Option<&'p [u8]> {
    path.strip_prefix(base_path.as_bytes()).filter(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// [`is_under`] for what need not be text.
fn is_under_bytes(path: &[u8], prefix: &str) -> bool {
    below(prefix, path).is_some()
}

/// Whether a cookie of this path goes with each request under `prefix`, and is not of `prefix` alone.
fn covers(path: &[u8], prefix: &str) -> bool {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    path.len() < prefix.len() && std::str::from_utf8(path).is_ok_and(|path| is_under(prefix, path))
        || path.is_empty() && prefix.is_empty()
}
