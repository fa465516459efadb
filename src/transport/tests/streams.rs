//! HTTP/2, frame by frame.

use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use http::{HeaderValue, Method, Request, Response};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::lab::{Service, app_body, get, outgoing, unanswered};
use super::stream_ends::{END_STREAM, RST_STREAM, STATUS_200, data, head, next_frame, next_request};
use crate::code::Code;
use crate::transport::{ContinueGate, Error, Outgoing, RequestBody, Sender, Unsent};

#[tokio::test(flavor = "local")]
async fn a_request_names_its_authority_and_carries_nothing_of_http_1() {
    let mut request = get("/a%2Fb?q");
    for (name, value) in
        [("host", "localhost"), ("expect", "100-continue"), ("transfer-encoding", "chunked"), ("te", "trailers")]
    {
        request.fields.insert(name, HeaderValue::from_static(value));
    }
    let (tell, mut told) = mpsc::unbounded_channel();
    let service = h2_service(move |request, mut respond| {
        tell.send(request.map(drop)).unwrap();
        respond.send_response(Response::new(()), true).unwrap();
    })
    .await;

    let response = service.connected_by_http2().await.ask(request).await;

    assert_eq!(response.unwrap_or_else(|unsent| panic!("{}", unsent.error)).status(), 200);
    let seen = told.recv().await.unwrap();
    assert_eq!(seen.uri(), "http://service.example:8443/a%2Fb?q");
    let fields: Vec<_> = seen.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(fields, [("te", &b"trailers"[..])]);
}

#[tokio::test(flavor = "local")]
async fn a_refused_stream_was_not_processed() {
    let unsent = failure_of(|_, mut respond| respond.send_reset(Reason::REFUSED_STREAM)).await;

    assert_eq!(unsent.error.code(), Code::ConnectionTerminated, "{}", unsent.error);
    assert!(unsent.not_processed);
}

#[tokio::test(flavor = "local")]
async fn a_stream_reset_for_another_reason_may_have_been_processed() {
    let unsent = failure_of(|_, mut respond| respond.send_reset(Reason::INTERNAL_ERROR)).await;

    assert_eq!(unsent.error.code(), Code::ConnectionTerminated, "{}", unsent.error);
    assert!(!unsent.not_processed);
}

