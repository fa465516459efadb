//! Listening addresses that a reload makes wider or narrower, or another port's: whoever calls all the time notices nothing.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::lab::client::{Connection, Request, exchange};
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, free_port, until};

const SERVICES: &str = "services: { payments: { url: $SERVICE, certificate: partner } }\n";

/// Connects all the time, each time with one request, and keeps each reason why one was not answered.
struct Caller {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Caller {
    fn of(call: impl Fn() -> io::Result<String> + Clone + Send + 'static) -> Self {
        let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let caller = || {
            let (stop, calls, call) = (stop.clone(), calls.clone(), call.clone());
            thread::spawn(move || {
                let mut unanswered = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match call() {
                        Ok(answer) if answer.starts_with("HTTP/1.1 ") => {}
                        other => unanswered.push(format!("{other:?}")),
                    }
                    calls.fetch_add(1, Ordering::Relaxed);
                }
                unanswered
            })
        };
        let threads = vec![caller(), caller()];
        Self { stop, calls, threads }
    }

    fn tcp(address: String) -> Self {
        Self::of(move || {
            let stream = TcpStream::connect(&address)?;
            stream.set_read_timeout(Some(Duration::from_secs(20)))?;
            ask(stream)
        })
    }

    fn unix(path: PathBuf) -> Self {
        Self::of(move || ask(UnixStream::connect(&path)?))
    }

    /// Waits until it has called a few times more: under way while whatever came before was carried out.
    async fn until_it_has_called_on(&self) {
        let before = self.calls.load(Ordering::Relaxed);
        until("more calls", async || (self.calls.load(Ordering::Relaxed) > before + 20).then_some(())).await;
    }

    #[track_caller]
    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        let unanswered: Vec<_> = self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert!(unanswered.is_empty(), "of {:?}: {unanswered:?}", self.calls);
    }
}

