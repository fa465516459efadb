//! A rotated refresh token is never lost, and the one before it never sent again: its loss costs a login by hand.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::lab::client::{Request, exchange};
use crate::lab::fault::{Fault, Gate, Received, Reply};
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, until};

/// A service whose refresh token begins as `refresh-0`.
fn refreshing(name: &str, endpoint: &Fault, fields: &str) -> String {
    format!(
        "  {name}: {{ url: 'http://127.0.0.1:1', auth: {{ type: oauth2_refresh_token, token_url: '{}', client_id: me, \
         client_secret: cl13nt, refresh_token: refresh-0, {fields} }} }}\n",
        endpoint.url()
    )
}

fn config(services: &[String]) -> String {
    format!("services:\n  plain: {{ url: 'http://127.0.0.1:1' }}\n{}", services.concat())
}

fn rotated(request: &Received) -> Reply {
    let next = request.number + 1;
    Reply::json(&json!({
        "access_token": format!("access-{next}"), "refresh_token": format!("refresh-{next}"), "expires_in": 300,
    }))
}

async fn rotating() -> Fault {
    Fault::idp(rotated).await
}

/// Holds its first answer back until the gate is opened.
async fn rotating_after(gate: &Gate) -> Fault {
    let gate = gate.clone();
    Fault::idp(move |request| match request.number {
        0 => Reply::after(&gate).then(rotated(request)),
        _ => rotated(request),
    })
    .await
}

/// The refresh tokens that came, in order.
fn sent(endpoint: &Fault) -> Vec<String> {
    let whole = endpoint.received().into_iter().filter(|request| request.whole);
    whole.map(|request| request.form("refresh_token").unwrap()).collect()
}

async fn until_sent(endpoint: &Fault, count: usize) {
    until(&format!("{count} requests"), async || (sent(endpoint).len() >= count).then_some(())).await;
    let expected: Vec<_> = (0..count).map(|number| format!("refresh-{number}")).collect();
    assert_eq!(sent(endpoint), expected, "each once, and the newest each time");
}

/// The refresh token in a state file.
fn kept(path: &PathBuf) -> Option<String> {
    let text = fs::read(path).ok()?;
    let state: Value = serde_json::from_slice(&text).unwrap();
    Some(state["refresh_token"].as_str().unwrap().to_owned())
}

async fn until_kept(lab: &Lab, file: &str, token: &str) {
    until(&format!("{token} in {file}"), async || (kept(&lab.path(file))? == token).then_some(())).await;
}

async fn lab_with_state() -> Lab {
    let lab = Lab::start().await;
    fs::create_dir(lab.path("state")).unwrap();
    lab
}

