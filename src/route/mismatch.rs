//! Whether a rule fits a request, and if not, what stands in the way.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::rule::{HostPattern, MethodList, Rule, is_under};
use super::{Destination, Question, RouteKind, TargetForm, target};
use crate::spelling::same_field;

/// A question with what the table knows about it.
#[derive(Debug)]
pub(super) struct AskedRoute<'q> {
    pub(super) question: &'q Question<'q>,
    pub(super) reach: Reach,
    pub(super) sites: &'q [RouteOrigin],
}

impl AskedRoute<'_> {
    /// What keeps `rule` from fitting; `None` if it fits.
    pub(super) fn mismatch<'t>(&self, rule: &'t Rule) -> Option<Mismatch<'t>> {
        let Question { path, method, fields, .. } = *self.question;
        if let Some(mismatch) = self.host_mismatch(rule) {
            return Some(mismatch);
        }
        if !is_under(path, &rule.path) {
            let goes_on = path.starts_with(&*rule.path);
            return Some(if goes_on { Mismatch::Boundary(&rule.path) } else { Mismatch::Path(&rule.path) });
        }
        if !rule.methods.is_empty() && !rule.methods.contains(method) {
            return Some(Mismatch::Method(&rule.methods));
        }
        let header = rule.headers.iter().find_map(|(name, value)| header_mismatch(fields, name, value));
        let is_outside = self.keeps_path(rule) && !is_under(path, &self.sites[rule.service].base_path);
        header.or(is_outside.then_some(Mismatch::OutsideBasePath))
    }

    /// Whether the request names the rule's service itself: then its path is whole, nothing is stripped or prepended.
    pub(super) fn keeps_path(&self, rule: &Rule) -> bool {
        self.reach == Reach::Own && self.sites[rule.service].is_named_by(self.question)
    }

    fn host_mismatch<'t>(&self, rule: &Rule) -> Option<Mismatch<'t>> {
        match (&rule.kind, self.reach) {
            (RouteKind::ForwardProxy, Reach::Own) if self.keeps_path(rule) => None,
            (RouteKind::ForwardProxy, Reach::Own) => Some(Mismatch::OtherAuthority),
            (RouteKind::ForwardProxy, _) if self.question.form == TargetForm::Absolute => {
                Some(Mismatch::OtherAuthority)
            }
            (RouteKind::ForwardProxy, _) => Some(Mismatch::NotAbsolute),
            (RouteKind::DefaultHost | RouteKind::DefaultPath, Reach::Own) => Some(Mismatch::OfAnotherService),
            _ if rule.host == HostPattern::Any && self.reach != Reach::Local => Some(Mismatch::NotLocal),
            _ => (!rule.host.fits(self.question.host)).then_some(Mismatch::Host),
        }
    }
}

fn header_mismatch<'t>(fields: &HeaderMap, name: &'t HeaderName, value: &HeaderValue) -> Option<Mismatch<'t>> {
    match only(fields, name) {
        Ok(found) => (found != value).then_some(Mismatch::HeaderDiffers(name)),
        Err(NotOne::Missing) => Some(Mismatch::HeaderMissing(name)),
        Err(NotOne::Repeated) => Some(Mismatch::HeaderRepeated(name)),
    }
}

/// The value of a field that stands once, under any spelling. A repeated one has no value to go by: the service might
/// read the other.
pub(super) fn only<'f>(fields: &'f HeaderMap, name: &HeaderName) -> Result<&'f HeaderValue, NotOne> {
    let spelt = fields.iter().filter(|(spelt, _)| same_field(spelt.as_str(), name.as_str()));
    let mut values = spelt.map(|(_, value)| value);
    let value = values.next().ok_or(NotOne::Missing)?;
    if values.next().is_none() { Ok(value) } else { Err(NotOne::Repeated) }
}

/// Why a field has no single value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotOne {
    Missing,
    Repeated,
}

