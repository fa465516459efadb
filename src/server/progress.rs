//! What the parts of one client connection tell each other, and the socket as hyper sees it.
//!
//! hyper does not say whether its connection is between two messages. So the socket's wrapper, the service and the
//! answer's body each note what they see in a [`Progress`], and the driver reads it.
//!
//! What came to its end in hyper's eyes need not have come to it in the client's: hyper also closes a connection whose
//! body nobody read, and the rest of that body is on its way still. So a socket comes out of here as one that can only
//! be closed ([`Used`]), and is one to be served for who can show that it is [`Between`] two messages.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::exchange::ServedExchange;
use super::persistence::{Persistence, RequestPersistence, RequestRest};
use super::request_line::RequestLines;
use super::stream::ClientStream;
use crate::deadline::{ConnectionDeadline, ExchangeDeadline};
use crate::proxy::{DrainPhase, OpenedTunnel, ResponseBody, ResponseBodyError};

/// How far one client connection is.
#[derive(Debug)]
pub(crate) struct Progress {
    state: Cell<ProgressState>,
    /// The one that goes on now, if one does: HTTP/1 has one after the other.
    exchange: ServedExchange,
    /// Bytes have come since the last exchange: the next head has begun.
    head: Cell<bool>,
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
    /// The client left in the midst of an exchange.
    gone: Cell<bool>,
    /// The client has closed its sending side.
    ended: Cell<bool>,
}

/// Where a connection is among its messages.
///
/// ```text
///            head               answer's head           all of it in hyper          all of it in the socket
///  Between ───────► Exchange ─────────────────► Exchange ───────────────► Leaving ─┬─ Again ─► Between
///                                with its Persistence                              ├─ Last ──► Over
///                                                                                  └─ Tunnel ► Tunnel
/// ```
///
/// Nothing leads on from `Over` and `Tunnel`, and nothing but [`Persistence::Again`] past them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProgressState {
    /// A head may follow: all that was asked was read to its end and answered.
    Between,
    Exchange(Persistence),
    /// The answer's last bytes are on their way to the socket.
    Leaving(Persistence),
    /// The last answer is in the socket, and the sending side is closed.
    Over(RequestRest),
    /// The answer that opens a tunnel is in the socket.
    Tunnel,
}

/// Proof that a connection is between two messages, and the right to serve its socket again. Only [`Progress`] makes
/// one, and only where no byte of an earlier request can be on its way any more.
#[derive(Debug)]
pub(crate) struct Between(());

/// Proof that the answer which opens a tunnel has left to its end, and the right to what the socket carries from there on.
#[derive(Debug)]
pub(crate) struct TunnelBegun(());

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// The exchange.
    Exchange,
    /// The last of its answer to leave.
    Flush,
    /// The rest of a body whose answer is over.
    Rest,
    /// Nothing more.
    Nothing,
    /// The rest of a head.
    Head,
    /// The next request.
    Idle,
}

impl Progress {
    fn new(deadline: Rc<ExchangeDeadline>) -> Self {
        Self {
            state: Cell::new(ProgressState::Between),
            exchange: ServedExchange::new(deadline),
            head: Cell::new(false),
            swallowed: Cell::new(false),
            exchanges: Cell::new(0),
            full: Cell::new(false),
            moved: Cell::new(false),
            late_reads: Cell::new(0),
            gone: Cell::new(false),
            ended: Cell::new(false),
        }
    }

    /// A request was taken. `false`: the last answer has left already, and this is none.
    pub(super) fn begin(&self, asked: RequestPersistence) -> bool {
        let may_begin = matches!(self.state.get(), ProgressState::Between | ProgressState::Leaving(Persistence::Again));
        if may_begin {
            // Until it is known to persist, it does not.
            self.state.set(ProgressState::Exchange(Persistence::Last(RequestRest::Unwanted)));
            self.exchange.begin(asked);
            self.head.set(false);
            self.exchanges.set(self.exchanges.get().wrapping_add(1));
        }
        may_begin
    }

