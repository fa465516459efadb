//! Services that speak HTTP/2 and take some requests over HTTP/1.1 only (RFC 9113 §7).

use std::sync::Arc;

use nix::sys::signal::Signal;
use serde_json::json;
use tokio::task::JoinSet;

use crate::lab::client::{Answer, Request};
use crate::lab::part::Part;
use crate::lab::sidekey::Sidekey;
use crate::lab::tls_partners::{Shown, TlsPartners, VERSIONS, Way};
use crate::lab::{Lab, bed};

/// Node's server, and Sidekey before it; `settings` are the service's further keys.
async fn scene(settings: &str) -> (Lab, Part, Sidekey) {
    let lab = Lab::start().await;
    let files = ["tls/server.pem", "tls/server.key"].map(|file| lab.path(file).display().to_string());
    let service = Part::start(bed::node(), "tests/client/http_1_1_required.js", &files).await;
    let url = format!("https://localhost:{}", service.port("port").unwrap());
    let config = format!("services: {{ payments: {{ url: '{url}', tls: {{ ca: tls/ca.pem }}, {settings} }} }}");
    let sidekey = lab.sidekey(&config).await;
    (lab, service, sidekey)
}

#[track_caller]
fn check(answer: &Answer, version: &str, method: &str, bytes: usize) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = answer.json();
    assert_eq!((&seen["version"], &seen["method"]), (&json!(version), &json!(method)), "{seen}");
    assert_eq!((&seen["bytes"], &seen["times"]), (&json!(bytes), &json!(1)), "{seen}");
}

#[tokio::test]
async fn the_first_request_of_all_goes_again_over_http_1_whatever_its_method_and_retry() {
    for body in [None, Some("a small body")] {
        let (_lab, _service, sidekey) = scene("retry: { attempts: 0 }").await;

        let (answer, method) = match body {
            None => (sidekey.get("/payments/strict/a").await, "GET"),
            Some(body) => (sidekey.post("/payments/strict/a", body).await, "POST"),
        };

        check(&answer, "1.1", method, body.map_or(0, str::len));
        let seen = answer.json();
        assert_eq!((&seen["resets"], &seen["offers"]), (&json!(1), &json!(["h2 http/1.1", "http/1.1"])), "{seen}");
    }
}

