//! The lab itself: its parts do what the other tests take for granted, with no Sidekey between.

use std::process::Command;

use serde_json::{Value, json};

use crate::lab::certificates::Validity;
use crate::lab::client::{Connection, Ended, Request, exchange};
use crate::lab::fault::{Fault, Reply};
use crate::lab::{Lab, opinion, program};

#[tokio::test]
async fn nginx_tells_what_it_saw() {
    let lab = Lab::start().await;
    let request = "--cert tls/partner.pem --key tls/partner.key -d body -H Authorization:abc $SERVICE/a//%2e?b";

    let text = lab.curl(request);

    let fingerprint = format!("fingerprint: {}", lab.partner.fingerprint());
    for part in ["subject: CN=partner\n", &fingerprint, "request: POST /a//%2e?b HTTP/1.1", "\r\n\r\nbody"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(lab.curl("$SERVICE/").contains("400 No required SSL certificate was sent"));
    let http2 = lab.curl(&request.replace("$SERVICE", "$SERVICE_HTTP2"));
    assert!(http2.contains("protocol: HTTP/2.0") && http2.contains("authorization: abc"), "{http2}");
}

#[tokio::test]
async fn the_cloud_checks_signatures_and_lets_web_identities_in() {
    let lab = Lab::start().await;
    let cloud = lab.cloud().await;
    let time = "date -u +%Y%m%dT%H%M%SZ";
    let time = program::output(Command::new("sh").args(["-c", time])).stdout;
    let url = format!("http://localhost:{}/lab/a%20b", cloud.port);
    let request = json!({
        "method": "PUT", "url": url, "headers": { "host": format!("localhost:{}", cloud.port) }, "body": "a-body",
        "time": String::from_utf8(time).unwrap().trim(), "region": "us-east-1", "service": "s3",
        "access_key_id": cloud.access_key_id, "secret_access_key": cloud.secret_access_key,
    });
    let put = |request: &Value| {
        let signed = opinion::sigv4(request);
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--request", "PUT", "--data", "a-body", "--write-out", "%{http_code}"]);
        for (name, value) in signed.as_object().unwrap() {
            curl.args(["--header", &format!("{name}: {}", value.as_str().unwrap())]);
        }
        String::from_utf8(program::output(curl.arg(&url)).stdout).unwrap()
    };

    let good = put(&request);
    let mut other = request.clone();
    other["secret_access_key"] = "another".into();
    let bad = put(&other);
    let sts = format!("https://localhost:{}/", cloud.tls_port);
    let form = "-d Action=AssumeRoleWithWebIdentity -d Version=2011-06-15 -d RoleSessionName=lab";
    let role = lab.curl(&format!("{form} -d RoleArn={} -d WebIdentityToken=a-token {sts}", cloud.role_arn));

    assert_eq!(good, "200");
    assert!(bad.contains("SignatureDoesNotMatch") && bad.ends_with("403"), "{bad}");
    assert!(role.contains("<AccessKeyId>ASIA"), "{role}");
    let seen = cloud.seen().await;
    assert_eq!(
        (&seen[0]["target"], &seen[0]["body"], &seen[0]["status"]),
        (&json!("/lab/a%20b"), &json!("a-body"), &json!(200))
    );
    assert!(seen[2]["body"].as_str().unwrap().contains("WebIdentityToken=a-token"));
}

#[tokio::test]
async fn a_second_opinion_refuses_what_another_key_has_signed() {
    let lab = Lab::start().await;
    let [key, other] = ["key", "other"].map(|name| lab.key(name, "ES256"));
    let certificate = lab.ca.client("signer", Validity::LONG);
    let claims = json!({ "iss": "me" });

    let token = opinion::sign(&json!({ "alg": "ES256" }), &claims, &json!(key.pem));
    let by_certificate = opinion::sign(&json!({ "alg": "ES256" }), &claims, &json!(certificate.key));

    assert!(lab.path(&key.file).exists());
    assert_eq!(opinion::jwt(&token, &key.jwk, "ES256").unwrap()["claims"], claims);
    assert_eq!(opinion::jwt(&by_certificate, &certificate.jwk(), "ES256").unwrap()["claims"], claims);
    assert!(opinion::jwt(&token, &other.jwk, "ES256").unwrap_err().contains("BadSignature"));
}

#[tokio::test]
async fn the_misbehaving_server_keeps_what_it_got_and_breaks_what_it_should() {
    let server = Fault::plain(|request| match request.number {
        0 => Reply::ok("welcome"),
        1 => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").then_reset(),
        _ => Reply::default().then_close(),
    })
    .await;
    let address = server.url().replace("http://", "");

    let whole = exchange(&address, Request::chunked("PUT", "/a", "body")).await;
    let broken = exchange(&address, Request::get("/b")).await;
    let mut closed = Connection::open(&address).await;
    closed.write(Request::get("/c").to_bytes("x")).await;

    assert_eq!((whole.text().as_str(), whole.ended), ("welcome", Ended::Whole));
    assert_eq!((broken.text().as_str(), broken.ended), ("half", Ended::Reset));
    assert_eq!(closed.closed().await, Ended::Early);
    assert_eq!((server.received()[0].text().as_str(), server.received()[0].whole), ("4\r\nbody\r\n0\r\n\r\n", true));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_misbehaving_server_speaks_tls() {
    let lab = Lab::start().await;
    let server = Fault::tls(&lab, |_| Reply::ok("welcome")).await;

    let text = tokio::task::block_in_place(|| lab.curl(&server.url()));

    assert_eq!((text.as_str(), server.only().target()), ("welcome", "/"));
}