#[tokio::test(flavor = "local")]
async fn a_goaway_that_does_not_cover_the_stream_says_that_it_was_not_processed() {
    let service = Service::raw(|mut tcp, _| async move {
        tcp.write_all(&[SETTINGS, GOAWAY_BEFORE_ANY].concat()).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;

    let unsent = unanswered(service.connected_by_http2().await.ask(get("/")).await);

    assert_eq!(unsent.error.code(), Code::ConnectionTerminated, "{}", unsent.error);
    assert!(unsent.not_processed);
}

#[tokio::test(flavor = "local")]
async fn a_request_that_is_wanted_over_http_1_was_not_processed() {
    let unsent = failure_of(|_, mut respond| respond.send_reset(Reason::HTTP_1_1_REQUIRED)).await;
    assert!(matches!(unsent.error, Error::Http1Required), "{}", unsent.error);
    assert!(unsent.not_processed && unsent.whole);

    let service = Service::raw(|mut tcp, _| async move {
        let goaway = [&GOAWAY_BEFORE_ANY[..13], &13_u32.to_be_bytes()].concat();
        tcp.write_all(&[SETTINGS, &goaway].concat()).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let unsent = unanswered(service.connected_by_http2().await.ask(get("/")).await);
    assert!(matches!(unsent.error, Error::Http1Required), "{}", unsent.error);
    assert!(unsent.not_processed && unsent.whole);
}

#[tokio::test(flavor = "local")]
async fn a_connection_that_ends_leaves_open_what_became_of_the_request() {
    let service = Service::raw(|mut tcp, _| async move {
        tcp.write_all(SETTINGS).await.unwrap();
        read_until_headers(&mut tcp).await;
    })
    .await;

    let unsent = unanswered(service.connected_by_http2().await.ask(get("/")).await);

    assert_eq!(unsent.error.code(), Code::ConnectionTerminated, "{}", unsent.error);
    assert!(!unsent.not_processed);
}

#[tokio::test(flavor = "local")]
async fn a_service_that_speaks_http_1_does_not_speak_http_2() {
    let service = Service::raw(|mut tcp, _| async move {
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;

    let unsent = unanswered(service.connected_by_http2().await.ask(get("/")).await);

    assert_eq!(unsent.error.code(), Code::HttpProtocolError, "{}", unsent.error);
}

#[tokio::test(flavor = "local")]
async fn a_head_with_too_many_fields_is_a_protocol_error() {
    let unsent = failure_of(|_, mut respond| {
        let mut response = Response::new(());
        for n in 0..101 {
            response.headers_mut().append("x", HeaderValue::from(n));
        }
        respond.send_response(response, true).unwrap();
    })
    .await;

    assert_eq!(unsent.error.code(), Code::HttpProtocolError, "{}", unsent.error);
}

#[tokio::test(flavor = "local")]
async fn a_head_that_is_too_big_is_a_protocol_error() {
    let unsent = failure_of(|_, mut respond| {
        let mut response = Response::new(());
        response.headers_mut().insert("x", HeaderValue::from_str(&"x".repeat(65 * 1024)).unwrap());
        respond.send_response(response, true).unwrap();
    })
    .await;

    assert_eq!(unsent.error.code(), Code::HttpProtocolError, "{}", unsent.error);
}

#[tokio::test(flavor = "local")]
async fn a_body_that_breaks_off_resets_the_stream() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let service = h2_service(move |request, respond| {
        let tell = tell.clone();
        tokio::task::spawn_local(async move {
            let mut body = request.into_body();
            while let Some(Ok(data)) = body.data().await {
                drop(body.flow_control().release_capacity(data.len()));
                tell.send(Ok(data)).unwrap();
            }
            tell.send(Err(body.is_end_stream())).unwrap();
            drop(respond);
        });
    })
    .await;
    let (incoming, app) = app_body("transfer-encoding: chunked", b"5\r\nhello\r\n").await;
    let (body, _) = RequestBody::app(incoming, 64);
    let mut sender = service.connected_by_http2().await;
    let sending = tokio::task::spawn_local(async move { unanswered(sender.ask(post(body)).await) });
    assert_eq!(told.recv().await.unwrap().unwrap(), "hello");

    drop(app);

    let unsent = sending.await.unwrap();
    assert_eq!(unsent.error.to_string(), "the app's body broke off");
    let ended_as_if_whole = told.recv().await.unwrap().unwrap_err();
    assert!(!ended_as_if_whole);
}

#[tokio::test(flavor = "local")]
async fn an_upload_that_is_given_up_after_its_answer_is_reset_though_nothing_follows_it() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let service = Service::raw(move |mut tcp, _| {
        let tell = tell.clone();
        async move {
            let mut fresh = true;
            next_request(&mut tcp, &mut fresh).await;
            let answer = [head(1, 0, &[STATUS_200]), data(1, END_STREAM, b"enough")].concat();
            tcp.write_all(&answer).await.unwrap();
            while let Some(seen) = next_frame(&mut tcp, &mut fresh).await {
                tell.send(seen).unwrap();
            }
        }
    })
    .await;
    let (incoming, _app) = app_body("content-length: 10", b"").await;
    let (body, _) = RequestBody::app(incoming, 64);
    let mut sender = service.connected_by_http2().await;
    let mut answer = sender.ask(post(body)).await.unwrap_or_else(|unsent| panic!("{}", unsent.error));
    let rest = answer.body_mut().take_outflow();
    assert_eq!(sender.text(answer).await, "enough");

    drop(rest);

    assert_eq!(told.recv().await, Some((RST_STREAM, 1)));
}

#[tokio::test(flavor = "local")]
async fn an_upload_into_a_connection_that_is_reset_ends() {
    let service = Service::raw(|mut tcp, _| async move {
        tcp.write_all(SETTINGS).await.unwrap();
        // Opens both windows wide (RFC 9113 §6.9), so that writing does not wait for them.
        for stream in [0, 1] {
            tcp.write_all(&[0, 0, 4, 8, 0, 0, 0, 0, stream, 0x7f, 0, 0, 0]).await.unwrap();
        }
        read_until_headers(&mut tcp).await;
        tcp.set_zero_linger().unwrap();
    })
    .await;
    let huge = RequestBody::Whole(Some(vec![b'x'; 64 * 1024 * 1024].into()));

    let unsent = unanswered(service.connected_by_http2().await.ask(post(huge)).await);

    assert_eq!(unsent.error.code(), Code::ConnectionTerminated, "{}", unsent.error);
}

#[tokio::test(flavor = "local")]
async fn a_gate_is_no_hindrance() {
    let service = h2_service(|request, mut respond| {
        tokio::task::spawn_local(async move {
            let mut body = request.into_body();
            let mut answer = respond.send_response(Response::new(()), false).unwrap();
            let data = body.data().await.unwrap().unwrap();
            answer.send_data(data, true).unwrap();
        });
    })
    .await;
    let (incoming, _app) = app_body("content-length: 5", b"hello").await;
    let (body, _) = RequestBody::app(incoming, 64);

    let (_, echo) = service.connected_by_http2().await.fetch(post(body.held(ContinueGate::default()))).await;

    assert_eq!(echo, "hello");
}

#[tokio::test(flavor = "local")]
async fn the_end_of_an_upload_needs_no_room_in_the_services_windows() {
    for (name, end) in [("an end", "\r\n0\r\n\r\n"), ("trailers", "\r\n0\r\nx: y\r\n\r\n")] {
        let service = reading_to_the_end().await;
        let first_window = ["ffff\r\n".as_bytes(), &[b'x'; 65_535], end.as_bytes()].concat();
        let (incoming, _app) = app_body("transfer-encoding: chunked\r\ntrailer: x", &first_window).await;
        let (body, _) = RequestBody::app(incoming, 64);
        let mut sender = service.connected_by_http2().await;

        let answer = timeout(SOON, sender.fetch(post(body))).await;

        assert_eq!(answer.expect("an answer").1, "65535", "{name}");
    }
}

#[tokio::test(flavor = "local")]
async fn an_upload_of_nothing_ends_though_another_has_used_the_connections_window_up() {
    let service = reading_to_the_end().await;
    let Sender::Http2(handle) = service.connected_by_http2().await else { panic!("it speaks HTTP/2") };
    let more = ["ffff\r\n".as_bytes(), &[b'x'; 65_535]].concat();
    let (incoming, _app) = app_body("transfer-encoding: chunked", &more).await;
    let (body, _) = RequestBody::app(incoming, 64);
    let mut first = Sender::Http2(handle.clone());
    let first = tokio::task::spawn_local(async move { first.fetch(post(body)).await.1 });
    while handle.sent() < 65_535 {
        yield_now().await;
    }

    let (incoming, _app) = app_body("transfer-encoding: chunked", b"0\r\n\r\n").await;
    let (body, _) = RequestBody::app(incoming, 64);
    let answer = timeout(SOON, Sender::Http2(handle).fetch(post(body))).await;

    assert_eq!(answer.expect("an answer").1, "0");
    first.abort();
}

/// Opens its windows for nobody, and answers with how many bytes came once the request is whole.
async fn reading_to_the_end() -> Service {
    h2_service(|request, mut respond| {
        tokio::task::spawn_local(async move {
            let (mut body, mut bytes) = (request.into_body(), 0);
            while let Some(Ok(data)) = body.data().await {
                bytes += data.len();
            }
            drop(body.trailers().await);
            let mut answer = respond.send_response(Response::new(()), false).unwrap();
            answer.send_data(bytes.to_string().into(), true).unwrap();
        });
    })
    .await
}

/// Only what hangs takes as long.
const SOON: Duration = Duration::from_secs(20);

type Stream = Request<h2::RecvStream>;

fn post(body: RequestBody) -> Outgoing {
    outgoing(Method::POST, "/", body)
}

async fn failure_of(serve: impl Fn(Stream, SendResponse<Bytes>) + Clone + 'static) -> Unsent {
    let service = h2_service(serve).await;
    unanswered(service.connected_by_http2().await.ask(get("/")).await)
}

async fn h2_service(serve: impl Fn(Stream, SendResponse<Bytes>) + Clone + 'static) -> Service {
    Service::raw(move |tcp, _| {
        let serve = serve.clone();
        async move {
            let mut connection = h2::server::handshake(tcp).await.unwrap();
            while let Some(Ok((request, respond))) = connection.accept().await {
                serve(request, respond);
            }
        }
    })
    .await
}

/// Reads frames up to the first HEADERS (RFC 9113 §4.1).
async fn read_until_headers(tcp: &mut tokio::net::TcpStream) {
    use tokio::io::AsyncReadExt;
    let mut preface = [0; 24];
    tcp.read_exact(&mut preface).await.unwrap();
    loop {
        let mut head = [0; 9];
        tcp.read_exact(&mut head).await.unwrap();
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        tcp.read_exact(&mut vec![0; length]).await.unwrap();
        if head[3] == 1 {
            return;
        }
    }
}

const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// Last stream 0, NO_ERROR.
const GOAWAY_BEFORE_ANY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
