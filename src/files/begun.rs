//! What must not stay as it is.

use std::cell::{Cell, RefCell};
use std::fmt;

/// What a request has begun that must not stay if it goes no further: what the server calls it. Known also to who gives the
/// request up in the middle.
#[derive(Default)]
pub(crate) struct UnfinishedFile {
    left: RefCell<Leftover>,
    is_given_up: Cell<bool>,
}

/// What is to be put in order at the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leftover {
    /// Half a file.
    pub(crate) temporary: Option<Vec<u8>>,
    pub(crate) aside: Option<SetAside>,
}

/// An old file under another name, while a new one takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetAside {
    pub(crate) aside: Vec<u8>,
    pub(crate) place: Vec<u8>,
}

impl UnfinishedFile {
    /// Another request follows, in the same session.
    pub(crate) fn begin(&self) {
        self.is_given_up.set(false);
    }

    pub(super) fn set(&self, place: &[u8]) {
        self.left.borrow_mut().temporary = Some(place.to_vec());
    }

    pub(super) fn clear(&self) {
        self.left.borrow_mut().temporary = None;
    }

    /// To be called before it is done: if the session ends here, nobody knows whether it was.
    pub(super) fn set_aside(&self, aside: &[u8], place: &[u8]) {
        self.left.borrow_mut().aside = Some(SetAside { aside: aside.to_vec(), place: place.to_vec() });
    }

    pub(super) fn clear_aside(&self) {
        self.left.borrow_mut().aside = None;
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
        *self.left.borrow() != Leftover::default()
    }

    /// It is seen to by whoever asks.
    pub(crate) fn take(&self) -> Option<Leftover> {
        Some(std::mem::take(&mut *self.left.borrow_mut())).filter(|left| *left != Leftover::default())
    }
}

/// With the process, or its server: somebody else has to see to it then.
impl Drop for UnfinishedFile {
    fn drop(&mut self) {
        if let Some(left) = self.take() {
            left.warn("nobody was left to remove it");
        }
    }
}

impl Leftover {
    /// It stays there.
    pub(crate) fn warn(&self, why: &str) {
        tracing::warn!(file = %self, %why, "half a file is left at the partner under a temporary name: remove it there");
    }
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.temporary.iter().chain(self.aside.iter().map(|old| &old.aside));
        let names: Vec<_> = names.map(|name| String::from_utf8_lossy(name)).collect();
        f.write_str(&names.join(", "))
    }
}
