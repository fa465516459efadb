//! What is put on a request to show who sends it.
//!
//! A service's `auth` is compiled into a [`Credential`]: a list of [`Part`]s, each of which takes one place of a
//! request. Promises that no request is authorized with less than all of them, and that exactly one of each goes
//! out. `proxy` asks two things: [`Credential::authorize`] before each sending, and [`Credential::verdict`] on the
//! answer.
//!
//! A new static method needs nothing here. One that puts something on a request that no part can put yet is a file
//! here, a variant of [`Part`] and an arm in [`Part::of`], and the compiler asks for the rest.

mod attachments;
mod digest;
mod error;
mod fixed;
mod hmac;
mod jws;
pub(crate) mod oauth2;
mod query;
mod sigv4;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, StatusCode};

pub(crate) use attachments::{Attachments, own_name, own_value};
pub(crate) use error::Error;
pub(crate) use oauth2::{Behalf, Crowd, Slot, Slots, Subjects, TokenState, TokenStatus, Unclaimed, Undelivered};

use crate::config::{self, At, Auth, OnClientAuthorization, Report};
use crate::name::CertificateName;
use crate::tls::Certificate;
use crate::transport::{Need, Outgoing};
use digest::Digest;
use oauth2::{Bearer, Tokens};

/// The credential of one service: its methods, in the order written. The shared half: immutable.
#[derive(Debug)]
pub(crate) struct Credential {
    /// Those last that sign what the others put on.
    parts: Vec<Part>,
    body_needed: Option<Need>,
    owned: Owned,
    method: String,
    on_client_authorization: OnClientAuthorization,
}

/// Something that takes one place of a request.
#[derive(Debug)]
enum Part {
    Field(fixed::Field),
    Query(query::Query),
    Cookie(fixed::Cookie),
    Bearer(Bearer),
    /// What it would put there can't be had; the text says why.
    Unavailable(Arc<str>),
    Hmac(Box<hmac::Signer>),
    SigV4(Box<sigv4::Signer>),
}

/// Which token a sending carried; of several, the newest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stamp {
    /// 0: none.
    pub(crate) generation: u64,
    /// Where the tokens of the request's subjects were.
    subjects: Vec<Arc<Slot>>,
}

/// What an answer means for the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// The answer is the app's.
    Pass,
    /// The service calls the token dead.
    NewToken,
    /// The service wants the same token with another proof, which it has said how to make (RFC 9449 §9).
    Again,
}

/// What a credential owns on a request: the field names (lower case), query parameters and cookies that only it sets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) fields: Vec<HeaderName>,
    /// Fields by which apps say on whose behalf they ask: meant for us, and for nobody behind us.
    pub(crate) subjects: Vec<HeaderName>,
    pub(crate) query: Vec<String>,
    pub(crate) cookies: Vec<String>,
}

/// What methods are compiled from, beside their own fields.
pub(crate) struct Material<'a> {
    pub(crate) service: &'a config::Service,
    pub(crate) certificate: Option<&'a Arc<Certificate>>,
    /// Every certificate, for `auth.certificate: NAME`.
    pub(crate) certificates: &'a BTreeMap<CertificateName, Arc<Certificate>>,
    /// Where entries are shared: services that agree on all of an entry get the same slot.
    pub(crate) slots: &'a Slots,
    /// What the identities of this service have together; of a service without them, nothing.
    pub(crate) crowd: &'a Crowd,
}

impl Credential {
    /// Compiles the methods of `service.auth`. `None`: what is wrong has been reported, or can't be known without the
    /// secrets.
    pub(crate) fn compile(material: &Material<'_>, report: &mut Report) -> Option<Self> {
        let written = &material.service.auth;
        // Each is tried before any is given up: a user wants to hear of all that is wrong.
        let compiled: Vec<_> = written.iter().map(|auth| Part::of(auth, material, report)).collect();
        let (names, parts): (Vec<_>, Vec<_>) = compiled.into_iter().collect::<Option<Vec<_>>>()?.into_iter().unzip();
        let mut parts: Vec<Part> = parts.into_iter().flatten().collect();
        parts.sort_by_key(Part::is_signer);
        Some(Self {
            owned: Owned::by(&parts),
            body_needed: parts.iter().filter_map(Part::body_needed).reduce(Need::and),
            parts,
            method: if names.is_empty() { "none".to_owned() } else { names.join(" + ") },
            on_client_authorization: material.service.on_client_authorization,
        })
    }

