//! Methods that sign each request: what the service can check, what becomes of bodies, and where keys come from.

use aws_lc_rs::{digest, hmac};
use serde_json::{Value, json};

use crate::lab::client::Request;
use crate::lab::fault::{Fault, Received, Reply};
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, opinion, until};

/// Sidekey in front of a service that answers so, with these keys beside its `url`.
async fn with(keys: &str, answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Scene {
    let service = Fault::plain(answer).await;
    let lab = Lab::start().await;
    let config = format!("services: {{ payments: {{ url: '{}/v1', {keys} }} }}\nworkers: 1", service.url());
    let sidekey = lab.sidekey(&config).await;
    Scene { _lab: lab, service, sidekey }
}

struct Scene {
    _lab: Lab,
    service: Fault,
    sidekey: Sidekey,
}

/// Signs all that can be signed.
const ALL: &str = r#"{ type: hmac, key: hunter2, header: X-Signature, prefix: "v1=", timestamp_header: X-Time,
    nonce_header: X-Nonce,
    template: "{method}\n{path}\n{query}\n{host}\n{timestamp}\n{nonce}\n{body_sha256}\n{header:content-type}" }"#;

/// Signs the body.
const BODY: &str = "{ type: hmac, key: hunter2, header: X-Signature, template: '{body_sha256}' }";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(body: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, body).as_ref())
}

fn signature(text: &str) -> String {
    hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"hunter2"), text.as_bytes()).as_ref())
}

/// Checks a request that [`ALL`] signed as a service would: by what it has received.
#[track_caller]
fn verify(request: &Received, port: u16) {
    let field = |name| request.field(name).unwrap_or_default();
    let (path, query) = request.target().split_once('?').unwrap_or((request.target(), ""));
    let [time, nonce, kind] = ["x-time", "x-nonce", "content-type"].map(field);
    let [method, body] = [request.method().to_owned(), sha256(&request.body)];
    let text = format!("{method}\n{path}\n{query}\n127.0.0.1:{port}\n{time}\n{nonce}\n{body}\n{kind}");

    assert_eq!(field("x-signature"), format!("v1={}", signature(&text)), "{text} of {request:?}");
    assert!(time.parse::<u64>().is_ok() && nonce.len() == 32, "{time} {nonce}");
}

#[tokio::test]
async fn a_signature_is_over_what_the_service_receives() {
    // Signed last, though it stands first: the query is not what the app sent.
    let scene = with(&format!("auth: [{ALL}, {{ type: api_key, key: k 1, query: key }}]"), |_| Reply::ok("")).await;

    for request in [
        Request::get("/payments/orders?x=%20&key=app"),
        Request::get("/payments"),
        Request::get("/payments/a//b%2f;c=1/%C3%BC").field("X-Signature", "app").field("X_Time", "1"),
        Request::post("/payments/orders", "a body").field("Content-Type", "text/plain"),
        Request::chunked("PUT", "/payments/?", "chunks"),
    ] {
        assert_eq!(scene.sidekey.send(request).await.status_of_service(), 200);
    }

    let received = scene.service.received();
    received.iter().for_each(|request| verify(request, scene.service.port));
    assert_eq!(received[0].target(), "/v1/orders?x=%20&key=k%201");
    assert_eq!(received[2].field("x_time"), None);
    let nonces: std::collections::BTreeSet<_> = received.iter().map(|request| request.field("x-nonce")).collect();
    assert_eq!(nonces.len(), 5);
}

#[tokio::test]
async fn every_sending_is_signed_anew() {
    let once = |request: &Received| if request.number == 0 { Reply::reset() } else { Reply::ok("") };
    let scene = with(&format!("auth: {ALL}"), once).await;
    // More than is kept of a body that nothing signs.
    let put = Request::chunked("PUT", "/payments/x", &"x".repeat(300 * 1024));

    assert_eq!(scene.sidekey.send(put).await.status_of_service(), 200);

    let received = scene.service.received();
    let whole: Vec<_> = received.iter().filter(|request| request.whole).collect();
    assert_eq!((received.len(), whole.last().unwrap().body.len()), (2, 300 * 1024));
    whole.iter().for_each(|request| verify(request, scene.service.port));
    assert_ne!(received[0].field("x-nonce"), received[1].field("x-nonce"));
    assert_ne!(received[0].field("x-signature"), received[1].field("x-signature"));
}

