//! Answers that switch to another protocol: to what was asked for, and else to nothing.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::lab::{Service, get, read_head, unanswered};
use crate::transport::{Error, Http1Connection, Outgoing, ProtocolSwitch, Sender, SerialConnection};

const SWITCHES: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";

fn asking() -> Outgoing {
    let mut request = get("/");
    request.fields.insert("upgrade", "websocket".parse().unwrap());
    request.switch = ProtocolSwitch::Asked;
    request
}

/// The connection of an answer that came.
fn connection(sender: Sender) -> Box<Http1Connection> {
    match sender {
        Sender::Serial(SerialConnection::Http1(http1)) => http1,
        #[cfg(feature = "files")]
        Sender::Serial(SerialConnection::File(_)) => panic!("it is no HTTP"),
        Sender::Http2(_) => panic!("it speaks HTTP/2"),
    }
}

#[tokio::test(flavor = "local")]
async fn what_follows_a_switch_is_no_http_from_its_first_byte_on() {
    let service = Service::raw(|mut tcp, _| async move {
        let head = read_head(&mut tcp).await;
        assert!(head.contains("\r\nupgrade: websocket\r\n") && head.contains("\r\nconnection: Upgrade\r\n"), "{head}");
        tcp.write_all(&[SWITCHES.as_bytes(), b"HTTP/1.1 200 OK\r\n\r\n"].concat()).await.unwrap();
        let mut heard = [0; 5];
        tcp.read_exact(&mut heard).await.unwrap();
        tcp.write_all(&heard).await.unwrap();
    })
    .await;
    let mut sender = service.connected().await;

    let response = sender.ask(asking()).await.unwrap_or_else(|unsent| panic!("{}", unsent.error));
    let mut switched = connection(sender).into_switched().expect("it has switched");

    assert_eq!(response.status(), 101);
    switched.write_all(b"hello").await.unwrap();
    let mut all = String::new();
    switched.read_to_string(&mut all).await.unwrap();
    assert_eq!(all, "HTTP/1.1 200 OK\r\n\r\nhello");
}

#[tokio::test(flavor = "local")]
async fn one_that_has_switched_carries_no_other_request() {
    let service = Service::answering(SWITCHES).await;
    let mut sender = service.connected().await;
    assert!(sender.ask(asking()).await.is_ok());

    let again = unanswered(sender.ask(get("/")).await);

    assert!(again.whole && matches!(again.error, Error::Terminated(_)), "{}", again.error);
    assert!(connection(sender).into_rest().is_none());
}

#[tokio::test(flavor = "local")]
async fn a_switch_that_nobody_asked_for_is_no_answer_and_any_other_answer_is_one() {
    let unasked = Service::answering(SWITCHES).await.failure().await;
    assert!(matches!(unasked.error, Error::Protocol(_)), "{}", unasked.error);

    let service = Service::answering("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").await;
    let mut sender = service.connected().await;
    assert_eq!(sender.fetch(asking()).await, (http::StatusCode::FORBIDDEN, "no".to_owned()));
    assert!(connection(sender).into_switched().is_none());
}

#[tokio::test(flavor = "local")]
async fn te_is_named_beside_the_upgrade() {
    let service = Service::raw(|mut tcp, _| async move {
        let head = read_head(&mut tcp).await;
        let answer =
            if head.contains("\r\nconnection: Upgrade, te\r\n") { SWITCHES } else { "HTTP/1.1 500 Word\r\n\r\n" };
        tcp.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let mut request = asking();
    request.fields.insert("te", "trailers".parse().unwrap());

    let answer = service.connected().await.ask(request).await.unwrap_or_else(|unsent| panic!("{}", unsent.error));

    assert_eq!(answer.status(), 101);
}
