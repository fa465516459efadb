//! The background loop of one entry: single flight, refresh ahead, back-off.
//!
//! All token requests of an entry come from here, one after the other, so there are never two at once. When the next
//! one is due is decided by [`Schedule`]; here is the waiting, the asking and the publishing.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use tokio::sync::OwnedSemaphorePermit;

use super::answer::{Granted, Oddities};
use super::attempt::TokenAttempt;
use super::failure::{FailureKind, TokenFailure};
use super::policy::RefreshPolicies;
use super::request_limiter::RequestPermit;
use super::schedule::{APART, Novelty, Schedule};
use super::signals::RefreshSignals;
use super::slot::Slot;
use super::source::TokenSource;
use super::state::{State, Token};
use crate::clock::Moment;
use crate::guard::{Panicked, guarded};

/// Keeps the slot's token fresh; ends when the last snapshot that holds the slot is gone. Runs on the background's
/// `LocalRuntime`.
pub(crate) async fn run(slot: Weak<Slot>) {
    let Some(mut refresher) = Refresher::of(slot) else { return };
    loop {
        // What a turn changes half before it panics is the refresher's alone, and each attempt starts from the slot's
        // state.
        let turn = guarded(pin!(refresher.turn())).await;
        match turn {
            Ok(Some(())) => {}
            Ok(None) => return,
            Err(Panicked) => {
                // Who waits for this attempt must not wait for one that never ends.
                if refresher.end_by_panic().is_none() {
                    return;
                }
                // Rested here, and not in the next turn: that may panic again before it comes to wait, and then this would
                // be a loop that leaves the thread to nobody else.
                refresher.rest().await;
            }
        }
    }
}

/// One entry's loop. Its steps return `None` once the slot is gone.
struct Refresher {
    slot: Weak<Slot>,
    signals: Arc<RefreshSignals>,
    source: Arc<dyn TokenSource>,
    schedule: Schedule,
}

/// What an attempt holds while others wait in line for it.
type FirstTokenPermits = (Option<OwnedSemaphorePermit>, Option<RequestPermit>);

impl Refresher {
    fn of(slot: Weak<Slot>) -> Option<Self> {
        // Only these two are held while it waits: a strong slot would keep itself alive.
        let (signals, source) = slot.upgrade().map(|slot| (Arc::clone(&slot.signals), Arc::clone(&slot.source)))?;
        Some(Self { slot, signals, source, schedule: Schedule::new(Moment::now()) })
    }

    async fn turn(&mut self) -> Option<()> {
        self.wait_until_due().await?;
        self.attempt().await
    }

    async fn wait_until_due(&mut self) -> Option<()> {
        loop {
            let is_called_for = self.take_signals()?;
            let now = Moment::now();
            if !is_called_for && self.source.is_on_demand() {
                // However many there are, those that nobody asks cost no timer.
                self.signals.wake.notified().await;
                continue;
            }
            let wait = match self.schedule.due() {
                Some(due) if due <= now => return Some(()),
                Some(due) => due.since(now).min(LONGEST_NAP),
                None => LONGEST_NAP,
            };
            // A wake-up since `take_signals` is kept, and ends this at once.
            tokio::time::timeout(wait, self.signals.wake.notified()).await.ok();
        }
    }

    /// Takes what was asked meanwhile into the plan; says whether the next attempt is asked for.
    fn take_signals(&mut self) -> Option<bool> {
        let slot = self.slot.upgrade()?;
        let state = slot.state();
        // Nothing is in flight here, so this attempt is both the next to begin and the next to end; a wish for an earlier
        // one was met meanwhile.
        let next = state.ending();
        let now = Moment::now();
        // Not taken out: it tells those in line, too, that a request waits.
        let wanted = self.signals.wanted.load(Ordering::Acquire) == next;
        if wanted {
            self.schedule.wanted(now);
        }
        if self.signals.hurried.swap(0, Ordering::AcqRel) >= next {
            self.schedule.try_now(now);
        }
        let demanded = self.signals.demanded.swap(0, Ordering::AcqRel) == next;
        if demanded {
            self.schedule.demanded(now);
        }
        // Taken out, so that one complaint that came too soon is not heard again ten seconds later.
        let rejected = self.signals.rejected.swap(0, Ordering::AcqRel);
        // A request with several tokens is stamped with the newest: it has carried each that is not newer than that.
        let concerns_ours = state.generation() != 0 && rejected >= state.generation();
        if concerns_ours && self.schedule.rejected(now) {
            tracing::info!(
                target: LOG,
                service = slot.policies.services(),
                client_id = self.source.client_id(),
                endpoint = self.source.host(),
                "the service refuses the token, fetching another"
            );
            slot.publish(State { replacing: true, ..self.planned(&state) });
            return Some(true);
        }
        Some(wanted || demanded || state.replacing)
    }

