//! A client connection that speaks HTTP/2 by prior knowledge (RFC 9113 §3.3), on the `h2` crate.
//!
//! ```text
//!            preface          first HEADERS              last stream over
//!  accepted ─────────► greeted ─────────────► exchanges ─────────────────► idle ─► exchanges …
//!     │ `header_timeout`  │ `header_timeout`: goodbye │   drain: goodbye     │ `idle_timeout`, drain, no room: goodbye
//!     ▼                   ▼                           ▼                      ▼
//!   closed             parting: GOAWAY, what was sent meanwhile is answered, GOAWAY with the last stream, closed
//! ```
//!
//! hyper's server stands on the same crate, but takes a body that its app reset with `NO_ERROR` or `CANCEL` for one that
//! ended: half an upload would be a whole one to the service. Each exchange is in a task of its own ([`exchange`]); this one
//! moves the bytes, and knows when the connection is idle. It is not parked: the tables of its compression are of the
//! connection, so an idle one costs more than one of HTTP/1.
//!
//! What bounds its memory: so many streams ([`STREAMS`]), and of each what its windows hold ([`STREAM_WINDOW`],
//! [`SEND_BUFFER`]) and one head. h2 ends a connection that floods it with resets, settings, pings, continuations, empty or
//! small frames.

mod exchange;
mod head;
mod socket;
mod tunnel;

use std::cell::{Cell, RefCell};
use std::future::{poll_fn, ready};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{Method, Request};

use self::exchange::StreamExchange;
use self::head::{declared_length, normal};
use self::socket::{Http2Io, LentSocket};
use super::connection::{Port, ThreadShared, Tunnels};
use super::refusal::ConnectionRefusal;
use super::stream::ClientStream;
use super::vital::passing;
use crate::code::Code;
use crate::config::Limits;
use crate::deadline::{ConnectionDeadline, ExchangeDeadline};
use crate::incoming::{IncomingBody, StreamBody, awaits_continue};
use crate::proxy::{Arrival, DrainPhase, wants_grpc};

/// A connection that has shown itself to be HTTP/2: its socket, what was read of it, and the tick at which it was accepted.
pub(super) struct Greeting {
    pub(super) stream: ClientStream,
    pub(super) read: Bytes,
    pub(super) accepted: u32,
}

/// Whether a connection of HTTP/2 begins so, or may. No request of HTTP/1 does.
pub(super) fn is_preface(read: &[u8]) -> bool {
    !read.is_empty() && (PREFACE.starts_with(read) || read.starts_with(PREFACE))
}

/// Serves it until it ends.
pub(super) async fn serve<P: Port>(
    greeting: Greeting,
    port: &Rc<P>,
    arrival: &Rc<Arrival>,
    deadline: &ConnectionDeadline,
    shared: &ThreadShared,
) {
    let limits = port.limits();
    let socket = LentSocket::new(greeting.stream);
    // Until the first head, whatever comes before it: the preface may come byte by byte.
    deadline.arm_since(greeting.accepted, limits.header_timeout);
    deadline.fall_silent();
    let mut handshake = pin!(settings(&limits, P::TUNNELS).handshake(socket.lend(greeting.read)));
    let greeted = poll_fn(|cx| match handshake.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(outcome.map_err(Http2End::Failed)),
        Poll::Pending => deadline.poll_expired(cx).map(|_| Err(Http2End::TooSlow)),
    })
    .await;
    let end = match greeted {
        Ok(connection) => {
            let streams = Rc::default();
            let driver =
                Driver { port, arrival, deadline, shared, streams, waits: Http2Wait::FirstHead, parting: false };
            driver.drive(connection).await
        }
        Err(end) => end,
    };
    if let Some(refusal) = end.complaint() {
        // There is no stream to answer on; it is logged and counted as any other that could not be read.
        drop(port.refuse(&refusal, arrival.peer));
    }
    if let Some(stream) = socket.take_back().filter(|_| !end.is_gone()) {
        stream.close(&[], deadline).await;
    }
}

