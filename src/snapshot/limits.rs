//! `limits` of a service: how many requests at once, how many in a time, how long their bodies.
//!
//! Shared by all workers and all identities of the service, and kept by a reload that changes other things. No lock: a
//! counter, and a point in time, each one atomic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::clock::Moment;
use crate::config::{Rate, ServiceLimits};

/// What a service is sent at most.
#[derive(Debug, Default)]
pub(crate) struct RequestLimits {
    concurrency: Option<(usize, InFlight)>,
    rate: Option<(Rate, Arc<RequestBucket>)>,
    /// Bytes of a body.
    pub(crate) body_bytes: Option<usize>,
}

/// Why a request is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LimitError {
    #[error(
        "the service has the {most} requests at once that its `limits.concurrency` allows: try again when others are done"
    )]
    Concurrency { most: usize },
    #[error("the service has had the requests that its `limits.rate` of {rate} allows")]
    Rate {
        rate: Rate,
        /// Until the next one may go.
        wait: Duration,
    },
}

/// The requests of a service that go on now.
type InFlight = Arc<AtomicUsize>;

/// One of the requests that go on; dropping it ends it.
#[derive(Debug)]
pub(crate) struct InFlightPermit(InFlight);

/// When the next request may go: the generic cell rate algorithm (ITU-T I.371), which is a bucket in one number.
#[derive(Debug)]
pub(crate) struct RequestBucket {
    /// Nanoseconds from one request to the next, if they come evenly.
    interval: u64,
    /// How much earlier than evenly one may come: the rest of a second, so that a second's worth may come at once.
    ahead: u64,
    began: Moment,
    /// When the next is due if they come evenly, in nanoseconds since `began`.
    due: AtomicU64,
}

impl RequestLimits {
    pub(super) fn compile(written: &ServiceLimits) -> Self {
        Self {
            concurrency: written.concurrency.map(|most| (most, InFlight::default())),
            rate: written.rate.map(|rate| (rate, Arc::new(RequestBucket::new(rate.interval(), Moment::now())))),
            body_bytes: written.body_bytes,
        }
    }

    /// Goes on with what an older version of the service has counted: what goes on at once, whatever the limit is now, and
    /// what has gone if the rate is the same.
    pub(super) fn adopt(&mut self, older: &Self) {
        if let (Some((_, counted)), Some((_, older))) = (&mut self.concurrency, &older.concurrency) {
            *counted = Arc::clone(older);
        }
        if let (Some((rate, bucket)), Some((older_rate, older))) = (&mut self.rate, &older.rate)
            && rate == older_rate
        {
            *bucket = Arc::clone(older);
        }
    }

    /// Lets one request go on, for as long as its permit is kept; `None`: nobody counts.
    ///
    /// # Errors
    /// When there are too many.
    pub(crate) fn admit(&self) -> Result<Option<InFlightPermit>, LimitError> {
        // First, as it can be given back: who is refused for being one too many has used nothing of the rate.
        let permit =
            self.concurrency.as_ref().map(|(most, counted)| InFlightPermit::take(*most, counted)).transpose()?;
        if let Some((rate, bucket)) = &self.rate {
            bucket.take(Moment::now()).map_err(|wait| LimitError::Rate { rate: *rate, wait })?;
        }
        Ok(permit)
    }
}

impl InFlightPermit {
    fn take(most: usize, counted: &InFlight) -> Result<Self, LimitError> {
        let one_more = |count: usize| (count < most).then_some(count + 1);
        // Nothing is read because of this number: no order is needed.
        let taken = counted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.map(|_| Self(Arc::clone(counted))).map_err(|_| LimitError::Concurrency { most })
    }
}

impl Drop for InFlightPermit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl RequestBucket {
    fn new(interval: Duration, began: Moment) -> Self {
        let interval = nanoseconds(interval).max(1);
        // Of a rate below one a second, one.
        let ahead = SECOND.saturating_sub(interval);
        Self { interval, ahead, began, due: AtomicU64::new(0) }
    }

    /// Takes one of what the bucket holds now.
    ///
    /// # Errors
    /// With the time until it holds one.
    fn take(&self, now: Moment) -> Result<(), Duration> {
        let now = nanoseconds(now.since(self.began));
        let mut due = self.due.load(Ordering::Relaxed);
        loop {
            let earliest = due.saturating_sub(self.ahead);
            if now < earliest {
                return Err(Duration::from_nanos(earliest - now));
            }
            let next = due.max(now).saturating_add(self.interval);
            match self.due.compare_exchange_weak(due, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                // Another worker was faster: what it left is what there is.
                Err(found) => due = found,
            }
        }
    }
}

