//! Requests for files through the whole program: what the app sends, what stands on the partner's disk, what comes back.

use std::fs;

use serde_json::{Value, json};

use super::names;
use crate::lab::client::Request;
use crate::lab::files::{FileServer, Kind, Protocol};
use crate::lab::{Lab, free_port, until};

static OPENSSH: Kind = Kind { name: "OpenSSH", script: "openssh", protocol: Protocol::Sftp };
static PROFTPD: Kind = Kind { name: "ProFTPD", script: "proftpd", protocol: Protocol::Ftp };

fn config(server: &FileServer) -> String {
    format!("services: {{ box: {{ url: '{}/', {} }} }}", server.url(), server.login())
}

fn put(target: &str, body: &str) -> Request {
    Request::post(target, body).method("PUT")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_put_and_fetched_and_listed_and_moved_and_removed() {
    let lab = Lab::start().await;
    for kind in [&OPENSSH, &PROFTPD] {
        let server = FileServer::start(&lab, kind).await;
        let sidekey = lab.sidekey(&config(&server)).await;
        let name = kind.name;

        let made = sidekey.send(put("/box/a%20b.csv", "1;2\n")).await;
        assert_eq!((made.status, made.field("location").as_deref()), (201, Some("/box/a%20b.csv")), "{name}");
        assert_eq!(fs::read_to_string(server.root.join("a b.csv")).unwrap(), "1;2\n");
        assert_eq!(sidekey.send(put("/box/a%20b.csv", "3;4;5\n")).await.status, 204, "{name}");

        let fetched = sidekey.get("/box/a%20b.csv").await;
        assert_eq!((fetched.status, fetched.text().as_str()), (200, "3;4;5\n"), "{name}");
        assert_eq!(fetched.field("content-length").as_deref(), Some("6"), "{name}");
        let part = sidekey.send(Request::get("/box/a%20b.csv").field("Range", "bytes=2-3")).await;
        assert_eq!((part.status, part.text().as_str()), (206, "4;"), "{name}");
        let tag = fetched.field("etag").unwrap();
        let same = sidekey.send(Request::get("/box/a%20b.csv").field("If-None-Match", &tag)).await;
        assert_eq!(same.status, 304, "{name}");

        assert_eq!(sidekey.send(Request::new("MKCOL", "/box/sub/")).await.status, 201, "{name}");
        let moved = Request::new("MOVE", "/box/a%20b.csv").field("Destination", "/box/sub/c.csv");
        assert_eq!(sidekey.send(moved).await.status, 201, "{name}");
        let listed: Value = sidekey.get("/box/sub/").await.json();
        let entry = &listed["entries"][0];
        assert_eq!(
            (&entry["name"], &entry["href"], &entry["type"]),
            (&json!("c.csv"), &json!("c.csv"), &json!("file"))
        );
        let renamed = sidekey.send(Request::post("/box/sub/c.csv?rename=/box/d.csv", "")).await;
        assert_eq!(renamed.status, 201, "{name}");
        assert_eq!(sidekey.send(Request::new("DELETE", "/box/d.csv")).await.status, 204, "{name}");
        assert_eq!(sidekey.send(Request::new("DELETE", "/box/sub/")).await.status, 204, "{name}");

        assert_eq!(names(&server.root), Vec::<String>::new(), "{name}");
        assert_eq!(
            sidekey.metric("sidekey_upstream_connections{service=\"box\",state=\"active\"}").await,
            0.0,
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_done_has_a_word_of_its_own() {
    let lab = Lab::start().await;
    for kind in [&OPENSSH, &PROFTPD] {
        let server = FileServer::start(&lab, kind).await;
        let sidekey = lab.sidekey(&config(&server)).await;
        fs::create_dir_all(server.root.join("folder/inner")).unwrap();
        fs::write(server.root.join("a.csv"), "old").unwrap();
        let elsewhere = |to: &str| Request::new("MOVE", "/box/a.csv").field("Destination", to);

        sidekey.get("/box/nothing").await.problem("file_not_found");
        sidekey.get("/box/a.csv/b").await.problem("file_not_found");
        sidekey.send(Request::new("DELETE", "/box/folder")).await.problem("file_conflict");
        sidekey.send(Request::new("MKCOL", "/box/folder/")).await.problem("file_conflict");
        sidekey.send(put("/box/folder", "x")).await.problem("file_conflict");
        sidekey.send(put("/box/missing/a.csv", "x")).await.problem("file_conflict");
        sidekey.send(put("/box/a.csv", "x").field("If-None-Match", "*")).await.problem("precondition_failed");
        sidekey.send(put("/box/a.csv", "x").field("Content-Range", "bytes 0-0/2")).await.problem("bad_request");
        sidekey.send(elsewhere("/other/b.csv")).await.problem("bad_request");
        sidekey.send(elsewhere("http://elsewhere.example/box/b.csv")).await.problem("bad_request");
        sidekey.get("/box/a%2Fb").await.problem("bad_request");
        let refused = sidekey.send(Request::new("PATCH", "/box/a.csv")).await;
        refused.problem("method_not_allowed");
        assert!(refused.field("allow").unwrap().contains("MKCOL"));
        let folder = sidekey.get("/box/folder").await;
        assert_eq!((folder.status, folder.field("location").as_deref()), (301, Some("/box/folder/")));

        assert_eq!(fs::read_to_string(server.root.join("a.csv")).unwrap(), "old");
        assert_eq!(names(&server.root), ["a.csv", "folder"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_server_could_do_is_refused_without_one_and_explained_so() {
    let lab = Lab::start().await;
    let nobody = free_port();
    let login = "auth: { type: ftp, username: acme, password: secret-of-acme, tls: off }";
    let sidekey = lab.sidekey(&format!("services: {{ box: {{ url: 'ftp://localhost:{nobody}/in', {login} }} }}")).await;
    let explained = async |method: &str, target: &str, field: &str| -> Value {
        let target = target.replace('%', "%25").replace('?', "%3F");
        sidekey.admin(&format!("/api/explain?method={method}&url={target}&header={field}")).await.json()
    };

    sidekey.get("/box/a").await.problem("connection_refused");
    for (method, target, field, code) in [
        ("PATCH", "/box/a", "a:b", "method_not_allowed"),
        ("POST", "/box/a", "a:b", "bad_request"),
        ("GET", "/box/a%2Fb", "a:b", "bad_request"),
        ("DELETE", "/box/a%00", "a:b", "bad_request"),
        ("GET", "/box//", "a:b", "bad_request"),
        ("PUT", "/box/a", "content-range:bytes", "bad_request"),
        ("PUT", "/box/a/", "a:b", "file_conflict"),
        ("MOVE", "/box/a", "a:b", "bad_request"),
        ("MOVE", "/box/a", "destination:/elsewhere/a", "bad_request"),
        ("MOVE", "/box/a", "destination:/box/a%252Fb", "bad_request"),
        ("POST", "/box/a?rename=/elsewhere/a", "a:b", "bad_request"),
    ] {
        let (name, value) = field.split_once(':').unwrap();
        let sent = Request::new(method, target).field(name, &value.replace("%25", "%"));
        let refused = sidekey.send(sent).await;
        let detail = refused.problem(code);
        if code == "method_not_allowed" {
            assert!(refused.field("allow").unwrap().contains("MKCOL"));
        }
        let explained = explained(method, target, field).await;
        let said = ["outcome", "code", "detail"].map(|key| explained[key].as_str().unwrap_or_default());
        assert_eq!(said, ["refused", code, &detail], "{method} {target} {field}");
    }
    let options = sidekey.send(Request::new("OPTIONS", "/box/a")).await;
    assert_eq!(options.status, 204);
    assert!(options.field("allow").unwrap().contains("MKCOL"));
    assert_eq!(explained("OPTIONS", "/box/a", "a:b").await["outcome"], "answered");
    assert_eq!(explained("GET", "/box/a", "a:b").await["outcome"], "sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_off_leaves_the_old_file_and_nothing_beside_it() {
    let lab = Lab::start().await;
    for kind in [&OPENSSH, &PROFTPD] {
        let server = FileServer::start(&lab, kind).await;
        let sidekey = lab.sidekey(&config(&server)).await;
        fs::write(server.root.join("a.csv"), "old").unwrap();

        let app = sidekey.raw("PUT /box/a.csv HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nhalf").await;
        until("something of it", async || (names(&server.root).len() == 2).then_some(())).await;
        app.reset();

        until("nothing of it", async || (names(&server.root) == ["a.csv"]).then_some(())).await;
        assert_eq!(fs::read_to_string(server.root.join("a.csv")).unwrap(), "old", "{}", kind.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_an_upload_is_removed_before_the_process_ends() {
    let lab = Lab::start().await;
    for kind in [&OPENSSH, &PROFTPD] {
        let server = FileServer::start(&lab, kind).await;
        let sidekey = lab.sidekey(&config(&server)).await;
        let app = sidekey.raw("PUT /box/a.csv HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nhalf").await;
        until("something of it", async || (!names(&server.root).is_empty()).then_some(())).await;

        app.reset();
        let (code, log) = sidekey.stop().await;

        assert_eq!(code, Some(0), "{}: {log}", kind.name);
        assert_eq!(names(&server.root), Vec::<String>::new(), "{}: {log}", kind.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_another_key_is_shown_nothing_and_told_of_by_its_fingerprint() {
    let lab = Lab::start().await;
    let server = FileServer::start(&lab, &OPENSSH).await;
    let other = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let sidekey = lab.sidekey(&config(&server).replace(&server.fingerprint(), other)).await;

    let detail = sidekey.get("/box/a.csv").await.problem("host_key_mismatch");

    assert!(detail.contains(&server.fingerprint()), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_is_told_at_once_to_who_asks_next_until_the_config_changes() {
    let lab = Lab::start().await;
    let server = FileServer::start(&lab, &PROFTPD).await;
    fs::write(server.root.join("a.csv"), "there").unwrap();
    let right = config(&server);
    let sidekey = lab.sidekey(&right.replace(&server.password(), "another-than-that")).await;

    let refused = sidekey.get("/box/a.csv").await;
    refused.problem("login_rejected");
    assert!((1..=20).contains(&refused.retry_after()));
    sidekey.get("/box/a.csv").await.problem("login_rejected");
    let before = sidekey.generation().await;
    sidekey.rewrite(&lab, &right);
    sidekey.until_reloaded_since(before).await;

    assert_eq!(sidekey.get("/box/a.csv").await.text(), "there");
}