    /// What it owns, for field hygiene and `on_client_authorization`.
    pub(crate) fn owned(&self) -> &Owned {
        &self.owned
    }

    /// Where its token is, or the key that is lent to it; the first if there are several.
    pub(crate) fn slot(&self) -> Option<&Arc<Slot>> {
        self.slots().next()
    }

    /// The slots of all its methods whose token, or key, is one for all requests.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &Arc<Slot>> {
        self.parts.iter().filter_map(|part| match part {
            Part::Bearer(bearer) => bearer.slot(),
            Part::SigV4(signer) => signer.slot(),
            Part::Field(_) | Part::Query(_) | Part::Cookie(_) | Part::Unavailable(_) | Part::Hmac(_) => None,
        })
    }

    /// The slots that hold what goes on requests as it is: an access token, and not a key to sign with.
    pub(crate) fn token_slots(&self) -> impl Iterator<Item = &Arc<Slot>> {
        self.bearers().filter_map(Bearer::slot)
    }

    /// The tokens of its OAuth 2.0 methods that have one for each subject.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = &Arc<Subjects>> {
        self.bearers().filter_map(|bearer| match bearer.tokens() {
            Tokens::One(_) => None,
            Tokens::PerSubject { subjects, .. } => Some(subjects),
        })
    }

    /// How the tokens of its OAuth 2.0 method are, the first if there are several.
    pub(crate) fn token_status(&self) -> Option<TokenStatus> {
        let of_bearer = self.bearers().next().map(|bearer| match bearer.tokens() {
            Tokens::One(slot) => slot.status(),
            Tokens::PerSubject { subjects, .. } => subjects.status(),
        });
        of_bearer.or_else(|| self.slot().map(|slot| slot.status()))
    }

    /// On whose behalf a request is made that came with these fields.
    pub(crate) fn behalf(&self, fields: &HeaderMap) -> Behalf {
        let parts = self.parts.iter().enumerate();
        Behalf::read(fields, parts.filter_map(|(place, part)| Some((place, part.subject()?))))
    }

    /// How much of the app's body must be in memory before [`Credential::authorize`]; `None`: it need not be looked at.
    pub(crate) fn body_needed(&self) -> Option<Need> {
        self.body_needed
    }

    /// Whether what it puts on a request is good for that request alone, so that it can't be handed out.
    pub(crate) fn depends_on_request(&self) -> bool {
        let is_anothers = |bearer: &Bearer| bearer.subject().is_some() || bearer.is_proven();
        self.parts.iter().any(Part::is_signer) || self.bearers().any(is_anothers)
    }

    /// SHA-256 over all that it puts on a request, and over all that decides which tokens it gets: two with the same
    /// fingerprint are interchangeable.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let mut digest = Digest::new();
        digest.field(&[self.on_client_authorization as u8]);
        self.parts.iter().for_each(|part| part.digest(&mut digest));
        digest.finish()
    }

    /// Name of the method(s) for status: `oauth2_client_credentials`, `basic`, …; `none`; joined by ` + `.
    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    /// Why no request can be authorized until the next reload, if that is so.
    pub(crate) fn unavailable(&self) -> Option<&str> {
        self.parts.iter().find_map(|part| match part {
            Part::Unavailable(reason) => Some(&**reason),
            _ => None,
        })
    }

    /// Sets the credential on the request: once per attempt. Waits only while a slot holds no live token.
    ///
    /// # Errors
    /// When no token can be had: with the last attempt's reason and the time to the next. When a secret can't be had.
    /// When the request does not say on whose behalf it is made. When the target has no room for a query credential.
    /// When the request can't be signed.
    pub(crate) async fn authorize(
        &self,
        own: &RefCell<Attachments>,
        behalf: &Behalf,
        outgoing: &mut Outgoing,
    ) -> Result<Stamp, Error> {
        let mut stamp = Stamp::default();
        for (place, part) in self.parts.iter().enumerate() {
            if self.on_client_authorization == OnClientAuthorization::Keep && part.was_sent(outgoing) {
                continue;
            }
            match part {
                Part::Field(field) => field.put(place, own, &mut outgoing.fields),
                Part::Query(query) => query.put(&mut outgoing.target)?,
                Part::Cookie(cookie) => cookie.put(&mut outgoing.fields),
                Part::Bearer(bearer) => bearer.put(place, own, behalf, outgoing, &mut stamp).await?,
                Part::Unavailable(reason) => return Err(Error::NoSecret { reason: Arc::clone(reason) }),
                Part::Hmac(signer) => signer.sign(outgoing)?,
                // In a box: few requests come here, and the others need no room for it.
                Part::SigV4(signer) => Box::pin(signer.sign(outgoing)).await?,
            }
        }
        Ok(stamp)
    }

    /// What the service's answer means for the token that the request carried. Is asked of every answer: what one says
    /// for later requests is kept.
    pub(crate) fn verdict(&self, stamp: &Stamp, status: StatusCode, fields: &HeaderMap) -> Verdict {
        // All are asked, so that each keeps what concerns it.
        let verdict = self.bearers().map(|bearer| bearer.verdict(status, fields)).max();
        // A stamp of none is of a request with the app's own credential: nothing of ours was refused.
        verdict.filter(|_| stamp.generation != 0).unwrap_or(Verdict::Pass)
    }

    /// After [`Verdict::NewToken`]: gets a token other than the one of `stamp`. `true`: there is one, send again;
    /// `false`: none was had (limit of one per 10 s reached, or the fetch failed), the 401 is the app's.
    pub(crate) async fn replace(&self, stamp: &Stamp) -> bool {
        let mut replaced = false;
        // A stamp of none is of a request with the app's own credential: no token of ours was called dead.
        for slot in self.token_slots().chain(&stamp.subjects).filter(|_| stamp.generation != 0) {
            replaced |= slot.replace(stamp.generation).await;
        }
        replaced
    }

    /// As [`Credential::replace`], when the request can't be sent again: the token is replaced all the same.
    pub(crate) fn reject(&self, stamp: &Stamp) {
        let slots = self.token_slots().chain(&stamp.subjects);
        slots.filter(|_| stamp.generation != 0).for_each(|slot| slot.reject(stamp.generation));
    }

    fn bearers(&self) -> impl Iterator<Item = &Bearer> {
        self.parts.iter().filter_map(|part| match part {
            Part::Bearer(bearer) => Some(bearer),
            Part::Field(_)
            | Part::Query(_)
            | Part::Cookie(_)
            | Part::Unavailable(_)
            | Part::Hmac(_)
            | Part::SigV4(_) => None,
        })
    }
}

