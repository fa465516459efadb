//! A crowd of new subjects at one token endpoint: it waits in line, over few connections, and stops nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::lab::client::{Answer, Connection, Request, exchange};
use crate::lab::fault::{Fault, Received, Reply};
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, until};

/// A service that asks `token_url` for a token of whoever `X-User` names.
fn payments(token_url: &str, rest: &str) -> String {
    format!(
        "
services:
  payments:
    url: 'http://$SERVICE_PLAIN'
    auth:
      type: oauth2_token_exchange
      token_url: '{token_url}'
      subject_token: {{ from_header: X-User }}
      {rest}
"
    )
}

async fn ask(sidekey: &Sidekey, who: &str) -> Answer {
    sidekey.send(Request::get("/payments/orders").field("X-User", who)).await
}

/// One request of each of so many subjects, all at once.
fn crowd(sidekey: &Sidekey, count: usize) -> JoinSet<Answer> {
    let mut requests = JoinSet::new();
    for number in 0..count {
        let address = sidekey.address.clone();
        requests.spawn(async move {
            let request = Request::get("/payments/orders").field("X-User", &format!("subject-{number}"));
            Connection::open(&address).await.send(request).await
        });
    }
    requests
}

/// Two thousand connections are more than most shells allow.
fn allow_many_files() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
}

