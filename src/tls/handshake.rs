//! What a handshake shows that its outcome does not tell: whether a client certificate was asked for and which was
//! shown, and whether a session was offered.
//!
//! rustls asks for both by way of objects that all handshakes of a config share. They are asked while a handshake is
//! polled, on its thread: what they note there is this handshake's.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::SystemTime;

use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, ResolvesClientCert, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::sign::CertifiedKey;
use rustls::{NamedGroup, SignatureScheme};
use rustls_pki_types::ServerName;

use super::alert;
use super::fitness::{CertificateDefect, Fitness};
use super::leaf::raw_issuer;

/// What was seen of one handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Observation {
    pub(crate) client_certificate: ClientCertificate,
    /// Whether there was a session to resume.
    pub(crate) session_offered: bool,
    /// What the chain of the service's certificate lacks, where nobody here vouches for it.
    pub(super) missing: Option<Arc<str>>,
}

impl Observation {
    /// Why the service may have closed the connection without an alert.
    pub(crate) fn why_silent(&self) -> Option<String> {
        alert::silence(self.client_certificate)
    }
}

/// What became of our client certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ClientCertificate {
    /// The service did not ask for one, or the handshake did not come that far.
    #[default]
    NotAskedFor,
    /// The service asked for one, and none is linked.
    NoneLinked,
    /// One is linked; the service lists no signature scheme of its key's kind, so that none was shown.
    NoneFits,
    /// It was shown.
    Shown {
        /// `false`: the service names CAs that it takes certificates of, and none of them issued ours.
        issuer_is_listed: bool,
        /// What is wrong with it whoever looks.
        defect: Option<CertificateDefect>,
    },
}

impl ClientCertificate {
    /// In a word, for machines.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::NotAskedFor => "not_asked_for",
            Self::NoneLinked => "none_linked",
            Self::NoneFits => "none_fits",
            Self::Shown { .. } => "shown",
        }
    }

    /// Why a service may refuse us that does not say why.
    pub(crate) fn why_refused(self) -> Option<String> {
        alert::silence(self)
    }
}

thread_local! {
    static SEEN: Cell<Option<Observation>> = const { Cell::new(None) };
}

/// Runs a handshake, and says what was seen of it.
pub(crate) async fn observed<F: Future>(handshake: F) -> (F::Output, Observation) {
    let mut handshake = pin!(handshake);
    let mut seen = Observation::default();
    let outcome = poll_fn(|cx| {
        // Others may have been polled since, on this thread; or this one on another.
        SEEN.set(Some(std::mem::take(&mut seen)));
        let polled = handshake.as_mut().poll(cx);
        seen = SEEN.take().unwrap_or_default();
        polled
    });
    (outcome.await, seen)
}

/// Adds to what is known of the handshake that is being polled.
pub(super) fn note(change: impl FnOnce(&mut Observation)) {
    if let Some(mut seen) = SEEN.take() {
        change(&mut seen);
        SEEN.set(Some(seen));
    }
}

/// Shows the linked certificate to who asks for one.
pub(super) struct LinkedCertificate {
    certificate: Option<Arc<CertifiedKey>>,
    fitness: Option<Fitness>,
}

impl LinkedCertificate {
    pub(super) fn new(certificate: Option<Arc<CertifiedKey>>) -> Self {
        let leaf = certificate.as_ref().and_then(|certificate| certificate.cert.first());
        let fitness = leaf.and_then(|leaf| Fitness::read(leaf));
        Self { certificate, fitness }
    }

    fn answer(&self, authorities: &[&[u8]], schemes: &[SignatureScheme]) -> ClientCertificate {
        let Some(certificate) = &self.certificate else { return ClientCertificate::NoneLinked };
        if certificate.key.choose_scheme(schemes).is_none() {
            return ClientCertificate::NoneFits;
        }
        let is_listed = |issuer: &[u8]| authorities.contains(&issuer);
        let is_any_listed = certificate.cert.iter().filter_map(|of| raw_issuer(of)).any(is_listed);
        ClientCertificate::Shown {
            issuer_is_listed: authorities.is_empty() || is_any_listed,
            defect: self.fitness.and_then(|fitness| fitness.defect(SystemTime::now())),
        }
    }
}

impl ResolvesClientCert for LinkedCertificate {
    fn resolve(&self, authorities: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let answer = self.answer(authorities, schemes);
        note(|seen| seen.client_certificate = answer);
        self.certificate.clone().filter(|_| matches!(answer, ClientCertificate::Shown { .. }))
    }

    fn has_certs(&self) -> bool {
        self.certificate.is_some()
    }
}

impl fmt::Debug for LinkedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LinkedCertificate").field(&self.certificate.is_some()).finish()
    }
}

/// The sessions that one endpoint may resume.
#[derive(Debug)]
pub(super) struct Sessions {
    cache: ClientSessionMemoryCache,
    /// Sessions that were refused, none having been resumed since.
    refusals: AtomicU32,
}

impl Sessions {
    pub(super) fn new(most: usize) -> Self {
        Self { cache: ClientSessionMemoryCache::new(most), refusals: AtomicU32::new(0) }
    }

    /// Throws away all sessions with `server`: it has refused one, and may refuse them all.
    pub(super) fn refused(&self, server: &ServerName<'static>) {
        self.refusals.fetch_add(1, Relaxed);
        self.cache.remove_tls12_session(server);
        while self.cache.take_tls13_ticket(server).is_some() {}
    }

    pub(super) fn resumed(&self) {
        self.refusals.store(0, Relaxed);
    }

    /// Whether it is any use to keep a session: each one that is refused costs a connection.
    fn are_of_use(&self) -> bool {
        self.refusals.load(Relaxed) < MOST_REFUSALS
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        self.cache.set_kx_hint(server, group);
    }

    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        self.cache.kx_hint(server)
    }

    fn set_tls12_session(&self, server: ServerName<'static>, session: Tls12ClientSessionValue) {
        if self.are_of_use() {
            self.cache.set_tls12_session(server, session);
        }
    }

    fn tls12_session(&self, server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        let session = self.cache.tls12_session(server)?;
        note(|seen| seen.session_offered = true);
        Some(session)
    }

    fn remove_tls12_session(&self, server: &ServerName<'static>) {
        self.cache.remove_tls12_session(server);
    }

    fn insert_tls13_ticket(&self, server: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        if self.are_of_use() {
            self.cache.insert_tls13_ticket(server, ticket);
        }
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let ticket = self.cache.take_tls13_ticket(server)?;
        note(|seen| seen.session_offered = true);
        Some(ticket)
    }
}

const MOST_REFUSALS: u32 = 3;
