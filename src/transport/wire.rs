//! The bytes of a connection, watched: what happened on them tells more than hyper and h2 pass on.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::client::TlsStream;

use super::{Error, Protocol};
use crate::tls::Failure;

/// A connection's stream. Dropped without a shutdown it ends in a reset: a body that broke off must not look whole.
pub(super) struct Wire {
    stream: Stream,
    protocol: Protocol,
    watch: Arc<Watch>,
    /// Writing failed: how long reading may still go on.
    last_words: Option<Pin<Box<Sleep>>>,
    shut_down: bool,
}

pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What is known of a connection beside hyper's own view.
///
/// One thread writes it; atomics only because hyper wants its listener to interim answers `Send + Sync`. A load and a
/// store each, no locked instruction.
#[derive(Debug, Default)]
pub(super) struct Watch {
    read: AtomicU64,
    written: AtomicU64,
    interim: AtomicU32,
    /// The error that ended the connection, where hyper or h2 would lose its kind.
    verdict: OnceLock<Error>,
}

impl Wire {
    pub(super) fn new(stream: Stream, protocol: Protocol) -> Self {
        Self { stream, protocol, watch: Arc::default(), last_words: None, shut_down: false }
    }

    pub(super) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// A write that fails tells nothing yet: what the service said before it closed, an answer or an alert, may still
    /// be unread. hyper's HTTP/1.1 goes on reading while a write waits, so it waits, for a while. HTTP/2 may not read
    /// before it has written: there only an alert is looked for.
    fn poll_gone<T>(&mut self, cx: &mut Context<'_>, error: io::Error) -> Poll<io::Result<T>> {
        match self.protocol {
            Protocol::Http1 => {
                let last_words = self.last_words.get_or_insert_with(|| Box::pin(sleep(LAST_WORDS)));
                ready!(last_words.as_mut().poll(cx));
            }
            Protocol::Http2 => self.look_for_alert(cx),
        }
        Poll::Ready(Err(error))
    }

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

    fn poll_written(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                self.watch.was_written(bytes);
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) if is_gone(&error) => self.poll_gone(cx, error),
            other => other,
        }
    }
}

impl Watch {
    /// A request begins: how many bytes were written before it.
    pub(super) fn begin(&self) -> u64 {
        self.interim.store(0, Ordering::Relaxed);
        self.written.load(Ordering::Relaxed)
    }

    /// Whether a byte was written since `begin` returned `mark`.
    pub(super) fn wrote_since(&self, mark: u64) -> bool {
        self.written.load(Ordering::Relaxed) != mark
    }

    pub(super) fn interim_answer(&self) {
        self.interim.store(self.interim.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
    }

    /// How many bytes the service has sent.
    pub(super) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// The answer was preceded by too many interim ones.
    pub(super) fn flooded(&self) -> Option<Error> {
        let flooded = self.interim.load(Ordering::Relaxed) > INTERIM_ANSWERS;
        flooded.then(|| Error::Protocol(format!("it sent more than {INTERIM_ANSWERS} interim answers")))
    }

    /// How the connection ended, if that is known for certain.
    pub(super) fn verdict(&self) -> Option<Error> {
        self.flooded().or_else(|| self.verdict.get().cloned())
    }

    fn was_read(&self, bytes: usize) {
        self.read.store(self.read() + bytes as u64, Ordering::Relaxed);
    }

    fn was_written(&self, bytes: usize) {
        self.written.store(self.written.load(Ordering::Relaxed) + bytes as u64, Ordering::Relaxed);
    }

    fn note(&self, error: &io::Error) {
        if let Some(failure) = Failure::within(error) {
            // The first one is the cause, whatever follows from it.
            self.verdict.get_or_init(|| failure.into());
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(flooded) = this.watch.flooded() {
            return Poll::Ready(Err(io::Error::other(flooded)));
        }
        let before = buffer.filled().len();
        let read = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        };
        match &read {
            Poll::Ready(Ok(())) => this.watch.was_read(buffer.filled().len() - before),
            Poll::Ready(Err(error)) => this.watch.note(error),
            Poll::Pending => {}
        }
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        };
        this.poll_written(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        };
        this.poll_written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        };
        match flushed {
            Poll::Ready(Err(error)) if is_gone(&error) => this.poll_gone(cx, error),
            other => other,
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.shut_down = true;
        match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.shut_down {
            return;
        }
        let tcp = match &self.stream {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => tls.get_ref().0,
        };
        // It fails only where there is nothing left to reset.
        drop(tcp.set_zero_linger());
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
    )
}

/// More than any protocol has use for: a service that sends one after the other would hold a request for ever.
const INTERIM_ANSWERS: u32 = 32;

/// Enough to read an answer that a slow app takes its time to take; a connection must not be held for ever.
const LAST_WORDS: Duration = Duration::from_secs(10);
