//! What can be wrong with the routes of a config, found when the table is built.

use std::collections::HashMap;

use http::{HeaderName, HeaderValue};

use super::rule::Rule;
use super::target::TargetError;
use super::{Destination, RouteKind};
use crate::config::{Report, Span};
use crate::name::ServiceName;

/// A fault and its place.
#[derive(Debug)]
pub(super) struct RouteFinding {
    pub(super) span: Span,
    pub(super) fault: RuleProblem,
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum RuleProblem {
    #[error("no request has such a path: {0}")]
    Path(TargetError),
    #[error("`{second}` and `{first}` can fit the same request and nothing decides ({first}: {pattern})")]
    Undecided { first: RouteKind, second: RouteKind, pattern: String },
    #[error("{} share authority and base path: none of them has a forward-proxy route", listed(services))]
    SharedSite { services: Vec<ServiceName>, host: String },
}

impl RouteFinding {
    /// Adds itself to the report; only [`RuleProblem::SharedSite`] leaves a table that does what was written.
    pub(super) fn report(self, report: &mut Report) {
        let message = self.fault.to_string();
        match self.fault {
            RuleProblem::Path(_) => {
                report.error(self.span, message).help("such requests are refused before they are matched")
            }
            RuleProblem::Undecided { .. } => report
                .error(self.span, message)
                .help("a `host`, a longer `path`, `methods` or one more header on one of them decides"),
            RuleProblem::SharedSite { host, .. } => report.warning(self.span, message).help(format!(
                "a route with `host: {host}` decides, or `default_routes: false` for all of them but one"
            )),
        };
    }
}

/// Several services in one place: an absolute-form can't say which it means. It is said once, at the second.
pub(super) fn shared_site(services: &[&Destination<'_>]) -> Option<RouteFinding> {
    let [_, second, ..] = services else { return None };
    let host = second.url.value.authority.host.clone();
    let names = services.iter().map(|service| service.name.clone()).collect();
    Some(RouteFinding { span: second.url.span, fault: RuleProblem::SharedSite { services: names, host } })
}

/// `a`, `b` and `c`; of many, the first and how many more there are.
fn listed(services: &[ServiceName]) -> String {
    let quoted = |names: &[ServiceName]| {
        let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        quoted.join(", ")
    };
    match services {
        [some @ .., last] if services.len() <= MOST_LISTED => format!("{} and `{last}`", quoted(some)),
        [some @ .., _] => format!("{} and {} more", quoted(&some[..MOST_LISTED - 1]), services.len() - MOST_LISTED + 1),
        [] => String::new(),
    }
}

const MOST_LISTED: usize = 5;

/// Finds each explicit rule that some request could fit as well as an earlier one while their ranks are equal.
///
/// `rules` are explicit and sorted: those of one host, path and rank stand together.
pub(super) fn undecided(rules: &[Rule]) -> Vec<RouteFinding> {
    let rivals = |a: &Rule, b: &Rule| a.rank() == b.rank() && a.host == b.host && a.path == b.path;
    let mut pairs: Vec<_> = rules.chunk_by(rivals).flat_map(undecided_among).collect();
    pairs.sort_by_key(|(later, _)| later.kind);
    pairs
        .into_iter()
        .map(|(later, earlier)| RouteFinding { span: later.span, fault: RuleProblem::undecided(later, earlier) })
        .collect()
}

impl RuleProblem {
    fn undecided(second: &Rule, first: &Rule) -> Self {
        Self::Undecided { first: first.kind, second: second.kind, pattern: first.to_string() }
    }
}

/// Only rules that agree on the values of the headers that all of them name can meet: ten thousand routes that differ
/// in `x-tenant` are not compared with each other.
fn undecided_among(rivals: &[Rule]) -> Vec<(&Rule, &Rule)> {
    let mut in_order: Vec<_> = rivals.iter().collect();
    in_order.sort_by_key(|rule| rule.kind);
    let named_by_all: Vec<_> =
        rivals[0].header_names().filter(|name| rivals.iter().all(|rule| required(rule, name).is_some())).collect();
    let mut agreeing: HashMap<Vec<&HeaderValue>, Vec<&Rule>> = HashMap::new();
    let mut pairs = Vec::new();
    for later in in_order {
        let values = named_by_all.iter().filter_map(|name| required(later, name)).collect();
        let earlier_ones = agreeing.entry(values).or_default();
        pairs.extend(earlier_ones.iter().find(|earlier| can_meet(earlier, later)).map(|earlier| (later, *earlier)));
        earlier_ones.push(later);
    }
    pairs
}

/// Whether one request could fit both, their hosts and paths being the same.
fn can_meet(a: &Rule, b: &Rule) -> bool {
    let methods_meet = a.methods.is_empty() || b.methods.is_empty() || a.methods.iter().any(|m| b.methods.contains(m));
    // A field fits only if it stands once, so two values of one name never meet.
    methods_meet && a.headers.iter().all(|(name, value)| required(b, name).is_none_or(|other| other == value))
}

fn required<'r>(rule: &'r Rule, name: &HeaderName) -> Option<&'r HeaderValue> {
    rule.headers.iter().find(|(named, _)| named == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ANY, Entry, Written};

