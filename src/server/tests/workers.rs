//! Threads that carry traffic, and what is seen of them when they no longer do.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::{oneshot, watch};
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::{sleep, timeout};

use crate::admin::Liveness;
use crate::config::{Color, ConfigSource, Overrides};
use crate::proxy::{self, Peer};
use crate::reload::{Loaded, Loader};
use crate::server::accept::{Accepted, Carriers, ConnectionLimit, place_for};
use crate::server::background;
use crate::server::pulse::Pulses;
use crate::server::stream::ClientStream;
use crate::server::vital::{Deaths, Vital};
use crate::server::worker::{Phase, RunningWorker};
use crate::snapshot::Published;
use crate::telemetry::metrics::Metrics;

/// Long enough for the slowest machine.
const SOON: Duration = Duration::from_secs(30);

struct Workers {
    all: Vec<RunningWorker>,
    phase: watch::Sender<Phase>,
    vital: Vital,
    deaths: Deaths,
}

fn start(count: usize) -> Workers {
    // Who says nothing is ended for somebody else's sake here, and not because it is late.
    let config = "limits: { header_timeout: off }\nservices: {}".to_owned();
    let loader = Loader { source: ConfigSource::Text(config), overrides: Overrides::default() };
    let Loaded { snapshot, report, .. } = loader.load(None, &<_>::default());
    let snapshot = snapshot.unwrap_or_else(|| panic!("{}", report.render(Color::Plain)));
    let (published, metrics) = (Arc::new(Published::new(snapshot)), Arc::new(Metrics::default()));
    let (vital, deaths) = Vital::new();
    let (phase, seen) = watch::channel(Phase::Serving);
    let worker = |number| {
        let (published, metrics) = (Arc::clone(&published), Arc::clone(&metrics));
        let context = move || proxy::Context::new(published, metrics, number, count, &Arc::from("test"));
        RunningWorker::start(number, seen.clone(), &vital, context).expect("a thread")
    };
    Workers { all: (0..count).map(worker).collect(), phase, vital, deaths }
}

#[tokio::test(flavor = "local")]
async fn a_worker_that_panics_is_heard_of_and_gets_no_connection() {
    let mut workers = start(2);
    assert!(workers.all.iter().all(RunningWorker::is_alive));

    workers.all[1].has_done(|| panic!("a fault of ours"));

    let death = timeout(SOON, workers.deaths.first()).await.expect("a death");
    assert_eq!(death.to_string(), "the thread `worker-1` panicked");
    timeout(SOON, workers.all[1].ended()).await.expect("its end");
    assert_eq!([&workers.all[0], &workers.all[1]].map(RunningWorker::is_alive), [true, false]);
}

#[tokio::test(flavor = "local")]
async fn a_worker_that_is_cut_ends_as_it_should() {
    let mut workers = start(1);

    workers.phase.send_replace(Phase::Cut);

    timeout(SOON, workers.all[0].ended()).await.expect("its end");
    // Told of after that end, had it been told of.
    workers.vital.finite("what comes after", async { Err("no reason".to_owned()) });
    let death = timeout(SOON, workers.deaths.first()).await.expect("a death");
    assert_eq!(death.to_string(), "what comes after can't go on: no reason");
}

#[tokio::test(flavor = "local")]
async fn a_worker_that_hangs_is_seen_while_the_others_turn() {
    let workers = start(2);
    let liveness = Arc::<Liveness>::default();
    let pulses = Pulses::new(workers.all.iter().map(RunningWorker::pulse), Arc::clone(&liveness));
    workers.vital.endless("the look at the workers", pulses.run());
    let (release, held) = mpsc::channel::<()>();

    workers.all[1].has_done(move || assert!(held.recv().is_err(), "nobody sends"));

    let reason = timeout(SOON, until(|| liveness.reason())).await.expect("it is seen");
    assert_eq!(*reason, "worker 1 has not turned for 10 s");
    drop(release);
    timeout(SOON, until(|| liveness.reason().is_none().then_some(()))).await.expect("it turns again");
}

#[tokio::test(flavor = "local")]
async fn a_worker_that_hangs_gets_no_connection_as_long_as_another_turns() {
    let workers = start(2);
    let pulses = Pulses::new(workers.all.iter().map(RunningWorker::pulse), Arc::default());
    workers.vital.endless("the look at the workers", pulses.run());
    let fittest = || background::fittest(&workers.all).map(RunningWorker::number);
    let (release, held) = mpsc::channel::<()>();

    workers.all[0].has_done(move || assert!(held.recv().is_err(), "nobody sends"));

    timeout(SOON, until(|| (fittest() == Some(1)).then_some(()))).await.expect("the other's turn");
    drop(release);
    timeout(SOON, until(|| (!workers.all[0].hangs()).then_some(()))).await.expect("it turns again");
}

#[tokio::test(flavor = "local")]
async fn with_all_places_taken_the_silent_make_room_though_a_worker_hangs() {
    let Workers { all, phase: _phase, .. } = start(2);
    let carriers = Carriers::Workers(all.into());
    let Carriers::Workers(workers) = &carriers else { unreachable!("as it was made") };
    let gate = Arc::new(ConnectionLimit::new(1));
    let (_release, held) = mpsc::channel::<()>();
    workers[0].has_done(move || assert!(held.recv().is_err(), "nobody sends"));
    let (_silent, stream) = UnixStream::pair().expect("a connection");
    let place = place_for(&gate, &carriers).await;
    let accepted = Accepted { stream: ClientStream::Unix(stream), peer: Peer::Unix { uid: 0 }, place };

    workers[1].serve(accepted.hand_over().expect("a socket"), None);

    drop(timeout(SOON, place_for(&gate, &carriers)).await.expect("the place of the silent one"));
}

#[tokio::test(flavor = "local")]
async fn a_place_that_comes_free_is_taken_though_every_worker_hangs() {
    let Workers { all, phase: _phase, .. } = start(1);
    let carriers = Carriers::Workers(all.into());
    let Carriers::Workers(workers) = &carriers else { unreachable!("as it was made") };
    let gate = Arc::new(ConnectionLimit::new(1));
    let (_release, held) = mpsc::channel::<()>();
    workers[0].has_done(move || assert!(held.recv().is_err(), "nobody sends"));
    let taken = place_for(&gate, &carriers).await;

    let next = async { timeout(SOON, place_for(&gate, &carriers)).await.is_ok() };
    let given_back = async {
        yield_now().await;
        drop(taken);
    };

    assert!(tokio::join!(next, given_back).0);
}

#[tokio::test(flavor = "local")]
async fn a_worker_that_is_cut_waits_for_no_look_up() {
    let workers = start(1);
    let (release, held) = mpsc::channel::<()>();
    let (tell, told) = oneshot::channel();
    workers.all[0].has_done(move || {
        drop(spawn_blocking(move || {
            tell.send(()).expect("a listener");
            held.recv()
        }));
    });
    told.await.expect("it has begun");

    workers.phase.send_replace(Phase::Cut);

    timeout(SOON, workers.all[0].ended()).await.expect("its end");
    drop(release);
}

async fn until<T>(seen: impl Fn() -> Option<T>) -> T {
    loop {
        match seen() {
            Some(seen) => return seen,
            None => sleep(Duration::from_millis(5)).await,
        }
    }
}
