//! A client that shows every byte: what it sends is written as text, what it gets is told apart by how it ended.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::nginx::Seen;
use super::{problems, sockets};

/// One request, written as it will be sent.
#[derive(Clone)]
pub struct Request {
    method: String,
    target: String,
    version: &'static str,
    host: Option<String>,
    fields: String,
    body: Vec<u8>,
}

impl Request {
    pub fn new(method: &str, target: &str) -> Self {
        let [method, target] = [method, target].map(str::to_owned);
        Self { method, target, version: "HTTP/1.1", host: None, fields: String::new(), body: Vec::new() }
    }

    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = body.len().to_string();
        Self { body, ..Self::new("POST", target).field("Content-Length", &length) }
    }

    /// The same with another method.
    pub fn method(self, method: &str) -> Self {
        Self { method: method.to_owned(), ..self }
    }

    /// A body in one chunk, of a length that nobody announced.
    pub fn chunked(method: &str, target: &str, body: &str) -> Self {
        let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        Self { body: chunks.into(), ..Self::new(method, target).field("Transfer-Encoding", "chunked") }
    }

    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields += &format!("{name}: {value}\r\n");
        self
    }

    /// `Host`, where the server's own address would not do.
    pub fn host(self, host: &str) -> Self {
        Self { host: Some(host.to_owned()), ..self }
    }

    pub fn http10(self) -> Self {
        Self { version: "HTTP/1.0", ..self }
    }

    pub fn to_bytes(&self, server: &str) -> Vec<u8> {
        let host = self.host.as_deref().unwrap_or(server);
        let Self { method, target, version, fields, .. } = self;
        let mut bytes = format!("{method} {target} {version}\r\nHost: {host}\r\n{fields}\r\n").into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// How an answer, or a connection, came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As its framing said it would.
    Whole,
    /// By the end of the connection, where nothing else was announced.
    ByClose,
    /// The connection was closed in the middle.
    Early,
    /// The connection was reset.
    Reset,
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Status line and fields.
    pub head: String,
    /// What is left when the chunks are taken apart.
    pub body: Vec<u8>,
    pub trailers: String,
    /// The heads of interim answers (1xx) that came before.
    pub interim: Vec<String>,
    pub ended: Ended,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The one value of a field; two are an error.
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<String> {
        field(&self.head, name)
    }

    pub fn fields(&self, name: &str) -> Vec<String> {
        fields(&self.head, name)
    }

    /// What nginx saw of the request.
    #[track_caller]
    pub fn at_service(&self) -> Seen {
        Seen::read(self)
    }

    /// Checks that this is our own answer with this code, in all its parts, and returns the `detail`.
    #[track_caller]
    pub fn problem(&self, code: &str) -> String {
        problems::check(self, code)
    }

    /// The status, once it is certain that it is the service's and no answer of ours.
    #[track_caller]
    pub fn status_of_service(&self) -> u16 {
        assert_eq!(self.field("proxy-status"), None, "{self:?}");
        self.status
    }

    /// `Retry-After` in seconds.
    #[track_caller]
    pub fn retry_after(&self) -> u64 {
        let value = self.field("retry-after").unwrap_or_else(|| panic!("no Retry-After: {self:?}"));
        value.parse().unwrap_or_else(|_| panic!("Retry-After: {value}"))
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    /// Makes the end of this connection a reset.
    fn end_by_reset(&self);
}

impl Stream for TcpStream {
    fn end_by_reset(&self) {
        self.set_zero_linger().unwrap();
    }
}

impl Stream for UnixStream {
    fn end_by_reset(&self) {}
}

/// A connection, kept for as many requests as one likes.
pub struct Connection {
    stream: Box<dyn Stream>,
    server: String,
    unread: Vec<u8>,
    asked_for_head: bool,
    /// Ours and theirs; none for a unix socket.
    ports: Option<[u16; 2]>,
}

impl Connection {
    pub async fn open(server: &str) -> Self {
        let connected = timeout(PATIENCE, TcpStream::connect(server)).await;
        let connected = connected.unwrap_or_else(|_| panic!("{server} takes no connection"));
        let stream = connected.unwrap_or_else(|error| panic!("{server}: {error}"));
        stream.set_nodelay(true).unwrap();
        let ports = [stream.local_addr(), stream.peer_addr()].map(|address| address.unwrap().port());
        Self { ports: Some(ports), ..Self::over(stream, server) }
    }

    pub async fn unix(path: &std::path::Path) -> Self {
        Self::over(UnixStream::connect(path).await.unwrap(), "localhost")
    }

    fn over(stream: impl Stream + 'static, server: &str) -> Self {
        let (stream, server) = (Box::new(stream), server.to_owned());
        Self { stream, server, unread: Vec::new(), asked_for_head: false, ports: None }
    }

    /// Sends bytes as they are.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        // The other side may have ended the connection before it read all: what it answered is what counts.
        let _gone = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Waits until the other side has read what was written: what follows comes to it by itself.
    pub async fn until_read(&self) {
        let ports = self.ports.expect("a TCP connection");
        super::until("what was written to be read", async || sockets::is_read(ports).then_some(())).await;
    }

    /// Says that nothing more is sent.
    pub async fn end(&mut self) {
        let _gone = self.stream.shutdown().await;
    }

    /// Says what the next bytes ask for: an answer to `HEAD` has no body.
    pub fn expects(&mut self, method: &str) {
        self.asked_for_head = method == "HEAD";
    }

    /// Sends a request and waits for its answer.
    pub async fn send(&mut self, request: Request) -> Answer {
        self.asked_for_head = request.method == "HEAD";
        let bytes = request.to_bytes(&self.server);
        self.write(bytes).await;
        self.answer().await
    }

    /// Whether the next answer has no body, whatever its head says.
    pub fn asks_for_head(&mut self, asked: bool) {
        self.asked_for_head = asked;
    }

    /// Waits for the next answer.
    pub async fn answer(&mut self) -> Answer {
        match self.next().await {
            Ok(answer) => answer,
            Err(ended) => panic!("no answer, the connection ended: {ended:?}, {:?}", self.seen()),
        }
    }

    /// Waits for an answer or the end of the connection.
    pub async fn next(&mut self) -> Result<Answer, Ended> {
        timeout(PATIENCE, self.read_answer()).await.unwrap_or_else(|_| panic!("no answer in time: {:?}", self.seen()))
    }

    /// Waits for the end of a connection on which nothing more is expected.
    pub async fn closed(&mut self) -> Ended {
        match self.next().await {
            Ok(answer) => panic!("an answer where none was expected: {answer:?}"),
            Err(ended) => ended,
        }
    }

    /// Reads until `text` has come, whatever surrounds it.
    pub async fn until(&mut self, text: &str) {
        let wait = async {
            while !String::from_utf8_lossy(&self.unread).contains(text) {
                self.more().await.unwrap_or_else(|ended| panic!("{ended:?} before {text:?}"));
            }
        };
        assert!(timeout(PATIENCE, wait).await.is_ok(), "{text:?} did not come: {:?}", self.seen());
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        self.stream.end_by_reset();
    }

    fn seen(&self) -> String {
        String::from_utf8_lossy(&self.unread).into_owned()
    }

    async fn read_answer(&mut self) -> Result<Answer, Ended> {
        let mut interim = Vec::new();
        loop {
            let head = self.head().await?;
            let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
            let status: u16 = status.unwrap_or_else(|| panic!("no status line: {head:?}"));
            if (100..200).contains(&status) {
                interim.push(head);
                continue;
            }
            let mut answer =
                Answer { status, head, body: Vec::new(), trailers: String::new(), interim, ended: Ended::Whole };
            answer.ended = self.body(&mut answer).await.err().unwrap_or(Ended::Whole);
            return Ok(answer);
        }
    }

    async fn head(&mut self) -> Result<String, Ended> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                let head: Vec<u8> = self.unread.drain(..end + 4).collect();
                return Ok(String::from_utf8_lossy(&head[..end]).into_owned());
            }
            self.more().await?;
        }
    }

    async fn body(&mut self, answer: &mut Answer) -> Result<(), Ended> {
        if self.asked_for_head || matches!(answer.status, 204 | 304) {
            return Ok(());
        }
        if answer.fields("transfer-encoding") == ["chunked"] {
            return self.chunks(answer).await;
        }
        if let Some(length) = answer.field("content-length") {
            let length = length.parse().unwrap();
            return self.take(length, &mut answer.body).await;
        }
        loop {
            answer.body.append(&mut self.unread);
            if let Err(ended) = self.more().await {
                return Err(if ended == Ended::Early { Ended::ByClose } else { ended });
            }
        }
    }

    async fn chunks(&mut self, answer: &mut Answer) -> Result<(), Ended> {
        loop {
            let line = self.line().await?;
            let length = usize::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("no chunk: {line:?}"));
            if length == 0 {
                break;
            }
            self.take(length, &mut answer.body).await?;
            assert_eq!(self.line().await?, "", "a chunk is followed by an empty line");
        }
        loop {
            match self.line().await?.as_str() {
                "" => return Ok(()),
                trailer => answer.trailers += &format!("{trailer}\r\n"),
            }
        }
    }

    async fn line(&mut self) -> Result<String, Ended> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.more().await?;
        }
    }

    async fn take(&mut self, mut length: usize, body: &mut Vec<u8>) -> Result<(), Ended> {
        loop {
            let ready = length.min(self.unread.len());
            body.extend(self.unread.drain(..ready));
            length -= ready;
            if length == 0 {
                return Ok(());
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<(), Ended> {
        match self.stream.read_buf(&mut self.unread).await {
            Ok(0) => Err(Ended::Early),
            Ok(_) => Ok(()),
            Err(_) => Err(Ended::Reset),
        }
    }
}

/// One request on a connection of its own.
pub async fn exchange(server: &str, request: Request) -> Answer {
    Connection::open(server).await.send(request).await
}

/// The one value of a field in a head; two are an error.
#[track_caller]
pub fn field(head: &str, name: &str) -> Option<String> {
    let mut values = fields(head, name);
    assert!(values.len() < 2, "two of {name}: {head}");
    values.pop()
}

/// All values of a field in a head, in order.
pub fn fields(head: &str, name: &str) -> Vec<String> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(written, _)| written.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned()).collect()
}

pub fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// How long an answer may take on a busy machine; no test waits that long if all is well.
const PATIENCE: Duration = Duration::from_secs(20);
