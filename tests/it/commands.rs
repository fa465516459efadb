//! The commands beside `run`: what they print, and how they end.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::lab::certificates::Validity;
use crate::lab::sidekey::Finished;
use crate::lab::{Lab, free_port, program};

const GOOD: &str = "
certificates: { partner: { chain: tls/partner.pem, key: tls/partner.key } }
services:
  payments:
    url: https://api.partner.example/v1
    certificate: partner
    auth: { type: bearer, token: { env: FROM_ENVIRONMENT } }
";

const BAD: &str = "services:
  payments:
    url: ftp://api.partner.example
    certificate: nobody
    titel: Payments
    auth: { type: oauth2_client_credentials, token_url: 'https://idp.example/token', client_id: me, client_secert: very-secret }
";

async fn with_config(text: &str) -> Lab {
    let lab = Lab::start().await;
    lab.write("sidekey.yaml", text);
    lab
}

#[track_caller]
fn succeeded(ended: Finished) -> Finished {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended
}

#[tokio::test]
async fn check_accepts_a_good_config() {
    let lab = with_config(GOOD).await;

    succeeded(lab.run("check"));
    succeeded(lab.run("check --config sidekey.yaml"));
    let json = succeeded(lab.run("check --format json"));

    assert_eq!(serde_json::from_str::<Value>(&json.stdout).unwrap(), serde_json::json!([]));
}

#[tokio::test]
async fn check_reads_standard_input() {
    let lab = with_config(GOOD).await;

    succeeded(lab.run_with("check --config -", GOOD));
    assert_eq!(lab.run_with("check --config -", BAD).code, Some(2));
}

