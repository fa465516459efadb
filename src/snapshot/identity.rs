//! Who a service is called as: a credential, and the connections that go with it.
//!
//! Most services have one identity, themselves. One with `identities` has many, for load tests; each has tokens and
//! connections of its own, and [`Identities::pick`] says which a request is sent as.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use http::{HeaderMap, HeaderName};

use super::service::same_certificate;
use crate::config::{self, Inputs, Report, Scheme};
use crate::credential::{Credential, FirstTokenLimiter, Material, Owned, Slot, Slots, TlsCache};
#[cfg(feature = "files")]
use crate::files::FileServer;
use crate::name::{CertificateName, ServiceName};
use crate::tls::{Certificate, ClientTls, TlsOrigin, TlsPlace};
use crate::transport::ProxySelector;
use crate::upstream::Upstream;

/// A credential and the upstream it is used on. A reload keeps it where nothing that made it changed.
pub(crate) struct Identity {
    pub(crate) certificate: Option<Arc<Certificate>>,
    pub(crate) credential: Credential,
    pub(crate) upstream: Arc<Upstream>,
}

/// All identities of one service, at least one.
pub(crate) struct Identities {
    all: Vec<Arc<Identity>>,
    pick: Pick,
    /// What any of them owns on a request.
    owned: Owned,
}

/// How a request gets its identity.
enum Pick {
    /// There is one.
    Lone,
    InTurn,
    ByConnection {
        /// How many connections of apps have come to this service.
        arrived: AtomicUsize,
    },
    ByField {
        name: HeaderName,
        places: HashMap<String, usize>,
    },
}

/// Why a request has no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("`{name}` is missing: it names the identity to send this as")]
    Missing { name: HeaderName },
    #[error("`{name}` was sent more than once")]
    Repeated { name: HeaderName },
    #[error("`{name}` has neither the name nor the number of an identity of this service")]
    Unknown { name: HeaderName },
}

/// What identities are compiled from.
pub(super) struct Parts<'a> {
    pub(super) inputs: &'a Inputs,
    pub(super) name: &'a ServiceName,
    pub(super) service: &'a config::ServiceConfig,
    pub(super) certificates: &'a BTreeMap<CertificateName, Arc<Certificate>>,
    pub(super) slots: &'a Slots,
    pub(super) proxies: &'a ProxySelector,
    /// The server that files are asked of, where no HTTP is spoken.
    #[cfg(feature = "files")]
    pub(super) files: Option<&'a Arc<FileServer>>,
}

impl Identities {
    /// `None`: one of them is missing, which has been reported or is not read.
    pub(super) fn compile(parts: &Parts<'_>, report: &mut Report) -> Option<Self> {
        let Some(written) = &parts.service.identities else {
            let own = Identity::compile(parts, parts.service, &mut IdentitiesShared::default(), report)?;
            return Some(Self::new(vec![own], Pick::Lone));
        };
        let first_tokens = Some(parts.slots.first_tokens(parts.name));
        let mut common = IdentitiesShared { first_tokens, ..IdentitiesShared::default() };
        let mut service = config::ServiceConfig { identities: None, ..parts.service.clone() };
        let mut all = Vec::with_capacity(written.sets.len());
        for set in written.sets.iter() {
            service.auth.clone_from(&set.auth);
            service.certificate = set.certificate.clone().or_else(|| parts.service.certificate.clone());
            all.push(Identity::compile(parts, &service, &mut common, report)?);
        }
        // One whose file is not read has none.
        (!all.is_empty()).then(|| Self::new(all, Pick::compile(written)))
    }

    fn new(all: Vec<Identity>, pick: Pick) -> Self {
        let mut owned = Owned::default();
        all.iter().for_each(|identity| owned.add(identity.credential.owned()));
        Self { all: all.into_iter().map(Arc::new).collect(), pick, owned }
    }

    /// In the order in which they are written.
    pub(crate) fn all(&self) -> &[Arc<Identity>] {
        &self.all
    }

    /// The one that stands for all where one is looked at.
    pub(crate) fn first(&self) -> &Identity {
        // Invariant: there is at least one.
        &self.all[0]
    }

    /// The name of each, where requests pick by it.
    pub(crate) fn names(&self) -> Vec<Option<&str>> {
        let mut names = vec![None; self.all.len()];
        if let Pick::ByField { places, .. } = &self.pick {
            places.iter().for_each(|(name, place)| names[*place] = Some(name.as_str()));
        }
        names
    }

    /// Whether it is the service itself, and none that was written.
    pub(crate) fn is_lone(&self) -> bool {
        matches!(self.pick, Pick::Lone)
    }

    /// What any of them owns on a request.
    pub(crate) fn owned(&self) -> &Owned {
        &self.owned
    }

