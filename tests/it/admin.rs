//! The admin port and the health listener.

use crate::lab::certificates::Validity;
use crate::lab::client::{Answer, Connection, Request, exchange};
use crate::lab::fault::{Fault, Reply};
use crate::lab::problems::check_admin;
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, free_port, until};

const PAYMENTS: &str = "services: { payments: { url: $SERVICE/v1, certificate: partner, title: Payments API } }";

fn reload() -> Request {
    Request::post("/api/reload", "").field("Sidekey-Admin", "1")
}

async fn ask(sidekey: &Sidekey, request: Request) -> Answer {
    exchange(&sidekey.admin, request).await
}

#[tokio::test]
async fn livez_and_readyz_answer_200() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(PAYMENTS).await;

    for path in ["/livez", "/healthz", "/readyz"] {
        assert_eq!(sidekey.admin(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(PAYMENTS).await;

    check_admin(&sidekey.admin("/nothing").await, "not_found");
    check_admin(&sidekey.admin("/api/services/payments/authorization").await, "not_found");
}

#[tokio::test]
async fn a_request_is_explained_as_the_proxy_would_carry_it() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(PAYMENTS).await;

    let sent = sidekey.admin("/api/explain?url=/payments/orders%3Fx%3D1").await.json();
    let page =
        sidekey.admin("/api/explain?url=/payments/x&header=Origin:%20http://page.example&method=POST").await.json();
    let nothing = sidekey.admin("/api/explain?method=GET").await;

    assert_eq!((sent["outcome"].as_str(), sent["service"].as_str()), (Some("sent"), Some("payments")), "{sent:#}");
    assert!(sent["upstream_url"].as_str().unwrap().ends_with("/v1/orders?x=1"), "{sent:#}");
    assert_eq!((&sent["certificate"], &sent["routes"][0]["verdict"]), (&"partner".into(), &"wins".into()), "{sent:#}");
    assert_eq!(
        (&page["outcome"], &page["status"], &page["code"]),
        (&"refused".into(), &403.into(), &"forbidden".into())
    );
    assert!(page["detail"].as_str().unwrap().contains("http://page.example"), "{page:#}");
    check_admin(&nothing, "bad_request");
}

#[tokio::test]
async fn metrics_are_openmetrics_whatever_accept_says() {
    let lab = Lab::start().await;
    let idp = Fault::idp(|_| Reply::token("abc", 300)).await;
    let url = idp.url();
    let auth =
        format!("auth: {{ type: oauth2_client_credentials, token_url: '{url}', client_id: me, client_secret: s }}");
    let sidekey =
        lab.sidekey(&format!("services: {{ payments: {{ url: $SERVICE, certificate: partner, {auth} }} }}")).await;
    sidekey.get("/payments/x").await.at_service();
    sidekey.get("/nobody").await.problem("no_route");

    let answer = ask(&sidekey, Request::get("/metrics").field("Accept", "text/plain;version=0.0.4")).await;

    let kind = answer.field("content-type").unwrap();
    assert!(kind.starts_with("application/openmetrics-text") && kind.contains("version=1.0"), "{kind}");
    let text = answer.text();
    assert!(text.ends_with("# EOF\n"), "{text}");
    for (sample, value) in [
        ("sidekey_requests_total{service=\"payments\",code=\"200\"}", 1.0),
        ("sidekey_requests_total{service=\"\",code=\"404\"}", 1.0),
        ("sidekey_errors_total{service=\"\",error=\"no_route\"}", 1.0),
        ("sidekey_requests_in_flight{service=\"payments\"}", 0.0),
        ("sidekey_request_duration_seconds_count{service=\"payments\"}", 1.0),
        ("sidekey_overhead_seconds_count{service=\"payments\"}", 1.0),
        ("sidekey_upstream_connect_seconds_count{service=\"payments\"}", 1.0),
        ("sidekey_upstream_connections{service=\"payments\",state=\"active\"}", 0.0),
        ("sidekey_upstream_connections{service=\"payments\",state=\"idle\"}", 1.0),
        ("sidekey_token_requests_total{service=\"payments\",outcome=\"ok\"}", 1.0),
        ("sidekey_config_last_reload_successful", 1.0),
        ("sidekey_log_lines_dropped_total", 0.0),
        (concat!("sidekey_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
    ] {
        sidekey.until_metric(sample, value).await;
    }
    for family in [
        "sidekey_token_expiry_timestamp_seconds{service=\"payments\"}",
        "sidekey_certificate_expiry_timestamp_seconds{certificate=\"partner\"}",
        "sidekey_config_generation",
        "sidekey_config_last_reload_success_timestamp_seconds",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_start_time_seconds",
    ] {
        assert!(sidekey.metric(family).await > 0.0, "{family}");
    }
}

#[tokio::test]
async fn histograms_have_fixed_buckets() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(PAYMENTS).await;
    sidekey.get("/payments/x").await.at_service();

    let text = sidekey.admin("/metrics").await.text();

    let bounds = |family: &str| {
        let start = format!("{family}_bucket{{");
        let lines = text.lines().filter(|line| line.starts_with(&start) && line.contains("payments"));
        let bound = lines.filter_map(|line| line.split("le=\"").nth(1)?.split('"').next()?.parse::<f64>().ok());
        bound.collect::<Vec<_>>()
    };
    let (durations, overhead) = (bounds("sidekey_request_duration_seconds"), bounds("sidekey_overhead_seconds"));
    assert_eq!((durations.first(), durations.iter().rev().nth(1)), (Some(&0.0001), Some(&60.0)), "{durations:?}");
    assert_eq!(overhead.first(), Some(&0.000_005), "{overhead:?}");
}

#[tokio::test]
async fn the_status_tells_all_of_it() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(PAYMENTS).await;
    sidekey.get("/payments/x").await.at_service();
    sidekey.get("/payments/x").await.at_service();
    until("both requests in the status", async || {
        let service = sidekey.service("payments").await;
        (service["requests"] == 2 && service["connections"]["idle"].as_u64() >= Some(1)).then_some(())
    })
    .await;

    let answer = sidekey.admin("/api/status").await;

    assert_eq!(answer.field("content-type").as_deref(), Some("application/json"));
    assert_eq!(answer.field("cache-control").as_deref(), Some("no-store"));
    assert_eq!(answer.field("x-content-type-options").as_deref(), Some("nosniff"));
    let status = answer.json();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert!(status["started_at"].as_str().unwrap().ends_with('Z'), "{status:#}");
    assert_eq!(status["config"]["path"], lab.path("sidekey.yaml").display().to_string());
    assert!(status["config"]["loaded_at"].as_str().unwrap().ends_with('Z'));
    let service = &status["services"][0];
    for (key, value) in [
        ("name", "payments"),
        ("title", "Payments API"),
        ("url", &lab.fill_in("$SERVICE/v1")),
        ("certificate", "partner"),
    ] {
        assert_eq!(service[key], value, "{service:#}");
    }
    assert_eq!((&service["connections"]["active"], &service["errors"]), (&0.into(), &0.into()), "{service:#}");
    assert!(status["routes"].as_array().is_some_and(|routes| !routes.is_empty()), "{status:#}");
    assert!(status["listeners"].to_string().contains(&sidekey.address), "{status:#}");
}

#[tokio::test]
async fn the_status_describes_certificates() {
    let lab = Lab::start().await;
    lab.write_pair("other", &lab.ca.client("other", Validity::ENDS_SOON));
    let sidekey = lab.sidekey(PAYMENTS).await;

    let status = sidekey.status().await;

    let certificates = status["certificates"].as_array().unwrap();
    let find = |name: &str| certificates.iter().find(|certificate| certificate["name"] == name).unwrap();
    let (partner, other) = (find("partner"), find("other"));
    assert_eq!((&partner["subject"], &partner["issuer"]), (&"CN=partner".into(), &"CN=lab authority".into()));
    assert_eq!(partner["sha256"], lab.partner.sha256());
    assert_eq!((&partner["days_left"], &other["days_left"]), (&89.into(), &7.into()), "rounded down");
    assert_eq!(partner["services"], serde_json::json!(["payments"]));
    let serial = partner["serial"].as_str().unwrap();
    assert!(serial.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)), "{serial}");
}

