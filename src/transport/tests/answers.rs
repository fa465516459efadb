//! HTTP/1.1: how a request is written, and what may come back.

use http::{HeaderValue, Method};
use http_body_util::BodyExt;
use hyper::ext::ReasonPhrase;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::lab::{
    AsksForCertificate, Authorities, Service, answer_path, driven, get, outgoing, over_tls, read_head, unanswered,
};
use crate::code::Code;
use crate::config::HttpVersion;
use crate::transport::{Connector, Outgoing, RequestBody, Spelling};

#[tokio::test(flavor = "local")]
async fn a_request_is_written_in_origin_form_with_host_first() {
    let mut request = get("/a%2Fb;x?q=1&q=%20");
    request.fields.insert("x-first", HeaderValue::from_static("1"));

    let written = written(request, Spelling::LowerCase).await;

    assert_eq!(written, "GET /a%2Fb;x?q=1&q=%20 HTTP/1.1\r\nhost: service.example:8443\r\nx-first: 1\r\n\r\n");
}

#[tokio::test(flavor = "local")]
async fn host_takes_the_place_that_the_fields_keep_for_it() {
    let mut request = get("*");
    request.method = Method::OPTIONS;
    request.fields.insert("x-before", HeaderValue::from_static("1"));
    request.fields.insert("host", HeaderValue::from_static("localhost"));
    request.fields.insert("x-after", HeaderValue::from_static("2"));

    let written = written(request, Spelling::TitleCase).await;

    let expected = "OPTIONS * HTTP/1.1\r\nX-Before: 1\r\nHost: service.example:8443\r\nX-After: 2\r\n\r\n";
    assert_eq!(written, expected);
}

#[tokio::test(flavor = "local")]
async fn a_post_without_a_body_says_so() {
    let written = written(outgoing(Method::POST, "/", RequestBody::Empty), Spelling::LowerCase).await;

    assert_eq!(written, "POST / HTTP/1.1\r\nhost: service.example:8443\r\ncontent-length: 0\r\n\r\n");
}

#[tokio::test(flavor = "local")]
async fn a_connection_carries_one_request_after_the_other() {
    let service = Service::echoing_paths().await;
    let mut sender = service.connected().await;

    for path in ["/1", "/2", "/3"] {
        assert_eq!(sender.fetch(get(path)).await.1, path);
        assert!(!sender.http1().is_closed());
    }

    assert_eq!(service.accepted.get(), 1);
}

#[tokio::test(flavor = "local")]
async fn what_is_no_answer_is_a_protocol_error() {
    let many: String = (0..101).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = "x".repeat(64 * 1024);
    for answer in [
        "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab".to_owned(),
        format!("HTTP/1.1 200 OK\r\n{many}\r\n"),
        format!("HTTP/1.1 200 OK\r\nx: {long}\r\n\r\n"),
        "HTTP/1.1 101 Switching Protocols\r\n\r\n".to_owned(),
        format!("{}HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(33)),
    ] {
        let unsent = Service::answering(answer.clone()).await.failure().await;

        assert_eq!(unsent.error.code(), Code::HttpProtocolError, "{} after {:.60}", unsent.error, answer);
        assert!(!unsent.not_processed && !unsent.whole);
    }
}

#[tokio::test(flavor = "local")]
async fn interim_answers_without_end_are_cut_off() {
    let service = Service::raw(|mut tcp, _| async move {
        read_head(&mut tcp).await;
        while tcp.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").await.is_ok() {}
    })
    .await;

    let unsent = service.failure().await;

    assert_eq!(unsent.error.to_string(), flood());
}

#[tokio::test(flavor = "local")]
async fn a_few_interim_answers_and_a_big_head_are_fine() {
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(32);
    let long = "x".repeat(63 * 1024);
    let service = Service::answering(format!("{interim}HTTP/1.1 200 OK\r\nx: {long}\r\n\r\nbody")).await;

    assert_eq!(service.connected().await.fetch(get("/")).await.1, "body");
}

#[tokio::test(flavor = "local")]
async fn a_connection_that_ends_before_the_head_is_terminated() {
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-le"] {
        let unsent = Service::answering(answer).await.failure().await;

        assert_eq!(unsent.error.code(), Code::ConnectionTerminated, "{}", unsent.error);
        assert!(!unsent.not_processed);
    }
}

