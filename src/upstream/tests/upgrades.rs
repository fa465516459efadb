//! Requests that ask for another protocol, where the handshake may come to HTTP/2.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::task::{JoinSet, spawn_local};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use super::{LIMITS, over_tls, pool, send, silent, until};
use crate::clock::Moment;
use crate::code::Code;
use crate::config;
use crate::transport::tests::lab::{AsksForCertificate, Authorities, Service, get, read_head};
use crate::transport::{Outgoing, ProtocolSwitch};
use crate::upstream::{Pool, Reached, SendFailure};

#[tokio::test(flavor = "local")]
async fn those_to_a_service_that_is_down_make_fewer_and_fewer_attempts() {
    let service = Service::raw(|tcp, _| async { drop(tcp) }).await;
    let upstream = over_tls(service.address.port(), &Authorities::new(), Duration::from_secs(5), LIMITS);

    ask_again_and_again(&pool(&upstream), Code::ConnectionTerminated).await;

    // The first come together; then pauses of 10 ms, 20, 40, 80, 160 and 250, or up to twice as long but for the last.
    assert!((2..=24).contains(&service.accepted.get()), "{} attempts", service.accepted.get());
}

#[tokio::test(flavor = "local")]
async fn those_whose_handshake_is_refused_make_fewer_and_fewer_attempts() {
    let service = http2_alone(&Authorities::new()).await;
    let upstream = over_tls(service.address.port(), &Authorities::new(), Duration::from_secs(5), LIMITS);

    ask_again_and_again(&pool(&upstream), Code::HttpUpgradeFailed).await;

    assert!((2..=24).contains(&service.accepted.get()), "{} attempts", service.accepted.get());
}

#[tokio::test(flavor = "local")]
async fn what_the_handshake_for_one_came_to_is_told_to_no_other_request() {
    let authorities = Authorities::new();
    let service = http2_alone(&authorities).await;
    let upstream = over_tls(service.address.port(), &authorities, Duration::from_secs(5), LIMITS);
    let pool = pool(&upstream);

    let failure = failure(&pool).await;

    assert_eq!((failure.error.code(), failure.reached), (Code::HttpUpgradeFailed, Reached::Final));
    assert!(failure.error.to_string().contains("offers HTTP/2 alone"), "{}", failure.error);
    assert!(pool.queue.borrow().last_failure().is_none());
    assert_eq!(pool.queue.borrow().pauses_until(Moment::now()), None);
}

#[tokio::test(flavor = "local")]
async fn a_service_that_is_down_is_so_for_all() {
    let service = Service::raw(|tcp, _| async { drop(tcp) }).await;
    let upstream = over_tls(service.address.port(), &Authorities::new(), Duration::from_secs(5), LIMITS);
    let pool = pool(&upstream);

    failure(&pool).await;

    assert!(pool.queue.borrow().last_failure().is_some());
}

#[tokio::test(flavor = "local")]
async fn the_limit_is_one_for_all_that_is_waited_for() {
    let service = silent().await;
    let limit = Duration::from_secs(1);
    let limits = config::PoolConfig { max_connections: 1, ..LIMITS };
    let upstream = over_tls(service.address.port(), &Authorities::new(), limit, limits);
    let pool = pool(&upstream);
    let permit = upstream.permits.take();
    let began = Instant::now();

    let (failure, ()) = tokio::join!(failure(&pool), async {
        sleep(limit * 7 / 10).await;
        drop(permit);
    });

    assert_eq!(failure.error.code(), Code::ConnectionTimeout, "{}", failure.error);
    assert_eq!(service.accepted.get(), 1);
    assert!(began.elapsed() < limit * 14 / 10, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "local")]
async fn an_attempt_that_hangs_keeps_none_from_a_machine_that_answers() {
    let authorities = Authorities::new();
    let acceptor = TlsAcceptor::from(authorities.server("127.0.0.1", &[b"http/1.1"], AsksForCertificate::No));
    let service = Service::raw(move |tcp, number| {
        let acceptor = acceptor.clone();
        async move {
            match number {
                // From then on there is one attempt at a time.
                1 => drop(tcp),
                2 => std::future::pending().await,
                _ => {
                    let mut stream = acceptor.accept(tcp).await.unwrap();
                    read_head(&mut stream).await;
                    stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                }
            }
        }
    })
    .await;
    let limit = Duration::from_secs(60);
    let upstream = over_tls(service.address.port(), &authorities, limit, LIMITS);
    let pool = pool(&upstream);
    failure(&pool).await;
    let (began, hanging) = (Instant::now(), Rc::clone(&pool));
    let hanging = spawn_local(async move { send(&hanging, asking()).await.is_ok() });
    until(|| service.accepted.get() == 2).await;

    let answer = send(&pool, asking()).await.unwrap_or_else(|failure| panic!("{}", failure.error));

    assert_eq!(answer.status(), 403);
    assert!(!hanging.is_finished() && began.elapsed() < limit / 4, "{:?}", began.elapsed());
}

/// A hundred that ask for it, and ask again when they are refused, for a while.
async fn ask_again_and_again(pool: &Rc<Pool>, code: Code) {
    let (began, mut requests) = (Instant::now(), JoinSet::new());
    for _ in 0..100 {
        let pool = Rc::clone(pool);
        requests.spawn_local(async move {
            while began.elapsed() < Duration::from_millis(500) {
                let failure = failure(&pool).await;
                assert_eq!(failure.error.code(), code, "{}", failure.error);
            }
        });
    }
    requests.join_all().await;
}

async fn failure(pool: &Rc<Pool>) -> SendFailure {
    match send(pool, asking()).await {
        Ok(_) => panic!("an answer came"),
        Err(failure) => failure,
    }
}

fn asking() -> Outgoing {
    Outgoing { switch: ProtocolSwitch::Asked, ..get("/talk") }
}

/// Shakes hands with who offers HTTP/2, and that is all.
async fn http2_alone(authorities: &Authorities) -> Service {
    let acceptor = TlsAcceptor::from(authorities.server("127.0.0.1", &[b"h2"], AsksForCertificate::No));
    Service::raw(move |tcp, _| {
        let acceptor = acceptor.clone();
        async move { drop(acceptor.accept(tcp).await) }
    })
    .await
}
