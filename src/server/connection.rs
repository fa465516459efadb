//! One client connection: parked while idle, a connection of hyper's while it is not; one of HTTP/2 from its first bytes on.
//!
//! ```text
//!            readable                     head complete
//!   parked ───────────► hyper's connection ───────────► exchange (proxy::handle)
//!     ▲  idle_timeout: closed   │ header_timeout: 408        │
//!     └─────────────────────────┴────────────────────────────┘
//!            idle: at once, or after two ticks
//! ```
//!
//! A parked connection costs its socket and a small task: hyper's connection, with its buffers, is taken apart
//! between two messages and made anew when the next bytes come. Taking it apart after every answer would cost 5,000
//! instructions each, so one that is in steady use is left alone.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response, request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;

use super::error_reply::{self, BrokenRequest};
use super::http2::{self, Greeting};
use super::persistence::RequestPersistence;
use super::progress::{Between, Io, Progress, Tracked, Waits};
use super::refusal::ConnectionRefusal;
use super::stream::ClientStream;
use super::trim::TrimSchedule;
use super::tunnel;
use crate::aside::aside;
use crate::code::Code;
use crate::config::Limits;
use crate::deadline::{ConnectionDeadline, Deadline, ExchangeDeadline, Sweep, TICK};
use crate::incoming::IncomingBody;
use crate::name::ServiceName;
use crate::proxy::{Arrival, DrainPhase, Peer, ResponseBody};

/// What answers the requests of a port: the proxy, the admin API, the health probes.
pub(crate) trait Port: 'static {
    /// Whether its answers may open tunnels: then streams of HTTP/2 may ask for one (RFC 8441).
    const TUNNELS: Tunnels = Tunnels::None;

    /// Answers one request, and says nothing of its connection in the answer. The future owns what it needs, does nothing
    /// before it is polled, and should not carry the request: hyper moves it. `deadline` is the exchange's to arm.
    fn answer(
        self: &Rc<Self>,
        head: request::Parts,
        body: IncomingBody,
        arrival: &Rc<Arrival>,
        deadline: &Rc<ExchangeDeadline>,
    ) -> impl Future<Output = Response<ResponseBody>> + use<Self>;

    /// The limits now: a reload may change them.
    fn limits(&self) -> Limits;

    /// Why this client gets no request through, whatever it asks; `None`: it may ask.
    fn turns_away(&self, peer: Peer) -> Option<(Code, String)>;

    /// Our answer to a request that could not be taken: too broken to parse, too large, too slow.
    fn refuse(&self, refusal: &ConnectionRefusal, peer: Peer) -> Response<ResponseBody>;
}

/// Whether a port opens tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tunnels {
    None,
    Opened,
}

/// What the connections of one thread share.
#[derive(Debug, Default)]
pub(crate) struct ThreadShared {
    pub(crate) sweep: Sweep,
    /// Once it has begun idle connections close, the others after their answer.
    pub(crate) drain: Rc<Cell<DrainPhase>>,
    pub(crate) trims: TrimSchedule,
}

/// Serves one client connection until it ends.
///
/// `own` is the service whose own port it came to.
pub(crate) async fn serve<P: Port>(
    mut stream: ClientStream,
    peer: Peer,
    own: Option<ServiceName>,
    port: Rc<P>,
    shared: Rc<ThreadShared>,
) {
    let deadline = shared.sweep.connection();
    if let Some(refusal) = port.turns_away(peer) {
        return aside(|| error_reply::turned_away(&*port, stream, refusal, peer, &deadline)).await;
    }
    let mut arrival = Rc::new(Arrival::new(peer, own, Rc::clone(&shared.drain)));
    let mut since = Since::Accepted(deadline.now());
    // The first request may be the only one.
    let mut park = ParkPolicy::Rare;
    loop {
        let began = deadline.now();
        let Parked::Readable = parked(&stream, since, &deadline, &port.limits(), &shared).await else { return };
        if since == Since::Answered {
            park = if deadline.now() - began >= RARE_AFTER { ParkPolicy::Rare } else { ParkPolicy::Steady };
        }
        // In a box, so that a parked task does not carry its room.
        match Box::pin(awake(stream, since, park, &port, &mut arrival, &deadline, &shared)).await {
            Some(idle) => (stream, since) = idle,
            None => return,
        }
    }
}

