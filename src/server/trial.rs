//! A client connection played from a script, as tests and the fuzz target do it: bytes in any pieces with any pauses, and
//! what the port was asked beside what the client was answered.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::{JoinHandle, spawn_local, yield_now};

use super::connection::{self, Floor, Port};
use super::stream::Stream;
use crate::code::Code;
use crate::config::Limits;
use crate::incoming::IncomingBody;
use crate::proxy::{Arrival, Body, Peer};

/// Bytes that the client sends in one write, and what happens before the next.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
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
pub(crate) enum Socket {
    Tcp,
    Unix,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// In the order in which they were asked.
    pub(crate) asked: Vec<Asked>,
    /// All that the client got.
    pub(crate) got: Vec<u8>,
    /// How its connection ended, if not in peace.
    pub(crate) error: Option<io::ErrorKind>,
}

/// One request, as the port saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) line: String,
    /// What was read of its body, and whether that is all of it.
    pub(crate) body: Vec<u8>,
    pub(crate) whole: bool,
}

/// Answers by path: `/unread…` without a look at the body, `/early…` before it is read, all others after that.
#[derive(Debug, Default)]
pub(crate) struct Ledger(RefCell<Vec<Asked>>);

impl Ledger {
    /// Answers one request.
    pub(crate) async fn answer(self: Rc<Self>, head: http::request::Parts, body: IncomingBody) -> Response<Body> {
        let line = format!("{} {}", head.method, head.uri);
        let number = self.0.borrow().len();
        let (unread, early) = (line.contains(" /unread"), line.contains(" /early"));
        self.0.borrow_mut().push(Asked { line: line.clone(), body: Vec::new(), whole: unread });
        if early {
            spawn_local(self.read(number, body));
        } else if !unread {
            self.read(number, body).await;
        }
        Response::new(Body::whole(format!("{number} {line}")))
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

    pub(crate) fn take(&self) -> Vec<Asked> {
        self.0.take()
    }
}

impl Port for Ledger {
    fn answer(
        self: &Rc<Self>,
        request: Request<IncomingBody>,
        _: &Rc<Arrival>,
    ) -> impl Future<Output = Response<Body>> + use<> {
        let (head, body) = request.into_parts();
        Rc::clone(self).answer(head, body)
    }

    fn limits(&self) -> Limits {
        Limits::default()
    }

    fn refuse(&self, code: Code, detail: &str, _: Peer) -> Response<Body> {
        let mut answer = Response::new(Body::whole(detail.to_owned()));
        *answer.status_mut() = code.status();
        answer
    }
}

/// Plays the client's side and serves it. Must run on a local runtime.
pub(crate) async fn play(socket: Socket, pieces: &[Piece]) -> io::Result<Outcome> {
    let (floor, port) = (Rc::new(Floor::default()), Rc::new(Ledger::default()));
    let serve = |stream, peer| spawn_local(connection::serve(stream, peer, Rc::clone(&port), Rc::clone(&floor)));
    let (got, error) = match socket {
        Socket::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let client = TcpStream::connect(listener.local_addr()?).await?;
            client.set_nodelay(true)?;
            let (accepted, peer) = listener.accept().await?;
            let (reading, writing) = client.into_split();
            converse(reading, writing, pieces, &floor, serve(Stream::Tcp(accepted), Peer::Tcp(peer))).await
        }
        Socket::Unix => {
            let (client, accepted) = UnixStream::pair()?;
            let (reading, writing) = client.into_split();
            converse(reading, writing, pieces, &floor, serve(Stream::Unix(accepted), Peer::Unix { uid: 0 })).await
        }
    };
    Ok(Outcome { asked: port.take(), got, error })
}

/// Writes the script while everything that comes is read.
async fn converse(
    mut reading: impl AsyncReadExt + Unpin + 'static,
    mut writing: impl AsyncWriteExt + Unpin,
    pieces: &[Piece],
    floor: &Floor,
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
                    floor.sweep.tick();
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

async fn take_turns(turns: u32) {
    for _ in 0..turns {
        yield_now().await;
    }
}

/// More than a connection needs to read, answer and be taken apart.
const TURNS_TO_ARRIVE: u32 = 20;
