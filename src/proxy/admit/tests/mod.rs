//! Who gets in: one row for each sentence that says so.

mod browser;
mod token;

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use http::request::Parts;
use http::{HeaderName, HeaderValue, Request};

use super::*;
use crate::code::Code;
use crate::config::{self, ConfigSource, Inputs, Secrets};
use crate::route::Destination;

const TCP: Peer = Peer::Tcp(SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 40_000));
const UNIX: Peer = Peer::Unix { uid: 1000 };

/// Three services, one explicit route with a host of its own, and the `access` of a test.
struct World {
    access: Access,
    routes: RouteTable,
    instance: Instance,
}

impl World {
    fn with(access: &str) -> Self {
        let yaml = format!(
            "services:
  payments: {{ url: 'https://api.partner.example/v1' }}
  orders: {{ url: 'https://orders.example:8443' }}
routes:
  - {{ host: shop.example, service: orders }}
access: {access}
"
        );
        let (config, mut report) = config::load(&ConfigSource::Text(yaml), &Inputs::new(Secrets::Read));
        let config = config.expect("a valid config");
        let services: Vec<_> = config.services.iter().collect();
        let destinations: Vec<_> = services
            .iter()
            .map(|(name, service)| Destination { name, url: &service.value.url, default_routes: true })
            .collect();
        let place = |name| services.iter().position(|(known, _)| *known == name).expect("a service");
        let routes: Vec<_> = config.routes.iter().map(|route| (route, place(&route.value.service.value))).collect();
        Self {
            routes: RouteTable::compile(&destinations, &routes, &mut report),
            access: Access::compile(&config.access, config.listens(), &mut report).expect("a valid access"),
            instance: Instance::new("0a1b2c3d"),
        }
    }

    /// What becomes of a request, as one line.
    fn verdict(&self, head: &str, peer: Peer) -> String {
        let mut head = parse(head);
        let door = AccessCheck { access: &self.access, routes: &self.routes, instance: &self.instance, own: None };
        match door.recognize(&mut head, peer, TokenBefore::NotShown).and_then(|caller| door.admit(&head, caller)) {
            Ok(Admission::AnswerOptions) => "answered".to_owned(),
            Ok(Admission::Carry(named, _)) => {
                let mut line = format!("{:?} {}", named.form, named.authority.host);
                if let Some(port) = named.authority.port {
                    let _ = write!(line, ":{port}");
                }
                line + if named.local { " local" } else { "" }
            }
            Err(error) => format!("{} {}", error.code().status().as_u16(), error.detail()),
        }
    }

    #[track_caller]
    fn check(&self, head: &str, expected: &str) {
        assert_eq!(self.verdict(head, TCP), expected, "{head:?}");
    }

    #[track_caller]
    fn check_unix(&self, head: &str, expected: &str) {
        assert_eq!(self.verdict(head, UNIX), expected, "{head:?}");
    }
}

