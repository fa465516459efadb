//! What is decided for those who wait, moment by moment.

use std::future::pending;

use oneshot::error::TryRecvError;
use tokio::task::spawn_local;

use super::*;

#[tokio::test(flavor = "local")]
async fn one_connection_is_made_at_a_time_until_it_is_known_to_carry_one_request_only() {
    let (mut queue, now) = (Queue::<()>::new(None), Moment::now());
    let _waiting: Vec<_> = (0..100).map(|_| queue.join()).collect();

    assert_eq!(dial_as_wanted(&mut queue, now).len(), 1);
    queue.succeeded(Protocol::Http1, now);

    assert_eq!(dial_as_wanted(&mut queue, now).len(), DIALS - 1);
}

#[tokio::test(flavor = "local")]
async fn no_more_connections_are_made_than_requests_wait() {
    let mut queue = Queue::<()>::new(Some(Protocol::Http1));
    let _waiting: Vec<_> = (0..3).map(|_| queue.join()).collect();

    assert_eq!(dial_as_wanted(&mut queue, Moment::now()).len(), 3);
    assert_eq!(queue.next_dial(Moment::now()), Next::Enough);
}

#[tokio::test(flavor = "local")]
async fn after_a_failure_it_is_one_at_a_time_after_a_pause_until_a_success() {
    let (mut queue, now) = (Queue::<()>::new(Some(Protocol::Http1)), Moment::now());
    let _waiting: Vec<_> = (0..100).map(|_| queue.join()).collect();

    let all_at_once = dial_as_wanted(&mut queue, now);
    all_at_once.iter().for_each(|dial| fail(&mut queue, *dial, Recovery::Handshake, now));
    let _more: Vec<_> = (0..100).map(|_| queue.join()).collect();

    // Sixteen that failed together are one failure.
    let due = paused_until(&queue, now);
    assert!(due.since(now) <= Duration::from_millis(20), "{:?}", due.since(now));
    assert_eq!(dial_as_wanted(&mut queue, due).len(), 1);
    queue.succeeded(Protocol::Http1, due);
    assert_eq!(dial_as_wanted(&mut queue, due).len(), DIALS - 1);
}

#[tokio::test(flavor = "local")]
async fn pauses_grow_to_a_quarter_of_a_second_while_it_goes_on_failing_and_start_over_after_a_success() {
    let (mut queue, mut now) = (Queue::<()>::new(Some(Protocol::Http1)), Moment::now());
    let mut pause = |queue: &mut Queue<()>| {
        let _waiting = queue.join();
        dial_as_wanted(queue, now).into_iter().for_each(|dial| fail(queue, dial, Recovery::Handshake, now));
        let _waiting = queue.join();
        let due = paused_until(queue, now);
        due.since(std::mem::replace(&mut now, due))
    };

    let pauses: Vec<_> = (0..10).map(|_| pause(&mut queue)).collect();
    queue.used_first(Ticket(0), None, Moment::now);
    let after_success = pause(&mut queue);

    assert!(pauses[0] >= Duration::from_millis(10) && pauses[0] <= Duration::from_millis(20), "{pauses:?}");
    assert!(pauses[3] >= Duration::from_millis(80), "{pauses:?}");
    assert_eq!(pauses[9], Duration::from_millis(250));
    assert!(after_success <= Duration::from_millis(20), "{after_success:?}");
}

#[tokio::test(flavor = "local")]
async fn a_service_that_refuses_after_the_handshake_is_back_with_its_first_answer() {
    let (mut queue, now) = (Queue::<()>::new(Some(Protocol::Http1)), Moment::now());
    let began = queue.draw();
    let _waiting: Vec<_> = (0..100).map(|_| queue.join()).collect();

    fail(&mut queue, began, Recovery::Answer, now);
    let due = paused_until(&queue, now);
    dial_as_wanted(&mut queue, due).into_iter().for_each(|dial| queue.dial_ended(dial));
    queue.succeeded(Protocol::Http1, due);

    let longer = paused_until(&queue, due);
    assert!(longer > due);
    let used = queue.draw();
    fail(&mut queue, used, Recovery::Answer, due);
    queue.join();
    assert_eq!(paused_until(&queue, due), longer);
    queue.used_first(Ticket(0), None, Moment::now);
    let _waiting: Vec<_> = (0..100).map(|_| queue.join()).collect();
    assert_eq!(dial_as_wanted(&mut queue, due).len(), DIALS);
}

