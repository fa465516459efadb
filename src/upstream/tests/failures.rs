//! Services that are down, slow, full or rude.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::Method;
use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::{LIMITS, fetch, over_tls, pool, send, silent, until, upstream};
use crate::code::Code;
use crate::config;
use crate::transport::RequestBody;
use crate::transport::tests::lab::{AsksForCertificate, Authorities, Service, get, outgoing, read_head};
use crate::upstream::{Pool, Reached, SendFailure, Upstream};

#[tokio::test(flavor = "local")]
async fn a_refused_connection_holds_no_place() {
    let service = Service { address: unused_address().await, accepted: Rc::default() };
    let upstream = upstream(&service, LIMITS);

    let failure =
        failure(send(&pool(&upstream), outgoing(Method::POST, "/p", RequestBody::Whole(Some("form".into())))).await);

    assert_eq!((failure.error.code(), failure.reached), (Code::ConnectionRefused, Reached::NoConnection));
    assert_eq!(upstream.permits.left(), LIMITS.max_connections);
}

#[tokio::test(flavor = "local")]
async fn many_requests_to_a_service_that_is_down_share_few_attempts() {
    let service = Service::raw(|tcp, _| async { drop(tcp) }).await;
    let upstream = over_tls(service.address.port(), &Authorities::new(), Duration::from_secs(5), LIMITS);

    check_all_told(&pool(&upstream), Code::ConnectionTerminated).await;

    assert!(service.accepted.get() <= 3, "{} attempts", service.accepted.get());
}

#[tokio::test(flavor = "local")]
async fn many_requests_to_a_service_with_the_wrong_certificate_share_few_attempts() {
    let service = handshakes(&Authorities::new(), AsksForCertificate::No).await;
    let upstream = over_tls(service.address.port(), &Authorities::new(), Duration::from_secs(5), LIMITS);

    check_all_told(&pool(&upstream), Code::TlsCertificateError).await;

    assert!(service.accepted.get() <= 3, "{} attempts", service.accepted.get());
}

#[tokio::test(flavor = "local")]
async fn many_requests_whose_certificate_is_refused_late_share_few_attempts() {
    let authorities = Authorities::new();
    let service = handshakes(&authorities, AsksForCertificate::Yes).await;
    let upstream = over_tls(service.address.port(), &authorities, Duration::from_secs(5), LIMITS);

    check_all_told(&pool(&upstream), Code::TlsAlertReceived).await;

    // The first handshake shows that it is HTTP/1.1; sixteen at a time follow before the first is refused.
    assert!(service.accepted.get() <= 100, "{} attempts", service.accepted.get());
}

#[tokio::test(flavor = "local")]
async fn requests_without_end_to_a_service_that_is_down_make_fewer_and_fewer_attempts() {
    let service = Service::raw(|tcp, _| async { drop(tcp) }).await;
    let upstream = over_tls(service.address.port(), &Authorities::new(), Duration::from_secs(5), LIMITS);
    let pool = pool(&upstream);
    let (began, mut requests) = (Instant::now(), JoinSet::new());

    for _ in 0..100 {
        let pool = pool.clone();
        requests.spawn_local(async move {
            while began.elapsed() < Duration::from_millis(500) {
                failure(send(&pool, get("/")).await);
            }
        });
    }
    requests.join_all().await;

    // Pauses of 10 ms, 20, 40, 80, 160 and 250, or up to twice as long but for the last.
    assert!((2..=8).contains(&service.accepted.get()), "{} attempts", service.accepted.get());
}

