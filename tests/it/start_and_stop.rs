//! How a process begins and ends: exit codes, readiness, draining, signals.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;

use crate::lab::client::{Answer, Ended, Request, exchange};
use crate::lab::fault::{Fault, Gate, Reply};
use crate::lab::{Lab, bed, free_port, problems, until};

const PAYMENTS: &str = "services: { payments: { url: $SERVICE, certificate: partner } }";
const GET: &str = "GET /payments/x HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn a_config_error_ends_the_start_with_2_and_names_the_place() {
    let lab = Lab::start().await;

    let (code, log) =
        lab.sidekey_starting("services: { payments: { url: $SERVICE, certificate: nobody } }").ended().await;

    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("sidekey.yaml:5:") && log.contains("nobody"), "{log}");
}

#[tokio::test]
async fn a_config_that_can_not_be_read_ends_the_start_with_2() {
    let lab = Lab::start().await;

    for command in ["run --config missing.yaml", "check --config missing.yaml", "--config missing.yaml"] {
        let ended = lab.run(command);
        assert_eq!(ended.code, Some(2), "{command}: {ended:?}");
        assert!(ended.stderr.contains("missing.yaml"), "{ended:?}");
    }
}

#[tokio::test]
async fn a_wrong_command_line_ends_with_2() {
    let lab = Lab::start().await;

    for command in ["run --no-such-flag", "no-such-command", "run --workers many"] {
        assert_eq!(lab.run(command).code, Some(2), "{command}");
    }
}

#[tokio::test]
async fn a_second_process_ends_with_1_and_says_that_the_address_is_in_use() {
    let lab = Lab::start().await;
    let first = lab.sidekey(PAYMENTS).await;

    let second = lab.run("run --config sidekey.yaml");

    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.to_lowercase().contains("address in use"), "{second:?}");
    assert!(second.stderr.contains(&first.address), "{second:?}");
    assert_eq!(first.get("/payments/x").await.status_of_service(), 200);
}

#[tokio::test]
async fn a_service_that_is_down_does_not_stop_the_start() {
    let lab = Lab::start().await;
    let down =
        format!("services: {{ payments: {{ url: 'https://127.0.0.1:{}', certificate: partner }} }}", free_port());

    let sidekey = lab.sidekey(&down).await;

    sidekey.get("/payments/x").await.problem("connection_refused");
}

#[tokio::test]
async fn readyz_waits_for_the_first_token_of_a_required_service_and_stays_ready_without_it() {
    let lab = Lab::start().await;
    let gate = Gate::closed();
    let held = gate.clone();
    let idp = Fault::idp(move |request| match request.number {
        0 => Reply::after(&held).then(Reply::token("abc", 1)),
        _ => Reply::status(500),
    })
    .await;
    let url = idp.url();
    let auth =
        format!("auth: {{ type: oauth2_client_credentials, token_url: '{url}', client_id: me, client_secret: s }}");
    let mut sidekey = lab.sidekey_starting(&format!(
        "services: {{ payments: {{ url: $SERVICE, certificate: partner, ready: required, {auth} }} }}"
    ));
    sidekey.until_alive().await;

    let detail = problems::check_admin(&sidekey.admin("/readyz").await, "not_ready");
    assert!(detail.contains("payments"), "{detail}");
    gate.open();
    sidekey.until_ready().await;

    sidekey.until_token("payments", "expired").await;
    assert_eq!(sidekey.admin("/readyz").await.status, 200);
}

#[tokio::test]
async fn sigterm_lets_running_requests_end_and_exits_with_0() {
    let lab = Lab::start().await;
    let gate = Gate::closed();
    let held = gate.clone();
    let service = Fault::plain(move |_| Reply::after(&held).then(Reply::ok("at last"))).await;
    let sidekey = lab.sidekey(&format!("services: {{ payments: {{ url: '{}' }} }}", service.url())).await;
    let mut running = sidekey.raw(GET).await;
    service.until_received(1).await;
    let mut idle = sidekey.connect().await;

    sidekey.signal(Signal::SIGTERM);
    until("not ready", async || (sidekey.admin("/readyz").await.status == 503).then_some(())).await;
    until("closed listeners", async || tokio::net::TcpStream::connect(&sidekey.address).await.err()).await;
    gate.open();

    let answer = running.answer().await;
    assert_eq!((answer.text().as_str(), answer.field("connection").as_deref()), ("at last", Some("close")));
    idle.closed().await;
    let (code, log) = sidekey.ended().await;
    assert_eq!(code, Some(0), "{log}");
}

