//! What must not stay as it is.

use std::cell::{Cell, RefCell};

/// What a request has begun that must not stay if it goes no further: what the server calls it. Known also to who gives the
/// request up in the middle.
#[derive(Default)]
pub(crate) struct UnfinishedFile {
    place: RefCell<Option<Vec<u8>>>,
    is_given_up: Cell<bool>,
}

impl UnfinishedFile {
    /// Another request follows, in the same session.
    pub(crate) fn begin(&self) {
        self.is_given_up.set(false);
    }

    pub(super) fn set(&self, place: &[u8]) {
        *self.place.borrow_mut() = Some(place.to_vec());
    }

    pub(super) fn clear(&self) {
        *self.place.borrow_mut() = None;
    }

    /// Nobody waits for it any more: it must not become what it was meant to be, as the app has been told otherwise.
    pub(crate) fn give_up(&self) {
        self.is_given_up.set(true);
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.is_given_up.get()
    }

    /// Whether there is something.
    pub(crate) fn is_set(&self) -> bool {
        self.place.borrow().is_some()
    }

    /// It is seen to by whoever asks.
    pub(crate) fn take(&self) -> Option<Vec<u8>> {
        self.place.borrow_mut().take()
    }
}
