//! WebSockets: over HTTP/1.1 by `Upgrade`, over HTTP/2 by extended CONNECT (RFC 8441). What is promised of one dialect is
//! promised of both.

mod conversations;
mod handshakes;
mod tunnels;

use std::future::poll_fn;

use bytes::Bytes;
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::lab::Lab;
use crate::lab::client::field;
use crate::lab::http2_app::{Http2App, in_time, next, request};
use crate::lab::sidekey::Sidekey;
use crate::lab::switcher::Switcher;

/// What the app speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    One,
    Two,
}

const BOTH: [Dialect; 2] = [Dialect::One, Dialect::Two];

/// A service that does what the test says, as `s`, with Sidekey before it.
struct Scene {
    lab: Lab,
    service: Switcher,
    sidekey: Sidekey,
}

impl Scene {
    /// `settings` are the service's further keys.
    async fn start(settings: &str) -> Self {
        Self::start_with(settings, "").await
    }

    /// `more` stands beside the services.
    async fn start_with(settings: &str, more: &str) -> Self {
        let (lab, service) = (Lab::start().await, Switcher::start().await);
        let sidekey = lab.sidekey(&format!("{}\n{more}", config(&service, settings))).await;
        Self { lab, service, sidekey }
    }

    /// A WebSocket that is open: the app's end, and the service's.
    async fn open(&self, dialect: Dialect) -> (AppEnd, TcpStream) {
        let asking = Asking::begin(dialect, &self.sidekey, "/s/talk", &[]).await;
        let far = self.service.asked().await.switch("").await;
        let answer = asking.answer().await;
        assert_eq!(answer.status, opened(dialect), "{dialect:?} {:?}", answer.fields);
        (answer.end, far)
    }
}

fn config(service: &Switcher, settings: &str) -> String {
    format!("services: {{ s: {{ url: '{}', {settings} }} }}", service.url())
}

/// The status that says that a WebSocket is open.
fn opened(dialect: Dialect) -> u16 {
    if dialect == Dialect::One { 101 } else { 200 }
}

/// A handshake that waits for its answer.
enum Asking {
    One(TcpStream),
    Two(Http2App, h2::client::ResponseFuture, SendStream<Bytes>),
}

/// Its answer, and what follows it.
struct Opening {
    status: u16,
    fields: HeaderMap,
    end: AppEnd,
}

/// The app's end of a WebSocket.
enum AppEnd {
    One(TcpStream),
    Two(Http2App, SendStream<Bytes>, RecvStream),
}

/// How one came to its end.
#[derive(Debug, PartialEq, Eq)]
enum Finish {
    /// With what was said before.
    Whole(Vec<u8>),
    BrokenOff,
}

impl Asking {
    async fn begin(dialect: Dialect, sidekey: &Sidekey, target: &str, fields: &[(&str, &str)]) -> Self {
        match dialect {
            Dialect::One => {
                let mut stream = TcpStream::connect(&sidekey.address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let more: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{ASKS}{more}\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                Self::One(stream)
            }
            Dialect::Two => {
                let mut app = Http2App::open(&sidekey.address).await;
                let (answer, stream) = app.begin(extended(target, "websocket", fields), false).await;
                Self::Two(app, answer, stream)
            }
        }
    }

    /// Says something before there is an answer, as no client should.
    async fn say_early(&mut self, bytes: &[u8]) {
        match self {
            Self::One(stream) => stream.write_all(bytes).await.unwrap(),
            Self::Two(_, _, stream) => stream.send_data(Bytes::copy_from_slice(bytes), false).unwrap(),
        }
    }

    async fn answer(self) -> Opening {
        match self {
            Self::One(mut stream) => {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(in_time(stream.read_u8()).await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
                let fields = lines.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
                Opening { status, fields: HeaderMap::from_iter(fields), end: AppEnd::One(stream) }
            }
            Self::Two(app, answer, stream) => {
                let (head, body) = in_time(answer).await.unwrap().into_parts();
                Opening { status: head.status.as_u16(), fields: head.headers, end: AppEnd::Two(app, stream, body) }
            }
        }
    }
}

impl AppEnd {
    async fn say(&mut self, bytes: &[u8]) {
        in_time(self.say_slowly(bytes)).await;
    }

    /// As the other side takes it.
    async fn say_slowly(&mut self, bytes: &[u8]) {
        match self {
            Self::One(stream) => stream.write_all(bytes).await.unwrap(),
            Self::Two(_, stream, _) => {
                let mut piece = Bytes::copy_from_slice(bytes);
                while !piece.is_empty() {
                    stream.reserve_capacity(piece.len());
                    let room = poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap().unwrap();
                    stream.send_data(piece.split_to(room.min(piece.len())), false).unwrap();
                }
            }
        }
    }

    /// The next so many bytes.
    async fn hear(&mut self, count: usize) -> Vec<u8> {
        match self {
            Self::One(stream) => {
                let mut heard = vec![0; count];
                in_time(stream.read_exact(&mut heard)).await.unwrap();
                heard
            }
            Self::Two(_, _, stream) => {
                let mut heard = Vec::new();
                while heard.len() < count {
                    heard.extend(in_time(next(stream)).await.unwrap().expect("more is said"));
                }
                assert_eq!(heard.len(), count, "{heard:?}");
                heard
            }
        }
    }

    /// Says no more.
    async fn finish(&mut self) {
        match self {
            Self::One(stream) => stream.shutdown().await.unwrap(),
            Self::Two(_, stream, _) => stream.send_data(Bytes::new(), true).unwrap(),
        }
    }

    fn reset(&mut self) {
        match self {
            // When it is dropped.
            Self::One(stream) => stream.set_zero_linger().unwrap(),
            Self::Two(_, stream, _) => stream.send_reset(Reason::CANCEL),
        }
    }

    /// Hears all until the end.
    async fn ended(&mut self) -> Finish {
        let mut heard = Vec::new();
        match self {
            Self::One(stream) => match in_time(stream.read_to_end(&mut heard)).await {
                Ok(_) => Finish::Whole(heard),
                Err(_) => Finish::BrokenOff,
            },
            Self::Two(_, _, stream) => loop {
                match in_time(next(stream)).await {
                    Ok(Some(piece)) => heard.extend(piece),
                    Ok(None) => return Finish::Whole(heard),
                    Err(error) => {
                        assert!(error.reason().is_none_or(|reason| reason == Reason::CANCEL), "{error}");
                        return Finish::BrokenOff;
                    }
                }
            },
        }
    }
}

/// An extended CONNECT.
fn extended(target: &str, protocol: &'static str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = request("CONNECT", target);
    request.extensions_mut().insert(Protocol::from_static(protocol));
    request.headers_mut().insert("sec-websocket-version", "13".parse().unwrap());
    for (name, value) in fields {
        request.headers_mut().insert(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
    }
    request
}

/// The sample of RFC 6455 §1.3.
const ASKS: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// What the service was asked, by a head of HTTP/1.1.
fn said(head: &str, name: &str) -> Option<String> {
    field(head, name)
}
