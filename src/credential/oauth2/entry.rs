//! All that decides which token it is: services that agree on it share a slot, services that differ in any of it
//! never do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use http::HeaderName;

use super::call::Address;
use super::discovery::{Discovery, Means};
use super::first_tokens::FirstTokenLimiter;
use super::grant::Families;
use super::origin::UrlOrigin;
use super::policy::Told;
use super::request::TokenRequest;
use super::request_limiter::SharedPlaces;
use super::slot::Slot;
use super::subjects::Subjects;
use super::token_endpoint::TokenEndpoint;
use crate::config::auth::oauth2::{EndpointCertificate, EndpointConfig, OAuth2};
use crate::config::{self, At, HttpVersion, Report, Scheme, Tls};
use crate::credential::Material;
use crate::credential::digest::Digest;
use crate::locked::locked;
use crate::name::ServiceName;
use crate::tls::{Certificate, ClientTls, TlsOrigin, TlsPlace, TlsTemplate};
use crate::transport::ProxySelector;

/// Where a token comes from, how it is asked for, and with which TLS.
pub(in crate::credential) struct Entry {
    pub(super) key: EntryKey,
    certificate: Option<[u8; 32]>,
    request: TokenRequest,
    first_tokens: Option<Arc<FirstTokenLimiter>>,
}

/// SHA-256 over every part of an [`Entry`].
pub(in crate::credential) type EntryKey = [u8; 32];

/// Where an entry's tokens are.
#[derive(Clone, Debug)]
pub(in crate::credential) enum Tokens {
    /// One for all requests.
    One(Arc<Slot>),
    /// One for each subject that requests name, in this field.
    PerSubject { subjects: Arc<Subjects>, field: HeaderName },
}

/// Every live slot by its entry's key: outlives snapshots, holds slots weakly.
#[derive(Default)]
pub(crate) struct Slots {
    slots: WeakMap<Slot>,
    subjects: WeakMap<Subjects>,
    families: Families,
    /// Of services with many identities: they outlive a reload, so that those before and after it are ten together.
    first_tokens: Mutex<HashMap<ServiceName, Weak<FirstTokenLimiter>>>,
    /// What each service's people were told of its tokens: that outlives a reload too.
    told: Mutex<HashMap<ServiceName, Weak<Told>>>,
    /// Where the token requests of all entries' subjects wait for each other.
    places: SharedPlaces,
}

/// What is known by its entry's key, for as long as somebody else holds it.
struct WeakMap<T> {
    all: Mutex<All<T>>,
    new: Mutex<Vec<Weak<T>>>,
}

struct All<T> {
    by_key: HashMap<EntryKey, Weak<T>>,
    /// At this many, those that are gone are looked for: at each new one, ten thousand would take a second.
    full: usize,
}

impl Entry {
    /// `None`: what is wrong has been reported, or can't be known without the secrets.
    pub(super) fn compile(written: &OAuth2, material: &Material<'_>, report: &mut Report) -> Option<Self> {
        let Presented(certificate) = Presented::of(written, material)?;
        let (endpoint, tls) = endpoint(written, certificate, material, report)?;
        // Counted even where a plain endpoint can't see it: the token may be bound to it all the same.
        let fingerprint = certificate.map(|certificate| certificate.leaf.sha256);
        let mut digest = Digest::new();
        digest_way(written, material.proxies, &mut digest);
        let plaintext = material.service.allow_plaintext_credentials;
        digest_endpoint(written, plaintext, tls.as_ref(), fingerprint.as_ref(), &mut digest);
        let families = &material.slots.families;
        let certificate = certificate.map(Arc::as_ref);
        let request = TokenRequest::compile(written, endpoint, certificate, families, material.inputs, report)?;
        request.digest(&mut digest);
        Some(Self {
            key: digest.finish(),
            certificate: fingerprint,
            request,
            first_tokens: material.first_tokens.cloned(),
        })
    }
}

impl Slots {
    /// Slots made since the last call: each needs its [`super::refresh::run`] spawned.
    pub(crate) fn take_new(&self) -> Vec<Arc<Slot>> {
        self.slots.take_new()
    }

