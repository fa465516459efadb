//! Who says nothing holds nothing: connections that are silent give way to those that have something to ask.

use std::process::{Child, Command};

use crate::lab::client::{Connection, Ended, Request, exchange};
use crate::lab::fault::{Fault, Reply};
use crate::lab::{Lab, free_port, until};

async fn service() -> Fault {
    Fault::plain(|_| Reply::ok("welcome")).await
}

async fn silent(address: &str, count: usize) -> Vec<Connection> {
    let mut connections = Vec::new();
    for _ in 0..count {
        connections.push(Connection::open(address).await);
    }
    connections
}

#[tokio::test]
async fn the_longest_silent_connection_gives_way_to_the_next() {
    let lab = Lab::start().await;
    let service = service().await;
    let config = format!("services: {{ payments: {{ url: {} }} }}\nlimits: {{ connections: 4 }}", service.url());
    for workers in ["1", "2"] {
        let sidekey = lab.sidekey_with(&config, &["--workers", workers], &[]).await;
        let mut first = sidekey.connect().await;
        assert_eq!(first.send(Request::get("/payments/x")).await.status, 200);
        let mut second = sidekey.connect().await;
        assert_eq!(second.send(Request::get("/payments/x")).await.status, 200);
        // A tick of the clock later there is no doubt who has been silent for longest.
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
        assert_eq!(second.send(Request::get("/payments/x")).await.status, 200);
        let _others = silent(&sidekey.address, 2).await;

        for _ in 0..3 {
            assert_eq!(sidekey.get("/payments/x").await.status, 200, "{workers} workers");
        }

        assert_eq!(first.closed().await, Ended::Early, "{workers} workers");
    }
}

#[tokio::test]
async fn silence_on_every_place_keeps_nobody_out() {
    let lab = Lab::start().await;
    let service = service().await;
    let config = format!("services: {{ payments: {{ url: {} }} }}\nlimits: {{ connections: 4 }}", service.url());
    let sidekey = lab.sidekey(&config).await;

    let crowd = silent(&sidekey.address, 40).await;
    let answer = sidekey.get("/payments/x").await;

    assert_eq!(answer.status_of_service(), 200);
    drop(crowd);
}

#[tokio::test]
async fn one_place_is_enough_for_two_listeners() {
    let lab = Lab::start().await;
    let service = service().await;
    let config = format!(
        "listen: [$LISTEN, unix:$FOLDER/app.sock]
services: {{ payments: {{ url: {} }} }}
limits: {{ connections: 1 }}",
        service.url()
    );
    let sidekey = lab.sidekey(&config).await;

    for _ in 0..3 {
        let mut unix = Connection::unix(&lab.path("app.sock")).await;
        assert_eq!(unix.send(Request::get("/payments/x")).await.status, 200);
        assert_eq!(sidekey.get("/payments/x").await.status, 200);
    }
}

#[tokio::test]
async fn the_first_head_must_be_there_in_time_counted_from_the_beginning() {
    let lab = Lab::start().await;
    let service = service().await;
    let config = format!(
        "services: {{ payments: {{ url: {} }} }}\nlimits: {{ header_timeout: 2s, idle_timeout: 1h }}",
        service.url()
    );
    let sidekey = lab.sidekey(&config).await;
    let (mut quiet, mut slow) = (sidekey.connect().await, sidekey.connect().await);

    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await; // what a slow app does
    slow.write("GET /payments/x HT").await;

    slow.answer().await.problem("request_timeout");
    assert_eq!(quiet.closed().await, Ended::Early);
}

#[tokio::test]
async fn a_crowd_on_the_health_port_locks_nobody_out() {
    let lab = Lab::start().await;
    let service = service().await;
    let health = format!("127.0.0.1:{}", free_port());
    let config = format!(
        "admin: {{ listen: $ADMIN, health: {health} }}\nservices: {{ payments: {{ url: {} }} }}",
        service.url()
    );
    let sidekey = lab.sidekey(&config).await;

    let crowd = silent(&health, 300).await;

    assert_eq!(exchange(&health, Request::get("/livez")).await.status, 200);
    assert_eq!(sidekey.admin("/livez").await.status, 200);
    let more = silent(&sidekey.admin, 300).await;
    assert_eq!(sidekey.admin("/livez").await.status, 200);
    assert_eq!(exchange(&health, Request::get("/livez")).await.status, 200);
    drop((crowd, more));
}

#[tokio::test]
async fn who_is_not_among_the_users_hears_so_before_he_says_anything() {
    let lab = Lab::start().await;
    let service = service().await;
    let config = format!(
        "listen: [$LISTEN, unix:$FOLDER/app.sock]
services: {{ payments: {{ url: {} }} }}
access: {{ unix_users: [\"4242\"] }}",
        service.url()
    );
    let sidekey = lab.sidekey(&config).await;

    let mut app = Connection::unix(&lab.path("app.sock")).await;

    let detail = app.answer().await.problem("forbidden");
    assert!(detail.contains("is not in `access.unix_users`"), "{detail}");
    assert_eq!(app.closed().await, Ended::Early);
    assert_eq!(sidekey.get("/payments/x").await.status, 200);
    assert_eq!(service.count(), 1);
}

#[tokio::test]
async fn with_few_descriptors_probes_reloads_and_traffic_go_on() {
    let lab = Lab::start().await;
    let service = service().await;
    let [address, admin] = std::array::from_fn(|_| format!("127.0.0.1:{}", free_port()));
    let config = |name: &str| {
        format!("listen: {address}\nadmin: {{ listen: {admin} }}\nservices: {{ {name}: {{ url: {} }} }}", service.url())
    };
    lab.write("few.yaml", &config("payments"));
    let log = lab.path("few.log");
    let _few = Few::start(&lab, &log);
    until("ready", async || {
        tokio::net::TcpStream::connect(&admin).await.ok()?;
        (exchange(&admin, Request::get("/readyz")).await.status == 200).then_some(())
    })
    .await;

    let crowd = silent(&address, 400).await;
    let answered = exchange(&address, Request::get("/payments/x")).await;
    let alive = exchange(&admin, Request::get("/livez")).await;
    lab.write("few.yaml", &config("orders"));
    until("a reload", async || (exchange(&address, Request::get("/orders/x")).await.status == 200).then_some(())).await;

    assert_eq!((answered.status, alive.status), (200, 200));
    let told = std::fs::read_to_string(&log).unwrap();
    assert!(told.contains("`limits.connections: 10000` is more than the open files of this process allow"), "{told}");
    assert!(!told.contains("can't accept"), "{told}");
    drop(crowd);
}

/// Sidekey with 256 descriptors; ends when it is dropped.
struct Few(Child);

impl Few {
    fn start(lab: &Lab, log: &std::path::Path) -> Self {
        let mut shell = Command::new("sh");
        let program = env!("CARGO_BIN_EXE_sidekey");
        shell.args(["-c", &format!("ulimit -n 256; exec {program} run --config few.yaml")]);
        shell.current_dir(lab.folder()).env_clear().env("PATH", "/usr/bin:/bin");
        Self(shell.stderr(std::fs::File::create(log).unwrap()).spawn().unwrap())
    }
}

impl Drop for Few {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}
