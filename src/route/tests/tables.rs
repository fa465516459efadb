//! What wins, and what is sent, on tables of requests.

use super::*;

/// Checks who gets a request and what is sent there, `-` if nobody.
#[track_caller]
fn check(written: &Written, line: &str, expected: &str) {
    let table = written.table();
    let request = Request::read(line);

    let found = table.find(&request.question());

    let seen = found.map_or("-".to_owned(), |found| {
        let (name, url, _) = &written.services[found.service];
        let asked = request.path.parse().expect("a path");
        let sent = target::build(&asked, &found, target::base_path(&url.value)).expect("a target");
        format!("{name} {sent}")
    });
    assert_eq!(seen, expected, "{line}");
}

fn partner() -> Written {
    Written::default()
        .service("payments", "https://api.partner.example/v1")
        .service("plain", "http://localhost:7000")
        .service("slash", "https://slash.example/v1/")
}

#[test]
fn the_default_route_by_path_strips_the_name_on_a_segment_boundary() {
    let written = partner();

    check(&written, "GET //localhost:9800/payments/orders", "payments /v1/orders");
    check(&written, "GET //localhost:9800/payments", "payments /v1");
    check(&written, "GET //localhost:9800/payments/", "payments /v1/");
    check(&written, "GET //localhost:9800/plain", "plain /");
    check(&written, "GET //localhost:9800/plain/", "plain /");
    check(&written, "GET //localhost:9800/slash/x", "slash /v1/x");
    check(&written, "GET //localhost:9800/paymentsX", "-");
    check(&written, "GET //localhost:9800/payments%2Forders", "-");
    check(&written, "GET //localhost:9800/Payments", "-");
    check(&written, "GET //localhost:9800/", "-");
    check(&written, "GET //localhost:9800/unknown/payments", "-");
}

#[test]
fn the_default_route_by_host_strips_nothing() {
    let written = partner();

    check(&written, "GET //payments.localhost:9800/orders", "payments /v1/orders");
    check(&written, "GET //payments.localhost/", "payments /v1/");
    check(&written, "GET //payments.localhost/payments/orders", "payments /v1/payments/orders");
    check(&written, "GET //payments.localhost/plain/x", "payments /v1/plain/x");
    check(&written, "GET //other.localhost/payments/x", "payments /v1/x");
    check(&written, "GET //a.payments.localhost/x", "-");
}

#[test]
fn in_forward_proxy_form_the_path_is_whole() {
    let written = partner();

    check(&written, "GET http://api.partner.example/v1/orders", "payments /v1/orders");
    check(&written, "GET https://api.partner.example/v1/orders", "payments /v1/orders");
    check(&written, "GET http://API.Partner.Example./v1", "payments /v1");
    check(&written, "GET http://api.partner.example:443/v1/x", "payments /v1/x");
    check(&written, "GET http://api.partner.example:80/v1/x", "payments /v1/x");
    check(&written, "GET http://slash.example/v1", "slash /v1");
    check(&written, "GET http://localhost:7000", "plain /");
    check(&written, "GET http://localhost:7000/payments/x", "plain /payments/x");
}

#[test]
fn forward_proxy_form_reaches_no_other_host_port_or_path() {
    let written = partner();

    check(&written, "GET http://api.partner.example:8443/v1/orders", "-");
    check(&written, "GET http://api.partner.example/v2/orders", "-");
    check(&written, "GET http://api.partner.example/v1x", "-");
    check(&written, "GET http://api.partner.example/payments/orders", "-");
    check(&written, "GET http://other.example/payments/orders", "-");
    check(&written, "GET //api.partner.example/v1/orders", "-");
    check(&written, "GET //api.partner.example/payments/orders", "-");
}

#[test]
fn an_absolute_form_that_is_no_services_is_read_like_the_plain_path_under_a_local_name() {
    let written = partner().route(Entry { path: "/pay", ..ANY }, "payments");

    check(&written, "GET http://localhost:9800/payments/orders", "payments /v1/orders");
    check(&written, "GET http://localhost:9800/pay/orders", "payments /v1/orders");
    check(&written, "GET http://payments.localhost:9800/orders", "payments /v1/orders");
    check(&written, "GET http://sidekey.example:9800/pay/orders", "-");
}

