//! The HTTP handshake, and a request's way over the connection.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::uri::Authority;
use ::http::{Extensions, HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::TokioIo;

use super::dial::Dialed;
use super::error::{Error, disclaims};
use super::wire::{Watch, Wire};
use super::{Body, Gate, Outgoing, Spelling};
use crate::config::Scheme;

/// A new connection.
pub(crate) struct Connected {
    pub(crate) sender: Sender,
    /// Must be polled (spawned) for the connection to move; ends when it is closed. Dropped before that it resets the
    /// connection (HTTP/1.1), or lets running streams end first (HTTP/2).
    pub(crate) driver: Driver,
    pub(crate) spent: Spent,
}

/// What carries the bytes of a connection.
pub(crate) type Driver = Pin<Box<dyn Future<Output = ()>>>;

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Where the time of a new connection went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) lookup: Duration,
    pub(crate) tcp: Duration,
    pub(crate) tls: Duration,
}

/// Sends requests on one connection: one at a time (HTTP/1.1), or many (HTTP/2; see [`Sender::share`]).
pub(crate) enum Sender {
    Http1(Exclusive),
    Http2(Multiplexed),
}

/// An HTTP/1.1 connection.
pub(crate) struct Exclusive {
    requests: http1::SendRequest<Body>,
    watch: Arc<Watch>,
    /// Extensions that count interim answers: made once, as each request needs a copy.
    listening: Extensions,
    /// The authority of the last request, and the `Host` that says it.
    host: (Authority, HeaderValue),
    last_answer_given: bool,
}

/// An HTTP/2 connection.
#[derive(Clone)]
pub(crate) struct Multiplexed {
    requests: http2::SendRequest<Body>,
    watch: Arc<Watch>,
    /// Its driver's; here only to be asked what the service's settings allow.
    connection: Weak<RefCell<http2::Connection<TokioIo<Wire>, Body, SpawnLocal>>>,
}

/// No answer came; `request` is given back whole if not a byte of it had left.
pub(crate) struct Unsent {
    pub(crate) error: Error,
    pub(crate) request: Option<Box<Outgoing>>,
    /// No byte of it had left, or the service said that it did nothing with it (GOAWAY beyond the last stream,
    /// REFUSED_STREAM).
    pub(crate) not_processed: bool,
}

/// Speaks what was negotiated.
pub(super) async fn handshake(dialed: Dialed, spelling: Spelling) -> Result<Connected, Error> {
    let Dialed { wire, protocol, spent } = dialed;
    let (sender, driver) = match protocol {
        Protocol::Http1 => exclusive(wire, spelling).await?,
        Protocol::Http2 => multiplexed(wire).await?,
    };
    Ok(Connected { sender, driver, spent })
}

async fn exclusive(wire: Wire, spelling: Spelling) -> Result<(Sender, Driver), Error> {
    let watch = Arc::clone(wire.watch());
    let (requests, connection) = http1::Builder::new()
        .max_headers(HEAD_FIELDS)
        .max_header_size(HEAD_BYTES)
        .title_case_headers(spelling == Spelling::TitleCase)
        .handshake(TokioIo::new(wire))
        .await
        .map_err(|error| Error::unanswered(&error))?;
    let driver = async {
        // Whoever waits for an answer is told the error; with nobody waiting it concerns nobody.
        drop(connection.await);
    };
    let sender = Exclusive {
        requests,
        listening: listening(Arc::clone(&watch), None),
        watch,
        host: (Authority::from_static("-"), HeaderValue::from_static("-")),
        last_answer_given: false,
    };
    Ok((Sender::Http1(sender), Box::pin(driver)))
}

