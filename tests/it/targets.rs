//! Targets as real clients write them: what a query holds arrives byte for byte, and what can't be taken is named.

use std::process::Command;

use crate::lab::Lab;
use crate::lab::bed;
use crate::lab::client::Request;
use crate::lab::fault::{Fault, Reply};

/// All that can stand in a query: no space, no control character, and no `#`, where a fragment begins.
fn whatever_a_query_holds() -> Vec<u8> {
    (0x21..=0xff).filter(|byte| !matches!(byte, b'#' | 0x7f)).collect()
}

fn get(target: &[u8], host: &str) -> Vec<u8> {
    [b"GET ", target, b" HTTP/1.1\r\nX-Also: ?\"<\xfc>\"\r\nHost: ", host.as_bytes(), b"\r\n\r\n"].concat()
}

#[tokio::test]
async fn a_query_arrives_byte_for_byte_whatever_it_holds_and_however_it_comes() {
    let (lab, service) = (Lab::start().await, Fault::plain(|_| Reply::ok("welcome")).await);
    let sidekey = lab.sidekey(&format!("services: {{ payments: {{ url: '{}/v1' }} }}", service.url())).await;
    let authority = format!("127.0.0.1:{}", service.port);
    let all = whatever_a_query_holds();
    let mut queries: Vec<Vec<u8>> = all.iter().map(|byte| vec![b'x', b'=', *byte]).collect();
    queries.extend([all.clone(), [&all[..], b"&more=1"].concat(), "b\u{fc}cher=\u{10FF22}\u{10FFFF}".into()]);
    let mut expected = Vec::new();

    // One after the other on one connection, in each form.
    let mut app = sidekey.connect().await;
    for query in &queries {
        let whole = format!("http://{authority}/v1/x?").into_bytes();
        for (target, host) in [
            ([b"/payments/x?", &query[..]].concat(), "localhost"),
            ([b"/x?", &query[..]].concat(), "payments.localhost"),
            ([&whole[..], &query[..]].concat(), &*authority),
        ] {
            app.write(get(&target, host)).await;
            assert_eq!(app.answer().await.status_of_service(), 200, "{}", target.escape_ascii());
            expected.push([b"GET /v1/x?", &query[..], b" HTTP/1.1"].concat());
        }
    }
    // Behind a body, which stays as it is.
    app.write("POST /payments/x?\"a\" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n?\"<").await;
    assert_eq!(app.answer().await.status_of_service(), 200);
    assert_eq!(service.received().last().unwrap().text(), "?\"<");
    expected.push(b"POST /v1/x?\"a\" HTTP/1.1".to_vec());
    app.write(get(b"/payments/x?\"b\"", "localhost")).await;
    assert_eq!(app.answer().await.status_of_service(), 200);
    expected.push(b"GET /v1/x?\"b\" HTTP/1.1".to_vec());
    // All at once.
    let mut app = sidekey.connect().await;
    let mut together = Vec::new();
    for query in &queries {
        together.extend(get(&[b"/payments/x?", &query[..]].concat(), "localhost"));
        expected.push([b"GET /v1/x?", &query[..], b" HTTP/1.1"].concat());
    }
    app.write(&together).await;
    for _ in &queries {
        assert_eq!(app.answer().await.status_of_service(), 200);
    }
    // Byte by byte.
    let mut app = sidekey.connect().await;
    for byte in get(&[b"/payments/x?", &all[..]].concat(), "localhost") {
        app.write([byte]).await;
    }
    assert_eq!(app.answer().await.status_of_service(), 200);
    expected.push([b"GET /v1/x?", &all[..], b" HTTP/1.1"].concat());

    let received = service.received();
    for (received, expected) in received.iter().zip(&expected) {
        assert_eq!(received.line.escape_ascii().to_string(), expected.escape_ascii().to_string());
        if received.method() == "GET" {
            assert_eq!(received.field("x-also").as_deref(), Some("?\"<\u{fffd}>\""));
        }
    }
    assert_eq!(received.len(), expected.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_of_curl_and_python_s_http_client_arrive_as_they_were_written() {
    let (lab, service) = (Lab::start().await, Fault::plain(|_| Reply::ok("welcome")).await);
    let sidekey = lab.sidekey(&format!("services: {{ payments: {{ url: '{}' }} }}", service.url())).await;
    let query = "q={\"a\":[1|2^3]}<b>`\u{fc}`";

    lab.curl(&format!("--globoff http://{}/payments/x?{query}", sidekey.address));
    let script = format!(
        "import socket\n\
         app = socket.create_connection('{}'.split(':'))\n\
         app.sendall('GET /payments/x?{query} HTTP/1.0\\r\\n\\r\\n'.encode())\n\
         print(app.makefile('rb').read())",
        sidekey.address
    );
    assert!(bed::python().args(["-c", &script]).output().unwrap().status.success());

    for received in service.received() {
        assert_eq!(received.line, format!("GET /x?{query} HTTP/1.1").into_bytes());
    }
    assert_eq!(service.count(), 2);
}

#[tokio::test]
async fn what_has_no_place_in_a_path_is_named_with_its_place() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey("services: { payments: { url: $SERVICE, certificate: partner } }").await;

    for (path, named) in [
        (&b"/payments/<x"[..], "`<` at byte 15 of the line in the path of the request's target: write it as `%3C`"),
        (b"/payments/`", "a backtick at byte 15 of the line in the path of the request's target: write it as `%60`"),
        (b"/payments/>?>", "`>` at byte 15 of the line in the path of the request's target: write it as `%3E`"),
        (
            b"/payments/\xfc",
            "the byte 0xFC at byte 15 of the line in the path of the request's target: write it as `%FC`",
        ),
        (b"/payments/x?\x01", "the byte 0x01 at byte 17 of the line in the request's target"),
        (b"/payments/x?a b", "`b HTTP/1.1` is no version of HTTP that is spoken here"),
    ] {
        let detail = sidekey.raw(get(path, "localhost")).await.answer().await.problem("bad_request");
        assert_eq!(detail, named, "{}", path.escape_ascii());
    }
    // Whatever its fields hold.
    for (head, at) in [("GET /payments/`", 15), ("POST /payments/`", 16)] {
        let fields = "HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n";
        let request = format!("{head} {fields}").into_bytes();
        let detail = sidekey.raw(request).await.answer().await.problem("bad_request");
        assert!(detail.starts_with(&format!("a backtick at byte {at} of the line")), "{detail}");
    }
    // Like any other answer of ours it is counted.
    sidekey.until_metric("sidekey_errors_total{service=\"\",error=\"bad_request\"}", 8.0).await;
}

#[tokio::test]
async fn a_query_that_http2_or_a_signature_can_not_have_is_refused_by_name() {
    let (lab, service) = (Lab::start().await, Fault::plain(|_| Reply::ok("welcome")).await);
    let sidekey = lab
        .sidekey(&format!(
            "services:\n  payments: {{ url: $SERVICE_HTTP2, certificate: partner }}\n  \
             aws: {{ url: '{}', auth: {{ type: aws_sigv4, region: eu-central-1, service: execute-api, \
             access_key_id: AKIDEXAMPLE, secret_access_key: wJalrXUtnFEMI }} }}",
            service.url()
        ))
        .await;

    let passes = sidekey.send(Request::get("/payments/x?a={|}^`[]")).await;
    assert_eq!(passes.status_of_service(), 200);
    let detail = sidekey.get("/payments/x?a=\"").await.problem("bad_request");
    assert_eq!(
        detail,
        "the query has the byte `\"`, which can't be sent over HTTP/2: write it as `%22`, or set `http_version: 1.1` for \
         the service"
    );
    let detail = sidekey.get("/aws/x?a=<").await.problem("credential_unavailable");
    assert!(detail.contains("has to be percent-encoded"), "{detail}");
    assert_eq!(service.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_speaks_tls_is_told_of_once_a_minute_with_its_peer() {
    let lab = Lab::start().await;
    let service = Fault::plain(|_| Reply::ok("welcome")).await;
    let services = format!("services: {{ payments: {{ url: {} }} }}", service.url());
    let sidekey = lab.sidekey(&format!("{services}\nlog: {{ access: off, format: text }}")).await;

    for _ in 0..3 {
        let mut curl = Command::new("curl");
        let output = curl.args(["--silent", "--insecure", &format!("https://{}/payments/x", sidekey.address)]).output();
        assert!(!output.unwrap().status.success());
    }

    sidekey.until_metric("sidekey_errors_total{service=\"\",error=\"bad_request\"}", 3.0).await;
    sidekey.until_logged("an app speaks TLS to this port: use `http://` peer=127.0.0.1:").await;
    assert_eq!(sidekey.log().matches("speaks TLS").count(), 1);
    // Whoever reads our answer is told the same.
    let mut app = sidekey.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03?\"<").await;
    assert!(app.answer().await.problem("bad_request").contains("use an `http://` URL"));
}