impl Stamp {
    fn carries(&mut self, generation: u64) {
        self.generation = self.generation.max(generation);
    }
}

impl Part {
    /// The parts of one method, and its name.
    fn of(auth: &At<Auth>, material: &Material<'_>, report: &mut Report) -> Option<(&'static str, Vec<Self>)> {
        Some(match &auth.value {
            Auth::Static(fixed) => {
                let parts = fixed.attachments.iter().map(|attachment| fixed::part(&attachment.value));
                (fixed.method, parts.collect())
            }
            Auth::OAuth2(oauth2) => {
                (oauth2.grant.method(), vec![Self::Bearer(Bearer::compile(oauth2, material, report)?)])
            }
            Auth::Unavailable(missing) => (missing.name, vec![Self::Unavailable(missing.reason.as_str().into())]),
            Auth::AwsSigV4(aws) => {
                let signer = sigv4::Signer::compile(aws, material, report)?;
                ("aws_sigv4", vec![Self::SigV4(Box::new(signer))])
            }
            Auth::Hmac(hmac) => ("hmac", vec![Self::Hmac(Box::new(hmac::Signer::compile(hmac)))]),
        })
    }

    /// Whether it is over what the others put on the request.
    fn is_signer(&self) -> bool {
        match self {
            Self::Field(_) | Self::Query(_) | Self::Cookie(_) | Self::Bearer(_) | Self::Unavailable(_) => false,
            Self::Hmac(_) | Self::SigV4(_) => true,
        }
    }

