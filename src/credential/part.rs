//! What takes one place of a request: a field, a query parameter, a cookie, a token, a signature.
//!
//! A kind of part is a file with an `impl` of [`Part`], and a row in `parts`.

use std::cell::RefCell;
use std::sync::Arc;

use super::Error;
use super::attachments::Attachments;
use super::digest::Digest;
use super::oauth2::{Bearer, Slot, SubjectTokens};
use super::owned::Owned;
use super::stamp::SentToken;
use crate::transport::{BodyNeed, Outgoing};

/// Something that takes one place of a request.
pub(super) trait Part {
    /// Names all that only it sets.
    fn owns(&self, owned: &mut Owned);

    /// Everything that decides what it puts there.
    fn digest(&self, digest: &mut Digest);

    /// Whether the app sent something of its own here.
    fn was_sent(&self, outgoing: &Outgoing) -> bool;

    /// Takes its place in one sending of a request.
    ///
    /// # Errors
    /// When it has nothing to put there, or the request no room for it.
    async fn put(&self, sending: &mut Sending<'_>) -> Result<(), Error>;

    /// What it has to know of the app's body.
    fn body_needed(&self) -> Option<BodyNeed> {
        None
    }

    /// Where its token, or the key that is lent to it, is kept, if that is one for all requests.
    fn slot(&self) -> Option<&Arc<Slot>> {
        None
    }

    /// Itself, where it is a token of OAuth 2.0.
    fn bearer(&self) -> Option<&Bearer> {
        None
    }

    /// Why it puts nothing on any request until the next reload, if that is so.
    fn unavailable(&self) -> Option<&str> {
        None
    }
}

/// One sending of a request, and what a part needs to take its place in it.
pub(super) struct Sending<'a> {
    /// The number of the part among those of its credential.
    pub(super) place: usize,
    /// The worker's own copies.
    pub(super) own: &'a RefCell<Attachments>,
    pub(super) subjects: &'a SubjectTokens,
    pub(super) outgoing: &'a mut Outgoing,
    /// Which token it carries.
    pub(super) stamp: SentToken,
}
