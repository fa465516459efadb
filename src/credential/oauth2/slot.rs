//! Where the current token of one entry is read, and where those wait who find none.
//!
//! Only the entry's refresher writes; workers read with one atomic load and take no lock. What they want of it they leave
//! in its `signals` and wake it: it decides, and publishes what it decided.
//!
//! ```text
//!  worker:  load ─► none alive ─► want(ending) ─► register ─► look again ─► wait ┐
//!  refresher:        take signals ─► begin ─► fetch ─► publish ─► notify ─────────┴─► look again
//! ```

use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::timeout;

use super::counts::Counts;
use super::dpop::token_type;
use super::failure::{FailureKind, TokenFailure};
use super::first_tokens::FirstTokenLimiter;
use super::grant::Claim;
use super::latest::Latest;
use super::policy::RefreshPolicies;
use super::request_limiter::RequestLimiter;
use super::signals::RefreshSignals;
use super::source::{Holdup, TokenSource};
use super::state::{State, Token, TokenStatus};
use super::state_file::ClaimError;
use crate::clock::Moment;
use crate::code::Code;
use crate::credential::Error;
use crate::locked::locked;
use crate::telemetry::metrics::TokenNumbers;

/// The current token of one entry, and who waits for it.
pub(crate) struct Slot {
    /// Announced at the end of each attempt.
    state: Latest<State>,
    /// Outlives the slot by a moment, so that its loop hears that it is gone.
    pub(super) signals: Arc<RefreshSignals>,
    pub(super) source: Arc<dyn TokenSource>,
    pub(in crate::credential) policies: Arc<RefreshPolicies>,
    certificate: Option<[u8; 32]>,
    /// Where its first token has to wait for those of others.
    pub(super) first_tokens: Option<Arc<FirstTokenLimiter>>,
    /// Where each of its token requests has to wait for those of other subjects.
    pub(super) subjects: Option<Arc<RequestLimiter>>,
    counts: Arc<Counts>,
    /// When somebody last demanded another token.
    demanded: Mutex<Option<Moment>>,
    /// Whether a request has read it of late; noted only where there are too many to keep all.
    used: AtomicBool,
}

/// Why there is no other token, though somebody demanded one.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum WaitError {
    #[error("another token was asked for less than a second ago")]
    TooSoon,
    /// Of many that are asked for together.
    #[error("no other token was had within {limit:?}, the time-out of a token request")]
    TooLate { limit: Duration },
    #[error(transparent)]
    Failed(#[from] Error),
}

impl WaitError {
    /// The word of the answer.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::TooSoon => Code::RateLimited,
            Self::TooLate { .. } => Code::TokenUnavailable,
            Self::Failed(error) => error.code(),
        }
    }

    /// Whole seconds until it may be asked for again.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooSoon | Self::TooLate { .. } => Some(1),
            Self::Failed(error) => error.retry_after(),
        }
    }
}

impl Slot {
    /// Its first token goes through `first_tokens`, if there is one.
    pub(in crate::credential) fn new(
        source: Arc<dyn TokenSource>,
        certificate: Option<[u8; 32]>,
        first_tokens: Option<Arc<FirstTokenLimiter>>,
    ) -> Self {
        Self {
            state: Latest::new(State::default()),
            signals: Arc::default(),
            source,
            policies: Arc::default(),
            certificate,
            first_tokens,
            subjects: None,
            counts: Arc::default(),
            demanded: Mutex::default(),
            used: AtomicBool::new(true),
        }
    }

    /// One of many subjects that go by the same policies, wait in the same line, and are counted together.
    pub(super) fn of_subject(
        source: Arc<dyn TokenSource>,
        certificate: Option<[u8; 32]>,
        policies: Arc<RefreshPolicies>,
        subjects: Arc<RequestLimiter>,
        counts: Arc<Counts>,
    ) -> Self {
        let mut slot = Self::new(source, certificate, None);
        slot.policies = policies;
        slot.subjects = Some(subjects);
        slot.counts = counts;
        slot
    }

    /// Reads the token in hand, if it is alive at `now`: one atomic load, no reference count touched.
    pub(in crate::credential) fn load<T>(&self, now: Moment, read: impl FnOnce(&Token) -> T) -> Option<T> {
        self.state.load().live(now).map(|token| read(token))
    }

