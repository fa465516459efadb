//! The token of `access`: where it counts, who asks for it, and that it goes no further.

use super::*;

#[test]
fn a_token_is_asked_for_as_bearer_or_as_the_password_of_basic() {
    let world = World::with("{token: s3cret}");
    let refused = UNAUTHORIZED;

    let shown = |credentials: &str| format!("GET /a HTTP/1.1\nhost: localhost\nproxy-authorization: {credentials}");
    let basic = |pair: &str| format!("Basic {}", BASE64.encode(pair));
    for right in [format!("Bearer {TOKEN}"), format!("bearer   {TOKEN}"), basic("x:s3cret"), basic(":s3cret")] {
        world.check(&shown(&right), "Origin localhost local");
    }
    let without_padding = basic("x:s3cret").trim_end_matches('=').to_owned();
    world.check(&shown(&without_padding), "Origin localhost local");
    for wrong in [
        "Bearer s3cre".to_owned(),
        "Bearer s3cret2".to_owned(),
        "Bearer".to_owned(),
        "Basic s3cret".to_owned(),
        basic("s3cret:"),
        basic("s3cret"),
        basic("x:y:s3cret"),
        "Digest s3cret".to_owned(),
        String::new(),
    ] {
        world.check(&shown(&wrong), refused);
    }
    world.check("GET /a HTTP/1.1\nhost: localhost", refused);
    world.check(&format!("{}\nproxy-authorization: Bearer {TOKEN}", shown("Bearer x")), refused);
}

#[test]
fn in_origin_form_the_token_counts_as_authorization_too() {
    let world = World::with("{token: s3cret}");
    let basic = |pair: &str| format!("Basic {}", BASE64.encode(pair));

    let shown = |credentials: &str| format!("GET /a HTTP/1.1\nhost: localhost\nauthorization: {credentials}");
    for right in [format!("Bearer {TOKEN}"), format!("bEARER   {TOKEN}"), basic("x:s3cret"), basic(":s3cret")] {
        world.check(&shown(&right), "Origin localhost local");
        world.check(&shown(&right).replace("localhost", "sidekey"), "Origin sidekey local");
        world.check(&format!("{}\nauthorization: Bearer of-the-app", shown(&right)), "Origin localhost local");
    }
    for wrong in
        ["Bearer s3cre", "Bearer", "Basic s3cret", &basic("s3cret:"), &basic("x:y:s3cret"), "Digest s3cret", ""]
    {
        world.check(&shown(wrong), UNAUTHORIZED);
    }
    world.check("OPTIONS * HTTP/1.1\nhost: localhost", UNAUTHORIZED);
    world.check("GET /a HTTP/1.0", UNAUTHORIZED);
    world.check(&shown("Bearer s3cret").replace("/a", "http://orders.example:8443/a"), PROXY_UNAUTHORIZED);
    world.check(&shown("Bearer s3cret").replace("/a", "http://localhost/a"), PROXY_UNAUTHORIZED);
}

/// What is left of these values of `Authorization` when the sender is known.
#[track_caller]
fn check_left(request: &str, peer: Peer, values: &[&str], left: &[&str]) {
    let world = World::with("{token: s3cret}");
    let lines: String = values.iter().map(|value| format!("\nauthorization: {value}")).collect();
    let mut head = parse(&format!("{request} HTTP/1.1\nhost: localhost\nproxy-authorization: Bearer s3cret{lines}"));
    let door = AccessCheck { access: &world.access, routes: &world.routes, instance: &world.instance, own: None };

    door.recognize(&mut head, peer).expect("the token");

    let found: Vec<_> =
        head.headers.get_all(AUTHORIZATION).iter().map(|value| value.to_str().expect("ASCII")).collect();
    assert_eq!(found, left, "{request} {values:?}");
}

#[test]
fn our_token_is_taken_out_and_what_is_the_apps_own_stays() {
    let (bearer, basic) = ("Bearer s3cret", format!("Basic {}", BASE64.encode("x:s3cret")));
    let (theirs, longer) = ("Bearer of-the-app", format!("Basic {}", BASE64.encode("x:s3cret2")));

    for peer in [TCP, UNIX] {
        check_left("GET /a", peer, &[bearer], &[]);
        check_left("GET /a", peer, &[&basic], &[]);
        check_left("GET /a", peer, &[bearer, &basic, bearer], &[]);
        check_left("GET /a", peer, &[theirs, bearer, &longer], &[theirs, &longer]);
        check_left("GET /a", peer, &[theirs], &[theirs]);
        check_left("GET /a", peer, &[], &[]);
        check_left("GET http://orders.example/a", peer, &[theirs, bearer], &[theirs]);
    }
}

#[test]
fn in_absolute_form_and_for_connect_a_proxy_is_asked() {
    let world = World::with("{token: s3cret}");

    world.check("CONNECT orders.example:443 HTTP/1.1\nhost: orders.example:443", PROXY_UNAUTHORIZED);
    world.check("CONNECT orders.example:443 HTTP/1.1\nhost: x\nauthorization: Bearer s3cret", PROXY_UNAUTHORIZED);
    world.check("GET http://orders.example:8443/a HTTP/1.1\nhost: x", PROXY_UNAUTHORIZED);
    world.check(
        "GET http://orders.example:8443/a HTTP/1.1\nhost: x\nproxy-authorization: Bearer s3cret",
        "Absolute orders.example:8443",
    );
}

const UNAUTHORIZED: &str = "401 `access.token` is set: send it as `Authorization`, `Bearer` or as the password of \
                            `Basic`, or in the URL: `http://x:TOKEN@…`";
const PROXY_UNAUTHORIZED: &str =
    "407 `access.token` is set: send it as `Proxy-Authorization`, `Bearer` or as the password of `Basic`";

#[test]
fn the_right_token_satisfies_the_host_check_but_opens_no_strange_absolute_form() {
    let world = World::with("{token: s3cret}");

    let shown = |line: &str| format!("{line} HTTP/1.1\nhost: sidekey:9800\nproxy-authorization: Bearer {TOKEN}");
    world.check(&shown("GET /payments"), "Origin sidekey:9800 local");
    world.check(&shown("GET http://evil.example/payments"), "Absolute evil.example");
    let page = format!("{}\norigin: https://evil.example", shown("GET /a"));
    world.check(&page, "403 `Origin: https://evil.example`: web pages may not call; to let this one, add `access: {origins: [\"https://evil.example\"]}`; an app that passes on what browsers sent it (a gateway, a development server) needs `access: {origins: [\"*\"]}`");
}

const TOKEN: &str = "s3cret";
