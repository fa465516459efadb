use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::connection::serve;
use super::super::stream::ClientStream;
use super::lab::{Client, Lab, assert_status, get, settle, until};
use crate::config::Limits;
use crate::proxy::Peer;

#[tokio::test(flavor = "local")]
async fn the_task_of_a_connection_is_small() {
    let (lab, (ours, _)) = (Lab::default(), tokio::net::UnixStream::pair().unwrap());
    let served = serve(ClientStream::Unix(ours), Peer::Unix { uid: 0 }, None, lab.port, lab.shared);

    let bytes = size_of_val(&served);

    assert!(bytes <= 448, "{bytes} bytes for each idle connection");
}

#[tokio::test(flavor = "local")]
async fn a_connection_is_parked_after_its_first_answer_and_its_next_request_is_answered() {
    let lab = Lab::default();
    let mut client = lab.client().await;

    assert!(client.get("/one").await.ends_with("GET /one "));
    lab.until_parked(1).await;

    assert!(client.get("/two").await.ends_with("GET /two "));
}

#[tokio::test(flavor = "local")]
async fn a_connection_in_steady_use_is_parked_once_it_pauses() {
    let lab = Lab::default();
    let mut client = lab.client().await;
    client.get("/one").await;
    lab.until_parked(1).await;

    for _ in 0..20 {
        client.get("/again").await;
    }
    assert_eq!(lab.shared.trims.parkings(), 1);
    lab.pass(crate::deadline::TICK).await;

    lab.until_parked(2).await;
    assert!(client.get("/after").await.ends_with("GET /after "));
}

#[tokio::test(flavor = "local")]
async fn requests_that_come_in_one_piece_are_all_answered_in_order() {
    let lab = Lab::default();
    let mut client = lab.client().await;

    let many: String = (0..40).map(|number| get(&format!("/{number}"))).collect();
    client.send(&many).await;

    for number in 0..40 {
        assert!(client.answer().await.ends_with(&format!("GET /{number} ")));
    }
}

#[tokio::test(flavor = "local")]
async fn what_was_read_of_the_next_head_is_not_lost_when_a_connection_is_taken_apart() {
    let lab = Lab::default();
    let mut client = lab.client().await;
    // Behind a body hyper gets what follows with it.
    let one = "POST /one HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\nab";
    let two = one.to_owned() + &get("/two");
    let (first, second) = two.split_at(one.len() + 9);

    client.send(first).await;
    assert!(client.answer().await.ends_with("POST /one ab"));
    lab.until_parked(1).await;
    client.send(second).await;

    assert!(client.answer().await.ends_with("GET /two "));
}

#[tokio::test(flavor = "local")]
async fn a_head_that_comes_byte_by_byte_is_read() {
    let lab = Lab::default();
    let mut client = lab.client().await;
    client.socket.set_nodelay(true).unwrap();

    for byte in get("/slow").bytes() {
        client.socket.write_all(&[byte]).await.unwrap();
        settle().await;
    }

    assert!(client.answer().await.ends_with("GET /slow "));
}

#[tokio::test(flavor = "local")]
async fn a_head_that_does_not_come_to_its_end_is_a_408() {
    let lab = Lab::default();
    let limits = Limits::default();
    for after in ["", "/one"] {
        let mut client = lab.client().await;
        if !after.is_empty() {
            client.get(after).await;
        }
        client.send("GET /x HTTP/1.1\r\nhost: lo").await;
        settle().await;

        lab.pass(limits.header_timeout.unwrap()).await;

        let answer = client.rest().await.unwrap();
        assert_status(&answer, StatusCode::REQUEST_TIMEOUT);
        assert!(answer.contains("connection: close") && answer.contains("request_timeout"), "{answer}");
    }
}

