//! HTTP/2, on the `h2` crate: many requests on one connection, whose bytes are moved by a driver that owns the socket.
//!
//! Promises that an answer is whole only if its stream was ended (END_STREAM), whatever else the service says; that what
//! is wrong with one stream ends that stream, as far as h2 lets it; that a slow app holds nobody else up; and that a
//! connection which nobody uses any more ends soon, even if the service has stopped reading.
//!
//! ```text
//!  Http2Handle ──send──► HEADERS ──► Outflow: the request's body, as far as the windows allow
//!   (a clone for                └──► interim answers, dropped and counted ──► head ──► Inflow: the answer's body
//!    each request)
//!  driver: socket, frames, windows; ends when the connection does, or soon after the last Http2Handle is gone
//! ```

mod driver;
mod ended;
mod frame_meter;
mod heads;
mod inflow;
mod outflow;
mod request;
mod watched;

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::Response;
use tokio::sync::oneshot;

pub(crate) use self::inflow::Inflow;
pub(crate) use self::outflow::Outflow;

use self::ended::EndedStreams;
use self::heads::{PendingHeads, SplicedWire};
use self::request::{RequestStream, SentSoFar};
use self::watched::{Watch, WatchedWire};
use super::bounds::HEAD_BYTES;
use super::error::{Error, Unsent};
use super::http::{AnswerBody, ConnectionDriver};
use super::wire::Wire;
use super::{DialTarget, Outgoing};
use crate::raw_query::first_spelt;

/// An HTTP/2 connection.
#[derive(Clone)]
pub(crate) struct Http2Handle {
    requests: RefCell<SendRequest<Bytes>>,
    heads: Rc<PendingHeads>,
    ended: Rc<EndedStreams>,
    watch: Rc<Watch>,
    /// Gone with the last clone: then the driver comes to an end.
    _leash: Rc<oneshot::Sender<()>>,
}

/// Begins to speak HTTP/2.
///
/// # Errors
///
/// When the service is gone already.
pub(super) async fn handshake(wire: Wire, endpoint: &DialTarget) -> Result<(Http2Handle, ConnectionDriver), Error> {
    let watched = WatchedWire::new(wire);
    let watch = watched.watch();
    let heads = Rc::<PendingHeads>::default();
    let spliced = SplicedWire::new(watched, Rc::clone(&heads));
    let (requests, connection) = settings().handshake(spliced).await.map_err(|error| Error::unanswered(&error))?;
    let (leash, let_go) = oneshot::channel();
    let driver = driver::drive(connection, let_go, endpoint.address(), endpoint.told.clone(), Rc::clone(&watch));
    let requests = RefCell::new(requests);
    let ended = Rc::default();
    Ok((Http2Handle { requests, heads, ended, watch, _leash: Rc::new(leash) }, Box::pin(driver)))
}

fn settings() -> Builder {
    let mut settings = Builder::new();
    settings
        .enable_push(false)
        .initial_max_send_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW * STREAMS as u32)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(BORNE_HEAD_BYTES)
        .max_concurrent_reset_streams(RESETS_REMEMBERED)
        .reset_stream_duration(RESET_REMEMBERED_FOR)
        .max_local_error_reset_streams(Some(STREAM_ERRORS))
        .data_frame_budget(SMALL_FRAMES_BUDGET);
    settings
}

impl Http2Handle {
    /// Sends one request on a stream of its own; see [`Sender::send`](super::Sender::send).
    ///
    /// In a box, or every request of HTTP/1.1 would have room for this future.
    pub(crate) fn send<'a>(
        &'a mut self,
        outgoing: &'a mut Outgoing,
    ) -> Pin<Box<impl Future<Output = Result<Response<AnswerBody>, Unsent>> + 'a>> {
        Box::pin(async move {
            // What HTTP/2 is spoken with takes no such byte, and to write another would be another target.
            if let Some((byte, _)) = first_spelt(outgoing.target.as_str()) {
                return Err(Unsent::finally(Error::Target { byte }));
            }
            // No `100` of the service is waited for: `Expect` is not sent.
            if let Some(gate) = outgoing.body.gate() {
                gate.open();
            }
            let written_before = self.watch.written();
            let mut request = match RequestStream::begin(self.requests.get_mut(), &self.heads, outgoing).await {
                Ok(request) => request,
                Err(error) => {
                    return Err(Unsent { error: self.watch.verdict_on(&error), whole: true, not_processed: true });
                }
            };
            // The driver is awake, for the request.
            self.ended.release();
            let error = match request.answer(&self.watch, &self.ended).await {
                Ok(answer) => {
                    self.watch.answer();
                    return Ok(answer);
                }
                Err(error) => error,
            };
            // A connection that was dead before this came has written nothing since.
            let written =
                if self.watch.written() == written_before { SentSoFar::Nothing } else { SentSoFar::Something };
            Err(request.unsent(error, written, &self.watch, outgoing))
        })
    }

    /// Whether no other request may be sent on it: it ended, or the service wants no more.
    pub(crate) fn is_closed(&self) -> bool {
        // With nothing of its own that waits to be sent, this only looks.
        let polled = self.requests.borrow_mut().poll_ready(&mut Context::from_waker(Waker::noop()));
        matches!(polled, std::task::Poll::Ready(Err(_)))
    }

    /// How many requests it may carry at a time: what the service's settings allow, and our own window has room for.
    pub(crate) fn streams(&self) -> usize {
        self.requests.borrow().current_max_send_streams().min(STREAMS)
    }

    /// How many bytes the service has sent on this connection: none since a request was sent may mean that it is gone.
    pub(crate) fn heard(&self) -> u64 {
        self.watch.heard()
    }
}

/// How many requests one connection carries at most; another one is made beside it. RFC 9113 §6.5.2 has services allow 100.
const STREAMS: usize = 128;

/// Enough for 80 Mbit/s a stream over 100 ms; what one slow app leaves unread holds no more memory than this. The
/// connection's window has room for all streams together, so nobody waits for what another app leaves unread.
const STREAM_WINDOW: u32 = 1024 * 1024;

/// What of one upload waits for the socket.
const SEND_BUFFER: usize = 256 * 1024;

/// A head of more than [`HEAD_BYTES`] is refused, and its stream with it. To refuse no more than that it has to be read:
/// from here on h2 cuts it, and from about five times this on it gives up the connection.
const BORNE_HEAD_BYTES: u32 = 4 * HEAD_BYTES as u32;

/// An app that leaves in mid-answer resets its stream, and what the service had under way still comes for as long as the
/// line needs. So long the stream is remembered; what comes for one that was forgotten counts as the service's error.
const RESETS_REMEMBERED: usize = 1024;
const RESET_REMEMBERED_FOR: Duration = Duration::from_secs(30);

/// Errors of single streams over a connection's life, before it counts as an attack. As many frames as come in a second
/// over a fast line: 16 KiB each, 1 GB/s.
const STREAM_ERRORS: usize = 64 * 1024;

/// What h2 lets small frames take up while they wait: 255 bytes less a frame's own. One stream's window of the smallest
/// there are fits in.
const SMALL_FRAMES_BUDGET: usize = 255 * STREAM_WINDOW as usize;
