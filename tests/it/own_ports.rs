//! `listen` of a service: all that arrives there goes to it.

use crate::lab::client::{Answer, Connection, Request, exchange};
use crate::lab::fault::{Fault, Reply};
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, free_port, until};

/// Two services, each of which says its name; the first has a port of its own, and what else is given.
async fn two(own: u16, more: &str) -> (Lab, [Fault; 2], Sidekey) {
    let lab = Lab::start().await;
    let answer = |name: &'static str| {
        Fault::plain(move |request| {
            let location = request.target().to_owned();
            Reply::new(200, &[("Location", &location)], &format!("{name} {}", request.target()))
        })
    };
    let services = [answer("one").await, answer("two").await];
    let config = config(&services, own, more);
    let sidekey = lab.sidekey(&config).await;
    (lab, services, sidekey)
}

fn config([one, two]: &[Fault; 2], own: u16, more: &str) -> String {
    let (one, two) = (one.url(), two.url());
    format!("{more}\nservices: {{ one: {{ url: '{one}/v1', listen: {own} }}, two: {{ url: '{two}' }} }}")
}

fn at(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

#[tokio::test]
async fn all_that_arrives_at_a_service_s_own_port_goes_to_it_with_nothing_stripped() {
    let own = free_port();
    let (_lab, [one, two], sidekey) = two(own, "routes: [{ path: /x, service: two }]").await;
    let ask = async |target: &str, host: &str| exchange(&at(own), Request::get(target).host(host)).await;
    let text = async |target: &str, host: &str| ask(target, host).await.text();

    for target in ["/x?y", "/two/x", "/one/x", "/", "/v1"] {
        let answer = ask(target, "localhost").await;
        assert_eq!(answer.text(), format!("one /v1{target}"));
        // What it names has the same form.
        assert_eq!(answer.field("location").as_deref(), Some(target));
    }
    assert_eq!(text("/x", &at(own)).await, "one /v1/x");
    assert_eq!(text(&format!("http://localhost:{own}/x"), "localhost").await, "one /v1/x");
    assert_eq!(text(&format!("{}/v1/x", one.url()), "a").await, "one /v1/x");
    ask(&format!("{}/x", two.url()), "a").await.problem("no_route");
    ask("http://strange.example/x", "strange.example").await.problem("no_route");
    ask("/x/../y", "localhost").await.problem("bad_request");
    // All others find what they found before.
    assert_eq!(sidekey.get("/x").await.text(), "two /");
    assert_eq!(sidekey.get("/one/x").await.text(), "one /v1/x");
}

#[tokio::test]
async fn a_tunnel_from_a_service_s_own_port_leads_to_that_service_alone() {
    let own = free_port();
    let (_lab, [one, two], _sidekey) = two(own, "connect: { allow: ['listed.example:443'] }").await;
    let authority = |service: &Fault| service.url().trim_start_matches("http://").to_owned();
    let connect = |target: &str| format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");

    for elsewhere in [&authority(&two), "listed.example:443"] {
        let mut app = Connection::open(&at(own)).await;
        app.write(connect(elsewhere)).await;
        let detail = app.answer().await.problem("method_not_allowed");
        assert!(detail.starts_with("this port is the service `one`'s own"), "{detail}");
    }
    let mut app = Connection::open(&at(own)).await;
    app.write(connect(&authority(&one))).await;
    app.expects("HEAD");
    assert_eq!(app.answer().await.status, 200);
    app.expects("GET");
    app.write("GET /v1/x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(app.answer().await.text(), "one /v1/x");
}

#[tokio::test]
async fn an_own_port_asks_for_the_same_as_any_other() {
    let own = free_port();
    let more = "access: { token: a-token-of-the-proxy, browsers: true }\n\
                routes: [{ host: shop.example, service: one }]";
    let (_lab, _services, _sidekey) = two(own, more).await;
    let ask = async |request: Request| -> Answer { exchange(&at(own), request).await };
    let shown = |host: &str| Request::get("/x").host(host).field("Authorization", "Bearer a-token-of-the-proxy");

    ask(Request::get("/x").host("localhost")).await.problem("unauthorized");
    assert_eq!(ask(shown("localhost")).await.text(), "one /v1/x");

    let second = free_port();
    let (_lab, _services, _sidekey) =
        two(second, "access: { browsers: true }\nroutes: [{ host: shop.example, service: one }]").await;
    let ask = async |request: Request| -> Answer { exchange(&at(second), request).await };
    // Whoever owns the name could point it here.
    for strange in ["shop.example", "rebound.example", "127.0.0.1.example"] {
        ask(Request::get("/x").host(strange)).await.problem("forbidden");
    }
    ask(Request::get("/x").host("localhost").field("Origin", "https://evil.example")).await.problem("forbidden");
    let look = |host: &str| {
        Request::get("/x")
            .host(host)
            .field("Sec-Fetch-Site", "none")
            .field("Sec-Fetch-User", "?1")
            .field("Sec-Fetch-Mode", "navigate")
    };
    assert_eq!(ask(look("one.localhost")).await.text(), "one /v1/x");
    // To a browser's cookies these are other services.
    for shared in ["two.localhost", "localhost"] {
        ask(look(shared)).await.problem("forbidden");
    }
}

#[tokio::test]
async fn a_reload_opens_and_closes_own_ports_and_status_names_them() {
    let [first, second] = [free_port(), free_port()];
    let (lab, services, sidekey) = two(first, "").await;
    let mut before = Connection::open(&at(first)).await;
    assert_eq!(before.send(Request::get("/x")).await.text(), "one /v1/x");

    sidekey.rewrite(&lab, &config(&services, second, ""));
    until("the second port", async || tokio::net::TcpStream::connect(at(second)).await.ok()).await;

    assert_eq!(exchange(&at(second), Request::get("/y")).await.text(), "one /v1/y");
    until("the end of the first", async || tokio::net::TcpStream::connect(at(first)).await.is_err().then_some(()))
        .await;
    // What came through it goes on.
    assert_eq!(before.send(Request::get("/z")).await.text(), "one /v1/z");
    let status = sidekey.status().await;
    let listeners = status["listeners"].as_array().unwrap();
    let own: Vec<_> = listeners.iter().filter(|listener| listener["service"] == "one").collect();
    assert!(!own.is_empty() && own.iter().all(|listener| listener["role"] == "traffic"), "{listeners:?}");
    assert!(own.iter().any(|listener| listener["address"] == at(second).as_str()), "{listeners:?}");
    assert!(listeners.iter().any(|listener| listener["role"] == "traffic" && listener.get("service").is_none()));

    // The port becomes another service's: who connects from now on gets to that one.
    let (one, two) = (services[0].url(), services[1].url());
    sidekey.rewrite(
        &lab,
        &format!("services: {{ one: {{ url: '{one}/v1' }}, two: {{ url: '{two}', listen: {second} }} }}"),
    );
    until("the other service", async || {
        (exchange(&at(second), Request::get("/y")).await.text() == "two /y").then_some(())
    })
    .await;
    sidekey.rewrite(&lab, &format!("services: {{ two: {{ url: '{two}' }} }}"));
    until("the end of the service", async || {
        let answer = before.send(Request::get("/z")).await;
        (answer.status == 404).then(|| answer.problem("no_route"))
    })
    .await;
}

#[tokio::test]
async fn a_unix_socket_may_be_a_service_s_own() {
    let (lab, service) = (Lab::start().await, Fault::plain(|request| Reply::ok(request.target())).await);
    let path = lab.path("own.sock");
    let config = format!("services: {{ one: {{ url: '{}/v1', listen: 'unix:{}' }} }}", service.url(), path.display());
    let _sidekey = lab.sidekey(&config).await;

    let answer = Connection::unix(&path).await.send(Request::get("/x").host("whatever")).await;

    assert_eq!(answer.text(), "/v1/x");
}

#[tokio::test]
async fn explain_knows_the_own_ports() {
    let lab = Lab::start().await;
    lab.write(
        "sidekey.yaml",
        "services: { one: { url: 'https://api.example/v1', listen: 9810 }, two: { url: 'https://two.example' } }",
    );

    let explained = lab.run("explain --config sidekey.yaml http://localhost:9810/two/x");

    assert!(explained.stdout.contains("sends      GET https://api.example/v1/two/x\n"), "{}", explained.stdout);
    let elsewhere = lab.run("explain --config sidekey.yaml http://localhost:9800/two/x");
    assert!(elsewhere.stdout.contains("sends      GET https://two.example/x\n"), "{}", elsewhere.stdout);
}
