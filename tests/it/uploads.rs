//! Real clients send an upload to somebody who does not want it, and see why: each writes for as long as it likes, and
//! reads the answer when it likes.

use std::path::Path;
use std::process::{Command, Output};

use crate::lab::fault::{Fault, Reply};
use crate::lab::{Lab, bed, free_port, program};

/// A client, run so that it prints the status that it saw.
struct Client {
    name: &'static str,
    command: fn(url: &str, file: &Path) -> Command,
    /// Whether it goes by `http_proxy`.
    knows_proxies: bool,
}

const CLIENTS: [Client; 7] = [
    Client { name: "curl", command: |url, file| curl(&["Expect: 100-continue"], url, file), knows_proxies: true },
    Client {
        name: "curl that does not ask first",
        command: |url, file| curl(&["Expect:"], url, file),
        knows_proxies: true,
    },
    Client { name: "wget", command: wget, knows_proxies: true },
    Client { name: "requests", command: |url, file| python("requests", url, file), knows_proxies: true },
    Client { name: "aiohttp", command: |url, file| python("aiohttp", url, file), knows_proxies: true },
    Client { name: "fetch", command: |url, file| node("fetch", url, file), knows_proxies: false },
    Client { name: "axios", command: |url, file| node("axios", url, file), knows_proxies: true },
];

fn curl(fields: &[&str], url: &str, file: &Path) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "20", "--output", "/dev/null", "--write-out", "%{http_code}"]);
    for field in fields {
        curl.args(["--header", field]);
    }
    curl.arg("--data-binary").arg(format!("@{}", file.display())).arg(url);
    curl
}

fn wget(url: &str, file: &Path) -> Command {
    let mut wget = Command::new("sh");
    // It prints heads on standard error, and ends with 8 for any status that is an error.
    let script = r#"wget --tries 1 --timeout 20 -q --server-response --output-document - --post-file "$1" "$2" 2>&1 |
        sed -n 's|^ *HTTP/1.1 \([0-9]*\).*|\1|p'"#;
    wget.args(["-c", script, "sh"]).arg(file).arg(url);
    wget
}

fn python(client: &str, url: &str, file: &Path) -> Command {
    let mut python = bed::python();
    python.arg(script("upload.py")).args([client, url]).arg(file);
    python
}

fn node(client: &str, url: &str, file: &Path) -> Command {
    let mut node = bed::node();
    node.arg(script("upload.js")).args([client, url]).arg(file);
    node
}

fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/client").join(name)
}

#[track_caller]
fn check(client: &Client, url: &str, file: &Path, proxy: &str, status: &str) {
    let mut command = (client.command)(url, file);
    let Output { status: ended, stdout, stderr } =
        program::output(command.env_remove("no_proxy").env_remove("NO_PROXY").env("http_proxy", proxy));
    let text = String::from_utf8_lossy(&stdout);
    let told = || format!("{} to {url}: {text}{}", client.name, String::from_utf8_lossy(&stderr));
    assert!(ended.success() && text.trim() == status, "no {status}, {}", told());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_client_sees_why_its_upload_is_not_wanted() {
    let lab = Lab::start().await;
    let service = Fault::plain(|_| Reply::new(413, &[], "too much").before_the_body()).await;
    let config = format!(
        "services: {{ payments: {{ url: {} }}, down: {{ url: http://127.0.0.1:{} }} }}",
        service.url(),
        free_port()
    );
    let sidekey = lab.sidekey(&config).await;
    lab.write("body", &"0123456789abcdef".repeat(5 << 16));
    let file = lab.path("body");
    let url = |path: &str| format!("http://{}{path}", sidekey.address);

    for client in &CLIENTS {
        for (path, status) in [("/nobody/x", "404"), ("/down/x", "502"), ("/payments/x", "413")] {
            for _ in 0..3 {
                check(client, &url(path), &file, "", status);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_client_sees_that_its_upload_lacks_the_token() {
    let lab = Lab::start().await;
    let service = Fault::plain(|_| Reply::ok("welcome")).await;
    let config = format!("services: {{ payments: {{ url: {} }} }}\naccess: {{ token: sesame-sesame }}", service.url());
    let sidekey = lab.sidekey(&config).await;
    lab.write("body", &"0123456789abcdef".repeat(5 << 16));
    let file = lab.path("body");

    for client in &CLIENTS {
        for _ in 0..3 {
            check(client, &format!("http://{}/payments/x", sidekey.address), &file, "", "401");
            if client.knows_proxies {
                check(client, &format!("{}/x", service.url()), &file, &format!("http://{}", sidekey.address), "407");
            }
        }
    }
    assert_eq!(service.count(), 0);
}