#[tokio::test(flavor = "local")]
async fn an_attempt_that_hangs_keeps_nobody_from_making_another() {
    let (mut queue, now) = (Queue::<()>::new(None), Moment::now());
    let _waiting: Vec<_> = (0..100).map(|_| queue.join()).collect();

    assert_eq!(dial_as_wanted(&mut queue, now).len(), 1);
    assert_eq!(queue.next_dial(now), Next::At(now + HANGING));
    for second in 1..DIALS {
        let later = now + HANGING * u32::try_from(second).unwrap();
        assert_eq!(dial_as_wanted(&mut queue, later).len(), 1);
    }

    assert_eq!(queue.next_dial(now + HANGING * 100), Next::Enough);
}

#[tokio::test(flavor = "local")]
async fn a_service_that_does_not_say_how_much_it_takes_keeps_nobody_from_another_connection() {
    let (mut queue, now) = (Queue::<()>::new(Some(Protocol::Http2)), Moment::now());
    let _waiting = queue.join();
    let ticket = queue.draw();
    queue.greeting_began(ticket, now);

    assert_eq!(queue.next_dial(now), Next::At(now + HANGING));
    assert_eq!(dial_as_wanted(&mut queue, now + HANGING).len(), 1);
    queue.dial_ended(ticket);
    queue.abort_dials();

    assert_eq!(queue.next_dial(now), Next::Now);
}

#[tokio::test(flavor = "local")]
async fn the_second_failure_in_a_row_is_told_to_all_that_waited_through_it() {
    let (mut queue, now) = (Queue::<()>::new(Some(Protocol::Http1)), Moment::now());
    let mut early: Vec<_> = (0..3).map(|_| queue.join().1).collect();
    fail_one(&mut queue, now);
    assert!(early.remove(0).try_recv().unwrap().is_err());
    let due = paused_until(&queue, now);
    let second = dial_as_wanted(&mut queue, due)[0];
    let mut late = queue.join().1;

    fail(&mut queue, second, Recovery::Handshake, due);

    early.iter_mut().for_each(|waiting| assert!(waiting.try_recv().unwrap().is_err()));
    assert!(matches!(late.try_recv(), Err(TryRecvError::Empty)));
    assert!(paused_until(&queue, due) > due);
}

#[tokio::test(flavor = "local")]
async fn who_left_is_told_nothing() {
    let mut queue = Queue::<()>::new(Some(Protocol::Http1));
    let (first, _) = queue.join();
    let (_, mut second) = queue.join();

    queue.leave(first);
    fail_one(&mut queue, Moment::now());

    assert!(second.try_recv().unwrap().is_err());
    assert!(queue.is_empty());
}

#[tokio::test(flavor = "local")]
async fn a_worker_stands_in_line_and_watches_the_clock_only_as_long_as_somebody_waits() {
    let mut queue = Queue::<()>::new(Some(Protocol::Http1));
    let (ticket, _outcome) = queue.join();
    let (waiter, alarm) = (spawn_local(pending::<()>()), spawn_local(pending::<()>()));
    queue.await_permit(waiter.abort_handle());
    queue.wake_at(Moment::now(), alarm.abort_handle());

    queue.leave(ticket);

    assert!(!queue.awaits_permit());
    assert!(waiter.await.unwrap_err().is_cancelled());
    assert!(alarm.await.unwrap_err().is_cancelled());
}

fn dial_as_wanted(queue: &mut Queue<()>, now: Moment) -> Vec<Ticket> {
    let mut dials = Vec::new();
    while queue.next_dial(now) == Next::Now {
        let ticket = queue.draw();
        queue.dial_began(ticket, now, spawn_local(pending::<()>()).abort_handle());
        dials.push(ticket);
    }
    dials
}

fn fail_one(queue: &mut Queue<()>, now: Moment) {
    let dial = dial_as_wanted(queue, now)[0];
    queue.dials.clear();
    fail(queue, dial, Recovery::Handshake, now);
}

fn fail(queue: &mut Queue<()>, began: Ticket, until: Recovery, now: Moment) {
    queue.dial_ended(began);
    queue.failed(began, &transport::Error::Terminated("gone".to_owned()), until, now);
}

#[track_caller]
fn paused_until(queue: &Queue<()>, now: Moment) -> Moment {
    match queue.next_dial(now) {
        Next::At(due) => due,
        next => panic!("{next:?}"),
    }
}
