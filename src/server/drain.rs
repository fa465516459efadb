//! The orderly end, and the signals on the way to it.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};

use super::accept::Gate;
use super::background::Background;
use super::lifecycle::Lifecycle;
use super::sockets::Sockets;
use super::vital::passing;
use super::worker::{Phase, Worker};
use super::{Error, OnHangUp};
use crate::admin::Role;
use crate::reload::Reloads;
use crate::snapshot::Published;

/// Everything that has to end.
pub(super) struct Drain {
    pub(super) signals: Signals,
    /// Asked for by whoever started the server.
    pub(super) stop: Arc<Notify>,
    pub(super) reloads: Arc<Reloads>,
    pub(super) published: Arc<Published>,
    pub(super) lifecycle: Rc<Lifecycle>,
    pub(super) sockets: Rc<RefCell<Sockets>>,
    pub(super) background: Background,
    pub(super) gate: Arc<Gate>,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) workers: Rc<[Worker]>,
}

/// The signals that are listened to.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    on_hang_up: OnHangUp,
}

impl Signals {
    pub(super) fn new(on_hang_up: OnHangUp) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            on_hang_up,
        })
    }

    /// The next request to end.
    async fn end(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

impl Drain {
    /// Serves until a signal, then drains; a second signal ends it at once.
    pub(super) async fn run(mut self) -> Result<(), Error> {
        let cause = self.until_asked_to_end().await;
        tracing::info!(cause, "draining");
        self.lifecycle.drain();
        let Self { mut signals, published, sockets, background, gate, phase, workers, .. } = self;
        let shutdown = published.current().load().config.shutdown;
        let orderly = async {
            tokio::time::sleep(shutdown.delay).await;
            let closing = sockets.borrow_mut().take(Role::Traffic);
            // With all places taken a queue empties only as connections end, which they do from now on.
            let _later = tokio::time::timeout(EMPTY_QUEUES_WITHIN, closing.closed()).await;
            phase.send_replace(Phase::Closing);
            let all_over = async {
                closing.closed().await;
                gate.emptied().await;
            };
            if tokio::time::timeout(shutdown.drain, all_over).await.is_err() {
                tracing::warn!(connections = gate.open(), "cut what was still open after `shutdown.drain`");
            }
            // What is open may be cut; a refresh token that is on its way here would be lost for good.
            let last = published.current().load_full();
            let _lost = tokio::time::timeout(HEAR_OUT, last.settled()).await;
        };
        let interrupted = tokio::select! {
            () = orderly => None,
            cause = signals.end() => Some(cause),
        };
        let connections: usize = workers.iter().map(Worker::open).sum();
        phase.send_replace(Phase::Cut);
        for worker in workers.iter() {
            worker.ended().await;
        }
        if let Some(cause) = interrupted {
            tracing::warn!(cause, connections, "a second signal: cut what was still open");
            return Err(Error::Interrupted);
        }
        close_admin(&sockets, &background).await;
        tracing::info!("drained");
        Ok(())
    }

    /// Reloads on `SIGHUP` meanwhile, unless that asks for the end too.
    async fn until_asked_to_end(&mut self) -> &'static str {
        let Signals { terminate, interrupt, hang_up, on_hang_up } = &mut self.signals;
        loop {
            tokio::select! {
                _ = terminate.recv() => return "SIGTERM",
                _ = interrupt.recv() => return "SIGINT",
                () = self.stop.notified() => return "asked to stop",
                _ = hang_up.recv() => {
                    if *on_hang_up == OnHangUp::Stop {
                        return "SIGHUP";
                    }
                    let (reloads, lifecycle) = (Arc::clone(&self.reloads), Rc::clone(&self.lifecycle));
                    // Not here: a signal to end must not wait for a reload.
                    passing(async move { lifecycle.reloading(async { drop(reloads.request().await) }).await });
                }
            }
        }
    }
}

/// Last of all: until here an operator can look.
async fn close_admin(sockets: &RefCell<Sockets>, background: &Background) {
    let closing = [Role::Admin, Role::Health].map(|role| sockets.borrow_mut().take(role));
    background.close();
    let all_over = async {
        for sockets in &closing {
            sockets.closed().await;
        }
        background.emptied().await;
    };
    // An answer that is being written may be the one about this very drain.
    if tokio::time::timeout(LAST_ANSWERS, all_over).await.is_err() {
        tracing::debug!("cut what was still open on the admin port");
    }
}

const EMPTY_QUEUES_WITHIN: Duration = Duration::from_secs(1);
/// As long as a token request may take.
const HEAR_OUT: Duration = Duration::from_secs(10);
const LAST_ANSWERS: Duration = Duration::from_secs(1);
