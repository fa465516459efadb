//! HTTP/2: whoever reads the socket, nobody else waits for it in vain.

use std::rc::Rc;
use std::time::Duration;

use http::Method;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::task::{spawn_local, yield_now};
use tokio::time::timeout;

use super::lab::{Service, get, outgoing};
use super::stream_ends::{END_STREAM, RST_STREAM, STATUS_200, data, frame, head, next_frame, next_request};
use crate::transport::{Http2Handle, RequestBody, Sender};

const SOON: Duration = Duration::from_secs(10);
const PING: u8 = 6;

#[tokio::test(flavor = "local")]
async fn an_idle_connection_answers_to_a_ping() {
    let answered = Rc::new(Notify::new());
    let tell = Rc::clone(&answered);
    let service = Service::raw(move |mut tcp, _| {
        let tell = Rc::clone(&tell);
        async move {
            let mut fresh = true;
            while let Some(number) = next_request(&mut tcp, &mut fresh).await {
                tcp.write_all(&head(number, END_STREAM, &[STATUS_200])).await.unwrap();
                yield_now().await;
                tcp.write_all(&frame(PING, 0, 0, b"12345678")).await.unwrap();
                while next_frame(&mut tcp, &mut fresh).await.unwrap().0 != PING {}
                tell.notify_one();
            }
        }
    })
    .await;
    let mut sender = service.connected_by_http2().await;

    for _ in 0..3 {
        assert_eq!(sender.fetch(get("/")).await.0, 200);
        timeout(SOON, answered.notified()).await.expect("an answer to a ping");
    }
}

#[tokio::test(flavor = "local")]
async fn requests_that_come_and_go_leave_none_behind() {
    // Answers the second request, and the first one after it.
    let service = Service::raw(move |mut tcp, _| async move {
        let mut fresh = true;
        while let Some(first) = next_request(&mut tcp, &mut fresh).await {
            let second = next_request(&mut tcp, &mut fresh).await.unwrap();
            for number in [second, first] {
                tcp.write_all(&[head(number, 0, &[STATUS_200]), data(number, END_STREAM, b"here")].concat())
                    .await
                    .unwrap();
                yield_now().await;
            }
        }
    })
    .await;
    let sender = service.connected_by_http2().await;

    for _ in 0..3 {
        let mut waiting = Sender::Http2(handle(&sender));
        let waiting = spawn_local(async move { waiting.fetch(get("/first")).await.1 });
        for _ in 0..10 {
            yield_now().await;
        }
        let second = timeout(SOON, Sender::Http2(handle(&sender)).fetch(get("/second"))).await;
        assert_eq!(second.expect("the second answer").1, "here");
        assert_eq!(timeout(SOON, waiting).await.expect("the first answer").unwrap(), "here");
    }
}

#[tokio::test(flavor = "local")]
async fn a_request_that_is_given_up_leaves_the_reading_to_others() {
    let answered = Rc::new(Notify::new());
    let tell = Rc::clone(&answered);
    let service = Service::raw(move |mut tcp, _| {
        let tell = Rc::clone(&tell);
        async move {
            let mut fresh = true;
            while next_frame(&mut tcp, &mut fresh).await.unwrap().0 != RST_STREAM {}
            tcp.write_all(&frame(PING, 0, 0, b"12345678")).await.unwrap();
            while next_frame(&mut tcp, &mut fresh).await.unwrap().0 != PING {}
            tell.notify_one();
            next_frame(&mut tcp, &mut fresh).await;
        }
    })
    .await;
    let mut sender = service.connected_by_http2().await;

    let given_up = timeout(Duration::from_millis(20), sender.ask(get("/"))).await;

    assert!(given_up.is_err());
    timeout(SOON, answered.notified()).await.expect("an answer to a ping");
}

#[tokio::test(flavor = "local")]
async fn an_upload_that_the_socket_has_no_room_for_goes_on_when_it_has() {
    const UPLOAD: usize = 8 * 1024 * 1024;
    let service = Service::raw(move |tcp, _| async move {
        let mut builder = h2::server::Builder::new();
        builder.initial_window_size(2 * UPLOAD as u32).initial_connection_window_size(2 * UPLOAD as u32);
        let mut connection = builder.handshake::<_, bytes::Bytes>(tcp).await.unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        spawn_local(async move {
            let mut body = request.into_body();
            let mut bytes = 0;
            while let Some(data) = body.data().await {
                bytes += data.unwrap().len();
            }
            let mut answer = respond.send_response(http::Response::new(()), false).unwrap();
            answer.send_data(bytes.to_string().into(), true).unwrap();
        });
        while connection.accept().await.is_some() {}
    })
    .await;
    let upload = RequestBody::Whole(Some(vec![b'x'; UPLOAD].into()));
    let mut sender = service.connected_by_http2().await;

    let answer = timeout(SOON, sender.fetch(outgoing(Method::POST, "/", upload))).await.expect("an answer");

    assert_eq!(answer.1, UPLOAD.to_string());
}

fn handle(sender: &Sender) -> Http2Handle {
    match sender {
        Sender::Http2(handle) => handle.clone(),
        Sender::Serial(_) => panic!("it speaks HTTP/1.1"),
    }
}
