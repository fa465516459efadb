//! An app that speaks HTTP/2 by prior knowledge.

use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// One connection of an app.
pub struct Http2App {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

/// One answer, read to its end.
#[derive(Debug)]
pub struct Http2Answer {
    pub status: u16,
    pub fields: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
}

impl Http2App {
    pub async fn open(address: &str) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        // One stream that is not read holds up no other, in any number of pieces.
        let mut settings = client::Builder::new();
        settings.initial_connection_window_size(1 << 24).data_frame_budget(1 << 24);
        let (requests, connection) = in_time(settings.handshake(socket)).await.unwrap();
        Self { requests, connection: tokio::spawn(connection) }
    }

    /// Sends a head; its answer comes when it comes.
    pub async fn begin(&mut self, request: Request<()>, ends: bool) -> (ResponseFuture, SendStream<Bytes>) {
        let mut ready = in_time(self.requests.clone().ready()).await.unwrap();
        ready.send_request(request, ends).unwrap()
    }

    /// Sends all of it and reads all of the answer.
    pub async fn send(&mut self, request: Request<()>, body: &[u8]) -> Result<Http2Answer, h2::Error> {
        let (answer, mut stream) = self.begin(request, body.is_empty()).await;
        if !body.is_empty() {
            stream.send_data(Bytes::copy_from_slice(body), true)?;
        }
        in_time(async { read(answer.await?).await }).await
    }

    pub async fn get(&mut self, target: &str) -> Result<Http2Answer, h2::Error> {
        self.send(request("GET", target), b"").await
    }

    /// Waits until the connection has ended; whether that was in peace.
    pub async fn closed(self) -> Result<(), h2::Error> {
        in_time(self.connection).await.unwrap()
    }
}

impl Http2Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn field(&self, name: &str) -> Option<String> {
        Some(String::from_utf8_lossy(self.fields.get(name)?.as_bytes()).into_owned())
    }
}

/// A request to the local name.
pub fn request(method: &str, target: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("http://localhost{target}")).body(()).unwrap()
}

/// Reads an answer to its end.
pub async fn read(answer: Response<RecvStream>) -> Result<Http2Answer, h2::Error> {
    let (head, mut stream) = answer.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = next(&mut stream).await? {
        body.extend_from_slice(&piece);
    }
    let trailers = stream.trailers().await?.unwrap_or_default();
    Ok(Http2Answer { status: head.status.as_u16(), fields: head.headers, body, trailers })
}

/// The next piece of a body that is not empty.
pub async fn next(stream: &mut RecvStream) -> Result<Option<Bytes>, h2::Error> {
    while let Some(piece) = stream.data().await.transpose()? {
        stream.flow_control().release_capacity(piece.len())?;
        if !piece.is_empty() {
            return Ok(Some(piece));
        }
    }
    Ok(None)
}

pub async fn in_time<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), what).await.expect("it comes in time")
}
