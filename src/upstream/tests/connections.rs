//! One worker, HTTP/1.1.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use http::{Method, Response};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::{JoinSet, spawn_local};

use super::{Crowd, LIMITS, fetch, forgetful, pool, send, silent, until, upstream};
use crate::clock::Moment;
use crate::config::{self, IdleLimit};
use crate::transport::RequestBody;
use crate::transport::tests::lab::{self, Service, app_body, get, outgoing, read_head};
use crate::upstream::connection::Resting;
use crate::upstream::{Choice, Pool, PooledBody, Timing};

/// Sends a request of which the app holds the second half back, and waits for the answer that comes all the same.
async fn half_sent(pool: &Rc<Pool>) -> (Response<PooledBody>, DuplexStream) {
    let (incoming, app) = app_body("content-length: 10", b"half ").await;
    let (body, _) = RequestBody::app(incoming, 64);
    let sent = send(pool, outgoing(Method::POST, "/", body)).await;
    (sent.unwrap_or_else(|failure| panic!("{}", failure.error)), app)
}

/// Answers at once with half of what it announces, and reads on.
async fn half_answering() -> Service {
    Service::raw(|mut tcp, _| async move {
        read_head(&mut tcp).await;
        tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha").await.unwrap();
        while tcp.read_u8().await.is_ok() {}
    })
    .await
}

#[tokio::test(flavor = "local")]
async fn one_request_after_the_other_takes_one_connection() {
    let service = Service::echoing_paths().await;
    let upstream = upstream(&service, LIMITS);
    let pool = pool(&upstream);

    for path in ["/1", "/2", "/3"] {
        assert_eq!(fetch(&pool, path).await, path);
    }

    assert_eq!(service.accepted.get(), 1);
}

#[tokio::test(flavor = "local")]
async fn a_timing_tells_a_new_connection_from_an_idle_one() {
    let service = Service::echoing_paths().await;
    let upstream = upstream(&service, LIMITS);
    let pool = pool(&upstream);
    let (cold, warm) = (Cell::new(Timing::default()), Cell::new(Timing::default()));

    let first =
        pool.send(&mut get("/"), Choice::Any, &cold).await.unwrap_or_else(|failure| panic!("{}", failure.error));
    first.into_body().collect().await.unwrap();
    assert!(pool.send(&mut get("/"), Choice::Any, &warm).await.is_ok());

    let (cold, warm) = (cold.get(), warm.get());
    assert!(cold.sent && warm.sent);
    assert!(cold.connected.is_some() && cold.waited > Duration::ZERO, "{cold:?}");
    assert!(warm.connected.is_none() && warm.waited == Duration::ZERO, "{warm:?}");
}

#[tokio::test(flavor = "local")]
async fn a_thousand_requests_share_the_connections_that_are_allowed() {
    let crowd = Crowd::default();
    let service = crowd.service().await;
    let upstream = upstream(&service, config::PoolConfig { max_connections: 8, ..LIMITS });
    let pool = pool(&upstream);
    let mut requests = JoinSet::new();

    for n in 0..1000 {
        let pool = pool.clone();
        requests.spawn_local(async move {
            let path = format!("/{n}");
            assert_eq!(fetch(&pool, &path).await, path);
        });
    }

    requests.join_all().await;
    assert_eq!(crowd.most.get(), 8);
    assert_eq!(service.accepted.get(), 8);
}

#[tokio::test(flavor = "local")]
async fn a_cold_burst_makes_fewer_connections_than_it_has_requests() {
    let service = Service::echoing_paths().await;
    let upstream = upstream(&service, LIMITS);
    let pool = pool(&upstream);
    let mut requests = JoinSet::new();

    for _ in 0..1000 {
        let pool = pool.clone();
        requests.spawn_local(async move { assert_eq!(fetch(&pool, "/").await, "/") });
    }

    requests.join_all().await;
    // Sixteen are made at a time, and each serves the next as soon as it is free. Without TLS, making one takes as long
    // as a request: the worst case.
    assert!((16..=500).contains(&service.accepted.get()), "{} connections", service.accepted.get());
}

