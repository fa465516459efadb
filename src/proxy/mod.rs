//! The request path: admit, route, authorize, send, relay.
//!
//! Start reading at [`handle`]. Promises one answer for each request, the service's or one of our own that says why
//! there is none; that nothing is sent without the credential that the service names; and that no lock of ours is
//! taken on the way. Leaves connections to the app to `server`, those to the service to `upstream`.

pub(crate) mod admit;
mod byte_tunnel;
mod date;
#[cfg(feature = "files")]
mod destination;
mod error;
mod exchange;
pub(crate) mod explain;
pub(crate) mod fields;
mod grpc_timeout;
#[cfg(feature = "openpgp")]
mod openpgp;
mod principal;
pub(crate) mod problem;
mod refusal;
mod relay;
mod retry;
mod send;
#[cfg(test)]
mod tests;
mod timing;
mod tunnel;
mod upload;
mod view;
mod websocket;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::uri::PathAndQuery;
use http::{Method, Response, Version, request};

pub(crate) use byte_tunnel::ByteTunnel;
pub(crate) use error::Error;
pub(crate) use exchange::wants_grpc;
pub(crate) use relay::{ResponseBody, ResponseBodyError};
pub(crate) use tunnel::{OpenedTunnel, ServiceTunnel};
pub(crate) use view::{Context, turns_away};

use crate::aside::aside;
#[cfg(feature = "openpgp")]
use crate::config::Scheme;
use crate::deadline::ExchangeDeadline;
use crate::guard::guarded;
use crate::incoming::IncomingBody;
use crate::name::ServiceName;
use crate::route::allow::Allow;
use crate::route::{self, Match, RouteTable};
use crate::upstream::PooledBody;
use admit::{Admission, Named, TokenBefore};
#[cfg(feature = "files")]
use destination::FileAdmission;
use exchange::ExchangeRecord;
use principal::Principal;
use send::OutboundRequest;
use timing::ExchangePhase;
use view::ServiceHalf;
use websocket::WebSocketHandshake;

/// What is known of the app's connection.
pub(crate) struct Arrival {
    pub(crate) peer: Peer,
    /// The service whose own port it came to; `None`: a port of all.
    pub(crate) own: Option<ServiceName>,
    pub(crate) drain: Rc<Cell<DrainPhase>>,
    /// The number of this connection among those that came to a service, where identities go by that.
    pub(crate) numbers: RefCell<Vec<(ServiceName, usize)>>,
    /// The tunnel in which its requests come; `None`: they come as they are.
    pub(crate) inside: Option<ServiceTunnel>,
}

impl Arrival {
    /// A connection as it is accepted.
    pub(crate) fn new(peer: Peer, own: Option<ServiceName>, drain: Rc<Cell<DrainPhase>>) -> Self {
        Self { peer, own, drain, numbers: RefCell::default(), inside: None }
    }

    /// The same connection, inside this tunnel from now on.
    pub(crate) fn within(&self, tunnel: ServiceTunnel) -> Self {
        let numbers = self.numbers.clone();
        Self { numbers, inside: Some(tunnel), ..Self::new(self.peer, self.own.clone(), Rc::clone(&self.drain)) }
    }

    /// The number of this connection at a service; drawn once, and kept over reloads.
    fn number_at(&self, service: &ServiceName, arrived: &AtomicUsize) -> usize {
        let mut numbers = self.numbers.borrow_mut();
        if let Some((_, number)) = numbers.iter().find(|(known, _)| known == service) {
            return *number;
        }
        let number = arrived.fetch_add(1, Ordering::Relaxed);
        numbers.push((service.clone(), number));
        number
    }
}

/// Whether the orderly end has begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum DrainPhase {
    #[default]
    Ahead,
    /// The next answer of each connection is its last.
    Begun,
}

/// Who is on the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Tcp(SocketAddr),
    Unix { uid: u32 },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix { uid } => write!(f, "uid {uid}"),
        }
    }
}

/// Carries one request to its service and the answer back.
///
/// The phases have one file each and the same names in logs, metrics and docs. The request is in its [`ExchangeRecord`] before
/// there is a future: whatever a future holds is moved with it. `deadline` is for whatever the exchange waits for: the
/// answer's head, a body that stalls.
pub(crate) fn handle(
    head: request::Parts,
    body: IncomingBody,
    arrival: Rc<Arrival>,
    deadline: Rc<ExchangeDeadline>,
    cx: &Context,
) -> impl Future<Output = Response<ResponseBody>> + use<> {
    // One view for the whole request: a reload halfway must not mix two configs.
    let mut exchange = ExchangeRecord::begin(head, &body, arrival, deadline, cx.view());
    async move {
        let outcome = guarded(pin!(carry(body, &mut exchange))).await;
        let answer = match outcome.unwrap_or_else(|panicked| Err(panicked.into())) {
            Ok(answer) => answer,
            Err(error) => {
                exchange.failed(&error);
                problem::answer(&error, &exchange)
            }
        };
        exchange.answered(answer)
    }
}

