//! A client connection played from a script, as tests and the fuzz target do it: bytes in any pieces with any pauses, and
//! what the port was asked beside what the client was answered.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;

use http::{Request, Response, request};
use http_body_util::BodyExt;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::{JoinHandle, spawn_local, yield_now};

use super::connection::{self, Port, ThreadShared};
use super::http2;
use super::refusal::ConnectionRefusal;
use super::stream::ClientStream;
use crate::code::Code;
use crate::config::Limits;
use crate::deadline::ExchangeDeadline;
use crate::incoming::IncomingBody;
use crate::proxy::{Arrival, Peer, ResponseBody};

/// Bytes that the client sends in one write, and what happens before the next.
#[derive(Clone, Debug)]
pub(crate) struct TrialPiece {
    pub(crate) bytes: Vec<u8>,
    pub(crate) pause: Pause,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Pause {
    /// Everybody else has so many turns.
    Turns(u32),
    /// So many ticks of the clock pass: an idle connection is taken apart meanwhile.
    Ticks(u32),
}

/// A client's socket.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TrialSocket {
    Tcp,
    Unix,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct TrialOutcome {
    /// In the order in which they were asked.
    pub(crate) asked: Vec<TrialRequest>,
    /// All that the client got.
    pub(crate) got: Vec<u8>,
    /// How its connection ended, if not in peace.
    pub(crate) error: Option<io::ErrorKind>,
}

/// One request, as the port saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrialRequest {
    pub(crate) line: String,
    /// What was read of its body, and whether that is all of it.
    pub(crate) body: Vec<u8>,
    pub(crate) whole: bool,
}

/// Answers by path: `/unread…` without a look at the body, `/early…` before it is read, all others after that.
#[derive(Debug, Default)]
pub(crate) struct Ledger(RefCell<Vec<TrialRequest>>);

impl Ledger {
    /// Answers one request.
    pub(crate) async fn answer(
        self: Rc<Self>,
        head: http::request::Parts,
        body: IncomingBody,
    ) -> Response<ResponseBody> {
        let line = format!("{} {}", head.method, head.uri);
        let number = self.0.borrow().len();
        let (unread, early) = (line.contains(" /unread"), line.contains(" /early"));
        self.0.borrow_mut().push(TrialRequest { line: line.clone(), body: Vec::new(), whole: unread });
        if early {
            spawn_local(self.read(number, body));
        } else if !unread {
            self.read(number, body).await;
        }
        Response::new(ResponseBody::whole(format!("{number} {line}")))
    }

    async fn read(self: Rc<Self>, number: usize, mut body: IncomingBody) {
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return };
            if let Some(data) = frame.data_ref() {
                self.0.borrow_mut()[number].body.extend_from_slice(data);
            }
        }
        self.0.borrow_mut()[number].whole = true;
    }

    pub(crate) fn take(&self) -> Vec<TrialRequest> {
        self.0.take()
    }
}

impl Port for Ledger {
    fn answer(
        self: &Rc<Self>,
        head: request::Parts,
        body: IncomingBody,
        _: &Rc<Arrival>,
        _: &Rc<ExchangeDeadline>,
    ) -> impl Future<Output = Response<ResponseBody>> + use<> {
        Rc::clone(self).answer(head, body)
    }

    fn limits(&self) -> Limits {
        Limits::default()
    }

    fn turns_away(&self, _: Peer) -> Option<(Code, String)> {
        None
    }

    fn refuse(&self, refusal: &ConnectionRefusal, _: Peer) -> Response<ResponseBody> {
        let mut answer = Response::new(ResponseBody::whole(refusal.detail.clone()));
        *answer.status_mut() = refusal.code.status();
        answer
    }
}

/// Plays the client's side and serves it. Must run on a local runtime.
pub(crate) async fn play(socket: TrialSocket, pieces: &[TrialPiece]) -> io::Result<TrialOutcome> {
    let (shared, port) = (Rc::new(ThreadShared::default()), Rc::new(Ledger::default()));
    let serve = |stream, peer| spawn_local(connection::serve(stream, peer, None, Rc::clone(&port), Rc::clone(&shared)));
    let (got, error) = match socket {
        TrialSocket::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let client = TcpStream::connect(listener.local_addr()?).await?;
            client.set_nodelay(true)?;
            let (accepted, peer) = listener.accept().await?;
            let (reading, writing) = client.into_split();
            converse(reading, writing, pieces, &shared, serve(ClientStream::Tcp(accepted), Peer::Tcp(peer))).await
        }
        TrialSocket::Unix => {
            let (client, accepted) = UnixStream::pair()?;
            let (reading, writing) = client.into_split();
            converse(reading, writing, pieces, &shared, serve(ClientStream::Unix(accepted), Peer::Unix { uid: 0 }))
                .await
        }
    };
    Ok(TrialOutcome { asked: port.take(), got, error })
}

/// Writes the script while everything that comes is read.
async fn converse(
    mut reading: impl AsyncReadExt + Unpin + 'static,
    mut writing: impl AsyncWriteExt + Unpin,
    pieces: &[TrialPiece],
    shared: &ThreadShared,
    served: JoinHandle<()>,
) -> (Vec<u8>, Option<io::ErrorKind>) {
    let reader = spawn_local(async move {
        let mut got = Vec::new();
        let read = reading.read_to_end(&mut got).await;
        (got, read.err().map(|error| error.kind()))
    });
    for piece in pieces {
        // What is written after the end is lost, as it should be.
        let _over = writing.write_all(&piece.bytes).await;
        match piece.pause {
            Pause::Turns(turns) => take_turns(turns).await,
            Pause::Ticks(ticks) => {
                for _ in 0..ticks {
                    // Bytes must have arrived before time passes, or the clock would overtake them.
                    take_turns(TURNS_TO_ARRIVE).await;
                    shared.sweep.tick();
                }
            }
        }
    }
    let _over = writing.shutdown().await;
    let read = reader.await.unwrap_or_default();
    drop(writing);
    // A panic of the connection is one of the script's.
    if let Err(error) = served.await
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
    read
}