#[tokio::test(flavor = "local")]
async fn a_pooled_connection_found_dead_is_replaced_silently() {
    let service = forgetful().await;
    let upstream = upstream(&service, LIMITS);
    let pool = pool(&upstream);

    for n in 1..=20 {
        let request = outgoing(Method::POST, "/", RequestBody::Whole(Some("form".into())));
        let response = send(&pool, request).await.unwrap_or_else(|failure| panic!("{}", failure.error));
        response.into_body().collect().await.unwrap();
        // The end of the connection is on its way, or here.
        if n % 2 == 0 {
            until(|| pool.idle.borrow_mut().iter_mut().all(Resting::is_closed)).await;
        }
    }

    assert_eq!(service.accepted.get(), 20);
}

#[tokio::test(flavor = "local")]
async fn while_a_dead_connection_is_replaced_it_is_a_connection_that_is_waited_for() {
    let answered = Rc::new(RefCell::new(None));
    let service = {
        let answered = Rc::clone(&answered);
        Service::raw(move |mut tcp, _| {
            let answered = Rc::clone(&answered);
            async move {
                lab::answer_path(&mut tcp).await;
                *answered.borrow_mut() = Some(tcp);
            }
        })
        .await
    };
    let upstream = upstream(&service, LIMITS);
    let pool = pool(&upstream);
    fetch(&pool, "/").await;
    until(|| answered.borrow().is_some() && pool.idle.borrow().len() == 1).await;

    // From here to the first poll nobody looks at sockets: that it is dead shows when it is written to.
    let dead = answered.take().unwrap();
    dead.set_zero_linger().unwrap();
    drop(dead);
    let (mut request, timing) = (get("/again"), Cell::new(Timing::default()));
    let mut sending = pin!(pool.send(&mut request, Choice::Any, &timing));
    let mut seen = Vec::new();
    let response = poll_fn(|cx| {
        let polled = sending.as_mut().poll(cx);
        seen.push(timing.get().sent);
        polled
    })
    .await;

    seen.dedup();
    assert_eq!(seen, [true, false, true], "sent, then waiting for another connection, then sent");
    assert!(response.is_ok());
    assert_eq!(service.accepted.get(), 2);
}

#[tokio::test(flavor = "local")]
async fn an_answer_dropped_before_its_end_closes_the_connection() {
    let service = Service::raw(|mut tcp, _| async move {
        read_head(&mut tcp).await;
        tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
        drop(tcp.read_u8().await);
    })
    .await;
    let upstream = upstream(&service, config::PoolConfig { max_connections: 1, ..LIMITS });
    let pool = pool(&upstream);

    for _ in 0..3 {
        let response = send(&pool, get("/")).await.unwrap_or_else(|failure| panic!("{}", failure.error));
        drop(response);
    }

    assert_eq!(service.accepted.get(), 3);
    until(|| upstream.permits.left() == 1).await;
}

#[tokio::test(flavor = "local")]
async fn requests_given_up_leave_no_permit_behind() {
    let service = silent().await;
    let upstream = upstream(&service, config::PoolConfig { max_connections: 4, ..LIMITS });
    let pool = pool(&upstream);
    let mut requests = JoinSet::new();
    for _ in 0..50 {
        let pool = pool.clone();
        requests.spawn_local(async move { send(&pool, get("/")).await.is_ok() });
    }
    until(|| upstream.permits.waiting() == 1 && service.accepted.get() == 4).await;

    requests.shutdown().await;

    until(|| upstream.permits.left() == 4).await;
    assert!(pool.queue.borrow().is_empty() && !pool.queue.borrow().awaits_permit());
    until(|| upstream.permits.waiting() == 0).await;
    assert_eq!(pool.share.open(), 0);
}

#[tokio::test(flavor = "local")]
async fn a_connection_whose_request_was_answered_early_writes_it_to_the_end_and_is_closed() {
    let whole = Rc::new(Cell::new(false));
    let read = Rc::clone(&whole);
    let service = Service::raw(move |mut tcp, _| {
        let read = Rc::clone(&read);
        async move {
            read_head(&mut tcp).await;
            tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            read.set(tcp.read_exact(&mut [0; 10]).await.is_ok());
        }
    })
    .await;
    let upstream = upstream(&service, LIMITS);
    let pool = pool(&upstream);
    let (early, mut app) = half_sent(&pool).await;
    assert_eq!(early.into_body().collect().await.unwrap().to_bytes(), "ok");
    app.write_all(b"whole").await.unwrap();

    until(|| whole.get() && upstream.permits.left() == LIMITS.max_connections).await;
    assert_eq!(pool.idle.borrow().len(), 0);
}

