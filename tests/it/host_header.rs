//! `host_header`: a virtual host behind an address.

use serde_json::json;

use crate::lab::Lab;
use crate::lab::client::Request;
use crate::lab::fault::{Fault, Reply};

#[tokio::test]
async fn it_is_the_host_of_http1_and_the_authority_of_http2() {
    let lab = Lab::start().await;
    let sidekey = lab
        .sidekey(
            "
services:
  old: { url: $SERVICE, certificate: partner, host_header: 'Virtual.example:8443' }
  new: { url: $SERVICE_HTTP2, certificate: partner, host_header: virtual.example }
  plain: { url: 'http://$SERVICE_PLAIN', host_header: '[2001:db8::1]' }
  known: { url: 'http://$SERVICE_PLAIN/v1', http_version: '2', host_header: virtual.example }
  none: { url: 'http://$SERVICE_PLAIN' }
",
        )
        .await;

    let host = async |target: &str| {
        let seen = sidekey.send(Request::get(target).field("X-Forwarded-Host", "app.example")).await.at_service();
        (seen.host, seen.protocol)
    };

    let said = |host: &str, protocol: &str| (host.to_owned(), protocol.to_owned());
    assert_eq!(host("/old/x").await, said("Virtual.example:8443", "HTTP/1.1"));
    assert_eq!(host("/new/x").await, said("virtual.example", "HTTP/2.0"));
    assert_eq!(host("/plain/x").await, said("[2001:db8::1]", "HTTP/1.1"));
    assert_eq!(host("/none/x").await, said(&lab.fill_in("$SERVICE_PLAIN"), "HTTP/1.1"));
    // By the authority of the URL it is reached all the same.
    assert_eq!(host(&lab.fill_in("http://localhost:$PORT/x")).await, said("Virtual.example:8443", "HTTP/1.1"));
}

#[tokio::test]
async fn a_reload_changes_it() {
    let lab = Lab::start().await;
    let config = |keys: &str| format!("services: {{ payments: {{ url: 'http://$SERVICE_PLAIN'{keys} }} }}");
    let sidekey = lab.sidekey(&config("")).await;
    let generation = sidekey.generation().await;

    sidekey.rewrite(&lab, &config(", host_header: virtual.example"));
    sidekey.until_reloaded_since(generation).await;

    assert_eq!(sidekey.get("/payments/x").await.at_service().host, "virtual.example");
    sidekey.until_logged("host_header").await;
}

#[tokio::test]
async fn what_is_signed_is_what_is_sent() {
    let lab = Lab::start().await;
    let service = Fault::plain(|_| Reply::ok("")).await;
    let idp =
        Fault::idp(|_| Reply::json(&json!({ "access_token": "token", "token_type": "DPoP", "expires_in": 300 }))).await;
    let sidekey = lab
        .sidekey(&format!(
            "
services:
  hmac:
    url: {service}/v1
    host_header: virtual.example
    auth: {{ type: hmac, key: hunter2-hunter2, header: X-Signature, template: '{{host}}' }}
  aws:
    url: {service}/v1
    host_header: virtual.example
    auth: {{ type: aws_sigv4, region: eu-central-1, service: execute-api, access_key_id: AKIDEXAMPLE,
             secret_access_key: hunter2, session_token: t0/+= }}
  dpop:
    url: {service}/v1
    host_header: virtual.example
    auth: {{ type: oauth2_client_credentials, token_url: '{idp}/token', client_id: me, client_secret: hunter2-hunter2,
             dpop: true }}
",
            service = service.url(),
            idp = idp.url()
        ))
        .await;

    for name in ["hmac", "aws", "dpop"] {
        assert_eq!(sidekey.get(&format!("/{name}/x?y=1")).await.status_of_service(), 200);
    }

    let received = service.received();
    assert!(received.iter().all(|request| request.field("host").as_deref() == Some("virtual.example")), "{received:?}");
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"hunter2-hunter2");
    let signature = aws_lc_rs::hmac::sign(&key, b"virtual.example");
    let hex: String = signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(received[0].field("x-signature"), Some(hex));
    let asked = crate::signers::question_at("http://virtual.example", "execute-api", &received[1]);
    let botocore = crate::lab::opinion::sigv4(&json!([asked]));
    assert_eq!(json!(received[1].field("authorization")), botocore[0]["authorization"]);
    assert_eq!(crate::dpop::claims(&received[2])["htu"], "http://virtual.example/v1/x");
    assert!(idp.only().field("host").is_some_and(|host| host.starts_with("127.0.0.1")), "the endpoint's is its own");
}

#[tokio::test]
async fn a_421_that_our_own_config_explains_is_told_in_the_log_once() {
    let lab = Lab::start().await;
    let service = "url: $SERVICE_NAMED, certificate: partner, tls: { ca: tls/ca.pem, server_name: elsewhere.example }";
    let sidekey = lab
        .sidekey(&format!(
            "services: {{ payments: {{ {service} }}, whole: {{ {service}, host_header: elsewhere.example }},
                          half: {{ url: $SERVICE_NAMED, certificate: partner, host_header: elsewhere.example }} }}"
        ))
        .await;

    let misdirected =
        [sidekey.get("/payments/x").await, sidekey.get("/payments/x").await, sidekey.get("/half/x").await];
    let well = sidekey.get("/whole/x").await.at_service();

    for answer in misdirected {
        assert_eq!(answer.status_of_service(), 421, "{answer:?}");
    }
    assert_eq!((well.host.as_str(), well.protocol.as_str()), ("elsewhere.example", "HTTP/2.0"));
    let host = lab.fill_in("$SERVICE_NAMED").replace("https://", "");
    let said = format!(
        "it answered 421: TLS asked for `elsewhere.example`, and `Host` says `{host}`; if it goes by one name in both, \
         write `host_header: elsewhere.example` too"
    );
    sidekey.until_logged(&said).await;
    sidekey.until_logged("write `tls.server_name: elsewhere.example` too").await;
    assert_eq!(sidekey.log().matches("it answered 421").count(), 2, "{}", sidekey.log());
}

#[tokio::test]
async fn explain_and_the_admin_port_name_it() {
    let lab = Lab::start().await;
    let config = "services: { payments: { url: $SERVICE, certificate: partner, host_header: virtual.example } }";
    let sidekey = lab.sidekey(config).await;

    let explained = sidekey.admin("/api/explain?url=/payments/x").await.json();
    let shown = tokio::task::spawn_blocking({
        let program = lab.run("explain /payments/x --config sidekey.yaml");
        move || program.stdout
    })
    .await
    .unwrap();

    assert_eq!(explained["host_header"], "virtual.example");
    assert!(shown.contains("host       virtual.example (`host_header`)"), "{shown}");
}
