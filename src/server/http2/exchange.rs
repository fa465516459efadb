//! One exchange on a stream of its own: its answer is made, and written as far as the app's windows allow.
//!
//! ```text
//!  HEADERS ──► answer made ──► head ──► pieces, each when there is room ──► END_STREAM ──► the rest of the request, if any,
//!                 │  │                      │        │                                     is dropped, then refused (NO_ERROR)
//!       app resets┘  └ 100, once its        │        └ no room for `timeouts.idle`: reset (CANCEL)
//!     the stream: all   body is asked for   └ the answer breaks off: reset (INTERNAL_ERROR)
//!       is let go of
//! ```
//!
//! It runs in a task of its own, and the connection's task moves the bytes. What is in memory of it is one piece, and what
//! h2 has taken for the socket: no more than [`SEND_BUFFER`](super::SEND_BUFFER).

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONNECTION, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Method, Response, StatusCode, Version, response};
use hyper::body::Body as _;

use super::tunnel::StreamTunnel;
use crate::deadline::ExchangeDeadline;
use crate::incoming::StreamBody;
use crate::proxy::{OpenedTunnel, Peer, ResponseBody};

/// A stream whose request was taken, and is to be answered.
pub(super) struct StreamExchange {
    pub(super) respond: SendResponse<Bytes>,
    /// The request's body; `None`: there is none.
    pub(super) upload: Option<Rc<StreamBody>>,
    /// The app waits for a `100` before it sends its body.
    pub(super) awaits_continue: bool,
    pub(super) method: Method,
    pub(super) deadline: Rc<ExchangeDeadline>,
    pub(super) peer: Peer,
    /// How long an app may leave an answer of our own unread; that of a service has its service's `timeouts.idle`.
    pub(super) idle: Option<Duration>,
}

impl StreamExchange {
    /// Makes the answer and writes it, until it is all with h2 or nobody wants it any more.
    pub(super) async fn carry(mut self, answer: impl Future<Output = Response<ResponseBody>>) {
        let Some(answer) = self.await_answer(answer).await else { return };
        let (mut head, mut body) = answer.into_parts();
        remove_connections_own(&mut head);
        if let Some(tunnel) = body.take_tunnel() {
            // What is left of the exchange is the tunnel's, or over: it must not end in the midst of it.
            drop(body);
            return self.carry_tunnel(head, *tunnel).await;
        }
        let is_refused = head.status.is_client_error() || head.status.is_server_error();
        let is_all = body.is_end_stream() || has_no_content(&self.method, head.status);
        // It fails where the stream was reset in the meantime.
        let Ok(stream) = self.respond.send_response(Response::from_parts(head, ()), is_all) else { return };
        let service_idle = body.idle();
        if is_all {
            // With it goes the exchange, whose time-outs are not those of what follows.
            drop(body);
        } else {
            if service_idle.is_none() {
                self.deadline.arm(self.idle);
            }
            let mut writer = AnswerWriter { body, stream, piece: Bytes::new(), deadline: &self.deadline };
            poll_fn(|cx| writer.poll(cx)).await;
        }
        let Some(upload) = self.upload else { return };
        if !is_refused {
            read_on(&upload, service_idle.unwrap_or(self.idle), &self.deadline).await;
        }
        if let Some(mut rest) = upload.take_rest() {
            self.deadline.arm(Some(TAKEN_WITHIN));
            poll_fn(|cx| poll_rest(&mut rest, &self.deadline, cx)).await;
        }
    }

    async fn carry_tunnel(mut self, head: response::Parts, tunnel: OpenedTunnel) {
        let Ok(stream) = self.respond.send_response(Response::from_parts(head, ()), false) else { return };
        // `None`: the app has said all that it will.
        let upload = self.upload.take().and_then(|upload| upload.take_rest());
        let ends = StreamTunnel::new(upload, stream);
        match tunnel {
            OpenedTunnel::Bytes(tunnel) => ends.carry(tunnel, self.peer, &self.deadline).await,
            // None is opened here: in HTTP/2 a `CONNECT` to a service's authority is a 405. The stream would end in a reset.
            OpenedTunnel::Service(_) => {}
        }
    }

    /// `None`: the app wants none any more. All that there is of the exchange is dropped then.
    async fn await_answer(
        &mut self,
        answer: impl Future<Output = Response<ResponseBody>>,
    ) -> Option<Response<ResponseBody>> {
        let mut answer = pin!(answer);
        poll_fn(|cx| {
            // First: the body of an app that left ends in an error, and nobody has to answer that.
            if self.respond.poll_reset(cx).is_ready() {
                return Poll::Ready(None);
            }
            let polled = answer.as_mut().poll(cx);
            self.tell_to_go_on();
            polled.map(Some)
        })
        .await
    }

    /// RFC 9110 §10.1.1: the app is told once its body is asked for, and no sooner.
    fn tell_to_go_on(&mut self) {
        let is_due = self.awaits_continue && self.upload.as_ref().is_some_and(|upload| upload.is_begun());
        if is_due {
            self.awaits_continue = false;
            let mut interim = Response::new(());
            *interim.status_mut() = StatusCode::CONTINUE;
            // It fails where the stream was reset, which is noticed elsewhere.
            drop(self.respond.send_informational(interim));
        }
    }
}

