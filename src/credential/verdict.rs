//! What an answer means for the credential that its request carried.

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
