//! Whether a request is sent again, and when.
//!
//! ```text
//!   no answer, the first time  ─► at once: one machine of many was gone
//!   no answer, from then on    ─► after a back-off
//!   502, 503, 504 of `retry.on`─► after a back-off, not before the service's `Retry-After`, and only within what
//!                                 `timeouts.response` leaves: else the answer is the app's, as it came
//! ```
//!
//! A dead token, or a proof to be made anew, is no failure: that sending follows at once, and counts by itself.

use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

use crate::clock::Backoff;
use crate::config::Retry;
use crate::transport::{ReplayBuffer, RequestBody};
use crate::upstream::{Reached, SendFailure};

/// What may still be done for one request.
pub(super) struct Allowance {
    retries: u32,
    renewals: u32,
    proofs: u32,
    /// In a box, made at the first failure: few requests have one.
    backoff: Option<Box<Backoff>>,
}

/// Another sending of a request.
pub(super) struct Again {
    pub(super) body: RequestBody,
    /// Not before so long.
    pub(super) pause: Option<Duration>,
}

impl Allowance {
    pub(super) fn new(retry: &Retry) -> Self {
        Self { retries: retry.attempts, renewals: 1, proofs: 1, backoff: None }
    }

    /// After a sending that brought no answer.
    pub(super) fn after_failure(
        &mut self,
        failure: &SendFailure,
        retry: &Retry,
        is_idempotent: bool,
        kept: &ReplayBuffer,
    ) -> Option<Again> {
        if failure.reached == Reached::WantsHttp1 {
            // Part of this sending, as it were: whatever `retry` says, and once, as HTTP/1.1 knows no such answer.
            return kept.resumed().map(Again::at_once);
        }
        let may = match failure.reached {
            Reached::NoConnection => retry.on_connect && !failure.error.is_verdict(),
            Reached::NotProcessed => retry.on_reset,
            Reached::Reset => retry.on_reset && is_idempotent,
            Reached::WantsHttp1 | Reached::Final => false,
        };
        if !may {
            return None;
        }
        let body = self.another(kept)?;
        let is_first = self.backoff.is_none();
        let backoff = self.backoff();
        Some(Again { body, pause: (!is_first).then(|| backoff.next(Duration::ZERO)) })
    }

    /// After an answer of `retry.on`. `left` is what remains of the time that the service has for its answer.
    pub(super) fn after_status(
        &mut self,
        status: StatusCode,
        fields: &HeaderMap,
        retry: &Retry,
        left: Option<Duration>,
        kept: &ReplayBuffer,
    ) -> Option<Again> {
        if self.retries == 0 || !retry.on_status.contains(&status.as_u16()) {
            return None;
        }
        let asked = retry_after(fields, SystemTime::now()).unwrap_or_default();
        let pause = self.backoff().next(asked);
        if left.is_none_or(|left| pause > left) {
            return None;
        }
        Some(Again { body: self.another(kept)?, pause: Some(pause) })
    }

    /// After a token that the service calls dead: whether it may be replaced for this request.
    pub(super) fn take_renewal(&mut self, kept: &ReplayBuffer) -> bool {
        let may = self.renewals > 0 && kept.is_whole();
        self.renewals -= u32::from(may);
        may
    }

    /// With another proof. A second one would be refused as the first was: RFC 9449 §9 has the service say what is wrong
    /// with it.
    pub(super) fn another_proof(&mut self, kept: &ReplayBuffer) -> Option<Again> {
        let body = if self.proofs > 0 { kept.again() } else { None };
        self.proofs = 0;
        body.map(Again::at_once)
    }

    fn another(&mut self, kept: &ReplayBuffer) -> Option<RequestBody> {
        let body = if self.retries > 0 { kept.resumed() } else { None };
        self.retries -= u32::from(body.is_some());
        body
    }

    fn backoff(&mut self) -> &mut Backoff {
        self.backoff.get_or_insert_with(|| Box::new(Backoff::new(FIRST_PAUSE, LONGEST_PAUSE)))
    }
}

