//! How exchanges of HTTP/2 end: whole, broken off by either side, in the midst of a reload and of a stop.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use nix::sys::signal::Signal;

use super::{Bench, config};
use crate::lab::fault::{Fault, Gate, Reply};
use crate::lab::http2_app::{Http2App, in_time, next, read, request};
use crate::lab::mirror::BodyEnd;
use crate::lab::{Lab, until};

#[tokio::test]
async fn heads_that_have_no_body_end_with_the_head() {
    let lab = Lab::start().await;
    let service = Fault::plain(|request| match request.target() {
        "/204" => Reply::raw("HTTP/1.1 204 No Content\r\n\r\n"),
        "/304" => Reply::raw("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 7\r\n\r\n"),
        _ if request.method() == "HEAD" => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"),
        _ => Reply::ok("welcome"),
    })
    .await;
    let sidekey = lab.sidekey(&format!("services: {{ s: {{ url: '{}' }} }}", service.url())).await;
    let mut app = Http2App::open(&sidekey.address).await;

    let table = [("GET", "/s/204", 204, None), ("GET", "/s/304", 304, Some("7")), ("HEAD", "/s/x", 200, Some("7"))];
    for (method, target, status, length) in table {
        let answer = app.send(request(method, target), b"").await.unwrap();
        assert_eq!((answer.status, answer.field("content-length").as_deref()), (status, length), "{method} {target}");
        assert!(answer.body.is_empty());
    }
    assert_eq!(app.get("/s/x").await.unwrap().text(), "welcome");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_broken_off() {
    let lab = Lab::start().await;
    let service = Fault::plain(|request| match request.target() {
        "/reset" => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nhal").then_reset(),
        "/close" => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nhal").then_close(),
        "/chunk" => Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhal\r\n").then_close(),
        _ => Reply::ok("welcome"),
    })
    .await;
    let sidekey = lab.sidekey(&format!("services: {{ s: {{ url: '{}' }} }}", service.url())).await;
    let mut app = Http2App::open(&sidekey.address).await;

    for target in ["/s/reset", "/s/close", "/s/chunk"] {
        let error = app.get(target).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR), "{target}: {error}");
    }
    assert_eq!(app.get("/s/x").await.unwrap().text(), "welcome", "the connection goes on");
}

#[tokio::test]
async fn an_upload_that_its_app_resets_is_whole_for_nobody() {
    let bench = Bench::start().await;
    for (name, mirror) in bench.services() {
        for (count, reason) in [Reason::NO_ERROR, Reason::CANCEL, Reason::INTERNAL_ERROR].into_iter().enumerate() {
            let mut app = Http2App::open(&bench.sidekey.address).await;
            let (answer, mut upload) = app.begin(request("POST", &format!("/{name}/x")), false).await;
            upload.send_data(Bytes::from_static(b"half"), false).unwrap();
            let mut body = in_time(answer).await.unwrap().into_body();
            assert_eq!(in_time(next(&mut body)).await.unwrap().unwrap(), "half");

            upload.send_reset(reason);

            until("the end of the upload", async || (mirror.ends().len() > 2 * count).then_some(())).await;
            assert_eq!(mirror.ends()[2 * count], BodyEnd::BrokenOff, "{name} {reason:?}");
            let answer = app.send(request("POST", &format!("/{name}/y")), b"next").await.unwrap();
            assert_eq!(answer.text(), "next", "{name} {reason:?}");
        }
    }
}

#[tokio::test]
async fn a_reload_takes_effect_on_new_streams_of_an_old_connection() {
    let bench = Bench::start().await;
    for (name, mirror) in bench.services() {
        let mut app = Http2App::open(&bench.sidekey.address).await;
        let (answer, mut upload) = app.begin(request("POST", &format!("/{name}/old")), false).await;
        upload.send_data(Bytes::from_static(b"before "), false).unwrap();
        let mut body = in_time(answer).await.unwrap().into_body();
        assert_eq!(in_time(next(&mut body)).await.unwrap().unwrap(), "before ");

        let generation = bench.sidekey.generation().await;
        let more = format!(", headers: {{ set: {{ x-reloaded: '{name}' }} }}");
        bench.sidekey.rewrite(&bench.lab, &config(&bench.one, &bench.two, &more));
        bench.sidekey.until_reloaded_since(generation).await;

        app.send(request("POST", &format!("/{name}/new")), b"new").await.unwrap();
        upload.send_data(Bytes::from_static(b"after"), true).unwrap();
        assert_eq!(in_time(next(&mut body)).await.unwrap().unwrap(), "after", "{name}");
        let heads = mirror.heads();
        let told = format!("x-reloaded: {name}\r\n");
        assert_eq!(heads.iter().map(|head| head.contains(&told)).collect::<Vec<_>>(), [false, true], "{heads:?}");
    }
}

