//! A credential in the query: the one parameter of its name that any service finds there.
//!
//! There is no standard for what a query means. Services part it at `&`, older ones at `;` too; they decode names once,
//! or twice where a proxy stands before them; PHP makes `_` of what can't be in its names, and an array of `key[]`;
//! others read names without case. So whatever any of them reads as our name goes, and ours is put at the end. Every other
//! byte stays as it was.

use std::borrow::Cow;

use http::uri::PathAndQuery;

use super::Error;
use super::digest::Digest;
use super::owned::Owned;
use super::part::{Part, Sending};
use crate::config::OnClientAuthorization;
use crate::raw_query::as_read;
use crate::secret::Secret;
use crate::transport::Outgoing;

/// A query parameter with a fixed value.
#[derive(Debug)]
pub(super) struct Query {
    name: String,
    /// As services may read it.
    as_read: Vec<u8>,
    /// `name=value`, percent-encoded.
    pair: Secret,
}

impl Part for Query {
    fn owns(&self, owned: &mut Owned) {
        owned.query.push(self.name.clone());
    }

    fn digest(&self, digest: &mut Digest) {
        digest.list([b"query".as_slice(), self.name.as_bytes(), self.pair.expose().as_bytes()].into_iter());
    }

    fn was_sent(&self, outgoing: &Outgoing) -> bool {
        self.is_in(&outgoing.target)
    }

    async fn put(&self, sending: &mut Sending<'_>) -> Result<(), Error> {
        self.set(&mut sending.outgoing.target)
    }
}

impl Query {
    /// `prefix` goes before the value.
    pub(super) fn new(name: &str, prefix: &str, value: &Secret) -> Self {
        let value = Secret::new(encoded(&format!("{prefix}{}", value.expose())));
        let pair = Secret::new(format!("{}={}", encoded(name), value.expose()));
        Self { name: name.to_owned(), as_read: loosely(name.as_bytes().to_vec()), pair }
    }

    /// Whether the app sent a parameter of this very name, as a form is read by everybody. Other spellings of it do not
    /// count: they are no credential that can be relied on.
    fn is_in(&self, target: &PathAndQuery) -> bool {
        let is_named = |pair: &str| {
            form_urlencoded::parse(name_of(pair).as_bytes()).next().is_some_and(|(name, _)| name == self.name.as_str())
        };
        target.query().is_some_and(|query| query.split('&').any(is_named))
    }

    /// Takes out every parameter that a service could read as ours, and puts ours at the end.
    ///
    /// # Errors
    /// When the target has no query (`OPTIONS *`), or would be longer than a target can be.
    fn set(&self, target: &mut PathAndQuery) -> Result<(), Error> {
        let path = target.path();
        if path == "*" {
            return Err(Error::NoQuery { parameter: self.name.clone() });
        }
        let others = self.without(target.query().unwrap_or_default());
        let separator = if others.is_empty() || others.ends_with('&') { "" } else { "&" };
        let whole = format!("{path}?{others}{separator}{}", self.pair.expose());
        *target = PathAndQuery::from_maybe_shared(whole.into_bytes()).map_err(|_| Error::TargetTooLong)?;
        Ok(())
    }

    fn without(&self, query: &str) -> String {
        // What a `&` parts is what everybody takes for a pair; of one that is several to some, only ours goes.
        let others = query.split('&').filter_map(|pair| {
            let mut others = pair.split(';').filter(|part| !self.may_be(part)).peekable();
            others.peek().is_some().then(|| others.collect::<Vec<_>>().join(";"))
        });
        others.collect::<Vec<_>>().join("&")
    }

    /// Whether some service reads this as ours.
    fn may_be(&self, pair: &str) -> bool {
        let mut name = as_read(name_of(pair));
        for _ in 0..MOST_ENCODINGS {
            if loosely(name.to_vec()) == self.as_read {
                return true;
            }
            match decoded(&name) {
                Some(decoded) => name = Cow::Owned(decoded),
                None => return false,
            }
        }
        // Nobody encodes a name so often who does not hide it.
        true
    }
}

