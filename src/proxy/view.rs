//! A worker's half of the snapshot: what it changes as it works, all of one thread.
//!
//! A view stands for one generation. When the published snapshot is another one, a new view is built that keeps each
//! half whose service is the same `Arc`: its connections, its copy of the token, its numbers. The other halves
//! retire; requests under way hold the `Rc<View>` that they began with, and end on it.

use std::cell::RefCell;
use std::ops::Deref;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use http::Response;
use http::uri::Authority;

use super::admit::Door;
use super::fields::{Instance, Rules};
use super::{Body, problem};
use crate::clock::Moment;
use crate::code::Code;
use crate::config::Limits;
use crate::credential::Attachments;
use crate::snapshot::{Published, Service, Snapshot};
use crate::telemetry::errors::Recent;
use crate::telemetry::metrics::{Metrics, Numbers};
use crate::upstream::Pool;

/// Everything that one worker needs to handle requests. One per worker thread.
pub(crate) struct Context {
    published: Arc<Published>,
    newest: RefCell<Cache<Current, Arc<Snapshot>>>,
    view: RefCell<Rc<View>>,
    worker: Rc<Worker>,
}

/// The worker's halves for one snapshot.
pub(crate) struct View {
    pub(super) snapshot: Arc<Snapshot>,
    /// In the order of the snapshot's services, which is that of their names.
    pub(super) halves: Vec<Rc<ServiceHalf>>,
    pub(super) worker: Rc<Worker>,
}

/// The worker's half of one service.
pub(super) struct ServiceHalf {
    pub(super) service: Arc<Service>,
    pub(super) pool: Rc<Pool>,
    pub(super) attachments: RefCell<Attachments>,
    pub(super) numbers: Arc<Numbers>,
    pub(super) rules: Rules,
    /// Our own copy: one shared among workers would be a reference count that they fight for.
    pub(super) authority: Authority,
}

/// What stays with the worker whatever is published.
pub(super) struct Worker {
    metrics: Arc<Metrics>,
    number: usize,
    workers: usize,
    /// Numbers of the requests that no service is found for.
    pub(super) unrouted: Arc<Numbers>,
    /// Where our own answers are put down for status.
    pub(super) recent: Arc<Recent>,
    pub(super) instance: Instance,
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
        let worker = Rc::new(Worker {
            unrouted: metrics.numbers(worker, ""),
            recent: Arc::clone(metrics.recent()),
            instance: Instance::new(instance),
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
    pub(crate) async fn follow(&self) {
        loop {
            let mut changed = pin!(self.published.changed());
            // Registered before looking: a publication between the two is not missed.
            changed.as_mut().enable();
            drop(self.view());
            changed.await;
        }
    }

    /// Our answer to a request that could not be taken, counted like every other.
    pub(crate) fn refuse(&self, code: Code, detail: &str) -> Response<Body> {
        let answer = problem::bare(code, detail);
        let numbers = &self.worker.unrouted;
        numbers.started();
        numbers.failed(code);
        numbers.answered(answer.status());
        numbers.finished(Duration::ZERO);
        answer
    }

    /// Housekeeping of the pools, about once a second.
    pub(crate) fn sweep(&self, now: Moment) {
        for half in &self.view().halves {
            half.pool.sweep(now);
        }
    }
}

impl View {
    /// The limits of client connections.
    pub(crate) fn limits(&self) -> Limits {
        self.snapshot.config.limits
    }

    /// Who may ask under this snapshot.
    pub(super) fn door(&self) -> Door<'_> {
        let Snapshot { access, routes, .. } = &*self.snapshot;
        Door { access, routes, instance: &self.worker.instance }
    }

    fn build(snapshot: Arc<Snapshot>, worker: &Rc<Worker>, old: &[Rc<ServiceHalf>]) -> Self {
        let halves = snapshot.services.iter().map(|service| {
            half_of(service, old).cloned().unwrap_or_else(|| Rc::new(ServiceHalf::new(service, worker)))
        });
        Self { halves: halves.collect(), snapshot, worker: Rc::clone(worker) }
    }

    /// The view of `snapshot`; halves that it does not keep retire.
    fn follow(&self, snapshot: Arc<Snapshot>) -> Rc<Self> {
        let next = Self::build(snapshot, &self.worker, &self.halves);
        for half in &self.halves {
            if half_of(&half.service, &next.halves).is_none() {
                half.pool.retire();
            }
        }
        Rc::new(next)
    }
}

/// The half of this very service, not of another version of it; requests wait while a thousand of them are looked for.
fn half_of<'a>(service: &Arc<Service>, halves: &'a [Rc<ServiceHalf>]) -> Option<&'a Rc<ServiceHalf>> {
    let place = halves.binary_search_by(|half| half.service.name.cmp(&service.name)).ok()?;
    halves.get(place).filter(|half| Arc::ptr_eq(&half.service, service))
}

impl ServiceHalf {
    fn new(service: &Arc<Service>, worker: &Worker) -> Self {
        let numbers = worker.metrics.numbers(worker.number, service.name.as_str());
        let upstream = Arc::clone(&service.identity.upstream);
        Self {
            pool: Pool::new(upstream, worker.workers, Arc::clone(&numbers)),
            attachments: RefCell::default(),
            numbers,
            rules: Rules::compile(service),
            authority: own_copy(&service.authority),
            service: Arc::clone(service),
        }
    }
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
