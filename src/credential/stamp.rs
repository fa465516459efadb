//! Which token a sending carried.

use std::sync::Arc;

use super::Slot;

/// Which token a sending carried; of several, the newest.
#[derive(Clone, Debug, Default)]
pub(crate) struct SentToken {
    /// 0: none.
    pub(crate) generation: u64,
    /// Where the tokens of the request's subjects were.
    pub(super) subjects: Vec<Arc<Slot>>,
}

impl SentToken {
    pub(super) fn carries(&mut self, generation: u64) {
        self.generation = self.generation.max(generation);
    }
}
