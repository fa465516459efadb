//! Publish the new, or keep the old.
//!
//! One task on the background does it all, so that reloads never overlap: whoever asks for one (the watcher, `SIGHUP`,
//! the admin port) waits in one queue. Loading and compiling happen on a thread of their own; workers notice nothing
//! until the new snapshot is published.

mod command_refresh;
mod rotation;
#[cfg(test)]
mod tests;
pub(crate) mod watch;
mod watched_folders;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use self::watch::Watcher;
use crate::blocking::Lane;
use crate::config::{
    self, Color, Config, ConfigSource, Inputs, Overrides, Report, Secrets, ToleratedFailures, Watched,
};
use crate::credential::{Slots, oauth2};
use crate::heap;
use crate::locked::locked;
use crate::snapshot::difference::Difference;
use crate::snapshot::{ClaimedState, Published, RightToPublish, Service, Snapshot};
use crate::telemetry::metrics::Metrics;

/// Starts a task on the background's runtime, which is told of by this name if it panics.
pub(crate) type Spawn = Box<dyn Fn(&'static str, Pin<Box<dyn Future<Output = ()>>>)>;

/// Changes the process as a whole in one turn, if it is not ending: gets ready (binds new addresses, say), has the snapshot
/// published by what it is given, and does the rest.
///
/// An error refuses the whole change, and nothing was published then.
pub(crate) type ChangeProcess = Rc<dyn Fn(Changed<'_>, &mut dyn FnMut(&dyn RightToPublish)) -> Result<(), String>>;

/// What is changed.
pub(crate) enum Changed<'a> {
    /// All that this config is about; the report has its texts, for what is found wrong with it only then.
    Config(&'a Config, &'a Report),
    /// Services alone, of the config that is in force.
    Services,
}

/// Where the config comes from, the same at each load.
#[derive(Clone, Debug)]
pub(crate) struct Loader {
    pub(crate) source: ConfigSource,
    pub(crate) overrides: Overrides,
}

/// Asks for reloads and shows what became of them; shared with the admin port.
pub(crate) struct Reloads {
    queue: mpsc::UnboundedSender<OutcomeSender>,
    history: Mutex<History>,
}

/// What a reload came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReloadOutcome {
    Applied {
        generation: u64,
    },
    Unchanged {
        generation: u64,
    },
    /// The old config goes on serving; the text says why, as the log does.
    Refused {
        error: String,
    },
}

/// What became of the reloads so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// The last 20, oldest first.
    pub(crate) applied: VecDeque<Applied>,
    /// Of the last reload, if it was refused.
    pub(crate) last_error: Option<String>,
    pub(crate) last_success: Option<SystemTime>,
    pub(crate) count_applied: u64,
    pub(crate) count_unchanged: u64,
    pub(crate) count_refused: u64,
}

/// One reload that changed something.
#[derive(Clone, Debug)]
pub(crate) struct Applied {
    pub(crate) generation: u64,
    pub(crate) time: SystemTime,
    pub(crate) difference: Difference,
}

/// Somebody who waits for the outcome.
type OutcomeSender = oneshot::Sender<ReloadOutcome>;

/// The task that reloads.
pub(crate) struct Reloader {
    pub(crate) loader: Arc<Loader>,
    pub(crate) published: Arc<Published>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) reloads: Arc<Reloads>,
    pub(crate) queue: mpsc::UnboundedReceiver<OutcomeSender>,
    pub(crate) watcher: Watcher,
    pub(crate) spawn: Spawn,
    pub(crate) change: ChangeProcess,
}

/// What came of a load.
pub(crate) struct Loaded {
    /// `None`: there is an error, which the report holds.
    pub(crate) snapshot: Option<Snapshot>,
    pub(crate) report: Report,
    /// What was read or run, whatever came of it.
    pub(crate) watched: Watched,
}

impl Loader {
    /// Loads and compiles. Blocks.
    pub(crate) fn load(&self, previous: Option<&Snapshot>, slots: &Slots) -> Loaded {
        // A start must not depend on what a command asks; a reload costs no service the secret that it has.
        let tolerated = previous.map_or_else(ToleratedFailures::any, |previous| previous.failing.clone());
        let inputs = Inputs::new(Secrets::Read).tolerating(tolerated);
        let (config, mut report) = config::load_with(&self.source, &inputs, &self.overrides);
        let snapshot = config.and_then(|config| Snapshot::compile(config, previous, slots, &inputs, &mut report));
        // The system's certificates leave 90 KiB of freed heap behind, the trees and texts of 500 services 2 MiB.
        heap::trim();
        Loaded { snapshot, report, watched: inputs.watched() }
    }
}