#[tokio::test(flavor = "local")]
async fn a_request_goes_on_while_nobody_reads_its_answer() {
    let got_all = Rc::new(Cell::new(false));
    let got = Rc::clone(&got_all);
    let service = Service::raw(move |mut tcp, _| {
        let got = Rc::clone(&got);
        async move {
            read_head(&mut tcp).await;
            tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha").await.unwrap();
            tcp.read_exact(&mut [0; 10]).await.unwrap();
            got.set(true);
            tcp.write_all(b"lf").await.unwrap();
            drop(tcp.read_u8().await);
        }
    })
    .await;
    let upstream = upstream(&service, LIMITS);
    let pool = pool(&upstream);
    let (early, mut app) = half_sent(&pool).await;

    app.write_all(b"whole").await.unwrap();
    until(|| got_all.get()).await;

    assert_eq!(early.into_body().collect().await.unwrap().to_bytes(), "half");
    assert_eq!(pool.idle.borrow().len(), 0, "it was answered early");
}

#[tokio::test(flavor = "local")]
async fn an_app_that_breaks_off_breaks_its_answer_off_too() {
    let service = half_answering().await;
    let upstream = upstream(&service, LIMITS);
    let pool = pool(&upstream);
    let (early, app) = half_sent(&pool).await;

    drop(app);

    let error = early.into_body().collect().await.expect_err("half a request");
    assert_eq!(error.to_string(), "the app's body broke off");
    until(|| upstream.permits.left() == LIMITS.max_connections).await;
}

#[tokio::test(flavor = "local")]
async fn an_answer_dropped_while_its_request_goes_on_closes_the_connection() {
    let service = half_answering().await;
    let upstream = upstream(&service, LIMITS);
    let pool = pool(&upstream);
    let (early, _app) = half_sent(&pool).await;

    drop(early);

    until(|| upstream.permits.left() == LIMITS.max_connections).await;
}