/// The target as it is sent with these parameters of ours, their values masked: for people. One that the app may keep is kept.
pub(crate) fn masked(names: &[String], on_client: OnClientAuthorization, target: &PathAndQuery) -> PathAndQuery {
    let mut sent = target.clone();
    for name in names {
        let query = Query::new(name, "", &Secret::new("***".to_owned()));
        if on_client != OnClientAuthorization::Keep || !query.is_in(target) {
            // What has no room for it is refused when it is sent; here it stays as it is.
            drop(query.set(&mut sent));
        }
    }
    sent
}

fn name_of(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

/// A name as the most lenient of services read it: up to a NUL, what surrounds it aside, `key[]` and `key[x]` as `key`; a
/// space, a dot and a lone bracket as `_`; without case.
fn loosely(mut name: Vec<u8>) -> Vec<u8> {
    name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
    // Form decoding comes first everywhere.
    name.iter_mut().filter(|byte| **byte == b'+').for_each(|byte| *byte = b' ');
    let surrounds = |byte: &u8| byte.is_ascii_whitespace() || byte.is_ascii_control() || *byte == b'?';
    let start = name.iter().take_while(|byte| surrounds(byte)).count();
    let end = name.len() - name.iter().skip(start).rev().take_while(|byte| surrounds(byte)).count();
    let mut name = name.get(start..end).unwrap_or_default().to_vec();
    if let Some(bracket) = name.iter().position(|byte| *byte == b'[').filter(|bracket| *bracket > 0)
        && name.iter().skip(bracket).any(|byte| *byte == b']')
    {
        name.truncate(bracket);
    }
    for byte in &mut name {
        *byte = if matches!(*byte, b' ' | b'.' | b'[') { b'_' } else { byte.to_ascii_lowercase() };
    }
    name
}

/// With each percent-encoding decoded once, those of IIS (`%u0041`) too; `None`: there is none.
fn decoded(name: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        let escape = (byte == b'%').then(|| escaped(after)).flatten();
        let (byte, length) = escape.unwrap_or((byte, 0));
        decoded.push(byte);
        rest = after.get(length..).unwrap_or_default();
    }
    (decoded.len() < name.len()).then_some(decoded)
}

/// The byte that these say after a `%`, and how many of them do.
fn escaped(after: &[u8]) -> Option<(u8, usize)> {
    let number = |digits: &[u8]| {
        let all_hex = digits.iter().all(u8::is_ascii_hexdigit);
        std::str::from_utf8(digits).ok().filter(|_| all_hex).and_then(|digits| u8::from_str_radix(digits, 16).ok())
    };
    match after {
        [b'u' | b'U', b'0', b'0', high, low, ..] => number(&[*high, *low]).map(|byte| (byte, 5)),
        [high, low, ..] => number(&[*high, *low]).map(|byte| (byte, 2)),
        _ => None,
    }
}

