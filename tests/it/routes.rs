//! Which service a request is for, and what is sent for what was asked.

use crate::lab::client::Request;
use crate::lab::{Lab, sidekey::Sidekey};

const PAYMENTS: &str = "services: { payments: { url: $SERVICE/v1, certificate: partner } }";

/// What the service was asked for, when the app asked for `target`.
async fn sent(sidekey: &Sidekey, target: &str) -> String {
    sidekey.get(target).await.at_service().target
}

#[tokio::test]
async fn a_path_route_strips_the_services_name_on_a_segment_boundary() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(PAYMENTS).await;

    assert_eq!(sent(&sidekey, "/payments/orders?x=1").await, "/v1/orders?x=1");
    assert_eq!(sent(&sidekey, "/payments").await, "/v1");
    assert_eq!(sent(&sidekey, "/payments?x=1").await, "/v1?x=1");
    assert_eq!(sent(&sidekey, "/payments/").await, "/v1/");
    sidekey.get("/paymentsX").await.problem("no_route");
    sidekey.get("/").await.problem("no_route");
    sidekey.get("/Payments/orders").await.problem("no_route");
}

#[tokio::test]
async fn without_a_base_path_the_bare_name_is_the_root() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey("services: { payments: { url: $SERVICE, certificate: partner } }").await;

    assert_eq!(sent(&sidekey, "/payments").await, "/");
    assert_eq!(sent(&sidekey, "/payments?x=1").await, "/?x=1");
    assert_eq!(sent(&sidekey, "/payments/orders").await, "/orders");
}

#[tokio::test]
async fn a_host_route_strips_nothing() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(PAYMENTS).await;
    let ask = async |host: &str, target: &str| sidekey.send(Request::get(target).host(host)).await;

    assert_eq!(ask("payments.localhost:9800", "/orders?x=1").await.at_service().target, "/v1/orders?x=1");
    assert_eq!(ask("PAYMENTS.localhost.", "/payments/orders").await.at_service().target, "/v1/payments/orders");
    ask("refunds.localhost", "/orders").await.problem("no_route");
}

#[tokio::test]
async fn a_forward_proxy_request_is_upgraded_to_https_and_keeps_its_path() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(PAYMENTS).await;
    let ask = async |target: &str| sidekey.get(&lab.fill_in(target)).await;

    let seen = ask("http://$AUTHORITY/v1/orders?x=1").await.at_service();

    assert_eq!((seen.target.as_str(), seen.subject.as_str()), ("/v1/orders?x=1", "CN=partner"));
    assert_eq!(seen.field("host"), Some(lab.fill_in("$AUTHORITY")));
    assert_eq!(ask("HTTP://LOCALHOST.:$PORT/v1").await.at_service().target, "/v1");
    assert_eq!(ask("https://$AUTHORITY/v1/orders").await.at_service().target, "/v1/orders");
    ask("http://unknown.example/v1/orders").await.problem("no_route");
}

#[tokio::test]
async fn a_forward_proxy_request_outside_the_base_path_is_no_match() {
    let lab = Lab::start().await;
    let config = "services: { payments: { url: 'https://127.0.0.7/v1', certificate: partner } }";
    let sidekey = lab.sidekey(config).await;

    sidekey.get("http://127.0.0.7/v2/orders").await.problem("no_route");
    sidekey.get("http://127.0.0.7/v1x").await.problem("no_route");
}

#[tokio::test]
async fn no_port_is_the_default_port_of_either_scheme() {
    let lab = Lab::start().await;
    let config = "services: { payments: { url: 'https://127.0.0.7/v1', certificate: partner } }";
    let sidekey = lab.sidekey(config).await;

    // Nobody listens there: a request that found its service fails as it connects.
    for authority in ["127.0.0.7", "127.0.0.7:80", "127.0.0.7:443"] {
        let answer = sidekey.get(&format!("http://{authority}/v1")).await;
        answer.problem("connection_refused");
        assert_eq!(answer.json()["service"], "payments");
    }
}

#[tokio::test]
async fn an_absolute_form_under_a_local_name_is_read_like_the_plain_path() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(PAYMENTS).await;

    let target = format!("http://{}/payments/orders", sidekey.address);

    assert_eq!(sent(&sidekey, &target).await, "/v1/orders");
}

