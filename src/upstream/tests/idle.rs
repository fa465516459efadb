//! How many idle connections are kept where no number is set, under random loads, with an oracle that remembers all.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use http::Response;
use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::{LIMITS, fetch, pool, send, until, worker};
use crate::clock::Moment;
use crate::config::{self, HttpVersion, IdleLimit};
use crate::transport::tests::lab::{Service, get, read_head};
use crate::transport::{Connector, Spelling};
use crate::upstream::demand::WINDOW;
use crate::upstream::{Pool, PooledBody, Upstream};

/// A service that answers in halves: an exchange takes its connection until it is told to end.
#[derive(Clone, Default)]
struct Halves {
    ends: Rc<RefCell<HashMap<String, Rc<Notify>>>>,
}

impl Halves {
    async fn service(&self) -> Service {
        let halves = self.clone();
        Service::raw(move |tcp, _| halves.clone().serve(tcp)).await
    }

    async fn serve(self, mut tcp: TcpStream) {
        // Else the second half waits for the client's word that it has the first, which is in no hurry.
        tcp.set_nodelay(true).unwrap();
        loop {
            let head = read_head(&mut tcp).await;
            let Some(path) = head.split(' ').nth(1) else { return };
            tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na").await.unwrap();
            self.end(path).notified().await;
            tcp.write_all(b"b").await.unwrap();
        }
    }

    /// Who comes first makes it: a notification that nobody waits for yet is kept.
    fn end(&self, path: &str) -> Rc<Notify> {
        Rc::clone(self.ends.borrow_mut().entry(path.to_owned()).or_default())
    }
}

#[tokio::test(flavor = "local")]
async fn a_crowd_that_comes_in_bursts_never_has_more_connections_made_than_it_has_requests_at_once() {
    const APPS: usize = 60;
    let service = Service::echoing_paths().await;
    let upstream = upstream(&service, LIMITS);
    let pool = pool(&upstream);
    let mut apps = JoinSet::new();
    for seed in 0..APPS as u64 {
        let (pool, mut random) = (Rc::clone(&pool), Rng::with_seed(seed));
        apps.spawn_local(async move {
            for number in 0..100 {
                assert_eq!(fetch(&pool, "/").await, "/");
                // Now few of them wait at once, and now all.
                for _ in 0..random.usize(0..20) {
                    tokio::task::yield_now().await;
                }
                if number % 10 == 0 {
                    pool.sweep(Moment::now());
                }
            }
        });
    }

    apps.join_all().await;

    // What is made for one that waits is made for nobody else too, and kept when another connection came first.
    assert!(service.accepted.get() <= APPS, "{} connections", service.accepted.get());
}

/// Connections whose handshake is finished even if nobody waits for it any more.
fn upstream(service: &Service, limits: config::PoolConfig) -> Arc<Upstream> {
    let limit = Some(Duration::from_secs(60));
    let connector = Connector::new(&service.url(), None, HttpVersion::Auto, limit, Spelling::LowerCase);
    Arc::new(Upstream::new(connector, limits))
}

/// A load of which every exchange takes a connection until it is told to end, and what it came to.
struct Load {
    pool: Rc<Pool>,
    halves: Halves,
    begun: usize,
    held: Vec<(String, Response<PooledBody>)>,
    now: Moment,
    /// When so many began to be in use.
    history: Vec<(Moment, usize)>,
}

impl Load {
    fn on(pool: &Rc<Pool>, halves: &Halves) -> Self {
        let now = Moment::now();
        let (pool, halves) = (Rc::clone(pool), halves.clone());
        Self { pool, halves, begun: 0, held: Vec::new(), now, history: vec![(now, 0)] }
    }