#[test]
fn the_longest_base_path_of_an_authority_wins() {
    let written = Written::default()
        .service("all", "https://api.example")
        .service("v2", "https://api.example/v2")
        .service("v2-beta", "https://api.example/v2/beta/")
        .service("port", "https://api.example:8443/v2");

    check(&written, "GET http://api.example/v1/x", "all /v1/x");
    check(&written, "GET http://api.example/v2/x", "v2 /v2/x");
    check(&written, "GET http://api.example/v2/beta", "v2-beta /v2/beta");
    check(&written, "GET http://api.example/v2/betas", "v2 /v2/betas");
    check(&written, "GET http://api.example:8443/v2/beta", "port /v2/beta");
    check(&written, "GET http://api.example:8443/v1", "-");
}

#[test]
fn services_that_share_authority_and_base_path_have_no_forward_proxy_route() {
    let written = Written::default()
        .service("a", "https://api.example/v1")
        .service("b", "http://api.example:80/v1/")
        .service("c", "https://api.example/v1")
        .without_default_routes();
    let (table, findings) = written.build();

    let found = table.find(&Request::read("GET http://api.example/v1/x").question()).map(|found| found.service);

    assert_eq!(found, None);
    assert_eq!(findings, ["`a` and `b` share authority and base path: none of them has a forward-proxy route"]);
}

#[test]
fn services_in_one_place_are_named_once_however_many_they_are() {
    let several = |names: &[&'static str]| {
        names.iter().fold(Written::default(), |written, name| written.service(name, "https://api.example")).build().1
    };
    let rest = "share authority and base path: none of them has a forward-proxy route";

    assert_eq!(several(&["a", "b", "c"]), [format!("`a`, `b` and `c` {rest}")]);
    assert_eq!(several(&["a", "b", "c", "d", "e"]), [format!("`a`, `b`, `c`, `d` and `e` {rest}")]);
    assert_eq!(several(&["a", "b", "c", "d", "e", "f", "g"]), [format!("`a`, `b`, `c`, `d` and 3 more {rest}")]);
}

#[test]
fn an_explicit_host_route_decides_between_services_of_one_authority() {
    let written = Written::default()
        .service("a", "https://api.example/v1")
        .service("b", "https://api.example/v1")
        .without_default_routes()
        .route(Entry { host: "api.example", headers: &[("x-team", "b")], path: "/v1", ..ANY }, "b");

    check(&written, "GET http://api.example/v1/x", "a /v1/x");
    check(&written, "GET http://api.example/v1/x x-team:b", "b /v1/x");
    check(&written, "GET http://api.example/v2/x x-team:b", "-");
    check(&written, "GET //api.example/v1/x x-team:b", "b /v1/x");
}

#[test]
fn an_explicit_route_keeps_the_path_of_an_absolute_form_that_names_its_service() {
    let written = Written::default()
        .service("a", "https://api.example/v1")
        .without_default_routes()
        .service("b", "https://other.example/base")
        .route(Entry { host: "api.example", ..ANY }, "a")
        .route(Entry { host: "*.example", path: "/v2", ..ANY }, "b");

    check(&written, "GET http://api.example/v1/x", "a /v1/x");
    check(&written, "GET http://api.example/x", "-");
    check(&written, "GET http://api.example:81/x", "a /v1/x");
    check(&written, "GET http://api.example/v2/x", "b /base/x");
    check(&written, "GET //api.example/x", "a /v1/x");
}

#[test]
fn the_authority_of_a_service_reaches_no_route_without_a_host() {
    let written = partner()
        .service("foo", "http://bar.localhost")
        .service("bar", "https://bar.example")
        .route(Entry { path: "/pay", ..ANY }, "payments");

    check(&written, "GET http://localhost:7000/pay/x", "plain /pay/x");
    check(&written, "GET http://bar.localhost/x", "foo /x");
    check(&written, "GET //bar.localhost/x", "bar /x");
}

