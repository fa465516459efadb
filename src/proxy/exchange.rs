//! One exchange as it is counted and logged: once, whatever becomes of it.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::header::{CONTENT_TYPE, UPGRADE};
use http::{HeaderMap, HeaderName, Method, Response, StatusCode, request};
use hyper::body::Body as _;

use super::grpc_timeout::grpc_timeout;
use super::timing::{ExchangePhase, ServerTiming};
use super::upload::{UploadWatch, response_limit};
use super::view::{ServiceHalf, View};
use super::{Arrival, Error, ResponseBody};
use crate::clock::Moment;
use crate::code::Code;
use crate::config::AccessLog;
use crate::deadline::ExchangeDeadline;
use crate::incoming::IncomingBody;
use crate::legible::excerpt;
use crate::snapshot::InFlightPermit;
use crate::telemetry::limit::LineLimit;
use crate::telemetry::metrics::Numbers;

/// What is known of an exchange while it goes on. Dropping it ends the exchange: with the answer's body, or with the
/// request of an app that left.
pub(super) struct ExchangeRecord {
    pub(super) view: Rc<View>,
    pub(super) arrival: Rc<Arrival>,
    /// Times out whatever it waits for: a connection has other time-outs, of its own.
    pub(super) deadline: Rc<ExchangeDeadline>,
    half: Option<Rc<ServiceHalf>>,
    /// Whether the app sends a body.
    uploads: bool,
    upload: Option<Rc<UploadWatch>>,
    /// Its place among `limits.concurrency` of its service.
    permit: Option<InFlightPermit>,
    began: Instant,
    /// Spent waiting for others.
    waited: Duration,
    /// For what it was, if the app is to hear it.
    timing: Option<Box<ServerTiming>>,
    /// The request's, as the app sent it; its fields go on to the service.
    pub(super) head: request::Parts,
    wants_grpc: bool,
    /// Until when the app waits, where it says so (`grpc-timeout`).
    waited_for_until: Option<Instant>,
    status: Option<StatusCode>,
    failure: Option<(Code, String)>,
}

impl ExchangeRecord {
    /// The head stays here, in its box: in the futures of the phases it would be moved with
    /// each of them.
    pub(super) fn begin(
        head: request::Parts,
        body: &IncomingBody,
        arrival: Rc<Arrival>,
        deadline: Rc<ExchangeDeadline>,
        view: Rc<View>,
    ) -> Box<Self> {
        // To who asks for a tunnel a 200 is one, whatever it says besides; an extended CONNECT is an upgrade here.
        let asks_for_tunnel = head.method == Method::CONNECT || head.headers.contains_key(UPGRADE);
        let wants_grpc = !asks_for_tunnel && wants_grpc(&head.headers);
        let began = Instant::now();
        let awaited = if wants_grpc { grpc_timeout(&head.headers) } else { None };
        Box::new(Self {
            view,
            arrival,
            deadline,
            half: None,
            uploads: !body.is_end_stream(),
            upload: None,
            permit: None,
            began,
            waited: Duration::ZERO,
            timing: None,
            wants_grpc,
            waited_for_until: awaited.and_then(|awaited| began.checked_add(awaited)),
            head,
            status: None,
            failure: None,
        })
    }

    /// Its service was found.
    pub(super) fn routed(&mut self, half: &Rc<ServiceHalf>) {
        half.numbers.started();
        self.timing = half.service.server_timing.then(Box::default);
        self.half = Some(Rc::clone(half));
    }

    /// Takes its place among the requests that its service may have, whatever becomes of it.
    ///
    /// # Errors
    /// When there is none, or its body is too long for one.
    pub(super) fn limit(&mut self, half: &ServiceHalf, body: &IncomingBody) -> Result<(), Error> {
        // Most services have no limits.
        let Some(limits) = &half.service.limits else { return Ok(()) };
        if let Some(most) = limits.body_bytes
            && body.size_hint().lower() > most as u64
        {
            return Err(Error::BodyOverLimit { most });
        }
        self.permit = limits.admit()?;
        Ok(())
    }

