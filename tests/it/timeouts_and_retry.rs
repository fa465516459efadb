//! How long things may take, what is sent again, and which connections are used again.

use std::time::{Duration, Instant, SystemTime};

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

use crate::lab::client::{Ended, Request};
use crate::lab::fault::{Fault, Gate, Received, Reply};
use crate::lab::frames;
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, until};

/// Sidekey in front of a service that answers so, with these settings.
async fn with(settings: &str, answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Scene {
    let service = Fault::plain(answer).await;
    let (lab, sidekey) = before(&service.url(), settings).await;
    Scene { lab, service, sidekey }
}

async fn before(url: &str, settings: &str) -> (Lab, Sidekey) {
    let lab = Lab::start().await;
    let config = format!(
        "
services: {{ payments: {{ url: '{url}', {settings} }} }}
limits: {{ header_timeout: 500ms, idle_timeout: 1s }}
workers: 1
"
    );
    let sidekey = lab.sidekey(&config).await;
    (lab, sidekey)
}

struct Scene {
    lab: Lab,
    service: Fault,
    sidekey: Sidekey,
}

impl Scene {
    /// Which connection to the service carried each request.
    fn connections(&self) -> Vec<usize> {
        self.service.received().iter().map(|request| request.connection).collect()
    }
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_http_response_timeout() {
    let scene = with("timeouts: { response: 500ms }", |_| Reply::hang()).await;
    let start = Instant::now();

    scene.sidekey.get("/payments/x").await.problem("http_response_timeout");

    assert!(start.elapsed() >= Duration::from_millis(450), "{:?}", start.elapsed());
    assert_eq!(scene.service.count(), 1, "not sent again");
}

#[tokio::test]
async fn the_response_time_runs_from_the_requests_last_byte() {
    let scene = with("timeouts: { response: 1s }", |_| Reply::ok("welcome")).await;

    let mut slow = scene.sidekey.raw("POST /payments/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n").await;
    for byte in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
        tokio::time::sleep(Duration::from_millis(200)).await; // a slow app, not a wait for something
        slow.write(byte).await;
    }

    assert_eq!(slow.answer().await.status_of_service(), 200);
}

#[tokio::test]
async fn a_timeout_can_be_off() {
    let gate = Gate::closed();
    let held = gate.clone();
    let settings = "timeouts: { response: off, idle: off, connect: off }";
    let scene = with(settings, move |_| Reply::after(&held).then(Reply::ok("at last"))).await;

    let mut waiting = scene.sidekey.raw("GET /payments/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    scene.service.until_received(1).await;
    tokio::time::sleep(Duration::from_secs(2)).await; // longer than any time-out of this config
    gate.open();

    assert_eq!(waiting.answer().await.text(), "at last");
}

#[tokio::test]
async fn a_connection_that_does_not_come_about_is_connection_timeout() {
    // A queue of one, filled: the kernel drops what comes after.
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    full.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let fill = || tokio::time::timeout(Duration::from_millis(200), tokio::net::TcpStream::connect(address));
    let mut queue = Vec::new();
    while let Ok(connected) = fill().await {
        queue.push(connected.unwrap());
    }
    let (_lab, sidekey) = before(&format!("http://{address}"), "timeouts: { connect: 500ms }").await;

    sidekey.get("/payments/x").await.problem("connection_timeout");
}

#[tokio::test]
async fn a_handshake_that_does_not_come_about_is_connection_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let (_lab, sidekey) = before(&url, "timeouts: { connect: 500ms }").await;

    sidekey.get("/payments/x").await.problem("connection_timeout");
}

#[tokio::test]
async fn a_head_that_does_not_come_to_its_end_is_request_timeout() {
    let scene = with("", |_| Reply::ok("welcome")).await;
    let start = Instant::now();

    let mut connection = scene.sidekey.raw("GET /payments/x HTTP/1.1\r\nHost: loc").await;

    connection.answer().await.problem("request_timeout");
    connection.closed().await;
    assert!(start.elapsed() >= Duration::from_millis(450), "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_an_answer() {
    let scene = with("", |_| Reply::ok("welcome")).await;
    let mut fresh = scene.sidekey.connect().await;
    let mut used = scene.sidekey.connect().await;
    used.send(Request::get("/payments/x")).await;

    // Longer than the time for a head: that runs only while a head arrives.
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(used.send(Request::get("/payments/x")).await.status_of_service(), 200);

    assert_eq!((fresh.closed().await, used.closed().await), (Ended::Early, Ended::Early));
}

#[tokio::test]
async fn a_body_that_pauses_for_too_long_is_request_timeout() {
    let scene = with("timeouts: { idle: 500ms }", |_| Reply::ok("welcome")).await;

    let mut connection =
        scene.sidekey.raw("POST /payments/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf").await;

    connection.answer().await.problem("request_timeout");
    assert!(!scene.service.only().whole);
}

#[tokio::test]
async fn an_answer_that_pauses_for_too_long_is_broken_off() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
    let scene = with("timeouts: { idle: 500ms }", move |_| Reply::raw(half).then(Reply::hang())).await;

    let answer = scene.sidekey.get("/payments/x").await;

    assert_eq!((answer.text().as_str(), answer.ended), ("half", Ended::Reset));
}

/// A service that resets the connection of the first request.
fn resets_once(request: &Received) -> Reply {
    if request.number == 0 { Reply::reset() } else { Reply::ok("welcome") }
}

#[tokio::test]
async fn an_idempotent_request_is_sent_again_after_a_reset() {
    for request in [Request::get("/payments/x"), Request::chunked("PUT", "/payments/x", "a body")] {
        let scene = with("", resets_once).await;

        assert_eq!(scene.sidekey.send(request).await.status_of_service(), 200);

        let received = scene.service.received();
        assert_eq!((received.len(), received[0].body.len()), (2, received[1].body.len()));
    }
}

#[tokio::test]
async fn a_post_is_not_sent_again() {
    let scene = with("", resets_once).await;

    scene.sidekey.post("/payments/x", "a body").await.problem("connection_terminated");

    assert_eq!(scene.service.count(), 1);
}

#[tokio::test]
async fn a_body_that_is_no_longer_in_memory_is_not_sent_again() {
    let scene = with("", resets_once).await;
    let put = Request::chunked("PUT", "/payments/x", &"x".repeat(65 * 1024));

    scene.sidekey.send(put).await.problem("connection_terminated");

    assert_eq!(scene.service.count(), 1);
}

#[tokio::test]
async fn nothing_is_sent_again_with_no_attempts() {
    let scene = with("retry: { attempts: 0 }", resets_once).await;

    scene.sidekey.get("/payments/x").await.problem("connection_terminated");

    assert_eq!(scene.service.count(), 1);
}

#[tokio::test]
async fn a_status_is_retried_where_the_config_says_so_and_the_last_one_passes_on() {
    let scene = with("retry: { attempts: 2, on: [503] }", |_| Reply::new(503, &[], "its own words")).await;

    let get = scene.sidekey.get("/payments/x").await;
    let post = scene.sidekey.post("/payments/x", "a body").await;

    assert_eq!((get.status_of_service(), get.text().as_str()), (503, "its own words"));
    assert_eq!(post.status_of_service(), 503);
    assert_eq!(scene.service.count(), 3 + 1);
}

#[tokio::test]
async fn a_status_is_retried_after_a_pause_and_not_before_the_service_wants_it() {
    // A date has whole seconds: two from now are one at least.
    let date: fn() -> Option<String> = || Some(httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2)));
    let seconds = || Some("1".to_owned());
    let nothing = || None;

    for (retry_after, least) in [(date, 1_000), (seconds, 1_000), (nothing, 100)] {
        let once = move |request: &Received| {
            if request.number > 0 {
                return Reply::ok("welcome");
            }
            // Made here and not before: what comes in between would count as waited.
            let retry_after = retry_after();
            let fields: Vec<_> = retry_after.iter().map(|value| ("Retry-After", value.as_str())).collect();
            Reply::new(503, &fields, "busy")
        };
        let scene = with("retry: { attempts: 1, on: [503] }", once).await;
        let start = Instant::now();

        assert_eq!(scene.sidekey.get("/payments/x").await.status_of_service(), 200);

        assert!(start.elapsed() >= Duration::from_millis(least), "{:?}: {:?}", retry_after(), start.elapsed());
        assert_eq!(scene.service.count(), 2);
    }
}

