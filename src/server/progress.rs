//! What the parts of one client connection tell each other, and the socket as hyper sees it.
//!
//! hyper does not say whether its connection is between two messages. So the socket's wrapper, the service and the
//! answer's body each note what they see in a [`Progress`], and the driver reads it.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::Stream;
use crate::proxy::{Body, Broken};

/// How far one client connection is.
#[derive(Debug)]
pub(crate) struct Progress {
    /// An exchange is under way: from the request's head until the answer's body is done with.
    busy: Cell<bool>,
    /// Bytes have come since the last exchange: the next head has begun.
    head: Cell<bool>,
    /// All that hyper wrote since the last exchange began is in the socket.
    flushed: Cell<bool>,
    /// hyper wrote an answer of its own, and it went nowhere.
    swallowed: Cell<bool>,
    /// Counts the exchanges.
    exchanges: Cell<u32>,
    /// Counts what is read of a body after its answer.
    late_reads: Cell<u32>,
    /// The client does not read: the last write found no room.
    full: Cell<bool>,
    /// Bytes of an answer have left since it was last asked.
    moved: Cell<bool>,
    /// Bytes of this exchange's answer have left.
    answering: Cell<bool>,
    /// Whether the client is still there is of interest, and whether it is gone.
    watched: Cell<bool>,
    gone: Cell<bool>,
    /// The app's body still comes in, maybe after its answer. The proxy says so; where it does not, the driver finds out.
    uploading: Rc<Cell<bool>>,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// The exchange.
    Exchange,
    /// The last of its answer to leave.
    Flush,
    /// The rest of a body whose answer is over.
    Upload,
    /// The rest of a head.
    Head,
    /// The next request.
    Idle,
}

impl Progress {
    pub(crate) fn new(uploading: Rc<Cell<bool>>) -> Self {
        Self {
            busy: Cell::new(false),
            head: Cell::new(false),
            flushed: Cell::new(true),
            swallowed: Cell::new(false),
            exchanges: Cell::new(0),
            full: Cell::new(false),
            moved: Cell::new(false),
            answering: Cell::new(false),
            late_reads: Cell::new(0),
            watched: Cell::new(false),
            gone: Cell::new(false),
            uploading,
        }
    }

    /// A request was taken; the end of its [`Tracked`] answer ends the exchange.
    pub(crate) fn begin(&self) {
        self.busy.set(true);
        self.head.set(false);
        self.flushed.set(false);
        self.watched.set(false);
        self.answering.set(false);
        self.exchanges.set(self.exchanges.get().wrapping_add(1));
    }

    /// Bytes came with no exchange under way.
    fn received(&self) {
        if self.uploading.get() {
            self.late_reads.set(self.late_reads.get().wrapping_add(1));
        } else {
            self.head.set(true);
        }
    }

    /// What the connection waits for now.
    pub(crate) fn waits(&self) -> Waits {
        if self.busy.get() {
            Waits::Exchange
        } else if !self.flushed.get() {
            Waits::Flush
        } else if self.uploading.get() {
            Waits::Upload
        } else if self.head.get() {
            Waits::Head
        } else {
            Waits::Idle
        }
    }

    /// How many exchanges have begun.
    pub(crate) fn exchanges(&self) -> u32 {
        self.exchanges.get()
    }

    /// Changes whenever what is waited for begins anew: each exchange is a reason, and each part of a late body.
    pub(crate) fn steps(&self) -> u32 {
        self.exchanges.get().wrapping_add(self.late_reads.get())
    }

    /// Whether an answer of ours is owed in place of one of hyper's.
    pub(crate) fn owes_an_answer(&self) -> bool {
        self.swallowed.get()
    }

    fn wrote(&self, written: &Poll<io::Result<usize>>) {
        self.full.set(written.is_pending());
        self.moved.set(self.moved.get() || written.is_ready());
        self.answering.set(self.answering.get() || written.is_ready());
    }

