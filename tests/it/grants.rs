//! The grants beside client credentials: refresh tokens that are rotated and kept, exchanges, passwords.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use serde_json::{Value, json};

use crate::lab::client::Request;
use crate::lab::fault::{Fault, Gate, Received, Reply};
use crate::lab::idp::Idp;
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, until};

/// A service behind this method.
fn service(url: &str, auth: &str) -> String {
    format!("\nservices:\n  payments:\n    url: {url}\n    auth: {{ {auth} }}\n")
}

/// The config of a service whose refresh token begins as `refresh-0`.
fn refreshing(service_url: &str, endpoint: &Fault, fields: &str) -> String {
    let auth = format!(
        "type: oauth2_refresh_token, token_url: '{}', client_id: me, client_secret: cl13nt, refresh_token: refresh-0, {fields}",
        endpoint.url()
    );
    service(service_url, &auth)
}

/// Answers with the access and refresh tokens of the next number.
fn rotated(request: &Received, lifetime: u64) -> Reply {
    let next = request.number + 1;
    Reply::json(&json!({
        "access_token": format!("access-{next}"), "refresh_token": format!("refresh-{next}"), "expires_in": lifetime,
    }))
}

async fn rotating(lifetime: u64) -> Fault {
    Fault::idp(move |request| rotated(request, lifetime)).await
}

/// A service that says which token it saw.
async fn echo() -> Fault {
    Fault::plain(|request| Reply::ok(&request.field("authorization").unwrap_or_default())).await
}

/// The refresh tokens that came, in order.
fn refresh_tokens(endpoint: &Fault) -> Vec<String> {
    let requests = endpoint.received();
    requests.iter().filter(|request| request.whole).map(|request| request.form("refresh_token").unwrap()).collect()
}

struct State(PathBuf);

impl State {
    fn of(lab: &Lab) -> Self {
        Self(lab.path("state/token"))
    }

    fn token(&self) -> String {
        let text = fs::read(&self.0).unwrap();
        let state: Value = serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"));
        assert_eq!(state["config"].as_str().unwrap().len(), 64);
        state["refresh_token"].as_str().unwrap().to_owned()
    }

    async fn until(&self, token: &str) {
        until(token, async || (self.0.exists() && self.token() == token).then_some(())).await;
    }
}

/// A lab with an empty folder `state`.
async fn lab_with_state() -> (Lab, State) {
    let lab = Lab::start().await;
    fs::create_dir(lab.path("state")).unwrap();
    let state = State::of(&lab);
    (lab, state)
}

#[tokio::test]
async fn a_rotated_refresh_token_takes_the_place_of_the_old_one() {
    let lab = Lab::start().await;
    let (endpoint, service) = (rotating(2).await, echo().await);

    let sidekey = lab.sidekey(&refreshing(&service.url(), &endpoint, "refresh_ahead: 50%")).await;

    endpoint.until_received(3).await;
    assert_eq!(refresh_tokens(&endpoint)[..2], ["refresh-0", "refresh-1"]);
    let first = &endpoint.received()[0];
    assert_eq!(first.form("grant_type").unwrap(), "refresh_token");
    assert!(sidekey.get("/payments").await.text().starts_with("Bearer access-"));
}