    fn body_needed(&self) -> Option<Need> {
        match self {
            Self::Field(_) | Self::Query(_) | Self::Cookie(_) | Self::Bearer(_) | Self::Unavailable(_) => None,
            Self::Hmac(signer) => signer.body_needed(),
            Self::SigV4(signer) => Some(signer.body_needed()),
        }
    }

    fn digest(&self, digest: &mut Digest) {
        match self {
            Self::Field(field) => field.digest(digest),
            Self::Query(query) => query.digest(digest),
            Self::Cookie(cookie) => cookie.digest(digest),
            Self::Bearer(bearer) => bearer.digest(digest),
            Self::Unavailable(reason) => digest.field(reason.as_bytes()),
            Self::Hmac(signer) => signer.digest(digest),
            Self::SigV4(signer) => signer.digest(digest),
        }
    }

    /// The field of a request that says on whose behalf it is made.
    fn subject(&self) -> Option<&HeaderName> {
        match self {
            Self::Bearer(bearer) => bearer.subject(),
            Self::Field(_)
            | Self::Query(_)
            | Self::Cookie(_)
            | Self::Unavailable(_)
            | Self::Hmac(_)
            | Self::SigV4(_) => None,
        }
    }

    /// Whether the app sent something of its own here.
    fn was_sent(&self, outgoing: &Outgoing) -> bool {
        match self {
            Self::Field(field) => outgoing.fields.contains_key(&field.name),
            // A proof of the app's is for a token of the app's: the two are one.
            Self::Bearer(bearer) => bearer.fields().any(|field| outgoing.fields.contains_key(field)),
            Self::Query(query) => query.is_in(&outgoing.target),
            Self::Cookie(cookie) => cookie.is_in(&outgoing.fields),
            Self::Unavailable(_) => false,
            // An app that sends one of its fields signs the request itself: no signature of ours is over another's time.
            Self::Hmac(signer) => signer.fields().any(|name| outgoing.fields.contains_key(name)),
            Self::SigV4(signer) => signer.fields().any(|name| outgoing.fields.contains_key(name)),
        }
    }
}

impl Owned {
    /// What these methods own, as far as that is known without a secret: of one whose secret can't be had it is what it
    /// would own.
    pub(crate) fn written<'a>(methods: impl Iterator<Item = &'a Auth>) -> Self {
        let mut owned = Self::default();
        for method in methods {
            owned.fields.extend(method.fields());
            owned.subjects.extend(method.subject_field().cloned());
            owned.query.extend(method.query_parameters().map(str::to_owned));
            owned.cookies.extend(method.cookies().map(str::to_owned));
        }
        owned
    }

    /// Adds what another credential owns.
    pub(crate) fn add(&mut self, other: &Self) {
        add_new(&mut self.fields, &other.fields);
        add_new(&mut self.subjects, &other.subjects);
        add_new(&mut self.query, &other.query);
        add_new(&mut self.cookies, &other.cookies);
    }

    fn by(parts: &[Part]) -> Self {
        let mut owned = Self::default();
        for part in parts {
            match part {
                Part::Field(field) => owned.fields.push(field.name.clone()),
                Part::Bearer(bearer) => {
                    owned.fields.extend(bearer.fields().cloned());
                    owned.subjects.extend(bearer.subject().cloned());
                }
                Part::Query(query) => owned.query.push(query.name.clone()),
                Part::Cookie(cookie) => owned.cookies.push(cookie.name.clone()),
                // Nothing is sent: there is no field to keep the app's out of.
                Part::Unavailable(_) => {}
                Part::Hmac(signer) => owned.fields.extend(signer.fields().cloned()),
                Part::SigV4(signer) => owned.fields.extend(signer.fields().cloned()),
            }
        }
        owned
    }
}

fn add_new<T: PartialEq + Clone>(all: &mut Vec<T>, more: &[T]) {
    for one in more {
        if !all.contains(one) {
            all.push(one.clone());
        }
    }
}
