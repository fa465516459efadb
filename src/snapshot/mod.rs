//! What runs: immutable, everything resolved and encoded beforehand.
//!
//! `Snapshot::compile` only joins what each type's own `compile` made. A part that is unchanged is taken over from the
//! last snapshot as the same `Arc`, so that pools and tokens are kept.

mod access;
pub(crate) mod difference;
#[cfg(feature = "files")]
mod file_server;
mod identity;
mod limits;
mod misdirection;
mod service;
#[cfg(feature = "openpgp")]
mod transforms;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

pub(crate) use access::{Access, LocalName};
pub(crate) use identity::{Identity, IdentityError, pick_written};
pub(crate) use limits::{InFlightPermit, LimitError};
pub(crate) use service::Service;

use crate::config::{At, Config, Inputs, OutboundProxyConfig, Report, Span, ToleratedFailures};
use crate::credential::{Claim, ClaimError, Credential, Slot, Slots, Subjects};
use crate::name::{CertificateName, ServiceName};
use crate::route::{self, Destination};
use crate::tls::Certificate;
use crate::transport::{HeldBodies, ProxySelector};

/// One generation of what runs. Never changes once published.
pub(crate) struct Snapshot {
    /// From 1; each reload that changes something adds 1.
    pub(crate) generation: u64,
    pub(crate) loaded_at: SystemTime,
    /// In order of name; `route::Match::service` is a place in here.
    pub(crate) services: Vec<Arc<Service>>,
    pub(crate) routes: Arc<route::RouteTable>,
    pub(crate) access: Arc<Access>,
    /// How what is no service is reached: the tunnels of `connect`.
    pub(crate) proxies: ProxySelector,
    /// In order of name.
    pub(crate) certificates: Vec<Arc<Certificate>>,
    /// As written: for listeners, logs, limits, and the next difference.
    pub(crate) config: Arc<Config>,
    /// Commands that gave no secret: what depends on them is in this snapshot without one.
    pub(crate) failing: ToleratedFailures,
}

/// What outlives the process, had for one snapshot. Dropping it gives it back, as if nobody had asked.
#[must_use = "what is not committed is given back"]
pub(crate) struct ClaimedState(Vec<Claim>);

/// Where the current snapshot is read: one atomic load.
pub(crate) struct Published {
    current: ArcSwap<Snapshot>,
    changed: Notify,
    /// Outlives what is published: what is held goes on when the limit changes.
    held_bodies: Arc<HeldBodies>,
}

/// Leave to put a snapshot in another's place. Whoever knows how far the process is in its life has one to show, for as
/// long as nothing can have changed in that.
pub(crate) trait RightToPublish {}

/// Of who has no process that could end: tests and benchmarks.
#[cfg(any(test, feature = "bench"))]
pub(crate) struct AnyTime;

#[cfg(any(test, feature = "bench"))]
impl RightToPublish for AnyTime {}

impl Published {
    pub(crate) fn new(first: Snapshot) -> Self {
        let held_bodies = HeldBodies::new(first.config.limits.held_bytes);
        Self { current: ArcSwap::from_pointee(first), changed: Notify::new(), held_bodies }
    }

    /// For [`arc_swap::Cache`]: a worker asks at each request whether its view is current.
    pub(crate) fn current(&self) -> &ArcSwap<Snapshot> {
        &self.current
    }

    /// Publishes and wakes idle workers: they would hold the connections of a rotated certificate else.
    pub(crate) fn publish(&self, next: Arc<Snapshot>, _: &dyn RightToPublish) {
        self.held_bodies.limit_to(next.config.limits.held_bytes);
        self.current.store(next);
        self.changed.notify_waiters();
    }

    /// What all workers together may hold of bodies.
    pub(crate) fn held_bodies(&self) -> &Arc<HeldBodies> {
        &self.held_bodies
    }

    /// Resolves at the next publication. Enable it before looking at `current`.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }
}

