//! How a service's requests carry the token of their entry.

use std::cell::RefCell;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use zeroize::Zeroizing;

use super::behalf::Subject;
use super::entry::{Entry, Key, Tokens};
use super::slot::Token;
use super::terms::Terms;
use super::{Behalf, Subjects};
use crate::clock::Moment;
use crate::config::Report;
use crate::config::auth::OAuth2;
use crate::credential::digest::Digest;
use crate::credential::fixed::secret_value;
use crate::credential::{Attachments, Error, Material, Stamp, own_name};

/// An OAuth 2.0 method of one service: reads its entry's slot, and puts the token on requests.
#[derive(Debug)]
pub(in crate::credential) struct Bearer {
    tokens: Tokens,
    /// The field of a request that names its subject.
    subject: Option<HeaderName>,
    entry: Key,
    field: HeaderName,
    /// Empty: the bare token.
    prefix: String,
    on_unauthorized: Vec<StatusCode>,
    /// Held for the slot: this service's terms count as long as this is here.
    terms: Arc<Terms>,
}

impl Bearer {
    pub(in crate::credential) fn compile(
        written: &OAuth2,
        material: &Material<'_>,
        report: &mut Report,
    ) -> Option<Self> {
        let entry = Entry::compile(written, material, report)?;
        let key = entry.key;
        let subject = entry.request.subject_field().cloned();
        let tokens = material.slots.tokens(entry);
        let terms = Arc::new(Terms::of(written));
        match &tokens {
            Tokens::One(slot) => slot.sharers.join(&terms),
            Tokens::PerSubject(subjects) => subjects.sharers().join(&terms),
        }
        Some(Self {
            tokens,
            subject,
            entry: key,
            field: written.token_header.clone(),
            prefix: written.token_prefix.clone(),
            on_unauthorized: written.on_unauthorized.clone(),
            terms,
        })
    }

    /// Where its tokens are.
    pub(in crate::credential) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The field of a request that says on whose behalf it is made; `None`: that makes no difference.
    pub(in crate::credential) fn subject(&self) -> Option<&HeaderName> {
        self.subject.as_ref()
    }

    /// The field that carries the token.
    pub(in crate::credential) fn field(&self) -> &HeaderName {
        &self.field
    }

    pub(in crate::credential) fn digest(&self, digest: &mut Digest) {
        digest.list(
            [b"bearer".as_slice(), &self.entry, self.field.as_str().as_bytes(), self.prefix.as_bytes()].into_iter(),
        );
        let statuses: Vec<[u8; 2]> = self.on_unauthorized.iter().map(|status| status.as_u16().to_be_bytes()).collect();
        digest.field(statuses.as_flattened());
        self.terms.digest(digest);
    }

    /// Sets the token's field, and notes which token it was.
    ///
    /// # Errors
    /// When no live token is held and none can be had, or the request does not say whose.
    pub(in crate::credential) async fn put(
        &self,
        place: usize,
        own: &RefCell<Attachments>,
        behalf: &Behalf,
        fields: &mut HeaderMap,
        stamp: &mut Stamp,
    ) -> Result<(), Error> {
        let slot = match &self.tokens {
            Tokens::One(slot) => slot,
            // In a box: most requests name nobody, and need no room for it.
            Tokens::PerSubject(subjects) => {
                return Box::pin(self.put_for(behalf.of(place)?, subjects, place, own, fields, stamp)).await;
            }
        };
        let attached = slot.load(Moment::now(), |token| self.attach(token, place, own, fields));
        let generation = match attached {
            Some(generation) => generation,
            None => self.attach(&*slot.wait().await?, place, own, fields),
        };
        stamp.carries(generation);
        Ok(())
    }

    /// As [`Bearer::put`], with the token of this subject.
    async fn put_for(
        &self,
        subject: &Subject,
        subjects: &Subjects,
        place: usize,
        own: &RefCell<Attachments>,
        fields: &mut HeaderMap,
        stamp: &mut Stamp,
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
        let value = |token: &Token| (token.generation, self.value(token));
        let (generation, value) = match slot.load(Moment::now(), value) {
            Some(loaded) => loaded,
            None => value(&*slot.wait().await?),
        };
        fields.insert(own_name(&self.field), value);
        stamp.carries(generation);
        stamp.subjects.push(slot);
        Ok(())
    }

    /// Whether the answer calls the token dead: by its status, or as gRPC says it in an answer without a body.
    pub(in crate::credential) fn is_called_dead(&self, status: StatusCode, fields: &HeaderMap) -> bool {
        self.on_unauthorized.contains(&status) || fields.get(&GRPC_STATUS).is_some_and(|code| code == UNAUTHENTICATED)
    }

    fn attach(&self, token: &Token, place: usize, own: &RefCell<Attachments>, fields: &mut HeaderMap) -> u64 {
        own.borrow_mut().attach(place, token.generation, &self.field, || self.value(token), fields);
        token.generation
    }

    fn value(&self, token: &Token) -> HeaderValue {
        let token = token.access_token.expose();
        if self.prefix.is_empty() {
            return secret_value(token);
        }
        let prefixed = Zeroizing::new(format!("{} {token}", self.prefix));
        secret_value(&prefixed)
    }
}

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const UNAUTHENTICATED: &str = "16";