#[tokio::test(flavor = "local")]
async fn an_upload_of_which_nothing_goes_on_after_its_answer_is_given_up() {
    let service = Service::raw(|mut tcp, _| async move {
        read_head(&mut tcp).await;
        tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let idle_timeout = Some(Duration::from_millis(20));
    let upstream = upstream(&service, config::PoolConfig { idle_timeout, ..LIMITS });
    let pool = pool(&upstream);
    let (early, _app) = half_sent(&pool).await;
    assert_eq!(early.into_body().collect().await.unwrap().to_bytes(), "ok");

    until(|| upstream.permits.left() == LIMITS.max_connections).await;
}

#[tokio::test(flavor = "local")]
async fn however_many_connections_the_service_closed_none_of_them_is_used() {
    // More than a task may look at in one turn.
    let crowd = 200;
    let service = Service::raw(move |mut tcp, number| async move {
        if number > crowd {
            lab::answer_path(&mut tcp).await;
        }
    })
    .await;
    let upstream = upstream(&service, LIMITS);
    let pool = pool(&upstream);
    for _ in 0..crowd {
        let connected = upstream.connector.connect().await.unwrap_or_else(|error| panic!("{error}"));
        pool.connected(connected, upstream.permits.wait().await);
    }
    assert_eq!(pool.idle.borrow().len(), crowd);
    let all_heard = || pool.idle.borrow_mut().iter_mut().all(|idle| idle.has_news());
    until(all_heard).await;

    let answer = send(&pool, outgoing(Method::POST, "/p", RequestBody::Empty)).await;

    assert!(answer.is_ok_and(|answer| answer.status() == 200));
}

#[tokio::test(flavor = "local")]
async fn what_may_not_go_over_an_idle_connection_gets_a_new_one() {
    let service = Service::echoing_paths().await;
    let upstream = upstream(&service, LIMITS);
    let pool = pool(&upstream);
    fetch(&pool, "/").await;

    for (choice, connections) in [(Choice::Any, 1), (Choice::NotIdle, 2)] {
        let answer = pool.send(&mut get("/"), choice, &Cell::new(Timing::default())).await;

        assert!(answer.is_ok());
        assert_eq!(service.accepted.get(), connections, "{choice:?}");
    }
}

#[tokio::test(flavor = "local")]
async fn the_sweep_lets_go_of_what_the_service_closed() {
    let service = forgetful().await;
    let upstream = upstream(&service, LIMITS);
    let pool = pool(&upstream);
    fetch(&pool, "/").await;

    until(|| {
        pool.sweep(Moment::now());
        pool.idle.borrow().len() == 0
    })
    .await;

    assert_eq!(upstream.permits.left(), LIMITS.max_connections);
}

#[tokio::test(flavor = "local")]
async fn the_sweep_closes_what_is_idle_or_old() {
    let service = Service::echoing_paths().await;
    let now = Moment::now();
    for limits in [
        config::PoolConfig { idle_timeout: Some(Duration::from_secs(10)), ..LIMITS },
        config::PoolConfig { max_lifetime: Some(Duration::from_secs(10)), ..LIMITS },
    ] {
        let upstream = upstream(&service, limits);
        let pool = pool(&upstream);
        fetch(&pool, "/").await;

        pool.sweep(now + Duration::from_secs(9));
        assert_eq!(pool.idle.borrow().len(), 1);
        pool.sweep(now + Duration::from_secs(11));

        assert_eq!(pool.idle.borrow().len(), 0);
        until(|| upstream.permits.left() == limits.max_connections).await;
    }
}

#[tokio::test(flavor = "local")]
async fn no_more_stay_idle_than_allowed() {
    let crowd = Crowd::default();
    let service = crowd.service().await;
    let upstream = upstream(&service, config::PoolConfig { max_idle: IdleLimit::Most(2), ..LIMITS });
    let pool = pool(&upstream);
    let mut requests = JoinSet::new();
    for _ in 0..5 {
        let pool = pool.clone();
        requests.spawn_local(async move { fetch(&pool, "/").await });
    }

    requests.join_all().await;

    assert!(pool.idle.borrow().len() <= 2);
    until(|| crowd.now.get() <= 2).await;
}

#[tokio::test(flavor = "local")]
async fn a_retired_pool_closes_idle_connections_and_lets_running_requests_end() {
    let service = Service::raw(|mut tcp, _| async move {
        while !read_head(&mut tcp).await.is_empty() {
            tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha").await.unwrap();
            tokio::task::yield_now().await;
            tcp.write_all(b"lf").await.unwrap();
        }
    })
    .await;
    let upstream = upstream(&service, LIMITS);
    let pool = pool(&upstream);
    let (one, other) = tokio::join!(send(&pool, get("/")), send(&pool, get("/")));
    let running = one.unwrap_or_else(|failure| panic!("{}", failure.error));
    other.unwrap_or_else(|failure| panic!("{}", failure.error)).into_body().collect().await.unwrap();
    assert_eq!(pool.idle.borrow().len(), 1);

    pool.retire();

    assert_eq!(running.into_body().collect().await.unwrap().to_bytes(), "half");
    assert_eq!(pool.idle.borrow().len(), 0);
    until(|| upstream.permits.left() == LIMITS.max_connections).await;
}

#[tokio::test(flavor = "local")]
async fn a_pool_that_is_gone_leaves_nothing_behind() {
    let service = silent().await;
    let upstream = upstream(&service, config::PoolConfig { max_connections: 2, ..LIMITS });
    let pool = pool(&upstream);
    let requests: Vec<_> = (0..4)
        .map(|_| {
            let pool = pool.clone();
            spawn_local(async move { send(&pool, get("/")).await.is_ok() })
        })
        .collect();
    until(|| upstream.permits.waiting() == 1).await;

    drop(pool);
    requests.iter().for_each(|request| request.abort());

    until(|| upstream.permits.left() == 2 && upstream.permits.waiting() == 0).await;
}
