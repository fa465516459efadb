//! A value that must not be shown.
//!
//! Promises that `Debug` and `Display` print `***`, that our own copy is wiped when it is dropped, and that two
//! secrets are compared in constant time. Leaves to others where a secret comes from (`config::source`) and
//! where it goes (`credential`): copies inside HTTP buffers are not wiped.

use std::fmt;

use aws_lc_rs::digest;
use zeroize::Zeroizing;

/// Text that is wiped on drop and never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over; the caller's copy is moved, not cloned.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The parts, one after the other. `parts` is asked twice: how long they are, and then for good.
    ///
    /// So there is room for all of it from the beginning: text that grows moves to a larger place, and leaves a copy behind
    /// that nobody wipes.
    pub(crate) fn of_parts<'a, P: Iterator<Item = &'a str>>(parts: impl Fn() -> P) -> Self {
        let mut text = Zeroizing::new(String::with_capacity(parts().map(str::len).sum()));
        for part in parts() {
            // A part that came only now would make it grow.
            debug_assert!(text.capacity() - text.len() >= part.len(), "parts that are longer than they were");
            text.push_str(part);
        }
        Self(text)
    }

    /// The text itself, for the one place that puts it on the wire.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `candidate` is this secret; the time taken depends on its length only.
    #[must_use]
    pub fn is(&self, candidate: &[u8]) -> bool {
        // Comparing digests hides the secret's length too.
        let ours = digest::digest(&digest::SHA256, self.0.as_bytes());
        let theirs = digest::digest(&digest::SHA256, candidate);
        aws_lc_rs::constant_time::verify_slices_are_equal(ours.as_ref(), theirs.as_ref()).is_ok()
    }
}

impl AsRef<[u8]> for Secret {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.is(other.0.as_bytes())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::new("hunter2".to_owned());

        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
    }

    #[test]
    fn a_secret_of_parts_has_room_for_all_of_them_from_the_beginning() {
        let long = "x".repeat(5_000);
        let parts = ["Basic ", "", &long, ":", &long];

        let secret = Secret::of_parts(|| parts.into_iter());

        assert_eq!(secret.expose(), parts.concat());
        // Text that grew has room for twice as much as it had before.
        assert_eq!(secret.0.capacity(), secret.0.len());
    }

    #[test]
    #[should_panic(expected = "parts that are longer than they were")]
    fn a_secret_never_grows() {
        let asked = std::cell::Cell::new(0);

        Secret::of_parts(|| {
            asked.set(asked.get() + 1);
            ["short", "and longer"].into_iter().take(asked.get())
        });
    }

    #[test]
    fn secrets_are_equal_when_their_text_is() {
        let secret = Secret::new("hunter2".to_owned());

        assert!(secret.is(b"hunter2"));
        assert!(!secret.is(b"hunter"));
        assert_ne!(secret, Secret::new("hunter3".to_owned()));
    }
}
