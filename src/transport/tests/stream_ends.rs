//! HTTP/2: what ends a stream, what ends its connection, and what is whole.

use std::cell::Cell;
use std::rc::Rc;

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::yield_now;

use super::lab::{Service, app_body, get, outgoing, unanswered};
use crate::code::Code;
use crate::transport::{Error, Outgoing, RequestBody, Sender};

#[tokio::test(flavor = "local")]
async fn a_body_is_whole_only_if_its_stream_was_ended() {
    for (name, ending) in [
        ("RST_STREAM(NO_ERROR)", rst(1, NO_ERROR)),
        ("RST_STREAM(CANCEL)", rst(1, CANCEL)),
        ("GOAWAY(NO_ERROR)", goaway(0, NO_ERROR, b"")),
    ] {
        let frames = [head(1, 0, &[STATUS_200]), data(1, 0, b"half"), ending].concat();
        let error = broken(&mut answering(frames).await.connected_by_http2().await, get("/")).await;

        assert_eq!(error.code(), Code::HttpResponseIncomplete, "{name}: {error}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_body_is_not_whole_if_the_connection_ends() {
    let service = Service::raw(|mut tcp, _| async move {
        let number = next_request(&mut tcp, &mut true).await.unwrap();
        tcp.write_all(&[head(number, 0, &[STATUS_200]), data(number, 0, b"half")].concat()).await.unwrap();
    })
    .await;

    let error = broken(&mut service.connected_by_http2().await, get("/")).await;

    assert_eq!(error.code(), Code::HttpResponseIncomplete, "{error}");
}

#[tokio::test(flavor = "local")]
async fn a_whole_answer_stays_whole_when_the_service_wants_no_more_of_the_upload() {
    // RFC 9113 §8.1.
    let frames = [head(1, 0, &[STATUS_200]), data(1, END_STREAM, b"enough"), rst(1, NO_ERROR)].concat();
    let service = answering(frames).await;
    let (incoming, _app) = app_body("content-length: 10", b"half ").await;
    let (body, _) = RequestBody::app(incoming, 64);

    let (status, text) = service.connected_by_http2().await.fetch(outgoing(Method::POST, "/", body)).await;

    assert_eq!((status, text.as_str()), (StatusCode::OK, "enough"));
}

#[tokio::test(flavor = "local")]
async fn a_length_that_is_not_kept_is_an_error() {
    for (length, frames) in [
        ("5", data(1, END_STREAM, b"more than that")),
        ("5", data(1, END_STREAM, b"less")),
        ("5", head(1, END_STREAM, &[])),
    ] {
        let frames = [head(1, 0, &with_length(length)), frames].concat();
        let error = broken(&mut answering(frames).await.connected_by_http2().await, get("/")).await;

        assert_eq!(error.code(), Code::HttpResponseIncomplete, "{length}: {error}");
    }
}

#[tokio::test(flavor = "local")]
async fn content_where_the_length_is_zero_is_an_error_before_anything_is_told() {
    let frames = [head(1, 0, &with_length("0")), data(1, END_STREAM, b"hello")].concat();
    let unsent = unanswered(answering(frames).await.connected_by_http2().await.ask(get("/")).await);
    assert_eq!(unsent.error.code(), Code::HttpProtocolError, "{}", unsent.error);

    let cut = [head(1, 0, &with_length("0")), rst(1, NO_ERROR)].concat();
    let unsent = unanswered(answering(cut).await.connected_by_http2().await.ask(get("/")).await);
    assert_eq!(unsent.error.code(), Code::HttpResponseIncomplete, "{}", unsent.error);

    let empty = [head(1, 0, &with_length("0")), data(1, END_STREAM, b"")].concat();
    assert_eq!(answering(empty).await.connected_by_http2().await.fetch(get("/")).await.1, "");
}

#[tokio::test(flavor = "local")]
async fn heads_of_answers_that_have_no_body_may_say_its_length() {
    for (method, status) in [(Method::HEAD, STATUS_200), (Method::GET, STATUS_304)] {
        let mut block = with_length("5");
        block[0] = status;
        let service = answering(head(1, END_STREAM, &block)).await;

        let (_, text) = service.connected_by_http2().await.fetch(outgoing(method, "/", RequestBody::Empty)).await;

        assert_eq!(text, "");
    }
}

#[tokio::test(flavor = "local")]
async fn interim_answers_without_end_are_cut_off() {
    for (count, outcome) in [(32, Ok(StatusCode::OK)), (33, Err(Code::HttpProtocolError))] {
        let frames = [head(1, 0, &STATUS_103).repeat(count), head(1, END_STREAM, &[STATUS_200])].concat();
        let service = answering(frames).await;

        let answer = service.connected_by_http2().await.ask(get("/")).await;

        assert_eq!(answer.map(|answer| answer.status()).map_err(|unsent| unsent.error.code()), outcome, "{count}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_head_that_is_too_big_ends_its_stream_and_not_the_connection() {
    let long = |bytes: usize| {
        let mut block = vec![STATUS_200, 0x00, 1, b'x'];
        // A value's length in HPACK: seven bits, then groups of seven (RFC 7541 §5.1).
        let rest = bytes - 127;
        block.extend_from_slice(&[
            0x7f,
            (rest & 0x7f | 0x80) as u8,
            ((rest >> 7) & 0x7f | 0x80) as u8,
            (rest >> 14) as u8,
        ]);
        block.extend(std::iter::repeat_n(b'y', bytes));
        block
    };
    let service = Service::raw(move |mut tcp, _| async move {
        let mut fresh = true;
        for block in [long(66 * 1024), long(200 * 1024), vec![STATUS_200]] {
            let Some(number) = next_request(&mut tcp, &mut fresh).await else { return };
            for frame in in_frames(number, &block) {
                tcp.write_all(&frame).await.unwrap();
            }
        }
        next_request(&mut tcp, &mut fresh).await;
    })
    .await;
    let mut sender = service.connected_by_http2().await;

    for _ in 0..2 {
        let unsent = unanswered(sender.ask(get("/")).await);
        assert_eq!(unsent.error.code(), Code::HttpProtocolError, "{}", unsent.error);
    }

    assert_eq!(sender.fetch(get("/")).await.0, 200);
    assert_eq!(service.accepted.get(), 1);
}

#[tokio::test(flavor = "local")]
async fn nothing_that_a_goaway_says_beside_its_reason_is_told() {
    const SECRET: &[u8] = b"Bearer s3cr3t";
    let service = answering(goaway(0, 2, SECRET)).await;
    let unsent = unanswered(service.connected_by_http2().await.ask(get("/")).await);
    assert!(unsent.not_processed);
    assert_eq!(
        unsent.error.to_string(),
        "the service closed the connection before it answered: it ended the connection: unexpected internal error encountered"
    );

    let frames = [head(1, 0, &[STATUS_200]), data(1, 0, b"half"), goaway(0, 2, SECRET)].concat();
    let error = broken(&mut answering(frames).await.connected_by_http2().await, get("/")).await;
    assert_eq!(
        error.to_string(),
        "the service's answer broke off: it ended the connection: unexpected internal error encountered"
    );
}

#[tokio::test(flavor = "local")]
async fn a_request_on_a_connection_that_was_dead_before_it_came_had_not_left() {
    let gone = Rc::new(Cell::new(false));
    let left = Rc::clone(&gone);
    let service = Service::raw(move |mut tcp, _| {
        let left = Rc::clone(&left);
        async move {
            let number = next_request(&mut tcp, &mut true).await.unwrap();
            tcp.write_all(&head(number, END_STREAM, &[STATUS_200])).await.unwrap();
            drop(tcp);
            left.set(true);
        }
    })
    .await;
    let mut sender = service.connected_by_http2().await;
    assert_eq!(sender.fetch(get("/")).await.0, 200);
    while !gone.get() {
        yield_now().await;
    }

    let mut again = outgoing(Method::POST, "/", RequestBody::Whole(Some("form".into())));
    let unsent = unanswered(sender.send(&mut again).await);

    assert!(unsent.not_processed, "{}", unsent.error);
}

#[tokio::test(flavor = "local")]
async fn apps_that_leave_in_mid_answer_do_not_end_the_connection_for_others() {
    const APPS: usize = 100;
    let service = Service::raw(|mut tcp, _| async move {
        let mut fresh = true;
        let mut left = Vec::new();
        while let Some(frame) = next_frame(&mut tcp, &mut fresh).await {
            match frame {
                (HEADERS, number) if left.len() < APPS => {
                    tcp.write_all(&[head(number, 0, &[STATUS_200]), data(number, 0, b"half")].concat()).await.unwrap();
                }
                (HEADERS, number) => tcp.write_all(&head(number, END_STREAM, &[STATUS_200])).await.unwrap(),
                (RST_STREAM, number) => left.push(number),
                _ => {}
            }
            if left.len() == APPS {
                // What was under way when they left.
                for _ in 0..40 {
                    let round: Vec<_> = left.iter().map(|number| data(*number, 0, b"more")).collect();
                    tcp.write_all(&round.concat()).await.unwrap();
                    // Each is looked at by itself.
                    yield_now().await;
                    yield_now().await;
                }
                left.push(0);
            }
        }
    })
    .await;
    let mut sender = service.connected_by_http2().await;
    let mut answers = Vec::new();
    for _ in 0..APPS {
        answers.push(sender.ask(get("/")).await.unwrap_or_else(|unsent| panic!("{}", unsent.error)));
    }

    drop(answers);
    // It comes after what they left behind.
    let mut last = sender.ask(get("/")).await;
    while last.as_ref().is_ok_and(|answer| !answer.body().is_over(None)) {
        last = sender.ask(get("/")).await;
    }

    assert!(last.is_ok_and(|answer| answer.status() == 200));
    assert_eq!(service.accepted.get(), 1);
}

#[tokio::test(flavor = "local")]
async fn apps_that_read_nothing_hold_nobody_else_up() {
    let service = Service::raw(|tcp, _| async move {
        let mut connection = h2::server::handshake(tcp).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let is_slow = request.uri().path() == "/slow";
            let mut body = respond.send_response(http::Response::new(()), false).unwrap();
            let content = if is_slow { vec![b'x'; 2 * 1024 * 1024] } else { b"fast".to_vec() };
            // As far as the windows allow; the rest waits.
            body.send_data(content.into(), true).unwrap();
        }
    })
    .await;
    let mut sender = service.connected_by_http2().await;
    let mut unread = Vec::new();
    for _ in 0..16 {
        unread.push(sender.ask(get("/slow")).await.unwrap_or_else(|unsent| panic!("{}", unsent.error)));
    }

    assert_eq!(sender.fetch(get("/fast")).await.1, "fast");

    assert!(unread.iter().all(|answer| !answer.body().is_over(None)));
    assert_eq!(sender.text(unread.pop().unwrap()).await.len(), 2 * 1024 * 1024);
}

#[tokio::test(flavor = "local")]
async fn the_rest_of_an_upload_goes_on_while_its_answer_is_read() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let service = Service::raw(move |tcp, _| {
        let tell = tell.clone();
        async move {
            let mut connection = h2::server::handshake(tcp).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let mut answer = respond.send_response(http::Response::new(()), false).unwrap();
                let tell = tell.clone();
                tokio::task::spawn_local(async move {
                    let body = request.into_body().collect_text().await;
                    answer.send_data("thanks".into(), true).unwrap();
                    tell.send(body).unwrap();
                });
            }
        }
    })
    .await;
    let (incoming, mut app) = app_body("content-length: 10", b"half ").await;
    let (body, _) = RequestBody::app(incoming, 64);
    let mut sender = service.connected_by_http2().await;
    let early = sender.ask(outgoing(Method::POST, "/", body)).await.unwrap_or_else(|unsent| panic!("{}", unsent.error));

    app.write_all(b"whole").await.unwrap();

    assert_eq!(sender.text(early).await, "thanks");
    assert_eq!(told.recv().await.unwrap(), "half whole");
}

trait CollectText {
    /// All of the body.
    async fn collect_text(self) -> String;
}

impl CollectText for h2::RecvStream {
    async fn collect_text(mut self) -> String {
        let mut text = Vec::new();
        while let Some(data) = self.data().await {
            let data = data.unwrap();
            self.flow_control().release_capacity(data.len()).unwrap();
            text.extend_from_slice(&data);
        }
        String::from_utf8(text).unwrap()
    }
}

/// Answers the first request with these frames, and reads on.
async fn answering(frames: Vec<u8>) -> Service {
    Service::raw(move |mut tcp, _| {
        let frames = frames.clone();
        async move {
            let mut fresh = true;
            next_request(&mut tcp, &mut fresh).await;
            tcp.write_all(&frames).await.unwrap();
            while next_request(&mut tcp, &mut fresh).await.is_some() {}
        }
    })
    .await
}

/// How an answer's body breaks off.
async fn broken(sender: &mut Sender, request: Outgoing) -> Error {
    let response = sender.ask(request).await.unwrap_or_else(|unsent| panic!("{}", unsent.error));
    sender.read(response.into_body()).collect().await.expect_err("half a body")
}

/// The stream of the next request. `None`: the connection ended.
pub(super) async fn next_request(tcp: &mut TcpStream, fresh: &mut bool) -> Option<u32> {
    loop {
        let (kind, number) = next_frame(tcp, fresh).await?;
        if kind == HEADERS {
            return Some(number);
        }
    }
}

/// Kind and stream of the next frame but for settings, which are exchanged on the way. `None`: the connection ended.
pub(super) async fn next_frame(tcp: &mut TcpStream, fresh: &mut bool) -> Option<(u8, u32)> {
    next_sized_frame(tcp, fresh).await.map(|(kind, number, _)| (kind, number))
}

/// As [`next_frame`], and how many bytes it carries.
pub(super) async fn next_sized_frame(tcp: &mut TcpStream, fresh: &mut bool) -> Option<(u8, u32, usize)> {
    if std::mem::take(fresh) {
        tcp.read_exact(&mut [0; 24]).await.ok()?;
        tcp.write_all(&frame(4, 0, 0, b"")).await.ok()?;
    }
    loop {
        let mut head = [0; 9];
        tcp.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        tcp.read_exact(&mut vec![0; length as usize]).await.ok()?;
        match head[3] {
            4 if head[4] & 1 == 0 => tcp.write_all(&frame(4, 1, 0, b"")).await.ok()?,
            4 => {}
            kind => {
                let number = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                return Some((kind, number, length as usize));
            }
        }
    }
}

fn with_length(length: &str) -> Vec<u8> {
    // `content-length` is number 28 of HPACK's static table.
    [&[STATUS_200, 0x0f, 0x0d, length.len() as u8], length.as_bytes()].concat()
}

/// A head in as many frames as it takes.
fn in_frames(number: u32, block: &[u8]) -> Vec<Vec<u8>> {
    let last = block.chunks(FRAME_BYTES).count() - 1;
    let frames = block.chunks(FRAME_BYTES).enumerate().map(|(at, piece)| {
        let ends = if at == last { END_HEADERS } else { 0 };
        if at == 0 { frame(1, ends | END_STREAM, number, piece) } else { frame(9, ends, number, piece) }
    });
    frames.collect()
}

pub(super) fn head(number: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(1, flags | END_HEADERS, number, block)
}

pub(super) fn data(number: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
    frame(0, flags, number, bytes)
}

fn rst(number: u32, reason: u32) -> Vec<u8> {
    frame(3, 0, number, &reason.to_be_bytes())
}

fn goaway(last: u32, reason: u32, debug: &[u8]) -> Vec<u8> {
    frame(7, 0, 0, &[&last.to_be_bytes(), &reason.to_be_bytes(), debug].concat())
}

pub(super) fn frame(kind: u8, flags: u8, number: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[..], &[kind, flags], &number.to_be_bytes(), payload].concat()
}

const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const NO_ERROR: u32 = 0;
const CANCEL: u32 = 8;
const FRAME_BYTES: usize = 16 * 1024;

/// Of HPACK's static table (RFC 7541, appendix A).
pub(super) const STATUS_200: u8 = 0x88;
const STATUS_304: u8 = 0x8b;
/// `:status: 103`, written out.
pub(super) const STATUS_103: [u8; 5] = [0x08, 3, b'1', b'0', b'3'];