#[tokio::test]
async fn a_rotated_refresh_token_is_on_the_disk_before_its_access_token_is_used() {
    let (lab, state) = lab_with_state().await;
    let (gate, path) = (Gate::closed(), state.0.clone());
    let endpoint = {
        let gate = gate.clone();
        Fault::idp(move |request| Reply::after(&gate).then(rotated(request, 300))).await
    };
    let service = Fault::plain(move |_| Reply::ok(&fs::read_to_string(&path).unwrap_or_default())).await;
    let sidekey = lab.sidekey(&refreshing(&service.url(), &endpoint, "state_file: state/token")).await;

    let (answer, ()) = tokio::join!(sidekey.get("/payments"), async {
        endpoint.until_received(1).await;
        gate.open();
    });

    assert!(answer.text().contains("refresh-1"), "{}", answer.text());
    assert_eq!(fs::metadata(&state.0).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_restart_goes_on_with_the_rotated_token_unless_the_config_has_another() {
    let (lab, state) = lab_with_state().await;
    let (endpoint, service) = (rotating(300).await, echo().await);
    let config = refreshing(&service.url(), &endpoint, "state_file: state/token");
    let sidekey = lab.sidekey(&config).await;
    sidekey.until_token("payments", "valid").await;
    assert_eq!(sidekey.stop().await.0, Some(0));

    let sidekey = lab.sidekey(&config).await;
    sidekey.until_token("payments", "valid").await;
    assert_eq!(refresh_tokens(&endpoint), ["refresh-0", "refresh-1"]);
    assert_eq!(state.token(), "refresh-2");

    sidekey.rewrite(&lab, &config.replace("refresh-0", "another"));
    endpoint.until_received(3).await;
    state.until("refresh-3").await;
    assert_eq!(refresh_tokens(&endpoint), ["refresh-0", "refresh-1", "another"]);
    sidekey.stop().await;

    let sidekey = lab.sidekey(&config.replace("refresh-0", "another")).await;
    sidekey.until_token("payments", "valid").await;
    assert_eq!(refresh_tokens(&endpoint).last().unwrap(), "refresh-3");
}

#[tokio::test]
async fn a_rotated_token_outlives_a_reload_that_makes_another_entry_of_it() {
    let lab = Lab::start().await;
    let (endpoint, service) = (rotating(300).await, echo().await);
    let config = refreshing(&service.url(), &endpoint, "audience: one");
    let sidekey = lab.sidekey(&config).await;
    sidekey.until_token("payments", "valid").await;

    sidekey.rewrite(&lab, &config.replace("audience: one", "audience: two"));

    endpoint.until_received(2).await;
    until("the form", async || (refresh_tokens(&endpoint).len() == 2).then_some(())).await;
    assert_eq!(refresh_tokens(&endpoint), ["refresh-0", "refresh-1"]);
}

/// An endpoint that holds its first answer back until the gate is opened.
async fn rotating_after(gate: &Gate) -> Fault {
    let gate = gate.clone();
    Fault::idp(move |request| match request.number {
        0 => Reply::after(&gate).then(rotated(request, 300)),
        _ => rotated(request, 300),
    })
    .await
}

#[tokio::test]
async fn an_answer_under_way_is_heard_out_though_a_reload_makes_its_entry_another() {
    let lab = Lab::start().await;
    let gate = Gate::closed();
    let (endpoint, service) = (rotating_after(&gate).await, echo().await);
    let config = refreshing(&service.url(), &endpoint, "audience: one");
    let sidekey = lab.sidekey(&config).await;
    endpoint.until_received(1).await;
    let generation = sidekey.generation().await;
    sidekey.rewrite(&lab, &config.replace("audience: one", "audience: two"));
    sidekey.until_reloaded_since(generation).await;
    assert_eq!(endpoint.count(), 1, "one at a time");

    gate.open();
    sidekey.until_token("payments", "valid").await;

    assert_eq!(refresh_tokens(&endpoint), ["refresh-0", "refresh-1"]);
    assert_eq!(sidekey.get("/payments").await.text(), "Bearer access-2");
}

#[tokio::test]
async fn an_answer_under_way_is_heard_out_before_the_process_ends() {
    let (lab, state) = lab_with_state().await;
    let gate = Gate::closed();
    let (endpoint, service) = (rotating_after(&gate).await, echo().await);
    let sidekey = lab.sidekey(&refreshing(&service.url(), &endpoint, "state_file: state/token")).await;
    endpoint.until_received(1).await;

    sidekey.signal(nix::sys::signal::Signal::SIGTERM);
    sidekey.until_logged("draining").await;
    gate.open();

    assert_eq!(sidekey.ended().await.0, Some(0));
    assert_eq!(state.token(), "refresh-1");
}

#[tokio::test]
async fn a_second_process_ends_with_exit_1_and_check_does_not_mind() {
    let (lab, _state) = lab_with_state().await;
    let (endpoint, service) = (rotating(300).await, echo().await);
    let sidekey = lab.sidekey(&refreshing(&service.url(), &endpoint, "state_file: state/token")).await;
    sidekey.until_token("payments", "valid").await;

    let second = lab.run("run --config sidekey.yaml");

    let said = format!("state/token` is in use by another process ({})", sidekey.id());
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.contains("error: the state file `") && second.stderr.contains(&said), "{second:?}");
    let check = lab.run("check --config sidekey.yaml");
    assert_eq!((check.code, check.stderr.as_str()), (Some(0), ""));
    assert_eq!(endpoint.count(), 1);
}

#[tokio::test]
async fn a_reload_that_would_take_another_processs_state_is_refused() {
    let (lab, _state) = lab_with_state().await;
    let (endpoint, service) = (rotating(300).await, echo().await);
    let sidekey = lab.sidekey(&refreshing(&service.url(), &endpoint, "audience: one")).await;
    let lock = fs::File::create(lab.path("state/token.lock")).unwrap();
    lock.lock().unwrap();

    sidekey.rewrite(&lab, &refreshing(&service.url(), &endpoint, "state_file: state/token"));

    let refused = sidekey.until_reload_refused().await;
    assert!(refused.contains("is in use by another process"), "{refused}");
    assert_eq!(sidekey.get("/payments").await.text(), "Bearer access-1");
}

#[tokio::test]
async fn what_can_not_be_written_serves_from_memory_with_a_mark_until_it_can() {
    let lab = Lab::start().await;
    let (endpoint, service) = (rotating(2).await, echo().await);
    let fields = "refresh_ahead: 50%, state_file: state/token";
    let sidekey = lab.sidekey(&refreshing(&service.url(), &endpoint, fields)).await;

    let token = sidekey.until_token("payments", "valid").await;

    let mark = token["last_error"].as_str().unwrap_or_else(|| panic!("{token}"));
    assert!(mark.contains("state/token` can't be written: ") && mark.contains("in memory alone"), "{mark}");
    assert_eq!((&token["failures"], sidekey.get("/payments").await.status), (&json!(0), 200));
    sidekey.until_logged("can't be written").await;
    endpoint.until_received(2).await;
    fs::create_dir(lab.path("state")).unwrap();
    until("no mark", async || sidekey.service("payments").await["token"]["last_error"].is_null().then_some(())).await;
    State::of(&lab).token();
    assert_eq!(refresh_tokens(&endpoint)[..2], ["refresh-0", "refresh-1"]);
}

#[tokio::test]
async fn a_kill_leaves_a_state_that_the_next_start_goes_on_with() {
    let (lab, state) = lab_with_state().await;
    let (endpoint, service) = (rotating(2).await, echo().await);
    let config = refreshing(&service.url(), &endpoint, "state_file: state/token");
    for round in 1..=8 {
        let sidekey = lab.sidekey(&config).await;
        endpoint.until_received(round).await;
        // At another point of the exchange in each round.
        tokio::time::sleep(Duration::from_micros(300 * round as u64)).await;
        sidekey.signal(nix::sys::signal::Signal::SIGKILL);
        sidekey.ended().await;

        if state.0.exists() {
            let number: usize = state.token().strip_prefix("refresh-").unwrap().parse().unwrap();
            assert!(number >= 1 && number <= endpoint.count(), "{number}");
        }
    }
    let expected = if state.0.exists() { state.token() } else { "refresh-0".to_owned() };
    let seen = endpoint.count();

    let sidekey = lab.sidekey(&config).await;
    sidekey.until_token("payments", "valid").await;

    assert_eq!(refresh_tokens(&endpoint)[seen], expected);
}

#[tokio::test]
async fn a_state_that_sidekey_has_not_written_ends_the_start_and_stays() {
    let (lab, state) = lab_with_state().await;
    let endpoint = rotating(300).await;
    fs::write(&state.0, "my only refresh token").unwrap();
    lab.write("sidekey.yaml", &refreshing("http://localhost:1", &endpoint, "state_file: state/token"));

    for command in ["run --config sidekey.yaml", "check --config sidekey.yaml"] {
        let ended = lab.run(command);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains("can't be read: it holds something other than a state"), "{ended:?}");
    }
    assert_eq!(fs::read_to_string(&state.0).unwrap(), "my only refresh token");

    fs::remove_file(&state.0).unwrap();
    fs::write(&state.0, format!("{{\"config\":\"{}\",\"refresh_token\":\"t\"}}", "0".repeat(64))).unwrap();
    fs::set_permissions(&state.0, fs::Permissions::from_mode(0o644)).unwrap();
    let check = lab.run("check --config sidekey.yaml");
    assert!(check.code == Some(0) && check.stderr.contains("a refresh token that others can read"), "{check:?}");
}

