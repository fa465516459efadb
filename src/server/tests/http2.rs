//! Connections that speak HTTP/2, with the clock in the test's hand.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, spawn_local};

use super::lab::{Client, Lab, settle, until};
use crate::config::Limits;
use crate::proxy::DrainPhase;

/// An app on a connection of its own.
struct App {
    requests: SendRequest<Bytes>,
    /// Ends with the connection.
    connection: JoinHandle<Result<(), h2::Error>>,
    served: JoinHandle<()>,
}

impl App {
    async fn connect(lab: &Lab) -> Self {
        let Client { socket, served } = lab.client().await;
        Self::greet(socket, served).await
    }

    async fn greet(socket: TcpStream, served: JoinHandle<()>) -> Self {
        let (requests, connection) = client::handshake(socket).await.unwrap();
        Self { requests, connection: spawn_local(connection), served }
    }

    async fn begin(&mut self, request: Request<()>, ends: bool) -> (ResponseFuture, SendStream<Bytes>) {
        let ready = self.requests.clone().ready().await.unwrap();
        let begun = { ready }.send_request(request, ends).unwrap();
        settle().await;
        begun
    }

    async fn get(&mut self, path: &str) -> Result<String, h2::Error> {
        let (answer, _) = self.begin(get(path), true).await;
        Ok(read(answer.await?.into_body()).await?.0)
    }
}

fn get(path: &str) -> Request<()> {
    Request::builder().uri(format!("http://localhost{path}")).body(()).unwrap()
}

fn post(path: &str) -> Request<()> {
    Request::builder().method("POST").uri(format!("http://localhost{path}")).body(()).unwrap()
}

async fn read(mut body: RecvStream) -> Result<(String, Option<HeaderMap>), h2::Error> {
    let mut text = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        text.extend_from_slice(&data);
    }
    let trailers = body.trailers().await?;
    Ok((String::from_utf8(text).unwrap(), trailers))
}

/// Whether no reset of it has come.
async fn is_open(stream: &mut SendStream<Bytes>) -> bool {
    poll_fn(|cx| std::task::Poll::Ready(stream.poll_reset(cx).is_pending())).await
}

