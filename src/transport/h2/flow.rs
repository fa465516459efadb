//! Flow control (RFC 9113 §5.2 and §6.9): how much may still be sent, and how much may still come. Pure.

use super::frames::LARGEST_WINDOW;

/// What a window can't be: more than the largest, or what came has passed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WindowOverrun;

/// How much the other end takes. SETTINGS may make it less than nothing (§6.9.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SendWindow(i64);

impl SendWindow {
    pub(super) fn new(bytes: u32) -> Self {
        Self(i64::from(bytes))
    }

    pub(super) fn room(self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    /// Something was sent, no more than there is room for.
    pub(super) fn take(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.room());
        self.0 -= bytes as i64;
    }

    /// # Errors
    ///
    /// When it would be larger than any may be: it stays as it is.
    pub(super) fn change(&mut self, by: i64) -> Result<(), WindowOverrun> {
        if self.0 + by > i64::from(LARGEST_WINDOW) {
            return Err(WindowOverrun);
        }
        self.0 += by;
        Ok(())
    }
}

/// How much the other end may send, and what of it was taken since it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReceiveWindow {
    size: u32,
    left: u32,
    taken: u32,
}

impl ReceiveWindow {
    pub(super) fn new(size: u32) -> Self {
        Self { size, left: size, taken: 0 }
    }

    /// # Errors
    ///
    /// When more came than the other end was told that it may send.
    pub(super) fn arrive(&mut self, bytes: u32) -> Result<(), WindowOverrun> {
        self.left = self.left.checked_sub(bytes).ok_or(WindowOverrun)?;
        Ok(())
    }

    /// Something of what came was taken, and makes room for as much. Gives what the other end is to be told now: it is told
    /// of half a window at a time, so that short answers cost no frame for it.
    pub(super) fn take(&mut self, bytes: u32) -> Option<u32> {
        self.taken += bytes;
        if self.taken < self.size.div_ceil(2) {
            return None;
        }
        self.left += self.taken;
        Some(std::mem::take(&mut self.taken))
    }

    /// How much may still come.
    pub(super) fn left(self) -> u32 {
        self.left
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_window_that_is_made_smaller_may_be_less_than_nothing() {
        let mut window = SendWindow::new(10);
        window.take(8);
        window.change(-5).unwrap();
        assert_eq!(window.room(), 0);
        window.change(4).unwrap();
        assert_eq!(window.room(), 1);
        assert_eq!(window.change(i64::from(u32::MAX)), Err(WindowOverrun));
        assert_eq!(window.room(), 1);
    }

    proptest! {
        #[test]
        fn no_more_is_unread_than_the_window_and_a_reader_never_starves_the_other_end(
            size in 1..2_000_u32,
            steps in prop::collection::vec((any::<bool>(), 1..500_u32), 1..300),
        ) {
            let mut window = ReceiveWindow::new(size);
            // As the other end counts, and what waits to be read.
            let (mut may_send, mut unread) = (size, 0);
            for (comes, bytes) in steps {
                if comes {
                    let bytes = bytes.min(may_send);
                    prop_assert_eq!(window.arrive(bytes), Ok(()));
                    may_send -= bytes;
                    unread += bytes;
                } else {
                    let bytes = bytes.min(unread);
                    unread -= bytes;
                    may_send += window.take(bytes).unwrap_or(0);
                }
                prop_assert_eq!(window.left(), may_send);
                prop_assert!(may_send + unread <= size);
                prop_assert!(unread > 0 || may_send > 0, "it would wait for ever");
            }
            prop_assert_eq!(window.arrive(may_send + 1), Err(WindowOverrun));
        }
    }
}