#[tokio::test(flavor = "local")]
async fn a_reset_before_the_head_is_terminated() {
    let service = Service::raw(|mut tcp, _| async move {
        read_head(&mut tcp).await;
        tcp.set_zero_linger().unwrap();
    })
    .await;

    let unsent = service.failure().await;

    assert_eq!(unsent.error.code(), Code::ConnectionTerminated, "{}", unsent.error);
}

#[tokio::test(flavor = "local")]
async fn a_request_that_finds_the_connection_closed_comes_back_whole() {
    let service = Service::raw(|mut tcp, _| async move {
        answer_path(&mut tcp).await;
    })
    .await;
    let mut sender = service.connected().await;
    assert_eq!(sender.fetch(get("/1")).await.1, "/1");
    while !sender.http1().is_closed() {
        tokio::task::yield_now().await;
    }
    let mut again = outgoing(Method::POST, "/2?x", RequestBody::Whole(Some("form".into())));
    again.fields.insert("x-kept", HeaderValue::from_static("1"));

    let unsent = unanswered(sender.send(&mut again).await);

    assert_eq!(unsent.error.code(), Code::ConnectionTerminated, "{}", unsent.error);
    assert!(unsent.whole && unsent.not_processed);
    assert_eq!((again.method.as_str(), again.target.as_str()), ("POST", "/2?x"));
    assert_eq!(again.authority, "service.example:8443");
    assert_eq!(again.fields["x-kept"], "1");
    assert_eq!(again.body.collect().await.unwrap().to_bytes(), "form");
}

#[tokio::test(flavor = "local")]
async fn an_answer_of_http_1_0_is_the_last_of_its_connection() {
    let answer = "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok";
    let service = Service::raw(move |mut tcp, _| async move {
        read_head(&mut tcp).await;
        tcp.write_all(answer.as_bytes()).await.unwrap();
        drop(tcp.read_u8().await);
    })
    .await;
    let mut sender = service.connected().await;

    assert_eq!(sender.fetch(get("/")).await.1, "ok");

    assert!(sender.http1().is_closed());
}

#[tokio::test(flavor = "local")]
async fn an_answer_that_breaks_off_is_incomplete() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let service = Service::answering(answer).await;
        let mut sender = service.connected().await;
        let response = sender.ask(get("/")).await.unwrap_or_else(|unsent| panic!("{}", unsent.error));

        let error = sender.read(response.into_body()).collect().await.expect_err("half an answer");

        assert_eq!(error.code(), Code::HttpResponseIncomplete);
        assert!(sender.http1().is_closed());
    }
}

#[tokio::test(flavor = "local")]
async fn over_tls_an_end_without_a_goodbye_breaks_off() {
    let authorities = Authorities::new();
    let acceptor = TlsAcceptor::from(authorities.server("127.0.0.1", &[], AsksForCertificate::No));
    let service = Service::raw(move |tcp, number| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(tcp).await.unwrap();
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nall?").await.unwrap();
            stream.flush().await.unwrap();
            if number == 1 {
                stream.shutdown().await.unwrap();
            }
        }
    })
    .await;
    let connect = || over_tls(service.address.port(), authorities.client(&[]), HttpVersion::Auto);

    let mut ended = driven(connect().await.unwrap_or_else(|error| panic!("{error}")));
    let mut cut_off = driven(connect().await.unwrap_or_else(|error| panic!("{error}")));

    assert_eq!(ended.fetch(get("/")).await.1, "all?");
    let response = cut_off.ask(get("/")).await.unwrap_or_else(|unsent| panic!("{}", unsent.error));
    let error = cut_off.read(response.into_body()).collect().await.expect_err("nobody knows whether it is all");
    assert_eq!(error.code(), Code::HttpResponseIncomplete);
}