#[tokio::test]
async fn a_config_that_changes_during_the_drain_opens_nothing_again() {
    let lab = Lab::start().await;
    let gate = Gate::closed();
    let held = gate.clone();
    let service = Fault::plain(move |_| Reply::after(&held).then(Reply::ok("at last"))).await;
    let config = |title: &str| format!("services: {{ payments: {{ url: '{}', title: {title} }} }}", service.url());
    let sidekey = lab.sidekey(&config("one")).await;
    let mut running = sidekey.raw(GET).await;
    service.until_received(1).await;
    sidekey.signal(Signal::SIGTERM);
    until("closed listeners", async || tokio::net::TcpStream::connect(&sidekey.address).await.err()).await;

    sidekey.rewrite(&lab, &config("two"));

    let error = sidekey.until_reload_refused().await;
    assert!(error.contains("the process is draining"), "{error}");
    assert!(tokio::net::TcpStream::connect(&sidekey.address).await.is_err());
    assert_eq!(sidekey.admin("/readyz").await.status, 503);
    gate.open();
    assert_eq!(running.answer().await.text(), "at last");
    let (code, log) = sidekey.ended().await;
    assert_eq!(code, Some(0), "{log}");
}

#[tokio::test]
async fn during_the_delay_all_goes_on() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(&format!("{PAYMENTS}\nshutdown: {{ delay: 1s }}")).await;
    let start = Instant::now();

    sidekey.signal(Signal::SIGTERM);
    until("not ready", async || (sidekey.admin("/readyz").await.status == 503).then_some(())).await;
    let answer = sidekey.get("/payments/x").await;

    assert_eq!(answer.status_of_service(), 200);
    let (code, _) = sidekey.ended().await;
    assert_eq!(code, Some(0));
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test]
async fn what_is_open_after_the_drain_is_cut_and_counted() {
    let lab = Lab::start().await;
    let service =
        Fault::plain(|_| Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").then(Reply::hang())).await;
    let sidekey = lab
        .sidekey(&format!("shutdown: {{ drain: 500ms }}\nservices: {{ payments: {{ url: '{}' }} }}", service.url()))
        .await;
    let mut running = sidekey.raw(GET).await;
    running.until("half").await;

    let (code, log) = sidekey.stop().await;

    assert_eq!(running.answer().await.ended, Ended::Reset);
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("cut what was still open after `shutdown.drain` connections=1\n"), "{log}");
}

#[tokio::test]
async fn a_second_signal_exits_at_once() {
    let lab = Lab::start().await;
    let service = Fault::plain(|_| Reply::hang()).await;
    let sidekey = lab.sidekey(&format!("services: {{ payments: {{ url: '{}' }} }}", service.url())).await;
    let _running = sidekey.raw(GET).await;
    service.until_received(1).await;
    let start = Instant::now();

    sidekey.signal(Signal::SIGINT);
    until("not ready", async || (sidekey.admin("/readyz").await.status == 503).then_some(())).await;
    sidekey.signal(Signal::SIGINT);

    let (code, log) = sidekey.ended().await;
    assert!(start.elapsed() < Duration::from_secs(5), "the drain would have taken 25 s: {:?}", start.elapsed());
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("a second signal: cut what was still open cause=\"SIGINT\" connections=1\n"), "{log}");
}

