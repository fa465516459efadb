//! A service on `h2` reads each request as it was meant, and is read as it means, with little room for either.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Response};
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::task::{JoinSet, spawn_local};
use tokio::time::timeout;

use super::*;
use crate::transport::Outgoing;

/// A field, and whether it is a secret.
type Field = (&'static str, String, bool);

#[derive(Clone, Debug)]
struct Asked {
    method: &'static str,
    fields: Vec<Field>,
    /// Bytes of the body, if there is one.
    upload: Option<usize>,
    trailers: Vec<Field>,
    /// What the service answers with.
    download: usize,
    answer_trailers: Vec<Field>,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Awaited,
    /// Given up before anything of it was written.
    DroppedAtOnce,
    /// Given up when the head of its answer is here.
    DroppedSoon,
}

/// How the service is.
#[derive(Clone, Copy, Debug)]
struct Habits {
    table: u32,
    streams: u32,
    window: u32,
    pipe: usize,
}

/// What the service saw of a request: its first line, its fields and trailers, and how long its body was.
type Seen = (String, Vec<Vec<u8>>, usize);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn each_side_reads_what_the_other_means(
        asked in prop::collection::vec(asked(), 1..24),
        table in prop::sample::select(vec![0, 64, 300, 1_000, 4_096, 65_536]),
        streams in 1..5_u32,
        window in prop::sample::select(vec![0, 1, 300, 20_000, 65_535, 1_000_000]),
        // With less room than settings take up, the two ends would wait for each other.
        pipe in prop::sample::select(vec![64, 200, 1_000, 100_000]),
    ) {
        // A window of nothing is never opened by h2 before it gets something.
        let habits = Habits { table, streams, window: window.max(1), pipe };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()).unwrap();
        let carried = runtime.block_on(async { timeout(SOON, carried(&asked, habits)).await });
        let (seen, told) = carried.expect("an end");

        for (number, asked) in asked.iter().enumerate() {
            match seen.get(&number) {
                Some(seen) => prop_assert_eq!(seen, &meant(asked), "request {}", number),
                None => prop_assert_ne!(asked.fate, Fate::Awaited, "request {} was not seen", number),
            }
            if asked.fate == Fate::Awaited {
                let told = &told[&number];
                prop_assert_eq!(told.end.as_deref(), Some("whole"), "answer {}", number);
                let bytes = if asked.method == "HEAD" { 0 } else { asked.download };
                prop_assert!(told.body == vec![number as u8; bytes], "answer {}", number);
                prop_assert_eq!(lines(&told.fields), lines(&map(&asked.fields)), "answer {}", number);
                if asked.method != "HEAD" {
                    prop_assert_eq!(lines(&told.trailers), lines(&map(&asked.answer_trailers)), "answer {}", number);
                }
            }
        }
    }
}

const SOON: Duration = Duration::from_secs(30);

/// A multiplexer, and who moves its bytes.
#[derive(Default)]
struct Line {
    multiplexer: Option<Multiplexer>,
    pump: Option<Waker>,
    /// Those who wait for the end of others.
    waiting: Vec<Waker>,
}

impl Line {
    fn with<T>(&mut self, act: impl FnOnce(&mut Multiplexer) -> T) -> T {
        let outcome = act(self.multiplexer.as_mut().unwrap());
        if let Some(pump) = self.pump.take() {
            pump.wake();
        }
        outcome
    }
}

/// What the service saw and what it was understood to say, by the numbers that stand in paths.
async fn carried(asked: &[Asked], habits: Habits) -> (HashMap<usize, Seen>, HashMap<usize, Told>) {
    let (near, far) = tokio::io::duplex(habits.pipe);
    let seen = Rc::<RefCell<_>>::default();
    let answers: Rc<Vec<Asked>> = Rc::new(asked.to_vec());
    let service = spawn_local(serve(far, habits, Rc::clone(&answers), Rc::clone(&seen)));
    let mut multiplexer = Multiplexer::new(Moment::now());
    // More than the service allows would be refused, if its settings came late.
    multiplexer.settle(frames::ServiceSettings { streams: Some(habits.streams), ..Default::default() }).unwrap();
    let line = Rc::new(RefCell::new(Line { multiplexer: Some(multiplexer), ..Line::default() }));
    let pump = spawn_local(pump(Rc::clone(&line), near));
    let mut exchanges = JoinSet::new();
    for (number, asked) in asked.iter().enumerate() {
        exchanges.spawn_local(exchange(Rc::clone(&line), number, asked.clone()));
    }
    let told = exchanges.join_all().await.into_iter().collect();
    line.borrow_mut().with(Multiplexer::take_leave);
    pump.await.unwrap();
    service.await.unwrap();
    (seen.take(), told)
}

