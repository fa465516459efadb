//! The TLS settings of token endpoints, so that ten thousand identities of a service are not as many copies of the same.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::config::{At, Tls};
use crate::tls::{ClientTls, TlsOrigin};

/// Those that were made while one service is compiled.
#[derive(Default)]
pub(crate) struct TlsCache {
    known: RefCell<Known>,
}

/// By host and what it is shown, then by trust.
type Known = HashMap<(String, Shown), Vec<(Option<Tls>, ClientTls)>>;

/// The fingerprint of the certificate that is presented, and which keys of the config say so.
type Shown = (Option<[u8; 32]>, TlsOrigin);

impl TlsCache {
    /// The TLS of a token endpoint, made once for all who trust and present the same there.
    pub(super) fn get(
        &self,
        trust: Option<&At<Tls>>,
        host: &str,
        shown: Shown,
        compile: impl FnOnce() -> Option<ClientTls>,
    ) -> Option<ClientTls> {
        let trust = trust.map(|trust| &trust.value);
        let mut known = self.known.borrow_mut();
        let alike = known.entry((host.to_owned(), shown)).or_default();
        if let Some((_, tls)) = alike.iter().find(|(known, _)| known.as_ref() == trust) {
            return Some(tls.clone());
        }
        let tls = compile()?;
        alike.push((trust.cloned(), tls.clone()));
        Some(tls)
    }
}
