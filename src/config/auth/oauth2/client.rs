//! How the client authenticates at the token endpoint: in exactly one way.

use std::path::PathBuf;

use schemars::Schema;

use super::{EndpointCertificate, EndpointConfig, OAuth2Keys};
use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::{FromText, SectionReader, Wrong};
use crate::config::section::{not_among, one_of, read_section, section, words};
use crate::config::value::{At, Scheme, Span};
use crate::secret::Secret;

/// How the client authenticates at the token endpoint (RFC 6749 §2.3, RFC 7523 §2.2, RFC 8705 §2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// `Authorization: Basic` with the secret.
    Basic(At<Secret>),
    /// The secret in the form.
    Post(At<Secret>),
    /// A JWT, authenticated with the secret.
    SecretJwt(At<Secret>),
    /// A JWT, signed with a key.
    PrivateKeyJwt(ClientKey),
    /// A JWT that somebody else made; read from the file at each token request.
    Assertion(At<PathBuf>),
    /// The client certificate.
    TlsClientAuth,
    /// The name alone.
    None,
}

/// What a client's JWT is signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientKey {
    /// A PEM file; `None`: the key of the certificate that the endpoint sees.
    pub file: Option<At<PathBuf>>,
    /// The `kid` of the JWT's head.
    pub id: Option<String>,
    /// The `alg`; `None`: the usual one of the key's kind.
    pub algorithm: Option<At<JwsAlgorithm>>,
    /// Where the method was written.
    pub span: Span,
}

words! {
    /// How a JWT is signed (RFC 7518 §3.1, RFC 8037 §3.1).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum JwsAlgorithm ("an algorithm that signs here") {
        /// RSA with PKCS #1 padding and SHA-256.
        "RS256" => Rs256,
        /// RSA with PKCS #1 padding and SHA-384.
        "RS384" => Rs384,
        /// RSA with PKCS #1 padding and SHA-512.
        "RS512" => Rs512,
        /// RSA with PSS padding and SHA-256.
        "PS256" => Ps256,
        /// RSA with PSS padding and SHA-384.
        "PS384" => Ps384,
        /// RSA with PSS padding and SHA-512.
        "PS512" => Ps512,
        /// ECDSA on P-256.
        "ES256" => Es256,
        /// ECDSA on P-384.
        "ES384" => Es384,
        /// ECDSA on P-521.
        "ES512" => Es512,
        /// Ed25519.
        "EdDSA" => EdDsa,
    }
}

section! {
    /// `client_assertion`.
    pub(super) struct ClientAssertion {
        /// Holds the JWT; read anew for each token request.
        file: At<PathBuf>,
    }
}

read_section!(ClientAssertion);

impl OAuth2Keys {
    /// Whether a key that decides how the client authenticates could not be read, which has been reported.
    pub(super) fn is_incomplete(&self, node: &Node) -> bool {
        let unread = |key: &str, read: bool| node.entry(key).is_some() && !read;
        unread("client_auth", self.client_auth.is_some())
            || unread("client_id", self.client_id.is_some())
            || unread("client_secret", self.client_secret.is_some())
            || unread("client_key", self.client_key.is_some())
            || unread("client_key_algorithm", self.client_key_algorithm.is_some())
            || unread("client_assertion", self.client_assertion.is_some())
            || unread("certificate", self.certificate != EndpointCertificate::OfService)
    }

