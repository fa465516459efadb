//! HTTP/1.1: the app's body on its way out, kept, held back, broken off.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use bytes::Bytes;
use http::{HeaderValue, Method};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::lab::{Service, app_body, outgoing, read_head, unanswered};
use crate::code::Code;
use crate::transport::{BodyError, BodyNeed, ContinueGate, HeldBodies, Outgoing, Passage, ReplayBuffer, RequestBody};

const CHUNKED: &str = "transfer-encoding: chunked";

#[tokio::test(flavor = "local")]
async fn a_body_of_unknown_length_goes_out_chunked_even_with_a_get() {
    let (incoming, _app) = app_body(CHUNKED, b"5\r\nhello\r\n0\r\n\r\n").await;
    let (body, _) = RequestBody::app(incoming, 64);
    let request = chunked(Method::GET, body);

    let seen = seen_by_service(request, b"0\r\n\r\n").await;

    assert!(seen.ends_with("transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{seen}");
}

#[tokio::test(flavor = "local")]
async fn a_body_of_known_length_says_it() {
    let (incoming, _app) = app_body("content-length: 5", b"hello").await;
    let (body, _) = RequestBody::app(incoming, 64);

    let seen = seen_by_service(outgoing(Method::POST, "/", body), b"hello").await;

    assert!(seen.ends_with("content-length: 5\r\n\r\nhello"), "{seen}");
}

#[tokio::test(flavor = "local")]
async fn trailers_go_out_if_they_are_announced_and_pass_the_screen() {
    let (incoming, _app) = app_body(CHUNKED, b"2\r\nhi\r\n0\r\nx-sum: 1\r\nx-key: 2\r\nx-un: 3\r\n\r\n").await;
    let (body, _) = RequestBody::app(incoming, 64);
    let body = body.screened(Rc::new(|trailers| drop(trailers.remove("x-key"))));
    let mut request = chunked(Method::POST, body);
    request.fields.insert("trailer", HeaderValue::from_static("x-sum, x-key"));

    let seen = seen_by_service(request, b"\r\n\r\n").await;

    assert!(seen.ends_with("2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n"), "{seen}");
}

#[tokio::test(flavor = "local")]
async fn an_observer_learns_who_is_waited_for_and_when_all_went_on() {
    let (incoming, _app) = app_body("content-length: 4", b"hi").await;
    let (body, _) = RequestBody::app(incoming, 64);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let told = Rc::clone(&seen);
    let mut body = body.observed(Rc::new(move |passage| told.borrow_mut().push(passage)));

    body.frame().await.unwrap().unwrap();
    assert!(Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(*seen.borrow(), [Passage::Moved, Passage::Waiting]);
}

#[tokio::test(flavor = "local")]
async fn an_observer_is_told_of_the_last_byte() {
    let (incoming, _app) = app_body("content-length: 2", b"hi").await;
    let (body, kept) = RequestBody::app(incoming, 64);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let told = Rc::clone(&seen);
    let mut body = body.observed(Rc::new(move |passage| told.borrow_mut().push(passage)));

    assert!(kept.is_whole());
    body.frame().await.unwrap().unwrap();

    assert_eq!(*seen.borrow(), [Passage::Ended]);
    assert!(kept.is_whole());
}

#[tokio::test(flavor = "local")]
async fn what_was_kept_is_the_whole_body_again() {
    for (head, begun) in
        [("content-length: 11", &b"hello world"[..]), (CHUNKED, b"6\r\nhello \r\n1\r\nw\r\n4\r\norld\r\n0\r\n\r\n")]
    {
        let (incoming, _app) = app_body(head, begun).await;
        let (body, kept) = RequestBody::app(incoming, 11);
        assert_eq!(read(body).await, "hello world");

        for _ in 0..2 {
            let again = kept.again().expect("all of it fitted");
            assert_eq!(hyper::body::Body::size_hint(&again).exact(), Some(11));
            assert_eq!(read(again).await, "hello world");
        }
    }
}

#[tokio::test(flavor = "local")]
async fn a_body_that_does_not_fit_is_not_sent_again() {
    for (head, begun) in
        [("content-length: 11", &b"hello world"[..]), (CHUNKED, b"6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n")]
    {
        let (incoming, _app) = app_body(head, begun).await;
        let (body, kept) = RequestBody::app(incoming, 10);
        assert_eq!(read(body).await, "hello world");

        assert!(kept.again().is_none(), "{head}");
    }
}

#[tokio::test(flavor = "local")]
async fn half_a_body_is_not_sent_again_but_an_untouched_one_is() {
    let (incoming, mut app) = app_body("content-length: 11", b"hello ").await;
    let (body, kept) = RequestBody::app(incoming, 64);
    drop(body);
    let mut again = kept.again().expect("nothing of it was taken");

    assert_eq!(again.frame().await.unwrap().unwrap().into_data().unwrap(), "hello ");
    drop(again);
    app.write_all(b"world").await.unwrap();

    assert!(kept.again().is_none());
}

#[tokio::test(flavor = "local")]
async fn an_untouched_body_goes_to_one_attempt_only() {
    let (incoming, _app) = app_body("content-length: 5", b"hello").await;
    let (mut before, kept) = RequestBody::app(incoming, 64);

    let again = kept.again().expect("nothing of it was taken");

    let error = before.frame().await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the app's body was taken back");
    assert_eq!(read(again).await, "hello");
}

#[tokio::test(flavor = "local")]
async fn trailers_are_kept_with_the_body() {
    let (incoming, _app) = app_body(CHUNKED, b"2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n").await;
    let (body, kept) = RequestBody::app(incoming, 64);
    body.collect().await.unwrap();

    let again = kept.again().expect("all of it fitted").collect().await.unwrap();

    assert_eq!(again.trailers().unwrap()["x-sum"], "1");
    assert_eq!(again.to_bytes(), "hi");
}

#[tokio::test(flavor = "local")]
async fn no_body_is_whole_from_the_start() {
    let (incoming, _app) = app_body("content-length: 0", b"").await;

    let (body, kept) = RequestBody::app(incoming, 64);

    assert!(matches!(body, RequestBody::Empty));
    assert!(matches!(kept.again(), Some(RequestBody::Empty)));
}

#[tokio::test(flavor = "local")]
async fn a_body_that_breaks_off_is_never_ended_as_if_whole() {
    for (head, begun) in [(CHUNKED, &b"5\r\nhello\r\n"[..]), ("content-length: 10", b"hello")] {
        let (incoming, app) = app_body(head, begun).await;
        let (body, kept) = RequestBody::app(incoming, 64);
        let request = if head == CHUNKED { chunked(Method::POST, body) } else { outgoing(Method::POST, "/", body) };
        let (service, end) = listening_service().await;
        let mut sender = service.connected().await;
        let sending = tokio::task::spawn_local(async move { unanswered(sender.ask(request).await) });
        while !end.borrow().seen.ends_with(b"hello") && !end.borrow().seen.ends_with(b"hello\r\n") {
            tokio::task::yield_now().await;
        }

        drop(app);

        let unsent = sending.await.unwrap();
        assert_eq!(unsent.error.code(), Code::BadRequest, "{}", unsent.error);
        assert_eq!(unsent.error.to_string(), "the app's body broke off");
        assert_eq!(ended(&end).await, "ConnectionReset", "{head}");
        assert!(!end.borrow().seen.ends_with(b"0\r\n\r\n"));
        assert!(kept.again().is_none());
    }
}

#[tokio::test(flavor = "local")]
async fn a_request_dropped_in_its_body_resets_the_connection() {
    let (incoming, _app) = app_body(CHUNKED, b"5\r\nhello\r\n").await;
    let (body, _) = RequestBody::app(incoming, 64);
    let (service, end) = listening_service().await;
    let mut sender = service.connected().await;
    let sending = tokio::task::spawn_local(async move { drop(sender.ask(chunked(Method::POST, body)).await) });
    while !end.borrow().seen.ends_with(b"hello\r\n") {
        tokio::task::yield_now().await;
    }

    sending.abort();

    assert_eq!(ended(&end).await, "ConnectionReset");
}

#[tokio::test(flavor = "local")]
async fn a_gated_body_waits_for_the_services_hundred() {
    let (incoming, _app) = app_body("content-length: 5", b"hello").await;
    let (body, _) = RequestBody::app(incoming, 64);
    let gate = ContinueGate::default();
    let seen_early = Rc::new(RefCell::new(None));
    let early = Rc::clone(&seen_early);
    let service = Service::raw(move |mut tcp, _| {
        let early = Rc::clone(&early);
        async move {
            read_head(&mut tcp).await;
            // Were the body on its way, it would be here with its head.
            *early.borrow_mut() = Some(tcp.try_read(&mut [0; 5]).is_ok());
            tcp.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
            tcp.read_exact(&mut [0; 5]).await.unwrap();
            tcp.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let request = outgoing(Method::PUT, "/", body.held(gate.clone()));

    let response = service.connected().await.ask(request).await;

    assert_eq!(response.unwrap_or_else(|unsent| panic!("{}", unsent.error)).status(), 204);
    assert_eq!(*seen_early.borrow(), Some(false));
    assert!(gate.is_open());
}

#[tokio::test(flavor = "local")]
async fn a_final_answer_opens_the_gate_and_leaves_an_untouched_body() {
    let (incoming, _app) = app_body("content-length: 5", b"hello").await;
    let (body, kept) = RequestBody::app(incoming, 64);
    let gate = ContinueGate::default();
    let service = Service::answering("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n").await;
    let request = outgoing(Method::PUT, "/", body.held(gate.clone()));
    let mut sender = service.connected().await;

    let response = sender.ask(request).await.unwrap_or_else(|unsent| panic!("{}", unsent.error));

    assert_eq!(response.status(), 401);
    assert!(gate.is_open());
    assert!(kept.again().is_some());
}

#[test]
fn what_is_printed_of_a_request_holds_no_secret() {
    let mut request = outgoing(Method::POST, "/p?key=s3cret", RequestBody::Whole(Some(Bytes::from_static(b"s3cret"))));
    request.fields.insert("authorization", HeaderValue::from_static("Bearer s3cret"));

    let printed = format!("{request:?}");

    assert!(printed.contains("\"/p\"") && printed.contains("authorization"), "{printed}");
    assert!(!printed.contains("s3cret"), "{printed}");
}

fn chunked(method: Method, body: RequestBody) -> Outgoing {
    let mut request = outgoing(method, "/", body);
    request.fields.insert("transfer-encoding", HeaderValue::from_static("chunked"));
    request
}

async fn read(body: RequestBody) -> String {
    String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// All that a service got, up to `end`.
async fn seen_by_service(request: Outgoing, end: &'static [u8]) -> String {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let record = Rc::clone(&seen);
    let service = Service::raw(move |mut tcp, _| {
        let record = Rc::clone(&record);
        async move {
            let head = read_head(&mut tcp).await;
            let mut body = Vec::new();
            while !body.ends_with(end) {
                body.push(tcp.read_u8().await.unwrap());
            }
            record.borrow_mut().extend([head.as_bytes(), &body].concat());
            tcp.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let response = service.connected().await.ask(request).await;
    assert_eq!(response.unwrap_or_else(|unsent| panic!("{}", unsent.error)).status(), 204);
    String::from_utf8(seen.take()).unwrap()
}

#[derive(Default)]
struct End {
    seen: Vec<u8>,
    how: Option<String>,
}

/// Reads and never answers; says how the connection ended.
async fn listening_service() -> (Service, Rc<RefCell<End>>) {
    let end = Rc::new(RefCell::new(End::default()));
    let record = Rc::clone(&end);
    let service = Service::raw(move |mut tcp, _| {
        let record = Rc::clone(&record);
        async move {
            let how = loop {
                match tcp.read_u8().await {
                    Ok(byte) => record.borrow_mut().seen.push(byte),
                    Err(error) => break format!("{:?}", error.kind()),
                }
            };
            record.borrow_mut().how = Some(how);
        }
    })
    .await;
    (service, end)
}

async fn ended(end: &RefCell<End>) -> String {
    loop {
        if let Some(how) = end.borrow_mut().how.take() {
            return how;
        }
        tokio::task::yield_now().await;
    }
}

/// The body of an app that has sent this, gathered.
async fn gathered(head: &str, begun: &'static [u8], need: BodyNeed) -> Result<(RequestBody, ReplayBuffer), BodyError> {
    let (incoming, _app) = app_body(head, begun).await;
    let (body, kept) = RequestBody::app(incoming, 2);
    Ok((body.gather(need, &HeldBodies::new(usize::MAX)).await?, kept))
}

#[tokio::test(flavor = "local")]
async fn a_gathered_body_has_a_length_a_digest_and_can_be_sent_as_often_as_it_takes() {
    let pieces = &b"6\r\nhello \r\n1\r\nw\r\n4\r\norld\r\n0\r\n\r\n"[..];
    for (head, begun) in [("content-length: 11", &b"hello world"[..]), (CHUNKED, pieces)] {
        for need in [BodyNeed::Whole { most: 11 }, BodyNeed::IfShort { most: 11 }] {
            let (body, kept) = gathered(head, begun, need).await.unwrap();

            let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
            assert!(body.is_in_memory() && body.digest(&mut digest));
            assert_eq!(
                digest.finish().as_ref(),
                aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"hello world").as_ref()
            );
            assert_eq!(body.size_hint().exact(), Some(11));
            assert_eq!(read(body).await, "hello world");
            for _ in 0..2 {
                assert_eq!(read(kept.again().unwrap()).await, "hello world");
            }
        }
    }
}

#[tokio::test(flavor = "local")]
async fn what_is_too_long_to_be_gathered_is_refused_or_goes_on_as_it_comes() {
    let pieces = &b"6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n"[..];
    for (head, begun) in [("content-length: 11", &b"hello world"[..]), (CHUNKED, pieces)] {
        let refused = gathered(head, begun, BodyNeed::Whole { most: 10 }).await.err().unwrap();
        assert!(matches!(refused, BodyError::TooLong { most: 10 }), "{refused}");

        let (body, kept) = gathered(head, begun, BodyNeed::IfShort { most: 10 }).await.unwrap();
        assert!(!body.is_in_memory() && kept.again().is_none());
        assert_eq!(read(body).await, "hello world");
    }
}

#[tokio::test(flavor = "local")]
async fn a_body_that_is_none_is_not_gathered_and_told_by_its_fault() {
    for (begun, fault) in [
        (&b"2\r\nhi\r\nno chunk\r\n"[..], "a chunk does not begin with its size in hexadecimal digits"),
        (b"2\r\nhi!\r\n", "a chunk goes on behind the end that its size gives it"),
        (b"0\r\nno trailer\r\n\r\n", "a trailer is no `name: value`"),
    ] {
        let broken = gathered(CHUNKED, begun, BodyNeed::Whole { most: 10 }).await.err().unwrap();

        assert_eq!(broken.to_string(), format!("the app's body is malformed: {fault}"));
    }
}
