//! `sidekey check --online`: what only the network can say of a config.
//!
//! Each token is fetched once, however many services share it, and each service is shaken hands with. No request is sent
//! to one, but for an `OPTIONS` without a credential where a handshake does not tell enough: to those that ask for a client
//! certificate (some shake hands whatever they are shown, and refuse it with a status), that are asked for two names, or that
//! are spoken to without TLS.

use std::collections::HashSet;
use std::io;
use std::panic;
use std::rc::Rc;
use std::sync::Arc;

use http::uri::{Authority, PathAndQuery};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_local};

use super::token::spell;
use crate::code::Code;
use crate::config::{Report, Scheme, Span};
use crate::credential::Slot;
use crate::credential::oauth2::{ObtainError, Obtained};
use crate::server::worker::runtime_of_one_thread;
use crate::snapshot::{Service, Snapshot};
use crate::tls::ClientCertificate;
use crate::transport::{self, Connector, Objection, ProbeResult, Probed};

/// Tries every service; what fails is reported at its key. Returns a line for each that is well.
///
/// # Errors
/// When the system gives no runtime.
pub(super) fn check(snapshot: &Snapshot, report: &mut Report) -> io::Result<Vec<String>> {
    let runtime = runtime_of_one_thread()()?;
    let tried = runtime.block_on(try_all(snapshot));
    // A look-up that goes on must not hold up the end.
    runtime.shutdown_background();
    Ok(snapshot
        .services
        .iter()
        .zip(&tried)
        .filter_map(|(service, tried)| tried.judge(service, snapshot, report))
        .collect())
}

/// What came of one service.
struct Tried {
    tokens: Vec<Rc<TriedToken>>,
    /// `None`: there is nowhere to go.
    visit: Option<Visit>,
}

/// What came of going there.
struct Visit {
    probed: Probed,
    /// What is wrong though there is a connection.
    objection: Option<Objection>,
}

type TriedToken = Result<Obtained, ObtainError>;

/// All at once, but for no more than [`AT_A_TIME`].
async fn try_all(snapshot: &Snapshot) -> Vec<Tried> {
    let permits = Rc::new(Semaphore::new(AT_A_TIME));
    let all: Rc<[_]> = snapshot.slots().into_iter().map(|(slot, _)| Arc::clone(slot)).collect();
    let tokens: Vec<_> = slots(snapshot)
        .into_iter()
        .map(|slot| {
            let (fetched, all) = (Arc::clone(slot), Rc::clone(&all));
            (slot, spawn(&permits, async move { Rc::new(fetched.obtain(&all).await) }))
        })
        .collect();
    let probes: Vec<_> = snapshot
        .services
        .iter()
        .map(|service| {
            let connector = service.identities.first().upstream.connector().clone();
            let has_two_names = service.misdirection.is_some();
            let leads_somewhere = service.scheme != Scheme::OpenPgp;
            let speaks_http = leads_somewhere && !service.scheme.is_of_files();
            let asked = speaks_http.then(|| (service.authority.clone(), base(service)));
            let visited = leads_somewhere.then(|| visit(connector, asked, has_two_names));
            spawn(&permits, async move {
                match visited {
                    Some(visited) => Some(visited.await),
                    None => None,
                }
            })
        })
        .collect();

    let mut fetched = Vec::new();
    for (slot, token) in tokens {
        fetched.push((slot, joined(token).await));
    }
    let mut tried = Vec::new();
    for (service, probe) in snapshot.services.iter().zip(probes) {
        let visit = joined(probe).await;
        tried.push(Tried { tokens: tokens_of(service, &fetched), visit });
    }
    tried
}

/// `asked` is what a request would be for, where one may be sent.
async fn visit(connector: Connector, asked: Option<(Authority, PathAndQuery)>, has_two_names: bool) -> Visit {
    let probed = connector.probe().await;
    let is_asked = probed.client_certificate != ClientCertificate::NotAskedFor;
    let may_object = is_asked || has_two_names || !connector.has_tls();
    let objection = match (&probed.outcome, asked) {
        (Ok(_), Some((authority, target))) if may_object => connector.objection(&authority, target).await,
        _ => None,
    };
    Visit { probed, objection }
}

/// The path that all requests to a service begin with.
fn base(service: &Service) -> PathAndQuery {
    PathAndQuery::try_from(service.base_path.as_str()).unwrap_or_else(|_| PathAndQuery::from_static("/"))
}

