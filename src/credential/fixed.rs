//! Static methods: what is put on a request is known before any comes.
//!
//! All values are encoded when the config is compiled. A value that comes into a cookie takes the place of whatever the app
//! put there under its name; every other byte stays as it was. For the query see `query`.

use std::cell::RefCell;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Error;
use super::attachments::{Attachments, own_value};
use super::digest::Digest;
use super::owned::Owned;
use super::part::{Part, Sending};
use super::sensitive::secret_value;
use crate::secret::Secret;
use crate::transport::Outgoing;

/// A field with a fixed value.
#[derive(Debug)]
pub(super) struct Field {
    name: HeaderName,
    value: HeaderValue,
}

/// A cookie with a fixed value.
#[derive(Debug)]
pub(super) struct Cookie {
    name: String,
    /// `name=value`.
    pair: Secret,
}

fn prefixed(prefix: &str, value: &Secret) -> Secret {
    Secret::new(format!("{prefix}{}", value.expose()))
}

impl Part for Field {
    fn owns(&self, owned: &mut Owned) {
        owned.fields.push(self.name.clone());
    }

    fn digest(&self, digest: &mut Digest) {
        digest.list([b"field".as_slice(), self.name.as_str().as_bytes(), self.value.as_bytes()].into_iter());
    }

    fn was_sent(&self, outgoing: &Outgoing) -> bool {
        outgoing.fields.contains_key(&self.name)
    }

    async fn put(&self, sending: &mut Sending<'_>) -> Result<(), Error> {
        self.set(sending.place, sending.own, &mut sending.outgoing.fields);
        Ok(())
    }
}

impl Field {
    /// `prefix` goes before the value.
    pub(super) fn new(name: &HeaderName, prefix: &str, value: &Secret) -> Self {
        Self { name: name.clone(), value: secret_value(prefixed(prefix, value).expose()) }
    }

    /// RFC 7617, in UTF-8.
    pub(super) fn basic(username: &str, password: &Secret) -> Self {
        let pair = Secret::new(format!("{username}:{}", password.expose()));
        Self::new(&AUTHORIZATION, "Basic ", &Secret::new(STANDARD.encode(pair.expose())))
    }

    fn set(&self, place: usize, own: &RefCell<Attachments>, fields: &mut HeaderMap) {
        own.borrow_mut().attach(place, UNCHANGING, &self.name, || own_value(&self.value), fields);
    }
}

impl Part for Cookie {
    fn owns(&self, owned: &mut Owned) {
        owned.cookies.push(self.name.clone());
    }

    fn digest(&self, digest: &mut Digest) {
        digest.list([b"cookie".as_slice(), self.name.as_bytes(), self.pair.expose().as_bytes()].into_iter());
    }

    /// Whether a `Cookie` field has a pair of this name.
    fn was_sent(&self, outgoing: &Outgoing) -> bool {
        let sent = outgoing.fields.get_all(COOKIE);
        sent.iter().any(|value| pairs(value.as_bytes()).any(|pair| self.names(pair)))
    }

    async fn put(&self, sending: &mut Sending<'_>) -> Result<(), Error> {
        self.set(&mut sending.outgoing.fields);
        Ok(())
    }
}

impl Cookie {
    /// `prefix` goes before the value.
    pub(super) fn new(name: &str, prefix: &str, value: &Secret) -> Self {
        let pair = Secret::new(format!("{name}={}", prefixed(prefix, value).expose()));
        Self { name: name.to_owned(), pair }
    }

    /// Replaces the pair of the name, and puts ours at the end of the last `Cookie` field.
    fn set(&self, fields: &mut HeaderMap) {
        let mut others: Vec<Vec<u8>> = fields.get_all(COOKIE).iter().map(|value| self.without(value)).collect();
        others.retain(|value| !value.is_empty());
        let mut last = others.pop().unwrap_or_default();
        if !last.is_empty() {
            last.extend_from_slice(b"; ");
        }
        last.extend_from_slice(self.pair.expose().as_bytes());

        fields.remove(COOKIE);
        for value in others.iter().chain([&last]) {
            // Invariant: pieces of field values, joined by what may stand in one.
            if let Ok(mut value) = HeaderValue::from_bytes(value) {
                value.set_sensitive(true);
                fields.append(COOKIE, value);
            }
        }
    }