#[tokio::test(flavor = "local")]
async fn the_first_head_is_timed_from_the_beginning_of_its_connection() {
    let lab = Lab::default();
    let mut client = lab.client().await;
    settle().await;
    lab.pass(Duration::from_secs(6)).await;
    let due = lab.shared.sweep.next_due();
    client.send("GET /x HTTP/1.1\r\nhost: lo").await;
    until(|| lab.shared.sweep.next_due() != Some(u32::MAX)).await;
    settle().await;
    assert_eq!(lab.shared.sweep.next_due(), due, "as it was before the first byte");

    lab.pass(Duration::from_secs(5)).await;

    assert_status(&client.rest().await.unwrap(), StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test(flavor = "local")]
async fn an_idle_connection_is_closed_without_an_answer() {
    let lab = Lab::default();
    let limits = Limits::default();
    let (mut fresh, mut used) = (lab.client().await, lab.client().await);
    used.get("/one").await;
    lab.until_parked(1).await;

    lab.pass(limits.idle_timeout.unwrap()).await;

    assert_eq!(fresh.rest().await.unwrap(), "");
    assert_eq!(used.rest().await.unwrap(), "");
}

#[tokio::test(flavor = "local")]
async fn a_request_too_broken_to_parse_is_answered_by_us() {
    let long = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "y".repeat(70_000));
    let table = [
        ("no request at all\r\n\r\n", StatusCode::BAD_REQUEST, "bad_request"),
        (&long, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large"),
        (
            "POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip\r\n\r\n",
            StatusCode::BAD_REQUEST,
            "`Transfer-Encoding`",
        ),
        ("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n", StatusCode::BAD_REQUEST, "bad_request"),
        ("POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: x\r\n\r\n", StatusCode::BAD_REQUEST, "bad_request"),
    ];
    for (request, status, word) in table {
        for before in ["", "/one"] {
            let lab = Lab::default();
            let mut client = lab.client().await;
            if !before.is_empty() {
                client.get(before).await;
            }
            client.send(request).await;

            let answer = client.rest().await.unwrap();

            assert_status(&answer, status);
            assert!(answer.contains(word) && answer.contains("connection: close"), "{request:?}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        }
    }
}

#[tokio::test(flavor = "local")]
async fn a_client_that_closes_ends_its_connection_wherever_it_is() {
    let lab = Lab::default();
    for sent in ["", "GET /half HTTP/1.1\r\nho"] {
        let client = lab.client().await;
        let mut socket = client.socket;
        socket.write_all(sent.as_bytes()).await.unwrap();
        settle().await;

        drop(socket);

        client.served.await.unwrap();
    }
    let mut parked = lab.client().await;
    parked.get("/one").await;
    lab.until_parked(1).await;
    drop(parked.socket);
    parked.served.await.unwrap();
}

#[tokio::test(flavor = "local")]
async fn a_client_that_leaves_a_long_exchange_ends_it() {
    for leaves_first in [true, false] {
        let lab = Lab::default();
        let mut client = lab.client().await;
        client.send(&get("/held")).await;
        lab.until_asked(1).await;

        let Client { socket, served } = client;
        let mut socket = Some(socket);
        socket.take_if(|_| leaves_first);
        lab.pass(LONG).await;
        assert_eq!(served.is_finished(), leaves_first);
        drop(socket);

        served.await.unwrap();
    }
}

#[tokio::test(flavor = "local")]
async fn a_client_that_sent_more_before_its_answer_is_still_there() {
    let lab = Lab::default();
    let mut client = lab.client().await;
    client.send(&(get("/held") + &get("/next"))).await;
    lab.until_asked(1).await;

    lab.pass(LONG).await;

    assert!(!client.served.is_finished());
}

#[tokio::test(flavor = "local")]
async fn a_client_that_closes_its_sending_side_gets_an_answer_that_comes_at_once() {
    let lab = Lab::default();
    let mut client = lab.client().await;
    client.send(&get("/last")).await;
    client.socket.shutdown().await.unwrap();

    let answer = client.rest().await.unwrap();

    assert!(answer.ends_with("GET /last "), "{answer}");
    client.served.await.unwrap();
}

#[tokio::test(flavor = "local")]
async fn a_client_that_closes_its_sending_side_gets_all_of_an_answer_that_has_begun() {
    let lab = Lab::default();
    let mut client = lab.client().await;
    client.send(&get("/large")).await;
    client.socket.shutdown().await.unwrap();
    let mut begin = vec![0; 1 << 20];
    client.socket.read_exact(&mut begin).await.unwrap();

    lab.pass(LONG).await;

    assert!(client.rest().await.unwrap().len() > 31 << 20);
}

#[tokio::test(flavor = "local")]
async fn connection_close_and_http_1_0_end_with_their_answer() {
    let lab = Lab::default();
    for request in ["GET /last HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", "GET /last HTTP/1.0\r\n\r\n"]
    {
        let mut client = lab.client().await;
        client.send(request).await;

        let answer = client.rest().await.unwrap();

        assert!(answer.ends_with("GET /last "), "{answer}");
        drop(client.socket);
        client.served.await.unwrap();
    }
    assert_eq!(lab.shared.trims.parkings(), 0);
}

#[tokio::test(flavor = "local")]
async fn http_1_0_may_keep_its_connection() {
    let lab = Lab::default();
    let mut client = lab.client().await;

    for _ in 0..2 {
        client.send("GET /kept HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await;
        assert!(client.answer().await.ends_with("GET /kept "));
    }
}

#[tokio::test(flavor = "local")]
async fn an_upload_may_outlive_its_answer_for_as_long_as_it_goes_on() {
    let lab = Lab::default();
    let mut client = lab.client().await;
    client.send("POST /early HTTP/1.1\r\nhost: localhost\r\ncontent-length: 12\r\n\r\nhalf").await;
    let answer = client.rest().await.unwrap();
    assert!(answer.contains("connection: close") && answer.ends_with("early"), "{answer}");

    lab.pass(crate::deadline::TICK).await;
    client.send("half").await;
    until(|| lab.port.late.borrow().ends_with("halfhalf")).await;
    lab.pass(crate::deadline::TICK).await;
    client.send("halfGET /smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n").await;

    until(|| lab.port.late.borrow().as_str() == "halfhalfhalf").await;
    drop(client.socket);
    client.served.await.unwrap();
    assert_eq!(*lab.port.asked.borrow(), ["/early"]);
}

#[tokio::test(flavor = "local")]
async fn what_comes_after_a_last_answer_is_dropped_until_it_has_been_silent_for_two_seconds() {
    for unwanted in ["POST /unread", "POST /early", "GET /close"] {
        let lab = Lab::default();
        let mut client = lab.client().await;
        client.send(&format!("{unwanted} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9999\r\n\r\n")).await;
        let answer = client.rest().await.unwrap();
        assert!(answer.contains("connection: close"), "{unwanted}: {answer}");

        for round in 0..20 {
            lab.pass(Duration::from_millis(1_500)).await;
            let due = lab.shared.sweep.next_due();
            lab.shared.sweep.tick();
            client.send("GET /smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
            until(|| lab.shared.sweep.next_due() > due).await;
            assert!(!client.served.is_finished(), "{unwanted}, round {round}");
        }
        lab.pass(Duration::from_secs(3)).await;

        client.served.await.unwrap();
        assert_eq!(lab.port.asked.borrow().len(), 1, "{unwanted}");
    }
}

#[tokio::test(flavor = "local")]
async fn no_more_than_64_mib_are_dropped() {
    let lab = Lab::default();
    let mut client = lab.client().await;
    client.send("POST /unread HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9999999999\r\n\r\n").await;
    client.rest().await.unwrap();

    let piece = vec![b'x'; 1 << 20];
    let mut sent = 0_usize;
    while client.socket.write_all(&piece).await.is_ok() {
        sent += 1;
        assert!(sent < 100, "{sent} MiB were taken");
    }

    assert!(sent >= 64, "only {sent} MiB were taken");
    client.served.await.unwrap();
}

#[tokio::test(flavor = "local")]
async fn a_client_that_does_not_read_its_answer_is_let_go() {
    let lab = Lab::default();
    let mut client = lab.client().await;
    client.send(&get("/large")).await;
    lab.until_asked(1).await;
    settle().await;

    lab.pass(Limits::default().idle_timeout.unwrap()).await;

    assert!(client.served.is_finished());
    let error = client.rest().await.expect_err("half an answer must not pass for the whole");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test(flavor = "local")]
async fn a_panic_costs_one_connection() {
    let lab = Lab::default();
    let (mut unlucky, mut other) = (lab.client().await, lab.client().await);
    unlucky.send(&get("/panic")).await;

    assert_eq!(unlucky.rest().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert!(unlucky.served.await.unwrap_err().is_panic());
    assert!(other.get("/one").await.ends_with("GET /one "));
}

#[tokio::test(flavor = "local")]
async fn a_limit_that_changes_counts_from_the_next_connection_of_hypers() {
    let lab = Lab::default();
    let mut client = lab.client().await;
    client.get("/one").await;
    lab.until_parked(1).await;
    lab.port.limits.set(Limits { headers: 1, ..Limits::default() });

    client.send("GET /two HTTP/1.1\r\nhost: localhost\r\nx: y\r\n\r\n").await;

    assert_status(&client.rest().await.unwrap(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

/// After so much time an exchange counts as long.
const LONG: Duration = Duration::from_millis(500);