/// Serves a connection with something to read until it is idle, or ends it. Says with the idle socket since when it
/// waits.
async fn awake<P: Port>(
    mut stream: ClientStream,
    mut since: Since,
    mut park: ParkPolicy,
    port: &Rc<P>,
    arrival: &mut Rc<Arrival>,
    deadline: &ConnectionDeadline,
    shared: &ThreadShared,
) -> Option<(ClientStream, Since)> {
    // Lent to one exchange after the other; a parked connection has none.
    let of_exchanges = shared.sweep.exchange();
    let mut replay = Bytes::new();
    loop {
        let limits = port.limits();
        let (io, progress) = Io::new(stream, replay, &of_exchanges);
        let mut connection = builder(&limits).serve_connection(TokioIo::new(io), exchanges(port, arrival, &progress));
        let waits = (Waits::Exchange, 0);
        let mut driver = HttpDriver { progress: &progress, deadline, limits: &limits, shared, since, park, waits };
        let end = poll_fn(|cx| driver.poll(&mut connection, cx)).await;

        let parts = connection.into_parts();
        let io = parts.io.into_inner();
        let refused = io.refused_byte();
        let (Some(socket), unread) = io.into_parts() else { return None };
        if progress.exchanges() > 0 {
            since = Since::Answered;
        }
        if let Some((opened, begun)) = progress.take_tunnel() {
            // However hyper takes its end: the answer has left, and what follows is the tunnel's.
            let (opening, read) = (socket.begin_tunnel(begun), join(parts.read_buf, unread));
            (stream, replay) = aside(|| tunnel::begin(*opened, opening, read, arrival, deadline)).await?;
            since = Since::Accepted(deadline.now());
            if replay.is_empty() {
                return Some((stream, since));
            }
            continue;
        }
        match end {
            ConnectionEnd::Idle(between) => {
                if since == Since::Answered {
                    shared.trims.parked();
                }
                (stream, replay) = (socket.serve_again(between), join(parts.read_buf, unread));
                if replay.is_empty() {
                    return Some((stream, since));
                }
                // The next head is here already.
                park = ParkPolicy::Steady;
                continue;
            }
            ConnectionEnd::Closed if progress.was_closed() => {}
            ConnectionEnd::Closed => aside(|| socket.close(&[], deadline)).await,
            ConnectionEnd::Unread | ConnectionEnd::Gone => socket.reset(),
            ConnectionEnd::TooSlow => aside(|| error_reply::too_slow(&**port, socket, arrival.peer, deadline)).await,
            ConnectionEnd::Failed(error) => {
                let read = join(parts.read_buf, unread);
                // Nothing is looked for in the first bytes of HTTP/1: what begins as HTTP/2 does is no request to hyper.
                if let (Since::Accepted(accepted), Some(between)) = (since, progress.between())
                    && error.is_parse()
                    && http2::is_preface(&read)
                {
                    let greeting = Greeting { stream: socket.serve_again(between), read, accepted };
                    aside(|| http2::serve(greeting, port, arrival, deadline, shared)).await;
                    return None;
                }
                if progress.exchanges() == 0 && tunnel::tells_of_tls(arrival, &read) {
                    aside(|| socket.close(&[], deadline)).await;
                    return None;
                }
                let broken = BrokenRequest { error: &error, read: &read, refused };
                aside(|| error_reply::failed(&**port, socket, &progress, broken, arrival.peer, deadline)).await;
            }
        }
        return None;
    }
}

/// The service that hyper calls: it notes where each exchange begins, and says with the answer's head whether another
/// may follow; its [`Tracked`] body notes where it ends.
fn exchanges<P: Port>(port: &Rc<P>, arrival: &Rc<Arrival>, progress: &Rc<Progress>) -> impl Exchanges + use<P> {
    let (port, arrival, progress) = (Rc::clone(port), Rc::clone(arrival), Rc::clone(progress));
    service_fn(move |request: Request<Incoming>| {
        let (head, body) = request.into_parts();
        let body = IncomingBody::new(body);
        let may_begin = progress.begin(RequestPersistence::of(&head, &body));
        // Nothing is done before it is polled.
        let answer = port.answer(head, body, &arrival, progress.exchange().deadline());
        let (progress, arrival) = (Rc::clone(&progress), Rc::clone(&arrival));
        async move {
            if !may_begin {
                return Err(AlreadyOver);
            }
            let mut answer = answer.await;
            // What opens a tunnel is the proxy's to say: a 2xx to `CONNECT` does nothing else (RFC 9110 §9.3.6).
            match answer.body_mut().take_tunnel() {
                Some(tunnel) => progress.opened(tunnel),
                None => progress.answered(&mut answer, arrival.drain.get()),
            }
            Ok(answer.map(|body| Tracked::new(body, progress)))
        }
    })
}

