//! Where messages begin and end: nothing is smuggled, nothing broken looks whole, and bodies stream.

use crate::lab::client::{Ended, Request};
use crate::lab::fault::{Fault, Gate, Received, Reply};
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, until};

const PAYMENTS: &str = "services: { payments: { url: $SERVICE, certificate: partner } }";

/// Sidekey in front of a service that answers so.
async fn answering(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> (Lab, Fault, Sidekey) {
    let lab = Lab::start().await;
    let service = Fault::plain(answer).await;
    let sidekey = lab.sidekey(&format!("services: {{ payments: {{ url: '{}' }} }}", service.url())).await;
    (lab, service, sidekey)
}

const GET: &str = "GET /payments/x HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn a_get_with_a_chunked_body_arrives_whole() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(PAYMENTS).await;

    for method in ["GET", "DELETE", "OPTIONS", "POST"] {
        let seen = sidekey.send(Request::chunked(method, "/payments/x", "a body")).await.at_service();
        assert_eq!((seen.method.as_str(), seen.body.as_str()), (method, "a body"));
        assert_eq!((seen.field("transfer-encoding").as_deref(), seen.field("content-length")), (Some("chunked"), None));
    }
}

#[tokio::test]
async fn bodies_of_a_known_length_keep_it() {
    let (_lab, service, sidekey) = answering(|_| Reply::ok("welcome")).await;

    sidekey.post("/payments/x", "a body").await;
    sidekey.post("/payments/x", "").await;
    sidekey.get("/payments/x").await;

    let lengths: Vec<_> = service.received().iter().map(|request| request.field("content-length")).collect();
    assert_eq!(lengths, [Some("6".to_owned()), Some("0".to_owned()), None]);
    assert!(service.received().iter().all(|request| request.field("transfer-encoding").is_none()));
}

#[tokio::test]
async fn length_and_transfer_encoding_together_are_framed_by_the_latter_and_end_the_connection() {
    let (_lab, service, sidekey) = answering(|_| Reply::ok("welcome")).await;
    let smuggled = "GET /payments/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let body = "5\r\nhello\r\n0\r\n\r\n";

    let mut connection = sidekey
        .raw(format!(
            "POST /payments/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n{body}{smuggled}",
            body.len() + smuggled.len()
        ))
        .await;

    assert_eq!(connection.answer().await.status_of_service(), 200);
    connection.closed().await;
    let received = service.only();
    assert_eq!((received.text(), received.field("content-length")), (body.to_owned(), None));
}

#[tokio::test]
async fn a_head_too_large_is_told_so() {
    let (_lab, service, sidekey) = answering(|_| Reply::ok("welcome")).await;
    let get = |target: &str, fields: String| format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");

    let big = get("/payments/x", format!("X-Big: {}\r\n", "x".repeat(70_000)));
    let many = get("/payments/x", (0..101).map(|n| format!("x-{n}: 1\r\n")).collect());
    let long = get(&format!("/payments/{}", "x".repeat(65_535)), String::new());
    for head in [big, many, long] {
        sidekey.raw(head).await.answer().await.problem("headers_too_large");
    }

    assert_eq!(service.count(), 0);
}

#[tokio::test]
async fn a_body_that_the_app_breaks_off_never_ends_as_if_whole() {
    let head = "POST /payments/x HTTP/1.1\r\nHost: localhost\r\n";
    let length = "Content-Length: 100\r\n\r\nhalf";
    let chunked = "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    for half in [length, chunked] {
        let (_lab, service, sidekey) = answering(|_| Reply::ok("welcome")).await;

        let connection = sidekey.raw(format!("{head}{half}")).await;
        until("half a body", async || service.received().first()?.text().contains("half").then_some(())).await;
        connection.reset();
        sidekey.get("/payments/next").await;

        let received = service.received();
        assert!(!received[0].whole, "{received:?}");
        assert_ne!(received[0].connection, received[1].connection, "a broken connection is not used again");
    }
}

#[tokio::test]
async fn a_body_that_the_service_breaks_off_is_broken_off_by_a_reset() {
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    for half in [length, chunked] {
        for reply in [Reply::raw(half).then_close(), Reply::raw(half).then_reset()] {
            let (_lab, service, sidekey) = answering(move |_| reply.clone()).await;

            let answer = sidekey.get("/payments/x").await;

            assert_eq!((answer.text().as_str(), answer.ended), ("half", Ended::Reset));
            sidekey.get("/payments/x").await;
            assert_eq!(service.received()[1].connection, 1, "a broken connection is not used again");
        }
    }
}

