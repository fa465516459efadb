//! One worker without its server: a view, a sweep that is ticked by hand, and apps.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::{JoinHandle, spawn_local, yield_now};

use crate::config::{self, ConfigSource, Inputs, Secrets};
use crate::credential::Slots;
use crate::deadline::Sweep;
use crate::incoming::IncomingBody;
use crate::proxy::{Arrival, Context, Peer, handle};
use crate::snapshot::{AnyTime, Published, Snapshot};
use crate::telemetry::metrics::{Metrics, Totals};

/// A worker under test.
pub(super) struct Worker {
    pub(super) published: Arc<Published>,
    pub(super) context: Rc<Context>,
    metrics: Arc<Metrics>,
    sweep: Rc<Sweep>,
}

/// An app's connection.
pub(super) struct App {
    stream: DuplexStream,
    connection: JoinHandle<()>,
}

impl Worker {
    /// With this config.
    pub(super) fn start(yaml: &str) -> Self {
        let published = Arc::new(Published::new(compile(yaml, None)));
        let metrics = Arc::new(Metrics::default());
        let context = Context::new(Arc::clone(&published), Arc::clone(&metrics), 0, 1, "0a1b2c3d");
        Self { published, context: Rc::new(context), metrics, sweep: Rc::default() }
    }

    /// As a reload does.
    pub(super) fn publish(&self, yaml: &str) {
        let next = compile(yaml, Some(&self.published.current().load()));
        self.published.publish(Arc::new(next), &AnyTime);
    }

    pub(super) fn totals(&self, service: &str) -> Totals {
        self.metrics.totals(service)
    }

    /// How many exchanges of its one service go on now: each holds the service's half.
    pub(super) fn exchanges(&self) -> usize {
        Rc::strong_count(&self.context.view().halves[0]) - 1
    }

    /// An app that has sent this.
    pub(super) async fn app(&self, sent: &str) -> App {
        let (stream, ours) = tokio::io::duplex(64 * 1024);
        let arrival = Rc::new(Arrival {
            peer: Peer::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 40_000)),
            own: None,
            drain: Rc::default(),
            numbers: RefCell::default(),
        });
        let deadline = self.sweep.exchange();
        let context = Rc::clone(&self.context);
        let service = service_fn(move |request: Request<Incoming>| {
            let (head, body) = request.into_parts();
            let answer = handle(head, IncomingBody::new(body), Rc::clone(&arrival), Rc::clone(&deadline), &context);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let connection = spawn_local(async move {
            // An answer that breaks off is seen at the app's end.
            drop(http1::Builder::new().serve_connection(TokioIo::new(ours), service).await);
        });
        let mut app = App { stream, connection };
        app.send(sent).await;
        app
    }

    /// Lets ticks pass until `app` has its answer and the end of its connection.
    pub(super) async fn tick_until_answered(&self, mut app: App) -> String {
        let answer = spawn_local(async move { app.answer().await });
        while !answer.is_finished() {
            self.ticks(1).await;
        }
        answer.await.unwrap()
    }

    /// Lets ticks pass, with room for others after each.
    pub(super) async fn ticks(&self, count: usize) {
        for _ in 0..count {
            self.sweep.tick();
            for _ in 0..20 {
                yield_now().await;
            }
        }
    }
}

impl App {
    pub(super) async fn send(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// As [`App::send`], to a proxy that may not want to read it.
    pub(super) async fn send_as_far_as_it_goes(&mut self, bytes: &str) {
        drop(self.stream.write_all(bytes.as_bytes()).await);
    }

    /// All that comes until the connection ends.
    pub(super) async fn answer(&mut self) -> String {
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// What comes, up to and with `text`.
    pub(super) async fn until(&mut self, text: &str) -> String {
        let mut read = String::new();
        while !read.ends_with(text) {
            read.push(char::from(self.stream.read_u8().await.unwrap()));
        }
        read
    }

    /// Goes without a word.
    pub(super) fn leave(self) {
        self.connection.abort();
    }
}

fn compile(yaml: &str, previous: Option<&Snapshot>) -> Snapshot {
    let inputs = Inputs::new(Secrets::Read);
    let (config, mut report) = config::load(&ConfigSource::Text(yaml.to_owned()), &inputs);
    let config = config.expect("a valid config");
    Snapshot::compile(config, previous, &Slots::default(), &inputs, &mut report).expect("a config that compiles")
}

/// Waits for a condition that others bring about.
pub(super) async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        yield_now().await;
    }
}
