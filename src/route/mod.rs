//! Matching: which service a request is for, and what it is sent.
//!
//! Promises that exactly one route wins, the most specific of those that fit, whatever the order in the config; that a
//! look-up neither allocates nor grows with the number of routes; and that what was matched is what is sent. Pure:
//! no I/O, no time. Leaves to others who may ask (`admit`) and which names are local (`access`).
//!
//! A route is a `Rule`, explicit or default; the `Index` proposes rules in order of rank, `AskedRoute` says whether one
//! fits, and the first that does wins.

pub(crate) mod allow;
mod alone;
pub(crate) mod authority;
pub(crate) mod explain;
mod index;
mod mismatch;
mod rule;
mod rule_problem;
pub(crate) mod target;
#[cfg(any(test, feature = "bench"))]
pub(crate) mod trial;
mod way_back;

use std::collections::BTreeMap;
use std::fmt;

use http::{HeaderMap, HeaderName, Method};

use crate::config::{At, Report, RouteConfig, Scheme, Url};
use crate::name::ServiceName;

use alone::Alone;
use index::Index;
use mismatch::{AskedRoute, Reach, RouteOrigin};
pub(crate) use rule::Rule;
use rule::is_under;
use rule_problem::{RouteFinding, shared_site, undecided};
pub(crate) use way_back::{CookiePath, WayBack};

/// All routes, explicit and default. Services are known by their place in the list that `compile` was given.
#[derive(Debug)]
pub(crate) struct RouteTable {
    /// In order, see [`Rule::order`].
    rules: Vec<Rule>,
    index: Index,
    /// The hosts that lead to one service and no other.
    alone: Alone,
    /// Where each service is.
    sites: Vec<RouteOrigin>,
    names: Vec<ServiceName>,
}

/// What `compile` must know of a service.
pub(crate) struct Destination<'a> {
    pub(crate) name: &'a ServiceName,
    pub(crate) url: &'a At<Url>,
    pub(crate) default_routes: bool,
}

/// How the request names its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetForm {
    /// `GET /payments/orders`, with a `Host` field, or HTTP/2 with `:authority`.
    Origin,
    /// `GET http://api.partner.example/v1/orders`. If it names no service and its host is local, the table reads it
    /// as the plain path.
    Absolute,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) form: TargetForm,
    /// Host of the request as [`authority::RequestAuthority::parse`] spells it (`Host` field, `:authority`, or the target's
    /// authority).
    pub(crate) host: &'a str,
    /// Port of the authority, if one was written.
    pub(crate) port: Option<u16>,
    /// Whether the host is a local name (`access` decides): only then do routes without a host of their own count.
    pub(crate) local: bool,
    pub(crate) method: &'a Method,
    /// The path as it came, nothing decoded; [`target::check`] has passed it.
    pub(crate) path: &'a str,
    pub(crate) fields: &'a HeaderMap,
}

/// The route that won.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Match<'t> {
    /// Place of the service in the list given to [`RouteTable::compile`].
    pub(crate) service: usize,
    pub(crate) kind: RouteKind,
    /// Bytes of the request's path to drop before the rest is appended to the base path.
    pub(crate) strip: usize,
    /// The stripped prefix (`/payments`), `""` if nothing is stripped: what `Location` and cookie paths map back to.
    pub(crate) prefix: &'t str,
    /// The route's path where it is not stripped, else `""`: all that this route leads to lies under it.
    pub(crate) within: &'t str,
    /// Whether the base path is put before the rest (not in forward-proxy form: the path is whole already).
    pub(crate) prepend: bool,
}

/// Which rule it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RouteKind {
    /// Number of the entry in `routes`, from 0.
    Explicit(usize),
    DefaultPath,
    DefaultHost,
    ForwardProxy,
    /// The service's own `listen`: all that arrives there is for it.
    OwnListener,
}

impl fmt::Display for RouteKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Explicit(number) => write!(formatter, "routes[{number}]"),
            Self::DefaultPath => formatter.write_str("default route by path"),
            Self::DefaultHost => formatter.write_str("default route by host"),
            Self::ForwardProxy => formatter.write_str("forward proxy"),
            Self::OwnListener => formatter.write_str("the service's own `listen`"),
        }
    }
}

