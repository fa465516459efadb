//! `sidekey check --online`: what only the network can say of a config.
//!
//! Each token is fetched once, however many services share it, and each service is shaken hands with; no request is sent
//! to one.

use std::collections::HashSet;
use std::io;
use std::panic;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_local};

use super::token::spell;
use crate::clock::rfc3339;
use crate::code::Code;
use crate::config::Report;
use crate::credential::Slot;
use crate::credential::oauth2::{ObtainError, Obtained};
use crate::server::worker::runtime_of_one_thread;
use crate::snapshot::{Service, Snapshot};
use crate::transport::{self, ProbeResult, Probed};

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
    probed: Probed,
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
            spawn(&permits, async move { connector.probe().await })
        })
        .collect();

    let mut fetched = Vec::new();
    for (slot, token) in tokens {
        fetched.push((slot, joined(token).await));
    }
    let mut tried = Vec::new();
    for (service, probe) in snapshot.services.iter().zip(probes) {
        let probed = joined(probe).await;
        tried.push(Tried { tokens: tokens_of(service, &fetched), probed });
    }
    tried
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
        match &self.probed.outcome {
            Ok(found) => well.push(welcome(found)),
            Err((_, error)) => {
                report.error(place, format!("`{name}`: {error}")).help(help_for(error));
            }
        }
        (well.len() == self.tokens.len() + 1).then(|| format!("{name}: {}", well.join(", ")))
    }
}

fn welcome(found: &ProbeResult) -> String {
    match (found.tls_version, &found.peer) {
        (Some(version), Some(peer)) => format!("TLS {version} ok with {}", peer.subject),
        (Some(version), None) => format!("TLS {version} ok"),
        (None, _) => "connection ok".to_owned(),
    }
}

/// What to do about a handshake, or what came before it.
fn help_for(error: &transport::Error) -> String {
    let help = match error.code() {
        Code::DnsError | Code::DnsTimeout => "check the host of `url`, and that this machine can look it up",
        Code::ConnectionRefused | Code::ConnectionTimeout => "check that it is up, and host and port of `url`",
        Code::TlsCertificateError if error.to_string().contains("clock") => {
            return format!(
                "this machine's clock says {}; if that is right, its owner must renew it",
                rfc3339(SystemTime::now())
            );
        }
        Code::TlsCertificateError => {
            "check `tls`: the authorities in `ca`, and `server_name` (with `host_header` beside it)"
        }
        Code::TlsAlertReceived => {
            "check with its owner which client certificates it accepts, and what `certificate` links"
        }
        Code::TlsProtocolError => "check whether `url` should start with http:// or https://",
        _ => "check that `url` leads to the service itself",
    };
    help.to_owned()
}

/// Few enough for an endpoint behind which all of them may be.
const AT_A_TIME: usize = 10;
