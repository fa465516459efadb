//! Services that send back what they get, piece by piece as it comes, trailers too, and keep the heads.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::http2_app::next;

/// A running service; ends, with all its connections, when it is dropped.
pub struct Mirror {
    port: u16,
    log: Arc<MirrorLog>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct MirrorLog {
    heads: Mutex<Vec<String>>,
    /// How each body ended.
    ends: Mutex<Vec<BodyEnd>>,
}

/// How a request's body ended for the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    Whole,
    BrokenOff,
}

impl Mirror {
    /// Over HTTP/1.1, for requests whose bodies are chunked.
    pub async fn http1() -> Self {
        Self::start(http1).await
    }

    /// Over HTTP/2 by prior knowledge.
    pub async fn http2() -> Self {
        Self::start(http2).await
    }

    async fn start<F>(serve: impl Fn(TcpStream, Arc<MirrorLog>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Option<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, log) = (listener.local_addr().unwrap().port(), Arc::<MirrorLog>::default());
        let shared = Arc::clone(&log);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                connections.spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { port, log, task }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The heads of all requests so far, as they came.
    pub fn heads(&self) -> Vec<String> {
        self.log.heads.lock().unwrap().clone()
    }

    pub fn ends(&self) -> Vec<BodyEnd> {
        self.log.ends.lock().unwrap().clone()
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl MirrorLog {
    fn ended(&self, whole: bool) {
        self.ends.lock().unwrap().push(if whole { BodyEnd::Whole } else { BodyEnd::BrokenOff });
    }
}

async fn http1(stream: TcpStream, log: Arc<MirrorLog>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let head = lines_until_empty(&mut stream).await?;
        let has_body = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        log.heads.lock().unwrap().push(head);
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n").await.ok()?;
        if !has_body {
            stream.write_all(b"0\r\n\r\n").await.ok()?;
            continue;
        }
        let whole = reflect(&mut stream).await.is_some();
        log.ended(whole);
        whole.then_some(())?;
    }
}

/// Chunk by chunk.
async fn reflect(stream: &mut BufReader<TcpStream>) -> Option<()> {
    loop {
        let mut size = String::new();
        stream.read_line(&mut size).await.ok().filter(|read| *read > 0)?;
        let length = usize::from_str_radix(size.trim_end(), 16).ok()?;
        if length == 0 {
            let trailers = lines_until_empty(stream).await?;
            stream.write_all(format!("0\r\n{trailers}\r\n").as_bytes()).await.ok()?;
            return Some(());
        }
        let mut chunk = vec![0; length + 2];
        stream.read_exact(&mut chunk).await.ok()?;
        stream.write_all(&[size.as_bytes(), &chunk].concat()).await.ok()?;
    }
}

async fn lines_until_empty(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut lines = String::new();
    loop {
        let before = lines.len();
        stream.read_line(&mut lines).await.ok().filter(|read| *read > 0)?;
        if lines.len() == before + 2 {
            lines.truncate(before);
            return Some(lines);
        }
    }
}

async fn http2(stream: TcpStream, log: Arc<MirrorLog>) -> Option<()> {
    // One stream that is not read holds up no other, in any number of pieces.
    let mut settings = h2::server::Builder::new();
    settings.initial_connection_window_size(1 << 24).data_frame_budget(1 << 24);
    let mut connection = settings.handshake(stream).await.ok()?;
    let mut exchanges = JoinSet::new();
    while let Some(accepted) = connection.accept().await {
        let (request, mut respond) = accepted.ok()?;
        let log = Arc::clone(&log);
        exchanges.spawn(async move {
            log.heads.lock().unwrap().push(text(&request));
            let mut upload = request.into_body();
            let mut stream =
                respond.send_response(Response::builder().header("trailer", "x-sum").body(()).unwrap(), false).ok()?;
            let whole = loop {
                match next(&mut upload).await {
                    Ok(Some(piece)) => send(&mut stream, piece).await?,
                    Ok(None) => break upload.trailers().await.ok(),
                    Err(_) => break None,
                }
            };
            log.ended(whole.is_some());
            match whole {
                Some(trailers) => stream.send_trailers(trailers.unwrap_or_default()).ok(),
                None => {
                    stream.send_reset(h2::Reason::CANCEL);
                    None
                }
            }
        });
    }
    Some(())
}

/// Waits for room, so that no more is in memory than the app reads.
async fn send(stream: &mut h2::SendStream<Bytes>, mut piece: Bytes) -> Option<()> {
    while !piece.is_empty() {
        stream.reserve_capacity(piece.len());
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await?.ok()?;
        stream.send_data(piece.split_to(room.min(piece.len())), false).ok()?;
    }
    Some(())
}

fn text<T>(request: &Request<T>) -> String {
    let fields: &HeaderMap = request.headers();
    let lines = fields.iter().map(|(name, value)| format!("{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes())));
    format!("{} {}\r\n{}", request.method(), request.uri(), lines.collect::<String>())
}
