//! Methods whose secret can't be had.

use std::sync::Arc;

use super::Error;
use super::digest::Digest;
use super::owned::Owned;
use super::part::{Part, Sending};
use crate::transport::Outgoing;

/// A part whose secret can't be had.
#[derive(Debug)]
pub(super) struct UnavailablePart {
    reason: Arc<str>,
}

impl UnavailablePart {
    pub(super) fn new(reason: &str) -> Self {
        Self { reason: reason.into() }
    }
}

impl Part for UnavailablePart {
    /// Nothing is sent: there is no field to keep the app's out of.
    fn owns(&self, _: &mut Owned) {}

    fn digest(&self, digest: &mut Digest) {
        digest.field(self.reason.as_bytes());
    }

    fn was_sent(&self, _: &Outgoing) -> bool {
        false
    }

    async fn put(&self, _: &mut Sending<'_>) -> Result<(), Error> {
        Err(Error::NoSecret { reason: Arc::clone(&self.reason) })
    }

    fn unavailable(&self) -> Option<&str> {
        Some(&self.reason)
    }
}
