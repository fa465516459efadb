//! The same answers, read by hyper's client and by ours: where hyper accepts one, we read the same in it, or have a
//! reason to be stricter; where hyper does not, neither do we.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper::rt::ReadBufCursor;
use proptest::prelude::*;
use tokio::task::{spawn_local, yield_now};

use super::try_all;
use crate::transport::bounds::{HEAD_BYTES, HEAD_FIELDS};
use crate::transport::h1::trial::{Whole, listed, pieces, read};

/// What hyper reads as an answer and we do not, and why.
const STRICTER: [&str; 6] = [
    // A list or a repetition, though all say the same: who stands between may have read another one (RFC 9112 §6.3).
    "it has two `Content-Length`",
    "its `Content-Length` is no number",
    // hyper hands on what it can't decode, until the connection ends; the app would take it for the content.
    "its transfer coding is not the one of HTTP/1.1, `chunked`",
    // Nobody asks for it: hyper opens a tunnel.
    "it switches protocols, which nobody asked for",
    // hyper reads on, and parses no further than the empty line that a bare LF makes.
    "a line of its trailers ends without CR",
    // hyper waits for ever.
    "it sent more than 32 interim answers",
];

#[test]
fn the_table_is_read_alike() {
    let mut accepted = 0;
    for answer in TABLE {
        for method in [Method::GET, Method::HEAD] {
            accepted += usize::from(compare(&method, answer.as_bytes(), &[255]));
            compare(&method, answer.as_bytes(), &[1]);
            compare(&method, answer.as_bytes(), &[7, 2]);
        }
    }
    assert!(accepted > TABLE.len(), "most of the table are answers, to hyper too: {accepted}");
}

#[test]
fn variations_are_read_alike() {
    let cases = (answers(), prop::collection::vec(1_u8..60, 1..6), prop::bool::ANY);
    let accepted = Cell::new(0);

    let seed = try_all(2_000, &cases, |(answer, cuts, is_head)| {
        let method = if is_head { Method::HEAD } else { Method::GET };
        accepted.set(accepted.get() + usize::from(compare(&method, &answer, &cuts)));
    });

    assert!(accepted.get() > 500, "SIDEKEY_TEST_SEED={seed}: only {} of the variations are answers", accepted.get());
}

/// Whether both took it for an answer, and for the same one.
#[track_caller]
fn compare(method: &Method, answer: &[u8], cuts: &[u8]) -> bool {
    let pieces = pieces(answer, cuts);
    let ours = read(method, pieces.iter().copied());
    let theirs = read_by_hyper(method, &pieces);
    let shown = String::from_utf8_lossy(answer);
    match (ours, theirs) {
        (Err(_), Err(_)) => false,
        (Err(why), Ok(_)) => {
            assert!(STRICTER.iter().any(|reason| why.ends_with(reason)), "only hyper accepts {shown:?}: {why}");
            false
        }
        (Ok(_), Err(why)) => panic!("hyper does not accept {shown:?}: {why}"),
        (Ok(ours), Ok(theirs)) => {
            let both_framings = ["transfer-encoding", "content-length"]
                .iter()
                .all(|name| ours.fields.iter().any(|(field, _)| field == name));
            let announces = ours.fields.iter().any(|(name, value)| match name.as_str() {
                "content-length" => value.iter().any(|digit| *digit != b'0'),
                name => name == "transfer-encoding",
            });
            // After these hyper goes on; we do not trust the connection to be where we think it is.
            let distrusted =
                both_framings || ours.version == http::Version::HTTP_10 || (ours.status == 204 && announces);
            let reusable = theirs.reusable && !distrusted;
            assert_eq!(ours, Whole { reusable, ..theirs }, "{method}: {shown:?}");
            true
        }
    }
}

fn read_by_hyper(method: &Method, pieces: &[&[u8]]) -> Result<Whole, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build_local(Default::default()).unwrap();
    runtime.block_on(async {
        let script = Script::of(pieces);
        tokio::select! {
            biased;
            read = ask(script.clone(), method.clone()) => read,
            never = script.run_out() => match never {},
        }
    })
}

async fn ask(script: Script, method: Method) -> Result<Whole, String> {
    let mut builder = http1::Builder::new();
    builder.max_headers(HEAD_FIELDS).max_header_size(HEAD_BYTES);
    let (mut sender, connection) = builder.handshake(script).await.map_err(|error| error.to_string())?;
    spawn_local(connection);
    let request = Request::builder().method(method).uri("/").body(Empty::<Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| error.to_string())?;
    let trailers = body.trailers().map(listed).unwrap_or_default();
    // Its connection looks once more, for what nobody asked for.
    yield_now().await;
    yield_now().await;
    let reusable = sender.is_ready();
    let (status, version, fields) = (head.status.as_u16(), head.version, listed(&head.headers));
    Ok(Whole { status, version, fields, body: body.to_bytes().to_vec(), trailers, reusable })
}

