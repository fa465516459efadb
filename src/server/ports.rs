//! The three kinds of port, as connections see them.

use std::rc::Rc;

use http::{Request, Response};
use hyper::body::Incoming;

use super::connection::Port;
use crate::admin;
use crate::code::Code;
use crate::config::Limits;
use crate::proxy::{self, Arrival, Body};

impl Port for proxy::Context {
    fn answer(
        self: &Rc<Self>,
        request: Request<Incoming>,
        arrival: &Rc<Arrival>,
    ) -> impl Future<Output = Response<Body>> + use<> {
        proxy::handle(request, Rc::clone(arrival), self)
    }

    fn limits(&self) -> Limits {
        self.view().limits()
    }

    fn refuse(&self, code: Code, detail: &str) -> Response<Body> {
        self.refuse(code, detail)
    }
}

/// The admin port.
pub(crate) struct Admin(pub(crate) Rc<admin::Context>);

impl Port for Admin {
    fn answer(
        self: &Rc<Self>,
        request: Request<Incoming>,
        arrival: &Rc<Arrival>,
    ) -> impl Future<Output = Response<Body>> + use<> {
        let (context, arrival) = (Rc::clone(&self.0), Rc::clone(arrival));
        async move { admin::handle(request, &arrival, &context).await }
    }

    fn limits(&self) -> Limits {
        self.0.published.current().load().config.limits
    }

    fn refuse(&self, code: Code, detail: &str) -> Response<Body> {
        admin::refuse(code, detail)
    }
}

/// The health port.
pub(crate) struct Health(pub(crate) Rc<admin::Context>);

impl Port for Health {
    fn answer(
        self: &Rc<Self>,
        request: Request<Incoming>,
        _: &Rc<Arrival>,
    ) -> impl Future<Output = Response<Body>> + use<> {
        let context = Rc::clone(&self.0);
        async move { admin::health(request, &context).await }
    }

    fn limits(&self) -> Limits {
        self.0.published.current().load().config.limits
    }

    fn refuse(&self, code: Code, detail: &str) -> Response<Body> {
        admin::refuse(code, detail)
    }
}
