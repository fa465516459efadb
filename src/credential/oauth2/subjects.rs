//! The tokens of an entry whose requests say on whose behalf they are made: one for each subject.
//!
//! ```text
//!  worker: its own map ──found, alive──► Slot of the subject ◄── its loop, on demand ──► token endpoint
//!             │ not found                     ▲
//!             └──► the keeper (background) ───┘  makes it, bounds how many there are, lets go of what nobody uses
//! ```
//!
//! Each subject has a slot and a refresher like any entry, so that one that is refused costs the others nothing. Their
//! token requests stand in line (`request_limiter`), so that a crowd of new ones is no flood. And nothing is fetched before
//! a request asks, nor ahead, nor again: there may be ten thousand, and most never come back. Only the keeper holds slots;
//! the workers' maps know them weakly, so what it lets go of is gone, the subject's token too.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, timeout};

use super::answer;
use super::counts::Counts;
use super::dpop::{ProofKey, token_type};
use super::failure::{FailureKind, TokenFailure};
use super::policy::RefreshPolicies;
use super::refresh;
use super::request::TokenRequest;
use super::request_limiter::{RequestLimiter, SharedPlaces};
use super::slot::Slot;
use super::source::{Beginning, TokenSource};
use super::state::{TokenState, TokenStatus};
use super::subject_tokens::Subject;
use crate::clock::Moment;
use crate::credential::Error;
use crate::locked::locked;
use crate::secret::Secret;
use crate::telemetry::metrics::TokenNumbers;

/// The tokens of one entry, by subject.
pub(crate) struct Subjects {
    asks: mpsc::UnboundedSender<Ask>,
    /// Until the keeper takes it.
    inbox: Mutex<Option<mpsc::UnboundedReceiver<Ask>>>,
    common: SubjectsShared,
}

/// What the slots of all subjects have together.
#[derive(Clone)]
struct SubjectsShared {
    request: Arc<TokenRequest>,
    certificate: Option<[u8; 32]>,
    policies: Arc<RefreshPolicies>,
    limiter: Arc<RequestLimiter>,
    counts: Arc<Counts>,
}

/// A worker that does not know the slot of a subject.
struct Ask {
    subject: Subject,
    answer: oneshot::Sender<Arc<Slot>>,
}

impl Subjects {
    /// Their token requests wait for each other, and for places among those that all such entries share.
    pub(super) fn new(request: TokenRequest, certificate: Option<[u8; 32]>, places: &SharedPlaces) -> Self {
        let (asks, inbox) = mpsc::unbounded_channel();
        let common = SubjectsShared {
            request: Arc::new(request),
            certificate,
            policies: Arc::default(),
            limiter: Arc::new(RequestLimiter::new(places)),
            counts: Arc::default(),
        };
        Self { asks, inbox: Mutex::new(Some(inbox)), common }
    }

    pub(super) fn policies(&self) -> &RefreshPolicies {
        &self.common.policies
    }

    /// The key that the tokens of all subjects are bound to (DPoP).
    pub(super) fn proof_key(&self) -> Option<&Arc<ProofKey>> {
        self.common.request.proof_key()
    }

