//! What services get wrong stays with the request that they got: over both protocols, from many apps at once, in random
//! pieces and with random pauses, while the config is reloaded again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::lab::Lab;
use crate::lab::client::{Answer, Connection, Ended};
use crate::lab::frames;
use crate::lab::hostile::{Hostile, Ledger, Plan, pause};

/// No answer, and no part of one, reaches another request; no body that was cut is whole; no request is seen that nobody sent.
///
/// `SIDEKEY_TEST_EXCHANGES` makes it more of them, `SIDEKEY_TEST_SEED` the same ones again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_services_do_each_request_gets_its_own_answer_or_none() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let exchanges = number("SIDEKEY_TEST_EXCHANGES").unwrap_or(3_000);
    let seed = number("SIDEKEY_TEST_SEED").unwrap_or_else(|| fastrand::u64(..));
    let lab = Lab::start().await;
    let ledger = Arc::<Ledger>::default();
    let (one, two) = (Hostile::http1(&ledger).await, Hostile::http2(&ledger).await);
    let config = |round: u64| {
        let more = format!("timeouts: {{ response: {}s }}, pool: {{ max_connections: 64 }}", 10 + round % 2);
        format!(
            "services:\n  one: {{ url: '{}', http_version: '1.1', {more} }}\n  two: {{ url: '{}', http_version: 2, {more} }}\n",
            one.url(),
            two.url()
        )
    };
    let sidekey = lab.sidekey(&config(0)).await;
    let tally = Arc::new(Tally { left: AtomicUsize::new(exchanges as usize), ..Tally::default() });

    let mut apps = JoinSet::new();
    for number in 0..APPS {
        let app = App {
            address: sidekey.address.clone(),
            name: format!("{seed:x}-{number}"),
            random: fastrand::Rng::with_seed(seed ^ number << 32),
            ledger: Arc::clone(&ledger),
            tally: Arc::clone(&tally),
        };
        apps.spawn(app.run());
    }
    let over = AtomicBool::new(false);
    let reloading = async {
        for round in 1.. {
            if over.load(Ordering::Relaxed) {
                break;
            }
            sidekey.rewrite(&lab, &config(round));
            sleep(Duration::from_millis(100)).await;
        }
    };
    let working = async {
        while let Some(ended) = apps.join_next().await {
            ended.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(reloading, working);

    let violations = ledger.violations();
    assert!(
        violations.is_empty(),
        "seed {seed}: {} violations, the first are {:#?}",
        violations.len(),
        &violations[..violations.len().min(5)]
    );
    let [whole, broken, refused] =
        [&tally.whole, &tally.broken, &tally.refused].map(|count| count.load(Ordering::Relaxed));
    println!("seed {seed}: {exchanges} exchanges, {whole} whole, {broken} broken off, {refused} answered by Sidekey");
    assert_eq!((whole + broken + refused) as u64, exchanges, "seed {seed}");
    // Else nothing was tried.
    assert!(whole > exchanges as usize / 3 && broken > exchanges as usize / 50 && refused > exchanges as usize / 50);
    assert!(sidekey.generation().await > 3);
}

/// h2 has no setting for it, so whoever runs Sidekey has to know.
#[tokio::test]
async fn an_http2_connection_that_had_to_be_given_up_is_told_of() {
    let lab = Lab::start().await;
    let service = frames::Server::start(frames::empty_frames(1, 100_000)).await;
    let config = format!("services: {{ payments: {{ url: '{}', http_version: 2 }} }}", service.url());
    let sidekey = lab.sidekey(&config).await;

    let mut app = sidekey.raw("GET /payments/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;

    let looks_whole = app.next().await.is_ok_and(|answer| answer.status == 200 && answer.ended == Ended::Whole);
    assert!(!looks_whole);
    sidekey.until_logged("was given up for all requests on it").await;
    assert_eq!(sidekey.get("/payments/x").await.status, 204);
}

/// It is the service's to choose, and may be a secret that it was sent.
#[tokio::test]
async fn what_a_goaway_says_beside_its_reason_is_shown_nowhere() {
    let lab = Lab::start().await;
    let service = frames::Server::start(frames::goaway_saying("Bearer s3cr3t")).await;
    let rest = "http_version: 2, retry: { attempts: 0 }";
    let sidekey = lab.sidekey(&format!("services: {{ payments: {{ url: '{}', {rest} }} }}", service.url())).await;

    let detail = sidekey.get("/payments/x").await.problem("connection_terminated");

    assert!(detail.ends_with("it ended the connection: unexpected internal error encountered"), "{detail}");
    sidekey.until_logged("unexpected internal error encountered").await;
    let status = sidekey.status().await.to_string();
    assert!(status.contains("unexpected internal error encountered"), "{status}");
    for told in [detail, sidekey.log(), status] {
        assert!(!told.contains("s3cr3t"), "{told}");
    }
}

const APPS: u64 = 32;

#[derive(Default)]
struct Tally {
    left: AtomicUsize,
    whole: AtomicUsize,
    broken: AtomicUsize,
    refused: AtomicUsize,
}

struct App {
    address: String,
    name: String,
    random: fastrand::Rng,
    ledger: Arc<Ledger>,
    tally: Arc<Tally>,
}

impl App {
    async fn run(mut self) {
        let mut connection = None;
        for turn in 0.. {
            let one_less = |left: usize| left.checked_sub(1);
            if self.tally.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_err() {
                return;
            }
            let open = match connection.take() {
                Some(open) => open,
                None => Connection::open(&self.address).await,
            };
            connection = self.exchange(open, turn).await;
        }
    }

    /// One exchange; gives the connection back if it may be used again.
    async fn exchange(&mut self, mut connection: Connection, turn: usize) -> Option<Connection> {
        let random = &mut self.random;
        let service = ["one", "two"][random.usize(..2)];
        let what = WHAT[random.usize(..WHAT.len())];
        let is_early = matches!(what, "early" | "careless");
        let method = if is_early { "POST" } else { ["GET", "POST", "PUT", "HEAD"][random.usize(..4)] };
        let plan = Plan {
            id: format!("{}-{turn}", self.name),
            what: what.to_owned(),
            size: random.usize(1..30),
            seed: random.u64(..),
        };
        self.ledger.sends(&plan, method);

        let body = if matches!(method, "POST" | "PUT") { plan.upload() } else { String::new() };
        let (head, body) = framed(&plan, service, method, &body, random.bool());
        // Of a request that is answered early the end waits for the answer: else nobody could tell that it came early.
        let held = if is_early { random.usize(1..body.len()) } else { body.len() };
        connection.asks_for_head(method == "HEAD");
        self.dribble(&mut connection, &[head.as_bytes(), &body[..held]].concat()).await;
        let answer = connection.next().await;
        let is_told = answer.is_ok();
        self.judge(&plan, service, method, answer.as_ref());
        if is_early && is_told {
            self.dribble(&mut connection, &body[held..]).await;
            pause(&mut self.random).await;
        }
        let answer = answer.ok()?;
        let closes = answer.field("connection").is_some_and(|value| value.contains("close"));
        (!is_early && answer.ended == Ended::Whole && !closes).then_some(connection)
    }

    fn judge(&self, plan: &Plan, service: &str, method: &str, answer: Result<&Answer, &Ended>) {
        let Ok(answer) = answer else {
            self.tally.broken.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let is_whole = answer.ended == Ended::Whole;
        if let Some(ours) = answer.field("proxy-status") {
            if !EXPECTED.iter().any(|error| ours.ends_with(error)) {
                self.ledger.violated(format!("{method} {service} {plan:?} was answered by {answer:?}"));
            }
            self.tally.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let has_body = method != "HEAD" && !matches!(answer.status, 204 | 205);
        let body = answer.text();
        let fits = if is_whole && has_body { body == plan.answer() } else { plan.answer().starts_with(&body) };
        if answer.field("x-id").as_deref() != Some(&plan.id) || !fits {
            self.ledger.violated(format!("{method} {service} {plan:?} was answered by {answer:?}"));
        }
        let count = if is_whole { &self.tally.whole } else { &self.tally.broken };
        count.fetch_add(1, Ordering::Relaxed);
    }

    async fn dribble(&mut self, connection: &mut Connection, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(self.random.usize(1..=bytes.len()));
            connection.write(piece).await;
            bytes = rest;
            pause(&mut self.random).await;
        }
    }
}

/// Head and body as they are sent.
fn framed(plan: &Plan, service: &str, method: &str, body: &str, chunked: bool) -> (String, Vec<u8>) {
    let line = format!("{method} /{service}{} HTTP/1.1\r\nHost: localhost\r\n", plan.target());
    if body.is_empty() {
        (format!("{line}\r\n"), Vec::new())
    } else if chunked {
        (format!("{line}Transfer-Encoding: chunked\r\n\r\n"), format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).into())
    } else {
        (format!("{line}Content-Length: {}\r\n\r\n", body.len()), body.into())
    }
}

/// What services are told to do; what one protocol does not know is a good answer there.
const WHAT: [&str; 16] = [
    "good",
    "good",
    "good",
    "chunked",
    "early",
    "careless",
    "cut",
    "until-close",
    "twice",
    "no-content",
    "interim",
    "timeout",
    "gone",
    "goaway",
    "refused",
    "close",
];

/// What Sidekey may say of them.
const EXPECTED: [&str; 3] = ["connection_terminated", "http_protocol_error", "http_response_incomplete"];
