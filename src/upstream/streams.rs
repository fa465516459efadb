//! HTTP/2 connections, and what runs on them.

use std::cell::Cell;
use std::rc::Rc;

use tokio::task::spawn_local;

use super::permits::Place;
use crate::clock::Moment;
use crate::transport::{ConnectionDriver, Http2Handle};

/// An open HTTP/2 connection, whose bytes are moved by a task of its own, and how many requests it carries.
pub(super) struct Shared {
    pub(super) sender: Http2Handle,
    pub(super) born: Moment,
    running: Cell<usize>,
    /// Nobody joins it any more: a request was given up on it while not a byte came, so it may be dead; or another
    /// worker is to have its permit.
    closing: Cell<bool>,
    idle_since: Cell<Moment>,
}

/// One worker's.
#[derive(Default)]
pub(super) struct SharedConnections(Vec<Rc<Shared>>);

impl Shared {
    /// Starts the task that drives it, which has the socket, and with it the place: a service that has stopped reading
    /// counts for as long as it takes up one.
    pub(super) fn start(sender: Http2Handle, driver: Option<ConnectionDriver>, place: Place, born: Moment) -> Rc<Self> {
        spawn_local(async move {
            if let Some(driver) = driver {
                driver.await;
            }
            drop(place);
        });
        let (running, closing, idle_since) = (Cell::new(0), Cell::new(false), Cell::new(born));
        Rc::new(Self { sender, born, running, closing, idle_since })
    }

    /// A request joins it.
    pub(super) fn join(&self) {
        self.running.set(self.running.get() + 1);
    }

    /// One has left it.
    pub(super) fn leave(&self, now: Moment) {
        self.running.set(self.running.get() - 1);
        self.idle_since.set(now);
    }

    /// Nobody joins it from now on.
    pub(super) fn close_in_time(&self) {
        self.closing.set(true);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running.get() == 0
    }

    /// Whether it may carry one more request.
    fn has_room(&self) -> bool {
        !self.closing.get() && self.running.get() < self.sender.streams()
    }
}

impl SharedConnections {
    pub(super) fn add(&mut self, shared: Rc<Shared>) {
        self.0.push(shared);
    }

    /// One that may carry one more request.
    pub(super) fn with_room(&mut self) -> Option<&Rc<Shared>> {
        // A dead one holds a permit that the next may need.
        self.0.retain(|shared| !shared.sender.is_closed() && !shared.closing.get());
        self.0.iter().find(|shared| shared.has_room())
    }

    pub(super) fn remove(&mut self, gone: &Rc<Shared>) {
        self.0.retain(|shared| !Rc::ptr_eq(shared, gone));
    }

    /// Lets go of those that are not fit for another request, given since when they are idle; what runs on them goes on.
    pub(super) fn retain(&mut self, is_fit: impl Fn(&Shared, Option<Moment>) -> bool) {
        self.0.retain(|shared| {
            let is_done = shared.sender.is_closed() || (shared.is_idle() && shared.closing.get());
            !is_done && is_fit(shared, shared.is_idle().then(|| shared.idle_since.get()))
        });
    }

    /// Closes one that is idle, if there is one.
    pub(super) fn close_idle(&mut self) {
        if let Some(idle) = self.0.iter().position(|shared| shared.is_idle()) {
            self.0.remove(idle);
        }
    }

    pub(super) fn count_idle(&self) -> usize {
        self.0.iter().filter(|shared| shared.is_idle()).count()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> &[Rc<Shared>] {
        &self.0
    }
}
