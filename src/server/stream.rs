//! A client's socket, TCP or unix: the same to everything above.

use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::coalesced_writes;
use crate::deadline::{ConnectionDeadline, Expired, TICK};

/// A client's socket.
#[derive(Debug)]
pub(crate) enum ClientStream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A client's socket that no runtime watches.
#[derive(Debug)]
pub(crate) enum Detached {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl ClientStream {
    /// Takes it from the runtime of this thread.
    pub(crate) fn detach(self) -> io::Result<Detached> {
        match self {
            Self::Tcp(stream) => stream.into_std().map(Detached::Tcp),
            Self::Unix(stream) => stream.into_std().map(Detached::Unix),
        }
    }

    /// Gives it to the runtime of this thread.
    pub(crate) fn attach(socket: Detached) -> io::Result<Self> {
        match socket {
            Detached::Tcp(socket) => TcpStream::from_std(socket).map(Self::Tcp),
            Detached::Unix(socket) => UnixStream::from_std(socket).map(Self::Unix),
        }
    }

    /// Ready when there is something to read, or the other side has closed.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    /// Ready once the other side has closed, or at least will send no more: the two can't be told apart. While bytes
    /// wait to be read, what is behind them is not seen.
    pub(crate) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let peek = |socket: SockRef<'_>| socket.peek(&mut [MaybeUninit::uninit()]);
        loop {
            // An error is for whoever reads next.
            let Ok(()) = ready!(self.poll_readable(cx)) else { return Poll::Ready(()) };
            let peeked = match self {
                Self::Tcp(stream) => stream.try_io(Interest::READABLE, || peek(SockRef::from(stream))),
                Self::Unix(stream) => stream.try_io(Interest::READABLE, || peek(SockRef::from(stream))),
            };
            match peeked {
                // The runtime thought so; now it knows better, and tells when there is something.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(1..) => return Poll::Pending,
                Ok(0) | Err(_) => return Poll::Ready(()),
            }
        }
    }

    /// Closing it from now on resets the connection: the other side can't take what it got for the whole.
    ///
    /// A unix socket has no reset; there the missing last chunk or bytes must tell, and an app that reads
    /// until the end (HTTP/1.0) can't.
    pub(crate) fn reset_on_close(&self) {
        if let Self::Tcp(stream) = self {
            // An error means that the connection is gone already.
            let _gone = stream.set_zero_linger();
        }
    }

    /// Writes `last` and closes the sending side, then reads and drops what still comes, until the other side closes, is
    /// silent for [`SILENCE`], has sent [`MOST_DROPPED`], or has taken [`LONGEST`] for it: a socket closed with unread data would be reset, and a reset
    /// may overtake the answer (RFC 9112 §9.6).
    pub(crate) async fn close(mut self, last: &[u8], deadline: &ConnectionDeadline) {
        let Ok(Ok(())) = deadline.within(Some(SILENCE), self.write_all(last)).await else { return };
        self.close_sending_side();
        // Whoever needs its place may end this.
        deadline.fall_silent();
        let began = deadline.now();
        // On the heap: else every connection's task would carry its room, parked or not.
        let mut scratch = vec![0; 16 * 1024];
        let mut left = MOST_DROPPED;
        while left > 0 {
            match deadline.within(Some(SILENCE), self.read(&mut scratch)).await {
                Ok(Ok(1..)) if TICK * (deadline.now() - began) >= LONGEST => return,
                Ok(Ok(read @ 1..)) => left = left.saturating_sub(read),
                // Nobody is left to hear of an error.
                Ok(Ok(0) | Err(_)) | Err(Expired) => return,
            }
        }
    }

    /// Says that nothing more comes from here; what the other side sends can still be read.
    pub(crate) fn close_sending_side(&self) {
        let socket = match self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Unix(stream) => SockRef::from(stream),
        };
        // An error means that the connection is gone already.
        let _gone = socket.shutdown(Shutdown::Write);
    }

    /// Whether bytes wait to be read. Asks the kernel, as the runtime may not have heard of them yet.
    pub(crate) fn has_unread(&self) -> bool {
        let socket = match self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Unix(stream) => SockRef::from(stream),
        };
        let peeked = socket.peek(&mut [MaybeUninit::uninit()]);
        peeked.is_ok_and(|read| read > 0)
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => coalesced_writes::poll_write_all(Pin::new(stream), cx, slices),
            Self::Unix(stream) => coalesced_writes::poll_write_all(Pin::new(stream), cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket has no buffer of its own to flush.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// How long a client that was given its last answer may be silent before it is let go.
const SILENCE: Duration = Duration::from_secs(2);
/// However slowly it sends: a byte now and then is no upload.
const LONGEST: Duration = Duration::from_secs(300);
/// How much of an upload that nobody wants is read, so that its client gets to read our answer.
const MOST_DROPPED: usize = 64 << 20;
