//! A worker's half of the snapshot: what it changes as it works, all of one thread.
//!
//! A view stands for one generation. When the published snapshot is another one, a new view is built that keeps each
//! half whose service is the same `Arc`: its connections, its copy of the token, its numbers. The other halves
//! retire; requests under way hold the `Rc<View>` that they began with, and end on it.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::ops::Deref;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use arc_swap::{ArcSwap, Cache};
use http::HeaderMap;
use http::uri::Authority;

use super::admit::AccessCheck;
use super::fields::{FieldNames, Instance, Rules};
use super::{Arrival, Error, Peer};
use crate::clock::Moment;
use crate::code::Code;
use crate::config::{AccessLog, Limits};
use crate::credential::{Attachments, own_name};
use crate::name::ServiceName;
use crate::snapshot::{Access, Identity, IdentityError, Published, Service, Snapshot};
use crate::telemetry::errors::Recent;
use crate::telemetry::metrics::{Metrics, Numbers};
use crate::transport::HeldBodies;
use crate::upstream::Pool;

/// Everything that one worker needs to handle requests. One per worker thread.
pub(crate) struct Context {
    published: Arc<Published>,
    newest: RefCell<Cache<Current, Arc<Snapshot>>>,
    view: RefCell<Rc<View>>,
    pub(super) worker: Rc<WorkerShared>,
}

/// The worker's halves for one snapshot.
pub(crate) struct View {
    pub(super) snapshot: Arc<Snapshot>,
    /// In the order of the snapshot's services, which is that of their names.
    pub(super) halves: Vec<Rc<ServiceHalf>>,
    /// The fields that routes go by: no trailer may say them.
    pub(super) routed_by: Rc<FieldNames>,
    pub(super) worker: Rc<WorkerShared>,
}

/// The worker's half of one service.
pub(super) struct ServiceHalf {
    pub(super) service: Arc<Service>,
    pub(super) numbers: Arc<Numbers>,
    pub(super) rules: Rules,
    /// Our own copy: one shared among workers would be a reference count that they fight for.
    pub(super) authority: Authority,
    /// In the order of the service's identities, each made when it is first used: of ten thousand most may never be.
    identities: Box<[OnceCell<Rc<IdentityHalf>>]>,
    turn: Cell<usize>,
    workers: usize,
    /// Another view has come, and only requests that were under way go on here.
    retired: Cell<bool>,
}

/// The worker's half of one identity of a service.
pub(super) struct IdentityHalf {
    pub(super) identity: Arc<Identity>,
    pub(super) pool: Rc<Pool>,
    pub(super) attachments: RefCell<Attachments>,
}

/// What stays with the worker whatever is published.
pub(super) struct WorkerShared {
    metrics: Arc<Metrics>,
    number: usize,
    workers: usize,
    /// Numbers of the requests that no service is found for.
    pub(super) unrouted: Arc<Numbers>,
    /// Where our own answers are put down for status.
    pub(super) recent: Arc<Recent>,
    pub(super) instance: Instance,
    /// What it holds of bodies, together with all others.
    pub(super) held_bodies: Arc<HeldBodies>,
}

impl Context {
    /// `worker` is this worker's number from 0, `workers` how many there are, `instance` the 8 hex digits of `Via`.
    pub(crate) fn new(
        published: Arc<Published>,
        metrics: Arc<Metrics>,
        worker: usize,
        workers: usize,
        instance: &str,
    ) -> Self {
        let worker = Rc::new(WorkerShared {
            unrouted: metrics.numbers(worker, ""),
            recent: Arc::clone(metrics.recent()),
            instance: Instance::new(instance),
            held_bodies: Arc::clone(published.held_bodies()),
            metrics,
            number: worker,
            workers,
        });
        let mut newest = Cache::new(Current(Arc::clone(&published)));
        let view = View::build(Arc::clone(newest.load()), &worker, &[]);
        Self { published, newest: RefCell::new(newest), view: RefCell::new(Rc::new(view)), worker }
    }

