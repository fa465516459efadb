//! Why a request is routed as it is: the rules that were considered, and what became of each. For people; it looks at
//! every rule, so no request waits for it.

use std::cmp::Reverse;
use std::fmt;

use super::mismatch::{AskedRoute, Mismatch};
use super::rule::{Rank, Rule};
use super::{Question, RouteKind, RouteTable};

/// A rule that was considered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Considered<'t> {
    pub(crate) kind: RouteKind,
    /// Place of its service.
    pub(crate) service: usize,
    /// What it asks for, as text.
    pub(crate) rule: &'t Rule,
    pub(crate) verdict: RouteVerdict<'t>,
}

/// What became of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RouteVerdict<'t> {
    Wins,
    /// It fits, and the winner says more about the request.
    LessSpecific(Advantage),
    /// It does not fit.
    PassedOver(Mismatch<'t>),
}

/// What the winner has more of; the first in this order decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advantage {
    Host,
    Path,
    Methods,
    Headers,
    Explicit,
}

impl RouteTable {
    /// The rules that came nearest to this request, the winner first; at most 50.
    pub(crate) fn consider(&self, question: &Question<'_>) -> Vec<Considered<'_>> {
        let asked = self.asked(question);
        let winner = self.index.best(&self.rules, &asked);
        let mut considered: Vec<_> = self.rules.iter().map(|rule| consider(rule, winner, &asked)).collect();
        considered.sort_by_key(|it| nearness(it, question));
        considered.truncate(MOST_LISTED);
        considered
    }
}

fn consider<'t>(rule: &'t Rule, winner: Option<&Rule>, asked: &AskedRoute<'_>) -> Considered<'t> {
    let verdict = match (asked.mismatch(rule), winner) {
        (Some(mismatch), _) => RouteVerdict::PassedOver(mismatch),
        (None, Some(winner)) if !std::ptr::eq(winner, rule) => {
            RouteVerdict::LessSpecific(Advantage::of(&winner.rank(), &rule.rank()))
        }
        (None, _) => RouteVerdict::Wins,
    };
    Considered { kind: rule.kind, service: rule.service, rule, verdict }
}

/// The nearest has the least; those that are as near stand in order of rank.
fn nearness(considered: &Considered<'_>, question: &Question<'_>) -> impl Ord + use<> {
    let (class, passed) = match considered.verdict {
        RouteVerdict::Wins => (0, 0),
        RouteVerdict::LessSpecific(_) => (1, 0),
        RouteVerdict::PassedOver(mismatch) => (2, mismatch.passed()),
    };
    let path = &considered.rule.path;
    let shared = path.bytes().zip(question.path.bytes()).take_while(|(ours, theirs)| ours == theirs).count();
    (class, Reverse(passed), Reverse(shared), Reverse(considered.rule.rank()), considered.kind, considered.service)
}

impl Advantage {
    fn of(winner: &Rank, other: &Rank) -> Self {
        let in_turn = [
            (winner.host != other.host, Self::Host),
            (winner.path_bytes != other.path_bytes, Self::Path),
            (winner.names_methods != other.names_methods, Self::Methods),
            (winner.headers != other.headers, Self::Headers),
        ];
        in_turn.into_iter().find_map(|(decides, advantage)| decides.then_some(advantage)).unwrap_or(Self::Explicit)
    }
}

/// For people: what became of the rule, without its name.
impl fmt::Display for RouteVerdict<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wins => formatter.write_str("wins"),
            Self::LessSpecific(advantage) => write!(formatter, "fits, but the winner {advantage}"),
            Self::PassedOver(mismatch) => mismatch.fmt(formatter),
        }
    }
}

impl fmt::Display for Advantage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Host => "has the more exact host",
            Self::Path => "has the longer path",
            Self::Methods => "names methods",
            Self::Headers => "names more headers",
            Self::Explicit => "is an explicit route",
        })
    }
}

/// Enough to see what was meant; a config may have ten thousand.
const MOST_LISTED: usize = 50;

#[cfg(test)]
mod tests {
    use super::super::tests::{ANY, Entry, Request, Written};

    #[track_caller]
    fn check(written: &Written, line: &str, expected: &[&str]) {
        let (table, _) = written.build();
        let request = Request::read(line);
        let considered = table.consider(&request.question());
        let seen: Vec<_> = considered.iter().map(|it| format!("{} ({}): {}", it.kind, it.rule, it.verdict)).collect();
        assert_eq!(seen, expected, "{line}");
    }

