//! The request to its service: authorized and sent, and sent again where that is safe.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::Response;
use http::header::{EXPECT, TRAILER, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use hyper::body::Body as _;
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::Error;
use super::exchange::Exchange;
use super::fields::{self, Instance, Upward};
use super::timing::Awaited;
use super::upload::Upload;
use super::view::{IdentityHalf, ServiceHalf};
use crate::code::Code;
use crate::credential::{SentToken, SubjectTokens, Verdict};
use crate::deadline::Deadline;
use crate::incoming::IncomingBody;
use crate::transport::{Body, Gate, Kept, Need, Outgoing};
use crate::upstream::{self, Choice, Pool, PooledBody, Reached, Timing};

/// A request on its way to its service, and what is kept of it to send it again.
pub(super) struct Request {
    /// What the next sending sends; ready but for the credential.
    outgoing: Outgoing,
    /// Path and query without what a credential adds.
    target: PathAndQuery,
    /// The app's own credential, where the config keeps it.
    apps_own: fields::Kept,
    behalf: SubjectTokens,
    kept: Kept,
    upload: Option<Rc<Upload>>,
    /// Who it is sent as, and sent again.
    identity: Rc<IdentityHalf>,
}

/// What may still be done for one request.
struct Allowance {
    retries: u32,
    renewals: u32,
    proofs: u32,
}

/// Why one sending brought no answer.
enum Unanswered {
    /// It may be worth another one.
    Failed(upstream::Failure),
    /// The time is up.
    Expired(Error),
}

impl Request {
    /// Makes an app's request that of the service.
    ///
    /// # Errors
    /// When the app sent a credential that the config rejects, or has to say as whom it calls, and does not.
    pub(super) fn prepare(
        incoming: IncomingBody,
        target: PathAndQuery,
        half: &ServiceHalf,
        instance: &Instance,
        exchange: &mut Exchange,
    ) -> Result<Self, Error> {
        let identity = Rc::clone(half.identity(&exchange.head.headers, &exchange.arrival)?);
        let head = &mut exchange.head;
        let chunked = !incoming.is_end_stream() && incoming.size_hint().exact().is_none();
        let upward = Upward { method: &head.method, version: head.version, chunked, instance };
        // Read first: the field that says it goes no further.
        let behalf = identity.identity.credential.subject_tokens(&head.headers);
        let apps_own = fields::request(&mut head.headers, upward, &half.rules)?;
        let (body, kept) = Body::app(incoming, BODY_BYTES_KEPT);
        let outgoing = Outgoing {
            method: head.method.clone(),
            scheme: half.service.scheme,
            authority: half.authority.clone(),
            target: target.clone(),
            fields: std::mem::take(&mut head.headers),
            body: Body::Empty,
        };
        let mut request = Self { outgoing, target, apps_own, behalf, kept, upload: exchange.upload(half), identity };
        request.outgoing.body = request.followed(body, half);
        Ok(request)
    }

    fn followed(&self, body: Body, half: &ServiceHalf) -> Body {
        match &self.upload {
            Some(upload) => body.screened(Rc::clone(&half.rules.screen)).observed(upload.observer()),
            None => body,
        }
    }

    /// Sends it until there is an answer for the app.
    ///
    /// # Errors
    /// When no credential can be had, or no answer.
    pub(super) async fn send(
        &mut self,
        half: &ServiceHalf,
        exchange: &mut Exchange,
    ) -> Result<Response<PooledBody>, Error> {
        let arrival = Rc::clone(&exchange.arrival);
        let mut allowance = Allowance { retries: half.service.retry.attempts, renewals: 1, proofs: 1 };
        let mut choice = Choice::Any;
        if let Some(need) = self.identity.identity.credential.body_needed() {
            // In a box: most services need nothing of the body, and their requests no room for this.
            Box::pin(self.gather(need, half, exchange)).await?;
        }
        loop {
            let stamp = self.authorize(half, exchange).await?;
            let upload = self.upload.as_deref();
            let timing = Cell::new(Timing::default());
            let attempted =
                attempt(&mut self.outgoing, choice, upload, half, &self.identity.pool, &arrival.deadline, &timing);
            let sent = exchange.wait_for(Awaited::Service, pin!(attempted)).await;
            exchange.waited_for_connection(timing.get().waited);
            let again = match sent {
                Ok(response) => match after_answer(&response, stamp, self, half, &mut allowance, exchange).await {
                    Some(again) => again,
                    None => {
                        self.outgoing.recycle();
                        return Ok(response);
                    }
                },
                Err(Unanswered::Expired(error)) => return Err(error),
                Err(Unanswered::Failed(failure)) => match after_failure(&failure, self, half, &mut allowance) {
                    Some(again) => {
                        choice = Choice::NotIdle;
                        again
                    }
                    None => return Err(failure.error.into()),
                },
            };
            self.renew(again, half);
        }
    }

    /// Reads as much of the app's body into memory as its signature is over. An app that waits for a `100` is sent one.
    async fn gather(&mut self, need: Need, half: &ServiceHalf, exchange: &mut Exchange) -> Result<(), Error> {
        let Some(upload) = self.upload.clone().filter(|_| !self.apps_own.is_all_of(&half.rules)) else {
            return Ok(());
        };
        let arrival = Rc::clone(&exchange.arrival);
        let mut gathering = pin!(std::mem::replace(&mut self.outgoing.body, Body::Empty).gather(need));
        upload.gathering();
        let gathered = poll_fn(|cx| match gathering.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(outcome.map_err(Error::from)),
            Poll::Pending => arrival.deadline.poll_expired(cx).map(|_| Err(Error::BodyStalled)),
        });
        let body = exchange.wait_for(Awaited::App, pin!(gathered)).await;
        upload.gathered();
        self.outgoing.body = body?;
        self.frame_anew();
        Ok(())
    }

    /// What is in memory waits for nobody's `100`, and says how long it is unless trailers follow.
    fn frame_anew(&mut self) {
        let Outgoing { fields, body, .. } = &mut self.outgoing;
        if matches!(body, Body::Stream(_)) {
            return;
        }
        fields.remove(EXPECT);
        if matches!(body, Body::Again(_)) && !fields.contains_key(TRAILER) {
            fields.remove(TRANSFER_ENCODING);
        }
    }

    /// Sets the credential, but for what the app set itself and may.
    async fn authorize(&mut self, half: &ServiceHalf, exchange: &mut Exchange) -> Result<Option<SentToken>, Error> {
        if self.apps_own.is_all_of(&half.rules) {
            return Ok(None);
        }
        let IdentityHalf { identity, attachments, .. } = &*self.identity;
        let authorized = identity.credential.authorize(attachments, &self.behalf, &mut self.outgoing);
        let stamp = exchange.wait_for(Awaited::Credential, pin!(authorized)).await?;
        self.apps_own.restore(&mut self.outgoing.fields);
        Ok(Some(stamp))
    }

    /// Makes it ready for another sending: as before the first, with this body.
    fn renew(&mut self, body: Body, half: &ServiceHalf) {
        let Outgoing { target, fields, .. } = &mut self.outgoing;
        target.clone_from(&self.target);
        // Our own values must not be taken for the app's.
        half.rules.withdraw(fields);
        self.apps_own.restore(fields);
        // What is in memory waits for nobody's `100`.
        if !matches!(body, Body::Stream(_)) {
            fields.remove(EXPECT);
        }
        self.outgoing.body = self.followed(body, half);
    }
}