    pub(super) fn client_auth(
        &self,
        endpoint: &At<EndpointConfig>,
        node: &Node,
        reader: &mut SectionReader<'_>,
    ) -> Result<ClientAuth, Reported> {
        let word = self.client_auth.as_ref().map_or_else(|| self.usual(reader), |written| written.value);
        let span = self.client_auth.as_ref().map_or(node.span, |written| written.span);
        if word == ClientAuthWord::Unknown {
            return Ok(ClientAuth::None);
        }
        self.refuse_unused(word, span, reader)?;
        if self.client_id.is_none() && word != ClientAuthWord::None {
            let wrong = Wrong::new("a client that authenticates has a name").help("add `client_id: …`");
            return Err(wrong.report(span, reader.report));
        }
        match word {
            ClientAuthWord::Basic => self.secret(span, reader).map(ClientAuth::Basic),
            ClientAuthWord::Post => self.secret(span, reader).map(ClientAuth::Post),
            ClientAuthWord::ClientSecretJwt => self.secret(span, reader).map(ClientAuth::SecretJwt),
            ClientAuthWord::PrivateKeyJwt => self.key(span, reader).map(ClientAuth::PrivateKeyJwt),
            ClientAuthWord::Assertion => self.assertion(span, reader).map(ClientAuth::Assertion),
            ClientAuthWord::TlsClientAuth => self.over_tls(endpoint, span, reader),
            ClientAuthWord::None | ClientAuthWord::Unknown => Ok(ClientAuth::None),
        }
    }

    /// How a client authenticates that does not say how.
    fn usual(&self, reader: &SectionReader<'_>) -> ClientAuthWord {
        if self.client_secret.is_some() {
            ClientAuthWord::Basic
        } else if self.client_key.is_some() {
            ClientAuthWord::PrivateKeyJwt
        } else if self.client_id.is_some() && self.shows_certificate(reader) {
            ClientAuthWord::TlsClientAuth
        } else {
            ClientAuthWord::None
        }
    }

    /// Whether the token endpoint sees a certificate.
    fn shows_certificate(&self, reader: &SectionReader<'_>) -> bool {
        match self.certificate {
            EndpointCertificate::OfService => reader.links_certificate,
            EndpointCertificate::Named(_) => true,
            EndpointCertificate::None => false,
        }
    }

    /// Refuses the keys of another way than the one that is taken: what they hold would never be sent.
    fn refuse_unused(&self, word: ClientAuthWord, span: Span, reader: &mut SectionReader<'_>) -> Result<(), Reported> {
        use ClientAuthWord::{Assertion, Basic, ClientSecretJwt, Post, PrivateKeyJwt};
        let secret = self.client_secret.as_ref().map(|secret| secret.span);
        let key = self.client_key.as_ref().map(|key| key.span);
        let key_id = self.client_key_id.as_ref().map(|id| id.span);
        let algorithm = self.client_key_algorithm.as_ref().map(|algorithm| algorithm.span);
        let assertion = self.client_assertion.as_ref().map(|assertion| assertion.span);
        let audience = self.client_assertion_audience.as_ref().map(|audience| audience.span);
        let rules: [(&str, Option<Span>, &[ClientAuthWord]); 6] = [
            ("client_secret", secret, &[Basic, Post, ClientSecretJwt]),
            ("client_key", key, &[PrivateKeyJwt]),
            ("client_key_id", key_id, &[PrivateKeyJwt]),
            ("client_key_algorithm", algorithm, &[PrivateKeyJwt]),
            ("client_assertion", assertion, &[Assertion]),
            ("client_assertion_audience", audience, &[PrivateKeyJwt, ClientSecretJwt]),
        ];
        let mut refused = Ok(());
        for (name, written, users) in rules {
            let Some(place) = written.filter(|_| !users.contains(&word)) else { continue };
            let words: Vec<String> = users.iter().map(|user| format!("`{}`", user.word())).collect();
            reader
                .report
                .error(place, format!("`{name}` would never be used"))
                .also(span, format!("the client authenticates by `{}`", word.word()))
                .help(format!("remove it, or write `client_auth` as {}", words.join(" or ")));
            refused = Err(Reported);
        }
        refused
    }

    fn secret(&self, span: Span, reader: &mut SectionReader<'_>) -> Result<At<Secret>, Reported> {
        self.client_secret.clone().ok_or_else(|| {
            let wrong = Wrong::new("this needs a `client_secret`").help("add `client_secret: { env: NAME }`");
            wrong.report(span, reader.report)
        })
    }

