//! Who is waited for, and for how long.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use super::lab::{Worker, until};
use crate::transport::tests::lab::{AsksForCertificate, Authorities, Service, read_head};

/// Reads the head and then does `then`, keeping the connection open.
async fn after_head<F: Future<Output = ()> + 'static>(then: impl Fn(Held) -> F + Clone + 'static) -> Service {
    Service::raw(move |mut tcp, _| {
        let then = then.clone();
        async move {
            read_head(&mut tcp).await;
            then(Held(tcp)).await;
        }
    })
    .await
}

/// A service's end of a connection.
struct Held(TcpStream);

impl Held {
    async fn for_ever(self) {
        let _held = self;
        std::future::pending::<()>().await;
    }
}

fn worker(service: &Service, timeouts: &str) -> Worker {
    Worker::start(&format!("services: {{ a: {{ url: 'http://{}', timeouts: {timeouts} }} }}", service.address))
}

const GET: &str = "GET /a/x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

#[tokio::test(flavor = "local")]
async fn a_service_that_does_not_answer_is_given_up() {
    let service = after_head(Held::for_ever).await;
    let worker = worker(&service, "{ response: 1s, idle: off }");

    let answer = worker.tick_until_answered(worker.app(GET).await).await;

    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert!(answer.contains("urn:sidekey:error:http_response_timeout"), "{answer}");
}

#[tokio::test(flavor = "local")]
async fn an_app_that_stops_sending_is_told_so() {
    let service = after_head(Held::for_ever).await;
    let worker = worker(&service, "{ response: off, idle: 1s }");
    let app = worker.app("POST /a/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nhe").await;

    let answer = worker.tick_until_answered(app).await;

    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("urn:sidekey:error:request_timeout"), "{answer}");
}

#[tokio::test(flavor = "local")]
async fn the_response_limit_begins_when_the_body_is_all_sent() {
    let service = after_head(|mut held| async move {
        held.0.read_exact(&mut [0; 5]).await.unwrap();
        held.for_ever().await;
    })
    .await;
    let worker = worker(&service, "{ response: 1s, idle: off }");
    let mut app =
        worker.app("POST /a/x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhe").await;
    until(|| worker.totals("a").active == 1).await;
    worker.ticks(40).await;

    app.send("llo").await;
    let answer = worker.tick_until_answered(app).await;

    assert!(answer.contains("urn:sidekey:error:http_response_timeout"), "{answer}");
}

#[tokio::test(flavor = "local")]
async fn an_answer_that_pauses_for_too_long_breaks_off() {
    let service = after_head(|mut held| async move {
        held.0.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe").await.unwrap();
        held.for_ever().await;
    })
    .await;
    let worker = worker(&service, "{ response: off, idle: 1s }");
    let mut app = worker.app(GET).await;
    app.until("\r\n\r\nhe").await;

    let rest = worker.tick_until_answered(app).await;

    assert_eq!(rest, "", "it does not end as if whole");
    until(|| worker.exchanges() == 0).await;
}

#[tokio::test(flavor = "local")]
async fn off_waits_for_ever() {
    let service = after_head(|mut held| async move {
        held.0.read_u8().await.unwrap();
        held.0.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        held.for_ever().await;
    })
    .await;
    let worker = worker(&service, "{ response: off, idle: off }");
    let mut app =
        worker.app("POST /a/x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 1\r\n\r\n").await;
    until(|| worker.totals("a").active == 1).await;
    worker.ticks(4_000).await;

    app.send("x").await;

    assert!(app.answer().await.starts_with("HTTP/1.1 204 "), "it was still waited for");
}

#[tokio::test(flavor = "local")]
async fn the_connection_in_place_of_a_dead_one_is_made_in_its_own_time() {
    let authorities = Authorities::new();
    let acceptor = TlsAcceptor::from(authorities.server("127.0.0.1", &[], AsksForCertificate::No));
    let (first, handshake) = (Rc::new(RefCell::new(None)), Rc::new(Notify::new()));
    let (kept, gate) = (Rc::clone(&first), Rc::clone(&handshake));
    let service = Service::raw(move |tcp, number| {
        let (acceptor, kept, gate) = (acceptor.clone(), Rc::clone(&kept), Rc::clone(&gate));
        async move {
            if number > 1 {
                gate.notified().await;
            }
            let mut tls = acceptor.accept(tcp).await.unwrap();
            read_head(&mut tls).await;
            tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhere").await.unwrap();
            *kept.borrow_mut() = Some(tls);
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authorities.pem()).unwrap();
    let url = format!("https://{}", service.address);
    let worker = Worker::start(&format!(
        "services: {{ a: {{ url: '{url}', tls: {{ ca: {} }}, timeouts: {{ response: 1s, connect: 60s }} }} }}",
        ca.display()
    ));
    let mut app = worker.app("GET /a/x HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    app.until("here").await;
    until(|| first.borrow().is_some() && worker.exchanges() == 0).await;

    // That it is dead shows when the next request is written.
    let dead = first.take().unwrap();
    dead.get_ref().0.set_zero_linger().unwrap();
    drop(dead);
    app.send(GET).await;
    until(|| service.accepted.get() == 2).await;
    worker.ticks(40).await;
    handshake.notify_one();

    let answer = app.answer().await;
    assert!(answer.ends_with("here"), "{answer}");
}
