//! HTTP/2: services that send without end what brings no request on, and those that only seem to.

use std::rc::Rc;
use std::time::Instant;

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::task::spawn_local;

use super::lab::{Service, get, outgoing, unanswered};
use super::stream_ends::{
    END_STREAM, STATUS_103, STATUS_200, data, frame, head, next_frame, next_request, next_sized_frame,
};
use crate::code::Code;
use crate::transport::{Http2Handle, RequestBody, Sender};

/// Answers one request by half, and floods the connection when the next one comes.
async fn flooding(flood: Vec<u8>, ended: Rc<Notify>) -> Service {
    Service::raw(move |mut tcp, _| {
        let (flood, ended) = (flood.clone(), Rc::clone(&ended));
        async move {
            let mut fresh = true;
            let first = next_request(&mut tcp, &mut fresh).await.unwrap();
            tcp.write_all(&[head(first, 0, &[STATUS_200]), data(first, 0, b"half")].concat()).await.unwrap();
            next_request(&mut tcp, &mut fresh).await.unwrap();
            let (mut reading, mut writing) = tcp.into_split();
            // What is answered to it is read, so that nothing but the other side can end it.
            spawn_local(async move { drop(tokio::io::copy(&mut reading, &mut tokio::io::sink()).await) });
            while writing.write_all(&flood).await.is_ok() {}
            ended.notify_one();
        }
    })
    .await
}

#[tokio::test(flavor = "local")]
async fn a_flood_of_frames_that_carry_no_content_ends_the_connection() {
    let window = [0, 0, 0, 1];
    for (name, code, flood) in [
        ("PRIORITY", Code::HttpProtocolError, frame(2, 0, 3, &[0, 0, 0, 0, 1])),
        ("SETTINGS", Code::HttpProtocolError, frame(4, 0, 0, b"")),
        ("PING", Code::HttpProtocolError, frame(6, 0, 0, b"12345678")),
        ("WINDOW_UPDATE", Code::HttpProtocolError, frame(8, 0, 0, &window)),
        ("an unknown one", Code::HttpProtocolError, frame(0x77, 0, 0, &[7; 16_000])),
        ("interim answers", Code::HttpProtocolError, head(3, 0, &STATUS_103)),
        ("resets", Code::ConnectionTerminated, frame(3, 0, 3, &window)),
        ("DATA that is filled up with nothing", Code::HttpProtocolError, frame(0, 8, 1, &[0])),
        ("DATA of a stream that was given up", Code::HttpProtocolError, data(3, 0, b"x")),
    ] {
        let ended = Rc::new(Notify::new());
        let times = (64 * 1024 / flood.len()).max(1);
        let service = flooding(flood.repeat(times), Rc::clone(&ended)).await;
        let mut other = service.connected_by_http2().await;
        let handle = handle(&other);
        let half = other.ask(get("/")).await.unwrap_or_else(|unsent| panic!("{name}: {}", unsent.error));

        let began = Instant::now();
        let unsent = unanswered(Sender::Http2(handle.clone()).ask(get("/")).await);

        assert_eq!(unsent.error.code(), code, "{name}: {}", unsent.error);
        ended.notified().await;
        let told = other.read(half.into_body()).collect().await.expect_err("half a body");
        assert_eq!(told.code(), Code::HttpResponseIncomplete, "{name}: {told}");
        assert!(told.to_string().contains("flooded with frames that carry no content"), "{name}: {told}");
        // What is borne is borne in each second anew, and a busy machine reads the same in more of them.
        let borne = 3 * 1024 * 1024 * (1 + began.elapsed().as_secs());
        assert!((handle.heard() as u64) < borne, "{name}: {} bytes were read", handle.heard());
        assert!(handle.is_closed(), "{name}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_connection_that_is_kept_alive_is_no_flood() {
    let service = Service::raw(|mut tcp, _| async move {
        let mut fresh = true;
        let number = next_request(&mut tcp, &mut fresh).await.unwrap();
        for _ in 0..2_000 {
            tcp.write_all(&frame(6, 0, 0, b"12345678")).await.unwrap();
            while next_frame(&mut tcp, &mut fresh).await.unwrap().0 != 6 {}
        }
        tcp.write_all(&head(number, END_STREAM, &[STATUS_200])).await.unwrap();
        next_request(&mut tcp, &mut fresh).await;
    })
    .await;

    assert_eq!(service.connected_by_http2().await.fetch(get("/")).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "local")]
async fn the_heads_of_many_answers_at_once_are_no_flood() {
    const REQUESTS: usize = 100;
    let service = Service::raw(|mut tcp, _| async move {
        let (mut fresh, mut answers) = (true, Vec::new());
        for _ in 0..REQUESTS {
            let number = next_request(&mut tcp, &mut fresh).await.unwrap();
            // `x` of 15,000 bytes that are not compressed (RFC 7541 §5.1).
            let block = [&[STATUS_200, 0x00, 1, b'x', 0x7f, 0x99, 0x74][..], &[b'y'; 15_000]].concat();
            answers.extend([head(number, 0, &STATUS_103).repeat(32), head(number, END_STREAM, &block)].concat());
        }
        tcp.write_all(&answers).await.unwrap();
        next_request(&mut tcp, &mut fresh).await;
    })
    .await;
    let sender = service.connected_by_http2().await;
    // Before it is known that the service takes so many, one may go.
    assert!(handle(&sender).growth().next().await);

    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..REQUESTS {
        let mut sender = Sender::Http2(handle(&sender));
        requests.spawn_local(async move { sender.fetch(get("/")).await.0 });
    }

    assert_eq!(requests.join_all().await, [StatusCode::OK; REQUESTS]);
}

#[tokio::test(flavor = "local")]
async fn windows_that_are_opened_bit_by_bit_are_no_flood() {
    const UPLOAD: usize = 2 * 1024 * 1024;
    const BIT: usize = 64;
    let service = Service::raw(|mut tcp, _| async move {
        let (mut fresh, mut read) = (true, 0);
        let number = next_request(&mut tcp, &mut fresh).await.unwrap();
        let bit = u32::try_from(BIT).unwrap().to_be_bytes();
        let opens = [frame(8, 0, 0, &bit), frame(8, 0, number, &bit)].concat();
        while read < UPLOAD {
            let (_, _, bytes) = next_sized_frame(&mut tcp, &mut fresh).await.unwrap();
            read += bytes;
            tcp.write_all(&opens.repeat(bytes / BIT + 1)).await.unwrap();
        }
        tcp.write_all(&head(number, END_STREAM, &[STATUS_200])).await.unwrap();
        while next_frame(&mut tcp, &mut fresh).await.is_some() {}
    })
    .await;
    let upload = RequestBody::Whole(Some(vec![b'x'; UPLOAD].into()));

    let answer = service.connected_by_http2().await.fetch(outgoing(Method::POST, "/", upload)).await;

    assert_eq!(answer.0, StatusCode::OK);
}

fn handle(sender: &Sender) -> Http2Handle {
    match sender {
        Sender::Http2(handle) => handle.clone(),
        Sender::Serial(_) => panic!("it speaks HTTP/1.1"),
    }
}
