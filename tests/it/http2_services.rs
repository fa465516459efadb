//! Services of others that speak HTTP/2: nghttpd, with the habits that it can be given.

use std::collections::HashMap;
use std::process::Command;

use tokio::task::JoinSet;

use crate::lab::client::{Request, exchange};
use crate::lab::nghttpd::Nghttpd;
use crate::lab::{Lab, program};

/// Bytes that are nowhere the same.
fn numbered(length: usize) -> String {
    (0..)
        .map(|number| format!("{number:08}\n"))
        .flat_map(|line| line.into_bytes())
        .take(length)
        .map(char::from)
        .collect()
}

#[tokio::test]
async fn nghttpd_gets_and_gives_every_byte_with_padding_narrow_windows_and_few_streams() {
    let lab = Lab::start().await;
    let long = 1 << 20;
    for (how, length) in [
        (&["--verify-client"][..], long),
        (&["--padding=255"], long),
        (&["--window-bits=10", "--connection-window-bits=16"], long),
        // On each new connection it refuses what comes before its limit does. That goes again, if it is here to its end by then.
        (&["--max-concurrent-streams=2"], 1_000),
        (&["--header-table-size=0", "--encoder-header-table-size=0"], long),
        (&["--no-content-length", "--trailer=x-sum: 1"], long),
    ] {
        let body = numbered(length);
        lab.write("file", &body);
        let server = Nghttpd::start(&lab, how).await;
        let service =
            format!("url: 'https://localhost:{}', certificate: partner, retry: {{ attempts: 9 }}", server.port);
        let sidekey = lab.sidekey(&format!("services: {{ files: {{ {service} }} }}")).await;
        // More at once than it takes on one connection.
        let mut exchanges = JoinSet::new();
        for number in 0..12 {
            let request = match number % 3 {
                0 => Request::get("/files/file"),
                1 => Request::post("/files/up", body.clone()),
                _ => Request::chunked("PUT", "/files/up", &body),
            };
            let address = sidekey.address.clone();
            exchanges.spawn(async move { (number, exchange(&address, request).await) });
        }

        while let Some(exchanged) = exchanges.join_next().await {
            let (number, answer) = exchanged.unwrap();
            assert_eq!(answer.status_of_service(), 200, "{how:?} {number}: {answer:?}");
            assert!(answer.text() == body, "{how:?} {number}: {} bytes came back", answer.body.len());
        }
        let none = sidekey.send(Request::new("HEAD", "/files/none")).await;
        assert_eq!((none.status_of_service(), none.body.len()), (404, 0), "{how:?}");
        assert_eq!(sidekey.service("files").await["errors"], 0, "{how:?}");
    }
}

// With a thread for what the services do while a program is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn nghttpd_and_h2load_are_at_both_ends_of_the_same_requests() {
    let lab = Lab::start().await;
    lab.write("file", &numbered(10_000));
    let server = Nghttpd::start(&lab, &["--no-tls"]).await;
    let service = format!("url: 'http://127.0.0.1:{}', http_version: 2", server.port);
    let sidekey = lab.sidekey(&format!("services: {{ files: {{ {service} }} }}")).await;

    for how in [&["-m", "20"][..], &["--h1"]] {
        let mut load = Command::new("h2load");
        load.args(["-n", "2000", "-c", "10", "--connection-active-timeout", "40"]).args(how);
        let output = program::output(load.arg(format!("http://{}/files/file", sidekey.address)));

        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{how:?}: {told}");
        assert!(told.contains("status codes: 2000 2xx"), "{how:?}: {told}");
    }
}

/// Fields that come again and again, fields that never do, and secrets, with tables of every size: whatever was written as a
/// number of a table's row, nghttp2 reads as what it stood for.
#[tokio::test]
async fn nghttpd_reads_each_field_as_it_was_sent_whatever_room_its_table_has() {
    const REQUESTS: usize = 400;
    let lab = Lab::start().await;
    for table in ["0", "70", "300", "4096", "65536"] {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        let server = Nghttpd::start(&lab, &["--no-tls", "--verbose", &format!("--header-table-size={table}")]).await;
        let service = format!("url: 'http://127.0.0.1:{}', http_version: 2", server.port);
        let sidekey = lab.sidekey(&format!("services: {{ files: {{ {service} }} }}")).await;
        let mut sent = HashMap::new();
        let mut exchanges = JoinSet::new();
        for number in 0..REQUESTS {
            let mut fields: Vec<_> = (0..random.usize(..7)).map(|_| random_field(&mut random)).collect();
            // Those of one name keep their order.
            fields.sort_by(|one, other| one.0.cmp(&other.0));
            let request = Request::post(&format!("/files/{number}"), vec![b'x'; random.usize(..40_000)]);
            let request = fields.iter().fold(request, |request, (name, value)| request.field(name, value));
            sent.insert(format!("/{number}"), fields);
            let address = sidekey.address.clone();
            exchanges.spawn(async move { exchange(&address, request).await.status_of_service() });
            // Some at once, and some alone.
            if exchanges.len() > random.usize(..24) {
                assert_eq!(exchanges.join_next().await.unwrap().unwrap(), 200);
            }
        }
        while let Some(status) = exchanges.join_next().await {
            assert_eq!(status.unwrap(), 200);
        }

        let seen = server.seen();
        assert_eq!(seen.len(), REQUESTS, "table {table}, seed {seed}");
        for fields in seen {
            let (path, named) = path_and_ours(&fields);
            assert_eq!(Some(&named), sent.get(&path), "{path}: table {table}, seed {seed}");
        }
    }
}

/// One of few that come again, a long one that does, or one that never will.
fn random_field(random: &mut fastrand::Rng) -> (String, String) {
    let name = format!("x-{}", random.usize(..6));
    match random.usize(..4) {
        0 => (name, random.usize(..5).to_string()),
        1 => (name, "abcdefgh".repeat(10 * random.usize(1..4))),
        2 => (format!("x-{:x}", random.u32(6..)), format!("{:x}", random.u128(..))),
        _ => ("x-api-key".to_owned(), format!("{:032x}", random.u128(..3))),
    }
}

/// The path of a request that nghttpd saw, and those of its fields that the app wrote.
fn path_and_ours(fields: &[(String, String)]) -> (String, Vec<(String, String)>) {
    let path = fields.iter().find(|(name, _)| name == ":path").map(|(_, value)| value.clone()).unwrap_or_default();
    let is_ours = |name: &str| name.starts_with("x-") && !name.starts_with("x-forwarded");
    let mut ours: Vec<_> = fields.iter().filter(|(name, _)| is_ours(name)).cloned().collect();
    ours.sort_by(|one, other| one.0.cmp(&other.0));
    (path, ours)
}
