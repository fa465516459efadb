//! Through an outbound proxy: every pairing of plain and TLS, and what a proxy may do instead.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::super::proxy::OutboundProxy;
use super::lab::{AsksForCertificate, Authorities, Service, driven, get, outgoing, read_head, url};
use crate::code::Code;
use crate::config::{HttpVersion, Scheme};
use crate::tls::ClientTls;
use crate::transport::{ConnectStep, Connector, Error, Protocol, RequestBody, Spelling, WayOut};

/// Tunnels to whatever port of this machine it is asked for, whatever the host's name; over TLS if there is an acceptor.
async fn proxy(tls: Option<TlsAcceptor>) -> Service {
    Service::raw(move |tcp, _| {
        let tls = tls.clone();
        async move {
            match tls {
                None => tunnel(tcp).await,
                Some(tls) => tunnel(tls.accept(tcp).await.unwrap()).await,
            }
        }
    })
    .await
}

async fn tunnel(mut near: impl AsyncRead + AsyncWrite + Unpin) {
    let head = read_head(&mut near).await;
    let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap();
    let port: u16 = target.rsplit_once(':').unwrap().1.parse().unwrap();
    let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
    // Either end may break it off.
    drop(copy_bidirectional(&mut near, &mut far).await);
}

/// Answers each request with its own body, over TLS if there is an acceptor.
async fn echo(tls: Option<TlsAcceptor>) -> Service {
    Service::raw(move |tcp, _| {
        let tls = tls.clone();
        async move {
            match tls {
                None => echo_bodies(tcp).await,
                Some(tls) => echo_bodies(tls.accept(tcp).await.unwrap()).await,
            }
        }
    })
    .await
}

async fn echo_bodies(mut app: impl AsyncRead + AsyncWrite + Unpin) {
    loop {
        let head = read_head(&mut app).await.to_ascii_lowercase();
        if head.is_empty() {
            return;
        }
        let length =
            head.split_once("content-length: ").map_or(0, |(_, rest)| rest.lines().next().unwrap().parse().unwrap());
        let mut body = vec![0; length];
        app.read_exact(&mut body).await.unwrap();
        app.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").as_bytes()).await.unwrap();
        app.write_all(&body).await.unwrap();
        app.flush().await.unwrap();
    }
}

fn through(proxy: &Service, scheme: Scheme, tls: Option<ClientTls>) -> WayOut {
    WayOut::Through(OutboundProxy::at(scheme, &proxy.address.to_string(), tls, None))
}

fn connector(scheme: Scheme, port: u16, tls: Option<ClientTls>, limit: Option<Duration>) -> Connector {
    let mut url = url(scheme, port);
    url.authority.host = "service.example".to_owned();
    Connector::new(&url, tls, HttpVersion::Auto, limit, Spelling::LowerCase)
}

#[tokio::test(flavor = "local")]
async fn bodies_pass_whole_through_every_pairing_of_plain_and_tls() {
    let authorities = Authorities::new();
    let acceptor = |name| TlsAcceptor::from(authorities.server(name, &[], AsksForCertificate::No));
    let body: Bytes = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect::<Vec<_>>().into();
    for proxy_tls in [false, true] {
        for service_tls in [false, true] {
            let proxy = proxy(proxy_tls.then(|| acceptor("127.0.0.1"))).await;
            let service = echo(service_tls.then(|| acceptor("127.0.0.1"))).await;
            let scheme = |tls| if tls { Scheme::Https } else { Scheme::Http };
            let client = |tls: bool| tls.then(|| authorities.client(&[]));
            let way = through(&proxy, scheme(proxy_tls), client(proxy_tls));
            let port = service.address.port();
            let connector = connector(scheme(service_tls), port, client(service_tls), None).by(way);

            let connected = connector.connect().await.unwrap_or_else(|error| panic!("{error}"));
            let spent = connected.spent;
            let mut sender = driven(connected);
            for size in [0, 1, 100, 70_000, body.len()] {
                let mut upload = outgoing(Method::POST, "/", RequestBody::Whole(Some(body.slice(..size))));
                upload.fields.insert(http::header::CONTENT_LENGTH, size.into());
                let answer = sender.ask(upload).await.unwrap_or_else(|unsent| panic!("{}", unsent.error));
                let answered = http_body_util::BodyExt::collect(sender.read(answer.into_body())).await;
                let answered = answered.unwrap_or_else(|error| panic!("{error}")).to_bytes();

                assert!(answered == body.slice(..size), "{size} bytes, {proxy_tls} {service_tls}");
            }

            assert!(spent.proxy.is_some() && spent.tls.is_some() == service_tls, "{spent:?}");
            assert_eq!((proxy.accepted.get(), service.accepted.get()), (1, 1));
        }
    }
}