#[tokio::test]
async fn among_services_of_one_authority_the_longest_base_path_wins() {
    let lab = Lab::start().await;
    let sidekey = lab
        .sidekey(
            "
services:
  all: { url: $SERVICE/v1, certificate: partner }
  some: { url: $SERVICE/v1/some, certificate: other }
",
        )
        .await;
    let subject = async |target: &str| sidekey.get(&lab.fill_in(target)).await.at_service().subject;

    assert_eq!(subject("http://$AUTHORITY/v1/some/thing").await, "CN=other");
    assert_eq!(subject("http://$AUTHORITY/v1/something").await, "CN=partner");
}

const TWINS: &str = "
services:
  one: { url: $SERVICE/v1, certificate: partner }
  two: { url: $SERVICE/v1, certificate: other }
";

#[tokio::test]
async fn services_that_share_authority_and_base_path_have_no_forward_proxy_route() {
    let lab = Lab::start().await;
    // Under a local name the absolute form would be read like the plain path, and match nothing either.
    let sidekey = lab.sidekey(TWINS).await;

    sidekey.get(&lab.fill_in("http://$AUTHORITY/v1/orders")).await.problem("no_route");
    assert_eq!(sidekey.get("/two/orders").await.at_service().subject, "CN=other");
}

#[tokio::test]
async fn an_explicit_host_route_decides_between_services_of_one_authority() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(&format!("{TWINS}\nroutes: [ {{ host: localhost, path: /v1, service: two }} ]")).await;

    let seen = sidekey.get(&lab.fill_in("http://$AUTHORITY/v1/orders")).await.at_service();

    assert_eq!((seen.subject.as_str(), seen.target.as_str()), ("CN=other", "/v1/orders"));
}

#[tokio::test]
async fn an_explicit_route_leads_to_its_service_by_prefix() {
    let lab = Lab::start().await;
    let routes = "routes: [ { path: /pay, service: payments }, { path: /raw, service: payments, strip_path: false } ]";
    let sidekey = lab.sidekey(&format!("{PAYMENTS}\n{routes}")).await;

    assert_eq!(sent(&sidekey, "/pay/orders?x=1").await, "/v1/orders?x=1");
    assert_eq!(sent(&sidekey, "/raw/orders").await, "/v1/raw/orders");
    sidekey.get("/payx").await.problem("no_route");
}

#[tokio::test]
async fn default_routes_can_be_closed() {
    let lab = Lab::start().await;
    let sidekey = lab
        .sidekey(
            "
services: { payments: { url: $SERVICE/v1, certificate: partner, default_routes: false } }
routes: [ { path: /pay, service: payments } ]
",
        )
        .await;

    sidekey.get("/payments/orders").await.problem("no_route");
    sidekey.send(Request::get("/orders").host("payments.localhost")).await.problem("no_route");
    sidekey.get(&lab.fill_in("http://$AUTHORITY/v1/orders")).await.problem("no_route");
    assert_eq!(sent(&sidekey, "/pay/orders").await, "/v1/orders");
}

#[tokio::test]
async fn host_then_path_then_methods_then_fields_decide_whatever_the_order() {
    let lab = Lab::start().await;
    let sidekey = lab
        .sidekey(
            "
services:
  by-default: { url: $SERVICE/default, certificate: partner }
  by-path: { url: $SERVICE/path, certificate: partner }
  by-longer-path: { url: $SERVICE/longer, certificate: partner }
  by-method: { url: $SERVICE/method, certificate: partner }
  by-field: { url: $SERVICE/field, certificate: partner }
  by-suffix: { url: $SERVICE/suffix, certificate: partner }
  by-longer-suffix: { url: $SERVICE/longer-suffix, certificate: partner }
  by-host: { url: $SERVICE/host, certificate: partner }
routes:
  - { path: /a, service: by-path }
  - { path: /a/b, service: by-longer-path }
  - { path: /a, methods: [PUT], service: by-method }
  - { path: /a, methods: [PUT], headers: { x-tenant: acme }, service: by-field }
  - { host: '*.example', path: /a, service: by-suffix }
  - { host: '*.shop.example', path: /a, service: by-longer-suffix }
  - { host: eu.shop.example, path: /a, service: by-host }
  - { path: /by-default, service: by-path }
",
        )
        .await;
    let ask = async |request: Request| sidekey.send(request).await.at_service().target;

    assert_eq!(ask(Request::get("/a/x")).await, "/path/x");
    assert_eq!(ask(Request::get("/a/b/x")).await, "/longer/x");
    assert_eq!(ask(Request::new("PUT", "/a/x")).await, "/method/x");
    assert_eq!(ask(Request::new("PUT", "/a/x").field("X-Tenant", "acme")).await, "/field/x");
    assert_eq!(ask(Request::get("/a/b/x").host("any.example")).await, "/suffix/b/x");
    assert_eq!(ask(Request::get("/a/x").host("us.shop.example")).await, "/longer-suffix/x");
    assert_eq!(ask(Request::get("/a/x").host("eu.shop.example:80")).await, "/host/x");
    assert_eq!(ask(Request::get("/by-default/x")).await, "/path/x");
    assert_eq!(ask(Request::get("/by-longer-path/x")).await, "/longer/x");
}

