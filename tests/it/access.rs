//! Who may use the proxy: from where, under which Host, from which web page, with which token.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::lab::client::{Answer, Connection, Request};
use crate::lab::fault::{Fault, Reply};
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, free_port};

/// Sidekey in front of a service that answers anything, with these settings of `access`.
async fn with_access(access: &str) -> (Lab, Fault, Sidekey) {
    let lab = Lab::start().await;
    let service = Fault::plain(|_| Reply::ok("welcome")).await;
    let config = format!(
        "
services: {{ payments: {{ url: '{}' }} }}
routes: [ {{ host: shop.example, path: /, service: payments }} ]
access: {access}
",
        service.url()
    );
    let sidekey = lab.sidekey(&config).await;
    (lab, service, sidekey)
}

async fn under(sidekey: &Sidekey, host: &str) -> Answer {
    sidekey.send(Request::get("/payments/x").host(host)).await
}

#[tokio::test]
async fn local_names_and_named_hosts_are_served() {
    let (_lab, _service, sidekey) = with_access("{ hosts: [dev.example] }").await;

    for host in [
        "localhost",
        "LOCALHOST:1",
        "localhost.",
        "any.localhost",
        "127.0.0.1:9800",
        "127.8.9.1",
        "[::1]:9800",
        "dev.example:80",
    ] {
        // `any.localhost` is no service: the path decides.
        assert_eq!(under(&sidekey, host).await.status_of_service(), 200, "{host}");
    }
}

#[tokio::test]
async fn any_other_host_is_forbidden_and_the_answer_says_what_would_allow_it() {
    let (_lab, service, sidekey) = with_access("{}").await;

    for host in ["evil.example", "localhost.evil.example", "10.0.0.1", "[2001:db8::1]"] {
        let answer = under(&sidekey, host).await;
        let detail = answer.problem("forbidden");
        assert!(detail.contains("Host") && detail.contains(host.trim_matches(['[', ']'])), "{detail}");
        assert!(detail.contains("hosts"), "names the line that would allow it: {detail}");
    }
    assert_eq!(service.count(), 0);
}

#[tokio::test]
async fn under_the_host_of_an_explicit_route_only_that_hosts_routes_count() {
    let (_lab, service, sidekey) = with_access("{}").await;

    assert_eq!(sidekey.send(Request::get("/orders").host("shop.example")).await.status_of_service(), 200);
    // The default route by path would have stripped the name.
    assert_eq!(under(&sidekey, "shop.example").await.status_of_service(), 200);

    let targets: Vec<_> = service.received().iter().map(|request| request.target().to_owned()).collect();
    assert_eq!(targets, ["/orders", "/payments/x"]);
}

#[tokio::test]
async fn a_host_that_is_missing_repeated_or_malformed_is_a_bad_request() {
    let (_lab, service, sidekey) = with_access("{}").await;

    for fields in [
        "",
        "Host: localhost\r\nHost: localhost\r\n",
        "Host: a b\r\n",
        "Host: localhost:x\r\n",
        "Host: u@localhost\r\n",
        "Host:\r\n",
    ] {
        let mut connection = sidekey.raw(format!("GET /payments/x HTTP/1.1\r\n{fields}\r\n")).await;
        connection.answer().await.problem("bad_request");
    }
    let absolute = format!("GET {}/x HTTP/1.1\r\n\r\n", service.url());
    sidekey.raw(absolute).await.answer().await.problem("bad_request");
    assert_eq!(service.count(), 0);
}

#[tokio::test]
async fn http_1_0_without_a_host_counts_as_local() {
    let (_lab, _service, sidekey) = with_access("{}").await;

    let mut connection = sidekey.raw("GET /payments/x HTTP/1.0\r\n\r\n").await;

    assert_eq!(connection.answer().await.status_of_service(), 200);
}

#[tokio::test]
async fn in_absolute_form_the_target_decides_and_the_host_field_is_ignored() {
    let (_lab, service, sidekey) = with_access("{}").await;

    let answer = sidekey.send(Request::get(&format!("{}/x", service.url())).host("evil.example")).await;
    let unknown = sidekey.send(Request::get("http://evil.example/payments/x").host("localhost")).await;

    assert_eq!(answer.status_of_service(), 200);
    unknown.problem("no_route");
    assert_eq!(service.only().field("host"), Some(service.url().replace("http://", "")));
}

