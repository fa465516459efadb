//! The service reads what was to be sent, whatever the order of things, and secrets leave no trace in sizes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use tokio::io::{AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::task::{spawn_local, yield_now};
use tokio::time::timeout;

use super::encoder::HeadEncoder;
use super::{PendingHeads, SplicedWire, stand_in};
use crate::transport::Outgoing;
use crate::transport::tests::lab::get;

/// What a service saw of a request: its first line, and its fields.
type Seen = (String, Vec<Vec<u8>>);

/// A field, and whether it is a secret.
type Field = (&'static str, String, bool);

#[derive(Clone, Debug)]
struct Asked {
    method: &'static str,
    fields: Vec<Field>,
    trailers: Option<Vec<Field>>,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Awaited,
    /// Given up before h2 has written anything of it.
    DroppedAtOnce,
    /// Given up when h2 had a chance to.
    DroppedSoon,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_service_reads_each_request_as_it_was_meant(
        asked in prop::collection::vec(asked(), 1..40),
        table in prop::sample::select(vec![0, 64, 300, 1_000, 4_096, 65_536]),
        streams in 1..5_u32,
        // With less room than settings take up, h2's two ends would wait for each other.
        pipe in prop::sample::select(vec![64, 200, 1_000, 100_000]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()).unwrap();
        let seen = runtime.block_on(async { timeout(SOON, carried(&asked, table, streams, pipe)).await });
        let seen = seen.expect("an end");

        for (number, asked) in asked.iter().enumerate() {
            match seen.get(&number) {
                Some(seen) => prop_assert_eq!(seen, &meant(asked), "request {}", number),
                None => prop_assert_ne!(asked.fate, Fate::Awaited, "request {} was not seen", number),
            }
        }
    }
}

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_long_token_is_one_byte_from_the_second_request_on() {
    let token = format!("Bearer {}", "t0k3n-".repeat(133));
    let mut encoder = HeadEncoder::new();

    let lengths = [(); 4].map(|()| block(&mut encoder, &[("authorization", token.clone(), true)]).len());

    assert!(lengths[0] > 800, "{lengths:?}");
    // :method, :scheme, :path with a slash and its length, the token, and :authority, which comes twice in full.
    assert_eq!(lengths[1..], [6 + 2 + "service.example:8443".len(), 7, 7]);
}

#[test]
fn a_secret_that_could_be_guessed_is_never_remembered_by_anybody() {
    let of_hexadecimal = "0123456789abcdef".repeat(2);
    for (name, value) in [
        ("authorization", "Basic dXNlcjpwYXNzd29yZHBhc3N3b3JkcGFzc3dvcmRwYXNzd29yZA==".to_owned()),
        ("authorization", format!("Bearer {}", &of_hexadecimal[1..])),
        ("x-api-key", of_hexadecimal.clone()),
        ("dpop", format!("eyJ0eXAiOiJkcG9wK2p3dCJ9.{of_hexadecimal}")),
    ] {
        let mut encoder = HeadEncoder::new();
        let blocks = [(); 3].map(|()| block(&mut encoder, &[(name, value.clone(), true)]));

        for block in blocks {
            let number = if name == "authorization" { &[0b0001_1111, 23 - 15][..] } else { &[0b0001_0000] };
            assert!(block.ends_with(value.as_bytes()), "{name}: {value}");
            assert!(block.windows(number.len()).any(|bytes| bytes == number), "{name}: {block:?}");
        }
    }
}

#[test]
fn what_an_app_shows_of_itself_is_not_remembered() {
    let token = format!("Bearer {}", "t0k3n-".repeat(133));
    for (name, value) in [("authorization", token), ("cookie", "session=8f3a9b2c".to_owned())] {
        let mut encoder = HeadEncoder::new();
        let blocks = [(); 3].map(|()| block(&mut encoder, &[(name, value.clone(), false)]));

        assert!(blocks.iter().all(|block| block.ends_with(value.as_bytes())), "{name}");
    }
}

#[test]
fn what_changes_with_each_request_drives_nothing_out() {
    let token = format!("Bearer {}", "t0k3n-".repeat(133));
    let mut encoder = HeadEncoder::new();

    let lengths: Vec<_> = (0..10_000)
        .map(|number| {
            let trace = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{number:016}-01");
            let id = format!("6f1c2f3e-9a31-4d0e-8f57-{number:012}");
            let fields =
                [("traceparent", trace, false), ("x-request-id", id, false), ("authorization", token.clone(), true)];
            block(&mut encoder, &fields).len()
        })
        .collect();

    assert!(lengths[2..].iter().all(|length| *length == lengths[2]), "{lengths:?}");
}

#[test]
fn what_the_table_has_no_room_for_is_sent_in_full_and_never_to_be_remembered() {
    for (token_bytes, table_bytes) in [(4_000, 4_096), (800, 0), (800, 500)] {
        let token = format!("Bearer {}", "t".repeat(token_bytes));
        let mut encoder = HeadEncoder::new();
        let update = size_update(table_bytes);
        assert_eq!(encoder.resized(&update), update);

        let blocks = [(); 4].map(|()| block(&mut encoder, &[("authorization", token.clone(), true)]));

        for block in blocks {
            let (before, value) = block.split_at(block.len() - token.len());
            assert_eq!(value, token.as_bytes());
            // The token's length in two bytes or three, and what says that it is never to be remembered.
            let form = [0b0001_1111, 23 - 15];
            assert!(before.windows(2).any(|bytes| bytes == form), "{table_bytes}: {before:?}");
        }
    }
}

#[test]
fn another_token_takes_the_place_of_the_last() {
    let tokens = [1, 2].map(|number| format!("Bearer {}", format!("t0k3n{number}").repeat(133)));
    let mut encoder = HeadEncoder::new();

    let lengths =
        [0, 0, 1, 1, 0].map(|which| block(&mut encoder, &[("authorization", tokens[which].clone(), true)]).len());

    assert!(lengths[2] > 800 && lengths[3..].iter().all(|length| *length == 7), "{lengths:?}");
}

#[tokio::test(flavor = "local")]
async fn many_tokens_drive_each_other_out_and_each_arrives() {
    let asked: Vec<_> = (0..60)
        .map(|number| Asked {
            method: "GET",
            fields: vec![("authorization", format!("Bearer {}", format!("{}-t0k3n", number % 20).repeat(100)), true)],
            trailers: None,
            fate: Fate::Awaited,
        })
        .collect();

    let seen = carried(&asked, 4_096, 4, 100_000).await;

    assert!(asked.iter().enumerate().all(|(number, asked)| seen[&number] == meant(asked)));
}

#[tokio::test(flavor = "local")]
async fn a_head_that_is_longer_than_a_frame_arrives() {
    let long = Asked {
        method: "GET",
        fields: (0..3).map(|_| ("x-long", "x".repeat(16_000), false)).collect(),
        trailers: Some(vec![("x-long", "y".repeat(40_000), false)]),
        fate: Fate::Awaited,
    };

    let seen = carried(&vec![long.clone(); 2], 4_096, 4, 100_000).await;

    assert_eq!(seen[&0], meant(&long));
    assert_eq!(seen[&1], meant(&long));
}

#[tokio::test(flavor = "local")]
async fn a_stand_in_never_leaves() {
    let (near, _far) = tokio::io::duplex(1024);
    let mut wire = SplicedWire::new(near, Rc::default());
    let headers = [&[0, 0, 1, 1, 5, 0, 0, 0, 1], &[0x82][..]].concat();

    let written = wire.write_all(&[&[b'x'; 24][..], &headers].concat()).await;

    assert_eq!(written.unwrap_err().to_string(), "a request without a head");
}

#[tokio::test(flavor = "local")]
async fn what_the_socket_has_no_room_for_stays_with_h2() {
    let (near, _far) = tokio::io::duplex(1);
    let mut wire = SplicedWire::new(near, Rc::default());
    let data_of_1_mib = [&[b'x'; 24][..], &[0x10, 0, 0, 0, 0, 0, 0, 0, 1], &vec![b'x'; 1024 * 1024]].concat();

    let mut taken = 0;
    while let Poll::Ready(written) = poll_once(|cx| Pin::new(&mut wire).poll_write(cx, &data_of_1_mib[taken..])).await {
        taken += written.unwrap();
    }

    assert!((1..=64 * 1024).contains(&taken), "{taken}");
}

async fn poll_once<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    poll_fn(|cx| Poll::Ready(poll(cx))).await
}

