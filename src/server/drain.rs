//! The orderly end, and the signals on the way to it.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::accept::ConnectionLimit;
use super::background::Background;
use super::lifecycle::{Draining, Lifecycle};
use super::sockets::Sockets;
use super::vital::passing;
use super::worker::{Phase, RunningWorker};
use super::{Error, OnHangUp};
use crate::admin::Role;
use crate::credential::Slots;
use crate::reload::Reloads;
use crate::snapshot::Published;

/// Everything that has to end.
pub(super) struct Drain {
    /// Asked for by whoever started the server.
    pub(super) stop: Arc<Notify>,
    pub(super) reloads: Arc<Reloads>,
    pub(super) published: Arc<Published>,
    pub(super) slots: Arc<Slots>,
    pub(super) lifecycle: Rc<Lifecycle>,
    pub(super) sockets: Rc<RefCell<Sockets>>,
    pub(super) background: Background,
    pub(super) gate: Arc<ConnectionLimit>,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) workers: Rc<[RunningWorker]>,
}

/// The signals that are listened to.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    on_hang_up: OnHangUp,
}

/// What a signal asks for.
enum SignalRequest {
    /// The end; the name of the signal.
    End(&'static str),
    Reload,
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

    /// The next one that asks for the end of a process that has not begun to serve: what a reload would read is being read.
    pub(super) async fn end_of_start(&mut self) -> &'static str {
        loop {
            if let SignalRequest::End(cause) = self.next().await {
                return cause;
            }
        }
    }

    async fn next(&mut self) -> SignalRequest {
        tokio::select! {
            _ = self.terminate.recv() => SignalRequest::End("SIGTERM"),
            _ = self.interrupt.recv() => SignalRequest::End("SIGINT"),
            _ = self.hang_up.recv() => match self.on_hang_up {
                OnHangUp::Stop => SignalRequest::End("SIGHUP"),
                OnHangUp::Reload => SignalRequest::Reload,
            },
        }
    }

    /// The next one that asks for the end, of a process that was asked before. A reload is refused, as each is by now:
    /// a script that sends one a moment too late must not cut what is being drained.
    async fn end(&mut self, lifecycle: &Lifecycle) -> &'static str {
        loop {
            match (self.next().await, lifecycle.change(|_| ())) {
                (SignalRequest::End(cause), _) => return cause,
                (SignalRequest::Reload, Err(ending)) => tracing::warn!(cause = "SIGHUP", "no reload: {ending}"),
                (SignalRequest::Reload, Ok(())) => {}
            }
        }
    }
}

impl Drain {
    /// Serves until a signal, then drains. Another signal to end ends it at once, whatever is being waited for.
    pub(super) async fn run(self, mut signals: Signals) -> Result<(), Error> {
        let cause = self.until_asked_to_end(&mut signals).await;
        tracing::info!(cause, "draining");
        let draining = self.lifecycle.drain();
        let interrupted = tokio::select! {
            () = self.drain(&draining) => None,
            cause = signals.end(&self.lifecycle) => Some(cause),
        };
        let Some(cause) = interrupted else {
            tracing::info!("drained");
            return Ok(());
        };
        let connections: usize = self.workers.iter().map(RunningWorker::open).sum();
        tracing::warn!(cause, connections, "a second signal: cut what was still open");
        tokio::select! {
            () = self.end_at_once(&draining) => {}
            _third = signals.end(&self.lifecycle) => {}
        }
        Err(Error::Interrupted)
    }