/// An endpoint that takes its time under `/slow`, where it counts how many it has at once; under `/quick` it answers at
/// once with a token that lives for six seconds.
async fn slow_and_quick(lab: &Lab, peak: &Arc<AtomicUsize>) -> Fault {
    let (begun, ended) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let peak = Arc::clone(peak);
    Fault::tls(lab, move |request| {
        if request.target() == "/quick" {
            return Reply::token(&format!("quick-{}", request.number), 6);
        }
        // What has ended is counted before the client can know it, so that this is never too much.
        let now = begun.fetch_add(1, Ordering::Relaxed) + 1 - ended.load(Ordering::Relaxed);
        peak.fetch_max(now, Ordering::Relaxed);
        let answer = Reply::token(&format!("slow-{}", request.number), 600);
        Reply::default().pause(Duration::from_millis(300)).count(&ended).then(answer)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_new_subjects_wait_in_line_while_probes_and_other_services_go_on() {
    allow_many_files();
    let lab = Lab::start().await;
    let peak = Arc::<AtomicUsize>::default();
    let idp = slow_and_quick(&lab, &peak).await;
    let url = idp.url().replace("127.0.0.1", "localhost");
    let other = format!(
        "  other:
    url: 'http://$SERVICE_PLAIN'
    certificate: partner
    auth: {{ type: oauth2_client_credentials, token_url: '{url}/quick', client_id: other, client_secret: s }}
    ready: required
"
    );
    let certificate = "timeout: 30s\n    certificate: partner";
    let sidekey = lab.sidekey(&(payments(&format!("{url}/slow"), certificate) + &other)).await;
    let count = |path: &str| idp.received().iter().filter(|request: &&Received| request.target() == path).count();

    let mut crowd = crowd(&sidekey, CROWD);
    let (mut probes, mut quick, began) = (Vec::new(), vec![(Instant::now(), count("/quick"))], Instant::now());
    let mut served = 0;
    while served < CROWD {
        let sent = Instant::now();
        assert_eq!(exchange(&sidekey.admin, Request::get("/livez")).await.status, 200);
        probes.push(sent.elapsed());
        let refreshes = count("/quick");
        if refreshes > quick.last().unwrap().1 {
            quick.push((Instant::now(), refreshes));
        }
        assert_eq!(sidekey.get("/other/orders").await.status, 200, "its token is never missing");
        while let Ok(Some(answer)) = timeout(Duration::from_millis(10), crowd.join_next()).await {
            let answer = answer.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            served += 1;
        }
    }

    probes.sort_unstable();
    let (median, slow) = (probes[probes.len() / 2], probes[probes.len() * 95 / 100]);
    let late = quick.windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap();
    let connections = idp.received().iter().map(|request| request.connection).max().unwrap() + 1;
    println!(
        "{CROWD} in {:?}: /livez within {median:?} (95 of 100: {slow:?}), at most {late:?} between two refreshes, \
         {connections} connections, {} at a time",
        began.elapsed(),
        peak.load(Ordering::Relaxed)
    );
    // A machine that builds something beside this is slow now and then: of twenty one may be.
    assert!(slow < Duration::from_millis(100), "{slow:?}");
    assert!(late < Duration::from_secs(6), "{late:?}: a token lives for six seconds");
    assert_eq!(peak.load(Ordering::Relaxed), 64);
    assert_eq!(count("/slow"), CROWD);
    // Each refresh of the other service may have one of its own.
    assert!(connections <= 64 + count("/quick"), "{connections} connections");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_in_line_for_too_long_is_told_so_and_is_asked_for_no_more() {
    let lab = Lab::start().await;
    let idp = Fault::idp(|_| Reply::hang()).await;
    let sidekey = lab.sidekey(&payments(&idp.url(), "timeout: 1s")).await;

    let answers = crowd(&sidekey, 500).join_all().await;

    let mut in_line = 0;
    for answer in answers {
        let detail = answer.problem("token_unavailable");
        assert!(answer.retry_after() >= 1);
        in_line += usize::from(detail.contains("others wait in line before this one"));
    }
    assert!(in_line > 100, "{in_line}");
    // Nobody waits: whoever is still in line goes without a request.
    let asked = idp.count();
    assert!(asked < 500 - in_line + 65, "{asked} requests, and {in_line} waited in vain");
    let later = ask(&sidekey, "late").await.problem("token_unavailable");
    assert!(later.contains("made us wait for its whole answer"), "the line is empty again: {later}");
}

#[tokio::test]
async fn subjects_go_over_one_connection_as_long_as_the_endpoint_keeps_it() {
    let lab = Lab::start().await;
    // It closes each connection after its fourth request, and says nothing of it.
    let idp = Fault::idp(|request| {
        let reply = Reply::token(&format!("token-{}", request.number), 600);
        if request.number % 4 == 3 { reply.then_close() } else { reply }
    })
    .await;
    let sidekey = lab.sidekey(&payments(&idp.url(), "")).await;

    for number in 0..12 {
        let answer = ask(&sidekey, &format!("subject-{number}")).await;
        assert_eq!(answer.at_service().authorization, format!("Bearer token-{number}"));
    }

    let connections: Vec<_> = idp.received().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
}

#[tokio::test]
async fn a_kept_connection_that_is_cut_as_it_is_used_again_costs_no_token() {
    let lab = Lab::start().await;
    // What comes second on a connection finds it cut, and is whole by then.
    let idp = Fault::idp(|request| match request.number {
        1 => Reply::reset(),
        number => Reply::token(&format!("token-{number}"), 600),
    })
    .await;
    let sidekey = lab.sidekey(&payments(&idp.url(), "")).await;

    assert_eq!(ask(&sidekey, "first").await.at_service().authorization, "Bearer token-0");
    assert_eq!(ask(&sidekey, "second").await.at_service().authorization, "Bearer token-2");

    let connections: Vec<_> = idp.received().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 0, 1]);
    sidekey.until_metric("sidekey_token_requests_total{service=\"payments\",outcome=\"ok\"}", 2.0).await;
    sidekey.until_metric("sidekey_token_requests_total{service=\"payments\",outcome=\"unavailable\"}", 0.0).await;
}

#[tokio::test]
async fn an_idle_connection_to_the_endpoint_is_closed_soon() {
    let lab = Lab::start().await;
    let idp = Fault::idp(|_| Reply::token("token", 600)).await;
    let sidekey = lab.sidekey(&payments(&idp.url(), "")).await;
    let port = idp.port;
    let open = || {
        let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", sidekey.id())).unwrap();
        // Remote address and state of each: established is 01.
        let remote = format!("0100007F:{port:04X} 01");
        table.lines().filter(|line| line.contains(&remote)).count()
    };

    ask(&sidekey, "somebody").await.at_service();

    until("no connection", async || (open() == 0).then_some(())).await;
}

const CROWD: usize = 2_000;