    /// The slot of this subject, from the keeper.
    ///
    /// # Errors
    /// When the keeper is gone, or takes as long as a token request may.
    pub(super) async fn slot(&self, subject: &Subject) -> Result<Arc<Slot>, Error> {
        let (answer, slot) = oneshot::channel();
        // Not sent: the receiver ends at once, as it does when the keeper ends with the question in its inbox.
        self.asks.send(Ask { subject: subject.clone(), answer }).ok();
        let limit = self.common.policies.longest_wait();
        match timeout(limit, slot).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) => Err(self.unavailable("is asked no more".to_owned(), "the process is ending")),
            Err(_) => {
                let what = format!("was not asked for a token within {limit:?}: the background is stuck");
                Err(self.unavailable(what, "its log may say why"))
            }
        }
    }

    fn unavailable(&self, what: String, help: &'static str) -> Error {
        let endpoint = self.common.request.host().to_owned();
        let failure =
            TokenFailure { kind: FailureKind::Unavailable, endpoint, what, help: help.into(), retry_after: None };
        Error::Unavailable { failure: Arc::new(failure), retry_after: 1 }
    }

    /// Keeps the slots; ends when the last snapshot that holds this is gone. Runs on the background, once.
    pub(crate) fn keep(&self) -> impl Future<Output = ()> + use<> {
        let inbox = locked(&self.inbox).take();
        let mut keeper = Keeper { common: self.common.clone(), slots: HashMap::new() };
        async move {
            if let Some(inbox) = inbox {
                keeper.run(inbox).await;
            }
        }
    }

    /// Who counts the token requests: every service of the snapshot that shares this. Set at publication.
    pub(crate) fn count_for(&self, services: Vec<Arc<TokenNumbers>>) {
        self.common.counts.count_for(services);
    }

    /// How they are together: `valid` while any may be, the counts of all, the last failure.
    pub(crate) fn status(&self) -> TokenStatus {
        let sums = self.common.counts.sums();
        let state = match (sums.expires, &sums.failure) {
            (Some(expires), _) if Moment::now() < expires => TokenState::Valid,
            (Some(_), _) => TokenState::Expired,
            (None, Some(_)) => TokenState::Failed,
            (None, None) => TokenState::None,
        };
        TokenStatus {
            state,
            token_type: sums.expires.map(|_| token_type(self.proof_key()).to_owned()),
            expires_at: sums.expires.map(Moment::wall),
            lifetime: None,
            refreshed_at: sums.refreshed_at,
            requests: sums.requests,
            failures: sums.failures,
            last_error: sums.failure.as_ref().map(ToString::to_string),
        }
    }
}

impl fmt::Debug for Subjects {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Subjects").field("endpoint", &self.common.request.host()).finish_non_exhaustive()
    }
}

/// Holds the slots.
struct Keeper {
    common: SubjectsShared,
    slots: HashMap<[u8; 32], Arc<Slot>>,
}

impl Keeper {
    async fn run(&mut self, mut inbox: mpsc::UnboundedReceiver<Ask>) {
        let mut sweep = tokio::time::interval(BETWEEN_SWEEPS);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                ask = inbox.recv() => match ask {
                    // Whoever asked may have left.
                    Some(ask) => drop(ask.answer.send(self.slot(ask.subject))),
                    None => return,
                },
                _ = sweep.tick() => self.sweep(Moment::now()),
            }
        }
    }

    fn slot(&mut self, subject: Subject) -> Arc<Slot> {
        if let Some(slot) = self.slots.get(&subject.key) {
            return Arc::clone(slot);
        }
        if self.slots.len() >= MOST {
            self.make_room(Moment::now());
        }
        let SubjectsShared { request, certificate, policies, limiter, counts } = self.common.clone();
        let source = OnBehalf::new(request, subject.token);
        let slot = Arc::new(Slot::of_subject(Arc::new(source), certificate, policies, limiter, counts));
        tokio::task::spawn_local(refresh::run(Arc::downgrade(&slot)));
        self.slots.insert(subject.key, Arc::clone(&slot));
        slot
    }

    /// Lets go of what no request would find anything in.
    fn sweep(&mut self, now: Moment) {
        // A request that has just got its slot holds it too.
        self.slots.retain(|_, slot| slot.is_of_use(now) || Arc::strong_count(slot) > 1);
    }

    /// Lets go of what is of no use, else of those that were not used since this was last needed, else of any.
    fn make_room(&mut self, now: Moment) {
        self.sweep(now);
        let wanted = MOST - MOST / 20;
        let mut excess = self.slots.len().saturating_sub(wanted);
        for only_idle in [true, false] {
            self.slots.retain(|_, slot| {
                let goes = excess > 0 && !(only_idle && slot.was_used());
                excess -= usize::from(goes);
                !goes
            });
        }
    }
}

