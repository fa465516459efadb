//! The most that a service may answer with, body aside: the same over either protocol.

/// What a service's head may have.
pub(super) const HEAD_BYTES: usize = 64 * 1024;
pub(super) const HEAD_FIELDS: usize = 100;

/// More interim answers than any protocol has use for: a service that sends one after the other would hold a request for
/// ever.
pub(super) const INTERIM_ANSWERS: u32 = 32;