#[tokio::test(flavor = "local")]
async fn alpn_and_a_probe_see_the_service_and_not_the_proxy() {
    let authorities = Authorities::new();
    let proxy =
        proxy(Some(TlsAcceptor::from(authorities.server("127.0.0.1", &[b"http/1.1"], AsksForCertificate::No)))).await;
    let service = TlsAcceptor::from(authorities.server("127.0.0.1", &[b"h2"], AsksForCertificate::No));
    let service = Service::raw(move |tcp, _| {
        let service = service.clone();
        async move {
            let mut stream = service.accept(tcp).await.unwrap();
            while stream.read(&mut [0; 1024]).await.is_ok_and(|bytes| bytes > 0) {}
        }
    })
    .await;
    let way = through(&proxy, Scheme::Https, Some(authorities.client(&[b"http/1.1"])));
    let connector =
        connector(Scheme::Https, service.address.port(), Some(authorities.client(&[b"h2", b"http/1.1"])), None);

    let probed = connector.by(way).probe().await;

    let Ok(found) = probed.outcome else { panic!("no connection") };
    assert_eq!((found.protocol, found.tls_version), (Protocol::Http2, Some("1.3")));
    assert!(found.peer.is_some() && probed.spent.proxy.is_some());
}

#[tokio::test(flavor = "local")]
async fn what_the_service_says_first_is_not_lost() {
    // A server of HTTP/2 need not wait for its client's preface.
    let service = Service::raw(|mut tcp, _| async move {
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        tcp.write_all(&settings).await.unwrap();
        let mut preface = [0; 24];
        tcp.read_exact(&mut preface).await.unwrap();
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        // What acknowledges the settings proves that they were read.
        let mut frames = Vec::new();
        while !frames.windows(5).any(|window| window == [0, 0, 0, 4, 1]) {
            assert!(tcp.read_buf(&mut frames).await.unwrap() > 0, "{frames:?}");
        }
        tcp.write_all(&[0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88]).await.unwrap();
        while tcp.read(&mut [0; 1024]).await.is_ok_and(|bytes| bytes > 0) {}
    })
    .await;
    let proxy = proxy(None).await;
    let mut url = url(Scheme::Http, service.address.port());
    url.authority.host = "service.example".to_owned();
    let connector = Connector::new(&url, None, HttpVersion::Http2, None, Spelling::LowerCase);

    let connected = connector.by(through(&proxy, Scheme::Http, None)).connect().await;
    let mut sender = driven(connected.unwrap_or_else(|error| panic!("{error}")));
    let answer = sender.ask(get("/")).await.unwrap_or_else(|unsent| panic!("{}", unsent.error));

    assert_eq!(answer.status(), 200);
}

/// What connecting through this proxy fails with.
async fn failure(proxy: &str, limit: Option<Duration>) -> Error {
    let way = WayOut::Through(OutboundProxy::plain(proxy, Some(("me", "hunter2"))));
    match connector(Scheme::Http, 80, None, limit).by(way).connect().await {
        Ok(_) => panic!("it connected"),
        Err(error) => error,
    }
}

