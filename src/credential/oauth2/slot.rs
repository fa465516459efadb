//! Where the current token of one entry is read, and where those wait who find none.
//!
//! Only the entry's refresh loop writes; workers read with one atomic load and take no lock. What they want of the
//! loop they leave in a few atomics and ring its bell: the loop decides, and publishes what it decided.

use std::fmt;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::counts::Counts;
use super::crowd::Entrance;
use super::dpop::token_type;
use super::failure::{Failure, Kind};
use super::refresh::Endpoint;
use super::state_file::Unclaimed;
use super::terms::Sharers;
use crate::clock::Moment;
use crate::credential::Error;
use crate::secret::Secret;
use crate::telemetry::metrics::TokenNumbers;

/// The current token of one entry, and who waits for it.
pub(crate) struct Slot {
    state: ArcSwap<State>,
    /// Rung at the end of each attempt.
    ended: Notify,
    /// Outlives the slot by a moment, so that its loop hears that it is gone.
    pub(super) asks: Arc<Asks>,
    pub(super) endpoint: Arc<dyn Endpoint>,
    pub(super) sharers: Arc<Sharers>,
    certificate: Option<[u8; 32]>,
    /// Where its first token has to wait for those of others.
    pub(super) entrance: Option<Arc<Entrance>>,
    counts: Arc<Counts>,
    /// When somebody last demanded another token.
    demanded: Mutex<Option<Moment>>,
    /// Whether a request has read it of late; noted only where there are too many to keep all.
    used: AtomicBool,
}

/// A token in hand.
#[derive(Debug)]
pub(crate) struct Token {
    /// Unique in the process, and higher than that of any token fetched before: [`crate::credential::Stamp`] relies on
    /// it.
    pub(super) generation: u64,
    pub(super) access_token: Secret,
    pub(super) sent: Moment,
    pub(super) life: Duration,
}

/// What the loop knows, as of its last step.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// The last token that was had; it may have expired.
    pub(super) token: Option<Arc<Token>>,
    /// Why the last attempt failed; `None`: it did not, or there was none.
    pub(super) failure: Option<Arc<Failure>>,
    pub(super) in_flight: bool,
    /// The next attempt will replace a token that the service called dead.
    pub(super) replacing: bool,
    /// When the next attempt is due.
    pub(super) due: Option<Moment>,
    /// From when on a dead token is replaced.
    pub(super) replaceable: Option<Moment>,
    pub(super) refreshed_at: Option<SystemTime>,
    /// Attempts that ended.
    pub(super) requests: u64,
    pub(super) failures: u64,
}

/// What the loop is asked for. Attempts are numbered, tokens have generations: so an ask that was met meanwhile is
/// recognized, and none is lost.
#[derive(Debug, Default)]
pub(super) struct Asks {
    /// Attempt number `wanted` is waited for by a request.
    pub(super) wanted: AtomicU64,
    /// Attempt number `hurried` may come before its time.
    pub(super) hurried: AtomicU64,
    /// Attempt number `demanded` is made at once.
    pub(super) demanded: AtomicU64,
    /// The service called the token of this generation dead.
    pub(super) rejected: AtomicU64,
    pub(super) gone: AtomicBool,
    pub(super) bell: Notify,
}

/// For status and metrics; holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenStatus {
    pub(crate) state: TokenState,
    pub(crate) token_type: Option<String>,
    pub(crate) expires_at: Option<SystemTime>,
    /// How long it lives in all, from the request that brought it.
    pub(crate) lifetime: Option<Duration>,
    pub(crate) refreshed_at: Option<SystemTime>,
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    /// Why the last attempt failed.
    pub(crate) last_error: Option<String>,
}

/// Why there is no other token, though somebody demanded one.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Undelivered {
    #[error("another token was asked for less than a second ago")]
    TooSoon,
    #[error(transparent)]
    Failed(#[from] Error),
}

/// How an entry is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenState {
    /// Nobody has asked for a token yet.
    None,
    /// The first one is being fetched.
    Pending,
    Valid,
    /// There was one, and no other could be had yet.
    Expired,
    /// There never was one, and the last attempt to get one failed.
    Failed,
}

