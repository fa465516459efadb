//! Name look-up, TCP and TLS.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::lab::{
    AsksForCertificate, Authorities, Service, answer_path, driven, get, over_tls, read_head, unanswered, url,
};
use crate::code::Code;
use crate::config::{HttpVersion, Scheme};
use crate::tls::{ClientCertificate, IssuerListing, Observation};
use crate::transport::dial::{self, DialNotes, Dialed};
use crate::transport::wire::{Wire, WireStream};
use crate::transport::{ConnectStep, Connected, Connector, Error, Protocol, Sender, Spelling, http};

#[tokio::test(flavor = "local")]
async fn a_refused_connection_is_called_so() {
    let port = {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        closed.local_addr().unwrap().port()
    };

    let error = failure(connector(port, None).connect().await);

    assert_eq!(error.code(), Code::ConnectionRefused);
    assert!(error.to_string().starts_with(&format!("no connection to 127.0.0.1:{port}: ")), "{error}");
}

#[tokio::test(flavor = "local")]
async fn a_name_that_does_not_exist_is_a_dns_error() {
    let mut unknown = url(Scheme::Http, 80);
    unknown.authority.host = "no-such-name.invalid".to_owned();
    let connector = Connector::new(&unknown, None, HttpVersion::Auto, None, Spelling::LowerCase);

    let error = failure(connector.connect().await);

    assert_eq!(error.code(), Code::DnsError);
    assert!(error.to_string().starts_with("`no-such-name.invalid` can't be looked up: "), "{error}");
}

#[tokio::test(flavor = "local")]
async fn a_handshake_that_hangs_ends_with_the_limit() {
    let silent = Service::raw(|tcp, _| async move {
        std::future::pending::<()>().await;
        drop(tcp);
    })
    .await;
    let tls = Authorities::new().client(&[]);
    let url = url(Scheme::Https, silent.address.port());
    let limit = Some(Duration::from_millis(50));

    let connector = Connector::new(&url, Some(tls), HttpVersion::Auto, limit, Spelling::LowerCase);
    let error = failure(connector.connect().await);

    assert_eq!(error.code(), Code::ConnectionTimeout);
    assert!(error.to_string().ends_with("took too long: `timeouts.connect` is 50ms"), "{error}");
}

#[tokio::test(flavor = "local")]
async fn tls_to_a_plain_port_is_a_tls_protocol_error() {
    let plain = Service::answering("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let service = Service::raw(|mut tcp, _| async move {
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        drop(tcp.read(&mut [0; 1024]).await);
    })
    .await;
    drop(plain);

    let error = failure(over_tls(service.address.port(), Authorities::new().client(&[]), HttpVersion::Auto).await);

    assert_eq!(error.code(), Code::TlsProtocolError, "{error}");
}

#[tokio::test(flavor = "local")]
async fn a_service_that_hangs_up_in_the_handshake_terminated_the_connection() {
    let service = Service::raw(|mut tcp, _| async move {
        drop(tcp.read(&mut [0; 64]).await);
    })
    .await;

    let error = failure(over_tls(service.address.port(), Authorities::new().client(&[]), HttpVersion::Auto).await);

    assert_eq!(error.code(), Code::ConnectionTerminated, "{error}");
}

#[tokio::test(flavor = "local")]
async fn a_certificate_of_another_ca_or_for_another_name_is_a_certificate_error() {
    let (known, unknown) = (Authorities::new(), Authorities::new());
    let foreign = tls_service(&unknown, "127.0.0.1", &[], AsksForCertificate::No).await;
    let misnamed = tls_service(&known, "elsewhere.example", &[], AsksForCertificate::No).await;

    for service in [foreign, misnamed] {
        let error = failure(over_tls(service.address.port(), known.client(&[]), HttpVersion::Auto).await);

        assert_eq!(error.code(), Code::TlsCertificateError, "{error}");
    }
}