#[test]
fn without_default_routes_only_explicit_ones_exist() {
    let written = Written::default()
        .service("a", "https://api.example")
        .without_default_routes()
        .route(Entry { path: "/x", methods: &["GET"], ..ANY }, "a");

    check(&written, "GET //localhost/a", "-");
    check(&written, "GET //a.localhost/a", "-");
    check(&written, "GET http://api.example/a", "-");
    check(&written, "GET //localhost/x/y", "a /y");
}

#[test]
fn the_more_exact_host_wins_before_the_longer_path() {
    let written = Written::default()
        .service("any", "http://a")
        .service("exact", "http://b")
        .service("short", "http://c")
        .service("long", "http://d")
        .route(Entry { path: "/p/q", ..ANY }, "any")
        .route(Entry { host: "x.y.localhost", ..ANY }, "exact")
        .route(Entry { host: "*.localhost", path: "/p", ..ANY }, "short")
        .route(Entry { host: "*.y.localhost", ..ANY }, "long");

    check(&written, "GET //x.y.localhost/p/q", "exact /p/q");
    check(&written, "GET //z.y.localhost/p/q", "long /p/q");
    check(&written, "GET //z.z.y.localhost/p/q", "long /p/q");
    check(&written, "GET //y.localhost/p/q", "short /q");
    check(&written, "GET //y.localhost/q", "-");
    check(&written, "GET //localhost/p/q", "any /");
    check(&written, "GET //xy.localhost/p/q/", "short /q/");
}

#[test]
fn under_the_host_of_a_route_only_that_hosts_routes_count() {
    let written = partner()
        .route(Entry { host: "orders.internal", path: "/o", ..ANY }, "payments")
        .route(Entry { path: "/pay", ..ANY }, "payments");
    let table = written.table();

    check(&written, "GET //orders.internal/o/1", "payments /v1/1");
    check(&written, "GET http://orders.internal/o/1", "payments /v1/1");
    check(&written, "GET //orders.internal/pay/1", "-");
    check(&written, "GET //orders.internal/payments/1", "-");
    check(&written, "GET //localhost/o/1", "-");
    assert!(table.has_host("orders.internal") && !table.has_host("internal") && !table.has_host("api.partner.example"));
}

#[test]
fn the_longer_path_wins_and_a_route_that_does_not_fit_is_passed_over() {
    let written = Written::default()
        .service("a", "http://a")
        .service("b", "http://b/base")
        .service("c", "http://c")
        .route(Entry { path: "/", ..ANY }, "a")
        .route(Entry { path: "/x/y/", methods: &["POST"], ..ANY }, "b")
        .route(Entry { path: "/x", strip: false, ..ANY }, "c");

    check(&written, "POST //localhost/x/y/z", "b /base/z");
    check(&written, "POST //localhost/x/y", "b /base");
    check(&written, "GET //localhost/x/y/z", "c /x/y/z");
    check(&written, "GET //localhost/xx", "a /xx");
    check(&written, "GET //localhost/b/xx", "b /base/xx");
    check(&written, "GET //localhost/", "a /");
    check(&written, "GET //localhost/x//y", "c /x//y");
}

#[test]
fn methods_win_before_headers_and_more_headers_before_fewer() {
    let both: &[(&str, &str)] = &[("x-a", "1"), ("x-b", "2")];
    let written = Written::default()
        .service("none", "http://a")
        .service("one", "http://b")
        .service("two", "http://c")
        .service("get", "http://d")
        .route(Entry { path: "/p", ..ANY }, "none")
        .route(Entry { path: "/p", headers: &both[..1], ..ANY }, "one")
        .route(Entry { path: "/p", headers: both, ..ANY }, "two")
        .route(Entry { path: "/p", methods: &["GET", "HEAD"], ..ANY }, "get");

    check(&written, "GET //localhost/p x-a:1 x-b:2", "get /");
    check(&written, "POST //localhost/p x-a:1 x-b:2", "two /");
    check(&written, "POST //localhost/p x-a:1 x-b:3", "one /");
    check(&written, "POST //localhost/p x-b:2", "none /");
    check(&written, "POST //localhost/p x-a:1 x-a:1", "none /");
    check(&written, "POST //localhost/p x-a:1,1", "none /");
}