impl Slot {
    /// Its first token goes through `entrance`, if there is one.
    pub(super) fn new(
        endpoint: Arc<dyn Endpoint>,
        certificate: Option<[u8; 32]>,
        entrance: Option<Arc<Entrance>>,
    ) -> Self {
        let mut slot = Self::sharing(endpoint, certificate, Arc::default(), Arc::default());
        slot.entrance = entrance;
        slot
    }

    /// One of several that go by the same terms and are counted together.
    pub(super) fn sharing(
        endpoint: Arc<dyn Endpoint>,
        certificate: Option<[u8; 32]>,
        sharers: Arc<Sharers>,
        counts: Arc<Counts>,
    ) -> Self {
        Self {
            state: ArcSwap::default(),
            ended: Notify::new(),
            asks: Arc::default(),
            endpoint,
            sharers,
            certificate,
            entrance: None,
            counts,
            demanded: Mutex::default(),
            used: AtomicBool::new(true),
        }
    }

    /// Reads the token in hand, if it is alive at `now`: one atomic load, no reference count touched.
    pub(super) fn load<T>(&self, now: Moment, read: impl FnOnce(&Token) -> T) -> Option<T> {
        self.state.load().live(now).map(|token| read(token))
    }

    /// A token for a request that found none alive: waits for the attempt in flight, or for the next one if the last
    /// brought a token that is dead by now.
    ///
    /// # Errors
    /// When that attempt fails, or at once when the last one did: the endpoint is not asked for each request.
    pub(super) async fn wait(&self) -> Result<Arc<Token>, Error> {
        let now = Moment::now();
        let state = self.state.load_full();
        if let Some(token) = state.live(now) {
            return Ok(Arc::clone(token));
        }
        let asks_again = self.endpoint.is_on_demand() && state.may_ask_again(now);
        if let Some(failure) = state.failure.as_ref().filter(|_| !asks_again) {
            if state.is_overdue(now) {
                // The loop slept through the time of its retry, with the machine.
                self.asks.bell.notify_one();
            }
            return Err(state.error(failure, now));
        }
        self.asks.want(state.requests + 1);
        let state = self.ended_after(state.requests).await;
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
        self.reject(generation);
        self.ended_after(state.requests).await.generation() > generation
    }

    /// The service called the token of `generation` dead. One that was replaced already is ignored.
    pub(in crate::credential) fn reject(&self, generation: u64) {
        self.asks.rejected.fetch_max(generation, Ordering::AcqRel);
        self.asks.bell.notify_one();
    }

    /// Another token now, whatever the back-off says: joins the attempt in flight, or has one made at once.
    ///
    /// # Errors
    /// When that attempt fails, which leaves the token in hand; or when the last demand is less than a second ago.
    pub(crate) async fn demand(&self) -> Result<(), Undelivered> {
        if !self.may_demand(Moment::now()) {
            return Err(Undelivered::TooSoon);
        }
        let before = self.state();
        self.asks.demand(before.requests + 1);
        let state = self.ended_after(before.requests).await;
        match &state.failure {
            Some(failure) => Err(state.error(failure, Moment::now()).into()),
            None => Ok(()),
        }
    }

    /// A demand that comes too soon does not count.
    fn may_demand(&self, now: Moment) -> bool {
        let mut last = crate::locked::locked(&self.demanded);
        let may = last.is_none_or(|last| now.since(last) >= BETWEEN_DEMANDS);
        if may {
            *last = Some(now);
        }
        may
    }

    /// Publishes a step of the loop that ends no attempt.
    pub(super) fn publish(&self, state: State) {
        self.state.store(Arc::new(state));
    }

    /// Publishes the end of an attempt, wakes who waited for it, and counts it.
    pub(super) fn store(&self, state: State) {
        let state = Arc::new(state);
        self.state.store(Arc::clone(&state));
        self.ended.notify_waiters();
        self.counts.ended(&state);
    }

    pub(super) fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// How it is, for people.
    pub(crate) fn status(&self) -> TokenStatus {
        let state = self.state();
        TokenStatus {
            state: state.word(Moment::now()),
            token_type: state.token.as_ref().map(|_| token_type(self.endpoint.proof_key()).to_owned()),
            expires_at: state.token.as_ref().map(|token| token.expires().wall()),
            lifetime: state.token.as_ref().map(|token| token.life),
            refreshed_at: state.refreshed_at,
            requests: state.requests,
            failures: state.failures,
            last_error: state.failure.as_ref().map(ToString::to_string).or_else(|| self.endpoint.trouble()),
        }
    }

