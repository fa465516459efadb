//! Start and drain of all ports.
//!
//! ```text
//!  start   load ─► bind ─► workers ─► accept ─► first tokens of `ready: required` ─► READY=1, /readyz 200
//!
//!  drain   SIGTERM ─► /readyz 503 ─► shutdown.delay ─► queues accepted, traffic listeners close
//!          ─► idle connections close, answers carry `Connection: close`
//!          ─► all done, or shutdown.drain over: what is open is cut ─► refresh tokens are heard of and on the disk
//!          ─► admin port closes ─► exit 0
//! ```
//!
//! A second signal at any point of the drain ends the process at once, but for a moment in which a refresh token that is being
//! exchanged may still be saved. The thread that calls [`run`] is the
//! *background*: it accepts for several workers, reloads, refreshes tokens and carries the admin port.

pub(crate) mod accept;
pub(crate) mod background;
pub(crate) mod connection;
mod descriptors;
mod diagnosis;
mod drain;
pub(crate) mod error_reply;
mod exchange;
mod http2;
pub(crate) mod lifecycle;
pub(crate) mod listener;
mod persistence;
pub(crate) mod ports;
pub(crate) mod progress;
pub(crate) mod pulse;
mod refusal;
mod request_line;
pub(crate) mod socket_file;
mod sockets;
mod start;
pub(crate) mod stream;
#[cfg(test)]
mod tests;
#[cfg(any(test, feature = "bench"))]
pub(crate) mod trial;
mod trim;
mod tunnel;
pub(crate) mod unbound;
mod vital;
pub(crate) mod worker;

use std::io;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::config::{ConfigSource, Overrides, Report};
use crate::guard::{Panicked, guarded};

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the config is.
    pub source: ConfigSource,
    /// What stands above the file.
    pub overrides: Overrides,
    /// What `SIGHUP` asks for.
    pub on_hang_up: OnHangUp,
}

/// What `SIGHUP` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnHangUp {
    /// A reload, as of a service.
    Reload,
    /// The end, as of a program whose terminal was closed.
    Stop,
}

/// A server that is up, as its starter sees it.
#[derive(Clone, Debug)]
pub struct Started {
    traffic: Vec<String>,
    admin: Vec<String>,
    stop: Arc<Notify>,
}

/// Why the server ended, or never began.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The config has errors.
    #[error("the config is wrong")]
    Config(Box<Report>),
    /// An address can't be bound.
    #[error("an address can't be listened on")]
    Listen(Box<Report>),
    /// A state file is another process's, or can't be read.
    #[error("{0}")]
    State(String),
    /// The system gives no thread, runtime or signal.
    #[error("the system does not let the server start")]
    System(#[from] io::Error),
    /// A task or a thread that the process can't do without is gone.
    #[error("{0}")]
    Died(String),
    /// A second signal came during the drain.
    #[error("stopped at once by a second signal")]
    Interrupted,
}

/// Runs until a signal or [`Started::stop`]; `started` is called once apps can connect.
///
/// # Errors
/// When the config is wrong, a state file or an address can't be had, a vital task is gone, or a second signal cuts the
/// drain short.
pub fn run(options: Options, started: impl FnOnce(Started)) -> Result<(), Error> {
    let runtime = worker::runtime_of_one_thread()()?;
    // Before anything else: a load may take its time, and a process that hears nothing meanwhile dies of a signal, or as the
    // first one of its container does not.
    let mut signals = {
        let _entered = runtime.enter();
        drain::Signals::new(options.on_hang_up)?
    };
    let loaded = runtime.block_on(start::Start::load_unless_ended(options, &mut signals));
    let start = match loaded {
        Ok(Some(start)) => start,
        ended => {
            // A load that is under way must not hold up the end.
            runtime.shutdown_background();
            return ended.map(drop);
        }
    };
    let slots = start.slots();
    // A panic out here is the end of the background, and no other than that of a task on it.
    let ended = runtime.block_on(guarded(pin!(start.run(signals, started))));
    if !matches!(ended, Ok(Ok(()) | Err(Error::Interrupted | Error::Died(_)))) {
        // Those have waited for what is on its way to the disk; an address that can't be had, say, must not cut it short.
        runtime.block_on(drain::hear_out(&slots));
    }
    // Blocking work that is under way (a look-up, a load) must not hold up the end.
    runtime.shutdown_background();
    ended.unwrap_or_else(|Panicked| Err(Error::Died("the background panicked".to_owned())))
}

impl Started {
    /// Where apps connect: addresses that can be connected to, or `unix:` paths.
    #[must_use]
    pub fn traffic(&self) -> &[String] {
        &self.traffic
    }

    /// Where the admin API is; empty if it is off.
    #[must_use]
    pub fn admin(&self) -> &[String] {
        &self.admin
    }

    /// Begins the drain, as `SIGTERM` does.
    pub fn stop(&self) {
        self.stop.notify_one();
    }
}