impl Again {
    pub(super) fn at_once(body: RequestBody) -> Self {
        Self { body, pause: None }
    }
}

/// How long the service wants to be left alone (RFC 9110 §10.2.3): so many seconds, or until a date.
fn retry_after(fields: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = fields.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More seconds than we can count are too many whatever they are.
        return Some(text.parse().map_or(Duration::MAX, Duration::from_secs));
    }
    // A date that is over asks for nothing.
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// With the jitter, up to twice that: a service that is overloaded is not asked again by all at once.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::transport;

    fn asks(value: &str) -> Option<Duration> {
        let fields = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(value).unwrap())]);
        retry_after(&fields, SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777))
    }

    #[test]
    fn a_service_says_when_in_seconds_or_by_a_date() {
        assert_eq!(asks("120"), Some(Duration::from_secs(120)));
        assert_eq!(asks(" 0 "), Some(Duration::ZERO));
        assert_eq!(asks("99999999999999999999999"), Some(Duration::MAX));
        assert_eq!(asks("Sun, 06 Nov 1994 08:49:47 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(asks("Sun, 06 Nov 1994 08:49:27 GMT"), Some(Duration::ZERO));
        for nothing in ["", "-1", "soon", "1.5"] {
            assert_eq!(asks(nothing), None, "{nothing:?}");
        }
    }

    /// The pauses before each further sending; all of them get this answer.
    fn pauses(value: &'static str, attempts: u32, left: Option<Duration>) -> Vec<Duration> {
        let retry = Retry { attempts, on_status: vec![503], ..Retry::default() };
        let fields = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
        let mut allowance = Allowance::new(&retry);
        let (_, kept) = RequestBody::nothing();
        std::iter::from_fn(|| {
            allowance.after_status(StatusCode::SERVICE_UNAVAILABLE, &fields, &retry, left, &kept)?.pause
        })
        .collect()
    }

    #[test]
    fn after_a_status_it_is_later_and_later_and_never_before_the_service_wants_it() {
        let (long, left) = (Duration::from_secs(60), Some(Duration::from_secs(60)));

        let alone = pauses("none", 10, left);
        assert_eq!(alone.len(), 10);
        assert!(alone[0] >= FIRST_PAUSE && alone[0] <= FIRST_PAUSE * 2, "{alone:?}");
        assert!(alone[9] == LONGEST_PAUSE && alone.iter().all(|pause| *pause <= LONGEST_PAUSE), "{alone:?}");
        assert_eq!(pauses("60", 2, left), [long, long]);
    }

    #[test]
    fn what_does_not_fit_into_the_time_that_is_left_is_not_waited_for() {
        assert!(pauses("61", 3, Some(Duration::from_secs(60))).is_empty());
        assert!(pauses("0", 3, Some(FIRST_PAUSE / 2)).is_empty());
        assert!(pauses("0", 3, None).is_empty());
        assert!(pauses("0", 0, Some(Duration::from_secs(60))).is_empty());
    }

    #[test]
    fn without_an_answer_it_is_at_once_and_then_later_and_later() {
        let retry = Retry { attempts: 4, ..Retry::default() };
        let mut allowance = Allowance::new(&retry);
        let (_, kept) = RequestBody::nothing();
        let error = transport::Error::Terminated("gone".to_owned()).into();
        let failure = SendFailure { error, reached: Reached::Reset };

        let pauses: Vec<_> = std::iter::from_fn(|| allowance.after_failure(&failure, &retry, true, &kept))
            .map(|again| again.pause)
            .collect();

        assert_eq!((pauses.len(), pauses[0]), (4, None));
        assert!(pauses[1..].iter().all(|pause| pause.is_some_and(|pause| pause >= FIRST_PAUSE)), "{pauses:?}");
        assert!(pauses[3] > pauses[1], "{pauses:?}");
    }
}
