//! When the next token request of one entry is due.
//!
//! Pure: each thing that happens is a method that takes the time, and [`Schedule::due`] is what follows from all of
//! them. The loop that lives by it is `refresh`.
//!
//! ```text
//!            ┌───────── succeeded ──────────┐      due: the refresh ahead; half of what is left if the endpoint
//!   new ──► due ──► request ──┤             │           repeated its token; when asked for, if it lives for nothing
//!            ▲                └─ failed ────┤      due: after the back-off
//!            ├── wanted, rejected, try_now ─┘      due: as soon as the endpoint may be asked again
//!            └── demanded                          due: at once
//! ```

use std::time::Duration;

use super::failure::{FailureKind, TokenFailure};
use super::state::Token;
use crate::clock::{Backoff, Moment};

/// The plan for one entry.
#[derive(Debug)]
pub(super) struct Schedule {
    due: Option<Moment>,
    /// Token requests lie at least [`APART`] apart, unless somebody demands one.
    spaced: Moment,
    /// From then on a dead token may bring the next request forward.
    replaceable: Moment,
    /// Why it is due: a failure is retried at its time, and nobody's impatience changes that.
    failing: bool,
    after_rejection: Backoff,
    after_outage: Backoff,
}

/// Whether a token is another than the one that was in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Novelty {
    New,
    Repeated,
}

impl Schedule {
    /// The first request is due at once: a token should be there before traffic asks for it.
    pub(super) fn new(now: Moment) -> Self {
        Self {
            due: Some(now),
            spaced: now,
            replaceable: now,
            failing: false,
            after_rejection: Backoff::new(FIRST_AFTER_REJECTION, LONGEST_WAIT),
            after_outage: Backoff::new(APART, LONGEST_WAIT),
        }
    }

    /// When to send the next request; `None`: when somebody asks for a token.
    pub(super) fn due(&self) -> Option<Moment> {
        self.due
    }

    /// From when on [`Schedule::rejected`] leads to a request.
    pub(super) fn replaceable(&self) -> Moment {
        self.replaceable
    }

    /// The request brought a token, of which `ahead` should be left at the refresh. `chance` (0 to 1) spreads the
    /// refreshes of a fleet.
    pub(super) fn succeeded(&mut self, token: &Token, novelty: Novelty, ahead: Duration, chance: f64, now: Moment) {
        self.failing = false;
        self.after_rejection.reset();
        self.after_outage.reset();
        self.spaced = now + APART;

        let left = token.expires().since(now);
        let refresh = match novelty {
            Novelty::New => token.sent + (token.life - reserve(token.life, ahead, chance)),
            // Asking a cache again at once would bring the same token: look again when more of its life is gone.
            Novelty::Repeated => now + left / 2,
        };
        // A token that lives for nothing would be fetched for ever for nobody.
        self.due = (!left.is_zero()).then(|| refresh.max(self.spaced));
    }

    /// The request brought none.
    pub(super) fn failed(&mut self, failure: &TokenFailure, now: Moment) {
        self.failing = true;
        self.spaced = now + APART;

        let asked = failure.retry_after.unwrap_or_default().min(LONGEST_ASKED);
        let backoff = match failure.kind {
            FailureKind::Rejected => &mut self.after_rejection,
            FailureKind::Unavailable | FailureKind::Unready => &mut self.after_outage,
        };
        self.due = Some(now + backoff.next(asked));
        self.replaceable = self.replaceable.max(self.spaced).max(now + asked);
    }

    /// A request waits for the next token: the one in hand is dead, and the last attempt was no failure.
    pub(super) fn wanted(&mut self, now: Moment) {
        if !self.failing {
            self.bring_forward(now.max(self.spaced));
        }
    }

    /// The service called the token in hand dead. Says whether a replacement is due for it.
    pub(super) fn rejected(&mut self, now: Moment) -> bool {
        if now < self.replaceable {
            return false;
        }
        self.replaceable = now + BETWEEN_REPLACEMENTS;
        self.bring_forward(now.max(self.spaced));
        true
    }

    /// What made the last attempt fail may be gone: not even the endpoint's wish to be left alone counts.
    pub(super) fn try_now(&mut self, now: Moment) {
        if self.failing {
            self.bring_forward(now.max(self.spaced));
        }
    }

    /// Somebody who knows better than the plan wants another token: nothing that was waited for counts.
    pub(super) fn demanded(&mut self, now: Moment) {
        self.bring_forward(now);
    }

    fn bring_forward(&mut self, at: Moment) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}

