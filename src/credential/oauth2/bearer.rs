//! How a service's requests carry the token of their entry.

use std::cell::RefCell;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use zeroize::Zeroizing;

use super::entry::{Entry, Key};
use super::slot::{Slot, Token};
use super::terms::Terms;
use crate::clock::Moment;
use crate::config::Report;
use crate::config::auth::OAuth2;
use crate::credential::digest::Digest;
use crate::credential::fixed::secret_value;
use crate::credential::{Attachments, Error, Material};

/// An OAuth 2.0 method of one service: reads its entry's slot, and puts the token on requests.
#[derive(Debug)]
pub(in crate::credential) struct Bearer {
    slot: Arc<Slot>,
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
        let slot = material.slots.slot(entry);
        let terms = Arc::new(Terms::of(written));
        slot.sharers.join(&terms);
        Some(Self {
            slot,
            entry: key,
            field: written.token_header.clone(),
            prefix: written.token_prefix.clone(),
            on_unauthorized: written.on_unauthorized.clone(),
            terms,
        })
    }

    pub(in crate::credential) fn slot(&self) -> &Arc<Slot> {
        &self.slot
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

    /// Sets the token's field, and says which token it was.
    ///
    /// # Errors
    /// When the slot holds no live token and none can be had.
    pub(in crate::credential) async fn put(
        &self,
        place: usize,
        own: &RefCell<Attachments>,
        fields: &mut HeaderMap,
    ) -> Result<u64, Error> {
        let attached = self.slot.load(Moment::now(), |token| self.attach(token, place, own, fields));
        if let Some(generation) = attached {
            return Ok(generation);
        }
        let token = self.slot.wait().await?;
        Ok(self.attach(&token, place, own, fields))
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
