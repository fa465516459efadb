//! Many requests at once, on several threads.

use std::pin::Pin;
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, LocalRuntime};

use super::super::refresh;
use super::super::slot::Slot;
use super::{Answer, FakeEndpoint, HOUR, slot};
use crate::clock::Moment;

/// What each request does; says whether it was served.
type Request = fn(Arc<Slot>) -> Pin<Box<dyn Future<Output = bool>>>;

fn runtime() -> LocalRuntime {
    Builder::new_current_thread().enable_all().build_local(Default::default()).expect("a runtime")
}

/// Makes [`REQUESTS`] requests on a thread of its own, and says how many were served.
fn crowd(slot: &Arc<Slot>, start: &Arc<Barrier>, request: Request) -> JoinHandle<usize> {
    let (slot, start) = (Arc::clone(slot), Arc::clone(start));
    thread::spawn(move || {
        runtime().block_on(async {
            start.wait();
            let requests: Vec<_> =
                (0..REQUESTS).map(|_| tokio::task::spawn_local(request(Arc::clone(&slot)))).collect();
            let mut served = 0;
            for request in requests {
                served += usize::from(request.await.expect("a request"));
            }
            served
        })
    })
}

fn refresher(slot: &Arc<Slot>, start: &Arc<Barrier>) -> JoinHandle<()> {
    let (slot, start) = (Arc::downgrade(slot), Arc::clone(start));
    thread::spawn(move || {
        start.wait();
        runtime().block_on(refresh::run(slot));
    })
}

#[test]
fn a_thousand_cold_requests_on_two_threads_are_served_by_one_token_request() {
    for round in 0..ROUNDS {
        let endpoint = FakeEndpoint::answering(&[Answer::Token("token", HOUR)]);
        let (slot, _policy) = slot(&endpoint);
        let start = Arc::new(Barrier::new(3));

        let refresher = refresher(&slot, &start);
        let wait: Request = |slot| Box::pin(async move { slot.wait().await.is_ok() });
        let served: usize =
            [(); 2].map(|()| crowd(&slot, &start, wait)).map(|crowd| crowd.join().expect("served")).iter().sum();

        assert_eq!((served, endpoint.asked()), (2 * REQUESTS, 1), "round {round}");
        drop(slot);
        refresher.join().expect("the loop ends with its slot");
    }
}

#[test]
fn a_thousand_refusals_on_two_threads_bring_one_replacement() {
    let endpoint = FakeEndpoint::answering(&[Answer::Token("dead", HOUR), Answer::Token("new", HOUR)]);
    let (slot, _policy) = slot(&endpoint);
    let alone = Arc::new(Barrier::new(1));
    let refresher = refresher(&slot, &alone);
    runtime().block_on(slot.first_attempt());

    let start = Arc::new(Barrier::new(2));
    let replace: Request = |slot| {
        let dead = slot.load(Moment::now(), |token| token.generation).expect("a live token");
        Box::pin(async move { slot.replace(dead).await })
    };
    let served: usize =
        [(); 2].map(|()| crowd(&slot, &start, replace)).map(|crowd| crowd.join().expect("served")).iter().sum();

    assert_eq!((served, endpoint.asked()), (2 * REQUESTS, 2));
    drop(slot);
    refresher.join().expect("the loop ends with its slot");
}

/// Of each of the two threads.
const REQUESTS: usize = 500;
const ROUNDS: usize = 100;