/// Those of each service's first identity, each once.
fn slots(snapshot: &Snapshot) -> Vec<&Arc<Slot>> {
    let mut met = HashSet::new();
    let all = snapshot.services.iter().flat_map(|service| service.identities.first().credential.slots());
    all.filter(|slot| met.insert(Arc::as_ptr(slot))).collect()
}

fn spawn<T: 'static>(permits: &Rc<Semaphore>, task: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    let permits = Rc::clone(permits);
    spawn_local(async move {
        // It fails only once it is closed, and nobody does that.
        let _permit = permits.acquire().await;
        task.await
    })
}

/// A panic of the task is one of ours.
async fn joined<T>(task: JoinHandle<T>) -> T {
    task.await.unwrap_or_else(|error| panic::resume_unwind(error.into_panic()))
}

fn tokens_of(service: &Service, fetched: &[(&Arc<Slot>, Rc<TriedToken>)]) -> Vec<Rc<TriedToken>> {
    let of = |slot: &Arc<Slot>| fetched.iter().find(|(known, _)| Arc::ptr_eq(known, slot));
    service.identities.first().credential.slots().filter_map(of).map(|(_, token)| Rc::clone(token)).collect()
}

impl Tried {
    /// A line if all is well.
    fn judge(&self, service: &Service, snapshot: &Snapshot, report: &mut Report) -> Option<String> {
        let name = &service.name;
        // Invariant: the snapshot was compiled from this config.
        let place = snapshot.config.services.get(name)?.span;
        let mut well = Vec::new();
        for token in &self.tokens {
            match &**token {
                Ok(token) => {
                    for (what, help) in token.oddities.told() {
                        report.warning(place, format!("`{name}`: {what}")).help(help);
                    }
                    well.push(format!("token ok (expires in {})", spell(token.lifetime)));
                }
                Err(failure) => {
                    report.error(place, format!("`{name}`: no token: {}", failure.what())).help(failure.help());
                }
            }
        }
        let Some(visit) = &self.visit else {
            return Some(format!("{name}: its keys are good, and nothing is sent from here"));
        };
        let client_certificate = visit.probed.client_certificate;
        match (&visit.probed.outcome, &visit.objection) {
            (Ok(_), Some(objection)) => {
                let (what, help) = objected(objection, service, client_certificate);
                report.error(place, format!("`{name}`: {what}")).help(help);
            }
            (Ok(found), None) => {
                warn_of_certificate(service, client_certificate, place, report);
                let way = service.identities.first().upstream.connector().way();
                #[cfg(feature = "files")]
                let welcome = visit.probed.files.map_or_else(
                    || welcome(found, client_certificate),
                    |timings| files_listed(visit.probed.spent, timings),
                );
                #[cfg(not(feature = "files"))]
                let welcome = welcome(found, client_certificate);
                well.push(format!("{welcome}{way}"));
            }
            (Err((_, error)), _) => {
                report.error(place, format!("`{name}`: {error}")).help(help_for(error, client_certificate));
            }
        }
        (well.len() == self.tokens.len() + 1).then(|| format!("{name}: {}", well.join(", ")))
    }
}

/// What is wrong though there is a connection, and what to do about it.
fn objected(objection: &Objection, service: &Service, seen: ClientCertificate) -> (String, String) {
    match objection {
        Objection::Certificate(refusal) => {
            let why = seen.why_refused().map(|why| format!("; {why}")).unwrap_or_default();
            let help = help_for_certificate(seen).unwrap_or("ask its owner which client certificates it accepts");
            (format!("{refusal}{why}"), help.to_owned())
        }
        Objection::Misdirected(answer) => match &service.misdirection {
            Some(names) => (names.to_string(), "check `host_header` and `tls.server_name`".to_owned()),
            None => (answer.clone(), "ask its owner under which name it answers".to_owned()),
        },
        Objection::WantsTls(answer) => (answer.clone(), CHECK_SCHEME.to_owned()),
        Objection::NoHttp(error) => (error.to_string(), CHECK_SCHEME.to_owned()),
    }
}

const CHECK_SCHEME: &str = "check whether `url` should start with https://, and `http_version`";

