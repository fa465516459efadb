//! Header fields: what is dropped, what is ours, and what passes untouched.

use crate::lab::client::Request;
use crate::lab::fault::{Fault, Received, Reply};
use crate::lab::opinion;
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, until};

/// Sidekey in front of a recording service with these settings.
async fn with(settings: &str) -> Scene {
    answering(settings, |_| Reply::ok("welcome")).await
}

async fn answering(settings: &str, answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Scene {
    let lab = Lab::start().await;
    let service = Fault::plain(answer).await;
    let sidekey = lab.sidekey(&format!("services: {{ payments: {{ url: '{}', {settings} }} }}", service.url())).await;
    Scene { _lab: lab, service, sidekey }
}

struct Scene {
    _lab: Lab,
    service: Fault,
    sidekey: Sidekey,
}

impl Scene {
    /// Sends a request and returns what the service got.
    async fn sent(&self, request: Request) -> Received {
        let answer = self.sidekey.send(request).await;
        assert_eq!(answer.status_of_service(), 200, "{answer:?}");
        self.service.received().pop().unwrap()
    }
}

fn get() -> Request {
    Request::get("/payments/x")
}

#[tokio::test]
async fn hop_by_hop_fields_and_those_that_connection_names_are_dropped() {
    let scene = with("").await;

    let received = scene
        .sent(
            get()
                .field("Connection", "keep-alive, X-Secret-Hop")
                .field("connection", "x-other-hop")
                .field("X-Secret-Hop", "1")
                .field("X-Other-Hop", "1")
                .field("Keep-Alive", "timeout=5")
                .field("Proxy-Connection", "keep-alive")
                .field("Proxy-Authorization", "Basic abc")
                .field("TE", "gzip")
                .field("Upgrade", "h2c")
                .field("X-End-To-End", "kept"),
        )
        .await;

    for dropped in
        ["x-secret-hop", "x-other-hop", "keep-alive", "proxy-connection", "proxy-authorization", "te", "upgrade"]
    {
        assert_eq!(received.fields(dropped), Vec::<String>::new(), "{dropped} in {}", received.head);
    }
    assert_eq!(received.field("x-end-to-end").as_deref(), Some("kept"));
}

#[tokio::test]
async fn ordinary_fields_pass_byte_for_byte_and_in_order() {
    let scene = with("").await;

    let received = scene
        .sent(
            get()
                .field("Accept", "a/b;q=0.5,  c/d")
                .field("X-Twice", "one")
                .field("X-Twice", "two")
                .field("Cookie", "a=1; b=\"2\"")
                .field("X-Latin", "\u{e9}")
                .field("X-Empty", "")
                .field("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
                .field("tracestate", "a=1,b=2"),
        )
        .await;

    assert_eq!(received.fields("x-twice"), ["one", "two"]);
    for (name, value) in
        [("accept", "a/b;q=0.5,  c/d"), ("cookie", "a=1; b=\"2\""), ("x-latin", "\u{e9}"), ("x-empty", "")]
    {
        assert_eq!(received.field(name).as_deref(), Some(value));
    }
    assert_eq!(
        received.field("traceparent").as_deref(),
        Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    );
    assert_eq!(received.field("tracestate").as_deref(), Some("a=1,b=2"));
}

#[tokio::test]
async fn the_hosts_field_is_the_services_own() {
    let scene = with("").await;

    let received = scene.sent(get().host("payments.localhost")).await;

    assert_eq!(received.field("host"), Some(format!("127.0.0.1:{}", scene.service.port)));
}

#[tokio::test]
async fn the_apps_own_credential_is_replaced_however_it_is_spelt() {
    let scene = with("auth: { type: api_key, key: ours, header: X-Api-Key, prefix: 'Key ' }").await;

    let received =
        scene.sent(get().field("X-API-KEY", "mine").field("x_api_key", "mine").field("X-Api_Key", "mine")).await;

    assert_eq!(received.fields("x-api-key"), ["Key ours"]);
    assert!(!received.head.contains("mine"), "{}", received.head);
}

#[tokio::test]
async fn exactly_one_authorization_goes_out_whatever_the_app_sent() {
    let scene = with("auth: { type: bearer, token: ours }").await;

    let none = scene.sent(get()).await;
    let two = scene.sent(get().field("Authorization", "Bearer mine").field("authorization", "Basic mine")).await;
    let named = scene.sent(get().field("Connection", "authorization").field("Authorization", "mine")).await;

    for received in [none, two, named] {
        assert_eq!(received.fields("authorization"), ["Bearer ours"]);
    }
}

#[tokio::test]
async fn the_apps_own_credential_can_be_kept() {
    let scene = with("auth: { type: bearer, token: ours }, on_client_authorization: keep").await;

    let kept = scene.sent(get().field("Authorization", "Bearer mine")).await;
    let ours = scene.sent(get()).await;

    assert_eq!(kept.fields("authorization"), ["Bearer mine"]);
    assert_eq!(ours.fields("authorization"), ["Bearer ours"]);
}

#[tokio::test]
async fn the_apps_own_credential_can_be_refused() {
    let scene = with("auth: { type: bearer, token: ours }, on_client_authorization: reject").await;

    scene.sidekey.send(get().field("Authorization", "Bearer mine")).await.problem("bad_request");
    // A field that is named in `Connection` counts as sent.
    let hidden = get().field("Connection", "Authorization").field("Authorization", "mine");
    scene.sidekey.send(hidden).await.problem("bad_request");

    assert_eq!(scene.service.count(), 0);
    assert_eq!(scene.sent(get()).await.fields("authorization"), ["Bearer ours"]);
}

#[tokio::test]
async fn basic_and_several_headers_are_sent_as_named() {
    let basic = with("auth: { type: basic, username: me, password: { env: FROM_ENVIRONMENT } }").await;
    let several =
        with("auth: [ { type: headers, set: { x-one: '1', x-two: '2' } }, { type: bearer, token: abc } ]").await;

    // base64 of `me:env-secret`
    assert_eq!(basic.sent(get()).await.fields("authorization"), ["Basic bWU6ZW52LXNlY3JldA=="]);
    let received = several.sent(get().field("x-one", "mine")).await;
    let values = ["x-one", "x-two", "authorization"].map(|name| received.fields(name).concat());
    assert_eq!(values, ["1", "2", "Bearer abc"]);
}

#[tokio::test]
async fn a_query_credential_replaces_its_parameter_and_leaves_the_rest_byte_for_byte() {
    let scene = with("auth: { type: api_key, key: 'our s&', query: api_key }").await;
    let target = async |query: &str| scene.sent(Request::get(&format!("/payments/x{query}"))).await.target().to_owned();

    assert_eq!(target("").await, "/x?api_key=our%20s%26");
    assert_eq!(target("?a=1&api_key=mine&b=%7e&&c").await, "/x?a=1&b=%7e&&c&api_key=our%20s%26");
    assert_eq!(target("?api%5Fkey=mine&%61pi_key=mine&api_keys=1").await, "/x?api_keys=1&api_key=our%20s%26");
}

#[tokio::test]
async fn whoever_reads_the_query_finds_our_parameter_and_no_other_under_its_name() {
    let scene = with("auth: { type: api_key, key: ours, query: api_key }").await;
    let spelt = [
        "api_key=mine",
        "api%5Fkey=mine",
        "api%5fkey",
        "API_KEY=mine",
        "Api_Key=mine",
        "api.key=mine",
        "api+key=mine",
        "api%20key=mine",
        "api[key=mine",
        "api_key[]=mine",
        "api_key[0]=mine",
        "api_key%5B%5D=mine",
        "api%255Fkey=mine",
        "%2561pi_key=mine",
        "api%u005Fkey=mine",
        "+api_key=mine",
        "%20api_key=mine",
        "api_key%20=mine",
        "api_key%00=mine",
        "api_key%00x=mine",
        "?api_key=mine",
        "%0Aapi_key=mine",
    ];
    let mut sent = Vec::new();
    for one in spelt {
        for query in [one.to_owned(), format!("a=1;{one}"), format!("a=1;{one};b=2&c=3"), format!("{one}&a=1;b")] {
            let received = scene.sent(Request::get(&format!("/payments/x?{query}"))).await;
            sent.push(received.target().split_once('?').unwrap().1.to_owned());
        }
    }

    let read = opinion::queries(&sent, "api_key");

    for (query, readers) in sent.iter().zip(&read) {
        assert!(readers.len() > 10, "{readers:?}");
        for (reader, found) in readers {
            // To who parts by semicolons alone, ours is the end of the app's last value; but none of the app's is there.
            let is_missed = found.is_empty() && reader.ends_with("by semicolons") && query.contains('&');
            assert!(is_missed || found == &["ours"], "{reader} finds {found:?} in {query}");
        }
    }
}

#[tokio::test]
async fn a_cookie_credential_replaces_one_pair_and_leaves_the_others() {
    let scene = with("auth: { type: api_key, key: ours, cookie: session }").await;

    let alone = scene.sent(get()).await;
    let among = scene.sent(get().field("Cookie", "a=1; session=mine; b=2; sessions=3")).await;

    assert_eq!(alone.fields("cookie"), ["session=ours"]);
    let mut cookies: Vec<_> = among.fields("cookie").join("; ").split("; ").map(str::to_owned).collect();
    cookies.sort_unstable();
    assert_eq!(cookies, ["a=1", "b=2", "session=ours", "sessions=3"]);
}

#[tokio::test]
async fn request_fields_can_be_set_and_removed() {
    let scene = with("headers: { set: { x-tenant: acme, user-agent: sidekey }, remove: [x-debug] }").await;

    let received = scene.sent(get().field("X-Tenant", "mine").field("User-Agent", "curl").field("X-Debug", "1")).await;

    let values = ["x-tenant", "user-agent", "x-debug"].map(|name| received.fields(name).concat());
    assert_eq!(values, ["acme", "sidekey", ""]);
}

#[tokio::test]
async fn field_names_can_be_sent_in_title_case() {
    let scene = with("headers: { title_case: true }, auth: { type: bearer, token: abc }").await;

    let received = scene.sent(get().field("x-request-id", "1")).await;

    for name in ["\r\nX-Request-Id: ", "\r\nAuthorization: ", "\r\nHost: "] {
        assert!(received.head.contains(name), "{name:?} in {}", received.head);
    }
}

#[tokio::test]
async fn forwarded_fields_are_dropped_and_none_is_added() {
    let scene = with("").await;

    let request =
        get().field("Forwarded", "for=1.2.3.4").field("X-Forwarded-For", "1.2.3.4").field("X-Forwarded-Proto", "http");
    let received = scene.sent(request).await;

    assert!(!received.head.to_lowercase().contains("forwarded"), "{}", received.head);
}

#[tokio::test]
async fn via_goes_on_requests_and_on_answers_in_forward_proxy_form_only() {
    let scene = with("").await;

    let plain = scene.sidekey.send(get()).await;
    let proxied = scene.sidekey.get(&format!("{}/x", scene.service.url())).await;

    let received = scene.service.received();
    let via = received[0].field("via").unwrap();
    let name = via.strip_prefix("1.1 sidekey-").unwrap_or_else(|| panic!("{via}"));
    assert!(name.len() == 8 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{via}");
    assert_eq!(received[1].field("via").as_deref(), Some(&*via));
    assert_eq!((plain.field("via"), proxied.field("via").as_deref()), (None, Some(&*via)));
}

#[tokio::test]
async fn our_own_via_seen_again_is_a_loop_and_others_are_none() {
    let scene = with("").await;
    let via = scene.sent(get()).await.field("via").unwrap();

    scene.sidekey.send(get().field("Via", &via)).await.problem("proxy_loop_detected");
    let chained = scene.sent(get().field("Via", "1.1 sidekey-00000000, 1.1 proxy.example")).await;

    assert_eq!(chained.fields("via").join(", "), format!("1.1 sidekey-00000000, 1.1 proxy.example, {via}"));
}

#[tokio::test]
async fn te_trailers_is_sent_anew() {
    let scene = with("").await;

    let received = scene.sent(get().field("TE", "trailers, gzip;q=0.5").field("Connection", "TE")).await;

    assert_eq!(received.fields("te"), ["trailers"]);
    assert!(received.fields("connection").join(",").to_lowercase().contains("te"), "{}", received.head);
}

#[tokio::test]
async fn max_forwards_is_counted_down_and_ends_at_zero() {
    let scene = with("").await;
    let options = |count: &str| Request::new("OPTIONS", "/payments/x").field("Max-Forwards", count);

    assert_eq!(scene.sent(options("5")).await.field("max-forwards").as_deref(), Some("4"));
    let last = scene.sidekey.send(options("0")).await;

    assert!(last.status < 300 && scene.service.count() == 1, "{last:?}");
}

#[tokio::test]
async fn the_answers_hop_by_hop_fields_stay_here_and_the_rest_comes_back_untouched() {
    let answer = "HTTP/1.1 200 Fine\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nSet-Cookie: a=1\r\n\
                  Set-Cookie: b=2\r\nX-Twice: 1\r\nX-Twice: 2\r\nServer: old\r\nContent-Length: 2\r\n\r\nok";
    let scene = answering("cookies: keep, response_headers: { set: { x-set: ours }, remove: [server] }", move |_| {
        Reply::raw(answer)
    })
    .await;

    let answer = scene.sidekey.send(get()).await;

    assert_eq!((answer.status_of_service(), answer.text().as_str()), (200, "ok"));
    assert_eq!(
        (answer.fields("set-cookie"), answer.fields("x-twice")),
        (vec!["a=1".into(), "b=2".into()], vec!["1".into(), "2".into()])
    );
    let values = ["x-hop", "keep-alive", "server", "x-set"].map(|name| answer.fields(name).concat());
    assert_eq!(values, ["", "", "", "ours"]);
    assert!(answer.field("date").is_some(), "an answer without a Date gets one");
}

#[tokio::test]
async fn secrets_come_from_files_and_follow_them() {
    let lab = Lab::start().await;
    lab.write("secret", "first\n");
    let config = "services: { payments: { url: $SERVICE, certificate: partner, auth: { type: bearer, token: { file: secret } } } }";
    let sidekey = lab.sidekey(config).await;
    assert_eq!(sidekey.get("/payments/x").await.at_service().authorization, "Bearer first");

    lab.write("secret", "second\n");

    until("the second secret", async || {
        let seen = sidekey.get("/payments/x").await.at_service();
        (seen.authorization == "Bearer second").then_some(())
    })
    .await;
}