    async fn attempt(&mut self) -> Option<()> {
        // Before it begins: who stands in line has sent nothing yet, and is not in flight for anybody who would join it.
        let _permits = self.enter().await?;
        let source = Arc::clone(&self.source);
        // The same holds for who waits for a refresh token that another entry asks with. Nothing is spent until it is had,
        // so the end of the slot is heard until then, even where an answer would be heard out.
        let begun = tokio::select! {
            begun = source.begin() => begun,
            () = self.signals.until_gone() => return None,
        };
        if self.is_needless()? {
            return Some(());
        }
        let attempt = self.begin()?;
        let fetched = tokio::select! {
            fetched = begun(attempt) => fetched,
            () = self.signals.until_gone(), if !source.is_heard_out() => return None,
        };
        // The permits are held until the end is published: so many are under way, and none that only looks as if it were over.
        self.end(fetched)
    }

    /// Waits in line if this would be the first token of one of many, or that of one of many subjects.
    async fn enter(&self) -> Option<FirstTokenPermits> {
        let slot = self.slot.upgrade()?;
        let state = slot.state();
        let first_tokens = slot.first_tokens.clone().filter(|_| state.token.is_none());
        let subjects = slot.subjects.clone();
        // Not held while it waits: what lets go of a slot in line takes it out of the line too.
        drop(slot);
        match (first_tokens, subjects) {
            (Some(limiter), _) => {
                // This hears of its end as well. Two that listen to the same wake-ups would take them from each other.
                let wanted = pin!(self.signals.until_wanted(state.ending()));
                Some((limiter.enter(wanted).await, None))
            }
            (None, Some(limiter)) => tokio::select! {
                biased;
                permit = limiter.enter() => Some((None, permit)),
                () = self.signals.until_gone() => None,
            },
            (None, None) => Some((None, None)),
        }
    }

    /// Whether it was for requests alone, and none of them waits any more: they had stood in line for too long.
    fn is_needless(&self) -> Option<bool> {
        let state = self.slot.upgrade()?.state();
        Some(self.source.is_on_demand() && !state.replacing && self.signals.withdraw())
    }

    fn begin(&self) -> Option<TokenAttempt> {
        let slot = self.slot.upgrade()?;
        slot.publish(State { in_flight: true, ..self.planned(&slot.state()) });
        Some(slot.policies.attempt())
    }

    fn end(&mut self, fetched: Result<Granted, TokenFailure>) -> Option<()> {
        let slot = self.slot.upgrade()?;
        let before = slot.state();
        match fetched {
            Ok(granted) => self.succeed(&slot, &before, granted),
            Err(failure) => self.fail(&slot, &before, failure),
        }
        Some(())
    }

    fn end_by_panic(&mut self) -> Option<()> {
        self.end(Err(self.unavailable("was not asked, by a fault of Sidekey's own", "its log has the place")))
    }

    /// Waits out the back-off, which whoever wants something may cut short, but not the time between two attempts.
    async fn rest(&self) {
        tokio::time::sleep(APART).await;
        let left = self.schedule.due().map_or(Duration::ZERO, |due| due.since(Moment::now()));
        tokio::time::timeout(left, self.signals.wake.notified()).await.ok();
    }

    fn unavailable(&self, what: &str, help: &'static str) -> TokenFailure {
        let endpoint = self.source.host().to_owned();
        TokenFailure {
            kind: FailureKind::Unavailable,
            endpoint,
            what: what.to_owned(),
            help: help.into(),
            retry_after: None,
        }
    }