#[tokio::test]
async fn a_hang_up_during_the_drain_reloads_nothing_and_cuts_nothing() {
    let lab = Lab::start().await;
    let gate = Gate::closed();
    let held = gate.clone();
    let service = Fault::plain(move |_| Reply::after(&held).then(Reply::ok("at last"))).await;
    let sidekey = lab.sidekey(&format!("services: {{ payments: {{ url: '{}' }} }}", service.url())).await;
    let mut running = sidekey.raw(GET).await;
    service.until_received(1).await;
    sidekey.signal(Signal::SIGTERM);
    sidekey.until_logged("draining").await;

    sidekey.signal(Signal::SIGHUP);

    sidekey.until_logged("no reload: the process is draining").await;
    gate.open();
    assert_eq!(running.answer().await.text(), "at last");
    let (code, log) = sidekey.ended().await;
    assert_eq!(code, Some(0), "{log}");
}

#[tokio::test]
async fn a_command_gets_the_limit_of_open_files_that_the_process_was_started_with() {
    let lab = Lab::start().await;
    // What is started from here inherits it; nothing here needs the last one.
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let started_with = soft.min(hard - 1);
    setrlimit(Resource::RLIMIT_NOFILE, started_with, hard).unwrap();
    let auth =
        "auth: { type: bearer, token: { command: [sh, -c, 'ulimit -Sn >limit; ulimit -Hn >>limit; echo a-token'] } }";

    let sidekey = lab.sidekey(&PAYMENTS.replace("certificate:", &format!("{auth}, certificate:"))).await;

    assert_eq!(sidekey.get("/payments/x").await.status_of_service(), 200);
    // The one at the start was run before anything was raised.
    fs::remove_file(lab.path("limit")).unwrap();
    sidekey.signal(Signal::SIGHUP);
    let limit = until("the command", async || {
        fs::read_to_string(lab.path("limit")).ok().filter(|text| text.lines().count() == 2)
    })
    .await;
    assert_eq!(limit, format!("{started_with}\n{hard}\n"));
    let own = fs::read_to_string(format!("/proc/{}/limits", sidekey.id())).unwrap();
    let own: Vec<_> = own.lines().find(|line| line.starts_with("Max open files")).unwrap().split_whitespace().collect();
    assert_eq!(own[3], hard.to_string(), "raised for itself");
}

#[tokio::test]
async fn a_flag_goes_before_the_environment_and_that_before_the_file() {
    let lab = Lab::start().await;
    let [flag, environment] = [free_port(), free_port()];
    let listens = async |port: u16| tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok();

    let variable = [("SIDEKEY_LISTEN", format!("127.0.0.1:{environment}"))];
    let sidekey = lab.sidekey_with(PAYMENTS, &[], &variable).await;
    let file = sidekey.address.clone();
    assert!(listens(environment).await && tokio::net::TcpStream::connect(&file).await.is_err());
    drop(sidekey);

    let _sidekey = lab.sidekey_with(PAYMENTS, &["--listen", &format!("127.0.0.1:{flag}")], &variable).await;
    assert!(listens(flag).await && !listens(environment).await);
}

#[tokio::test]
async fn localhost_is_both_loopback_addresses() {
    let lab = Lab::start().await;
    let port = free_port();

    let _sidekey = lab.sidekey(&format!("listen: localhost:{port}\n{PAYMENTS}")).await;

    for address in ["127.0.0.1", "[::1]"] {
        let has_it = std::net::TcpListener::bind(format!("{address}:0")).is_ok();
        if has_it {
            let answer = exchange(&format!("{address}:{port}"), Request::get("/payments/x")).await;
            assert_eq!(answer.status_of_service(), 200, "{address}");
        }
    }
}

#[tokio::test]
async fn systemd_hears_of_ready_reloading_and_stopping() {
    let lab = Lab::start().await;
    let socket = UnixDatagram::bind(lab.path("notify.sock")).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut heard = String::new();
    let mut hear = |word: &str| {
        let mut buffer = [0; 1024];
        while let Ok(length) = socket.recv(&mut buffer) {
            heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
            heard.push('\n');
        }
        heard.contains(word).then_some(())
    };
    let variable = [("NOTIFY_SOCKET", lab.path("notify.sock").display().to_string())];
    let sidekey = lab.sidekey_with(PAYMENTS, &[], &variable).await;

    until("READY=1", async || hear("READY=1")).await;
    sidekey.signal(Signal::SIGHUP);
    until("RELOADING=1", async || hear("RELOADING=1")).await;
    sidekey.signal(Signal::SIGTERM);
    until("STOPPING=1", async || hear("STOPPING=1")).await;
}

