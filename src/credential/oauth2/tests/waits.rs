//! Nobody waits for ever, and nobody's news is forgotten: whatever becomes of the refresher, and whenever it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::failure::FailureKind;
use super::super::policy::RefreshPolicy;
use super::super::refresh;
use super::super::slot::{Slot, WaitError};
use super::super::source::{Beginning, TokenSource};
use super::{Answer, FakeEndpoint, HOUR, policy_of, slot};
use crate::code::Code;
use crate::credential::Error;
use crate::credential::tests::oauth2;

fn run(slot: &Arc<Slot>) -> JoinHandle<()> {
    tokio::task::spawn_local(refresh::run(Arc::downgrade(slot)))
}

/// A slot whose service waits for next to nothing.
fn hasty_slot(endpoint: &Arc<FakeEndpoint>) -> (Arc<Slot>, Arc<RefreshPolicy>) {
    let source: Arc<dyn TokenSource> = endpoint.clone();
    let slot = Arc::new(Slot::new(source, None, None));
    let mut hasty = oauth2();
    hasty.timeout = Duration::from_millis(1);
    let policy = policy_of(&hasty);
    slot.policies.join(&policy);
    (slot, policy)
}

/// What comes of it, unless it hangs.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(LONG, work).await.expect("it hangs")
}

#[tokio::test(flavor = "local")]
async fn every_wait_has_a_limit_of_its_own_whatever_the_refresher_does() {
    let endpoint = FakeEndpoint::waiting(&[Answer::Token("never", HOUR)]);
    let (slot, _policy) = hasty_slot(&endpoint);
    run(&slot);
    endpoint.until_asked(1).await;

    let (waited, demanded, replaced) = soon(async { tokio::join!(slot.wait(), slot.demand(), slot.replace(0)) }).await;

    let error = waited.expect_err("no token");
    assert_eq!((error.code(), error.retry_after()), (Code::TokenUnavailable, Some(1)));
    let text = "idp.example was asked for a token, and has not answered within 2.001s; it will be asked again";
    assert_eq!(error.to_string(), text);
    assert!(matches!(demanded, Err(WaitError::Failed(Error::Unavailable { .. }))), "{demanded:?}");
    assert!(!replaced);
    assert_eq!(endpoint.asked(), 1);
}

#[tokio::test(flavor = "local")]
async fn who_waits_for_a_refresher_that_ends_is_told_at_once_and_so_is_who_comes_then() {
    let endpoint = FakeEndpoint::waiting(&[Answer::Token("never", HOUR)]);
    let (slot, _policy) = slot(&endpoint);
    let flight = run(&slot);
    endpoint.until_asked(1).await;
    let waiter = {
        let slot = Arc::clone(&slot);
        tokio::task::spawn_local(async move { slot.wait().await.map(drop) })
    };
    tokio::task::yield_now().await;

    flight.abort();

    for error in
        [soon(waiter).await.expect("a waiter").expect_err("no token"), soon(slot.wait()).await.expect_err("none")]
    {
        let text = "idp.example is asked no more; the process is ending, or its log says why";
        assert_eq!((error.code(), error.to_string()), (Code::TokenUnavailable, text.to_owned()));
    }
    assert!(matches!(soon(slot.demand()).await, Err(WaitError::Failed(_))));
    assert!(!soon(slot.replace(0)).await);
}

#[tokio::test(flavor = "local")]
async fn a_change_during_an_attempt_leads_to_another_right_after_it() {
    let endpoint = FakeEndpoint::waiting(&[Answer::Failure(FailureKind::Rejected), Answer::Token("token", HOUR)]);
    let (slot, _policy) = slot(&endpoint);
    run(&slot);
    endpoint.until_asked(1).await;

    slot.try_now();
    endpoint.answer();

    // The back-off after a rejection is ten seconds and more.
    timeout(Duration::from_secs(5), endpoint.until_asked(2)).await.expect("another attempt");
    endpoint.answer();
    soon(slot.ended_after(1)).await;
    assert!(slot.is_live());
}

/// Panics where the refresher looks what there is to do.
struct Faulty {
    endpoint: Arc<FakeEndpoint>,
    panics: AtomicUsize,
    left: AtomicUsize,
}

impl TokenSource for Faulty {
    fn begin(&self) -> Beginning<'_> {
        self.endpoint.begin()
    }

    fn host(&self) -> &str {
        self.endpoint.host()
    }

    fn is_on_demand(&self) -> bool {
        let one_less = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if one_less.is_ok() {
            self.panics.fetch_add(1, Ordering::SeqCst);
            panic!("a fault of ours");
        }
        false
    }
}

#[tokio::test(flavor = "local")]
async fn a_refresher_that_panics_in_each_turn_rests_in_between() {
    let endpoint = FakeEndpoint::answering(&[Answer::Token("token", HOUR)]);
    // So many that a busy loop comes to its end, and too many for one that rests.
    let (panics, left) = (AtomicUsize::new(0), AtomicUsize::new(100));
    let source = Arc::new(Faulty { endpoint: Arc::clone(&endpoint), panics, left });
    let slot = Arc::new(Slot::new(source.clone(), None, None));
    let policy = policy_of(&oauth2());
    slot.policies.join(&policy);

    run(&slot);
    soon(slot.first_attempt()).await;

    assert_eq!(source.panics.load(Ordering::SeqCst), 1);
    assert_eq!(slot.status().failures, 1);
    source.left.store(0, Ordering::SeqCst);
    slot.try_now();
    soon(slot.ended_after(1)).await;
    assert!(slot.is_live(), "it goes on");
}

const LONG: Duration = Duration::from_secs(30);
