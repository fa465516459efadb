//! What must not stay as it is.

use std::cell::RefCell;

/// What a request has begun that must not stay if it goes no further: what the server calls it. Known also to who gives the
/// request up in the middle.
#[derive(Default)]
pub(crate) struct UnfinishedFile(RefCell<Option<Vec<u8>>>);

impl UnfinishedFile {
    pub(super) fn set(&self, place: &[u8]) {
        *self.0.borrow_mut() = Some(place.to_vec());
    }

    pub(super) fn clear(&self) {
        *self.0.borrow_mut() = None;
    }

    /// Whether there is something.
    pub(crate) fn is_set(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// It is seen to by whoever asks.
    pub(crate) fn take(&self) -> Option<Vec<u8>> {
        self.0.borrow_mut().take()
    }
}