#[tokio::test]
async fn a_fresh_process_holds_less_than_3_mib_of_its_own() {
    let lab = Lab::start().await;

    let sidekey = lab.sidekey_with(PAYMENTS, &["--workers", "1"], &[]).await;

    // Heap, stacks and relocated tables, 1.6 MiB of them in a debug build; the program file's pages are not in it.
    let status = fs::read_to_string(format!("/proc/{}/status", sidekey.id())).unwrap();
    let own = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a kernel that counts");
    let own: u32 = own.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(own > 100 && own < 3072, "{own} KiB");
}

#[tokio::test]
async fn inherited_sockets_stand_in_for_listen() {
    let lab = Lab::start().await;

    let answer = get_from_activated(&lab, PAYMENTS).await;

    assert_eq!(answer.status_of_service(), 200);
}

#[tokio::test]
async fn a_command_gets_none_of_the_inherited_sockets() {
    let lab = Lab::start().await;
    let listing = "command: [sh, -c, 'ls -l /proc/self/fd >descriptors; echo a-token']";
    let auth = format!("auth: {{ type: bearer, token: {{ {listing} }} }}");

    let answer = get_from_activated(&lab, &PAYMENTS.replace("certificate:", &format!("{auth}, certificate:"))).await;

    assert_eq!(answer.status_of_service(), 200);
    let descriptors = fs::read_to_string(lab.path("descriptors")).unwrap();
    assert!(descriptors.contains("descriptors") && !descriptors.contains("socket:"), "{descriptors}");
}

/// The answer of a Sidekey whose socket was handed to it, as systemd does before it starts a service.
async fn get_from_activated(lab: &Lab, config: &str) -> Answer {
    let sidekey = lab.sidekey(config).await;
    let written = sidekey.written();
    drop(sidekey);
    let [listen, admin] = [free_port(), free_port()];
    lab.write("activated.yaml", &written);
    let activate = "
import os, socket, sys
server = socket.create_server(('127.0.0.1', int(sys.argv[1])))
server.set_inheritable(True)
os.dup2(server.fileno(), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')
os.execv(sys.argv[2], sys.argv[2:])
";
    let mut process = bed::python()
        .args(["-c", activate, &listen.to_string(), env!("CARGO_BIN_EXE_sidekey"), "run", "--admin"])
        .arg(format!("127.0.0.1:{admin}"))
        .arg("--config")
        .arg(lab.path("activated.yaml"))
        .env("SSL_CERT_FILE", lab.path("tls/ca.pem"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();

    let answer = async || {
        tokio::net::TcpStream::connect(("127.0.0.1", admin)).await.ok()?;
        Some(exchange(&format!("127.0.0.1:{listen}"), Request::get("/payments/x")).await)
    };
    let answer = until("an answer", answer).await;
    process.kill().unwrap();
    process.wait().unwrap();
    answer
}

#[tokio::test]
async fn a_signal_during_a_slow_start_ends_it_and_a_hang_up_does_not() {
    let lab = Lab::start().await;
    lab.write("slow", "#!/bin/sh\ntouch asked\nexec sleep 9\n");
    std::fs::set_permissions(lab.path("slow"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let auth = format!("{{ type: bearer, token: {{ command: ['{}'] }} }}", lab.path("slow").display());
    let sidekey = lab.sidekey_starting(&format!("services: {{ payments: {{ url: $SERVICE, auth: {auth} }} }}"));
    until("the command", async || lab.path("asked").exists().then_some(())).await;

    sidekey.signal(Signal::SIGHUP);
    sidekey.signal(Signal::SIGTERM);

    let (code, log) = sidekey.ended().await;
    assert_eq!(code, Some(0), "{log}");
}
