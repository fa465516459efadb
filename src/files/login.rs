//! Logins, one at a time, and none for a while after one that was refused: a password that is wrong locks an account if it
//! is shown a few times.
//!
//! What is known is of the server and the login, and so for all workers, and for all versions of a service that have the same:
//! also of one that is compiled and never published. A reload that changes either begins anew.
//!
//! ```text
//!   enter ──► TCP, TLS or SSH's keys ──► turn ──► name and password ──► it is known to be good
//!     │ a few at a time                    │ one at a time    │
//!     └──── refused a moment ago ◄─────────┴───── refused, ───┘ or nobody knows: a pause
//! ```

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

use crate::clock::{Backoff, Moment};

/// Why nobody is logged in. `Clone`, as all that want a session meanwhile are told the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(crate) struct LoginFailure {
    pub(crate) kind: LoginFailureKind,
    pub(crate) what: String,
    /// How long no other attempt is made.
    pub(crate) pause: Duration,
}

/// The same in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoginFailureKind {
    /// The server takes none of what it was shown.
    Refused,
    /// It is no server that is known: nothing was shown to it.
    HostKey,
    /// It serves too many at the moment.
    Overloaded,
    /// It lets nobody in who does not speak TLS, which the config has off.
    DemandsTls,
    /// What answers there is no server of files, as far as it can be understood.
    NoFiles,
    /// It is one, and has nothing of what is wanted of it.
    Lacks,
    /// The connection ended.
    Ended,
    /// No answer came to what it was shown.
    Unanswered,
}

/// What is known of the logins at one server.
pub(crate) struct LoginGate {
    entries: Semaphore,
    turn: Semaphore,
    refused: Mutex<Option<Refused>>,
}

struct Refused {
    failure: LoginFailure,
    due: Moment,
    backoff: Backoff,
}

/// Until when a session has to have come about. It stands still while others are in line before: that is not the server's
/// time, and a login that is given up in the middle costs all of them a pause.
pub(crate) struct LoginDeadline(Cell<Option<Instant>>);

/// The right to show the server who comes.
pub(super) struct LoginTurn<'a> {
    gate: &'a LoginGate,
    is_decided: bool,
    _permit: SemaphorePermit<'a>,
}

impl LoginFailure {
    pub(super) fn new(kind: LoginFailureKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), pause: Duration::ZERO }
    }
}

impl LoginDeadline {
    /// `None`: there is none.
    pub(crate) fn new(due: Option<Instant>) -> Self {
        Self(Cell::new(due))
    }

    /// Waits for others.
    async fn stand_still<T>(&self, wait: impl Future<Output = T>) -> T {
        let (due, began) = (self.0.take(), Instant::now());
        let waited_for = wait.await;
        self.0.set(due.map(|due| due + began.elapsed()));
        waited_for
    }

    /// What comes of it by then.
    pub(crate) async fn keep<F: Future>(&self, logging_in: F) -> Option<F::Output> {
        let (mut logging_in, mut alarm) =
            (pin!(logging_in), pin!(sleep_until(self.0.get().unwrap_or_else(Instant::now))));
        poll_fn(|cx| {
            // First, as this may move it.
            if let Poll::Ready(output) = logging_in.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            let Some(due) = self.0.get() else { return Poll::Pending };
            if alarm.deadline() != due {
                alarm.as_mut().reset(due);
            }
            alarm.as_mut().poll(cx).map(|()| None)
        })
        .await
    }
}

impl LoginGate {
    pub(super) fn new() -> Self {
        Self { entries: Semaphore::new(ENTRIES), turn: Semaphore::new(1), refused: Mutex::default() }
    }

    /// What whoever wants a session now is told; `None`: an attempt may be made.
    pub(super) fn refusal(&self, now: Moment) -> Option<LoginFailure> {
        self.with(|refused| {
            let refused = refused.as_ref().filter(|refused| now < refused.due)?;
            Some(LoginFailure { pause: refused.due.since(now), ..refused.failure.clone() })
        })
    }

    /// A place among those that are not logged in yet: servers refuse connections if they are many.
    pub(super) async fn enter(&self) -> SemaphorePermit<'_> {
        held(&self.entries).await
    }

    /// The right to make an attempt, once it is known what became of the last one.
    pub(super) async fn turn(&self, deadline: &LoginDeadline) -> Result<LoginTurn<'_>, LoginFailure> {
        let permit = deadline.stand_still(held(&self.turn)).await;
        // Asked only now: whoever was before may have been refused just now.
        match self.refusal(Moment::now()) {
            Some(failure) => Err(failure),
            None => Ok(LoginTurn { gate: self, is_decided: false, _permit: permit }),
        }
    }

    pub(super) fn refuse(&self, failure: LoginFailure) {
        let (first, longest) = match failure.kind {
            LoginFailureKind::Overloaded => (SHORTEST_FULL, LONGEST_FULL),
            _ => (SHORTEST, LONGEST),
        };
        self.with(|refused| {
            let known = refused.take().filter(|refused| refused.failure.kind == failure.kind);
            let mut backoff = known.map_or_else(|| Backoff::new(first, longest), |refused| refused.backoff);
            let due = Moment::now() + backoff.next(Duration::ZERO);
            *refused = Some(Refused { failure, due, backoff });
        });
    }

    fn with<T>(&self, look: impl FnOnce(&mut Option<Refused>) -> T) -> T {
        look(&mut self.refused.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl LoginTurn<'_> {
    /// What the server said to it.
    pub(super) fn ended(mut self, failure: Option<LoginFailure>) {
        self.is_decided = true;
        match failure {
            Some(failure) => self.gate.refuse(failure),
            None => self.gate.with(|refused| *refused = None),
        }
    }
}

/// Given up before its end it counts as refused: servers take their time to say no, and each attempt may count.
impl Drop for LoginTurn<'_> {
    fn drop(&mut self) {
        if !self.is_decided {
            let what = "the server did not say within `timeouts.connect` whether it takes the login; many take seconds to \
                        refuse one";
            self.gate.refuse(LoginFailure::new(LoginFailureKind::Unanswered, what));
        }
    }
}

