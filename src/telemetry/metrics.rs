//! Numbers: each worker counts in blocks of its own, a scrape sums them.
//!
//! A block is written by one thread only, so counting costs no more than adding to a field. Blocks are found once,
//! when a view is built, and are never forgotten: no reload resets a counter.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::StatusCode;

use super::errors::Recent;
use super::exposition::{self, Gauges};
use super::sum::{self, Sum};
use super::tally::{Histogram, Statuses, Tally};
use crate::code::Code;
use crate::locked::locked;

/// All numbers of the process, and its last errors.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    blocks: Mutex<Blocks>,
    recent: Arc<Recent>,
}

/// One worker's numbers of one service (or of no service: the name is empty then). Written by one thread only.
#[derive(Debug)]
pub(crate) struct Numbers {
    pub(super) statuses: Statuses,
    /// By [`Code::index`].
    pub(super) errors: [Tally; Code::ALL.len()],
    pub(super) in_flight: Tally,
    pub(super) duration: Histogram,
    pub(super) overhead: Histogram,
    pub(super) connect: Histogram,
    pub(super) active: Tally,
    pub(super) idle: Tally,
}

/// Token requests of one service; written by the background only.
#[derive(Debug)]
pub(crate) struct TokenNumbers {
    service: String,
    recent: Arc<Recent>,
    pub(super) ok: Tally,
    pub(super) rejected: Tally,
    pub(super) unavailable: Tally,
}

/// How a token request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenOutcome {
    Ok,
    Rejected,
    Unavailable,
}

/// What status says of a service's traffic, over all workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) requests: u64,
    /// Our own answers.
    pub(crate) errors: u64,
    pub(crate) active: u64,
    pub(crate) idle: u64,
}

#[derive(Debug, Default)]
struct Blocks {
    /// By service, then by worker.
    numbers: BTreeMap<String, BTreeMap<usize, Arc<Numbers>>>,
    tokens: BTreeMap<String, Arc<TokenNumbers>>,
}

impl Metrics {
    /// The block of `worker` for the service called `service` (`""`: requests without one): always the same one for
    /// the same pair.
    pub(crate) fn numbers(&self, worker: usize, service: &str) -> Arc<Numbers> {
        let mut blocks = self.blocks();
        let workers = blocks.numbers.entry(service.to_owned()).or_default();
        Arc::clone(workers.entry(worker).or_default())
    }

    /// The token numbers of `service`.
    pub(crate) fn token_numbers(&self, service: &str) -> Arc<TokenNumbers> {
        let mut blocks = self.blocks();
        let numbers = blocks.tokens.entry(service.to_owned()).or_insert_with(|| Arc::new(self.no_tokens_yet(service)));
        Arc::clone(numbers)
    }

    /// The last errors, where our own answers and failed token requests are put down.
    pub(crate) fn recent(&self) -> &Arc<Recent> {
        &self.recent
    }

    /// What status says of `service`.
    pub(crate) fn totals(&self, service: &str) -> Totals {
        let blocks = self.blocks();
        blocks.numbers.get(service).map(Sum::of).as_ref().map(Sum::totals).unwrap_or_default()
    }

    /// Everything as OpenMetrics 1.0 text.
    pub(crate) fn encode(&self, gauges: Gauges) -> String {
        let blocks = self.blocks();
        let services = blocks.numbers.iter().map(|(service, workers)| (service.clone(), Sum::of(workers))).collect();
        let tokens = blocks.tokens.iter().map(|(service, numbers)| (service.clone(), numbers.counts())).collect();
        // A scrape's text takes a while to write: workers that build a view must not wait for it.
        drop(blocks);
        exposition::encode(services, tokens, gauges)
    }

    fn no_tokens_yet(&self, service: &str) -> TokenNumbers {
        TokenNumbers {
            service: service.to_owned(),
            recent: Arc::clone(&self.recent),
            ok: Tally::default(),
            rejected: Tally::default(),
            unavailable: Tally::default(),
        }
    }