impl Snapshot {
    /// Compiles a config; what is unchanged since `previous` is taken over as the same `Arc`.
    ///
    /// `None`: there is an error, or no secrets are read, so that certificates are missing.
    pub(crate) fn compile(
        config: Config,
        previous: Option<&Self>,
        slots: &Slots,
        inputs: &Inputs,
        report: &mut Report,
    ) -> Option<Self> {
        let certificates = compile_certificates(&config, previous, inputs, report);
        let services = compile_services(&config, &certificates, previous, slots, inputs, report);
        let routes = compile_routes(&config, report);
        let access = Access::compile(&config.access, config.listens(), report);
        refuse_shared_state(&services, &config, report);
        let proxies = tunnel_proxies(&config, inputs, report);
        let services: Option<Vec<_>> = services.into_iter().collect();
        if report.has_errors() {
            return None;
        }
        Some(Self {
            generation: previous.map_or(1, |previous| previous.generation + 1),
            loaded_at: SystemTime::now(),
            services: services?,
            routes: Arc::new(routes),
            access: Arc::new(access?),
            proxies: proxies?,
            certificates: certificates.into_values().collect(),
            config: Arc::new(config),
            failing: inputs.failing(),
        })
    }

    /// The service of this name.
    pub(crate) fn service(&self, name: &str) -> Option<&Arc<Service>> {
        let place = self.services.binary_search_by(|service| service.name.as_str().cmp(name)).ok()?;
        self.services.get(place)
    }

    /// The certificate of this name.
    pub(crate) fn certificate(&self, name: &str) -> Option<&Arc<Certificate>> {
        let place = self.certificates.binary_search_by(|certificate| certificate.name.as_str().cmp(name)).ok()?;
        self.certificates.get(place)
    }

    /// Every slot, each once, with the services that share it.
    pub(crate) fn slots(&self) -> Vec<(&Arc<Slot>, Vec<&Service>)> {
        self.shared(|credential| credential.slots().collect())
    }

    /// As [`Snapshot::slots`], for the methods that have a token for each subject.
    pub(crate) fn subjects(&self) -> Vec<(&Arc<Subjects>, Vec<&Service>)> {
        self.shared(|credential| credential.subjects().collect())
    }

    fn shared<'a, T>(&'a self, of: impl Fn(&'a Credential) -> Vec<&'a Arc<T>>) -> Vec<(&'a Arc<T>, Vec<&'a Service>)> {
        let mut all: Vec<(&Arc<T>, Vec<&Service>)> = Vec::new();
        let mut places = HashMap::new();
        for service in &self.services {
            for one in service.identities.all().iter().flat_map(|identity| of(&identity.credential)) {
                let place = *places.entry(Arc::as_ptr(one)).or_insert(all.len());
                match all.get_mut(place) {
                    // Identities of one service may share it too.
                    Some((_, sharers)) if sharers.last().is_some_and(|last| std::ptr::eq(*last, &**service)) => {}
                    Some((_, sharers)) => sharers.push(service),
                    None => all.push((one, vec![service])),
                }
            }
        }
        all
    }

    /// Has what outlives the process (the state of refresh tokens) for this process alone, once that is committed. Blocks.
    ///
    /// # Errors
    /// When it is another process's, or can't be read: nothing is left behind then.
    pub(crate) fn claim(&self) -> Result<ClaimedState, ClaimError> {
        let claims: Result<Vec<_>, _> = self.slots().into_iter().map(|(slot, _)| slot.claim()).collect();
        Ok(ClaimedState(claims?.into_iter().flatten().collect()))
    }

    /// The same snapshot with other services in the places of those of the same name.
    pub(crate) fn with_services(&self, replace: impl Fn(&Arc<Service>) -> Arc<Service>) -> Self {
        Self {
            generation: self.generation,
            loaded_at: self.loaded_at,
            services: self.services.iter().map(replace).collect(),
            routes: Arc::clone(&self.routes),
            access: Arc::clone(&self.access),
            proxies: self.proxies.clone(),
            certificates: self.certificates.clone(),
            config: Arc::clone(&self.config),
            failing: self.failing.clone(),
        }
    }
}

