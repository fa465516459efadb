//! Requests of all kinds against a model of what is promised of targets, hosts, browsers, routes and fields: what must not
//! arrive does not, and what arrives is what the model says, byte for byte.
//!
//! The model is written from the promises and shares nothing with the program: where the two differ, one is wrong. Of a
//! request with several faults it says only which answers would do. `SIDEKEY_TEST_REQUESTS` is how many are made, and
//! `SIDEKEY_TEST_SEED` where they begin.

pub mod generator;
mod promises;

use std::sync::{Arc, Mutex};

use crate::lab::Lab;
use crate::lab::client::{Answer, Connection, Ended};
use crate::lab::fault::{Fault, Received, Reply};
use crate::lab::sidekey::Sidekey;
use generator::{Sent, any};
use promises::World;

#[tokio::test]
async fn what_arrives_is_what_was_promised_byte_for_byte() {
    check("{ hosts: [sidekey.internal], origins: ['https://app.example'] }", false, 0).await;
}

#[tokio::test]
async fn so_it_is_where_people_are_let_in_to_look() {
    check("{ hosts: [sidekey.internal], origins: ['https://app.example'], browsers: true }", true, 1 << 32).await;
}

async fn check(access: &str, people_may_look: bool, offset: u64) {
    let lab = Lab::start().await;
    let arrived = Arc::new(Mutex::new(None));
    let [payments, orders, keys] = [service(0, &arrived).await, service(1, &arrived).await, service(2, &arrived).await];
    let ports = [&payments, &orders, &keys].map(|service| service.port);
    let sidekey = lab.sidekey(&config(ports, access)).await;
    let mut world = World { ports, people_may_look, instance: None };
    let number = |name: &str| std::env::var(name).ok().and_then(|number| number.parse().ok());
    let (count, first) = (number("SIDEKEY_TEST_REQUESTS").unwrap_or(3_000), number("SIDEKEY_TEST_SEED").unwrap_or(0));
    let mut tally = [0_u64; 2];

    let mut connection = sidekey.connect().await;
    for seed in first..first + count {
        let sent = any(seed + offset, ports);
        let (answer, came, reusable) = exchange(&mut connection, &sent, &arrived).await;
        if !reusable {
            connection = sidekey.connect().await;
        }
        tally[usize::from(came.is_some())] += 1;
        if let Err(difference) = world.compare(&sent, answer.status, came.as_ref()) {
            panic!(
                "SIDEKEY_TEST_SEED={seed} {access}: {difference}\n{}\nanswered {answer:?}, arrived {came:#?}",
                sent.shown()
            );
        }
    }

    // Both kinds are looked at, or the generator has dried up.
    assert!(tally.iter().all(|kind| *kind > count / 10), "refused and arrived: {tally:?} of {count}");
    assert!(is_alive(&sidekey).await);
}

/// What a service was sent, and which.
type Arrived = Arc<Mutex<Option<(usize, Received)>>>;

async fn service(number: usize, arrived: &Arrived) -> Fault {
    let arrived = Arc::clone(arrived);
    Fault::reading_idp(move |request| {
        let before = arrived.lock().unwrap().replace((number, request.clone()));
        assert!(before.is_none(), "one request came twice: {before:?} {request:?}");
        Reply::ok("ok")
    })
    .await
}

/// Sends it and waits for the answer; the status, what arrived, and whether the connection can be used again.
async fn exchange(
    connection: &mut Connection,
    sent: &Sent,
    arrived: &Arrived,
) -> (Answer, Option<(usize, Received)>, bool) {
    connection.expects(&sent.method);
    connection.write(sent.bytes()).await;
    let answer = connection.answer().await;
    let closes = answer.fields("connection").iter().any(|value| value == "close") || answer.ended != Ended::Whole;
    (answer, arrived.lock().unwrap().take(), !closes && sent.version == "HTTP/1.1" && !sent.closes())
}

async fn is_alive(sidekey: &Sidekey) -> bool {
    sidekey.admin("/livez").await.status == 200
}

fn config([payments, orders, keys]: [u16; 3], access: &str) -> String {
    format!(
        "
services:
  payments: {{ url: 'http://127.0.0.1:{payments}/v1', auth: {{ type: bearer, token: services-own }} }}
  orders:
    url: 'http://127.0.0.1:{orders}'
    allow: {{ methods: [GET, HEAD, POST, OPTIONS], paths: [/**, /raw/*] }}
  keys:
    url: 'http://127.0.0.1:{keys}/k/'
    auth: {{ type: api_key, key: services-key, header: X-Api-Key }}
    headers: {{ set: {{ X-Environment: test }}, remove: [X-Debug] }}
    allow: {{ paths: [/k/a/**, '/k/*/b', /k, /k/] }}
routes:
  - {{ path: /pay, service: payments }}
  - {{ path: /pay/raw, strip_path: false, service: orders }}
  - {{ host: shop.example, service: orders }}
  - {{ host: '*.pay.example', path: /p, service: payments }}
  - {{ path: /m, methods: [POST], service: keys }}
  - {{ path: /m, service: orders }}
  - {{ path: /m, headers: {{ X-Tenant: acme }}, service: payments }}
  - {{ host: localhost, path: /h, service: keys }}
access: {access}
"
    )
}