#[tokio::test(flavor = "local")]
async fn an_alert_after_the_request_was_written_is_no_reset() {
    let authorities = Authorities::new();
    let service = tls_service(&authorities, "127.0.0.1", &[], AsksForCertificate::Yes).await;

    let connected = over_tls(service.address.port(), authorities.client(&[]), HttpVersion::Auto).await;
    let connected = connected.unwrap_or_else(|error| panic!("TLS 1.3 ends before the server saw our half: {error}"));
    let unsent = unanswered(driven(connected).ask(get("/")).await);

    assert_eq!(unsent.error.code(), Code::TlsAlertReceived, "{}", unsent.error);
    assert!(unsent.error.to_string().contains("certificate_required"), "{}", unsent.error);
}

#[tokio::test(flavor = "local")]
async fn a_probe_hears_of_a_refused_certificate_though_tls_1_3_was_done_before() {
    let authorities = Authorities::new();
    let service = tls_service(&authorities, "127.0.0.1", &[], AsksForCertificate::Yes).await;
    let url = url(Scheme::Https, service.address.port());

    let connector = Connector::new(&url, Some(authorities.client(&[])), HttpVersion::Auto, None, Spelling::LowerCase);
    let probed = connector.probe().await;

    let (step, error) = probed.outcome.err().expect("a refusal");
    assert_eq!((step, error.code()), (ConnectStep::Tls, Code::TlsAlertReceived), "{error}");
    assert!(probed.spent.tcp.is_some());
}

#[tokio::test(flavor = "local")]
async fn a_probe_that_is_welcome_meets_the_services_certificate_each_time() {
    let authorities = Authorities::new();
    let service = tls_service(&authorities, "127.0.0.1", &[b"h2"], AsksForCertificate::No).await;
    let url = url(Scheme::Https, service.address.port());
    let connector =
        Connector::new(&url, Some(authorities.client(&[b"h2"])), HttpVersion::Auto, None, Spelling::LowerCase);

    for _ in 0..2 {
        let Ok(found) = connector.probe().await.outcome else { panic!("a welcome") };

        assert_eq!((found.protocol, found.tls_version), (Protocol::Http2, Some("1.3")));
        assert!(found.peer.is_some());
    }
}

#[tokio::test(flavor = "local")]
async fn an_alert_is_heard_on_http2_too() {
    let authorities = Authorities::new();
    let service = tls_service(&authorities, "127.0.0.1", &[b"h2"], AsksForCertificate::Yes).await;

    let connected = over_tls(service.address.port(), authorities.client(&[b"h2"]), HttpVersion::Http2).await;
    let connected = connected.unwrap_or_else(|error| panic!("{error}"));
    let unsent = unanswered(driven(connected).ask(get("/")).await);

    assert_eq!(unsent.error.code(), Code::TlsAlertReceived, "{}", unsent.error);
}

#[tokio::test(flavor = "local")]
async fn the_certificate_is_named_where_a_connection_ends_before_its_first_answer_and_never_after_it() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        for answers in 0..=2 {
            let service = service_that_resets(protocol, answers).await;
            let mut sender = sender_after_a_certificate_was_shown(&service, protocol).await;
            for _ in 0..answers {
                let answer = sender.ask(get("/")).await.unwrap_or_else(|unsent| panic!("{}", unsent.error));
                sender.text(answer).await;
            }

            let error = unanswered(sender.ask(get("/")).await).error;

            assert_eq!(error.code(), Code::ConnectionTerminated, "{error}");
            let is_named = error.to_string().contains("; our client certificate was shown before");
            assert_eq!(is_named, answers == 0, "{protocol:?} after {answers}: {error}");
        }
    }
}

#[tokio::test(flavor = "local")]
async fn alpn_decides_what_is_spoken() {
    let authorities = Authorities::new();
    let both: &[&[u8]] = &[b"h2", b"http/1.1"];
    for (offered, expected) in [(both, Protocol::Http2), (&both[1..], Protocol::Http1), (&[], Protocol::Http1)] {
        let service = tls_service(&authorities, "127.0.0.1", offered, AsksForCertificate::No).await;

        let connected = over_tls(service.address.port(), authorities.client(both), HttpVersion::Auto).await;

        let connected = connected.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(connected.sender.protocol(), expected, "{offered:?}");
        assert!(connected.spent.tls > Some(Duration::ZERO));
    }
}

