//! What a request for a file has begun when nobody waits for its answer any more, or its session is gone: it must not stay
//! at the partner, and whoever uses the session next must not find it in the middle.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::timeout;

use super::connection::Busy;
use super::{Choice, Pool, Timing};
use crate::transport::SerialConnection;

impl Pool {
    /// The connection of a request that was not answered, or not to its end.
    pub(super) fn give_up(self: &Rc<Self>, connection: Busy) {
        let SerialConnection::File(file) = &connection.carried else { return drop(connection) };
        if file.owes() {
            // In a task of its own: the request may be dropped because the app is gone.
            drop(spawn_local(clean_up(Rc::clone(self), connection)));
        } else if let Some(resting) = connection.into_rest() {
            // It was answered, by an error: nothing is wrong with the session.
            self.give_back(resting);
        }
    }
}

async fn clean_up(pool: Rc<Pool>, mut connection: Busy) {
    let SerialConnection::File(file) = &mut connection.carried else { return };
    // A server that has stopped reading does not hold a permit for ever, nor what is to be removed.
    let left = match timeout(LONGEST, file.settle()).await {
        Ok(left) => left,
        Err(_) => file.take_leftover(),
    };
    // It goes first: its permit may be the one that is wanted for another.
    match connection.into_rest() {
        Some(resting) => pool.give_back(resting),
        None => pool.connection_ended(),
    }
    if let Some(place) = left {
        remove(&pool, &place).await;
    }
}

/// Removes it over another session.
async fn remove(pool: &Rc<Pool>, place: &[u8]) {
    let lease = timeout(LONGEST, pool.lease(Choice::Any, &Cell::new(Timing::default()))).await;
    let why = match lease {
        Ok(Ok(lease)) => match lease.into_busy() {
            Some(mut connection) => {
                let SerialConnection::File(file) = &mut connection.carried else { return };
                let removed = timeout(LONGEST, file.remove(place)).await;
                let why = match removed {
                    Ok(removed) => {
                        let resting = connection.into_rest();
                        resting.map_or_else(|| pool.connection_ended(), |resting| pool.give_back(resting));
                        removed.err().map(|error| error.to_string())
                    }
                    Err(_) => Some(TOO_LONG.to_owned()),
                };
                let Some(why) = why else { return };
                why
            }
            None => return,
        },
        Ok(Err(error)) => error.to_string(),
        Err(_) => TOO_LONG.to_owned(),
    };
    let file = String::from_utf8_lossy(place);
    tracing::warn!(%file, %why, "half a file is left at the partner under a temporary name: remove it there");
}

/// More than a server takes that works.
const LONGEST: Duration = Duration::from_secs(10);
const TOO_LONG: &str = "the partner's server took too long";