    /// Ends some exchanges, in a random order, or begins some at once.
    async fn become_of(&mut self, wanted: usize, random: &mut Rng) {
        while self.held.len() > wanted {
            let (path, ended) = self.held.swap_remove(random.usize(..self.held.len()));
            self.halves.end(&path).notify_one();
            assert_eq!(ended.into_body().collect().await.unwrap().to_bytes(), "ab");
        }
        let mut begun = JoinSet::new();
        for _ in self.held.len()..wanted {
            self.begun += 1;
            let (pool, path) = (Rc::clone(&self.pool), format!("/{}", self.begun));
            begun.spawn_local(async move {
                let sent = send(&pool, get(&path)).await;
                (path, sent.unwrap_or_else(|failure| panic!("{}", failure.error)))
            });
        }
        self.held.extend(begun.join_all().await);
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
    let halves = Halves::default();
    let service = halves.service().await;
    let mut closed = 0;
    for seed in 0..24 {
        let mut random = Rng::with_seed(seed);
        let upstream = upstream(&service, config::PoolConfig { max_lifetime: None, idle_timeout: None, ..LIMITS });
        let mut load = Load::on(&pool(&upstream), &halves);
        // One seed's paths are no other's.
        load.begun = usize::try_from(seed).unwrap() * 1_000_000;
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
    let (halves, mut random) = (Halves::default(), Rng::with_seed(1));
    let service = halves.service().await;
    let upstream = upstream(&service, LIMITS);
    let mut load = Load::on(&pool(&upstream), &halves);
    let mut idle_after = async |wanted, seconds: u64| {
        load.become_of(wanted, &mut random).await;
        for _ in 0..seconds {
            load.pass(Duration::from_secs(1));
            load.sweep();
        }
        load.idle()
    };

    assert_eq!(idle_after(200, 1).await, 0);
    assert_eq!(idle_after(5, 9).await, 195);
    // The parts in which the time is kept, and the sweep's second.
    assert_eq!(idle_after(5, 4).await, 0);
    assert_eq!(upstream.permits.left(), LIMITS.max_connections - 5);
    assert_eq!(idle_after(0, 9).await, 5);
    assert_eq!(idle_after(0, 4).await, 1);
    assert_eq!(idle_after(0, 60).await, 0);
    assert_eq!(upstream.permits.left(), LIMITS.max_connections);
    assert_eq!(service.accepted.get(), 200);
}

#[tokio::test(flavor = "local")]
async fn waves_within_the_window_cost_no_handshake_and_those_further_apart_are_made_for_anew() {
    let (halves, mut random) = (Halves::default(), Rng::with_seed(1));
    let service = halves.service().await;
    let upstream = upstream(&service, LIMITS);
    let mut load = Load::on(&pool(&upstream), &halves);
    let mut handshakes_of_waves = async |apart: Duration| {
        let before = service.accepted.get();
        for _ in 0..5 {
            load.become_of(50, &mut random).await;
            load.become_of(0, &mut random).await;
            for _ in 0..20 {
                load.pass(apart / 20);
                load.sweep();
            }
        }
        service.accepted.get() - before
    };

    assert_eq!(handshakes_of_waves(WINDOW).await, 50);
    assert_eq!(handshakes_of_waves(WINDOW).await, 0);
    // The first of them finds all, and the others the one that is always kept.
    assert_eq!(handshakes_of_waves(WINDOW + Duration::from_secs(4)).await, 4 * 49);
}

#[tokio::test(flavor = "local")]
async fn a_worker_keeps_what_it_needs_itself_whatever_the_others_need() {
    let (halves, mut random) = (Halves::default(), Rng::with_seed(1));
    let service = halves.service().await;
    let upstream = upstream(&service, LIMITS);
    let mut loads = [0, 1_000].map(|first| {
        let mut load = Load::on(&worker(&upstream, 2), &halves);
        load.begun = first;
        load
    });
    for (load, wanted) in loads.iter_mut().zip([40, 3]) {
        load.become_of(wanted, &mut random).await;
    }

    for second in 0..14 {
        // The second one's are in use now and then, the first one's never again.
        let [first, second_one] = &mut loads;
        first.become_of(0, &mut random).await;
        second_one.become_of(if second % 2 == 0 { 0 } else { 3 }, &mut random).await;
        for load in &mut loads {
            load.pass(Duration::from_secs(1));
            load.sweep();
        }
    }

    loads[1].become_of(0, &mut random).await;
    assert_eq!(loads.map(|load| load.idle()), [1, 3]);
    assert_eq!(service.accepted.get(), 43);
}

#[tokio::test(flavor = "local")]
async fn a_worker_gives_up_of_its_share_what_it_has_not_needed_for_a_while() {
    let (halves, mut random) = (Halves::default(), Rng::with_seed(1));
    let service = halves.service().await;
    let upstream = upstream(&service, config::PoolConfig { max_connections: 2, ..LIMITS });
    let [mut first, mut second] = [0, 1_000].map(|begun| {
        let mut load = Load::on(&worker(&upstream, 2), &halves);
        load.begun = begun;
        load
    });
    first.become_of(1, &mut random).await;
    first.become_of(0, &mut random).await;
    assert_eq!(first.idle(), 1);

    second.become_of(2, &mut random).await;

    assert_eq!((first.idle(), service.accepted.get()), (0, 3));
}

#[tokio::test(flavor = "local")]
async fn a_number_is_a_limit_whatever_the_demand() {
    let (halves, mut random) = (Halves::default(), Rng::with_seed(1));
    let service = halves.service().await;
    let upstream = upstream(&service, config::PoolConfig { max_idle: IdleLimit::Most(7), ..LIMITS });
    let mut load = Load::on(&pool(&upstream), &halves);

    for wanted in [30, 0] {
        load.become_of(wanted, &mut random).await;
        load.sweep();
    }
    assert_eq!(load.idle(), 7);

    for _ in 0..14 {
        load.pass(Duration::from_secs(1));
        load.sweep();
    }
    assert_eq!(load.idle(), 7);
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
    until(|| upstream.permits.left() + pool.idle.borrow().len() == LIMITS.max_connections).await;
    let made = pool.idle.borrow().len();
    assert!(made > 1, "{made}");

    assert_eq!(pool.sweep(Moment::now()), 0);

    assert_eq!(pool.idle.borrow().len(), made);
}

#[tokio::test(flavor = "local")]
async fn the_room_of_a_load_is_given_up_with_its_connections() {
    let (halves, mut random) = (Halves::default(), Rng::with_seed(1));
    let service = halves.service().await;
    let upstream = upstream(&service, LIMITS);
    let mut load = Load::on(&pool(&upstream), &halves);
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