/// What [`exchanges`] makes, without a name of its own.
trait Exchanges: Service<Request<Incoming>, Response = Response<Tracked>, Error = AlreadyOver> {}

impl<S> Exchanges for S where S: Service<Request<Incoming>, Response = Response<Tracked>, Error = AlreadyOver> {}

/// Something was taken for a request on a connection whose last answer has left. hyper does not do that.
#[derive(Debug, thiserror::Error)]
#[error("the connection has had its last answer")]
struct AlreadyOver;

fn builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    if limits.headers != HYPERS_OWN_LIMIT {
        // Said or not it holds, but hyper fills two tables of this size for each request if it was said.
        builder.max_headers(limits.headers);
    }
    builder
        .max_header_size(limits.header_bytes)
        .auto_date_header(false)
        // Else hyper would look for the end of the stream in the midst of each exchange, with 8 KiB of room made for it.
        // Who leaves in a long one is noticed by `Driver`.
        .half_close(true)
        // The deadline does this: hyper's own would end idle connections too.
        .header_read_timeout(None);
    builder
}

/// Waits for the next bytes. Nothing but the socket and this task is held meanwhile.
async fn parked(
    stream: &ClientStream,
    since: Since,
    deadline: &ConnectionDeadline,
    limits: &Limits,
    shared: &ThreadShared,
) -> Parked {
    match since {
        // Who says nothing shows no token either, and must not hold a place for long.
        Since::Accepted(tick) => deadline.arm_since(tick, limits.header_timeout),
        Since::Answered => deadline.arm(limits.idle_timeout),
    }
    deadline.fall_silent();
    let mut hurried = false;
    let parked = poll_fn(|cx| {
        if stream.poll_readable(cx).is_ready() {
            return Poll::Ready(Parked::Readable);
        }
        if shared.drain.get() == DrainPhase::Begun && since == Since::Answered {
            if stream.has_unread() {
                // Closing it now would reset it under a request that the runtime is about to hear of.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(Parked::Over);
        }
        if shared.drain.get() == DrainPhase::Begun && !std::mem::replace(&mut hurried, true) {
            // It came out of the queue as the drain began: its first request is on its way.
            deadline.arm(Some(FIRST_REQUEST_WHILE_CLOSING));
        }
        // What came in this very moment is no silence.
        deadline.poll_expired(cx).map(|_| if stream.has_unread() { Parked::Readable } else { Parked::Over })
    })
    .await;
    deadline.speak();
    deadline.disarm();
    parked
}

/// Polls hyper's connection, and finds out what it waits for.
struct HttpDriver<'a> {
    progress: &'a Progress,
    /// The connection's: what an exchange waits for is its own affair.
    deadline: &'a ConnectionDeadline,
    limits: &'a Limits,
    shared: &'a ThreadShared,
    since: Since,
    park: ParkPolicy,
    /// What was waited for at the last poll, and after how many steps.
    waits: (Waits, u32),
}