#[tokio::test(flavor = "local")]
async fn a_service_without_http2_is_named_where_http2_was_asked_for() {
    let authorities = Authorities::new();
    let service = tls_service(&authorities, "127.0.0.1", &[], AsksForCertificate::No).await;

    let error = failure(over_tls(service.address.port(), authorities.client(&[b"h2"]), HttpVersion::Http2).await);

    assert_eq!(error.code(), Code::HttpProtocolError);
    assert!(error.to_string().contains("it does not offer HTTP/2"), "{error}");
}

#[tokio::test(flavor = "local")]
async fn the_second_address_is_tried_when_the_first_refuses() {
    let service = Service::echoing_paths().await;
    let mut local = service.url();
    // ::1 and 127.0.0.1 where there is IPv6; nobody listens on ::1.
    local.authority.host = "localhost".to_owned();
    let connector = Connector::new(&local, None, HttpVersion::Auto, None, Spelling::LowerCase);

    let mut sender = driven(connector.connect().await.unwrap_or_else(|error| panic!("{error}")));

    assert_eq!(sender.fetch(get("/found")).await.1, "/found");
}

/// A listener beside a service: the same port of another address of this machine.
async fn beside(service: &Service) -> TcpListener {
    TcpListener::bind(("127.0.0.2", service.address.port())).await.unwrap()
}

#[tokio::test(flavor = "local")]
async fn an_address_behind_which_no_handshake_ends_gives_way_to_the_next() {
    let authorities = Authorities::new();
    let service = tls_service(&authorities, "127.0.0.1", &[], AsksForCertificate::No).await;
    let broken = beside(&service).await;
    let addresses = vec![broken.local_addr().unwrap(), service.address];
    let taken = Rc::new(Cell::new(0));
    let closing = spawn_local({
        let taken = Rc::clone(&taken);
        async move {
            loop {
                drop(broken.accept().await.unwrap());
                taken.set(taken.get() + 1);
            }
        }
    });
    let url = url(Scheme::Https, service.address.port());
    let connector = Connector::new(&url, Some(authorities.client(&[])), HttpVersion::Auto, None, Spelling::LowerCase);

    for _ in 0..3 {
        let dialed = dial::dial_one(&connector.0, addresses.clone(), &DialNotes::default(), None).await;
        assert!(dialed.is_ok(), "{}", dialed.err().unwrap());
    }

    // The first of them has found out for all.
    assert_eq!(taken.get(), 1);
    closing.abort();
}

#[tokio::test(flavor = "local")]
async fn what_a_handshake_failed_with_is_told_though_other_addresses_are_out_of_reach() {
    let authorities = Authorities::new();
    // For another name than the one that is asked for.
    let service = tls_service(&authorities, "elsewhere.example", &[], AsksForCertificate::No).await;
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 2], service.address.port()));
    let url = url(Scheme::Https, service.address.port());

    for addresses in [vec![nobody, service.address], vec![service.address, nobody]] {
        let connector =
            Connector::new(&url, Some(authorities.client(&[])), HttpVersion::Auto, None, Spelling::LowerCase);
        let dialed = dial::dial_one(&connector.0, addresses, &DialNotes::default(), None).await;
        let error = dialed.err().unwrap();
        assert_eq!(error.code(), Code::TlsCertificateError, "{error}");
    }
}

#[tokio::test(flavor = "local")]
async fn an_address_that_is_silent_in_tls_costs_one_connection_its_time() {
    let authorities = Authorities::new();
    let service = tls_service(&authorities, "127.0.0.1", &[], AsksForCertificate::No).await;
    let silent = beside(&service).await;
    let addresses = vec![silent.local_addr().unwrap(), service.address];
    let url = url(Scheme::Https, service.address.port());
    let connector = Connector::new(&url, Some(authorities.client(&[])), HttpVersion::Auto, None, Spelling::LowerCase);
    let dial = |limit: Option<Duration>| {
        let (connector, addresses) = (connector.clone(), addresses.clone());
        let deadline = limit.map(|limit| Instant::now() + limit);
        async move { dial::dial_one(&connector.0, addresses, &DialNotes::default(), deadline).await }
    };

    let first = dial(Some(Duration::from_millis(50))).await;
    assert_eq!(first.err().unwrap().code(), Code::ConnectionTimeout);
    let second = dial(None).await;

    assert!(second.is_ok(), "{}", second.err().unwrap());
}

