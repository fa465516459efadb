//! An open connection that carries one exchange at a time: in use, or free.

use super::permits::Place;
use crate::clock::Moment;
use crate::transport::{SerialAtRest, SerialConnection, SwitchedConnection};

/// An open connection: one request's ([`Busy`]), or nobody's ([`Resting`]). Only an exchange that ended on both
/// sides makes the former the latter again.
pub(super) struct PooledConnection<H> {
    pub(super) carried: H,
    pub(super) born: Moment,
    place: Place,
}

/// Whoever uses it moves its bytes.
pub(super) type Busy = PooledConnection<SerialConnection>;

/// One on which the service has switched to another protocol: it carries no other request.
pub(super) type Switched = PooledConnection<SwitchedConnection>;

/// Free for any request.
pub(super) type Resting = PooledConnection<SerialAtRest>;

impl Busy {
    pub(super) fn new(carried: SerialConnection, place: Place, born: Moment) -> Self {
        Self { carried, born, place }
    }

    /// The connection without its request, if that has ended so that another may follow; else it is closed.
    pub(super) fn into_rest(self) -> Option<Resting> {
        let Self { carried, born, place } = self;
        Some(PooledConnection { carried: carried.into_rest()?, born, place })
    }

    /// What the service has switched to; `None`: to nothing.
    pub(super) fn into_switched(self) -> Option<Switched> {
        let Self { carried, born, place } = self;
        Some(PooledConnection { carried: carried.into_switched()?, born, place })
    }
}

impl Resting {
    pub(super) fn rouse(self) -> Busy {
        let Self { carried, born, place } = self;
        PooledConnection { carried: carried.rouse(), born, place }
    }

    /// Whether no request may be sent on it, as far as is known.
    pub(super) fn is_closed(&mut self) -> bool {
        self.carried.is_closed()
    }

    /// Whether something came on it that was not looked at yet.
    #[cfg(test)]
    pub(super) fn has_news(&self) -> bool {
        self.carried.has_news()
    }
}
