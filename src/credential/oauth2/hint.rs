//! What the words of an endpoint say of the cause, where its code says nothing, or another thing than it means.
//!
//! Many endpoints have one code for all that is wrong with a request, or none, and put the cause into a sentence. What is
//! looked for in it are words that have one meaning in every endpoint that was seen to use them; what is told is chosen from
//! words of our own, so nothing of the sentence itself gets through here.

use super::complaint::Complaint;

/// What a sentence is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// It was spoken to without TLS.
    Plaintext,
    /// The client may not use this grant.
    Grant,
    Scope,
    /// An audience or a resource.
    Target,
    /// A user's name or password.
    User,
    RefreshToken,
}

impl Hint {
    /// `None`: it says nothing that would be known.
    pub(super) fn of(complaint: &Complaint) -> Option<Self> {
        let words = complaint.words.as_deref()?.to_ascii_lowercase();
        let says = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
        let is_of_grant = says(&["grant type", "grant_type"]) && !says(&["missing", "required", "no grant"]);
        // The more telling ones first: a sentence about a scope may list grants, and hardly the other way round.
        Some(match () {
            () if says(&PLAINTEXT) => Self::Plaintext,
            () if is_of_grant => Self::Grant,
            () if says(&["scope"]) => Self::Scope,
            () if says(&["audience", "'resource'", "parameter: resource"]) => Self::Target,
            () if says(&["password", "username", "user credentials"]) => Self::User,
            () if says(&["refresh token", "refresh_token"]) => Self::RefreshToken,
            () => return None,
        })
    }
}

/// The ways of a client to authenticate that the sentence names, by their names in metadata.
pub(super) fn methods(complaint: &Complaint) -> Vec<&'static str> {
    let words = complaint.words.as_deref().unwrap_or_default();
    // `self_signed_tls_client_auth` ends in the name of another, and is told by that.
    METHODS.into_iter().filter(|method| words.contains(method)).collect()
}

/// Whether the sentence says that a client may not authenticate by one of these methods.
pub(super) fn refuses(complaint: &Complaint, methods: &[&str]) -> bool {
    let words = complaint.words.as_deref().unwrap_or_default();
    methods.iter().any(|method| words.contains(&format!("cannot use {method}")))
}

/// nginx and Apache, Go, Tomcat.
const PLAINTEXT: [&str; 4] = ["plain http", "http request to an https server", "requires tls", "https required"];

const METHODS: [&str; 5] =
    ["client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "tls_client_auth"];

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(words: &str) -> Complaint {
        Complaint { code: None, words: Some(words.to_owned()) }
    }

    #[track_caller]
    fn check(words: &str, hint: Option<Hint>) {
        assert_eq!(Hint::of(&complaint(words)), hint, "{words}");
    }

    #[test]
    fn a_sentence_that_names_the_cause_is_understood() {
        for words in [
            "400 The plain HTTP request was sent to HTTPS port",
            "Client sent an HTTP request to an HTTPS server.",
            "Bad Request This combination of host and port requires TLS.",
            "Reason: You're speaking plain HTTP to an SSL-enabled server port.",
        ] {
            check(words, Some(Hint::Plaintext));
        }
        for words in ["requested grant type is not allowed for this client", "unsupported grant_type"] {
            check(words, Some(Hint::Grant));
        }
        check("The requested scope is invalid, unknown, or malformed: Check the `x` scope(s)", Some(Hint::Scope));
        check("No audience parameter was provided, and no default audience has been configured", Some(Hint::Target));
        check("AADSTS900144: the request body must contain the following parameter: 'resource'.", Some(Hint::Target));
        check("Invalid 'username' or 'password' in request.", Some(Hint::User));
        check("otherwise malformed: Cannot decrypt the refresh token", Some(Hint::RefreshToken));
    }

    #[test]
    fn one_that_does_not_says_nothing() {
        for words in ["", "no", "Not Found", "Missing parameter: grant_type", "the resource is gone", "Bad Request"] {
            check(words, None);
        }
        assert_eq!(Hint::of(&Complaint::default()), None);
    }

    #[test]
    fn ways_to_authenticate_are_found_in_a_sentence() {
        let found = |words: &str| methods(&complaint(words));

        assert_eq!(
            found("The client cannot authenticate with methods: ['client_secret_basic']"),
            ["client_secret_basic"]
        );
        assert_eq!(
            found("client registered for client_secret_post cannot use client_secret_basic"),
            ["client_secret_basic", "client_secret_post"]
        );
        assert!(found("client authentication failed").is_empty());
        let refusal = complaint("client registered for client_secret_post cannot use client_secret_basic");
        assert!(refuses(&refusal, &["client_secret_basic"]) && !refuses(&refusal, &["client_secret_post"]));
        assert!(!refuses(&complaint("['client_secret_basic', 'client_secret_post']"), &["client_secret_basic"]));
    }
}