    #[track_caller]
    fn check(entries: &[Entry<'_>], expected: &[&str]) {
        let services = Written::default().service("a", "https://a.example").service("b", "https://b.example");
        let written = entries.iter().fold(services, |written, entry| written.route(*entry, "a"));
        let (_, findings) = written.build();
        assert_eq!(findings, expected, "{entries:?}");
    }

    #[test]
    fn two_routes_that_one_request_could_fit_are_undecided() {
        let first = Entry { path: "/p", ..ANY };
        let undecided =
            "`routes[1]` and `routes[0]` can fit the same request and nothing decides (routes[0]: path `/p`)";

        check(&[first, first], &[undecided]);
        check(&[first, Entry { path: "/p/", ..first }], &[undecided]);
        check(&[first, Entry { strip: false, ..first }], &[undecided]);
        check(&[first, Entry { path: "/q", ..first }], &[]);
        check(&[first, Entry { path: "/p/q", ..first }], &[]);
        check(&[first, Entry { host: "x.example", ..first }], &[]);
        check(&[first, Entry { methods: &["GET"], ..first }], &[]);
        check(&[first, Entry { headers: &[("x", "1")], ..first }], &[]);
    }

    #[test]
    fn methods_decide_if_the_routes_share_none() {
        let get = Entry { host: "*.x.example", methods: &["GET", "HEAD"], ..ANY };
        let undecided = "`routes[1]` and `routes[0]` can fit the same request and nothing decides \
                         (routes[0]: host `*.x.example`, path `/`, GET or HEAD)";

        check(&[get, Entry { methods: &["HEAD", "PUT"], ..get }], &[undecided]);
        check(&[get, Entry { methods: &["PUT"], ..get }], &[]);
        check(&[get, Entry { host: "*.example", ..get }], &[]);
    }

    #[test]
    fn headers_decide_if_one_name_has_two_values() {
        let one = Entry { host: "x.example", path: "/", headers: &[("x-a", "1"), ("x-b", "1")], ..ANY };
        let undecided = "`routes[1]` and `routes[0]` can fit the same request and nothing decides \
                         (routes[0]: host `x.example`, path `/`, header `x-a`, header `x-b`)";

        check(&[one, Entry { headers: &[("x-b", "1"), ("x-a", "1")], ..one }], &[undecided]);
        check(&[one, Entry { headers: &[("x-a", "1"), ("x-c", "1")], ..one }], &[undecided]);
        check(&[one, Entry { headers: &[("x-c", "1"), ("x-d", "1")], ..one }], &[undecided]);
        check(&[one, Entry { headers: &[("x-a", "2"), ("x-c", "1")], ..one }], &[]);
        check(&[one, Entry { headers: &[("x-a", "1"), ("x-b", "2")], ..one }], &[]);
    }

    #[test]
    fn each_later_route_is_reported_once_in_the_order_of_the_config() {
        let (q, p) = (Entry { path: "/q", ..ANY }, Entry { path: "/p", ..ANY });

        check(
            &[q, p, p, q, p],
            &[
                "`routes[2]` and `routes[1]` can fit the same request and nothing decides (routes[1]: path `/p`)",
                "`routes[3]` and `routes[0]` can fit the same request and nothing decides (routes[0]: path `/q`)",
                "`routes[4]` and `routes[1]` can fit the same request and nothing decides (routes[1]: path `/p`)",
            ],
        );
    }

    #[test]
    fn a_path_that_no_request_has_is_a_fault() {
        check(&[Entry { path: "/a/%2e%2e/b", ..ANY }], &["no request has such a path: the path has a dot segment"]);
        check(
            &[Entry { path: "/100%", ..ANY }],
            &["no request has such a path: the path has a broken percent-encoding"],
        );
        check(&[Entry { path: "/%20", ..ANY }], &[]);
    }
}