#[tokio::test]
async fn a_service_that_wants_to_be_left_alone_for_longer_than_there_is_time_gets_its_answer_passed_on() {
    let busy = |_: &Received| Reply::new(503, &[("Retry-After", "7")], "its own words");
    let scene = with("retry: { attempts: 3, on: [503] }, timeouts: { response: 5s }", busy).await;
    let start = Instant::now();

    let answer = scene.sidekey.get("/payments/x").await;

    assert_eq!((answer.status_of_service(), answer.text().as_str(), answer.retry_after()), (503, "its own words", 7));
    assert_eq!(scene.service.count(), 1);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test]
async fn resets_are_tried_again_at_once_and_then_after_a_pause() {
    let scene = with("retry: { attempts: 3 }", |_| Reply::reset()).await;
    let start = Instant::now();

    scene.sidekey.get("/payments/x").await.problem("connection_terminated");

    // At once, after 100 ms at least, after 200 ms at least.
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    assert_eq!(scene.service.count(), 4);
}

#[tokio::test]
async fn a_pooled_connection_found_dead_is_replaced_silently_even_for_a_post() {
    let closes = |request: &Received| {
        let answer = Reply::ok("welcome");
        if request.number == 0 { answer.then_close() } else { answer }
    };
    let scene = with("retry: { attempts: 0 }", closes).await;
    scene.sidekey.get("/payments/x").await;
    tokio::time::sleep(Duration::from_millis(100)).await; // for the close to arrive, which nothing tells

    assert_eq!(scene.sidekey.post("/payments/x", "a body").await.status_of_service(), 200);

    assert_eq!(scene.connections(), [0, 1]);
}

