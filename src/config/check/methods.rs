//! What checks look at that know no more of a service.

use crate::config::auth::Auth;
use crate::config::value::{At, Span, Url};
use crate::name::CertificateName;

/// Of a service all that decides what its URL and its methods have to do with each other.
pub(in crate::config) struct MethodsOfService<'s> {
    pub(in crate::config) url: &'s At<Url>,
    pub(in crate::config) auth: &'s [At<Auth>],
    /// Those of its identities.
    pub(in crate::config) of_sets: Vec<&'s At<Auth>>,
    pub(in crate::config) certificate: Option<&'s At<CertificateName>>,
    /// Where the trust for its URL is written.
    pub(in crate::config) tls: Option<Span>,
    pub(in crate::config) allow_plaintext_credentials: bool,
}

impl<'s> MethodsOfService<'s> {
    /// Its own and its identities'.
    pub(super) fn all(&self) -> impl Iterator<Item = &'s At<Auth>> + use<'s> {
        let of_sets: Vec<_> = self.of_sets.clone();
        self.auth.iter().chain(of_sets)
    }
}
