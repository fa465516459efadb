//! `limits` of a service: how many requests at once, how many in a time, how long their bodies.

use crate::lab::client::{Ended, Request};
use crate::lab::fault::{Fault, Gate, Reply};
use crate::lab::{Lab, until};

/// A config with one service, and these limits.
fn limited(service: &Fault, limits: &str) -> String {
    format!("services: {{ payments: {{ url: '{}', limits: {{ {limits} }} }} }}", service.url())
}

#[tokio::test]
async fn as_many_requests_go_on_at_once_as_are_allowed_whoever_carries_them() {
    let (lab, gate) = (Lab::start().await, Gate::closed());
    let held = gate.clone();
    let service = Fault::plain(move |_| Reply::after(&held).then(Reply::ok("done"))).await;
    let config = format!("workers: 2\n{}", limited(&service, "concurrency: 3"));
    let sidekey = lab.sidekey(&config).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(sidekey.raw(Request::get("/payments/x").to_bytes("localhost")).await);
    }
    service.until_received(3).await;

    let refused = sidekey.get("/payments/x").await;

    assert!(refused.problem("overloaded").contains("`limits.concurrency`"));
    assert_eq!((refused.retry_after(), service.count()), (1, 3));
    // One that is counted already goes on where the config changes meanwhile.
    sidekey.rewrite(&lab, &config.replace("concurrency: 3", "concurrency: 2, rate: 1000/s"));
    sidekey.until_reloaded_since(1).await;
    sidekey.get("/payments/x").await.problem("overloaded");
    gate.open();
    for connection in &mut held {
        assert_eq!(connection.answer().await.text(), "done");
    }
    until("a place", async || (sidekey.get("/payments/x").await.status == 200).then_some(())).await;
    assert!(sidekey.metric(r#"sidekey_errors_total{service="payments",error="overloaded"}"#).await >= 2.0);
}

#[tokio::test]
async fn beyond_the_rate_the_app_is_told_when_to_come_again() {
    let (lab, service) = (Lab::start().await, Fault::plain(|_| Reply::ok("welcome")).await);
    let config = limited(&service, "rate: 5/h");
    let sidekey = lab.sidekey(&config).await;

    assert_eq!(sidekey.get("/payments/x").await.status_of_service(), 200);
    let refused = sidekey.get("/payments/x").await;

    assert!(refused.problem("rate_limited").contains("5/h"));
    assert!((700..=720).contains(&refused.retry_after()), "{}", refused.retry_after());
    // What was used stays used where other things change, and nothing is left of it where the rate does.
    sidekey.rewrite(&lab, &config.replace("payments: {", "payments: { title: Renamed,"));
    sidekey.until_reloaded_since(1).await;
    sidekey.get("/payments/x").await.problem("rate_limited");
    sidekey.rewrite(&lab, &config.replace("5/h", "50/s"));
    sidekey.until_reloaded_since(2).await;
    assert_eq!(sidekey.get("/payments/x").await.status_of_service(), 200);
    assert_eq!(service.count(), 2);
}

#[tokio::test]
async fn a_request_that_is_sent_again_counts_once() {
    let lab = Lab::start().await;
    let service = Fault::plain(|request| match request.number {
        0 => Reply::status(503),
        _ => Reply::ok("welcome"),
    })
    .await;
    let config = format!(
        "services: {{ payments: {{ url: '{}', limits: {{ rate: 1/h, concurrency: 1 }}, retry: {{ on: [503] }} }} }}",
        service.url()
    );
    let sidekey = lab.sidekey(&config).await;

    assert_eq!((sidekey.get("/payments/x").await.status_of_service(), service.count()), (200, 2));
    sidekey.get("/payments/x").await.problem("rate_limited");
}

#[tokio::test]
async fn a_body_that_says_it_is_too_long_is_refused_at_once() {
    let (lab, service) = (Lab::start().await, Fault::plain(|_| Reply::ok("welcome")).await);
    let sidekey = lab.sidekey(&limited(&service, "body: 1KiB")).await;

    let refused = sidekey.post("/payments/x", vec![b'x'; 1025]).await;

    assert!(refused.problem("body_too_large").contains("1024 bytes"));
    assert_eq!(service.count(), 0);
    assert_eq!(sidekey.post("/payments/x", vec![b'x'; 1024]).await.status_of_service(), 200);
    // One who waits to hear whether it is wanted sends none of it.
    let waiting = Request::new("POST", "/payments/x").field("Content-Length", "1025").field("Expect", "100-continue");
    sidekey.send(waiting).await.problem("body_too_large");
}

#[tokio::test]
async fn a_body_that_turns_out_too_long_is_broken_off() {
    let (lab, gate) = (Lab::start().await, Gate::closed());
    let service = Fault::plain(|_| Reply::ok("welcome")).await;
    let sidekey = lab.sidekey(&limited(&service, "body: 1KiB")).await;
    let chunk = |length: usize| format!("{length:x}\r\n{}\r\n", "x".repeat(length));
    let head = "POST /payments/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";

    let mut whole = sidekey.raw(format!("{head}{}{}0\r\n\r\n", chunk(1000), chunk(24))).await;
    assert_eq!(whole.answer().await.status_of_service(), 200);
    let mut long = sidekey.raw(format!("{head}{}{}", chunk(1000), chunk(25))).await;
    assert!(long.answer().await.problem("body_too_large").contains("1024 bytes"));

    service.until_received(2).await;
    until("the end of what was broken off", async || (service.received()[1].body.len() >= 1000).then_some(())).await;
    assert!(service.received()[0].whole && !service.received()[1].whole);
    drop(gate);
}

#[tokio::test]
async fn a_body_that_turns_out_too_long_is_broken_off_over_http2_too() {
    let lab = Lab::start().await;
    let sidekey = lab
        .sidekey("services: { payments: { url: $SERVICE_HTTP2, certificate: partner, limits: { body: 1KiB } } }")
        .await;

    let whole = sidekey.send(Request::chunked("POST", "/payments/x", &"x".repeat(1024))).await;
    let long = sidekey.send(Request::chunked("POST", "/payments/x", &"x".repeat(1025))).await;

    assert_eq!((whole.status_of_service(), whole.ended), (200, Ended::Whole));
    long.problem("body_too_large");
}
