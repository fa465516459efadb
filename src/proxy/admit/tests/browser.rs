//! What browsers send, under each kind of name.

use super::*;

const MOZILLA: &str = "user-agent: Mozilla/5.0 (X11; Linux x86_64)";
const ALL: &str =
    "an app that passes on what browsers sent it (a gateway, a development server) needs `access: {origins: [\"*\"]}`";

fn sent(host: &str, lines: &str) -> String {
    format!("GET /payments/a HTTP/1.1\nhost: {host}\n{lines}")
}

/// The refusal of a request for `payments` where nobody is let in to look.
fn shut_out(field: &str, port: &str) -> String {
    format!(
        "403 `{field}`: browsers are no apps; to look at a service, set `access: {{browsers: true}}` and open \
         `http://payments.localhost{port}/…`; {ALL}"
    )
}

#[test]
fn a_web_page_may_call_only_if_it_is_named() {
    let world = World::with("{origins: ['https://app.example']}");

    let sent = |lines: &str| sent("localhost", lines);
    world.check(&sent("origin: https://app.example"), "Origin localhost local");
    world.check(&sent("origin: https://app.example\nsec-fetch-site: cross-site"), "Origin localhost local");
    world.check("OPTIONS /a HTTP/1.1\nhost: localhost\norigin: https://app.example", "Origin localhost local");
    let opaque = "403 `Origin: null`: web pages may not call; a page without a name of its own is let by `access: {origins: [\"*\"]}` alone";
    world.check(&sent("origin: null"), opaque);
    let named = |origin: &str| format!("to let this one, add `access: {{origins: [\"{origin}\"]}}`; {ALL}");
    let unnamable = || "that is not one origin (`https://app.example`), so it can't be named".to_owned();
    for (strange, advice) in [
        ("https://evil.example", named("https://evil.example")),
        ("https://app.example:8443", named("https://app.example:8443")),
        ("http://localhost:3000", named("http://localhost:3000")),
        ("", unnamable()),
        ("https://evil.example https://app.example", unnamable()),
    ] {
        let refused = format!("403 `Origin: {strange}`: web pages may not call; {advice}");
        world.check(&sent(&format!("origin: {strange}")), &refused);
        world.check(&sent(&format!("origin: https://app.example\norigin: {strange}")), &refused);
    }
}

#[test]
fn the_origin_of_our_own_pages_is_never_told_as_one_to_add() {
    let world = World::with("{hosts: [sidekey.internal]}");

    for (host, origin) in [
        ("localhost:9800", "http://localhost:9800"),
        ("localhost:9800", "http://[::1]:9800"),
        ("localhost", "http://localhost"),
        ("localhost", "http://127.0.0.1:9800"),
        ("127.0.0.1:8080", "http://orders.localhost:8080"),
        ("sidekey.internal:9800", "https://sidekey.internal:9800"),
        ("localhost:9800", "http://shop.example:9800"),
        ("payments.localhost:9800", "http://payments.localhost:9800"),
    ] {
        let port = host.split_once(':').map(|(_, port)| format!(":{port}")).unwrap_or_default();
        let refused = format!(
            "403 `Origin: {origin}`: web pages may not call; this one came through Sidekey, and would have all services \
             for one; to look at a service, set `access: {{browsers: true}}` and open `http://payments.localhost{port}/…`"
        );
        world.check(&sent(host, &format!("origin: {origin}")), &refused);
    }
}

#[test]
fn without_an_origin_whatever_a_browser_says_gives_it_away() {
    let world = World::with("{origins: ['https://app.example']}");

    for host in ["localhost:9800", "payments.localhost:9800", "[::1]:9800"] {
        for site in ["none", "same-origin", "same-site", "cross-site", "anything"] {
            let field = format!("Sec-Fetch-Site: {site}");
            world.check(&sent(host, &field), &shut_out(&field, ":9800"));
            world.check(&sent(host, &format!("{field}\nsec-fetch-user: ?1")), &shut_out(&field, ":9800"));
        }
        for field in
            ["Sec-Purpose: prefetch;prerender", "Purpose: prefetch", "X-Moz: prefetch", "Service-Worker: script"]
        {
            world.check(&sent(host, field), &shut_out(field, ":9800"));
            world.check(&sent(host, &format!("{field}\nsec-fetch-site: none")), &shut_out(field, ":9800"));
            // A page that is named may have loaded ahead what it likes.
            let page = format!("{field}\norigin: https://app.example");
            assert!(!world.verdict(&sent(host, &page), TCP).starts_with("403"), "{page}");
        }
        assert!(!world.verdict(&sent(host, "sec-fetch-mode: cors"), TCP).starts_with("403"), "Node says it too");
    }
}