#[tokio::test]
async fn a_stop_loses_no_stream() {
    for name in ["one", "two"] {
        let bench = Bench::start().await;
        let mut app = Http2App::open(&bench.sidekey.address).await;
        let mut idle = Http2App::open(&bench.sidekey.address).await;
        idle.send(request("POST", &format!("/{name}/x")), b"x").await.unwrap();
        let (answer, mut upload) = app.begin(request("POST", &format!("/{name}/x")), false).await;
        upload.send_data(Bytes::from_static(b"before "), false).unwrap();
        let mut body = in_time(answer).await.unwrap().into_body();
        assert_eq!(in_time(next(&mut body)).await.unwrap().unwrap(), "before ");

        bench.sidekey.signal(Signal::SIGTERM);

        // GOAWAY, and no error.
        idle.closed().await.unwrap();
        upload.send_data(Bytes::from_static(b"after"), true).unwrap();
        assert_eq!(in_time(next(&mut body)).await.unwrap().unwrap(), "after", "{name}");
        assert_eq!(in_time(next(&mut body)).await.unwrap(), None, "{name}");
        drop((body, upload));
        app.closed().await.unwrap();
        let (code, log) = bench.sidekey.ended().await;
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("drained"), "{log}");
    }
}

#[tokio::test]
async fn what_is_open_after_the_drain_is_cut_and_not_whole() {
    let (lab, gate) = (Lab::start().await, Gate::closed());
    let held = gate.clone();
    let service =
        Fault::plain(move |_| Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nhal").wait(&held)).await;
    let config = format!("services: {{ s: {{ url: '{}' }} }}\nshutdown: {{ drain: 100ms }}", service.url());
    let sidekey = lab.sidekey(&config).await;
    let mut app = Http2App::open(&sidekey.address).await;
    let (answer, _) = app.begin(request("GET", "/s/x"), true).await;
    let answer = in_time(answer).await.unwrap();

    let (code, log) = sidekey.stop().await;

    assert_eq!(code, Some(0), "{log}");
    assert!(in_time(read(answer)).await.is_err(), "half an answer passed for a whole one");
}

#[tokio::test]
async fn an_app_that_reads_nothing_is_waited_for_as_long_as_a_service() {
    let bench = Bench::start_with(", timeouts: { idle: 500ms }").await;
    for (name, _) in bench.services() {
        let mut app = Http2App::open(&bench.sidekey.address).await;
        let (answer, mut upload) = app.begin(request("POST", &format!("/{name}/x")), false).await;
        upload.send_data(vec![b'x'; 4 << 20].into(), true).unwrap();
        let mut body = in_time(answer).await.unwrap().into_body();
        // Read, but no room is given back for it.
        let ended = in_time(async {
            loop {
                match body.data().await {
                    Some(Ok(_)) => {}
                    other => break other,
                }
            }
        });

        let error = ended.await.unwrap().unwrap_err();

        assert!(error.is_reset(), "{name}: {error}");
    }
}

#[tokio::test]
async fn an_upload_that_its_app_does_not_end_gives_its_connection_back_once_it_is_answered() {
    for (status, reply) in [
        // The service reads on, and nothing comes.
        (204, "HTTP/1.1 204 No Content\r\n\r\n"),
        (200, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        // Nobody reads on what is refused.
        (503, "HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n"),
    ] {
        let lab = Lab::start().await;
        let service = Fault::plain(move |_| Reply::raw(reply).before_the_body()).await;
        let keys = "pool: { max_connections: 1 }, timeouts: { idle: 1s }";
        let sidekey = lab.sidekey(&format!("services: {{ s: {{ url: '{}', {keys} }} }}", service.url())).await;
        let mut app = Http2App::open(&sidekey.address).await;

        let (answer, mut upload) = app.begin(request("POST", "/s/x"), false).await;
        upload.send_data(Bytes::from_static(b"half"), false).unwrap();
        let answer = in_time(async { read(answer.await.unwrap()).await.unwrap() }).await;

        assert_eq!(answer.status, status);
        let reason = in_time(poll_fn(|cx| upload.poll_reset(cx))).await;
        assert_eq!(reason.unwrap(), Reason::NO_ERROR, "{status}");
        // The place is free for the next.
        let other = app.get("/s/y").await.unwrap();
        assert_eq!(other.status, status);
    }
}

#[tokio::test]
async fn an_upload_goes_on_after_its_answer_for_as_long_as_something_comes() {
    let lab = Lab::start().await;
    let service = Fault::plain(|_| Reply::ok("early").before_the_body()).await;
    let sidekey = lab.sidekey(&format!("services: {{ s: {{ url: '{}' }} }}", service.url())).await;
    let mut app = Http2App::open(&sidekey.address).await;

    let (answer, mut upload) = app.begin(request("POST", "/s/x"), false).await;
    upload.send_data(Bytes::from_static(b"a"), false).unwrap();
    let answer = in_time(async { read(answer.await.unwrap()).await.unwrap() }).await;
    assert_eq!(answer.text(), "early");
    for byte in [b"b", b"c", b"d"] {
        tokio::time::sleep(Duration::from_millis(400)).await; // a slow app, not a wait for something
        upload.send_data(Bytes::from_static(byte), false).unwrap();
    }
    upload.send_data(Bytes::from_static(b"e"), true).unwrap();

    let chunks: String = ["a", "b", "c", "d", "e"].iter().map(|byte| format!("1\r\n{byte}\r\n")).collect();
    until("all of the upload", async || (service.only().text() == format!("{chunks}0\r\n\r\n")).then_some(())).await;
}
