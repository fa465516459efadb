//! A connection's bytes, watched: what happens on them tells more than h2 passes on.

use std::cell::{Cell, OnceCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::tls::{Observation, TlsFailure};
use crate::transport::Error;
use crate::transport::wire::{Wire, is_gone};

/// The connection's bytes.
pub(super) struct WatchedWire {
    wire: Wire,
    watch: Rc<Watch>,
}

/// What is known of a connection beside h2's own view.
#[derive(Debug, Default)]
pub(super) struct Watch {
    read: Cell<u64>,
    written: Cell<u64>,
    /// The error that ended the connection, where h2 would lose its kind.
    verdict: OnceCell<Error>,
}

impl WatchedWire {
    pub(super) fn new(wire: Wire, watch: Rc<Watch>) -> Self {
        Self { wire, watch }
    }

    /// A write that fails tells nothing yet: an alert of TLS may still be unread.
    fn look_for_alert(&mut self, cx: &mut Context<'_>) {
        let mut scratch = [0; 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut *self).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                _ => return,
            }
        }
    }

    fn wrote(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.watch.written.set(self.watch.written.get() + *bytes as u64);
        }
        self.failed(cx, &written);
        written
    }

    fn failed<T>(&mut self, cx: &mut Context<'_>, written: &Poll<io::Result<T>>) {
        if let Poll::Ready(Err(error)) = written
            && is_gone(error)
        {
            self.look_for_alert(cx);
        }
    }
}

impl AsyncRead for WatchedWire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.wire).poll_read(cx, buffer);
        match &read {
            Poll::Ready(Ok(())) => this.watch.hear((buffer.filled().len() - before) as u64),
            Poll::Ready(Err(error)) => this.watch.note(error, this.wire.seen()),
            Poll::Pending => {}
        }
        read
    }
}

impl AsyncWrite for WatchedWire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.wire).poll_write(cx, bytes);
        this.wrote(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.wire).poll_write_vectored(cx, slices);
        this.wrote(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.wire).poll_flush(cx);
        this.failed(cx, &flushed);
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_shutdown(cx)
    }
}

impl Watch {
    /// How many bytes came.
    pub(super) fn heard(&self) -> u64 {
        self.read.get()
    }

    /// How many bytes went.
    pub(super) fn written(&self) -> u64 {
        self.written.get()
    }

    /// Why the connection ended, where that is known here.
    pub(super) fn verdict(&self) -> Option<Error> {
        self.verdict.get().cloned()
    }

    fn hear(&self, bytes: u64) {
        self.read.set(self.read.get() + bytes);
    }

    fn note(&self, error: &io::Error, seen: &Observation) {
        if let Some(failure) = TlsFailure::within(error, seen) {
            // The first one is the cause, whatever follows from it.
            self.verdict.get_or_init(|| failure.into());
        }
    }
}
