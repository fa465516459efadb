//! Where the address of a token endpoint, or of an issuer, was named.

/// How the address came into the config: what a failure tells people to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::credential) enum UrlOrigin {
    /// It is `token_url`.
    Written,
    /// It is a place of `issuer`.
    Issuer,
    /// The metadata of `issuer` names it.
    Metadata,
    /// It is `sts_url`.
    Sts,
}
