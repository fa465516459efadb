//! What is asked, who may ask it, and what becomes of every answer.

use bytes::Bytes;
use h2::Reason;

use super::{Asking, BOTH, Dialect, Finish, Scene, extended, opened, said};
use crate::lab::client::{Connection, Request};
use crate::lab::fault::{Fault, Reply};
use crate::lab::frames::{END_HEADERS, HEADERS, fields as block, frame};
use crate::lab::http2_app::{Http2App, in_time, read};
use crate::lab::mirror::Mirror;
use crate::lab::{Lab, until};

#[tokio::test]
async fn both_dialects_ask_the_same_and_only_http_1_has_a_key() {
    let scene = Scene::start("auth: { type: bearer, token: services-own }").await;
    let mut keys = Vec::new();
    for dialect in [Dialect::One, Dialect::Two, Dialect::Two] {
        let fields = [("sec-websocket-protocol", "chat"), ("authorization", "Bearer apps-own"), ("origin-like", "x")];
        let asking = Asking::begin(dialect, &scene.sidekey, "/s/talk?room=%2F", &fields).await;
        let asked = scene.service.asked().await;

        assert!(asked.head.starts_with("GET /talk?room=%2F HTTP/1.1\r\n"), "{dialect:?} {}", asked.head);
        for (name, value) in [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "chat"),
            ("authorization", "Bearer services-own"),
        ] {
            assert_eq!(asked.field(name).as_deref(), Some(value), "{dialect:?} {}", asked.head);
        }
        assert_eq!((said(&asked.head, "content-length"), said(&asked.head, "transfer-encoding")), (None, None));
        keys.push(asked.field("sec-websocket-key").unwrap());
        asked.switch("").await;
        let answer = asking.answer().await;
        let has = |name: &str| answer.fields.get(name).map(|value| value.to_str().unwrap().to_owned());
        match dialect {
            Dialect::One => {
                assert_eq!(has("sec-websocket-accept").as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
                assert_eq!((has("connection"), has("upgrade")), (Some("upgrade".into()), Some("websocket".into())));
            }
            // RFC 8441 §5.1.
            Dialect::Two => {
                let all = ["sec-websocket-accept", "connection", "upgrade", "content-length"].map(has);
                assert_eq!(all, [None, None, None, None]);
            }
        }
        assert_eq!(answer.status, opened(dialect));
    }
    assert_eq!(keys[0], "dGhlIHNhbXBsZSBub25jZQ==");
    assert!(keys[1] != keys[2] && keys[1].len() == 24, "{keys:?}");
}

#[tokio::test]
async fn it_is_asked_all_that_any_request_is_asked() {
    let scene = Scene::start("allow: { paths: [/talk] }").await;
    let table = [
        ("/s/other", &[][..], 403),
        ("/nowhere", &[], 404),
        ("/s/../talk", &[], 400),
        ("/s/talk", &[("origin", "https://page.example")], 403),
        ("/s/talk", &[("sec-fetch-site", "none")], 403),
    ];
    for dialect in BOTH {
        for (target, fields, status) in table {
            let answer = Asking::begin(dialect, &scene.sidekey, target, fields).await.answer().await;
            assert_eq!(answer.status, status, "{dialect:?} {target} {fields:?} {:?}", answer.fields);
        }
    }
    // None of them got to the service: the first that does is this one.
    let _asking = Asking::begin(Dialect::One, &scene.sidekey, "/s/talk?first", &[]).await;
    let first = scene.service.asked().await;
    assert!(first.head.starts_with("GET /talk?first "), "{}", first.head);
}

#[tokio::test]
async fn any_other_answer_is_the_apps_and_the_connection_goes_on() {
    let scene = Scene::start("").await;
    let forbidden = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nX-Of: service\r\n\r\nno";

    let mut app = Connection::open(&scene.sidekey.address).await;
    app.write(format!("GET /s/talk HTTP/1.1\r\nHost: localhost\r\n{}\r\n", super::ASKS)).await;
    let mut far = scene.service.asked().await.answer(forbidden).await;
    let answer = app.answer().await;
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"), "{answer:?}");
    assert_eq!(answer.field("x-of").as_deref(), Some("service"));
    // Over the same connections, the app's and ours.
    let next = async {
        let mut line = vec![0; b"GET /s/next".len()];
        tokio::io::AsyncReadExt::read_exact(&mut far, &mut line).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut far, b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    };
    let (answer, ()) = tokio::join!(app.send(Request::get("/s/next")), in_time(next));
    assert_eq!(answer.status, 204);

    let mut app = Http2App::open(&scene.sidekey.address).await;
    let (answer, upload) = app.begin(extended("/s/talk", "websocket", &[]), false).await;
    drop(far);
    scene.service.asked().await.answer(forbidden).await;
    let answer = in_time(async { read(answer.await.unwrap()).await }).await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"), "{answer:?}");
    drop(upload);
    let (next, _) = app.begin(extended("/nowhere", "websocket", &[]), true).await;
    assert_eq!(in_time(next).await.unwrap().status(), 404);
}