fn welcome(found: &ProbeResult, client_certificate: ClientCertificate) -> String {
    let shown = match client_certificate {
        ClientCertificate::NotAskedFor | ClientCertificate::OfSession => "",
        ClientCertificate::NoneLinked | ClientCertificate::NoneFits => ", client certificate asked for and not shown",
        ClientCertificate::Shown { .. } => ", client certificate shown",
    };
    match (found.tls_version, &found.peer) {
        (Some(version), Some(peer)) => format!("TLS {version} ok with {}{shown}", peer.subject),
        (Some(version), None) => format!("TLS {version} ok{shown}"),
        (None, _) => "connection ok".to_owned(),
    }
}

/// Each step on the way to a listing, with its time.
#[cfg(feature = "files")]
fn files_listed(spent: transport::ConnectTimings, timings: transport::FileTimings) -> String {
    let dial = [spent.lookup, spent.tcp, spent.proxy].into_iter().flatten().sum();
    let steps = [
        ("connection", Some(dial)),
        ("host key", timings.host_key),
        ("TLS", spent.tls),
        ("login", timings.login),
        ("listing", timings.listing),
    ];
    let told = steps.into_iter().filter_map(|(step, took): (_, Option<std::time::Duration>)| {
        Some(format!("{step} ok ({:.1} ms)", took?.as_micros() as f64 / 1_000.0))
    });
    told.collect::<Vec<_>>().join(", ")
}

/// What is odd about a handshake that went well. A certificate may be linked for the token endpoint alone.
fn warn_of_certificate(service: &Service, seen: ClientCertificate, place: Span, report: &mut Report) {
    let (name, identity) = (&service.name, service.identities.first());
    match seen {
        ClientCertificate::NotAskedFor
            if identity.certificate.is_some() && identity.credential.slots().count() == 0 =>
        {
            report
                .warning(place, format!("`{name}`: the service asked for no client certificate, so that none was shown"))
                .help("it may ask for one at another port or under another name (`tls.server_name`), or for some paths only");
        }
        ClientCertificate::NoneFits => {
            let what =
                "the service asks for a client certificate, and lists no signature scheme of the linked one's kind";
            report.warning(place, format!("`{name}`: {what}, so that none was shown")).help(ANOTHER_KIND);
        }
        _ => {}
    }
}

/// What to do about a handshake, or what came before it.
fn help_for(error: &transport::Error, client_certificate: ClientCertificate) -> String {
    if let Some(help) = error.help() {
        return help.into_owned();
    }
    let help = match error.code() {
        Code::DnsError | Code::DnsTimeout => "check the host of `url`, and that this machine can look it up",
        Code::ConnectionRefused | Code::ConnectionTimeout => "check that it is up, and host and port of `url`",
        Code::TlsAlertReceived => {
            help_for_certificate(client_certificate).unwrap_or("ask its owner: the service's log says what it minds")
        }
        Code::TlsProtocolError => "check how `url` should start: what answers there may speak no TLS, or not at once",
        Code::LoginRejected => "check `username`, and `password` or `private_key`; the partner knows what it takes",
        Code::HostKeyMismatch => {
            "ask the partner, in another way than by this connection, which key the server has; only then change `host_key` or \
             `known_hosts`"
        }
        Code::FileNotFound | Code::FileForbidden => "check the path of `url`, and what this login may see",
        Code::Overloaded => "try again later, or ask the partner for more connections",
        Code::ConnectionTerminated => {
            help_for_certificate(client_certificate).unwrap_or("check that `url` leads to the service itself")
        }
        _ => "check that `url` leads to the service itself",
    };
    help.to_owned()
}

/// What to do where our client certificate may be what is minded; `None`: none was asked for.
fn help_for_certificate(seen: ClientCertificate) -> Option<&'static str> {
    match seen {
        ClientCertificate::NotAskedFor | ClientCertificate::OfSession => None,
        ClientCertificate::NoneLinked => {
            Some("name one of `certificates` with `certificate`; its owner knows whose it takes")
        }
        ClientCertificate::NoneFits => Some(ANOTHER_KIND),
        ClientCertificate::Shown { .. } => {
            Some("check with its owner which client certificates it accepts, and what `certificate` links")
        }
    }
}

const ANOTHER_KIND: &str = "link a certificate with an RSA or a P-256 key: nearly every service takes those";

/// Few enough for an endpoint behind which all of them may be.
const AT_A_TIME: usize = 10;
