//! What came of an answer's body and waits for its reader. Pure.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// No more than a window of it, and not much more memory than that: a piece of a few bytes can hold a whole buffer that was
/// read into, so small ones that have to wait are copied together.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Most answers have one piece, and it takes no memory of its own.
    first: Bytes,
    rest: VecDeque<Bytes>,
    small: BytesMut,
}

impl Backlog {
    pub(super) fn push(&mut self, piece: Bytes) {
        if self.is_empty() {
            self.first = piece;
        } else if piece.len() < SMALL {
            self.small.extend_from_slice(&piece);
        } else {
            self.close_small();
            self.rest.push_back(piece);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Bytes> {
        if !self.first.is_empty() {
            return Some(std::mem::take(&mut self.first));
        }
        self.rest.pop_front().or_else(|| (!self.small.is_empty()).then(|| std::mem::take(&mut self.small).freeze()))
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
            self.rest.push_back(std::mem::take(&mut self.small).freeze());
        }
    }
}

/// Sixteen of them are what one read brings at most.
const SMALL: usize = 4 * 1024;

#[cfg(test)]
mod tests {
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
}
