//! The bytes of a connection, plain or in TLS.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use rustls::{ClientConnection, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::proxy::{TlsToProxy, Tunnel};
use crate::coalesced_writes::{self, Gathering};
use crate::tls::{Observation, Renegotiation, SILENT_END, TlsFailure};

/// A connection's stream. Dropped without a shutdown it ends in a reset: a body that broke off must not look whole.
pub(crate) struct Wire {
    stream: WireStream,
    shut_down: bool,
    /// What was seen of the handshake.
    seen: Observation,
}

pub(super) enum WireStream {
    Plain(TcpStream),
    Tls(Box<TlsStream<Gathering<TcpStream>>>),
    /// Plain within the TLS of a proxy, which is none of the service's.
    PlainOverTls(Box<TlsToProxy>),
    /// The service's TLS within that of a proxy.
    TlsOverTls(Box<TlsStream<Gathering<TlsToProxy>>>),
}

/// What came of a way for bytes where the service speaks no TLS.
impl From<Tunnel> for WireStream {
    fn from(tunnel: Tunnel) -> Self {
        match tunnel {
            Tunnel::Tcp(tcp) => Self::Plain(tcp),
            Tunnel::Tls(proxied) => Self::PlainOverTls(proxied),
        }
    }
}

impl WireStream {
    /// The service's TLS.
    pub(super) fn tls(&self) -> Option<&ClientConnection> {
        match self {
            Self::Plain(_) | Self::PlainOverTls(_) => None,
            Self::Tls(tls) => Some(tls.get_ref().1),
            Self::TlsOverTls(tls) => Some(tls.get_ref().1),
        }
    }
}

/// Whether the service has shown already that it takes the connection for good.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum WireExperience {
    /// In TLS 1.3 our side is done before the other has looked at our certificate.
    Unproven,
    Answered,
}

impl Wire {
    pub(super) fn new(stream: WireStream, seen: Observation) -> Self {
        Self { stream, shut_down: false, seen }
    }

    /// Whom TCP reached: the other end, or the proxy on the way.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.tcp().peer_addr().ok()
    }

    /// What was seen of the handshake.
    pub(super) fn seen(&self) -> &Observation {
        &self.seen
    }

    /// What a read or a write failed with, sorted.
    pub(super) fn failure(&self, error: io::Error, experience: WireExperience) -> TlsFailure {
        match experience {
            WireExperience::Unproven => TlsFailure::of_first_use(error, &self.seen),
            WireExperience::Answered => TlsFailure::of(error, &self.seen),
        }
    }

    /// Whether there is something to read, as far as the runtime and TLS know without a look at the socket.
    pub(super) fn has_news(&self) -> bool {
        self.holds_news() || self.tcp().try_io(Interest::READABLE, || Ok(())).is_ok()
    }

    /// Ready when a read may find something; where it would find nothing, asking this costs a third of that read, in TLS
    /// above all.
    pub(super) fn poll_news(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.holds_news() { Poll::Ready(Ok(())) } else { self.tcp().poll_read_ready(cx) }
    }

    /// Whether TLS has something that was not read yet.
    fn holds_news(&self) -> bool {
        match &self.stream {
            WireStream::Plain(_) => false,
            WireStream::Tls(tls) => !tls.get_ref().1.wants_read(),
            WireStream::PlainOverTls(proxied) => !proxied.get_ref().1.wants_read(),
            WireStream::TlsOverTls(tls) => {
                let (Gathering(proxied), tls) = tls.get_ref();
                !tls.wants_read() || !proxied.get_ref().1.wants_read()
            }
        }
    }

    /// The TLS of the connection, if it has some.
    pub(super) fn tls(&self) -> Option<&ClientConnection> {
        self.stream.tls()
    }

    /// Says goodbye, as far as that takes no waiting.
    pub(super) fn end(&mut self) {
        drop(Pin::new(self).poll_shutdown(&mut Context::from_waker(Waker::noop())));
    }

    /// Ends in a reset when it is dropped, even where our side has ended before.
    pub(crate) fn reset_on_close(&self) {
        // It fails only where there is nothing left to reset.
        drop(self.tcp().set_zero_linger());
    }

    fn tcp(&self) -> &TcpStream {
        match &self.stream {
            WireStream::Plain(tcp) => tcp,
            WireStream::Tls(tls) => &tls.get_ref().0.0,
            WireStream::PlainOverTls(proxied) => &proxied.get_ref().0.0,
            WireStream::TlsOverTls(tls) => &tls.get_ref().0.0.get_ref().0.0,
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            WireStream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            WireStream::Tls(stream) => poll_read(stream, cx, buffer).map_err(worded),
            WireStream::PlainOverTls(stream) => poll_read(stream, cx, buffer).map_err(worded),
            WireStream::TlsOverTls(stream) => poll_read(stream, cx, buffer).map_err(worded),
        }
    }
}

/// Reads, and sees to what rustls has to say to what it read: it queues that, and nobody else would write it.
fn poll_read<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut TlsStream<S>,
    cx: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    // With something queued before, a write of ours is under way, and takes along what comes now.
    let was_quiet = !stream.get_ref().1.wants_write();
    let read = Pin::new(&mut *stream).poll_read(cx, buffer);
    let tls = stream.get_ref().1;
    if !was_quiet || !tls.wants_write() {
        return read;
    }
    // In TLS 1.3 it is the answer to a key update. In TLS 1.2 there is but one thing: the refusal of a renegotiation
    // (RFC 5246 §7.2.2). Some services end the connection on it, others wait for ever: it ends here.
    let is_renegotiation = tls.protocol_version() == Some(ProtocolVersion::TLSv1_2);
    drop(Pin::new(&mut *stream).poll_flush(cx));
    match read {
        Poll::Pending | Poll::Ready(Ok(())) if is_renegotiation => Poll::Ready(Err(io::Error::other(Renegotiation))),
        read => read,
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            WireStream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            WireStream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            WireStream::PlainOverTls(stream) => Pin::new(stream).poll_write(cx, bytes),
            WireStream::TlsOverTls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            WireStream::Plain(stream) => coalesced_writes::poll_write_all(Pin::new(stream), cx, slices),
            WireStream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            WireStream::PlainOverTls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            WireStream::TlsOverTls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            WireStream::Plain(stream) => stream.is_write_vectored(),
            WireStream::Tls(stream) => stream.is_write_vectored(),
            WireStream::PlainOverTls(stream) => stream.is_write_vectored(),
            WireStream::TlsOverTls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            WireStream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            WireStream::Tls(stream) => Pin::new(stream).poll_flush(cx),
            WireStream::PlainOverTls(stream) => Pin::new(stream).poll_flush(cx),
            WireStream::TlsOverTls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.shut_down = true;
        match &mut this.stream {
            WireStream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            WireStream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            WireStream::PlainOverTls(stream) => Pin::new(stream).poll_shutdown(cx),
            WireStream::TlsOverTls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if !self.shut_down {
            self.reset_on_close();
        }
    }
}

/// An error of TLS in words that may stand in an answer: what the library says of an end without a goodbye is a link to its
/// manual.
fn worded(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), SILENT_END),
        _ => error,
    }
}

/// Whether a write failed because nobody is there to read it.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
    )
}
