//! The shared half of a service.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::uri;

#[cfg(feature = "files")]
use super::file_server::{self, CompiledFiles};
use super::identity::{Identities, Parts};
use super::limits::RequestLimits;
use super::misdirection::Misdirection;
#[cfg(feature = "openpgp")]
use super::transforms::Transforms;
use crate::config::{
    self, At, Cookies, Forwarded, Inputs, OnClientAuthorization, Ready, Report, Retry, Scheme, Timeouts, Url,
};
use crate::credential::{Slot, Slots};
use crate::name::{CertificateName, ServiceName};
use crate::route::allow::Allow;
use crate::route::target;
use crate::tls::Certificate;
use crate::transport::ProxySelector;

/// The shared half of a service: immutable, kept by a reload as the same `Arc` where nothing that made it changed.
pub(crate) struct Service {
    pub(crate) name: ServiceName,
    pub(crate) title: String,
    pub(crate) url: Url,
    /// What the upstream's authority or `Host` says: that of `url`, or `host_header`.
    pub(crate) authority: uri::Authority,
    /// Whether TLS asks for another name than `authority`, and what then to say of a 421.
    pub(crate) misdirection: Option<Misdirection>,
    pub(crate) scheme: Scheme,
    /// Of `url`, without a trailing slash; `""` if there is none.
    pub(crate) base_path: String,
    pub(crate) certificate: Option<Arc<Certificate>>,
    pub(crate) identities: Identities,
    pub(crate) allow: Option<Allow>,
    pub(crate) headers: config::RequestHeaders,
    pub(crate) response_headers: config::ResponseHeaders,
    pub(crate) on_client_authorization: OnClientAuthorization,
    pub(crate) timeouts: Timeouts,
    pub(crate) retry: Retry,
    pub(crate) cookies: Cookies,
    pub(crate) forwarded: Forwarded,
    /// Whether we sign in `Via`.
    pub(crate) via: bool,
    /// In a box, as few services have any; `None`: none.
    pub(crate) limits: Option<Box<RequestLimits>>,
    /// Whether answers say where the time went.
    pub(crate) server_timing: bool,
    pub(crate) ready: Ready,
    /// Of a service that files are asked of; `None` also where a secret of its login can't be had now.
    #[cfg(feature = "files")]
    pub(crate) files: Option<CompiledFiles>,
    /// What becomes of bodies; in a box, as few services have any.
    #[cfg(feature = "openpgp")]
    pub(crate) transforms: Option<Box<Transforms>>,
    /// What it was compiled from, for the next difference.
    written: config::ServiceConfig,
}

impl Service {
    /// Joins the parts of a service, of which `older` is the version that runs; `None` if one of them is missing, which has been
    /// reported or is not read.
    pub(crate) fn compile(
        name: &ServiceName,
        written: &At<config::ServiceConfig>,
        certificates: &BTreeMap<CertificateName, Arc<Certificate>>,
        slots: &Slots,
        #[cfg_attr(not(feature = "files"), allow(unused_variables, reason = "nothing is shared but logins"))]
        older: Option<&Self>,
        inputs: &Inputs,
        report: &mut Report,
    ) -> Option<Self> {
        let service = &written.value;
        let linked = service.certificate.as_ref().map(|named| certificates.get(&named.value));
        // All of it is looked at before it is given up: a user wants to hear of every problem at once.
        let proxies = ProxySelector::compile(&service.outbound_proxy, service.url.span, inputs, report);
        #[cfg(feature = "files")]
        let files = {
            let older = older.and_then(|older| older.files.as_ref());
            file_server::compile(service, linked.flatten(), older, inputs, report)
        };
        let parts = Parts {
            inputs,
            name,
            service,
            certificates,
            slots,
            proxies: &proxies.clone().unwrap_or_default(),
            #[cfg(feature = "files")]
            files: files.as_ref().and_then(|files| Some(&files.as_ref()?.server)),
        };
        let identities = Identities::compile(&parts, report);
        #[cfg(feature = "openpgp")]
        let transforms = Transforms::compile(service, inputs, report);
        let authority = authority(service, report);
        let url = service.url.value.clone();
        // Without the proxy that it names it would be reached straight.
        proxies?;
        #[cfg(feature = "files")]
        let files = files?;
        let misdirection = authority.as_ref().and_then(|authority| Misdirection::of(service, authority));
        let allow = service.allow.as_ref().map(|allow| Allow::compile(allow, target::base_path(&url), report));
        Some(Self {
            name: name.clone(),
            title: service.title.clone().unwrap_or_else(|| name.to_string()),
            authority: authority?,
            misdirection,
            scheme: url.scheme,
            base_path: target::base_path(&url).to_owned(),
            url,
            certificate: linked.flatten().cloned(),
            identities: identities?,
            allow,
            headers: service.headers.clone(),
            response_headers: service.response_headers.clone(),
            on_client_authorization: service.on_client_authorization,
            timeouts: service.timeouts,
            retry: service.retry.clone(),
            cookies: service.cookies,
            forwarded: service.forwarded,
            via: service.via,
            limits: (service.limits != config::ServiceLimits::default())
                .then(|| Box::new(RequestLimits::compile(&service.limits))),
            server_timing: service.server_timing,
            ready: service.ready,
            #[cfg(feature = "files")]
            files,
            #[cfg(feature = "openpgp")]
            transforms: transforms?,
            written: service.clone(),
        })
    }