fn files_of_state(lab: &Lab) -> BTreeSet<String> {
    let files = fs::read_dir(lab.path("state")).unwrap();
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

async fn until_drained(sidekey: &Sidekey) {
    until("a process that has drained", async || {
        sidekey.admin("/readyz").await.text().contains("the process has drained").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_used_one_is_never_sent_again_whatever_a_reload_changes() {
    let lab = lab_with_state().await;
    let endpoint = rotating().await;
    let of = |name: &str, fields: &str| config(&[refreshing(name, &endpoint, fields)]);
    let sidekey = lab.sidekey(&of("payments", "audience: a")).await;
    until_sent(&endpoint, 1).await;

    // Each makes another entry, which asks for a token of its own.
    let changes = [
        ("a file that is added", of("payments", "audience: a, state_file: state/one")),
        ("a file that is moved", of("payments", "audience: a, state_file: state/two")),
        ("a file that is removed", of("payments", "audience: b")),
        ("a file that holds an old one", of("payments", "audience: b, state_file: state/one")),
        ("another scope", of("payments", "scope: read, state_file: state/one")),
        ("another name", of("refunds", "scope: write, timeout: 20s, state_file: state/one")),
        ("nobody who uses it", config(&[])),
        ("one who does again", of("payments", "audience: a")),
    ];
    let mut requests = 1;
    for (what, changed) in changes {
        let generation = sidekey.generation().await;
        sidekey.rewrite(&lab, &changed);
        sidekey.until_reloaded_since(generation).await;
        if changed.contains("refresh-0") {
            requests += 1;
        }
        println!("{what}");
        until_sent(&endpoint, requests).await;
        if let Some(file) = ["state/one", "state/two"].into_iter().find(|file| changed.contains(file)) {
            until_kept(&lab, file, &format!("refresh-{requests}")).await;
        }
    }
    assert_eq!(sent(&endpoint).len(), 8);
}

#[tokio::test]
async fn a_file_that_is_added_holds_what_is_known_before_anything_else_is_asked_for() {
    let lab = lab_with_state().await;
    let gate = Gate::closed();
    let held = gate.clone();
    let endpoint = Fault::idp(move |request| match request.number {
        0 => rotated(request),
        _ => Reply::after(&held).then(rotated(request)),
    })
    .await;
    let sidekey = lab.sidekey(&config(&[refreshing("payments", &endpoint, "")])).await;
    sidekey.until_token("payments", "valid").await;

    sidekey.rewrite(&lab, &config(&[refreshing("payments", &endpoint, "state_file: state/token")]));

    until_kept(&lab, "state/token", "refresh-1").await;
    gate.open();
    until_kept(&lab, "state/token", "refresh-2").await;
}

#[tokio::test]
async fn services_of_one_refresh_token_share_what_takes_its_place_wherever_each_keeps_it() {
    let lab = lab_with_state().await;
    let endpoint = rotating().await;
    let one = refreshing("one", &endpoint, "scope: a, state_file: state/one");
    let two = refreshing("two", &endpoint, "scope: b, state_file: state/two");

    let _sidekey = lab.sidekey(&config(&[one, two])).await;

    until_sent(&endpoint, 2).await;
    until_kept(&lab, "state/one", "refresh-2").await;
    until_kept(&lab, "state/two", "refresh-2").await;
}

/// Ends it in order, with all that it has on the disk.
async fn ended(sidekey: Sidekey) {
    sidekey.signal(Signal::SIGTERM);
    assert_eq!(sidekey.ended().await.0, Some(0));
}

#[tokio::test]
async fn a_start_brings_a_file_that_is_not_there_up_to_date_whichever_of_the_family_it_is() {
    let lab = lab_with_state().await;
    let endpoint = rotating().await;
    let both = config(&[
        refreshing("one", &endpoint, "scope: a, state_file: state/one"),
        refreshing("two", &endpoint, "scope: b, state_file: state/two"),
    ]);
    let sidekey = lab.sidekey(&both).await;
    until_sent(&endpoint, 2).await;
    ended(sidekey).await;

    for (restarts, missing) in ["state/one", "state/two"].into_iter().enumerate() {
        fs::remove_file(lab.path(missing)).unwrap();

        let sidekey = lab.sidekey(&both).await;

        let requests = 2 * (restarts + 2);
        until_sent(&endpoint, requests).await;
        ended(sidekey).await;
        for file in ["state/one", "state/two"] {
            assert_eq!(kept(&lab.path(file)), Some(format!("refresh-{requests}")), "{file}, without {missing}");
        }
    }
}

#[tokio::test]
async fn of_files_that_differ_the_newest_is_where_a_start_begins() {
    for old in ["state/one", "state/two"] {
        let lab = lab_with_state().await;
        let endpoint = rotating().await;
        let one = refreshing("one", &endpoint, "scope: a, state_file: state/one");
        let two = refreshing("two", &endpoint, "scope: b, state_file: state/two");
        let sidekey = lab.sidekey(&config(std::slice::from_ref(&one))).await;
        until_sent(&endpoint, 1).await;
        ended(sidekey).await;
        let before = fs::read(lab.path("state/one")).unwrap();
        let sidekey = lab.sidekey(&config(&[one.clone(), two.clone()])).await;
        until_sent(&endpoint, 3).await;
        ended(sidekey).await;

        // As if its disk had failed since.
        fs::write(lab.path(old), before).unwrap();
        let sidekey = lab.sidekey(&config(&[one, two])).await;

        until_sent(&endpoint, 5).await;
        ended(sidekey).await;
        for file in ["state/one", "state/two"] {
            assert_eq!(kept(&lab.path(file)).as_deref(), Some("refresh-5"), "{file}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_a_command_asks_for_is_asked_for_with_the_newest_of_the_family() {
    let lab = lab_with_state().await;
    let endpoint = rotating().await;
    let one = refreshing("one", &endpoint, "scope: a, state_file: state/one");
    let two = refreshing("two", &endpoint, "scope: b, state_file: state/two");
    let three = refreshing("three", &endpoint, "scope: c");
    let sidekey = lab.sidekey(&config(std::slice::from_ref(&one))).await;
    until_sent(&endpoint, 1).await;
    until_kept(&lab, "state/one", "refresh-1").await;
    ended(sidekey).await;
    lab.write("sidekey.yaml", &lab.fill_in(&config(&[one, two, three])));
    let run = |command: &str| tokio::task::block_in_place(|| lab.run(command));

    for (asked, command) in ["token two", "token three", "token one", "check --online"].into_iter().enumerate() {
        let finished = run(command);

        assert_eq!(finished.code, Some(0), "{command}: {finished:?}");
        let sent = endpoint.received()[asked + 1].form("refresh_token");
        assert_eq!(sent, Some(format!("refresh-{}", asked + 1)), "{command}");
    }
    until_kept(&lab, "state/one", &format!("refresh-{}", endpoint.count())).await;
    until_kept(&lab, "state/two", &format!("refresh-{}", endpoint.count())).await;
}

#[tokio::test]
async fn a_refused_reload_leaves_no_lock_and_no_file() {
    let lab = lab_with_state().await;
    let endpoint = rotating().await;
    let sidekey = lab.sidekey(&config(&[])).await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let [one, two] =
        ["one", "two"].map(|name| refreshing(name, &endpoint, &format!("audience: {name}, state_file: state/{name}")));

    sidekey.rewrite(
        &lab,
        &format!("listen: [$LISTEN, '{}']\n{}", taken.local_addr().unwrap(), config(std::slice::from_ref(&one))),
    );
    let refused = sidekey.until_reload_refused().await;
    assert!(refused.contains("can't listen on"), "{refused}");
    assert_eq!(files_of_state(&lab), BTreeSet::new());

    let lock = File::create(lab.path("state/two.lock")).unwrap();
    lock.lock().unwrap();
    sidekey.rewrite(&lab, &config(&[one.clone(), two.clone()]));
    sidekey.until_logged("is in use by another process").await;
    assert_eq!(files_of_state(&lab), BTreeSet::from(["two.lock".to_owned()]));
    assert_eq!(endpoint.count(), 0);

    drop(lock);
    let generation = sidekey.generation().await;
    sidekey.signal(Signal::SIGHUP);
    sidekey.until_reloaded_since(generation).await;
    until_sent(&endpoint, 2).await;
    until_kept(&lab, "state/one", "refresh-2").await;
}

#[tokio::test]
async fn an_answer_for_a_service_that_is_gone_is_on_the_disk_before_the_end() {
    let lab = lab_with_state().await;
    let gate = Gate::closed();
    let endpoint = rotating_after(&gate).await;
    let sidekey = lab.sidekey(&config(&[refreshing("payments", &endpoint, "state_file: state/token")])).await;
    endpoint.until_received(1).await;
    let generation = sidekey.generation().await;
    sidekey.rewrite(&lab, &config(&[]));
    sidekey.until_reloaded_since(generation).await;

    sidekey.signal(Signal::SIGTERM);
    until_drained(&sidekey).await;
    gate.open();

    assert_eq!(sidekey.ended().await.0, Some(0));
    assert_eq!(kept(&lab.path("state/token")).as_deref(), Some("refresh-1"));
}

#[tokio::test]
async fn no_request_for_a_token_begins_once_all_else_has_ended() {
    let lab = lab_with_state().await;
    let gate = Gate::closed();
    let endpoint = rotating_after(&gate).await;
    let [one, two] =
        ["one", "two"].map(|name| refreshing(name, &endpoint, &format!("audience: {name}, state_file: state/{name}")));
    // The second waits for the first, whose answer holds the token that it needs.
    let sidekey = lab.sidekey(&config(&[one, two])).await;
    endpoint.until_received(1).await;

    sidekey.signal(Signal::SIGTERM);
    until_drained(&sidekey).await;
    gate.open();

    assert_eq!(sidekey.ended().await.0, Some(0));
    assert_eq!(sent(&endpoint), ["refresh-0"]);
    for file in ["state/one", "state/two"] {
        assert_eq!(kept(&lab.path(file)).as_deref(), Some("refresh-1"));
    }
}

#[tokio::test]
async fn a_second_signal_waits_a_moment_for_an_answer_and_no_longer() {
    for answers in [true, false] {
        let lab = lab_with_state().await;
        let gate = Gate::closed();
        let endpoint = rotating_after(&gate).await;
        let sidekey = lab.sidekey(&config(&[refreshing("payments", &endpoint, "state_file: state/token")])).await;
        endpoint.until_received(1).await;

        sidekey.signal(Signal::SIGTERM);
        sidekey.until_logged("draining").await;
        sidekey.signal(Signal::SIGTERM);
        sidekey.until_logged("a second signal").await;
        if answers {
            gate.open();
        }

        assert_eq!(sidekey.ended().await.0, Some(1));
        assert_eq!(kept(&lab.path("state/token")), answers.then(|| "refresh-1".to_owned()));
    }
}

#[tokio::test]
async fn a_folder_for_the_state_that_comes_later_is_taken_and_no_reload_finds_itself_in_its_way() {
    let lab = Lab::start().await;
    let endpoint = rotating().await;
    let service = refreshing("payments", &endpoint, "state_file: later/token");
    let sidekey = lab.sidekey(&config(std::slice::from_ref(&service))).await;
    until_sent(&endpoint, 1).await;
    std::fs::create_dir(lab.path("later")).unwrap();
    sidekey.until_logged("can't be written").await;
    until("the state", async || {
        let demand = Request::post("/api/services/payments/token/refresh", "").field("Sidekey-Admin", "1");
        exchange(&sidekey.admin, demand).await;
        kept(&lab.path("later/token"))
    })
    .await;

    for level in ["all", "errors"] {
        let generation = sidekey.generation().await;
        sidekey.rewrite(&lab, &format!("log: {{ access: {level} }}\n{}", config(std::slice::from_ref(&service))));
        sidekey.until_reloaded_since(generation).await;
    }

    assert!(!sidekey.log().contains("another process"), "{}", sidekey.log());
}
