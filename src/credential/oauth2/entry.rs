//! All that decides which token it is: services that agree on it share a slot, services that differ in any of it
//! never do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::Slot;
use super::crowd::Entrance;
use super::request::TokenRequest;
use crate::config::auth::oauth2::{Endpoint, EndpointCertificate, OAuth2};
use crate::config::{self, At, HttpVersion, Report, Scheme, Tls};
use crate::credential::Material;
use crate::credential::digest::Digest;
use crate::name::ServiceName;
use crate::tls::{Certificate, ClientTls};
use crate::transport::{Connector, Spelling};

/// Where a token comes from, how it is asked for, and with which TLS.
pub(in crate::credential) struct Entry {
    pub(super) key: Key,
    certificate: Option<[u8; 32]>,
    request: TokenRequest,
    entrance: Option<Arc<Entrance>>,
}

/// SHA-256 over every part of an [`Entry`].
pub(super) type Key = [u8; 32];

/// Every live slot by its entry's key: outlives snapshots, holds slots weakly.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    known: Mutex<Known>,
    new: Mutex<Vec<Weak<Slot>>>,
    /// Of services with many identities: they outlive a reload, so that those before and after it are ten together.
    entrances: Mutex<HashMap<ServiceName, Weak<Entrance>>>,
}

#[derive(Debug, Default)]
struct Known {
    slots: HashMap<Key, Weak<Slot>>,
    /// At this many, those that are gone are looked for: at each new one, ten thousand would take a second.
    full: usize,
}

impl Entry {
    /// `None`: what is wrong has been reported, or can't be known without the secrets.
    pub(super) fn compile(written: &OAuth2, material: &Material<'_>, report: &mut Report) -> Option<Self> {
        let Presented(certificate) = Presented::of(written, material)?;
        let url = written.endpoint.value.url();
        let tls = match url.scheme {
            Scheme::Http => None,
            Scheme::Https => Some(client_tls(written, certificate, material, report)?),
        };
        // Counted even where a plain endpoint can't see it: the token may be bound to it all the same.
        let certificate = certificate.map(|certificate| certificate.leaf.sha256);
        let mut digest = Digest::new();
        digest_place(written, tls.as_ref(), certificate.as_ref(), &mut digest);
        // The time for a connection is part of the time for the request, which `fetch` keeps.
        let connector = Connector::new(url, tls, HttpVersion::Auto, None, Spelling::LowerCase);
        let request = TokenRequest::compile(written, connector, certificate, report)?;
        request.digest(&mut digest);
        Some(Self { key: digest.finish(), certificate, request, entrance: material.crowd.entrance.clone() })
    }
}

impl Slots {
    /// Slots made since the last call: each needs its [`super::refresh::run`] spawned.
    pub(crate) fn take_new(&self) -> Vec<Arc<Slot>> {
        let new = std::mem::take(&mut *locked(&self.new));
        // Those of a config that was refused are gone already.
        new.iter().filter_map(Weak::upgrade).collect()
    }

    /// The slot of this entry: the one that is there, or a new one.
    pub(super) fn slot(&self, entry: Entry) -> Arc<Slot> {
        let Entry { key, certificate, request, entrance } = entry;
        self.slot_of(key, || Slot::new(Arc::new(request), certificate, entrance))
    }

    /// The way in for first tokens of this service's identities.
    pub(super) fn entrance(&self, service: &ServiceName) -> Arc<Entrance> {
        let mut entrances = locked(&self.entrances);
        if let Some(entrance) = entrances.get(service).and_then(Weak::upgrade) {
            return entrance;
        }
        entrances.retain(|_, entrance| entrance.strong_count() > 0);
        let entrance = Arc::default();
        entrances.insert(service.clone(), Arc::downgrade(&entrance));
        entrance
    }

    fn slot_of(&self, key: Key, make: impl FnOnce() -> Slot) -> Arc<Slot> {
        let mut known = locked(&self.known);
        if let Some(slot) = known.slots.get(&key).and_then(Weak::upgrade) {
            return slot;
        }
        let mut new = locked(&self.new);
        if known.slots.len() >= known.full {
            known.slots.retain(|_, slot| slot.strong_count() > 0);
            // A config that is refused again and again would leave some here each time.
            new.retain(|slot| slot.strong_count() > 0);
            known.full = 2 * known.slots.len().max(FEW);
        }
        let slot = Arc::new(make());
        known.slots.insert(key, Arc::downgrade(&slot));
        new.push(Arc::downgrade(&slot));
        slot
    }
}

fn client_tls(
    written: &OAuth2,
    certificate: Option<&Arc<Certificate>>,
    material: &Material<'_>,
    report: &mut Report,
) -> Option<ClientTls> {
    let trust = written.tls.clone().or_else(|| material.service.tls.as_ref().map(trust_of));
    let At { value: endpoint, span } = &written.endpoint;
    let host = &endpoint.url().authority.host;
    let presented = certificate.map(|certificate| certificate.leaf.sha256);
    material.crowd.tls(trust.as_ref(), host, presented, || {
        ClientTls::compile(trust.as_ref(), host, certificate, HttpVersion::Auto, *span, report)
    })
}

/// The certificate that a token endpoint is shown.
struct Presented<'a>(Option<&'a Arc<Certificate>>);

impl<'a> Presented<'a> {
    /// `None`: one is linked, and it could not be loaded. The endpoint is not asked without it.
    fn of(written: &OAuth2, material: &Material<'a>) -> Option<Self> {
        match &written.certificate {
            EndpointCertificate::OfService if material.service.certificate.is_some() => {
                material.certificate.map(|certificate| Self(Some(certificate)))
            }
            EndpointCertificate::Named(name) => {
                material.certificates.get(&name.value).map(|certificate| Self(Some(certificate)))
            }
            EndpointCertificate::OfService | EndpointCertificate::None => Some(Self(None)),
        }
    }
}

/// What of a service's trust holds for its token endpoint too: nothing that is about one server, and no leave to skip
/// the check.
fn trust_of(service: &At<Tls>) -> At<Tls> {
    let config::Tls { ca, system_roots, min_version, .. } = service.value.clone();
    At { value: Tls { ca, system_roots, min_version, ..Tls::default() }, span: service.span }
}

/// Digests where the token comes from, and with which TLS.
fn digest_place(written: &OAuth2, tls: Option<&ClientTls>, certificate: Option<&[u8; 32]>, digest: &mut Digest) {
    let endpoint = &written.endpoint.value;
    let url = endpoint.url();
    digest.field(&[u8::from(matches!(endpoint, Endpoint::Issuer(_))), url.scheme as u8]);
    digest.field(url.authority.host.as_bytes());
    digest.field(&url.authority.port.to_be_bytes());
    digest.field(url.path.as_bytes());
    digest.list(url.query.iter().map(String::as_bytes));
    digest.list(tls.iter().map(|tls| tls.fingerprint.as_slice()));
    digest.list(certificate.iter().map(|fingerprint| fingerprint.as_slice()));
    digest.field(&[u8::from(written.dpop)]);
}

/// As many slots that are gone are no matter.
const FEW: usize = 32;

/// A panic elsewhere leaves the maps whole: every change is one insertion.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
