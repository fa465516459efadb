//! A token request in the making: its form, its fields, and every secret that goes into either.

use form_urlencoded::Serializer;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::dpop::FIELD;
use super::spellings::Spellings;
use crate::credential::sensitive::secret_value;
use crate::secret::Secret;

/// A token request in the making.
pub(super) struct TokenForm {
    body: Serializer<'static, String>,
    fields: HeaderMap,
    secrets: Vec<Secret>,
}

/// A token request that is ready to go.
pub(super) struct Written {
    pub(super) body: Secret,
    pub(super) fields: HeaderMap,
    /// What an answer must not repeat to people.
    pub(super) secrets: Spellings,
}

impl TokenForm {
    /// A request for a token with this grant.
    pub(super) fn new(grant_type: &str) -> Self {
        let mut fields = plain_fields();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let mut form = Self { body: Serializer::new(String::new()), fields, secrets: Vec::new() };
        form.add("grant_type", grant_type);
        form
    }

    /// Adds a field to the form.
    pub(super) fn add(&mut self, name: &str, value: &str) {
        self.body.append_pair(name, value);
    }

    /// Adds a field to the form, with a value that is nobody's business.
    pub(super) fn add_secret(&mut self, name: &str, value: &Secret) {
        self.body.append_pair(name, value.expose());
        self.secrets.push(value.clone());
    }

    /// Sets a field of the head to what holds these secrets.
    pub(super) fn set_field(&mut self, name: &HeaderName, value: &str, secrets: impl IntoIterator<Item = Secret>) {
        self.fields.insert(name, secret_value(value));
        self.secrets.extend(secrets);
    }

    /// Adds a proof, which is good for this one request.
    pub(super) fn prove(&mut self, proof: HeaderValue) {
        self.fields.insert(&FIELD, proof);
    }

    pub(super) fn finish(mut self) -> Written {
        let body = Secret::new(self.body.finish());
        let secrets = Spellings::of(self.secrets.iter().map(Secret::expose));
        Written { body, fields: self.fields, secrets }
    }
}

/// What every request of ours says of itself, and of the answer that it wants.
pub(super) fn plain_fields() -> HeaderMap {
    let mut fields = HeaderMap::new();
    fields.insert(USER_AGENT, HeaderValue::from_static(concat!("sidekey/", env!("CARGO_PKG_VERSION"))));
    fields.insert(ACCEPT, HeaderValue::from_static("application/json"));
    // A few hundred bytes gain nothing by compression, and nothing need be unpacked.
    fields.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    fields
}
