//! What came of an answer's body and waits for its reader. Pure.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// No more than a window of it, in no more than twice as much memory beside [`BORROWED`] buffers that were read into.
///
/// A piece of any size holds the whole buffer that it came in, of which the rest may have been others' long ago. So few that
/// have to wait are kept as they came, which is what a reader that keeps up leaves; the others are copied.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Most answers have one piece, and it takes no memory of its own.
    first: Bytes,
    rest: VecDeque<WaitingPiece>,
    /// How many of the rest are as they came.
    borrowed: usize,
    /// The last of it, copied together, before it is one of the rest.
    small: BytesMut,
}

#[derive(Debug)]
enum WaitingPiece {
    AsItCame(Bytes),
    Copied(Bytes),
}

impl Backlog {
    pub(super) fn push(&mut self, piece: Bytes) {
        if self.is_empty() {
            self.first = piece;
        } else if piece.len() < SMALL {
            self.small.extend_from_slice(&piece);
        } else {
            self.close_small();
            let piece = if self.borrowed < BORROWED {
                self.borrowed += 1;
                WaitingPiece::AsItCame(piece)
            } else {
                WaitingPiece::Copied(Bytes::copy_from_slice(&piece))
            };
            self.rest.push_back(piece);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Bytes> {
        if !self.first.is_empty() {
            return Some(std::mem::take(&mut self.first));
        }
        match self.rest.pop_front() {
            Some(WaitingPiece::AsItCame(piece)) => {
                self.borrowed -= 1;
                Some(piece)
            }
            Some(WaitingPiece::Copied(piece)) => Some(piece),
            None => (!self.small.is_empty()).then(|| std::mem::take(&mut self.small).freeze()),
        }
    }

    /// The only piece there is, or nothing; `None`: there are more.
    pub(super) fn take_only(&mut self) -> Option<Bytes> {
        (self.rest.is_empty() && self.small.is_empty()).then(|| std::mem::take(&mut self.first))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.rest.is_empty() && self.small.is_empty()
    }

    fn close_small(&mut self) {
        if !self.small.is_empty() {
            self.rest.push_back(WaitingPiece::Copied(std::mem::take(&mut self.small).freeze()));
        }
    }
}

/// Sixteen of them are what one read brings at most.
const SMALL: usize = 4 * 1024;

/// Two reads of the longest frames, so that a reader that keeps up has nothing copied; with the first piece nine buffers of 64 KiB.
const BORROWED: usize = 8;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_taken_is_what_came(steps in prop::collection::vec(prop::option::of(1..2 * SMALL), 1..100)) {
            let (mut backlog, mut came, mut taken) = (Backlog::default(), Vec::new(), Vec::new());
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Some(bytes) => {
                        let piece = vec![number as u8; bytes];
                        came.extend_from_slice(&piece);
                        backlog.push(piece.into());
                    }
                    None => taken.extend(backlog.pop().unwrap_or_default()),
                }
                prop_assert_eq!(backlog.is_empty(), came.len() == taken.len());
            }
            while let Some(piece) = backlog.pop() {
                prop_assert!(!piece.is_empty());
                taken.extend(piece);
            }
            prop_assert!(taken == came);
        }
    }

    #[test]
    fn pieces_of_one_byte_hold_no_buffers() {
        let mut backlog = Backlog::default();
        for _ in 0..1_000 {
            backlog.push(Bytes::from(vec![0; 16 * 1024]).slice(..1));
        }
        assert!(backlog.rest.is_empty() && backlog.small.len() == 999);
    }

    /// A buffer that was read into; it is there for as long as any piece of it.
    #[derive(Clone)]
    struct ReadBuffer(Arc<[u8; 64 * 1024]>);

    impl AsRef<[u8]> for ReadBuffer {
        fn as_ref(&self) -> &[u8] {
            &self.0[..]
        }
    }

    #[test]
    fn a_window_of_pieces_of_any_size_holds_few_buffers_that_others_were_read_into_too() {
        for size in [1, SMALL - 1, SMALL, 8 * 1024, 16 * 1024] {
            let (mut backlog, mut buffers) = (Backlog::default(), Vec::new());
            for _ in 0..(1024 * 1024 / size).min(1_000) {
                let buffer = ReadBuffer(Arc::new([7; 64 * 1024]));
                buffers.push(Arc::downgrade(&buffer.0));
                backlog.push(Bytes::from_owner(buffer).slice(..size));
                // Those that nobody holds any more are of no interest.
                buffers.retain(|buffer| buffer.strong_count() > 0);
            }

            assert!(buffers.len() <= 1 + BORROWED, "{size}: {} buffers", buffers.len());
            while let Some(piece) = backlog.pop() {
                assert!(piece.iter().all(|byte| *byte == 7));
            }
            assert!(buffers.iter().all(|buffer| buffer.strong_count() == 0), "{size}");
        }
    }
}
