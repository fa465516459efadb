//! The crossings of the dialects: what passes as it is whichever of them the app and its service speak.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

use crate::http2_apps::resident_kib;
use crate::lab::client::{Answer, Connection, Ended, Request};
use crate::lab::fault::{Fault, Reply};
use crate::lab::http2_app::{Http2App, in_time, next, request};
use crate::lab::mirror::{BodyEnd, Mirror};
use crate::lab::sidekey::Sidekey;
use crate::lab::teller::Teller;
use crate::lab::{Lab, program, until};

/// A service of HTTP/2 that sends back what it gets, as `s`, and Sidekey before it.
async fn mirrored() -> (Lab, Mirror, Sidekey) {
    let (lab, mirror) = (Lab::start().await, Mirror::http2().await);
    let sidekey = lab.sidekey(&config(&mirror, "")).await;
    (lab, mirror, sidekey)
}

fn config(mirror: &Mirror, more: &str) -> String {
    format!("services: {{ s: {{ url: '{}', http_version: 2, {more} }} }}", mirror.url())
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

const POST: &str = "POST /s/talk HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n";

#[tokio::test]
async fn each_event_arrives_before_the_service_writes_the_next() {
    for (from, to) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
        let lab = Lab::start().await;
        let teller = if to == 1 { Teller::http1().await } else { Teller::http2().await };
        let version = if to == 1 { "1.1" } else { "2" };
        let sidekey =
            lab.sidekey(&format!("services: {{ s: {{ url: '{}', http_version: {version} }} }}", teller.url())).await;
        let event = |number: usize| format!("id: {number}\ndata: event\n\n");

        if from == 1 {
            let mut app = sidekey.raw("GET /s/events HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
            // The head comes with no event at all.
            app.until("\r\n\r\n").await;
            for number in 0..50 {
                teller.tell(&event(number));
                app.until(&event(number)).await;
            }
            app.until("content-type: text/event-stream\r\n").await;
        } else {
            let mut app = Http2App::open(&sidekey.address).await;
            let (answer, _) = app.begin(request("GET", "/s/events"), true).await;
            let answer = in_time(answer).await.unwrap();
            assert_eq!(answer.headers()["content-type"], "text/event-stream");
            let mut body = answer.into_body();
            for number in 0..50 {
                teller.tell(&event(number));
                assert_eq!(in_time(next(&mut body)).await.unwrap().unwrap(), event(number), "{from} to {to}");
            }
        }
    }
}

/// A message, and then the status as a message of its own: what follows a body elsewhere is the body's here.
fn grpc_web_body() -> Vec<u8> {
    let message: Vec<u8> = (0..70_000_u32).map(|at| (at % 256) as u8).collect();
    let status = b"grpc-status: 0\r\ngrpc-message: fine\r\n";
    let of = |flag: u8, bytes: &[u8]| [&[flag], &u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
    [of(0, &message), of(0x80, status)].concat()
}

#[tokio::test]
async fn grpc_web_passes_untouched() {
    let (lab, one, two) = (Lab::start().await, Mirror::http1().await, Mirror::http2().await);
    let urls = (one.url(), two.url());
    let sidekey = lab
        .sidekey(&format!(
            "services: {{ one: {{ url: '{}' }}, two: {{ url: '{}', http_version: 2 }} }}",
            urls.0, urls.1
        ))
        .await;
    let binary = grpc_web_body();
    let text = STANDARD.encode(&binary).into_bytes();
    for (kind, body) in [("application/grpc-web+proto", &binary), ("application/grpc-web-text", &text)] {
        for (name, mirror) in [("one", &one), ("two", &two)] {
            for from in [1, 2] {
                let target = format!("/{name}/test.Calls/Unary");
                let fields = [("content-type", kind), ("accept", kind), ("x-grpc-web", "1"), ("grpc-timeout", "5S")];
                let got = if from == 1 {
                    let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                    let head = format!(
                        "POST {target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n{lines}\r\n"
                    );
                    let bytes = [head.as_bytes(), &chunk(&body[..10]), &chunk(&body[10..]), b"0\r\n\r\n"].concat();
                    sidekey.raw(bytes).await.answer().await.body
                } else {
                    let mut app = Http2App::open(&sidekey.address).await;
                    let mut call = request("POST", &target);
                    for (name, value) in fields {
                        call.headers_mut().insert(name, value.parse().unwrap());
                    }
                    app.send(call, body).await.unwrap().body
                };

                assert!(got == *body, "{from} to {name}, {kind}: {} bytes of {}", got.len(), body.len());
                let heads = mirror.heads();
                let head = heads.last().unwrap().to_ascii_lowercase();
                for (name, value) in fields {
                    let line = format!("{name}: {}\r\n", value.to_ascii_lowercase());
                    assert!(head.contains(&line), "{from} to {name}: {head}");
                }
            }
        }
    }
}

#[tokio::test]
async fn an_answer_of_grpc_web_keeps_its_type_and_one_of_ours_is_none() {
    let lab = Lab::start().await;
    let kind = "application/grpc-web-text+proto";
    let service =
        Fault::plain(move |_| Reply::new(200, &[("Content-Type", kind)], "gAAAABBncnBjLXN0YXR1czogMA0K")).await;
    let sidekey = lab.sidekey(&format!("services: {{ s: {{ url: '{}' }} }}", service.url())).await;
    let asks = format!("Host: localhost\r\nContent-Type: {kind}\r\nContent-Length: 0\r\n\r\n");

    let answer = sidekey.raw(format!("POST /s/x HTTP/1.1\r\n{asks}")).await.answer().await;
    assert_eq!(
        (answer.field("content-type").as_deref(), answer.text().as_str()),
        (Some(kind), "gAAAABBncnBjLXN0YXR1czogMA0K")
    );
    assert_eq!(answer.field("grpc-status"), None);

    // Who calls so reads the status like everybody.
    let ours = sidekey.raw(format!("POST /nowhere HTTP/1.1\r\n{asks}")).await.answer().await;
    assert_eq!(ours.status, 404, "{ours:?}");
    ours.problem("no_route");
}

#[tokio::test]
async fn each_byte_of_http_1_goes_on_at_once_over_http_2() {
    let (_lab, _mirror, sidekey) = mirrored().await;
    let mut app = sidekey.raw(format!("{POST}\r\n")).await;

    // None is sent before the one before it has come back.
    for byte in b"abcdefgh" {
        app.write(chunk(&[*byte])).await;
        app.until(&String::from_utf8(chunk(&[*byte])).unwrap()).await;
    }
    app.write(b"0\r\n\r\n").await;

    assert_eq!(app.answer().await.text(), "abcdefgh");
}

#[tokio::test]
async fn trailers_of_http_1_pass_over_http_2_and_back() {
    let (_lab, mirror, sidekey) = mirrored().await;
    let fields = "TE: trailers\r\nTrailer: X-Sum, Authorization\r\n";
    let trailers = "X-Sum: 42\r\nAuthorization: Bearer apps-own\r\nX-Unannounced: 1\r\n";

    let mut app = sidekey.raw(format!("{POST}{fields}\r\n4\r\nbody\r\n0\r\n{trailers}\r\n")).await;
    let answer: Answer = app.answer().await;

    assert_eq!((answer.text().as_str(), answer.trailers.to_lowercase().as_str()), ("body", "x-sum: 42\r\n"));
    assert_eq!(mirror.ends(), [BodyEnd::Whole]);
}

#[tokio::test]
async fn half_an_upload_of_http_1_is_whole_for_no_service_of_http_2() {
    let (_lab, mirror, sidekey) = mirrored().await;
    for ended in 1..=2 {
        let mut app = sidekey.raw(format!("{POST}\r\n4\r\nhalf\r\n")).await;
        app.until("half").await;

        if ended == 1 {
            app.reset();
        } else {
            drop(app);
        }

        until("the end of the upload", async || (mirror.ends().len() >= ended).then_some(())).await;
        assert_eq!(mirror.ends()[ended - 1], BodyEnd::BrokenOff);
    }
}

#[tokio::test]
async fn what_an_app_of_http_1_does_not_read_stays_with_a_service_of_http_2() {
    const PIECES: usize = 64;
    let (_lab, _mirror, sidekey) = mirrored().await;
    let mut stream = TcpStream::connect(&sidekey.address).await.unwrap();
    stream.write_all(format!("{POST}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
    let before = resident_kib(&sidekey);
    let (mut read, mut write) = stream.into_split();
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let sending = tokio::spawn(async move {
        for _ in 0..PIECES {
            write.write_all(&chunk(&vec![b'x'; 1 << 20])).await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
        }
        write.write_all(b"0\r\n\r\n").await.unwrap();
        write
    });

    let settled = until("nothing more to be taken", async || {
        let now = sent.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(300)).await;
        (sent.load(Ordering::Relaxed) == now).then_some(now)
    })
    .await;

    assert!(settled < PIECES / 2, "{settled} of {PIECES} MiB were taken though nobody read them");
    let grown = resident_kib(&sidekey).saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB are held");
    let mut all = Vec::new();
    in_time(read.read_to_end(&mut all)).await.unwrap();
    assert_eq!(all.iter().filter(|byte| **byte == b'x').count(), (PIECES << 20) + b"x".len(), "and the x of `x-sum`");
    drop(in_time(sending).await.unwrap());
}

#[tokio::test]
async fn an_exchange_from_http_1_to_http_2_outlives_a_reload_and_a_stop_waits_for_it() {
    let (lab, mirror, sidekey) = mirrored().await;
    let mut app: Connection = sidekey.raw(format!("{POST}\r\n")).await;
    app.write(chunk(b"before ")).await;
    app.until("before ").await;

    let generation = sidekey.generation().await;
    sidekey.rewrite(&lab, &config(&mirror, "headers: { set: { x-reloaded: 'yes' } }"));
    sidekey.until_reloaded_since(generation).await;
    sidekey.raw(format!("{POST}\r\n3\r\nnew\r\n0\r\n\r\n")).await.answer().await;
    app.write(chunk(b"between ")).await;
    app.until("between ").await;
    sidekey.signal(Signal::SIGTERM);
    sidekey.until_logged("draining").await;
    app.write([chunk(b"after"), b"0\r\n\r\n".to_vec()].concat()).await;

    let answer = app.answer().await;
    assert_eq!(answer.text(), "before between after");
    let told: Vec<_> = mirror.heads().iter().map(|head| head.contains("x-reloaded")).collect();
    assert_eq!((told, mirror.ends()), (vec![false, true], vec![BodyEnd::Whole, BodyEnd::Whole]));
    let (code, log) = sidekey.ended().await;
    assert_eq!(code, Some(0), "{log}");
}

#[tokio::test]
async fn a_unix_socket_leads_to_http_2_and_a_declined_upgrade_too() {
    let (lab, mirror) = (Lab::start().await, Mirror::http2().await);
    let socket = lab.path("app.sock");
    let listen = format!("listen: ['localhost:{}', 'unix:{}']", crate::lab::free_port(), socket.display());
    let sidekey = lab.sidekey(&format!("{}\n{listen}", config(&mirror, ""))).await;
    until("the socket", async || socket.exists().then_some(())).await;

    let mut app = Connection::unix(&socket).await;
    let upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n";
    app.write(format!("{POST}{upgrade}\r\n4\r\nbody\r\n0\r\n\r\n")).await;

    assert_eq!(app.answer().await.text(), "body");
    let head = mirror.heads().remove(0).to_ascii_lowercase();
    assert!(!head.contains("upgrade") && !head.contains("http2-settings"), "{head}");
    drop(sidekey);
}

/// A service of HTTP/2 whose answers have no body, or half of one until the word is given to break it off.
async fn half_there(word: Arc<Notify>) -> (JoinHandle<()>, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let mut halves = JoinSet::new();
        while let Some(accepted) = connection.accept().await {
            let (request, mut respond) = accepted.unwrap();
            let (status, length) = match request.uri().path() {
                "/204" => (204, None),
                "/304" => (304, Some("7")),
                _ => (200, Some("7")),
            };
            let is_all = status != 200 || request.method() == http::Method::HEAD;
            let answer = http::Response::builder().status(status);
            let answer = length.into_iter().fold(answer, |answer, length| answer.header("content-length", length));
            let mut stream = respond.send_response(answer.body(()).unwrap(), is_all).unwrap();
            if !is_all {
                stream.send_data(Bytes::from_static(b"hal"), false).unwrap();
                let word = Arc::clone(&word);
                halves.spawn(async move {
                    word.notified().await;
                    stream.send_reset(h2::Reason::INTERNAL_ERROR);
                });
            }
        }
    });
    (task, port)
}

#[tokio::test]
async fn answers_of_http_2_that_have_no_body_end_with_their_head_and_half_of_one_is_whole_in_neither_dialect() {
    let (lab, word) = (Lab::start().await, Arc::<Notify>::default());
    let (task, port) = half_there(Arc::clone(&word)).await;
    let config = format!("workers: 1\nservices: {{ s: {{ url: 'http://127.0.0.1:{port}', http_version: 2 }} }}");
    let sidekey = lab.sidekey(&config).await;
    let mut two = Http2App::open(&sidekey.address).await;
    let mut one = sidekey.connect().await;
    for (method, path, status) in [("GET", "/s/204", 204), ("GET", "/s/304", 304), ("HEAD", "/s/x", 200)] {
        let answer = two.send(request(method, path), b"").await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (status, 0), "{method} {path}");
        let answer = one.send(Request::new(method, path)).await;
        assert_eq!((answer.status, answer.body.len(), answer.ended), (status, 0, Ended::Whole), "{method} {path}");
    }

    let (answer, _) = two.begin(request("GET", "/s/x"), true).await;
    let mut body = in_time(answer).await.unwrap().into_body();
    assert_eq!(in_time(next(&mut body)).await.unwrap().unwrap(), "hal");
    word.notify_one();
    let error = in_time(next(&mut body)).await.unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR), "{error}");

    one.expects("GET");
    one.write("GET /s/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    one.until("\r\n\r\nhal").await;
    word.notify_one();
    let answer = one.answer().await;
    assert_eq!((answer.status, answer.ended), (200, Ended::Reset));
    task.abort();
}

// With a thread for what the service does while the program is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_of_http_1_is_answered_by_a_service_of_http_2() {
    let (_lab, _mirror, sidekey) = mirrored().await;

    let mut load = Command::new("h2load");
    load.args(["--h1", "-n", "3000", "-c", "10", "--connection-active-timeout", "40"]);
    let output = program::output(load.arg(format!("http://{}/s/x", sidekey.address)));

    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("3000 succeeded, 0 failed, 0 errored, 0 timeout"), "{told}");
    assert!(told.contains("status codes: 3000 2xx"), "{told}");
}
