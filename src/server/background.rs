//! What the background does with listening sockets: it accepts for several workers, and carries the admin port.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::watch;

use super::accept::{self, Accepted, Carriers, ConnectionLimit, Stop};
use super::connection::{self, Port, ThreadShared};
use super::listener::ListeningSocket;
use super::ports::{AdminPort, Health};
use super::sockets::{Purpose, Serve};
use super::vital::{Vital, passing};
use super::worker::RunningWorker;
use crate::admin::{self, Role};
use crate::name::ServiceName;

/// Sends each connection to where it is served.
#[derive(Clone)]
pub(crate) struct Background {
    workers: Rc<[RunningWorker]>,
    /// Of the traffic ports.
    gate: Arc<ConnectionLimit>,
    admin: Rc<admin::AdminContext>,
    /// Of the admin port and of the health port, each its own: who takes every connection of the one must not lock
    /// anybody out of the other.
    operators: RoleShared,
    probes: RoleShared,
    vital: Vital,
}

/// What the connections of one role share that are carried here.
#[derive(Clone)]
struct RoleShared {
    gate: Arc<ConnectionLimit>,
    shared: Rc<ThreadShared>,
    vital: Vital,
}

impl Background {
    /// `places`: how many connections each of the two other roles may have.
    pub(crate) fn new(
        workers: Rc<[RunningWorker]>,
        gate: Arc<ConnectionLimit>,
        admin: Rc<admin::AdminContext>,
        places: usize,
        vital: &Vital,
    ) -> Self {
        let (operators, probes) = (RoleShared::new(places, vital), RoleShared::new(places, vital));
        Self { workers, gate, admin, operators, probes, vital: vital.clone() }
    }

    /// What [`super::sockets::Sockets`] calls for each new socket.
    pub(crate) fn serve(&self) -> Serve {
        let this = self.clone();
        Box::new(move |Purpose { role, service }, socket, stop| match role {
            Role::Traffic => this.serve_traffic(socket, service.clone(), stop),
            Role::Admin => this.operators.serve(socket, stop, Rc::new(AdminPort(Rc::clone(&this.admin)))),
            Role::Health => this.probes.serve(socket, stop, Rc::new(Health(Rc::clone(&this.admin)))),
        })
    }

    /// Closes what is idle on the admin and health ports; the rest ends after its answer.
    pub(crate) fn close(&self) {
        self.operators.shared.close();
        self.probes.shared.close();
    }

    /// Resolves once no connection of the admin and health ports is open.
    pub(crate) async fn emptied(&self) {
        self.operators.gate.emptied().await;
        self.probes.gate.emptied().await;
    }

    /// A lone worker accepts by itself; of several, the one with the fewest connections gets the next.
    fn serve_traffic(&self, socket: Arc<ListeningSocket>, own: Option<ServiceName>, stop: watch::Receiver<Stop>) {
        let gate = Arc::clone(&self.gate);
        if let [lone] = &*self.workers {
            return lone.accept(socket, own, gate, stop);
        }
        let workers = Rc::clone(&self.workers);
        let carriers = Carriers::Workers(Rc::clone(&workers));
        self.vital.finite(
            accept::NAME,
            accept::run(socket, gate, stop, carriers, move |accepted| {
                let Some(worker) = fittest(&workers) else { return };
                match accepted.hand_over() {
                    Ok(connection) => worker.serve(connection, own.clone()),
                    Err(error) => tracing::warn!(%error, "an accepted connection can't be handed to a worker"),
                }
            }),
        );
    }
}

/// The worker that gets the next connection: of those that turn, the one with the fewest. `None`: all are gone.
pub(super) fn fittest(workers: &[RunningWorker]) -> Option<&RunningWorker> {
    // One that is gone carries nothing, and so would get every connection until the process has ended.
    let alive = workers.iter().filter(|worker| worker.is_alive());
    // One that hangs would go on getting its share; with no other left it is the best there is, for it may wake.
    alive.min_by_key(|worker| (worker.hangs(), worker.open()))
}

impl RoleShared {
    fn new(places: usize, vital: &Vital) -> Self {
        let shared = Rc::new(ThreadShared::default());
        let swept = Rc::clone(&shared);
        vital.endless("the background's sweep", async move { swept.sweep.run().await });
        Self { gate: Arc::new(ConnectionLimit::new(places)), shared, vital: vital.clone() }
    }

    fn serve<P: Port>(&self, socket: Arc<ListeningSocket>, stop: watch::Receiver<Stop>, port: Rc<P>) {
        let shared = Rc::clone(&self.shared);
        let here = Carriers::Here(Rc::clone(&shared));
        self.vital.finite(
            accept::NAME,
            accept::run(socket, Arc::clone(&self.gate), stop, here, move |accepted| {
                let (port, shared) = (Rc::clone(&port), Rc::clone(&shared));
                passing(async move {
                    let Accepted { stream, peer, place } = accepted;
                    connection::serve(stream, peer, None, port, shared).await;
                    drop(place);
                });
            }),
        );
    }
}
