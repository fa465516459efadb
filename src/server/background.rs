//! What the background does with listening sockets: it accepts for several workers, and carries the admin port.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::spawn_local;

use super::accept::{self, Accepted, Gate};
use super::connection::{self, Floor, Port};
use super::listener::Socket;
use super::ports::{Admin, Health};
use super::sockets::Serve;
use super::worker::Worker;
use crate::admin::{self, Role};

/// Sends each connection to where it is served.
#[derive(Clone)]
pub(crate) struct Background {
    workers: Rc<[Worker]>,
    /// Of the traffic ports.
    gate: Arc<Gate>,
    /// Of the admin and health ports: an app that takes every connection must not lock the operator out.
    admin_gate: Arc<Gate>,
    admin: Rc<admin::Context>,
    floor: Rc<Floor>,
}

impl Background {
    pub(crate) fn new(workers: Rc<[Worker]>, gate: Arc<Gate>, admin: Rc<admin::Context>) -> Self {
        let floor = Rc::new(Floor::default());
        let swept = Rc::clone(&floor);
        spawn_local(async move { swept.sweep.run().await });
        Self { workers, gate, admin_gate: Arc::new(Gate::new(ADMIN_CONNECTIONS)), admin, floor }
    }

    /// What [`super::sockets::Sockets`] calls for each new socket.
    pub(crate) fn serve(&self) -> Serve {
        let this = self.clone();
        Box::new(move |role, socket, stop| match role {
            Role::Traffic => this.serve_traffic(socket, stop),
            Role::Admin => this.serve_here(socket, stop, &Rc::new(Admin(Rc::clone(&this.admin)))),
            Role::Health => this.serve_here(socket, stop, &Rc::new(Health(Rc::clone(&this.admin)))),
        })
    }

    /// Closes what is idle on the admin and health ports; the rest ends after its answer.
    pub(crate) fn close(&self) {
        self.floor.close();
    }

    /// Resolves once no connection of the admin and health ports is open.
    pub(crate) async fn emptied(&self) {
        self.admin_gate.emptied().await;
    }

    /// A lone worker accepts by itself; of several, the one with the fewest connections gets the next.
    fn serve_traffic(&self, socket: Arc<Socket>, stop: watch::Receiver<bool>) {
        let gate = Arc::clone(&self.gate);
        if let [lone] = &*self.workers {
            return lone.accept(socket, gate, stop);
        }
        let workers = Rc::clone(&self.workers);
        spawn_local(accept::run(socket, gate, stop, move |accepted| {
            let Some(worker) = workers.iter().min_by_key(|worker| worker.open()) else { return };
            match accepted.hand_over() {
                Ok(connection) => worker.serve(connection),
                Err(error) => tracing::warn!(%error, "an accepted connection can't be handed to a worker"),
            }
        }));
    }

    fn serve_here<P: Port>(&self, socket: Arc<Socket>, stop: watch::Receiver<bool>, port: &Rc<P>) {
        let (port, floor) = (Rc::clone(port), Rc::clone(&self.floor));
        spawn_local(accept::run(socket, Arc::clone(&self.admin_gate), stop, move |accepted| {
            let (port, floor) = (Rc::clone(&port), Rc::clone(&floor));
            spawn_local(async move {
                let Accepted { stream, peer, place } = accepted;
                connection::serve(stream, peer, port, floor).await;
                drop(place);
            });
        }));
    }
}

const ADMIN_CONNECTIONS: usize = 256;
