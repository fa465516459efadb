//! What an answer names, in the form of the request's route: by tables, and by following it.

use http::uri::PathAndQuery;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::way_back::{CookiePath, WayBack};
use super::reference::{any_config, any_request};
use super::*;

fn payments(url: &str) -> Written {
    Written::default().service("payments", url).service("orders", "https://orders.example")
}

/// What becomes of each of these under the route of this request.
#[track_caller]
fn check(written: &Written, line: &str, expected: &[(&str, Option<&str>)]) {
    let table = written.table();
    let request = Request::read(line);
    let found = table.find(&request.question()).expect(line);
    let way_back = table.way_back(&found, written.url(found.service).scheme);
    for (reference, expected) in expected {
        let mapped = way_back.reference(reference.as_bytes()).map(|mapped| String::from_utf8(mapped).expect("text"));
        assert_eq!(mapped.as_deref(), *expected, "{reference} after {line}");
    }
}

#[test]
fn by_path_the_prefix_stands_in_the_place_of_the_base_path() {
    check(
        &payments("https://api.example/v1"),
        "GET //localhost:9800/payments/orders",
        &[
            ("https://api.example/v1/orders/7", Some("/payments/orders/7")),
            ("/v1/orders/7?a=/v1#/v1", Some("/payments/orders/7?a=/v1#/v1")),
            ("/v1", Some("/payments")),
            ("/v1/", Some("/payments/")),
            ("/v1?x", Some("/payments?x")),
            ("/v1#x", Some("/payments#x")),
            ("/v1/x//y;v=1/%2f%zz?\"<>{}|^`\\", Some("/payments/x//y;v=1/%2f%zz?\"<>{}|^`\\")),
            ("/v1/b\u{fc}cher und mehr", Some("/payments/b\u{fc}cher und mehr")),
            ("HTTPS://API.Example.:443/v1/x", Some("/payments/x")),
            ("http://api.example:80/v1/x", Some("/payments/x")),
            ("http://api.example:/v1/x", Some("/payments/x")),
        ],
    );
}

#[test]
fn by_host_it_is_the_path_alone() {
    let written = payments("https://api.example/v1/");
    check(
        &written,
        "GET //payments.localhost/orders",
        &[
            ("https://api.example/v1/orders/7?x", Some("/orders/7?x")),
            ("/v1/payments", Some("/payments")),
            ("/v1/", Some("/")),
            // There is no other name for it.
            ("/v1", Some("/")),
            ("/v1?x", Some("/?x")),
            ("/v1//evil.example/", None),
            ("https://api.example/v1//evil.example/", None),
        ],
    );
    check(
        &payments("http://api.example:8080"),
        "GET //payments.localhost/orders",
        &[
            ("http://api.example:8080", Some("/")),
            ("http://api.example:8080?x=1", Some("/?x=1")),
            ("http://api.example:8080#x", Some("/#x")),
            ("/orders", Some("/orders")),
            ("http://api.example:8080//orders", None),
        ],
    );
}

#[test]
fn in_forward_proxy_form_it_is_the_url_that_a_proxy_is_asked_for() {
    check(
        &payments("https://api.example/v1"),
        "GET http://API.example:443/v1/orders",
        &[
            ("https://api.example/v1/orders/7?x#y", Some("http://api.example/v1/orders/7?x#y")),
            ("http://api.example/v1", Some("http://api.example/v1")),
            ("/v1//x", Some("http://api.example/v1//x")),
            ("https://api.example/v2", None),
        ],
    );
    check(
        &payments("https://[2001:DB8::1]:8443"),
        "GET http://[2001:db8::1]:8443/",
        &[
            ("https://[2001:db8:0::1]:8443/x", Some("http://[2001:db8::1]:8443/x")),
            ("https://[2001:db8::1]:8443", Some("http://[2001:db8::1]:8443/")),
            ("https://[2001:db8::1]/x", None),
            ("https://[2001:db8::1]:8443//x", None),
        ],
    );
}