impl Reloads {
    /// Makes the queue; the receiving end is the [`Reloader`]'s.
    pub(crate) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<OutcomeSender>) {
        let (queue, receiver) = mpsc::unbounded_channel();
        let history = History { last_success: Some(SystemTime::now()), ..History::default() };
        (Arc::new(Self { queue, history: Mutex::new(history) }), receiver)
    }

    /// Asks for a reload and waits for its outcome.
    pub(crate) async fn request(&self) -> ReloadOutcome {
        let (asked, outcome) = oneshot::channel();
        let ended = || ReloadOutcome::Refused { error: "the process is ending".to_owned() };
        if self.queue.send(asked).is_err() {
            return ended();
        }
        outcome.await.unwrap_or_else(|_| ended())
    }

    /// What became of the reloads so far.
    pub(crate) fn history(&self) -> History {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        locked(&self.history)
    }
}

impl History {
    fn note(&mut self, outcome: &ReloadOutcome, difference: Option<Difference>) {
        let now = SystemTime::now();
        match outcome {
            ReloadOutcome::Refused { error } => {
                self.count_refused += 1;
                self.last_error = Some(error.clone());
                return;
            }
            ReloadOutcome::Unchanged { .. } => self.count_unchanged += 1,
            ReloadOutcome::Applied { generation } => {
                self.count_applied += 1;
                let difference = difference.unwrap_or_default();
                self.applied.push_back(Applied { generation: *generation, time: now, difference });
                if self.applied.len() > DIFFERENCES_KEPT {
                    self.applied.pop_front();
                }
            }
        }
        self.last_error = None;
        self.last_success = Some(now);
    }
}

impl Reloader {
    /// Takes up the tokens of the first snapshot, then reloads whenever something changed or somebody asks.
    pub(crate) async fn run(mut self) -> Infallible {
        let mut loading = Lane::default();
        let mut wanted = self.published.current().load_full();
        self.take_up_tokens(&wanted);
        let mut refused = false;
        loop {
            let mut waiting = Vec::new();
            tokio::select! {
                // It holds an end of the queue itself, so the queue never closes.
                Some(asked) = self.queue.recv() => waiting.push(asked),
                () = self.watcher.changed() => {}
                // Whoever asked for what hung was refused, and what it came to is old.
                () = loading.through() => {}
            }
            while let Ok(asked) = self.queue.try_recv() {
                waiting.push(asked);
            }
            let outcome = self.reload(&mut wanted, &mut loading).await;
            if let ReloadOutcome::Unchanged { generation } = &outcome {
                // Whoever forces a reload wants to know that it was one. The watcher looks for nobody; but the last word on
                // a config that was refused must not stand when it is mended.
                if refused {
                    tracing::info!(generation, "the config is valid again: nothing has changed");
                } else if !waiting.is_empty() {
                    tracing::info!(generation, "reloaded: nothing has changed");
                }
            }
            refused = matches!(outcome, ReloadOutcome::Refused { .. });
            for asked in waiting {
                // Whoever asked may have left.
                let _left = asked.send(outcome.clone());
            }
        }
    }

