//! What methods are compiled from.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{FirstTokenLimiter, Slots, TlsCache};
use crate::config::{self, Inputs};
use crate::name::{CertificateName, ServiceName};
use crate::tls::Certificate;
use crate::transport::ProxySelector;

/// What methods are compiled from, beside their own fields.
pub(crate) struct Material<'a> {
    /// Key and CA files are read through these.
    pub(crate) inputs: &'a Inputs,
    pub(crate) name: &'a ServiceName,
    pub(crate) service: &'a config::ServiceConfig,
    pub(crate) certificate: Option<&'a Arc<Certificate>>,
    /// Every certificate, for `auth.certificate: NAME`.
    pub(crate) certificates: &'a BTreeMap<CertificateName, Arc<Certificate>>,
    /// Where entries are shared: services that agree on all of an entry get the same slot.
    pub(crate) slots: &'a Slots,
    /// Where first tokens of this service's identities wait for each other; `None`: it has one, which waits
    /// for nobody.
    pub(crate) first_tokens: Option<&'a Arc<FirstTokenLimiter>>,
    /// Of the token endpoints of this service's identities.
    pub(crate) tls_cache: &'a TlsCache,
    /// How endpoints are reached.
    pub(crate) proxies: &'a ProxySelector,
}
