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
    async fn answer(&self, request: Request<Incoming>, arrival: &Arrival) -> Response<Body> {
        proxy::handle(request, arrival, self).await
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
    async fn answer(&self, request: Request<Incoming>, arrival: &Arrival) -> Response<Body> {
        admin::handle(request, arrival, &self.0).await
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
    async fn answer(&self, request: Request<Incoming>, _: &Arrival) -> Response<Body> {
        admin::health(request, &self.0).await
    }

    fn limits(&self) -> Limits {
        self.0.published.current().load().config.limits
    }

    fn refuse(&self, code: Code, detail: &str) -> Response<Body> {
        admin::refuse(code, detail)
    }
}
