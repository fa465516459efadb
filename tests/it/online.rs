//! The commands that use what the config names: `token`, and `check --online`.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use serde_json::Value;

use crate::lab::fault::{Fault, Reply};
use crate::lab::sidekey::Finished;
use crate::lab::{Lab, free_port};

fn oauth2(endpoint: &str) -> String {
    format!(
        "auth: {{ type: oauth2_client_credentials, token_url: '{endpoint}', client_id: me, client_secret: hunter2 }}"
    )
}

async fn with_config(services: &str) -> Lab {
    let lab = Lab::start().await;
    let certificates = "certificates: { partner: { chain: tls/partner.pem, key: tls/partner.key } }";
    lab.write("sidekey.yaml", &lab.fill_in(&format!("{certificates}\nservices:\n{services}")));
    lab
}

/// As [`Lab::run`], while the servers of the test go on.
fn run(lab: &Lab, command: &str) -> Finished {
    tokio::task::block_in_place(|| lab.run(command))
}

fn jwt() -> String {
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let (header, claims) = (r#"{"alg":"ES256","kid":"key-1"}"#, r#"{"sub":"me","exp":1}"#);
    format!("{}.{}.c2lnbmF0dXJl", part(header), part(claims))
}

#[tokio::test(flavor = "multi_thread")]
async fn token_shows_type_lifetime_and_claims_and_raw_the_token_alone() {
    let token = jwt();
    let answer = serde_json::json!({
        "access_token": token, "token_type": "bearer", "expires_in": 300, "scope": "payments.read",
    });
    let idp = Fault::idp(move |_| Reply::json(&answer)).await;
    let lab =
        with_config(&format!("  payments: {{ url: $SERVICE, title: Payments API, {} }}", oauth2(&idp.url()))).await;

    let shown = run(&lab, "token payments");
    let raw = run(&lab, "token payments --raw --config sidekey.yaml");

    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""));
    for part in [
        "service    payments (Payments API)",
        &format!("from       127.0.0.1:{}", idp.port),
        "type       Bearer",
        "lifetime   5m, until 20",
        "scope      payments.read",
        "token      JWT, alg ES256, kid key-1",
        "  \"sub\": \"me\"",
    ] {
        assert!(shown.stdout.contains(part), "{part:?} in {}", shown.stdout);
    }
    assert!(jwt().split('.').all(|part| !shown.stdout.contains(part)), "{}", shown.stdout);
    assert_eq!((raw.code, raw.stdout, raw.stderr), (Some(0), format!("{}\n", jwt()), String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reorders_or_hides_text_is_spelt_out_in_what_token_shows() {
    let part = |json: &str| BASE64_URL_SAFE_NO_PAD.encode(json);
    let token = format!("{}.{}.c2ln", part(r#"{"alg":"ES256"}"#), part("{\"sub\":\"user\u{202e}nimda\u{200b}\"}"));
    let answer = serde_json::json!({ "access_token": token, "expires_in": 300, "scope": "left\u{202e}right" });
    let idp = Fault::idp(move |_| Reply::json(&answer)).await;
    let lab = with_config(&format!("  payments: {{ url: $SERVICE, {} }}", oauth2(&idp.url()))).await;

    let shown = run(&lab, "token payments").stdout;

    assert!(shown.contains(r#""sub": "user\u202enimda\u200b""#) && shown.contains(r"left\u{202e}right"), "{shown}");
    assert!(!shown.contains(['\u{202e}', '\u{200b}']), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn token_says_why_there_is_none() {
    let idp = Fault::idp(|_| Reply::new(401, &[], r#"{"error": "invalid_client"}"#)).await;
    let services = format!("  payments: {{ url: $SERVICE, {} }}\n  bare: {{ url: $SERVICE }}", oauth2(&idp.url()));
    let lab = with_config(&services).await;

    for (command, code, words) in [
        ("token payments", 1, "error: no token: 127.0.0.1:"),
        ("token payments", 1, "invalid_client"),
        (
            "token payments",
            1,
            "help: check `client_id` and `client_secret`, and whether the endpoint wants `client_auth: post`",
        ),
        ("token bare", 2, "error: the service `bare` has no token to fetch: its method is `none`"),
        ("token nobody", 2, "error: there is no service `nobody`; known here: bare, payments"),
        ("token payments --config nowhere.yaml", 2, "nowhere.yaml"),
    ] {
        let ended = run(&lab, command);

        assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{command}: {ended:?}");
        assert!(ended.stderr.contains(words), "{command}: {}", ended.stderr);
        assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_online_says_of_each_service_that_it_is_well_and_fetches_each_token_once() {
    let idp = Fault::idp(|_| Reply::token("abc", 300)).await;
    let auth = oauth2(&idp.url());
    let alone = auth.replace("id: me", "id: me, certificate: none");
    let plain = Fault::plain(|_| Reply::ok("")).await;
    let lab = with_config(&format!(
        "  one: {{ url: $SERVICE, certificate: partner, {alone} }}
  two: {{ url: $SERVICE_TLS12, certificate: partner, {alone} }}
  three: {{ url: '{}', {auth} }}",
        plain.url()
    ))
    .await;

    let ended = run(&lab, "check --online");
    let json = run(&lab, "check --online --format json");

    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    assert_eq!(
        ended.stdout,
        "the config is valid
one: token ok (expires in 5m), TLS 1.3 ok with CN=localhost, client certificate shown
three: token ok (expires in 5m), connection ok
two: token ok (expires in 5m), TLS 1.2 ok with CN=localhost, client certificate shown
"
    );
    assert_eq!((json.code, json.stdout.as_str()), (Some(0), "[]\n"));
    assert_eq!(idp.count(), 2, "one for each time, shared by all three");
    assert_eq!(plain.count(), 0, "no request is sent to a service that asks for no client certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_odd_about_a_token_is_told_though_it_is_used() {
    let idp =
        Fault::idp(|_| Reply::json(&serde_json::json!({ "access_token": "abc", "expires_in": 0, "scope": "read" })))
            .await;
    let auth = oauth2(&idp.url()).replace("client_id: me", "client_id: me, scope: read write");
    let lab = with_config(&format!("  payments: {{ url: $SERVICE, certificate: partner, {auth} }}")).await;

    let (checked, token) = (run(&lab, "check --online"), run(&lab, "token payments"));

    for ended in [&checked, &token] {
        assert_eq!(ended.code, Some(0), "{ended:?}");
        for told in ["gives `expires_in` as 0", "fewer scopes than `scope` asks for, without `write`"] {
            assert_eq!(ended.stderr.matches(told).count(), 1, "{told}: {}", ended.stderr);
        }
    }
    assert!(checked.stdout.contains("payments: token ok (expires in 5m)"), "{}", checked.stdout);
    assert!(token.stdout.contains("lifetime   5m"), "{}", token.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_online_says_what_is_wrong_and_what_to_do() {
    let idp = Fault::idp(|_| Reply::new(401, &[], r#"{"error": "invalid_client"}"#)).await;
    let nobody = free_port();
    let lab = with_config(&format!(
        "  closed: {{ url: 'https://127.0.0.1:{nobody}' }}
  misnamed: {{ url: $SERVICE_MISNAMED }}
  poor: {{ url: $SERVICE/poor, certificate: partner, {} }}
  strange: {{ url: $SERVICE/strange, tls: {{ ca: tls/stranger-ca.pem }} }}
  unknown: {{ url: 'https://no-such-name.invalid' }}
  well: {{ url: $SERVICE/well, certificate: partner }}",
        oauth2(&idp.url())
    ))
    .await;

    let ended = run(&lab, "check --online");
    let json = run(&lab, "check --online --format json");

    assert_eq!((ended.code, json.code), (Some(1), Some(1)), "{ended:?}");
    assert_eq!(ended.stdout, "the config is valid\nwell: TLS 1.3 ok with CN=localhost, client certificate shown\n");
    let problems: Value = serde_json::from_str(&json.stdout).unwrap();
    let problems = problems.as_array().unwrap();
    assert_eq!(problems.len(), 5, "{problems:#?}");
    for (problem, (line, message, help)) in problems.iter().zip([
        (3, "`closed`: no connection to 127.0.0.1:", "check that it is up"),
        (4, "is for elsewhere.example, not for localhost", "check `tls`"),
        (5, "`poor`: no token: 127.0.0.1:", "check `client_id`"),
        (6, "comes from a CA that is not trusted here", "check `tls`"),
        (7, "`no-such-name.invalid` can't be looked up", "check the host"),
    ]) {
        assert_eq!((&problem["severity"], &problem["line"]), (&"error".into(), &line.into()), "{problem}");
        assert_eq!(problem["column"], 3, "{problem}");
        assert!(problem["message"].as_str().unwrap().contains(message), "{message:?} in {problem}");
        assert!(problem["help"].as_str().unwrap().contains(help), "{help:?} in {problem}");
        assert!(ended.stderr.contains(problem["message"].as_str().unwrap().split(';').next().unwrap()), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_asks_for_a_certificate_is_asked_without_a_credential_whether_it_takes_it() {
    for (status, words, is_refused) in [
        (400, "<html><head><title>The SSL certificate error</title></head>", true),
        (403, "This client certificate has no access.", true),
        (403, "Forbidden.", false),
        (404, "There is no certificate of this number.", false),
        (405, "", false),
        (200, "certificates", false),
    ] {
        let lab = Lab::start().await;
        let service = Fault::tls(&lab, move |_| Reply::new(status, &[], words)).await;
        let certificates = "certificates: { partner: { chain: tls/partner.pem, key: tls/partner.key } }";
        let auth = "auth: { type: basic, username: me, password: hunter2-hunter2 }";
        let (url, tls) = (service.url(), "certificate: partner, tls: { ca: tls/ca.pem }");
        lab.write(
            "sidekey.yaml",
            &format!("{certificates}\nservices: {{ payments: {{ url: '{url}/v1', {tls}, {auth} }} }}"),
        );

        let ended = run(&lab, "check --online");

        assert_eq!(ended.code, Some(i32::from(is_refused)), "{status} {words}: {ended:?}");
        let told = format!("`payments`: it answers `OPTIONS /v1` with {status}: ");
        assert_eq!(ended.stderr.contains(&told), is_refused, "{ended:?}");
        assert_eq!(ended.stderr.contains("; our client certificate was shown before"), is_refused, "{ended:?}");
        assert!(!ended.stderr.contains("<title>"), "{ended:?}");
        let asked = service.only();
        assert_eq!((asked.method(), asked.target()), ("OPTIONS", "/v1"));
        assert_eq!(asked.field("authorization"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_online_sees_that_a_clock_is_wrong() {
    let date = ("Date", "Fri, 27 Nov 2020 12:00:00 GMT");
    let idp = Fault::idp(move |_| Reply::new(401, &[date], r#"{"error": "invalid_client"}"#)).await;
    // Only a JWT says when it was made.
    let signed = "client_secret: hunter2-hunter2-hunter2-hunter2-hunter2, client_auth: client_secret_jwt";
    let auth = oauth2(&idp.url()).replace("client_secret: hunter2", signed);
    let lab = with_config(&format!("  payments: {{ url: $SERVICE, {auth} }}")).await;

    let ended = run(&lab, "check --online");

    assert_eq!(ended.code, Some(1));
    let clocks = "help: its clock and ours are more than a minute apart";
    assert!(ended.stderr.contains(clocks), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_online_tries_nothing_where_the_config_is_wrong_or_has_no_secrets() {
    let idp = Fault::idp(|_| Reply::token("abc", 300)).await;
    let lab = with_config(&format!("  payments: {{ url: $SERVICE, titel: x, {} }}", oauth2(&idp.url()))).await;

    let wrong = run(&lab, "check --online");
    let both = run(&lab, "check --online --no-secrets");

    assert_eq!((wrong.code, both.code), (Some(2), Some(2)), "{wrong:?} {both:?}");
    assert!(both.stderr.contains("--no-secrets"), "{}", both.stderr);
    assert_eq!(idp.count(), 0);
}
