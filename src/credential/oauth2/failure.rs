//! Why a token request came to nothing, told so that a person can act on it.
//!
//! Promises that no secret of ours is in the text: what an endpoint says of a request may repeat what was in it, so
//! its words are stripped, shortened and escaped before they are kept.

use std::time::Duration;

use crate::code::Code;
use crate::secret::Secret;

/// One token request that brought no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{endpoint} {what}; {help}")]
pub(crate) struct Failure {
    pub(super) kind: Kind,
    /// Host and port of the token endpoint.
    pub(super) endpoint: String,
    pub(super) what: String,
    pub(super) help: &'static str,
    /// How long the endpoint asks to be left alone.
    pub(super) retry_after: Option<Duration>,
}

/// Whether asking again could help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The endpoint understood and said no: somebody must change the config, or the client's registration.
    Rejected,
    /// No usable answer: it may come right by itself.
    Unavailable,
    /// The endpoint was not asked: what the request needs is not here.
    Unready,
}

/// Why a token request could not be written.
#[derive(Debug)]
pub(super) struct Unready {
    pub(super) what: String,
    pub(super) help: &'static str,
}

impl Failure {
    /// The request could not be written.
    pub(super) fn unready(endpoint: &str, Unready { what, help }: Unready) -> Self {
        let what = format!("was not asked: {what}");
        Self { kind: Kind::Unready, endpoint: endpoint.to_owned(), what, help, retry_after: None }
    }

    /// The word of our answer to a request that got no token because of this.
    pub(crate) fn code(&self) -> Code {
        match self.kind {
            Kind::Rejected => Code::TokenRejected,
            Kind::Unavailable => Code::TokenUnavailable,
            Kind::Unready => Code::CredentialUnavailable,
        }
    }

    /// What happened, without what to do about it.
    pub(crate) fn what(&self) -> String {
        format!("{} {}", self.endpoint, self.what)
    }

    /// What to do about it.
    pub(crate) fn help(&self) -> &'static str {
        self.help
    }
}

/// The secrets that went into a token request, in every spelling that an answer could repeat.
pub(super) struct Spellings(Vec<Secret>);

impl Spellings {
    /// Collects the spellings of `secrets`: as written, form-encoded, and percent-encoded.
    pub(super) fn of<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut spellings: Vec<Secret> = secrets.into_iter().flat_map(spellings).collect();
        // The longest first: one that is part of another would leave the other's rest behind.
        spellings.sort_by_key(|spelling| std::cmp::Reverse(spelling.expose().len()));
        Self(spellings)
    }

    /// Words of the endpoint as they may be shown: stripped of our secrets, at most `longest` characters, escaped.
    pub(super) fn quote(&self, words: &str, longest: usize) -> String {
        // Stripped first: cutting or escaping could leave half a secret that is no longer recognized.
        let stripped = self.strip(words);
        let mut characters = stripped.chars();
        let mut shown: String = characters.by_ref().take(longest).flat_map(escaped).collect();
        if characters.next().is_some() {
            shown.push('…');
        }
        shown
    }

    fn strip(&self, words: &str) -> String {
        self.0.iter().fold(words.to_owned(), |words, secret| words.replace(secret.expose(), "***"))
    }
}

fn spellings(secret: &str) -> Vec<Secret> {
    let form: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let percent = form.replace('+', "%20");
    let mut all: Vec<Secret> = [secret.to_owned(), form, percent].into_iter().map(Secret::new).collect();
    // An empty text would be found between any two letters.
    all.retain(|spelling| !spelling.expose().is_empty());
    all
}

/// A character as it may stand in a log line, a terminal and a header: what is not printable is spelt out.
fn escaped(character: char) -> impl Iterator<Item = char> {
    let plain = matches!(character, '\'' | '"').then_some(character);
    let spelt = plain.is_none().then(|| character.escape_debug());
    plain.into_iter().chain(spelt.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(secrets: &[&str], words: &str, longest: usize, shown: &str) {
        let spellings = Spellings::of(secrets.iter().copied());

        assert_eq!(spellings.quote(words, longest), shown);
    }

    #[test]
    fn words_of_the_endpoint_are_shortened_and_escaped() {
        check(&[], "the client's \"name\" is unknown", 80, "the client's \"name\" is unknown");
        check(&[], "for ever and ever", 8, "for ever…");
        check(&[], "line\nbreak\u{1b}[31m", 80, "line\\nbreak\\u{1b}[31m");
        check(&[], "left\u{202e}right", 80, "left\\u{202e}right");
        check(&[], "Schlüssel", 80, "Schlüssel");
    }

    #[test]
    fn our_secrets_are_taken_out_however_they_are_spelt() {
        check(&["s3 cr&t"], "bad secret s3 cr&t", 80, "bad secret ***");
        check(&["s3 cr&t"], "bad form client_secret=s3+cr%26t!", 80, "bad form client_secret=***!");
        check(&["s3 cr&t"], "at s3%20cr%26t", 80, "at ***");
    }

    #[test]
    fn a_secret_is_found_even_where_the_text_is_cut() {
        check(&["hunter2-hunter2"], "no hunter2-hunter2", 8, "no ***");
    }

    #[test]
    fn a_secret_that_is_part_of_another_leaves_no_rest() {
        check(&["abc", "abc-long"], "got abc-long", 80, "got ***");
    }
}