fn ask(mut stream: impl Read + Write) -> io::Result<String> {
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn with_health(health: &str) -> String {
    format!("admin: {{ listen: $ADMIN, health: {health} }}\n{SERVICES}")
}

async fn change(sidekey: &Sidekey, lab: &Lab, config: &str) {
    let generation = sidekey.generation().await;
    sidekey.rewrite(lab, config);
    until(config, async || {
        let status = sidekey.status().await;
        assert!(status["config"]["last_error"].is_null(), "{config}: {}", status["config"]["last_error"]);
        (status["config"]["generation"].as_u64().unwrap() > generation).then_some(())
    })
    .await;
}

/// Whether somebody listens there.
fn listens(address: &str) -> bool {
    TcpStream::connect(address).is_ok()
}

/// The addresses of a role, as status shows them.
async fn shown(sidekey: &Sidekey, role: &str) -> Vec<String> {
    let status = sidekey.status().await;
    let all = status["listeners"].as_array().unwrap();
    let of_role = all.iter().filter(|listener| listener["role"] == role);
    of_role.map(|listener| listener["address"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_address_is_made_wider_and_narrower_while_clients_connect() {
    let lab = Lab::start().await;
    let port = free_port();
    let [narrow, other] = ["127.0.0.1", "127.0.0.2"].map(|host| format!("{host}:{port}"));
    let has_ipv6 = TcpListener::bind("[::1]:0").is_ok();
    let sidekey = lab.sidekey(&with_health(&narrow)).await;
    let caller = Caller::tcp(narrow.clone());
    caller.until_it_has_called_on().await;

    let [localhost, wide] = ["localhost", "0.0.0.0"].map(|host| format!("{host}:{port}"));
    for next in [&localhost, &wide, &localhost, &narrow, &wide, &narrow, &localhost, &wide, &narrow] {
        change(&sidekey, &lab, &with_health(next)).await;
        caller.until_it_has_called_on().await;

        let is_wide = next == &wide;
        until("the others", async || (listens(&other) == is_wide).then_some(())).await;
        let on_ipv6 = has_ipv6 && next == &localhost;
        until("IPv6", async || (listens(&format!("[::1]:{port}")) == on_ipv6).then_some(())).await;
        let first = if is_wide { &wide } else { &narrow };
        assert_eq!(shown(&sidekey, "health").await.len(), 1 + usize::from(on_ipv6), "{next}");
        assert_eq!(shown(&sidekey, "health").await[0], *first);
    }

    caller.stop();
}

#[tokio::test]
async fn an_address_that_was_wide_from_the_start_is_made_narrower_while_clients_connect() {
    let lab = Lab::start().await;
    let port = free_port();
    let sidekey = lab.sidekey(&with_health(&format!("0.0.0.0:{port}"))).await;
    let caller = Caller::tcp(format!("127.0.0.1:{port}"));
    caller.until_it_has_called_on().await;

    change(&sidekey, &lab, &with_health(&format!("localhost:{port}"))).await;
    caller.until_it_has_called_on().await;

    until("the end of the others", async || (!listens(&format!("127.0.0.2:{port}"))).then_some(())).await;
    caller.stop();
}

#[tokio::test]
async fn an_address_moves_from_one_port_to_another_while_clients_connect() {
    let lab = Lab::start().await;
    let [one, two] = [(); 2].map(|()| format!("127.0.0.1:{}", free_port()));
    let config = |traffic: &str, health: &str| {
        format!("listen: [$LISTEN, '{traffic}']\nadmin: {{ listen: $ADMIN, health: '{health}' }}\n{SERVICES}")
    };
    let sidekey = lab.sidekey(&config(&one, &two)).await;
    let callers = [&one, &two].map(|address| Caller::tcp(address.clone()));

    for (traffic, health) in [(&two, &one), (&one, &two), (&two, &one)] {
        change(&sidekey, &lab, &config(traffic, health)).await;
        for caller in &callers {
            caller.until_it_has_called_on().await;
        }

        let carries = async || exchange(traffic, Request::get("/payments/x")).await.status == 200;
        until("traffic", async || carries().await.then_some(())).await;
        assert_eq!(exchange(health, Request::get("/livez")).await.status, 200);
        assert_eq!(shown(&sidekey, "health").await.concat(), *health);
    }

    callers.into_iter().for_each(Caller::stop);
}

#[tokio::test]
async fn a_wider_address_that_can_not_be_had_leaves_the_narrower_one() {
    let lab = Lab::start().await;
    let [port, another] = [free_port(), free_port()];
    let [narrow, wide, occupied] = ["127.0.0.1", "0.0.0.0", "127.0.0.2"].map(|host| format!("{host}:{port}"));
    let occupant = TcpListener::bind(&occupied).unwrap();
    let sidekey = lab.sidekey(&with_health(&narrow)).await;
    let caller = Caller::tcp(narrow.clone());

    sidekey.rewrite(&lab, &format!("listen: [$LISTEN, '127.0.0.1:{another}']\n{}", with_health(&wide)));
    let error = sidekey.until_reload_refused().await;

    assert!(error.contains(&format!("can't listen on {wide}: address in use")), "{error}");
    assert!(error.contains("sidekey.yaml:2:"), "where that is written: {error}");
    caller.until_it_has_called_on().await;
    assert!(!listens(&format!("127.0.0.1:{another}")), "the whole reload is refused");
    assert_eq!(shown(&sidekey, "health").await, [narrow]);

    drop(occupant);
    let generation = sidekey.generation().await;
    sidekey.signal(Signal::SIGHUP);
    sidekey.until_reloaded_since(generation).await;
    assert!(listens(&occupied) && listens(&format!("127.0.0.1:{another}")));
    caller.stop();
}

#[tokio::test]
async fn a_unix_socket_keeps_its_place_whoever_may_connect_and_whatever_is_behind_it() {
    let lab = Lab::start().await;
    let path = lab.path("sidekey.sock");
    let unix = format!("unix:{}", path.display());
    let traffic = |access: &str| format!("listen: [$LISTEN, '{unix}']\naccess: {{ {access} }}\n{SERVICES}");
    let sidekey = lab.sidekey(&traffic("unix_mode: '0600'")).await;
    let caller = Caller::unix(path.clone());
    let made = fs::metadata(&path).unwrap().ino();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;

    change(&sidekey, &lab, &traffic("unix_mode: '0660'")).await;
    until("another mode", async || (mode(&path) == 0o660).then_some(())).await;
    change(&sidekey, &lab, &traffic("unix_mode: '0660', unix_users: [65533]")).await;
    let answer = async || Connection::unix(&path).await.send(Request::get("/payments/x")).await.status;
    until("an owner that is another", async || (answer().await == 403).then_some(())).await;
    change(&sidekey, &lab, &format!("admin: {{ listen: [$ADMIN, '{unix}'] }}\n{SERVICES}")).await;
    until("the admin port", async || {
        let answer = Connection::unix(&path).await.send(Request::get("/api/status")).await;
        (answer.status == 200).then_some(())
    })
    .await;

    assert_eq!((fs::metadata(&path).unwrap().ino(), mode(&path)), (made, 0o600));
    caller.until_it_has_called_on().await;
    caller.stop();
}

#[tokio::test]
async fn an_address_that_can_not_be_had_is_told_with_its_place_or_with_what_names_it() {
    let lab = Lab::start().await;
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let (taken, free) = (holder.local_addr().unwrap().to_string(), format!("127.0.0.1:{}", free_port()));
    let run = |listen: &str, admin: &str, flags: &str, variables: &[(&str, &str)]| {
        let access = "access: { allow_remote: true, token: a-token-of-some-length }";
        let text = format!("listen: {listen}\nadmin: {admin}\n{access}\n{SERVICES}{CERTIFICATES}");
        lab.write("sidekey.yaml", &lab.fill_in(&text));
        let mut program = lab.program();
        program.args("run --config sidekey.yaml".split(' ')).args(flags.split_whitespace());
        let ended = program.envs(variables.iter().copied()).output().unwrap();
        (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
    };
    let check = |(code, said): (Option<i32>, String), parts: &[&str]| {
        assert_eq!(code, Some(1), "{said}");
        let told = said.split("error: ").last().unwrap();
        parts.iter().for_each(|part| assert!(told.contains(part), "{part}: {said}"));
    };
    let in_use = format!("can't listen on {taken}: address in use");

    check(run(&format!("['{free}', '{taken}']"), "off", "", &[]), &[&in_use, "--> sidekey.yaml:1:29"]);
    check(run(&free, &format!("{{ listen: '{taken}' }}"), "", &[]), &[&in_use, "--> sidekey.yaml:2:18"]);
    let health = format!("{{ listen: '127.0.0.1:0', health: '{taken}' }}");
    check(run(&free, &health, "", &[]), &[&in_use, "--> sidekey.yaml:2:41"]);
    let flag = format!("--listen {taken}");
    check(run(&free, "off", &flag, &[]), &[&in_use, "this address comes from --listen"]);
    check(run(&free, "off", &flag, &[("SIDEKEY_LISTEN", &free)]), &[&in_use, "comes from --listen"]);
    check(run(&free, "off", "", &[("SIDEKEY_LISTEN", &taken)]), &[&in_use, "comes from the variable SIDEKEY_LISTEN"]);
    check(run(&free, "off", &format!("--admin={taken}"), &[]), &[&in_use, "comes from --admin"]);
    check(run(&free, "off", "", &[("SIDEKEY_ADMIN", &taken)]), &[&in_use, "comes from the variable SIDEKEY_ADMIN"]);
    check(run("203.0.113.7:1", "off", "", &[]), &["this machine has no such address", "--> sidekey.yaml:1:9"]);
    check(run("'unix:missing/x.sock'", "off", "", &[]), &["its folder does not exist", "--> sidekey.yaml:1:9"]);
    let long = format!("'unix:{}'", "x".repeat(120));
    check(run(&long, "off", "", &[]), &["its path is longer than a unix socket's may be", "--> sidekey.yaml:1:9"]);
}

#[tokio::test]
async fn a_start_says_which_version_it_is_and_which_config_it_has() {
    let lab = Lab::start().await;

    let sidekey = lab.sidekey_found(SERVICES).await;

    let path = fs::canonicalize(lab.path("sidekey.yaml")).unwrap();
    let log = sidekey.log();
    let first = log.lines().next().unwrap_or_default();
    let version = env!("CARGO_PKG_VERSION");
    assert!(first.contains(version) && first.contains(&path.display().to_string()), "{log}");
}

const CERTIFICATES: &str = "certificates: { partner: { chain: tls/partner.pem, key: tls/partner.key } }\n";
