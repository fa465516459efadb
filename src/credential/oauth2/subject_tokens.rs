//! On whose behalf a request is made: the token that it brings to be exchanged for ours (RFC 8693).
//!
//! It is read before the fields are made those of the service's request, which it is no part of.

use http::{HeaderMap, HeaderName};

use crate::credential::Error;
use crate::credential::digest::Digest;
use crate::secret::Secret;

/// Whose tokens one request asks for, by the place of the part that exchanges them.
#[derive(Debug, Default)]
pub(crate) struct SubjectTokens(Vec<(usize, Result<Subject, Error>)>);

/// Somebody for whom a token is asked.
#[derive(Clone, Debug)]
pub(in crate::credential) struct Subject {
    /// SHA-256 of the token.
    pub(super) key: [u8; 32],
    pub(super) token: Secret,
}

impl SubjectTokens {
    /// `fields` are the request's, as the app sent it; `wanted` the parts that need a subject, with the field that
    /// names it.
    pub(in crate::credential) fn read<'a>(
        fields: &HeaderMap,
        wanted: impl Iterator<Item = (usize, &'a HeaderName)>,
    ) -> Self {
        // Without one that wants it this allocates nothing.
        Self(wanted.map(|(place, name)| (place, Subject::read(fields, name))).collect())
    }

    /// The subject of the part at `place`, which `field` names.
    ///
    /// # Errors
    /// When the request does not say who that is: it is told only here, for a request that brings a credential of its
    /// own may need none.
    pub(super) fn of(&self, place: usize, field: &HeaderName) -> Result<&Subject, Error> {
        match self.0.iter().find(|(at, _)| *at == place) {
            Some((_, subject)) => subject.as_ref().map_err(Clone::clone),
            None => Err(Error::NoSubject { field: field.clone() }),
        }
    }
}

impl Subject {
    fn read(fields: &HeaderMap, name: &HeaderName) -> Result<Self, Error> {
        let mut sent = fields.get_all(name).iter();
        let Some(value) = sent.next() else { return Err(Error::NoSubject { field: name.clone() }) };
        if sent.next().is_some() {
            return Err(Error::SubjectRepeated { field: name.clone() });
        }
        let token = without_scheme(value.as_bytes().trim_ascii());
        match std::str::from_utf8(token) {
            Ok("") => Err(Error::NoSubject { field: name.clone() }),
            Ok(token) if token.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Self::of(token)),
            _ => Err(Error::SubjectMalformed { field: name.clone() }),
        }
    }

    fn of(token: &str) -> Self {
        let mut digest = Digest::new();
        digest.field(token.as_bytes());
        Self { key: digest.finish(), token: Secret::new(token.to_owned()) }
    }
}

fn without_scheme(value: &[u8]) -> &[u8] {
    match value.split_at_checked(BEARER.len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(BEARER) => token.trim_ascii_start(),
        // A scheme without a token.
        None if value.eq_ignore_ascii_case(BEARER.trim_ascii_end()) => b"",
        _ => value,
    }
}

const BEARER: &[u8] = b"bearer ";

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(values: &[&'static [u8]]) -> Result<String, String> {
        let name = HeaderName::from_static("x-user-token");
        let mut fields = HeaderMap::new();
        for value in values {
            fields.append(&name, HeaderValue::from_bytes(value).unwrap());
        }
        let behalf = SubjectTokens::read(&fields, [(3, &name)].into_iter());
        behalf.of(3, &name).map(|subject| subject.token.expose().to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_subject_is_the_token_of_its_field_without_the_word_before_it() {
        for value in [&b"a.b.c"[..], b"Bearer a.b.c", b"bearer  a.b.c", b"BEARER a.b.c", b" a.b.c "] {
            assert_eq!(read(&[value]), Ok("a.b.c".to_owned()));
        }
        assert_eq!(read(&[b"bearera"]), Ok("bearera".to_owned()));
    }

    #[test]
    fn a_request_that_does_not_say_who_is_refused_with_the_name_of_the_field() {
        let table: [(&[&'static [u8]], &str); 6] = [
            (&[], "has no field"),
            (&[b""], "has no field"),
            (&[b"Bearer "], "has no field"),
            (&[b"Bearer"], "has no field"),
            (&[b"a", b"a"], "more than one"),
            (&[b"Basic abc"], "no token"),
        ];
        for (values, said) in table {
            let error = read(values).unwrap_err();

            assert!(error.contains(said) && error.contains("`x-user-token`"), "{values:?}: {error}");
        }
    }
}
