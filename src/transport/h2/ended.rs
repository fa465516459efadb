//! Streams that have come to their end on both sides.

use std::cell::RefCell;

use h2::RecvStream;

/// Those of one connection that h2 was not told of yet.
///
/// h2 wakes the driver for each stream that is let go of, and there is nothing to do for one that has ended on both
/// sides: a third of all its turns. So they are let go of with the next request, which wakes it anyway.
#[derive(Default)]
pub(super) struct EndedStreams(RefCell<Vec<RecvStream>>);

impl EndedStreams {
    /// Lets go of a stream later. Not for one whose request is still on its way: what is left of that would be reset by
    /// nobody, should it be given up.
    pub(super) fn keep(&self, stream: RecvStream) {
        self.0.borrow_mut().push(stream);
        if self.0.borrow().len() >= STREAMS_KEPT {
            self.release();
        }
    }

    /// The driver is awake.
    pub(super) fn release(&self) {
        self.0.borrow_mut().clear();
    }
}

/// As many as end between two requests where there are many; what h2 has of one is half a kilobyte.
const STREAMS_KEPT: usize = 32;
