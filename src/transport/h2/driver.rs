//! What moves a connection's bytes, where no request does so for itself.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::{Arc, Once};
use std::task::Poll;
use std::time::Duration;

use h2::Reason;
use tokio::time::timeout;

use super::connection::Connection;
use super::ending::StreamEnding;

/// Closes the connection for all when it is dropped: who drives it has the socket.
pub(super) struct DriverSeat(pub(super) Rc<RefCell<Connection>>);

impl Drop for DriverSeat {
    fn drop(&mut self) {
        self.0.borrow_mut().close();
    }
}

/// Ends when the connection does; and when nobody can use it any more, as soon as the service has read our goodbye, but
/// [`PARTING`] later at the latest: one that reads nothing would hold the socket for ever.
pub(super) async fn drive(seat: DriverSeat, address: String, told: Arc<Once>) {
    poll_fn(|cx| {
        let mut connection = seat.0.borrow_mut();
        if connection.poll_drive(cx).is_ready() || connection.is_let_go || connection.is_done() {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
    // Whoever waits for an answer is told the error; with nobody waiting it concerns nobody.
    if is_too_much(&seat.0.borrow()) {
        told.call_once(|| complain(&address));
    }
    drop(timeout(PARTING, part(&seat)).await);
}

/// Waits for what is under way, and says goodbye.
async fn part(seat: &DriverSeat) {
    poll_fn(|cx| {
        let mut connection = seat.0.borrow_mut();
        if connection.poll_drive(cx).is_ready() || connection.is_done() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    {
        let mut connection = seat.0.borrow_mut();
        if !connection.multiplexer.is_over() {
            connection.multiplexer.take_leave();
        }
    }
    poll_fn(|cx| seat.0.borrow_mut().poll_end(cx)).await;
}

fn is_too_much(connection: &Connection) -> bool {
    let refusal = connection.multiplexer.refusal();
    matches!(refusal, Some(StreamEnding::Flooded | StreamEnding::GivenUp(Reason::ENHANCE_YOUR_CALM)))
}

/// What is not borne has no setting: it is said once, as whoever runs the service would never know.
fn complain(address: &str) {
    tracing::warn!(
        address,
        "an HTTP/2 connection to a service was given up for all requests on it: it sent too many empty or very small frames, \
         too many that carry no content, or too large a head; `http_version: \"1.1\"` does without"
    );
}

/// A goodbye takes one write, and the end of a connection that is alive one round trip.
const PARTING: Duration = Duration::from_secs(1);