impl ClaimedState {
    /// The snapshot is about to be published. What files lack is written on a thread of `runtime`'s.
    pub(crate) fn commit(self, runtime: &Handle) {
        Claim::commit_all(self.0, runtime);
    }
}

fn compile_certificates(
    config: &Config,
    previous: Option<&Snapshot>,
    inputs: &Inputs,
    report: &mut Report,
) -> BTreeMap<CertificateName, Arc<Certificate>> {
    let mut certificates = BTreeMap::new();
    for (name, written) in &config.certificates {
        let Some(compiled) = Certificate::compile(name, written, inputs, report) else { continue };
        let known = previous.and_then(|previous| previous.certificate(name.as_str()));
        let known = known.filter(|known| known.same_material(&compiled) && known.title == compiled.title);
        certificates.insert(name.clone(), known.map_or(compiled, Arc::clone));
    }
    certificates
}

fn compile_services(
    config: &Config,
    certificates: &BTreeMap<CertificateName, Arc<Certificate>>,
    previous: Option<&Snapshot>,
    slots: &Slots,
    inputs: &Inputs,
    report: &mut Report,
) -> Vec<Option<Arc<Service>>> {
    let compile = |(name, written): (&ServiceName, &At<_>)| {
        let known = previous.and_then(|previous| previous.service(name.as_str()));
        let older = known.map(Arc::as_ref);
        let mut compiled = Service::compile(name, written, certificates, slots, older, inputs, report)?;
        let Some(known) = known else { return Some(Arc::new(compiled)) };
        if known.is_same_as(&compiled) {
            return Some(Arc::clone(known));
        }
        compiled.adopt(known);
        Some(Arc::new(compiled))
    };
    config.services.iter().map(compile).collect()
}

/// Refuses two refresh tokens in one state file: each would overwrite the other.
fn refuse_shared_state(services: &[Option<Arc<Service>>], config: &Config, report: &mut Report) {
    let mut known: HashMap<&Path, (&Arc<Slot>, &Service)> = HashMap::new();
    for service in services.iter().flatten() {
        for slot in service.slots() {
            let Some(path) = slot.state_file() else { continue };
            let (other, owner) = known.entry(path).or_insert((slot, service));
            if Arc::ptr_eq(other, slot) {
                continue;
            }
            let who = if owner.name == service.name {
                format!("two identities of the service `{}`", owner.name)
            } else {
                format!("the services `{}` and `{}`", owner.name, service.name)
            };
            let message = format!(
                "{who} have different refresh tokens, or use them differently, and one `state_file`: `{}`",
                path.display()
            );
            let span = config.services.get(&service.name).map_or(Span::NOWHERE, |written| written.span);
            report.error(span, message).help("give each a file of its own");
            // Ten thousand identities have the same file where two have.
            break;
        }
    }
}

/// How the tunnels of `connect` are reached. Without one there is nothing to be wrong with the environment's proxy.
fn tunnel_proxies(config: &Config, inputs: &Inputs, report: &mut Report) -> Option<ProxySelector> {
    match config.connect.allow.first() {
        Some(first) => ProxySelector::compile(&OutboundProxyConfig::FromEnvironment, first.span, inputs, report),
        None => Some(ProxySelector::default()),
    }
}

/// Compiles the routes; services are known by their place in order of name.
pub(crate) fn compile_routes(config: &Config, report: &mut Report) -> route::RouteTable {
    let destinations: Vec<_> = config
        .services
        .iter()
        .map(|(name, service)| Destination {
            name,
            url: &service.value.url,
            default_routes: service.value.default_routes,
        })
        .collect();
    let place = |route: &At<crate::config::RouteConfig>| {
        destinations.binary_search_by(|destination| destination.name.cmp(&route.value.service.value)).ok()
    };
    let routes: Vec<_> = config.routes.iter().filter_map(|route| Some((route, place(route)?))).collect();
    route::RouteTable::compile(&destinations, &routes, report)
}