#[tokio::test]
async fn two_entries_with_one_state_file_are_an_error() {
    let lab = Lab::start().await;
    let of = |name: &str, token: &str| {
        format!(
            "  {name}: {{ url: 'http://localhost:1', auth: {{ type: oauth2_refresh_token, client_id: me, token_url: \
             'http://localhost:1', refresh_token: {token}, state_file: state }} }}\n"
        )
    };
    lab.write("sidekey.yaml", &format!("services:\n{}{}", of("one", "a"), of("two", "b")));
    let different = lab.run("check --config sidekey.yaml");
    assert_eq!(different.code, Some(2), "{different:?}");
    assert!(different.stderr.contains("the services `one` and `two` have different refresh tokens"), "{different:?}");

    lab.write("sidekey.yaml", &format!("services:\n{}{}", of("one", "a"), of("two", "a")));
    assert_eq!(lab.run("check --config sidekey.yaml").code, Some(0), "one entry, shared");
}

/// Nothing of these texts may be seen by people.
#[track_caller]
fn check_hidden(texts: &[&str], secrets: &[&str]) {
    for text in texts {
        let shown = secrets.iter().find(|secret| text.contains(*secret));
        assert_eq!(shown, None, "{text}");
    }
}

#[tokio::test]
async fn a_refresh_token_that_is_used_up_is_a_rejection_and_is_not_shown() {
    let lab = Lab::start().await;
    let endpoint = Fault::idp(|_| {
        let body = json!({ "error": "invalid_grant", "error_description": "refresh-0 was used" }).to_string();
        Reply::new(400, &[("Content-Type", "application/json")], &body)
    })
    .await;
    let service = echo().await;
    let sidekey = lab.sidekey(&refreshing(&service.url(), &endpoint, "")).await;
    sidekey.until_token("payments", "failed").await;

    let answer = sidekey.get("/payments").await;

    assert_eq!(answer.status, 502);
    let detail = answer.problem("token_rejected");
    assert!(detail.contains("`invalid_grant` (*** was used); the refresh token is used up"), "{detail}");
    let (log, status) = (sidekey.log(), sidekey.status().await.to_string());
    check_hidden(&[&log, &status, &detail], &["refresh-0"]);
    assert_eq!(service.count(), 0);
}