    fn key(&self, span: Span, reader: &mut SectionReader<'_>) -> Result<ClientKey, Reported> {
        if self.client_key.is_none() && !self.shows_certificate(reader) {
            let wrong = Wrong::new("`private_key_jwt` needs a key");
            let help = "add `client_key: FILE`, or link a certificate whose key signs";
            return Err(wrong.help(help).report(span, reader.report));
        }
        Ok(ClientKey {
            file: self.client_key.clone(),
            id: self.client_key_id.as_ref().map(|id| id.value.clone()),
            algorithm: self.client_key_algorithm,
            span,
        })
    }

    fn assertion(&self, span: Span, reader: &mut SectionReader<'_>) -> Result<At<PathBuf>, Reported> {
        let file = self.client_assertion.as_ref().map(|assertion| assertion.value.file.clone());
        file.ok_or_else(|| {
            let wrong = Wrong::new("this needs a `client_assertion`").help("add `client_assertion: { file: PATH }`");
            wrong.report(span, reader.report)
        })
    }

    fn over_tls(
        &self,
        endpoint: &At<EndpointConfig>,
        span: Span,
        reader: &mut SectionReader<'_>,
    ) -> Result<ClientAuth, Reported> {
        if !self.shows_certificate(reader) {
            let wrong = Wrong::new("`tls_client_auth` needs a certificate");
            let help = "link one with `certificate: NAME`, in the service or beside `token_url`";
            return Err(wrong.help(help).report(span, reader.report));
        }
        if endpoint.value.url().scheme == Scheme::Https {
            return Ok(ClientAuth::TlsClientAuth);
        }
        let span = self.client_auth.as_ref().map_or(endpoint.span, |written| written.span);
        let wrong = Wrong::new("a client can't show a certificate over `http://`");
        Err(wrong.help("use an `https://` token endpoint, or write `client_auth`").report(span, reader.report))
    }
}

/// `client_auth` as it is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientAuthWord {
    Basic,
    Post,
    ClientSecretJwt,
    PrivateKeyJwt,
    Assertion,
    TlsClientAuth,
    None,
    /// It comes from elsewhere, which `--no-secrets` does not read.
    Unknown,
}

impl ClientAuthWord {
    fn word(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Post => "post",
            Self::ClientSecretJwt => "client_secret_jwt",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::Assertion => "assertion",
            Self::TlsClientAuth => "tls_client_auth",
            Self::None | Self::Unknown => "none",
        }
    }
}

impl FromText for ClientAuthWord {
    const WHAT: &'static str = "a way to authenticate the client";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let known = CLIENT_AUTH.into_iter().find(|known| known.word() == text);
        if let Some(known) = known {
            return Ok(known);
        }
        match text {
            // The names of the registry (RFC 7591 §2).
            "client_secret_basic" => Err(Wrong::new("this is called `basic` here").help("write `basic`")),
            "client_secret_post" => Err(Wrong::new("this is called `post` here").help("write `post`")),
            "self_signed_tls_client_auth" => {
                Err(Wrong::new("this is called `tls_client_auth` here").help("write `tls_client_auth`"))
            }
            other => Err(not_among(other, Self::WHAT, &CLIENT_AUTH.map(Self::word))),
        }
    }

    fn placeholder() -> Self {
        Self::Unknown
    }

    fn schema() -> Schema {
        one_of(&CLIENT_AUTH.map(Self::word))
    }
}

const CLIENT_AUTH: [ClientAuthWord; 7] = [
    ClientAuthWord::Basic,
    ClientAuthWord::Post,
    ClientAuthWord::ClientSecretJwt,
    ClientAuthWord::PrivateKeyJwt,
    ClientAuthWord::Assertion,
    ClientAuthWord::TlsClientAuth,
    ClientAuthWord::None,
];