#[tokio::test]
async fn an_answer_that_opens_nothing_opens_no_tunnel() {
    let scene = Scene::start("retry: { attempts: 0 }").await;
    let switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n";
    let wrong = [
        (format!("{switching}Upgrade: other\r\n\r\n"), "has no `Upgrade: websocket`"),
        (format!("{switching}\r\n"), "has no `Upgrade: websocket`"),
        // RFC 6455 §4.1, of the client's third step.
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n".to_owned(), "has no `Connection: upgrade`"),
    ];
    let of_key = "Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let of_two = [
        (format!("{switching}{of_key}"), "`Sec-WebSocket-Accept` that is not the one of the key"),
        (format!("{switching}Upgrade: websocket\r\n\r\n"), "`Sec-WebSocket-Accept` that is not the one of the key"),
        // To HTTP/2 it would say that the tunnel is open.
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_owned(), "answered 200 OK"),
    ];
    for dialect in BOTH {
        let more = if dialect == Dialect::Two { &of_two[..] } else { &[] };
        for (bytes, why) in wrong.iter().chain(more) {
            let asking = Asking::begin(dialect, &scene.sidekey, "/s/talk", &[]).await;
            let _far = scene.service.asked().await.answer(bytes).await;

            let mut answer = asking.answer().await;

            assert_eq!(answer.status, 502, "{dialect:?} {bytes}");
            let proxy_status = answer.fields["proxy-status"].to_str().unwrap();
            assert_eq!(proxy_status, "sidekey; error=http_upgrade_failed", "{dialect:?} {bytes}");
            let length: usize = answer.fields["content-length"].to_str().unwrap().parse().unwrap();
            let detail = String::from_utf8(answer.end.hear(length).await).unwrap();
            assert!(detail.contains(why), "{dialect:?} {bytes}: {detail}");
        }
    }
}

#[tokio::test]
async fn a_service_that_is_to_speak_http_2_has_none() {
    let (lab, mirror) = (Lab::start().await, Mirror::http2().await);
    let config = format!("services: {{ s: {{ url: '{}', http_version: 2 }} }}", mirror.url());
    let sidekey = lab.sidekey(&config).await;
    for dialect in BOTH {
        let mut answer = Asking::begin(dialect, &sidekey, "/s/talk", &[]).await.answer().await;

        assert_eq!(answer.status, 502, "{dialect:?}");
        let length: usize = answer.fields["content-length"].to_str().unwrap().parse().unwrap();
        let detail = String::from_utf8(answer.end.hear(length).await).unwrap();
        assert!(
            detail.contains("urn:sidekey:error:http_upgrade_failed") && detail.contains("`http_version: 2`"),
            "{detail}"
        );
    }
    assert!(mirror.heads().is_empty(), "{:?}", mirror.heads());
}

#[tokio::test]
async fn what_is_no_handshake_goes_without_the_upgrade() {
    let lab = Lab::start().await;
    let service = Fault::plain(|_| Reply::ok("welcome")).await;
    let sidekey = lab.sidekey(&format!("services: {{ s: {{ url: '{}' }} }}", service.url())).await;
    let asks = |request: Request| request.field("Connection", "Upgrade").field("Upgrade", "websocket");
    let requests = [
        asks(Request::post("/s/talk", "a body")),
        asks(Request::new("PUT", "/s/talk")),
        asks(Request::post("/s/talk", "a body").method("GET")),
        asks(Request::get("/s/talk").http10()),
        Request::get("/s/talk").field("Upgrade", "websocket"),
        Request::get("/s/talk").field("Connection", "Upgrade").field("Upgrade", "other/1"),
    ];
    let count = requests.len();
    for request in requests {
        let answer = sidekey.send(request).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "welcome"));
    }

    assert_eq!(service.count(), count);
    for seen in service.received() {
        assert_eq!((seen.field("upgrade"), seen.field("connection")), (None, None), "{seen:?}");
    }
}

