//! `CONNECT`: tunnels to services, in which plain HTTP is spoken, and to what `connect.allow` lists.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::lab::client::{Connection, Ended, Request};
use crate::lab::http2_app::{Http2App, in_time, read};
use crate::lab::nginx::Seen;
use crate::lab::proxy::ForwardProxy;
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, until};

const SERVICE: &str = "services: { payments: { url: $SERVICE/v1, certificate: partner, \
                       auth: { type: bearer, token: secret-token } } }";

fn connect(target: &str, fields: &str) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{fields}\r\n")
}

/// A tunnel, and how its answer began.
async fn opened(sidekey: &Sidekey, target: &str, fields: &str) -> Connection {
    let mut connection = sidekey.raw(connect(target, fields)).await;
    // Nothing is its body (RFC 9110 §9.3.6).
    connection.expects("HEAD");
    let answer = connection.answer().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    for name in ["content-length", "transfer-encoding", "connection", "proxy-status"] {
        assert_eq!(answer.field(name), None, "{answer:?}");
    }
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn inside_a_tunnel_to_a_service_plain_http_is_spoken_as_if_absolute_form_had_come() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(SERVICE).await;
    let authority = lab.fill_in("$AUTHORITY");

    let mut tunnel = opened(&sidekey, &authority, "Proxy-Connection: keep-alive\r\n").await;
    for number in 0..3 {
        let fields =
            "Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\nAuthorization: Bearer mine\r\n";
        tunnel
            .write(format!(
                "POST /v1/orders?n={number} HTTP/1.1\r\nHost: {authority}\r\n{fields}Content-Length: 4\r\n\r\nbody"
            ))
            .await;
        tunnel.expects("POST");
        let seen = Seen::read(&tunnel.answer().await);

        assert_eq!(seen.target, format!("/v1/orders?n={number}"));
        assert_eq!((seen.authorization.as_str(), seen.body.as_str()), ("Bearer secret-token", "body"));
        assert!(seen.subject.contains("CN=partner"), "{seen:?}");
        assert_eq!((seen.field("proxy-connection"), seen.field("proxy-authorization")), (None, None));
    }
    // Outside of the base path there is nothing, and a route by path is for those who call us by our own name.
    tunnel.expects("GET");
    tunnel.write(format!("GET /payments/orders HTTP/1.1\r\nHost: {authority}\r\n\r\n")).await;
    let outside = tunnel.answer().await;
    assert_eq!(outside.status, 404, "{outside:?}");
    assert_eq!(sidekey.metric("sidekey_requests_total{service=\"payments\",code=\"200\"}").await, 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_says_with_its_connect_is_the_tunnels_first_however_it_arrives() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(SERVICE).await;
    let authority = lab.fill_in("$AUTHORITY");
    let get = format!("GET /v1/orders HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    let bytes = connect(&authority, "") + &get + &get;

    for size in [1, 7, bytes.len()] {
        let mut tunnel = sidekey.connect().await;
        for piece in bytes.as_bytes().chunks(size) {
            tunnel.write(piece).await;
        }

        tunnel.expects("HEAD");
        assert_eq!(tunnel.answer().await.status, 200);
        tunnel.expects("GET");
        for _ in 0..2 {
            assert_eq!(Seen::read(&tunnel.answer().await).target, "/v1/orders", "{size}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_gets_to_a_service_through_a_tunnel() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(SERVICE).await;

    let arguments =
        format!("--proxytunnel --proxy http://{} --data hello http://$AUTHORITY/v1/orders", sidekey.address);
    let seen = tokio::task::block_in_place(|| lab.curl(&arguments));

    assert!(seen.contains("CN=partner") && seen.contains("Bearer secret-token"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_inside_a_tunnel_to_a_service_is_closed_and_the_log_says_why() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(SERVICE).await;
    let authority = lab.fill_in("$AUTHORITY");
    let hello = [0x16, 3, 1, 0, 5, 1, 0, 0, 1, 3];

    let mut tunnel = opened(&sidekey, &authority, "").await;
    tunnel.write(hello).await;

    assert_eq!(tunnel.closed().await, Ended::Early);
    sidekey.until_logged(&format!("an app speaks TLS in a tunnel to the service at `{authority}`")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_to_anywhere_else_is_refused_with_what_to_do_instead() {
    let lab = Lab::start().await;
    let listed = "connect: { allow: ['listed.example:443', '*.below.example:443'] }";
    let sidekey = lab.sidekey(&format!("{SERVICE}\n{listed}")).await;

    for target in ["other.example:443", "localhost:1", "listed.example:444", "below.example:443", "xbelow.example:443"]
    {
        let mut connection = sidekey.raw(connect(target, "")).await;
        let answer = connection.answer().await;

        assert_eq!(answer.status, 405, "{target}: {answer:?}");
        let detail = answer.problem("method_not_allowed");
        assert!(answer.field("allow").is_some_and(|allow| allow.contains("GET")), "{answer:?}");
        assert!(detail.contains("use an `http://` URL") && detail.contains("`connect.allow`"), "{detail}");
    }
    for (target, fields) in [("localhost", ""), ("localhost:0", ""), ("$AUTHORITY", "Content-Length: 4\r\n")] {
        let mut connection = sidekey.raw(connect(&lab.fill_in(target), fields)).await;
        let answer = connection.answer().await;
        assert_eq!(answer.status, 400, "{target}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_no_200_to_who_says_that_it_is_grpc_and_the_log_says_where_it_was_to_lead() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(SERVICE).await;

    let mut connection = sidekey.raw(connect("other.example:443", "Content-Type: application/grpc\r\n")).await;

    connection.answer().await.problem("method_not_allowed");
    sidekey.until_logged("path=\"other.example:443\"").await;
    let mut absolute = sidekey.raw("CONNECT http://other.example:443/ HTTP/1.1\r\nHost: a\r\n\r\n").await;
    absolute.answer().await.problem("bad_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_inside_a_tunnel_is_refused() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(SERVICE).await;
    let authority = lab.fill_in("$AUTHORITY");

    let mut tunnel = opened(&sidekey, &authority, "").await;
    tunnel.write(connect(&authority, "")).await;
    tunnel.expects("CONNECT");

    let answer = tunnel.answer().await;
    assert_eq!(answer.status, 405, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_access_is_asked_for_with_connect_and_not_again_inside() {
    let lab = Lab::start().await;
    let token = "access: { token: our-own-token-of-access }\nconnect: { allow: ['localhost:$PORT'] }";
    let sidekey =
        lab.sidekey(&format!("{}\n{token}", SERVICE.replace("$SERVICE/v1", "https://api.example:$PORT/v1"))).await;
    let shown = "Proxy-Authorization: Bearer our-own-token-of-access\r\n";

    for target in ["api.example:$PORT", "localhost:$PORT", "other.example:443"] {
        let target = lab.fill_in(target);
        for fields in ["", "Authorization: Bearer our-own-token-of-access\r\n", "Proxy-Authorization: Bearer wrong\r\n"]
        {
            let answer = sidekey.raw(connect(&target, fields)).await.answer().await;
            assert_eq!(answer.status, 407, "{target} {fields}: {answer:?}");
        }
    }
    let mut tunnel = opened(&sidekey, &lab.fill_in("api.example:$PORT"), shown).await;
    tunnel.expects("GET");
    let inside = tunnel.send(Request::get("/v1/orders").host("api.example")).await;

    // It got as far as the name, which nobody knows: so it was let in.
    assert_eq!(inside.status, 502, "{inside:?}");
    inside.problem("dns_error");
}

/// Says back what it is told, once it has been told all of it.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut all = Vec::new();
                if tcp.read_to_end(&mut all).await.is_ok() {
                    let _gone = tcp.write_all(&all).await;
                } else {
                    tcp.set_zero_linger().unwrap();
                }
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_pass_as_they_are_to_what_is_listed_and_each_way_ends_by_itself() {
    let (lab, port) = (Lab::start().await, echo().await);
    let config = format!("services: {{}}\nconnect: {{ allow: ['localhost:{port}'] }}\nlog: {{ access: all }}");
    let sidekey = lab.sidekey(&config).await;
    let body: Vec<u8> = (0..2_000_000_u32).map(|at| (at % 251) as u8).collect();

    let mut tcp = TcpStream::connect(&sidekey.address).await.unwrap();
    // The first of the tunnel's bytes come with the head.
    let head = connect(&format!("localhost:{port}"), "Authorization: Bearer of-the-app\r\n");
    tcp.write_all(&[head.as_bytes(), &body[..100]].concat()).await.unwrap();
    tcp.write_all(&body[100..]).await.unwrap();
    tcp.shutdown().await.unwrap();
    let mut got = Vec::new();
    tcp.read_to_end(&mut got).await.unwrap();

    let end = got.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert!(got.starts_with(b"HTTP/1.1 200 "), "{:?}", String::from_utf8_lossy(&got[..end]));
    assert!(got[end..] == body, "{} bytes of {}", got.len() - end, body.len());
    sidekey.until_logged("\"sent\":2000000,\"received\":2000000").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_speaks_tls_of_its_own_through_a_tunnel_that_is_listed_though_it_is_a_services() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(&format!("{SERVICE}\nconnect: {{ allow: ['localhost:$PORT'] }}")).await;

    let arguments = format!(
        "--proxy http://{} --cert tls/other.pem --key tls/other.key https://$AUTHORITY/v1/orders",
        sidekey.address
    );
    let seen = tokio::task::block_in_place(|| lab.curl(&arguments));

    assert!(seen.contains("CN=other") && !seen.contains("secret-token"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_listed_as_one_of_many_is_the_services() {
    let lab = Lab::start().await;
    let url = format!("services: {{ local: {{ url: 'http://a.localhost:{}' }} }}", lab.nginx.plain);
    let allow = format!("connect: {{ allow: ['*.localhost:{}'] }}", lab.nginx.plain);
    let sidekey = lab.sidekey(&format!("{url}\n{allow}")).await;

    let mut tunnel = opened(&sidekey, &format!("a.localhost:{}", lab.nginx.plain), "").await;
    tunnel.write([0x16, 3, 1]).await;

    assert_eq!(tunnel.closed().await, Ended::Early);
    sidekey.until_logged("an app speaks TLS in a tunnel").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_that_breaks_off_at_one_end_breaks_off_at_the_other() {
    let lab = Lab::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let sidekey = lab.sidekey(&format!("services: {{}}\nconnect: {{ allow: ['localhost:{port}'] }}")).await;

    let mut tunnel = opened(&sidekey, &format!("localhost:{port}"), "").await;
    let (far, _) = listener.accept().await.unwrap();
    far.set_zero_linger().unwrap();
    drop(far);
    assert_eq!(tunnel.closed().await, Ended::Reset);

    let tunnel = opened(&sidekey, &format!("localhost:{port}"), "").await;
    let (mut far, _) = listener.accept().await.unwrap();
    tunnel.reset();
    assert!(far.read_u8().await.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));

    // One side may have ended before.
    let mut app = TcpStream::connect(&sidekey.address).await.unwrap();
    app.write_all(connect(&format!("localhost:{port}"), "").as_bytes()).await.unwrap();
    let (mut far, _) = listener.accept().await.unwrap();
    app.shutdown().await.unwrap();
    in_time(far.read_to_end(&mut Vec::new())).await.unwrap();
    app.set_zero_linger().unwrap();
    drop(app);
    in_time(far.write_all(b"there?")).await.unwrap();
    let error = until("the reset", async || far.take_error().unwrap()).await;
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_goes_by_the_environments_proxy_and_one_that_can_not_be_made_says_so() {
    let (lab, proxy, port) = (Lab::start().await, ForwardProxy::start().await, echo().await);
    let closed = crate::lab::free_port();
    let config = format!("services: {{}}\nconnect: {{ allow: ['away.example:{port}', 'localhost:{closed}'] }}");
    let sidekey = lab.sidekey_with(&config, &[], &[("HTTPS_PROXY", proxy.url())]).await;

    let _tunnel = opened(&sidekey, &format!("away.example:{port}"), "").await;
    let refused = sidekey.raw(connect(&format!("localhost:{closed}"), "")).await.answer().await;

    assert_eq!(proxy.targets(), [format!("away.example:{port}")]);
    assert_eq!(refused.status, 502, "{refused:?}");
    refused.problem("connection_refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_drain_cuts_a_tunnel_so_that_it_can_not_pass_for_whole() {
    let lab = Lab::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = format!("services: {{}}\nconnect: {{ allow: ['localhost:{port}'] }}\nshutdown: {{ drain: 100ms }}");
    let sidekey = lab.sidekey(&config).await;
    let mut tunnel = opened(&sidekey, &format!("localhost:{port}"), "").await;
    let (mut far, _) = listener.accept().await.unwrap();

    let (code, _) = sidekey.stop().await;

    assert_eq!((code, tunnel.closed().await), (Some(0), Ended::Reset));
    assert!(far.read_u8().await.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_2_a_stream_is_the_tunnel_to_what_is_listed_and_none_leads_to_a_service() {
    let (lab, port) = (Lab::start().await, echo().await);
    let sidekey = lab.sidekey(&format!("{SERVICE}\nconnect: {{ allow: ['localhost:{port}'] }}")).await;
    let mut app = Http2App::open(&sidekey.address).await;
    let connect = |target: &str| http::Request::builder().method("CONNECT").uri(target).body(()).unwrap();
    let body: Vec<u8> = (0..50_000_u32).map(|at| (at % 251) as u8).collect();

    for _ in 0..2 {
        let (answer, mut stream) = app.begin(connect(&format!("localhost:{port}")), false).await;
        stream.send_data(body.clone().into(), true).unwrap();
        let answer = in_time(async { read(answer.await.unwrap()).await }).await.unwrap();
        assert!(answer.status == 200 && answer.body == body, "{} {}", answer.status, answer.body.len());
    }

    let (answer, _stream) = app.begin(connect(&lab.fill_in("$AUTHORITY")), false).await;
    let refused = in_time(answer).await.unwrap();
    assert_eq!(refused.status(), 405, "{refused:?}");
}
