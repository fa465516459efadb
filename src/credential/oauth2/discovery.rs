//! The token endpoint of an issuer, found in its metadata.
//!
//! ```text
//!  https://host/path ──► 1. https://host/.well-known/oauth-authorization-server/path   (RFC 8414 §3.1)
//!                        2. https://host/path/.well-known/openid-configuration         (OpenID Connect Discovery §4)
//!                        3. https://host/path/.well-known/oauth-authorization-server   (where some put the first by mistake)
//! ```
//!
//! What was found is kept for an hour, or until the endpoint proves to be elsewhere. As long as nothing newer can be had,
//! the old one serves: an issuer that is down takes no endpoint with it that is up.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use http::Method;

use super::advice::NamedEndpoint;
use super::answer;
use super::call::{Address, TimeBudget};
use super::failure::{FailureKind, TokenFailure};
use super::form::plain_fields;
use super::metadata::{self, Expected, Metadata, MetadataError};
use super::origin::UrlOrigin;
use crate::clock::Moment;
use crate::config::auth::oauth2::{ClientAuth, OAuth2};
use crate::config::value::Issuer;
use crate::config::{Scheme, Url};
use crate::locked::locked;
use crate::tls::TlsTemplate;
use crate::transport::{ProxySelector, RequestBody};

/// Finds the token endpoint of one issuer.
pub(super) struct Discovery {
    issuer: Issuer,
    client_id: Option<String>,
    places: [Address; 3],
    means: Means,
    /// What metadata call the way in which our client authenticates.
    methods: &'static [&'static str],
    warned: AtomicBool,
    /// Locked for a moment by the loops of the background, and never by a worker.
    found: Mutex<Option<Discovered>>,
    looking: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Discovered {
    address: Arc<Address>,
    /// From then on it is looked for again.
    until: Moment,
}

/// A place without metadata.
struct Miss {
    unfit: MetadataError,
    /// How long the issuer asks to be left alone.
    retry_after: Option<Duration>,
}

/// What must be known beside the issuer to go where it says.
pub(super) struct Means {
    /// For whatever host.
    pub(super) tls: TlsTemplate,
    /// Whether a plain endpoint of another machine will do.
    pub(super) plaintext: bool,
    /// Whether the endpoint is shown a certificate.
    pub(super) certificate: bool,
    /// How whatever URL is reached.
    pub(super) proxies: ProxySelector,
}

impl Discovery {
    /// `None`: a request can't be sent to this issuer.
    pub(super) fn new(issuer: &Issuer, written: &OAuth2, means: Means) -> Option<Self> {
        let [first, second, third] = well_known(&issuer.url).map(|url| means.address(&url, UrlOrigin::Issuer));
        Some(Self {
            issuer: issuer.clone(),
            client_id: written.client_id.clone(),
            places: [first?, second?, third?],
            means,
            methods: methods(&written.client_auth),
            warned: AtomicBool::new(false),
            found: Mutex::new(None),
            looking: tokio::sync::Mutex::default(),
        })
    }

    /// Host and port of the issuer.
    pub(super) fn host(&self) -> &str {
        self.places[0].host()
    }

    /// The token endpoint: the one that was found, or what can be found now, for these services.
    pub(super) async fn find(&self, patience: TimeBudget, services: &str) -> Result<Arc<Address>, TokenFailure> {
        let known = self.known();
        let (known, patience) = match known {
            Some(found) if Moment::now() < found.until => return Ok(found.address),
            // Time must be left for the token request itself.
            Some(found) => (Some(found), patience.half()),
            None => (None, patience),
        };
        // One look at a time: whoever had to wait for it finds what it has found. In vain, the time ends `discover` too.
        let _looking = patience.keep(self.looking.lock()).await;
        if let Some(found) = self.known().filter(|found| Moment::now() < found.until) {
            return Ok(found.address);
        }
        match (self.discover(patience, services).await, known) {
            (Ok(address), _) => Ok(self.keep(address, KEPT)),
            (Err(failure), Some(old)) => {
                tracing::warn!(
                    target: LOG,
                    service = services,
                    client_id = self.client_id.as_deref(),
                    endpoint = old.address.host(),
                    "the token endpoint known so far is used: {failure}"
                );
                Ok(self.keep(old.address, KEPT_ON_FAILURE))
            }
            (Err(failure), None) => Err(failure),
        }
    }

