//! Bytes that pass as they are, both ways, between an app and what it asked to be put through to.
//!
//! What is carried is in memory only as long as the other side takes nothing: one piece each way, and nothing while
//! nothing moves.

use std::any::Any;
use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Peer;
use crate::config::AccessLog;
use crate::deadline::Deadline;
use crate::transport::Wire;
use crate::upstream::UpgradedConnection;

/// A tunnel whose far end is there.
pub(crate) struct ByteTunnel {
    /// Dropped before `span`, as fields are in their order: the exchange's place may be another's at once, and so must the
    /// connection be.
    pub(super) upstream: Box<dyn ByteStream>,
    /// For the log.
    pub(super) target: String,
    pub(super) began: Instant,
    pub(super) log: AccessLog,
    /// How long both sides may be silent.
    pub(super) idle: Option<Duration>,
    pub(super) span: ExchangeSpan,
}

/// When the exchange that opened a tunnel is over.
pub(super) enum ExchangeSpan {
    /// With the answer that opened it.
    Answer,
    /// With the tunnel: a WebSocket is one request of its service. It is `None` until the answer is about to leave.
    Tunnel(Option<Box<dyn Any>>),
}

/// The far end of a tunnel.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Unpin {
    /// Has it end in a reset when it is dropped, whatever has been said by then.
    fn reset_on_close(&mut self);
}

impl ByteStream for Wire {
    fn reset_on_close(&mut self) {
        Self::reset_on_close(self);
    }
}

impl ByteStream for UpgradedConnection {
    fn reset_on_close(&mut self) {
        Self::reset_on_close(self);
    }
}

impl ByteTunnel {
    /// Passes bytes on until both sides have ended, one of them breaks off, or neither says anything for as long as they may
    /// be silent. `read` is what has been read of the app already.
    ///
    /// # Errors
    /// When it broke off: then the app's connection must not look as if it had ended.
    pub(crate) async fn carry(
        self: Box<Self>,
        app: &mut (impl AsyncRead + AsyncWrite + Unpin),
        read: &[u8],
        peer: Peer,
        deadline: &Deadline,
    ) -> io::Result<()> {
        let idle = self.idle;
        let mut carried = CarriedTunnel::begin(self, read, peer);
        let CarriedTunnel { tunnel, sent, received, .. } = &mut carried;
        deadline.arm(idle);
        let mut moved = 0;
        let ended = std::future::poll_fn(|cx| {
            // Both are polled each time, so that each has its waker where it waits.
            let there = sent.poll(app, &mut tunnel.upstream, cx)?;
            let back = received.poll(&mut tunnel.upstream, app, cx)?;
            if there.is_ready() && back.is_ready() {
                return Poll::Ready(Ok(()));
            }
            if moved != sent.bytes + received.bytes {
                moved = sent.bytes + received.bytes;
                deadline.arm(idle);
            }
            deadline.poll_expired(cx).map(|_| Err(io::ErrorKind::TimedOut.into()))
        })
        .await;
        deadline.disarm();
        carried.end(&ended);
        ended
    }
}

/// A tunnel on its way. However it ends, and be it that nobody carries it any longer, it is told of, and what has come to no
/// end of its own is reset at the far end too: there, the end of a side long ago would let a plain close pass for a whole.
struct CarriedTunnel {
    tunnel: Box<ByteTunnel>,
    peer: Peer,
    sent: TunnelDirection,
    received: TunnelDirection,
    told: bool,
}

impl CarriedTunnel {
    fn begin(tunnel: Box<ByteTunnel>, read: &[u8], peer: Peer) -> Self {
        let (sent, received) = (TunnelDirection::beginning_with(read), TunnelDirection::beginning_with(b""));
        Self { tunnel, peer, sent, received, told: false }
    }

    fn end(&mut self, ended: &io::Result<()>) {
        self.told = true;
        if ended.is_err() {
            self.tunnel.upstream.reset_on_close();
        }
        let ByteTunnel { target, began, log, .. } = &*self.tunnel;
        if *log == AccessLog::All || *log == AccessLog::Errors && ended.is_err() {
            let (peer, sent, received) = (self.peer, self.sent.bytes, self.received.bytes);
            let duration_ms = began.elapsed().as_micros() as f64 / 1_000.0;
            let error = ended.as_ref().err().map(tracing::field::display);
            tracing::info!(target, %peer, sent, received, duration_ms, error, "tunnel");
        }
    }
}

impl Drop for CarriedTunnel {
    fn drop(&mut self) {
        if !self.told {
            self.end(&Err(io::Error::other(CUT)));
        }
    }
}

/// One way through a tunnel.
struct TunnelDirection {
    /// What was read and is not written yet, from `from` on.
    rest: Vec<u8>,
    from: usize,
    /// The source has ended; the sink is told once all is written.
    ended: bool,
    shut_down: bool,
    bytes: u64,
}

impl TunnelDirection {
    fn beginning_with(read: &[u8]) -> Self {
        Self { rest: read.to_vec(), from: 0, ended: false, shut_down: false, bytes: 0 }
    }

