//! The protocols over atomics, those of `credential::oauth2` and of a worker's numbers, in every order in which their steps
//! can fall.
//!
//! Their files are compiled here with another `sync` under them: loom's atomics, and a `Notify` and an `ArcSwap` that keep
//! the same promises as those of the program.
#![cfg(test)]
#![allow(dead_code, reason = "what is not modelled is compiled all the same")]

#[path = "../../../src/credential/oauth2/latest.rs"]
mod latest;
#[path = "../../../src/credential/oauth2/signals.rs"]
mod signals;
mod sync;
#[path = "../../../src/telemetry/tally.rs"]
mod tally;

use std::collections::BTreeMap;

use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;

use latest::Latest;
use signals::RefreshSignals;
use tally::Statuses;

/// Tries every order in which at most three times a thread is interrupted that could go on: what goes wrong in practice goes
/// wrong with two.
fn model(steps: impl Fn() + Sync + Send + 'static) {
    let mut orders = loom::model::Builder::new();
    orders.preemption_bound = Some(3);
    orders.check(steps);
}

/// Every request gets a token: it looks, says what it wants and waits; the refresher sleeps until somebody wants something,
/// and publishes the end of an attempt.
#[test]
fn a_request_that_finds_no_token_is_woken_by_the_attempt_that_it_asked_for() {
    model(|| {
        let (signals, ended) = (Arc::new(RefreshSignals::default()), Arc::new(Latest::new(0_u64)));
        let refresher = {
            let (signals, ended) = (Arc::clone(&signals), Arc::clone(&ended));
            thread::spawn(move || {
                block_on(async {
                    signals.until_wanted(1).await;
                    ended.announce(std::sync::Arc::new(1));
                });
            })
        };

        block_on(async {
            let seen = *ended.load_full();
            let _waiting = signals.waiting();
            signals.want(seen + 1);
            assert_eq!(*ended.until(|ended| *ended > seen).await, 1);
        });
        refresher.join().unwrap();
    });
}

/// Who stood in line for too long is forgotten, and nobody else is: a request that comes as its wish is taken back is seen,
/// or its own wish stands.
#[test]
fn a_wish_is_taken_back_only_if_nobody_waits() {
    model(|| {
        let (signals, ended) = (Arc::new(RefreshSignals::default()), Arc::new(Latest::new(0_u64)));
        // Of a request that has left.
        signals.want(1);
        let refresher = {
            let (signals, ended) = (Arc::clone(&signals), Arc::clone(&ended));
            thread::spawn(move || {
                block_on(async {
                    signals.until_wanted(1).await;
                    if signals.withdraw() {
                        // As the next turn does.
                        signals.until_wanted(1).await;
                    }
                    ended.announce(std::sync::Arc::new(1));
                });
            })
        };

        block_on(async {
            let _waiting = signals.waiting();
            signals.want(1);
            ended.until(|ended| *ended > 0).await;
        });
        refresher.join().unwrap();
    });
}

/// The end of a slot is heard by a refresher that sleeps, whatever else it was woken for.
#[test]
fn a_refresher_hears_that_its_slot_is_gone() {
    model(|| {
        let signals = Arc::new(RefreshSignals::default());
        let worker = {
            let signals = Arc::clone(&signals);
            thread::spawn(move || signals.reject(7))
        };
        let last = {
            let signals = Arc::clone(&signals);
            thread::spawn(move || signals.leave())
        };

        block_on(signals.until_gone());
        worker.join().unwrap();
        last.join().unwrap();
    });
}

/// Two workers and a config that changed leave three signals; the refresher, which takes what it finds at each waking, has
/// all of them in the end, and none twice.
#[test]
fn what_is_taken_is_taken_once_and_nothing_is_overwritten() {
    model(|| {
        let signals = Arc::new(RefreshSignals::default());
        let complaints = [3, 5].map(|generation| {
            let signals = Arc::clone(&signals);
            thread::spawn(move || signals.reject(generation))
        });

        let (mut most, mut taken) = (0, 0);
        block_on(async {
            while most < 5 {
                signals.wake.notified().await;
                let rejected = signals.rejected.swap(0, sync::Ordering::AcqRel);
                most = most.max(rejected);
                taken += u32::from(rejected != 0);
            }
        });
        complaints.into_iter().for_each(|complaint| complaint.join().unwrap());
        assert!((1..=2).contains(&taken), "{taken}");
    });
}

/// Two wait for different ends; both are woken, and neither by the other's.
#[test]
fn all_who_wait_are_woken_by_one_announcement() {
    model(|| {
        let ended = Arc::new(Latest::new(0_u64));
        let waiters = [0, 1].map(|seen| {
            let ended = Arc::clone(&ended);
            thread::spawn(move || block_on(async { assert!(*ended.until(|ended| *ended > seen).await > seen) }))
        });

        ended.announce(std::sync::Arc::new(1));
        ended.announce(std::sync::Arc::new(2));
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
}

/// A scrape reads while a worker counts, with more statuses than one block has places for: it sees no status without a
/// count, no more than was counted, and never less than the scrape before it.
#[test]
fn a_scrape_sees_each_status_with_its_count() {
    const ANSWERS: [u16; 11] = [200, 201, 200, 202, 203, 204, 205, 206, 207, 208, 208];
    model(|| {
        let statuses = Arc::new(Statuses::default());
        let scrapes = {
            let statuses = Arc::clone(&statuses);
            thread::spawn(move || (scrape(&statuses), scrape(&statuses)))
        };
        ANSWERS.iter().for_each(|status| statuses.add(http::StatusCode::from_u16(*status).unwrap()));
        let (first, second) = scrapes.join().unwrap();
        let last = scrape(&statuses);

        for (status, count) in &last {
            let counted = ANSWERS.iter().filter(|answer| *answer == status).count() as u64;
            assert_eq!(*count, counted, "{status}");
        }
        assert_eq!(last.len(), 9);
        for (earlier, later) in [(&first, &second), (&second, &last)] {
            for (status, count) in earlier {
                assert!((1..=later[status]).contains(count), "{status}: {count}, then {later:?}");
            }
        }
    });
}

fn scrape(statuses: &Statuses) -> BTreeMap<u16, u64> {
    let mut seen = BTreeMap::new();
    statuses.for_each(&mut |status, count| assert_eq!(seen.insert(status, count), None));
    seen
}