    fn blocks(&self) -> MutexGuard<'_, Blocks> {
        locked(&self.blocks)
    }
}

impl Numbers {
    /// A request was admitted or refused: it is in flight until `finished`.
    pub(crate) fn started(&self) {
        self.in_flight.add(1);
    }

    /// The answer's head went to the app with `status`.
    pub(crate) fn answered(&self, status: StatusCode) {
        self.statuses.add(status);
    }

    /// One of our own answers.
    pub(crate) fn failed(&self, code: Code) {
        self.errors[code.index()].add(1);
    }

    /// The exchange is over; `took` counts from the request's head to the answer's end.
    pub(crate) fn finished(&self, took: Duration) {
        self.in_flight.subtract(1);
        self.duration.observe(took);
    }

    /// Our own share of the time.
    pub(crate) fn overhead(&self, took: Duration) {
        self.overhead.observe(took);
    }

    /// A new connection to the service took this long: look-up, TCP and TLS.
    pub(crate) fn connected(&self, took: Duration) {
        self.connect.observe(took);
    }

    /// So many more connections to the service, or fewer: `active` carry a request, `idle` wait in a pool.
    pub(crate) fn connections(&self, active: i64, idle: i64) {
        // Two's complement: to add a negative number is to subtract.
        self.active.add(active.cast_unsigned());
        self.idle.add(idle.cast_unsigned());
    }
}

impl Default for Numbers {
    fn default() -> Self {
        Self {
            statuses: Statuses::default(),
            errors: std::array::from_fn(|_| Tally::default()),
            in_flight: Tally::default(),
            duration: Histogram::new(sum::DURATION_BOUNDS),
            overhead: Histogram::new(sum::OVERHEAD_BOUNDS),
            connect: Histogram::new(sum::CONNECT_BOUNDS),
            active: Tally::default(),
            idle: Tally::default(),
        }
    }
}

impl TokenNumbers {
    /// A token request ended.
    pub(crate) fn requested(&self, outcome: TokenOutcome) {
        match outcome {
            TokenOutcome::Ok => self.ok.add(1),
            TokenOutcome::Rejected => self.rejected.add(1),
            TokenOutcome::Unavailable => self.unavailable.add(1),
        }
    }

    /// Puts a failed token request down among the last errors; `detail` holds no secret.
    pub(crate) fn failed(&self, code: Code, detail: &str) {
        self.recent.add(&self.service, code, detail);
    }

    fn counts(&self) -> [(&'static str, u64); 3] {
        [("ok", self.ok.value()), ("rejected", self.rejected.value()), ("unavailable", self.unavailable.value())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_finds_its_block_again_after_a_reload() {
        let metrics = Metrics::default();

        let before = metrics.numbers(0, "payments");
        let after = metrics.numbers(0, "payments");

        assert!(Arc::ptr_eq(&before, &after));
        assert!(!Arc::ptr_eq(&before, &metrics.numbers(1, "payments")));
        assert!(!Arc::ptr_eq(&before, &metrics.numbers(0, "")));
    }

    #[test]
    fn the_workers_numbers_are_summed() {
        let metrics = Arc::new(Metrics::default());

        let workers = (0..4).map(|worker| {
            let numbers = metrics.numbers(worker, "payments");
            std::thread::spawn(move || {
                for _ in 0..1_000 {
                    numbers.started();
                    numbers.answered(StatusCode::OK);
                    numbers.failed(Code::DnsError);
                }
                numbers.connections(2, 3);
            })
        });
        workers.collect::<Vec<_>>().into_iter().for_each(|worker| worker.join().unwrap());

        let expected = Totals { requests: 4_000, errors: 4_000, active: 8, idle: 12 };
        assert_eq!(metrics.totals("payments"), expected);
        assert_eq!(metrics.totals("orders"), Totals::default());
    }
}