/// Percent-encoded so that it may stand anywhere in a query; a space is `%20`, which even those understand who do not
/// read queries as forms.
fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// Proxies decode before services do, so twice is common; each more takes a pass.
const MOST_ENCODINGS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, value: &str) -> Query {
        Query::new(name, "", &Secret::new(value.to_owned()))
    }

    #[track_caller]
    fn check(asked: &str, sent: &str) {
        check_named("api key", asked, sent, "api%20key=a%20b%26c");
    }

    #[track_caller]
    fn check_named(name: &str, asked: &str, sent: &str, ours: &str) {
        let mut target = PathAndQuery::try_from(asked).expect("a target");

        query(name, "a b&c").set(&mut target).expect("room for it");

        assert_eq!(target.as_str(), format!("{sent}{ours}"), "{asked}");
    }

    #[test]
    fn a_query_credential_is_put_at_the_end() {
        check("/p", "/p?");
        check("/p?", "/p?");
        check("/p?x=1", "/p?x=1&");
        check("/p?x=1&", "/p?x=1&");
    }

    #[test]
    fn it_replaces_every_parameter_of_its_name_in_any_spelling() {
        check("/p?api%20key=1&x=1", "/p?x=1&");
        check("/p?x=1&api+key=1&y=2&%61pi%20key", "/p?x=1&y=2&");
        check("/p?api+key", "/p?");
    }

    #[test]
    fn it_replaces_what_any_service_could_read_as_its_name() {
        for spelt in [
            "api_key=1",
            "api.key=1",
            "api[key=1",
            "API_KEY=1",
            "Api+Key=1",
            "api%5Fkey=1",
            "api%5fkey",
            "api%255Fkey=1",
            "api%25255fkey=1",
            "%61%70%69_%6b%65%79=1",
            "api_key[]=1",
            "api_key[0]=1",
            "api_key[a][b]=1",
            "api_key%5B%5D=1",
            "api%u005Fkey=1",
            "+api_key=1",
            "%20%0aapi_key=1",
            "api_key%00x=1",
            "api_key%20=1",
            "?api_key=1",
            "api_key%2500=1",
        ] {
            check_named("api_key", &format!("/p?x=1&{spelt}&y=2"), "/p?x=1&y=2&", "api_key=a%20b%26c");
            check_named("api_key", &format!("/p?x=1;{spelt};y=2"), "/p?x=1;y=2&", "api_key=a%20b%26c");
            check_named("api_key", &format!("/p?{spelt}"), "/p?", "api_key=a%20b%26c");
        }
        let hidden = format!("/p?api%{}5fkey=1", "25".repeat(20));
        check_named("api_key", &hidden, "/p?", "api_key=a%20b%26c");
    }

    #[test]
    fn all_else_in_the_query_stays_byte_for_byte() {
        let others =
            "/p;v=1/%7e?a=%2f&&b=+;c;;&=&API-KEY=2&my_api_key=3&api_keys=4&api=key&u=http%3A%2F%2Fx%3Fapi_key%3D5;";
        check_named("api_key", others, &format!("{others}&"), "api_key=a%20b%26c");
        check_named("key", "/p?key.x=1&x[key]=2&k%65y=3", "/p?key.x=1&x[key]=2&", "key=a%20b%26c");
    }

    #[test]
    fn what_the_app_keeps_is_a_parameter_that_everybody_reads() {
        let key = query("api_key", "ours");
        let is_in = |target| key.is_in(&PathAndQuery::from_static(target));

        assert!(is_in("/p?x=1&api_key=1") && is_in("/p?api%5Fkey=1"));
        assert!(!is_in("/p?x=1;api_key=1") && !is_in("/p?API_KEY=1") && !is_in("/p?api_key[]=1") && !is_in("/p"));
    }

    #[test]
    fn people_see_what_is_sent_without_our_value_and_without_the_apps() {
        let (names, asked) = (["key".to_owned()], PathAndQuery::from_static("/p?x=1&KEY=evil&key=evil"));
        let shown = |on_client| masked(&names, on_client, &asked).to_string();

        assert_eq!(shown(OnClientAuthorization::Replace), "/p?x=1&key=***");
        assert_eq!(shown(OnClientAuthorization::Keep), asked.to_string());
    }

    #[test]
    fn a_query_credential_is_refused_where_there_is_no_room_for_it() {
        let query = query("key", "abc");

        let asterisk = query.set(&mut PathAndQuery::from_static("*")).expect_err("no query");
        let mut longest = PathAndQuery::try_from(format!("/{}", "a".repeat(65_530))).expect("a target");
        let long = query.set(&mut longest).expect_err("too long");

        assert_eq!(asterisk.to_string(), "`OPTIONS *` has no query that could carry the parameter `key`");
        assert_eq!(long.to_string(), "the target is too long with the credential in its query: 65,534 bytes at most");
    }
}
