//! What goes wrong at a server, and on the way: the app gets a word of its own, and what was there stays.

use std::fs::{self, File};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::names;
use super::servers::server;
use crate::lab::client::{Ended, Request, exchange};
use crate::lab::files::{FileServer, Kind, Protocol};
use crate::lab::relay::Relay;
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, until};

/// Each with a disk of a megabyte, and what is said when that is full.
static FULL: [(Kind, &str); 4] = [
    (Kind { name: "OpenSSH", script: "openssh-full", protocol: Protocol::Sftp }, "file_error"),
    (Kind { name: "AsyncSSH", script: "asyncssh-full", protocol: Protocol::Sftp }, "file_no_space"),
    (Kind { name: "ProFTPD", script: "proftpd-full", protocol: Protocol::Ftp }, "file_error"),
    (Kind { name: "vsftpd", script: "vsftpd-full", protocol: Protocol::Ftp }, "file_error"),
];

/// Nobody writes there.
static READ_ONLY: [Kind; 3] = [
    Kind { name: "OpenSSH", script: "openssh-readonly", protocol: Protocol::Sftp },
    Kind { name: "ProFTPD", script: "proftpd-readonly", protocol: Protocol::Ftp },
    Kind { name: "vsftpd", script: "vsftpd-readonly", protocol: Protocol::Ftp },
];

struct Scene {
    sidekey: Sidekey,
    server: FileServer,
    lab: Lab,
}

async fn before(kind: &'static Kind) -> Scene {
    let lab = Lab::start().await;
    let server = FileServer::start(&lab, kind).await;
    let sidekey = lab.sidekey(&format!("services: {{ box: {{ url: '{}', {} }} }}", server.url(), server.login())).await;
    Scene { sidekey, server, lab }
}

/// With a way between that can be held, and these settings of the service.
async fn relayed(name: &str, settings: &str) -> (Scene, Relay) {
    let lab = Lab::start().await;
    let (server, relay) = FileServer::start_behind_relay(&lab, server(name)).await;
    let config = format!("services: {{ box: {{ url: '{}', {}, {settings} }} }}", server.relayed_url(), server.login());
    let sidekey = lab.sidekey(&config).await;
    (Scene { sidekey, server, lab }, relay)
}