    /// Follows the app's body, if there is one.
    pub(super) fn upload(&mut self, half: &ServiceHalf) -> Option<Rc<UploadWatch>> {
        let (timeouts, until) = (half.service.timeouts, self.waited_for_until);
        self.upload = self.uploads.then(|| UploadWatch::new(&self.deadline, timeouts, until));
        self.upload.clone()
    }

    /// Awaits what is not our own work: its time is no overhead of ours.
    ///
    /// `others` come pinned: by value they would stand twice in the future of every request.
    pub(super) async fn wait_for<F: Future>(&mut self, what: ExchangePhase, mut others: Pin<&mut F>) -> F::Output {
        let mut since = None;
        let output = poll_fn(|cx| {
            let polled = others.as_mut().poll(cx);
            // What is there at the first look costs none at the clock.
            if polled.is_pending() && since.is_none() {
                since = Some(Instant::now());
            }
            polled
        })
        .await;
        let waited = since.map_or(Duration::ZERO, |since| since.elapsed());
        self.waited += waited;
        if let Some(timing) = &mut self.timing {
            timing.add(what, waited);
        }
        output
    }

    /// So much of the last wait for the service was one for a connection.
    pub(super) fn waited_for_connection(&mut self, waited: Duration) {
        if let Some(timing) = &mut self.timing {
            timing.connected_after(waited);
        }
    }

    /// How long an answer is waited for from now on.
    pub(super) fn response_limit(&self, half: &ServiceHalf) -> Option<Duration> {
        response_limit(half.service.timeouts, self.waited_for_until)
    }

    /// When its head came.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// How much of this is left since the request came; `None`: nothing.
    pub(super) fn left_of(&self, limit: Duration) -> Option<Duration> {
        limit.checked_sub(self.began.elapsed())
    }

    /// There is no answer of the service, or not all of one.
    pub(super) fn failed(&mut self, error: &Error) {
        self.failure = Some((error.code(), error.detail()));
    }

    /// The answer broke off after its head.
    pub(super) fn broke_off(&mut self, error: &Error) {
        let is_over_limit = self.upload.as_ref().is_some_and(|upload| upload.is_over_limit());
        let most = self.half.as_ref().and_then(|half| half.body_limit());
        match most.filter(|_| is_over_limit) {
            // The service can't know why the request broke off.
            Some(most) => self.failed(&Error::BodyOverLimit { most }),
            None => self.failed(error),
        }
    }

    /// Why there is none, in words; `""`: there is one.
    pub(super) fn detail(&self) -> &str {
        self.failure.as_ref().map_or("", |(_, detail)| detail)
    }

    /// The answer's head goes to the app.
    pub(super) fn answered(mut self: Box<Self>, mut answer: Response<ResponseBody>) -> Response<ResponseBody> {
        if self.half.is_none() {
            self.numbers().started();
        }
        if let Some((code, detail)) = &self.failure {
            self.numbers().failed(*code);
            if code.is_news() {
                self.view.worker.recent.add(self.service(), *code, detail.as_str());
            }
        }
        self.status = Some(answer.status());
        self.numbers().answered(answer.status());
        let ours = self.began.elapsed().saturating_sub(self.waited);
        self.numbers().overhead(ours);
        if let Some(timing) = &self.timing {
            answer.headers_mut().append(&SERVER_TIMING, timing.tell(ours));
        }
        answer.map(|body| body.of(self))
    }

    /// Takes out of the answer's trailers what must not go on.
    pub(super) fn screen(&self, trailers: &mut HeaderMap) {
        if let Some(half) = &self.half {
            (half.rules.answer_screen)(trailers);
        }
    }

    pub(super) fn method(&self) -> &Method {
        &self.head.method
    }