#[tokio::test]
async fn a_signed_body_of_any_size_is_sent_again_with_the_new_token() {
    let idp = Fault::idp(|request| Reply::token(&format!("token-{}", request.number), 300)).await;
    let token =
        format!("{{ type: oauth2_client_credentials, token_url: '{}', client_id: me, client_secret: s }}", idp.url());
    let only = |request: &Received| {
        if request.field("authorization").as_deref() == Some("Bearer token-1") {
            Reply::ok("")
        } else {
            Reply::status(401)
        }
    };
    let scene = with(&format!("auth: [{BODY}, {token}]"), only).await;

    let answer = scene.sidekey.post("/payments/x", "x".repeat(300 * 1024)).await;

    assert_eq!(answer.status_of_service(), 200);
    for request in scene.service.received() {
        assert_eq!(request.field("x-signature"), Some(signature(&sha256(&request.body))));
        assert_eq!(request.body.len(), 300 * 1024);
    }
    assert_eq!(scene.service.count(), 2);
}

#[tokio::test]
async fn a_body_that_is_signed_has_a_length() {
    let scene = with(&format!("auth: {BODY}"), |_| Reply::ok("")).await;

    scene.sidekey.send(Request::chunked("POST", "/payments/x", "a body")).await;

    let request = scene.service.only();
    assert_eq!((request.field("content-length").as_deref(), request.text().as_str()), (Some("6"), "a body"));
    assert_eq!(request.field("transfer-encoding"), None);
}

#[tokio::test]
async fn trailers_follow_a_signed_body() {
    let scene = with(&format!("auth: {BODY}"), |_| Reply::ok("")).await;
    let head = "POST /payments/x HTTP/1.1\r\nHost: localhost\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n";

    let mut connection = scene.sidekey.raw(format!("{head}2\r\nab\r\n0\r\nX-Sum: 7\r\n\r\n")).await;

    assert_eq!(connection.answer().await.status_of_service(), 200);
    let request = scene.service.only();
    assert!(request.text().to_lowercase().ends_with("0\r\nx-sum: 7\r\n\r\n"), "{request:?}");
    assert_eq!(request.field("x-signature"), Some(signature(&sha256(b"ab"))));
}

#[tokio::test]
async fn a_body_longer_than_what_is_kept_is_body_too_large() {
    let limited = BODY.replace("}' }", "}', max_signed_body: 64KiB }");
    let scene = with(&format!("auth: {limited}"), |_| Reply::ok("")).await;
    let just = "x".repeat(64 * 1024);

    assert_eq!(scene.sidekey.post("/payments/x", just.clone()).await.status_of_service(), 200);
    for request in [
        Request::post("/payments/x", format!("{just}x")),
        Request::chunked("POST", "/payments/x", &format!("{just}x")),
        Request::post("/payments/x", format!("{just}x")).field("Expect", "100-continue"),
    ] {
        let detail = scene.sidekey.send(request).await.problem("body_too_large");
        assert!(detail.contains("65536 bytes") && detail.contains("`max_signed_body`"), "{detail}");
    }

    assert_eq!(scene.service.count(), 1);
}

#[tokio::test]
async fn an_app_that_waits_for_a_100_is_sent_one_before_its_body_is_signed() {
    let scene = with(&format!("auth: {BODY}"), |_| Reply::ok("")).await;
    let head = "POST /payments/x HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

    let mut connection = scene.sidekey.raw(head).await;
    connection.until("100 Continue").await;
    assert_eq!(scene.service.count(), 0);
    connection.write("hello").await;

    assert_eq!(connection.answer().await.status_of_service(), 200);
    let request = scene.service.only();
    assert_eq!((request.field("expect"), request.text().as_str()), (None, "hello"));
}

#[tokio::test]
async fn of_a_signed_body_that_does_not_come_to_its_end_the_service_sees_nothing() {
    let scene = with(&format!("timeouts: {{ idle: 500ms }}, auth: {BODY}"), |_| Reply::ok("")).await;
    let half = "POST /payments/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf";

    let mut stalls = scene.sidekey.raw(half).await;
    stalls.answer().await.problem("request_timeout");
    let mut breaks = scene.sidekey.raw(half.replace("Content-Length: 9", "Transfer-Encoding: chunked")).await;
    breaks.answer().await.problem("bad_request");
    let leaves = scene.sidekey.raw(half).await;
    scene.sidekey.until_metric("sidekey_requests_in_flight{service=\"payments\"}", 1.0).await;
    leaves.reset();
    scene.sidekey.until_metric("sidekey_requests_in_flight{service=\"payments\"}", 0.0).await;

    assert_eq!(scene.service.count(), 0);
}