async fn multiplexed(wire: Wire) -> Result<(Sender, Driver), Error> {
    let watch = Arc::clone(wire.watch());
    let (requests, connection) = http2::Builder::new(SpawnLocal)
        .max_header_list_size(HEAD_BYTES as u32)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake(TokioIo::new(wire))
        .await
        .map_err(|error| Error::unanswered(&error))?;
    let connection = Rc::new(RefCell::new(connection));
    let sender = Multiplexed { requests, watch, connection: Rc::downgrade(&connection) };
    let driver = poll_fn(move |cx| Pin::new(&mut *connection.borrow_mut()).poll(cx).map(drop));
    Ok((Sender::Http2(sender), Box::pin(driver)))
}

impl Sender {
    /// Writes the request: origin-form and `Host` on HTTP/1.1, `:authority` on HTTP/2. Dropping it before the answer
    /// ends the connection (HTTP/1.1) or resets the stream (HTTP/2).
    ///
    /// # Errors
    ///
    /// When no head of an answer comes; it may be sent again as far as [`Unsent`] says.
    pub(crate) async fn send(&mut self, outgoing: Outgoing) -> Result<Response<Incoming>, Unsent> {
        match self {
            Self::Http1(exclusive) => exclusive.send(outgoing).await,
            Self::Http2(multiplexed) => multiplexed.send(outgoing).await,
        }
    }

    /// Whether the other side has closed it, as far as is known.
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Http1(exclusive) => exclusive.last_answer_given || exclusive.requests.is_closed(),
            Self::Http2(multiplexed) => multiplexed.requests.is_closed(),
        }
    }

    /// Whether the next request may be sent now, as far as is known.
    pub(crate) fn is_ready(&self) -> bool {
        match self {
            Self::Http1(exclusive) => !exclusive.last_answer_given && exclusive.requests.is_ready(),
            Self::Http2(multiplexed) => multiplexed.requests.is_ready(),
        }
    }

    /// Ready for the next request (HTTP/1.1: the previous one was written and its answer read, both to the end).
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let ready = match self {
            Self::Http1(exclusive) if exclusive.last_answer_given => {
                return Poll::Ready(Err(Error::Terminated("it speaks HTTP/1.0".to_owned())));
            }
            Self::Http1(exclusive) => exclusive.requests.poll_ready(cx),
            Self::Http2(multiplexed) => multiplexed.requests.poll_ready(cx),
        };
        ready.map_err(|error| Error::unanswered(&error))
    }

    /// What the connection speaks.
    pub(crate) fn protocol(&self) -> Protocol {
        match self {
            Self::Http1(_) => Protocol::Http1,
            Self::Http2(_) => Protocol::Http2,
        }
    }

    /// Another sender on the same connection; `None` on HTTP/1.1.
    pub(crate) fn share(&self) -> Option<Multiplexed> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(multiplexed) => Some(multiplexed.clone()),
        }
    }

    /// How many requests it may carry at a time: what the service's settings allow on HTTP/2.
    pub(crate) fn streams(&self) -> usize {
        match self {
            Self::Http1(_) => 1,
            Self::Http2(multiplexed) => {
                multiplexed.connection.upgrade().map_or(0, |driven| driven.borrow().current_max_send_streams())
            }
        }
    }
}

impl Exclusive {
    async fn send(&mut self, outgoing: Outgoing) -> Result<Response<Incoming>, Unsent> {
        let gate = outgoing.body.gate().cloned();
        let scheme = outgoing.scheme;
        let host = self.host(&outgoing.authority);
        let mut request = outgoing.into_origin_form(host);
        *request.extensions_mut() = match &gate {
            None => self.listening.clone(),
            Some(gate) => listening(Arc::clone(&self.watch), Some(gate.clone())),
        };

        let mark = self.watch.begin();
        let outcome = self.requests.try_send_request(request).await;
        if let Some(gate) = gate {
            // A final answer: what becomes of the body is between the app and the service now.
            gate.open();
        }
        match outcome {
            Ok(response) => self.checked(response),
            Err(refused) => Err(self.unsent(refused, scheme, mark)),
        }
    }