#[tokio::test]
async fn reload_answers_200_with_the_generation_or_422_with_the_error() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(PAYMENTS).await;

    let good = ask(&sidekey, reload()).await;
    assert_eq!((good.status, good.json()["generation"].as_u64()), (200, Some(sidekey.generation().await)));
    sidekey.rewrite(&lab, &PAYMENTS.replace("title", "titel"));
    let bad = ask(&sidekey, reload()).await;

    let detail = check_admin(&bad, "config_invalid");
    assert!(detail.contains("sidekey.yaml:") && detail.contains("titel"), "{detail}");
    assert_eq!(sidekey.get("/payments/x").await.status_of_service(), 200);
}

#[tokio::test]
async fn a_forced_reload_applies_what_has_changed() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(PAYMENTS).await;

    sidekey.rewrite(&lab, &PAYMENTS.replace("payments", "refunds"));
    let answer = ask(&sidekey, reload()).await;

    assert_eq!(answer.status, 200);
    assert_eq!(sidekey.get("/refunds/x").await.status_of_service(), 200);
}

#[tokio::test]
async fn posts_need_the_header_that_no_web_page_can_send() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(PAYMENTS).await;

    check_admin(&ask(&sidekey, Request::post("/api/reload", "")).await, "forbidden");
}

#[tokio::test]
async fn the_admin_port_has_the_same_checks_of_host_and_page() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(&format!("{PAYMENTS}\naccess: {{ origins: ['https://app.example'] }}")).await;
    let get = || Request::get("/api/status");

    check_admin(&ask(&sidekey, get().host("evil.example")).await, "forbidden");
    // `access.origins` is about the service's traffic, not about this.
    check_admin(&ask(&sidekey, get().field("Origin", "https://app.example")).await, "forbidden");
    check_admin(&ask(&sidekey, get().field("Sec-Fetch-Site", "cross-site")).await, "forbidden");
    let own = format!("http://{}", sidekey.admin);
    assert_eq!(ask(&sidekey, get().field("Origin", &own)).await.status, 200);
}