    /// Reloads on `SIGHUP` meanwhile, unless that asks for the end too.
    async fn until_asked_to_end(&self, signals: &mut Signals) -> &'static str {
        loop {
            let asked = tokio::select! {
                asked = signals.next() => asked,
                () = self.stop.notified() => SignalRequest::End("asked to stop"),
            };
            match asked {
                SignalRequest::End(cause) => return cause,
                SignalRequest::Reload => {
                    let (reloads, lifecycle) = (Arc::clone(&self.reloads), Rc::clone(&self.lifecycle));
                    // Not here: a signal to end must not wait for a reload.
                    passing(async move { lifecycle.reloading(async { drop(reloads.request().await) }).await });
                }
            }
        }
    }

    async fn drain(&self, draining: &Draining) {
        let shutdown = self.published.current().load().config.shutdown;
        tokio::time::sleep(shutdown.delay).await;
        let closing = self.sockets.borrow_mut().take(Role::Traffic, draining);
        // With all places taken a queue empties only as connections end, which they do from now on.
        let _later = timeout(EMPTY_QUEUES_WITHIN, closing.closed()).await;
        self.phase.send_replace(Phase::Closing);
        let all_over = async {
            closing.closed().await;
            self.gate.emptied().await;
        };
        if timeout(shutdown.drain, all_over).await.is_err() {
            tracing::warn!(connections = self.gate.open(), "cut what was still open after `shutdown.drain`");
        }
        self.cut(CUT_WITHIN).await;
        // Tokens were fetched as long as anybody needed one. Only now, with nobody left, does that stop: what is under way
        // may be the one answer that holds the next refresh token, and is heard for as long as its `timeout` allows.
        self.lifecycle.end(draining);
        self.slots.settle().await;
        // Last of all: until here an operator can look, and see what is waited for.
        close_admin(&self.sockets, &self.background, draining).await;
    }

    /// What a second signal leaves of the drain. A refresh token that is lost costs a login by hand, so one that has come
    /// is brought to the disk, and one that is on its way has a moment to come.
    async fn end_at_once(&self, draining: &Draining) {
        self.lifecycle.end(draining);
        tokio::join!(self.cut(LAST_TOKENS), hear_out(&self.slots));
    }

    /// Cuts what is still open.
    async fn cut(&self, limit: Duration) {
        self.phase.send_replace(Phase::Cut);
        if !all_end(self.workers.iter().map(RunningWorker::ended), limit).await {
            tracing::error!("a worker does not end: the process ends without it");
        }
    }
}

/// What no end of the process does without, however sudden: a refresh token that has come is brought to the disk, and one that
/// is on its way has a moment to come.
pub(super) async fn hear_out(slots: &Slots) {
    let _late = timeout(LAST_TOKENS, slots.settle()).await;
    let _hung = timeout(LAST_WRITES, slots.saved()).await;
}

/// Whether all of these end in time.
async fn all_end(all: impl Iterator<Item = impl Future<Output = ()>>, limit: Duration) -> bool {
    let one_by_one = async {
        for one in all {
            one.await;
        }
    };
    timeout(limit, one_by_one).await.is_ok()
}

async fn close_admin(sockets: &RefCell<Sockets>, background: &Background, draining: &Draining) {
    let closing = [Role::Admin, Role::Health].map(|role| sockets.borrow_mut().take(role, draining));
    background.close();
    let all_over = async {
        for sockets in &closing {
            sockets.closed().await;
        }
        background.emptied().await;
    };
    // An answer that is being written may be the one about this very drain.
    if timeout(LAST_ANSWERS, all_over).await.is_err() {
        tracing::debug!("cut what was still open on the admin port");
    }
}

const EMPTY_QUEUES_WITHIN: Duration = Duration::from_secs(1);
/// A worker that has turned at all by then has dropped everything.
const CUT_WITHIN: Duration = Duration::from_secs(5);
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// "At once", for an answer that was asked for before.
const LAST_TOKENS: Duration = Duration::from_secs(1);
const LAST_WRITES: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::pin::Pin;

    use super::*;

    #[tokio::test]
    async fn what_never_ends_is_not_waited_for_without_limit() {
        let stuck: [Pin<Box<dyn Future<Output = ()>>>; 2] = [Box::pin(ready(())), Box::pin(pending())];

        assert!(!all_end(stuck.into_iter(), Duration::from_millis(1)).await);
        assert!(all_end([ready(()), ready(())].into_iter(), CUT_WITHIN).await);
    }
}