#[tokio::test]
async fn an_app_may_sign_itself_where_the_config_keeps_what_it_sends() {
    let scene = with(&format!("on_client_authorization: keep, auth: {ALL}"), |_| Reply::ok("")).await;

    scene.sidekey.send(Request::get("/payments/x").field("X-Signature", "mine")).await;
    scene.sidekey.get("/payments/x").await;

    let received = scene.service.received();
    let fields = ["x-signature", "x-time", "x-nonce"].map(|name| received[0].field(name));
    assert_eq!(fields, [Some("mine".to_owned()), None, None]);
    verify(&received[1], scene.service.port);
}

const KEY: &str = "access_key_id: AKIDEXAMPLE, secret_access_key: hunter2";

/// The scope of an `Authorization`, and the fields that it is over.
fn scope_and_fields(request: &Received) -> (String, String) {
    let text = request.field("authorization").unwrap_or_default();
    let parts: Vec<_> = text.split([' ', ',']).filter_map(|part| part.split_once('=')).collect();
    let [("Credential", scope), ("SignedHeaders", fields), ("Signature", signature)] = parts[..] else {
        panic!("{text}");
    };
    assert!(text.starts_with("AWS4-HMAC-SHA256 ") && signature.len() == 64, "{text}");
    // The day in the middle is today.
    let scope: Vec<_> = scope.split('/').enumerate().filter(|(at, _)| *at != 1).map(|(_, part)| part).collect();
    (scope.join("/"), fields.to_owned())
}

#[tokio::test]
async fn aws_is_told_who_asks_when_and_over_which_fields() {
    let auth =
        format!("auth: {{ type: aws_sigv4, region: eu-central-1, service: dynamodb, {KEY}, session_token: t0 }}");
    let scene = with(&auth, |_| Reply::ok("")).await;
    let request = Request::post("/payments/", "{}")
        .field("Content-Type", "application/x-amz-json-1.0")
        .field("X-Amz-Target", "DynamoDB_20120810.ListTables")
        .field("X-Amz-Date", "19700101T000000Z")
        .field("X-Amz-Security-Token", "app")
        .field("X-Amz-Content-Sha256", "app")
        .field("Authorization", "app");

    assert_eq!(scene.sidekey.send(request).await.status_of_service(), 200);

    let request = scene.service.only();
    let fields = "content-type;host;x-amz-date;x-amz-security-token;x-amz-target".to_owned();
    assert_eq!(scope_and_fields(&request), ("AKIDEXAMPLE/eu-central-1/dynamodb/aws4_request".to_owned(), fields));
    assert_eq!(request.field("x-amz-security-token").as_deref(), Some("t0"));
    assert_eq!(request.field("x-amz-content-sha256"), None);
    let date = request.field("x-amz-date").unwrap();
    assert!(date.len() == 16 && date.as_str() > "20260101T000000Z" && date.ends_with('Z'), "{date}");
}

#[tokio::test]
async fn what_is_too_long_to_be_kept_streams_to_s3_unsigned_where_tls_protects_it() {
    let lab = Lab::start().await;
    let service = Fault::tls(&lab, |_| Reply::ok("")).await;
    let url = service.url().replace("127.0.0.1", "localhost");
    let auth = format!("auth: {{ type: aws_sigv4, region: r, service: s3, {KEY} }}");
    let config =
        format!("services: {{ s3: {{ url: '{url}', certificate: partner, tls: {{ ca: tls/ca.pem }}, {auth} }} }}");
    let sidekey = lab.sidekey(&config).await;
    let hashes = || -> Vec<_> {
        service.received().iter().map(|request| request.field("x-amz-content-sha256").unwrap()).collect()
    };
    let [short, long] = [64 * 1024, 64 * 1024 + 1].map(|length| "x".repeat(length));

    sidekey.get("/s3/b/k").await;
    sidekey.send(Request::chunked("PUT", "/s3/b/k", &short)).await;
    sidekey.send(Request::chunked("PUT", "/s3/b/k", &long)).await;
    sidekey.post("/s3/b/k", long.clone()).await;
    assert_eq!(hashes(), [&sha256(b""), &sha256(short.as_bytes()), "UNSIGNED-PAYLOAD", "UNSIGNED-PAYLOAD"]);
    let chunks = service.received()[2].text();
    assert_eq!(chunks.matches('x').count(), long.len(), "nothing of it is lost");

    // The service hears of it before the app has said all.
    let head = "PUT /s3/b/k HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut streaming = sidekey.raw(format!("{head}{:x}\r\n{long}\r\n", long.len())).await;
    service.until_received(5).await;
    streaming.write("1\r\ny\r\n0\r\n\r\n").await;
    assert_eq!(streaming.answer().await.status_of_service(), 200);
    assert!(service.received()[4].whole && service.received()[4].text().contains("\r\ny\r\n"));
}

