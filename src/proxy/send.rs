//! The request to its service: authorized and sent, and sent again where that is safe.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::header::{EXPECT, TRAILER, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{Method, Response};
use hyper::body::Body as _;
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::Error;
use super::exchange::ExchangeRecord;
use super::fields::{self, AppsCredential, FieldNames, Present, RequestContext};
#[cfg(feature = "openpgp")]
use super::openpgp::{self, sealed, seals};
use super::principal::Principal;
use super::retry::{Again, Allowance};
use super::timing::ExchangePhase;
use super::upload::UploadWatch;
use super::view::ServiceHalf;
use super::websocket::WebSocketHandshake;
use crate::aside::aside;
use crate::credential::{SentToken, Verdict};
use crate::deadline::Deadline;
use crate::incoming::{IncomingBody, awaits_continue};
use crate::transport::{BodyNeed, ContinueGate, Outgoing, ProtocolSwitch, ReplayBuffer, RequestBody};
use crate::upstream::{self, Choice, Pool, PooledBody, Reached, Timing};

/// A request on its way to its service, and what is kept of it to send it again.
pub(super) struct OutboundRequest {
    /// Who it is sent as, and sent again.
    who: Principal,
    /// What the next sending sends; ready but for the credential.
    outgoing: Outgoing,
    /// Path and query without what a credential adds; `None`: ours adds nothing there.
    target: Option<PathAndQuery>,
    /// The app's own credential, where the config keeps it.
    apps_own: AppsCredential,
    kept: ReplayBuffer,
    upload: Option<Rc<UploadWatch>>,
}

/// Why one sending brought no answer.
enum SendError {
    /// It may be worth another one.
    Failed(upstream::SendFailure),
    /// The time is up.
    Expired(Error),
}

impl OutboundRequest {
    /// Makes an app's request that of the service, to be sent as `who`; what `admit` saw of its fields is `present`.
    ///
    /// # Errors
    /// When the app sent a credential that the config rejects.
    pub(super) fn prepare(
        who: Principal,
        incoming: IncomingBody,
        target: PathAndQuery,
        present: Present,
        half: &ServiceHalf,
        exchange: &mut ExchangeRecord,
    ) -> Result<Self, Error> {
        let (upload, view) = (exchange.upload(half), Rc::clone(&exchange.view));
        let head = &mut exchange.head;
        let chunked = !incoming.is_end_stream() && (incoming.size_hint().exact().is_none() || seals(half));
        let (instance, routed_by) = (&view.worker.instance, &*view.routed_by);
        let upward =
            RequestContext { method: &head.method, version: head.version, chunked, instance, present, routed_by };
        let apps_own = fields::request(&mut head.headers, upward, &half.rules)?;
        #[cfg(feature = "openpgp")]
        openpgp::adapt_request(&mut head.headers, half)?;
        let (body, kept) = RequestBody::app(incoming, BODY_BYTES_KEPT);
        let body = match half.body_limit() {
            Some(most) => body.limited(most),
            None => body,
        };
        let body = followed(body, &head.method, upload.as_ref(), half, &view.routed_by);
        let restored = half.rules.touches_target().then(|| target.clone());
        let outgoing = Outgoing {
            method: head.method.clone(),
            scheme: half.service.scheme,
            authority: half.authority.clone(),
            target,
            fields: std::mem::take(&mut head.headers),
            body,
            switch: ProtocolSwitch::NotAsked,
        };
        Ok(Self { who, outgoing, target: restored, apps_own, kept, upload })
    }

    /// It asks for a WebSocket: however often it is sent, with the same key.
    pub(super) fn ask_for(&mut self, websocket: &WebSocketHandshake) {
        fields::ask_for_websocket(&mut self.outgoing.fields, websocket.key());
        self.outgoing.switch = ProtocolSwitch::Asked;
    }