    fn succeed(&mut self, slot: &Slot, before: &State, mut granted: Granted) {
        if let Some(ends) = self.source.ends() {
            let stated = granted.life.unwrap_or_else(|| slot.policies.default_lifetime());
            granted.life = Some(stated.min(ends.since(granted.sent)));
        }
        self.warn_of(&granted.oddities, &slot.policies);
        let (token, novelty) = succeed_to(before.token.as_deref(), granted, slot.policies.default_lifetime());
        let ahead = slot.policies.ahead(token.life);
        self.schedule.succeeded(&token, novelty, ahead, fastrand::f64(), Moment::now());
        self.log_success(before, &token, &slot.policies);

        let state = State {
            token: Some(Arc::new(token)),
            failure: None,
            refreshed_at: Some(SystemTime::now()),
            ..self.ended(before)
        };
        slot.store(state);
    }

    fn fail(&mut self, slot: &Slot, before: &State, failure: TokenFailure) {
        let now = Moment::now();
        self.schedule.failed(&failure, now);
        let retry_in = self.schedule.due().map_or(0, |due| due.since(now).as_secs());
        tracing::warn!(
            target: LOG,
            service = slot.policies.services(),
            client_id = self.source.client_id(),
            code = failure.code().word(),
            retry_in,
            "{failure}"
        );

        let ended = self.ended(before);
        let state = State { failure: Some(Arc::new(failure)), failures: before.failures + 1, ..ended };
        slot.store(state);
    }

    /// What was known, with the plan as it is now.
    fn planned(&self, before: &State) -> State {
        State { due: self.schedule.due(), replaceable: Some(self.schedule.replaceable()), ..before.clone() }
    }

    /// As [`Refresher::planned`], with one attempt more behind it.
    fn ended(&self, before: &State) -> State {
        State { attempts: before.ending(), in_flight: false, replacing: false, ..self.planned(before) }
    }

    fn log_success(&self, before: &State, token: &Token, policies: &RefreshPolicies) {
        let (client_id, endpoint) = (self.source.client_id(), self.source.host());
        let seconds = token.life.as_secs();
        if before.token.is_none() || before.failure.is_some() {
            let service = policies.services();
            tracing::info!(target: LOG, service, client_id, endpoint, seconds, "token obtained");
        } else {
            tracing::debug!(target: LOG, service = policies.services(), client_id, endpoint, seconds, "token refreshed");
        }
    }

    /// Once a service: what is odd about one token is so about the next.
    fn warn_of(&self, oddities: &Oddities, policies: &RefreshPolicies) {
        let (client_id, endpoint) = (self.source.client_id(), self.source.host());
        if let Some((what, help)) = oddities.of_life()
            && let Some(service) = policies.to_tell_of_life()
        {
            tracing::warn!(target: LOG, service, client_id, endpoint, "{what}; {help}");
        }
        if let Some((what, help)) = oddities.of_scopes()
            && let Some(service) = policies.to_tell_of_scopes()
        {
            tracing::warn!(target: LOG, service, client_id, endpoint, "{what}; {help}");
        }
    }
}

/// However it ends: with its slot, by a panic that `guarded` does not see, or with the runtime that it runs on.
impl Drop for Refresher {
    fn drop(&mut self) {
        // Gone with its slot: that is how it should be.
        let Some(slot) = self.slot.upgrade() else { return };
        // Else somebody still reads the slot, waits there, and would do so for ever.
        let failure = self.unavailable("is asked no more", "the process is ending, or its log says why");
        let before = slot.state();
        slot.abandon(State { failure: Some(Arc::new(failure)), abandoned: true, ..self.ended(&before) });
    }
}

/// The token that follows `old`. One that the endpoint repeats keeps its generation: sending it again after a 401
/// would bring another.
fn succeed_to(old: Option<&Token>, granted: Granted, default_lifetime: Duration) -> (Token, Novelty) {
    let Granted { access_token, sent, life, .. } = granted;
    let life = life.unwrap_or(default_lifetime);
    match old.filter(|old| old.access_token == access_token) {
        Some(old) => (Token { generation: old.generation, access_token, sent, life }, Novelty::Repeated),
        None => {
            let generation = GENERATIONS.fetch_add(1, Ordering::Relaxed);
            (Token { generation, access_token, sent, life }, Novelty::New)
        }
    }
}

/// One count for all entries, so that a request with several tokens is stamped with one number: what is newer than
/// the newest of them was not on it. 0 stands for no token.
static GENERATIONS: AtomicU64 = AtomicU64::new(1);

/// Timers stand still while the machine sleeps and lifetimes do not: look at least this often which is due.
const LONGEST_NAP: Duration = Duration::from_secs(30);

const LOG: &str = "sidekey::token";