/// What the service saw, by the numbers that stand in paths.
async fn carried(asked: &[Asked], table: u32, streams: u32, pipe: usize) -> HashMap<usize, Seen> {
    let (near, far) = tokio::io::duplex(pipe);
    let seen = Rc::<RefCell<_>>::default();
    spawn_local(serve(far, table, streams, Rc::clone(&seen)));
    let heads = Rc::<PendingHeads>::default();
    let wire = SplicedWire::new(near, Rc::clone(&heads));
    // More than the service allows would be refused, if its settings came late.
    let mut client = h2::client::Builder::new();
    client.initial_max_send_streams(streams as usize);
    let (requests, connection) = client.handshake::<_, Bytes>(wire).await.unwrap();
    let driver = spawn_local(connection);
    let mut answers = Vec::new();
    for (number, asked) in asked.iter().enumerate() {
        let outgoing = outgoing(number, asked);
        let stand_in = stand_in(&outgoing.method);
        let (answer, mut stream) = requests.clone().send_request(stand_in, asked.trailers.is_none()).unwrap();
        heads.await_frame(answer.stream_id().as_u32(), &outgoing);
        if let Some(trailers) = &asked.trailers {
            stream.send_data(Bytes::from_static(b"body"), false).unwrap();
            let mut trailers = map(trailers);
            trailers.values_mut().for_each(|value| value.set_sensitive(true));
            stream.send_trailers(trailers).unwrap();
        }
        match asked.fate {
            Fate::Awaited => answers.push(answer),
            Fate::DroppedAtOnce => drop((answer, stream)),
            Fate::DroppedSoon => {
                yield_now().await;
                drop((answer, stream));
            }
        }
    }
    for answer in answers {
        answer.await.unwrap();
    }
    drop(requests);
    driver.await.unwrap().unwrap();
    seen.take()
}