fn settings(limits: &Limits, tunnels: Tunnels) -> Builder {
    let mut settings = Builder::new();
    settings
        .max_concurrent_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW * STREAMS)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX).saturating_mul(BORNE_HEADS))
        .max_pending_accept_reset_streams(STREAMS as usize)
        .max_concurrent_reset_streams(RESETS_REMEMBERED)
        .data_frame_budget(SMALL_FRAMES_BUDGET);
    if tunnels == Tunnels::Opened {
        // RFC 8441 §3. Where it is not said, h2 takes a stream that asks so for malformed.
        settings.enable_connect_protocol();
    }
    settings
}

/// Takes requests, and finds out what the connection waits for.
struct Driver<'a, P> {
    port: &'a Rc<P>,
    arrival: &'a Rc<Arrival>,
    deadline: &'a ConnectionDeadline,
    shared: &'a ThreadShared,
    streams: Rc<OpenStreams>,
    /// What was waited for when the deadline was last armed.
    waits: Http2Wait,
    /// The goodbye was said.
    parting: bool,
}

impl<P: Port> Driver<'_, P> {
    async fn drive(mut self, mut connection: Connection<Http2Io, Bytes>) -> Http2End {
        poll_fn(|cx| self.poll(&mut connection, cx)).await
    }

    fn poll(&mut self, connection: &mut Connection<Http2Io, Bytes>, cx: &mut Context<'_>) -> Poll<Http2End> {
        loop {
            // First, so that what the app sent before it heard of the drain is taken.
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.begin(request, respond);
                    continue;
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Http2End::Failed(error)),
                Poll::Ready(None) => return Poll::Ready(Http2End::Closed),
                Poll::Pending => {}
            }
            self.look();
            self.streams.wake_when_idle(cx);
            let is_due = self.deadline.poll_expired(cx).is_ready() && self.waits != Http2Wait::Exchanges;
            if is_due && self.waits == Http2Wait::Parting {
                return Poll::Ready(Http2End::Closed);
            }
            let is_drained = self.shared.drain.get() == DrainPhase::Begun;
            if self.parting || !(is_due || is_drained) {
                return Poll::Pending;
            }
            // Twice GOAWAY: a request that is on its way is answered yet (RFC 9113 §6.8). h2 sends it when it is polled.
            self.parting = true;
            connection.graceful_shutdown();
        }
    }

    /// Notes what is waited for now, and arms the deadline for it.
    fn look(&mut self) {
        let waits = match self.waits {
            _ if self.streams.open.get() > 0 => Http2Wait::Exchanges,
            _ if self.parting => Http2Wait::Parting,
            Http2Wait::FirstHead => Http2Wait::FirstHead,
            _ => Http2Wait::Idle,
        };
        if std::mem::replace(&mut self.waits, waits) == waits {
            return;
        }
        match waits {
            // What began before there was a head goes on to run.
            Http2Wait::FirstHead => {}
            // An exchange has time-outs of its own.
            Http2Wait::Exchanges => {
                self.deadline.speak();
                self.deadline.disarm();
            }
            Http2Wait::Idle => {
                self.deadline.fall_silent();
                self.deadline.arm(self.port.limits().idle_timeout);
            }
            Http2Wait::Parting => {
                self.deadline.fall_silent();
                self.deadline.arm(Some(PARTING));
            }
        }
    }

    /// A request was taken: its exchange begins, in a task of its own.
    fn begin(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        let (head, body) = request.into_parts();
        let upload = (!body.is_end_stream()).then(|| Rc::new(StreamBody::new(body, declared_length(&head.headers))));
        let stream = OpenStream::begin(&self.streams, self.shared);
        let deadline = Rc::clone(&stream.deadline);
        let (method, peer, limits) = (head.method.clone(), self.arrival.peer, self.port.limits());
        // What follows the head of a CONNECT is the tunnel's, if there comes to be one, and stays in its window until then.
        let content = upload.as_ref().filter(|_| method != Method::CONNECT);
        let (body, awaits_continue) =
            (IncomingBody::of_stream(content), content.is_some() && awaits_continue(&head.headers));
        let wants_grpc = method != Method::CONNECT && wants_grpc(&head.headers);
        let exchange =
            StreamExchange { respond, upload, awaits_continue, method, deadline, peer, idle: limits.idle_timeout };
        match normal(head, &limits) {
            Ok(head) => {
                // Nothing is done before it is polled.
                let answer = self.port.answer(head, body, self.arrival, &stream.deadline);
                passing(async move {
                    exchange.carry(answer).await;
                    drop(stream);
                });
            }
            Err(error) => {
                let refusal = ConnectionRefusal::new(error.code(), error.to_string()).heard_by_grpc(wants_grpc);
                let answer = self.port.refuse(&refusal, self.arrival.peer);
                passing(async move {
                    exchange.carry(ready(answer)).await;
                    drop(stream);
                });
            }
        }
    }
}