#[test]
fn an_explicit_route_wins_over_the_default_one_of_the_same_place() {
    let written = Written::default()
        .service("a", "http://a")
        .service("b", "http://b")
        .route(Entry { path: "/a", ..ANY }, "b")
        .route(Entry { host: "a.localhost", path: "/x", ..ANY }, "b");

    check(&written, "GET //localhost/a/x", "b /x");
    check(&written, "GET //a.localhost/x", "b /");
    check(&written, "GET //a.localhost/y", "a /y");
}

#[test]
fn each_of_many_tenants_has_its_route() {
    let tenants: Vec<String> = (0..3000).map(|number| format!("t{number}")).collect();
    let mut written = Written::default().service("a", "http://a").service("b", "http://b");
    for (number, tenant) in tenants.iter().enumerate() {
        let headers: &[(&str, &str)] = &[("x-tenant", tenant), ("x-all", "1")];
        written = written.route(Entry { path: "/p", headers, ..ANY }, if number % 2 == 0 { "a" } else { "b" });
    }
    let table = written.table();

    for (number, tenant) in tenants.iter().enumerate() {
        let request = Request::read(&format!("GET //localhost/p x-tenant:{tenant} x-all:1"));
        let found = table.find(&request.question());
        assert_eq!(found.map(|found| found.kind), Some(RouteKind::Explicit(number)), "{tenant}");
    }
}

#[test]
fn the_match_names_the_stripped_prefix() {
    let table = partner().route(Entry { path: "/pay/", ..ANY }, "payments").table();
    let found = |line: &str| {
        let request = Request::read(line);
        let found = table.find(&request.question()).expect(line);
        (found.kind, found.prefix.to_owned(), found.strip, found.prepend)
    };

    assert_eq!(found("GET //localhost/pay/x"), (RouteKind::Explicit(0), "/pay".to_owned(), 4, true));
    assert_eq!(found("GET //localhost/payments/x"), (RouteKind::DefaultPath, "/payments".to_owned(), 9, true));
    assert_eq!(found("GET //payments.localhost/x"), (RouteKind::DefaultHost, String::new(), 0, true));
    assert_eq!(found("GET http://api.partner.example/v1"), (RouteKind::ForwardProxy, String::new(), 0, false));
}

#[test]
fn an_authority_is_compared_in_its_one_spelling() {
    let table = Written::default().service("six", "https://[0:0::1]:8443").table();

    assert!(table.is_service_authority("::1", Some(8443)));
    assert!(!table.is_service_authority("::1", None));
}

#[track_caller]
fn check_ways_in(written: &Written, host: &str, expected: Option<&str>) {
    assert_eq!(written.table().ways_in(host).as_deref(), expected, "{host}");
}

#[test]
fn the_ways_to_a_services_own_host_are_those_that_work() {
    let written = partner().service("ip", "https://[fd00::1]:8443").service("hidden", "https://hidden.example/v1/");
    let written = written.without_default_routes();
    let whole_url = "which counts in a whole URL only: send";

    let payments = format!(
        "is the host of the service `payments`, {whole_url} `http://api.partner.example/v1/…` as the target, or add \
         `routes: [{{host: \"api.partner.example\", path: \"/v1\", service: payments}}]`"
    );
    check_ways_in(&written, "api.partner.example", Some(&payments));
    let ip = format!(
        "is the host of the service `ip`, {whole_url} `http://[fd00::1]:8443/…` as the target, or add \
         `routes: [{{host: \"fd00::1\", service: ip}}]`"
    );
    check_ways_in(&written, "fd00::1", Some(&ip));
    let hidden = "is the host of the service `hidden`, which counts where a route says so: add \
                  `routes: [{host: \"hidden.example\", path: \"/v1\", service: hidden}]`";
    check_ways_in(&written, "hidden.example", Some(hidden));
    check_ways_in(&written, "partner.example", None);

    let added = partner().route(Entry { host: "api.partner.example", path: "/v1", ..ANY }, "payments");
    check(&added, "GET //api.partner.example/v1/orders", "payments /v1/orders");
    check(&added, "GET http://api.partner.example/v1/orders", "payments /v1/orders");
}