/// A service whose token is exchanged for the one in `x-user-token`.
fn exchanging(service_url: &str, endpoint: &Fault, fields: &str) -> String {
    let auth = format!(
        "type: oauth2_token_exchange, token_url: '{}', client_id: me, client_secret: cl13nt, \
         subject_token: {{ from_header: X-User-Token }}, {fields}",
        endpoint.url()
    );
    service(service_url, &auth)
}

/// Answers with a token that says whose it is.
fn exchanged(request: &Received) -> Reply {
    let subject = request.form("subject_token").unwrap_or_default();
    Reply::json(&json!({
        "access_token": format!("for-{subject}"), "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_type": "Bearer", "expires_in": 300,
    }))
}

async fn as_user(sidekey: &Sidekey, user: &str) -> String {
    sidekey.send(Request::get("/payments").field("X-User-Token", user)).await.text()
}

#[tokio::test]
async fn each_subject_gets_a_token_of_its_own_by_one_token_request() {
    let lab = Lab::start().await;
    let (endpoint, service) = (Fault::reading_idp(exchanged).await, echo().await);
    let config = exchanging(&service.url(), &endpoint, "actor_token: who-acts");
    let sidekey = lab.sidekey(&format!("workers: 2{config}    ready: required\n")).await;
    assert_eq!(sidekey.service("payments").await["token"]["state"], "none");

    // Each of 50 users twenty times, in an order that nobody chose, 40 at a time.
    let mut users: Vec<usize> = (0..1_000).map(|number| number * 37 % 50).collect();
    users.sort_by_key(|user| user.wrapping_mul(2_654_435_761) % 1_009);
    let (sidekey, queue) = (Arc::new(sidekey), Arc::new(std::sync::Mutex::new(users)));
    let apps = (0..40).map(|_| {
        let (sidekey, queue) = (Arc::clone(&sidekey), Arc::clone(&queue));
        tokio::spawn(async move {
            loop {
                let Some(user) = queue.lock().unwrap().pop() else { return };
                assert_eq!(as_user(&sidekey, &format!("Bearer user-{user}")).await, format!("Bearer for-user-{user}"));
            }
        })
    });
    for app in apps.collect::<Vec<_>>() {
        app.await.unwrap();
    }

    assert_eq!((endpoint.count(), service.count()), (50, 1_000));
    for request in service.received() {
        assert_eq!(request.field("x-user-token"), None, "{}", request.head);
    }
    let first = &endpoint.received()[0];
    let access_token = "urn:ietf:params:oauth:token-type:access_token";
    for (name, value) in [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token_type", access_token),
        ("actor_token", "who-acts"),
        ("actor_token_type", access_token),
        ("requested_token_type", access_token),
    ] {
        assert_eq!(first.form(name).unwrap(), value);
    }
    let token = sidekey.service("payments").await["token"].clone();
    assert_eq!((&token["state"], &token["requests"], &token["failures"]), (&"valid".into(), &50.into(), &0.into()));
    sidekey.until_metric("sidekey_token_requests_total{service=\"payments\",outcome=\"ok\"}", 50.0).await;
}

