//! What must not end in silence: a process that has lost one of its long-lived tasks is worse than one that has ended.
//!
//! Without its sweep a worker lets no time-out end, without its accepting loop a listener leaves clients in its queue, and
//! both look alive from outside. Nobody in here can put such a task together again, but whoever supervises the process
//! can start it anew: so the end of one ends the process, with exit code 1 and a line that names it.
//!
//! Every task and every lasting thread of the server starts here and nowhere else (`tests/it/house` sees to that), as one of
//! these; what blocks is lent a thread of the runtime's (`spawn_blocking`) by a task that waits for its end.
//!
//! ```text
//!  endless   its output is `Infallible`: a `return`, or a `?`, does not compile     ┐ a panic ends
//!  finite    ends by saying that its end was due, or why it could not go on         ├ the process
//!  thread    the same, on a thread of its own                                       ┘
//!  passing   one connection, one errand: its panic costs what it carried
//! ```

use std::borrow::Cow;
use std::convert::Infallible;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::thread;

use tokio::sync::mpsc;
use tokio::task::spawn_local;

use crate::guard::guarded;

/// Starts what the process can't do without. Of every thread: clones of it tell the same [`Deaths`].
#[derive(Clone, Debug)]
pub(crate) struct Vital {
    deaths: mpsc::UnboundedSender<Death>,
}

/// Where the process hears of the first of them that ended.
#[derive(Debug)]
pub(crate) struct Deaths(mpsc::UnboundedReceiver<Death>);

/// A vital task or thread is gone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} {cause}")]
pub(crate) struct Death {
    name: Cow<'static, str>,
    cause: EndCause,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum EndCause {
    /// The panic hook has logged the place and the message.
    #[error("panicked")]
    Panicked,
    #[error("can't go on: {0}")]
    Stopped(String),
}

/// A finite task was told to end, or its work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due;

/// How a finite task ended: when it was to, or for this reason before that.
pub(crate) type VitalEnd = Result<Due, String>;

impl Vital {
    /// Nothing is started yet.
    pub(crate) fn new() -> (Self, Deaths) {
        let (deaths, heard) = mpsc::unbounded_channel();
        (Self { deaths }, Deaths(heard))
    }

    /// Starts a task, on this thread's runtime, that never ends while the runtime lives.
    pub(crate) fn endless(&self, name: impl Into<Cow<'static, str>>, task: impl Future<Output = Infallible> + 'static) {
        self.finite(name, async { match task.await {} });
    }

    /// Starts a task, on this thread's runtime, that has an end of its own.
    pub(crate) fn finite(&self, name: impl Into<Cow<'static, str>>, task: impl Future<Output = VitalEnd> + 'static) {
        let (this, name) = (self.clone(), name.into());
        spawn_local(async move {
            let ended = guarded(pin!(task)).await;
            this.hear(name, ended.map_err(|_| EndCause::Panicked));
        });
    }

    /// Starts a thread of this name; `body` ends when it is due, or says why it can't go on.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn thread(&self, name: String, body: impl FnOnce() -> VitalEnd + Send + 'static) -> io::Result<()> {
        let (this, label) = (self.clone(), format!("the thread `{name}`"));
        thread::Builder::new().name(name).spawn(move || {
            // What it leaves half-changed is of no use to anybody: the process ends.
            let ended = catch_unwind(AssertUnwindSafe(body));
            this.hear(label.into(), ended.map_err(|_| EndCause::Panicked));
        })?;
        Ok(())
    }

    fn hear(&self, name: Cow<'static, str>, ended: Result<VitalEnd, EndCause>) {
        let cause = match ended {
            Ok(Ok(Due)) => return,
            Ok(Err(reason)) => EndCause::Stopped(reason),
            Err(cause) => cause,
        };
        let death = Death { name, cause };
        tracing::error!("{death}; the process ends, so that whoever supervises it starts it anew");
        // Nobody listens any more once the process is ending for another reason.
        let _ending = self.deaths.send(death);
    }
}

impl Deaths {
    /// Resolves when the first of them is gone.
    pub(crate) async fn first(&mut self) -> Death {
        match self.0.recv().await {
            Some(death) => death,
            // Nothing is left that could die.
            None => std::future::pending().await,
        }
    }
}

/// Starts a task, on this thread's runtime, that carries one connection or runs one errand.
pub(crate) fn passing(task: impl Future<Output = ()> + 'static) {
    spawn_local(task);
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use tokio::task::yield_now;
    use tokio::time::timeout;

    use super::*;

    async fn first(mut deaths: Deaths) -> String {
        timeout(Duration::from_secs(10), deaths.first()).await.expect("a death").to_string()
    }

    #[tokio::test(flavor = "local")]
    async fn the_panic_of_an_endless_task_is_heard_of() {
        let (vital, deaths) = Vital::new();

        vital.endless("the sweep", async {
            yield_now().await;
            panic!("a fault of ours")
        });

        assert_eq!(first(deaths).await, "the sweep panicked");
    }

    #[tokio::test(flavor = "local")]
    async fn a_finite_task_says_why_it_ended_before_its_time() {
        let (vital, deaths) = Vital::new();

        vital.finite("the errand", async { Ok(Due) });
        vital.finite("an accepting loop", async { Err("no descriptor is left".to_owned()) });
        vital.endless("the sweep", pending());

        assert_eq!(first(deaths).await, "an accepting loop can't go on: no descriptor is left");
    }

    #[tokio::test(flavor = "local")]
    async fn a_thread_that_panics_is_heard_of_and_one_that_is_done_is_not() {
        let (vital, deaths) = Vital::new();

        vital.thread("worker-0".to_owned(), || Ok(Due)).expect("a thread");
        vital.thread("worker-1".to_owned(), || panic!("a fault of ours")).expect("a thread");

        assert_eq!(first(deaths).await, "the thread `worker-1` panicked");
    }
}