    /// Makes what outlives the process this process's own. Blocks.
    ///
    /// # Errors
    /// When it is another process's, or can't be read.
    pub(crate) fn claim(&self) -> Result<(), Unclaimed> {
        self.endpoint.claim()
    }

    /// Where it keeps what outlives the process.
    pub(crate) fn state_file(&self) -> Option<&Path> {
        self.endpoint.state_file()
    }

    /// Resolves once no token request is under way whose answer must not be lost.
    pub(crate) async fn settled(&self) {
        self.endpoint.settled().await;
    }

    /// Who counts this entry's token requests: every service of the snapshot that shares it. Set at publication.
    pub(crate) fn count_for(&self, sharers: Vec<Arc<TokenNumbers>>) {
        self.counts.count_for(sharers);
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
            self.ended_after(state.requests).await;
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

    /// Cuts a back-off short: config, secret or certificate changed.
    pub(crate) fn try_now(&self) {
        let next = self.state.load().requests + 1;
        self.asks.hurried.fetch_max(next, Ordering::AcqRel);
        self.asks.bell.notify_one();
    }

    pub(super) async fn ended_after(&self, seen: u64) -> Arc<State> {
        loop {
            let mut ended = pin!(self.ended.notified());
            // Registered first, looked at then: an end in between wakes this one too.
            ended.as_mut().enable();
            let state = self.state.load_full();
            if state.requests > seen {
                return state;
            }
            ended.await;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.asks.gone.store(true, Ordering::Release);
        self.asks.bell.notify_one();
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.endpoint.host();
        formatter.debug_struct("Slot").field("endpoint", &host).field("state", &self.state).finish_non_exhaustive()
    }
}

impl Token {
    /// From when on it is not used any more.
    pub(super) fn expires(&self) -> Moment {
        self.sent + self.life
    }
}

impl State {
    pub(super) fn generation(&self) -> u64 {
        self.token.as_ref().map_or(0, |token| token.generation)
    }

    fn live(&self, now: Moment) -> Option<&Arc<Token>> {
        self.token.as_ref().filter(|token| now < token.expires())
    }

    fn is_overdue(&self, now: Moment) -> bool {
        !self.in_flight && self.due.is_some_and(|due| now >= due)
    }

    /// Whether a request need not take the last failure for its answer.
    fn may_ask_again(&self, now: Moment) -> bool {
        self.in_flight || self.due.is_none_or(|due| now >= due)
    }

    /// Whether a token that is called dead now will be replaced: joins an attempt on its way, or may start one.
    fn replaces(&self, now: Moment) -> bool {
        self.in_flight || self.replacing || self.replaceable.is_none_or(|from| now >= from)
    }

    fn error(&self, failure: &Arc<Failure>, now: Moment) -> Error {
        let wait = self.due.map_or(Duration::ZERO, |due| due.since(now));
        // Whole seconds, rounded up: who comes back then finds that attempt made.
        let retry_after = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let (failure, retry_after) = (Arc::clone(failure), retry_after.max(1));
        match failure.kind {
            Kind::Rejected => Error::Rejected { failure, retry_after },
            Kind::Unavailable => Error::Unavailable { failure, retry_after },
            Kind::Unready => Error::Unready { failure, retry_after },
        }
    }

    fn word(&self, now: Moment) -> TokenState {
        match (&self.token, &self.failure) {
            (Some(token), _) if now < token.expires() => TokenState::Valid,
            (Some(_), _) => TokenState::Expired,
            (None, Some(_)) => TokenState::Failed,
            (None, None) if self.in_flight => TokenState::Pending,
            (None, None) => TokenState::None,
        }
    }
}

impl Asks {
    fn want(&self, attempt: u64) {
        self.wanted.fetch_max(attempt, Ordering::AcqRel);
        self.bell.notify_one();
    }

    fn demand(&self, attempt: u64) {
        self.demanded.fetch_max(attempt, Ordering::AcqRel);
        self.bell.notify_one();
    }
}

const BETWEEN_DEMANDS: Duration = Duration::from_secs(1);