    /// `wanted` is what the last load came to. What is published may lag behind it, where a service waits for a token
    /// before it switches: a load that finds the same again must not begin that anew.
    async fn reload(&mut self, wanted: &mut Arc<Snapshot>, loading: &mut Lane) -> ReloadOutcome {
        let (loader, slots, previous) = (Arc::clone(&self.loader), Arc::clone(&self.slots), Arc::clone(wanted));
        let load = move || {
            let loaded = loader.load(Some(&previous), &slots);
            // Here, for it blocks; and only had: until the whole config is taken, nobody can tell.
            let claimed = loaded.snapshot.as_ref().map(Snapshot::claim).transpose();
            (loaded, claimed)
        };
        let (outcome, difference) = match loading.run(LOAD_WITHIN, load).await {
            Ok((Loaded { snapshot, report, watched }, claimed)) => {
                self.watcher.watch(watched);
                match claimed {
                    Ok(mut claims) => {
                        let decided = self.decide(wanted, snapshot, &mut claims, &report);
                        // What was not committed is given back before anybody hears of it; and not here, for that blocks. On
                        // a disk that hangs it is given back later, before the next load.
                        if let Some(claims) = claims {
                            let _given_back = loading.run(GIVE_BACK_WITHIN, move || drop(claims)).await;
                        }
                        decided
                    }
                    Err(unclaimed) => (ReloadOutcome::Refused { error: format!("error: {unclaimed}") }, None),
                }
            }
            Err(stuck) => {
                (ReloadOutcome::Refused { error: format!("error: loading the config failed: {stuck}") }, None)
            }
        };
        if let ReloadOutcome::Refused { error } = &outcome {
            tracing::error!("the config is refused, the old one goes on serving\n{}", error.trim_end());
        }
        self.reloads.lock().note(&outcome, difference);
        outcome
    }

    fn decide(
        &self,
        wanted: &mut Arc<Snapshot>,
        new: Option<Snapshot>,
        claims: &mut Option<ClaimedState>,
        report: &Report,
    ) -> (ReloadOutcome, Option<Difference>) {
        let Some(new) = new else { return (ReloadOutcome::Refused { error: report.render(Color::Plain) }, None) };
        warn_of(report);
        let difference = Difference::between(wanted, &new);
        if difference.is_empty() {
            self.hurry(wanted);
            return (ReloadOutcome::Unchanged { generation: wanted.generation }, None);
        }
        let generation = new.generation;
        let new = Arc::new(new);
        let mut publish = |right: &dyn RightToPublish| {
            // Before anybody asks for a token with what a state file holds.
            claims.take().into_iter().for_each(|claims| claims.commit(&Handle::current()));
            self.publish(&new, right);
        };
        if let Err(error) = (self.change)(Changed::Config(&new.config, report), &mut publish) {
            return (ReloadOutcome::Refused { error }, None);
        }
        *wanted = new;
        for line in difference.lines() {
            tracing::info!(generation, "reloaded: {line}");
        }
        (ReloadOutcome::Applied { generation }, Some(difference))
    }

    fn publish(&self, new: &Arc<Snapshot>, right: &dyn RightToPublish) {
        self.take_up_tokens(new);
        self.hurry(new);
        let serving = self.published.current().load_full();
        let (first, switches) = rotation::hold_back(&serving, new);
        self.published.publish(first, right);
        for switch in switches {
            let (published, change) = (Arc::clone(&self.published), Rc::clone(&self.change));
            (self.spawn)("the switch of a certificate", Box::pin(switch.carry_out(published, change)));
        }
    }

    /// Starts the refresher of each new slot, and says which services count its requests.
    fn take_up_tokens(&self, snapshot: &Snapshot) {
        for (slot, sharers) in snapshot.slots() {
            slot.count_for(sharers.iter().map(|service| self.metrics.token_numbers(service.name.as_str())).collect());
        }
        for (subjects, sharers) in snapshot.subjects() {
            let numbers = |service: &&Service| self.metrics.token_numbers(service.name.as_str());
            subjects.count_for(sharers.iter().map(numbers).collect());
        }
        for slot in self.slots.take_new() {
            (self.spawn)("the refresher of a token", Box::pin(oauth2::refresh::run(Arc::downgrade(&slot))));
        }
        for subjects in self.slots.take_new_subjects() {
            (self.spawn)("the keeper of subjects", Box::pin(subjects.keep()));
        }
    }

    /// Cuts back-offs short: what they wait for may have changed, or somebody knows that the endpoint is back.
    fn hurry(&self, snapshot: &Snapshot) {
        for (slot, _) in snapshot.slots() {
            if !slot.is_live() {
                slot.try_now();
            }
        }
    }
}

/// Warnings of a load that is used.
pub(crate) fn warn_of(report: &Report) {
    for warning in report.warnings() {
        tracing::warn!("{}", warning.trim_end());
    }
}

/// Commands have 10 s each, and run one after the other; a mount that hangs has no end.
const LOAD_WITHIN: Duration = Duration::from_secs(120);
/// No longer than a file may take to be removed.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(10);
/// As many differences are kept.
const DIFFERENCES_KEPT: usize = 20;
