//! Where the process is in its life: forward only, and told to whoever supervises it from here alone.
//!
//! ```text
//!  Starting ── first tokens held ──► Ready ── asked to end ──► Draining ── all over, or cut ──► Ended
//!      └──────────────── asked to end ──────────────────────────▲
//! ```
//!
//! What changes the process as a whole asks here first, and shows what it was given to whatever acts: without a
//! [`RightToChange`] no socket is bound and no snapshot takes another's place (of a reload, or of a certificate that switches
//! later), without [`Draining`] none is closed for good.
//! So a reload while it drains can't open its ports again, and a token that comes then can't call it ready.

use std::cell::Cell;
use std::env;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use sd_notify::NotifyState;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::vital::passing;
use crate::admin::Readiness;
use crate::blocking;
use crate::snapshot::RightToPublish;

/// The life of the process. Of the background's thread.
pub(crate) struct Lifecycle {
    stage: Cell<LifeStage>,
    readiness: Arc<Readiness>,
    /// `None`: there is no service manager (`NOTIFY_SOCKET`).
    manager: Option<Manager>,
}

/// The service manager: told one thing after the other, by a thread that may wait for as long as it does not listen.
struct Manager(mpsc::UnboundedSender<ManagerMessage>);

enum ManagerMessage {
    States(Vec<NotifyState<'static>>),
    /// All before this was told.
    So(oneshot::Sender<()>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum LifeStage {
    Starting,
    Ready,
    Draining,
    Ended,
}

/// Leave to bind sockets and to put another config in force: the process neither drains nor has ended.
///
/// Of one turn of the background's thread: [`Lifecycle::change`] lends it to what can't wait for anything, for the drain may
/// begin meanwhile.
#[derive(Debug)]
pub(crate) struct RightToChange(PhantomData<Rc<()>>);

impl RightToPublish for RightToChange {}

/// Leave to close what the process is made of: it was asked to end.
#[derive(Debug)]
pub(crate) struct Draining(());

/// The process is ending: nothing of it changes any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the process is draining: it takes no other config any more")]
pub(crate) struct Ending;

impl Lifecycle {
    /// It starts.
    pub(crate) fn new(readiness: Arc<Readiness>) -> Self {
        Self { stage: Cell::new(LifeStage::Starting), readiness, manager: Manager::of_environment() }
    }

    /// Says what the start still waits for; afterwards nothing.
    pub(crate) fn waits_for(&self, reason: impl Into<String>) {
        if self.stage.get() == LifeStage::Starting {
            self.readiness.not_yet(reason);
        }
    }

    /// It should get traffic from now on. `false`: it is not starting any more.
    pub(crate) fn ready(&self) -> bool {
        let is_news = self.go_on(LifeStage::Ready);
        if is_news {
            self.readiness.reached();
            self.tell([NotifyState::Ready]);
        }
        is_news
    }

    /// It should get no traffic any more.
    pub(crate) fn drain(&self) -> Draining {
        if self.go_on(LifeStage::Draining) {
            self.readiness.not_yet("the process is draining");
            self.tell([NotifyState::Stopping]);
        }
        Draining(())
    }

    /// It carries nothing any more, and asks nobody for anything.
    pub(crate) fn end(&self, _: &Draining) {
        if self.go_on(LifeStage::Ended) {
            self.readiness.not_yet("the process has drained");
        }
    }

    /// Has `change` change the process as a whole, now.
    ///
    /// # Errors
    /// When the process drains, or has ended.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&RightToChange) -> T) -> Result<T, Ending> {
        if self.stage.get() >= LifeStage::Draining { Err(Ending) } else { Ok(change(&RightToChange(PhantomData))) }
    }

    /// Tells the service manager of a reload while it goes on, as `Type=notify-reload` wants it: only a process that was
    /// said to be ready is said to be so again.
    pub(crate) async fn reloading(&self, reload: impl Future<Output = ()>) {
        if self.stage.get() == LifeStage::Ready {
            match NotifyState::monotonic_usec_now() {
                Ok(now) => self.tell([NotifyState::Reloading, now]),
                Err(error) => tracing::warn!(%error, "the service manager can't be told of the reload"),
            }
        }
        reload.await;
        if self.stage.get() == LifeStage::Ready {
            self.tell([NotifyState::Ready]);
        }
    }

    /// Resolves once the service manager was told all that there was to tell.
    pub(crate) async fn told(&self) {
        let Some(Manager(queue)) = &self.manager else { return };
        let (all, told) = oneshot::channel();
        if queue.send(ManagerMessage::So(all)).is_ok() {
            drop(told.await);
        }
    }

    fn tell(&self, states: impl Into<Vec<NotifyState<'static>>>) {
        if let Some(Manager(queue)) = &self.manager {
            // The other end lives as long as the background.
            let _ending = queue.send(ManagerMessage::States(states.into()));
        }
    }

    /// `false`: it is there already, or further on.
    fn go_on(&self, next: LifeStage) -> bool {
        let is_next = self.stage.get() < next;
        if is_next {
            self.stage.set(next);
        }
        is_next
    }
}

impl Manager {
    fn of_environment() -> Option<Self> {
        env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty())?;
        let (queue, told) = mpsc::unbounded_channel();
        passing(pass_on(told));
        Some(Self(queue))
    }
}

/// One after the other: what is told late must not overtake what was to be told before it.
async fn pass_on(mut told: mpsc::UnboundedReceiver<ManagerMessage>) {
    while let Some(next) = told.recv().await {
        match next {
            ManagerMessage::States(states) => drop(spawn_blocking(move || notify(&states)).await),
            ManagerMessage::So(all) => drop(all.send(())),
        }
    }
}

/// Blocks for as long as the service manager's queue is full.
fn notify(states: &[NotifyState<'_>]) {
    let _mark = blocking::mark("telling the service manager".to_owned());
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager can't be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_drains_is_never_ready_again_and_takes_no_config() {
        let readiness = Arc::new(Readiness::default());
        let life = Lifecycle::new(Arc::clone(&readiness));
        life.waits_for("a token");
        assert_eq!(readiness.reason().as_deref().map(String::as_str), Some("a token"));
        assert_eq!(life.change(|_| 7), Ok(7));

        let draining = life.drain();

        assert!(!life.ready());
        life.waits_for("another token");
        assert_eq!(readiness.reason().as_deref().map(String::as_str), Some("the process is draining"));
        assert_eq!(life.change(|_| panic!("a change while it ends")), Err::<(), _>(Ending));

        life.end(&draining);

        assert!(!life.ready());
        life.drain();
        assert_eq!(readiness.reason().as_deref().map(String::as_str), Some("the process has drained"));
        assert_eq!(life.change(|_| panic!("a change while it ends")), Err::<(), _>(Ending));
    }

    #[test]
    fn it_is_ready_once() {
        let life = Lifecycle::new(Arc::new(Readiness::default()));

        assert_eq!([life.ready(), life.ready()], [true, false]);
    }
}
