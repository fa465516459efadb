//! What an outbound proxy may do instead of opening a tunnel, and how it may open one.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::lab::Lab;
use crate::lab::nginx::Seen;

/// What a proxy does once it has been asked.
#[derive(Clone)]
struct Deed {
    answer: Vec<u8>,
    pieces: Pieces,
    then: Then,
}

#[derive(Clone, Copy)]
enum Pieces {
    AtOnce,
    /// Each byte in a packet of its own.
    Bytes,
}

#[derive(Clone, Copy)]
enum Then {
    /// It is a tunnel to this port from here on.
    Tunnels(u16),
    Closes,
    /// It says nothing more.
    Hangs,
}

struct HostileProxy {
    url: String,
    /// All that came, connection by connection, but what a tunnel carries.
    received: Arc<Mutex<Vec<Vec<u8>>>>,
    task: JoinHandle<()>,
}

impl HostileProxy {
    async fn start(answer: impl AsRef<[u8]>, pieces: Pieces, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let received = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let (heard, deed) = (Arc::clone(&received), Deed { answer: answer.as_ref().to_vec(), pieces, then });
        let task = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let number = {
                    let mut heard = heard.lock().unwrap();
                    heard.push(Vec::new());
                    heard.len() - 1
                };
                // Ends with the connection, which Sidekey closes, or with the test's runtime.
                tokio::spawn(serve(tcp, number, Arc::clone(&heard), deed.clone()));
            }
        });
        Self { url, received, task }
    }

    fn received(&self) -> Vec<String> {
        self.received.lock().unwrap().iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }
}