#[tokio::test]
async fn a_web_page_is_forbidden() {
    let (_lab, service, sidekey) = with_access("{}").await;
    let page = async |name: &str, value: &str| sidekey.send(Request::get("/payments/x").field(name, value)).await;

    for origin in ["https://evil.example", "http://localhost:9800", "null"] {
        let detail = page("Origin", origin).await.problem("forbidden");
        assert!(detail.contains("Origin") && detail.contains(origin) && detail.contains("origins"), "{detail}");
    }
    for site in ["cross-site", "same-site", "same-origin", "none"] {
        let detail = page("Sec-Fetch-Site", site).await.problem("forbidden");
        assert!(detail.contains("Sec-Fetch-Site") && detail.contains(site), "{detail}");
    }
    assert_eq!(service.count(), 0);
}

#[tokio::test]
async fn a_listed_origin_passes_and_its_preflights_are_forwarded() {
    let (_lab, service, sidekey) = with_access("{ origins: ['https://app.example'] }").await;
    let page = |method: &str, origin: &str| {
        Request::new(method, "/payments/x").field("Origin", origin).field("Sec-Fetch-Site", "cross-site")
    };

    let answer = sidekey.send(page("GET", "https://app.example")).await;
    let preflight = page("OPTIONS", "https://app.example").field("Access-Control-Request-Method", "PUT");
    let preflight = sidekey.send(preflight).await;
    let other = sidekey.send(page("GET", "https://other.example")).await;

    assert_eq!((answer.status_of_service(), preflight.status_of_service()), (200, 200));
    assert!(!answer.head.to_lowercase().contains("access-control"), "CORS is the service's affair: {answer:?}");
    other.problem("forbidden");
    assert_eq!(service.received()[1].method(), "OPTIONS");
}

#[tokio::test]
async fn any_origin_can_be_allowed_for_replayed_traffic() {
    let (lab, _service, sidekey) = with_access("{ origins: ['*'] }").await;

    let request =
        Request::get("/payments/x").field("Origin", "https://any.example").field("Sec-Fetch-Site", "cross-site");

    assert_eq!(sidekey.send(request).await.status_of_service(), 200);
    let check = lab.run("check --config sidekey.yaml");
    assert_eq!(check.code, Some(0));
    assert!(format!("{}{}", check.stdout, check.stderr).contains("origins"), "a warning: {check:?}");
}

#[tokio::test]
async fn the_access_token_is_asked_for_and_never_forwarded() {
    let (_lab, service, sidekey) = with_access("{ token: sesame }").await;
    let with = |value: &str| Request::get("/payments/x").field("Proxy-Authorization", value);
    let basic = |pair: &str| format!("Basic {}", BASE64_STANDARD.encode(pair));

    let without = sidekey.get("/payments/x").await;
    for wrong in ["Bearer wrong", "Bearer sesame2", "Bearer", "Basic !", "Digest sesame", &basic("sesame:wrong")] {
        sidekey.send(with(wrong)).await.problem("unauthorized");
    }
    for right in ["Bearer sesame", "bearer sesame", &basic("anyone:sesame"), &basic(":sesame")] {
        assert_eq!(sidekey.send(with(right)).await.status_of_service(), 200, "{right}");
    }

    assert!(without.problem("unauthorized").contains("http://x:TOKEN@"), "{without:?}");
    assert_eq!(without.fields("www-authenticate"), ["Bearer"], "a browser would keep what it has for `Basic`");
    assert_eq!(without.fields("proxy-authenticate"), [""; 0]);
    assert_eq!(service.count(), 4);
    assert!(service.received().iter().all(|request| request.field("proxy-authorization").is_none()));
}

#[tokio::test]
async fn in_absolute_form_and_for_connect_the_token_is_asked_for_as_by_a_proxy() {
    let (_lab, service, sidekey) = with_access("{ token: sesame }").await;
    let url = format!("{}/x", service.url());
    let authority = service.url().replace("http://", "");
    let connect = Request::new("CONNECT", &authority).host(&authority);

    for without in [
        Request::get(&url),
        Request::get(&url).field("Authorization", "Bearer sesame"),
        Request::get("http://localhost:9800/payments/x"),
        connect.clone(),
        connect.field("Authorization", "Bearer sesame"),
    ] {
        let answer = sidekey.send(without).await;
        answer.problem("proxy_authentication_required");
        let challenges = answer.fields("proxy-authenticate").join(", ");
        assert!(challenges.contains("Bearer") && challenges.contains("Basic"), "{challenges}");
        assert_eq!(answer.fields("www-authenticate"), [""; 0]);
    }
    assert_eq!(service.count(), 0);

    let app = Request::get(&url).field("Proxy-Authorization", "Bearer sesame").field("Authorization", "Bearer app");
    assert_eq!(sidekey.send(app).await.status_of_service(), 200);
    assert_eq!(service.only().field("authorization"), Some("Bearer app".to_owned()));
}