    /// The slots of all of them; one that they share may come more than once.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &Arc<Slot>> {
        self.all.iter().flat_map(|identity| identity.credential.slots())
    }

    /// The field in which the app names one; it is not forwarded.
    pub(crate) fn field(&self) -> Option<&HeaderName> {
        match &self.pick {
            Pick::ByField { name, .. } => Some(name),
            Pick::Lone | Pick::InTurn | Pick::ByConnection { .. } => None,
        }
    }

    /// The place of the identity that a request with these fields is sent as. `turn` is the worker's next one;
    /// `connection`, the number of the app's connection among those that came to this service, which it draws from
    /// the count if it has none yet.
    ///
    /// # Errors
    /// When the app has to say which, and does not.
    pub(crate) fn pick(
        &self,
        fields: &HeaderMap,
        turn: impl FnOnce() -> usize,
        connection: impl FnOnce(&AtomicUsize) -> usize,
    ) -> Result<usize, IdentityError> {
        self.pick.place(fields, self.all.len(), turn, connection)
    }

    /// Takes over those of an older version that nothing has changed for.
    pub(super) fn adopt(&mut self, older: &Self) {
        let mut known: HashMap<_, Vec<&Arc<Identity>>> = HashMap::new();
        // One whose service wanted HTTP/1.1 begins anew: the service may have changed as well.
        for identity in older.all.iter().rev().filter(|identity| !identity.wants_http1()) {
            known.entry(identity.fingerprint()).or_default().push(identity);
        }
        for identity in &mut self.all {
            // Each is taken once: two alike have connections of their own all the same.
            let same = known.get_mut(&identity.fingerprint()).and_then(Vec::pop);
            *identity = Arc::clone(same.unwrap_or(identity));
        }
    }

    /// Has connections counted together with those that are open of an older version, in the same place of the list: requests
    /// go on over these until they end.
    pub(super) fn adopt_permits(&mut self, older: &Self) {
        if self.all.len() != older.all.len() {
            return;
        }
        for (identity, older) in self.all.iter_mut().zip(&older.all) {
            // One that was taken over whole counts with them anyway.
            let upstream = Arc::get_mut(identity).and_then(|identity| Arc::get_mut(&mut identity.upstream));
            if let Some(upstream) = upstream {
                upstream.adopt(&older.upstream);
            }
        }
    }

    /// Whether each presents the same, and puts the same on a request, as that in its place.
    pub(super) fn compare(&self, other: &Self) -> Comparison {
        let alike = self.all.len() == other.all.len();
        let all = |same: fn(&Identity, &Identity) -> bool| {
            alike && self.all.iter().zip(&other.all).all(|(one, other)| Arc::ptr_eq(one, other) || same(one, other))
        };
        Comparison {
            certificates: all(Identity::presents_same),
            upstreams: all(|one, other| one.upstream.fingerprint() == other.upstream.fingerprint()),
            credentials: all(|one, other| one.credential.fingerprint() == other.credential.fingerprint()),
            protocols: all(|one, other| one.wants_http1() == other.wants_http1()),
        }
    }
}

/// In which of their parts the identities of two versions of a service are the same.
pub(super) struct Comparison {
    pub(super) certificates: bool,
    pub(super) upstreams: bool,
    pub(super) credentials: bool,
    /// What the services have asked for meanwhile.
    pub(super) protocols: bool,
}

/// A name stands before a number.
fn named(
    name: &HeaderName,
    places: &HashMap<String, usize>,
    count: usize,
    fields: &HeaderMap,
) -> Result<usize, IdentityError> {
    let mut sent = fields.get_all(name).iter();
    let Some(value) = sent.next() else { return Err(IdentityError::Missing { name: name.clone() }) };
    if sent.next().is_some() {
        return Err(IdentityError::Repeated { name: name.clone() });
    }
    let place = std::str::from_utf8(value.as_bytes()).ok().and_then(|text| {
        let is_number = |place: &usize| *place < count && place.to_string() == text;
        places.get(text).copied().or_else(|| text.parse().ok().filter(is_number))
    });
    place.ok_or_else(|| IdentityError::Unknown { name: name.clone() })
}

/// Whether a request with these fields says as whom it is sent, where it has to. Those of sets that were not read are not
/// known: then it is enough that it says so.
///
/// # Errors
/// As [`Identities::pick`].
pub(crate) fn pick_written(written: &config::IdentitiesConfig, fields: &HeaderMap) -> Result<(), IdentityError> {
    let known = written.sets.len();
    let picked = Pick::compile(written).place(fields, known.max(1), || 0, |_| 0);
    match picked {
        Err(IdentityError::Unknown { .. }) if known == 0 => Ok(()),
        picked => picked.map(drop),
    }
}

impl Pick {
    fn place(
        &self,
        fields: &HeaderMap,
        count: usize,
        turn: impl FnOnce() -> usize,
        connection: impl FnOnce(&AtomicUsize) -> usize,
    ) -> Result<usize, IdentityError> {
        let number = match self {
            Self::Lone => return Ok(0),
            Self::InTurn => turn(),
            Self::ByConnection { arrived } => connection(arrived),
            Self::ByField { name, places } => return named(name, places, count, fields),
        };
        Ok(number % count)
    }