    /// As [`Slots::take_new`], for subjects: each needs its [`Subjects::keep`] spawned.
    pub(crate) fn take_new_subjects(&self) -> Vec<Arc<Subjects>> {
        self.subjects.take_new()
    }

    /// Lets no further request begin whose answer can't be had twice, and resolves once those under way are heard and
    /// what came of them is on the disk. Each ends within its own `timeout`.
    pub(crate) async fn settle(&self) {
        self.families.settle().await;
    }

    /// Resolves once nothing that was received is still on its way to the disk.
    pub(crate) async fn saved(&self) {
        self.families.saved().await;
    }

    /// Where the tokens of this entry are: the slot that is there, or a new one.
    pub(super) fn tokens(&self, entry: Entry) -> Tokens {
        let Entry { key, certificate, request, first_tokens } = entry;
        match request.subject_field().cloned() {
            Some(field) => {
                let subjects = self.subjects.get(key, || Subjects::new(request, certificate, &self.places));
                Tokens::PerSubject { subjects, field }
            }
            None => Tokens::One(self.slot_of(key, || Slot::new(Arc::new(request), certificate, first_tokens))),
        }
    }

    /// The slot of what this key stands for.
    pub(in crate::credential) fn slot_of(&self, key: EntryKey, make: impl FnOnce() -> Slot) -> Arc<Slot> {
        self.slots.get(key, make)
    }

    /// The way in for first tokens of this service's identities.
    pub(crate) fn first_tokens(&self, service: &ServiceName) -> Arc<FirstTokenLimiter> {
        of_service(&self.first_tokens, service, FirstTokenLimiter::default)
    }

    /// What this service's people were told of its tokens.
    pub(in crate::credential) fn told(&self, service: &ServiceName) -> Arc<Told> {
        of_service(&self.told, service, || Told::nothing(service.clone()))
    }
}

/// What this service has, as long as a part of it holds that: the one that is there, or a new one.
fn of_service<T>(
    known: &Mutex<HashMap<ServiceName, Weak<T>>>,
    service: &ServiceName,
    make: impl FnOnce() -> T,
) -> Arc<T> {
    let mut known = locked(known);
    if let Some(found) = known.get(service).and_then(Weak::upgrade) {
        return found;
    }
    known.retain(|_, known| known.strong_count() > 0);
    let made = Arc::new(make());
    known.insert(service.clone(), Arc::downgrade(&made));
    made
}

impl<T> WeakMap<T> {
    fn take_new(&self) -> Vec<Arc<T>> {
        let new = std::mem::take(&mut *locked(&self.new));
        // Those of a config that was refused are gone already.
        new.iter().filter_map(Weak::upgrade).collect()
    }

    /// The one that is there, or a new one.
    fn get(&self, key: EntryKey, make: impl FnOnce() -> T) -> Arc<T> {
        let mut all = locked(&self.all);
        if let Some(known) = all.by_key.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        let mut new = locked(&self.new);
        if all.by_key.len() >= all.full {
            all.by_key.retain(|_, known| known.strong_count() > 0);
            // A config that is refused again and again would leave some here each time.
            new.retain(|known| known.strong_count() > 0);
            all.full = 2 * all.by_key.len().max(FEW);
        }
        let made = Arc::new(make());
        all.by_key.insert(key, Arc::downgrade(&made));
        new.push(Arc::downgrade(&made));
        made
    }
}

impl<T> Default for WeakMap<T> {
    fn default() -> Self {
        Self { all: Mutex::new(All { by_key: HashMap::new(), full: 0 }), new: Mutex::default() }
    }
}

