//! How many idle connections are kept where no number is set, under random loads, with an oracle that remembers all.

use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use http::Response;
use http_body_util::BodyExt;
use tokio::task::JoinSet;

use super::{Crowd, LIMITS, pool, send, until, upstream};
use crate::clock::Moment;
use crate::config;
use crate::transport::tests::lab::{Service, get};
use crate::upstream::demand::WINDOW;
use crate::upstream::{Pool, PooledBody};

/// A load of which every connection is held until it is told to end, and what it came to.
struct Load {
    pool: Rc<Pool>,
    held: Vec<Response<PooledBody>>,
    now: Moment,
    /// When so many began to be in use.
    history: Vec<(Moment, usize)>,
}

impl Load {
    fn on(pool: &Rc<Pool>) -> Self {
        let now = Moment::now();
        Self { pool: Rc::clone(pool), held: Vec::new(), now, history: vec![(now, 0)] }
    }

    /// Ends some exchanges, in a random order, or begins some at once.
    async fn become_of(&mut self, wanted: usize, random: &mut Rng) {
        while self.held.len() > wanted {
            let ended = self.held.swap_remove(random.usize(..self.held.len()));
            assert_eq!(ended.into_body().collect().await.unwrap().to_bytes(), "/p");
        }
        let mut begun = JoinSet::new();
        for _ in self.held.len()..wanted {
            let pool = Rc::clone(&self.pool);
            begun.spawn_local(async move { send(&pool, get("/p")).await });
        }
        for sent in begun.join_all().await {
            self.held.push(sent.unwrap_or_else(|failure| panic!("{}", failure.error)));
        }
        self.history.push((self.now, wanted));
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    fn sweep(&self) -> usize {
        self.pool.sweep(self.now)
    }

    /// The most that were in use at once within the last 10 s.
    fn peak(&self) -> usize {
        let is_older = |(begun, _): &&(Moment, usize)| self.now.since(*begun) >= WINDOW;
        let before = self.history.iter().rfind(is_older).map_or(0, |(_, in_use)| *in_use);
        let within = self.history.iter().rev().take_while(|(begun, _)| self.now.since(*begun) < WINDOW);
        within.map(|(_, in_use)| *in_use).fold(before, usize::max)
    }

    fn idle(&self) -> usize {
        self.pool.idle.borrow().len()
    }
}

#[tokio::test(flavor = "local")]
async fn a_handshake_is_made_only_for_more_than_was_in_use_at_once_within_10_seconds() {
    let service = Service::echoing_paths().await;
    let mut closed = 0;
    for seed in 0..24 {
        let mut random = Rng::with_seed(seed);
        let upstream = upstream(&service, config::PoolConfig { max_lifetime: None, ..LIMITS });
        let mut load = Load::on(&pool(&upstream));
        let mut level = 0;

        for step in 0..400 {
            if random.u8(..) < 16 {
                level = random.usize(0..40);
            }
            let wanted = random.usize(level / 2..=level);
            let (peak, handshakes) = (load.peak(), service.accepted.get());
            load.become_of(wanted, &mut random).await;

            let made = service.accepted.get() - handshakes;
            assert!(made <= wanted.saturating_sub(peak), "seed {seed}, step {step}: {made} for {wanted} after {peak}");
            load.pass(Duration::from_millis(random.u64(0..1_000)));
            if random.bool() {
                closed += load.sweep();
            }
        }

        load.become_of(0, &mut random).await;
        assert_eq!(upstream.permits.left(), LIMITS.max_connections - load.idle());
    }
    // Else nothing was tried.
    assert!(closed > 1_000, "{closed}");
}

#[tokio::test(flavor = "local")]
async fn after_a_load_as_many_stay_idle_as_are_in_use_and_one_until_its_time_is_over() {
    let (crowd, mut random) = (Crowd::default(), Rng::with_seed(1));
    let service = crowd.service().await;
    let upstream = upstream(&service, LIMITS);
    let mut load = Load::on(&pool(&upstream));
    let mut idle_after = async |wanted, seconds: u64| {
        load.become_of(wanted, &mut random).await;
        for _ in 0..seconds {
            load.pass(Duration::from_secs(1));
            load.sweep();
        }
        load.idle()
    };

    // The limit's own part of a second, and the parts in which the time is kept.
    assert_eq!(idle_after(200, 1).await, 0);
    assert_eq!(idle_after(5, 9).await, 195);
    assert_eq!(idle_after(5, 4).await, 5);
    until(|| crowd.now.get() == 10).await;
    assert_eq!(idle_after(0, 9).await, 10);
    assert_eq!(idle_after(0, 4).await, 1);
    until(|| crowd.now.get() == 1).await;
    assert_eq!(idle_after(0, 60).await, 0);
    until(|| crowd.now.get() == 0 && upstream.permits.left() == LIMITS.max_connections).await;
    assert_eq!(crowd.most.get(), 200);
}

#[tokio::test(flavor = "local")]
async fn requests_that_waited_for_connections_count_as_in_use() {
    let service = Service::echoing_paths().await;
    let upstream = upstream(&service, LIMITS);
    let pool = pool(&upstream);
    let mut requests = JoinSet::new();
    for _ in 0..100 {
        let pool = Rc::clone(&pool);
        requests.spawn_local(async move {
            let response = send(&pool, get("/p")).await.unwrap_or_else(|failure| panic!("{}", failure.error));
            response.into_body().collect().await.unwrap();
        });
    }
    requests.join_all().await;
    // Some were served by a connection that another gave back, while one was made for them.
    let made = service.accepted.get();
    until(|| upstream.permits.left() + pool.idle.borrow().len() == LIMITS.max_connections).await;

    assert_eq!(pool.sweep(Moment::now()), 0);

    assert_eq!(pool.idle.borrow().len(), made);
}

#[tokio::test(flavor = "local")]
async fn the_room_of_a_load_is_given_up_with_its_connections() {
    let (service, mut random) = (Service::echoing_paths().await, Rng::with_seed(1));
    let upstream = upstream(&service, LIMITS);
    let mut load = Load::on(&pool(&upstream));
    for wanted in [500, 0] {
        load.become_of(wanted, &mut random).await;
    }
    assert!(load.pool.idle.borrow().capacity() >= 500);

    for _ in 0..13 {
        load.pass(Duration::from_secs(1));
        load.sweep();
    }

    assert!(load.pool.idle.borrow().capacity() <= 32);
}
