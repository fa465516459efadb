//! Real clients: curl, Python's `requests`, and the `fetch` of Node.

use std::process::{Command, Output};

use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, bed, program};

const PAYMENTS: &str =
    "services: { payments: { url: $SERVICE/v1, certificate: partner, auth: { type: bearer, token: abc } } }";

/// Runs a client with this proxy in its environment and nothing else of ours.
fn run(mut client: Command, proxy: &str) -> String {
    let Output { status, stdout, stderr } =
        program::output(client.env_remove("no_proxy").env_remove("NO_PROXY").env("http_proxy", proxy));
    let text = String::from_utf8_lossy(&stdout).into_owned();
    assert!(status.success(), "{client:?}: {text}{}", String::from_utf8_lossy(&stderr));
    text
}

fn curl(arguments: &[&str]) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--max-time", "20"]).args(arguments);
    curl
}

fn requests(script: &str) -> Command {
    let mut python = bed::python();
    python.args(["-c", &format!("import requests\n{script}")]);
    python
}

#[track_caller]
fn assert_seen(text: &str, wanted: &[&str]) {
    for line in wanted {
        assert!(text.contains(line), "{line:?} in {text}");
    }
}

async fn start() -> (Lab, Sidekey, String) {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(PAYMENTS).await;
    let url = lab.fill_in("http://$AUTHORITY/v1/orders");
    (lab, sidekey, url)
}

#[tokio::test]
async fn curl_reaches_the_service_by_path() {
    let (_lab, sidekey, _) = start().await;

    let text = run(curl(&[&format!("http://{}/payments/orders?x=1", sidekey.address), "--data", "a body"]), "");

    assert_seen(
        &text,
        &["subject: CN=partner", "request: POST /v1/orders?x=1 ", "authorization: Bearer abc", "a body"],
    );
}

#[tokio::test]
async fn curl_reaches_the_service_by_host() {
    let (_lab, sidekey, _) = start().await;
    let port = sidekey.address.rsplit(':').next().unwrap();

    // curl resolves `*.localhost` to loopback by itself.
    let text = run(curl(&["--ipv4", &format!("http://payments.localhost:{port}/orders")]), "");

    assert_seen(&text, &["subject: CN=partner", "request: GET /v1/orders "]);
}

#[tokio::test]
async fn curl_reaches_the_service_through_http_proxy() {
    let (_lab, sidekey, url) = start().await;

    let text = run(curl(&[&url]), &format!("http://{}", sidekey.address));

    assert_seen(&text, &["subject: CN=partner", "request: GET /v1/orders ", "authorization: Bearer abc"]);
}

#[tokio::test]
async fn curl_speaks_http_1_0_and_reads_each_answer_to_its_end() {
    let (lab, sidekey, url) = start().await;
    lab.write("body", &"0123456789".repeat(200_000));
    let body = format!("@{}", lab.path("body").display());
    let by_path = format!("http://{}/payments/orders", sidekey.address);

    for (url, proxy) in [(&by_path, String::new()), (&url, format!("http://{}", sidekey.address))] {
        let small = run(curl(&["--http1.0", "--dump-header", "-", url, url]), &proxy);
        assert_seen(
            &small,
            &["HTTP/1.0 200", "subject: CN=partner", "protocol: HTTP/1.1", "authorization: Bearer abc"],
        );
        let large = run(curl(&["--http1.0", "--data-binary", &body, url]), &proxy);
        assert!(large.len() > 2_000_000, "{} bytes came back", large.len());
    }
}

#[tokio::test]
async fn curl_reaches_the_service_over_a_unix_socket_in_each_dialect() {
    let lab = Lab::start().await;
    let _sidekey = lab.sidekey(&format!("listen: [$LISTEN, 'unix:$FOLDER/app.sock']\n{PAYMENTS}")).await;
    let socket = lab.path("app.sock").display().to_string();

    for (dialect, line) in
        [("--http1.0", "HTTP/1.0 200"), ("--http1.1", "HTTP/1.1 200"), ("--http2-prior-knowledge", "HTTP/2 200")]
    {
        let arguments = [dialect, "--unix-socket", &socket, "--dump-header", "-", "http://any-name/payments/orders?x"];
        let text = run(curl(&arguments), "");
        assert_seen(&text, &[line, "subject: CN=partner", "request: GET /v1/orders?x ", "authorization: Bearer abc"]);
    }
}

#[tokio::test]
async fn curl_takes_the_proxy_from_its_command_line_with_and_without_a_tunnel() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(&format!("{PAYMENTS}\naccess: {{ token: sesame }}")).await;
    let url = lab.fill_in("http://$AUTHORITY/v1/orders");
    let proxy = format!("http://{}", sidekey.address);

    for tunnel in [&[][..], &["--proxytunnel"]] {
        let text = run(curl(&[&["-x", &proxy, "--proxy-user", "x:sesame", &url][..], tunnel].concat()), "");
        assert_seen(&text, &["subject: CN=partner", "request: GET /v1/orders ", "authorization: Bearer abc"]);
    }
}

