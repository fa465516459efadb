//! Connections shared: by the streams of HTTP/2, and by workers.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use h2::Reason;
use http::{Method, Response};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet, spawn_local, yield_now};
use tokio_rustls::TlsAcceptor;

use super::{Crowd, LIMITS, fetch, over_tls, pool, send, until, upstream, worker};
use crate::config::{self, HttpVersion};
use crate::transport::tests::lab::{AsksForCertificate, Authorities, Service, get, outgoing};
use crate::transport::{Connector, RequestBody, Spelling};
use crate::upstream::{Reached, Upstream};

#[tokio::test(flavor = "local")]
async fn cold_requests_wait_for_one_handshake_and_share_its_connection() {
    let authorities = Authorities::new();
    let acceptor = TlsAcceptor::from(authorities.server("127.0.0.1", &[b"h2"], AsksForCertificate::No));
    let service = Service::raw(move |tcp, _| {
        let acceptor = acceptor.clone();
        async move { answer_streams(acceptor.accept(tcp).await.unwrap(), 100).await }
    })
    .await;
    let upstream = over_tls(service.address.port(), &authorities, Duration::from_secs(5), LIMITS);
    let pool = pool(&upstream);

    crowd(&pool, 90).await;

    assert_eq!(service.accepted.get(), 1);
    assert_eq!(pool.shared.borrow().all().len(), 1);
    assert!(pool.shared.borrow().all()[0].is_idle());
}

#[tokio::test(flavor = "local")]
async fn a_full_http2_connection_gets_a_second_beside_it() {
    let (service, gate, most) = holding(2).await;
    let upstream = by_http2(&service, LIMITS);
    let pool = pool(&upstream);
    let held: Vec<_> = (0..2).map(|_| held(&pool)).collect();
    until(|| most.get() == 2).await;
    let more: Vec<_> = (0..2).map(|_| self::held(&pool)).collect();

    until(|| service.accepted.get() == 2 && most.get() == 4).await;

    gate.notify_waiters();
    for request in held.into_iter().chain(more) {
        assert!(request.await.unwrap());
    }
}

#[tokio::test(flavor = "local")]
async fn where_no_second_connection_is_allowed_streams_are_waited_for() {
    let service = Service::raw(|tcp, _| answer_streams(tcp, 2)).await;
    let upstream = by_http2(&service, config::PoolConfig { max_connections: 1, ..LIMITS });
    let pool = pool(&upstream);

    crowd(&pool, 300).await;

    assert_eq!(service.accepted.get(), 1);
}

#[tokio::test(flavor = "local")]
async fn a_refused_stream_was_not_processed() {
    let service = Service::raw(|tcp, _| async move {
        let mut connection = h2::server::handshake(tcp).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond.send_reset(Reason::REFUSED_STREAM);
        }
    })
    .await;
    let upstream = by_http2(&service, LIMITS);

    let failure = send(&pool(&upstream), get("/")).await.expect_err("refused");

    assert_eq!(failure.reached, Reached::NotProcessed, "{}", failure.error);
}

#[tokio::test(flavor = "local")]
async fn an_http2_connection_that_was_closed_is_replaced_silently() {
    let service = Service::raw(|tcp, _| async move {
        let mut connection = h2::server::handshake(tcp).await.unwrap();
        let (_, mut respond) = connection.accept().await.unwrap().unwrap();
        respond.send_response(Response::new(()), true).unwrap();
        connection.graceful_shutdown();
        while connection.accept().await.is_some() {}
    })
    .await;
    let upstream = by_http2(&service, LIMITS);
    let pool = pool(&upstream);

    for n in 1..=5 {
        fetch(&pool, "/").await;
        until(|| pool.shared.borrow().all().iter().all(|shared| shared.sender.is_closed())).await;
        assert_eq!(service.accepted.get(), n);
    }
}

#[tokio::test(flavor = "local")]
async fn a_request_given_up_on_a_silent_http2_connection_is_the_last_to_join_it() {
    let service = Service::raw(|mut tcp, number| async move {
        if number == 1 {
            // Reads all and says nothing, as if it had vanished.
            while tcp.read_u8().await.is_ok() {}
        } else {
            answer_streams(tcp, 10).await;
        }
    })
    .await;
    let upstream = by_http2(&service, config::PoolConfig { max_connections: 2, ..LIMITS });
    let pool = pool(&upstream);
    let running = held(&pool);
    until(|| pool.shared.borrow().all().first().is_some_and(|shared| !shared.is_idle())).await;

    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());

    assert_eq!(fetch(&pool, "/").await, "/");
    assert_eq!(service.accepted.get(), 2);
}

