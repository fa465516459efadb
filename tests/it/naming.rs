//! What answers name: redirects lead back through Sidekey, cookies come back to the service that set them.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::lab::Lab;
use crate::lab::bed;
use crate::lab::client::Request;
use crate::lab::fault::{Fault, Received, Reply};
use crate::lab::sidekey::Sidekey;

/// A service that redirects from `/v1/from` to where it is told to by the field `X-To`, and tells of all else.
async fn redirecting() -> Fault {
    Fault::plain(|request| match request.field("x-to").filter(|_| request.target().starts_with("/v1/from")) {
        Some(to) => Reply::new(302, &[("Location", &to), ("Content-Location", &to)], ""),
        None => Reply::ok(&format!("at {}", request.target())),
    })
    .await
}

async fn payments(lab: &Lab, service: &Fault) -> Sidekey {
    lab.sidekey(&format!("services: {{ payments: {{ url: '{}/v1' }} }}", service.url())).await
}

#[tokio::test]
async fn a_redirect_takes_the_form_of_the_requests_route() {
    let (lab, service) = (Lab::start().await, redirecting().await);
    let sidekey = payments(&lab, &service).await;
    let authority = format!("127.0.0.1:{}", service.port);
    let told = async |target: &str, host: &str, to: &str| {
        let answer = sidekey.send(Request::get(target).host(host).field("X-To", to)).await;
        assert_eq!((answer.status_of_service(), answer.field("content-location")), (302, answer.field("location")));
        answer.field("location").unwrap()
    };

    let whole = format!("HTTP://{authority}/v1/orders/7?a=/v1#b");
    assert_eq!(told("/payments/from", "localhost", &whole).await, "/payments/orders/7?a=/v1#b");
    assert_eq!(told("/from", "payments.localhost", &whole).await, "/orders/7?a=/v1#b");
    let proxied = format!("http://{authority}/v1/orders/7?a=/v1#b");
    assert_eq!(told(&format!("http://{authority}/v1/from"), &authority, &whole).await, proxied);
    assert_eq!(told("/payments/from", "localhost", "/v1").await, "/payments");
    for stays in ["/login", "orders/7", "//elsewhere.example/v1/x", "https://elsewhere.example/v1", "/v1/../admin"] {
        assert_eq!(told("/payments/from", "localhost", stays).await, stays);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_and_requests_follow_a_redirect_through_sidekey() {
    let (lab, service) = (Lab::start().await, redirecting().await);
    let sidekey = payments(&lab, &service).await;
    let port = sidekey.address.rsplit(':').next().unwrap();
    let [whole, path] = [format!("{}/v1/end?x=1", service.url()), "/v1/end?x=1".to_owned()];
    let origin = service.url();

    for to in [&whole, &path] {
        let curl = |arguments: &str| lab.curl(&format!("--location --ipv4 --header X-To:{to} {arguments}"));
        assert_eq!(curl(&format!("http://{}/payments/from", sidekey.address)), "at /v1/end?x=1");
        assert_eq!(curl(&format!("http://payments.localhost:{port}/from")), "at /v1/end?x=1");
        assert_eq!(curl(&format!("--proxy http://{} {origin}/v1/from", sidekey.address)), "at /v1/end?x=1");

        let script = format!(
            "import requests\n\
             for url, proxy in [('http://{0}/payments/from', None), ('{origin}/v1/from', 'http://{0}')]:\n    \
             answer = requests.get(url, headers={{'X-To': '{to}'}}, proxies={{'http': proxy}}, timeout=20)\n    \
             print(answer.text, len(answer.history))",
            sidekey.address
        );
        assert_eq!(python(&script), "at /v1/end?x=1 1\nat /v1/end?x=1 1\n");
    }
}

#[tokio::test]
async fn a_service_that_goes_by_host_header_may_name_itself_so() {
    let (lab, service) = (Lab::start().await, redirecting().await);
    let url = service.url();
    let sidekey =
        lab.sidekey(&format!("services: {{ payments: {{ url: '{url}/v1', host_header: shop.example }} }}")).await;
    let to = async |to: &str| {
        let answer = sidekey.send(Request::get("/payments/from").field("X-To", to)).await;
        answer.field("location").unwrap()
    };

    assert_eq!(to("http://shop.example/v1/x").await, "/payments/x");
    assert_eq!(to(&format!("{url}/v1/x")).await, "/payments/x");
    assert_eq!(to("http://shop.example:81/v1/x").await, "http://shop.example:81/v1/x");
}

#[tokio::test]
async fn the_targets_of_links_lead_back_through_sidekey() {
    let lab = Lab::start().await;
    let service =
        Fault::plain(|_| Reply::new(200, &[("Link", "</v1/x?page=2>; rel=next"), ("Link", "</v2>")], "")).await;
    let sidekey = payments(&lab, &service).await;

    let answer = sidekey.get("/payments/x").await;

    assert_eq!(answer.fields("link"), ["</payments/x?page=2>; rel=next", "</v2>"]);
}

/// A service that sets its cookies on `/v1/login`, and says which come back.
async fn with_cookies(name: &'static str) -> Fault {
    Fault::plain(move |request| {
        if !request.target().starts_with("/v1/login") {
            return Reply::ok(&cookies(request));
        }
        let set = [
            ("Set-Cookie", format!("session={name}; Path=/; Secure; HttpOnly; SameSite=Lax")),
            ("Set-Cookie", format!("deep={name}; path=/v1/deep; SECURE")),
            ("Set-Cookie", format!("plain={name}")),
            ("Set-Cookie", format!("gone={name}; Path=/v1; Max-Age=0")),
            (
                "Set-Cookie",
                format!("quoted=\"{name}\"; Expires=Fri, 01 Jan 2100 00:00:00 GMT; Path=/v1; Domain=127.0.0.1"),
            ),
        ];
        Reply::new(200, &set.each_ref().map(|(name, value)| (*name, value.as_str())), "")
    })
    .await
}

/// What came back, in order.
fn cookies(request: &Received) -> String {
    let mut cookies: Vec<_> = request.field("cookie").unwrap_or_default().split("; ").map(str::to_owned).collect();
    cookies.sort();
    cookies.join("; ")
}

async fn two_services(more: &str) -> (Lab, [Fault; 2], Sidekey) {
    let (lab, services) = (Lab::start().await, [with_cookies("one").await, with_cookies("two").await]);
    let [one, two] = services.each_ref().map(|service| format!("{{ url: '{}/v1'{more} }}", service.url()));
    let sidekey = lab.sidekey(&format!("services: {{ one: {one}, two: {two} }}")).await;
    (lab, services, sidekey)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_service_gets_its_own_cookies_from_requests_and_no_others() {
    let (_lab, [one, two], sidekey) = two_services("").await;

    let by_path = format!(
        "import requests\n\
         session = requests.Session()\n\
         for target in ['one/login', 'two/login', 'one/x', 'two/x', 'one/deep/x', '', 'one']:\n    \
         print(target, session.get('http://{}/' + target, timeout=20).text if target else '')",
        sidekey.address
    );
    let expected = |name: &str| format!("plain={name}; quoted=\"{name}\"; session={name}");
    let [first, second] = ["one", "two"].map(expected);
    assert_eq!(
        python(&by_path),
        format!(
            "one/login \ntwo/login \none/x {first}\ntwo/x {second}\none/deep/x deep=one; {first}\n \none {first}\n"
        )
    );

    // In forward-proxy form the client tells the services apart by itself, and Python's by host, but not by port.
    let [one, _] = [one.url(), two.url()];
    let as_proxy = format!(
        "import requests\n\
         session = requests.Session()\n\
         session.proxies = {{'http': 'http://{}'}}\n\
         for target in ['login', 'x', 'deep/x']:\n    \
         print(target, session.get('{one}/v1/' + target, timeout=20).text)",
        sidekey.address
    );
    let plain = "quoted=\"one\"; session=one";
    assert_eq!(python(&as_proxy), format!("login \nx plain=one; {plain}\ndeep/x deep=one; plain=one; {plain}\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_service_gets_its_own_cookies_from_tough_cookie_and_curl_and_no_others() {
    let (lab, _services, sidekey) = two_services("").await;
    let port = sidekey.address.rsplit(':').next().unwrap();
    let by_path = ["one/login", "two/login", "one/x", "two/x", "one/deep/x", "three"]
        .map(|target| format!("http://{}/{target}", sidekey.address));
    let by_host = [("one", "login"), ("two", "login"), ("one", "x"), ("two", "x"), ("one", "deep/x")]
        .map(|(name, target)| format!("http://{name}.localhost:{port}/{target}"));

    let [first, second] = ["one", "two"].map(|name| format!("plain={name}; quoted=\"{name}\"; session={name}"));
    let deep = format!("deep=one; {first}");
    assert_eq!(tough_cookie(&by_path, &sidekey.address), ["", "", &first, &second, &deep, ""]);
    assert_eq!(tough_cookie(&by_host, &sidekey.address), ["", "", &first, &second, &deep]);

    let jar = |arguments: &str| lab.curl(&format!("--ipv4 --cookie jar --cookie-jar jar {arguments}"));
    for name in ["one", "two"] {
        jar(&format!("http://{name}.localhost:{port}/login"));
        jar(&format!("http://{}/{name}/login", sidekey.address));
    }
    for (name, own) in [("one", &first), ("two", &second)] {
        assert_eq!(jar(&format!("http://{name}.localhost:{port}/x")), *own);
        assert_eq!(jar(&format!("http://{}/{name}/x", sidekey.address)), *own);
    }
}

#[tokio::test]
async fn cookies_that_are_kept_come_as_the_service_sets_them() {
    let (_lab, _services, sidekey) = two_services(", cookies: keep").await;

    let answer = sidekey.get("/one/login").await;

    assert_eq!(
        answer.fields("set-cookie")[..2],
        ["session=one; Path=/; Secure; HttpOnly; SameSite=Lax", "deep=one; path=/v1/deep; SECURE"]
    );
}

#[tokio::test]
async fn who_called_the_app_and_who_carries_it_is_told_as_the_config_says() {
    let (lab, service) = (Lab::start().await, Fault::plain(|_| Reply::ok("welcome")).await);
    let url = service.url();
    let sidekey = lab
        .sidekey(&format!(
            "services: {{ payments: {{ url: '{url}' }}, open: {{ url: '{url}/open', forwarded: keep, via: false }} }}"
        ))
        .await;
    let sent = |target: &str| Request::get(target).field("X-Forwarded-For", "192.0.2.1").field("Forwarded", "for=_x");

    sidekey.send(sent("/payments/x")).await;
    sidekey.send(sent("/open/x").field("Via", "1.1 edge")).await;
    let proxied = sidekey.send(sent(&format!("{url}/open/x"))).await;

    let [closed, open, _] = service.received().try_into().unwrap();
    let said = |request: &Received| ["x-forwarded-for", "forwarded"].map(|name| request.field(name));
    assert_eq!(said(&closed), [None, None]);
    assert!(closed.field("via").unwrap().starts_with("1.1 sidekey-"));
    assert_eq!(said(&open), [Some("192.0.2.1".to_owned()), Some("for=_x".to_owned())]);
    assert_eq!((open.field("via").as_deref(), proxied.field("via")), (Some("1.1 edge"), None));
}

fn python(script: &str) -> String {
    let mut python = bed::python();
    for variable in ["http_proxy", "no_proxy", "NO_PROXY"] {
        python.env_remove(variable);
    }
    let output = python.args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What tough-cookie sent with each of these, one after the other.
fn tough_cookie(urls: &[String], address: &str) -> Vec<String> {
    let asks: Vec<Value> = urls.iter().map(|url| json!({ "url": url, "address": address })).collect();
    let mut node = bed::node();
    let mut node = node.arg("tests/client/cookies.js").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    node.stdin.take().unwrap().write_all(json!({ "asks": asks }).to_string().as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success());
    let sent: Vec<String> = serde_json::from_slice(&output.stdout).unwrap();
    let in_order = |cookies: &String| {
        let mut cookies: Vec<_> = cookies.split("; ").collect();
        cookies.sort_unstable();
        cookies.join("; ")
    };
    sent.iter().map(in_order).collect()
}