#[test]
fn what_is_not_the_services_stays() {
    let stays = [
        "",
        "orders/7",
        "../x",
        "?x=1",
        "#x",
        "//api.example/v1/x",
        "/",
        "/v1X",
        "/v2",
        "/V1/x",
        "/payments/x",
        "https://api.example",
        "https://api.example/v2",
        "https://api.example:8443/v1/x",
        "https://api.example.evil/v1/x",
        "https://api.example@evil.example/v1/x",
        "https://user@api.example/v1/x",
        "https://user:password@api.example/v1/x",
        "https://api.example\\.evil.example/v1/x",
        "https://evil.example/v1/x",
        "https:/v1/x",
        "https:///v1/x",
        "https://api.example:x/v1/x",
        "ftp://api.example/v1/x",
        "mailto:a@api.example",
        "urn:x:/v1",
    ];
    // Whoever follows these is elsewhere, whatever they begin with.
    let moves = ["/v1/../admin", "/v1/%2e%2E/admin", "/v1/..;x/admin", "/v1/.%2e", "/v1/./x", "/v1\\..\\x", "/v1/\\x"];
    let moves = moves.into_iter().chain(["/v1/a\tb", "https://api.example/v1/x/../../admin"]);
    let stays: Vec<_> = stays.into_iter().chain(moves).map(|reference| (reference, None)).collect();

    let written = payments("https://api.example/v1");
    for line in ["GET //localhost/payments/x", "GET //payments.localhost/x", "GET http://api.example/v1/x"] {
        check(&written, line, &stays);
    }
}

#[test]
fn a_service_in_the_clear_that_wants_to_be_called_with_tls_is_not_called_without_it_for_ever() {
    check(
        &payments("http://api.example"),
        "GET //localhost/payments/x",
        &[("https://api.example/x", None), ("http://api.example/x", Some("/payments/x")), ("/x", Some("/payments/x"))],
    );
}

#[test]
fn of_several_routes_to_a_service_the_requests_own_is_the_way_back() {
    let written = payments("https://api.example/v1")
        .route(Entry { path: "/pay/", ..ANY }, "payments")
        .route(Entry { path: "/v1/eu", strip: false, ..ANY }, "orders")
        .route(Entry { host: "shop.example", path: "/s", ..ANY }, "payments")
        .route(Entry { host: "orders.example", path: "/o", ..ANY }, "orders");

    check(&written, "GET //localhost/pay/x", &[("/v1/y", Some("/pay/y")), ("/v1", Some("/pay"))]);
    check(&written, "GET //localhost/payments/x", &[("/v1/y", Some("/payments/y"))]);
    check(&written, "GET //shop.example/s/x", &[("https://api.example/v1/y", Some("/s/y"))]);
    // What another route has to say of a path that is not stripped can't be said here.
    check(&written, "GET //localhost/v1/eu/x", &[("/v1/eu/y", Some("/v1/eu/y")), ("/v1/us/y", None), ("/", None)]);
    check(&written, "GET http://orders.example/o/x", &[("https://orders.example/p", Some("http://orders.example/p"))]);
    // Read like the plain path.
    check(&written, "GET http://localhost:9800/payments/x", &[("/v1/y", Some("/payments/y"))]);
}

#[test]
fn a_service_may_name_itself_as_it_is_told_that_it_is_called() {
    let written = payments("https://10.0.0.1:8443/v1");
    let table = written.table();
    let called = "Shop.example:444".parse().expect("an authority");
    let mapped = |line: &str, reference: &str| {
        let request = Request::read(line);
        let found = table.find(&request.question()).expect(line);
        let way_back = table.way_back(&found, Scheme::Https).called(&called);
        way_back.reference(reference.as_bytes()).map(|mapped| String::from_utf8(mapped).expect("text"))
    };
    let by_path = |reference| mapped("GET //localhost/payments/x", reference);

    assert_eq!(by_path("https://shop.example.:444/v1/y").as_deref(), Some("/payments/y"));
    assert_eq!(by_path("https://10.0.0.1:8443/v1/y").as_deref(), Some("/payments/y"));
    for other in ["https://shop.example/v1/y", "https://shop.example:444/v2", "https://10.0.0.1:444/v1/y"] {
        assert_eq!(by_path(other), None, "{other}");
    }
    // The app's proxy knows the service by its URL alone.
    let proxied = mapped("GET http://10.0.0.1:8443/v1/x", "https://shop.example:444/v1/y");
    assert_eq!(proxied.as_deref(), Some("http://10.0.0.1:8443/v1/y"));
}

#[track_caller]
fn check_cookies(written: &Written, line: &str, expected: &[(Option<&str>, Option<&str>)]) {
    let table = written.table();
    let request = Request::read(line);
    let found = table.find(&request.question()).expect(line);
    let way_back = table.way_back(&found, Scheme::Https);
    for (path, expected) in expected {
        let path = path.map(str::as_bytes);
        assert_eq!(cookie_path(&way_back, path).as_deref(), *expected, "{path:?} after {line}");
    }
}

