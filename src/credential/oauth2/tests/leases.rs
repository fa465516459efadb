//! Entries that use one refresh token: the wait for it is no part of a request, and nothing is spent before it is had.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::super::policy::RefreshPolicy;
use super::super::refresh;
use super::super::slot::Slot;
use super::super::source::{Beginning, Begun, Holdup, TokenSource};
use super::{Answer, FakeEndpoint, HOUR, policy_of};
use crate::credential::tests::oauth2;

/// The endpoint as it is seen by one of those who share a refresh token.
struct Sharing {
    endpoint: Arc<FakeEndpoint>,
    /// Nobody else asks with it.
    free: Semaphore,
    waits: AtomicU64,
}

impl TokenSource for Sharing {
    fn begin(&self) -> Beginning<'_> {
        Box::pin(async move {
            self.waits.fetch_add(1, Ordering::SeqCst);
            let free = self.free.acquire().await.expect("a refresh token");
            let begun: Begun<'_> = Box::new(move |_| {
                Box::pin(async move {
                    let _ours = free;
                    self.endpoint.respond().await
                })
            });
            begun
        })
    }

    fn host(&self) -> &str {
        self.endpoint.host()
    }

    fn is_heard_out(&self) -> bool {
        true
    }

    fn holdup(&self) -> Option<Holdup> {
        (self.free.available_permits() == 0).then_some(Holdup::OtherRequest)
    }
}

/// A slot whose refresh token is in another's hands.
fn sharing(timeout: Duration) -> (Arc<Sharing>, Arc<Slot>, Arc<RefreshPolicy>) {
    let endpoint = FakeEndpoint::answering(&[Answer::Token("token", HOUR)]);
    let source = Arc::new(Sharing { endpoint, free: Semaphore::new(0), waits: AtomicU64::new(0) });
    let slot = Arc::new(Slot::new(source.clone(), None, None));
    let mut method = oauth2();
    method.timeout = timeout;
    let policy = policy_of(&method);
    slot.policies.join(&policy);
    (source, slot, policy)
}

async fn until_it_waits(source: &Sharing) {
    while source.waits.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "local")]
async fn who_waits_for_anothers_request_is_told_so_and_not_that_the_endpoint_is_silent() {
    let (source, slot, _policy) = sharing(Duration::from_millis(1));
    tokio::task::spawn_local(refresh::run(Arc::downgrade(&slot)));
    until_it_waits(&source).await;
    assert!(!slot.state().in_flight);

    let error = timeout(LONG, slot.wait()).await.expect("it hangs").expect_err("no token");

    let text = "idp.example was not asked for a token within 2.001s: another request with the same refresh token is under \
                way; it is asked once that one has ended; ask for an endpoint that answers sooner";
    assert_eq!(error.to_string(), text);
    source.free.add_permits(1);
    timeout(LONG, slot.first_attempt()).await.expect("it hangs");
    assert!(slot.is_live());
}

#[tokio::test(flavor = "local")]
async fn a_slot_that_is_gone_asks_with_nothing_though_its_answer_would_be_heard_out() {
    let (source, slot, _policy) = sharing(LONG);
    let running = tokio::task::spawn_local(refresh::run(Arc::downgrade(&slot)));
    until_it_waits(&source).await;

    drop(slot);

    timeout(LONG, running).await.expect("it waits on").expect("no panic");
    source.free.add_permits(1);
    assert_eq!(source.endpoint.asked(), 0);
}

const LONG: Duration = Duration::from_secs(30);