/// A head as it is written: the request line, then one line for each field, without carriage returns.
fn parse(text: &str) -> Parts {
    let mut lines = text.lines();
    let mut start = lines.next().expect("a request line").split(' ');
    let (method, target) = (start.next().expect("a method"), start.next().expect("a target"));
    let version = if start.next() == Some("HTTP/1.0") { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut request = Request::builder().method(method).uri(target).version(version);
    for line in lines {
        let (name, value) = line.split_once(':').expect("a field");
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        request = request.header(name, HeaderValue::from_bytes(value.trim().as_bytes()).expect("a value"));
    }
    request.body(()).expect("a request").into_parts().0
}

fn shut(host: &str, field: &str) -> String {
    format!("403 `Host: {field}` is no local name; if it is one of yours, add `access: {{hosts: [\"{host}\"]}}`")
}

#[test]
fn under_a_local_name_all_routes_count() {
    let world = World::with("{hosts: [sidekey.internal]}");

    world.check("GET /a HTTP/1.1\nhost: localhost:9800", "Origin localhost:9800 local");
    world.check("GET /a HTTP/1.1\nhost: LOCALHOST.", "Origin localhost local");
    world.check("GET /a HTTP/1.1\nhost: payments.localhost", "Origin payments.localhost local");
    world.check("GET /a HTTP/1.1\nhost: 127.0.0.1:1", "Origin 127.0.0.1:1 local");
    world.check("GET /a HTTP/1.1\nhost: 127.9.9.9", "Origin 127.9.9.9 local");
    world.check("GET /a HTTP/1.1\nhost: [::1]:9800", "Origin ::1:9800 local");
    world.check("GET /a HTTP/1.1\nhost: sidekey.internal", "Origin sidekey.internal local");
}

#[test]
fn a_host_with_a_route_of_its_own_gets_in_but_is_no_local_name() {
    let world = World::with("{}");

    world.check("GET /a HTTP/1.1\nhost: shop.example:80", "Origin shop.example:80");
}

#[test]
fn any_other_host_is_refused_with_the_line_that_would_allow_it() {
    let world = World::with("{}");

    world.check("GET /a HTTP/1.1\nhost: evil.example:9800", &shut("evil.example", "evil.example:9800"));
    world.check(
        "GET /a HTTP/1.1\nhost: localhost.evil.example",
        &shut("localhost.evil.example", "localhost.evil.example"),
    );
    world.check("GET /a HTTP/1.1\nhost: 10.0.0.1", &shut("10.0.0.1", "10.0.0.1"));
}

#[test]
fn a_services_own_host_counts_in_absolute_form_only_and_the_refusal_names_the_ways_in() {
    let world = World::with("{}");

    world.check(
        "GET /v1/a HTTP/1.1\nhost: API.partner.example:9800",
        "403 `Host: API.partner.example:9800` is the host of the service `payments`, which counts in a whole URL \
         only: send `http://api.partner.example/v1/…` as the target, or add `routes: [{host: \"api.partner.example\", \
         path: \"/v1\", service: payments}]`",
    );
    world.check(
        "GET / HTTP/1.1\nhost: orders.example",
        "403 `Host: orders.example` is the host of the service `orders`, which counts in a whole URL only: send \
         `http://orders.example:8443/…` as the target, or add `routes: [{host: \"orders.example\", service: orders}]`",
    );
    world.check("GET http://api.partner.example/v1/a HTTP/1.1\nhost: x", "Absolute api.partner.example");
}

#[test]
fn a_host_that_is_missing_repeated_or_malformed_is_a_bad_request() {
    let world = World::with("{}");

    world.check("GET /a HTTP/1.1", "400 the request has no `Host` field");
    world.check("GET http://orders.example/ HTTP/1.1", "400 the request has no `Host` field");
    world.check("GET /a HTTP/1.1\nhost: localhost\nhost: localhost", "400 the request has more than one `Host` field");
    world.check(
        "GET http://orders.example/ HTTP/1.1\nhost: a\nhost: b",
        "400 the request has more than one `Host` field",
    );
    world.check("GET /a HTTP/1.1\nhost:", "400 `Host: `: the host is malformed");
    world.check("GET /a HTTP/1.1\nhost: a, b", "400 `Host: a, b`: the host is malformed");
    world.check("GET /a HTTP/1.1\nhost: localhost:x", "400 `Host: localhost:x`: the port is malformed");
    world.check("GET /a HTTP/1.1\nhost: x@localhost", "400 `Host: x@localhost`: the target has userinfo");
    world.check("GET http://orders.example/ HTTP/1.1\nhost: a b", "400 `Host: a b`: the host is malformed");
}

#[test]
fn http_1_0_without_a_host_counts_as_sent_under_a_local_name() {
    let world = World::with("{}");

    world.check("GET /a HTTP/1.0", "Origin localhost local");
    world.check("GET http://orders.example/ HTTP/1.0", "Absolute orders.example");
    world.check("GET /a HTTP/1.0\nhost: evil.example", &shut("evil.example", "evil.example"));
}

#[test]
fn in_absolute_form_the_targets_authority_counts_and_the_field_is_ignored() {
    let world = World::with("{}");

    world.check("GET http://orders.example:80/a HTTP/1.1\nhost: localhost", "Absolute orders.example:80");
    world.check("GET https://Orders.Example/a HTTP/1.1\nhost: evil.example", "Absolute orders.example");
    world.check("GET http://localhost:9800/payments HTTP/1.1\nhost: x", "Absolute localhost:9800 local");
    // It finds no route, which is a 404 and no 403.
    world.check("GET http://evil.example/a HTTP/1.1\nhost: localhost", "Absolute evil.example");
}

#[test]
fn a_target_that_could_name_something_else_is_refused() {
    let world = World::with("{}");

    let local = |target: &str| format!("GET {target} HTTP/1.1\nhost: localhost");
    world.check(&local("/a/../b"), "400 the path has a dot segment");
    world.check(&local("//evil.example/"), "400 the path starts with `//`");
    world.check(&local("http://u:p@orders.example/"), "400 the target has userinfo");
    world.check(&local("http://orders.example/%2e%2e/x"), "400 the path has a dot segment");
    world.check(&local("localhost:9800"), "400 the target is neither a path nor an `http://` URL");
    world.check(&local("*"), "400 the path does not start with `/`");
    world.check(
        &local("ftp://orders.example/a"),
        "404 no route fits `/a` at `orders.example`; `sidekey explain` shows which there are",
    );
}

#[test]
fn trace_and_connect_are_not_carried() {
    let world = World::with("{}");
    let connect = "405 no tunnel is opened: use an `http://` URL and leave TLS to Sidekey; or, for a tunnel that nothing is \
                   added to, list host and port in `connect.allow`";

    world.check("TRACE /a HTTP/1.1\nhost: localhost", "405 TRACE is not carried");
    world.check("CONNECT orders.example:443 HTTP/1.1\nhost: orders.example:443", connect);
    // Answered before the Host check.
    world.check("CONNECT evil.example:443 HTTP/1.1\nhost: evil.example:443", connect);
    world.check("CONNECT evil.example:443 HTTP/1.1", connect);
}

#[test]
fn any_transfer_coding_but_chunked_is_not_implemented() {
    let world = World::with("{}");

    let coded = |lines: &str| format!("POST /a HTTP/1.1\nhost: localhost\n{lines}");
    world.check(&coded("transfer-encoding: chunked"), "Origin localhost local");
    world.check(&coded("transfer-encoding: Chunked"), "Origin localhost local");
    for (lines, shown) in [
        ("transfer-encoding: gzip, chunked", "gzip, chunked"),
        ("transfer-encoding: gzip", "gzip"),
        ("transfer-encoding: identity", "identity"),
        ("transfer-encoding: chunked, chunked", "chunked, chunked"),
        ("transfer-encoding: chunked;q=1", "chunked;q=1"),
        ("transfer-encoding: \"chunked\"", "\\\"chunked\\\""),
        ("transfer-encoding: gzip\ntransfer-encoding: chunked", "gzip, chunked"),
        ("transfer-encoding: chunked\ntransfer-encoding: chunked", "chunked, chunked"),
        ("transfer-encoding:", ""),
    ] {
        world.check(&coded(lines), &format!("501 `Transfer-Encoding: {shown}`: `chunked` alone is spoken here"));
    }
}

#[test]
fn on_a_unix_socket_neither_token_nor_host_nor_page_is_checked() {
    let world = World::with("{token: s3cret}");

    world.check_unix("GET /a HTTP/1.1\nhost: anything.example", "Origin anything.example local");
    world.check_unix("GET /a HTTP/1.1\nhost: payments.localhost\norigin: null", "Origin payments.localhost local");
    world.check_unix("GET /a HTTP/1.1\nhost: /run/sidekey.sock", "Origin localhost local");
    world.check_unix("GET /a HTTP/1.1", "Origin localhost local");
    world.check_unix("GET http://evil.example/a HTTP/1.1", "Absolute evil.example");
    world.check_unix("GET /../a HTTP/1.1", "400 the path has a dot segment");
}

#[test]
fn on_a_unix_socket_the_user_is_checked_where_users_are_named() {
    let head = "GET /a HTTP/1.1\nhost: localhost";

    World::with("{unix_users: ['1000']}").check_unix(head, "Origin localhost local");
    World::with("{unix_users: ['1001']}").check_unix(head, "403 the unix user 1000 is not in `access.unix_users`");
}

#[test]
fn our_own_via_is_a_loop() {
    let world = World::with("{}");
    let refused =
        "508 the request has been here before: `Via` has this very process, so a service's `url` leads back to it";

    let via = |lines: &str| format!("GET /a HTTP/1.1\nhost: localhost\n{lines}");
    world.check(&via("via: 1.1 sidekey-0a1b2c3d"), refused);
    world.check(&via("via: 1.1 edge, 1.0 sidekey-0a1b2c3d (old)"), refused);
    world.check(&via("via: 1.1 edge\nvia: 2 sidekey-0a1b2c3d"), refused);
    world.check(&via("via: 1.1 sidekey-ffffffff"), "Origin localhost local");
    world.check(&via("via: 1.1 edge (not sidekey-0a1b2c3d)"), "Origin localhost local");
}

#[test]
fn an_options_that_asks_about_us_is_answered_by_us() {
    let world = World::with("{}");

    let asked = |line: &str| format!("{line} HTTP/1.1\nhost: localhost");
    world.check(&asked("OPTIONS *"), "answered");
    world.check(&format!("{}\nmax-forwards: 0", asked("OPTIONS /a")), "answered");
    world.check(&format!("{}\nmax-forwards: 1", asked("OPTIONS /a")), "Origin localhost local");
    world.check(&format!("{}\nmax-forwards: x", asked("OPTIONS /a")), "Origin localhost local");
    world.check(&format!("{}\nmax-forwards: 0", asked("GET /a")), "Origin localhost local");
    world.check("OPTIONS * HTTP/1.1\nhost: evil.example", &shut("evil.example", "evil.example"));
}

#[test]
fn every_refusal_has_a_code_of_the_table() {
    let codes = [Error::Token, Error::ProxyToken, Error::Coding { value: String::new() }, Error::Loop, Error::Connect]
        .map(|error| error.code());

    let expected = [
        Code::Unauthorized,
        Code::ProxyAuthenticationRequired,
        Code::NotImplemented,
        Code::ProxyLoopDetected,
        Code::MethodNotAllowed,
    ];
    assert_eq!(codes, expected);
}