    /// The current view: one atomic load says whether the one in hand is current.
    pub(crate) fn view(&self) -> Rc<View> {
        let mut newest = self.newest.borrow_mut();
        let snapshot = newest.load();
        let mut view = self.view.borrow_mut();
        if !Arc::ptr_eq(snapshot, &view.snapshot) {
            *view = view.follow(Arc::clone(snapshot));
        }
        Rc::clone(&view)
    }

    /// Keeps the view current while no request asks for it; never ends.
    ///
    /// Without this an idle worker would hold the connections of a certificate that was rotated away.
    pub(crate) async fn follow(&self) -> Infallible {
        loop {
            let mut changed = pin!(self.published.changed());
            // Registered before looking: a publication between the two is not missed.
            changed.as_mut().enable();
            drop(self.view());
            changed.await;
        }
    }

    /// Why this client gets no request through; `None`: it may ask.
    pub(crate) fn turns_away(&self, peer: Peer) -> Option<(Code, String)> {
        turns_away(&self.view().snapshot.access, peer)
    }

    /// Housekeeping of the pools, about once a second. Says how many connections were closed.
    pub(crate) fn sweep(&self, now: Moment) -> usize {
        self.view().halves.iter().flat_map(|half| half.used()).map(|half| half.pool.sweep(now)).sum()
    }
}

impl View {
    /// The limits of client connections.
    pub(crate) fn limits(&self) -> Limits {
        self.snapshot.config.limits
    }

    /// Whether our own answers are logged.
    pub(crate) fn logs_refusals(&self) -> bool {
        self.snapshot.config.log.access != AccessLog::Off
    }

    /// Who may ask under this snapshot, of those that came to a port of all or to this service's own.
    pub(super) fn door(&self, own: Option<usize>) -> AccessCheck<'_> {
        let Snapshot { access, routes, .. } = &*self.snapshot;
        AccessCheck { access, routes, instance: &self.worker.instance, own }
    }

    /// The place of the service whose own port a connection came to.
    ///
    /// # Errors
    /// When it is gone: connections outlive their ports.
    pub(super) fn place_of(&self, service: &ServiceName) -> Result<usize, Error> {
        let place = self.halves.binary_search_by(|half| half.service.name.cmp(service));
        place.map_err(|_| Error::ServiceGone { service: service.clone() })
    }

    fn build(snapshot: Arc<Snapshot>, worker: &Rc<WorkerShared>, old: &[Rc<ServiceHalf>]) -> Self {
        let halves = snapshot.services.iter().map(|service| {
            half_of(service, old).cloned().unwrap_or_else(|| Rc::new(ServiceHalf::new(service, worker, old)))
        });
        let routed_by: HashSet<_> = snapshot.routes.fields().map(own_name).collect();
        let routed_by = Rc::new(routed_by.into_iter().collect());
        Self { halves: halves.collect(), snapshot, routed_by, worker: Rc::clone(worker) }
    }

    /// The view of `snapshot`; halves that it does not keep retire.
    fn follow(&self, snapshot: Arc<Snapshot>) -> Rc<Self> {
        let next = Self::build(snapshot, &self.worker, &self.halves);
        for half in &self.halves {
            if half_of(&half.service, &next.halves).is_none() {
                half.retire(half_named(&half.service, &next.halves));
            }
        }
        Rc::new(next)
    }
}

/// The half of this very service, not of another version of it; requests wait while a thousand of them are looked for.
fn half_of<'a>(service: &Arc<Service>, halves: &'a [Rc<ServiceHalf>]) -> Option<&'a Rc<ServiceHalf>> {
    half_named(service, halves).filter(|half| Arc::ptr_eq(&half.service, service))
}

