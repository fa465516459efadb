//! The loop and its slot: who waits, who shares, what is served meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::super::failure::FailureKind;
use super::super::refresh;
use super::super::slot::{Slot, WaitError};
use super::super::state::TokenState;
use super::{Answer, FakeEndpoint, HOUR, slot};
use crate::clock::Moment;
use crate::code::Code;
use crate::credential::Error;

/// Runs the slot's loop beside the test.
fn run(slot: &Arc<Slot>) -> JoinHandle<()> {
    tokio::task::spawn_local(refresh::run(Arc::downgrade(slot)))
}

/// What a request gets: the token, or the error.
async fn request(slot: Arc<Slot>) -> Result<String, Error> {
    let name = |token: &str| token.to_owned();
    match slot.load(Moment::now(), |token| name(token.access_token.expose())) {
        Some(token) => Ok(token),
        None => slot.wait().await.map(|token| name(token.access_token.expose())),
    }
}

fn waiting(slot: &Arc<Slot>) -> JoinHandle<Result<String, Error>> {
    tokio::task::spawn_local(request(Arc::clone(slot)))
}

fn generation(slot: &Slot) -> u64 {
    slot.load(Moment::now(), |token| token.generation).expect("a live token")
}

#[tokio::test(flavor = "local")]
async fn the_first_token_is_fetched_before_anybody_asks() {
    let endpoint = FakeEndpoint::answering(&[Answer::Token("first", HOUR)]);
    let (slot, _policy) = slot(&endpoint);
    assert_eq!(slot.status().state, TokenState::None);

    run(&slot);
    slot.first_attempt().await;

    assert!(slot.is_live());
    assert_eq!(request(slot).await.expect("a token"), "first");
    assert_eq!(endpoint.asked(), 1);
}

#[tokio::test(flavor = "local")]
async fn requests_that_wait_share_a_failure_and_later_ones_fail_at_once() {
    let endpoint = FakeEndpoint::waiting(&[Answer::Failure(FailureKind::Unavailable)]);
    let (slot, _policy) = slot(&endpoint);
    run(&slot);
    endpoint.until_asked(1).await;
    assert_eq!(slot.status().state, TokenState::Pending);

    let waiters: Vec<_> = (0..10).map(|_| waiting(&slot)).collect();
    tokio::task::yield_now().await;
    endpoint.answer();

    for waiter in waiters {
        let error = waiter.await.expect("a waiter").expect_err("no token");
        assert_eq!(
            (error.code(), error.to_string()),
            (Code::TokenUnavailable, "idp.example answered 503; wait".into())
        );
    }
    let error = request(Arc::clone(&slot)).await.expect_err("no token");
    assert!((1..=2).contains(&error.retry_after().expect("a time")), "{error:?}");
    assert_eq!(endpoint.asked(), 1);
    assert_eq!(slot.status().state, TokenState::Failed);
}

#[tokio::test(flavor = "local")]
async fn a_panic_ends_the_attempt_for_all_that_wait_and_the_next_one_is_made() {
    let endpoint = FakeEndpoint::waiting(&[Answer::Panic, Answer::Token("second", HOUR)]);
    let (slot, _policy) = slot(&endpoint);
    run(&slot);
    endpoint.until_asked(1).await;
    let waiters: Vec<_> = (0..10).map(|_| waiting(&slot)).collect();
    tokio::task::yield_now().await;

    endpoint.answer();

    for waiter in waiters {
        let error = waiter.await.expect("a waiter").expect_err("no token");
        let text = "idp.example was not asked, by a fault of Sidekey's own; its log has the place";
        assert_eq!((error.code(), error.to_string()), (Code::TokenUnavailable, text.into()));
    }
    assert_eq!(slot.status().state, TokenState::Failed);
    slot.try_now();
    endpoint.until_asked(2).await;
    endpoint.answer();
    slot.ended_after(1).await;
    assert_eq!(request(slot).await.expect("a token"), "second");
}

#[tokio::test(flavor = "local")]
async fn a_rejection_says_to_come_back_in_ten_seconds_or_more() {
    let endpoint = FakeEndpoint::answering(&[Answer::Failure(FailureKind::Rejected)]);
    let (slot, _policy) = slot(&endpoint);
    run(&slot);
    slot.first_attempt().await;

    let error = request(slot).await.expect_err("no token");

    assert_eq!(error.code(), Code::TokenRejected);
    assert!(error.retry_after().expect("a time") >= 10, "{error:?}");
}