/// Hands on as much as there is room for without anybody reading; how much that was.
async fn fill(stream: &mut SendStream<Bytes>, most: usize) -> usize {
    let mut sent = 0;
    stream.reserve_capacity(most);
    while sent < most {
        let room = poll_fn(|cx| match stream.poll_capacity(cx) {
            std::task::Poll::Ready(room) => std::task::Poll::Ready(room.map(Result::unwrap)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        });
        let Some(room) = room.await else {
            settle().await;
            if stream.capacity() == 0 {
                return sent;
            }
            continue;
        };
        stream.send_data(vec![b'x'; room].into(), false).unwrap();
        sent += room;
        settle().await;
    }
    sent
}

#[tokio::test(flavor = "local")]
async fn many_requests_are_answered_on_one_connection() {
    let lab = Lab::default();
    let mut app = App::connect(&lab).await;
    let (held, _) = app.begin(get("/held"), true).await;

    assert_eq!(app.get("/one").await.unwrap(), "GET /one ");
    let (answer, mut body) = app.begin(post("/two"), false).await;
    body.send_data(Bytes::from_static(b"a "), false).unwrap();
    body.send_data(Bytes::from_static(b"body"), true).unwrap();
    assert_eq!(read(answer.await.unwrap().into_body()).await.unwrap().0, "POST /two a body");
    lab.port.gate.notify_one();
    assert_eq!(read(held.await.unwrap().into_body()).await.unwrap().0, "GET /held ");
}

#[tokio::test(flavor = "local")]
async fn the_preface_may_come_byte_by_byte() {
    let lab = Lab::default();
    let Client { socket, served } = lab.client().await;
    let (app, wire) = tokio::io::duplex(64 * 1024);
    let (mut from_app, mut to_app) = tokio::io::split(wire);
    let (mut from_port, mut to_port) = socket.into_split();
    spawn_local(async move { tokio::io::copy(&mut from_port, &mut to_app).await });
    spawn_local(async move {
        while let Ok(byte) = from_app.read_u8().await {
            to_port.write_u8(byte).await.unwrap();
            settle().await;
        }
    });

    let (requests, connection) = client::handshake(app).await.unwrap();
    let mut app = App { requests, connection: spawn_local(connection), served };

    assert_eq!(app.get("/slowly").await.unwrap(), "GET /slowly ");
}

#[tokio::test(flavor = "local")]
async fn a_preface_that_is_none_is_the_end() {
    let lab = Lab::default();
    let mut client = lab.client().await;

    client.send("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n").await;

    // RFC 9113 §3.4.
    let mut rest = Vec::new();
    client.socket.read_to_end(&mut rest).await.unwrap();
    assert!(!rest.starts_with(b"HTTP/1.1 200"), "{rest:?}");
    client.socket.shutdown().await.unwrap();
    client.served.await.unwrap();
    assert_eq!(lab.port.refused.borrow().len(), 1, "{:?}", lab.port.refused);
}

#[tokio::test(flavor = "local")]
async fn http_2_does_not_begin_on_a_connection_of_http_1() {
    let lab = Lab::default();
    let mut client = lab.client().await;
    client.get("/first").await;

    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;

    let answer = client.answer().await;
    assert!(answer.contains("HTTP/2 begins here on a connection that began with HTTP/1"), "{answer}");
}

#[tokio::test(flavor = "local")]
async fn who_greets_and_asks_nothing_is_let_go_after_the_header_timeout() {
    let lab = Lab::default();
    let app = App::connect(&lab).await;
    settle().await;
    assert!(!app.connection.is_finished());

    lab.pass(Limits::default().header_timeout.unwrap()).await;

    app.connection.await.unwrap().unwrap();
    app.served.await.unwrap();
    assert!(lab.port.refused.borrow().is_empty());
}

#[tokio::test(flavor = "local")]
async fn half_a_preface_is_not_waited_for_any_longer_than_a_head() {
    let lab = Lab::default();
    let mut client = lab.client().await;
    client.send("PRI * HTTP/2.0\r\n").await;
    settle().await;

    lab.pass(Limits::default().header_timeout.unwrap()).await;

    let mut rest = Vec::new();
    client.socket.read_to_end(&mut rest).await.unwrap();
    assert!(lab.port.refused.borrow()[0].starts_with("request_timeout"), "{:?}", lab.port.refused);
}

#[tokio::test(flavor = "local")]
async fn an_idle_connection_is_said_goodbye_to_and_closed() {
    let lab = Lab::default();
    let mut app = App::connect(&lab).await;
    app.get("/one").await.unwrap();
    lab.pass(Limits::default().idle_timeout.unwrap() / 2).await;
    app.get("/two").await.unwrap();
    lab.pass(Limits::default().idle_timeout.unwrap() / 2).await;
    assert!(!app.connection.is_finished(), "each exchange begins the time anew");

    lab.pass(Limits::default().idle_timeout.unwrap()).await;

    app.connection.await.unwrap().unwrap();
    app.served.await.unwrap();
}

/// An app that does not even answer a PING.
#[tokio::test(flavor = "local")]
async fn an_idle_connection_whose_app_says_nothing_is_closed_all_the_same() {
    let lab = Lab::default();
    let mut client = lab.client().await;
    client.socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    settle().await;

    lab.pass(Limits::default().header_timeout.unwrap()).await;
    lab.pass(Duration::from_secs(1)).await;

    let mut rest = Vec::new();
    client.socket.read_to_end(&mut rest).await.unwrap();
    // GOAWAY with the highest stream that there is, and no error.
    let goodbye = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    assert!(rest.windows(goodbye.len()).any(|bytes| bytes == goodbye), "{rest:?}");
}

#[tokio::test(flavor = "local")]
async fn an_exchange_is_no_silence_and_what_is_idle_gives_way() {
    let lab = Lab::default();
    let mut app = App::connect(&lab).await;
    let (held, _) = app.begin(get("/held"), true).await;
    lab.pass(Duration::from_secs(2)).await;
    assert_eq!(lab.shared.sweep.longest_silence(), None);

    lab.port.gate.notify_one();
    held.await.unwrap();

    lab.until_silent().await;
    assert!(lab.shared.sweep.dismiss_longest_silent());
    app.connection.await.unwrap().unwrap();
}

#[tokio::test(flavor = "local")]
async fn the_drain_says_goodbye_and_answers_what_has_begun() {
    let lab = Lab::default();
    let mut app = App::connect(&lab).await;
    let (held, _) = app.begin(get("/held"), true).await;

    lab.shared.close();
    settle().await;
    // Until the goodbye was heard, what is on its way is answered too.
    assert_eq!(lab.shared.drain.get(), DrainPhase::Begun);
    lab.port.gate.notify_one();

    assert_eq!(read(held.await.unwrap().into_body()).await.unwrap().0, "GET /held ");
    app.connection.await.unwrap().unwrap();
    app.served.await.unwrap();
}

#[tokio::test(flavor = "local")]
async fn what_nobody_reads_of_an_upload_holds_no_more_than_its_window() {
    let lab = Lab::default();
    let mut app = App::connect(&lab).await;
    let (answer, mut upload) = app.begin(post("/held"), false).await;
    const MORE: usize = 4 << 20;

    let sent = fill(&mut upload, MORE).await;

    assert!(sent <= 256 * 1024, "{sent} bytes were taken");
    // Another stream is not held up by that.
    assert_eq!(app.get("/other").await.unwrap(), "GET /other ");
    lab.port.gate.notify_one();
    // All of it is here already; what there is room for leaves.
    upload.send_data(vec![b'x'; MORE - sent].into(), true).unwrap();
    let echoed = read(answer.await.unwrap().into_body()).await.unwrap().0;
    assert_eq!(echoed.len(), MORE + "POST /held ".len());
}

#[tokio::test(flavor = "local")]
async fn an_upload_that_is_answered_before_its_end_is_given_up_without_an_error() {
    let lab = Lab::default();
    let mut app = App::connect(&lab).await;
    let (answer, mut upload) = app.begin(post("/unread"), false).await;

    assert_eq!(read(answer.await.unwrap().into_body()).await.unwrap().0, "unread");
    settle().await;
    assert!(is_open(&mut upload).await, "there is some time to end it");
    lab.pass(Duration::from_secs(1)).await;
    let reset = poll_fn(|cx| upload.poll_reset(cx)).await.unwrap();

    assert_eq!(reset, Reason::NO_ERROR);
    assert_eq!(app.get("/next").await.unwrap(), "GET /next ");
}

/// As apps do that send their body, then its end, and look for an answer after that.
#[tokio::test(flavor = "local")]
async fn an_upload_that_ends_after_its_answer_has_ended_well() {
    let lab = Lab::default();
    let mut app = App::connect(&lab).await;
    let (answer, mut upload) = app.begin(post("/unread"), false).await;
    assert_eq!(read(answer.await.unwrap().into_body()).await.unwrap().0, "unread");

    upload.send_data(Bytes::from_static(b"all of it"), false).unwrap();
    settle().await;
    upload.send_data(Bytes::new(), true).unwrap();

    lab.until_silent().await;
    assert_eq!(app.get("/next").await.unwrap(), "GET /next ");
}

/// As a service may that has answered already.
#[tokio::test(flavor = "local")]
async fn an_upload_goes_on_for_as_long_as_somebody_reads_it() {
    let lab = Lab::default();
    let mut app = App::connect(&lab).await;
    let (answer, mut upload) = app.begin(post("/early"), false).await;
    assert_eq!(read(answer.await.unwrap().into_body()).await.unwrap().0, "early");

    upload.send_data(Bytes::from_static(b"the rest"), true).unwrap();

    until(|| *lab.port.late.borrow() == "the rest").await;
}

#[tokio::test(flavor = "local")]
async fn the_rest_of_an_upload_that_was_refused_is_read_by_nobody() {
    let lab = Lab::default();
    let mut app = App::connect(&lab).await;
    let (answer, mut upload) = app.begin(post("/refused"), false).await;
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 413);
    assert_eq!(read(answer.into_body()).await.unwrap().0, "refused");

    settle().await;
    lab.pass(Duration::from_secs(1)).await;
    let reset = poll_fn(|cx| upload.poll_reset(cx)).await.unwrap();

    assert_eq!(reset, Reason::NO_ERROR);
    until(|| *lab.port.late.borrow() == "broke off: the rest of it is not wanted").await;
}