/// Any bytes as a client's, cut and paused as `cuts` says: panics unless what the port is asked is the beginning of what
/// hyper's own server reads in them at once, each with its answer, and nothing after an answer that says `close`. What
/// begins as HTTP/2 does is h2's to read. Says whether there is a request in them.
pub(crate) async fn no_request_is_made_up(bytes: &[u8], cuts: &[u8]) -> io::Result<bool> {
    let socket = if cuts.len().is_multiple_of(2) { TrialSocket::Tcp } else { TrialSocket::Unix };
    let outcome = play(socket, &cut(bytes, cuts)).await?;
    if http2::is_preface(bytes) {
        // What is asked there h2 reads: all that is promised is that nobody is answered in HTTP/1.
        assert!(
            outcome.got.is_empty() || outcome.got.get(3) == Some(&SETTINGS),
            "{outcome:?}: {}",
            bytes.escape_ascii()
        );
        return Ok(!outcome.asked.is_empty());
    }
    let theirs = asked_of_hyper(bytes).await?;
    let shown = || format!("{outcome:?}, {theirs:?}, cut {cuts:?}: {}", bytes.escape_ascii());
    assert!(theirs.len() >= outcome.asked.len(), "{}", shown());
    for (one, other) in outcome.asked.iter().zip(&theirs) {
        assert_eq!(one.line, other.line, "{}", shown());
        assert!(!one.whole || !other.whole || one.body == other.body, "{}", shown());
    }
    let answers = answers(&outcome.got);
    // One is of a request that is none; one may be missing, of a request that did not come to its end.
    assert!(answers.len() <= outcome.asked.len() + 1, "{}", shown());
    assert!(answers.iter().rev().skip(1).all(|answer| !answer.closes), "{}", shown());
    for (number, answer) in answers.iter().enumerate() {
        let is_its_own = answer.status == 200 && answer.body.starts_with(&format!("{number} "));
        assert!(is_its_own || answer.status >= 400 && answer.closes, "{}", shown());
    }
    assert!(matches!(outcome.error, None | Some(io::ErrorKind::ConnectionReset)), "{}", shown());
    Ok(!outcome.asked.is_empty())
}

/// One byte of `cuts` for each piece: six bits of its length, two of the pause after it.
fn cut(bytes: &[u8], cuts: &[u8]) -> Vec<TrialPiece> {
    let mut cuts = cuts.iter().copied().filter(|cut| cut >> 2 > 0).cycle();
    let mut rest = bytes;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let cut = cuts.next().unwrap_or(u8::MAX);
        let length = usize::from(cut >> 2).min(rest.len());
        let pause = if cut & 3 == 3 { Pause::Ticks(3) } else { Pause::Turns(u32::from(cut & 3) * 4) };
        let (piece, after) = rest.split_at(if cut == u8::MAX { rest.len() } else { length });
        pieces.push(TrialPiece { bytes: piece.to_vec(), pause });
        rest = after;
    }
    pieces
}

/// What hyper's own server asks the port, given these bytes at once.
pub(crate) async fn asked_of_hyper(bytes: &[u8]) -> io::Result<Vec<TrialRequest>> {
    // Room for all answers: what hyper can not flush it may try to write behind.
    let (mut client, server) = tokio::io::duplex(bytes.len() + ROOM_FOR_ANSWERS);
    client.write_all(bytes).await?;
    client.shutdown().await?;
    let ledger = Rc::new(Ledger::default());
    let port = Rc::clone(&ledger);
    let service = service_fn(move |request| {
        let (head, body) = Request::into_parts(request);
        let answer = Rc::clone(&port).answer(head, IncomingBody::new(body));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let served = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(server), service);
    let mut got = Vec::new();
    let (_served, _got) = tokio::join!(served, client.read_to_end(&mut got));
    // Whoever reads on after an early answer has its turns.
    take_turns(TURNS_TO_ARRIVE).await;
    Ok(ledger.take())
}

/// An answer that is no interim one.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) closes: bool,
}

/// Takes apart what a client got: heads, and bodies of the length that they say.
pub(crate) fn answers(mut got: &[u8]) -> Vec<Answered> {
    let mut answers = Vec::new();
    while let Some(end) = got.windows(4).position(|four| four == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&got[..end + 2]).to_ascii_lowercase();
        got = &got[end + 4..];
        let status = head.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or_default();
        if status == 100 {
            continue;
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.and_then(|digits| digits.parse().ok()).unwrap_or_default();
        let (body, rest) = got.split_at(got.len().min(length));
        got = rest;
        let body = String::from_utf8_lossy(body).into_owned();
        answers.push(Answered { status, body, closes: head.contains("\r\nconnection: close\r\n") });
    }
    assert!(got.is_empty(), "what is no answer: {}", got.escape_ascii());
    answers
}

async fn take_turns(turns: u32) {
    for _ in 0..turns {
        yield_now().await;
    }
}

/// The kind of the first frame of each side (RFC 9113 §3.4, §6.5).
const SETTINGS: u8 = 4;
const ROOM_FOR_ANSWERS: usize = 64 * 1024;
/// More than a connection needs to read, answer and be taken apart.
const TURNS_TO_ARRIVE: u32 = 20;