/// The streams of one connection whose exchange goes on.
#[derive(Default)]
struct OpenStreams {
    open: Cell<usize>,
    /// The connection's task, which h2 does not wake for a stream that its app reset.
    driver: RefCell<Option<Waker>>,
    /// Lent to one exchange after the other.
    deadlines: RefCell<Vec<Rc<ExchangeDeadline>>>,
}

/// One of them, until it is dropped.
struct OpenStream {
    streams: Rc<OpenStreams>,
    deadline: Rc<ExchangeDeadline>,
}

impl OpenStreams {
    fn wake_when_idle(&self, cx: &Context<'_>) {
        let mut driver = self.driver.borrow_mut();
        if !driver.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *driver = Some(cx.waker().clone());
        }
    }
}

impl OpenStream {
    fn begin(streams: &Rc<OpenStreams>, shared: &ThreadShared) -> Self {
        streams.open.set(streams.open.get() + 1);
        let lent = streams.deadlines.borrow_mut().pop();
        Self { streams: Rc::clone(streams), deadline: lent.unwrap_or_else(|| shared.sweep.exchange()) }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let streams = &self.streams;
        streams.open.set(streams.open.get() - 1);
        // The next exchange is lent it as new.
        self.deadline.disarm();
        streams.deadlines.borrow_mut().push(Rc::clone(&self.deadline));
        if streams.open.get() == 0
            && let Some(driver) = streams.driver.take()
        {
            driver.wake();
        }
    }
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Http2Wait {
    FirstHead,
    Exchanges,
    Idle,
    /// For the app to hear our goodbye.
    Parting,
}

/// How a connection ended.
enum Http2End {
    /// In peace, or because the app closed it.
    Closed,
    /// The preface did not come in time.
    TooSlow,
    Failed(h2::Error),
}

impl Http2End {
    /// What is to be told of it; `None`: nothing that would be the app's fault.
    fn complaint(&self) -> Option<ConnectionRefusal> {
        match self {
            Self::Failed(error) if error.is_library() => {
                let reason = error.reason().unwrap_or(Reason::PROTOCOL_ERROR);
                let detail = format!("a connection of HTTP/2 had to be ended: {} (RFC 9113 §7)", reason.description());
                Some(ConnectionRefusal::new(Code::BadRequest, detail))
            }
            Self::TooSlow => {
                let detail = "the preface of HTTP/2 did not arrive within `limits.header_timeout`";
                Some(ConnectionRefusal::new(Code::RequestTimeout, detail))
            }
            Self::Closed | Self::Failed(_) => None,
        }
    }

    /// Whether nobody is left to close the socket for.
    fn is_gone(&self) -> bool {
        matches!(self, Self::Failed(error) if error.is_io())
    }
}

/// RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How many requests an app may have under way on one connection. RFC 9113 §6.5.2 asks for no fewer than 100; a load test
/// opens more.
const STREAMS: u32 = 256;

/// What of one upload waits here for a service that does not read it. The connection's window has room for all streams
/// together, so that nobody waits for what another service leaves unread.
const STREAM_WINDOW: u32 = 128 * 1024;

/// What of one answer waits here for an app that does not read it.
const SEND_BUFFER: usize = 64 * 1024;

/// A head that is over `limits.header_size` is answered by us, with a reason. To answer it, it has to be read: from so many
/// times the limit on h2 answers 431 without one, and from about five times that it gives up the connection.
const BORNE_HEADS: u32 = 4;

/// An app that gives up a request has more of it under way; what comes for a stream that was forgotten counts as an error.
const RESETS_REMEMBERED: usize = 1024;

/// What h2 lets small frames take up while they wait: 255 bytes less a frame's own. One stream's window of the smallest there
/// are fits in.
const SMALL_FRAMES_BUDGET: usize = 255 * STREAM_WINDOW as usize;

/// A goodbye takes one round trip.
const PARTING: Duration = Duration::from_secs(1);
