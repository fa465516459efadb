//! Trailers on their way to a service that takes them for fields.

use tokio::io::AsyncReadExt;

use super::lab::Worker;
use crate::transport::tests::lab::{Service, read_head};
use std::cell::RefCell;
use std::rc::Rc;
use tokio::io::AsyncWriteExt;

#[tokio::test(flavor = "local")]
async fn a_trailer_does_not_contradict_the_field_that_a_request_was_routed_by() {
    let seen = Rc::new(RefCell::new(String::new()));
    let service = {
        let seen = Rc::clone(&seen);
        Service::raw(move |mut tcp, _| {
            let seen = Rc::clone(&seen);
            async move {
                let mut message = read_head(&mut tcp).await;
                while !message.ends_with("\r\n\r\n") || !message.contains("\r\n0\r\n") {
                    message.push(char::from(tcp.read_u8().await.unwrap()));
                }
                *seen.borrow_mut() = message;
                tcp.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            }
        })
        .await
    };
    let worker = Worker::start(&format!(
        "services: {{ silver: {{ url: 'http://{}' }}, gold: {{ url: 'http://127.0.0.1:1' }} }}\n\
         routes: [{{ path: /pay, service: silver }}, {{ path: /pay, headers: {{ x-tier: gold }}, service: gold }}]",
        service.address
    ));

    let mut app = worker
        .app(
            "POST /pay HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\
             trailer: X_Tier, X-Tier, x-sum\r\n\r\n1\r\na\r\n0\r\nX_Tier: gold\r\nx-tier: gold\r\nx-sum: 7\r\n\r\n",
        )
        .await;

    assert!(app.answer().await.starts_with("HTTP/1.1 204 "));
    let seen = seen.borrow().to_lowercase();
    assert!(seen.contains("x-sum: 7") && !seen.contains("tier"), "{seen}");
}
