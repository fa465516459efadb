//! Secrets that a command prints.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::lab::fault::{Fault, Reply};
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, until};

const ONCE: &str = "command: [./token, --from, vault]";
const OFTEN: &str = "command: [./token, --from, vault], refresh: 1s";

/// Prints what is in the file of its last argument, and counts its runs.
const SCRIPT: &str = "#!/bin/sh\necho run >>runs\ncat \"$2\"\n";

/// A lab with the script, and what it prints.
async fn lab(secret: Option<&str>) -> Lab {
    let lab = Lab::start().await;
    lab.write("token", SCRIPT);
    fs::set_permissions(lab.path("token"), fs::Permissions::from_mode(0o700)).unwrap();
    if let Some(secret) = secret {
        lab.write("vault", secret);
    }
    lab
}

fn config(service: &Fault, secret: &str) -> String {
    format!("services:\n  payments: {{ url: '{}', auth: {{ type: bearer, token: {{ {secret} }} }} }}\n", service.url())
}

async fn until_sent(sidekey: &Sidekey, service: &Fault, authorization: &str) {
    until(authorization, async || {
        assert_eq!(sidekey.get("/payments/x").await.status_of_service(), 200);
        (service.received().last()?.field("authorization")? == authorization).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_secret_that_a_command_prints_is_sent_and_refreshed() {
    let lab = lab(Some("one\n")).await;
    let service = Fault::plain(|_| Reply::ok("")).await;
    let sidekey = lab.sidekey(&config(&service, OFTEN)).await;
    until_sent(&sidekey, &service, "Bearer one").await;

    lab.write("vault", "two\n");
    until_sent(&sidekey, &service, "Bearer two").await;

    sidekey.until_logged("service `payments` changed (auth)").await;
    for said in [sidekey.log(), sidekey.status().await.to_string(), sidekey.admin("/metrics").await.text()] {
        assert!(!said.contains("one\n") && !said.contains("\"two\"") && !said.contains("Bearer two"), "{said}");
    }
}

#[tokio::test]
async fn a_command_that_begins_to_fail_leaves_its_secret_in_service() {
    let lab = lab(Some("one\n")).await;
    let service = Fault::plain(|_| Reply::ok("")).await;
    let sidekey = lab.sidekey(&config(&service, OFTEN)).await;

    fs::remove_file(lab.path("vault")).unwrap();
    sidekey.until_logged("the secret that it gave before stays in service").await;
    until_sent(&sidekey, &service, "Bearer one").await;
    assert!(sidekey.status().await["config"]["last_error"].is_null());

    // A change of something else: the command is run by that load too.
    sidekey.rewrite(&lab, &(config(&service, OFTEN) + "  orders: { url: $SERVICE }\n"));
    let error = sidekey.until_reload_refused().await;
    assert!(error.contains("the command `./token` ended with status 1: cat: vault: No such file"), "{error}");
    until_sent(&sidekey, &service, "Bearer one").await;

    lab.write("vault", "two\n");
    until_sent(&sidekey, &service, "Bearer two").await;
    assert!(sidekey.status().await["config"]["last_error"].is_null());
}

#[tokio::test]
async fn a_command_that_fails_at_the_start_is_answered_503_until_it_works() {
    let lab = lab(None).await;
    let service = Fault::plain(|_| Reply::ok("")).await;
    let sidekey = lab.sidekey(&config(&service, ONCE)).await;

    sidekey.until_logged("the command `./token` ended with status 1: cat: vault: No such file").await;
    assert!(!sidekey.log().contains("warning: "), "the line says itself what it is: {}", sidekey.log());
    let answer = sidekey.get("/payments/x").await;
    assert_eq!(
        answer.problem("credential_unavailable"),
        "the command `./token` ended with status 1: cat: vault: No such file or directory; it is run again until it \
         gives the secret"
    );
    assert_eq!((answer.status, service.count()), (503, 0), "nothing is sent without its credential");

    lab.write("vault", "one\n");
    until("the credential", async || (sidekey.get("/payments/x").await.status == 200).then_some(())).await;
    assert_eq!(service.received()[0].field("authorization").as_deref(), Some("Bearer one"));
}

#[tokio::test]
async fn no_token_is_asked_for_without_the_secret_of_a_command() {
    let lab = lab(None).await;
    let service = Fault::plain(|_| Reply::ok("")).await;
    let idp = Fault::idp(|_| Reply::token("first", 600)).await;
    let sidekey = lab.sidekey_starting(&format!(
        "services:\n  payments:\n    url: {}\n    ready: required\n    auth:\n      type: oauth2_client_credentials\n      \
         token_url: {}\n      client_id: a\n      client_secret: {{ {OFTEN} }}\n",
        service.url(),
        idp.url()
    ));
    sidekey.until_alive().await;

    sidekey.get("/payments/x").await.problem("credential_unavailable");
    let unready = sidekey.admin("/readyz").await;
    assert_eq!(unready.status, 503);
    assert!(unready.text().contains("the command `./token` ended with status 1"), "{unready:?}");
    assert_eq!((idp.count(), service.count()), (0, 0));

    lab.write("vault", "hunter2\n");
    until("readiness", async || (sidekey.admin("/readyz").await.status == 200).then_some(())).await;
    until_sent(&sidekey, &service, "Bearer first").await;
    assert_eq!(idp.received()[0].field("authorization").as_deref(), Some("Basic YTpodW50ZXIy"));
}

#[tokio::test]
async fn check_runs_commands_and_says_why_one_fails() {
    let lab = lab(None).await;
    let service = Fault::plain(|_| Reply::ok("")).await;
    lab.write("sidekey.yaml", &config(&service, ONCE));

    let unread = lab.run("check --config sidekey.yaml --no-secrets");
    assert_eq!((unread.code, lab.path("runs").exists()), (Some(0), false), "{unread:?}");

    let failed = lab.run("check --config sidekey.yaml");
    assert_eq!(failed.code, Some(2), "{failed:?}");
    let message = "error: the command `./token` ended with status 1: cat: vault: No such file or directory";
    assert!(failed.stderr.contains(message), "{failed:?}");
    assert!(failed.stderr.contains("sidekey.yaml:2:"), "{failed:?}");

    lab.write("vault", "hunter2\n");
    let found = lab.run("check --config sidekey.yaml");
    assert_eq!(found.code, Some(0), "{found:?}");
    assert_eq!(fs::read_to_string(lab.path("runs")).unwrap().lines().count(), 2);
    assert!(!format!("{failed:?}{found:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_command_that_fails_for_the_proxys_own_token_ends_the_start() {
    let lab = lab(None).await;
    let sidekey = lab.sidekey_starting(&format!("services: {{}}\naccess: {{ token: {{ {ONCE} }} }}\n"));

    let (code, log) = sidekey.ended().await;

    assert_eq!(code, Some(2));
    assert!(log.contains("error: the command `./token` ended with status 1: cat: vault: No such file"), "{log}");
}

#[tokio::test]
async fn a_command_does_not_inherit_what_the_config_reads_as_secrets() {
    let lab = lab(None).await;
    lab.write("token", "#!/bin/sh\nenv >seen\necho from-the-command\n");
    fs::set_permissions(lab.path("token"), fs::Permissions::from_mode(0o700)).unwrap();
    // The command comes first in the file, a method that is known only by the environment and its secret last.
    let service = |name, auth| format!("  {name}: {{ url: 'https://{name}.example', auth: {{ {auth} }} }}\n");
    let services = [
        service("a", "type: bearer, token: { command: [./token] }"),
        service("b", "type: api_key, key: { env: KEY_OF_B }, header: { env: HEADER_OF_B }"),
        service("c", "type: { env: METHOD_OF_C }, token: { env: TOKEN_OF_C, default: none-at-all }"),
    ];
    lab.write("sidekey.yaml", &format!("services:\n{}", services.concat()));
    let variables = [
        ("KEY_OF_B", "secret-of-b"),
        ("HEADER_OF_B", "x-key"),
        ("METHOD_OF_C", "bearer"),
        ("TOKEN_OF_C", "secret-of-c"),
    ];

    let checked = lab.program().arg("check").envs(variables).env("PATH", "/usr/bin:/bin").output().unwrap();

    assert!(checked.status.success(), "{checked:?}");
    let seen = fs::read_to_string(lab.path("seen")).unwrap();
    for inherited in ["HEADER_OF_B=x-key", "METHOD_OF_C=bearer", "FROM_ENVIRONMENT=env-secret", "PATH="] {
        assert!(seen.contains(inherited), "{inherited} in {seen}");
    }
    assert!(!seen.contains("_OF_B=secret") && !seen.contains("TOKEN_OF_C"), "{seen}");
}

#[tokio::test]
async fn a_program_that_others_can_change_is_warned_of_wherever_it_is_found() {
    let lab = lab(Some("one-of-many")).await;
    lab.write("sidekey.yaml", "services: { a: { url: 'https://a.example', auth: { type: bearer, token: { command: [token, --from, vault] } } } }");
    let check = |mode| {
        fs::set_permissions(lab.path("token"), fs::Permissions::from_mode(mode)).unwrap();
        let path = format!("{}:/usr/bin:/bin", lab.path("").display());
        let checked = lab.program().arg("check").env("PATH", path).output().unwrap();
        assert!(checked.status.success(), "{checked:?}");
        String::from_utf8(checked.stderr).unwrap()
    };

    assert_eq!(check(0o700), "");
    assert!(check(0o703).contains("token` can be changed by others"), "{}", check(0o703));
}