/// Where token requests go, and the fingerprint of the TLS for it. `None`: what is wrong has been reported.
fn endpoint(
    written: &OAuth2,
    certificate: Option<&Arc<Certificate>>,
    material: &Material<'_>,
    report: &mut Report,
) -> Option<(TokenEndpoint, Option<[u8; 32]>)> {
    let At { value: endpoint, span } = &written.endpoint;
    let trust = written.tls.clone().or_else(|| material.service.tls.as_ref().map(trust_of));
    let shows_none = matches!(written.certificate, EndpointCertificate::None);
    let tls_place = TlsPlace { url: *span, origin: TlsOrigin::TokenEndpoint { shows_none } };
    let place = match endpoint {
        EndpointConfig::Token(url) => {
            let host = &url.authority.host;
            let tls = match url.scheme {
                Scheme::Http | Scheme::Sftp | Scheme::Ftp | Scheme::Ftps | Scheme::OpenPgp => None,
                Scheme::Https => {
                    let (version, presented) = (HttpVersion::Auto, certificate.map(|it| it.leaf.sha256));
                    let compile = || {
                        ClientTls::compile(
                            trust.as_ref(),
                            host,
                            certificate,
                            version,
                            tls_place,
                            material.inputs,
                            report,
                        )
                    };
                    Some(material.tls_cache.get(trust.as_ref(), host, (presented, tls_place.origin), compile)?)
                }
            };
            let fingerprint = tls.as_ref().map(|tls| tls.fingerprint);
            Address::of(url, tls, material.proxies.way_to(url), UrlOrigin::Written)
                .ok()
                .map(|address| (TokenEndpoint::Configured(Arc::new(address)), fingerprint))
        }
        EndpointConfig::Issuer(issuer) => {
            // For a plain issuer too: its endpoint may be another's.
            let tls = TlsTemplate::compile(
                trust.as_ref(),
                certificate,
                HttpVersion::Auto,
                tls_place,
                material.inputs,
                report,
            )?;
            let means = Means {
                tls,
                plaintext: material.service.allow_plaintext_credentials,
                certificate: certificate.is_some(),
                proxies: material.proxies.clone(),
            };
            let fingerprint = means.tls.of(&issuer.url.authority.host).map(|tls| tls.fingerprint);
            Discovery::new(issuer, written, means)
                .map(|discovery| (TokenEndpoint::Discovered(Box::new(discovery)), fingerprint))
        }
    };
    if place.is_none() {
        report.error(*span, "a request can't be sent to this URL");
    }
    place
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
pub(in crate::credential) fn trust_of(service: &At<Tls>) -> At<Tls> {
    let config::Tls { ca, system_roots, min_version, .. } = service.value.clone();
    At { value: Tls { ca, system_roots, min_version, ..Tls::default() }, span: service.span }
}

/// Digests which proxies may be met on the way: of an issuer, whatever it names may be asked.
fn digest_way(written: &OAuth2, proxies: &ProxySelector, digest: &mut Digest) {
    match &written.endpoint.value {
        EndpointConfig::Token(url) => proxies.way_to(url).digest(digest),
        EndpointConfig::Issuer(_) => proxies.digest(digest),
    }
}

/// Digests where the token comes from, and with which TLS.
fn digest_endpoint(
    written: &OAuth2,
    plaintext: bool,
    tls: Option<&[u8; 32]>,
    certificate: Option<&[u8; 32]>,
    digest: &mut Digest,
) {
    let endpoint = &written.endpoint.value;
    let url = endpoint.url();
    let issuer = match endpoint {
        EndpointConfig::Token(_) => None,
        EndpointConfig::Issuer(issuer) => Some(issuer.written.as_bytes()),
    };
    let is_issuer = issuer.is_some();
    digest.list(issuer.into_iter());
    // An issuer names the place: whether that may be one without TLS is a part of it.
    digest.field(&[u8::from(is_issuer && plaintext)]);
    digest.field(&[url.scheme as u8]);
    digest.field(url.authority.host.as_bytes());
    digest.field(&url.authority.port.to_be_bytes());
    digest.field(url.path.as_bytes());
    digest.list(url.query.iter().map(String::as_bytes));
    digest.list(tls.iter().map(|fingerprint| fingerprint.as_slice()));
    digest.list(certificate.iter().map(|fingerprint| fingerprint.as_slice()));
    digest.field(&[u8::from(written.dpop)]);
}

/// As many slots that are gone are no matter.
const FEW: usize = 32;