impl HttpDriver<'_> {
    fn poll<S: Exchanges>(&mut self, connection: &mut HttpConnection<S>, cx: &mut Context<'_>) -> Poll<ConnectionEnd> {
        // First, so that what the client sent before it heard of the drain is read and answered.
        if let Poll::Ready(end) = Pin::new(&mut *connection).poll(cx) {
            return Poll::Ready(end.map_or_else(ConnectionEnd::Failed, |()| ConnectionEnd::Closed));
        }
        self.look();
        match self.waits.0 {
            Waits::Exchange if self.progress.is_gone() => Poll::Ready(ConnectionEnd::Gone),
            Waits::Exchange => {
                let deadline = self.progress.exchange().deadline();
                // hyper may have polled nothing that did: a long exchange looks for its client.
                deadline.listen(cx);
                self.poll_unread(deadline, cx)
            }
            Waits::Flush => self.poll_unread(self.deadline, cx),
            // hyper closes a connection of whose body nobody reads the rest: somebody does.
            Waits::Rest => self.deadline.poll_expired(cx).map(|_| ConnectionEnd::Closed),
            Waits::Nothing => Poll::Ready(ConnectionEnd::Closed),
            Waits::Head => self.deadline.poll_expired(cx).map(|_| ConnectionEnd::TooSlow),
            Waits::Idle => {
                let waits = self.shared.drain.get() == DrainPhase::Ahead && self.park == ParkPolicy::Steady;
                if waits {
                    ready!(self.deadline.poll_expired(cx));
                }
                self.take_apart(connection, cx)
            }
        }
    }

    /// Notes what is waited for now, and arms the deadline for it.
    fn look(&mut self) {
        let waits = (self.progress.waits(), self.progress.steps());
        if waits == self.waits {
            return;
        }
        self.waits = waits;
        if waits.0 == Waits::Head {
            // Half a head and then nothing is silence too.
            self.deadline.fall_silent();
        } else {
            self.deadline.speak();
        }
        match waits.0 {
            // An exchange has time-outs of its own; the one for its head must not wake anybody in the midst of it.
            Waits::Exchange => self.deadline.disarm(),
            Waits::Flush => self.deadline.arm(self.limits.idle_timeout),
            Waits::Rest => self.deadline.arm(Some(TAKEN_WITHIN)),
            Waits::Nothing => {}
            Waits::Head => match self.since {
                Since::Accepted(tick) if self.progress.exchanges() == 0 => {
                    self.deadline.arm_since(tick, self.limits.header_timeout);
                }
                Since::Accepted(_) | Since::Answered => self.deadline.arm(self.limits.header_timeout),
            },
            Waits::Idle => self.deadline.arm(Some(TICK)),
        }
    }

    /// A client that reads nothing of its answer is waited for as long as for a piece of it. hyper asks for no more of
    /// the body meanwhile, so that the proxy can't tell: whose deadline runs, the exchange's or after it the connection's,
    /// is given its whole time again here, and nowhere else but by its owner.
    fn poll_unread(&self, deadline: &Deadline, cx: &mut Context<'_>) -> Poll<ConnectionEnd> {
        if !self.progress.is_full() {
            return Poll::Pending;
        }
        if self.progress.take_moved() {
            deadline.rearm();
        }
        deadline.poll_expired(cx).map(|_| ConnectionEnd::Unread)
    }

    /// Between two messages hyper only marks its connection closed, without a byte sent.
    fn take_apart<S: Exchanges>(
        &mut self,
        connection: &mut HttpConnection<S>,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionEnd> {
        Pin::new(&mut *connection).graceful_shutdown();
        let closed = ready!(Pin::new(connection).poll(cx));
        // Asked for after hyper's last move, so that no exchange can have begun in it.
        let idle = || self.progress.between().map_or(ConnectionEnd::Closed, ConnectionEnd::Idle);
        Poll::Ready(closed.map_or_else(ConnectionEnd::Failed, |()| idle()))
    }
}

/// What hyper had read too far, and what it had not read yet.
fn join(read: Bytes, unread: Bytes) -> Bytes {
    if unread.is_empty() {
        // An empty buffer would keep its 8 KiB alive.
        return if read.is_empty() { Bytes::new() } else { read };
    }
    let mut joined = BytesMut::from(&*read);
    joined.extend_from_slice(&unread);
    joined.freeze()
}

type HttpConnection<S> = http1::Connection<TokioIo<Io>, S>;

/// How hyper's connection ended.
enum ConnectionEnd {
    /// Taken apart between two messages.
    Idle(Between),
    /// After its last answer, or because the client closed.
    Closed,
    /// The head did not arrive in time.
    TooSlow,
    /// The client did not read its answer.
    Unread,
    /// The client left in the midst of an exchange.
    Gone,
    Failed(hyper::Error),
}

enum Parked {
    Readable,
    /// Idle for too long, or the drain has begun.
    Over,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Since {
    /// At this tick.
    Accepted(u32),
    Answered,
}

/// How a connection is used: one that pauses between requests is parked at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ParkPolicy {
    Rare,
    Steady,
}

/// How many fields hyper takes unless it is told otherwise.
const HYPERS_OWN_LIMIT: usize = 100;
/// Parked for so many ticks, a connection counts as rarely used.
const RARE_AFTER: u32 = 2;
/// A service that answered before it read all may go on reading for as long as it takes something in such a time. What
/// comes after that is dropped.
const TAKEN_WITHIN: Duration = Duration::from_millis(500);
const FIRST_REQUEST_WHILE_CLOSING: Duration = Duration::from_secs(1);