/// The token endpoint, asked on behalf of one subject.
struct OnBehalf {
    request: Arc<TokenRequest>,
    subject: Secret,
    ends: Option<Moment>,
}

impl OnBehalf {
    fn new(request: Arc<TokenRequest>, subject: Secret) -> Self {
        let left = answer::time_left(subject.expose(), SystemTime::now());
        Self { request, ends: left.map(|left| Moment::now() + left), subject }
    }
}

impl TokenSource for OnBehalf {
    fn begin(&self) -> Beginning<'_> {
        Box::pin(self.request.begin(Some(&self.subject)))
    }

    fn host(&self) -> &str {
        self.request.host()
    }

    fn client_id(&self) -> Option<&str> {
        self.request.client_id()
    }

    fn is_on_demand(&self) -> bool {
        true
    }

    fn ends(&self) -> Option<Moment> {
        self.ends
    }

    fn proof_key(&self) -> Option<&Arc<ProofKey>> {
        self.request.proof_key()
    }
}

/// Subjects of one entry.
const MOST: usize = 10_000;
const BETWEEN_SWEEPS: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::tests::credential;
    use crate::credential::{Credential, Slots};

    const METHOD: &str = "auth: { type: oauth2_token_exchange, token_url: 'http://127.0.0.1:1/', client_id: me, \
                          subject_token: { from_header: x-user } }";

    fn keeper(credential: &Credential) -> Keeper {
        let common = credential.subjects().next().expect("subjects").common.clone();
        Keeper { common, slots: HashMap::new() }
    }

    fn subject(number: usize) -> Subject {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        Subject { key, token: Secret::new(format!("token-{number}")) }
    }

    #[tokio::test(flavor = "local")]
    async fn a_subject_has_one_slot_and_there_are_ten_thousand_at_most() {
        let credential = credential(METHOD, &Slots::default());
        let mut keeper = keeper(&credential);
        let first = keeper.slot(subject(0));
        assert!(Arc::ptr_eq(&first, &keeper.slot(subject(0))));

        // Held, as by a request that waits: else the next sweep would let go of what has no token.
        let held: Vec<_> = (0..MOST).map(|number| keeper.slot(subject(number))).collect();
        assert!(held.iter().all(|slot| slot.was_used()), "new is used");
        first.touch();
        let last = keeper.slot(subject(MOST));

        assert_eq!(keeper.slots.len(), MOST - MOST / 20 + 1);
        assert!(Arc::ptr_eq(&first, &keeper.slot(subject(0))), "it was used");
        assert!(Arc::ptr_eq(&last, &keeper.slot(subject(MOST))));
    }

    #[tokio::test(flavor = "local")]
    async fn what_nobody_uses_is_let_go_of() {
        let credential = credential(METHOD, &Slots::default());
        let mut keeper = keeper(&credential);
        let held = keeper.slot(subject(0));
        let idle = Arc::downgrade(&keeper.slot(subject(1)));

        keeper.sweep(Moment::now());

        assert_eq!((keeper.slots.len(), idle.strong_count()), (1, 0));
        drop(held);
    }

    #[test]
    fn services_that_name_their_subjects_alike_share_their_tokens() {
        let slots = Slots::default();
        let [one, two] = [METHOD, METHOD].map(|method| credential(method, &slots));
        let other = credential(&METHOD.replace("x-user", "x-other"), &slots);

        let of = |credential: &Credential| Arc::clone(credential.subjects().next().expect("subjects"));
        assert!(Arc::ptr_eq(&of(&one), &of(&two)));
        assert!(!Arc::ptr_eq(&of(&one), &of(&other)));
        assert_eq!((one.slots().count(), slots.take_new().len(), slots.take_new_subjects().len()), (0, 0, 2));
        assert_ne!(one.fingerprint(), other.fingerprint());
    }
}