async fn held(semaphore: &Semaphore) -> SemaphorePermit<'_> {
    // Invariant: nothing ever closes these semaphores.
    #[allow(clippy::expect_used)]
    semaphore.acquire().await.expect("an open semaphore")
}

/// OpenSSH refuses some of them from ten on.
const ENTRIES: usize = 4;
const SHORTEST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(60);
/// No account is locked for that.
const SHORTEST_FULL: Duration = Duration::from_millis(500);
const LONGEST_FULL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    fn none() -> LoginDeadline {
        LoginDeadline::new(None)
    }

    fn wrong() -> LoginFailure {
        LoginFailure::new(LoginFailureKind::Refused, "530 no")
    }

    #[tokio::test]
    async fn after_a_refusal_all_are_told_so_and_nobody_tries_for_ten_seconds_at_least() {
        let gate = LoginGate::new();
        gate.turn(&none()).await.ok().unwrap().ended(Some(wrong()));

        let told = gate.turn(&none()).await.err().unwrap();
        let now = Moment::now();

        assert_eq!((told.kind, &*told.what), (LoginFailureKind::Refused, "530 no"));
        assert!(told.pause > Duration::from_secs(9) && told.pause <= Duration::from_secs(20), "{:?}", told.pause);
        assert!(gate.refusal(now + Duration::from_secs(9)).is_some());
        assert!(gate.refusal(now + Duration::from_secs(20)).is_none());
    }

    #[tokio::test]
    async fn pauses_grow_to_a_minute_and_start_over_after_a_login() {
        let gate = LoginGate::new();
        for _ in 0..6 {
            gate.refuse(wrong());
        }
        assert!(gate.refusal(Moment::now() + Duration::from_secs(59)).is_some());
        assert!(gate.refusal(Moment::now() + Duration::from_secs(61)).is_none());

        gate.with(|refused| *refused = None);
        gate.turn(&none()).await.ok().unwrap().ended(None);

        assert!(gate.refusal(Moment::now()).is_none());
        gate.refuse(wrong());
        assert!(gate.refusal(Moment::now() + Duration::from_secs(21)).is_none());
    }

    #[tokio::test]
    async fn who_waits_for_a_turn_hears_what_became_of_the_one_before() {
        let gate = LoginGate::new();
        let none = none();
        let first = gate.turn(&none).await.ok().unwrap();

        let (second, ()) = tokio::join!(gate.turn(&none), async {
            tokio::task::yield_now().await;
            first.ended(Some(wrong()));
        });

        assert_eq!(second.err().unwrap().kind, LoginFailureKind::Refused);
    }

    #[tokio::test]
    async fn an_attempt_that_is_given_up_counts_as_one() {
        let gate = LoginGate::new();
        drop(gate.turn(&none()).await.ok());

        assert_eq!(gate.turn(&none()).await.err().unwrap().kind, LoginFailureKind::Unanswered);
    }

    #[tokio::test]
    async fn a_server_that_is_full_is_asked_again_soon() {
        let gate = LoginGate::new();
        gate.turn(&none()).await.ok().unwrap().ended(Some(LoginFailure::new(LoginFailureKind::Overloaded, "421 full")));

        assert!(gate.refusal(Moment::now()).is_some());
        assert!(gate.refusal(Moment::now() + Duration::from_secs(1)).is_none());
    }

    #[tokio::test]
    async fn the_time_in_which_others_log_in_is_not_that_of_who_waits_for_a_turn() {
        let (gate, none) = (LoginGate::new(), none());
        let first = gate.turn(&none).await.ok().unwrap();
        let due = Instant::now() + Duration::from_millis(20);
        let deadline = LoginDeadline::new(Some(due));

        let (second, ()) = tokio::join!(deadline.keep(gate.turn(&deadline)), async {
            sleep_until(due + Duration::from_millis(1)).await;
            first.ended(None);
        });

        assert!(second.is_some_and(|turn| turn.is_ok()));
        // It goes on then.
        assert!(deadline.keep(pending::<()>()).await.is_none());
    }

    #[tokio::test]
    async fn a_server_that_does_not_say_in_time_is_given_up() {
        let due = Instant::now();

        assert_eq!(LoginDeadline::new(Some(due)).keep(pending::<()>()).await, None);
        assert_eq!(none().keep(ready(1)).await, Some(1));
    }
}
