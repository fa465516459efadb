//! Where rules are looked up: by host, then by path, the most specific first.
//!
//! Promises that a look-up costs as much with ten thousand routes as with ten, and allocates nothing. It only proposes
//! rules, in the order of their rank: `mismatch` decides which of them fit.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::Range;

use super::mismatch::{AskedRoute, Reach, RouteOrigin, only, unless_default};
use super::rule::{HostPattern, Rule};
use super::{Question, RouteKind};

/// The rules by host and path; it holds their places in a sorted list.
#[derive(Debug, Default)]
pub(super) struct Index {
    exact: HashMap<Box<str>, Paths>,
    suffixes: HashMap<Box<str>, Paths>,
    any: Paths,
    /// Forward-proxy rules by host and port; every service's authority is here, also of those without such a rule.
    authorities: HashMap<Box<str>, HashMap<Option<u16>, Paths>>,
}

impl Index {
    /// `rules` are in their order, see [`Rule::order`].
    pub(super) fn new(rules: &[Rule], sites: &[RouteOrigin]) -> Self {
        let mut index = Self::default();
        for site in sites {
            index.authorities.entry(site.host.clone()).or_default().entry(site.port).or_default();
        }
        for (place, rule) in rules.iter().enumerate() {
            index.paths_for(rule, sites).add(place, rules);
        }
        index
    }

    fn paths_for(&mut self, rule: &Rule, sites: &[RouteOrigin]) -> &mut Paths {
        match &rule.host {
            HostPattern::Any => &mut self.any,
            HostPattern::Suffix(suffix) => self.suffixes.entry(suffix.clone()).or_default(),
            HostPattern::Exact(host) if rule.kind == RouteKind::ForwardProxy => {
                let ports = self.authorities.entry(host.clone()).or_default();
                ports.entry(sites[rule.service].port).or_default()
            }
            HostPattern::Exact(host) => self.exact.entry(host.clone()).or_default(),
        }
    }

    /// The most specific rule that fits.
    pub(super) fn best<'t>(&self, rules: &'t [Rule], asked: &AskedRoute<'_>) -> Option<&'t Rule> {
        let first = |paths: &Paths| paths.first(rules, asked);
        let Question { host, port, .. } = *asked.question;
        let exact = self.exact.get(host).and_then(first);
        let own = if asked.reach == Reach::Own { self.of_authority(host, port).and_then(first) } else { None };
        let of_host = exact.into_iter().chain(own).max_by_key(|rule| rule.rank());
        of_host
            .or_else(|| suffixes(host).filter_map(|suffix| self.suffixes.get(suffix)).find_map(first))
            .or_else(|| first(&self.any))
    }

    pub(super) fn has_host(&self, host: &str) -> bool {
        self.exact.contains_key(host) || self.has_suffix_of(host)
    }

    /// Whether `host` lies under a `*.suffix`.
    pub(super) fn has_suffix_of(&self, host: &str) -> bool {
        suffixes(host).any(|suffix| self.suffixes.contains_key(suffix))
    }

    pub(super) fn has_authority(&self, host: &str, port: Option<u16>) -> bool {
        self.of_authority(host, port).is_some()
    }

    fn of_authority(&self, host: &str, port: Option<u16>) -> Option<&Paths> {
        self.authorities.get(host)?.get(&unless_default(port))
    }
}

/// The rules of one host by path.
#[derive(Debug, Default)]
struct Paths {
    /// Runs of rules that name the same headers, in order of rank; within a run in order of the headers' values.
    runs: HashMap<Box<str>, Vec<Range<usize>>>,
    /// Bytes of the longest path: a longer prefix of a request's path need not be looked up.
    longest: usize,
}

impl Paths {
    fn add(&mut self, place: usize, rules: &[Rule]) {
        let rule = &rules[place];
        self.longest = self.longest.max(rule.path.len());
        let runs = self.runs.entry(rule.path.clone()).or_default();
        let is_alike = |first: &Rule| first.rank() == rule.rank() && first.header_names().eq(rule.header_names());
        match runs.last_mut() {
            Some(run) if run.end == place && is_alike(&rules[run.start]) => run.end += 1,
            _ => runs.push(place..place + 1),
        }
    }

    fn first<'t>(&self, rules: &'t [Rule], asked: &AskedRoute<'_>) -> Option<&'t Rule> {
        prefixes(asked.question.path, self.longest)
            .filter_map(|prefix| self.runs.get(prefix))
            .flatten()
            .find_map(|run| first_of_run(&rules[run.clone()], asked))
    }
}

/// Searches a run by the values that the request has for its headers: each tenant may have a route.
fn first_of_run<'t>(run: &'t [Rule], asked: &AskedRoute<'_>) -> Option<&'t Rule> {
    let start = run.partition_point(|rule| compare_values(rule, asked).is_lt());
    run[start..]
        .iter()
        .take_while(|rule| compare_values(rule, asked).is_eq())
        .find(|rule| asked.mismatch(rule).is_none())
}

fn compare_values(rule: &Rule, asked: &AskedRoute<'_>) -> Ordering {
    let required = rule.header_values().map(Some);
    required.cmp(rule.header_names().map(|name| only(asked.question.fields, name).ok()))
}

/// What `path` could be under, the longest first: itself, then what stands before each of its slashes.
fn prefixes(path: &str, longest: usize) -> impl Iterator<Item = &str> {
    let whole = (path.len() <= longest).then_some(path);
    let within = &path.as_bytes()[..path.len().min(longest + 1)];
    let before_slashes = within.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &path[..at]);
    whole.into_iter().chain(before_slashes)
}

/// What follows each dot of `host`, the longest first.
fn suffixes(host: &str) -> impl Iterator<Item = &str> {
    host.match_indices('.').map(|(at, _)| &host[at + 1..])
}
