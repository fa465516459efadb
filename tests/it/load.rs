//! Under load, while everything changes: not one request is lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::lab::Lab;
use crate::lab::client::{Connection, Request};
use crate::lab::idp::Idp;
use crate::lab::sidekey::Sidekey;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_while_config_and_certificate_change() {
    let wanted = std::env::var("SIDEKEY_TEST_SECONDS").ok();
    let seconds = wanted.map_or(SECONDS, |number| number.parse().expect("SIDEKEY_TEST_SECONDS is a number"));
    run_for(Duration::from_secs(seconds)).await;
}

/// Each of them is five changes of the config and a certificate rotated. `SIDEKEY_TEST_SECONDS` makes it longer, as `./test soak` does.
const SECONDS: u64 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_defaults_100_connections_of_apps_cost_100_handshakes_and_no_more() {
    handshakes_of(100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_defaults_256_connections_of_apps_cost_256_handshakes_and_no_more() {
    handshakes_of(256).await;
}

/// Once all connections have had a request under way at the same time, no load of theirs has another one made within the
/// next ten seconds, at the end of which they have again. A load that takes longer proves nothing.
async fn handshakes_of(size: usize) {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey("services: { payments: { url: $SERVICE, certificate: partner } }").await;
    let mut crowd = Vec::new();
    for _ in 0..size {
        crowd.push(Connection::open(&sidekey.address).await);
    }

    let mut seen = BTreeSet::new();
    // Cold: before anybody knows how many will ask at once, none is made that is not wanted then.
    let (mut at_once, mut wanted, mut proofs) = (Instant::now(), size, 0);
    for _ in 0..6 {
        let before = seen.len();
        crowd = ask_in_turn(crowd, &mut seen).await;
        let again = ask_at_once(&mut crowd, &sidekey, &mut seen).await;
        if again - at_once < REMEMBERED {
            assert_eq!(seen.len() - before, wanted, "handshakes for {size} connections of apps");
            proofs += 1;
        }
        (at_once, wanted) = (again, 0);
    }
    assert!(proofs > 1, "on this machine {size} connections take more than {REMEMBERED:?} for three requests each");
}

/// For how long a pool remembers how many connections it needed at once, at least.
const REMEMBERED: Duration = Duration::from_secs(10);

/// Each connection sends one request after the other; tells of the connections that the service saw them on.
async fn ask_in_turn(crowd: Vec<Connection>, seen: &mut BTreeSet<String>) -> Vec<Connection> {
    let mut tasks = JoinSet::new();
    for mut connection in crowd {
        tasks.spawn(async move {
            let mut seen = Vec::new();
            for _ in 0..2 {
                seen.push(connection.send(Request::get("/payments/p")).await.at_service().connection);
            }
            (connection, seen)
        });
    }
    let (crowd, told): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().unzip();
    seen.extend(told.into_iter().flatten());
    crowd
}

/// Holds all requests back until each of them has a connection to the service; tells when that was so.
async fn ask_at_once(crowd: &mut [Connection], sidekey: &Sidekey, seen: &mut BTreeSet<String>) -> Instant {
    let half = format!("POST /payments/p HTTP/1.1\r\nHost: {}\r\nContent-Length: 2\r\n\r\na", sidekey.address);
    for connection in &mut *crowd {
        connection.write(&half).await;
    }
    let active = r#"sidekey_upstream_connections{service="payments",state="active"}"#;
    sidekey.until_metric(active, crowd.len() as f64).await;
    let at_once = Instant::now();
    for connection in &mut *crowd {
        connection.write("b").await;
    }
    for connection in crowd {
        seen.insert(connection.answer().await.at_service().connection);
    }
    at_once
}

/// 64 connections send without a pause; each answer must be the service's, with a certificate and a token.
async fn run_for(length: Duration) {
    let lab = Lab::start().await;
    let idp = lab.idp().await;
    let sidekey = lab.sidekey(&config(&idp, 0)).await;
    let load = Load::start(&sidekey.address, CONNECTIONS);

    let rewrites = change_everything(&lab, &idp, &sidekey, length).await;

    let requests = load.stop().await;
    assert!(requests > u64::try_from(CONNECTIONS).unwrap() * length.as_secs(), "only {requests} requests");
    assert!(rewrites > length.as_secs() * 3, "only {rewrites} rewrites");
    let generations = sidekey.generation().await;
    assert!(generations > length.as_secs(), "only {generations} generations in {length:?}");
    assert_eq!(sidekey.metric("sidekey_config_last_reload_successful").await, 1.0, "{}", sidekey.status().await);
}

/// Rewrites the config every 200 ms and rotates the certificate every second.
async fn change_everything(lab: &Lab, idp: &Idp, sidekey: &Sidekey, length: Duration) -> u64 {
    let start = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    let mut rewrites = 0;
    while start.elapsed() < length {
        ticks.tick().await;
        rewrites += 1;
        sidekey.rewrite(lab, &config(idp, rewrites));
        if rewrites % 5 == 0 {
            lab.rotate("partner");
        }
    }
    rewrites
}

fn config(idp: &Idp, number: u64) -> String {
    format!(
        "
services:
  payments:
    title: number {number}
    url: $SERVICE/v1
    certificate: partner
    pool: {{ max_idle: {} }}
    auth:
      type: oauth2_client_credentials
      token_url: https://localhost:{}/token
      client_id: by-basic
      client_secret: basic-secret
  another-{}: {{ url: $SERVICE, certificate: other, timeouts: {{ response: {}s }} }}
",
        // A service with another pool has another half in each worker: not at each change, or no connection would be kept.
        ["auto", "8"][usize::from(number % 8 >= 4)],
        idp.port,
        number % 3,
        60 + number % 7
    )
}

/// Connections that send requests until they are told to stop.
struct Load {
    running: Arc<AtomicBool>,
    requests: Arc<AtomicU64>,
    tasks: JoinSet<()>,
}

impl Load {
    fn start(server: &str, connections: usize) -> Self {
        let mut load =
            Self { running: Arc::new(AtomicBool::new(true)), requests: Arc::default(), tasks: JoinSet::new() };
        for _ in 0..connections {
            load.tasks.spawn(send(server.to_owned(), load.running.clone(), load.requests.clone()));
        }
        load
    }

    async fn stop(mut self) -> u64 {
        self.running.store(false, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("every connection got an answer to every request");
        }
        self.requests.load(Ordering::Relaxed)
    }
}

async fn send(server: String, running: Arc<AtomicBool>, requests: Arc<AtomicU64>) {
    let mut connection = Connection::open(&server).await;
    let mut number = 0_u64;
    while running.load(Ordering::Relaxed) {
        number += 1;
        // POSTs too: they are what nobody sends a second time to hide a loss.
        let target = format!("/payments/{number}");
        let request = if number.is_multiple_of(4) { Request::post(&target, "a body") } else { Request::get(&target) };
        let answer = connection.send(request).await;
        let seen = answer.at_service();
        assert_eq!((seen.subject.as_str(), seen.target), ("CN=partner", format!("/v1/{number}")));
        assert!(seen.authorization.starts_with("Bearer ey"), "no token: {answer:?}");
        requests.fetch_add(1, Ordering::Relaxed);
        // An answer that announces the end of its connection is no loss.
        if answer.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            connection = Connection::open(&server).await;
        }
    }
}

const CONNECTIONS: usize = 64;
