//! Changes of the running config: applied within a second, or not at all and with the reason.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::net::TcpListener;

use crate::lab::client::{Connection, Request};
use crate::lab::fault::{Fault, Gate, Reply};
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, free_port, until};

const ONE: &str = "services:\n  payments: { url: $SERVICE, certificate: partner }\n";
const TWO: &str = "services:\n  payments: { url: $SERVICE, certificate: partner }\n  refunds: { url: $SERVICE, certificate: other }\n";

const SUCCESSFUL: &str = "sidekey_config_last_reload_successful";

async fn until_answering(sidekey: &Sidekey, target: &str) {
    until(target, async || (sidekey.get(target).await.status == 200).then_some(())).await;
}

/// Checks that the config in force goes on, and that status and metrics say what was wrong.
async fn check_refused(sidekey: &Sidekey, words: &[&str]) {
    let error = sidekey.until_reload_refused().await;
    for word in words {
        assert!(error.contains(word), "{word:?} in {error}");
    }
    assert_eq!(sidekey.metric(SUCCESSFUL).await, 0.0);
    assert!(sidekey.metric("sidekey_config_reloads_total{outcome=\"refused\"}").await >= 1.0);
    assert_eq!(sidekey.get("/payments/x").await.status_of_service(), 200);
}

#[tokio::test]
async fn an_added_service_answers_within_a_second() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(ONE).await;
    sidekey.get("/refunds/x").await.problem("no_route");

    sidekey.rewrite(&lab, TWO);
    let start = Instant::now();
    until_answering(&sidekey, "/refunds/x").await;

    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    sidekey.until_logged("refunds").await;
}

#[tokio::test]
async fn a_removed_service_is_gone() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(TWO).await;

    sidekey.rewrite(&lab, ONE);

    until("the end of refunds", async || (sidekey.get("/refunds/x").await.status == 404).then_some(())).await;
    assert_eq!(sidekey.get("/payments/x").await.status_of_service(), 200);
}

#[tokio::test]
async fn an_emptied_config_changes_nothing() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(ONE).await;

    fs::write(lab.path("sidekey.yaml"), "").unwrap();

    check_refused(&sidekey, &["sidekey.yaml"]).await;
}

#[tokio::test]
async fn a_deleted_config_changes_nothing_and_may_come_back() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(ONE).await;

    fs::remove_file(lab.path("sidekey.yaml")).unwrap();
    check_refused(&sidekey, &["sidekey.yaml"]).await;
    sidekey.rewrite(&lab, TWO);

    until_answering(&sidekey, "/refunds/x").await;
    assert_eq!(sidekey.metric(SUCCESSFUL).await, 1.0);
    assert!(sidekey.status().await["config"]["last_error"].is_null());
}

#[tokio::test]
async fn a_broken_config_changes_nothing_and_says_where_it_is_wrong() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(ONE).await;
    let generation = sidekey.generation().await;

    sidekey.rewrite(&lab, &TWO.replace("certificate: other", "certificte: other"));

    let line = sidekey.written().lines().position(|line| line.contains("certificte")).unwrap() + 1;
    check_refused(&sidekey, &[&format!("sidekey.yaml:{line}:"), "certificte", "certificate"]).await;
    sidekey.until_logged(&format!("sidekey.yaml:{line}:")).await;
    assert_eq!(sidekey.generation().await, generation);
}

#[tokio::test]
async fn a_config_replaced_three_times_by_a_symlink_swap_is_seen_each_time() {
    let lab = Lab::start().await;
    // As a ConfigMap is mounted: sidekey.yaml -> ..data/sidekey.yaml, ..data -> ..2026_1
    let swap = |number: usize, text: &str| {
        let folder = format!("mount/..2026_{number}");
        lab.write(&format!("{folder}/sidekey.yaml"), text);
        symlink(format!("..2026_{number}"), lab.path("mount/..data_tmp")).unwrap();
        fs::rename(lab.path("mount/..data_tmp"), lab.path("mount/..data")).unwrap();
    };
    let service = |name: &str| format!("services: {{ {name}: {{ url: $SERVICE, certificate: partner }} }}");
    let sidekey = lab.sidekey(&service("s0")).await;
    let written = sidekey.written().replace("tls/", &format!("{}/tls/", lab.folder().display()));
    drop(sidekey);
    swap(0, &written);
    symlink("..data/sidekey.yaml", lab.path("mount/sidekey.yaml")).unwrap();
    let sidekey = lab.sidekey_at("mount/sidekey.yaml", &written).await;

    for number in 1..=3 {
        swap(number, &written.replace("s0", &format!("s{number}")));
        let start = Instant::now();
        until_answering(&sidekey, &format!("/s{number}/x")).await;
        assert!(start.elapsed() < Duration::from_secs(2), "swap {number} took {:?}", start.elapsed());
        fs::remove_dir_all(lab.path(&format!("mount/..2026_{}", number - 1))).unwrap();
    }
}

