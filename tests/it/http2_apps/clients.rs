//! Programs of others as apps: curl, httpx, nghttp and h2load.

use std::process::Command;

use super::Bench;
use crate::lab::fault::{Fault, Reply};
use crate::lab::{Lab, bed, program};

const PAYMENTS: &str = "services:
  one: { url: $SERVICE/v1, certificate: partner, auth: { type: bearer, token: abc } }
  two: { url: $SERVICE_HTTP2/v1, certificate: partner, auth: { type: bearer, token: abc } }
";

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = program::output(command);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[tokio::test]
async fn curl_speaks_http_2_at_once() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(PAYMENTS).await;
    lab.write("body", &"0123456789".repeat(200_000));
    for (name, protocol) in [("one", "HTTP/1.1"), ("two", "HTTP/2.0")] {
        let url = format!("http://{}/{name}/orders?x=1", sidekey.address);
        let told = lab.curl(&format!("--fail --http2-prior-knowledge -i {url} --data body"));
        assert!(told.starts_with("HTTP/2 200"), "{told}");
        for line in ["subject: CN=partner", "request: POST /v1/orders?x=1 ", "authorization: Bearer abc", "body"] {
            assert!(told.contains(line), "{name}: {line:?} in {told}");
        }
        assert!(told.contains(&format!("protocol: {protocol}")), "{told}");

        let large = format!("--data-binary @{}", lab.path("body").display());
        // Also of a length that nobody says, and after a question.
        for how in ["-H Expect:", "-H Expect:100-continue", "-H Content-Length: -X PUT"] {
            let told = lab.curl(&format!("--fail --http2-prior-knowledge {how} {large} {url}"));
            assert!(told.len() > 2_000_000, "{name} {how}: {} bytes came back", told.len());
        }
        let head = lab.curl(&format!("--fail --http2-prior-knowledge -I {url}"));
        assert!(head.starts_with("HTTP/2 200"), "{head}");
    }
}

#[tokio::test]
async fn an_upgrade_to_h2c_is_declined_and_the_request_answered() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(PAYMENTS).await;

    for how in ["--http2", "--http2 --data body"] {
        let told = lab.curl(&format!("--fail {how} -i http://{}/one/orders", sidekey.address));

        assert!(told.starts_with("HTTP/1.1 200"), "{how}: {told}");
        let lower = told.to_ascii_lowercase();
        assert!(lower.contains("authorization: bearer abc"), "{told}");
        assert!(!lower.contains("http2-settings") && !lower.contains("upgrade: h2c"), "{how}: {told}");
    }
}

#[tokio::test]
async fn httpx_keeps_one_connection_for_many_requests() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(PAYMENTS).await;
    let script = format!(
        "
import asyncio, httpx
async def main():
    async with httpx.AsyncClient(http1=False, http2=True, trust_env=False, base_url='http://{}') as client:
        async def one(number):
            service = ['one', 'two'][number % 2]
            answer = await client.post(f'/{{service}}/orders', params={{'n': number}}, json={{'amount': number}}, timeout=30)
            answer.raise_for_status()
            assert answer.http_version == 'HTTP/2', answer.http_version
            assert f'request: POST /v1/orders?n={{number}} ' in answer.text, answer.text
            assert 'authorization: Bearer abc' in answer.text
            assert answer.text.replace(' ', '').endswith(f'{{{{\"amount\":{{number}}}}}}'), answer.text
        await asyncio.gather(*(one(number) for number in range(100)))
        # What nobody waits for any more costs its stream alone.
        async with client.stream('GET', '/one/x') as answer:
            assert answer.status_code == 200
        await one(100)
        print('all')
asyncio.run(main())
",
        sidekey.address
    );

    assert_eq!(run(bed::python().args(["-c", &script])), "all\n");
}

// With a thread for what the services do while a program is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn nghttp_and_h2load_get_what_they_ask_for() {
    let lab = Lab::start().await;
    let service = Fault::plain(|_| Reply::ok("welcome")).await;
    let two = Bench::start().await;
    let sidekey = lab
        .sidekey(&format!(
            "services:\n  one: {{ url: '{}' }}\n  two: {{ url: '{}', http_version: 2 }}\n",
            service.url(),
            two.two.url()
        ))
        .await;

    // Its PRIORITY frames open no stream.
    let told = run(Command::new("nghttp").args(["-v", &format!("http://{}/one/x", sidekey.address)]));
    assert!(told.contains("welcome") && told.contains(":status: 200"), "{told}");
    for (name, method) in [("one", "GET"), ("two", "GET"), ("two", "POST")] {
        let url = format!("http://{}/{name}/x", sidekey.address);
        let mut load = Command::new("h2load");
        load.args(["-n", "3000", "-c", "10", "-m", "50", "--connection-active-timeout", "40"]);
        if method == "POST" {
            load.arg("-d").arg(lab.path("sidekey.yaml"));
        }
        let told = run(load.arg(&url));
        assert!(told.contains("3000 succeeded, 0 failed, 0 errored, 0 timeout"), "{name} {method}: {told}");
        assert!(told.contains("status codes: 3000 2xx"), "{name} {method}: {told}");
    }
}