/// A connection on which these pieces come once a request was written. It ends only when nothing else would happen.
#[derive(Clone)]
struct Script(Rc<RefCell<Line>>);

#[derive(Default)]
struct Line {
    pieces: VecDeque<Vec<u8>>,
    asked: bool,
    ended: bool,
    reader: Option<Waker>,
}

impl Script {
    fn of(pieces: &[&[u8]]) -> Self {
        let pieces = pieces.iter().map(|piece| piece.to_vec()).collect();
        Self(Rc::new(RefCell::new(Line { pieces, ..Line::default() })))
    }

    async fn run_out(&self) -> Infallible {
        while !(self.0.borrow().asked && self.0.borrow().pieces.is_empty()) {
            yield_now().await;
        }
        for _ in 0..20 {
            yield_now().await;
        }
        self.0.borrow_mut().ended = true;
        self.0.borrow_mut().wake();
        std::future::pending().await
    }
}

impl Line {
    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl hyper::rt::Read for Script {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut room: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let mut line = self.0.borrow_mut();
        if line.asked
            && let Some(mut piece) = line.pieces.pop_front()
        {
            let rest = piece.split_off(piece.len().min(room.remaining()));
            room.put_slice(&piece);
            if !rest.is_empty() {
                line.pieces.push_front(rest);
            }
            return Poll::Ready(Ok(()));
        }
        line.reader = Some(cx.waker().clone());
        if line.ended { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl hyper::rt::Write for Script {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut line = self.0.borrow_mut();
        line.asked = true;
        line.wake();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Answers, right or nearly so: what may stand in each place, and now and then a byte that may not.
pub(super) fn answers() -> impl Strategy<Value = Vec<u8>> {
    let line = prop::sample::select(LINES.to_vec());
    let fields = prop::collection::vec(prop::sample::select(FIELDS.to_vec()), 0..5);
    let body = prop::collection::vec(prop::sample::select(BODIES.to_vec()), 0..5);
    let slip = prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
    (line, fields, body, slip).prop_map(|(line, fields, body, slip)| {
        let mut answer = [line, &fields.concat(), "\r\n", &body.concat()].concat().into_bytes();
        if let Some((place, byte)) = slip {
            let place = place.index(answer.len());
            answer[place] = byte;
        }
        answer
    })
}

const LINES: &[&str] = &[
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 404 Not Found\r\n",
    "HTTP/1.1 299 Quite Fine\r\n",
    "HTTP/1.1 200\r\n",
    "HTTP/1.1 204 No Content\r\n",
    "HTTP/1.1 304 Not Modified\r\n",
    "HTTP/1.0 200 OK\r\n",
    "HTTP/1.1 101 Switching Protocols\r\n",
    "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\n",
    "\r\nHTTP/1.1 200 OK\n",
    "HTTP/2 200\r\n",
];

const FIELDS: &[&str] = &[
    "content-length: 5\r\n",
    "Content-Length:5\r\n",
    "content-length: 0\r\n",
    "content-length: 05 \r\n",
    "content-length: 5, 5\r\n",
    "content-length: -5\r\n",
    "content-length: x\r\n",
    "transfer-encoding: chunked\r\n",
    "Transfer-Encoding: CHUNKED\r\n",
    "transfer-encoding: gzip, chunked\r\n",
    "transfer-encoding: identity\r\n",
    "connection: close\r\n",
    "connection: keep-alive, x\r\n",
    "set-cookie: a=1\r\n",
    "set-cookie: b=\"\u{fc}\"\r\n",
    "x-empty:\r\n",
    "x-lf: 1\n",
    "x: 1\r\n folded\r\n",
    "trailer: x-sum\r\n",
];

const BODIES: &[&str] = &[
    "hello",
    "5\r\nhello\r\n",
    "5;ext\r\nhello\r\n",
    "05 \t\r\nhello\r\n",
    "a\r\n0123456789\r\n",
    "0\r\n\r\n",
    "0\r\nx-sum: 1\r\n\r\n",
    "0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n",
    "0\r\nx: 1\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
];

/// What services really send, and what they should not.
const TABLE: &[&str] = &[
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5 ; a=b\r\nhello\r\n000\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\nhello\n0\n\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\n\r\nuntil the end",
    "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok",
    "HTTP/1.0 200 OK\r\n\r\nok",
    "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\ncontent-length: 9\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "HTTP/1.1 200 OK\r\nconnection: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok and more",
    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
    "HTTP/1.1 200 OK\r\n folded: 1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n",
    "HTTP/1.1 200 OK\r\nx : 1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    "HTTP/1.1 099 Low\r\n\r\n",
    "HTTP/1.1 999 High\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 20 Short\r\n\r\n",
    "HTTP/1.1  200 OK\r\n\r\n",
    "HTTP/3 200 OK\r\n\r\n",
    "SSH-2.0-OpenSSH_9.2\r\n",
    "",
];
