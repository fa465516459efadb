//! What somebody is told who wrote something wrong, or whose partner is odd: the words lead to what is wrong.

use std::fs;

use super::names;
use super::servers::server;
use crate::lab::client::Request;
use crate::lab::files::{FileServer, Kind, Protocol};
use crate::lab::{Lab, until};

/// With a key of each kind.
static MANY_KEYS: Kind = Kind { name: "OpenSSH with many keys", script: "openssh-keys", protocol: Protocol::Sftp };

fn service(url: &str, login: &str) -> String {
    format!("services: {{ box: {{ url: '{url}', {login} }} }}")
}

fn put(target: &str, body: &str) -> Request {
    Request::post(target, body).method("PUT")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_fingerprint_is_enough_of_a_server_that_has_keys_of_several_kinds() {
    let lab = Lab::start().await;
    let server = FileServer::start(&lab, &MANY_KEYS).await;
    fs::write(server.root.join("a.csv"), "there").unwrap();
    let fingerprints = server.fingerprint();
    let [ed25519, ecdsa, rsa] = fingerprints.split(' ').collect::<Vec<_>>().try_into().unwrap();

    for known in [ed25519, ecdsa, rsa] {
        let sidekey = lab.sidekey(&service(&server.url(), &server.login().replace(&fingerprints, known))).await;
        assert_eq!(sidekey.get("/box/a.csv").await.text(), "there", "{known}");
    }
    let other = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let sidekey = lab.sidekey(&service(&server.url(), &server.login().replace(&fingerprints, other))).await;
    let detail = sidekey.get("/box/a.csv").await.problem("host_key_mismatch");

    for (shown, kind) in [(ed25519, "ssh-ed25519"), (ecdsa, "ecdsa-sha2-nistp256"), (rsa, "ssh-rsa")] {
        assert!(detail.contains(&format!("{shown} ({kind})")), "{detail}");
    }
    let log = fs::read_to_string(lab.path("openssh-keys/output")).unwrap();
    assert_eq!(log.matches("Accepted").count(), 3, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_speaks_something_else_at_a_port_is_told_by_name() {
    let lab = Lab::start().await;
    let ssh = FileServer::start(&lab, server("OpenSSH")).await;
    let plain = FileServer::start(&lab, server("ProFTPD, no TLS")).await;
    let secured = FileServer::start(&lab, server("ProFTPD")).await;
    let to = |scheme: &str, port: u16| format!("{scheme}://localhost:{port}");
    let login = secured.login();
    let without_tls = plain.login();

    for (url, login, code, words, help) in [
        (
            to("ftp", ssh.port),
            &login,
            "file_error",
            "it is a server of SSH: a url of SFTP begins with sftp://",
            "check that `url` leads to the service itself",
        ),
        (
            to("ftps", plain.port),
            &login,
            "tls_protocol_error",
            "if this port speaks plain FTP, its url begins with ftp://",
            "check how `url` should start",
        ),
        (to("ftp", secured.port), &without_tls, "login_rejected", "leave out `tls: off`", "leave out `tls: off`"),
        (to("ftp", plain.port), &login, "file_error", "to speak TLS", "ask the partner whether it offers SFTP, or TLS"),
    ] {
        let sidekey = lab.sidekey(&service(&url, login)).await;
        let detail = sidekey.get("/box/").await.problem(code);
        assert!(detail.contains(words) && !detail.contains("http://"), "{url}: {detail}");
        let said = lab.run("check --online");
        assert!(said.stderr.contains(help), "{url}: {}", said.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_server_dies_is_told_of_in_words() {
    for name in ["AsyncSSH", "ProFTPD"] {
        let lab = Lab::start().await;
        let server = FileServer::start(&lab, server(name)).await;
        let sidekey = lab.sidekey(&service(&server.url(), &server.login())).await;
        let mut app = sidekey.raw("PUT /box/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n\r\n").await;
        app.write(vec![b'x'; 300_000]).await;
        until("something of it", async || (!names(&server.root).is_empty()).then_some(())).await;

        server.kill();
        app.write(vec![b'x'; 3_700_000]).await;

        let detail = app.answer().await.problem("connection_terminated");
        assert!(!detail.contains("os error") && !detail.contains("channel closed"), "{name}: {detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_to_be_left_where_nothing_was_begun() {
    let lab = Lab::start().await;
    let server = FileServer::start(&lab, server("ProFTPD's mod_sftp")).await;
    fs::write(server.root.join("a.txt"), "a file").unwrap();
    let sidekey = lab.sidekey(&service(&server.url(), &server.login())).await;

    assert!(sidekey.send(put("/box/a.txt/b", "x")).await.status >= 400);
    // It is the next in the same session, and so after whatever would be said of the one before.
    assert_eq!(sidekey.send(put("/box/b.txt", "x")).await.status, 201);

    let (_, log) = sidekey.stop().await;
    assert!(!log.contains("half a file is left"), "{log}");
    assert_eq!(names(&server.root), ["a.txt", "b.txt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_says_one_thing_and_nothing_beside() {
    let lab = Lab::start().await;
    let server = FileServer::start(&lab, server("OpenSSH")).await;
    let sidekey = lab.sidekey(&service(&server.url(), &server.login())).await;
    fs::write(server.root.join("a"), "1").unwrap();
    let post = |target: &str| Request::post(target, "");

    // As URLSearchParams, requests and Go's url.Values write it.
    assert_eq!(sidekey.send(post("/box/d/?mkdir=")).await.status, 201);
    for target in [
        "/box/a?rename=/box/b&mkdir",
        "/box/a?rename=/box/b&",
        "/box/a?mkdir&rename=/box/b",
        "/box/a?mkdir=yes",
        "/box/a?x=1&rename=/box/b",
        "/box/a?rename=/box/b&rename=/box/c",
    ] {
        let detail = sidekey.send(post(target)).await.problem("bad_request");
        assert!(detail.contains("`?mkdir` or `?rename=PATH`") && detail.contains("`%26`"), "{target}: {detail}");
    }
    assert_eq!(names(&server.root), ["a", "d"]);
    assert_eq!(sidekey.send(post("/box/a?rename=/box/b%26c%20d")).await.status, 201);
    assert_eq!(sidekey.send(post("/box/b%26c%20d?rename=%2Fbox%2Fe%2526f%2520g")).await.status, 201);
    assert_eq!(names(&server.root), ["d", "e&f g"]);
}