fn cookie_path(way_back: &WayBack<'_>, path: Option<&[u8]>) -> Option<String> {
    match way_back.cookie_path(path) {
        CookiePath::Stays => None,
        CookiePath::Becomes { prefix, rest } => Some(String::from_utf8([prefix, rest].concat()).expect("text")),
    }
}

#[test]
fn a_cookies_path_is_that_of_the_route() {
    let written =
        payments("https://api.example/api/v1").route(Entry { path: "/api/v1/eu", strip: false, ..ANY }, "orders");
    check_cookies(
        &written,
        "GET //localhost/payments/x",
        &[
            (None, Some("/payments")),
            (Some(""), Some("/payments")),
            (Some("x"), Some("/payments")),
            (Some("/"), Some("/payments")),
            (Some("/api"), Some("/payments")),
            (Some("/api/"), Some("/payments")),
            (Some("/api/v1"), Some("/payments")),
            (Some("/api/v1/"), Some("/payments/")),
            (Some("/api/v1/orders"), Some("/payments/orders")),
            (Some("/api/v1X"), None),
            (Some("/ap"), None),
            (Some("/other"), None),
        ],
    );
    check_cookies(
        &written,
        "GET //payments.localhost/x",
        &[(None, Some("/")), (Some("/"), Some("/")), (Some("/api/v1"), Some("/")), (Some("/api/v1/o"), Some("/o"))],
    );
    check_cookies(
        &written,
        "GET //localhost/api/v1/eu/x",
        &[
            (None, Some("/api/v1/eu")),
            (Some("/"), Some("/api/v1/eu")),
            (Some("/api"), Some("/api/v1/eu")),
            (Some("/api/v1/eu/x"), Some("/api/v1/eu/x")),
            (Some("/api/v1/us"), None),
        ],
    );
    check_cookies(
        &written,
        "GET http://api.example/api/v1",
        &[(None, None), (Some("/"), None), (Some("/api/v1"), None)],
    );
    let without_base = payments("https://api.example/");
    check_cookies(
        &without_base,
        "GET //localhost/payments/x",
        &[(Some("/"), Some("/payments")), (Some("/a"), Some("/payments/a")), (None, Some("/payments"))],
    );
}

#[test]
fn on_a_service_s_own_port_all_goes_to_it() {
    let written = payments("https://api.example/v1").route(Entry { path: "/x", ..ANY }, "payments");
    let table = written.table();
    let find = |line: &str| {
        let request = Request::read(line);
        table.find_own(1, &request.question()).map(|found| (found.service, found.strip, found.prepend))
    };
    let own = |line: &str| find(line).map(|(service, ..)| service);

    for path in ["/", "/x", "/payments/x", "/orders"] {
        assert_eq!(find(&format!("GET //localhost:9801{path}")), Some((1, 0, true)), "{path}");
        assert_eq!(find(&format!("GET http://localhost:9801{path}")), Some((1, 0, true)), "{path}");
    }
    assert_eq!(find("GET http://orders.example/x"), Some((1, 0, false)));
    assert_eq!(own("GET http://api.example/v1/x"), None);
    assert_eq!(own("GET http://strange.example/"), None);
    let of_first = |line: &str| table.find_own(0, &Request::read(line).question()).is_some();
    assert!(of_first("GET http://api.example/v1/x") && !of_first("GET http://api.example/v2"));
}

/// Where a service is asked, as text.
fn upstream(written: &Written, service: usize, path_and_query: &str) -> String {
    let url = written.url(service);
    format!("{}{path_and_query}", Url { path: String::new(), ..url.clone() })
}

/// Follows what the app was told, as an HTTP client does, and says which rule it came by and where it ended.
fn follow(
    written: &Written,
    table: &RouteTable,
    request: &Request,
    mapped: &str,
) -> Option<(Match<'static>, Option<String>)> {
    let (target, _) = mapped.split_once('#').unwrap_or((mapped, ""));
    let mut next = request.clone();
    let from_path = match target.strip_prefix("http://") {
        Some(rest) => {
            let (authority, from_path) = rest.split_at(rest.find('/').expect("a path"));
            let authority = authority::RequestAuthority::parse(authority).expect("an authority");
            next.form = TargetForm::Absolute;
            (next.host, next.port) = (authority.host.into_owned(), authority.port);
            from_path
        }
        None => target,
    };
    assert!(from_path.starts_with('/') && !from_path.starts_with("//"), "{mapped}");
    let asked: PathAndQuery = from_path.parse().expect(mapped);
    next.path = asked.path().to_owned();
    target::check(&next.path).expect(mapped);
    let found = table.find(&next.question())?;
    let base_path = target::base_path(written.url(found.service));
    // What another route strips may leave what is refused.
    let sent = target::build(&asked, &found, base_path).ok();
    let by = Match { prefix: "", within: "", ..found };
    Some((by, sent.map(|sent| upstream(written, found.service, sent.as_str()))))
}