/// Each of these would be the end of the body to one that looks at the reason.
#[tokio::test(flavor = "local")]
async fn a_body_whose_stream_was_reset_is_not_whole_whatever_the_reason() {
    for reason in [Reason::NO_ERROR, Reason::CANCEL, Reason::INTERNAL_ERROR] {
        let lab = Lab::default();
        let mut app = App::connect(&lab).await;
        let (answer, mut upload) = app.begin(post("/early"), false).await;
        answer.await.unwrap();
        upload.send_data(Bytes::from_static(b"half "), false).unwrap();
        until(|| *lab.port.late.borrow() == "half ").await;

        upload.send_reset(reason);

        until(|| lab.port.late.borrow().starts_with("half broke off: ")).await;
    }
}

#[tokio::test(flavor = "local")]
async fn an_app_that_waits_is_told_to_go_on_once_its_body_is_asked_for() {
    let lab = Lab::default();
    let mut app = App::connect(&lab).await;
    let mut request = post("/held");
    request.headers_mut().insert("expect", "100-continue".parse().unwrap());
    let (mut answer, mut upload) = app.begin(request, false).await;
    lab.pass(Duration::from_secs(2)).await;
    let told = poll_fn(|cx| std::task::Poll::Ready(answer.poll_informational(cx).is_ready())).await;
    assert!(!told, "nobody has asked for the body");

    lab.port.gate.notify_one();

    let interim: Response<()> = poll_fn(|cx| answer.poll_informational(cx)).await.unwrap().unwrap();
    assert_eq!(interim.status(), 100);
    upload.send_data(Bytes::from_static(b"body"), true).unwrap();
    assert_eq!(read(answer.await.unwrap().into_body()).await.unwrap().0, "POST /held body");
}