#[tokio::test(flavor = "local")]
async fn a_request_that_can_not_wait_for_the_next_attempt_hears_why_the_last_one_failed() {
    let service = Service { address: unused_address().await, accepted: Rc::default() };
    let limit = Duration::from_millis(100);
    let upstream = limited(&service, limit, 8);
    let pool = pool(&upstream);

    // The pauses are longer than the limit from the fifth on.
    for _ in 0..8 {
        let (began, failure) = (Instant::now(), failure(send(&pool, get("/")).await));

        assert_eq!((failure.error.code(), failure.reached), (Code::ConnectionRefused, Reached::NoConnection));
        assert!(began.elapsed() < 3 * limit, "{:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "local")]
async fn a_request_that_comes_when_the_service_is_back_never_hears_of_the_past() {
    let authorities = Authorities::new();
    let acceptor = TlsAcceptor::from(authorities.server("127.0.0.1", &[], AsksForCertificate::No));
    let down = Rc::new(Cell::new(true));
    let is_down = Rc::clone(&down);
    let service = Service::raw(move |tcp, _| {
        let (acceptor, down) = (acceptor.clone(), is_down.get());
        async move {
            if down {
                return;
            }
            let mut stream = acceptor.accept(tcp).await.unwrap();
            while !read_head(&mut stream).await.is_empty() {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            }
        }
    })
    .await;
    let upstream = over_tls(service.address.port(), &authorities, Duration::from_secs(5), LIMITS);
    let pool = pool(&upstream);
    for _ in 0..6 {
        failure(send(&pool, get("/")).await);
    }

    down.set(false);
    let began = Instant::now();

    assert_eq!(fetch(&pool, "/").await, "ok");
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "local")]
async fn a_handshake_that_hangs_does_not_keep_others_from_a_machine_that_answers() {
    let authorities = Authorities::new();
    let acceptor = TlsAcceptor::from(authorities.server("127.0.0.1", &[], AsksForCertificate::No));
    let first = Cell::new(true);
    let service = Service::raw(move |tcp, _| {
        let (acceptor, hangs) = (acceptor.clone(), first.replace(false));
        async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            let mut stream = acceptor.accept(tcp).await.unwrap();
            while !read_head(&mut stream).await.is_empty() {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            }
        }
    })
    .await;
    let limit = Duration::from_secs(60);
    let upstream = over_tls(service.address.port(), &authorities, limit, LIMITS);
    let pool = pool(&upstream);
    let mut requests = JoinSet::new();
    let began = Instant::now();

    for _ in 0..10 {
        let pool = pool.clone();
        requests.spawn_local(async move { assert_eq!(fetch(&pool, "/").await, "ok") });
    }
    requests.join_all().await;

    assert!(began.elapsed() < limit / 4, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "local")]
async fn a_handshake_that_hangs_holds_nobody_longer_than_the_limit() {
    let service = silent().await;
    let limit = Duration::from_millis(300);
    let upstream = over_tls(service.address.port(), &Authorities::new(), limit, LIMITS);
    let pool = pool(&upstream);
    let began = Instant::now();

    check_all_told(&pool, Code::ConnectionTimeout).await;

    assert!(service.accepted.get() <= 2, "{} attempts", service.accepted.get());
    assert!(began.elapsed() < 2 * limit, "{:?}", began.elapsed());
    until(|| upstream.permits.left() == LIMITS.max_connections).await;
}

#[tokio::test(flavor = "local")]
async fn a_full_service_is_waited_for_and_then_called_overloaded() {
    let service = silent().await;
    let upstream = limited(&service, Duration::from_millis(100), 1);
    let pool = pool(&upstream);
    let hog = Rc::clone(&pool);
    let running = tokio::task::spawn_local(async move { send(&hog, get("/")).await.is_ok() });
    until(|| service.accepted.get() == 1).await;

    let failure = failure(send(&pool, get("/second")).await);

    assert_eq!((failure.error.code(), failure.reached), (Code::Overloaded, Reached::Final));
    assert_eq!(failure.error.to_string(), "all 1 connections to the service are in use");
    assert!(!running.is_finished());
}

#[tokio::test(flavor = "local")]
async fn a_connection_that_ends_before_the_answer_is_a_reset() {
    let service = Service::raw(|mut tcp, _| async move {
        read_head(&mut tcp).await;
    })
    .await;
    let upstream = upstream(&service, LIMITS);

    let failure = failure(send(&pool(&upstream), get("/")).await);

    assert_eq!((failure.error.code(), failure.reached), (Code::ConnectionTerminated, Reached::Reset));
}

#[tokio::test(flavor = "local")]
async fn nonsense_is_not_asked_for_again() {
    let service = Service::answering("nonsense\r\n\r\n").await;
    let upstream = upstream(&service, LIMITS);

    let failure = failure(send(&pool(&upstream), get("/")).await);

    assert_eq!((failure.error.code(), failure.reached), (Code::HttpProtocolError, Reached::Final));
}

#[tokio::test(flavor = "local")]
async fn a_late_alert_is_final() {
    let authorities = Authorities::new();
    let service = handshakes(&authorities, AsksForCertificate::Yes).await;
    let upstream = over_tls(service.address.port(), &authorities, Duration::from_secs(5), LIMITS);

    let failure = failure(send(&pool(&upstream), get("/")).await);

    assert_eq!((failure.error.code(), failure.reached), (Code::TlsAlertReceived, Reached::Final));
}

#[tokio::test(flavor = "local")]
async fn an_answer_that_breaks_off_ends_in_an_error_and_a_closed_connection() {
    let service = Service::answering("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    let upstream = upstream(&service, LIMITS);
    let pool = pool(&upstream);

    let response = send(&pool, get("/")).await.unwrap_or_else(|failure| panic!("{}", failure.error));
    let error = response.into_body().collect().await.expect_err("half an answer");

    assert_eq!(error.code(), Code::HttpResponseIncomplete);
    assert_eq!(pool.idle.borrow().len(), 0);
    until(|| upstream.permits.left() == LIMITS.max_connections).await;
}

/// Sends a thousand requests at once, none of which gets an answer.
async fn check_all_told(pool: &Rc<Pool>, code: Code) {
    let mut requests = JoinSet::new();
    for _ in 0..1000 {
        let pool = pool.clone();
        requests.spawn_local(async move { failure(send(&pool, get("/")).await) });
    }
    for failure in requests.join_all().await {
        assert_eq!(failure.error.code(), code, "{}", failure.error);
        let late = code == Code::TlsAlertReceived && failure.reached == Reached::Final;
        assert!(late || failure.reached == Reached::NoConnection, "{:?}", failure.reached);
    }
}

/// Shakes hands, and that is all.
async fn handshakes(authorities: &Authorities, asks: AsksForCertificate) -> Service {
    let acceptor = TlsAcceptor::from(authorities.server("127.0.0.1", &[], asks));
    Service::raw(move |tcp, _| {
        let acceptor = acceptor.clone();
        async move { drop(acceptor.accept(tcp).await) }
    })
    .await
}

fn failure<T>(outcome: Result<T, SendFailure>) -> SendFailure {
    match outcome {
        Ok(_) => panic!("an answer came"),
        Err(failure) => failure,
    }
}

async fn unused_address() -> std::net::SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn limited(service: &Service, limit: Duration, max_connections: usize) -> std::sync::Arc<Upstream> {
    use crate::config::HttpVersion;
    use crate::transport::{Connector, Spelling};
    let connector = Connector::new(&service.url(), None, HttpVersion::Auto, Some(limit), Spelling::LowerCase);
    std::sync::Arc::new(Upstream::new(connector, config::PoolConfig { max_connections, ..LIMITS }))
}
