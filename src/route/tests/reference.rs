//! The table against a reference that looks at every route.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

/// The reference: every route is looked at, and the precedence is spelt out once more.
fn naive(written: &Written, request: &Request) -> Option<(usize, bool)> {
    let own = |(_, url, _): &(ServiceName, At<Url>, bool)| {
        let port = |port: u16| if port == 443 { 80 } else { port };
        let authority = &url.value.authority;
        request.form == TargetForm::Absolute
            && authority.host == request.host
            && port(authority.port) == port(request.port.unwrap_or(80))
    };
    let under = |prefix: &str| request.path == prefix || request.path.starts_with(&format!("{prefix}/"));
    let base = |service: usize| written.services[service].1.value.path.trim_end_matches('/');
    let names_service = written.services.iter().any(own);
    let free = request.local && !names_service;
    let mut fitting = Vec::new();
    for (route, service) in &written.routes {
        let route = &route.value;
        let path = route.path.as_ref().map_or("", |path| path.value.trim_end_matches('/'));
        let host = match route.host.as_ref().map(|host| host.value.as_str()) {
            None => free.then_some(0),
            Some(host) if host.starts_with("*.") => request.host.ends_with(&host[1..]).then_some(host.len()),
            Some(host) => (host == request.host).then_some(1000),
        };
        let method = route.methods.is_empty() || route.methods.contains(&request.method);
        let has = |(name, value)| request.fields.get_all(name).iter().eq([value]);
        let headers = route.headers.iter().all(|(name, value)| has((name, value)));
        let whole = own(&written.services[*service]);
        if let Some(host) = host.filter(|_| under(path) && method && headers && (!whole || under(base(*service)))) {
            fitting.push((host, path.len(), !route.methods.is_empty(), route.headers.len(), true, *service, whole));
        }
    }
    for (place, service) in written.services.iter().enumerate().filter(|(_, service)| service.2) {
        let path = format!("/{}", service.0);
        let shared = written.services.iter().filter(|other| {
            other.2
                && other.1.value.authority == service.1.value.authority
                && other.1.value.path == service.1.value.path
        });
        if own(service) && under(base(place)) && shared.count() == 1 {
            fitting.push((1000, base(place).len(), false, 0, false, place, true));
        }
        if free && under(&path) {
            fitting.push((0, path.len(), false, 0, false, place, false));
        }
        if !names_service && request.host == format!("{}.localhost", service.0) {
            fitting.push((1000, 0, false, 0, false, place, false));
        }
    }
    fitting.into_iter().max().map(|(.., service, whole)| (service, whole))
}

pub(super) fn any_config() -> impl Strategy<Value = Written> {
    let service = (select(URLS), any::<bool>());
    let entry = (select(PATHS), select(HOST_PATTERNS), select(METHODS), select(HEADERS), any::<Index>());
    (prop::collection::vec(service, 1..4), prop::collection::vec(entry, 0..12)).prop_map(|(services, entries)| {
        let names = ["a", "b", "c"];
        let mut written = Written::default();
        for (name, (url, default_routes)) in names.iter().zip(&services) {
            written = written.service(name, url);
            written = if *default_routes { written } else { written.without_default_routes() };
        }
        for (path, host, methods, headers, service) in entries {
            let service = names[service.index(services.len())];
            let longer = written.clone().route(Entry { path, host, methods, headers, strip: true }, service);
            // Only configs that are accepted: each request has one answer.
            let undecided = longer.build().1.iter().any(|finding| finding.contains("nothing decides"));
            written = if undecided { written } else { longer };
        }
        written
    })
}

pub(super) fn any_request() -> impl Strategy<Value = Request> {
    let (method, form, host) = (select(&["GET", "PUT", "POST"]), select(&["", "http:"]), select(HOSTS));
    let path = "(/[abc]{0,2}){1,4}";
    let fields = prop::collection::vec(select(&["x:1", "x:2", "y:1"]), 0..3);
    (method, form, host, path, fields).prop_map(|(method, form, host, path, fields)| {
        let fields: String = fields.iter().map(|field| format!(" {field}")).collect();
        Request::read(&format!("{method} {form}//{host}{path}{fields}"))
    })
}

const URLS: &[&str] =
    &["http://api.test", "http://api.test/a", "http://api.test/a/b", "http://a.api.test:81", "http://b.localhost"];
const PATHS: &[&str] = &["", "/", "/a", "/a/", "/a/b", "/a/b/c", "/b", "/ab"];
const HOST_PATTERNS: &[&str] = &["", "", "api.test", "*.test", "*.api.test", "*.localhost", "b.localhost"];
const METHODS: &[&[&str]] = &[&[], &["GET"], &["GET", "PUT"], &["PUT"]];
const HEADERS: &[&[(&str, &str)]] = &[&[], &[("x", "1")], &[("x", "2")], &[("y", "1")], &[("y", "1"), ("x", "1")]];
const HOSTS: &[&str] =
    &["localhost", "localhost:81", "api.test", "api.test:81", "a.api.test:81", "a.localhost", "b.localhost", "x.test"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_table_finds_what_a_look_at_every_route_finds(
        written in any_config(),
        requests in prop::collection::vec(any_request(), 1..40),
    ) {
        let (table, _) = written.build();
        for request in requests {
            let found = table.find(&request.question()).map(|found| (found.service, !found.prepend));

            prop_assert_eq!(found, naive(&written, &request), "{:?}", request);
        }
    }

    #[test]
    fn the_winner_that_is_explained_is_the_one_that_is_found(written in any_config(), request in any_request()) {
        let (table, _) = written.build();
        let question = request.question();

        let winners: Vec<_> = table
            .consider(&question)
            .into_iter()
            .filter(|considered| considered.verdict == explain::RouteVerdict::Wins)
            .map(|considered| (considered.kind, considered.service))
            .collect();

        let found: Vec<_> = table.find(&question).iter().map(|found| (found.kind, found.service)).collect();
        prop_assert_eq!(winners, found);
    }
}
