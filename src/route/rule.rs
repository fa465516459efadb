//! One line of the table: what a request must be like to fit it, and how much that says.

use std::cmp::Ordering;
use std::fmt;

use http::{HeaderName, HeaderValue, Method};

use super::mismatch::RouteOrigin;
use super::rule_problem::{RouteFinding, RuleProblem};
use super::{Destination, RouteKind, target};
use crate::config::{At, RouteConfig, Span};
use crate::spelling::folded_name;

/// A route as the table holds it, explicit or default.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(super) kind: RouteKind,
    /// Where it was written; a default route, where its service's URL was.
    pub(super) span: Span,
    /// Place of its service.
    pub(super) service: usize,
    pub(super) host: HostPattern,
    /// Fits on a segment boundary. Has no trailing slash; `""` fits every path.
    pub(super) path: Box<str>,
    /// Empty: all.
    pub(super) methods: Box<[Method]>,
    /// In order of name, so that rules with the same names can be searched by value; named as they are compared.
    pub(super) headers: Box<[(HeaderName, HeaderValue)]>,
    /// Whether `path` is dropped before the rest is sent.
    pub(super) strips: bool,
}

/// Which hosts fit. Lower case, no trailing dot, no brackets.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HostPattern {
    Any,
    /// `*.suffix`, without the `*.`: any number of labels before it, one at least.
    Suffix(Box<str>),
    Exact(Box<str>),
}

/// How much a rule says: of those that fit, the greatest wins. The order of the fields is the precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) host: HostRank,
    pub(super) path_bytes: usize,
    pub(super) names_methods: bool,
    pub(super) headers: usize,
    pub(super) is_explicit: bool,
}

/// An exact host before a longer suffix before none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HostRank {
    Any,
    SuffixOfBytes(usize),
    Exact,
}

impl Rule {
    /// Place of its service in the list that the table was compiled from.
    pub(crate) fn service(&self) -> usize {
        self.service
    }

    /// The rule of `routes[number]`.
    ///
    /// # Errors
    /// When no request could have its path.
    pub(super) fn explicit(number: usize, written: &At<RouteConfig>, service: usize) -> Result<Self, RouteFinding> {
        let At { value: route, span } = written;
        let mut headers: Vec<_> =
            route.headers.iter().map(|(name, value)| (as_compared(name), value.clone())).collect();
        headers.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()).then_with(|| a.1.cmp(&b.1)));
        Ok(Self {
            kind: RouteKind::Explicit(number),
            span: *span,
            service,
            host: route.host.as_ref().map_or(HostPattern::Any, |host| HostPattern::read(&host.value)),
            path: route.path.as_ref().map_or(Ok(""), read_path)?.into(),
            methods: route.methods.clone().into(),
            headers: headers.into(),
            strips: route.strip_path,
        })
    }

    /// `/NAME`, stripped.
    pub(super) fn default_path(service: usize, of: &Destination<'_>) -> Self {
        let path = format!("/{}", of.name).into();
        Self { path, strips: true, ..Self::default_route(RouteKind::DefaultPath, service, of, HostPattern::Any) }
    }

    /// `NAME.localhost`.
    pub(super) fn default_host(service: usize, of: &Destination<'_>) -> Self {
        let host = format!("{}.localhost", of.name).into();
        Self::default_route(RouteKind::DefaultHost, service, of, HostPattern::Exact(host))
    }

    /// Everything under the service's own URL.
    pub(super) fn forward_proxy(service: usize, of: &Destination<'_>, site: &RouteOrigin) -> Self {
        let host = HostPattern::Exact(site.host.clone());
        Self { path: site.base_path.clone(), ..Self::default_route(RouteKind::ForwardProxy, service, of, host) }
    }

    fn default_route(kind: RouteKind, service: usize, of: &Destination<'_>, host: HostPattern) -> Self {
        let span = of.url.span;
        Self { kind, span, service, host, path: "".into(), methods: [].into(), headers: [].into(), strips: false }
    }

    pub(super) fn rank(&self) -> Rank {
        Rank {
            host: self.host.rank(),
            path_bytes: self.path.len(),
            names_methods: !self.methods.is_empty(),
            headers: self.headers.len(),
            is_explicit: matches!(self.kind, RouteKind::Explicit(_)),
        }
    }

    /// The most specific first; of one host, path and rank those with the same header names together, by value.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        (other.rank().cmp(&self.rank()))
            .then_with(|| self.host.cmp(&other.host))
            .then_with(|| self.path.cmp(&other.path))
            .then_with(|| self.header_names().map(HeaderName::as_str).cmp(other.header_names().map(HeaderName::as_str)))
            .then_with(|| self.header_values().cmp(other.header_values()))
            .then_with(|| self.kind.cmp(&other.kind))
    }

    pub(super) fn header_names(&self) -> impl Iterator<Item = &HeaderName> {
        self.headers.iter().map(|(name, _)| name)
    }

    pub(super) fn header_values(&self) -> impl Iterator<Item = &HeaderValue> {
        self.headers.iter().map(|(_, value)| value)
    }
}

impl HostPattern {
    fn read(written: &str) -> Self {
        match written.strip_prefix("*.") {
            Some(suffix) => Self::Suffix(suffix.into()),
            None => Self::Exact(written.into()),
        }
    }

    /// Whether `host` fits.
    pub(super) fn fits(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => **exact == *host,
            Self::Suffix(suffix) => {
                host.strip_suffix(&**suffix).is_some_and(|labels| labels.len() > 1 && labels.ends_with('.'))
            }
        }
    }

    fn rank(&self) -> HostRank {
        match self {
            Self::Any => HostRank::Any,
            Self::Suffix(suffix) => HostRank::SuffixOfBytes(suffix.len()),
            Self::Exact(_) => HostRank::Exact,
        }
    }
}

/// Two spellings of a field are one: a service may read either, and a route goes by both.
fn as_compared(name: &HeaderName) -> HeaderName {
    // What is put for other bytes may stand in a name too.
    HeaderName::from_bytes(folded_name(name.as_str()).as_bytes()).unwrap_or_else(|_| name.clone())
}

/// A slash at the end says nothing that the segment boundary does not: `/pay/` is `/pay`, `/` is every path.
fn read_path(written: &At<String>) -> Result<&str, RouteFinding> {
    let Err(refused) = target::check(&written.value) else {
        return Ok(written.value.strip_suffix('/').unwrap_or(&written.value));
    };
    Err(RouteFinding { span: written.span, fault: RuleProblem::Path(refused) })
}

/// Whether `path` lies under `prefix`: is the same, or goes on with a slash.
pub(super) fn is_under(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// For people: what the rule asks for.
impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        match &self.host {
            HostPattern::Any => write!(formatter, "path `{path}`")?,
            HostPattern::Suffix(suffix) => write!(formatter, "host `*.{suffix}`, path `{path}`")?,
            HostPattern::Exact(host) => write!(formatter, "host `{host}`, path `{path}`")?,
        }
        if !self.methods.is_empty() {
            write!(formatter, ", {}", MethodList(&self.methods))?;
        }
        // Names only: a value may be a secret.
        self.header_names().try_for_each(|name| write!(formatter, ", header `{name}`"))
    }
}

/// `GET or POST`.
pub(super) struct MethodList<'a>(pub(super) &'a [Method]);

impl fmt::Display for MethodList<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(place, method)| {
            let separator = if place == 0 { "" } else { " or " };
            write!(formatter, "{separator}{method}")
        })
    }
}
