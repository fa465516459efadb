//! The door for `benches/` and `fuzz/`: what the hot path is made of, each as one closure to be run again and again.
//!
//! Only with the feature `bench`. What it opens stays `pub(crate)`, so each function gives away a closure and no type.
//! Each panics where a config has errors.

pub mod fuzz;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode, Version};
use tokio::task::spawn_local;

use crate::config::{self, Color, ConfigSource, Inputs, Secrets};
use crate::credential::{Slots, SubjectTokens, oauth2};
use crate::demo::Demo;
use crate::proxy;
use crate::proxy::fields::{self, FieldNames, Instance, Present, RequestContext, ResponseContext, Rules};
use crate::route::{Question, TargetForm};
use crate::server::worker::runtime_of_one_thread;
use crate::snapshot::{AnyTime, Published, Service, Snapshot};
use crate::telemetry::metrics::Metrics;
use crate::transport::{Outgoing, ProtocolSwitch, RequestBody};

/// Finds the route of a `GET` for `path`, and says whether there is one.
pub fn route(config: &str, path: &str) -> impl Fn() -> bool + use<> {
    let snapshot = compile(config);
    let path = path.to_owned();
    move || {
        let question = Question {
            form: TargetForm::Origin,
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
pub fn request_fields(config: &str) -> impl Fn(HeaderMap) -> HeaderMap + use<> {
    let rules = Rules::compile(&compile(config).services[0]);
    let (instance, routed_by) = (Instance::new(INSTANCE), FieldNames::default());
    move |mut fields| {
        let upward = RequestContext {
            method: &Method::GET,
            version: Version::HTTP_11,
            chunked: false,
            instance: &instance,
            present: Present::of(&fields),
            routed_by: &routed_by,
        };
        fields::request(&mut fields, upward, &rules).map_or_else(|_| HeaderMap::new(), |_| fields)
    }
}

/// Makes the first service's fields those of the answer to the app.
pub fn answer_fields(config: &str) -> impl Fn(HeaderMap) -> HeaderMap + use<> {
    let rules = Rules::compile(&compile(config).services[0]);
    move |mut fields| {
        let downward = ResponseContext { status: StatusCode::OK, version: Version::HTTP_11, via: None, way_back: None };
        fields::answer(&mut fields, downward, &rules).map_or_else(|_| HeaderMap::new(), |()| fields)
    }
}

/// Puts the first service's credential on a request, a static one.
pub fn attach(config: &str) -> impl Fn(HeaderMap) -> HeaderMap + use<> {
    attach_of(Arc::clone(&compile(config).services[0]))
}

/// Puts an OAuth 2.0 token on a request, which the demo's endpoint has given out and the slot holds.
pub fn attach_token() -> impl Fn(HeaderMap) -> HeaderMap + use<> {
    let runtime = runtime_of_one_thread()().unwrap_or_else(|error| panic!("no runtime: {error}"));
    let service = runtime.block_on(async {
        let demo = Demo::start().await.unwrap_or_else(|error| panic!("no demo: {error}"));
        let slots = Slots::default();
        let snapshot = load_after(&ConfigSource::Path(demo.config_path()), None, &slots);
        for slot in slots.take_new() {
            spawn_local(oauth2::refresh::run(Arc::downgrade(&slot)));
            slot.first_attempt().await;
        }
        Arc::clone(&snapshot.services[0])
    });
    attach_of(service)
}

/// Loads and compiles a config.
pub fn load(config: &str) -> impl Sized + use<> {
    compile(config)
}

/// Publishes one of two configs, then the other, and so on; a worker's view follows each time. Each service that is
/// the same in both is one, as after a reload.
pub fn swap(one: &str, other: &str) -> impl Fn() + use<> {
    let one = compile(one);
    let other = Arc::new(load_after(&ConfigSource::Text(other.to_owned()), Some(&one), &Slots::default()));
    let published = Arc::new(Published::new(one));
    let one = published.current().load_full();
    let context = proxy::Context::new(Arc::clone(&published), Arc::new(Metrics::default()), 0, 1, INSTANCE);
    let turn = Cell::new(0);
    move || {
        published.publish(Arc::clone([&other, &one][turn.get()]), &AnyTime);
        drop(context.view());
        turn.set(1 - turn.get());
    }
}

/// The credential must be there at once.
fn attach_of(service: Arc<Service>) -> impl Fn(HeaderMap) -> HeaderMap + use<> {
    let attach = attach_to(service);
    move |fields| {
        let target = PathAndQuery::from_static("/orders");
        attach(target, fields).unwrap_or_else(|| panic!("a credential to wait for")).fields
    }
}

/// Puts the credential on a `GET` request; `None`: it has to be waited for, or has no place on this one.
fn attach_to(service: Arc<Service>) -> impl Fn(PathAndQuery, HeaderMap) -> Option<Outgoing> + use<> {
    let attachments = RefCell::default();
    move |target, fields| {
        let (scheme, authority) = (service.scheme, service.authority.clone());
        let mut outgoing = Outgoing {
            method: Method::GET,
            scheme,
            authority,
            target,
            fields,
            body: RequestBody::Empty,
            switch: ProtocolSwitch::NotAsked,
        };
        let credential = &service.identities.all()[0].credential;
        is_ready(credential.authorize(&attachments, &SubjectTokens::default(), &mut outgoing)).then_some(outgoing)
    }
}

fn is_ready<T, E>(future: impl Future<Output = Result<T, E>>) -> bool {
    matches!(pin!(future).poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(_)))
}

fn compile(text: &str) -> Snapshot {
    load_after(&ConfigSource::Text(text.to_owned()), None, &Slots::default())
}

fn load_after(source: &ConfigSource, previous: Option<&Snapshot>, slots: &Slots) -> Snapshot {
    let inputs = Inputs::new(Secrets::Read);
    let (config, mut report) = config::load(source, &inputs);
    let snapshot = config.and_then(|config| Snapshot::compile(config, previous, slots, &inputs, &mut report));
    snapshot.unwrap_or_else(|| panic!("{}", report.render(Color::Plain)))
}

const INSTANCE: &str = "0a1b2c3d";
