//! The client's socket as h2 sees it.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::server::stream::ClientStream;

/// A socket that h2 reads and writes, and that is here still when h2 is done with it: h2 gives nothing back, and closed with
/// unread bytes in it the socket would be reset, over the last answer and our goodbye.
#[derive(Clone)]
pub(super) struct LentSocket(Rc<RefCell<Option<ClientStream>>>);

/// What h2 has of it. Replays what was read before it was known to be HTTP/2.
pub(super) struct Http2Io {
    socket: LentSocket,
    replay: Bytes,
}

impl LentSocket {
    pub(super) fn new(stream: ClientStream) -> Self {
        Self(Rc::new(RefCell::new(Some(stream))))
    }

    /// For h2, with what was read of it already.
    pub(super) fn lend(&self, replay: Bytes) -> Http2Io {
        Http2Io { socket: self.clone(), replay }
    }

    /// The socket, of which h2 sees no more.
    pub(super) fn take_back(&self) -> Option<ClientStream> {
        self.0.borrow_mut().take()
    }

    fn poll<T>(&self, poll: impl FnOnce(Pin<&mut ClientStream>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match self.0.borrow_mut().as_mut() {
            Some(stream) => poll(Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncRead for Http2Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.replay.is_empty() {
            return this.socket.poll(|stream| stream.poll_read(cx, buffer));
        }
        let fits = this.replay.len().min(buffer.remaining());
        buffer.put_slice(&this.replay.split_to(fits));
        if !this.replay.has_remaining() {
            // Even an empty one would keep the whole buffer that it was cut from.
            this.replay = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http2Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.socket.poll(|stream| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll(|stream| stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket has no buffer of its own to flush.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The sending side is closed by who takes the socket back.
        Poll::Ready(Ok(()))
    }
}