/// Moves bytes until the service is gone.
async fn pump(line: Rc<RefCell<Line>>, mut near: DuplexStream) {
    let mut came = BytesMut::new();
    poll_fn(|cx| {
        let line = &mut *line.borrow_mut();
        line.pump = Some(cx.waker().clone());
        let multiplexer = line.multiplexer.as_mut().unwrap();
        loop {
            while !multiplexer.outbox.is_empty() {
                let Poll::Ready(bytes) = Pin::new(&mut near).poll_write(cx, multiplexer.outbox.rest()) else { break };
                // Where the service is gone, nobody misses it.
                if multiplexer.outbox.advance(bytes.unwrap_or_else(|_| multiplexer.outbox.rest().len())) {
                    multiplexer.drained();
                }
            }
            let mut room = [0; 500];
            let mut room = ReadBuf::new(&mut room);
            match Pin::new(&mut near).poll_read(cx, &mut room) {
                Poll::Ready(Ok(())) if !room.filled().is_empty() => {
                    came.extend_from_slice(room.filled());
                    // Windows of next to nothing are opened again and again, which is none of this.
                    multiplexer.flood.came_on();
                    multiplexer.take(&mut came).unwrap();
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}

async fn exchange(line: Rc<RefCell<Line>>, number: usize, asked: Asked) -> (usize, Told) {
    let outgoing = outgoing(number, &asked);
    let end = if asked.upload.is_none() && asked.trailers.is_empty() { StreamEnd::Here } else { StreamEnd::Later };
    let key = poll_fn(|cx| {
        let mut line = line.borrow_mut();
        if line.with(|multiplexer| multiplexer.is_full()) {
            line.waiting.push(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(line.with(|multiplexer| multiplexer.begin(&outgoing, end)))
    })
    .await;
    let mut told = Told::default();
    if asked.fate != Fate::DroppedAtOnce {
        let mut left = asked.upload.unwrap_or(0);
        poll_fn(|cx| {
            line.borrow_mut().with(|multiplexer| {
                upload(multiplexer, key, &mut left, &asked, cx);
                told.read_on(multiplexer, key);
                let is_enough = asked.fate == Fate::DroppedSoon && told.status.is_some();
                if is_enough || told.end.is_some() {
                    return Poll::Ready(());
                }
                if let Some(stream) = multiplexer.streams.get_mut(key) {
                    stream.wait_to_read(cx);
                }
                Poll::Pending
            })
        })
        .await;
    }
    line.borrow_mut().with(|multiplexer| {
        multiplexer.let_go(key, StreamSide::Answer);
        multiplexer.let_go(key, StreamSide::Request);
    });
    line.borrow_mut().waiting.drain(..).for_each(Waker::wake);
    (number, told)
}

fn upload(multiplexer: &mut Multiplexer, key: StreamKey, left: &mut usize, asked: &Asked, cx: &Context<'_>) {
    loop {
        if *left == 0 {
            return if asked.trailers.is_empty() {
                multiplexer.send(key, b"", StreamEnd::Here);
            } else {
                multiplexer.send_trailers(key, &map(&asked.trailers));
            };
        }
        match multiplexer.room(key) {
            UploadRoom::Bytes(room) => {
                let part = room.min(*left);
                *left -= part;
                multiplexer.send(key, &vec![b'u'; part], StreamEnd::Later);
            }
            UploadRoom::Never => return,
            UploadRoom::Held | UploadRoom::NoWindow | UploadRoom::Crowded => {
                if let Some(stream) = multiplexer.streams.get_mut(key) {
                    stream.wait_to_write(cx);
                }
                return;
            }
        }
    }
}

async fn serve(far: DuplexStream, habits: Habits, asked: Rc<Vec<Asked>>, seen: Rc<RefCell<HashMap<usize, Seen>>>) {
    let mut service = h2::server::Builder::new();
    service.header_table_size(habits.table).max_concurrent_streams(habits.streams).initial_window_size(habits.window);
    let mut connection = service.handshake::<_, Bytes>(far).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let (seen, asked) = (Rc::clone(&seen), Rc::clone(&asked));
        spawn_local(async move {
            let (head, mut body) = request.into_parts();
            let mut bytes = 0;
            while let Some(Ok(data)) = body.data().await {
                bytes += data.len();
                drop(body.flow_control().release_capacity(data.len()));
            }
            let trailers = body.trailers().await.ok().flatten();
            let number: usize = head.uri.path()[1..].parse().unwrap();
            let line = format!("{} {}", head.method, head.uri.authority().unwrap());
            let fields = [lines(&head.headers), trailers.as_ref().map(lines).unwrap_or_default()].concat();
            let asked = &asked[number];
            let mut response = Response::new(());
            *response.headers_mut() = map(&asked.fields);
            // Half of a request was given up.
            let Ok(mut answer) = respond.send_response(response, asked.method == "HEAD") else { return };
            seen.borrow_mut().insert(number, (line, fields, bytes));
            if asked.method == "HEAD" {
                return;
            }
            let is_all = asked.answer_trailers.is_empty();
            if answer.send_data(vec![number as u8; asked.download].into(), is_all).is_ok() && !is_all {
                drop(answer.send_trailers(map(&asked.answer_trailers)));
            }
        });
    }
}

fn meant(asked: &Asked) -> Seen {
    let fields = [lines(&map(&asked.fields)), lines(&map(&asked.trailers))].concat();
    (format!("{} service.example:8443", asked.method), fields, asked.upload.unwrap_or(0))
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

fn asked() -> impl Strategy<Value = Asked> {
    let method = prop::sample::select(vec!["GET", "HEAD", "DELETE", "OPTIONS"]);
    let fate = prop::sample::select(vec![Fate::Awaited, Fate::Awaited, Fate::DroppedAtOnce, Fate::DroppedSoon]);
    let fields = || prop::collection::vec(field(), 0..12);
    let trailers = || prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(field(), 1..4)];
    let upload = prop::option::weighted(0.3, bytes());
    (method, fields(), upload, trailers(), bytes(), trailers(), fate).prop_map(
        |(method, fields, upload, trailers, download, answer_trailers, fate)| Asked {
            method,
            fields,
            upload,
            trailers,
            download,
            answer_trailers,
            fate,
        },
    )
}

fn bytes() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), 1..5_usize, 1..2_000_usize, 1..200_000_usize]
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