/// One sending, within its time.
async fn attempt(
    outgoing: &mut Outgoing,
    choice: Choice,
    upload: Option<&Upload>,
    half: &ServiceHalf,
    pool: &Rc<Pool>,
    deadline: &Deadline,
    timing: &Cell<Timing>,
) -> Result<Response<PooledBody>, Unanswered> {
    let response_limit = half.service.timeouts.response;
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
            return Poll::Ready(outcome.map_err(Unanswered::Failed));
        }
        if timing.get().sent && !std::mem::replace(&mut sent, true) {
            match upload {
                Some(upload) => upload.sent(),
                None => deadline.arm(response_limit),
            }
            if let Some(gate) = gate.clone() {
                open_in_time(gate);
            }
        }
        let expired = || upload.map_or(Error::ResponseTimeout, Upload::expired);
        deadline.poll_expired(cx).map(|_| Err(Unanswered::Expired(expired())))
    })
    .await
}

/// Holds the app's body back if the app waits to hear whether the service wants it.
fn gated(outgoing: &mut Outgoing) -> Option<Gate> {
    let waits = outgoing.fields.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if !waits {
        return None;
    }
    let gate = Gate::default();
    outgoing.body.hold(gate.clone());
    Some(gate)
}

/// RFC 9110 §10.1.1: a service that knows no `100` must not be waited for.
fn open_in_time(gate: Gate) {
    spawn_local(async move {
        sleep(CONTINUE_AWAITED).await;
        gate.open();
    });
}