#[test]
fn who_is_called_like_a_browser_is_one_where_a_browser_would_say_no_more() {
    let world = World::with("{hosts: [sidekey.internal]}");
    let refused = |service: &str, port: &str| {
        let field = MOZILLA.replace("user-agent", "User-Agent");
        let refused = shut_out(&field, port).replace("payments", service);
        refused.replace("; an app", "; a tool that is called so may come under `localhost`; an app")
    };

    world.check(&sent("localhost:9800", MOZILLA), "Origin localhost:9800 local");
    world.check(&sent("payments.localhost.", MOZILLA), "Origin payments.localhost local");
    world.check(&sent("127.0.0.1", MOZILLA), "Origin 127.0.0.1 local");
    world.check(&format!("GET /payments/a HTTP/1.0\n{MOZILLA}"), "Origin localhost local");
    world.check(&sent("sidekey.internal", MOZILLA), &refused("payments", ""));
    world.check(&sent("shop.example:9800", MOZILLA), &refused("orders", ":9800"));
    let proxied = "GET http://api.partner.example/v1/a HTTP/1.1\nhost: api.partner.example";
    world.check(&format!("{proxied}\n{MOZILLA}"), &refused("payments", ""));
    world.check(&format!("{proxied}\nuser-agent: curl/8.5.0"), "Absolute api.partner.example");
    world.check(&sent("shop.example", "user-agent: not Mozilla/5.0"), "Origin shop.example");
}

#[test]
fn a_star_turns_all_of_it_off() {
    let world = World::with("{origins: ['*'], hosts: [sidekey.internal]}");

    for lines in [
        "origin: https://evil.example",
        "sec-fetch-site: cross-site",
        "sec-purpose: prefetch",
        "service-worker: script",
    ] {
        world.check(&sent("localhost", lines), "Origin localhost local");
    }
    world.check(&sent("sidekey.internal", MOZILLA), "Origin sidekey.internal local");
    world.check("GET /a HTTP/1.1\nhost: evil.example", &shut("evil.example", "evil.example"));
}

#[test]
fn people_who_are_let_in_look_by_host_and_no_page_sends_them() {
    let world = World::with("{browsers: true}");
    let typed = "sec-fetch-site: none\nsec-fetch-user: ?1";

    for look in [typed, "sec-fetch-site: same-origin"] {
        world.check(&sent("payments.localhost", look), "Origin payments.localhost local");
        world.check(&sent("shop.example", &format!("{look}\n{MOZILLA}")), "Origin shop.example");
        for shared in ["localhost:9800", "127.0.0.1:9800", "nobody.localhost:9800"] {
            let field = look.lines().next().expect("a line").replace("sec-fetch-site", "Sec-Fetch-Site");
            let refused = format!(
                "403 `{field}`: browsers are no apps; people may look at services by host: \
                 `http://payments.localhost:9800/…`; {ALL}"
            );
            world.check(&sent(shared, look), &refused);
        }
    }
    for lines in [
        "Sec-Fetch-Site: none",
        "Sec-Fetch-Site: cross-site\nsec-fetch-user: ?1",
        "Sec-Fetch-Site: none\nsec-fetch-site: none\nsec-fetch-user: ?1",
        "Sec-Purpose: prefetch\nsec-fetch-site: same-origin",
        "Service-Worker: script\nsec-fetch-site: same-origin",
    ] {
        let field = lines.lines().next().expect("a line");
        let refused = format!(
            "403 `{field}`: `access.browsers` lets in who opens this themselves, and its own page, but nothing that \
             another page asks for or that is loaded ahead; {ALL}"
        );
        world.check(&sent("payments.localhost", lines), &refused);
    }
}
