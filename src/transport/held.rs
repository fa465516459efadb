//! Bodies that are held in memory until all of them is known, to be signed or checked: how much of them there may be.
//!
//! One body has a limit of its own; without one for all together, many at once would take the machine's memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The memory that bodies of all workers together may take: `limits.held_bodies`.
#[derive(Debug)]
pub(crate) struct HeldBodies {
    held_bytes: AtomicUsize,
    most_bytes: AtomicUsize,
}

/// The right to hold so much of a body; given back when the last copy of that body is dropped, however that comes about.
#[derive(Debug)]
pub(crate) struct HeldPermit {
    of: Arc<HeldBodies>,
    bytes: usize,
}

/// There is no room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

impl HeldBodies {
    pub(crate) fn new(most_bytes: usize) -> Arc<Self> {
        Arc::new(Self { held_bytes: AtomicUsize::new(0), most_bytes: AtomicUsize::new(most_bytes) })
    }

    /// From now on so much; what is held already stays.
    pub(crate) fn limit_to(&self, most_bytes: usize) {
        self.most_bytes.store(most_bytes, Ordering::Relaxed);
    }

    /// How much it may be together.
    pub(super) fn most_bytes(&self) -> usize {
        self.most_bytes.load(Ordering::Relaxed)
    }

    /// The right to hold `bytes`.
    ///
    /// # Errors
    /// When there is no room for them.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Result<HeldPermit, NoRoom> {
        let mut permit = HeldPermit { of: Arc::clone(self), bytes: 0 };
        permit.grow_to(bytes)?;
        Ok(permit)
    }

    /// How much is held now.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }
}

impl HeldPermit {
    /// Makes it one for `bytes`, if it is for less.
    ///
    /// # Errors
    /// When there is no room for them; it stays as it was.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let more = bytes.saturating_sub(self.bytes);
        let most = self.of.most_bytes();
        // One step, so that two workers never take the same last bytes.
        let taken = self.of.held_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            held.checked_add(more).filter(|held| more == 0 || *held <= most)
        });
        taken.map_err(|_| NoRoom)?;
        self.bytes += more;
        Ok(())
    }
}

impl Drop for HeldPermit {
    fn drop(&mut self) {
        self.of.held_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_never_more_than_the_limit_and_comes_back() {
        let all = HeldBodies::new(100);
        let mut one = all.hold(60).unwrap();

        assert_eq!(all.hold(41).unwrap_err(), NoRoom);
        let other = all.hold(40).unwrap();
        assert_eq!((one.grow_to(61), one.grow_to(10)), (Err(NoRoom), Ok(())));
        assert_eq!(all.held_bytes(), 100);
        drop(other);
        assert_eq!((one.grow_to(100), all.held_bytes()), (Ok(()), 100));
        drop(one);
        assert_eq!(all.held_bytes(), 0);
    }

    #[test]
    fn a_lower_limit_counts_for_what_comes_after_it() {
        let all = HeldBodies::new(100);
        let one = all.hold(80).unwrap();

        all.limit_to(50);

        assert_eq!(all.hold(1).unwrap_err(), NoRoom);
        drop(one);
        assert!(all.hold(50).is_ok());
    }
}
