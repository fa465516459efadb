//! Which hosts lead to one service, whatever is asked there.
//!
//! To a browser such a host is an origin of its own. Under every other one services share an origin: a page of one would
//! read all of them.

use std::collections::HashMap;

use super::RouteKind;
use super::index::Index;
use super::rule::{HostPattern, Rule};

/// The exact hosts of rules, as far as each has but one service.
#[derive(Debug, Default)]
pub(super) struct Alone(HashMap<Box<str>, Tenant>);

/// Who has a host.
#[derive(Clone, Copy, Debug)]
struct Tenant {
    service: usize,
    /// Whether each request fits a rule of this host. If not, those of suffixes and of no host come into it.
    takes_all: bool,
}

impl Alone {
    pub(super) fn new(rules: &[Rule], index: &Index) -> Self {
        let mut tenants: HashMap<Box<str>, Option<Tenant>> = HashMap::new();
        for rule in rules.iter().filter(|rule| rule.kind != RouteKind::ForwardProxy) {
            let HostPattern::Exact(host) = &rule.host else { continue };
            let takes_all = rule.path.is_empty() && rule.methods.is_empty() && rule.headers.is_empty();
            let tenant = Tenant { service: rule.service, takes_all };
            tenants
                .entry(host.clone())
                .and_modify(|known| *known = known.and_then(|known| known.with(tenant)))
                .or_insert(Some(tenant));
        }
        let alone = tenants.into_iter().filter_map(|(host, tenant)| Some((host, tenant?)));
        Self(alone.filter(|(host, tenant)| tenant.takes_all || !index.has_suffix_of(host)).collect())
    }

    pub(super) fn has(&self, host: &str, local: bool) -> bool {
        self.0.get(host).is_some_and(|tenant| tenant.takes_all || !local)
    }

    pub(super) fn is_of(&self, host: &str, service: usize) -> bool {
        self.0.get(host).is_some_and(|tenant| tenant.service == service)
    }

    /// The name by which browsers look on this machine without being told to: `*.localhost`, the shortest.
    pub(super) fn name_for_browsers(&self, service: usize) -> Option<&str> {
        let of_service = self.0.iter().filter(|(_, tenant)| tenant.service == service && tenant.takes_all);
        let names = of_service.map(|(host, _)| &**host).filter(|host| host.ends_with(".localhost"));
        names.min_by_key(|host| (host.len(), *host))
    }
}

impl Tenant {
    /// Both rules together, if they lead to the same service.
    fn with(self, other: Self) -> Option<Self> {
        let takes_all = self.takes_all || other.takes_all;
        (self.service == other.service).then_some(Self { takes_all, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ANY, Entry, Written};

    fn services() -> Written {
        Written::default().service("payments", "https://api.example/v1").service("orders", "https://orders.example")
    }

    #[track_caller]
    fn check(written: &Written, host: &str, alone: bool, alone_if_local: bool) {
        let (table, _) = written.build();
        assert_eq!((table.has_alone(host, false), table.has_alone(host, true)), (alone, alone_if_local), "{host}");
    }

    #[test]
    fn the_default_host_of_a_service_is_its_own() {
        let written = services();

        check(&written, "payments.localhost", true, true);
        for shared in ["localhost", "127.0.0.1", "nobody.localhost", "api.example", "x.payments.localhost"] {
            check(&written, shared, false, false);
        }
    }

    #[test]
    fn an_exact_host_of_routes_is_its_services_own_unless_another_one_has_a_part() {
        let shop = |path| Entry { host: "shop.example", path, ..ANY };
        let whole = services().route(shop("/"), "orders");
        let part = services().route(shop("/a"), "orders");

        check(&whole, "shop.example", true, true);
        // Under a local name the rest is for all services.
        check(&part, "shop.example", true, false);
        check(&whole.clone().route(shop("/pay"), "payments"), "shop.example", false, false);
        check(&whole.clone().route(shop("/more"), "orders"), "shop.example", true, true);
        let suffix = Entry { host: "*.example", ..ANY };
        check(&whole.route(suffix, "payments"), "shop.example", true, true);
        check(&part.route(suffix, "payments"), "shop.example", false, false);
        check(&services().route(suffix, "payments"), "shop.example", false, false);
    }

    #[test]
    fn the_default_host_is_shared_where_a_route_says_so() {
        let stolen = Entry { host: "payments.localhost", path: "/x", ..ANY };

        check(&services().route(stolen, "orders"), "payments.localhost", false, false);
        let (table, _) = services().route(stolen, "orders").build();
        assert_eq!((table.name_for_browsers(0), table.name_for_browsers(1)), (None, Some("orders.localhost")));
    }
}
