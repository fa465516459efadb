//! The answer on its way back.

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response, StatusCode, Version};
use hyper::body::{Body as _, Frame, SizeHint};

use super::Error;
use super::byte_tunnel::ExchangeSpan;
use super::exchange::ExchangeRecord;
use super::fields::{self, Instance, ResponseContext};
use super::tunnel::OpenedTunnel;
use super::view::ServiceHalf;
use crate::deadline::ExchangeDeadline;
use crate::route::WayBack;
use crate::upstream::{self, PooledBody};

/// The body of an answer to the app or to the admin's client: one of our own, or the service's as it arrives.
pub(crate) struct ResponseBody {
    kind: ResponseKind,
    /// Ends with the body; none for what is no request of the proxy's.
    exchange: Option<Box<ExchangeRecord>>,
}

enum ResponseKind {
    Whole(Option<Bytes>),
    /// Nothing, though the head says how long it would be: a 304.
    Absent {
        length: u64,
    },
    Relayed(Relayed),
    /// Nothing: what follows the head is a tunnel's.
    Opening(Box<OpenedTunnel>),
    /// What comes out of another body.
    #[cfg(feature = "openpgp")]
    Transformed(Box<dyn DerivedBody>),
    /// What was held back of it first. In a box: few are, and every answer would have room for it.
    Held(Box<(Bytes, Relayed)>),
}

/// What comes out of another body.
#[cfg(feature = "openpgp")]
pub(super) trait DerivedBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>>;

    fn is_end_stream(&self) -> bool;

    /// How long the exchange may be silent.
    fn idle(&self) -> Option<Duration>;
}

/// The service's body, and the time-out of its pauses.
pub(super) struct Relayed {
    body: PooledBody,
    deadline: Rc<ExchangeDeadline>,
    idle: Option<Duration>,
}

/// How the app knows the service, by the form of its request.
#[derive(Clone, Copy)]
pub(super) struct Acquaintance<'a> {
    /// Who signs in `Via`; `None`: nobody, for the app takes us for the service.
    pub(super) via: Option<&'a Instance>,
    pub(super) way_back: WayBack<'a>,
}

/// Why an answer's body broke off: the client's connection is reset then.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
pub(crate) struct ResponseBodyError;

/// Makes the service's answer the app's.
///
/// # Errors
/// When it can't be passed on as what it says it is.
pub(super) fn relay(
    response: Response<PooledBody>,
    known: Acquaintance<'_>,
    half: &ServiceHalf,
    deadline: &Rc<ExchangeDeadline>,
) -> Result<Response<ResponseBody>, Error> {
    let (mut head, body) = response.into_parts();
    // It passes like any other answer, but its cause is in our config, which only the log's reader knows.
    if head.status == StatusCode::MISDIRECTED_REQUEST
        && let Some(misdirection) = &half.service.misdirection
    {
        misdirection.tell(half.service.name.as_str());
    }
    let (via, way_back) = (known.via, Some(known.way_back));
    let downward = ResponseContext { status: head.status, version: head.version, via, way_back };
    fields::answer(&mut head.headers, downward, &half.rules)?;
    // What the service speaks is between it and us.
    head.version = Version::HTTP_11;

    let absent = if head.status == StatusCode::NOT_MODIFIED { declared(&head.headers) } else { None };
    let kind = match absent {
        Some(length) => ResponseKind::Absent { length },
        None => ResponseKind::Relayed(Relayed::new(body, deadline, half)),
    };
    Ok(Response::from_parts(head, ResponseBody { kind, exchange: None }))
}

/// Holds back what the app could not tell from a whole answer if it broke off: its end is the end of the connection, and
/// that is the same either way where nothing can be reset. What says how long it is, or is longer than [`HELD_BYTES`],
/// goes on.
///
/// # Errors
/// When it breaks off before that.
pub(super) async fn hold_back(answer: Response<ResponseBody>) -> Result<Response<ResponseBody>, Error> {
    if answer.body().size_hint().exact().is_some() {
        return Ok(answer);
    }
    let (head, body) = answer.into_parts();
    let mut relayed = match body.kind {
        ResponseKind::Relayed(relayed) => relayed,
        kind => return Ok(Response::from_parts(head, ResponseBody { kind, ..body })),
    };
    let mut held = BytesMut::new();
    while held.len() <= HELD_BYTES {
        match poll_fn(|cx| relayed.poll_frame(cx)).await.transpose()? {
            // HTTP/1.0 has no trailers.
            Some(frame) => held.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            None => return Ok(Response::from_parts(head, ResponseBody::whole(held))),
        }
    }
    Ok(Response::from_parts(
        head,
        ResponseBody { kind: ResponseKind::Held(Box::new((held.freeze(), relayed))), exchange: None },
    ))
}