#[tokio::test(flavor = "local")]
async fn a_service_that_has_stopped_reading_holds_no_more_connections_than_are_counted() {
    let stuck = Stuck::default();
    let counted = stuck.clone();
    let service = Service::raw(move |tcp, _| counted.clone().hold(tcp)).await;
    let upstream = by_http2(&service, config::PoolConfig { max_connections: 2, ..LIMITS });
    let pool = pool(&upstream);

    while stuck.full.get() < 5 {
        let sender = Rc::clone(&pool);
        let huge = RequestBody::Whole(Some(vec![b'x'; 16 * 1024 * 1024].into()));
        let request = spawn_local(async move { send(&sender, outgoing(Method::POST, "/", huge)).await.is_ok() });
        // On a connection that is stuck, if not by this request then by the one before.
        let is_sent = || pool.shared.borrow().all().iter().any(|shared| !shared.is_idle());
        until(|| is_sent() && stuck.full.get() == service.accepted.get()).await;
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
    }

    pool.retire();
    until(|| stuck.open.get() == 0).await;
    assert!(stuck.most.get() <= 2, "{}", stuck.most.get());
    until(|| upstream.permits.left() == 2).await;
}

/// Connections of which nothing is read, so that our goodbye does not get through either.
#[derive(Clone, Default)]
struct Stuck {
    open: Rc<Cell<usize>>,
    most: Rc<Cell<usize>>,
    full: Rc<Cell<usize>>,
}

impl Stuck {
    async fn hold(self, mut tcp: TcpStream) {
        self.open.set(self.open.get() + 1);
        self.most.set(self.most.get().max(self.open.get()));
        // Settings, and windows that are wide open (RFC 9113 §6.9).
        let wide = |stream| [0, 0, 4, 8, 0, 0, 0, 0, stream, 0x7f, 0, 0, 0];
        tcp.write_all(&[&[0, 0, 0, 4, 0, 0, 0, 0, 0][..], &wide(0), &wide(1)].concat()).await.unwrap();
        let mut seen = vec![0; 32 * 1024];
        while tcp.peek(&mut seen).await.unwrap() < seen.len() {
            yield_now().await;
        }
        // Enough for the other side to fill what there is between us.
        for _ in 0..100 {
            yield_now().await;
        }
        self.full.set(self.full.get() + 1);
        while !tcp.ready(Interest::READABLE | Interest::ERROR).await.unwrap().is_read_closed() {
            yield_now().await;
        }
        self.open.set(self.open.get() - 1);
    }
}

#[tokio::test(flavor = "local")]
async fn an_http2_connection_is_closed_when_it_is_idle_for_too_long() {
    let service = Service::raw(|tcp, _| answer_streams(tcp, 10)).await;
    let upstream = by_http2(&service, LIMITS);
    let pool = pool(&upstream);
    fetch(&pool, "/").await;
    let now = crate::clock::Moment::now();

    pool.sweep(now + Duration::from_secs(50));
    assert_eq!(pool.shared.borrow().all().len(), 1);
    pool.sweep(now + Duration::from_secs(70));

    assert_eq!(pool.shared.borrow().all().len(), 0);
    until(|| upstream.permits.left() == LIMITS.max_connections).await;
}

#[tokio::test(flavor = "local")]
async fn of_http2_too_no_more_connections_stay_idle_than_were_in_use_at_once() {
    let (service, gate, most) = holding(2).await;
    let upstream = by_http2(&service, LIMITS);
    let pool = pool(&upstream);
    let mut requests = Vec::new();
    for streams in [2, 4, 6] {
        requests.extend((0..2).map(|_| held(&pool)));
        until(|| most.get() == streams).await;
    }
    gate.notify_waiters();
    for request in requests {
        assert!(request.await.unwrap());
    }
    let now = crate::clock::Moment::now();
    let mut open = Vec::new();

    for seconds in 1..20 {
        pool.sweep(now + Duration::from_secs(seconds));
        let kept = pool.shared.borrow().all().len();
        // Between two sweeps the tasks of those that are closed come to their end.
        until(|| upstream.permits.left() == LIMITS.max_connections - kept).await;
        open.push(kept);
    }

    assert_eq!(open[..10], [3; 10], "{open:?}");
    assert_eq!(open[12..], [1; 7], "{open:?}");
}