#[tokio::test]
async fn an_http_1_0_app_does_not_take_half_an_answer_for_a_whole_one() {
    let half = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    let (_lab, _service, sidekey) = answering(move |_| Reply::raw(half).then_close()).await;

    // An end without a reset is all that an HTTP/1.0 app has to go by.
    let answer = sidekey.send(Request::get("/payments/x").http10()).await;

    assert_eq!((answer.text().as_str(), answer.ended), ("half", Ended::Reset));
}

#[tokio::test]
async fn an_http_1_0_app_gets_a_chunked_answer_whole() {
    let (_lab, _service, sidekey) =
        answering(|_| Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")).await;

    let answer = sidekey.send(Request::get("/payments/x").http10()).await;

    assert_eq!((answer.text().as_str(), answer.ended), ("hello", Ended::ByClose));
    assert_eq!(answer.field("transfer-encoding"), None);
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_arrives_whole() {
    let (_lab, _service, sidekey) = answering(|_| Reply::raw("HTTP/1.1 200 OK\r\n\r\nhello").then_close()).await;

    let answer = sidekey.get("/payments/x").await;

    assert_eq!((answer.text().as_str(), answer.ended), ("hello", Ended::Whole));
}

#[tokio::test]
async fn an_answer_with_both_framings_loses_its_length() {
    let both = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let (_lab, _service, sidekey) = answering(move |_| Reply::raw(both)).await;

    let answer = sidekey.get("/payments/x").await;

    assert_eq!((answer.text().as_str(), answer.field("content-length")), ("hello", None));
}

#[tokio::test]
async fn head_204_and_304_have_no_body_and_keep_the_connection() {
    let answer = |request: &Received| match request.target() {
        "/head" => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nETag: \"a\"\r\n\r\n"),
        "/304" => Reply::raw("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n"),
        _ => Reply::raw("HTTP/1.1 204 No Content\r\n\r\n"),
    };
    let (_lab, service, sidekey) = answering(answer).await;
    let mut connection = sidekey.connect().await;

    for _ in 0..2 {
        let head = connection.send(Request::new("HEAD", "/payments/head")).await;
        assert_eq!((head.status, head.field("content-length").as_deref()), (200, Some("1000")));
        let not_modified = connection.send(Request::get("/payments/304").field("If-None-Match", "\"a\"")).await;
        assert_eq!((not_modified.status, not_modified.field("etag").as_deref()), (304, Some("\"a\"")));
        assert_eq!(connection.send(Request::get("/payments/204")).await.status, 204);
    }

    assert!(service.received().iter().all(|request| request.connection == 0), "one connection to the service");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (_lab, _service, sidekey) = answering(|request| Reply::ok(request.target())).await;

    let requests: String = (0..5).map(|n| format!("GET /payments/{n} HTTP/1.1\r\nHost: localhost\r\n\r\n")).collect();
    let mut connection = sidekey.raw(requests).await;

    for n in 0..5 {
        assert_eq!(connection.answer().await.text(), format!("/{n}"));
    }
}

#[tokio::test]
async fn an_answer_streams_before_it_is_complete() {
    let gate = Gate::closed();
    let held = gate.clone();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (_lab, _service, sidekey) = answering(move |_| {
        Reply::raw(format!("{head}b\r\ndata: one\n\n\r\n")).wait(&held).send("b\r\ndata: two\n\n\r\n0\r\n\r\n")
    })
    .await;

    let mut connection = sidekey.raw(GET).await;
    connection.until("data: one").await;
    gate.open();

    assert_eq!(connection.answer().await.text(), "data: one\n\ndata: two\n\n");
}

#[tokio::test]
async fn a_request_streams_before_it_is_complete() {
    let (_lab, service, sidekey) = answering(|_| Reply::ok("welcome")).await;

    let mut connection =
        sidekey.raw("POST /payments/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\nfour").await;
    until("half of it", async || (service.received().first()?.text() == "four").then_some(())).await;
    connection.write("more").await;

    assert_eq!(connection.answer().await.status_of_service(), 200);
    assert_eq!(service.only().text(), "fourmore");
}

#[tokio::test]
async fn large_bodies_pass_whole_both_ways() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(PAYMENTS).await;
    let body: String = (0..200_000).map(|n| format!("{n:08}")).collect();

    for service in ["/payments/x", "/payments/y"] {
        assert!(sidekey.post(service, body.clone()).await.at_service().body == body, "a body of {} bytes", body.len());
    }
}