/// The body to send again after an answer, if it is not for the app.
async fn after_answer(
    response: &Response<PooledBody>,
    stamp: Option<SentToken>,
    request: &Request,
    half: &ServiceHalf,
    allowance: &mut Allowance,
    exchange: &mut Exchange,
) -> Option<Body> {
    let credential = &request.identity.identity.credential;
    if let Some(stamp) = stamp {
        match credential.verdict(&stamp, response.status(), response.headers()) {
            Verdict::Pass => {}
            Verdict::Again => return allowance.another_proof(request),
            Verdict::NewToken => {
                let may_go_again = allowance.renewals > 0 && request.kept.is_whole();
                if !may_go_again {
                    credential.reject(&stamp);
                    return None;
                }
                allowance.renewals -= 1;
                // In a box: few requests come here, and the others need no room for it.
                let replacing = Box::pin(credential.replace(&stamp));
                let replaced = exchange.wait_for(Awaited::Credential, pin!(replacing)).await;
                // The body may have gone on in the meantime, to a service that reads on after its 401.
                return if replaced { request.kept.again() } else { None };
            }
        }
    }
    let retry = &half.service.retry;
    if !retry.on_status.contains(&response.status().as_u16()) || !request.outgoing.method.is_idempotent() {
        return None;
    }
    allowance.another(request)
}

/// The body to send again after a sending that brought no answer.
fn after_failure(
    failure: &upstream::Failure,
    request: &Request,
    half: &ServiceHalf,
    allowance: &mut Allowance,
) -> Option<Body> {
    let retry = &half.service.retry;
    let may = match failure.reached {
        Reached::NoConnection => retry.on_connect && !is_verdict(failure.error.code()),
        Reached::NotProcessed => retry.on_reset,
        Reached::Reset => retry.on_reset && request.outgoing.method.is_idempotent(),
        Reached::Final => false,
    };
    if may { allowance.another(request) } else { None }
}

/// What a handshake comes to is the same the next time.
fn is_verdict(code: Code) -> bool {
    matches!(code, Code::TlsCertificateError | Code::TlsAlertReceived | Code::TlsProtocolError)
}

impl Allowance {
    fn another(&mut self, request: &Request) -> Option<Body> {
        let again = if self.retries > 0 { request.kept.again() } else { None };
        self.retries -= u32::from(again.is_some());
        again
    }

    /// A second one would be refused as the first was: RFC 9449 §9 has the service say what is wrong with it.
    fn another_proof(&mut self, request: &Request) -> Option<Body> {
        let again = if self.proofs > 0 { request.kept.again() } else { None };
        self.proofs = 0;
        again
    }
}

/// What is kept of a body to send it again.
const BODY_BYTES_KEPT: usize = 64 * 1024;

/// How long an app that asked is left without a `100`.
const CONTINUE_AWAITED: Duration = Duration::from_secs(1);
