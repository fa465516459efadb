//! Connections to token endpoints, kept for a moment: a crowd of subjects goes over a few of them, and does not shake
//! hands for each.
//!
//! ```text
//!  ask ──► new connection ──► answer read to its end ──► kept ──► taken by the next request to the same address
//!                                                          └────► closed after a few seconds of nobody's need
//! ```
//!
//! Each belongs to one address, and so to one entry: no two services share one. Those of a thread stay on it, for a
//! connection's bytes are moved by the runtime that made it; token requests are made on one, the background's.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use crate::transport::{Http2Handle, Sender, SerialAtRest};

/// Whose connections they are. Two addresses never have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Owner(u64);

/// A connection that carries no request.
struct IdleConnection {
    connection: RestingConnection,
    since: Instant,
}

enum RestingConnection {
    Serial(SerialAtRest),
    Http2(Http2Handle),
}

/// Closes what nobody needs; gone, it leaves nothing behind.
struct Sweeper(Owner);

impl Owner {
    pub(super) fn new() -> Self {
        static OWNERS: AtomicU64 = AtomicU64::new(0);
        Self(OWNERS.fetch_add(1, Ordering::Relaxed))
    }

    /// The connection that was used last, for one request; `None`: there is none.
    pub(super) fn take(self) -> Option<Sender> {
        KEPT.with_borrow_mut(|kept| {
            let idle = kept.get_mut(&self)?;
            // The others are no younger: what is at hand is in use, and the rest grows old and goes.
            std::iter::from_fn(|| idle.pop()).find_map(IdleConnection::rouse)
        })
    }

    /// Keeps it for the next request, if another may follow on it.
    pub(super) fn keep(self, sender: Sender) {
        let Some(connection) = RestingConnection::of(sender) else { return };
        KEPT.with_borrow_mut(|kept| {
            // Whoever has any is swept: the list and its sweeper come and go together.
            let idle = kept.entry(self).or_insert_with(|| {
                spawn_local(Sweeper(self).run());
                Vec::new()
            });
            idle.push(IdleConnection { connection, since: Instant::now() });
        });
    }
}

impl Sweeper {
    async fn run(self) {
        let mut left = true;
        while left {
            sleep(KEPT_FOR).await;
            left = KEPT.with_borrow_mut(|kept| {
                let Some(idle) = kept.get_mut(&self.0) else { return false };
                idle.retain(|idle| idle.since.elapsed() < KEPT_FOR);
                !idle.is_empty()
            });
        }
    }
}

/// Also with the runtime that it runs on: connections of a runtime that is gone are good for nothing.
impl Drop for Sweeper {
    fn drop(&mut self) {
        // An error: the thread ends, and its connections with it.
        let dropped = KEPT.try_with(|kept| kept.borrow_mut().remove(&self.0));
        drop(dropped);
    }
}

impl IdleConnection {
    /// `None`: it is closed, as far as is known, or so old that the endpoint may be about to close it.
    fn rouse(self) -> Option<Sender> {
        if self.since.elapsed() >= KEPT_FOR {
            return None;
        }
        match self.connection {
            RestingConnection::Serial(mut connection) => {
                (!connection.is_closed()).then(|| Sender::Serial(connection.rouse()))
            }
            RestingConnection::Http2(connection) => (!connection.is_closed()).then_some(Sender::Http2(connection)),
        }
    }
}

impl RestingConnection {
    /// `None`: what came on it has not ended, or was the last.
    fn of(sender: Sender) -> Option<Self> {
        match sender {
            Sender::Serial(connection) => connection.into_rest().map(Self::Serial),
            Sender::Http2(connection) => (!connection.is_closed()).then_some(Self::Http2(connection)),
        }
    }
}

thread_local! {
    static KEPT: RefCell<HashMap<Owner, Vec<IdleConnection>>> = RefCell::default();
}

/// Less than any server of repute keeps an idle connection: five seconds.
const KEPT_FOR: Duration = Duration::from_secs(3);
