//! HTTP/1.1 connections that nobody uses now.

use std::collections::VecDeque;

use super::connection::Resting;
use crate::clock::Moment;

/// One worker's, the one used last at the end: a few are kept busy, and the others grow old.
pub(super) struct IdleConnections {
    connections: VecDeque<Idle>,
    most: usize,
}

struct Idle {
    connection: Resting,
    since: Moment,
}

impl IdleConnections {
    /// Keeps this many, one at least.
    pub(super) fn new(most: usize) -> Self {
        Self { connections: VecDeque::new(), most: most.max(1) }
    }

    pub(super) fn most(&self) -> usize {
        self.most
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
        if self.connections.len() > self.most {
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

    pub(super) fn clear(&mut self) {
        self.connections.clear();
    }

    #[cfg(test)]
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Resting> {
        self.connections.iter_mut().map(|idle| &mut idle.connection)
    }
}
