//! Which connections of a worker are closed though they could carry another request: for the sake of other workers, and
//! those that are more than were needed lately.

use super::Pool;
use super::tasks::TaskOwner;
use crate::clock::Moment;

impl Pool {
    /// Closes idle connections that are too many, too old, idle for too long, or closed by the service; the worker's sweep
    /// calls it about once a second. Says how many it closed.
    pub(crate) fn sweep(&self, now: Moment) -> usize {
        self.now.set(now);
        let (_, before) = self.open_and_idle();
        let is_fresh = |since| self.upstream.pool.idle_timeout.is_none_or(|limit| now.since(since) < limit);
        self.idle.borrow_mut().retain(|connection, since| self.is_fit(connection) && is_fresh(since));
        let is_wanted = !self.upstream.connector.wants_http1();
        self.shared
            .borrow_mut()
            .retain(|shared, idle| is_wanted && self.is_young(shared.born) && idle.is_none_or(is_fresh));
        self.share_permits();
        // Last: those that are closed for another reason are no surplus.
        self.close_surplus(now);
        self.count();
        let (_, after) = self.open_and_idle();
        before.saturating_sub(after)
    }

    /// Whether a connection that comes free here should be closed for the sake of another worker: this one has more than its
    /// share. Of its share it gives up what it has not needed for a while (`share_permits`), and not what it has just used:
    /// a queue that is empty for a moment would have a connection closed that the next request has made anew.
    pub(super) fn must_yield(&self, born: Moment) -> bool {
        // Asked first: it is one atomic load, and nearly always the answer.
        self.others_waiting() > 0
            && (self.share.is_exceeded(born, Moment::now) || (!self.share.is_kept() && self.queue.borrow().is_empty()))
    }

    pub(super) fn others_waiting(&self) -> usize {
        self.upstream.permits.others_waiting(|| self.queue.borrow().awaits_permit())
    }

    /// Where no number is set (`pool.max_idle: auto`): closes idle ones until no more are open than were in use at once of
    /// late. Any request that finds as many others as there were then finds a connection too.
    fn close_surplus(&self, now: Moment) {
        if !self.idle.borrow().goes_by_demand() {
            return;
        }
        let (open, idle) = self.open_and_idle();
        // One at least: a service that is asked every half a minute would have a connection made anew for each request.
        let wanted = self.demand.peak(open.saturating_sub(idle), now).max(1);
        for _ in 0..open.saturating_sub(wanted).min(idle) {
            self.close_one_idle();
        }
        self.idle.borrow_mut().shrink();
    }

    fn close_one_idle(&self) {
        if !self.idle.borrow_mut().close_oldest() {
            self.shared.borrow_mut().close_idle();
        }
    }

    /// Closes as many idle ones as other workers want permits; says how many still want one.
    pub(super) fn close_for_others(&self) -> usize {
        self.idle.borrow_mut().look(Moment::now());
        for _ in 0..self.others_waiting() {
            if !self.share.is_kept() {
                self.close_one_idle();
            } else if !self.idle.borrow_mut().close_rested() {
                self.shared.borrow_mut().close_idle();
            }
        }
        self.others_waiting()
    }
}