#[tokio::test]
async fn a_service_that_asked_for_http_1_is_spoken_to_so_until_the_next_reload() {
    let (_lab, _service, sidekey) = scene("").await;
    check(&sidekey.get("/payments/a").await, "2.0", "GET", 0);
    check(&sidekey.post("/payments/strict/b", "a body").await, "1.1", "POST", 6);

    check(&sidekey.get("/payments/c").await, "1.1", "GET", 0);
    let last = sidekey.post("/payments/strict/d", "a body").await;
    check(&last, "1.1", "POST", 6);
    let seen = last.json();
    assert_eq!(seen["resets"], 1, "{seen}");
    // Each worker has connections of its own; none of them offers HTTP/2 again.
    let offers = seen["offers"].as_array().unwrap().iter().map(|offer| offer.as_str().unwrap());
    let since: Vec<_> = offers.skip_while(|offer| offer.contains("h2")).collect();
    assert!(!since.is_empty() && since.iter().all(|offer| *offer == "http/1.1"), "{seen}");

    let generation = sidekey.generation().await;
    sidekey.signal(Signal::SIGHUP);
    sidekey.until_reloaded_since(generation).await;
    sidekey.until_logged("http_version").await;

    check(&sidekey.get("/payments/e").await, "2.0", "GET", 0);
    check(&sidekey.get("/payments/strict/f").await, "1.1", "GET", 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_each_is_served_once_and_those_on_http_2_are_not_disturbed() {
    let (_lab, _service, sidekey) = scene("retry: { attempts: 0 }").await;
    check(&sidekey.get("/payments/first").await, "2.0", "GET", 0);
    let sidekey = Arc::new(sidekey);

    let mut requests = JoinSet::new();
    for number in 0..96 {
        let sidekey = Arc::clone(&sidekey);
        requests.spawn(async move {
            let strict = if number % 3 == 0 { "" } else { "strict/" };
            let body = "x".repeat(number);
            (number, sidekey.post(&format!("/payments/{strict}{number}"), body).await)
        });
    }
    for (number, answer) in requests.join_all().await {
        assert_eq!(answer.status, 200, "{number}: {}", answer.text());
        let seen = answer.json();
        assert_eq!((&seen["bytes"], &seen["times"]), (&json!(number), &json!(1)), "{number}: {seen}");
    }

    // No worker goes on with the connections that it has.
    for number in 96..104 {
        let last = sidekey.get(&format!("/payments/{number}")).await;
        check(&last, "1.1", "GET", 0);
        let resets = last.json()["resets"].as_u64().unwrap();
        assert!((1..=64).contains(&resets), "{}", last.text());
    }
}

#[tokio::test]
async fn a_body_that_is_still_arriving_goes_again_with_what_came_of_it() {
    for (framing, first, rest) in [
        ("Content-Length: 10", "half ", "whole"),
        ("Transfer-Encoding: chunked", "5\r\nhalf \r\n", "5\r\nwhole\r\n0\r\n\r\n"),
    ] {
        let (_lab, _service, sidekey) = scene("").await;

        let head = format!("POST /payments/strict/a HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n");
        let mut app = sidekey.raw(&format!("{head}{first}")).await;
        while sidekey.get("/payments/look").await.json()["resets"] == 0 {}
        app.write(rest).await;

        check(&app.answer().await, "1.1", "POST", 10);
    }
}

#[tokio::test]
async fn a_body_that_is_not_kept_is_told_and_the_next_request_goes_over_http_1() {
    let (_lab, _service, sidekey) = scene("").await;

    // More than 64 KiB of it are gone by the time that it is refused.
    let (length, much) = (300_000, "x".repeat(200_000));
    let head = format!("POST /payments/strict/late/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
    let mut app = sidekey.raw(&format!("{head}{much}")).await;

    let detail = app.answer().await.problem("connection_terminated");
    assert!(detail.starts_with("the service takes this request over HTTP/1.1 only"), "{detail}");
    check(&sidekey.post("/payments/strict/b", "half whole").await, "1.1", "POST", 10);
}

#[tokio::test]
async fn where_the_config_wants_http_2_it_is_an_error_that_names_the_key() {
    let (_lab, _service, sidekey) = scene("http_version: 2").await;

    for _ in 0..2 {
        let detail = sidekey.get("/payments/strict/a").await.problem("http_protocol_error");
        let expected = "the service takes this request over HTTP/1.1 only: set `http_version` to `auto` or `1.1`";
        assert_eq!(detail, expected);
    }
    check(&sidekey.get("/payments/b").await, "2.0", "GET", 0);
}

/// How a path of Apache's was asked for in the end, and what came of it.
async fn at_apache(sidekey: &Sidekey, request: Request) -> (Option<String>, Answer) {
    let answer = sidekey.send(request).await;
    (answer.field("x-protocol"), answer)
}

#[tokio::test]
async fn apache_that_wants_a_certificate_for_some_paths_is_asked_over_http_1_and_what_it_says_then_is_told() {
    let (lab, server) = (Lab::start().await, "apache-http2-location");
    let partners = TlsPartners::start(&lab, &[server]).await;
    let sidekey = partners.sidekey_with(&lab, ", retry: { attempts: 0 }").await;
    for shown in [Shown::Good, Shown::Nothing] {
        for version in VERSIONS {
            let service = Way { server, version, shown }.service();
            let [public, private] = ["", "private/"].map(|path| format!("/{service}/{path}"));
            let (protocol, answer) = at_apache(&sidekey, Request::get(&public)).await;
            assert_eq!((protocol.as_deref(), answer.status_of_service()), (Some("HTTP/2.0"), 200), "{service}");

            // It resets the stream with HTTP_1_1_REQUIRED. Then it asks for a certificate in the midst of the connection, which
            // there is not: in TLS 1.2 that would be a renegotiation, in TLS 1.3 we do not offer it.
            let (protocol, answer) = at_apache(&sidekey, Request::post(&private, "a body")).await;
            match version {
                "1.2" => {
                    let detail = answer.problem("tls_protocol_error");
                    assert!(detail.contains("asked for a renegotiation, which is refused"), "{detail}");
                }
                _ => assert_eq!((protocol.as_deref(), answer.status_of_service()), (Some("HTTP/1.1"), 403)),
            }

            let (protocol, answer) = at_apache(&sidekey, Request::get(&public)).await;
            assert_eq!((protocol.as_deref(), answer.status_of_service()), (Some("HTTP/1.1"), 200), "{service}");
        }
    }
}

#[tokio::test]
async fn apache_that_asks_for_a_certificate_in_the_handshake_lets_it_in_over_http_2() {
    let (lab, server) = (Lab::start().await, "apache-http2-optional");
    let partners = TlsPartners::start(&lab, &[server]).await;
    let sidekey = partners.sidekey(&lab).await;
    for (shown, status) in [(Shown::Good, 200), (Shown::Nothing, 403)] {
        for version in VERSIONS {
            let service = Way { server, version, shown }.service();

            let (protocol, answer) = at_apache(&sidekey, Request::get(&format!("/{service}/private/"))).await;

            assert_eq!((protocol.as_deref(), answer.status_of_service()), (Some("HTTP/2.0"), status), "{service}");
        }
    }
}