    /// The endpoint may be elsewhere by now: the next token request looks for it anew.
    pub(super) fn doubt(&self) {
        if let Some(found) = &mut *self.lock() {
            found.until = Moment::now();
        }
    }

    fn known(&self) -> Option<Discovered> {
        self.lock().clone()
    }

    fn keep(&self, address: Arc<Address>, kept: Duration) -> Arc<Address> {
        *self.lock() = Some(Discovered { address: Arc::clone(&address), until: Moment::now() + kept });
        address
    }

    fn lock(&self) -> MutexGuard<'_, Option<Discovered>> {
        locked(&self.found)
    }

    async fn discover(&self, patience: TimeBudget, services: &str) -> Result<Arc<Address>, TokenFailure> {
        let metadata = self.metadata(patience).await?;
        self.warn_of_methods(&metadata, services);
        let address = self.means.address(&metadata.token_endpoint, UrlOrigin::Metadata).ok_or_else(|| {
            let what = "names a `token_endpoint` that can't be asked".to_owned();
            self.failed(FailureKind::Rejected, what, "set `token_url` instead of `issuer`")
        })?;
        tracing::info!(
            target: LOG,
            service = services,
            client_id = self.client_id.as_deref(),
            issuer = self.host(),
            endpoint = address.host(),
            "token endpoint discovered"
        );
        let named = NamedEndpoint {
            url: metadata.token_endpoint.to_string(),
            methods: metadata.auth_methods.unwrap_or_default(),
        };
        Ok(Arc::new(address.named_as(named)))
    }

    /// Of several failures the first that says more is told than that nothing is there.
    async fn metadata(&self, patience: TimeBudget) -> Result<Metadata, TokenFailure> {
        let mut told: Option<(&Address, Miss)> = None;
        for place in self.distinct_places() {
            match (self.read(place, patience).await?, &told) {
                (Ok(metadata), _) => return Ok(metadata),
                (Err(miss), None | Some((_, Miss { unfit: MetadataError::Absent, .. }))) => told = Some((place, miss)),
                (Err(_), Some(_)) => {}
            }
        }
        // Invariant: there are places, and each that has no metadata says why.
        let (place, miss) = told.unwrap_or_else(|| unreachable!("an issuer without a place"));
        Err(self.failure(place, miss))
    }

    /// Of an issuer without a path the first place and the last are one.
    fn distinct_places(&self) -> impl Iterator<Item = &Address> {
        let [first, second, third] = &self.places;
        [first, second].into_iter().chain((third.path() != first.path()).then_some(third))
    }

    async fn read(&self, place: &Address, patience: TimeBudget) -> Result<Result<Metadata, Miss>, TokenFailure> {
        let heard = place.ask(Method::GET, plain_fields(), RequestBody::Empty, patience).await?;
        let expected = Expected {
            issuer: &self.issuer.written,
            scheme: self.issuer.url.scheme,
            plaintext: self.means.plaintext,
            certificate: self.means.certificate,
        };
        let retry_after = || answer::retry_after(&heard.fields, SystemTime::now());
        Ok(metadata::read(&heard.answer(), &expected).map_err(|unfit| Miss { unfit, retry_after: retry_after() }))
    }

    fn failure(&self, place: &Address, miss: Miss) -> TokenFailure {
        match miss.unfit {
            MetadataError::Absent => {
                let places: Vec<_> = self.distinct_places().map(Address::path).collect();
                let what = format!("has no metadata, neither at {}", places.join(" nor at "));
                self.failed(FailureKind::Rejected, what, "check `issuer`, or set `token_url` instead")
            }
            MetadataError::Unusable(what) => {
                let what = format!("{what} at {}", place.path());
                let failure = self.failed(FailureKind::Unavailable, what, "check that `issuer` has its metadata there");
                TokenFailure { retry_after: miss.retry_after, ..failure }
            }
            MetadataError::Wrong(what, help) => self.failed(FailureKind::Rejected, what, help),
        }
    }

    fn failed(&self, kind: FailureKind, what: String, help: impl Into<Cow<'static, str>>) -> TokenFailure {
        TokenFailure { kind, endpoint: self.host().to_owned(), what, help: help.into(), retry_after: None }
    }

    /// Once: the endpoint itself has the last word.
    fn warn_of_methods(&self, metadata: &Metadata, services: &str) {
        let Some(accepted) = &metadata.auth_methods else { return };
        let fits = self.methods.is_empty() || accepted.iter().any(|method| self.methods.contains(&method.as_str()));
        if !fits && !self.warned.swap(true, Ordering::Relaxed) {
            let (ours, accepted) = (self.methods[0], accepted.join(", "));
            tracing::warn!(
                target: LOG,
                service = services,
                client_id = self.client_id.as_deref(),
                issuer = self.host(),
                "clients authenticate there by {accepted}, says the issuer; ours by {ours}: check `client_auth`"
            );
        }
    }
}