#[tokio::test(flavor = "local")]
async fn a_changed_config_cuts_the_back_off_short() {
    let endpoint = FakeEndpoint::answering(&[Answer::Failure(FailureKind::Rejected), Answer::Token("token", HOUR)]);
    let (slot, _policy) = slot(&endpoint);
    run(&slot);
    slot.first_attempt().await;

    slot.try_now();
    slot.first_attempt().await;

    // The attempts lie a second apart all the same.
    assert!(slot.is_live());
    let status = slot.status();
    assert_eq!((status.requests, status.failures, status.last_error), (2, 1, None));
}

#[tokio::test(flavor = "local")]
async fn a_demand_is_met_at_once_whatever_the_back_off() {
    let endpoint = FakeEndpoint::answering(&[Answer::Failure(FailureKind::Rejected), Answer::Token("token", HOUR)]);
    let (slot, _policy) = slot(&endpoint);
    run(&slot);
    slot.first_attempt().await;
    let before = Moment::now();

    slot.demand().await.expect("a token");

    assert!(Moment::now().since(before) < Duration::from_millis(900), "attempts lie a second apart else");
    assert_eq!(request(slot).await.expect("a token"), "token");
}

#[tokio::test(flavor = "local")]
async fn a_demand_joins_the_attempt_in_flight_and_a_failure_leaves_the_token() {
    let endpoint = FakeEndpoint::waiting(&[Answer::Token("old", HOUR), Answer::Failure(FailureKind::Unavailable)]);
    let (slot, _policy) = slot(&endpoint);
    run(&slot);
    endpoint.until_asked(1).await;
    let first = demanding(&slot);
    tokio::task::yield_now().await;
    endpoint.answer();
    first.await.expect("a demand").expect("the token in flight");
    assert!(matches!(slot.may_demand(), Err(WaitError::TooSoon)));
    assert_eq!(endpoint.asked(), 1);

    let second = demanding(&slot);
    endpoint.until_asked(2).await;
    endpoint.answer();

    let failed = second.await.expect("a demand").expect_err("a failure");
    assert_eq!(failed.to_string(), "idp.example answered 503; wait");
    assert_eq!(request(slot).await.expect("the old token"), "old");
}

#[tokio::test(flavor = "local")]
async fn a_token_that_lives_for_nothing_serves_those_who_waited_and_nobody_else() {
    let endpoint = FakeEndpoint::waiting(&[Answer::Token("once", Duration::ZERO), Answer::Token("again", HOUR)]);
    let (slot, _policy) = slot(&endpoint);
    run(&slot);
    let waited = waiting(&slot);
    endpoint.until_asked(1).await;
    endpoint.answer();
    assert_eq!(waited.await.expect("a waiter").expect("a token"), "once");
    assert_eq!(slot.status().state, TokenState::Expired);

    let late = waiting(&slot);
    endpoint.until_asked(2).await;
    endpoint.answer();

    assert_eq!(late.await.expect("a waiter").expect("a token"), "again");
}

#[tokio::test(flavor = "local")]
async fn a_token_that_does_not_say_how_long_it_lives_gets_the_default() {
    let endpoint = FakeEndpoint::answering(&[Answer::Timeless("token")]);
    let (slot, _policy) = slot(&endpoint);
    run(&slot);
    let before = Moment::now();
    slot.first_attempt().await;

    let life = slot.expires().expect("a token").since(before);

    assert!(life >= Duration::from_secs(300) && life < Duration::from_secs(310), "{life:?}");
}

#[tokio::test(flavor = "local")]
async fn the_old_token_serves_while_a_refresh_fails() {
    let endpoint = FakeEndpoint::waiting(&[
        // Half of its life, the most that is kept in reserve, is over after 2 s.
        Answer::Token("old", Duration::from_secs(4)),
        Answer::Failure(FailureKind::Unavailable),
    ]);
    let (slot, policy) = slot(&endpoint);
    let mut careful = crate::credential::tests::oauth2();
    careful.refresh_ahead = crate::config::auth::oauth2::RefreshAhead::Fixed(HOUR);
    let careful = super::policy_of(&careful);
    slot.policies.join(&careful);
    run(&slot);
    endpoint.answer();
    endpoint.until_asked(2).await;
    endpoint.answer();
    slot.ended_after(1).await;

    assert_eq!(request(Arc::clone(&slot)).await.expect("the old token"), "old");
    let status = slot.status();
    assert_eq!((status.state, status.failures), (TokenState::Valid, 1));
    assert_eq!(status.last_error.as_deref(), Some("idp.example answered 503; wait"));
    drop(policy);
}

