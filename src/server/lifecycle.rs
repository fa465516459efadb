//! Where the process is in its life: forward only, and told to whoever supervises it from here alone.
//!
//! ```text
//!  Starting ── first tokens held ──► Ready ── asked to end ──► Draining ── all over, or cut ──► Ended
//!      └──────────────── asked to end ──────────────────────────▲
//! ```
//!
//! What changes the process as a whole asks here first, and shows what it was given to whatever acts: without a
//! [`RightToChange`] no socket is bound and no config takes another's place, without [`Draining`] none is closed for good.
//! So a reload while it drains can't open its ports again, and a token that comes then can't call it ready.

use std::cell::Cell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use sd_notify::NotifyState;

use crate::admin::Readiness;

/// The life of the process. Of the background's thread.
pub(crate) struct Lifecycle {
    stage: Cell<LifeStage>,
    readiness: Arc<Readiness>,
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
/// Of one turn of the background's thread: it is not kept while anything is waited for, for the drain may begin then.
#[derive(Debug)]
pub(crate) struct RightToChange(PhantomData<Rc<()>>);

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
        Self { stage: Cell::new(LifeStage::Starting), readiness }
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
            tell(&[NotifyState::Ready]);
        }
        is_news
    }

    /// It should get no traffic any more.
    pub(crate) fn drain(&self) -> Draining {
        if self.go_on(LifeStage::Draining) {
            self.readiness.not_yet("the process is draining");
            tell(&[NotifyState::Stopping]);
        }
        Draining(())
    }

    /// It carries nothing any more, and asks nobody for anything.
    pub(crate) fn end(&self, _: &Draining) {
        if self.go_on(LifeStage::Ended) {
            self.readiness.not_yet("the process has drained");
        }
    }

    /// Leave to change the process as a whole, now.
    ///
    /// # Errors
    /// When the process drains, or has ended.
    pub(crate) fn right_to_change(&self) -> Result<RightToChange, Ending> {
        if self.stage.get() >= LifeStage::Draining { Err(Ending) } else { Ok(RightToChange(PhantomData)) }
    }

    /// Tells the service manager of a reload while it goes on, as `Type=notify-reload` wants it: only a process that was
    /// said to be ready is said to be so again.
    pub(crate) async fn reloading(&self, reload: impl Future<Output = ()>) {
        if self.stage.get() == LifeStage::Ready {
            match NotifyState::monotonic_usec_now() {
                Ok(now) => tell(&[NotifyState::Reloading, now]),
                Err(error) => tracing::warn!(%error, "the service manager can't be told of the reload"),
            }
        }
        reload.await;
        if self.stage.get() == LifeStage::Ready {
            tell(&[NotifyState::Ready]);
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

/// Tells the service manager; without one (`NOTIFY_SOCKET`) it does nothing.
fn tell(states: &[NotifyState<'_>]) {
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
        assert!(life.right_to_change().is_ok());

        let draining = life.drain();

        assert!(!life.ready());
        life.waits_for("another token");
        assert_eq!(readiness.reason().as_deref().map(String::as_str), Some("the process is draining"));
        assert_eq!(life.right_to_change().unwrap_err(), Ending);

        life.end(&draining);

        assert!(!life.ready());
        life.drain();
        assert_eq!(readiness.reason().as_deref().map(String::as_str), Some("the process has drained"));
        assert_eq!(life.right_to_change().unwrap_err(), Ending);
    }

    #[test]
    fn it_is_ready_once() {
        let life = Lifecycle::new(Arc::new(Readiness::default()));

        assert_eq!([life.ready(), life.ready()], [true, false]);
    }
}
