//! A service that is asked for WebSockets, and does what its test says and no more.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::client::field;
use super::http2_app::in_time;

/// Its port; nothing is accepted until the test says so.
pub struct Switcher(TcpListener);

/// A request that has come, up to the end of its head.
pub struct Handshake {
    pub head: String,
    stream: TcpStream,
}

impl Switcher {
    pub async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }

    /// The next connection's request.
    pub async fn asked(&self) -> Handshake {
        let (mut stream, _) = in_time(self.0.accept()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(in_time(stream.read_u8()).await.unwrap());
        }
        Handshake { head: String::from_utf8(head).unwrap(), stream }
    }
}

impl Handshake {
    /// The one value of a field.
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<String> {
        field(&self.head, name)
    }

    /// What has come behind the head.
    pub fn came_behind(&self) -> usize {
        self.stream.try_read(&mut [0; 64]).unwrap_or_default()
    }

    /// Opens the WebSocket; `early` is the first that is said in it, together with the answer's head.
    pub async fn switch(self, early: &str) -> TcpStream {
        let key = self.field("sec-websocket-key").unwrap();
        let accept = accept(&key);
        let fields = format!("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n");
        self.answer(&format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n{early}")).await
    }

    pub async fn answer(mut self, bytes: &str) -> TcpStream {
        self.stream.write_all(bytes.as_bytes()).await.unwrap();
        self.stream
    }
}

/// RFC 6455 §4.2.2.
fn accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}
