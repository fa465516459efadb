//! A service that tells one event after the other, as its test says them: of either dialect, for one request.

use bytes::Bytes;
use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

/// A running service; ends when it is dropped.
pub struct Teller {
    port: u16,
    events: UnboundedSender<String>,
    task: JoinHandle<()>,
}

impl Teller {
    /// Over HTTP/1.1, until the connection ends.
    pub async fn http1() -> Self {
        Self::start(http1).await
    }

    /// Over HTTP/2 by prior knowledge.
    pub async fn http2() -> Self {
        Self::start(http2).await
    }

    async fn start<F>(serve: impl Fn(TcpStream, UnboundedReceiver<String>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (events, said) = unbounded_channel();
        let task = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            serve(stream, said).await;
        });
        Self { port, events, task }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Writes one more.
    pub fn tell(&self, event: &str) {
        self.events.send(event.to_owned()).unwrap();
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn http1(mut stream: TcpStream, mut said: UnboundedReceiver<String>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await.unwrap();
    while let Some(event) = said.recv().await {
        stream.write_all(event.as_bytes()).await.unwrap();
    }
}

async fn http2(stream: TcpStream, mut said: UnboundedReceiver<String>) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let (_, mut respond) = connection.accept().await.unwrap().unwrap();
    let response = Response::builder().header("content-type", "text/event-stream").body(()).unwrap();
    let mut stream = respond.send_response(response, false).unwrap();
    let telling = async move {
        while let Some(event) = said.recv().await {
            stream.send_data(Bytes::from(event), false).unwrap();
        }
    };
    tokio::join!(telling, async { while connection.accept().await.is_some() {} });
}