#[tokio::test]
async fn a_stream_that_the_service_refused_is_sent_again_whatever_the_method() {
    for refusal in [frames::goaway(0), frames::refused_stream(1)] {
        let service = frames::Server::start(refusal).await;
        let (_lab, sidekey) = before(&service.url(), "http_version: 2").await;

        assert_eq!(sidekey.post("/payments/x", "a body").await.status_of_service(), 204);

        assert_eq!(service.requests(), 2);
    }
}

#[tokio::test]
async fn connections_are_used_again() {
    let scene = with("", |_| Reply::ok("welcome")).await;

    for _ in 0..10 {
        scene.sidekey.get("/payments/x").await;
    }

    assert_eq!(scene.connections(), [0; 10]);
}

#[tokio::test]
async fn a_connection_that_the_service_wants_closed_is_not_used_again() {
    let scene = with("", |_| Reply::new(200, &[("Connection", "close")], "welcome")).await;

    for _ in 0..3 {
        scene.sidekey.get("/payments/x").await;
    }

    assert_eq!(scene.connections(), [0, 1, 2]);
}

#[tokio::test]
async fn idle_connections_are_retired_and_so_are_old_ones() {
    for settings in ["pool: { idle_timeout: 500ms }", "pool: { max_lifetime: 500ms }"] {
        let scene = with(settings, |_| Reply::ok("welcome")).await;
        scene.sidekey.get("/payments/x").await;

        tokio::time::sleep(Duration::from_millis(1200)).await; // the life that the config gives them
        scene.sidekey.get("/payments/x").await;

        assert_eq!(scene.connections(), [0, 1], "{settings}");
    }
}