#[tokio::test]
async fn a_request_that_does_not_say_whose_it_is_goes_nowhere() {
    let lab = Lab::start().await;
    let (endpoint, service) = (Fault::reading_idp(exchanged).await, echo().await);
    let sidekey = lab.sidekey(&exchanging(&service.url(), &endpoint, "")).await;

    for (request, said) in [
        (Request::get("/payments"), "no field `x-user-token`"),
        (Request::get("/payments").field("X-User-Token", "Bearer"), "no field `x-user-token`"),
        (
            Request::get("/payments").field("X-User-Token", "a").field("X-User-Token", "b"),
            "more than one `x-user-token`",
        ),
        (Request::get("/payments").field("X-User-Token", "a b"), "`x-user-token` of the request is no token"),
    ] {
        let answer = sidekey.send(request).await;

        assert_eq!(answer.status, 400);
        let detail = answer.problem("bad_request");
        assert!(detail.contains(said), "{detail}");
    }
    assert_eq!((endpoint.count(), service.count()), (0, 0));
}

#[tokio::test]
async fn the_field_that_names_the_subject_may_be_the_one_that_carries_the_token() {
    for on_client_authorization in ["replace", "keep", "reject"] {
        let lab = Lab::start().await;
        let (endpoint, service) = (Fault::reading_idp(exchanged).await, echo().await);
        let config = exchanging(&service.url(), &endpoint, "").replace("X-User-Token", "Authorization");
        let config = format!("{config}    on_client_authorization: {on_client_authorization}\n");
        let sidekey = lab.sidekey(&config).await;

        let answer = sidekey.send(Request::get("/payments").field("Authorization", "bearer alice")).await;

        assert_eq!(answer.text(), "Bearer for-alice", "{on_client_authorization}");
        assert_eq!(sidekey.get("/payments").await.status, 400, "{on_client_authorization}");
    }
}

#[tokio::test]
async fn an_app_that_brings_its_own_credential_need_not_say_whose_it_is() {
    let lab = Lab::start().await;
    let (endpoint, service) = (Fault::reading_idp(exchanged).await, echo().await);
    let config = exchanging(&service.url(), &endpoint, "") + "    on_client_authorization: keep\n";
    let sidekey = lab.sidekey(&config).await;

    let own = sidekey.send(Request::get("/payments").field("Authorization", "own")).await;
    let both = Request::get("/payments").field("Authorization", "own").field("X_User_Token", "alice");
    let both = sidekey.send(both).await;

    assert_eq!((own.text().as_str(), both.text().as_str()), ("own", "own"));
    assert_eq!(endpoint.count(), 0);
    for request in service.received() {
        assert!(!request.head.to_lowercase().contains("user"), "{}", request.head);
    }
}

