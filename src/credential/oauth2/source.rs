//! Where the tokens of an entry come from, as its slot and its refresher see it.

use std::future::ready;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use super::answer::Granted;
use super::attempt::TokenAttempt;
use super::dpop::ProofKey;
use super::failure::TokenFailure;
use super::grant::Claim;
use super::policy::RefreshPolicies;
use super::state_file::ClaimError;
use crate::clock::Moment;

/// Where tokens of one entry come from.
pub(crate) trait TokenSource: Send + Sync {
    /// Waits for what only one request at a time may be made with, if it needs such a thing: before its time begins, and
    /// for nothing that must be heard out.
    fn begin(&self) -> Beginning<'_>;

    /// Host and port, for people.
    fn host(&self) -> &str;

    /// The client's name there, for people.
    fn client_id(&self) -> Option<&str> {
        None
    }

    /// Whose tokens they are: for what it has to say when nobody has asked.
    fn serves(&self, _services: &Arc<RefreshPolicies>) {}

    /// The key that its tokens are bound to (DPoP).
    fn proof_key(&self) -> Option<&Arc<ProofKey>> {
        None
    }

    /// Whether it is asked only while a request waits for the token: nothing is fetched ahead, or again, for nobody.
    fn is_on_demand(&self) -> bool {
        false
    }

    /// When no token of it is good any more, whatever an answer says.
    fn ends(&self) -> Option<Moment> {
        None
    }

    /// Whether an answer must be heard though nobody needs its token any more: what is in it may be needed by others.
    fn is_heard_out(&self) -> bool {
        false
    }

    /// Has what outlives the process for this process alone, once that is committed. Blocks.
    fn claim(&self) -> Result<Option<Claim>, ClaimError> {
        Ok(None)
    }

    /// Where it keeps what outlives the process.
    fn state_file(&self) -> Option<&Path> {
        None
    }

    /// The number of the family whose refresh token it asks with: of two sources that have the same, one uses up what
    /// the other has.
    fn family(&self) -> Option<u64> {
        None
    }

    /// What is wrong though tokens are had.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// What, beside its endpoint, it may be waiting for now.
    fn holdup(&self) -> Option<Holdup> {
        None
    }
}

/// What a request for a token waits for that its endpoint has no part in.
#[derive(Debug)]
pub(crate) enum Holdup {
    /// What the last answer brought is being written there.
    Disk { path: PathBuf },
    /// Another entry's, with the same refresh token.
    OtherRequest,
}

/// The begin of one that needs nothing for itself alone.
pub(crate) fn at_once<'a>(fetch: impl FnOnce(TokenAttempt) -> Fetch<'a> + 'a) -> Beginning<'a> {
    let begun: Begun<'a> = Box::new(fetch);
    Box::pin(ready(begun))
}

/// A token request that is about to be made.
pub(crate) type Beginning<'a> = Pin<Box<dyn Future<Output = Begun<'a>> + 'a>>;

/// Makes the request, which is answered, or given up, within the attempt's `timeout` in all. What its answer brings may then have to be
/// written, which has a limit of its own.
pub(crate) type Begun<'a> = Box<dyn FnOnce(TokenAttempt) -> Fetch<'a> + 'a>;

/// A token request on its way.
pub(crate) type Fetch<'a> = Pin<Box<dyn Future<Output = Result<Granted, TokenFailure>> + 'a>>;