    fn host(&mut self, authority: &Authority) -> HeaderValue {
        if self.host.0 != *authority {
            // Invariant: an authority has no other bytes than a field value may have.
            #[allow(clippy::expect_used)]
            let value = HeaderValue::from_str(authority.as_str()).expect("an authority is a field value");
            self.host = (authority.clone(), value);
        }
        self.host.1.clone()
    }

    fn checked(&mut self, response: Response<Incoming>) -> Result<Response<Incoming>, Unsent> {
        // hyper would write the next request as HTTP/1.0 too, and drop a body of unknown length in silence.
        self.last_answer_given = response.version() == Version::HTTP_10;
        if let Some(flooded) = self.watch.flooded() {
            return Err(Unsent::finally(flooded));
        }
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Unsent::finally(Error::Protocol("it switches protocols, which nobody asked for".to_owned())));
        }
        Ok(response)
    }

    fn unsent(&self, mut refused: TrySendError<Request<Body>>, scheme: Scheme, mark: u64) -> Unsent {
        let request = refused.take_message();
        let not_processed = request.is_some() || !self.watch.wrote_since(mark);
        let error = self.watch.verdict().unwrap_or_else(|| Error::unanswered(refused.error()));
        let restored = request.map(|request| Outgoing::restored(request, scheme, self.host.0.clone()));
        Unsent { error, request: restored.map(Box::new), not_processed }
    }
}

impl Multiplexed {
    /// Sends one request on a stream of its own; see [`Sender::send`].
    pub(crate) async fn send(&mut self, outgoing: Outgoing) -> Result<Response<Incoming>, Unsent> {
        if let Some(gate) = outgoing.body.gate() {
            gate.open();
        }
        let (scheme, authority) = (outgoing.scheme, outgoing.authority.clone());
        let request = outgoing.into_absolute_form();
        match self.requests.try_send_request(request).await {
            Ok(response) if response.headers().len() > HEAD_FIELDS => {
                Err(Unsent::finally(Error::Protocol(format!("its head has more than {HEAD_FIELDS} fields"))))
            }
            Ok(response) => Ok(response),
            Err(refused) => Err(self.unsent(refused, scheme, authority)),
        }
    }

    /// How many bytes the service has sent on this connection: none since a request was sent may mean that it is gone.
    pub(crate) fn heard(&self) -> u64 {
        self.watch.read()
    }

    fn unsent(&self, mut refused: TrySendError<Request<Body>>, scheme: Scheme, authority: Authority) -> Unsent {
        let request = refused.take_message();
        let not_processed = request.is_some() || disclaims(refused.error());
        let error = self.watch.verdict().unwrap_or_else(|| Error::unanswered(refused.error()));
        let restored = request.map(|request| Outgoing::restored(request, scheme, authority));
        Unsent { error, request: restored.map(Box::new), not_processed }
    }
}

impl Unsent {
    /// It was answered, but not with anything that can be passed on.
    fn finally(error: Error) -> Self {
        Self { error, request: None, not_processed: false }
    }
}

/// What hyper hangs on a request to hear of interim answers: counts them, and opens the gate at a `100`.
fn listening(watch: Arc<Watch>, gate: Option<Gate>) -> Extensions {
    let mut carrier = Request::new(());
    hyper::ext::on_informational(&mut carrier, move |answer| {
        watch.interim_answer();
        if let (StatusCode::CONTINUE, Some(gate)) = (answer.status(), &gate) {
            gate.open();
        }
    });
    carrier.into_parts().0.extensions
}

/// Runs HTTP/2's streams beside their connection, on its thread.
#[derive(Clone, Copy)]
struct SpawnLocal;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for SpawnLocal {
    fn execute(&self, stream: F) {
        tokio::task::spawn_local(stream);
    }
}

/// What a service's head may have.
const HEAD_BYTES: usize = 64 * 1024;
const HEAD_FIELDS: usize = 100;

/// Enough for 80 Mbit/s a stream over 100 ms; what one slow app leaves unread holds no more memory than this.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
