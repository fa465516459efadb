//! No spelling, trailer or list hides from us what a service would read, and none lets a service speak as us.

use crate::lab::Lab;
use crate::lab::client::{Answer, Request};
use crate::lab::fault::{Fault, Received, Reply};
use crate::lab::sidekey::Sidekey;

/// Sidekey in front of a recording service with these settings.
struct Scene {
    _lab: Lab,
    service: Fault,
    sidekey: Sidekey,
}

impl Scene {
    async fn with(settings: &str) -> Self {
        Self::answering(settings, |_| Reply::ok("welcome")).await
    }

    async fn answering(settings: &str, answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let lab = Lab::start().await;
        let service = Fault::plain(answer).await;
        let sidekey =
            lab.sidekey(&format!("services: {{ payments: {{ url: '{}', {settings} }} }}", service.url())).await;
        Self { _lab: lab, service, sidekey }
    }

    /// Sends a request and returns what the service got.
    async fn sent(&self, request: Request) -> Received {
        let answer = self.sidekey.send(request).await;
        assert_eq!(answer.status_of_service(), 200, "{answer:?}");
        self.service.received().pop().unwrap()
    }

    /// Sends a request that gets no further than Sidekey, and returns why.
    async fn refused(&self, request: Request, code: &str) -> String {
        let before = self.service.count();
        let answer = self.sidekey.send(request).await;
        assert_eq!(self.service.count(), before, "it was sent");
        answer.problem(code)
    }
}

fn get() -> Request {
    Request::get("/payments/x")
}

const KEY: &str = "auth: { type: api_key, key: secret-key, header: X-Api-Key }";

#[tokio::test]
async fn a_credentials_field_passes_under_no_spelling() {
    let scene = Scene::with(KEY).await;

    let spelt = ["X.Api.Key", "x_api_key", "X-Api.Key", "X!Api~Key", "X-API-KEY"];
    let request = spelt.iter().fold(get().field("X-Api-Keys", "kept"), |request, name| request.field(name, "theirs"));
    let received = scene.sent(request).await;

    assert!(!received.head.contains("theirs"), "{}", received.head);
    assert_eq!(received.fields("x-api-key"), ["secret-key"]);
    assert_eq!(received.fields("x-api-keys"), ["kept"]);
}

#[tokio::test]
async fn framing_passes_under_no_spelling() {
    let scene = Scene::with("").await;

    let spelt = ["Content_Length", "Transfer.Encoding", "Transfer_Encoding", "Keep_Alive", "Proxy_Connection"];
    let request = spelt.iter().fold(get().field("X_Other", "kept"), |request, name| request.field(name, "7"));
    let received = scene.sent(request).await;

    assert!(!received.head.contains(": 7"), "{}", received.head);
    assert_eq!(received.fields("x_other"), ["kept"]);
}

#[tokio::test]
async fn trailers_do_not_say_what_the_config_speaks_of() {
    let identities =
        "identities: { sets: [{ token: one-one-one }, { token: two-two-two }], pick: header, header: X-Id }";
    let headers = "headers: { set: { X-Caller: us }, remove: [X-Debug] }, allow: { methods: [POST], paths: [/**] }";
    let scene = Scene::with(&format!("{headers}, auth: {{ type: bearer }}, {identities}")).await;
    let mut request = Vec::from(["x-sum: 1", "X-Caller: them", "X_Debug: 1", "X-Id: 1"]);
    request.extend(["Forwarded: for=a", "X-Forwarded-For: a", "Authorization: b", "Proxy-Authorization: c"]);
    request.extend(["X-HTTP-Method-Override: DELETE", "X-Original-URL: /admin"]);

    let head = "POST /payments/x HTTP/1.1\r\nHost: localhost\r\nX-Id: 0\r\nTransfer-Encoding: chunked\r\n";
    let names: Vec<_> = request.iter().filter_map(|line| line.split(':').next()).collect();
    let lines = request.join("\r\n");
    let text = format!("{head}Trailer: {}\r\n\r\n2\r\nhi\r\n0\r\n{lines}\r\n\r\n", names.join(", "));
    let mut connection = scene.sidekey.raw(text).await;
    assert_eq!(connection.answer().await.status_of_service(), 200);

    let received = scene.service.received().pop().unwrap();
    assert_eq!(received.fields("trailer"), ["x-sum"]);
    assert!(received.text().to_lowercase().ends_with("0\r\nx-sum: 1\r\n\r\n"), "{}", received.text());
}

#[tokio::test]
async fn an_answers_trailers_do_not_say_what_response_headers_speak_of() {
    let settings = "response_headers: { set: { X-By: us }, remove: [X-Debug] }";
    let scene = Scene::answering(settings, |_| {
        Reply::raw(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-By, X_Debug, Proxy-Status\r\n\r\n\
             2\r\nhi\r\n0\r\nX-Sum: 1\r\nX-By: them\r\nX_Debug: 1\r\nProxy-Status: sidekey; error=x, cdn; error=y\r\n\r\n",
        )
    })
    .await;

    let answer = scene.sidekey.send(get().field("TE", "trailers").field("Connection", "TE")).await;

    let mut trailers: Vec<_> = answer.trailers.lines().map(str::to_lowercase).collect();
    trailers.sort();
    assert_eq!(trailers, ["proxy-status: cdn; error=y", "x-sum: 1"], "{answer:?}");
}

