//! A connection on which the service has switched to another protocol (RFC 9110 §7.8): bytes, and no HTTP any more.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Http1Connection;

/// The bytes that follow a 101, from those on that came with its head. Dropped before our side has ended it ends in a reset.
pub(crate) struct SwitchedConnection(Box<Http1Connection>);

impl SwitchedConnection {
    pub(super) fn new(switched: Box<Http1Connection>) -> Self {
        Self(switched)
    }

    /// Ends in a reset when it is dropped, even where our side has ended before.
    pub(crate) fn reset_on_close(&self) {
        self.0.wire.reset_on_close();
    }
}

impl AsyncRead for SwitchedConnection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Http1Connection { wire, download, .. } = &mut *self.get_mut().0;
        if download.take_early(room) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(wire).poll_read(cx, room)
    }
}

impl AsyncWrite for SwitchedConnection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0.wire).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0.wire).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0.wire).poll_shutdown(cx)
    }
}
