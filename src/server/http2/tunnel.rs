//! A stream of HTTP/2 that carries a tunnel's bytes (RFC 9113 §8.5, RFC 8441 §5).
//!
//! END_STREAM stands for the end of a side, RST_STREAM with `CANCEL` for a connection that was reset. What an app sends holds
//! no more than the stream's window until the other side takes it, and what it does not read no more than
//! [`SEND_BUFFER`](super::SEND_BUFFER).

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::deadline::Deadline;
use crate::proxy::{ByteTunnel, Peer};

/// The app's end of a tunnel. Dropped before both sides have ended it resets the stream: what came so far must not pass for
/// all.
pub(super) struct StreamTunnel {
    /// `None`: the app has ended its side.
    incoming: Option<RecvStream>,
    /// What was taken from there last, and did not fit.
    piece: Bytes,
    outgoing: Rc<RefCell<SendStream<Bytes>>>,
    ended: bool,
}

impl StreamTunnel {
    pub(super) fn new(incoming: Option<RecvStream>, outgoing: SendStream<Bytes>) -> Self {
        Self { incoming, piece: Bytes::new(), outgoing: Rc::new(RefCell::new(outgoing)), ended: false }
    }

    /// Carries bytes to the end.
    pub(super) async fn carry(mut self, tunnel: Box<ByteTunnel>, peer: Peer, deadline: &Deadline) {
        let stream = Rc::clone(&self.outgoing);
        let carried = {
            let mut carried = pin!(tunnel.carry(&mut self, b"", peer, deadline));
            poll_fn(|cx| match carried.as_mut().poll(cx) {
                Poll::Ready(outcome) => Poll::Ready(outcome.is_ok()),
                // An app that has ended its side and then resets the stream is heard of nowhere else.
                Poll::Pending => stream.borrow_mut().poll_reset(cx).map(|_| false),
            })
            .await
        };
        // Where it was given up halfway, nobody else has done so.
        deadline.disarm();
        self.ended = carried;
    }
}

impl AsyncRead for StreamTunnel {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { incoming, piece, .. } = self.get_mut();
        let Some(stream) = incoming else { return Poll::Ready(Ok(())) };
        while piece.is_empty() {
            match ready!(stream.poll_data(cx)) {
                Some(Ok(data)) => *piece = data,
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                // Trailers, or no end at all: nothing that a tunnel has (RFC 9113 §8.5).
                None if !stream.is_end_stream() => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                None => {
                    *incoming = None;
                    return Poll::Ready(Ok(()));
                }
            }
        }
        let taken = piece.split_to(piece.len().min(room.remaining()));
        room.put_slice(&taken);
        // Room for more, as it is taken and not before. It fails only for more than was taken.
        drop(stream.flow_control().release_capacity(taken.len()));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for StreamTunnel {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut stream = self.outgoing.borrow_mut();
        if stream.capacity() == 0 {
            stream.reserve_capacity(bytes.len());
        }
        while stream.capacity() == 0 {
            match ready!(stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let written = bytes.len().min(stream.capacity());
        // Invariant: no more than there is.
        let piece = Bytes::copy_from_slice(&bytes[..written]);
        Poll::Ready(stream.send_data(piece, false).map(|()| written).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection's task writes what h2 has.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = self.outgoing.borrow_mut().send_data(Bytes::new(), true);
        Poll::Ready(ended.map_err(io::Error::other))
    }
}

impl Drop for StreamTunnel {
    fn drop(&mut self) {
        if !self.ended {
            self.outgoing.borrow_mut().send_reset(Reason::CANCEL);
        }
    }
}
