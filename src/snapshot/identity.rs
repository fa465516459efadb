//! Who a service is called as: a credential, and the connections that go with it.

use std::sync::Arc;

use crate::credential::Credential;
use crate::upstream::Upstream;

/// A credential and the upstream it is used on.
pub(crate) struct Identity {
    pub(crate) credential: Credential,
    pub(crate) upstream: Arc<Upstream>,
}