#[tokio::test]
async fn in_origin_form_the_token_counts_as_authorization_and_goes_no_further() {
    let (_lab, service, sidekey) = with_access("{ token: sesame }").await;
    let with = |value: &str| Request::get("/payments/x").field("Authorization", value);
    let basic = |pair: &str| format!("Basic {}", BASE64_STANDARD.encode(pair));

    for wrong in ["Bearer wrong", "Bearer sesame2", "Bearer", "Digest sesame", &basic("sesame:wrong"), &basic("sesame")]
    {
        sidekey.send(with(wrong)).await.problem("unauthorized");
    }
    assert_eq!(service.count(), 0);
    for right in ["Bearer sesame", "bearer  sesame", &basic("anyone:sesame"), &basic(":sesame")] {
        assert_eq!(sidekey.send(with(right)).await.status_of_service(), 200, "{right}");
        // The right one satisfies the Host check too: no web page knows it.
        assert_eq!(sidekey.send(with(right).host("sidekey.internal")).await.status_of_service(), 200, "{right}");
        let twice = with(right).field("Proxy-Authorization", "Bearer sesame");
        assert_eq!(sidekey.send(twice).await.status_of_service(), 200, "{right}");
    }

    assert_eq!(service.count(), 12);
    for request in service.received() {
        assert_eq!(request.field("authorization"), None);
        assert_eq!(request.field("proxy-authorization"), None);
    }
}

#[tokio::test]
async fn beside_the_token_the_apps_own_authorization_is_its_own() {
    let (_lab, service, sidekey) = with_access("{ token: sesame }").await;

    let both = Request::get("/payments/x").field("Authorization", "Bearer app").field("Authorization", "Bearer sesame");
    assert_eq!(sidekey.send(both).await.status_of_service(), 200);
    let apart = Request::get("/payments/x").field("Authorization", "Bearer app");
    let apart = apart.field("Proxy-Authorization", "Bearer sesame");
    assert_eq!(sidekey.send(apart).await.status_of_service(), 200);

    let seen: Vec<_> = service.received().iter().map(|request| request.field("authorization")).collect();
    assert_eq!(seen, [Some("Bearer app".to_owned()), Some("Bearer app".to_owned())]);
}

#[tokio::test]
async fn our_token_is_no_credential_that_the_app_sent() {
    for (policy, of_app) in [("keep", Some("Bearer app")), ("reject", None), ("replace", Some("Bearer services"))] {
        let lab = Lab::start().await;
        let service = Fault::plain(|_| Reply::ok("welcome")).await;
        let config = format!(
            "
services:
  payments: {{ url: '{}', auth: {{ type: bearer, token: services }}, on_client_authorization: {policy} }}
access: {{ token: sesame }}
",
            service.url()
        );
        let sidekey = lab.sidekey(&config).await;
        let ours = Request::get("/payments/x").field("Authorization", "Bearer sesame");

        let answer = sidekey.send(ours.clone()).await;
        let both = sidekey.send(ours.field("Authorization", "Bearer app")).await;

        assert_eq!(answer.status_of_service(), 200, "{policy}");
        let seen: Vec<_> = service.received().iter().map(|request| request.field("authorization").unwrap()).collect();
        match of_app {
            Some(value) => assert_eq!(seen, ["Bearer services", value], "{policy}"),
            None => {
                assert_eq!(seen, ["Bearer services"], "{policy}");
                both.problem("bad_request");
            }
        }
    }
}

#[tokio::test]
async fn a_missing_token_is_counted_and_told_to_grpc_in_its_own_words() {
    let (_lab, _service, sidekey) = with_access("{ token: sesame }").await;
    let grpc = |request: Request| request.field("Content-Type", "application/grpc+proto");

    let client = sidekey.send(grpc(Request::get("/payments/x"))).await;
    let at_proxy = sidekey.send(grpc(Request::get("http://localhost/payments/x"))).await;

    assert_eq!((client.status, client.field("grpc-status").as_deref()), (200, Some("16")));
    assert!(client.field("grpc-message").unwrap().starts_with("unauthorized: "), "{client:?}");
    assert_eq!(client.field("proxy-status").as_deref(), Some("sidekey; error=http_request_denied"));
    assert_eq!((at_proxy.status, at_proxy.field("grpc-status").as_deref()), (200, Some("2")));
    sidekey.until_metric("sidekey_errors_total{service=\"\",error=\"unauthorized\"}", 1.0).await;
    sidekey.until_metric("sidekey_errors_total{service=\"\",error=\"proxy_authentication_required\"}", 1.0).await;
}

