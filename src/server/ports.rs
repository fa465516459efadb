//! The three kinds of port, as connections see them.

use std::rc::Rc;
use std::time::Duration;

use http::{Response, request};

use super::connection::{Port, Tunnels};
use super::refusal::ConnectionRefusal;
use crate::admin;
use crate::code::Code;
use crate::config::Limits;
use crate::deadline::ExchangeDeadline;
use crate::incoming::IncomingBody;
use crate::proxy::{self, Arrival, Peer, ResponseBody};

impl Port for proxy::Context {
    const TUNNELS: Tunnels = Tunnels::Opened;

    fn answer(
        self: &Rc<Self>,
        head: request::Parts,
        body: IncomingBody,
        arrival: &Rc<Arrival>,
        deadline: &Rc<ExchangeDeadline>,
    ) -> impl Future<Output = Response<ResponseBody>> + use<> {
        proxy::handle(head, body, Rc::clone(arrival), Rc::clone(deadline), self)
    }

    fn limits(&self) -> Limits {
        self.view().limits()
    }

    fn turns_away(&self, peer: Peer) -> Option<(Code, String)> {
        self.turns_away(peer)
    }

    fn refuse(&self, refusal: &ConnectionRefusal, peer: Peer) -> Response<ResponseBody> {
        refusal.log(peer, self.view().logs_refusals());
        self.refuse(refusal.code, &refusal.detail, refusal.wants_grpc)
    }
}

/// The admin port.
pub(crate) struct AdminPort(pub(crate) Rc<admin::AdminContext>);

impl Port for AdminPort {
    fn answer(
        self: &Rc<Self>,
        head: request::Parts,
        _: IncomingBody,
        arrival: &Rc<Arrival>,
        _: &Rc<ExchangeDeadline>,
    ) -> impl Future<Output = Response<ResponseBody>> + use<> {
        let (context, arrival) = (Rc::clone(&self.0), Rc::clone(arrival));
        async move { admin::handle(&head, &arrival, &context).await }
    }

    fn limits(&self) -> Limits {
        first_heads_in_time(self.0.published.current().load().config.limits)
    }

    fn turns_away(&self, peer: Peer) -> Option<(Code, String)> {
        proxy::turns_away(&self.0.published.current().load().access, peer)
    }

    fn refuse(&self, refusal: &ConnectionRefusal, peer: Peer) -> Response<ResponseBody> {
        refusal.log(peer, true);
        admin::refuse(refusal.code, &refusal.detail)
    }
}

/// The health port.
pub(crate) struct Health(pub(crate) Rc<admin::AdminContext>);

impl Port for Health {
    fn answer(
        self: &Rc<Self>,
        head: request::Parts,
        _: IncomingBody,
        _: &Rc<Arrival>,
        _: &Rc<ExchangeDeadline>,
    ) -> impl Future<Output = Response<ResponseBody>> + use<> {
        let context = Rc::clone(&self.0);
        async move { admin::health(&head, &context).await }
    }

    fn limits(&self) -> Limits {
        first_heads_in_time(self.0.published.current().load().config.limits)
    }

    fn turns_away(&self, _: Peer) -> Option<(Code, String)> {
        None
    }

    fn refuse(&self, refusal: &ConnectionRefusal, peer: Peer) -> Response<ResponseBody> {
        refusal.log(peer, true);
        admin::refuse(refusal.code, &refusal.detail)
    }
}

/// Probes are the answer to everything else that hangs: whoever says nothing here is not waited for as long as one likes.
fn first_heads_in_time(limits: Limits) -> Limits {
    let header_timeout = Some(limits.header_timeout.map_or(FIRST_HEAD, |limit| limit.min(FIRST_HEAD)));
    Limits { header_timeout, ..limits }
}

const FIRST_HEAD: Duration = Duration::from_secs(10);