#[tokio::test]
async fn what_goes_to_s3_without_tls_is_signed_whole() {
    let scene = with(&format!("auth: {{ type: aws_sigv4, region: r, service: s3, {KEY} }}"), |_| Reply::ok("")).await;
    let long = "x".repeat(300 * 1024);

    scene.sidekey.send(Request::chunked("PUT", "/payments/k", &long)).await;

    let request = scene.service.only();
    assert_eq!(request.field("x-amz-content-sha256"), Some(sha256(long.as_bytes())));
    assert_eq!(request.body.len(), long.len());
}

#[tokio::test]
async fn a_key_that_is_changed_in_its_profile_is_used_from_then_on() {
    let lab = Lab::start().await;
    let service = Fault::plain(|_| Reply::ok("")).await;
    let profile = |id: &str| format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = hunter2\n");
    lab.write("credentials", &profile("AKIDONE"));
    let auth = "auth: { type: aws_sigv4, region: r, service: es, profile: { file: credentials } }";
    let sidekey = lab.sidekey(&format!("services: {{ es: {{ url: '{}', {auth} }} }}", service.url())).await;
    let used = async || {
        sidekey.get("/es/").await;
        scope_and_fields(service.received().last().unwrap()).0
    };
    assert_eq!(used().await, "AKIDONE/r/es/aws4_request");

    lab.write("credentials", &profile("AKIDTWO"));

    until("the new key", async || (used().await == "AKIDTWO/r/es/aws4_request").then_some(())).await;
}

