//! What the OAuth 2.0 methods promise, without a network.

mod advice;
mod answers;
mod assertions;
mod demands;
mod dpop;
mod exchanges;
mod leases;
mod refreshes;
mod refusals;
mod sharing;
mod stampede;
mod waits;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use super::answer::{Granted, Oddities};
use super::failure::{FailureKind, TokenFailure};
use super::policy::{RefreshPolicy, Told};
use super::slot::Slot;
use super::source::{Beginning, TokenSource, at_once};
use crate::clock::Moment;
use crate::config::auth::OAuth2;
use crate::credential::tests::oauth2;
use crate::name::ServiceName;
use crate::secret::Secret;

/// A token endpoint that answers what the test says, when the test says so.
pub(super) struct FakeEndpoint {
    answers: Mutex<Vec<Answer>>,
    /// Requests that came so far.
    asked: AtomicU64,
    came: Notify,
    go: Notify,
    waits: bool,
}

/// What the endpoint answers.
#[derive(Clone)]
pub(super) enum Answer {
    Token(&'static str, Duration),
    /// The token's name, with no word of its life.
    Timeless(&'static str),
    Failure(FailureKind),
    /// None: a fault of ours.
    Panic,
}

impl FakeEndpoint {
    /// Answers at once, the last answer for ever.
    pub(super) fn answering(answers: &[Answer]) -> Arc<Self> {
        Self::new(answers, false)
    }

    /// Answers when [`FakeEndpoint::answer`] is called.
    pub(super) fn waiting(answers: &[Answer]) -> Arc<Self> {
        Self::new(answers, true)
    }

    fn new(answers: &[Answer], waits: bool) -> Arc<Self> {
        let answers = Mutex::new(answers.iter().rev().cloned().collect());
        Arc::new(Self { answers, asked: AtomicU64::new(0), came: Notify::new(), go: Notify::new(), waits })
    }

    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// Lets the request in flight, or the next one, be answered.
    pub(super) fn answer(&self) {
        self.go.notify_one();
    }

    /// Resolves once `count` requests came.
    pub(super) async fn until_asked(&self, count: u64) {
        while self.asked() < count {
            self.came.notified().await;
        }
    }

    async fn respond(&self) -> Result<Granted, TokenFailure> {
        let sent = Moment::now();
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.came.notify_one();
        if self.waits {
            self.go.notified().await;
        }
        let answer = {
            let mut answers = self.answers.lock().expect("the answers");
            if answers.len() > 1 { answers.pop() } else { answers.last().cloned() }
        };
        match answer.expect("an answer") {
            Answer::Token(token, life) => Ok(granted(token, sent, Some(life))),
            Answer::Timeless(token) => Ok(granted(token, sent, None)),
            Answer::Failure(kind) => Err(failure(kind)),
            Answer::Panic => panic!("a fault of ours"),
        }
    }
}

impl TokenSource for FakeEndpoint {
    fn begin(&self) -> Beginning<'_> {
        at_once(|_| Box::pin(self.respond()))
    }

    fn host(&self) -> &str {
        "idp.example"
    }
}

fn granted(token: &str, sent: Moment, life: Option<Duration>) -> Granted {
    let access_token = Secret::new(token.to_owned());
    Granted { access_token, sent, life, scope: None, oddities: Oddities::default() }
}

fn failure(kind: FailureKind) -> TokenFailure {
    let (endpoint, what) = ("idp.example".to_owned(), "answered 503".to_owned());
    TokenFailure { kind, endpoint, what, help: "wait".into(), retry_after: None }
}

/// The policy of the service `api`.
pub(super) fn policy_of(written: &OAuth2) -> Arc<RefreshPolicy> {
    let told = Told::nothing(ServiceName::parse("api").expect("a name"));
    Arc::new(RefreshPolicy::of(written, Arc::new(told)))
}

/// A slot of this endpoint, with the policy that it goes by.
pub(super) fn slot(endpoint: &Arc<FakeEndpoint>) -> (Arc<Slot>, Arc<RefreshPolicy>) {
    let endpoint: Arc<dyn TokenSource> = endpoint.clone();
    let slot = Arc::new(Slot::new(endpoint, None, None));
    let policy = policy_of(&oauth2());
    slot.policies.join(&policy);
    (slot, policy)
}

const HOUR: Duration = Duration::from_secs(3600);
