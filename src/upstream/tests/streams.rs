//! Requests and the streams of HTTP/2 connections: none is sent on to a connection that can't take it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::sharing::{answer_streams, by_http2, held, holding};
use super::{LIMITS, pool, send, until};
use crate::config;
use crate::transport::tests::lab::{Service, get};
use crate::upstream::{Choice, Timing};

#[tokio::test(flavor = "local")]
async fn requests_that_come_before_their_service_has_said_how_many_it_takes_have_the_connections_they_need() {
    let (service, gate, most) = holding(10).await;
    let upstream = by_http2(&service, LIMITS);
    let pool = pool(&upstream);

    let requests: Vec<_> = (0..40).map(|_| held(&pool)).collect();

    timeout(SOON, until(|| most.get() == 40)).await.expect("all of them at once");
    assert_eq!(service.accepted.get(), 4);
    gate.notify_waiters();
    for request in requests {
        assert!(request.await.unwrap());
    }
}

#[tokio::test(flavor = "local")]
async fn a_request_waits_for_a_connection_until_its_service_has_said_that_it_takes_another() {
    let speak = Rc::new(Notify::new());
    let told = Rc::clone(&speak);
    let service = Service::raw(move |tcp, _| {
        let speak = Rc::clone(&told);
        async move {
            speak.notified().await;
            answer_streams(tcp, 10).await;
        }
    })
    .await;
    let upstream = by_http2(&service, LIMITS);
    let pool = pool(&upstream);
    let first = held(&pool);
    until(|| pool.shared.borrow().all().first().is_some_and(|shared| !shared.is_idle())).await;

    let timing = Rc::new(Cell::new(Timing::default()));
    let (sender, watched) = (Rc::clone(&pool), Rc::clone(&timing));
    let second = spawn_local(async move { sender.send(&mut get("/"), Choice::Any, &watched).await.is_ok() });
    until(|| timing.get().sent || !pool.queue.borrow().is_empty()).await;

    // What its answer may take is not counted before it can have one.
    assert!(!timing.get().sent);
    speak.notify_one();
    let answered = timeout(SOON, async { (first.await.unwrap(), second.await.unwrap()) }).await;
    assert_eq!(answered.expect("both answers"), (true, true));
    assert_eq!(service.accepted.get(), 1);
}

#[tokio::test(flavor = "local")]
async fn a_service_that_takes_more_than_it_did_is_sent_what_waits() {
    let (more, seen) = (Rc::new(Notify::new()), Rc::new(Cell::new(0)));
    let scene = (Rc::clone(&more), Rc::clone(&seen));
    let service =
        Service::raw(move |tcp, _| taking_one_then_three(tcp, Rc::clone(&scene.0), Rc::clone(&scene.1))).await;
    let upstream = by_http2(&service, config::PoolConfig { max_connections: 1, ..LIMITS });
    let pool = pool(&upstream);
    let requests: Vec<_> = (0..3).map(|_| held(&pool)).collect();
    until(|| seen.get() == 1 && pool.queue.borrow().len() == 2).await;

    more.notify_one();

    timeout(SOON, until(|| seen.get() == 3)).await.expect("the others");
    requests.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "local")]
async fn a_connection_that_ends_before_its_service_has_said_anything_is_followed_by_another() {
    let gate = Rc::new(Notify::new());
    let closing = Rc::clone(&gate);
    let service = Service::raw(move |mut tcp, number| {
        let gate = Rc::clone(&closing);
        async move {
            if number == 1 {
                read_frames(&mut tcp, |kind, _| kind != HEADERS).await;
                gate.notified().await;
            } else {
                answer_streams(tcp, 10).await;
            }
        }
    })
    .await;
    let upstream = by_http2(&service, LIMITS);
    let pool = pool(&upstream);
    let sender = Rc::clone(&pool);
    let first = spawn_local(async move { send(&sender, get("/first")).await.is_ok() });
    until(|| pool.shared.borrow().all().first().is_some_and(|shared| !shared.is_idle())).await;
    let second = held(&pool);
    until(|| pool.queue.borrow().len() == 1).await;

    gate.notify_one();

    let told = timeout(SOON, async { (first.await.unwrap(), second.await.unwrap()) }).await;
    assert_eq!(told.expect("an end of both"), (false, true));
}

/// Answers nothing; takes one request at a time, and three once it is told so.
async fn taking_one_then_three(mut tcp: TcpStream, more: Rc<Notify>, seen: Rc<Cell<usize>>) {
    tcp.write_all(&settings(1)).await.unwrap();
    let mut read = 0;
    while read < 3 {
        let next = read_frames(&mut tcp, |kind, number| {
            read += usize::from(kind == HEADERS);
            seen.set(read);
            kind != HEADERS || number == 0
        });
        next.await;
        if read == 1 {
            more.notified().await;
            tcp.write_all(&settings(3)).await.unwrap();
        }
    }
    while tcp.read_u8().await.is_ok() {}
}

/// SETTINGS_MAX_CONCURRENT_STREAMS.
fn settings(streams: u8) -> [u8; 15] {
    [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, streams]
}

/// Reads frames for as long as their kinds and streams are to be followed by another.
async fn read_frames(tcp: &mut TcpStream, mut goes_on: impl FnMut(u8, u8) -> bool) {
    let mut head = [0; 9];
    // What a connection begins with is no frame, and its first three bytes are no length.
    while tcp.read_exact(&mut head).await.is_ok() {
        if head.starts_with(b"PRI") {
            tcp.read_exact(&mut [0; 15]).await.unwrap();
            continue;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        tcp.read_exact(&mut vec![0; length as usize]).await.unwrap();
        if !goes_on(head[3], head[8]) {
            return;
        }
    }
}

const HEADERS: u8 = 1;

/// Only what hangs takes as long.
const SOON: Duration = Duration::from_secs(20);