/// What STS answers: a key that lives for a day and more.
fn lent(id: &str) -> Reply {
    let key = format!("<AccessKeyId>{id}</AccessKeyId><SecretAccessKey>a/b+c=</SecretAccessKey>");
    let rest = "<SessionToken>lent&amp;token</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>";
    let answer = format!(
        "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>{key}{rest}</Credentials>\
         </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    );
    Reply::new(200, &[("Content-Type", "text/xml")], &answer)
}

fn borrowing(sts: &Fault) -> String {
    let lender = format!("role_arn: 'arn:aws:iam::1:role/app', token_file: workload-token, sts_url: '{}/'", sts.url());
    format!("auth: {{ type: aws_sigv4, region: r, service: es, web_identity: {{ {lender} }} }}")
}

#[tokio::test]
async fn a_key_is_lent_for_the_token_of_a_workload() {
    let lab = Lab::start().await;
    let [sts, service] = [Fault::plain(|_| lent("ASIALENT")).await, Fault::plain(|_| Reply::ok("")).await];
    lab.write("workload-token", "ey.J.w\n");
    let config = format!("services: {{ es: {{ url: '{}', {} }} }}", service.url(), borrowing(&sts));
    let sidekey = lab.sidekey(&config).await;

    for _ in 0..3 {
        assert_eq!(sidekey.get("/es/").await.status_of_service(), 200);
    }

    let asked = sts.only();
    let form =
        ["Action", "Version", "RoleArn", "RoleSessionName", "WebIdentityToken"].map(|name| asked.form(name).unwrap());
    assert_eq!(form, ["AssumeRoleWithWebIdentity", "2011-06-15", "arn:aws:iam::1:role/app", "sidekey", "ey.J.w"]);
    assert_eq!(service.count(), 3);
    for request in service.received() {
        assert_eq!(scope_and_fields(&request).0, "ASIALENT/r/es/aws4_request");
        assert_eq!(request.field("x-amz-security-token").as_deref(), Some("lent&token"));
    }
    assert_eq!(sidekey.service("es").await["token"]["state"], json!("valid"));
}

#[tokio::test]
async fn without_the_workloads_token_there_is_no_key_and_nothing_is_sent() {
    let lab = Lab::start().await;
    let [sts, service] = [Fault::plain(|_| lent("ASIALENT")).await, Fault::plain(|_| Reply::ok("")).await];
    let config = format!("services: {{ es: {{ url: '{}', {} }} }}", service.url(), borrowing(&sts));
    let sidekey = lab.sidekey(&config).await;

    let answer = sidekey.get("/es/").await;
    let detail = answer.problem("credential_unavailable");
    assert!(detail.contains("`token_file` at") && detail.contains("no such file"), "{detail}");
    assert!(answer.retry_after() >= 1);
    assert_eq!((sts.count(), service.count()), (0, 0));

    lab.write("workload-token", "ey.J.w");
    until("a key", async || (sidekey.get("/es/").await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn what_sts_has_against_us_is_told_without_the_token() {
    let refusal = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
                   <Message>Not with ey.J.w &lt;you&gt;</Message></Error></ErrorResponse>";
    let lab = Lab::start().await;
    let sts = Fault::plain(move |_| Reply::new(403, &[], refusal)).await;
    lab.write("workload-token", "ey.J.w");
    let config = format!("services: {{ es: {{ url: 'http://127.0.0.1:1', {} }} }}", borrowing(&sts));
    let sidekey = lab.sidekey(&config).await;

    let detail = sidekey.get("/es/").await.problem("token_rejected");

    assert!(detail.contains("answered with 403: AccessDenied, Not with *** <you>; check `role_arn`"), "{detail}");
}

/// What botocore would have signed of a request that the service has received.
fn question(service: &str, port: u16, request: &Received) -> Value {
    question_at(&format!("http://127.0.0.1:{port}"), service, request)
}

/// The same of a service that goes by another name.
pub fn question_at(origin: &str, service: &str, request: &Received) -> Value {
    let signed = |name: &str| name == "host" || name == "content-type" || name.starts_with("x-amz-");
    let fields = request.head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let fields: serde_json::Map<_, _> = fields
        .filter(|(name, _)| signed(name) && !["x-amz-date", "x-amz-security-token"].contains(name))
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    json!({
        "method": request.method(), "url": format!("{origin}{}", request.target()), "headers": fields,
        "body": request.text(), "time": request.field("x-amz-date"), "region": "eu-central-1", "service": service,
        "access_key_id": "AKIDEXAMPLE", "secret_access_key": "hunter2", "session_token": "t0/+=",
    })
}

#[tokio::test]
async fn botocore_signs_the_same() {
    let lab = Lab::start().await;
    let service = Fault::plain(|_| Reply::ok("")).await;
    let [s3, api] = ["s3", "execute-api"].map(|name| {
        let auth =
            format!("auth: {{ type: aws_sigv4, region: eu-central-1, service: {name}, {KEY}, session_token: t0/+= }}");
        format!("{name}: {{ url: '{}', {auth} }}", service.url())
    });
    let sidekey = lab.sidekey(&format!("services: {{ {s3}, {api} }}")).await;
    let asked = [
        ("execute-api", Request::get("/execute-api")),
        ("execute-api", Request::get("/execute-api/")),
        ("execute-api", Request::get("/execute-api/?")),
        ("execute-api", Request::get("/execute-api/v1/orders?b=2&a=1&a=0&B=3")),
        ("execute-api", Request::get("/execute-api/v1/orders?flag&empty=&Z")),
        ("execute-api", Request::get("/execute-api/v1/orders?a=%20%2B%26%3D%C3%BC&%C3%BC=1")),
        ("execute-api", Request::get("/execute-api/a//b///c/")),
        ("execute-api", Request::get("/execute-api/a%20b/%C3%BC%2F/%25")),
        ("execute-api", Request::get("/execute-api/@connections/a=b;c:d,e!f*g'h(i)")),
        ("execute-api", Request::get("/execute-api/arn%3Aaws%3Alambda%3Aeu/~x-y_z.")),
        ("execute-api", Request::new("DELETE", "/execute-api/v1/orders/1")),
        (
            "execute-api",
            Request::post("/execute-api/v1", "{\"a\":\"\u{fc}\"}").field("Content-Type", "application/json"),
        ),
        ("execute-api", Request::post("/execute-api/v1", "").field("Content-Type", "text/plain;  charset=utf-8")),
        (
            "execute-api",
            Request::get("/execute-api/v1").field("X-Amz-Target", "  Some.Thing   else ").field("Accept", "*/*"),
        ),
        ("execute-api", Request::chunked("PUT", "/execute-api/v1", &"x".repeat(70_000))),
        ("s3", Request::get("/s3/?list-type=2&prefix=a%2Fb&delimiter=%2F")),
        ("s3", Request::get("/s3/bucket/a%20key%20with%20spaces.txt")),
        ("s3", Request::get("/s3/bucket//a///b/")),
        ("s3", Request::get("/s3/bucket/%C3%BC%2B%2525?versionId=1&acl")),
        ("s3", Request::new("HEAD", "/s3/bucket/key")),
        (
            "s3",
            Request::chunked("PUT", "/s3/bucket/key", "content")
                .field("X-Amz-Meta-Owner", "me")
                .field("x-amz-acl", "private"),
        ),
        ("s3", Request::post("/s3/bucket?delete", "<Delete/>").field("Content-Type", "application/xml")),
    ];

    let services: Vec<_> = asked.iter().map(|(service, _)| *service).collect();
    for (_, request) in asked {
        sidekey.connect().await.send(request).await;
    }

    let received = service.received();
    let questions = services.iter().zip(&received).map(|(name, request)| question(name, service.port, request));
    let answers = opinion::sigv4(&questions.collect());
    assert_eq!(answers.as_array().unwrap().len(), services.len());
    for (request, answer) in received.iter().zip(answers.as_array().unwrap()) {
        assert_eq!(json!(request.field("authorization")), answer["authorization"], "{request:?}");
        assert_eq!(json!(request.field("x-amz-security-token")), answer["x-amz-security-token"]);
    }
}

#[tokio::test]
async fn a_cloud_that_checks_signatures_takes_ours() {
    let lab = Lab::start().await;
    let cloud = lab.cloud().await;
    let key = format!("access_key_id: {}, secret_access_key: {}", cloud.access_key_id, cloud.secret_access_key);
    let service = |name: &str, url: String, key: &str| {
        format!(
            "{name}: {{ url: '{url}', tls: {{ ca: tls/ca.pem }}, auth: {{ type: aws_sigv4, region: us-east-1, service: s3, {key} }} }}"
        )
    };
    let [plain, secure] = [format!("http://localhost:{}", cloud.port), format!("https://localhost:{}", cloud.tls_port)];
    let lent =
        format!("web_identity: {{ role_arn: '{}', token_file: workload-token, sts_url: '{secure}/' }}", cloud.role_arn);
    lab.write("workload-token", "a-token");
    let services = [
        service("plain", plain.clone(), &key),
        service("secure", secure.clone(), &key),
        service("lent", secure, &lent),
        service("wrong", plain, &key.replace("secret_access_key: ", "secret_access_key: not-")),
    ];
    let sidekey = lab.sidekey(&format!("services: {{ {} }}", services.join(", "))).await;
    let long = "x".repeat(100_000);

    for (service, name, content) in [
        ("plain", "a%20key%20with%20spaces", "content"),
        ("plain", "%C3%BC/%2B", long.as_str()),
        ("secure", "short", "content"),
        ("secure", "long", long.as_str()),
        ("lent", "lent", "content"),
    ] {
        let target = format!("/{service}/lab/{name}");
        let put = Request::post(&target, content).method("PUT").field("X-Amz-Meta-Owner", "me");
        assert_eq!(sidekey.send(put).await.status_of_service(), 200, "{target}");
        let read = sidekey.get(&target).await;
        assert_eq!((read.status_of_service(), read.text() == content), (200, true), "{target}");
    }

    let listed = sidekey.get("/plain/lab?list-type=2&prefix=a%20key&max-keys=5").await;
    assert!(listed.text().contains("<Key>a key with spaces</Key>"), "{}", listed.text());
    assert_eq!(sidekey.get("/wrong/lab/short").await.status_of_service(), 403);
    let hashes: Vec<_> =
        cloud.seen().await.iter().map(|seen| seen["headers"]["x-amz-content-sha256"].clone()).collect();
    assert_eq!(hashes.iter().filter(|hash| **hash == "UNSIGNED-PAYLOAD").count(), 1, "{hashes:?}");
}