/// How much of a token's life is left when it is refreshed.
fn reserve(life: Duration, ahead: Duration, chance: f64) -> Duration {
    let spread = 1.0 + JITTER * (2.0 * chance - 1.0);
    // A token that lives 2 s would be refreshed for ever with a fixed 30 s in reserve: half its life at most.
    ahead.mul_f64(spread).min(life / 2)
}

/// Between one answer and the next request.
pub(super) const APART: Duration = Duration::from_secs(1);
const FIRST_AFTER_REJECTION: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// An endpoint that asks for a day would take the service down with it.
const LONGEST_ASKED: Duration = Duration::from_secs(5 * 60);
/// A service that refuses every token must not make us a load on the endpoint.
const BETWEEN_REPLACEMENTS: Duration = Duration::from_secs(10);
/// Of the reserve, either way.
const JITTER: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn token(sent: Moment, life: f64) -> Token {
        Token { generation: 1, access_token: Secret::new("token".to_owned()), sent, life: seconds(life) }
    }

    fn failure(kind: FailureKind, retry_after: Option<u64>) -> TokenFailure {
        let retry_after = retry_after.map(Duration::from_secs);
        TokenFailure { kind, endpoint: "idp".to_owned(), what: "failed".to_owned(), help: "wait".into(), retry_after }
    }

    /// A token fetched in no time, with this `chance`: seconds until it is refreshed.
    #[track_caller]
    fn check_refresh(ahead: f64, life: f64, chance: f64, due: Option<f64>) {
        let start = Moment::now();
        let mut schedule = Schedule::new(start);

        schedule.succeeded(&token(start, life), Novelty::New, seconds(ahead), chance, start);

        let found = schedule.due().map(|due| due.since(start).as_secs_f64());
        let close = match (found, due) {
            (Some(found), Some(due)) => (found - due).abs() < 0.001,
            (found, due) => found == due,
        };
        assert!(close, "{ahead} s of {life} s with {chance}: {found:?}, not {due:?}");
    }

    #[test]
    fn a_token_is_refreshed_while_the_reserve_give_or_take_a_tenth_is_left() {
        check_refresh(20.0, 100.0, 0.5, Some(80.0));
        check_refresh(20.0, 100.0, 0.0, Some(82.0));
        check_refresh(20.0, 100.0, 1.0, Some(78.0));
        check_refresh(30.0, 100.0, 0.5, Some(70.0));
        check_refresh(0.0, 100.0, 1.0, Some(100.0));
    }

    #[test]
    fn never_more_than_half_of_a_life_is_kept_in_reserve() {
        check_refresh(30.0, 10.0, 1.0, Some(5.0));
        check_refresh(90.0, 100.0, 0.5, Some(50.0));
    }

    #[test]
    fn refreshes_lie_a_second_apart_however_short_a_life_is() {
        check_refresh(0.2, 1.0, 1.0, Some(1.0));
    }

    #[test]
    fn a_token_that_lives_for_nothing_is_fetched_again_only_when_asked_for() {
        check_refresh(0.0, 0.0, 0.5, None);

        let start = Moment::now();
        let mut schedule = Schedule::new(start);
        schedule.succeeded(&token(start, 0.0), Novelty::New, seconds(20.0), 0.5, start);
        schedule.wanted(start + seconds(0.3));

        assert_eq!(schedule.due(), Some(start + seconds(1.0)));
    }

    #[test]
    fn a_repeated_token_is_asked_for_again_when_half_of_what_is_left_is_gone() {
        let start = Moment::now();
        let mut schedule = Schedule::new(start);

        schedule.succeeded(&token(start, 20.0), Novelty::Repeated, seconds(20.0), 0.5, start);
        assert_eq!(schedule.due(), Some(start + seconds(10.0)));

        let late = start + seconds(19.0);
        schedule.succeeded(&token(start, 20.0), Novelty::Repeated, seconds(20.0), 0.5, late);
        assert_eq!(schedule.due(), Some(late + seconds(1.0)));
    }

    #[test]
    fn a_life_counts_from_when_the_request_was_sent() {
        let start = Moment::now();
        let mut schedule = Schedule::new(start);
        let answered = start + seconds(5.0);

        schedule.succeeded(&token(start, 100.0), Novelty::New, seconds(20.0), 0.5, answered);

        assert_eq!(schedule.due(), Some(start + seconds(80.0)));
    }

    /// After `times` failures in a row: the least and the most seconds to the next attempt.
    #[track_caller]
    fn check_backoff(kind: FailureKind, retry_after: Option<u64>, times: usize, least: f64, most: f64) {
        let start = Moment::now();
        let mut schedule = Schedule::new(start);

        (0..times).for_each(|_| schedule.failed(&failure(kind, retry_after), start));

        let wait = schedule.due().expect("a retry").since(start).as_secs_f64();
        assert!((least..=most).contains(&wait), "{kind:?} × {times}, asked {retry_after:?}: {wait}");
    }

    #[test]
    fn failures_back_off_from_a_second_or_ten_to_a_minute() {
        check_backoff(FailureKind::Unavailable, None, 1, 1.0, 2.0);
        check_backoff(FailureKind::Unavailable, None, 3, 4.0, 8.0);
        check_backoff(FailureKind::Unavailable, None, 20, 60.0, 60.0);
        check_backoff(FailureKind::Unready, None, 2, 2.0, 4.0);
        check_backoff(FailureKind::Rejected, None, 1, 10.0, 20.0);
        check_backoff(FailureKind::Rejected, None, 2, 20.0, 40.0);
        check_backoff(FailureKind::Rejected, None, 20, 60.0, 60.0);
    }

    #[test]
    fn what_the_endpoint_asks_for_is_honored_up_to_five_minutes() {
        check_backoff(FailureKind::Unavailable, Some(30), 1, 30.0, 30.0);
        check_backoff(FailureKind::Unavailable, Some(0), 1, 1.0, 2.0);
        check_backoff(FailureKind::Rejected, Some(2), 1, 10.0, 20.0);
        check_backoff(FailureKind::Unavailable, Some(86_400), 1, 300.0, 300.0);
    }

    #[test]
    fn requests_do_not_hurry_a_retry_but_a_changed_config_does() {
        let start = Moment::now();
        let mut schedule = Schedule::new(start);
        schedule.failed(&failure(FailureKind::Unavailable, Some(120)), start);

        schedule.wanted(start + seconds(5.0));
        assert_eq!(schedule.due(), Some(start + seconds(120.0)));

        schedule.try_now(start + seconds(5.0));
        assert_eq!(schedule.due(), Some(start + seconds(5.0)));
    }

    #[test]
    fn a_demand_waits_for_nothing() {
        let start = Moment::now();
        let mut schedule = Schedule::new(start);
        schedule.failed(&failure(FailureKind::Rejected, Some(120)), start);

        schedule.demanded(start + seconds(0.1));

        assert_eq!(schedule.due(), Some(start + seconds(0.1)));
    }

    #[test]
    fn a_changed_config_leaves_a_healthy_entry_alone() {
        let start = Moment::now();
        let mut schedule = Schedule::new(start);
        schedule.succeeded(&token(start, 100.0), Novelty::New, seconds(20.0), 0.5, start);

        schedule.try_now(start + seconds(5.0));

        assert_eq!(schedule.due(), Some(start + seconds(80.0)));
    }

    #[test]
    fn a_dead_token_is_replaced_once_in_ten_seconds() {
        let start = Moment::now();
        let mut schedule = Schedule::new(start);
        schedule.succeeded(&token(start, 100.0), Novelty::New, seconds(20.0), 0.5, start);

        assert!(schedule.rejected(start + seconds(3.0)));
        assert_eq!(schedule.due(), Some(start + seconds(3.0)));

        let replaced = start + seconds(4.0);
        schedule.succeeded(&token(replaced, 100.0), Novelty::New, seconds(20.0), 0.5, replaced);
        assert!(!schedule.rejected(start + seconds(12.9)));
        assert_eq!(schedule.due(), Some(replaced + seconds(80.0)));
        assert!(schedule.rejected(start + seconds(13.0)));
    }

    #[test]
    fn a_replacement_waits_out_the_second_since_the_last_request() {
        let start = Moment::now();
        let mut schedule = Schedule::new(start);
        schedule.succeeded(&token(start, 100.0), Novelty::New, seconds(20.0), 0.5, start);

        assert!(schedule.rejected(start + seconds(0.2)));

        assert_eq!(schedule.due(), Some(start + seconds(1.0)));
    }

    #[test]
    fn a_dead_token_does_not_disturb_an_endpoint_that_asked_to_be_left_alone() {
        let start = Moment::now();
        let mut schedule = Schedule::new(start);
        schedule.failed(&failure(FailureKind::Unavailable, Some(60)), start);

        assert!(!schedule.rejected(start + seconds(59.0)));
        assert!(schedule.rejected(start + seconds(60.0)));
    }

    #[test]
    fn a_success_starts_the_back_off_over() {
        let start = Moment::now();
        let mut schedule = Schedule::new(start);
        (0..8).for_each(|_| schedule.failed(&failure(FailureKind::Unavailable, None), start));

        schedule.succeeded(&token(start, 100.0), Novelty::New, seconds(20.0), 0.5, start);
        schedule.failed(&failure(FailureKind::Unavailable, None), start);

        let wait = schedule.due().expect("a retry").since(start);
        assert!(wait <= seconds(2.0), "{wait:?}");
    }
}