    #[test]
    fn each_route_that_did_not_win_says_why() {
        let written = Written::default()
            .service("payments", "https://api.example/v1")
            .route(Entry { path: "/pay", headers: &[("x-team", "a")], ..ANY }, "payments")
            .route(Entry { path: "/pay", methods: &["GET", "HEAD"], ..ANY }, "payments")
            .route(Entry { host: "*.example", ..ANY }, "payments")
            .route(Entry { path: "/", ..ANY }, "payments");

        check(
            &written,
            "POST //localhost/pay/x x-team:b",
            &[
                "routes[3] (path `/`): wins",
                "routes[0] (path `/pay`, header `x-team`): the header `x-team` has another value",
                "routes[1] (path `/pay`, GET or HEAD): the method is not GET or HEAD",
                "default route by path (path `/payments`): the path does not start with `/payments`",
                "forward proxy (host `api.example`, path `/v1`): \
                 counts for a whole URL as the target only, as `http_proxy` makes it",
                "default route by host (host `payments.localhost`, path `/`): the host differs",
                "routes[2] (host `*.example`, path `/`): the host differs",
            ],
        );
        check(
            &written,
            "GET //localhost/paymentsX x-team:a x-team:a",
            &[
                "routes[3] (path `/`): wins",
                "default route by path (path `/payments`): the path goes on after `/payments` without a slash",
                "routes[1] (path `/pay`, GET or HEAD): the path goes on after `/pay` without a slash",
                "routes[0] (path `/pay`, header `x-team`): the path goes on after `/pay` without a slash",
                "forward proxy (host `api.example`, path `/v1`): \
                 counts for a whole URL as the target only, as `http_proxy` makes it",
                "default route by host (host `payments.localhost`, path `/`): the host differs",
                "routes[2] (host `*.example`, path `/`): the host differs",
            ],
        );
        check(
            &written,
            "GET http://api.example/v2 x-team:a",
            &[
                "routes[2] (host `*.example`, path `/`): the path lies outside the base path of the service",
                "forward proxy (host `api.example`, path `/v1`): the path does not start with `/v1`",
                "default route by path (path `/payments`): the target names the host and port of a service",
                "routes[1] (path `/pay`, GET or HEAD): counts under a local name only",
                "routes[0] (path `/pay`, header `x-team`): counts under a local name only",
                "default route by host (host `payments.localhost`, path `/`): the target names the host and port of a service",
                "routes[3] (path `/`): counts under a local name only",
            ],
        );
    }

    #[test]
    fn a_route_that_fits_says_what_the_winner_has_more_of() {
        let fitting = Written::default()
            .service("a", "https://a.example")
            .route(Entry { path: "/a", headers: &[("x", "1"), ("y", "1")], ..ANY }, "a")
            .route(Entry { path: "/a", headers: &[("x", "1")], ..ANY }, "a")
            .route(Entry { path: "/a", ..ANY }, "a");
        let first_two = |written: &Written, line: &str| {
            let (table, _) = written.build();
            let request = Request::read(line);
            let verdicts: Vec<_> =
                table.consider(&request.question()).iter().map(|it| it.verdict.to_string()).collect();
            verdicts[..2].join("; ")
        };
        let check = |entry, line, expected: &str| {
            assert_eq!(
                first_two(&fitting.clone().route(entry, "a"), line),
                format!("wins; fits, but the winner {expected}")
            );
        };

        check(Entry { host: "localhost", ..ANY }, "GET //localhost/a/b", "has the more exact host");
        check(Entry { path: "/a/b", ..ANY }, "GET //localhost/a/b", "has the longer path");
        check(Entry { path: "/a", methods: &["GET"], ..ANY }, "GET //localhost/a/b", "names methods");
        check(Entry { path: "/b", ..ANY }, "GET //localhost/a x:1", "names more headers");
        check(Entry { path: "/b", ..ANY }, "GET //localhost/a", "is an explicit route");
    }

    #[test]
    fn of_many_routes_the_fifty_nearest_are_listed() {
        let paths: Vec<String> = (0..200).map(|number| format!("/p{number}")).collect();
        let services = Written::default().service("a", "https://a.example");
        let written = paths.iter().fold(services, |written, path| written.route(Entry { path, ..ANY }, "a"));
        let (table, _) = written.build();

        let request = Request::read("GET //localhost/p150/x");
        let considered = table.consider(&request.question());

        assert_eq!(considered.len(), 50);
        assert_eq!(considered[0].verdict.to_string(), "wins");
        assert_eq!(considered[1].verdict.to_string(), "the path goes on after `/p15` without a slash");
    }
}