#[track_caller]
fn check(error: &Error, code: Code, begin: &str) {
    assert_eq!(error.code(), code, "{error}");
    assert!(error.to_string().starts_with(begin), "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test(flavor = "local")]
async fn a_proxy_that_can_not_be_reached_is_named_and_not_the_service() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();

    let refused = failure(&closed.to_string(), None).await;
    let unknown = failure("no-such-name.invalid:3128", None).await;

    check(&refused, Code::ConnectionRefused, &format!("the outbound proxy http://{closed} can't be reached: "));
    let looked_up = "the outbound proxy http://no-such-name.invalid:3128 can't be looked up: ";
    check(&unknown, Code::DnsError, looked_up);
}

#[tokio::test(flavor = "local")]
async fn a_proxy_that_hangs_is_within_the_limit_and_named() {
    let silent =
        Service::raw(|mut tcp, _| async move { while tcp.read(&mut [0; 64]).await.is_ok_and(|bytes| bytes > 0) {} })
            .await;

    let error = failure(&silent.address.to_string(), Some(Duration::from_millis(50))).await;

    let said = format!(
        "connecting to service.example:80 took too long: `timeouts.connect` is 50ms, through the outbound proxy http://{}",
        silent.address
    );
    check(&error, Code::ConnectionTimeout, &said);
}

#[tokio::test(flavor = "local")]
async fn a_refusal_names_the_proxy_the_status_and_what_to_do() {
    let refusing =
        Service::answering("HTTP/1.1 407 hunter2\r\nproxy-authenticate: Basic realm=\"hunter2\"\r\n\r\n").await;

    let error = failure(&refusing.address.to_string(), None).await;

    let said = format!(
        "the outbound proxy http://{} answered 407 Proxy Authentication Required to CONNECT service.example:80: it does not \
         take this user and password",
        refusing.address
    );
    check(&error, Code::ConnectionRefused, &said);
}

#[tokio::test(flavor = "local")]
async fn a_proxy_whose_certificate_is_not_trusted_hears_nothing() {
    let (known, unknown) = (Authorities::new(), Authorities::new());
    let acceptor = TlsAcceptor::from(unknown.server("127.0.0.1", &[], AsksForCertificate::No));
    let strange = Service::raw(move |tcp, _| {
        let acceptor = acceptor.clone();
        async move { assert!(acceptor.accept(tcp).await.is_err(), "it was trusted") }
    })
    .await;
    let plain = Service::raw(|mut tcp, _| async move {
        drop(tcp.read(&mut [0; 1024]).await);
        drop(tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
    })
    .await;

    for (proxy, code) in [(&strange, Code::TlsCertificateError), (&plain, Code::TlsProtocolError)] {
        let way = through(proxy, Scheme::Https, Some(known.client(&[])));
        let probed = connector(Scheme::Http, 80, None, None).by(way).probe().await;

        let Err((step, error)) = probed.outcome else { panic!("it connected") };
        assert_eq!(step, ConnectStep::Proxy);
        check(&error, code, &format!("the outbound proxy https://{} can't be reached over TLS: ", proxy.address));
    }
}

#[tokio::test(flavor = "local")]
async fn a_connection_that_fails_without_a_proxy_says_why_there_is_none() {
    let selector = crate::transport::ProxySelector::default();
    let mut unknown = url(Scheme::Https, 443);
    unknown.authority.host = "no-such-name.invalid".to_owned();
    let connector =
        Connector::new(&unknown, Some(Authorities::new().client(&[])), HttpVersion::Auto, None, Spelling::LowerCase);

    let Err(error) = connector.by(selector.way_to(&unknown)).connect().await else { panic!("it connected") };

    assert_eq!(error.code(), Code::DnsError);
    assert!(error.to_string().ends_with("; no outbound proxy is set"), "{error}");
}

#[tokio::test(flavor = "local")]
async fn connections_by_different_ways_are_not_interchangeable() {
    let of = |way: WayOut| connector(Scheme::Http, 80, None, None).by(way).fingerprint();
    let login = |login| WayOut::Through(OutboundProxy::plain("proxy.example:3128", login));

    let all = [
        connector(Scheme::Http, 80, None, None).fingerprint(),
        of(login(None)),
        of(login(Some(("me", "one")))),
        of(login(Some(("me", "two")))),
    ];

    assert_eq!(of(login(None)), all[1]);
    for (at, one) in all.iter().enumerate() {
        assert!(!all[..at].contains(one), "{at}");
    }
}