#[tokio::test]
async fn what_no_extended_connect_may_be_gets_to_no_service() {
    let scene = Scene::start("").await;
    let mut app = Http2App::open(&scene.sidekey.address).await;
    let table = [
        (extended("/s/talk", "connect-udp", &[]), 501, "`:protocol` is `connect-udp`"),
        (extended("/s/talk", "websocket", &[("content-length", "5")]), 400, "a `CONNECT` has no body"),
    ];
    for (request, status, why) in table {
        let (answer, mut upload) = app.begin(request, false).await;
        upload.send_data(Bytes::from_static(b"hello"), true).unwrap();
        let answer = in_time(async { read(answer.await.unwrap()).await }).await.unwrap();
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains(why), "{}", answer.text());
    }
    // Nothing there opens tunnels, so it is not offered: malformed (RFC 8441 §4).
    let mut admin = Http2App::open(&scene.sidekey.admin).await;
    let (answer, _) = admin.begin(extended("/livez", "websocket", &[]), true).await;
    let error = in_time(answer).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::PROTOCOL_ERROR), "{error}");
}

#[tokio::test]
async fn an_extended_connect_that_lacks_something_is_malformed() {
    let scene = Scene::start("").await;
    let all = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", "/s/talk"),
    ];
    let without = |name: &str| all.into_iter().filter(|field| field.0 != name).collect::<Vec<_>>();
    let get = all.map(|field| if field.0 == ":method" { (":method", "GET") } else { field }).to_vec();
    for (what, fields) in [("path", without(":path")), ("scheme", without(":scheme")), ("CONNECT", get)] {
        let mut frames = crate::lab::raw_http2::Frames::open(&scene.sidekey.address).await;
        frames.write(&frame(HEADERS, END_HEADERS, 1, &block(&fields))).await;

        let (kind, code) = loop {
            let (kind, _, stream, payload) = frames.next().await.expect("a word");
            if stream == 1 {
                break (kind, payload);
            }
        };

        // RST_STREAM with PROTOCOL_ERROR.
        assert_eq!((kind, &*code), (3, &[0, 0, 0, 1][..]), "without {what}");
    }
}

#[tokio::test]
async fn a_handshake_that_its_app_gives_up_is_given_up_at_the_service() {
    let scene = Scene::start("").await;
    for dialect in BOTH {
        let asking = Asking::begin(dialect, &scene.sidekey, "/s/talk", &[]).await;
        let asked = scene.service.asked().await;
        match asking {
            Asking::One(stream) => {
                stream.set_zero_linger().unwrap();
                drop(stream);
            }
            Asking::Two(_app, answer, mut stream) => {
                stream.send_reset(Reason::CANCEL);
                assert!(in_time(answer).await.is_err());
            }
        }
        until("the end of the exchange", async || {
            (scene.sidekey.metric("sidekey_requests_in_flight{service=\"s\"}").await == 0.0).then_some(())
        })
        .await;

        let mut far = asked.answer("").await;
        let mut rest = Vec::new();
        let read = in_time(tokio::io::AsyncReadExt::read_to_end(&mut far, &mut rest)).await;
        assert!(read.is_err() && rest.is_empty(), "{dialect:?} {read:?} {rest:?}");
    }
}

#[tokio::test]
async fn an_app_that_ends_with_its_handshake_has_said_all() {
    let scene = Scene::start("").await;
    let mut app = Http2App::open(&scene.sidekey.address).await;
    let (answer, stream) = app.begin(extended("/s/talk", "websocket", &[]), true).await;
    let mut far = scene.service.asked().await.switch("hello").await;

    let body = in_time(answer).await.unwrap().into_body();
    let mut rest = Vec::new();
    in_time(tokio::io::AsyncReadExt::read_to_end(&mut far, &mut rest)).await.unwrap();
    drop(far);

    assert!(rest.is_empty(), "{rest:?}");
    let mut end = super::AppEnd::Two(app, stream, body);
    assert_eq!(end.ended().await, Finish::Whole(b"hello".to_vec()));
}