#[tokio::test]
async fn what_is_allowed_is_not_renamed_behind_the_check() {
    let methods = ["X-HTTP-Method", "X-HTTP-Method-Override", "X-Method-Override", "x_http_method.override"];
    let urls = ["X-Original-URL", "X-Rewrite-URL", "X_Original_URL"];
    let all = |request| methods.iter().chain(&urls).fold(request, |request: Request, name| request.field(name, "sent"));
    for (allow, passing) in [("", 7), ("allow: { methods: [GET] }", 3), ("allow: { paths: [/**] }", 4)] {
        let scene = Scene::with(allow).await;

        let received = scene.sent(all(get())).await;

        assert_eq!(received.head.matches(": sent").count(), passing, "{allow}: {}", received.head);
    }
}

#[tokio::test]
async fn a_cookie_beside_ours_is_replaced_also_behind_a_comma() {
    let scene = Scene::with("auth: { type: api_key, key: secret-key, cookie: sid }").await;

    for (sent, expected) in [
        ("a=1, sid=theirs; b=2", "a=1; b=2; sid=secret-key"),
        ("sid=theirs,a=1", "a=1; sid=secret-key"),
        ("a=1,sid=theirs , sid = more;b=2,3", "a=1;b=2,3; sid=secret-key"),
        ("a=1,2; b=3", "a=1,2; b=3; sid=secret-key"),
    ] {
        let received = scene.sent(get().field("Cookie", sent)).await;

        assert_eq!(received.fields("cookie"), [expected], "{sent}");
    }
}

#[tokio::test]
async fn what_is_to_be_kept_must_be_there_to_stay() {
    let scene = Scene::with(&format!("on_client_authorization: keep, {KEY}")).await;

    let kept = scene.sent(get().field("X-Api-Key", "theirs")).await;
    let empty = scene.refused(get().field("X-Api-Key", ""), "bad_request").await;
    let nominated = get().field("X-Api-Key", "theirs").field("Connection", "X-Api-Key");
    let nominated = scene.refused(nominated, "bad_request").await;

    assert_eq!(kept.fields("x-api-key"), ["theirs"]);
    assert!(empty.starts_with("`x-api-key` is empty, and `on_client_authorization: keep` is set"), "{empty}");
    assert!(nominated.starts_with("`x-api-key` is named in `Connection`"), "{nominated}");
}

#[tokio::test]
async fn what_is_rejected_counts_when_connection_names_it() {
    let scene = Scene::with(&format!("on_client_authorization: reject, {KEY}")).await;

    let detail = scene.refused(get().field("Connection", "close, X.Api.Key"), "bad_request").await;

    assert!(detail.contains("on_client_authorization: reject"), "{detail}");
}

#[tokio::test]
async fn a_route_goes_by_a_field_however_it_is_spelt() {
    let lab = Lab::start().await;
    let (blue, red) = (Fault::plain(|_| Reply::ok("blue")).await, Fault::plain(|_| Reply::ok("red")).await);
    let services = format!("services: {{ blue: {{ url: '{}' }}, red: {{ url: '{}' }} }}", blue.url(), red.url());
    let routes = "routes: [{ path: /t, service: red }, { path: /t, headers: { X-Tenant: blue }, service: blue }]";
    let sidekey = lab.sidekey(&format!("{services}\n{routes}")).await;
    let answer = async |fields: &[(&str, &str)]| -> Answer {
        let request = fields.iter().fold(Request::get("/t/x"), |request, (name, value)| request.field(name, value));
        sidekey.send(request).await
    };

    assert_eq!(answer(&[("X-Tenant", "blue")]).await.text(), "blue");
    assert_eq!(answer(&[("X_Tenant", "blue")]).await.text(), "blue");
    assert_eq!(answer(&[("X.Tenant", "red")]).await.text(), "red");
    // The service could read either of them.
    assert_eq!(answer(&[("X-Tenant", "blue"), ("X_Tenant", "red")]).await.text(), "red");
}

#[tokio::test]
async fn a_service_does_not_speak_as_sidekey() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nProxy-Status: cdn; details=\"a, sidekey; b\" ,sidekey; error=dns_error\r\n\
        Proxy-Status: \"sidekey\"; error=x\r\nProxy-Status:  other;received-status=503 ,  more\r\n\
        Server-Timing: db;dur=53, sidekey;dur=1, sidekey-cdn;desc=\"x\"\r\n\r\nhi";
    let scene = Scene::answering("", move |_| Reply::raw(answer)).await;

    let answer = scene.sidekey.send(get()).await;

    assert_eq!(answer.fields("proxy-status"), ["cdn; details=\"a, sidekey; b\"", "other;received-status=503 ,  more"]);
    assert_eq!(answer.fields("server-timing"), ["db;dur=53, sidekey-cdn;desc=\"x\""]);
}