    /// A token for a request that found none alive: waits for the attempt in flight, or for the next one if the last
    /// brought a token that is dead by now.
    ///
    /// # Errors
    /// When that attempt fails, or does not end in time; or at once when the last one failed: the endpoint is not asked for
    /// each request.
    pub(in crate::credential) async fn wait(&self) -> Result<Arc<Token>, Error> {
        let now = Moment::now();
        let state = self.state.load_full();
        if let Some(token) = state.live(now) {
            return Ok(Arc::clone(token));
        }
        let asks_again = self.source.is_on_demand() && state.may_ask_again(now);
        if let Some(failure) = state.failure.as_ref().filter(|_| !asks_again) {
            if state.is_overdue(now) {
                // The refresher slept through the time of its retry, with the machine.
                self.signals.wake.notify_one();
            }
            return Err(state.error(failure, now));
        }
        // For the attempt after the state that was just looked at, and not after one that is read anew: had an attempt
        // ended in between, this one would wait for another though that one brought its token.
        let state = self.await_end(state.attempts, |signals| signals.want(state.ending())).await?;
        match (&state.failure, &state.token) {
            (None, Some(token)) => Ok(Arc::clone(token)),
            (Some(failure), _) => Err(state.error(failure, Moment::now())),
            // Invariant: an attempt ends with one or the other.
            (None, None) => unreachable!("an attempt that ended with nothing"),
        }
    }

    /// Gets another token than that of `generation`, which the service called dead. `false`: there will be none.
    pub(in crate::credential) async fn replace(&self, generation: u64) -> bool {
        let state = self.state.load_full();
        if state.generation() > generation {
            return true;
        }
        if !state.replaces(Moment::now()) {
            return false;
        }
        let ended = self.await_end(state.attempts, |signals| signals.reject(generation)).await;
        ended.is_ok_and(|state| state.generation() > generation)
    }

    /// The service called the token of `generation` dead. One that was replaced already is ignored.
    pub(in crate::credential) fn reject(&self, generation: u64) {
        self.signals.reject(generation);
    }

    /// Whether another token may be demanded now, which is then counted as done: at most once a second.
    pub(crate) fn may_demand(&self) -> Result<(), WaitError> {
        let now = Moment::now();
        let mut last = locked(&self.demanded);
        if last.is_some_and(|last| now.since(last) < BETWEEN_DEMANDS) {
            return Err(WaitError::TooSoon);
        }
        *last = Some(now);
        Ok(())
    }

    /// Another token now, whatever the back-off says: joins the attempt in flight, or has one made at once. To be asked
    /// after [`Slot::may_demand`].
    ///
    /// # Errors
    /// When that attempt fails or does not end in time, which leaves the token in hand.
    pub(crate) async fn demand(&self) -> Result<(), WaitError> {
        let before = self.state();
        let state = if before.abandoned {
            before
        } else {
            self.await_end(before.attempts, |signals| signals.demand(before.ending())).await?
        };
        match &state.failure {
            Some(failure) => Err(state.error(failure, Moment::now()).into()),
            None => Ok(()),
        }
    }

