//! The door for `benches/` and `fuzz/`: what the hot path is made of, each as one closure to be run again and again.
//!
//! Only with the feature `bench`. What it opens stays `pub(crate)`, so each function gives away a closure and no type.

use std::cell::RefCell;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Version};

use crate::config::{self, Color, Secrets, Source};
use crate::credential::Slots;
use crate::proxy::fields::{self, Instance, Rules, Upward};
use crate::route::{Form, Question};
use crate::snapshot::Snapshot;
use crate::transport::{self, Body, Outgoing};

/// Finds the route of a `GET` for `path`, and says whether there is one.
pub fn route(config: &str, path: &str) -> impl Fn() -> bool + use<> {
    let snapshot = compile(config);
    let path = path.to_owned();
    move || {
        let question = Question {
            form: Form::Origin,
            host: "localhost",
            port: None,
            local: true,
            method: &Method::GET,
            path: &path,
            fields: &HeaderMap::new(),
        };
        snapshot.routes.find(&question).is_some()
    }
}

/// Makes an app's fields those of the request to the first service.
pub fn fields(config: &str) -> impl Fn(HeaderMap) -> HeaderMap + use<> {
    let rules = Rules::compile(&compile(config).services[0]);
    let instance = Instance::new("0a1b2c3d");
    move |mut fields| {
        let upward = Upward { method: &Method::GET, version: Version::HTTP_11, chunked: false, instance: &instance };
        fields::request(&mut fields, upward, &rules).map_or_else(|_| HeaderMap::new(), |_| fields)
    }
}

/// Puts the first service's credential on a request.
///
/// The credential must be there at once: a static one, or else the closure panics.
pub fn attach(config: &str) -> impl Fn(HeaderMap) -> HeaderMap + use<> {
    let service = Arc::clone(&compile(config).services[0]);
    let attachments = RefCell::default();
    move |fields| {
        let mut outgoing = Outgoing {
            method: Method::GET,
            scheme: service.scheme,
            authority: service.authority.clone(),
            target: PathAndQuery::from_static("/orders"),
            fields,
            body: Body::Empty,
        };
        assert!(
            is_ready(service.identity.credential.authorize(&attachments, &mut outgoing)),
            "a credential to wait for"
        );
        outgoing.fields
    }
}

/// Reads a service's answer at once and in pieces, which must make no difference; see `fuzz/`.
///
/// # Panics
/// When it does.
pub fn pieces_make_no_difference(answer: &[u8], cuts: &[u8]) {
    transport::pieces_make_no_difference(answer, cuts);
}

/// Loads and compiles a config.
///
/// # Panics
/// When the config has errors.
pub fn load(config: &str) -> impl Sized + use<> {
    compile(config)
}

fn is_ready<T, E>(future: impl Future<Output = Result<T, E>>) -> bool {
    matches!(pin!(future).poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(_)))
}

fn compile(text: &str) -> Snapshot {
    let (config, mut report) = config::load(&Source::Text(text.to_owned()), Secrets::Read);
    let snapshot = config.and_then(|config| Snapshot::compile(config, None, &Slots::default(), &mut report));
    snapshot.unwrap_or_else(|| panic!("{}", report.render(Color::Plain)))
}
