//! Which token a sending carried, and what its answer means for that.

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

/// What an answer means for the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// The answer is the app's.
    Pass,
    /// The service calls the token dead.
    NewToken,
    /// The service wants the same token with another proof, which it has said how to make (RFC 9449 §9).
    Again,
}
