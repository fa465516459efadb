//! Whoever is polled moves a connection's bytes, and leaves nothing to nobody.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::yield_now;

use super::*;
use crate::config::{HttpVersion, Scheme};
use crate::transport::dial::DialNotes;
use crate::transport::h2::connection::Connection;
use crate::transport::tests::lab::url;
use crate::transport::wire::Wire;
use crate::transport::{Connector, Spelling, dial};

#[tokio::test(flavor = "local")]
async fn what_is_read_for_a_request_that_finds_no_place_is_answered() {
    let ping = frame(frames::PING, 0, 0, b"12345678");
    let goodbye = frame(frames::GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]);
    for (name, said) in [("full", ping.clone()), ("refused", [ping, goodbye].concat())] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = url(Scheme::Http, listener.local_addr().unwrap().port());
        let connector = Connector::new(&address, None, HttpVersion::Http2, None, Spelling::LowerCase);
        let notes = DialNotes::default();
        let (dialed, service) = tokio::join!(dial::dial(&connector.0, &notes), listener.accept());
        let mut connection = Connection::new(dialed.unwrap_or_else(|error| panic!("{error}")).wire);
        let mut service = service.unwrap().0;
        let driver = Arc::<WokenTask>::default();
        connection.driver = Some(Arc::clone(&driver).into());
        let settings = frames::ServiceSettings { streams: Some(1), ..Default::default() };
        connection.multiplexer.settle(settings).unwrap();
        let first = poll_fn(|cx| connection.poll_begin(&get("/"), StreamEnd::Here, cx)).await.unwrap().0;
        let waits = poll_fn(|cx| Poll::Ready(connection.poll_head(first, cx).is_pending())).await;
        assert!(waits && connection.multiplexer.outbox.is_empty());
        service.write_all(&said).await.unwrap();
        while !connection.wire.as_ref().is_some_and(Wire::has_news) {
            yield_now().await;
        }
        driver.0.store(false, Ordering::Relaxed);

        let second = poll_fn(|cx| Poll::Ready(connection.poll_begin(&get("/"), StreamEnd::Here, cx))).await;

        assert!(!matches!(second, Poll::Ready(Ok(_))), "{name}");
        assert!(!connection.multiplexer.outbox.is_empty(), "{name}");
        assert!(driver.0.load(Ordering::Relaxed), "{name}: nobody writes the answer");
    }
}