fn put(target: &str, body: &[u8]) -> Request {
    Request::post(target, body).method("PUT")
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_disk_is_full_the_old_file_stays_and_nothing_beside_it() {
    for (kind, code) in &FULL {
        let Scene { sidekey, server: _server, lab: _lab } = before(kind).await;
        assert_eq!(sidekey.send(put("/box/a.csv", b"old")).await.status, 201, "{}", kind.name);

        let refused = sidekey.send(put("/box/a.csv", &vec![b'x'; 3_000_000])).await;

        let detail = refused.problem(code);
        println!("{}: {detail}", kind.name);
        let listed = || Request::get("/box/").field("Accept", "text/plain");
        until("the file alone", async || (sidekey.send(listed()).await.text() == "a.csv\n").then_some(())).await;
        assert_eq!(sidekey.get("/box/a.csv").await.text(), "old", "{}", kind.name);
        assert_eq!(sidekey.send(put("/box/a.csv", b"new")).await.status, 204, "{}", kind.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_of_by_sftp_while_the_app_pauses() {
    // AsyncSSH itself hears of it at the end alone: what it writes waits in a buffer.
    let (openssh, code) = &FULL[0];
    let Scene { sidekey, server: _server, lab: _lab } = before(openssh).await;
    let head = "PUT /box/a.csv HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n";

    let mut app = sidekey.raw([head.as_bytes(), &[b'x'; 1_150_000]].concat()).await;

    // Nothing more is sent until then.
    app.answer().await.problem(code);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_may_write_that_is_said_and_all_stays() {
    for kind in &READ_ONLY {
        let Scene { sidekey, server, lab: _lab } = before(kind).await;
        fs::write(server.root.join("a.csv"), "old").unwrap();
        fs::create_dir(server.root.join("folder")).unwrap();

        for request in [
            put("/box/a.csv", b"new"),
            put("/box/b.csv", b"new"),
            Request::new("DELETE", "/box/a.csv"),
            Request::new("DELETE", "/box/folder/"),
            Request::new("MKCOL", "/box/another/"),
            Request::new("MOVE", "/box/a.csv").field("Destination", "/box/b.csv"),
        ] {
            let answer = sidekey.send(request.clone()).await;
            let line = String::from_utf8(request.to_bytes("")).unwrap();
            let line = line.lines().next().unwrap();
            println!("{}: {line}: {} {}", kind.name, answer.status, answer.text());
            answer.problem("file_forbidden");
        }

        assert_eq!(sidekey.get("/box/a.csv").await.text(), "old", "{}", kind.name);
        assert_eq!(names(&server.root), ["a.csv", "folder"], "{}", kind.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_too_long_is_refused_and_the_longest_is_not() {
    for name in ["OpenSSH", "AsyncSSH", "ProFTPD's mod_sftp", "ProFTPD", "vsftpd"] {
        let Scene { sidekey, server, lab: _lab } = before(server(name)).await;
        let longest = "x".repeat(255);
        let deep = format!("/box{}/a.csv", "/0123456789".repeat(400));

        assert_eq!(sidekey.send(put(&format!("/box/{longest}"), b"1")).await.status, 201, "{name}");
        assert_eq!(sidekey.get(&format!("/box/{longest}")).await.text(), "1", "{name}");
        for method in ["PUT", "GET", "DELETE"] {
            let target = format!("/box/{longest}x");
            sidekey.send(Request::post(&target, "").method(method)).await.problem("bad_request");
            let answer = sidekey.send(Request::post(&deep, "").method(method)).await;
            println!("{name}: {method}: {} {}", answer.status, answer.text().len());
            assert!(
                (400..=502).contains(&answer.status) && answer.field("proxy-status").is_some(),
                "{name}: {answer:?}"
            );
        }
        assert_eq!(names(&server.root), [longest], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_uploads_of_one_name_at_once_one_is_there_whole() {
    for name in ["OpenSSH", "AsyncSSH", "ProFTPD's mod_sftp", "ProFTPD", "vsftpd"] {
        let Scene { sidekey, server, lab: _lab } = before(server(name)).await;
        // A session for each, or some wait in line.
        assert_eq!(sidekey.get("/box/").await.status, 200);
        let mut uploads = JoinSet::new();
        for number in 0..8_u8 {
            let request = put("/box/a.bin", &vec![b'0' + number; 300_000 + usize::from(number)]);
            let address = sidekey.address.clone();
            uploads.spawn(async move { exchange(&address, request).await.status });
        }
        let statuses = uploads.join_all().await;

        assert!(statuses.iter().all(|status| matches!(status, 201 | 204)), "{name}: {statuses:?}");
        let there = fs::read(server.root.join("a.bin")).unwrap();
        let first = there[0];
        assert_eq!(there.len(), 300_000 + usize::from(first - b'0'), "{name}");
        assert!(there.iter().all(|byte| *byte == first), "{name}: of two");
        assert_eq!(names(&server.root), ["a.bin"], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_uploads_of_a_new_name_at_once_one_is_the_first_by_sftp() {
    for name in ["OpenSSH", "AsyncSSH", "ProFTPD's mod_sftp"] {
        let Scene { sidekey, server, lab: _lab } = before(server(name)).await;
        let mut uploads = JoinSet::new();
        for number in 0..8_u8 {
            let request = put("/box/a.bin", &vec![b'0' + number; 300_000]).field("If-None-Match", "*");
            let address = sidekey.address.clone();
            uploads.spawn(async move { (exchange(&address, request).await.status, number) });
        }
        let statuses = uploads.join_all().await;

        let made: Vec<_> = statuses.iter().filter(|(status, _)| *status == 201).collect();
        assert_eq!(made.len(), 1, "{name}: {statuses:?}");
        assert_eq!(statuses.iter().filter(|(status, _)| *status == 412).count(), 7, "{name}: {statuses:?}");
        assert!(fs::read(server.root.join("a.bin")).unwrap().iter().all(|byte| *byte == b'0' + made[0].1), "{name}");
        assert_eq!(names(&server.root), ["a.bin"], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_goes_on_while_the_password_changes() {
    for name in ["AsyncSSH", "ProFTPD"] {
        let Scene { sidekey, server, lab } = before(server(name)).await;
        const SIZE: usize = 64 << 20;
        File::create(server.root.join("long")).unwrap().set_len(SIZE as u64).unwrap();
        fs::write(server.root.join("a.csv"), "there").unwrap();
        let config = format!("services: {{ box: {{ url: '{}', {} }} }}", server.url(), server.login());
        let mut down = sidekey.raw(Request::get("/box/long").to_bytes("localhost")).await;
        down.until("\0\0").await;
        let mut up = sidekey.raw("PUT /box/b.csv HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\nabc").await;
        until("its beginning", async || (names(&server.root).len() == 3).then_some(())).await;

        let before = sidekey.generation().await;
        sidekey.rewrite(&lab, &config.replace(&server.password(), "another-than-that"));
        sidekey.until_reloaded_since(before).await;
        sidekey.get("/box/a.csv").await.problem("login_rejected");
        up.write("def").await;

        assert_eq!(up.answer().await.status, 201, "{name}");
        assert_eq!(fs::read_to_string(server.root.join("b.csv")).unwrap(), "abcdef", "{name}");
        let answer = down.answer().await;
        assert_eq!((answer.ended, answer.body.len()), (Ended::Whole, SIZE), "{name}");
        let before = sidekey.generation().await;
        sidekey.rewrite(&lab, &config);
        sidekey.until_reloaded_since(before).await;
        assert_eq!(sidekey.get("/box/a.csv").await.text(), "there", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_slow_on_both_sides_comes_whole_as_long_as_something_comes_by_sftp() {
    be_slow("AsyncSSH").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_slow_on_both_sides_comes_whole_as_long_as_something_comes_by_ftp() {
    be_slow("ProFTPD").await;
}

async fn be_slow(name: &str) {
    // By SFTP a megabyte is asked for at once, and may come in any order.
    let (Scene { sidekey, server, lab: _lab }, relay) = relayed(name, "timeouts: { idle: 2s }").await;
    let bytes: Vec<u8> = (0..2_500_000_u32).map(|number| (number / 1000) as u8).collect();
    fs::write(server.root.join("a.bin"), &bytes).unwrap();
    assert_eq!(sidekey.get("/box/").await.status, 200);
    relay.slow_down(Duration::from_millis(3));
    let pause = || tokio::time::sleep(Duration::from_millis(2)); // a slow app, not a wait for something

    let mut app = TcpStream::connect(&sidekey.address).await.unwrap();
    app.write_all(b"GET /box/a.bin HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    while let length @ 1.. = app.read(&mut buffer).await.unwrap() {
        read.extend_from_slice(&buffer[..length]);
        pause().await;
    }
    let mut app = sidekey.connect().await;
    app.write(format!("PUT /box/b.bin HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", bytes.len())).await;
    for piece in bytes.chunks(4096) {
        app.write(piece).await;
        pause().await;
    }

    assert!(read.ends_with(&bytes), "{} bytes", read.len());
    assert_eq!(app.answer().await.status, 201);
    assert!(fs::read(server.root.join("b.bin")).unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_falls_silent_in_the_middle_is_not_waited_for() {
    for name in ["AsyncSSH", "ProFTPD"] {
        let (Scene { sidekey, server, lab: _lab }, relay) =
            relayed(name, "timeouts: { idle: 500ms, response: 1s }").await;
        fs::write(server.root.join("a.bin"), "old").unwrap();
        File::create(server.root.join("long")).unwrap().set_len(1 << 30).unwrap();
        let alone = async || (names(&server.root) == ["a.bin", "long"]).then_some(());

        // The app, in the middle of an upload.
        let mut app = sidekey.raw("PUT /box/a.bin HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf").await;
        app.answer().await.problem("request_timeout");
        until("nothing beside it", alone).await;
        // The server, in the middle of a download.
        let mut app = sidekey.raw(Request::get("/box/long").to_bytes("localhost")).await;
        app.until("\0\0").await;
        relay.hold(true);
        let answer = app.answer().await;
        assert_ne!(answer.ended, Ended::Whole, "{name}");
        relay.hold(false);
        // The server, in the middle of an upload.
        assert_eq!(sidekey.get("/box/a.bin").await.text(), "old", "{name}");
        let head = "PUT /box/a.bin HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n";
        let mut app = sidekey.raw([head.as_bytes(), &[b'x'; 100_000]].concat()).await;
        until("something of it", async || (names(&server.root).len() == 3).then_some(())).await;
        relay.hold(true);
        app.write(vec![b'x'; 1_900_000]).await;
        let answer = app.answer().await;
        println!("{name}: {} {}", answer.status, answer.text());
        assert!(answer.status >= 500, "{name}: {answer:?}");
        relay.hold(false);
        until("nothing beside it", alone).await;
        assert_eq!(fs::read_to_string(server.root.join("a.bin")).unwrap(), "old", "{name}");
    }
}
