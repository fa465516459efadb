//! The way out through an HTTP proxy: services, token endpoints, and what is told where it fails.

use serde_json::{Value, json};

use crate::lab::client::{Answer, Request, exchange};
use crate::lab::fault::{Fault, Reply};
use crate::lab::nginx::Seen;
use crate::lab::proxy::{ForwardProxy, Tinyproxy};
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, free_port, until};

/// A name that no resolver knows: only the proxy gets there.
const TRUST: &str = "certificate: partner, tls: { ca: tls/ca.pem, server_name: localhost }";

fn service(lab: &Lab) -> String {
    format!("url: 'https://service.example:{}', {TRUST}", lab.nginx.http1)
}

fn oauth2(idp: &Fault) -> String {
    let url = format!("https://idp.example:{}/token", idp.port);
    format!(
        "auth: {{ type: oauth2_client_credentials, token_url: '{url}', client_id: me, client_secret: hunter2, \
         tls: {{ ca: tls/ca.pem, server_name: localhost }} }}"
    )
}

async fn probe(sidekey: &Sidekey, service: &str) -> Answer {
    let request = Request::post(&format!("/api/services/{service}/probe"), "").field("Sidekey-Admin", "1");
    exchange(&sidekey.admin, request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn services_and_token_endpoints_are_reached_through_the_proxy_of_the_environment() {
    let (lab, proxy) = (Lab::start().await, ForwardProxy::start().await);
    let idp = Fault::tls(&lab, |_| Reply::token("abc", 300)).await;
    let config = format!("services:\n  payments: {{ {}, {} }}", service(&lab), oauth2(&idp));
    for variable in ["HTTPS_PROXY", "https_proxy"] {
        let before = proxy.targets().len();
        let sidekey = lab.sidekey_with(&config, &[], &[(variable, proxy.url())]).await;

        let seen = Seen::read(&sidekey.get("/payments/orders").await);

        assert_eq!((seen.authorization.as_str(), seen.target.as_str()), ("Bearer abc", "/orders"));
        assert!(seen.subject.contains("CN=partner"), "{seen:?}");
        let wanted = [format!("idp.example:{}", idp.port), format!("service.example:{}", lab.nginx.http1)];
        assert_eq!(proxy.targets()[before..], wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_issuer_names_is_reached_through_the_proxy_too() {
    let (lab, proxy) = (Lab::start().await, ForwardProxy::start().await);
    let port = free_port();
    let idp = Fault::tls_on(&lab, port, move |request| match request.target() {
        "/token" => Reply::token("abc", 300),
        _ => Reply::json(&json!({
            "issuer": format!("https://idp.example:{port}"),
            "token_endpoint": format!("https://tokens.example:{port}/token"),
        })),
    })
    .await;
    let auth = oauth2(&idp).replace("token_url", "issuer").replace("/token'", "'");
    let config = format!("services:\n  payments: {{ {}, {auth}, outbound_proxy: '{}' }}", service(&lab), proxy.url());
    let sidekey = lab.sidekey(&config).await;

    let seen = Seen::read(&sidekey.get("/payments/orders").await);

    assert_eq!(seen.authorization, "Bearer abc");
    let targets = proxy.targets();
    for target in [format!("idp.example:{port}"), format!("tokens.example:{port}")] {
        assert!(targets.contains(&target), "{target}: {targets:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_over_tls_carries_http1_http2_and_plain_http_and_is_shown_its_login() {
    let lab = Lab::start().await;
    let proxy = ForwardProxy::over_tls(&lab).await;
    lab.write("proxy-password", "pass word:@\n");
    let through = format!(
        "outbound_proxy: {{ url: 'https://localhost:{}', username: me, password: {{ file: proxy-password }} }}",
        proxy.port
    );
    let http2 = service(&lab).replace(&lab.nginx.http1.to_string(), &lab.nginx.http2.to_string());
    let plain = format!("url: 'http://plain.example:{}'", lab.nginx.plain);
    let config = format!(
        "services:\n  one: {{ {}, {through} }}\n  two: {{ {http2}, {through} }}\n  plain: {{ {plain}, {through} }}",
        service(&lab)
    );
    let sidekey = lab.sidekey(&config).await;

    for (name, protocol) in [("one", "HTTP/1.1"), ("two", "HTTP/2.0"), ("plain", "HTTP/1.1")] {
        let body = "0123456789".repeat(50_000);
        let seen = Seen::read(&sidekey.post(&format!("/{name}/orders"), body.clone()).await);

        assert_eq!(seen.protocol, protocol, "{name}");
        // What nginx shows of a head over HTTP/2 is nothing, and its body is all there is.
        assert!(seen.body.ends_with(&body) || seen.head.is_empty() && seen.body.len() >= body.len(), "{name}");
    }

    for head in proxy.heads() {
        // `me:pass word:@`
        assert!(head.contains("\r\nproxy-authorization: Basic bWU6cGFzcyB3b3JkOkA=\r\n"), "{head}");
    }
    assert_eq!(proxy.heads().len(), 3, "a connection is used again, and one is enough for each");
    let (_, log) = sidekey.stop().await;
    assert!(!log.contains("pass word") && !log.contains("bWU6"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_proxy_none_and_loopback_are_reached_straight() {
    let (lab, proxy) = (Lab::start().await, ForwardProxy::start().await);
    // The machine itself, by an address that is none of loopback's.
    let itself = format!("url: 'https://0.0.0.0:{}', {TRUST}", lab.nginx.http1);
    let config = format!(
        "services:
  exempt: {{ {itself} }}
  off: {{ {}, outbound_proxy: none }}
  loopback: {{ url: $SERVICE, certificate: partner, outbound_proxy: '{}' }}
  below: {{ url: 'https://service.localhost:$PORT', certificate: partner, outbound_proxy: '{}' }}
  plain: {{ url: 'http://0.0.0.0:{}' }}",
        itself.replace("0.0.0.0", "[::ffff:0.0.0.0]"),
        proxy.url(),
        proxy.url(),
        lab.nginx.plain
    );
    let variables = [("HTTPS_PROXY", proxy.url()), ("HTTP_PROXY", proxy.url()), ("NO_PROXY", "0.0.0.0/8".to_owned())];
    let sidekey = lab.sidekey_with(&config, &[], &variables).await;

    for name in ["exempt", "loopback", "plain"] {
        Seen::read(&sidekey.get(&format!("/{name}/orders")).await);
    }
    // Whether a name below `localhost` is known is the resolver's affair; that it is asked, and no proxy, is ours.
    for name in ["below", "off"] {
        let _asked = sidekey.get(&format!("/{name}/orders")).await;
    }

    assert!(proxy.heads().is_empty(), "{:?}", proxy.heads());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_of_the_environment_that_is_sidekey_itself_is_ignored_with_a_warning() {
    let lab = Lab::start().await;
    let port = free_port();
    let config = format!("listen: 127.0.0.1:{port}\nservices: {{ payments: {{ {} }} }}", service(&lab));
    lab.write(
        "own.yaml",
        &format!("certificates: {{ partner: {{ chain: tls/partner.pem, key: tls/partner.key }} }}\n{config}"),
    );
    let check = |proxy: &str| {
        let output = lab.program().args(["check", "--config", "own.yaml"]).env("HTTPS_PROXY", proxy).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };

    let (own, said) = check(&format!("http://me:hunter2@localhost:{port}"));
    let (wrong, error) = check("socks5://me:hunter2@proxy.corp:1080");

    assert_eq!((own, wrong), (Some(0), Some(2)));
    let warning =
        format!("warning: `HTTPS_PROXY` is Sidekey itself, which listens on `127.0.0.1:{port}`: it is ignored");
    assert!(said.contains(&warning), "{said}");
    let told =
        "error: `HTTPS_PROXY` in the environment, the proxy for this: a proxy is spoken to by `http://` or `https://`";
    assert!(error.contains(told), "{error}");
    assert!(!said.contains("hunter2") && !error.contains("hunter2"), "{said}{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_proxy_names_it_everywhere_and_never_the_password() {
    let lab = Lab::start().await;
    let proxy = ForwardProxy::refusing(|_| {
        Some("HTTP/1.1 407 hunter2\r\nProxy-Authenticate: Basic realm=\"hunter2\"\r\nContent-Length: 7\r\n\r\nhunter2")
    })
    .await;
    let idp = Fault::tls(&lab, |_| Reply::token("abc", 300)).await;
    let config = format!(
        "services:\n  payments: {{ {}, timeouts: {{ connect: 2s }} }}\n  tokens: {{ {}, {} }}",
        service(&lab),
        service(&lab),
        oauth2(&idp)
    );
    let named = format!("http://me:hunter2@127.0.0.1:{}", proxy.port);
    let sidekey = lab.sidekey_with(&config, &["--log-level", "debug"], &[("HTTPS_PROXY", named.clone())]).await;

    let refused = sidekey.get("/payments/orders").await;
    let tokenless = sidekey.get("/tokens/orders").await;
    let probed = probe(&sidekey, "payments").await;
    let mut check = lab.program();
    check.args(["check", "--online", "--config", "sidekey.yaml"]).env("HTTPS_PROXY", named);
    let checked = tokio::task::block_in_place(|| check.output().unwrap());

    let said = |target: &str| {
        format!(
            "the outbound proxy {} answered 407 Proxy Authentication Required to CONNECT {target}: it does not take this \
             user and password",
            proxy.url()
        )
    };
    let service = said(&format!("service.example:{}", lab.nginx.http1));
    assert_eq!((refused.status, refused.json()["type"].as_str()), (502, Some("urn:sidekey:error:connection_refused")));
    assert_eq!(refused.json()["detail"], service.as_str());
    assert_eq!(tokenless.status, 503);
    let token = said(&format!("idp.example:{}", idp.port));
    assert!(tokenless.json()["detail"].as_str().unwrap().contains(&token), "{tokenless:?}");
    let probed = probed.json();
    assert_eq!((&probed["ok"], &probed["proxy"]), (&Value::from(false), &Value::from(proxy.url())));
    assert_eq!(probed["failures"], json!([{ "phase": "proxy", "code": "connection_refused", "detail": service }]));
    let stderr = String::from_utf8(checked.stderr).unwrap();
    assert_eq!(checked.status.code(), Some(1));
    assert!(stderr.contains(&format!("`payments`: {service}")), "{stderr}");
    assert_eq!(stderr.matches("help: check `outbound_proxy`, or `HTTPS_PROXY` and `NO_PROXY`").count(), 3, "{stderr}");
    let status = sidekey.status().await.to_string();
    let (_, log) = sidekey.stop().await;
    for text in [refused.text(), tokenless.text(), probed.to_string(), stderr, status, log] {
        assert!(!text.contains("hunter2") && !text.contains("bWU6aHVudGVyMg"), "{text}");
    }
    assert_eq!(idp.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_online_and_a_probe_say_which_proxy_was_used_or_that_none_is_set() {
    let (lab, proxy) = (Lab::start().await, ForwardProxy::start().await);
    let config = format!(
        "services:\n  away: {{ {}, outbound_proxy: '{}' }}\n  lost: {{ url: 'https://no-such-name.invalid' }}",
        service(&lab),
        proxy.url()
    );
    let sidekey = lab.sidekey(&config).await;

    let found = probe(&sidekey, "away").await.json();
    let lost = sidekey.get("/lost").await;
    let checked = tokio::task::block_in_place(|| lab.run("check --online --config sidekey.yaml"));

    assert_eq!((&found["ok"], &found["proxy"]), (&Value::from(true), &Value::from(proxy.url())), "{found:#}");
    assert!(found["timings"]["proxy"].is_number(), "{found:#}");
    let through = format!(
        "away: TLS 1.3 ok with CN=localhost, client certificate shown, through the outbound proxy {}\n",
        proxy.url()
    );
    assert!(checked.stdout.contains(&through), "{checked:?}");
    assert_eq!(lost.json()["type"], "urn:sidekey:error:dns_error");
    let detail = lost.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.ends_with("; no outbound proxy is set"), "{detail}");
    assert!(checked.stderr.contains("; no outbound proxy is set"), "{}", checked.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_hangs_is_within_the_timeout_of_a_connection() {
    let lab = Lab::start().await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("http://{}", silent.local_addr().unwrap());
    let config = format!(
        "services:\n  payments: {{ {}, outbound_proxy: '{at}', timeouts: {{ connect: 200ms }}, retry: {{ attempts: 0 }} }}",
        service(&lab)
    );
    let sidekey = lab.sidekey(&config).await;

    let answer = sidekey.get("/payments/orders").await;

    assert_eq!((answer.status, answer.json()["type"].as_str()), (504, Some("urn:sidekey:error:connection_timeout")));
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.ends_with(&format!("`timeouts.connect` is 200ms, through the outbound proxy {at}")), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_changes_the_proxy_drops_connections_and_tokens_and_no_other_does() {
    let (lab, first, second) = (Lab::start().await, ForwardProxy::start().await, ForwardProxy::start().await);
    let idp = Fault::tls(&lab, |request| Reply::token(&format!("token-{}", request.number), 300)).await;
    let config = |proxy: &ForwardProxy, title: &str| {
        format!(
            "services:\n  payments: {{ title: {title}, {}, {}, outbound_proxy: '{}' }}\n  other: {{ {}, {}, outbound_proxy: '{}' }}",
            service(&lab),
            oauth2(&idp),
            proxy.url(),
            service(&lab),
            oauth2(&idp),
            first.url()
        )
    };
    let sidekey = lab.sidekey(&config(&first, "one")).await;
    // Over one connection, which is one worker's: each has a pool of its own.
    let mut app = sidekey.connect().await;
    let mut get = async |name: &str| Seen::read(&app.send(Request::get(&format!("/{name}/orders"))).await);
    let (before, other) = (get("payments").await, get("other").await);
    assert_eq!((before.authorization.as_str(), other.authorization.as_str()), ("Bearer token-0", "Bearer token-0"));

    sidekey.rewrite(&lab, &config(&second, "one"));
    sidekey.until_logged("service `payments` changed (outbound_proxy), token dropped").await;
    let (moved, stayed) = (get("payments").await, get("other").await);

    assert_eq!((moved.authorization.as_str(), stayed.authorization.as_str()), ("Bearer token-1", "Bearer token-0"));
    assert_ne!(moved.connection, before.connection);
    assert_eq!(stayed.connection, other.connection);
    assert_eq!(second.targets().len(), 2, "{:?}", second.targets());

    sidekey.rewrite(&lab, &config(&second, "two"));
    sidekey.until_logged("service `payments` changed (title), token kept").await;
    assert_eq!(get("payments").await.authorization, "Bearer token-1");
    assert_eq!(idp.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_of_the_proxy_that_changes_in_its_file_is_used_from_then_on() {
    let lab = Lab::start().await;
    let proxy = ForwardProxy::refusing(|head| {
        // `me:new-password`
        let right = head.contains("Basic bWU6bmV3LXBhc3N3b3Jk\r\n");
        (!right).then_some("HTTP/1.1 407 No\r\nproxy-authenticate: Basic\r\n\r\n")
    })
    .await;
    lab.write("proxy-password", "old-password");
    let through =
        format!("outbound_proxy: {{ url: '{}', username: me, password: {{ file: proxy-password }} }}", proxy.url());
    let sidekey = lab.sidekey(&format!("services: {{ payments: {{ {}, {through} }} }}", service(&lab))).await;
    assert_eq!(sidekey.get("/payments/orders").await.status, 502);

    lab.write("proxy-password", "new-password");

    until("the new password", async || (sidekey.get("/payments/orders").await.status == 200).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tinyproxy_opens_tunnels_for_its_user_and_says_no_to_others() {
    let lab = Lab::start().await;
    let tinyproxy = Tinyproxy::start(&lab, "me", "hunter2").await;
    let at = format!("http://127.0.0.1:{}", tinyproxy.port);
    let url = |host: &str| format!("url: 'https://{host}:{}', {TRUST}", lab.nginx.http1);
    let through = |password: &str| format!("outbound_proxy: {{ url: '{at}', username: me, password: {password} }}");
    let config = format!(
        "services:
  right: {{ {}, {} }}
  plain: {{ url: 'http://0.0.0.0:{}', {} }}
  wrong: {{ {}, {} }}
  nobody: {{ {}, outbound_proxy: '{at}' }}
  forbidden: {{ {}, {} }}
  unknown: {{ {}, {} }}",
        url("0.0.0.0"),
        through("hunter2"),
        lab.nginx.plain,
        through("hunter2"),
        url("0.0.0.0"),
        through("wrong-one"),
        url("0.0.0.0"),
        url("forbidden.example"),
        through("hunter2"),
        url("no-such-name.invalid"),
        through("hunter2"),
    );
    let sidekey = lab.sidekey(&config).await;

    let body = "0123456789".repeat(20_000);
    let seen = Seen::read(&sidekey.post("/right/orders", body.clone()).await);
    assert_eq!(seen.body, body);
    assert!(seen.subject.contains("CN=partner"), "{seen:?}");
    assert_eq!(Seen::read(&sidekey.get("/plain/orders").await).target, "/orders");
    for (name, said) in [
        ("wrong", "does not take this user and password"),
        ("nobody", "which `outbound_proxy: { url, username, password }` shows it"),
        ("forbidden", "answered 403 Forbidden to CONNECT forbidden.example:"),
        ("unknown", "to CONNECT no-such-name.invalid:"),
    ] {
        let answer = sidekey.get(&format!("/{name}/orders")).await;
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert_eq!(answer.status, 502, "{name}: {detail}");
        assert!(detail.contains(&format!("the outbound proxy {at} answered ")) && detail.contains(said), "{detail}");
    }
}
