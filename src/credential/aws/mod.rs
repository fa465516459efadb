//! Amazon Web Services: requests that are signed, with keys that stand in the config or are lent.

mod sigv4;
mod sts;

pub(super) use sigv4::SigV4Signer;