async fn serve(far: DuplexStream, table: u32, streams: u32, seen: Rc<RefCell<HashMap<usize, Seen>>>) {
    let mut service = h2::server::Builder::new();
    service.header_table_size(table).max_concurrent_streams(streams);
    let mut connection = service.handshake::<_, Bytes>(far).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let seen = Rc::clone(&seen);
        spawn_local(async move {
            let (head, mut body) = request.into_parts();
            while let Some(Ok(_)) = body.data().await {}
            let trailers = body.trailers().await.ok().flatten();
            let number = head.uri.path()[1..].parse().unwrap();
            let line = format!("{} {}", head.method, head.uri.authority().unwrap());
            let fields = [lines(&head.headers), trailers.as_ref().map(lines).unwrap_or_default()].concat();
            // Half of a request was given up.
            if respond.send_response(http::Response::new(()), true).is_ok() {
                seen.borrow_mut().insert(number, (line, fields));
            }
        });
    }
}

fn meant(asked: &Asked) -> Seen {
    let trailers = asked.trailers.as_ref().map(|trailers| lines(&map(trailers)));
    let fields = [lines(&map(&asked.fields)), trailers.unwrap_or_default()].concat();
    (format!("{} service.example:8443", asked.method), fields)
}

fn lines(fields: &HeaderMap) -> Vec<Vec<u8>> {
    fields.iter().map(|(name, value)| [name.as_str().as_bytes(), b": ", value.as_bytes()].concat()).collect()
}

fn map(fields: &[Field]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value, secret) in fields {
        let mut value = HeaderValue::from_str(value).unwrap();
        value.set_sensitive(*secret);
        map.append(HeaderName::from_static(name), value);
    }
    map
}

fn outgoing(number: usize, asked: &Asked) -> Outgoing {
    let mut outgoing = get(&format!("/{number}"));
    outgoing.method = Method::from_bytes(asked.method.as_bytes()).unwrap();
    outgoing.fields = map(&asked.fields);
    outgoing
}

/// What a block begins with that says so (RFC 7541 §6.3).
fn size_update(size: usize) -> Vec<u8> {
    match size {
        0..31 => vec![0b0010_0000 | size as u8],
        _ => {
            let rest = size - 31;
            vec![0b0011_1111, rest as u8 | 128, (rest >> 7) as u8]
        }
    }
}

/// The field block of a request for `/`.
fn block(encoder: &mut HeadEncoder, fields: &[Field]) -> Vec<u8> {
    let heads = PendingHeads::default();
    let mut outgoing = get("/");
    outgoing.fields = map(fields);
    heads.await_frame(1, &outgoing);
    let mut block = Vec::new();
    assert!(heads.write(1, encoder, &mut block));
    block
}

fn asked() -> impl Strategy<Value = Asked> {
    let method = prop::sample::select(vec!["GET", "HEAD", "DELETE", "OPTIONS"]);
    let fate = prop::sample::select(vec![Fate::Awaited, Fate::Awaited, Fate::DroppedAtOnce, Fate::DroppedSoon]);
    let trailers = prop::option::weighted(0.3, prop::collection::vec(field(), 0..4));
    (method, prop::collection::vec(field(), 0..12), trailers, fate).prop_map(|(method, fields, trailers, fate)| Asked {
        method,
        fields,
        trailers,
        fate,
    })
}

/// Few names and values, so that they meet again.
fn field() -> impl Strategy<Value = Field> {
    let names = vec!["authorization", "accept", "x-api-key", "x-request-id", "cookie", "user-agent", "x-long"];
    let texts = vec![
        String::new(),
        "a".to_owned(),
        format!("Bearer {}", "b".repeat(900)),
        format!("Bearer {}", "c".repeat(32)),
        "d".repeat(126),
        "e".repeat(127),
        "f".repeat(128),
        "g".repeat(2_900),
        "h".repeat(3_500),
    ];
    (prop::sample::select(names), prop::sample::select(texts), any::<bool>())
}