#[tokio::test]
async fn a_services_own_host_in_origin_form_is_told_the_ways_that_work() {
    let lab = Lab::start().await;
    let config = |routes: &str| {
        format!(
            "services: {{ payments: {{ url: 'https://api.partner.invalid/v1' }} }}
routes: {routes}"
        )
    };
    let host = "api.partner.invalid";
    let line = r#"[{host: "api.partner.invalid", path: "/v1", service: payments}]"#;

    let sidekey = lab.sidekey(&config("[]")).await;
    let detail = sidekey.send(Request::get("/v1/x").host(host)).await.problem("forbidden");
    let whole = sidekey.send(Request::get("http://api.partner.invalid/v1/x")).await;

    assert!(detail.contains("`http://api.partner.invalid/v1/…`"), "{detail}");
    assert!(detail.contains(&format!("`routes: {line}`")) && !detail.contains("hosts"), "{detail}");
    // Both get as far as the service, which is not there.
    whole.problem("dns_error");
    let other = Lab::start().await;
    let sidekey = other.sidekey(&config(line)).await;
    sidekey.send(Request::get("/v1/x").host(host)).await.problem("dns_error");
}

#[tokio::test]
async fn the_right_token_satisfies_the_host_check() {
    let (_lab, _service, sidekey) = with_access("{ token: sesame }").await;

    let request =
        Request::get("/payments/x").host("sidekey.internal:9800").field("Proxy-Authorization", "Bearer sesame");

    assert_eq!(sidekey.send(request).await.status_of_service(), 200);
}

#[tokio::test]
async fn another_address_than_loopback_needs_consent_and_a_token() {
    let lab = Lab::start().await;
    let port = free_port();
    let config = |access: &str| {
        format!(
            "listen: 0.0.0.0:{port}\nservices: {{ payments: {{ url: $SERVICE, certificate: partner }} }}\naccess: {access}"
        )
    };

    for access in ["{}", "{ allow_remote: true }", "{ token: sesame }"] {
        let (code, log) = lab.sidekey_starting(&config(access)).ended().await;
        assert_eq!(code, Some(2), "{access}: {log}");
        assert!(log.contains("allow_remote") || log.contains("token"), "{log}");
    }
    lab.sidekey(&config("{ allow_remote: true, token: sesame }")).await;
}

#[tokio::test]
async fn a_unix_socket_asks_for_no_token_host_or_origin() {
    let (lab, sidekey) = with_socket("{ token: sesame }").await;
    let socket = lab.path("app.sock");

    let request = Request::get("/payments/x").host("evil.example").field("Origin", "https://evil.example");
    let answer = Connection::unix(&socket).await.send(request.clone()).await;
    let shown = Connection::unix(&socket).await.send(request.field("Authorization", "Bearer sesame")).await;

    assert_eq!(answer.at_service().subject, "CN=partner");
    assert_eq!(shown.at_service().authorization, "", "a token that is shown unasked goes no further either");
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(sidekey.stop().await.0, Some(0));
}

#[tokio::test]
async fn a_stale_unix_socket_is_replaced_and_the_mode_is_as_configured() {
    let lab = Lab::start().await;
    drop(UnixListener::bind(lab.path("app.sock")).unwrap());

    let _sidekey = lab.sidekey(&socket_config("{ unix_mode: '0660' }")).await;

    let answer = Connection::unix(&lab.path("app.sock")).await.send(Request::get("/payments/x")).await;
    assert_eq!(answer.status_of_service(), 200);
    assert_eq!(fs::metadata(lab.path("app.sock")).unwrap().permissions().mode() & 0o777, 0o660);
}

#[tokio::test]
async fn a_unix_socket_serves_only_the_users_it_names() {
    let me = nix::unistd::Uid::current();
    let name = nix::unistd::User::from_uid(me).unwrap().unwrap().name;
    for (users, welcome) in [(format!("[{me}]"), true), (format!("[{name}]"), true), ("[54321]".to_owned(), false)] {
        let (lab, _sidekey) = with_socket(&format!("{{ unix_users: {users} }}")).await;

        let mut connection = Connection::unix(&lab.path("app.sock")).await;
        connection.write(Request::get("/payments/x").to_bytes("localhost")).await;

        match connection.next().await {
            Ok(answer) if welcome => assert_eq!(answer.status_of_service(), 200, "{users}"),
            Ok(answer) => drop(answer.problem("forbidden")),
            Err(ended) => assert!(!welcome, "{users}: {ended:?}"),
        }
    }
}

async fn with_socket(access: &str) -> (Lab, Sidekey) {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(&socket_config(access)).await;
    (lab, sidekey)
}

fn socket_config(access: &str) -> String {
    format!(
        "
listen: ['unix:$FOLDER/app.sock', $LISTEN]
services: {{ payments: {{ url: $SERVICE, certificate: partner }} }}
access: {access}
"
    )
}