fn declared(fields: &HeaderMap) -> Option<u64> {
    fields.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl ResponseBody {
    /// An answer of our own.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { kind: ResponseKind::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())), exchange: None }
    }

    /// An answer that opens this.
    pub(super) fn opening(tunnel: OpenedTunnel) -> Self {
        Self { kind: ResponseKind::Opening(Box::new(tunnel)), exchange: None }
    }

    /// An answer that comes out of another body.
    #[cfg(feature = "openpgp")]
    pub(super) fn transformed(answer: impl DerivedBody + 'static) -> Self {
        Self { kind: ResponseKind::Transformed(Box::new(answer)), exchange: None }
    }

    /// The service's body itself; `Err`: it is none.
    #[cfg(feature = "openpgp")]
    #[allow(clippy::result_large_err, reason = "it is moved on at once, as the other one is")]
    pub(super) fn into_relayed(self) -> Result<Relayed, Self> {
        match self.kind {
            ResponseKind::Relayed(relayed) => Ok(relayed),
            kind => Err(Self { kind, ..self }),
        }
    }

    /// What the answer opens, for whoever has the socket or the stream; the exchange goes on in it where it is one of the
    /// service. Left here, it breaks off with the answer.
    pub(crate) fn take_tunnel(&mut self) -> Option<Box<OpenedTunnel>> {
        if !matches!(self.kind, ResponseKind::Opening(_)) {
            return None;
        }
        let ResponseKind::Opening(mut opened) = std::mem::replace(&mut self.kind, ResponseKind::Whole(None)) else {
            return None;
        };
        if let OpenedTunnel::Bytes(tunnel) = &mut *opened
            && let ExchangeSpan::Tunnel(exchange) = &mut tunnel.span
        {
            *exchange = self.exchange.take().map(|exchange| exchange as Box<dyn Any>);
        }
        Some(opened)
    }

    /// How long the exchange may be silent that this is the answer of; `None`: it is an answer of our own.
    pub(crate) fn idle(&self) -> Option<Option<Duration>> {
        match &self.kind {
            ResponseKind::Relayed(relayed) => Some(relayed.idle),
            ResponseKind::Held(held) => Some(held.1.idle),
            #[cfg(feature = "openpgp")]
            ResponseKind::Transformed(answer) => Some(answer.idle()),
            ResponseKind::Absent { .. } => Some(None),
            _ => None,
        }
    }

    /// Ends `exchange` when it ends.
    pub(super) fn of(mut self, exchange: Box<ExchangeRecord>) -> Self {
        self.exchange = Some(exchange);
        self
    }
}

impl Relayed {
    fn new(body: PooledBody, deadline: &Rc<ExchangeDeadline>, half: &ServiceHalf) -> Self {
        let (deadline, idle) = (Rc::clone(deadline), half.service.timeouts.idle);
        deadline.arm(idle);
        Self { body, deadline, idle }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.deadline.arm(self.idle);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(upstream::Error::from(error).into()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => self.deadline.poll_expired(cx).map(|_| Some(Err(Error::ResponseTimeout))),
        }
    }
}

#[cfg(feature = "openpgp")]
impl hyper::body::Body for Relayed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Self::poll_frame(self.get_mut(), cx)
    }
}

impl hyper::body::Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseBodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        let this = self.get_mut();
        let polled = match &mut this.kind {
            ResponseKind::Whole(bytes) => return Poll::Ready(bytes.take().map(Frame::data).map(Ok)),
            ResponseKind::Absent { .. } | ResponseKind::Opening(_) => return Poll::Ready(None),
            ResponseKind::Relayed(relayed) => relayed.poll_frame(cx),
            #[cfg(feature = "openpgp")]
            ResponseKind::Transformed(answer) => answer.poll_frame(cx),
            ResponseKind::Held(held) if held.0.is_empty() => held.1.poll_frame(cx),
            ResponseKind::Held(held) => return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut held.0))))),
        };
        polled.map(|next| match (next?, &mut this.exchange) {
            (Ok(mut frame), exchange) => {
                if let (Some(trailers), Some(exchange)) = (frame.trailers_mut(), exchange) {
                    exchange.screen(trailers);
                }
                Some(Ok(frame))
            }
            (Err(error), exchange) => {
                exchange.iter_mut().for_each(|exchange| exchange.broke_off(&error));
                Some(Err(ResponseBodyError))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            ResponseKind::Whole(bytes) => bytes.is_none(),
            // hyper writes the length of a 304 only if a body seems to follow; it never asks for it.
            ResponseKind::Absent { .. } => false,
            ResponseKind::Opening(_) => true,
            ResponseKind::Relayed(relayed) => relayed.body.is_end_stream(),
            #[cfg(feature = "openpgp")]
            ResponseKind::Transformed(answer) => answer.is_end_stream(),
            ResponseKind::Held(held) => held.0.is_empty() && held.1.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            ResponseKind::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            ResponseKind::Absent { length } => SizeHint::with_exact(*length),
            ResponseKind::Opening(_) => SizeHint::with_exact(0),
            ResponseKind::Relayed(relayed) => relayed.body.size_hint(),
            #[cfg(feature = "openpgp")]
            ResponseKind::Transformed(_) => SizeHint::default(),
            ResponseKind::Held(_) => SizeHint::default(),
        }
    }
}

/// So much of an answer without a length is held back for an app that could not tell its half from the whole.
const HELD_BYTES: usize = 1 << 20;

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Body").field(&self.size_hint()).finish()
    }
}