    pub(super) fn wants_grpc(&self) -> bool {
        self.wants_grpc
    }

    /// The service's name, `""` if none was found.
    pub(super) fn service(&self) -> &str {
        self.half.as_ref().map_or("", |half| half.service.name.as_str())
    }

    fn numbers(&self) -> &Numbers {
        self.half.as_ref().map_or(&self.view.worker.unrouted, |half| &half.numbers)
    }

    /// Whether it gets a line: then how many before it got none.
    fn line(&self) -> Option<u64> {
        let is_logged = match self.view.snapshot.config.log.access {
            AccessLog::All => true,
            AccessLog::Errors => self.failure.is_some() || self.status.is_some_and(|status| status.is_server_error()),
            AccessLog::Off => false,
        };
        // What was refused at the door can be sent by whoever can connect, a web page too, as often as they like.
        let is_refusal = self.half.is_none() && self.failure.is_some();
        match is_logged {
            true if is_refusal => REFUSALS.pass(Moment::now()),
            true => Some(0),
            false => None,
        }
    }

    /// Queries may hold secrets, so the path is all that is told of the target; a tunnel's is where it leads.
    fn log(&self, took: Duration, others: u64) {
        let (code, detail) = match &self.failure {
            Some((code, detail)) => (Some(code.word()), Some(detail.as_str())),
            None => (None, None),
        };
        let uri = &self.head.uri;
        let end = uri.authority().filter(|_| self.head.method == Method::CONNECT);
        tracing::info!(
            service = self.service(),
            method = &*excerpt(self.head.method.as_str()),
            path = &*excerpt(end.map_or(uri.path(), |end| end.as_str())),
            status = self.status.map(|status| status.as_u16()),
            duration_ms = took.as_micros() as f64 / 1_000.0,
            code,
            detail,
            others = (others > 0).then_some(others),
            "request"
        );
    }
}

impl Drop for ExchangeRecord {
    fn drop(&mut self) {
        // The next exchange of the connection may be lent the same.
        self.deadline.disarm();
        if let Some(upload) = &self.upload {
            upload.over();
        }
        let took = self.began.elapsed();
        let is_counted = self.half.is_some() || self.status.is_some();
        if is_counted {
            self.numbers().finished(took);
        }
        if let Some(others) = self.line() {
            self.log(took, others);
        }
    }
}

/// gRPC clients read `grpc-status` and nothing else. `application/grpc` alone, or followed by `+` or `;`, says that one
/// asks; gRPC-Web, whose name begins so too, reads the status like everybody.
pub(crate) fn wants_grpc(fields: &HeaderMap) -> bool {
    let kind = fields.get(CONTENT_TYPE).map(|kind| kind.as_bytes());
    let Some((start, rest)) = kind.and_then(|kind| kind.split_at_checked(GRPC.len())) else { return false };
    let goes_on = rest.first() == Some(&b'+') || matches!(rest.trim_ascii_start().first(), None | Some(b';'));
    start.eq_ignore_ascii_case(GRPC) && goes_on
}

/// Ten lines a second, together with the one for what can't be parsed.
static REFUSALS: LineLimit<9> = LineLimit::in_each(Duration::from_secs(1));

static SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const GRPC: &[u8] = b"application/grpc";

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn grpc_is_what_grpc_says_and_not_what_only_begins_so() {
        #[track_caller]
        fn check(kind: &'static str, expected: bool) {
            let fields = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);

            assert_eq!(wants_grpc(&fields), expected, "{kind}");
        }

        for kind in ["application/grpc", "application/grpc+proto", "Application/gRPC;x=1", "application/grpc ; x=1"] {
            check(kind, true);
        }
        for kind in ["application/grpc-web", "application/grpc-web+proto", "application/grpc-web-text", "text/grpc"] {
            check(kind, false);
        }
        for kind in ["application/grpcx", "application/grpc proto", "application/grp", ""] {
            check(kind, false);
        }
    }
}
