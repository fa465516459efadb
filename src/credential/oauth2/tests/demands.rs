//! An entry that is asked only while a request waits: each subject of many.

use std::sync::Arc;
use std::time::Duration;

use super::super::failure::FailureKind;
use super::super::refresh;
use super::super::slot::Slot;
use super::super::source::{Beginning, TokenSource};
use super::{Answer, FakeEndpoint, HOUR, RefreshPolicy, policy_of};
use crate::clock::Moment;
use crate::credential::tests::oauth2;

/// The endpoint as one subject's slot sees it.
struct OnDemand {
    endpoint: Arc<FakeEndpoint>,
    ends: Option<Moment>,
}

impl TokenSource for OnDemand {
    fn begin(&self) -> Beginning<'_> {
        self.endpoint.begin()
    }

    fn host(&self) -> &str {
        self.endpoint.host()
    }

    fn is_on_demand(&self) -> bool {
        true
    }

    fn ends(&self) -> Option<Moment> {
        self.ends
    }
}

/// A slot and its loop.
fn running(endpoint: &Arc<FakeEndpoint>, ends: Option<Moment>) -> (Arc<Slot>, Arc<RefreshPolicy>) {
    let slot = Arc::new(Slot::new(Arc::new(OnDemand { endpoint: Arc::clone(endpoint), ends }), None, None));
    let policy = policy_of(&oauth2());
    slot.policies.join(&policy);
    tokio::task::spawn_local(refresh::run(Arc::downgrade(&slot)));
    (slot, policy)
}

#[tokio::test(flavor = "local")]
async fn nothing_is_fetched_before_a_request_waits_nor_again_for_nobody() {
    let endpoint = FakeEndpoint::answering(&[Answer::Failure(FailureKind::Unavailable), Answer::Token("token", HOUR)]);
    let (slot, _policy) = running(&endpoint, None);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(endpoint.asked(), 0);

    slot.wait().await.expect_err("a failure");
    let error = slot.wait().await.expect_err("the same failure");
    assert_eq!((endpoint.asked(), error.retry_after().is_some()), (1, true));
    // The back-off is one second and a bit: nobody who comes before it is over makes a request.
    let token = loop {
        match slot.wait().await {
            Ok(token) => break token,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };

    assert_eq!((token.access_token.expose(), endpoint.asked()), ("token", 2));
}

#[tokio::test(flavor = "local")]
async fn requests_that_wait_after_the_back_off_share_one_attempt() {
    let endpoint = FakeEndpoint::waiting(&[Answer::Failure(FailureKind::Unavailable), Answer::Token("token", HOUR)]);
    let (slot, _policy) = running(&endpoint, None);
    endpoint.answer();
    slot.wait().await.expect_err("a failure");
    let due = slot.state().due.expect("a time");
    while Moment::now() < due {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let wait = |slot: &Arc<Slot>| {
        let slot = Arc::clone(slot);
        tokio::task::spawn_local(async move { slot.wait().await.is_ok() })
    };
    let first = wait(&slot);
    endpoint.until_asked(2).await;
    let second = wait(&slot);
    tokio::task::yield_now().await;
    endpoint.answer();

    assert!(first.await.expect("a request") && second.await.expect("a request"));
    assert_eq!(endpoint.asked(), 2);
}

#[tokio::test(flavor = "local")]
async fn no_token_outlives_what_it_was_had_for() {
    let endpoint = FakeEndpoint::answering(&[Answer::Timeless("token")]);
    let ends = Moment::now() + Duration::from_secs(60);
    let (slot, _policy) = running(&endpoint, Some(ends));

    slot.wait().await.expect("a token");

    assert_eq!(slot.expires(), Some(ends));
    assert!(slot.is_of_use(Moment::now()) && !slot.is_of_use(ends));
}

#[tokio::test(flavor = "local")]
async fn a_token_that_is_called_dead_is_replaced_for_the_request_that_says_so() {
    let endpoint = FakeEndpoint::answering(&[Answer::Token("dead", HOUR), Answer::Token("new", HOUR)]);
    let (slot, _policy) = running(&endpoint, None);
    let dead = slot.wait().await.expect("a token");

    assert!(slot.replace(dead.generation).await);

    assert_eq!(slot.wait().await.expect("a token").access_token.expose(), "new");
}