    /// Sends it until there is an answer for the app.
    ///
    /// # Errors
    /// When no credential can be had, or no answer.
    pub(super) async fn send(
        &mut self,
        half: &ServiceHalf,
        exchange: &mut ExchangeRecord,
    ) -> Result<Response<PooledBody>, Error> {
        let deadline = Rc::clone(&exchange.deadline);
        let mut allowance = Allowance::new(&half.service.retry);
        let mut choice = Choice::Any;
        if let Some(need) = self.who.credential().body_needed() {
            // Most services need nothing of the body.
            aside(|| self.gather(need, half, exchange)).await?;
        }
        loop {
            let stamp = self.authorize(half, exchange).await?;
            let upload = self.upload.as_deref();
            let timing = Cell::new(Timing::default());
            let limit = exchange.response_limit(half);
            let attempted = attempt(&mut self.outgoing, choice, upload, limit, self.who.pool(), &deadline, &timing);
            let sent = exchange.wait_for(ExchangePhase::Service, pin!(attempted)).await;
            exchange.waited_for_connection(timing.get().waited);
            // What is not the app's answer is let go of here, before anything is waited for: its connection, or its stream,
            // is free for others meanwhile.
            let again = match sent {
                Ok(response) => match after_answer(&response, stamp, self, half, &mut allowance, exchange).await {
                    Some(again) => again,
                    None => {
                        self.outgoing.recycle();
                        return Ok(response);
                    }
                },
                Err(SendError::Expired(error)) => return Err(error),
                Err(SendError::Failed(failure)) => {
                    if self.upload.as_ref().is_some_and(|upload| upload.is_over_limit()) {
                        // The service can't know why the request broke off: this is our answer.
                        return Err(Error::BodyOverLimit { most: half.body_limit().unwrap_or_default() });
                    }
                    if failure.reached != Reached::WantsHttp1 {
                        // Where one connection was found dead too late, others that are idle may be so too.
                        choice = Choice::NotIdle;
                    }
                    let is_idempotent = self.outgoing.method.is_idempotent();
                    match allowance.after_failure(&failure, &half.service.retry, is_idempotent, &self.kept) {
                        Some(again) => again,
                        None => return Err(failure.error.into()),
                    }
                }
            };
            if let Some(pause) = again.pause {
                let pausing = aside(|| sleep(pause));
                exchange.wait_for(ExchangePhase::Service, pin!(pausing)).await;
            }
            self.renew(again.body, half, exchange);
        }
    }

    /// Reads as much of the app's body into memory as its signature is over. An app that waits for a `100` is sent one.
    async fn gather(&mut self, need: BodyNeed, half: &ServiceHalf, exchange: &mut ExchangeRecord) -> Result<(), Error> {
        let Some(upload) = self.upload.clone().filter(|_| !self.apps_own.is_all_of(&half.rules)) else {
            return Ok(());
        };
        let deadline = Rc::clone(&exchange.deadline);
        let (body, view) = (std::mem::replace(&mut self.outgoing.body, RequestBody::Empty), Rc::clone(&exchange.view));
        let mut gathering = pin!(body.gather(need, &view.worker.held_bodies));
        upload.gathering();
        let gathered = poll_fn(|cx| match gathering.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(outcome.map_err(Error::from)),
            Poll::Pending => deadline.poll_expired(cx).map(|_| Err(Error::BodyStalled)),
        });
        let body = exchange.wait_for(ExchangePhase::App, pin!(gathered)).await;
        upload.gathered();
        self.outgoing.body = body?;
        self.frame_anew();
        Ok(())
    }

    /// What is in memory waits for nobody's `100`, and says how long it is unless trailers follow.
    fn frame_anew(&mut self) {
        let Outgoing { fields, body, .. } = &mut self.outgoing;
        if matches!(body, RequestBody::Stream(_)) {
            return;
        }
        fields.remove(EXPECT);
        if matches!(body, RequestBody::Again(_)) && !fields.contains_key(TRAILER) {
            fields.remove(TRANSFER_ENCODING);
        }
    }

    /// Sets the credential, but for what the app set itself and may.
    async fn authorize(
        &mut self,
        half: &ServiceHalf,
        exchange: &mut ExchangeRecord,
    ) -> Result<Option<SentToken>, Error> {
        if self.apps_own.is_all_of(&half.rules) {
            return Ok(None);
        }
        let authorized = self.who.authorize(&mut self.outgoing);
        let stamp = exchange.wait_for(ExchangePhase::Credential, pin!(authorized)).await?;
        self.apps_own.put_back(&mut self.outgoing.fields);
        Ok(Some(stamp))
    }

    /// Makes it ready for another sending: as before the first, with this body.
    fn renew(&mut self, body: RequestBody, half: &ServiceHalf, exchange: &ExchangeRecord) {
        let Outgoing { target, fields, .. } = &mut self.outgoing;
        if let Some(unchanged) = &self.target {
            target.clone_from(unchanged);
        }
        // Our own values must not be taken for the app's.
        half.rules.withdraw(fields);
        self.apps_own.put_back(fields);
        // What is in memory waits for nobody's `100`.
        if !matches!(body, RequestBody::Stream(_)) {
            fields.remove(EXPECT);
        }
        let method = &self.outgoing.method;
        self.outgoing.body = followed(body, method, self.upload.as_ref(), half, &exchange.view.routed_by);
    }
}