impl RouteTable {
    /// Builds the table, and reports routes that no request can fit, and two explicit ones that one request could fit
    /// while nothing decides. `routes[n].1` is the place of its service in `services`.
    pub(crate) fn compile(
        services: &[Destination<'_>],
        routes: &[(&At<RouteConfig>, usize)],
        report: &mut Report,
    ) -> Self {
        let (table, findings) = Self::build(services, routes);
        for finding in findings {
            finding.report(report);
        }
        table
    }

    /// Every rule, for status.
    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The fields that any rule goes by, as they are compared; one may come more than once.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &HeaderName> {
        self.rules.iter().flat_map(|rule| rule.headers.iter().map(|(name, _)| name))
    }

    /// The one route for this request.
    pub(crate) fn find(&self, question: &Question<'_>) -> Option<Match<'_>> {
        let asked = self.asked(question);
        let rule = self.index.best(&self.rules, &asked)?;
        let keeps_path = asked.keeps_path(rule);
        let (prefix, within) = match (keeps_path, rule.strips) {
            (true, _) => ("", ""),
            (false, true) => (&*rule.path, ""),
            (false, false) => ("", &*rule.path),
        };
        let strip = prefix.len();
        Some(Match { service: rule.service, kind: rule.kind, strip, prefix, within, prepend: !keeps_path })
    }

    /// What is found on a service's own port: that service, whatever the path. A whole URL must be its own, or one of
    /// this machine's.
    pub(crate) fn find_own(&self, service: usize, question: &Question<'_>) -> Option<Match<'_>> {
        let asked = self.asked(question);
        let site = self.sites.get(service)?;
        let is_own = asked.reach == Reach::Own;
        let keeps_path = is_own && site.is_named_by(question);
        let leads_here = match keeps_path {
            true => is_under(question.path, &site.base_path),
            false => question.local && !is_own,
        };
        let found =
            Match { service, kind: RouteKind::OwnListener, strip: 0, prefix: "", within: "", prepend: !keeps_path };
        leads_here.then_some(found)
    }

    /// Whether `host` has routes of its own (then these count even if it is no local name).
    pub(crate) fn has_host(&self, host: &str) -> bool {
        self.index.has_host(host)
    }

    /// Whether all that is asked under this name goes to one service. A local name has the routes without a host too.
    pub(crate) fn has_alone(&self, host: &str, local: bool) -> bool {
        self.alone.has(host, local)
    }

    /// The same of a name at `service`'s own port, where it must not be another service's: cookies know no ports.
    pub(crate) fn has_alone_at_own_port(&self, host: &str, local: bool, service: usize) -> bool {
        self.alone.has(host, local) && self.alone.is_of(host, service)
    }

    /// A name under which a browser finds this service and no other, without any setting of its machine.
    pub(crate) fn name_for_browsers(&self, service: usize) -> Option<&str> {
        self.alone.name_for_browsers(service)
    }

    /// Whether one service alone has the authority `host:port`, for absolute-form.
    pub(crate) fn has_one_service(&self, host: &str, port: Option<u16>) -> bool {
        let port = mismatch::unless_default(port);
        self.sites.iter().filter(|site| *site.host == *host && site.port == port).count() == 1
    }

    /// Whether `host:port` is a service's authority, for absolute-form.
    pub(crate) fn is_service_authority(&self, host: &str, port: Option<u16>) -> bool {
        self.index.has_authority(host, port)
    }

    /// How to get to the service whose own host this is. In origin-form it opens nothing: who can name a host of their
    /// own so could have any web page call.
    pub(crate) fn ways_in(&self, host: &str) -> Option<String> {
        let place = self.sites.iter().position(|site| *site.host == *host)?;
        let (site, name) = (&self.sites[place], &self.names[place]);
        let is_proxied = self.rules.iter().any(|rule| rule.kind == RouteKind::ForwardProxy && rule.service == place);
        let whole_url = match is_proxied {
            true => format!("which counts in a whole URL only: send `{site}/…` as the target, or"),
            false => "which counts where a route says so:".to_owned(),
        };
        let path = if site.base_path.is_empty() { String::new() } else { format!(", path: \"{}\"", site.base_path) };
        let route = format!("routes: [{{host: \"{host}\"{path}, service: {name}}}]");
        Some(format!("is the host of the service `{name}`, {whole_url} add `{route}`"))
    }

    fn asked<'q>(&'q self, question: &'q Question<'q>) -> AskedRoute<'q> {
        let names_service = || self.is_service_authority(question.host, question.port);
        let reach = match question.form {
            TargetForm::Absolute if names_service() => Reach::Own,
            _ if question.local => Reach::Local,
            _ => Reach::Named,
        };
        AskedRoute { question, reach, sites: &self.sites }
    }

    fn build(services: &[Destination<'_>], routes: &[(&At<RouteConfig>, usize)]) -> (Self, Vec<RouteFinding>) {
        let sites: Vec<_> = services.iter().map(RouteOrigin::of).collect();
        let (mut rules, mut findings) = explicit_rules(routes);
        let (defaults, shared) = default_rules(services, &sites);
        findings.extend(shared);
        rules.extend(defaults);
        rules.sort_by(Rule::order);
        let index = Index::new(&rules, &sites);
        let alone = Alone::new(&rules, &index);
        let names = services.iter().map(|service| service.name.clone()).collect();
        (Self { rules, index, alone, sites, names }, findings)
    }
}

fn explicit_rules(routes: &[(&At<RouteConfig>, usize)]) -> (Vec<Rule>, Vec<RouteFinding>) {
    let mut rules = Vec::with_capacity(routes.len());
    let mut findings = Vec::new();
    for (number, (route, service)) in routes.iter().enumerate() {
        match Rule::explicit(number, route, *service) {
            Ok(rule) => rules.push(rule),
            Err(finding) => findings.push(finding),
        }
    }
    rules.sort_by(Rule::order);
    findings.extend(undecided(&rules));
    (rules, findings)
}

/// The default routes of each service, and the services that have none of one kind because another is in the same place.
fn default_rules(services: &[Destination<'_>], sites: &[RouteOrigin]) -> (Vec<Rule>, Vec<RouteFinding>) {
    let mut rules = Vec::new();
    let mut findings = Vec::new();
    let mut by_site: BTreeMap<&RouteOrigin, Vec<usize>> = BTreeMap::new();
    for (place, service) in services.iter().enumerate().filter(|(_, service)| service.default_routes) {
        rules.push(Rule::default_path(place, service));
        rules.push(Rule::default_host(place, service));
        // One that is nowhere has no URL that an app could call it by.
        if service.url.value.scheme != Scheme::OpenPgp {
            by_site.entry(&sites[place]).or_default().push(place);
        }
    }
    for (site, places) in by_site {
        match places[..] {
            [lone] => rules.push(Rule::forward_proxy(lone, &services[lone], site)),
            _ => findings.extend(shared_site(&places.iter().map(|place| &services[*place]).collect::<Vec<_>>())),
        }
    }
    (rules, findings)
}

#[cfg(test)]
mod tests;
