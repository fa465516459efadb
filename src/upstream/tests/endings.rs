//! HTTP/1.1: where a message did not end as it should, its connection carries no other.

use std::cell::RefCell;
use std::rc::Rc;

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;

use super::{LIMITS, fetch, pool, send, until, upstream};
use crate::transport::tests::lab::{Service, app_body, outgoing, read_head};
use crate::transport::{Outgoing, RequestBody};

/// Answers each head at once and takes what follows it for the next one, as fifteen lines of a script do. Knows what it
/// took for requests, each with the number of its connection.
#[derive(Clone, Default)]
struct Careless(Rc<RefCell<Vec<(usize, String)>>>);

impl Careless {
    async fn service(&self) -> Service {
        let seen = self.clone();
        Service::raw(move |tcp, number| seen.clone().serve(tcp, number)).await
    }

    async fn serve(self, mut tcp: TcpStream, number: usize) {
        loop {
            let head = read_head(&mut tcp).await;
            let Some(path) = head.split(' ').nth(1) else { return };
            self.0.borrow_mut().push((number, path.to_owned()));
            // It takes its time over what nobody asked for: until somebody asks, or leaves.
            if path == "/admin" && tcp.peek(&mut [0]).await.unwrap_or(0) == 0 {
                return;
            }
            let status = if head.starts_with("POST") { "413 Content Too Large" } else { "200 OK" };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{path}", path.len());
            if tcp.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn count(&self, path: &str) -> usize {
        self.0.borrow().iter().filter(|(_, seen)| seen == path).count()
    }
}

/// A POST whose body comes later.
async fn upload(length: usize) -> (Outgoing, DuplexStream) {
    let (incoming, app) = app_body(&format!("content-length: {length}"), b"").await;
    let (body, _) = RequestBody::app(incoming, 64);
    (outgoing(Method::POST, "/upload", body), app)
}

#[tokio::test(flavor = "local")]
async fn an_upload_that_was_answered_early_is_never_read_as_the_next_request() {
    const HIDDEN: &[u8] = b"GET /admin HTTP/1.1\r\n\r\n";
    let seen = Careless::default();
    let service = seen.service().await;
    let upstream = upstream(&service, LIMITS);
    let pool = pool(&upstream);

    for round in 1..=20 {
        let (request, mut app) = upload(HIDDEN.len()).await;
        let early = send(&pool, request).await.unwrap_or_else(|failure| panic!("{}", failure.error));
        assert_eq!(early.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(early.into_body().collect().await.unwrap().to_bytes(), "/upload");
        app.write_all(HIDDEN).await.unwrap();
        // So the service reads it; its answer to it is for nobody.
        until(|| seen.count("/admin") == round).await;

        let mine = format!("/mine/{round}");

        assert_eq!(fetch(&pool, &mine).await, mine);
        assert_eq!(seen.count(&mine), 1);
    }
    pool.retire();
    until(|| upstream.permits.left() == LIMITS.max_connections).await;
}