#[tokio::test]
async fn undici_goes_through_sidekey_as_its_proxy_with_and_without_a_tunnel() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(&format!("{PAYMENTS}\naccess: {{ token: sesame }}")).await;
    let url = lab.fill_in("http://$AUTHORITY/v1/orders");
    let mut node = bed::node();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/client/proxy_agent.js");
    node.args([script, &format!("http://{}", sidekey.address), "x:sesame", &url]);

    let text = run(node, "");

    for how in ["tunnel", "no tunnel"] {
        assert_seen(&text, &[&format!("{how}: POST {url} 200"), &format!("{how}: GET {url} 200")]);
    }
    for line in ["\nauthorization: Bearer abc\n\n", "\nsubject: CN=partner\n"] {
        assert_eq!(text.matches(line).count(), 12, "{line:?} in {text}");
    }
    assert_seen(&text, &["{\"amount\":42}", "without its token: Proxy Authentication Required (407)"]);
}

#[tokio::test]
async fn curl_sends_a_large_body_with_expect() {
    let (lab, sidekey, url) = start().await;
    lab.write("body", &"0123456789".repeat(200_000));

    let body = format!("@{}", lab.path("body").display());
    let text = run(
        curl(&["--data-binary", &body, "--header", "Expect: 100-continue", &url]),
        &format!("http://{}", sidekey.address),
    );

    assert!(text.len() > 2_000_000, "{} bytes came back", text.len());
}

#[tokio::test]
async fn a_python_client_reaches_the_service_through_http_proxy_and_keeps_its_connection() {
    let (_lab, sidekey, url) = start().await;
    let script = format!(
        "
with requests.Session() as session:
    for number in range(5):
        answer = session.post('{url}', params={{'n': number}}, json={{'amount': 42}})
        answer.raise_for_status()
        print(answer.text)
"
    );

    let text = run(requests(&script), &format!("http://{}", sidekey.address));

    assert_seen(
        &text,
        &["subject: CN=partner", "request: POST /v1/orders?n=4 ", "authorization: Bearer abc", "{\"amount\": 42}"],
    );
}

#[tokio::test]
async fn a_python_client_authenticates_at_the_proxy() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(&format!("{PAYMENTS}\naccess: {{ token: sesame }}")).await;
    let script = lab.fill_in("print(requests.get('http://$AUTHORITY/v1/orders').text)");

    let text = run(requests(&script), &format!("http://x:sesame@{}", sidekey.address));

    assert_seen(&text, &["subject: CN=partner"]);
}

/// Sidekey that asks for a token, and the URL of the service by path with that token in it.
async fn start_with_token() -> (Lab, Sidekey, String) {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(&format!("{PAYMENTS}\naccess: {{ token: sesame }}")).await;
    let url = format!("http://x:sesame@{}/payments/orders", sidekey.address);
    (lab, sidekey, url)
}

fn node(script: &str) -> Command {
    let mut node = bed::node();
    node.args(["--input-type=module", "--eval", script]);
    node
}

#[tokio::test]
async fn curl_and_python_show_the_token_in_a_base_url() {
    let (_lab, _sidekey, url) = start_with_token().await;
    let wanted = ["subject: CN=partner", "request: GET /v1/orders ", "authorization: Bearer abc"];

    assert_seen(&run(curl(&[&url]), ""), &wanted);
    assert_seen(&run(requests(&format!("print(requests.get('{url}').text)")), ""), &wanted);
}

#[tokio::test]
async fn curl_and_python_show_the_token_to_a_proxy() {
    let (lab, sidekey, _) = start_with_token().await;
    let (url, proxy) = (lab.fill_in("http://$AUTHORITY/v1/orders"), format!("http://x:sesame@{}", sidekey.address));
    let wanted = ["subject: CN=partner", "request: GET /v1/orders ", "authorization: Bearer abc"];

    assert_seen(&run(curl(&[&url]), &proxy), &wanted);
    assert_seen(&run(requests(&format!("print(requests.get('{url}').text)")), &proxy), &wanted);
}

#[tokio::test]
async fn nodes_fetch_shows_the_token_in_a_field_and_sees_why_it_must() {
    let (_lab, _sidekey, url) = start_with_token().await;
    // It takes no userinfo in a URL.
    let url = url.replace("x:sesame@", "");
    let script = format!(
        "
const without = await fetch('{url}');
console.log(without.status, (await without.json()).type, without.headers.get('www-authenticate'));
const answer = await fetch('{url}', {{ headers: {{ authorization: 'Bearer sesame' }} }});
console.log(await answer.text());
"
    );

    let text = run(node(&script), "");

    let wanted = ["401 urn:sidekey:error:unauthorized Bearer", "subject: CN=partner", "authorization: Bearer abc"];
    assert_seen(&text, &wanted);
}

#[tokio::test]
async fn a_python_client_without_the_token_sees_a_401() {
    let (_lab, _sidekey, url) = start_with_token().await;
    let url = url.replace("sesame", "wrong");

    let text = run(requests(&format!("a = requests.get('{url}'); print(a.status_code, a.json()['type'])")), "");

    assert_seen(&text, &["401 urn:sidekey:error:unauthorized"]);
}

#[tokio::test]
async fn a_python_client_understands_an_answer_of_ours() {
    let (_lab, sidekey, _) = start().await;
    let script = format!(
        "answer = requests.get('http://{}/nobody'); print(answer.status_code, answer.json()['type'])",
        sidekey.address
    );

    let text = run(requests(&script), "");

    assert_seen(&text, &["404 urn:sidekey:error:no_route"]);
}