impl Means {
    /// `None`: no request can be sent there.
    fn address(&self, url: &Url, origin: UrlOrigin) -> Option<Address> {
        let tls = match url.scheme {
            Scheme::Http | Scheme::Sftp | Scheme::Ftp | Scheme::Ftps | Scheme::OpenPgp => None,
            Scheme::Https => Some(self.tls.of(&url.authority.host)?),
        };
        Address::of(url, tls, self.proxies.way_to(url), origin).ok()
    }
}

/// The places of an issuer's metadata, in the order in which they are tried.
fn well_known(issuer: &Url) -> [Url; 3] {
    // RFC 8414 §3.1 and OpenID Connect Discovery §4.1: a slash at the end goes first.
    let path = issuer.path.strip_suffix('/').unwrap_or(&issuer.path);
    let places = [
        format!("/.well-known/oauth-authorization-server{path}"),
        format!("{path}/.well-known/openid-configuration"),
        format!("{path}/.well-known/oauth-authorization-server"),
    ];
    places.map(|path| Url { path, ..issuer.clone() })
}

/// How metadata call it (RFC 7591 §2, RFC 8705 §2); empty: there is no name for it.
fn methods(client_auth: &ClientAuth) -> &'static [&'static str] {
    match client_auth {
        ClientAuth::Basic(_) => &["client_secret_basic"],
        ClientAuth::Post(_) => &["client_secret_post"],
        ClientAuth::SecretJwt(_) => &["client_secret_jwt"],
        ClientAuth::PrivateKeyJwt(_) => &["private_key_jwt"],
        ClientAuth::TlsClientAuth => &["tls_client_auth", "self_signed_tls_client_auth"],
        ClientAuth::None => &["none"],
        ClientAuth::Assertion(_) => &[],
    }
}

/// Endpoints move rarely, and one that has moved is noticed.
const KEPT: Duration = Duration::from_secs(60 * 60);
const KEPT_ON_FAILURE: Duration = Duration::from_secs(60);

const LOG: &str = "sidekey::token";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UrlAuthority;

    #[track_caller]
    fn check(path: &str, first: &str, second: &str, third: &str) {
        let authority = UrlAuthority { host: "idp.example".to_owned(), port: 8443, default_port: false };
        let issuer = Url { scheme: Scheme::Https, authority, path: path.to_owned(), query: None };

        let places = well_known(&issuer).map(|url| url.to_string());

        assert_eq!(places, [first, second, third].map(|path| format!("https://idp.example:8443{path}")));
    }

    #[test]
    fn metadata_are_looked_for_before_the_path_of_the_issuer_and_then_after_it() {
        let (oauth, openid) = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration");
        check("", oauth, openid, oauth);
        check("/", oauth, openid, oauth);
        for path in ["/realms/x", "/realms/x/"] {
            check(path, &format!("{oauth}/realms/x"), &format!("/realms/x{openid}"), &format!("/realms/x{oauth}"));
        }
    }
}