    fn compile(written: &config::IdentitiesConfig) -> Self {
        match &written.pick {
            config::PickConfig::RoundRobin => Self::InTurn,
            config::PickConfig::Connection => Self::ByConnection { arrived: AtomicUsize::new(0) },
            config::PickConfig::Header(name) => {
                let names = written.sets.iter().enumerate();
                let places = names.filter_map(|(place, set)| Some((set.name.as_ref()?.value.clone(), place)));
                Self::ByField { name: name.value.clone(), places: places.collect() }
            }
        }
    }
}

/// What the identities of one service have together while they are compiled.
#[derive(Default)]
struct IdentitiesShared {
    tls: TlsByCertificate,
    tls_of_token_endpoints: TlsCache,
    /// `None`: the service has one identity, which waits for nobody.
    first_tokens: Option<Arc<FirstTokenLimiter>>,
}

/// The TLS of connections to the service, by the fingerprint of the certificate: it is the same for all who present it.
type TlsByCertificate = HashMap<Option<[u8; 32]>, Option<ClientTls>>;

impl Identity {
    fn compile(
        parts: &Parts<'_>,
        service: &config::ServiceConfig,
        common: &mut IdentitiesShared,
        report: &mut Report,
    ) -> Option<Self> {
        let &Parts { name, inputs, certificates, slots, proxies, .. } = parts;
        let linked = service.certificate.as_ref().map(|named| certificates.get(&named.value));
        let certificate = linked.flatten();
        let (first_tokens, tls_cache) = (common.first_tokens.as_ref(), &common.tls_of_token_endpoints);
        let material =
            Material { name, inputs, service, certificate, certificates, slots, first_tokens, tls_cache, proxies };
        // Both are looked at before one is given up: a user wants to hear of every problem at once.
        let credential = Credential::compile(&material, report);
        let upstream = compile_upstream(parts, service, certificate, &mut common.tls, report);
        if linked.is_some_and(|found| found.is_none()) {
            // Never without the certificate that it names.
            return None;
        }
        Some(Self { certificate: certificate.cloned(), credential: credential?, upstream: Arc::new(upstream?) })
    }

    fn presents_same(&self, other: &Self) -> bool {
        same_certificate(self.certificate.as_ref(), other.certificate.as_ref())
    }

    fn wants_http1(&self) -> bool {
        self.upstream.connector().wants_http1()
    }

    fn fingerprint(&self) -> ([u8; 32], [u8; 32], Option<[u8; 32]>) {
        let certificate = self.certificate.as_ref().map(|certificate| certificate.leaf.sha256);
        (self.credential.fingerprint(), self.upstream.fingerprint(), certificate)
    }
}

fn compile_upstream(
    parts: &Parts<'_>,
    service: &config::ServiceConfig,
    certificate: Option<&Arc<Certificate>>,
    known: &mut TlsByCertificate,
    report: &mut Report,
) -> Option<Upstream> {
    let &Parts { inputs, proxies, .. } = parts;
    let url = &service.url;
    #[cfg(feature = "files")]
    if let Some(server) = parts.files {
        return Some(Upstream::of_files(service, Arc::clone(server), proxies.way_to(&url.value)));
    }
    let presented = certificate.map(|certificate| certificate.leaf.sha256);
    let compile = |report| {
        let (tls, host) = (service.tls.as_ref(), &url.value.authority.host);
        let place = TlsPlace { url: url.span, origin: TlsOrigin::Service };
        ClientTls::compile(tls, host, certificate, service.http_version, place, inputs, report)
    };
    let tls = match url.value.scheme {
        // Files are asked for with TLS of their own, or none.
        Scheme::Http | Scheme::Sftp | Scheme::Ftp | Scheme::Ftps | Scheme::OpenPgp => None,
        // What was reported once need not be again.
        Scheme::Https => Some(known.entry(presented).or_insert_with(|| compile(report)).clone()?),
    };
    Some(Upstream::compile(service, tls, proxies.way_to(&url.value)))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(sent: &[&'static str], expected: Result<usize, &str>) {
        let name = HeaderName::from_static("x-who");
        let places = HashMap::from([("alice".to_owned(), 0), ("7".to_owned(), 1)]);
        let mut fields = HeaderMap::new();
        for value in sent {
            fields.append(&name, HeaderValue::from_static(value));
        }

        let found = named(&name, &places, 3, &fields);

        assert_eq!(found.map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{sent:?}");
    }

    #[test]
    fn an_identity_is_named_or_numbered() {
        let unknown = "`x-who` has neither the name nor the number of an identity of this service";
        check(&["alice"], Ok(0));
        check(&["7"], Ok(1));
        check(&["2"], Ok(2));
        check(&["3"], Err(unknown));
        check(&["+1"], Err(unknown));
        check(&["01"], Err(unknown));
        check(&["Alice"], Err(unknown));
        check(&[""], Err(unknown));
        check(&[], Err("`x-who` is missing: it names the identity to send this as"));
        check(&["alice", "alice"], Err("`x-who` was sent more than once"));
    }
}
