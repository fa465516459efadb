//! What a service can be set to, and what is told of it, in the words of those that speak HTTP.

use std::fs::{self, File};

use super::names;
use super::servers::server;
use crate::lab::client::Request;
use crate::lab::files::FileServer;
use crate::lab::relay::{Cut, Direction, Relay};
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, until};

/// One of each protocol.
const NAMES: [&str; 2] = ["AsyncSSH", "ProFTPD"];

struct Scene {
    sidekey: Sidekey,
    relay: Relay,
    server: FileServer,
    _lab: Lab,
}

/// Sidekey in front of a server, with these settings of the service.
async fn with(name: &str, settings: &str) -> Scene {
    let lab = Lab::start().await;
    let (server, relay) = FileServer::start_behind_relay(&lab, server(name)).await;
    let config = format!(
        "services: {{ box: {{ url: '{}', {}, {settings} }} }}\nworkers: 1\nlog: {{ access: all, format: text }}",
        server.relayed_url(),
        server.login()
    );
    let sidekey = lab.sidekey(&config).await;
    fs::write(server.root.join("a.csv"), "1;2\n").unwrap();
    Scene { sidekey, relay, server, _lab: lab }
}

fn put(target: &str, body: &[u8]) -> Request {
    Request::post(target, body).method("PUT")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_does_not_come_about_is_tried_again_as_often_as_that_is_wanted() {
    for name in NAMES {
        for (attempts, refused, code) in
            [(0, 1, Some("connection_terminated")), (2, 2, None), (1, 2, Some("connection_terminated"))]
        {
            let scene = with(name, &format!("retry: {{ attempts: {attempts} }}")).await;
            scene.relay.refuse(refused);

            let answer = scene.sidekey.get("/box/a.csv").await;

            match code {
                Some(code) => drop(answer.problem(code)),
                None => assert_eq!((answer.status, answer.text().as_str()), (200, "1;2\n"), "{name}"),
            }
            let others = usize::from(code.is_none()) * if name == "ProFTPD" { 2 } else { 1 };
            assert_eq!(scene.relay.opened(), attempts.min(refused) + usize::from(code.is_some()) + others, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_is_replaced_for_what_is_read_and_not_for_a_file_that_has_begun_to_leave() {
    for name in NAMES {
        let scene = with(name, "retry: { attempts: 1 }").await;
        assert_eq!(scene.sidekey.get("/box/a.csv").await.status, 200);
        let cut = |direction, after| scene.relay.cut(Cut { direction, after, all: true, hard: true });

        cut(Direction::ToServer, 0);
        assert_eq!(scene.sidekey.get("/box/a.csv").await.text(), "1;2\n", "{name}");
        cut(Direction::ToServer, 100_000);
        let answer = scene.sidekey.send(put("/box/a.csv", &[b'x'; 300_000])).await;

        assert!(answer.status >= 500, "{name}: {answer:?}");
        assert_eq!(fs::read_to_string(scene.server.root.join("a.csv")).unwrap(), "1;2\n", "{name}");
        until("nothing beside it", async || (names(&scene.server.root) == ["a.csv"]).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_transfers_go_on_at_once_as_are_allowed() {
    for name in NAMES {
        let scene = with(name, "limits: { concurrency: 1 }").await;
        // More than fits into all that is between.
        File::create(scene.server.root.join("long")).unwrap().set_len(1 << 30).unwrap();
        let mut held = scene.sidekey.connect().await;
        held.write(Request::get("/box/long").to_bytes("localhost")).await;
        held.until("\0\0").await;

        let refused = scene.sidekey.get("/box/a.csv").await;

        assert!(refused.problem("overloaded").contains("`limits.concurrency`"), "{name}");
        assert_eq!(refused.retry_after(), 1);
        held.reset();
        until("a place", async || (scene.sidekey.get("/box/a.csv").await.status == 200).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_rate_the_app_is_told_when_to_come_again() {
    for name in NAMES {
        let scene = with(name, "limits: { rate: 5/h }").await;

        assert_eq!(scene.sidekey.get("/box/a.csv").await.status, 200);
        let refused = scene.sidekey.send(put("/box/b.csv", b"x")).await;

        assert!(refused.problem("rate_limited").contains("5/h"), "{name}");
        assert!((700..=720).contains(&refused.retry_after()), "{}", refused.retry_after());
        assert_eq!(names(&scene.server.root), ["a.csv"], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_too_long_is_refused_and_nothing_of_it_stays() {
    for name in NAMES {
        let scene = with(name, "limits: { body: 1KiB }").await;

        let announced = scene.sidekey.send(put("/box/a.csv", &[b'x'; 1025])).await;
        let turned_out = scene.sidekey.send(Request::chunked("PUT", "/box/a.csv", &"x".repeat(1025))).await;

        for answer in [announced, turned_out] {
            assert!(answer.problem("body_too_large").contains("1024 bytes"), "{name}");
        }
        until("nothing beside it", async || (names(&scene.server.root) == ["a.csv"]).then_some(())).await;
        assert_eq!(fs::read_to_string(scene.server.root.join("a.csv")).unwrap(), "1;2\n", "{name}");
        assert_eq!(scene.sidekey.send(put("/box/a.csv", &[b'x'; 1024])).await.status, 204, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_app_sees_where_the_time_of_its_request_went() {
    for name in NAMES {
        let scene = with(name, "server_timing: true").await;

        let (first, second) = (scene.sidekey.get("/box/a.csv").await, scene.sidekey.get("/box/a.csv").await);

        let times = [first, second].map(|answer| {
            let field = answer.field("server-timing").unwrap();
            let entries = field.split(", ").map(|entry| entry.split_once(";dur=").unwrap());
            entries.map(|(name, time)| (name.to_owned(), time.parse::<f64>().unwrap())).collect::<Vec<_>>()
        });
        for time in &times {
            let names: Vec<_> = time.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["sidekey", "token", "connect", "upstream"], "{name}");
            assert!(time[3].1 > 0.0, "{name}: {time:?}");
        }
        assert!(times[0][2].1 > 0.0, "a login was made: {times:?}");
        assert_eq!(times[1][2].1, 0.0, "it was there: {times:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_metrics_and_status_tell_of_files_as_of_all_else() {
    for name in NAMES {
        let scene = with(name, "title: The box").await;
        let Scene { sidekey, server, .. } = &scene;

        assert_eq!(sidekey.get("/box/a.csv").await.status, 200);
        assert_eq!(sidekey.send(put("/box/b.csv", b"new")).await.status, 201);
        sidekey.get("/box/nothing").await.problem("file_not_found");
        assert_eq!(sidekey.get("/box/").await.status, 200);

        for (status, count) in [(200, 2.0), (201, 1.0), (404, 1.0)] {
            sidekey.until_metric(&format!("sidekey_requests_total{{service=\"box\",code=\"{status}\"}}"), count).await;
        }
        for (sample, count) in [
            ("sidekey_errors_total{service=\"box\",error=\"file_not_found\"}", 1.0),
            ("sidekey_upstream_connections{service=\"box\",state=\"idle\"}", 1.0),
            ("sidekey_upstream_connections{service=\"box\",state=\"active\"}", 0.0),
            ("sidekey_upstream_connect_seconds_count{service=\"box\"}", 1.0),
            ("sidekey_request_duration_seconds_count{service=\"box\"}", 4.0),
            ("sidekey_requests_in_flight{service=\"box\"}", 0.0),
        ] {
            sidekey.until_metric(sample, count).await;
        }
        let told = sidekey.service("box").await;
        assert_eq!(
            (&told["title"], &told["requests"], &told["errors"]),
            (&"The box".into(), &4.into(), &1.into()),
            "{told:#}"
        );
        assert_eq!((&told["connections"]["active"], &told["connections"]["idle"]), (&0.into(), &1.into()), "{told:#}");
        assert_eq!(told["url"], server.relayed_url(), "{told:#}");
        assert_eq!(told["auth"], if name == "AsyncSSH" { "sftp" } else { "ftp" }, "{told:#}");
        for line in ["GET", "PUT"] {
            sidekey.until_logged(&format!("request service=\"box\" method=\"{line}\" ")).await;
        }
        assert!(!sidekey.log().contains(&server.password()), "{}", sidekey.log());
    }
}
