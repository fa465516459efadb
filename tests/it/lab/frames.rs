//! A service that speaks HTTP/2 frame by frame, for what no real server can be asked to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Refuses the first request by the given frame, and answers all others with 204.
pub struct Server {
    port: u16,
    requests: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens for HTTP/2 by prior knowledge.
    pub async fn start(refusal: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(accept(listener, requests.clone(), refusal));
        Self { port, requests, task }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// GOAWAY without an error: streams after `last` were not processed (RFC 9113 §6.8).
pub fn goaway(last: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat())
}

/// RST_STREAM that says that nothing was processed (RFC 9113 §8.7).
pub fn refused_stream(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &7_u32.to_be_bytes())
}

/// HEADERS that are a whole 304 and say how long its body would be (fewer than 10,000 bytes).
pub fn not_modified(stream: u32, length: u32) -> Vec<u8> {
    let length = length.to_string();
    // `:status: 304`, then `content-length` by its name's number and a value as it stands (RFC 7541 §6).
    let mut fields = vec![0x8b, 0x0f, 0x0d, length.len() as u8];
    fields.extend(length.bytes());
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields)
}

/// GOAWAY for an internal error, before any stream, and with debug data.
pub fn goaway_saying(text: &str) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[&[0; 4], &2_u32.to_be_bytes(), text.as_bytes()].concat())
}

/// An answer that says nothing, in so many frames, and goes on.
pub fn empty_frames(stream: u32, count: usize) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS, stream, &[STATUS_200]);
    [head, frame(DATA, 0, stream, &[]).repeat(count)].concat()
}

async fn accept(listener: TcpListener, requests: Arc<AtomicUsize>, refusal: Vec<u8>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (requests, refusal) = (requests.clone(), refusal.clone());
        connections.spawn(async move { drop(serve(stream, &requests, &refusal).await) });
    }
}

async fn serve(mut stream: TcpStream, requests: &AtomicUsize, refusal: &[u8]) -> std::io::Result<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await?;
        let number = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        match head[3] {
            SETTINGS if head[4] & ACK == 0 => stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await?,
            HEADERS if requests.fetch_add(1, Ordering::Relaxed) == 0 => stream.write_all(refusal).await?,
            HEADERS => stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, number, &[STATUS_204])).await?,
            _ => {}
        }
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
/// Of HEADERS: five bytes about the stream's priority come first.
pub const WITH_PRIORITY: u8 = 32;

/// `:status: 200` and `204` in HPACK's static table (RFC 7541, appendix A).
const STATUS_200: u8 = 0x88;
const STATUS_204: u8 = 0x89;

/// With which a connection begins (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A block of fields, each as it stands, with nothing remembered (RFC 7541 §6.2.2); names and values of up to 126 bytes.
pub fn fields(list: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in list {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}