#[tokio::test]
async fn a_config_written_in_place_is_seen() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(ONE).await;
    let two = sidekey.written().replace(&lab.fill_in(ONE), &lab.fill_in(TWO));

    // Opened, cut to nothing, and filled, as an editor or `cp` does it.
    fs::write(lab.path("sidekey.yaml"), two).unwrap();

    until_answering(&sidekey, "/refunds/x").await;
}

#[tokio::test]
async fn a_folder_of_configs_is_one_config() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(ONE).await;
    let written = sidekey.written().replace("tls/", &format!("{}/tls/", lab.folder().display()));
    drop(sidekey);
    lab.write("conf/10-first.yaml", &written);
    let sidekey = lab.sidekey_at("conf", &written).await;
    let refunds = lab.fill_in("services: { refunds: { url: $SERVICE, certificate: partner } }");

    lab.write("conf/20-second.yaml", &refunds);
    until_answering(&sidekey, "/refunds/x").await;
    lab.write("conf/30-third.yaml", &refunds);
    let error = sidekey.until_reload_refused().await;
    assert!(error.contains("20-second.yaml") && error.contains("30-third.yaml"), "names both places: {error}");
    fs::remove_file(lab.path("conf/30-third.yaml")).unwrap();
    fs::remove_file(lab.path("conf/20-second.yaml")).unwrap();

    until("the end of refunds", async || (sidekey.get("/refunds/x").await.status == 404).then_some(())).await;
}

#[tokio::test]
async fn pools_and_tokens_of_unchanged_services_are_kept() {
    let lab = Lab::start().await;
    let idp = Fault::idp(|_| Reply::token("abc", 300)).await;
    let auth = format!(
        "auth: {{ type: oauth2_client_credentials, token_url: '{}', client_id: me, client_secret: s }}",
        idp.url()
    );
    let one = format!("workers: 1\nservices:\n  payments: {{ url: $SERVICE, certificate: partner, {auth} }}\n");
    let sidekey = lab.sidekey(&one).await;
    let before = sidekey.get("/payments/x").await.at_service();

    sidekey.rewrite(&lab, &format!("{one}  refunds: {{ url: $SERVICE, certificate: other }}\n"));
    until_answering(&sidekey, "/refunds/x").await;

    let after = sidekey.get("/payments/x").await.at_service();
    assert_eq!((after.connection, idp.count()), (before.connection, 1));
}

#[tokio::test]
async fn an_edit_that_changes_nothing_is_no_new_generation() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(ONE).await;
    let generation = sidekey.generation().await;

    sidekey.rewrite(&lab, &format!("{ONE}# a comment\n"));

    until("an unchanged reload", async || {
        (sidekey.metric("sidekey_config_reloads_total{outcome=\"unchanged\"}").await >= 1.0).then_some(())
    })
    .await;
    assert_eq!((sidekey.generation().await, sidekey.metric(SUCCESSFUL).await), (generation, 1.0));
}

#[tokio::test]
async fn a_reload_is_told_as_a_difference() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(TWO).await;
    let generation = sidekey.generation().await;

    sidekey.rewrite(
        &lab,
        "services:\n  payments: { url: $SERVICE/v1, certificate: partner }\n  invoices: { url: $SERVICE, certificate: partner }\n",
    );
    sidekey.until_reloaded_since(generation).await;

    let told = sidekey.status().await["reloads"].to_string();
    for part in ["payments", "url", "invoices", "refunds", "added", "removed", "changed"] {
        assert!(told.contains(part), "{part} in {told}");
    }
    sidekey.until_logged("invoices").await;
}

