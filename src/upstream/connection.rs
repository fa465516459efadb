//! An open HTTP/1.1 connection: in use, or free.

use super::permits::Place;
use crate::clock::Moment;
use crate::transport::{AtRest, Http1Connection, SwitchedConnection};

/// An open HTTP/1.1 connection: one request's ([`Busy`]), or nobody's ([`Resting`]). Only an exchange that ended on both
/// sides makes the former the latter again.
pub(super) struct PooledConnection<H> {
    pub(super) http: H,
    pub(super) born: Moment,
    place: Place,
}

/// Whoever uses it moves its bytes.
pub(super) type Busy = PooledConnection<Box<Http1Connection>>;

/// One on which the service has switched to another protocol: it carries no other request.
pub(super) type Switched = PooledConnection<SwitchedConnection>;

/// Free for any request.
pub(super) type Resting = PooledConnection<AtRest>;

impl Busy {
    pub(super) fn new(http: Box<Http1Connection>, place: Place, born: Moment) -> Self {
        Self { http, born, place }
    }

    /// The connection without its request, if that has ended so that another may follow; else it is closed.
    pub(super) fn into_rest(self) -> Option<Resting> {
        let Self { http, born, place } = self;
        Some(PooledConnection { http: http.into_rest()?, born, place })
    }

    /// What the service has switched to; `None`: to nothing.
    pub(super) fn into_switched(self) -> Option<Switched> {
        let Self { http, born, place } = self;
        Some(PooledConnection { http: http.into_switched()?, born, place })
    }
}

impl Resting {
    pub(super) fn rouse(self) -> Busy {
        let Self { http, born, place } = self;
        PooledConnection { http: http.rouse(), born, place }
    }

    /// Whether no request may be sent on it, as far as is known.
    pub(super) fn is_closed(&mut self) -> bool {
        self.http.is_closed()
    }

    /// Whether something came on it that was not looked at yet.
    #[cfg(test)]
    pub(super) fn has_news(&self) -> bool {
        self.http.has_news()
    }
}