#[tokio::test(flavor = "local")]
async fn a_worker_gives_up_an_idle_connection_for_another_that_waits() {
    let service = Service::echoing_paths().await;
    let upstream = upstream(&service, config::PoolConfig { max_connections: 2, ..LIMITS });
    let (rich, poor) = (worker(&upstream, 2), worker(&upstream, 2));
    let (one, other) = tokio::join!(fetch(&rich, "/1"), fetch(&rich, "/2"));
    assert_eq!((&*one, &*other), (&b"/1"[..], &b"/2"[..]));
    assert_eq!(rich.idle.borrow().len(), 2);

    assert_eq!(fetch(&poor, "/3").await, "/3");

    assert_eq!(rich.idle.borrow().len(), 1);
    assert_eq!(upstream.permits.waiting(), 0);
}

#[tokio::test(flavor = "local")]
async fn workers_on_threads_of_their_own_hear_of_each_other() {
    let service = Service::echoing_paths().await;
    let upstream = upstream(&service, config::PoolConfig { max_connections: 1, ..LIMITS });
    let done = Arc::new(AtomicUsize::new(0));

    for _ in 0..2 {
        let (upstream, done) = (Arc::clone(&upstream), Arc::clone(&done));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
            runtime.unwrap().block_on(async {
                let pool = worker(&upstream, 2);
                for _ in 0..50 {
                    assert_eq!(fetch(&pool, "/").await, "/");
                }
                done.fetch_add(1, Ordering::SeqCst);
                // Its idle connection is the other's.
                until(|| done.load(Ordering::SeqCst) == 2).await;
            });
        });
    }

    until(|| done.load(Ordering::SeqCst) == 2).await;
}

#[tokio::test(flavor = "local")]
async fn workers_share_the_connections_that_are_allowed() {
    let busy = Crowd::default();
    let service = busy.service().await;
    let upstream = upstream(&service, config::PoolConfig { max_connections: 3, ..LIMITS });
    let workers = [worker(&upstream, 3), worker(&upstream, 3), worker(&upstream, 3)];

    let (one, two, three) = tokio::join!(crowd(&workers[0], 200), crowd(&workers[1], 200), crowd(&workers[2], 200));

    assert_eq!((one, two, three), ((), (), ()));
    assert!(busy.most.get() <= 3, "{}", busy.most.get());
}

#[tokio::test(flavor = "local")]
async fn even_one_connection_is_enough_for_two_workers() {
    let busy = Crowd::default();
    let service = busy.service().await;
    let upstream = upstream(&service, config::PoolConfig { max_connections: 1, ..LIMITS });
    let (one, other) = (worker(&upstream, 2), worker(&upstream, 2));

    tokio::join!(crowd(&one, 50), crowd(&other, 50));

    assert_eq!(busy.most.get(), 1);
}

#[tokio::test(flavor = "local")]
async fn two_workers_take_turns_with_one_connection_and_do_not_make_it_anew_for_each_request() {
    let service = Service::echoing_paths().await;
    let upstream = upstream(&service, config::PoolConfig { max_connections: 1, ..LIMITS });
    let (one, other) = (worker(&upstream, 2), worker(&upstream, 2));

    tokio::join!(crowd(&one, 200), crowd(&other, 200));

    assert!(service.accepted.get() <= 100, "{} connections for 400 requests", service.accepted.get());
}

#[tokio::test(flavor = "local")]
async fn a_worker_that_is_never_done_does_not_keep_the_only_connection() {
    for version in [HttpVersion::Http1, HttpVersion::Http2] {
        let service = match version {
            HttpVersion::Http2 => Service::raw(|tcp, _| answer_streams(tcp, 10)).await,
            _ => Service::echoing_paths().await,
        };
        let connector = Connector::new(&service.url(), None, version, None, Spelling::LowerCase);
        let upstream = Arc::new(Upstream::new(connector, config::PoolConfig { max_connections: 1, ..LIMITS }));
        let (busy, other) = (worker(&upstream, 2), worker(&upstream, 2));
        let never_done: Vec<_> = (0..4).map(|_| never_done(&busy)).collect();
        until(|| service.accepted.get() == 1).await;

        let answer = tokio::time::timeout(Duration::from_secs(20), fetch(&other, "/other")).await;

        assert_eq!(answer.expect("a turn for the other worker"), "/other", "{version:?}");
        never_done.iter().for_each(JoinHandle::abort);
    }
}