    fn without(&self, value: &HeaderValue) -> Vec<u8> {
        let bytes = value.as_bytes();
        if !pairs(bytes).any(|pair| self.names(pair)) {
            return bytes.to_vec();
        }
        // What a `;` parts is what everybody takes for a pair; of one that is several to some, only ours goes.
        let others = bytes.split(|byte| *byte == b';').filter_map(|pair| {
            let mut others = pair.split(|byte| *byte == b',').filter(|part| !self.names(part)).peekable();
            others.peek().is_some().then(|| others.collect::<Vec<_>>().join(&b','))
        });
        others.collect::<Vec<_>>().join(&b';').trim_ascii().to_vec()
    }

    fn names(&self, pair: &[u8]) -> bool {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        // What surrounds it is no part of a name, though some strip more of it than spaces (RFC 6265 §4.1.1).
        let is_of_a_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        let (first, last) = (name.iter().position(is_of_a_name), name.iter().rposition(is_of_a_name));
        let bare = first.zip(last).map_or(&b""[..], |(first, last)| &name[first..=last]);
        bare == self.name.as_bytes() || name.trim_ascii() == self.name.as_bytes()
    }
}

/// The pairs of a `Cookie` field, with the spaces around them (RFC 6265 §4.2.1). Who still reads them by RFC 2965 takes
/// a comma for the end of one, too.
fn pairs(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| matches!(byte, b';' | b','))
}

/// The generation of a value that never changes.
const UNCHANGING: u64 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[track_caller]
    fn check_field(field: &Field, name: &str, value: &str) {
        let mut fields = HeaderMap::new();

        field.set(0, &RefCell::default(), &mut fields);

        let set: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(set, [(name, value.as_bytes())]);
        assert!(fields.values().all(HeaderValue::is_sensitive));
    }

    #[test]
    fn each_method_sets_its_field() {
        let header = |name, prefix, value| Field::new(&HeaderName::from_static(name), prefix, &secret(value));

        check_field(
            &Field::basic("Aladdin", &secret("open sesame")),
            "authorization",
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        );
        check_field(&Field::basic("Ä", &secret("ß:")), "authorization", "Basic w4Q6w586");
        check_field(&header("authorization", "Bearer ", "abc"), "authorization", "Bearer abc");
        check_field(&header("x-api-key", "", "abc"), "x-api-key", "abc");
        check_field(&header("x-tenant", "", "t ä"), "x-tenant", "t ä");
    }

    #[track_caller]
    fn check_cookie(asked: &[&str], sent: &[&str]) {
        let cookie = Cookie::new("key", "a", &secret("bc"));
        let mut fields = HeaderMap::new();
        for value in asked {
            fields.append(COOKIE, HeaderValue::from_str(value).expect("a value"));
        }

        cookie.set(&mut fields);

        assert_eq!(fields.get_all(COOKIE).iter().collect::<Vec<_>>(), sent);
    }

    #[test]
    fn a_cookie_credential_replaces_that_one_pair() {
        check_cookie(&[], &["key=abc"]);
        check_cookie(&["a=1"], &["a=1; key=abc"]);
        check_cookie(&["key=old"], &["key=abc"]);
        check_cookie(&["key=old; a=1;b=2"], &["a=1;b=2; key=abc"]);
        check_cookie(&["a=1; key=old; b=2"], &["a=1; b=2; key=abc"]);
        check_cookie(&["a=1; key = old ;b=2; key"], &["a=1;b=2; key=abc"]);
        check_cookie(&["a=1", "key=old", "b=2"], &["a=1", "b=2; key=abc"]);
        check_cookie(&["a=1, key=old; b=2"], &["a=1; b=2; key=abc"]);
        check_cookie(&["key=old, a=1"], &["a=1; key=abc"]);
        check_cookie(&["a=1;\u{a0}key\u{a0}=old"], &["a=1; key=abc"]);
        check_cookie(&["a=1,2;b=3,key = old,"], &["a=1,2;b=3,; key=abc"]);
        check_cookie(&["a=1,xkey=2;b"], &["a=1,xkey=2;b; key=abc"]);
        check_cookie(&["Key=1; xkey=2; a=key=3"], &["Key=1; xkey=2; a=key=3; key=abc"]);
    }
}