#[tokio::test]
async fn a_subject_that_is_refused_fails_fast_and_blocks_nobody() {
    let lab = Lab::start().await;
    let endpoint = Fault::reading_idp(|request| {
        if request.form("subject_token").unwrap() != "mallory-of-elsewhere" {
            return exchanged(request);
        }
        let body =
            json!({ "error": "invalid_request", "error_description": "mallory-of-elsewhere is nobody" }).to_string();
        Reply::new(400, &[("Content-Type", "application/json")], &body)
    })
    .await;
    let service = echo().await;
    let sidekey = lab.sidekey(&exchanging(&service.url(), &endpoint, "")).await;

    for _ in 0..5 {
        let answer = sidekey.send(Request::get("/payments").field("X-User-Token", "mallory-of-elsewhere")).await;
        assert!((1..=20).contains(&answer.retry_after()), "{}", answer.head);
        let detail = answer.problem("token_rejected");
        assert!(detail.contains("(*** is nobody)"), "{detail}");
        assert_eq!(as_user(&sidekey, "alice").await, "Bearer for-alice");
    }

    assert_eq!((endpoint.count(), service.count()), (2, 5));
    let token = sidekey.service("payments").await["token"].clone();
    assert_eq!((&token["state"], &token["requests"], &token["failures"]), (&"valid".into(), &2.into(), &1.into()));
}

#[tokio::test]
async fn a_token_lives_no_longer_than_its_subjects() {
    let lab = Lab::start().await;
    let (endpoint, service) = (Fault::reading_idp(exchanged).await, echo().await);
    let sidekey = lab.sidekey(&exchanging(&service.url(), &endpoint, "")).await;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let claims = BASE64_URL_SAFE_NO_PAD.encode(json!({ "sub": "alice", "exp": now + 3 }).to_string());
    let subject = format!("e30.{claims}.c2ln");

    let first = as_user(&sidekey, &subject).await;
    let token = sidekey.service("payments").await["token"].clone();
    assert_eq!(
        (first, as_user(&sidekey, &subject).await),
        (format!("Bearer for-{subject}"), format!("Bearer for-{subject}"))
    );
    assert_eq!(endpoint.count(), 1);

    let left = token["expires_at"].as_str().unwrap().to_owned();
    sidekey.until_token("payments", "expired").await;
    as_user(&sidekey, &subject).await;
    assert!(endpoint.count() == 2, "{left}");
}

#[tokio::test]
async fn a_dead_token_of_a_subject_is_replaced_and_the_request_sent_again() {
    let lab = Lab::start().await;
    let endpoint = Fault::reading_idp(|request| {
        Reply::token(&format!("{}-{}", request.form("subject_token").unwrap(), request.number), 300)
    })
    .await;
    let service = Fault::plain(|request| {
        let seen = request.field("authorization").unwrap();
        if seen == "Bearer alice-0" { Reply::status(401) } else { Reply::ok(&seen) }
    })
    .await;
    let sidekey = lab.sidekey(&exchanging(&service.url(), &endpoint, "")).await;

    // The first two lie a second apart.
    assert_eq!(as_user(&sidekey, "alice").await, "Bearer alice-1");
    assert_eq!(as_user(&sidekey, "bob").await, "Bearer bob-2");
    assert_eq!(as_user(&sidekey, "alice").await, "Bearer alice-1");

    assert_eq!(endpoint.count(), 3);
}

#[tokio::test]
async fn explain_says_where_the_subject_comes_from() {
    let lab = Lab::start().await;
    let endpoint = Fault::reading_idp(exchanged).await;
    lab.write("sidekey.yaml", &exchanging("http://localhost:1", &endpoint, ""));

    let explained = lab.run("explain --config sidekey.yaml /payments");

    let said = format!("(a token from {}/, in exchange for the one in the request's `x-user-token`)", endpoint.url());
    let said = said.replace("/,", ",");
    assert!(explained.stdout.replace("/,", ",").contains(&said), "{}", explained.stdout);
}

#[tokio::test]
async fn a_token_that_is_no_access_token_is_refused_with_a_reason() {
    let lab = Lab::start().await;
    let answer = json!({ "access_token": "an-assertion", "token_type": "N_A", "issued_token_type": "urn:saml2" });
    let endpoint = Fault::reading_idp(move |_| Reply::json(&answer)).await;
    let sidekey = lab.sidekey(&exchanging("http://localhost:1", &endpoint, "")).await;

    let answer = sidekey.send(Request::get("/payments").field("X-User-Token", "alice")).await;

    let detail = answer.problem("token_unavailable");
    assert!(
        detail.contains("type `N_A`, which is no access token") && detail.contains("requested_token_type"),
        "{detail}"
    );
}