    /// The answer's head is here, and says whether another request may follow.
    pub(super) fn answered(&self, answer: &mut Response<ResponseBody>, drain: DrainPhase) {
        self.state.set(ProgressState::Exchange(self.exchange.answered(answer, drain)));
    }

    /// The answer's head is here, and opens a tunnel: nothing that follows is read as a request.
    pub(super) fn opened(&self, tunnel: Box<OpenedTunnel>) {
        self.state.set(ProgressState::Exchange(self.exchange.opened(tunnel)));
    }

    /// hyper has all of the answer.
    fn leave(&self) {
        if let ProgressState::Exchange(persistence) = self.state.get() {
            self.state.set(ProgressState::Leaving(persistence));
        }
    }

    /// Whether what comes next is of a head.
    fn awaits_head(&self) -> bool {
        matches!(self.state.get(), ProgressState::Between | ProgressState::Leaving(Persistence::Again))
    }

    /// Bytes came with no exchange under way.
    fn received(&self) {
        match self.state.get() {
            ProgressState::Exchange(_) | ProgressState::Leaving(Persistence::Tunnel) | ProgressState::Tunnel => {}
            ProgressState::Between | ProgressState::Leaving(Persistence::Again) => self.head.set(true),
            ProgressState::Leaving(Persistence::Last(_)) | ProgressState::Over(_) => {
                self.late_reads.set(self.late_reads.get().wrapping_add(1));
            }
        }
    }

    /// What the connection waits for now.
    pub(crate) fn waits(&self) -> Waits {
        match self.state.get() {
            ProgressState::Exchange(_) => Waits::Exchange,
            ProgressState::Leaving(_) => Waits::Flush,
            ProgressState::Over(RequestRest::Wanted) => Waits::Rest,
            ProgressState::Over(RequestRest::Unwanted) | ProgressState::Tunnel => Waits::Nothing,
            ProgressState::Between if self.head.get() => Waits::Head,
            ProgressState::Between => Waits::Idle,
        }
    }

    /// The right to serve the socket again, if it is between two messages.
    pub(crate) fn between(&self) -> Option<Between> {
        self.is_between().then_some(Between(()))
    }

    /// What follows on the socket, and the right to it, if that is a tunnel's.
    pub(crate) fn take_tunnel(&self) -> Option<(Box<OpenedTunnel>, TunnelBegun)> {
        let tunnel = self.exchange.take_tunnel()?;
        (self.state.get() == ProgressState::Tunnel).then_some((tunnel, TunnelBegun(())))
    }

    /// Whether every request that came was answered to its end.
    pub(crate) fn is_between(&self) -> bool {
        self.state.get() == ProgressState::Between
    }

    /// Whether the client closed the connection between two messages: nobody is left to hear of anything.
    pub(crate) fn was_closed(&self) -> bool {
        self.is_between() && self.ended.get()
    }

    /// Whether all that was answered has left: what ends now, ends in peace.
    pub(crate) fn is_answered(&self) -> bool {
        matches!(self.state.get(), ProgressState::Between | ProgressState::Over(_) | ProgressState::Tunnel)
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
    }

    /// Whether the answer waits for a client that does not read.
    pub(crate) fn is_full(&self) -> bool {
        self.full.get()
    }

    /// Whether bytes of an answer have left since this was last asked.
    pub(crate) fn take_moved(&self) -> bool {
        self.moved.take()
    }

    /// The exchange that goes on now.
    pub(super) fn exchange(&self) -> &ServedExchange {
        &self.exchange
    }

    /// Whether the client left in the midst of the exchange.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.get()
    }
}

/// A socket that carried exchanges. It can be closed; it is served again only where no request is left half read.
#[derive(Debug)]
pub(crate) struct Used(ClientStream);

impl Used {
    /// A socket that will carry none.
    pub(crate) fn new(stream: ClientStream) -> Self {
        Self(stream)
    }