#[tokio::test]
async fn the_target_is_forwarded_byte_for_byte() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(PAYMENTS).await;

    for rest in
        ["/a%2Fb/%7e~/c;v=1,2/d", "/a//b///", "/%E2%82%AC?q=%20+&&=&x[]='{}|^`~", "/a?http://x/../y", "/:@!$&()*,=..."]
    {
        assert_eq!(sent(&sidekey, &format!("/payments{rest}")).await, format!("/v1{rest}"));
    }
    assert_eq!(sent(&sidekey, "/payments/a#fragment").await, "/v1/a");
}

#[tokio::test]
async fn a_path_that_could_name_something_outside_the_route_is_refused() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(PAYMENTS).await;

    for path in [
        "/payments/../admin",
        "/payments/..",
        "/payments/./a",
        "/payments/%2e%2e/admin",
        "/payments/.%2E/admin",
        "/payments/..;x/admin",
        "/payments/%2e%2e;x=1/admin",
        "/payments/a%2f..%2fadmin",
        "/payments/..%2fadmin",
        "/payments/a%5c..%5cadmin",
        "/payments/..%5cadmin",
        "/payments\\..\\admin",
        "/payments/a\\b",
        "/payments/%00",
        "/payments/%",
        "/payments/%4",
        "/payments/%zz",
        "//payments/a",
        "/payments//admin",
    ] {
        let answer = sidekey.get(path).await;
        assert_eq!(answer.status, 400, "{path}: {answer:?}");
        answer.problem("bad_request");
    }
}

#[tokio::test]
async fn control_and_non_ascii_bytes_in_a_target_are_refused() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(PAYMENTS).await;

    for target in [&b"/payments/\x01"[..], b"/payments/\xc3\xa9", b"/payments/\x7f"] {
        let request = [b"GET ", target, b" HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat();
        sidekey.raw(request).await.answer().await.problem("bad_request");
    }
}

#[tokio::test]
async fn userinfo_in_an_absolute_form_is_refused() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(PAYMENTS).await;

    sidekey.get(&lab.fill_in("http://user:pass@$AUTHORITY/v1/orders")).await.problem("bad_request");
    sidekey.get(&lab.fill_in("http://$AUTHORITY@elsewhere.example/v1")).await.problem("bad_request");
}

#[tokio::test]
async fn trace_and_connect_are_not_allowed() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(PAYMENTS).await;

    let trace = sidekey.send(Request::new("TRACE", "/payments/orders")).await;
    let connect =
        sidekey.send(Request::new("CONNECT", "api.partner.example:443").host("api.partner.example:443")).await;

    trace.problem("method_not_allowed");
    assert!(trace.field("allow").is_some(), "{trace:?}");
    let detail = connect.problem("method_not_allowed");
    assert!(detail.contains("http://"), "says to use an http:// URL: {detail}");
    assert!(connect.field("allow").is_some(), "{connect:?}");
}

#[tokio::test]
async fn a_service_allows_only_the_methods_and_paths_that_it_names() {
    let lab = Lab::start().await;
    let sidekey = lab
        .sidekey(
            "
services:
  payments:
    url: $SERVICE/v1/
    certificate: partner
    allow: { methods: [GET], paths: [/v1/orders/**, /v1/*/state] }
",
        )
        .await;

    for allowed in ["/payments/orders", "/payments/orders/1/2", "/payments/anything/state"] {
        assert_eq!(sidekey.get(allowed).await.status_of_service(), 200, "{allowed}");
    }
    for refused in ["/payments/ordersX", "/payments/a/b/state", "/payments/", "/payments/refunds"] {
        sidekey.get(refused).await.problem("forbidden");
    }
    sidekey.post("/payments/orders", "x").await.problem("forbidden");
}
