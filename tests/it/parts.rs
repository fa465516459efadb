//! The lab itself: its parts do what the other tests take for granted, with no Sidekey between.

use std::process::Command;

use crate::lab::Lab;
use crate::lab::client::{Connection, Ended, Request, exchange};
use crate::lab::fault::{Fault, Reply};

fn curl(lab: &Lab, arguments: &str) -> String {
    let arguments = lab.fill_in(arguments);
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "20", "--cacert", "tls/ca.pem"]).current_dir(lab.folder());
    let output = curl.args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "curl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn nginx_tells_what_it_saw() {
    let lab = Lab::start().await;
    let request = "--cert tls/partner.pem --key tls/partner.key -d body -H Authorization:abc $SERVICE/a//%2e?b";

    let text = curl(&lab, request);

    let fingerprint = format!("fingerprint: {}", lab.partner.fingerprint());
    for part in ["subject: CN=partner\n", &fingerprint, "request: POST /a//%2e?b HTTP/1.1", "\r\n\r\nbody"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(curl(&lab, "$SERVICE/").contains("400 No required SSL certificate was sent"));
    let http2 = curl(&lab, &request.replace("$SERVICE", "$SERVICE_HTTP2"));
    assert!(http2.contains("protocol: HTTP/2.0") && http2.contains("authorization: abc"), "{http2}");
}

#[tokio::test]
async fn the_identity_provider_knows_three_client_authentications() {
    let lab = Lab::start().await;
    let idp = lab.idp().await;
    let token = |client: &str| {
        curl(&lab, &format!("-d grant_type=client_credentials {client} https://localhost:{}/token", idp.port))
    };

    for client in [
        "-u by-basic:basic-secret",
        "-d client_id=by-post -d client_secret=post-secret",
        "-d client_id=by-certificate --cert tls/partner.pem --key tls/partner.key",
    ] {
        assert!(token(client).contains("\"access_token\":\"ey"), "{client}");
    }
    for client in [
        "-u by-basic:wrong",
        "-d client_id=by-certificate",
        "-d client_id=by-certificate --cert tls/other.pem --key tls/other.key",
    ] {
        assert!(token(client).contains("invalid_client"), "{client}");
    }
    let statuses: Vec<_> = idp.token_requests().await.iter().map(|request| request["status"].clone()).collect();
    assert_eq!(statuses, [200, 200, 200, 401, 401, 401]);
}

#[tokio::test]
async fn the_misbehaving_server_keeps_what_it_got_and_breaks_what_it_should() {
    let server = Fault::plain(|request| match request.number {
        0 => Reply::ok("welcome"),
        1 => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").then_reset(),
        _ => Reply::default().then_close(),
    })
    .await;
    let address = server.url().replace("http://", "");

    let whole = exchange(&address, Request::chunked("PUT", "/a", "body")).await;
    let broken = exchange(&address, Request::get("/b")).await;
    let mut closed = Connection::open(&address).await;
    closed.write(Request::get("/c").to_bytes("x")).await;

    assert_eq!((whole.text().as_str(), whole.ended), ("welcome", Ended::Whole));
    assert_eq!((broken.text().as_str(), broken.ended), ("half", Ended::Reset));
    assert_eq!(closed.closed().await, Ended::Early);
    assert_eq!((server.received()[0].text().as_str(), server.received()[0].whole), ("4\r\nbody\r\n0\r\n\r\n", true));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_misbehaving_server_speaks_tls() {
    let lab = Lab::start().await;
    let server = Fault::tls(&lab, |_| Reply::ok("welcome")).await;

    let text = tokio::task::block_in_place(|| curl(&lab, &server.url()));

    assert_eq!((text.as_str(), server.only().target()), ("welcome", "/"));
}