/// What the host of a request gives access to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// An absolute-form with the authority of a service: its forward-proxy route, and explicit routes for the host.
    Own,
    /// A local name: all but forward-proxy routes.
    Local,
    /// Any other: explicit routes for the host.
    Named,
}

/// Where a service is, as an absolute-form names it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RouteOrigin {
    pub(super) host: Box<str>,
    /// `None`: the default of either scheme.
    pub(super) port: Option<u16>,
    pub(super) base_path: Box<str>,
}

impl RouteOrigin {
    pub(super) fn of(service: &Destination<'_>) -> Self {
        let authority = &service.url.value.authority;
        Self {
            host: authority.host.as_str().into(),
            port: unless_default(Some(authority.port)),
            base_path: target::base_path(&service.url.value).into(),
        }
    }

    pub(super) fn is_named_by(&self, question: &Question<'_>) -> bool {
        *self.host == *question.host && self.port == unless_default(question.port)
    }
}

/// As an app writes it in an absolute-form, without a slash at the end.
impl fmt::Display for RouteOrigin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(formatter, "http://[{}]", self.host)?,
            false => write!(formatter, "http://{}", self.host)?,
        }
        if let Some(port) = self.port {
            write!(formatter, ":{port}")?;
        }
        formatter.write_str(&self.base_path)
    }
}

/// An app that speaks plain HTTP to an `https://` service writes port 80, 443 or none, and means the same.
pub(super) fn unless_default(port: Option<u16>) -> Option<u16> {
    port.filter(|port| !matches!(port, 80 | 443))
}

/// Why a rule does not fit a request, the first thing found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch<'t> {
    /// A forward-proxy route, and the request is no absolute-form.
    NotAbsolute,
    /// A forward-proxy route, and the request names another authority.
    OtherAuthority,
    /// A route without a host, and the request's host is no local name.
    NotLocal,
    /// A default route by name, and the request names the authority of a service.
    OfAnotherService,
    Host,
    Path(&'t str),
    /// The path starts with the route's, which ends within a segment there.
    Boundary(&'t str),
    Method(&'t [Method]),
    HeaderMissing(&'t HeaderName),
    HeaderRepeated(&'t HeaderName),
    HeaderDiffers(&'t HeaderName),
    /// An absolute-form keeps its path, so this must lie under the service's base path.
    OutsideBasePath,
}

impl Mismatch<'_> {
    /// How many of the questions that a rule asks were answered before this one: the more, the nearer it came.
    pub(super) fn passed(&self) -> u8 {
        match self {
            Self::NotAbsolute | Self::OtherAuthority | Self::NotLocal | Self::OfAnotherService | Self::Host => 0,
            Self::Path(_) => 1,
            Self::Boundary(_) => 2,
            Self::Method(_) => 3,
            Self::HeaderMissing(_) | Self::HeaderRepeated(_) | Self::HeaderDiffers(_) => 4,
            Self::OutsideBasePath => 5,
        }
    }
}

/// For people: what is the matter, without the rule's name.
impl fmt::Display for Mismatch<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAbsolute => {
                formatter.write_str("counts for a whole URL as the target only, as `http_proxy` makes it")
            }
            Self::OtherAuthority => formatter.write_str("the target names another host or port"),
            Self::NotLocal => formatter.write_str("counts under a local name only"),
            Self::OfAnotherService => formatter.write_str("the target names the host and port of a service"),
            Self::Host => formatter.write_str("the host differs"),
            Self::Path(prefix) => write!(formatter, "the path does not start with `{prefix}`"),
            Self::Boundary(prefix) => write!(formatter, "the path goes on after `{prefix}` without a slash"),
            Self::Method(methods) => write!(formatter, "the method is not {}", MethodList(methods)),
            Self::HeaderMissing(name) => write!(formatter, "the header `{name}` is missing"),
            Self::HeaderRepeated(name) => write!(formatter, "the header `{name}` stands more than once"),
            Self::HeaderDiffers(name) => write!(formatter, "the header `{name}` has another value"),
            Self::OutsideBasePath => formatter.write_str("the path lies outside the base path of the service"),
        }
    }
}