/// For five hundred years.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

const SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    fn bucket(interval: Duration) -> (RequestBucket, Moment) {
        let began = Moment::now();
        (RequestBucket::new(interval, began), began)
    }

    #[test]
    fn a_seconds_worth_may_come_at_once_and_then_one_after_the_other() {
        let (bucket, began) = bucket(Duration::from_millis(100));
        let at = |milliseconds| began + Duration::from_millis(milliseconds);

        assert_eq!((0..10).filter(|_| bucket.take(at(5)).is_ok()).count(), 10);
        assert_eq!(bucket.take(at(5)), Err(Duration::from_millis(100)));
        assert_eq!(bucket.take(at(104)), Err(Duration::from_millis(1)));
        assert_eq!(bucket.take(at(105)), Ok(()));
        assert_eq!(bucket.take(at(105)), Err(Duration::from_millis(100)));
        assert_eq!((0..20).filter(|_| bucket.take(at(9_000)).is_ok()).count(), 10);
    }

    #[test]
    fn of_less_than_one_a_second_one_comes_at_a_time() {
        let (bucket, began) = bucket(Duration::from_secs(60));

        assert_eq!(bucket.take(began), Ok(()));
        assert_eq!(bucket.take(began + Duration::from_secs(59)), Err(Duration::from_secs(1)));
        assert_eq!(bucket.take(began + Duration::from_secs(60)), Ok(()));
    }

    #[test]
    fn workers_share_one_bucket() {
        let (bucket, began) = bucket(Duration::from_millis(1));

        let taken = thread::scope(|scope| {
            let worker = || (0..1_000).filter(|_| bucket.take(began).is_ok()).count();
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(worker)).collect();
            workers.into_iter().map(|worker| worker.join().expect("a count")).sum::<usize>()
        });

        assert_eq!(taken, 1_000);
    }

    #[test]
    fn as_many_go_on_at_once_as_are_allowed() {
        let limits = RequestLimits::compile(&ServiceLimits { concurrency: Some(2), ..ServiceLimits::default() });
        let [one, two] = [limits.admit(), limits.admit()];

        assert_eq!(limits.admit().err(), Some(LimitError::Concurrency { most: 2 }));
        drop(one);
        let three = limits.admit();
        assert!(two.is_ok() && three.is_ok_and(|permit| permit.is_some()));
        assert!(RequestLimits::default().admit().is_ok_and(|permit| permit.is_none()));
    }

    #[test]
    fn what_was_counted_is_kept_unless_it_means_something_else() {
        let of = |concurrency, per_second: &str| {
            let rate = Some(per_second.parse().expect("a rate"));
            RequestLimits::compile(&ServiceLimits { concurrency, rate, body_bytes: None })
        };
        let older = of(Some(5), "1/m");
        let held = older.admit().expect("the first");

        let mut fewer = of(Some(1), "1/m");
        fewer.adopt(&older);
        let mut faster = of(Some(2), "100/s");
        faster.adopt(&older);
        let mut same = of(None, "1/m");
        same.adopt(&older);

        assert_eq!(fewer.admit().err(), Some(LimitError::Concurrency { most: 1 }));
        assert!(faster.admit().is_ok());
        assert!(matches!(same.admit(), Err(LimitError::Rate { .. })));
        drop(held);
    }

    proptest! {
        /// A bucket that is filled drop by drop, in whole nanoseconds, says the same.
        #[test]
        fn the_bucket_holds_what_a_bucket_would(
            interval in prop_oneof![1_u64..50, 1_000_u64..5_000_000_000, Just(SECOND), Just(SECOND / 3 + 1)],
            pauses in prop::collection::vec(prop_oneof![Just(0_u64), 1_u64..100, 1_u64..3_000_000_000], 1..200),
        ) {
            let (bucket, began) = bucket(Duration::from_nanos(interval));
            let deepest = u128::from(interval.max(SECOND));
            let (mut level, mut now) = (deepest, 0_u64);
            for pause in pauses {
                now += pause;
                level = (level + u128::from(pause)).min(deepest);
                let expected = match level.checked_sub(interval.into()) {
                    Some(left) => {
                        level = left;
                        Ok(())
                    }
                    None => Err(Duration::from_nanos(u64::try_from(u128::from(interval) - level).unwrap())),
                };

                prop_assert_eq!(bucket.take(began + Duration::from_nanos(now)), expected, "at {}", now);
            }
        }
    }
}
