//! What is put on a request to show who sends it.
//!
//! A service's `auth` is compiled into a [`Credential`]: a list of parts, each of which takes one place of a
//! request. Promises that no request is authorized with less than all of them, and that exactly one of each goes
//! out. `proxy` asks two things: [`Credential::authorize`] before each sending, and [`Credential::verdict`] on the
//! answer.
//!
//! A new static method needs nothing here. One that puts something on a request that no part can put yet is a file
//! here with an `impl` of [`Part`], and a row in `parts`.

mod attachments;
mod aws;
mod digest;
mod error;
mod fixed;
mod hmac;
mod jws;
mod material;
pub(crate) mod oauth2;
mod owned;
mod part;
mod parts;
pub(crate) mod query;
mod sensitive;
mod stamp;
#[cfg(test)]
mod tests;
mod unavailable;
mod verdict;

use std::cell::RefCell;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};

pub(crate) use attachments::{Attachments, own_name, own_value};
pub(crate) use error::Error;
pub(crate) use jws::Compact;
pub(crate) use material::Material;
pub(crate) use oauth2::{
    Claim, ClaimError, FirstTokenLimiter, Slot, Slots, SubjectTokens, Subjects, TlsCache, TokenState, TokenStatus,
    WaitError,
};
pub(crate) use owned::Owned;
pub(crate) use stamp::SentToken;
pub(crate) use verdict::Verdict;

use crate::config::{OnClientAuthorization, Report};
use crate::transport::{BodyNeed, Outgoing};
use digest::Digest;
use oauth2::{Bearer, Tokens};
use part::{Part, Sending};
use parts::AnyPart;

/// The credential of one service: its methods, in the order written. The shared half: immutable.
#[derive(Debug)]
pub(crate) struct Credential {
    /// Those last that sign what the others put on.
    parts: Vec<AnyPart>,
    body_needed: Option<BodyNeed>,
    owned: Owned,
    method: String,
    on_client_authorization: OnClientAuthorization,
}

impl Credential {
    /// Compiles the methods of `service.auth`. `None`: what is wrong has been reported, or can't be known without the
    /// secrets.
    pub(crate) fn compile(material: &Material<'_>, report: &mut Report) -> Option<Self> {
        let written = &material.service.auth;
        // Each is tried before any is given up: a user wants to hear of all that is wrong.
        let compiled: Vec<_> = written.iter().map(|auth| AnyPart::of(auth, material, report)).collect();
        let (names, parts): (Vec<_>, Vec<_>) = compiled.into_iter().collect::<Option<Vec<_>>>()?.into_iter().unzip();
        let mut parts: Vec<AnyPart> = parts.into_iter().flatten().collect();
        parts.sort_by_key(AnyPart::is_signer);
        Some(Self {
            owned: owned_by(&parts),
            body_needed: parts.iter().filter_map(Part::body_needed).reduce(BodyNeed::and),
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
        self.parts.iter().filter_map(Part::slot)
    }

    /// The slots that hold what goes on requests as it is: an access token, and not a key to sign with.
    pub(crate) fn token_slots(&self) -> impl Iterator<Item = &Arc<Slot>> {
        self.bearers().filter_map(Part::slot)
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

    /// On whose subjects a request is made that came with these fields.
    pub(crate) fn subject_tokens(&self, fields: &HeaderMap) -> SubjectTokens {
        let parts = self.parts.iter().enumerate();
        SubjectTokens::read(fields, parts.filter_map(|(place, part)| Some((place, part.bearer()?.subject()?))))
    }

    /// How much of the app's body must be in memory before [`Credential::authorize`]; `None`: it need not be looked at.
    pub(crate) fn body_needed(&self) -> Option<BodyNeed> {
        self.body_needed
    }

    /// Whether what it puts on a request is good for that request alone, so that it can't be handed out.
    pub(crate) fn depends_on_request(&self) -> bool {
        let is_anothers = |bearer: &Bearer| bearer.subject().is_some() || bearer.is_proven();
        self.parts.iter().any(AnyPart::is_signer) || self.bearers().any(is_anothers)
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
        self.parts.iter().find_map(Part::unavailable)
    }

    /// Sets the credential on the request: once per attempt. Waits only while a slot holds no live token.
    ///
    /// # Errors
    /// When no token can be had: with the last attempt's reason and the time to the next. When a secret can't be had.
    /// When the request does not say on whose subjects it is made. When the target has no room for a query credential.
    /// When the request can't be signed.
    pub(crate) async fn authorize(
        &self,
        own: &RefCell<Attachments>,
        subjects: &SubjectTokens,
        outgoing: &mut Outgoing,
    ) -> Result<SentToken, Error> {
        let mut sending = Sending { place: 0, own, subjects, outgoing, stamp: SentToken::default() };
        for (place, part) in self.parts.iter().enumerate() {
            if self.on_client_authorization == OnClientAuthorization::Keep && part.was_sent(sending.outgoing) {
                continue;
            }
            sending.place = place;
            part.put(&mut sending).await?;
        }
        Ok(sending.stamp)
    }

    /// What the service's answer means for the token that the request carried. Is asked of every answer: what one says
    /// for later requests is kept.
    pub(crate) fn verdict(&self, stamp: &SentToken, status: StatusCode, fields: &HeaderMap) -> Verdict {
        // All are asked, so that each keeps what concerns it.
        let verdict = self.bearers().map(|bearer| bearer.verdict(status, fields)).max();
        // A stamp of none is of a request with the app's own credential: nothing of ours was refused.
        verdict.filter(|_| stamp.generation != 0).unwrap_or(Verdict::Pass)
    }

    /// After [`Verdict::NewToken`]: gets a token other than the one of `stamp`. `true`: there is one, send again;
    /// `false`: none was had (limit of one per 10 s reached, or the fetch failed), the 401 is the app's.
    pub(crate) async fn replace(&self, stamp: &SentToken) -> bool {
        let mut replaced = false;
        // A stamp of none is of a request with the app's own credential: no token of ours was called dead.
        for slot in self.token_slots().chain(&stamp.subjects).filter(|_| stamp.generation != 0) {
            replaced |= slot.replace(stamp.generation).await;
        }
        replaced
    }

    /// As [`Credential::replace`], when the request can't be sent again: the token is replaced all the same.
    pub(crate) fn reject(&self, stamp: &SentToken) {
        let slots = self.token_slots().chain(&stamp.subjects);
        slots.filter(|_| stamp.generation != 0).for_each(|slot| slot.reject(stamp.generation));
    }

    fn bearers(&self) -> impl Iterator<Item = &Bearer> {
        self.parts.iter().filter_map(Part::bearer)
    }
}

fn owned_by(parts: &[AnyPart]) -> Owned {
    let mut owned = Owned::default();
    parts.iter().for_each(|part| part.owns(&mut owned));
    owned
}