/// Writes the body of an answer.
struct AnswerWriter<'a> {
    body: ResponseBody,
    stream: SendStream<Bytes>,
    /// What was taken of the body and waits for room in the app's windows.
    piece: Bytes,
    deadline: &'a ExchangeDeadline,
}

impl AnswerWriter<'_> {
    /// Ready when the end is with h2, or the stream was reset.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let is_over = if self.piece.is_empty() { ready!(self.poll_piece(cx)) } else { ready!(self.poll_write(cx)) };
            if is_over == Over::Yes {
                return Poll::Ready(());
            }
        }
    }

    /// The next piece of the body. Asked for only when there is room for some of it: what is not asked for stays with the
    /// service.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        if self.stream.capacity() == 0 {
            self.stream.reserve_capacity(1);
            if ready!(self.poll_room(cx)) == Over::Yes {
                return Poll::Ready(Over::Yes);
            }
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_pending() && self.stream.poll_reset(cx).is_ready() {
            return Poll::Ready(Over::Yes);
        }
        Poll::Ready(match ready!(polled) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.piece = data;
                    if self.piece.is_empty() && self.body.is_end_stream() { self.end(Bytes::new()) } else { Over::No }
                }
                Err(frame) => self.end_with(frame.into_trailers().unwrap_or_default()),
            },
            Some(Err(_)) => self.reset(Reason::INTERNAL_ERROR),
            None => self.end(Bytes::new()),
        })
    }

    /// Writes as much of the piece as there is room for.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        let mut room = self.stream.capacity();
        if room < self.piece.len() {
            self.stream.reserve_capacity(self.piece.len());
            room = self.stream.capacity();
        }
        if room == 0 {
            return self.poll_room(cx);
        }
        let part = self.piece.split_to(room.min(self.piece.len()));
        if self.piece.is_empty() && self.body.is_end_stream() {
            return Poll::Ready(self.end(part));
        }
        Poll::Ready(self.stream.send_data(part, false).map_or(Over::Yes, |()| Over::No))
    }

    /// Ready once there is room, or there will be none: an app that reads nothing is waited for as long as a service that
    /// says nothing.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        match self.stream.poll_capacity(cx) {
            Poll::Ready(Some(Ok(_))) => {
                self.deadline.rearm();
                Poll::Ready(Over::No)
            }
            Poll::Ready(Some(Err(_)) | None) => Poll::Ready(Over::Yes),
            Poll::Pending => self.deadline.poll_expired(cx).map(|_| self.reset(Reason::CANCEL)),
        }
    }

    fn end(&mut self, part: Bytes) -> Over {
        // It fails where the stream was reset.
        drop(self.stream.send_data(part, true));
        Over::Yes
    }

    fn end_with(&mut self, trailers: HeaderMap) -> Over {
        drop(self.stream.send_trailers(trailers));
        Over::Yes
    }

    /// What was sent must not pass for the whole.
    fn reset(&mut self, reason: Reason) -> Over {
        self.stream.send_reset(reason);
        Over::Yes
    }
}

/// What a service reads that has answered early goes on, for as long as something comes within `idle`: it may be the
/// connection that others wait for. Nothing tells when it reads no more, so that is looked at twice a second.
async fn read_on(upload: &Rc<StreamBody>, idle: Option<Duration>, deadline: &ExchangeDeadline) {
    let (mut taken, mut silent) = (upload.taken(), Duration::ZERO);
    while Rc::strong_count(upload) > 1 && !upload.is_over() && idle.is_none_or(|idle| silent < idle) {
        deadline.arm(Some(TAKEN_WITHIN));
        poll_fn(|cx| deadline.poll_expired(cx).map(drop)).await;
        let before = std::mem::replace(&mut taken, upload.taken());
        silent = if taken == before { silent + TAKEN_WITHIN } else { Duration::ZERO };
    }
}

/// Drops what comes until the end. An app that writes its end by itself, or its whole body before it looks for an answer,
/// would take a reset for the loss of its request: it has some time before that, and no more room than it had. The reset
/// follows the answer, as RFC 9113 §8.1 wants it.
fn poll_rest(rest: &mut RecvStream, deadline: &ExchangeDeadline, cx: &mut Context<'_>) -> Poll<()> {
    while let Poll::Ready(piece) = rest.poll_data(cx) {
        if !matches!(piece, Some(Ok(_))) {
            return Poll::Ready(());
        }
    }
    deadline.poll_expired(cx).map(drop)
}

/// Whether nothing more is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    Yes,
    No,
}

/// HTTP/2 has its own framing and its own end of a connection, and a head that speaks of them is malformed
/// (RFC 9113 §8.2.2).
fn remove_connections_own(head: &mut response::Parts) {
    head.version = Version::HTTP_2;
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        head.headers.remove(name);
    }
}

/// How long an app has for the rest of what nobody reads.
const TAKEN_WITHIN: Duration = Duration::from_millis(500);

/// Whether an answer ends with its head, whatever length it speaks of (RFC 9110 §6.4.1).
fn has_no_content(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}