    /// The socket, for another request.
    pub(crate) fn serve_again(self, _: Between) -> ClientStream {
        self.0
    }

    /// The socket, for what a tunnel carries.
    pub(crate) fn begin_tunnel(self, _: TunnelBegun) -> ClientStream {
        self.0
    }

    /// Writes `last` and closes; see [`ClientStream::close`].
    pub(crate) async fn close(self, last: &[u8], deadline: &ConnectionDeadline) {
        self.0.close(last, deadline).await;
    }

    /// Closes it in a reset: the other side can't take what it got for the whole.
    pub(crate) fn reset(self) {
        self.0.reset_on_close();
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
    stream: Option<ClientStream>,
    lines: RequestLines,
    progress: Rc<Progress>,
}

impl Io {
    /// A socket between two messages, and what was read of the next one; `deadline` is lent to its exchanges.
    pub(crate) fn new(stream: ClientStream, replay: Bytes, deadline: &Rc<ExchangeDeadline>) -> (Self, Rc<Progress>) {
        let progress = Rc::new(Progress::new(Rc::clone(deadline)));
        progress.head.set(!replay.is_empty());
        let lines = RequestLines::replaying(replay);
        (Self { stream: Some(stream), lines, progress: Rc::clone(&progress) }, progress)
    }

    /// The socket, and what was to be replayed and is still unread.
    pub(crate) fn into_parts(mut self) -> (Option<Used>, Bytes) {
        (self.stream.take().map(Used), std::mem::take(&mut self.lines).into_unread())
    }

    /// The byte of the last request's target that can't be carried, and its place in its line, from 1.
    pub(crate) fn refused_byte(&self) -> Option<(u8, usize)> {
        self.lines.refused()
    }

    fn stream(&mut self) -> io::Result<Pin<&mut ClientStream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Whether what hyper writes now is an answer of its own: then it counts as written.
    fn swallows(&self) -> bool {
        let swallows = self.progress.is_answered();
        if swallows {
            self.progress.swallowed.set(true);
        }
        swallows
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let is_head = this.progress.awaits_head();
        if is_head && !this.progress.head.get() {
            this.lines.begin();
        }
        if this.lines.give(buffer, is_head) {
            this.progress.received();
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(this.stream()?.poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            match is_head {
                true => this.lines.look(buffer, before),
                false => this.lines.pass_over(),
            }
            this.progress.received();
        } else {
            this.progress.ended.set(true);
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
        let Self { progress, stream, .. } = self.get_mut();
        match progress.state.get() {
            ProgressState::Leaving(Persistence::Again) => progress.state.set(ProgressState::Between),
            ProgressState::Leaving(Persistence::Tunnel) => progress.state.set(ProgressState::Tunnel),
            ProgressState::Leaving(Persistence::Last(rest)) => {
                progress.state.set(ProgressState::Over(rest));
                // At once: an app that reads until the end waits for it, whatever it still sends.
                stream.iter().for_each(ClientStream::close_sending_side);
            }
            ProgressState::Exchange(_) if progress.exchange.is_silent() => {
                // hyper itself looks no further than the end of the request (`half_close`).
                let gone = stream.as_ref().is_some_and(|stream| stream.poll_gone(cx).is_ready());
                progress.gone.set(gone);
            }
            ProgressState::Exchange(_) | ProgressState::Between | ProgressState::Over(_) | ProgressState::Tunnel => {}
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
            && !self.progress.is_answered()
        {
            stream.reset_on_close();
        }
    }
}

/// An answer's body that ends the exchange when it is dropped.
#[derive(Debug)]
pub(crate) struct Tracked {
    body: ResponseBody,
    exchange: Rc<Progress>,
}

impl Tracked {
    pub(crate) fn new(body: ResponseBody, exchange: Rc<Progress>) -> Self {
        Self { body, exchange }
    }
}

impl hyper::body::Body for Tracked {
    type Data = Bytes;
    type Error = ResponseBodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
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
        self.exchange.leave();
    }
}