#[tokio::test(flavor = "local")]
async fn a_burst_of_refusals_brings_one_replacement_while_others_use_the_old_token() {
    let endpoint = FakeEndpoint::waiting(&[Answer::Token("dead", HOUR), Answer::Token("new", HOUR)]);
    let (slot, _policy) = slot(&endpoint);
    run(&slot);
    endpoint.answer();
    slot.first_attempt().await;
    let dead = generation(&slot);

    let refused: Vec<_> = (0..50).map(|_| replacing(&slot, dead)).collect();
    endpoint.until_asked(2).await;
    assert_eq!(request(Arc::clone(&slot)).await.expect("the old token"), "dead");
    let late = replacing(&slot, dead);
    tokio::task::yield_now().await;
    endpoint.answer();

    for refused in refused.into_iter().chain([late]) {
        assert!(refused.await.expect("a request"));
    }
    assert!(slot.replace(dead).await, "another is there: nothing is fetched");
    assert!(!slot.replace(generation(&slot)).await, "the limit is one in ten seconds");
    assert_eq!(endpoint.asked(), 2);
}

#[tokio::test(flavor = "local")]
async fn a_replacement_that_fails_or_brings_the_same_token_is_none() {
    for answer in [Answer::Failure(FailureKind::Unavailable), Answer::Token("dead", HOUR)] {
        let endpoint = FakeEndpoint::answering(&[Answer::Token("dead", HOUR), answer]);
        let (slot, _policy) = slot(&endpoint);
        run(&slot);
        slot.first_attempt().await;
        let dead = generation(&slot);

        assert!(!slot.replace(dead).await);
        assert!(!slot.replace(dead).await, "the limit is one in ten seconds");
        assert_eq!(request(Arc::clone(&slot)).await.expect("the old token"), "dead");
        assert_eq!(endpoint.asked(), 2);
    }
}

#[tokio::test(flavor = "local")]
async fn a_refusal_replaces_the_token_even_if_nobody_waits_for_it() {
    let endpoint = FakeEndpoint::answering(&[Answer::Token("dead", HOUR), Answer::Token("new", HOUR)]);
    let (slot, _policy) = slot(&endpoint);
    run(&slot);
    slot.first_attempt().await;

    slot.reject(generation(&slot) - 1);
    slot.reject(generation(&slot));
    slot.ended_after(1).await;

    assert_eq!(request(slot).await.expect("a token"), "new");
    assert_eq!(endpoint.asked(), 2);
}

#[tokio::test(flavor = "local")]
async fn the_loop_ends_with_its_slot_even_in_mid_flight() {
    let endpoint = FakeEndpoint::waiting(&[Answer::Token("never", HOUR)]);
    let (flying, _policy) = slot(&endpoint);
    let flight = run(&flying);
    endpoint.until_asked(1).await;
    let idle_endpoint = FakeEndpoint::answering(&[Answer::Token("token", HOUR)]);
    let (idle, _policy) = slot(&idle_endpoint);
    let sleep = run(&idle);
    idle.first_attempt().await;

    drop((flying, idle));

    flight.await.expect("ended in mid-flight");
    sleep.await.expect("ended in its sleep");
}

/// Demands a token as soon as that is allowed.
fn demanding(slot: &Arc<Slot>) -> JoinHandle<Result<(), WaitError>> {
    let slot = Arc::clone(slot);
    tokio::task::spawn_local(async move {
        while let Err(WaitError::TooSoon) = slot.may_demand() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        slot.demand().await
    })
}

fn replacing(slot: &Arc<Slot>, generation: u64) -> JoinHandle<bool> {
    let slot = Arc::clone(slot);
    tokio::task::spawn_local(async move { slot.replace(generation).await })
}
