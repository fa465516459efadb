//! Bodies that GnuPG can read, and those that it made: alone, and on their way to a service and back.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::lab::Lab;
use crate::lab::client::{Ended, Request, exchange};
use crate::lab::fault::{Fault, Received, Reply};
use crate::lab::files::{FileServer, Kind, Protocol};

/// A private home of GnuPG's, with the key `own@example.org`.
struct Gpg(TempDir);

impl Gpg {
    fn new(expires: &str) -> Self {
        let home = TempDir::with_prefix("gpg").unwrap();
        std::fs::write(home.path().join("gpg.conf"), "no-auto-key-locate\ntrust-model always\n").unwrap();
        let gpg = Self(home);
        gpg.run(
            &["--passphrase", "", "--quick-gen-key", "Own <own@example.org>", "future-default", "default", expires],
            b"",
        );
        gpg
    }

    #[track_caller]
    fn run(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut child = Command::new("gpg")
            .arg("--homedir")
            .arg(self.0.path())
            .args(["--batch", "--yes", "--pinentry-mode", "loopback"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let feeding = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        feeding.join().unwrap();
        assert!(output.status.success(), "gpg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn encrypt(&self, plaintext: &[u8]) -> Vec<u8> {
        self.run(&["-r", "own@example.org", "--encrypt"], plaintext)
    }

    /// Puts the public and the private key into the lab, as `keys/NAME.pub` and `keys/NAME.key`.
    fn put(&self, lab: &Lab, name: &str) {
        let text = |exported| String::from_utf8(exported).unwrap();
        lab.write(&format!("keys/{name}.pub"), &text(self.run(&["--armor", "--export"], b"")));
        lab.write(&format!("keys/{name}.key"), &text(self.run(&["--armor", "--export-secret-keys"], b"")));
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        drop(Command::new("gpgconf").arg("--homedir").arg(self.0.path()).args(["--kill", "all"]).status());
    }
}

/// The data of a chunked body (RFC 9112 §7.1).
fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    loop {
        let end = body.windows(2).position(|bytes| bytes == b"\r\n").unwrap();
        let length = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        if length == 0 {
            return data;
        }
        data.extend_from_slice(&body[end + 2..][..length]);
        body = &body[end + 2 + length + 2..];
    }
}

const ENCRYPT: &str = "{ type: gpg_encrypt, recipients: keys/partner.pub }";
const DECRYPT: &str = "{ type: gpg_decrypt, private_key: keys/own.key }";

#[tokio::test]
async fn a_body_comes_back_encrypted_or_decrypted() {
    let (lab, partner, own) = (Lab::start().await, Gpg::new("0"), Gpg::new("0"));
    partner.put(&lab, "partner");
    own.put(&lab, "own");
    let config = format!(
        "services:\n  seal: {{ url: 'openpgp:', auth: {ENCRYPT} }}\n  open: {{ url: 'openpgp:', auth: {DECRYPT} }}\nworkers: 1"
    );
    let sidekey = lab.sidekey(&config).await;
    let plaintext = vec![7; 300_000];

    let sealed = sidekey.post("/seal", plaintext.clone()).await;
    let opened = sidekey.post("/open/any/path", own.encrypt(&plaintext)).await;
    let empty = sidekey.post("/seal", "").await;

    assert_eq!((sealed.status, sealed.ended), (200, Ended::Whole), "{}", sealed.head);
    assert_eq!(sealed.field("content-type").as_deref(), Some("application/pgp-encrypted"));
    assert!(partner.run(&["--decrypt"], &sealed.body) == plaintext);
    assert_eq!((opened.status, opened.ended), (200, Ended::Whole), "{}", opened.head);
    assert!(opened.body == plaintext);
    assert_eq!(partner.run(&["--decrypt"], &empty.body), b"");
    let checked = lab.run("check --online");
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    let probed = exchange(&sidekey.admin, Request::post("/api/services/seal/probe", "").field("Sidekey-Admin", "1"))
        .await
        .json();
    assert_eq!((&probed["ok"], &probed["failures"]), (&json!(true), &json!([])), "{probed}");
    let get = sidekey.get("/seal").await;
    assert!(get.problem("method_not_allowed").contains("`POST` a body"));
    assert_eq!(get.field("allow").as_deref(), Some("POST"));
}

#[tokio::test]
async fn a_message_that_can_not_be_decrypted_is_told_before_its_first_byte() {
    let (lab, partner, own) = (Lab::start().await, Gpg::new("0"), Gpg::new("0"));
    own.put(&lab, "own");
    let limits =
        "{ type: gpg_decrypt, private_key: keys/own.key, check_first: 100KiB, beyond: refuse, max_plaintext: 50KiB }";
    let config = format!(
        "services:\n  open: {{ url: 'openpgp:', auth: {DECRYPT} }}\n  strict: {{ url: 'openpgp:', auth: {limits} }}\nworkers: 1"
    );
    let sidekey = lab.sidekey(&config).await;
    let mut changed = own.encrypt(b"text");
    *changed.last_mut().unwrap() ^= 1;

    for (message, told) in [
        (partner.encrypt(b"text"), "none of the private keys opens the message: it is for somebody else"),
        (changed, "the message is damaged: it was cut or changed on its way"),
        ([own.encrypt(b"text"), b"more".to_vec()].concat(), "something that is no white space follows the message"),
        (b"hello".to_vec(), "this is no OpenPGP message: it begins neither as a binary one"),
    ] {
        let answer = sidekey.post("/open", message).await;
        assert_eq!(answer.status, 400, "{}", answer.head);
        let problem = answer.json();
        assert_eq!(problem["type"], "urn:sidekey:error:decrypt_failed");
        assert!(problem["detail"].as_str().unwrap().starts_with(told), "{problem}");
    }
    let long = sidekey.post("/strict", own.encrypt(&[7; 60_000])).await;
    assert_eq!(long.status, 413);
    assert!(long.problem("body_too_large").contains("max_plaintext"));
}

#[tokio::test]
async fn what_is_sent_is_encrypted_and_what_comes_back_decrypted() {
    let (partner, own) = (Gpg::new("0"), Gpg::new("0"));
    let message = own.run(&["--armor", "-r", "own@example.org", "--encrypt"], b"what the partner says");
    let message = String::from_utf8(message).unwrap();
    let service = Fault::plain(move |request: &Received| match request.target() {
        "/v1/missing" => Reply::new(404, &[], "no such thing"),
        "/v1/plain" => Reply::ok("not encrypted"),
        _ if request.field("if-none-match").is_some() => {
            Reply::new(304, &[("ETag", "\"1\""), ("Accept-Ranges", "bytes")], "")
        }
        _ => Reply::new(200, &[("ETag", "\"1\""), ("Accept-Ranges", "bytes")], &message),
    })
    .await;
    let lab = Lab::start().await;
    partner.put(&lab, "partner");
    own.put(&lab, "own");
    let config =
        format!("services: {{ partner: {{ url: '{}/v1', auth: [{ENCRYPT}, {DECRYPT}] }} }}\nworkers: 1", service.url());
    let sidekey = lab.sidekey(&config).await;

    let answer = sidekey.send(Request::post("/partner/box", "what the app says").field("Range", "bytes=0-1")).await;
    let missing = sidekey.get("/partner/missing").await;
    let plain = sidekey.get("/partner/plain").await;

    assert_eq!((answer.status, &*answer.text()), (200, "what the partner says"));
    assert_eq!((answer.field("etag").as_deref(), answer.field("accept-ranges")), (Some("W/\"1\""), None));
    let same = sidekey.send(Request::new("GET", "/partner/statement").field("If-None-Match", "W/\"1\"")).await;
    assert_eq!(same.status, 304);
    assert_eq!((same.field("etag").as_deref(), same.field("accept-ranges")), (Some("W/\"1\""), None));
    let received = service.received();
    assert_eq!(partner.run(&["--decrypt"], &unchunked(&received[0].body)), b"what the app says");
    assert_eq!(received[0].field("range"), None);
    assert_eq!((missing.status, &*missing.text()), (404, "no such thing"));
    assert_eq!(plain.status, 502);
    assert!(plain.problem("decrypt_failed").starts_with("this is no OpenPGP message"));
}

#[tokio::test]
async fn a_new_key_file_takes_effect_and_a_broken_one_changes_nothing() {
    let (lab, first, second) = (Lab::start().await, Gpg::new("0"), Gpg::new("20d"));
    first.put(&lab, "partner");
    let config = format!("services: {{ seal: {{ url: 'openpgp:', auth: {ENCRYPT} }} }}\nworkers: 1");
    let sidekey = lab.sidekey(&config).await;
    let generation = sidekey.generation().await;

    second.put(&lab, "partner");
    sidekey.until_reloaded_since(generation).await;
    let sealed = sidekey.post("/seal", "text").await;
    assert_eq!(second.run(&["--decrypt"], &sealed.body), b"text");

    lab.write("keys/partner.pub", "half a key");
    let refused = sidekey.until_reload_refused().await;
    assert!(refused.contains("this is no OpenPGP key"), "{refused}");
    assert_eq!(second.run(&["--decrypt"], &sidekey.post("/seal", "text").await.body), b"text");
    let metrics = sidekey.admin("/metrics").await.text();
    assert!(metrics.contains("sidekey_openpgp_key_expiry_timestamp_seconds{service=\"seal\",key=\""), "{metrics}");
    let key = &sidekey.status().await["openpgp_keys"][0];
    assert_eq!((key["service"].as_str(), key["days_left"].as_i64()), (Some("seal"), Some(19)), "{key}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_out_encrypted_and_come_back_decrypted_and_apps_know_nothing_of_the_end_of_their_names() {
    let (lab, own) = (Lab::start().await, Gpg::new("0"));
    own.put(&lab, "own");
    let server = FileServer::start(&lab, &OPENSSH).await;
    let login = server.login().replacen("auth: ", "", 1);
    let config = format!(
        "services:\n  box:\n    url: '{}/'\n    auth:\n      - {login}\n      - {{ type: gpg_encrypt, recipients: keys/own.pub, \
         name_suffix: .pgp }}\n      - {DECRYPT}\n",
        server.url()
    );
    let sidekey = lab.sidekey(&config).await;
    let plaintext = "amount;iban\n".repeat(30_000);
    let put = |target: &str, body: &str| Request::post(target, body).method("PUT");
    let on_disk = |name: &str| std::fs::read(server.root.join(name));

    let made = sidekey.send(put("/box/pay.csv", &plaintext)).await;

    assert_eq!((made.status, made.field("location").as_deref()), (201, Some("/box/pay.csv")), "{}", made.text());
    assert_eq!(own.run(&["--decrypt"], &on_disk("pay.csv.pgp").unwrap()), plaintext.as_bytes());
    assert_eq!(sidekey.send(put("/box/pay.csv", &plaintext)).await.status, 204);
    let fetched = sidekey.get("/box/pay.csv").await;
    assert_eq!((fetched.status, fetched.ended), (200, Ended::Whole), "{}", fetched.head);
    assert!(fetched.text() == plaintext);
    assert_eq!((fetched.field("accept-ranges"), fetched.field("content-length")), (None, None));
    let looked = sidekey.send(Request::new("HEAD", "/box/pay.csv")).await;
    assert_eq!((looked.status, looked.field("content-length")), (200, None), "{}", looked.head);

    // A file without a byte is a message, too: what is put there is never taken for a plain one.
    assert_eq!(sidekey.send(put("/box/empty.csv", "")).await.status, 201);
    assert_eq!(own.run(&["--decrypt"], &on_disk("empty.csv.pgp").unwrap()), b"");
    let empty = sidekey.get("/box/empty.csv").await;
    assert_eq!((empty.status, empty.text().as_str()), (200, ""), "{}", empty.head);
    assert_eq!(sidekey.send(Request::new("DELETE", "/box/empty.csv")).await.status, 204);

    // What the partner has put there under another name.
    std::fs::write(server.root.join("bare"), own.encrypt(b"from the partner")).unwrap();
    assert_eq!(sidekey.get("/box/bare").await.text(), "from the partner");
    std::fs::write(server.root.join("open.txt"), "not encrypted").unwrap();
    sidekey.get("/box/open.txt").await.problem("decrypt_failed");
    let listed = sidekey.get("/box/").await.json();
    let mut names: Vec<_> =
        listed["entries"].as_array().unwrap().iter().map(|entry| entry["href"].as_str().unwrap().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["bare", "open.txt", "pay.csv"]);

    let moved = Request::new("MOVE", "/box/pay.csv").field("Destination", "/box/paid.csv");
    assert_eq!(sidekey.send(moved).await.status, 201);
    assert!(on_disk("paid.csv.pgp").is_ok() && on_disk("pay.csv.pgp").is_err());
    assert_eq!(sidekey.send(Request::new("DELETE", "/box/paid.csv")).await.status, 204);
    assert!(on_disk("paid.csv.pgp").is_err());
    sidekey.get("/box/paid.csv").await.problem("file_not_found");
}

static OPENSSH: Kind = Kind { name: "OpenSSH", script: "openssh", protocol: Protocol::Sftp };