#[tokio::test]
async fn the_admin_token_is_needed_for_all_but_health() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(&format!("admin: {{ listen: $ADMIN, token: sesame }}\n{PAYMENTS}")).await;
    let bearer = |request: Request, token: &str| request.field("Authorization", &format!("Bearer {token}"));

    for path in ["/api/status", "/metrics"] {
        let answer = sidekey.admin(path).await;
        check_admin(&answer, "unauthorized");
        assert_eq!(answer.field("www-authenticate").as_deref(), Some("Bearer"));
        check_admin(&ask(&sidekey, bearer(Request::get(path), "wrong")).await, "unauthorized");
        assert_eq!(ask(&sidekey, bearer(Request::get(path), "sesame")).await.status, 200, "{path}");
    }
    for path in ["/livez", "/healthz", "/readyz"] {
        assert_eq!(sidekey.admin(path).await.status, 200, "{path}");
    }
    check_admin(&ask(&sidekey, reload()).await, "unauthorized");
    assert_eq!(ask(&sidekey, bearer(reload(), "sesame")).await.status, 200);
}

#[tokio::test]
async fn an_admin_port_beyond_loopback_needs_a_token() {
    let lab = Lab::start().await;
    let port = free_port();

    let (code, log) = lab.sidekey_starting(&format!("admin: {{ listen: '0.0.0.0:{port}' }}\n{PAYMENTS}")).ended().await;

    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("token"), "{log}");
}

#[tokio::test]
async fn the_health_listener_shows_health_and_nothing_else_to_anybody() {
    let lab = Lab::start().await;
    let health = format!("0.0.0.0:{}", free_port());
    let admin = format!("admin: {{ listen: $ADMIN, token: sesame, health: '{health}' }}\n");
    let _sidekey = lab.sidekey(&format!("{admin}{PAYMENTS}")).await;
    let ask = async |method: &str, path: &str| {
        let request = Request::new(method, path).host("any.example").field("Origin", "https://any.example");
        let mut connection = Connection::open(&health).await;
        connection.send(request).await
    };

    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!((ask("GET", path).await.status, ask("HEAD", path).await.status), (200, 200), "{path}");
    }
    for (method, path) in [("GET", "/api/status"), ("GET", "/"), ("POST", "/api/reload"), ("POST", "/livez")] {
        assert_eq!(ask(method, path).await.status, 404, "{method} {path}");
    }
}

#[tokio::test]
async fn the_admin_port_can_be_off() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey_starting(&format!("admin: off\n{PAYMENTS}"));

    until("the traffic port", async || tokio::net::TcpStream::connect(&sidekey.address).await.ok()).await;

    assert_eq!(sidekey.get("/payments/x").await.status_of_service(), 200);
    assert!(tokio::net::TcpStream::connect(&sidekey.admin).await.is_err());
}

#[tokio::test]
async fn recent_errors_of_ours_and_of_tokens_are_listed() {
    let lab = Lab::start().await;
    let idp = Fault::idp(|_| Reply::new(401, &[], r#"{"error": "invalid_client"}"#)).await;
    let url = idp.url();
    let auth =
        format!("auth: {{ type: oauth2_client_credentials, token_url: '{url}', client_id: me, client_secret: s }}");
    let sidekey =
        lab.sidekey(&format!("services: {{ payments: {{ url: $SERVICE, certificate: partner, {auth} }} }}")).await;

    sidekey.get("/payments/x").await.problem("token_rejected");

    let token = sidekey.until_token("payments", "failed").await;
    assert!(token["last_error"].to_string().contains("invalid_client"), "{token}");
    assert_eq!(token["failures"], 1);
    let errors = sidekey.status().await["errors"].to_string();
    assert!(errors.contains("token_rejected") && errors.contains("payments"), "{errors}");
}