#[tokio::test(flavor = "local")]
async fn an_answer_that_nobody_asked_for_is_the_end_of_the_connection() {
    let service = Service::raw(|mut tcp, _| async move {
        read_head(&mut tcp).await;
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        tcp.write_all(&answer.repeat(2)).await.unwrap();
        drop(tcp.read_u8().await);
    })
    .await;
    let mut sender = service.connected().await;

    assert_eq!(sender.fetch(get("/")).await.1, "ok");

    assert!(sender.http1().is_closed());
    let unsent = unanswered(sender.ask(get("/")).await);
    assert!(unsent.whole, "{}", unsent.error);
}

#[tokio::test(flavor = "local")]
async fn a_reason_of_the_services_own_is_kept() {
    for (line, reason) in [("200 OK", None), ("200 Quite Fine", Some("Quite Fine"))] {
        let service = Service::answering(format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n")).await;

        let response =
            service.connected().await.ask(get("/")).await.unwrap_or_else(|unsent| panic!("{}", unsent.error));

        let kept = response.extensions().get::<ReasonPhrase>().map(ReasonPhrase::as_bytes);
        assert_eq!(kept, reason.map(str::as_bytes));
    }
}

#[tokio::test(flavor = "local")]
async fn an_answer_given_before_the_request_was_read_arrives() {
    let service = Service::raw(|mut tcp, _| async move {
        read_head(&mut tcp).await;
        tcp.write_all(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nbig").await.unwrap();
        // What was sent and not read makes this close a reset.
    })
    .await;
    let huge = RequestBody::Whole(Some(vec![b'x'; 32 * 1024 * 1024].into()));

    let (status, body) = service.connected().await.fetch(outgoing(Method::POST, "/", huge)).await;

    assert_eq!((status.as_u16(), body.as_str()), (413, "big"));
}

#[tokio::test(flavor = "local")]
async fn an_answer_without_a_body_says_nothing_of_the_one_that_it_announced() {
    for status in ["204 No Content", "205 Reset Content"] {
        for framing in ["content-length: 5", "transfer-encoding: chunked"] {
            let service = Service::answering(format!("HTTP/1.1 {status}\r\n{framing}\r\n\r\n")).await;
            let mut sender = service.connected().await;

            let response = sender.ask(get("/")).await.unwrap_or_else(|unsent| panic!("{}", unsent.error));

            assert_eq!(response.headers().len(), 0, "{:?}", response.headers());
            assert_eq!(sender.text(response).await, "");
            assert!(sender.http1().is_closed());
        }
    }
}

#[tokio::test(flavor = "local")]
async fn a_408_for_an_idle_connection_is_no_answer() {
    const GIVEN_UP: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let service = Service::raw(|mut tcp, number| async move {
        if number == 1 {
            answer_path(&mut tcp).await;
        }
        read_head(&mut tcp).await;
        tcp.write_all(GIVEN_UP).await.unwrap();
        drop(tcp.read_u8().await);
    })
    .await;
    let mut used = service.connected().await;
    used.fetch(get("/")).await;

    let unsent = unanswered(used.ask(get("/")).await);
    let fresh = service.connected().await.fetch(get("/")).await;

    assert_eq!(unsent.error.code(), Code::ConnectionTerminated, "{}", unsent.error);
    // It may have been meant for this very request.
    assert!(!unsent.not_processed);
    assert_eq!(fresh.0.as_u16(), 408);
}

async fn written(request: Outgoing, spelling: Spelling) -> String {
    let (tell, mut told) = mpsc::unbounded_channel();
    let service = Service::raw(move |mut tcp, _| {
        let tell = tell.clone();
        async move {
            tell.send(read_head(&mut tcp).await).unwrap();
            tcp.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let connector = Connector::new(&service.url(), None, HttpVersion::Auto, None, spelling);
    let mut sender = driven(connector.connect().await.unwrap_or_else(|error| panic!("{error}")));
    assert!(sender.ask(request).await.is_ok());
    told.recv().await.unwrap()
}

fn flood() -> &'static str {
    "the service does not speak HTTP as it should: it sent more than 32 interim answers"
}