    /// How long one token request may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.policies.timeout()
    }

    /// Says what is wanted, and waits until an attempt after number `seen` has ended: never longer than one may take.
    ///
    /// In a box: a request that finds its token alive needs no room for this.
    ///
    /// # Errors
    /// When none ends in time, whatever the refresher is at.
    fn await_end(
        &self,
        seen: u64,
        say: impl FnOnce(&RefreshSignals),
    ) -> Pin<Box<impl Future<Output = Result<Arc<State>, Error>>>> {
        // Counted first, said then: a refresher that finds nobody counted forgets what was said before.
        let waiting = self.signals.waiting();
        say(&self.signals);
        Box::pin(async move {
            let _waiting = waiting;
            let limit = self.policies.longest_wait();
            timeout(limit, self.ended_after(seen)).await.map_err(|_| self.too_late(limit))
        })
    }

    fn too_late(&self, limit: Duration) -> Error {
        let (what, help) = match (self.source.holdup(), self.state.load().in_flight) {
            (Some(Holdup::Disk { path }), _) => {
                let path = path.display();
                let what = format!("brought no token within {limit:?}: the state file `{path}` is still being written");
                (what, "check its disk, which hangs or is slow")
            }
            (Some(Holdup::OtherRequest), false) => {
                let what = format!(
                    "was not asked for a token within {limit:?}: another request with the same refresh token is under way"
                );
                (what, "it is asked once that one has ended; ask for an endpoint that answers sooner")
            }
            (_, true) => {
                (format!("was asked for a token, and has not answered within {limit:?}"), "it will be asked again")
            }
            (None, false) => {
                let what = format!("was not asked for a token within {limit:?}: others wait in line before this one");
                (what, "send fewer requests of new subjects at a time, or ask for an endpoint that answers sooner")
            }
        };
        let endpoint = self.source.host().to_owned();
        let failure =
            TokenFailure { kind: FailureKind::Unavailable, endpoint, what, help: help.into(), retry_after: None };
        Error::Unavailable { failure: Arc::new(failure), retry_after: 1 }
    }

    /// Publishes a step of the refresher's that ends no attempt.
    pub(super) fn publish(&self, state: State) {
        self.state.publish(Arc::new(state));
    }

    /// Publishes the end of an attempt, wakes who waited for it, and counts it.
    pub(super) fn store(&self, state: State) {
        let state = Arc::new(state);
        self.state.announce(Arc::clone(&state));
        self.counts.ended(&state);
    }

    /// The refresher has ended: tells those who wait, and those who will. Counts nothing, as it may be part of a panic.
    pub(super) fn abandon(&self, state: State) {
        self.state.announce(Arc::new(state));
    }

    pub(super) fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// How it is, for people.
    pub(crate) fn status(&self) -> TokenStatus {
        let state = self.state();
        TokenStatus {
            state: state.word(Moment::now()),
            token_type: state.token.as_ref().map(|_| token_type(self.source.proof_key()).to_owned()),
            expires_at: state.token.as_ref().map(|token| token.expires().wall()),
            lifetime: state.token.as_ref().map(|token| token.life),
            refreshed_at: state.refreshed_at,
            requests: state.attempts,
            failures: state.failures,
            last_error: state.failure.as_ref().map(ToString::to_string).or_else(|| self.source.trouble()),
        }
    }

    /// Has what outlives the process for this process alone, once that is committed. Blocks.
    ///
    /// # Errors
    /// When it is another process's, or can't be read.
    pub(crate) fn claim(&self) -> Result<Option<Claim>, ClaimError> {
        self.source.claim()
    }

    /// As [`TokenSource::family`].
    pub(super) fn family(&self) -> Option<u64> {
        self.source.family()
    }

    /// Where it keeps what outlives the process.
    pub(crate) fn state_file(&self) -> Option<&Path> {
        self.source.state_file()
    }

    /// Who counts this entry's token requests: every service of the snapshot that shares it. Set at publication.
    pub(crate) fn count_for(&self, services: Vec<Arc<TokenNumbers>>) {
        self.counts.count_for(services);
    }

    /// A request reads it.
    pub(super) fn touch(&self) {
        // Looked at first: a line that is only read is nobody's to fight for.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a request has read it since this was last asked.
    pub(super) fn was_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    /// Whether a request would find a token, an attempt on its way, or a failure that still counts.
    pub(super) fn is_of_use(&self, now: Moment) -> bool {
        let state = self.state.load();
        state.live(now).is_some() || (state.failure.is_some() && !state.may_ask_again(now)) || state.in_flight
    }

    /// Waits for a live token as a request does.
    ///
    /// # Errors
    /// When the attempt that it waits for fails, or at once when the last one did.
    pub(crate) async fn until_live(&self) -> Result<(), Error> {
        self.wait().await.map(drop)
    }

    /// Resolves once the slot holds a live token, or the attempt in flight (or the next) ended without one.
    pub(crate) async fn first_attempt(&self) {
        let state = self.state();
        if state.live(Moment::now()).is_none() {
            self.ended_after(state.attempts).await;
        }
    }

    /// Whether it holds a live token.
    pub(crate) fn is_live(&self) -> bool {
        self.state.load().live(Moment::now()).is_some()
    }

    /// When the last token that was had stops being used.
    pub(crate) fn expires(&self) -> Option<Moment> {
        self.state.load().token.as_ref().map(|token| token.expires())
    }

    /// Fingerprint of the certificate that its tokens are obtained with.
    pub(crate) fn certificate(&self) -> Option<[u8; 32]> {
        self.certificate
    }

    /// Cuts a back-off short: config, secret or certificate changed. An attempt in flight may have begun before that, so
    /// another follows if it fails.
    pub(crate) fn try_now(&self) {
        self.signals.hurry(self.state.load().beginning());
    }

    /// Resolves once an attempt after number `seen` has ended, or none will.
    pub(super) async fn ended_after(&self, seen: u64) -> Arc<State> {
        self.state.until(|state| state.attempts > seen || state.abandoned).await
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.signals.leave();
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.source.host();
        formatter.debug_struct("Slot").field("endpoint", &host).field("state", &self.state).finish_non_exhaustive()
    }
}

const BETWEEN_DEMANDS: Duration = Duration::from_secs(1);