#[tokio::test(flavor = "local")]
async fn an_app_that_gives_up_ends_its_exchange_and_no_other() {
    let lab = Lab::default();
    let mut app = App::connect(&lab).await;
    let (given_up, mut stream) = app.begin(get("/held"), true).await;
    lab.until_asked(1).await;

    stream.send_reset(Reason::CANCEL);
    drop(given_up);

    // Else the connection would have an exchange under way, and not be idle.
    lab.until_silent().await;
    assert_eq!(app.get("/next").await.unwrap(), "GET /next ");
}

#[tokio::test(flavor = "local")]
async fn a_panic_costs_its_stream_and_no_other() {
    let lab = Lab::default();
    let mut app = App::connect(&lab).await;

    let lost = app.get("/panic").await.unwrap_err();

    assert!(lost.reason().is_some(), "{lost}");
    assert_eq!(app.get("/next").await.unwrap(), "GET /next ");
}

#[tokio::test(flavor = "local")]
async fn a_head_that_is_no_request_is_answered_on_its_stream() {
    let lab = Lab::default();
    let mut app = App::connect(&lab).await;
    let mut other_host = get("/x");
    other_host.headers_mut().insert("host", "elsewhere".parse().unwrap());
    let mut large = get("/x");
    large.headers_mut().insert("x-large", "x".repeat(65 * 1024).parse().unwrap());

    for (request, status) in [(other_host, 400), (large, 431)] {
        let (answer, _) = app.begin(request, true).await;
        assert_eq!(answer.await.unwrap().status(), status);
    }

    assert_eq!(app.get("/next").await.unwrap(), "GET /next ");
    assert_eq!(lab.port.asked.borrow().len(), 1, "the port has seen none of them");
    assert_eq!(lab.port.refused.borrow().len(), 2);
}