/// A service whose token comes from the real provider.
fn real(idp: &Idp, auth: &str) -> String {
    service("$SERVICE/v1", &format!("token_url: 'https://localhost:{}/token', {auth}", idp.port))
        + "    certificate: partner\n"
}

#[track_caller]
fn claims(authorization: &str) -> Value {
    let token = authorization.strip_prefix("Bearer ").unwrap_or_else(|| panic!("no bearer token: {authorization:?}"));
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_real_provider_rotates_and_is_never_shown_an_old_token() {
    let (lab, _state) = lab_with_state().await;
    let idp = lab.idp_with_lifetime(2).await;
    let refresh_token = idp.refresh_token("by-refresh").await;
    let auth = format!(
        "type: oauth2_refresh_token, client_id: by-refresh, client_secret: refresh-secret, refresh_ahead: 50%, \
         refresh_token: {refresh_token}, state_file: state/token"
    );
    let config = real(&idp, &auth);
    let sidekey = lab.sidekey(&config).await;
    until("two refreshes", async || (idp.token_requests().await.len() >= 3).then_some(())).await;
    assert_eq!(sidekey.stop().await.0, Some(0));
    let before = idp.token_requests().await.len();

    let sidekey = lab.sidekey(&config).await;
    let seen = sidekey.get("/payments/orders").await.at_service();

    assert_eq!(claims(&seen.authorization)["sub"], "alice");
    let requests = idp.token_requests().await;
    assert!(requests.len() > before);
    let mut shown: Vec<_> = requests.iter().map(|request| request["fields"]["refresh_token"].to_string()).collect();
    shown.sort();
    shown.dedup();
    assert_eq!(shown.len(), requests.len(), "each was shown once");
    assert!(requests.iter().all(|request| request["status"] == 200), "{requests:#?}");
}

#[tokio::test]
async fn a_real_provider_exchanges_the_tokens_of_two_users() {
    let lab = Lab::start().await;
    let idp = lab.idp().await;
    let auth = "type: oauth2_token_exchange, client_id: by-basic, client_secret: basic-secret, audience: 'urn:orders', \
                subject_token: { from_header: Authorization }, actor_token: a-token-of-the-batch-job";
    let sidekey = lab.sidekey(&real(&idp, auth)).await;

    for user in ["alice", "bob", "alice"] {
        let request = Request::get("/payments/orders").field("Authorization", &format!("Bearer a-token-of-{user}"));
        let seen = sidekey.send(request).await.at_service();

        let claims = claims(&seen.authorization);
        assert_eq!((&claims["sub"], &claims["act"]["sub"]), (&user.into(), &"batch-job".into()), "{claims}");
    }
    assert_eq!(idp.token_requests().await.len(), 2);
}

#[tokio::test]
async fn a_real_provider_exchanges_a_token_that_the_config_has() {
    let lab = Lab::start().await;
    let idp = lab.idp().await;
    let auth = "type: oauth2_token_exchange, client_id: by-basic, client_secret: basic-secret, \
                subject_token: a-token-of-alice";
    let sidekey = lab.sidekey(&real(&idp, auth)).await;
    sidekey.until_token("payments", "valid").await;

    let seen = sidekey.get("/payments/orders").await.at_service();

    assert_eq!(claims(&seen.authorization)["sub"], "alice");
    assert_eq!(idp.token_requests().await.len(), 1);
}

#[tokio::test]
async fn a_real_provider_gives_a_token_for_a_users_password() {
    let lab = Lab::start().await;
    let idp = lab.idp().await;
    let auth = "type: oauth2_password, client_id: by-basic, client_secret: basic-secret, username: alice, \
                password: 'wonder+land %&=ü'";
    let sidekey = lab.sidekey(&real(&idp, auth)).await;

    let seen = sidekey.get("/payments/orders").await.at_service();

    assert_eq!(claims(&seen.authorization)["sub"], "alice");
}
