//! What comes back when Sidekey itself answers, and what never changes when the service does.

use crate::lab::client::{Connection, Request};
use crate::lab::fault::{Fault, Received, Reply};
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, free_port};

async fn answering(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> (Lab, Fault, Sidekey) {
    let lab = Lab::start().await;
    let service = Fault::plain(answer).await;
    let sidekey = lab.sidekey(&format!("services: {{ payments: {{ url: '{}' }} }}", service.url())).await;
    (lab, service, sidekey)
}

/// Checks that a service that answers so is told to the app by this code.
async fn check(reply: Reply, code: &str) {
    let (_lab, _service, sidekey) = answering(move |_| reply.clone()).await;

    let answer = sidekey.get("/payments/x").await;

    answer.problem(code);
    assert_eq!(answer.json()["service"], "payments");
    sidekey.until_metric(&format!("sidekey_errors_total{{service=\"payments\",error=\"{code}\"}}"), 1.0).await;
    sidekey.until_metric("sidekey_requests_total{service=\"payments\",code=\"502\"}", 1.0).await;
}

#[tokio::test]
async fn a_service_that_is_down_is_connection_refused() {
    let lab = Lab::start().await;
    let url = format!("http://127.0.0.1:{}", free_port());
    let sidekey = lab.sidekey(&format!("services: {{ payments: {{ url: '{url}' }} }}")).await;

    let answer = sidekey.get("/payments/x").await;

    answer.problem("connection_refused");
    let recent = sidekey.status().await["errors"].clone();
    let found = recent
        .as_array()
        .unwrap()
        .iter()
        .any(|error| error["code"] == "connection_refused" && error["service"] == "payments");
    assert!(found, "{recent}");
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_a_dns_error() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey("services: { payments: { url: 'https://no-such-host.invalid' } }").await;

    let detail = sidekey.get("/payments/x").await.problem("dns_error");

    assert!(detail.contains("no-such-host.invalid"), "{detail}");
}

#[tokio::test]
async fn a_service_that_hangs_up_is_connection_terminated() {
    check(Reply::default().then_close(), "connection_terminated").await;
    check(Reply::reset(), "connection_terminated").await;
}

#[tokio::test]
async fn a_service_that_talks_nonsense_is_an_http_protocol_error() {
    for nonsense in [
        "220 mail.example ESMTP\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ] {
        check(Reply::raw(nonsense), "http_protocol_error").await;
    }
}

#[tokio::test]
async fn a_services_head_has_limits() {
    let large = format!("HTTP/1.1 200 OK\r\nX-Big: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(66 * 1024));
    let many: String = (0..101).map(|n| format!("x-{n}: 1\r\n")).collect();
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(33) + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

    check(Reply::raw(large), "http_protocol_error").await;
    check(Reply::raw(format!("HTTP/1.1 200 OK\r\n{many}\r\n")), "http_protocol_error").await;
    check(Reply::raw(interim), "http_protocol_error").await;
}

#[tokio::test]
async fn a_service_may_use_its_limits_up() {
    let most: String = (0..90).map(|n| format!("x-{n}: {}\r\n", "x".repeat(600))).collect();
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(32);
    let (_lab, _service, sidekey) =
        answering(move |_| Reply::raw(format!("{interim}HTTP/1.1 200 OK\r\n{most}Content-Length: 2\r\n\r\nok"))).await;

    let answer = sidekey.get("/payments/x").await;

    assert_eq!((answer.status_of_service(), answer.text().as_str()), (200, "ok"));
}

#[tokio::test]
async fn half_a_head_is_no_answer() {
    let half = Reply::raw("HTTP/1.1 200 OK\r\nContent-Le").then_close();
    let (_lab, _service, sidekey) = answering(move |_| half.clone()).await;

    let answer = sidekey.get("/payments/x").await;

    // RFC 9209 has a word for either view of it.
    let word = answer.json()["type"].as_str().unwrap().replace("urn:sidekey:error:", "");
    assert!(["connection_terminated", "http_response_incomplete"].contains(&&*word), "{word}");
    answer.problem(&word);
}

#[tokio::test]
async fn the_services_own_errors_come_back_untouched() {
    for status in [400, 403, 404, 429, 500, 502, 503, 504] {
        let (_lab, service, sidekey) = answering(move |_| {
            Reply::new(status, &[("Retry-After", "7"), ("Content-Type", "text/x")], "its own words")
        })
        .await;

        let answer = sidekey.get("/payments/x").await;

        assert_eq!((answer.status_of_service(), answer.text().as_str()), (status, "its own words"));
        assert_eq!((answer.retry_after(), answer.field("content-type").as_deref()), (7, Some("text/x")));
        assert_eq!(service.count(), 1, "no status is retried by default");
    }
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_ours_neither() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey("services: { payments: { url: $SERVICE, certificate: partner } }").await;
    let mut connection = sidekey.connect().await;

    let answer = connection.send(Request::new("HEAD", "/nobody")).await;

    assert_eq!((answer.status, answer.body.len()), (404, 0));
    assert_eq!(connection.send(Request::get("/payments/x")).await.status_of_service(), 200);
}

#[tokio::test]
async fn our_own_answers_name_the_way_out_and_never_a_secret() {
    let lab = Lab::start().await;
    let config = "
services:
  payments: { url: $SERVICE_MISNAMED, certificate: partner, auth: { type: bearer, token: very-secret } }
";
    let sidekey = lab.sidekey(config).await;

    let answers = [sidekey.get("/payments/x?key=very-secret").await, sidekey.get("/paiments/x").await];

    assert!(!answers[0].problem("tls_certificate_error").contains("very-secret"));
    assert!(answers[0].problem("tls_certificate_error").contains("localhost"), "names the host: {answers:?}");
    answers[1].problem("no_route");
    assert!(answers.iter().all(|answer| answer.field("date").is_some()), "{answers:?}");
}

#[tokio::test]
async fn an_error_of_ours_keeps_the_apps_connection_where_it_can() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey("services: { payments: { url: $SERVICE, certificate: partner } }").await;
    let mut connection: Connection = sidekey.connect().await;

    for _ in 0..3 {
        connection.send(Request::get("/nobody")).await.problem("no_route");
        assert_eq!(connection.send(Request::get("/payments/x")).await.status_of_service(), 200);
    }
}