#[tokio::test(flavor = "local")]
async fn two_busy_workers_at_the_limit_keep_their_shares_from_one_request_to_the_next() {
    let service = Service::echoing_paths().await;
    let upstream = upstream(&service, config::PoolConfig { max_connections: 64, ..LIMITS });
    let workers = [worker(&upstream, 2), worker(&upstream, 2)];
    let mut apps = JoinSet::new();
    for (number, pool) in (0..200).zip(workers.iter().cycle()) {
        let (pool, mut random) = (Rc::clone(pool), fastrand::Rng::with_seed(number));
        apps.spawn_local(async move {
            for _ in 0..50 {
                fetch(&pool, "/").await;
                // So that now one worker's queue is empty, and now the other's.
                tokio::time::sleep(Duration::from_millis(random.u64(..10))).await;
            }
        });
    }

    apps.join_all().await;

    let made = service.accepted.get();
    assert!(made < 64 * 4, "{made} connections for 10,000 requests");
}

/// One request after the other, for ever.
fn never_done(pool: &Rc<crate::upstream::Pool>) -> JoinHandle<()> {
    let pool = Rc::clone(pool);
    spawn_local(async move {
        loop {
            fetch(&pool, "/").await;
        }
    })
}

/// So many requests at once, all of which are answered with their path.
async fn crowd(pool: &Rc<crate::upstream::Pool>, size: usize) {
    let mut requests = JoinSet::new();
    for n in 0..size {
        let pool = Rc::clone(pool);
        requests.spawn_local(async move {
            let path = format!("/{n}");
            assert_eq!(fetch(&pool, &path).await, path);
        });
    }
    requests.join_all().await;
}

pub(super) fn held(pool: &Rc<crate::upstream::Pool>) -> JoinHandle<bool> {
    let pool = Rc::clone(pool);
    spawn_local(async move {
        let response = send(&pool, get("/")).await.unwrap_or_else(|failure| panic!("{}", failure.error));
        response.into_body().collect().await.is_ok()
    })
}

pub(super) fn by_http2(service: &Service, limits: config::PoolConfig) -> Arc<Upstream> {
    let connector = Connector::new(&service.url(), None, HttpVersion::Http2, None, Spelling::LowerCase);
    Arc::new(Upstream::new(connector, limits))
}

/// Answers each stream with its path; allows so many at a time.
pub(super) async fn answer_streams(io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, streams: u32) {
    let handshake = h2::server::Builder::new().max_concurrent_streams(streams).handshake::<_, bytes::Bytes>(io);
    let mut connection = handshake.await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let mut body = respond.send_response(Response::new(()), false).unwrap();
        body.send_data(request.uri().path().to_owned().into(), true).unwrap();
    }
}

/// A service of which each connection holds so many streams at a time, what opens its gate, and how many it held at most.
pub(super) async fn holding(streams: u32) -> (Service, Rc<Notify>, Rc<Cell<usize>>) {
    let (gate, most) = (Rc::new(Notify::new()), Rc::new(Cell::new(0)));
    let held = (Rc::clone(&gate), Rc::clone(&most));
    let service = Service::raw(move |tcp, _| hold_streams(tcp, streams, Rc::clone(&held.0), Rc::clone(&held.1))).await;
    (service, gate, most)
}

/// Answers only once told to; counts the streams that are held.
async fn hold_streams(tcp: TcpStream, streams: u32, gate: Rc<Notify>, most: Rc<Cell<usize>>) {
    let handshake = h2::server::Builder::new().max_concurrent_streams(streams).handshake::<_, bytes::Bytes>(tcp);
    let mut connection = handshake.await.unwrap();
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        most.set(most.get() + 1);
        let gate = Rc::clone(&gate);
        spawn_local(async move {
            gate.notified().await;
            respond.send_response(Response::new(()), true).unwrap();
        });
    }
}