#[tokio::test]
async fn check_reports_every_problem_at_once_with_its_place_and_the_way_out() {
    let lab = with_config(BAD).await;

    let ended = lab.run("check");

    assert_eq!(ended.code, Some(2), "{ended:?}");
    for part in [
        "sidekey.yaml:3:",
        "sidekey.yaml:4:",
        "nobody",
        "sidekey.yaml:5:",
        "unknown key \"titel\", did you mean \"title\"?",
        "sidekey.yaml:6:",
        "unknown key \"client_secert\", did you mean \"client_secret\"?",
        "titel: Payments",
    ] {
        assert!(ended.stderr.contains(part), "{part:?} in {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("very-secret"), "a quoted line has its secrets masked: {}", ended.stderr);
    assert!(!ended.stderr.contains('\x1b'), "colour only on a terminal");
}

#[tokio::test]
async fn check_reports_as_json_for_programs() {
    let lab = with_config(BAD).await;

    let ended = lab.run("check --format json");

    assert_eq!(ended.code, Some(2));
    let problems: Value = serde_json::from_str(&ended.stdout).unwrap();
    let problem = problems.as_array().unwrap().iter().find(|problem| problem["line"] == 5).unwrap();
    assert_eq!((&problem["severity"], &problem["column"]), (&"error".into(), &5.into()), "{problems:#}");
    assert!(problem["file"].as_str().unwrap().ends_with("sidekey.yaml"), "{problem}");
    assert!(problem["message"].as_str().unwrap().contains("titel"), "{problem}");
    assert!(problem.as_object().unwrap().contains_key("help"), "{problem}");
}

#[tokio::test]
async fn warnings_alone_leave_exit_0() {
    let lab = with_config(GOOD).await;
    lab.write_pair("partner", &lab.ca.client("partner", Validity::EXPIRED));

    let problems = succeeded(lab.run("check --format json")).stdout;

    let problems: Value = serde_json::from_str(&problems).unwrap();
    assert_eq!(problems[0]["severity"], "warning", "{problems}");
}

#[tokio::test]
async fn check_without_secrets_reads_no_environment_key_or_certificate() {
    let lab = with_config(&GOOD.replace("FROM_ENVIRONMENT", "NOT_SET").replace("tls/", "nowhere/")).await;

    assert_eq!(lab.run("check").code, Some(2));
    succeeded(lab.run("check --no-secrets"));
}

#[tokio::test]
async fn explain_names_route_service_and_upstream_and_masks_what_is_injected() {
    let lab = with_config(GOOD).await;

    let found = succeeded(lab.run("explain http://localhost:9800/payments/orders?x=1")).stdout;
    let proxied = succeeded(lab.run("explain -X POST http://api.partner.example/v1/orders")).stdout;
    let nothing = lab.run("explain http://localhost:9800/nobody");

    assert!(found.contains("payments") && found.contains("https://api.partner.example/v1/orders?x=1"), "{found}");
    assert!(found.to_lowercase().contains("authorization") && !found.contains("env-secret"), "{found}");
    assert!(proxied.contains("https://api.partner.example/v1/orders"), "{proxied}");
    assert!(format!("{}{}", nothing.stdout, nothing.stderr).contains("no"), "{nothing:?}");
}

#[tokio::test]
async fn explain_says_where_a_websocket_can_not_be_opened() {
    for (version, refused) in [("auto", false), ("2", true)] {
        let config = format!("services: {{ s: {{ url: 'https://api.example', http_version: {version} }} }}");
        let lab = with_config(&config).await;

        let said = lab.run("explain -H Connection:upgrade -H Upgrade:websocket /s/talk");

        let said = format!("{}{}", said.stdout, said.stderr);
        assert_eq!(said.contains("http_upgrade_failed"), refused, "{version}: {said}");
    }
}

#[tokio::test]
async fn schema_is_a_json_schema_of_the_config() {
    let lab = Lab::start().await;

    let schema: Value = serde_json::from_str(&succeeded(lab.run("schema")).stdout).unwrap();

    assert!(schema["$schema"].as_str().unwrap().contains("json-schema.org"), "{schema:#}");
    for key in
        ["listen", "admin", "access", "certificates", "services", "routes", "log", "limits", "shutdown", "workers"]
    {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
}

#[tokio::test]
async fn healthcheck_ends_with_0_or_1() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey("services: { payments: { url: $SERVICE, certificate: partner } }").await;

    succeeded(lab.run("healthcheck --config sidekey.yaml"));
    succeeded(lab.run(&format!("healthcheck --admin {}", sidekey.admin)));
    let nobody = lab.run(&format!("healthcheck --admin 127.0.0.1:{}", free_port()));

    assert_eq!(nobody.code, Some(1), "{nobody:?}");
}

#[tokio::test]
async fn healthcheck_needs_no_secret_of_the_config() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey("services: { payments: { url: $SERVICE, certificate: partner } }").await;
    let config = sidekey.written().replace("certificate: partner", "auth: { type: bearer, token: { env: NOT_SET } }");
    lab.write("without.yaml", &config);

    succeeded(lab.run("healthcheck --config without.yaml"));
}

#[tokio::test]
async fn healthcheck_waits_if_asked() {
    let lab = Lab::start().await;
    let written = {
        let sidekey = lab.sidekey("services: { payments: { url: $SERVICE, certificate: partner } }").await;
        sidekey.written()
    };
    let mut waiting = lab.program().args(["healthcheck", "--config", "sidekey.yaml", "--wait", "20s"]).spawn().unwrap();

    let _sidekey = lab.sidekey_at("sidekey.yaml", &written).await;

    assert!(waiting.wait().unwrap().success());
}

#[tokio::test]
async fn completions_are_printed_for_each_shell() {
    let lab = Lab::start().await;

    for shell in ["bash", "zsh", "fish"] {
        assert!(succeeded(lab.run(&format!("completions {shell}"))).stdout.contains("healthcheck"), "{shell}");
    }
}

#[tokio::test]
async fn help_and_version_are_no_errors() {
    let lab = Lab::start().await;

    assert!(succeeded(lab.run("--help")).stdout.contains("healthcheck"));
    assert!(succeeded(lab.run("--version")).stdout.contains(env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn demo_once_shows_a_request_on_its_way_and_exits() {
    let lab = Lab::start().await;

    let shown = succeeded(lab.run("demo --once")).stdout;

    for part in ["GET ", "CN=", "Bearer ", "scope", "200"] {
        assert!(shown.contains(part), "{part:?} in {shown}");
    }
}

#[tokio::test]
async fn demo_prints_a_curl_line_that_works() {
    let lab = Lab::start().await;
    let mut demo = lab.program().arg("demo").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
    let curl = lines.filter_map(|line| line.find("curl ").map(|start| line[start..].to_owned())).next();
    let curl = curl.expect("a line with curl");

    let output =
        program::output(Command::new("sh").args(["-c", &format!("exec {curl} --silent --fail --max-time 20")]));
    // As a closed terminal does: it leaves nothing behind.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(demo.id() as i32), nix::sys::signal::Signal::SIGHUP).unwrap();
    assert!(demo.wait().unwrap().success());

    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("CN="), "{curl}: {output:?}");
}