    /// What seemed to be the next head, or nothing at all, is the rest of the last request's body.
    pub(crate) fn uploads(&self) {
        self.uploading.set(true);
    }

    /// Whether the answer waits for a client that does not read.
    pub(crate) fn is_full(&self) -> bool {
        self.full.get()
    }

    /// Whether bytes of an answer have left since this was last asked.
    pub(crate) fn take_moved(&self) -> bool {
        self.moved.take()
    }

    /// From now on it is noticed when the client leaves in the midst of this exchange.
    pub(crate) fn watch(&self) {
        self.watched.set(true);
    }

    /// Whether nothing shows if the client is still there: it has sent all, and gets nothing yet. Writing to a client
    /// that left fails soon enough.
    fn is_silent(&self) -> bool {
        self.watched.get() && !self.uploading.get() && !self.answering.get()
    }

    /// Whether the client left in the midst of the exchange.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.get()
    }

    /// No exchange is under way, and the last answer has left.
    pub(crate) fn is_between_exchanges(&self) -> bool {
        !self.busy.get() && self.flushed.get()
    }
}

/// The socket as hyper sees it.
///
/// It replays what an earlier hyper connection had read too far, never shuts down (so that the connection can be
/// taken apart between messages), and swallows what hyper writes while no request was taken: its bare 400 and 431,
/// in whose place [`crate::proxy::problem`] writes. Dropped in the midst of an exchange, it resets the connection.
#[derive(Debug)]
pub(crate) struct Io {
    /// `None` once the stream was taken out.
    stream: Option<Stream>,
    replay: Bytes,
    progress: Rc<Progress>,
}

impl Io {
    pub(crate) fn new(stream: Stream, replay: Bytes, progress: Rc<Progress>) -> Self {
        progress.head.set(!replay.is_empty());
        Self { stream: Some(stream), replay, progress }
    }

    /// The socket, and what was to be replayed and is still unread.
    pub(crate) fn into_parts(mut self) -> (Option<Stream>, Bytes) {
        (self.stream.take(), std::mem::take(&mut self.replay))
    }

    fn stream(&mut self) -> io::Result<Pin<&mut Stream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Whether what hyper writes now is an answer of its own: then it counts as written.
    fn swallows(&self) -> bool {
        let swallows = self.progress.is_between_exchanges();
        if swallows {
            self.progress.swallowed.set(true);
        }
        swallows
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.replay.is_empty() {
            let fits = this.replay.len().min(buffer.remaining());
            buffer.put_slice(&this.replay[..fits]);
            this.replay.advance(fits);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(this.stream()?.poll_read(cx, buffer))?;
        if buffer.filled().len() > before && !this.progress.busy.get() {
            this.progress.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.swallows() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = this.stream()?.poll_write(cx, bytes);
        this.progress.wrote(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.swallows() {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let written = this.stream()?.poll_write_vectored(cx, slices);
        this.progress.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes whenever it is polled and its own buffer is empty, and a socket has no buffer to flush.
        if !self.progress.busy.get() {
            self.progress.flushed.set(true);
        } else if self.progress.is_silent() {
            // hyper itself looks no further than the end of the request (`half_close`).
            let gone = self.stream.as_ref().is_some_and(|stream| stream.poll_gone(cx).is_ready());
            self.progress.gone.set(gone);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        // A panic, the end of a drain, or an answer that broke off: what was sent must not pass for the whole.
        if let Some(stream) = &self.stream
            && !self.progress.is_between_exchanges()
        {
            stream.reset_on_close();
        }
    }
}

/// An answer's body that ends the exchange when it is dropped.
#[derive(Debug)]
pub(crate) struct Tracked {
    body: Body,
    exchange: Rc<Progress>,
}

impl Tracked {
    pub(crate) fn new(body: Body, exchange: Rc<Progress>) -> Self {
        Self { body, exchange }
    }
}

impl hyper::body::Body for Tracked {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.exchange.busy.set(false);
    }
}
