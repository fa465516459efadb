//! What moves a connection's bytes.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Once};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::client::Connection;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::heads::SplicedWire;
use super::watched::{Watch, WatchedWire};

/// Ends when the connection does; and when nobody can use it any more, as soon as the service has read our goodbye, but
/// [`PARTING`] later at the latest: one that reads nothing would hold the socket for ever.
pub(super) async fn drive(
    mut connection: Connection<SplicedWire<WatchedWire>, Bytes>,
    let_go: oneshot::Receiver<()>,
    address: String,
    told: Arc<Once>,
    watch: Rc<Watch>,
) {
    let mut let_go = pin!(let_go);
    let ended = poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        // Nothing is ever sent: it is dropped.
        Poll::Pending => let_go.as_mut().poll(cx).map(|_| None),
    })
    .await;
    match ended {
        // Whoever waits for an answer is told the error; with nobody waiting it concerns nobody.
        Some(Err(error)) if watch.is_flooded() || is_too_much(&error) => told.call_once(|| complain(&address)),
        Some(_) => {}
        None => drop(timeout(PARTING, connection).await),
    }
}

fn is_too_much(error: &h2::Error) -> bool {
    error.is_library() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM)
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
