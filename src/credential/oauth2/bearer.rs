//! How a service's requests carry the token of their entry.

use std::cell::RefCell;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::dpop::{self, Prover, Resource};
use super::entry::{Entry, EntryKey, Tokens};
use super::policy::RefreshPolicy;
use super::slot::Slot;
use super::state::Token;
use super::subject_tokens::Subject;
use super::subjects::Subjects;
use crate::aside::aside;
use crate::clock::Moment;
use crate::config::Report;
use crate::config::auth::OAuth2;
use crate::credential::digest::Digest;
use crate::credential::part::{Part, Sending};
use crate::credential::sensitive::secret_value;
use crate::credential::{Attachments, Error, Material, Owned, SentToken, Verdict, own_name};
use crate::secret::Secret;
use crate::transport::Outgoing;

/// An OAuth 2.0 method of one service: reads its entry's slot, and puts the token on requests.
#[derive(Debug)]
pub(in crate::credential) struct Bearer {
    tokens: Tokens,
    entry: EntryKey,
    field: HeaderName,
    /// Empty: the bare token.
    prefix: String,
    on_unauthorized: Vec<StatusCode>,
    /// Of this service; the key is the entry's.
    prover: Option<Prover>,
    /// Held for the slot: this service's policy counts as long as this is here.
    policy: Arc<RefreshPolicy>,
}

impl Bearer {
    pub(in crate::credential) fn compile(
        written: &OAuth2,
        material: &Material<'_>,
        report: &mut Report,
    ) -> Option<Self> {
        let entry = Entry::compile(written, material, report)?;
        let digest = entry.key;
        let tokens = material.slots.tokens(entry);
        let policy = Arc::new(RefreshPolicy::of(written, material.slots.told(material.name)));
        let (policies, key) = match &tokens {
            Tokens::One(slot) => (&*slot.policies, slot.source.proof_key()),
            Tokens::PerSubject { subjects, .. } => (subjects.policies(), subjects.proof_key()),
        };
        policies.join(&policy);
        if let Tokens::One(slot) = &tokens {
            slot.source.serves(&slot.policies);
        }
        let prover = key.map(|key| Prover::new(Arc::clone(key)));
        Some(Self {
            prover,
            tokens,
            entry: digest,
            field: written.token_header.clone(),
            prefix: written.token_prefix.clone(),
            on_unauthorized: written.on_unauthorized.clone(),
            policy,
        })
    }

    /// Where its tokens are.
    pub(in crate::credential) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The field of a request that says on whose behalf it is made; `None`: that makes no difference.
    pub(in crate::credential) fn subject(&self) -> Option<&HeaderName> {
        match &self.tokens {
            Tokens::One(_) => None,
            Tokens::PerSubject { field, .. } => Some(field),
        }
    }

    /// The fields that carry the token, and the proof that it is ours.
    fn fields(&self) -> impl Iterator<Item = &HeaderName> {
        std::iter::once(&self.field).chain(self.prover.as_ref().map(|_| &dpop::FIELD))
    }

    /// Whether each sending carries a proof of its own.
    pub(in crate::credential) fn is_proven(&self) -> bool {
        self.prover.is_some()
    }

    /// As [`Part::put`], with the token of this subject.
    async fn put_for(
        &self,
        subject: &Subject,
        subjects: &Subjects,
        place: usize,
        own: &RefCell<Attachments>,
        outgoing: &mut Outgoing,
        stamp: &mut SentToken,
    ) -> Result<(), Error> {
        let known = own.borrow().slot_of(place, &subject.key);
        let slot = match known {
            Some(slot) => slot,
            None => {
                let slot = subjects.slot(subject).await?;
                own.borrow_mut().remember(place, subject.key, &slot);
                slot
            }
        };
        slot.touch();
        let mut attach = |token: &Token| {
            outgoing.fields.insert(own_name(&self.field), self.value(token));
            self.prove(token, outgoing).map(|()| token.generation)
        };
        let generation = match slot.load(Moment::now(), &mut attach) {
            Some(attached) => attached?,
            None => attach(&*slot.wait().await?)?,
        };
        stamp.carries(generation);
        stamp.subjects.push(slot);
        Ok(())
    }

