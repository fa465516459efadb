//! A token request in the making: its form, its fields, and every secret that goes into either.

use bytes::Bytes;
use form_urlencoded::byte_serialize;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::dpop::FIELD;
use super::spellings::Spellings;
use crate::credential::sensitive::secret_value;
use crate::secret::Secret;

/// A token request in the making.
pub(super) struct TokenForm {
    /// Names and values, as they are before they are encoded.
    pairs: Vec<(String, Secret)>,
    fields: HeaderMap,
    secrets: Vec<Secret>,
}

/// A token request that is ready to go.
pub(super) struct WrittenRequest {
    /// Wiped when the last that holds it is gone.
    pub(super) body: Bytes,
    pub(super) fields: HeaderMap,
    /// What an answer must not repeat to people.
    pub(super) secrets: Spellings,
}

impl TokenForm {
    /// A request for a token with this grant.
    pub(super) fn new(grant_type: &str) -> Self {
        let mut fields = plain_fields();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let mut form = Self { pairs: Vec::new(), fields, secrets: Vec::new() };
        form.add("grant_type", grant_type);
        form
    }

    /// Adds a field to the form.
    pub(super) fn add(&mut self, name: &str, value: &str) {
        self.pairs.push((name.to_owned(), Secret::new(value.to_owned())));
    }

    /// Adds a field to the form, with a value that is nobody's business.
    pub(super) fn add_secret(&mut self, name: &str, value: &Secret) {
        self.pairs.push((name.to_owned(), value.clone()));
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

    pub(super) fn finish(self) -> WrittenRequest {
        // Encoded in one go, for all of it is known by now: a form that grew would leave copies of its secrets behind.
        let body = Bytes::from_owner(Secret::of_parts(|| self.parts()));
        let secrets = Spellings::of(self.secrets.iter().map(Secret::expose));
        WrittenRequest { body, fields: self.fields, secrets }
    }

    /// The form as it is sent, in pieces.
    fn parts(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().enumerate().flat_map(|(at, (name, value))| {
            let separator = if at == 0 { "" } else { "&" };
            let (name, value) = (byte_serialize(name.as_bytes()), byte_serialize(value.expose().as_bytes()));
            std::iter::once(separator).chain(name).chain(std::iter::once("=")).chain(value)
        })
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