#[tokio::test]
async fn listening_addresses_open_and_close_without_touching_the_others() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(ONE).await;
    let second = format!("127.0.0.1:{}", free_port());
    let mut kept = sidekey.connect().await;
    kept.send(Request::get("/payments/x")).await;

    sidekey.rewrite(&lab, &format!("listen: [$LISTEN, {second}]\n{ONE}"));
    until("the second address", async || tokio::net::TcpStream::connect(&second).await.ok()).await;
    let answer = Connection::open(&second).await.send(Request::get("/payments/x")).await;
    sidekey.rewrite(&lab, ONE);
    until("its end", async || tokio::net::TcpStream::connect(&second).await.err()).await;

    assert_eq!(answer.status_of_service(), 200);
    let again = kept.send(Request::get("/payments/x")).await;
    assert_eq!(again.status_of_service(), 200, "the first listener's connection lives on");
}

#[tokio::test]
async fn an_address_that_can_not_be_bound_refuses_the_whole_reload() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(ONE).await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();

    sidekey.rewrite(&lab, &format!("listen: [$LISTEN, '{address}']\n{TWO}"));

    check_refused(&sidekey, &[&address.to_string()]).await;
    sidekey.get("/refunds/x").await.problem("no_route");
}

#[tokio::test]
async fn workers_need_a_restart_and_the_rest_is_applied() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(&format!("workers: 1\n{ONE}")).await;

    sidekey.rewrite(&lab, &format!("workers: 2\n{TWO}"));

    until_answering(&sidekey, "/refunds/x").await;
    sidekey.until_logged("workers").await;
    sidekey.until_logged("restart").await;
}

#[tokio::test]
async fn sighup_forces_a_reload() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(ONE).await;

    sidekey.signal(Signal::SIGHUP);

    until("a reload", async || {
        (sidekey.metric("sidekey_config_reloads_total{outcome=\"unchanged\"}").await >= 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_forced_reload_that_changes_nothing_says_so() {
    const NOTHING: &str = "reloaded: nothing has changed";
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(ONE).await;
    let said = || sidekey.log().matches(NOTHING).count();

    sidekey.signal(Signal::SIGHUP);
    until("a line", async || (said() == 1).then_some(())).await;
    let request = Request::post("/api/reload", "").field("Sidekey-Admin", "1");
    let answer = crate::lab::client::exchange(&sidekey.admin, request).await;

    assert_eq!((answer.status, answer.json()["outcome"].as_str()), (200, Some("unchanged")));
    until("another line", async || (said() == 2).then_some(())).await;
}

#[tokio::test]
async fn a_running_request_ends_on_the_config_it_began_with() {
    let lab = Lab::start().await;
    let gate = Gate::closed();
    let held = gate.clone();
    let service = Fault::plain(move |_| Reply::after(&held).then(Reply::ok("at last"))).await;
    let sidekey = lab.sidekey(&format!("services: {{ payments: {{ url: '{}' }} }}", service.url())).await;
    let mut running = sidekey.raw("GET /payments/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    service.until_received(1).await;

    sidekey.rewrite(&lab, "services: { refunds: { url: $SERVICE, certificate: partner } }");
    until_answering(&sidekey, "/refunds/x").await;
    gate.open();

    assert_eq!(running.answer().await.text(), "at last");
    sidekey.get("/payments/x").await.problem("no_route");
}

#[tokio::test]
async fn no_reload_resets_a_counter() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(ONE).await;
    for _ in 0..5 {
        sidekey.get("/payments/x").await;
    }

    sidekey.rewrite(&lab, TWO.replace("$SERVICE,", "$SERVICE/v1,").as_str());
    until_answering(&sidekey, "/refunds/x").await;
    sidekey.get("/payments/x").await;

    sidekey.until_metric("sidekey_requests_total{service=\"payments\",code=\"200\"}", 6.0).await;
}

#[tokio::test]
async fn a_config_that_is_mended_after_a_refusal_is_said_to_be_valid_again() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey("services: { payments: { url: $SERVICE } }").await;

    sidekey.rewrite(&lab, "services: { payments: { url: $SERVICE, flie: x } }");
    sidekey.until_reload_refused().await;
    sidekey.rewrite(&lab, "services: { payments: { url: $SERVICE } }");

    sidekey.until_logged("the config is valid again: nothing has changed").await;
}