    /// Whether bodies are others at the service than at the app.
    pub(crate) fn changes_bodies(&self) -> bool {
        #[cfg(feature = "openpgp")]
        return self.transforms.is_some();
        #[cfg(not(feature = "openpgp"))]
        false
    }

    /// Whether nothing that made them differs, down to the content of every file: then the older one is kept.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.changed_keys(other).is_empty()
    }

    /// The keys in which another version of this service differs, as they are written; one whose file or variable
    /// alone has changed is among them.
    pub(crate) fn changed_keys(&self, other: &Self) -> Vec<&'static str> {
        let mut keys = self.written.changed_keys(&other.written);
        let same = self.identities.compare(&other.identities);
        let explained = !keys.is_empty() || !same.certificates;
        // The certificates of a service without sets are the one that it links.
        let many = self.written.identities.is_some();
        let mut add = |key, changed: bool| {
            if changed && !keys.contains(&key) {
                keys.push(key);
            }
        };
        let rotated = !same_certificate(self.certificate.as_ref(), other.certificate.as_ref());
        add("certificate", rotated);
        add("identities", many && !rotated && !same.certificates);
        // A service that asked for HTTP/1.1 is offered HTTP/2 again.
        add("http_version", same.upstreams && !same.protocols);
        add("tls", !explained && !same.upstreams);
        add("auth", !explained && !same.credentials);
        #[cfg(feature = "files")]
        if let (Some(one), Some(other)) = (&self.files, &other.files) {
            let (one, other) = (&one.fingerprints, &other.fingerprints);
            // A file of theirs may have changed alone. The URL's host decides which lines of `known_hosts` count.
            add("tls", !explained && one.tls != other.tls);
            add("auth", !explained && one.login != other.login);
        }
        #[cfg(feature = "openpgp")]
        if let (Some(one), Some(other)) = (&self.transforms, &other.transforms) {
            // A file of keys may have changed alone.
            add("auth", !explained && one.fingerprint != other.fingerprint);
        }
        keys
    }

    /// Takes over what an older version of this service has counted, and the identities that nothing has changed for.
    pub(super) fn adopt(&mut self, older: &Self) {
        if let (Some(limits), Some(older)) = (&mut self.limits, &older.limits) {
            limits.adopt(older);
        }
        let written = self.written.changed_keys(&older.written);
        if self.written.identities.is_some() && written.iter().all(|key| NOT_OF_IDENTITIES.contains(key)) {
            self.identities.adopt(&older.identities);
        }
        self.identities.adopt_permits(&older.identities);
    }

    /// Whether both have the same sets of identities, in the same order, as far as the config itself says.
    pub(crate) fn has_sets_of(&self, other: &Self) -> bool {
        self.written.identities == other.written.identities
    }

    /// The slots of all its identities; one that they share may come more than once.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &Arc<Slot>> {
        self.identities.slots()
    }
}

pub(super) fn same_certificate(one: Option<&Arc<Certificate>>, other: Option<&Arc<Certificate>>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => one.same_material(other),
        _ => false,
    }
}

fn authority(service: &config::ServiceConfig, report: &mut Report) -> Option<uri::Authority> {
    if let Some(written) = &service.host_header {
        return Some(written.value.authority().clone());
    }
    let parsed = service.url.value.authority.to_string().parse();
    if parsed.is_err() {
        report.error(service.url.span, "the host of this url can't be sent as a `Host`");
    }
    parsed.ok()
}

/// What an identity is not made from, but for its own set.
const NOT_OF_IDENTITIES: [&str; 7] = ["identities", "title", "cookies", "forwarded", "via", "limits", "listen"];