    /// What the answer means for token and proof. What it says for the next proof is kept.
    pub(in crate::credential) fn verdict(&self, status: StatusCode, fields: &HeaderMap) -> Verdict {
        let of_proof = self.prover.as_ref().and_then(|prover| prover.verdict(status, fields));
        let of_token = || if self.is_called_dead(status, fields) { Verdict::NewToken } else { Verdict::Pass };
        of_proof.unwrap_or_else(of_token)
    }

    /// Whether the answer calls the token dead: by its status, or as gRPC says it in an answer without a body.
    fn is_called_dead(&self, status: StatusCode, fields: &HeaderMap) -> bool {
        self.on_unauthorized.contains(&status) || fields.get(&GRPC_STATUS).is_some_and(|code| code == UNAUTHENTICATED)
    }

    fn attach(
        &self,
        token: &Token,
        place: usize,
        own: &RefCell<Attachments>,
        outgoing: &mut Outgoing,
    ) -> Result<u64, Error> {
        let fields = &mut outgoing.fields;
        own.borrow_mut().attach(place, token.generation, &self.field, || self.value(token), fields);
        self.prove(token, outgoing)?;
        Ok(token.generation)
    }

    /// Adds a proof for this sending, if the token needs one.
    fn prove(&self, token: &Token, outgoing: &mut Outgoing) -> Result<(), Error> {
        let Some(prover) = &self.prover else { return Ok(()) };
        let Outgoing { scheme, authority, target, method, .. } = &*outgoing;
        let resource = Resource { scheme: *scheme, authority: authority.as_str(), path: target.path() };
        let proof = prover.prove(method.as_str(), resource, Some(&token.access_token))?;
        outgoing.fields.insert(dpop::FIELD.clone(), proof);
        Ok(())
    }

    fn value(&self, token: &Token) -> HeaderValue {
        let token = token.access_token.expose();
        if self.prefix.is_empty() {
            return secret_value(token);
        }
        let prefixed = Secret::of_parts(|| [&*self.prefix, " ", token].into_iter());
        secret_value(prefixed.expose())
    }
}

impl Part for Bearer {
    fn owns(&self, owned: &mut Owned) {
        owned.fields.extend(self.fields().cloned());
        owned.subjects.extend(self.subject().cloned());
    }

    fn digest(&self, digest: &mut Digest) {
        digest.list(
            [b"bearer".as_slice(), &self.entry, self.field.as_str().as_bytes(), self.prefix.as_bytes()].into_iter(),
        );
        let statuses: Vec<[u8; 2]> = self.on_unauthorized.iter().map(|status| status.as_u16().to_be_bytes()).collect();
        digest.field(statuses.as_flattened());
        self.policy.digest(digest);
    }

    /// A proof of the app's is for a token of the app's: the two are one.
    fn was_sent(&self, outgoing: &Outgoing) -> bool {
        self.fields().any(|field| outgoing.fields.contains_key(field))
    }

    /// Sets the token's field and, for one that is bound to a key, a proof for this sending; notes which token it was.
    ///
    /// # Errors
    /// When no live token is held and none can be had, or the request does not say whose; when no proof can be signed.
    async fn put(&self, sending: &mut Sending<'_>) -> Result<(), Error> {
        let Sending { place, own, subjects: named, outgoing, stamp } = sending;
        let place = *place;
        let slot = match &self.tokens {
            Tokens::One(slot) => slot,
            Tokens::PerSubject { subjects, field } => {
                let subject = named.of(place, field)?;
                return aside(|| self.put_for(subject, subjects, place, own, outgoing, stamp)).await;
            }
        };
        let attached = slot.load(Moment::now(), |token| self.attach(token, place, own, outgoing));
        let generation = match attached {
            Some(attached) => attached?,
            None => self.attach(&*slot.wait().await?, place, own, outgoing)?,
        };
        stamp.carries(generation);
        Ok(())
    }

    fn slot(&self) -> Option<&Arc<Slot>> {
        match &self.tokens {
            Tokens::One(slot) => Some(slot),
            // There is one for each subject.
            Tokens::PerSubject { .. } => None,
        }
    }

    fn bearer(&self) -> Option<&Self> {
        Some(self)
    }
}

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const UNAUTHENTICATED: &str = "16";
