//! One service's connections: `send` takes a request to an answer over a pooled or a new connection.
//!
//! Promises that a connection carries one service's requests only, that there are never more than the config allows
//! over all workers together, and that a [`SendFailure`] says how far the request had come. Leaves to `proxy` whether it
//! is sent again.

mod body;
mod closing;
mod connection;
mod count;
mod demand;
mod dialing;
mod idle;
mod lease;
#[cfg(feature = "files")]
mod leftovers;
mod outage;
mod permits;
mod pool;
mod queue;
mod streams;
mod tasks;
#[cfg(test)]
mod tests;
mod turns;
mod upgrade;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub(crate) use self::body::PooledBody;
pub(crate) use self::lease::UpgradedConnection;
#[cfg(feature = "files")]
pub(crate) use self::leftovers::nothing_left_over;
pub(crate) use self::pool::Pool;

use self::lease::ConnectionLease;
use self::permits::ConnectionPermits;
use self::queue::Queue;
use crate::code::Code;
use crate::config;
#[cfg(feature = "files")]
use crate::files::FileServer;
use crate::tls::ClientTls;
use crate::transport::{self, ConnectTimings, Connected, Connector, Protocol, Spelling, Unsent, WayOut};

/// The shared half: where connections go, and how many there may be over all workers.
pub(crate) struct Upstream {
    connector: Connector,
    /// The same for requests that ask for another protocol, from the first of them on.
    over_http1: OnceLock<Connector>,
    pool: config::PoolConfig,
    /// Shared with other versions of the service that lead to the same place.
    permits: Arc<ConnectionPermits>,
}

/// Why no answer came.
#[derive(Debug)]
pub(crate) struct SendFailure {
    pub(crate) error: Error,
    /// How far the request had come: what may be sent again.
    pub(crate) reached: Reached,
}

/// How far a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// No connection was made: `retry.on: connect`.
    NoConnection,
    /// A connection, but no byte had left, or the service said that it was not processed: any method may go again.
    NotProcessed,
    /// The service wants it over HTTP/1.1, which it is spoken to with from now on, and did nothing with it: any method goes
    /// again, which can't come to the same.
    WantsHttp1,
    /// Bytes left, then the connection or stream ended before the answer's head: `retry.on: reset`.
    Reset,
    /// Anything else: it must not be sent again.
    Final,
}

/// Which connection a request may go over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Any,
    /// None of HTTP/1.1 that was idle: where one was found dead too late, the others may be so too.
    NotIdle,
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Transport(#[from] transport::Error),
    /// `pool.max_connections` are in use and none came free within `timeouts.connect`.
    #[error("all {limit} connections to the service are in use")]
    Overloaded { limit: usize },
}

/// What `send` tells about one sending while it goes on: for time-outs, metrics and logs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timing {
    /// Waiting for a connection: for one to come free, or to be made; zero if one was idle.
    pub(crate) waited: Duration,
    /// The new connection, if one was made.
    pub(crate) connected: Option<transport::ConnectTimings>,
    /// It has a connection, and it is the service that is waited for; not while a connection found dead is replaced.
    pub(crate) sent: bool,
}

impl Upstream {
    /// Joins the service's url, TLS, way out, pool and timeouts.
    pub(crate) fn compile(written: &config::ServiceConfig, tls: Option<ClientTls>, way: WayOut) -> Self {
        let spelling = if written.headers.title_case { Spelling::TitleCase } else { Spelling::LowerCase };
        let limit = written.timeouts.connect;
        let connector = Connector::new(&written.url.value, tls, written.http_version, limit, spelling);
        Self::new(connector.by(way), written.pool)
    }

    /// The same for a service whose partner speaks no HTTP.
    #[cfg(feature = "files")]
    pub(crate) fn of_files(written: &config::ServiceConfig, server: Arc<FileServer>, way: WayOut) -> Self {
        let connector = Connector::of_files(&written.url.value, server, written.timeouts.connect);
        Self::new(connector.by(way), written.pool)
    }

    fn new(connector: Connector, pool: config::PoolConfig) -> Self {
        let permits = Arc::new(ConnectionPermits::new(pool.max_connections));
        Self { connector, over_http1: OnceLock::new(), pool, permits }
    }

    /// Counts its connections together with those that an older version of the service still has open to the same place; of a
    /// limit that differs it counts its own alone.
    pub(crate) fn adopt(&mut self, older: &Self) {
        if self.pool.max_connections == older.pool.max_connections && self.connector.leads_where(&older.connector) {
            self.permits = Arc::clone(&older.permits);
        }
    }

    /// Makes its connections.
    pub(crate) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Makes those that offer HTTP/1.1 alone.
    fn over_http1(&self) -> &Connector {
        self.over_http1.get_or_init(|| self.connector.over_http1())
    }

    /// Whether the service wants the request over HTTP/1.1, and gets it: nothing more is sent on HTTP/2 connections then, by
    /// any worker, and what runs on them goes on.
    fn falls_back_to_http1(&self, unsent: &mut Unsent) -> bool {
        if !matches!(unsent.error, transport::Error::Http1Required) {
            return false;
        }
        let may = self.connector.fall_back_to_http1();
        if !may {
            *unsent = Unsent::finally(transport::Error::Http1Forbidden);
        }
        may
    }

    /// Whether it was in the making when the service asked for HTTP/1.1.
    fn is_outdated(&self, connected: &Connected) -> bool {
        connected.sender.protocol() == Protocol::Http2 && self.connector.wants_http1()
    }

    /// What a new connection brought was no answer. A machine that takes connections and answers none gives way to another,
    /// if there is one.
    fn was_let_down(&self, made: &ConnectTimings, error: &transport::Error) {
        if let (transport::Error::Terminated(_), Some(reached)) = (error, made.reached) {
            self.connector.pass_over(reached);
        }
    }

    /// Why a request waited in vain, by what goes on for the others.
    fn out_of_time(&self, queue: &Queue<ConnectionLease>) -> Error {
        match queue.last_failure() {
            _ if queue.is_dialing() => self.connector.timed_out().into(),
            Some(error) if !queue.awaits_permit() => error.clone().into(),
            _ => Error::Overloaded { limit: self.pool.max_connections },
        }
    }

    /// Equal means that connections of one may carry requests of the other.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        self.connector.fingerprint()
    }
}

impl SendFailure {
    /// There was no connection for it.
    fn unconnected(error: Error) -> Self {
        let reached = match error {
            Error::Transport(transport::Error::UpgradeForbidden | transport::Error::Http2Alone)
            | Error::Overloaded { .. } => Reached::Final,
            Error::Transport(_) => Reached::NoConnection,
        };
        Self { error, reached }
    }

    /// There was a connection, but no answer on it.
    fn unanswered(unsent: Unsent) -> Self {
        let reached = match unsent.error {
            transport::Error::Http1Required => Reached::WantsHttp1,
            transport::Error::Terminated(_) if unsent.not_processed => Reached::NotProcessed,
            transport::Error::Terminated(_) => Reached::Reset,
            // Anything else would come again.
            _ => Reached::Final,
        };
        Self { error: unsent.error.into(), reached }
    }
}

impl Error {
    /// The word of our answer.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Transport(error) => error.code(),
            Self::Overloaded { .. } => Code::Overloaded,
        }
    }

    /// Whether there would be no connection the next time either.
    pub(crate) fn is_verdict(&self) -> bool {
        matches!(self, Self::Transport(error) if error.is_verdict())
    }
}
