//! What is kept of an app's body, to send it again.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use super::{AppBody, Record, RequestBody, Taken};

/// What was kept of an app's body: shared with the [`AppBody`] that fills it.
#[derive(Clone)]
pub(crate) struct ReplayBuffer(pub(super) Option<Rc<RefCell<Record>>>);

impl ReplayBuffer {
    /// Whether nothing of the body is lost now: then [`ReplayBuffer::again`] has it.
    pub(crate) fn is_whole(&self) -> bool {
        let Some(record) = &self.0 else { return true };
        matches!(record.borrow().taken, Taken::Nothing | Taken::All(_))
    }

    /// The whole body again, if nothing of it is lost: all of it arrived and fitted, or none of it was taken yet. One
    /// that nobody has taken from yet is taken back from the attempt before.
    pub(crate) fn again(&self) -> Option<RequestBody> {
        let Some(record) = &self.0 else { return Some(RequestBody::Empty) };
        match &record.borrow().taken {
            Taken::Nothing => {}
            Taken::All(copy) => return Some(RequestBody::Again(Box::new(copy.clone()))),
            Taken::Part(_) | Taken::TooMuch => return None,
        }
        record.borrow_mut().attempt += 1;
        Some(RequestBody::Stream(AppBody::new(record)))
    }

    /// As [`again`](Self::again), and also where the body is still arriving and nothing of what came is lost: that comes from
    /// memory, and what follows as the app sends it.
    pub(crate) fn resumed(&self) -> Option<RequestBody> {
        if let Some(whole) = self.again() {
            return Some(whole);
        }
        let record = self.0.as_ref()?;
        let copy = match &record.borrow().taken {
            Taken::Part(copy) => copy.clone(),
            Taken::Nothing | Taken::All(_) | Taken::TooMuch => return None,
        };
        // The attempt before takes nothing more of it.
        record.borrow_mut().attempt += 1;
        Some(RequestBody::Resumed(Box::new((copy, AppBody::new(record)))))
    }
}

impl fmt::Debug for ReplayBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}
