//! What a pool promises, against real sockets on loopback.

mod connections;
mod endings;
mod failures;
#[cfg(feature = "files")]
mod file_faults;
#[cfg(feature = "files")]
mod file_oddities;
#[cfg(feature = "files")]
mod files;
#[cfg(feature = "files")]
mod greetings;
mod idle;
mod sharing;
mod streams;
mod upgrades;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Choice, Pool, PooledBody, SendFailure, Timing, Upstream};
use crate::config::{self, HttpVersion, IdleLimit, Scheme};
use crate::telemetry::metrics::Metrics;
use crate::transport::tests::lab::{self, Authorities, Service, get};
use crate::transport::{Connector, Outgoing, Spelling};

const LIMITS: config::PoolConfig = config::PoolConfig {
    max_idle: IdleLimit::Auto,
    idle_timeout: Some(Duration::from_secs(60)),
    max_connections: 1024,
    max_lifetime: Some(Duration::from_secs(600)),
};

fn upstream(service: &Service, limits: config::PoolConfig) -> Arc<Upstream> {
    Arc::new(Upstream::new(service.connector(), limits))
}

/// The pool of a lone worker.
fn pool(upstream: &Arc<Upstream>) -> Rc<Pool> {
    worker(upstream, 1)
}

fn worker(upstream: &Arc<Upstream>, workers: usize) -> Rc<Pool> {
    Pool::new(Arc::clone(upstream), workers, Metrics::default().numbers(0, "service"))
}

/// An upstream over TLS, all of whose connections must be made within `limit`.
fn over_tls(port: u16, authorities: &Authorities, limit: Duration, limits: config::PoolConfig) -> Arc<Upstream> {
    let url = lab::url(Scheme::Https, port);
    let tls = Some(authorities.client(&[b"h2", b"http/1.1"]));
    Arc::new(Upstream::new(Connector::new(&url, tls, HttpVersion::Auto, Some(limit), Spelling::LowerCase), limits))
}

async fn send(pool: &Rc<Pool>, mut outgoing: Outgoing) -> Result<Response<PooledBody>, SendFailure> {
    pool.send(&mut outgoing, Choice::Any, &Cell::new(Timing::default())).await
}

/// The answer's body to a GET.
async fn fetch(pool: &Rc<Pool>, target: &str) -> Bytes {
    let response = send(pool, get(target)).await.unwrap_or_else(|failure| panic!("{}", failure.error));
    response.into_body().collect().await.unwrap().to_bytes()
}

/// Answers with the path, a little later, and knows how many did so at a time at most.
#[derive(Clone, Default)]
struct Crowd {
    now: Rc<Cell<usize>>,
    most: Rc<Cell<usize>>,
}

impl Crowd {
    async fn service(&self) -> Service {
        let crowd = self.clone();
        Service::raw(move |tcp, _| crowd.clone().serve(tcp)).await
    }

    async fn serve(self, mut tcp: TcpStream) {
        self.now.set(self.now.get() + 1);
        self.most.set(self.most.get().max(self.now.get()));
        while lab::answer_path(&mut tcp).await {}
        self.now.set(self.now.get() - 1);
    }
}

/// Waits for a condition that others bring about.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

/// Reads a head and never answers.
async fn silent() -> Service {
    Service::raw(|mut tcp, _| async move { while tcp.read_u8().await.is_ok() {} }).await
}

/// Answers one request on each connection and closes it, announcing nothing.
async fn forgetful() -> Service {
    Service::raw(|mut tcp, _| async move {
        lab::answer_path(&mut tcp).await;
        drop(tcp.shutdown().await);
    })
    .await
}