#[tokio::test]
async fn a_slow_reader_holds_the_service_back() {
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = sent.clone();
    let piece = vec![b'x'; 1 << 20];
    let (_lab, _service, sidekey) = answering(move |_| {
        let head = Reply::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", piece.len() * PIECES));
        let counted = |reply: Reply| reply.send(piece.clone()).count(&count);
        (0..PIECES).fold(head, |reply, _| counted(reply))
    })
    .await;
    let before = resident_kib(&sidekey);

    let mut connection = sidekey.raw(GET).await;
    connection.until("200 OK").await;
    let settled = until("nothing more to be sent", async || {
        let now = sent.load(std::sync::atomic::Ordering::Relaxed);
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        (sent.load(std::sync::atomic::Ordering::Relaxed) == now).then_some(now)
    })
    .await;

    assert!(settled < PIECES / 2, "{settled} of {PIECES} MiB left the service though nobody read them");
    assert!(resident_kib(&sidekey) < before + 16 * 1024, "nothing is buffered whole");
    assert_eq!(connection.answer().await.body.len(), PIECES << 20);
}

const PIECES: usize = 64;

fn resident_kib(sidekey: &Sidekey) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", sidekey.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn expect_100_continue_is_answered_once_the_service_said_so() {
    let gate = Gate::closed();
    let held = gate.clone();
    let (_lab, service, sidekey) = answering(move |_| {
        Reply::raw("HTTP/1.1 100 Continue\r\n\r\n")
            .wait(&held)
            .send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .before_the_body()
    })
    .await;

    let head = "POST /payments/x HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let mut connection = sidekey.raw(head).await;
    connection.until("100 Continue").await;
    connection.write("hello").await;
    gate.open();

    let answer = connection.answer().await;
    assert_eq!((answer.status_of_service(), answer.interim.len()), (200, 1));
    until("the body", async || (service.only().text() == "hello").then_some(())).await;
}

#[tokio::test]
async fn expect_100_continue_is_answered_after_a_second_of_silence() {
    let (_lab, _service, sidekey) = answering(|_| Reply::ok("welcome")).await;

    let head = "POST /payments/x HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let mut connection = sidekey.raw(head).await;
    connection.until("100 Continue").await;
    connection.write("hello").await;

    assert_eq!(connection.answer().await.status_of_service(), 200);
}

#[tokio::test]
async fn expect_100_continue_may_be_answered_by_a_refusal() {
    let refusal = "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n";
    let (_lab, _service, sidekey) = answering(move |_| Reply::raw(refusal).before_the_body()).await;

    let head = "POST /payments/x HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let answer = sidekey.raw(head).await.answer().await;

    assert_eq!((answer.status_of_service(), answer.interim.len()), (417, 0));
    assert_eq!(answer.field("connection").as_deref(), Some("close"), "the body may follow, or the next request");
}

#[tokio::test]
async fn other_interim_answers_are_dropped() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (_lab, _service, sidekey) = answering(move |_| Reply::raw(hints)).await;

    let answer = sidekey.get("/payments/x").await;

    assert_eq!((answer.text().as_str(), answer.interim.len()), ("ok", 0));
}

#[tokio::test]
async fn announced_trailers_pass_to_an_app_that_wants_them() {
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n";
    let (_lab, _service, sidekey) = answering(move |_| Reply::raw(chunked)).await;

    let wanted = sidekey.send(Request::get("/payments/x").field("TE", "trailers").field("Connection", "TE")).await;
    let unwanted = sidekey.get("/payments/x").await;

    assert!(wanted.trailers.to_lowercase().contains("x-sum: 42"), "{wanted:?}");
    assert_eq!((unwanted.text().as_str(), unwanted.trailers.as_str()), ("hello", ""));
}