    /// Moves what can be moved. Ready once the source has ended and the sink was told; the other way may go on.
    fn poll(
        &mut self,
        source: &mut (impl AsyncRead + Unpin),
        sink: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        // An endless source with an endless sink must leave the thread to others now and then.
        for _ in 0..MOST_ROUNDS {
            ready!(self.poll_rest(sink, cx))?;
            // Before more is waited for: a sink of TLS keeps what it was given.
            ready!(Pin::new(&mut *sink).poll_flush(cx))?;
            if self.ended {
                if !self.shut_down {
                    ready!(Pin::new(&mut *sink).poll_shutdown(cx))?;
                    self.shut_down = true;
                }
                return Poll::Ready(Ok(()));
            }
            // What is read goes into room that all tunnels of the thread share: a thousand that wait hold nothing.
            let mut room = ROOM.take();
            if room.is_empty() {
                room = vec![0; BUFFER_BYTES];
            }
            let moved = self.poll_move(source, sink, &mut room, cx);
            ROOM.set(room);
            ready!(moved)?;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what was left of the last piece.
    fn poll_rest(&mut self, sink: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.from < self.rest.len() {
            // Invariant: no more was written than there is.
            let written = ready!(poll_write(sink, &self.rest[self.from..], cx))?;
            self.from += written;
            // One by one: who takes little at a time is not silent.
            self.bytes += written as u64;
        }
        (self.rest, self.from) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    /// Reads a piece and writes as much of it as goes; the rest is kept.
    fn poll_move(
        &mut self,
        source: &mut (impl AsyncRead + Unpin),
        sink: &mut (impl AsyncWrite + Unpin),
        room: &mut [u8],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut room = ReadBuf::new(room);
        ready!(Pin::new(source).poll_read(cx, &mut room))?;
        let piece = room.filled();
        self.ended = piece.is_empty();
        if self.ended {
            return Poll::Ready(Ok(()));
        }
        match poll_write(sink, piece, cx)? {
            Poll::Ready(written) => {
                // Invariant: no more was written than there is.
                self.rest.extend_from_slice(&piece[written..]);
                self.bytes += written as u64;
            }
            Poll::Pending => self.rest.extend_from_slice(piece),
        }
        Poll::Ready(Ok(()))
    }
}

fn poll_write(sink: &mut (impl AsyncWrite + Unpin), bytes: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    match ready!(Pin::new(sink).poll_write(cx, bytes))? {
        0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        written => Poll::Ready(Ok(written)),
    }
}

/// What a tunnel ended with that nobody carried to its end.
const CUT: &str = "it was cut: its app gave it up, or the drain was over";

/// Of a piece, each way.
const BUFFER_BYTES: usize = 16 * 1024;
const MOST_ROUNDS: usize = 16;

thread_local! {
    /// Room for a piece while it is under way; whoever uses it takes it.
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// Notes what becomes of it.
    struct Noting(&'static str, Rc<RefCell<Vec<&'static str>>>, DuplexStream);

    impl Drop for Noting {
        fn drop(&mut self) {
            self.1.borrow_mut().push(self.0);
        }
    }

    impl ByteStream for Noting {
        fn reset_on_close(&mut self) {
            self.1.borrow_mut().push("reset");
        }
    }

    impl AsyncRead for Noting {
        fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.get_mut().2).poll_read(cx, room)
        }
    }

    impl AsyncWrite for Noting {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.get_mut().2).poll_write(cx, bytes)
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.get_mut().2).poll_flush(cx)
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.get_mut().2).poll_shutdown(cx)
        }
    }

    /// What becomes of a tunnel's far end and of its exchange; `ended`: both sides, before it is let go of.
    fn fate(ended: bool) -> Vec<&'static str> {
        let notes = Rc::new(RefCell::new(Vec::new()));
        let noting = |name| Noting(name, Rc::clone(&notes), duplex(1).0);
        let tunnel = ByteTunnel {
            upstream: Box::new(noting("far end")),
            target: "s".to_owned(),
            began: Instant::now(),
            log: AccessLog::Off,
            idle: None,
            span: ExchangeSpan::Tunnel(Some(Box::new(noting("exchange")))),
        };
        let mut carried = CarriedTunnel::begin(Box::new(tunnel), b"", Peer::Unix { uid: 0 });
        if ended {
            carried.end(&Ok(()));
        }
        drop(carried);
        notes.take()
    }

    #[test]
    fn the_far_end_goes_before_its_exchange_and_unless_both_sides_have_ended_by_a_reset() {
        assert_eq!(fate(true), ["far end", "exchange"]);
        assert_eq!(fate(false), ["reset", "far end", "exchange"]);
    }

    #[tokio::test]
    async fn each_way_ends_by_itself_and_every_byte_passes_in_order() {
        for size in [1, 7, 4_096] {
            let (mut app, mut near) = duplex(size);
            let (mut far, mut service) = duplex(size);
            let (mut sent, mut received) =
                (TunnelDirection::beginning_with(b"first,"), TunnelDirection::beginning_with(b""));
            let carried = std::future::poll_fn(|cx| {
                let there = sent.poll(&mut near, &mut far, cx)?;
                let back = received.poll(&mut far, &mut near, cx)?;
                if there.is_ready() && back.is_ready() { Poll::Ready(io::Result::Ok(())) } else { Poll::Pending }
            });
            let body: Vec<u8> = (0..100_000_u32).map(|at| (at % 251) as u8).collect();
            let of_app = async {
                app.write_all(&body).await.unwrap();
                app.shutdown().await.unwrap();
                let mut back = Vec::new();
                app.read_to_end(&mut back).await.unwrap();
                back
            };
            let of_service = async {
                let mut got = Vec::new();
                // Answers only once the app has said all, which it can tell.
                service.read_to_end(&mut got).await.unwrap();
                service.write_all(&got).await.unwrap();
                service.shutdown().await.unwrap();
                got
            };

            let (back, got, outcome) = tokio::join!(of_app, of_service, carried);

            outcome.unwrap();
            assert!(got == [&b"first,"[..], &body].concat() && back == got, "{size}");
        }
    }
}