#[tokio::test]
async fn a_request_beyond_the_last_connection_waits_and_is_then_overloaded() {
    let gate = Gate::closed();
    let held = gate.clone();
    let settings = "pool: { max_connections: 1 }, timeouts: { connect: 500ms }";
    let scene = with(settings, move |_| Reply::after(&held).then(Reply::ok("welcome"))).await;
    let mut first = scene.sidekey.raw("GET /payments/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    scene.service.until_received(1).await;

    let overloaded = scene.sidekey.get("/payments/x").await;
    let mut waiting = scene.sidekey.raw("GET /payments/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    gate.open();

    overloaded.problem("overloaded");
    assert!(overloaded.retry_after() >= 1, "{overloaded:?}");
    assert_eq!((first.answer().await.status, waiting.answer().await.status), (200, 200));
    assert_eq!(scene.connections(), [0, 0]);
}

#[tokio::test]
async fn connections_of_a_service_that_a_reload_has_changed_count_until_they_end() {
    let gate = Gate::closed();
    let held = gate.clone();
    let settings = "pool: { max_connections: 1 }, timeouts: { connect: 500ms }";
    let scene = with(settings, move |_| Reply::after(&held).then(Reply::ok("welcome"))).await;
    let mut first = scene.sidekey.raw("GET /payments/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    scene.service.until_received(1).await;

    let generation = scene.sidekey.generation().await;
    let changed = scene.sidekey.written().replace("connect: 500ms", "connect: 600ms, response: 20s");
    scene.sidekey.rewrite(&scene.lab, &changed);
    scene.sidekey.until_reloaded_since(generation).await;
    let beyond = scene.sidekey.get("/payments/x").await;
    let mut waiting = scene.sidekey.raw("GET /payments/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    gate.open();

    beyond.problem("overloaded");
    assert_eq!((first.answer().await.status, waiting.answer().await.status), (200, 200));
    assert_eq!(scene.connections(), [0, 1], "one after the other");
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_exchange() {
    let scene = with("", |_| Reply::hang()).await;
    let leaving = scene.sidekey.raw("GET /payments/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    scene.service.until_received(1).await;

    drop(leaving);

    until("no request in flight", async || {
        (scene.sidekey.metric("sidekey_requests_in_flight{service=\"payments\"}").await == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_upload_goes_on_after_its_answer_for_as_long_as_something_comes_and_its_connection_ends() {
    let scene = with("", |_| Reply::ok("early").before_the_body()).await;

    let mut app = scene.sidekey.raw("POST /payments/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n").await;
    let early = app.answer().await;
    for byte in ["a", "b", "c", "d", "e"] {
        tokio::time::sleep(Duration::from_millis(100)).await; // a slow app, not a wait for something
        app.write(byte).await;
    }
    app.write("GET /payments/y HTTP/1.1\r\nHost: localhost\r\n\r\n").await;

    assert_eq!((early.text(), early.status_of_service()), ("early".to_owned(), 200));
    assert_eq!(early.field("connection").as_deref(), Some("close"));
    assert_eq!(app.closed().await, Ended::Early);
    until("all of the upload", async || (scene.service.only().text() == "abcde").then_some(())).await;
}

#[tokio::test]
async fn an_app_that_stops_reading_is_cut_in_time() {
    let scene = with("timeouts: { idle: 500ms }", |_| Reply::ok(&"x".repeat(64 << 20))).await;

    let app = scene.sidekey.raw("GET /payments/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    scene.service.until_received(1).await;
    let active = async || scene.sidekey.service("payments").await["connections"]["active"].as_u64();
    until("the exchange", async || (active().await == Some(1)).then_some(())).await;
    until("its end", async || (active().await == Some(0)).then_some(())).await;

    drop(app);
}