fn any_reference() -> impl Strategy<Value = (String, String)> {
    let authority = select(&[
        "",
        "",
        "",
        "http://api.test",
        "https://api.test",
        "HTTP://API.test.:80",
        "http://a.api.test:81",
        "http://b.localhost",
        "http://api.test:81",
        "//api.test",
    ]);
    let path = select(&[
        "",
        "/",
        "/a",
        "/a/",
        "/a/b",
        "/a/b/c",
        "/b",
        "/ab",
        "/a//b",
        "//a",
        "/a/../b",
        "/a/%2e%2e/b",
        "/a/%2f",
    ]);
    let rest = select(&["", "?", "?x=1&y=/a", "#f", "?x#f?g", "?{|}"]);
    (authority, path, "(/[abc.]{1,2}){0,2}", rest)
        .prop_map(|(authority, path, more, rest)| (authority.to_owned(), format!("{path}{more}{rest}")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn who_follows_what_was_mapped_comes_to_what_the_service_named(
        written in any_config(),
        requests in prop::collection::vec(any_request(), 1..20),
        references in prop::collection::vec(any_reference(), 1..20),
    ) {
        let (table, _) = written.build();
        for request in requests {
            let Some(found) = table.find(&request.question()) else { continue };
            let url = written.url(found.service);
            let way_back = table.way_back(&found, url.scheme);
            for (authority, from_path) in &references {
                let reference = format!("{authority}{from_path}");
                let Some(mapped) = way_back.reference(reference.as_bytes()) else { continue };
                let mapped = String::from_utf8(mapped).expect("text");

                let Some((followed, ended)) = follow(&written, &table, &request, &mapped) else {
                    // An explicit route alone leads there, and as it stood the reference would have led there too.
                    prop_assert!(!found.prepend, "{reference}: {mapped} leads nowhere: {request:?}");
                    continue;
                };

                let Some(ended) = ended else {
                    let is_same = (followed.kind, followed.service, followed.strip) == (found.kind, found.service, found.strip);
                    prop_assert!(!is_same, "{reference}: {mapped} is refused: {request:?}");
                    continue;
                };
                // Another route may say more about what is named.
                if followed.kind == found.kind && followed.service == found.service {
                    let (named, _) = from_path.split_once('#').unwrap_or((from_path, ""));
                    let slash = if named.starts_with('/') { "" } else { "/" };
                    let named = upstream(&written, found.service, &format!("{slash}{named}"));
                    // The base path alone has no other name by host.
                    let base = upstream(&written, found.service, target::base_path(url));
                    let is_base = named == base || named.strip_prefix(&base).is_some_and(|rest| rest.starts_with('?'));
                    let nearly = named.replacen(&base, &format!("{base}/"), 1);
                    prop_assert!(ended == named || is_base && ended == nearly, "{reference}: {mapped}, {ended}: {request:?}");
                }
            }
        }
    }

    /// Told the other way round: what lies plainly within reach is mapped.
    #[test]
    fn what_the_route_can_say_is_said(
        written in any_config(),
        request in any_request(),
        rest in "(/[abc]{1,2}){0,3}",
        is_whole in any::<bool>(),
    ) {
        let (table, _) = written.build();
        let Some(found) = table.find(&request.question()) else { return Ok(()) };
        let url = written.url(found.service);
        let way_back = table.way_back(&found, url.scheme);
        let from_path = format!("{}{rest}", target::base_path(url));
        let origin = if is_whole { upstream(&written, found.service, "") } else { String::new() };
        let names_something = is_whole || !from_path.is_empty();
        let is_within = rest.strip_prefix(found.within).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));

        let mapped = way_back.reference(format!("{origin}{from_path}").as_bytes());

        let is_sayable = found.within.is_empty() || is_within;
        prop_assert_eq!(mapped.is_some(), names_something && is_sayable, "{}{} {:?}", origin, from_path, found);
    }
}
