//! A message ends where it ends: what comes after an answer of ours is no request, whenever it comes.

use std::sync::Arc;
use std::time::Duration;

use crate::lab::client::{Connection, Ended, Request};
use crate::lab::fault::{Fault, Reply};
use crate::lab::frames;
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, free_port, until};

/// A request that gets an answer of our own, and from which port.
#[derive(Clone, Copy, Debug)]
struct Refused {
    port: Port,
    /// The request line's beginning, and fields.
    line: &'static str,
    fields: &'static str,
    status: u16,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Port {
    Tcp,
    Unix,
    Admin,
    Health,
}

/// What came before on the connection.
#[derive(Clone, Copy, Debug)]
enum Before {
    Nothing,
    /// An answered request, just now.
    Request,
    /// An answered request, and a pause in which the connection is put to rest.
    RequestAndPause,
}

#[derive(Clone, Copy, Debug)]
enum Framing {
    Length,
    Chunked,
    Expect,
}

/// Every kind of answer of ours to a request that has a body.
const REFUSED: [Refused; 12] = [
    refused(Port::Tcp, "POST /payments/x", "Origin: https://page.example\r\n", 403),
    refused(Port::Unix, "POST /readonly/x", "", 403),
    refused(Port::Tcp, "POST /readonly/x", "", 403),
    refused(Port::Tcp, "POST /nobody/x", "", 404),
    refused(Port::Unix, "POST /nobody/x", "", 404),
    refused(Port::Tcp, "POST /payments/../x", "", 400),
    refused(Port::Unix, "TRACE /payments/x", "", 405),
    refused(Port::Tcp, "POST /down/x", "", 502),
    refused(Port::Unix, "POST /down/x", "", 502),
    refused(Port::Admin, "POST /api/reload", "", 403),
    refused(Port::Admin, "POST /nothing", "Sidekey-Admin: 1\r\n", 404),
    refused(Port::Health, "POST /nothing", "", 404),
];

const fn refused(port: Port, line: &'static str, fields: &'static str, status: u16) -> Refused {
    Refused { port, line, fields, status }
}

/// The ports of one Sidekey.
struct Ports {
    sidekey: Sidekey,
    lab: Lab,
    health: String,
}

impl Ports {
    async fn open(&self, port: Port) -> Connection {
        match port {
            Port::Tcp => self.sidekey.connect().await,
            Port::Unix => Connection::unix(&self.lab.path("app.sock")).await,
            Port::Admin => Connection::open(&self.sidekey.admin).await,
            Port::Health => Connection::open(&self.health).await,
        }
    }
}

async fn start() -> (Ports, Fault) {
    let lab = Lab::start().await;
    let service = Fault::plain(|_| Reply::ok("welcome")).await;
    let health = format!("127.0.0.1:{}", free_port());
    let config = format!(
        "listen: [$LISTEN, unix:$FOLDER/app.sock]
admin: {{ listen: $ADMIN, health: {health} }}
services:
  payments: {{ url: {0}, auth: {{ type: bearer, token: a-bearer-token }} }}
  readonly: {{ url: {0}, allow: {{ methods: [GET] }} }}
  down: {{ url: http://127.0.0.1:{1} }}",
        service.url(),
        free_port(),
    );
    let sidekey = lab.sidekey(&config).await;
    (Ports { sidekey, lab, health }, service)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_after_an_answer_of_ours_is_ever_a_request() {
    let (ports, service) = start().await;
    let ports = Arc::new(ports);
    let mut cases = tokio::task::JoinSet::new();
    // The admin and the health port have 64 places each, and who is silent gives way to others.
    let few = Arc::new(tokio::sync::Semaphore::new(60));
    let mut asked = 0;
    for refused in REFUSED {
        for before in [Before::Nothing, Before::Request, Before::RequestAndPause] {
            for framing in [Framing::Length, Framing::Chunked, Framing::Expect] {
                for late in [None, Some(300), Some(1_000), Some(20_000), Some(300_000)] {
                    let reaches_service =
                        matches!(refused.port, Port::Tcp | Port::Unix) && !matches!(before, Before::Nothing);
                    asked += usize::from(reaches_service);
                    let (ports, late) = (ports.clone(), late.map(Duration::from_micros));
                    let few = few.clone();
                    cases.spawn(async move {
                        let _place = few.acquire_owned().await.unwrap();
                        refuse(&ports, refused, before, framing, late).await;
                    });
                }
            }
        }
    }
    while let Some(case) = cases.join_next().await {
        case.unwrap();
    }

    let received = service.received();
    let made_up: Vec<_> = received.iter().filter(|request| request.method() != "GET").collect();
    assert!(made_up.is_empty(), "{made_up:#?}");
    assert_eq!(received.len(), asked);
}

/// Sends the head, and the body so much later; checks that there is one answer, and that the connection ends in peace.
async fn refuse(ports: &Ports, refused: Refused, before: Before, framing: Framing, late: Option<Duration>) {
    let case = format!("{refused:?}, {before:?}, {framing:?}, body after {late:?}");
    let mut connection = ports.open(refused.port).await;
    if !matches!(before, Before::Nothing) {
        let get = if matches!(refused.port, Port::Admin | Port::Health) { "/livez" } else { "/payments/before" };
        let answer = connection.send(Request::get(get).host("localhost")).await;
        assert_eq!(answer.status, 200, "{case}: {answer:?}");
    }
    if matches!(before, Before::RequestAndPause) {
        tokio::time::sleep(Duration::from_millis(600)).await; // what an app does that has nothing to ask
    }
    let smuggled = "DELETE /payments/smuggled HTTP/1.1\r\nHost: localhost\r\nSidekey-Admin: 1\r\n\r\n";
    let (field, body) = match framing {
        Framing::Length => (format!("Content-Length: {}\r\n", smuggled.len()), smuggled.to_owned()),
        Framing::Chunked => {
            ("Transfer-Encoding: chunked\r\n".to_owned(), format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len()))
        }
        Framing::Expect => {
            (format!("Expect: 100-continue\r\nContent-Length: {}\r\n", smuggled.len()), smuggled.to_owned())
        }
    };
    let Refused { line, fields, status, .. } = refused;
    let head = format!("{line} HTTP/1.1\r\nHost: localhost\r\n{fields}{field}\r\n");
    match late {
        None => connection.write(head + &body).await,
        Some(late) => {
            connection.write(head).await;
            tokio::time::sleep(late).await; // so late is the body
            connection.write(body).await;
        }
    }

    let answer = connection.answer().await;
    // As if that were not enough.
    connection.write(smuggled).await;

    assert_eq!(answer.status, status, "{case}: {answer:?}");
    assert_eq!(answer.field("connection").as_deref(), Some("close"), "{case}: {answer:?}");
    assert_eq!(connection.closed().await, Ended::Early, "{case}");
}

#[tokio::test]
async fn an_answer_before_the_end_of_an_upload_is_the_last_and_ends_its_connection_at_once() {
    let lab = Lab::start().await;
    let service = Fault::plain(|_| Reply::new(413, &[], "too much").before_the_body()).await;
    let sidekey = lab.sidekey(&format!("services: {{ payments: {{ url: {} }} }}", service.url())).await;

    let mut app = sidekey.raw("POST /payments/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5242880\r\n\r\n").await;
    let answer = app.answer().await;

    assert_eq!((answer.status_of_service(), answer.field("connection").as_deref()), (413, Some("close")));
    assert_eq!(app.closed().await, Ended::Early);
    for _ in 0..80 {
        app.write(vec![b'x'; 64 * 1024]).await;
    }
    assert_eq!(service.count(), 1);
}

#[tokio::test]
async fn http_1_0_hears_keep_alive_only_where_its_connection_is_kept() {
    let lab = Lab::start().await;
    let service = Fault::plain(|request| match request.target() {
        "/known" => Reply::ok("welcome"),
        "/chunked" => Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nwelcome\r\n0\r\n\r\n"),
        _ => Reply::raw("HTTP/1.1 200 OK\r\n\r\nwelcome").then_close(),
    })
    .await;
    let sidekey = lab.sidekey(&format!("services: {{ payments: {{ url: {} }} }}", service.url())).await;
    let ask = |path: &str| Request::get(&format!("/payments{path}")).field("Connection", "keep-alive").http10();

    let mut app = sidekey.connect().await;
    for _ in 0..3 {
        let answer = app.send(ask("/known")).await;
        assert_eq!((answer.text().as_str(), answer.field("connection").as_deref()), ("welcome", Some("keep-alive")));
    }
    for path in ["/chunked", "/until-close"] {
        let mut app = sidekey.connect().await;
        let answer = app.send(ask(path)).await;
        assert_eq!((answer.text().as_str(), answer.ended), ("welcome", Ended::ByClose), "{answer:?}");
        assert_eq!(answer.field("connection").as_deref(), Some("close"), "{answer:?}");
    }
}

#[tokio::test]
async fn an_answer_to_http_1_0_that_breaks_off_over_a_unix_socket_is_a_502_or_goes_by_the_log() {
    let lab = Lab::start().await;
    let begin = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = |bytes: usize| format!("{bytes:x}\r\n{}\r\n", "x".repeat(bytes));
    let service = Fault::plain(move |request| {
        let reply = Reply::raw(begin);
        match request.target() {
            "/whole" => reply.send(chunk(100_000) + "0\r\n\r\n"),
            "/short" => reply.send(chunk(100_000)).then_close(),
            _ => reply.send(chunk(2 << 20)).then_close(),
        }
    })
    .await;
    let config =
        format!("listen: [$LISTEN, unix:$FOLDER/app.sock]\nservices: {{ payments: {{ url: {} }} }}", service.url());
    let sidekey = lab.sidekey(&config).await;
    let ask = async |path: &str| {
        let mut app = Connection::unix(&lab.path("app.sock")).await;
        app.send(Request::get(&format!("/payments{path}")).http10()).await
    };

    let whole = ask("/whole").await;
    let short = ask("/short").await;
    let long = ask("/long").await;

    assert_eq!((whole.status_of_service(), whole.body.len(), whole.ended), (200, 100_000, Ended::Whole));
    short.problem("http_response_incomplete");
    assert!(long.status_of_service() == 200 && long.body.len() > 1 << 20, "{}", long.body.len());
    sidekey.until_logged("broke off").await;
    until("the line of the long one", async || {
        sidekey
            .log()
            .lines()
            .any(|line| line.contains("/long") && line.contains("http_response_incomplete"))
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_304_from_http_2_has_no_length_of_a_body_that_does_not_come() {
    let lab = Lab::start().await;
    let service = frames::Server::start(frames::not_modified(1, 1_234)).await;
    let config = format!("services: {{ payments: {{ url: {}, http_version: 2 }} }}", service.url());
    let sidekey = lab.sidekey(&config).await;

    let answer = sidekey.get("/payments/x").await;

    assert_eq!((answer.status_of_service(), answer.field("content-length")), (304, None), "{answer:?}");
    assert_eq!((answer.field("transfer-encoding"), answer.body.len()), (None, 0), "{answer:?}");
}

#[tokio::test]
async fn what_can_not_be_parsed_is_logged_with_its_peer_once_a_second_and_counted_each_time() {
    let lab = Lab::start().await;
    let service = Fault::plain(|_| Reply::ok("welcome")).await;
    let sidekey = lab.sidekey(&format!("services: {{ payments: {{ url: {} }} }}", service.url())).await;

    for _ in 0..50 {
        let mut app = sidekey.raw("GET /payments/x HTTP/1.1\r\nBad Name: 1\r\n\r\n").await;
        let detail = app.answer().await.problem("bad_request");
        assert_eq!(detail, "a space at byte 4 of the line in the name of the field `Bad Name`");
    }

    sidekey.until_metric("sidekey_errors_total{service=\"\",error=\"bad_request\"}", 50.0).await;
    sidekey.until_logged("peer=127.0.0.1:").await;
    let lines = sidekey.log().matches("Bad Name").count();
    assert!((1..50).contains(&lines), "{lines} lines");
}
