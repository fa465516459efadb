//! HTTP/1.1 connections that nobody uses now.

use std::collections::VecDeque;

use super::connection::Resting;
use crate::clock::Moment;
use crate::config::IdleLimit;

/// One worker's, the one used last at the end: a few are kept busy, and the others grow old.
pub(super) struct IdleConnections {
    connections: VecDeque<Idle>,
    /// `None`: whoever looks through them says how many are too many.
    most: Option<usize>,
}

struct Idle {
    connection: Resting,
    since: Moment,
}

impl IdleConnections {
    /// Keeps as many as a worker may by itself, one at least.
    pub(super) fn new(limit: IdleLimit, workers: usize) -> Self {
        let most = match limit {
            IdleLimit::Auto => None,
            IdleLimit::Most(most) => Some((most / workers.max(1)).max(1)),
        };
        Self { connections: VecDeque::new(), most }
    }

    /// Whether there may be any number of them.
    pub(super) fn is_unlimited(&self) -> bool {
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
        self.connections.push_back(Idle { connection, since: now });
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

/// Room for so many is nothing to give up.
const ROOM: usize = 8;