fn half_named<'a>(service: &Service, halves: &'a [Rc<ServiceHalf>]) -> Option<&'a Rc<ServiceHalf>> {
    let place = halves.binary_search_by(|half| half.service.name.cmp(&service.name)).ok()?;
    halves.get(place)
}

impl ServiceHalf {
    fn new(service: &Arc<Service>, worker: &WorkerShared, old: &[Rc<Self>]) -> Self {
        let all = service.identities.all();
        let half = Self {
            numbers: worker.metrics.numbers(worker.number, service.name.as_str()),
            rules: Rules::compile(service),
            authority: own_copy(&service.authority),
            identities: all.iter().map(|_| OnceCell::new()).collect(),
            // Workers that begin at different places use different identities at a time.
            turn: Cell::new(worker.number * all.len() / worker.workers.max(1)),
            workers: worker.workers,
            retired: Cell::new(false),
            service: Arc::clone(service),
        };
        if let Some(old) = half_named(service, old) {
            half.take_over(old);
        }
        half
    }

    /// How many bytes the body of a request may have.
    pub(super) fn body_limit(&self) -> Option<usize> {
        self.service.limits.as_ref()?.body_bytes
    }

    /// Who this request is sent as.
    ///
    /// # Errors
    /// When the app has to say, and does not.
    pub(super) fn identity(&self, fields: &HeaderMap, arrival: &Arrival) -> Result<&Rc<IdentityHalf>, IdentityError> {
        let service = &self.service;
        let turn = || self.turn.replace(self.turn.get().wrapping_add(1));
        let connection = |arrived: &AtomicUsize| arrival.number_at(&service.name, arrived);
        let place = service.identities.pick(fields, turn, connection)?;
        // Invariant: one of the service's identities was picked, and there is a place for each of them.
        Ok(self.identities[place].get_or_init(|| {
            let identity = Arc::clone(&service.identities.all()[place]);
            let pool = Pool::new(Arc::clone(&identity.upstream), self.workers, Arc::clone(&self.numbers));
            if self.retired.get() {
                pool.retire();
            }
            Rc::new(IdentityHalf { identity, pool, attachments: RefCell::default() })
        }))
    }

    /// The halves of the identities that this worker has used.
    fn used(&self) -> impl Iterator<Item = &Rc<IdentityHalf>> {
        self.identities.iter().filter_map(OnceCell::get)
    }

    /// Goes on with the halves of identities that the older version had too.
    fn take_over(&self, old: &Self) {
        let known: HashMap<_, _> = old.used().map(|half| (Arc::as_ptr(&half.identity), half)).collect();
        for (identity, place) in self.service.identities.all().iter().zip(&self.identities) {
            if let Some(&half) = known.get(&Arc::as_ptr(identity)) {
                place.get_or_init(|| Rc::clone(half));
            }
        }
    }

    /// Closes the idle connections, but for those that its successor goes on with.
    fn retire(&self, successor: Option<&Rc<Self>>) {
        self.retired.set(true);
        let kept: HashSet<_> = successor.iter().flat_map(|half| half.used()).map(Rc::as_ptr).collect();
        self.used().filter(|half| !kept.contains(&Rc::as_ptr(half))).for_each(|half| half.pool.retire());
    }
}

/// Why this client of a unix socket gets no request through (`access.unix_users`); `None`: it may ask.
pub(crate) fn turns_away(access: &Access, peer: Peer) -> Option<(Code, String)> {
    let Peer::Unix { uid } = peer else { return None };
    let error = (!access.admits_uid(uid)).then_some(Error::UnixUser { uid })?;
    Some((error.code(), error.detail()))
}

fn own_copy(authority: &Authority) -> Authority {
    Authority::try_from(authority.as_str()).unwrap_or_else(|_| authority.clone())
}

/// What [`Cache`] reads from.
struct Current(Arc<Published>);

impl Deref for Current {
    type Target = ArcSwap<Snapshot>;

    fn deref(&self) -> &ArcSwap<Snapshot> {
        self.0.current()
    }
}