#[test]
fn endpoints_are_interchangeable_only_if_they_agree_on_all() {
    let plain = |port, version, spelling| Connector::new(&url(Scheme::Http, port), None, version, None, spelling);
    let one = plain(80, HttpVersion::Auto, Spelling::LowerCase).fingerprint();

    assert_eq!(one, plain(80, HttpVersion::Auto, Spelling::LowerCase).fingerprint());
    assert_ne!(one, plain(81, HttpVersion::Auto, Spelling::LowerCase).fingerprint());
    assert_ne!(one, plain(80, HttpVersion::Http2, Spelling::LowerCase).fingerprint());
    assert_ne!(one, plain(80, HttpVersion::Auto, Spelling::TitleCase).fingerprint());
}

fn connector(port: u16, limit: Option<Duration>) -> Connector {
    Connector::new(&url(Scheme::Http, port), None, HttpVersion::Auto, limit, Spelling::LowerCase)
}

fn failure(outcome: Result<Connected, Error>) -> Error {
    match outcome {
        Ok(_) => panic!("it connected"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "local")]
async fn a_session_that_is_resumed_is_known_to_have_asked_for_no_certificate_of_its_own() {
    let authorities = Authorities::new();
    let acceptor = TlsAcceptor::from(authorities.server("127.0.0.1", &[], AsksForCertificate::No));
    let service = Service::raw(move |tcp, _| {
        let acceptor = acceptor.clone();
        async move { acceptor.accept(tcp).await.unwrap().write_all(b"!").await.unwrap() }
    })
    .await;
    let url = url(Scheme::Https, service.address.port());
    let tls = Some(authorities.client(&[]));
    let connector = Connector::new(&url, tls, HttpVersion::Auto, None, Spelling::LowerCase);

    for expected in [ClientCertificate::NotAskedFor, ClientCertificate::OfSession] {
        let dialed = dial::dial(&connector.0, &DialNotes::default()).await;
        let mut wire = dialed.unwrap_or_else(|error| panic!("{error}")).wire;
        // The tickets come before it.
        wire.read_u8().await.unwrap();

        assert_eq!(wire.seen().client_certificate, expected);
    }
}

/// Answers so many requests of each connection, reads one more, and resets it.
async fn service_that_resets(protocol: Protocol, answers: usize) -> Service {
    Service::raw(move |mut tcp, _| async move {
        tcp.set_zero_linger().unwrap();
        if protocol == Protocol::Http1 {
            for _ in 0..answers {
                answer_path(&mut tcp).await;
            }
            read_head(&mut tcp).await;
            return;
        }
        let mut connection = h2::server::handshake(tcp).await.unwrap();
        for _ in 0..answers {
            let (_, mut respond) = connection.accept().await.unwrap().unwrap();
            respond.send_response(::http::Response::new(()), true).unwrap();
        }
        drop(connection.accept().await);
    })
    .await
}

/// On a connection without TLS, whose handshake was as if a certificate had been asked for.
async fn sender_after_a_certificate_was_shown(service: &Service, protocol: Protocol) -> Sender {
    let mut seen = Observation::default();
    seen.client_certificate = ClientCertificate::Shown { issuer: IssuerListing::Listed, defect: None };
    let tcp = TcpStream::connect(service.address).await.unwrap();
    let dialed = Dialed { wire: Wire::new(WireStream::Plain(tcp), seen), protocol };
    let connected = http::handshake(dialed, Default::default(), &service.connector().0).await;
    driven(connected.unwrap_or_else(|error| panic!("{error}")))
}

/// Shakes hands and keeps the connection open until the other side closes it.
async fn tls_service(authorities: &Authorities, name: &str, alpn: &[&[u8]], client: AsksForCertificate) -> Service {
    let acceptor = TlsAcceptor::from(authorities.server(name, alpn, client));
    Service::raw(move |tcp, _| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(mut stream) = acceptor.accept(tcp).await {
                while stream.read(&mut [0; 1024]).await.is_ok_and(|bytes| bytes > 0) {}
            }
        }
    })
    .await
}