impl Drop for HostileProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut tcp: TcpStream, number: usize, heard: Arc<Mutex<Vec<Vec<u8>>>>, deed: Deed) {
    tcp.set_nodelay(true).unwrap();
    let hear = |byte| heard.lock().unwrap()[number].push(byte);
    while !heard.lock().unwrap()[number].ends_with(b"\r\n\r\n") {
        let Ok(byte) = tcp.read_u8().await else { return };
        hear(byte);
    }
    let size = match deed.pieces {
        Pieces::AtOnce => deed.answer.len().max(1),
        Pieces::Bytes => 1,
    };
    for piece in deed.answer.chunks(size) {
        if tcp.write_all(piece).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
    match deed.then {
        Then::Tunnels(port) => {
            let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let _gone = copy_bidirectional(&mut tcp, &mut far).await;
        }
        Then::Closes => {}
        Then::Hangs => {
            while let Ok(byte) = tcp.read_u8().await {
                hear(byte);
            }
        }
    }
}

fn service(lab: &Lab, proxy: &HostileProxy, keys: &str) -> String {
    format!(
        "services: {{ payments: {{ url: 'https://service.example:{}', certificate: partner, \
         auth: {{ type: bearer, token: secret-token }}, tls: {{ ca: tls/ca.pem, server_name: localhost }}, \
         outbound_proxy: {{ url: '{}', username: me, password: hunter2 }}, {keys} }} }}",
        lab.nginx.http1, proxy.url
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_is_opened_however_its_answer_arrives() {
    let lab = Lab::start().await;
    let long = format!("HTTP/1.1 200 Connection established\r\nvia: {}\r\n\r\n", "x".repeat(10_000));
    for answer in [
        "HTTP/1.1 200 Connection established\r\n\r\n",
        "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.0 200\r\n\r\n",
        // RFC 9110 §9.3.6: neither means anything here.
        "HTTP/1.1 204 Fine\r\ncontent-length: 100\r\ntransfer-encoding: chunked\r\n\r\n",
        &long,
    ] {
        for pieces in [Pieces::AtOnce, Pieces::Bytes] {
            let proxy = HostileProxy::start(answer, pieces, Then::Tunnels(lab.nginx.http1)).await;
            let sidekey = lab.sidekey(&service(&lab, &proxy, "")).await;

            let body = "0123456789".repeat(20_000);
            let seen = Seen::read(&sidekey.post("/payments/orders", body.clone()).await);

            assert_eq!((seen.authorization.as_str(), seen.body == body), ("Bearer secret-token", true));
        }
    }
}

/// `code` is our word for it; `asked`: how often the proxy is asked on behalf of one request.
async fn check(lab: &Lab, proxy: HostileProxy, status: u16, code: &str, said: &str, asked: usize) {
    let sidekey = lab.sidekey(&service(lab, &proxy, "timeouts: { connect: 400ms }")).await;

    let answer = sidekey.post("/payments/orders", "the body").await;

    let told = (answer.status, answer.json()["type"].as_str().unwrap().to_owned());
    assert_eq!(told, (status, format!("urn:sidekey:error:{code}")), "{answer:?}");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(said), "{said}: {detail}");
    let received = proxy.received();
    assert_eq!(received.len(), asked, "{said}: {received:?}");
    let (_, log) = sidekey.stop().await;
    for text in [answer.text(), log] {
        assert!(!text.contains("hunter2") && !text.contains("bWU6aHVudGVyMg"), "{text}");
    }
    for text in received {
        assert!(text.starts_with("CONNECT service.example:"), "{text}");
        for secret in ["secret-token", "orders", "the body"] {
            assert!(!text.contains(secret), "{said}: the proxy saw {secret}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_does_instead_is_told_by_its_kind_and_shows_it_nothing_of_the_request() {
    use Pieces::{AtOnce, Bytes};
    use Then::{Closes, Hangs};
    let lab = Lab::start().await;
    let page = "HTTP/1.1 407 No\r\nproxy-authenticate: Basic realm=x\r\ncontent-length: 7\r\n\r\nhunter2";
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(40_000));
    for (answer, pieces, then, status, code, said, asked) in [
        (page, Bytes, Closes, 502, "connection_refused", "answered 407 Proxy Authentication Required", 1),
        (page, AtOnce, Hangs, 502, "connection_refused", "it does not take this user and password", 1),
        ("HTTP/1.1 403 x\r\n\r\n", Bytes, Hangs, 502, "connection_refused", "answered 403 Forbidden to CONNECT", 1),
        // What is refused for now is tried once more, as is every connection that comes to nothing.
        ("HTTP/1.1 503 x\r\n\r\n", AtOnce, Closes, 502, "connection_refused", "it can't get there itself", 2),
        (&endless, AtOnce, Hangs, 502, "http_protocol_error", "a head longer than 16 KiB", 2),
        ("220 smtp.example ESMTP\r\n", AtOnce, Hangs, 502, "http_protocol_error", "that is not HTTP/1.1", 2),
        ("", AtOnce, Closes, 502, "connection_terminated", "closed the connection instead of answering CONNECT", 2),
        ("HTTP/1.1 200 O", Bytes, Closes, 502, "connection_terminated", "instead of answering CONNECT", 2),
        // With a hello unread its end is a reset, which comes to the same.
        (
            "HTTP/1.1 200 OK\r\n\r\n",
            AtOnce,
            Closes,
            502,
            "connection_terminated",
            "the service closed the connection before it answered",
            2,
        ),
        ("", AtOnce, Hangs, 504, "connection_timeout", ", through the outbound proxy http://127.0.0.1:", 2),
        ("HTTP/1.1 200 OK\r\n", Bytes, Hangs, 504, "connection_timeout", ", through the outbound proxy http://", 2),
        // A body to a 200 is no body: whoever is at the other end speaks no TLS.
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", AtOnce, Hangs, 502, "tls_protocol_error", "TLS", 1),
        // An alert that comes before a hello was sent, in the same packet as the head.
        (
            "HTTP/1.1 200 OK\r\n\r\n\x15\x03\x03\x00\x02\x02\x28",
            AtOnce,
            Hangs,
            502,
            "tls_alert_received",
            "handshake_failure",
            1,
        ),
    ] {
        check(&lab, HostileProxy::start(answer, pieces, then).await, status, code, said, asked).await;
    }
}