/// A body of which its exchange hears, and whose trailers say nothing that they must not.
fn followed(
    body: RequestBody,
    method: &Method,
    upload: Option<&Rc<UploadWatch>>,
    half: &ServiceHalf,
    routed_by: &Rc<FieldNames>,
) -> RequestBody {
    let body = match upload {
        Some(upload) => body.screened(fields::screen_routed(&half.rules.screen, routed_by)).observed(upload.observer()),
        None => body,
    };
    sealed(body, method, half)
}

/// Nothing is encrypted by this build.
#[cfg(not(feature = "openpgp"))]
fn sealed(body: RequestBody, _: &Method, _: &ServiceHalf) -> RequestBody {
    body
}

#[cfg(not(feature = "openpgp"))]
fn seals(_: &ServiceHalf) -> bool {
    false
}

/// One sending, within its time.
async fn attempt(
    outgoing: &mut Outgoing,
    choice: Choice,
    upload: Option<&UploadWatch>,
    response_limit: Option<Duration>,
    pool: &Rc<Pool>,
    deadline: &Deadline,
    timing: &Cell<Timing>,
) -> Result<Response<PooledBody>, SendError> {
    // The connection's own time-outs run until there is one.
    deadline.disarm();
    let gate = gated(outgoing);
    let mut sending = pin!(pool.send(outgoing, choice, timing));
    let mut sent = false;
    poll_fn(|cx| {
        if let Poll::Ready(outcome) = sending.as_mut().poll(cx) {
            deadline.disarm();
            if let Some(upload) = upload {
                upload.answered();
            }
            return Poll::Ready(outcome.map_err(SendError::Failed));
        }
        let was_sent = std::mem::replace(&mut sent, timing.get().sent);
        match (was_sent, sent) {
            (false, true) => {
                match upload {
                    Some(upload) => upload.sent(),
                    None => deadline.arm(response_limit),
                }
                if let Some(gate) = gate.clone() {
                    open_in_time(gate);
                }
            }
            (true, false) => {
                // It went over a connection that was dead: now another is made, which has a time-out of its own.
                upload.iter().for_each(|upload| upload.not_sent());
                deadline.disarm();
            }
            _ => {}
        }
        let expired = || upload.map_or(Error::ResponseTimeout, UploadWatch::expired);
        deadline.poll_expired(cx).map(|_| Err(SendError::Expired(expired())))
    })
    .await
}

/// Holds the app's body back if the app waits to hear whether the service wants it.
fn gated(outgoing: &mut Outgoing) -> Option<ContinueGate> {
    if !awaits_continue(&outgoing.fields) {
        return None;
    }
    let gate = ContinueGate::default();
    outgoing.body.hold(gate.clone());
    Some(gate)
}

/// RFC 9110 §10.1.1: a service that knows no `100` must not be waited for.
fn open_in_time(gate: ContinueGate) {
    spawn_local(async move {
        sleep(CONTINUE_AWAITED).await;
        gate.open();
    });
}

/// What is sent again after an answer, if it is not for the app.
async fn after_answer(
    response: &Response<PooledBody>,
    stamp: Option<SentToken>,
    request: &OutboundRequest,
    half: &ServiceHalf,
    allowance: &mut Allowance,
    exchange: &mut ExchangeRecord,
) -> Option<Again> {
    let (credential, kept) = (request.who.credential(), &request.kept);
    if let Some(stamp) = stamp {
        match credential.verdict(&stamp, response.status(), response.headers()) {
            Verdict::Pass => {}
            Verdict::Again => return allowance.another_proof(kept),
            Verdict::NewToken => {
                if !allowance.take_renewal(kept) {
                    credential.reject(&stamp);
                    return None;
                }
                let replacing = aside(|| credential.replace(&stamp));
                let replaced = exchange.wait_for(ExchangePhase::Credential, pin!(replacing)).await;
                // The body may have gone on in the meantime, to a service that reads on after its 401.
                let body = if replaced { kept.again() } else { None };
                return body.map(Again::at_once);
            }
        }
    }
    let retry = &half.service.retry;
    if retry.on_status.is_empty() || !request.outgoing.method.is_idempotent() {
        return None;
    }
    let left = exchange.left_of(half.service.timeouts.response.unwrap_or(RETRIED_WITHIN));
    allowance.after_status(response.status(), response.headers(), retry, left, kept)
}

/// What is kept of a body to send it again.
const BODY_BYTES_KEPT: usize = 64 * 1024;

/// How long an app that asked is left without a `100`.
const CONTINUE_AWAITED: Duration = Duration::from_secs(1);

/// How long a status is tried again for where the service may take for ever: as long as it has by default.
const RETRIED_WITHIN: Duration = Duration::from_secs(60);
