//! HTTP/2, by hyper: many requests on one connection.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::client::conn::{TrySendError, http2};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::error::{Error, disclaims};
use super::http::{Answer, Driver, HEAD_BYTES, HEAD_FIELDS, Unsent};
use super::wire::{Wire, is_gone};
use super::{Body, Outgoing};
use crate::tls::Failure;

/// An HTTP/2 connection.
#[derive(Clone)]
pub(crate) struct Multiplexed {
    requests: http2::SendRequest<Body>,
    watch: Rc<Watch>,
    /// Its driver's; here only to be asked what the service's settings allow.
    connection: Weak<RefCell<Connection>>,
}

type Connection = http2::Connection<TokioIo<Watched>, Body, SpawnLocal>;

/// The connection's bytes, watched: what happens on them tells more than hyper and h2 pass on.
struct Watched {
    wire: Wire,
    watch: Rc<Watch>,
}

/// What is known of a connection beside hyper's own view.
#[derive(Debug, Default)]
struct Watch {
    read: Cell<u64>,
    /// The error that ended the connection, where hyper or h2 would lose its kind.
    verdict: OnceCell<Error>,
}

pub(super) async fn handshake(wire: Wire) -> Result<(Multiplexed, Driver), Error> {
    let watch = Rc::<Watch>::default();
    let (requests, connection) = http2::Builder::new(SpawnLocal)
        .max_header_list_size(HEAD_BYTES as u32)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake(TokioIo::new(Watched { wire, watch: Rc::clone(&watch) }))
        .await
        .map_err(|error| Error::unanswered(&error))?;
    let connection = Rc::new(RefCell::new(connection));
    let sender = Multiplexed { requests, watch, connection: Rc::downgrade(&connection) };
    // Whoever waits for an answer is told the error; with nobody waiting it concerns nobody.
    let driver = poll_fn(move |cx| Pin::new(&mut *connection.borrow_mut()).poll(cx).map(drop));
    Ok((sender, Box::pin(driver)))
}

impl Multiplexed {
    /// Sends one request on a stream of its own; see [`Sender::send`](super::Sender::send).
    ///
    /// In a box, or every request of HTTP/1.1 would have room for hyper's future.
    pub(crate) fn send<'a>(
        &'a mut self,
        outgoing: &'a mut Outgoing,
    ) -> Pin<Box<impl Future<Output = Result<Response<Answer>, Unsent>> + 'a>> {
        Box::pin(async move {
            if let Some(gate) = outgoing.body.gate() {
                gate.open();
            }
            let request = outgoing.take_absolute_form();
            match self.requests.try_send_request(request).await {
                Ok(response) if response.headers().len() > HEAD_FIELDS => {
                    Err(Unsent::finally(Error::Protocol(format!("its head has more than {HEAD_FIELDS} fields"))))
                }
                Ok(response) => Ok(response.map(Answer::Stream)),
                Err(refused) => Err(self.unsent(refused, outgoing)),
            }
        })
    }

    /// Whether the other side has closed it, as far as is known.
    pub(crate) fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }

    /// How many requests it may carry at a time: what the service's settings allow.
    pub(crate) fn streams(&self) -> usize {
        self.connection.upgrade().map_or(0, |driven| driven.borrow().current_max_send_streams())
    }

    /// How many bytes the service has sent on this connection: none since a request was sent may mean that it is gone.
    pub(crate) fn heard(&self) -> u64 {
        self.watch.read.get()
    }

    fn unsent(&self, mut refused: TrySendError<Request<Body>>, outgoing: &mut Outgoing) -> Unsent {
        let request = refused.take_message();
        let whole = request.is_some();
        let not_processed = whole || disclaims(refused.error());
        let error = self.watch.verdict.get().cloned().unwrap_or_else(|| Error::unanswered(refused.error()));
        if let Some(request) = request {
            outgoing.body = request.into_body();
        }
        Unsent { error, whole, not_processed }
    }
}

impl Watched {
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

    fn written<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &written
            && is_gone(error)
        {
            self.look_for_alert(cx);
        }
        written
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.wire).poll_read(cx, buffer);
        match &read {
            Poll::Ready(Ok(())) => this.watch.heard((buffer.filled().len() - before) as u64),
            Poll::Ready(Err(error)) => this.watch.note(error),
            Poll::Pending => {}
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.wire).poll_write(cx, bytes);
        this.written(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.wire).poll_write_vectored(cx, slices);
        this.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.wire).poll_flush(cx);
        this.written(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_shutdown(cx)
    }
}

impl Watch {
    fn heard(&self, bytes: u64) {
        self.read.set(self.read.get() + bytes);
    }

    fn note(&self, error: &io::Error) {
        if let Some(failure) = Failure::within(error) {
            // The first one is the cause, whatever follows from it.
            self.verdict.get_or_init(|| failure.into());
        }
    }
}

/// Runs HTTP/2's streams beside their connection, on its thread.
#[derive(Clone, Copy)]
struct SpawnLocal;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for SpawnLocal {
    fn execute(&self, stream: F) {
        tokio::task::spawn_local(stream);
    }
}

/// Enough for 80 Mbit/s a stream over 100 ms; what one slow app leaves unread holds no more memory than this.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
