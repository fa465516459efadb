//! HTTP/1.1 connections that nobody uses now.

use std::collections::VecDeque;
use std::time::Duration;

use super::connection::Resting;
use crate::clock::Moment;
use crate::config::IdleLimit;

/// One worker's, the one used last at the end: a few are kept busy, and the others grow old.
pub(super) struct IdleConnections {
    connections: VecDeque<Idle>,
    /// `None`: the pool goes by demand (`close_surplus`).
    most: Option<usize>,
    /// Of the next one that is kept.
    number: u64,
    looked: LastLook,
}

struct Idle {
    connection: Resting,
    since: Moment,
    /// In the order in which they were kept: who was kept before a look and is here still has been idle ever since, and no
    /// clock is read for a request.
    number: u64,
}

/// What a look has found.
struct LastLook {
    at: Moment,
    /// All before this number have been idle since then.
    next: u64,
    /// All before this one since the look before.
    rested: u64,
}

impl IdleConnections {
    /// Keeps as many as a worker may by itself, one at least.
    pub(super) fn new(limit: IdleLimit, workers: usize) -> Self {
        let most = match limit {
            IdleLimit::Auto => None,
            IdleLimit::Most(most) => Some((most / workers.max(1)).max(1)),
        };
        let looked = LastLook { at: Moment::now(), next: 0, rested: 0 };
        Self { connections: VecDeque::new(), most, number: 0, looked }
    }

    /// Whether no number is set, and what was in use lately decides.
    pub(super) fn goes_by_demand(&self) -> bool {
        self.most.is_none()
    }

    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    /// The one used last; those that the service has left are closed on the way.
    pub(super) fn take(&mut self) -> Option<Resting> {
        while let Some(Idle { mut connection, .. }) = self.connections.pop_back() {
            if !connection.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    pub(super) fn keep(&mut self, connection: Resting, now: Moment) {
        self.connections.push_back(Idle { connection, since: now, number: self.number });
        self.number += 1;
        if self.most.is_some_and(|most| self.connections.len() > most) {
            self.connections.pop_front();
        }
    }

    /// Closes those that are not fit for another request, given since when they are idle.
    pub(super) fn retain(&mut self, is_fit: impl Fn(&mut Resting, Moment) -> bool) {
        self.connections.retain_mut(|idle| is_fit(&mut idle.connection, idle.since));
    }

    /// Closes the one that has been idle for longest. `false`: there is none.
    pub(super) fn close_oldest(&mut self) -> bool {
        self.connections.pop_front().is_some()
    }

    /// Looks at what is idle, to learn by the next time what has been so for [`RESTED`] at least.
    pub(super) fn look(&mut self, now: Moment) {
        if now.since(self.looked.at) >= RESTED {
            self.looked = LastLook { at: now, next: self.number, rested: self.looked.next };
        }
    }

    /// Closes the one that has been idle for longest if it has been so for [`RESTED`]. `false`: there is none.
    pub(super) fn close_rested(&mut self) -> bool {
        let is_rested = self.connections.front().is_some_and(|oldest| oldest.number < self.looked.rested);
        is_rested && self.close_oldest()
    }

    /// Gives up the room of those that are gone, where it is most of it.
    pub(super) fn shrink(&mut self) {
        let wanted = self.connections.len().max(ROOM);
        if self.connections.capacity() > 4 * wanted {
            self.connections.shrink_to(2 * wanted);
        }
    }

    pub(super) fn clear(&mut self) {
        self.connections.clear();
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.connections.capacity()
    }

    #[cfg(test)]
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Resting> {
        self.connections.iter_mut().map(|idle| &mut idle.connection)
    }
}

/// Long beside the pauses between two requests of a busy app, short beside `timeouts.connect`.
pub(super) const RESTED: Duration = Duration::from_millis(100);

/// Room for so many is nothing to give up.
const ROOM: usize = 8;