async fn carry(body: IncomingBody, exchange: &mut ExchangeRecord) -> Result<Response<ResponseBody>, Error> {
    let view = Rc::clone(&exchange.view);
    let Arrival { peer, own, inside, .. } = &*exchange.arrival;
    let own = own.as_ref().map(|name| view.place_of(name)).transpose()?;
    if let Some(tunnel) = inside {
        tunnel.complete(&mut exchange.head);
    }
    let before = inside.as_ref().map_or(TokenBefore::NotShown, ServiceTunnel::token);
    let caller = view.door(own).recognize(&mut exchange.head, *peer, before)?;
    if exchange.head.method == Method::CONNECT {
        // Before the Host check, as no tunnel leads where `Host` says.
        return aside(|| tunnel::open(caller, exchange)).await;
    }
    let head = &exchange.head;
    let (found, shares_origin, present) = match view.door(own).admit(head, caller)? {
        Admission::Carry(named, present) => {
            (find(&view.snapshot.routes, head, &named, own)?, named.shares_origin, present)
        }
        Admission::AnswerOptions => return Ok(problem::options()),
    };

    // Invariant: routes know services by their place, and a view has a half for each.
    let half = &view.halves[found.service];
    exchange.routed(half);
    let service = &half.service;
    let target = target(&exchange.head, &found, &service.base_path, service.allow.as_ref())?;

    #[cfg(feature = "files")]
    if service.scheme.is_of_files() {
        let allow = service.allow.as_ref();
        match destination::admit(&mut exchange.head, &found, &service.base_path, allow, &target)? {
            FileAdmission::Carry => {}
            FileAdmission::AnswerOptions => return Ok(problem::file_options()),
        }
    }

    // What is not sent counts for nothing, and what is sent again counts once.
    exchange.limit(half, &body)?;

    #[cfg(feature = "openpgp")]
    if service.scheme == Scheme::OpenPgp {
        return aside(|| openpgp::serve(body, half, exchange)).await;
    }

    // Who comes before what: the fields that say so are taken off with the others.
    let who = Principal::of(&exchange.head, half, &exchange.arrival)?;
    let websocket = WebSocketHandshake::of(&exchange.head, present, &body)?;
    let mut request = OutboundRequest::prepare(who, body, target, present, half, exchange)?;
    if let Some(websocket) = &websocket {
        request.ask_for(websocket);
    }
    let mut response = request.send(half, exchange).await?;
    if shares_origin {
        fields::leave_shared_origin_alone(response.headers_mut());
    }

    // Who calls us by a service's own name knows us as a proxy; to all others we are the service.
    let via = (!found.prepend).then_some(&view.worker.instance);
    let way_back = view.snapshot.routes.way_back(&found, service.scheme).called(&service.authority);
    let known = relay::Acquaintance { via, way_back };
    if let Some(websocket) = websocket {
        return websocket.answered(response, known, half, exchange);
    }
    if passes_as_it_comes(half, exchange) {
        return relay::relay(response, known, half, &exchange.deadline);
    }
    aside(|| read_first(response, known, half, exchange)).await
}

/// Whether nothing of an answer is looked at before it goes on.
fn passes_as_it_comes(half: &ServiceHalf, exchange: &ExchangeRecord) -> bool {
    !half.service.changes_bodies() && !may_look_whole(exchange)
}

/// Relays an answer, decrypts it if it is a message, and holds back one that could look whole though it is not.
async fn read_first(
    response: Response<PooledBody>,
    known: relay::Acquaintance<'_>,
    half: &ServiceHalf,
    exchange: &mut ExchangeRecord,
) -> Result<Response<ResponseBody>, Error> {
    let relayed = relay::relay(response, known, half, &exchange.deadline)?;
    #[cfg(feature = "openpgp")]
    let relayed = openpgp::opened(relayed, half, exchange).await?;
    if may_look_whole(exchange) {
        let held = relay::hold_back(relayed);
        return exchange.wait_for(ExchangePhase::Service, pin!(held)).await;
    }
    Ok(relayed)
}

/// Whether the app could not tell half of an answer from all of it: HTTP/1.0 ends one without a length with the
/// connection, and a unix socket has no reset.
fn may_look_whole(exchange: &ExchangeRecord) -> bool {
    exchange.head.version == Version::HTTP_10 && matches!(exchange.arrival.peer, Peer::Unix { .. })
}

/// Finds the route, at the port of all or at that of `own`.
fn find<'t>(
    routes: &'t RouteTable,
    head: &request::Parts,
    named: &Named<'_>,
    own: Option<usize>,
) -> Result<Match<'t>, Error> {
    let question = named.question(head);
    let found = match own {
        None => routes.find(&question),
        Some(service) => routes.find_own(service, &question),
    };
    found.ok_or_else(|| Error::NoRoute { host: named.authority.host.to_string(), path: head.uri.path().to_owned() })
}

/// What is sent for what was asked, if the service may be sent that.
fn target(
    head: &request::Parts,
    found: &Match<'_>,
    base_path: &str,
    allow: Option<&Allow>,
) -> Result<PathAndQuery, Error> {
    let asked = head.uri.path_and_query().ok_or(Error::Form)?;
    let target = route::target::build(asked, found, base_path)?;
    if allow.is_none_or(|allow| allow.admits(&head.method, target.path())) {
        Ok(target)
    } else {
        Err(Error::NotAllowed { method: head.method.clone(), path: target.path().to_owned() })
    }
}
