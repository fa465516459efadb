//! What to do about a refusal: it speaks of what the config has, and of nothing else.

use std::borrow::Cow;

use http::StatusCode;

use super::complaint::Complaint;
use super::failure::FailureKind;
use super::hint::{self, Hint};
use crate::config::auth::oauth2::{ClientAuth, GrantConfig, OAuth2};

/// What the config gives the endpoint to judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    client: ProofKind,
    grant: AskedWith,
    has_scope: bool,
    has_audience: bool,
    /// Whether the endpoint sees a certificate.
    has_certificate: bool,
}

/// How the client shows who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProofKind {
    /// `encoded`: percent-encoding changes the id or the secret.
    Basic {
        encoded: bool,
    },
    Post,
    SecretJwt,
    KeyJwt {
        has_key_id: bool,
    },
    CertificateJwt,
    Assertion,
    Certificate,
    Nothing {
        is_named: bool,
    },
}

/// What the token is asked for with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AskedWith {
    Client,
    Password,
    RefreshToken,
    Jwt { has_key_id: bool },
    Exchange,
}

/// What was learnt of the endpoint from its issuer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Learnt<'a> {
    /// The whole address, where the metadata name it.
    pub(super) url: Option<&'a str>,
    /// How clients may authenticate, where the metadata say so.
    pub(super) methods: &'a [String],
}

/// A token endpoint as the metadata of its issuer name it.
#[derive(Clone, Debug)]
pub(super) struct NamedEndpoint {
    pub(super) url: String,
    pub(super) methods: Vec<String>,
}

impl<'a> Learnt<'a> {
    pub(super) fn of(named: &'a NamedEndpoint) -> Self {
        Self { url: Some(&named.url), methods: &named.methods }
    }
}

impl Given {
    pub(super) fn of(written: &OAuth2, has_certificate: bool) -> Self {
        let id = written.client_id.as_deref().unwrap_or_default();
        let client = match &written.client_auth {
            ClientAuth::Basic(secret) => ProofKind::Basic {
                encoded: super::basic_pair::is_changed(id) || super::basic_pair::is_changed(secret.value.expose()),
            },
            ClientAuth::Post(_) => ProofKind::Post,
            ClientAuth::SecretJwt(_) => ProofKind::SecretJwt,
            ClientAuth::PrivateKeyJwt(key) if key.file.is_some() => ProofKind::KeyJwt { has_key_id: key.id.is_some() },
            ClientAuth::PrivateKeyJwt(_) => ProofKind::CertificateJwt,
            ClientAuth::Assertion(_) => ProofKind::Assertion,
            ClientAuth::TlsClientAuth => ProofKind::Certificate,
            ClientAuth::None => ProofKind::Nothing { is_named: written.client_id.is_some() },
        };
        let grant = match &written.grant {
            GrantConfig::ClientCredentials => AskedWith::Client,
            GrantConfig::Password { .. } => AskedWith::Password,
            GrantConfig::RefreshToken { .. } => AskedWith::RefreshToken,
            GrantConfig::JwtBearer(assertion) => AskedWith::Jwt { has_key_id: assertion.key_id.is_some() },
            GrantConfig::TokenExchange(_) => AskedWith::Exchange,
        };
        let has_audience = written.audience.is_some() || !written.resource.is_empty();
        Self { client, grant, has_scope: written.scope.is_some(), has_audience, has_certificate }
    }

    /// Neither scope nor anything else that could be wrong.
    #[cfg(any(test, feature = "bench"))]
    pub(super) fn by_secret() -> Self {
        let client = ProofKind::Basic { encoded: false };
        Self { client, grant: AskedWith::Client, has_scope: false, has_audience: false, has_certificate: false }
    }

    /// Whether a JWT that is made here goes along, which is good for a minute.
    pub(super) fn has_jwt(&self) -> bool {
        matches!(self.client, ProofKind::SecretJwt | ProofKind::KeyJwt { .. } | ProofKind::CertificateJwt)
            || matches!(self.grant, AskedWith::Jwt { .. })
    }

    /// What to do about an answer of this status with this complaint.
    pub(super) fn advice(
        &self,
        kind: FailureKind,
        complaint: &Complaint,
        status: StatusCode,
        learnt: Learnt<'_>,
    ) -> Cow<'static, str> {
        let error = complaint.code.as_deref().unwrap_or_default();
        let hint = Hint::of(complaint);
        let text = match (kind, error, status.as_u16()) {
            (_, _, 429) => "it is asked too often, raise its limit for this client",
            // Before all that a status could mean: the request has not even come to an endpoint.
            (_, _, 400 | 403 | 426) if hint == Some(Hint::Plaintext) => HELP_PLAINTEXT,
            (FailureKind::Unavailable, _, 200..=299) => return not_an_endpoint(learnt),
            (FailureKind::Unavailable, ..) => "it will be asked again",
            (_, "invalid_client", _) => return self.about_the_client(complaint, learnt).into(),
            (_, "invalid_grant", _) => self.about_the_grant(),
            // What is said of a subject's token that is not accepted (RFC 8693 §2.2.2).
            (_, "invalid_request", _) if self.grant == AskedWith::Exchange => self.about_the_grant(),
            (_, "invalid_target", _) => self.about_the_target(),
            (_, "unauthorized_client" | "unsupported_grant_type", _) => HELP_GRANT,
            (_, "invalid_dpop_proof", _) => "check the clock of this machine, a proof says when it was made",
            (_, "use_dpop_nonce", _) => "the endpoint refuses the nonce that it has just given out",
            // `invalid_scope`, and as some spell it.
            (_, error, _) if error.contains("scope") => self.about_the_scope(),
            (_, _, 404 | 405 | 415 | 501) => return not_an_endpoint(learnt),
            // The code says nothing, so the sentence beside it may.
            (_, _, 400 | 401 | 403 | 422) if self.is_explained_by(hint) => self.about(hint),
            (_, _, 401 | 403) => return self.about_client_and_grant(complaint, learnt).into(),
            _ => return self.about_the_request(),
        };
        text.into()
    }

    /// Whether the config has what the sentence is about; that of a user's password where none is sent would lead astray.
    fn is_explained_by(&self, hint: Option<Hint>) -> bool {
        match hint {
            Some(Hint::Grant | Hint::Scope) => true,
            // Of a JWT it may be the audience that is in there.
            Some(Hint::Target) => !self.has_jwt(),
            Some(Hint::User) => self.grant == AskedWith::Password,
            Some(Hint::RefreshToken) => self.grant == AskedWith::RefreshToken,
            Some(Hint::Plaintext) | None => false,
        }
    }

    fn about(&self, hint: Option<Hint>) -> &'static str {
        match hint {
            Some(Hint::Grant) => HELP_GRANT,
            Some(Hint::Scope) => self.about_the_scope(),
            Some(Hint::Target) => self.about_the_target(),
            Some(Hint::Plaintext) => HELP_PLAINTEXT,
            Some(Hint::User | Hint::RefreshToken) | None => self.about_the_grant(),
        }
    }

    fn about_the_scope(&self) -> &'static str {
        if self.has_scope {
            "check `scope`, and which scopes this client may have"
        } else {
            "add `scope`: the endpoint wants one to be named"
        }
    }

    fn about_the_target(&self) -> &'static str {
        if self.has_audience {
            "check `resource` and `audience`"
        } else {
            "add `resource` or `audience`: the endpoint wants one to be named"
        }
    }

    /// A refusal that does not say of what: of the client, or of what the token is asked for with.
    fn about_client_and_grant(&self, complaint: &Complaint, learnt: Learnt<'_>) -> String {
        let mut advice = self.about_the_client(complaint, learnt);
        // Whoever shows nothing else has been told of it already.
        if self.grant != AskedWith::Client && !matches!(self.client, ProofKind::Nothing { .. }) {
            advice += &format!("; or {}; or {HELP_GRANT}", self.about_the_grant());
        }
        // An endpoint that refuses a client has a word for it. A portal that wants a login has none, whatever it is
        // asked; where the address comes from metadata it has been told.
        if complaint.code.is_none() && learnt.url.is_none() {
            advice += "; or the token endpoint is elsewhere: check `token_url`";
        }
        advice
    }

    /// The client was not recognized.
    fn about_the_client(&self, complaint: &Complaint, learnt: Learnt<'_>) -> String {
        // Who shows nothing is told that first: a list of methods would have it choose among proofs that it has not.
        let shows_something = !matches!(self.client, ProofKind::Nothing { .. });
        if let Some(wanted) = self.wants_another_method(complaint).filter(|_| shows_something) {
            return wanted;
        }
        let mut advice = match self.client {
            ProofKind::Basic { encoded: true } => "check `client_id` and `client_secret`; `client_auth: post` sends them as they \
                 are, while Basic has to percent-encode some of their characters, which not every endpoint decodes"
                .to_owned(),
            ProofKind::Basic { encoded: false } => {
                "check `client_id` and `client_secret`, and whether the endpoint wants `client_auth: post`".to_owned()
            }
            ProofKind::Post => "check `client_id` and `client_secret`, and whether the endpoint wants `client_auth: basic`".to_owned(),
            ProofKind::SecretJwt => {
                "check `client_id`, `client_secret` and `client_assertion_audience` against what the endpoint expects".to_owned()
            }
            ProofKind::KeyJwt { has_key_id } => format!(
                "check `client_id`, `client_assertion_audience`, and that the public half of `client_key` is registered there{}",
                if has_key_id { " under `client_key_id`" } else { "; it may want `client_key_id` too" }
            ),
            ProofKind::CertificateJwt => {
                "check `client_id`, `client_assertion_audience`, and that the certificate is registered for this client".to_owned()
            }
            ProofKind::Assertion => {
                "check `client_id`, and who issued the token in `client_assertion`, to whom and for whom (`iss`, `sub`, `aud`)"
                    .to_owned()
            }
            ProofKind::Certificate => "check `client_id`, and that the certificate is registered for this client".to_owned(),
            ProofKind::Nothing { is_named: true } => match self.grant {
                AskedWith::Client | AskedWith::Exchange => {
                    "check `client_id`; the client shows nothing but its name, add `client_secret` or another proof".to_owned()
                }
                _ => format!("check `client_id`; or {}", self.about_the_grant()),
            },
            ProofKind::Nothing { is_named: false } => self.about_the_grant().to_owned(),
        };
        let ours = self.client.words();
        if !learnt.methods.is_empty() && !learnt.methods.iter().any(|method| ours.contains(&method.as_str())) {
            advice += &format!("; its issuer lists {}", learnt.methods.join(", "));
        }
        if let Some(url) = learnt.url {
            advice += &format!("; it was asked at {url}");
            if self.has_certificate && self.client != ProofKind::Certificate {
                advice += ", with a certificate: `auth.certificate: none` asks it without";
            }
        }
        advice
    }

    /// The endpoint says by which method the client should authenticate, and it is not the one that the config chose.
    fn wants_another_method(&self, complaint: &Complaint) -> Option<String> {
        let named = hint::methods(complaint);
        let ours = self.client.words();
        let others: Vec<_> = named.iter().filter(|method| !ours.contains(method)).collect();
        // A sentence that names ours as well may be a list of what there is, which says nothing of what is wrong.
        let has_ours = others.len() != named.len();
        if others.is_empty() || (has_ours && !hint::refuses(complaint, ours)) {
            return None;
        }
        let wanted: Vec<_> = others.iter().filter_map(|method| written(method)).collect();
        Some(format!(
            "authenticate as it says there: {}; or have this client registered for {}",
            wanted.join(" or "),
            ours[0]
        ))
    }

    /// What the token is asked for with was not accepted.
    fn about_the_grant(&self) -> &'static str {
        match self.grant {
            AskedWith::Client => "check the fields of `auth` against the endpoint's documentation",
            AskedWith::Password => {
                "check `username` and `password`, and that this user may sign in without a second step"
            }
            AskedWith::RefreshToken => {
                "the refresh token is used up, expired or revoked: have a new one issued, and replace `refresh_token`"
            }
            AskedWith::Jwt { has_key_id: true } => {
                "check `issuer`, `subject`, `audience` and `key_id` of `assertion`, and that its key is registered there"
            }
            AskedWith::Jwt { has_key_id: false } => {
                "check `issuer`, `subject` and `audience` of `assertion`, and that its key is registered there; the endpoint \
                 may want `key_id` too"
            }
            AskedWith::Exchange => "the subject's or the actor's token is expired, or not accepted there",
        }
    }

    fn about_the_request(&self) -> Cow<'static, str> {
        let missing: Vec<_> = [("`scope`", self.has_scope), ("`audience` or `resource`", self.has_audience)]
            .into_iter()
            .filter_map(|(name, has)| (!has).then_some(name))
            .collect();
        let check = match self.grant {
            AskedWith::Client => "check the fields of `auth` against the endpoint's documentation".to_owned(),
            // There is more that it could be about than fields.
            _ => format!("{}; or {HELP_GRANT}; or check the other fields of `auth`", self.about_the_grant()),
        };
        match missing.as_slice() {
            [] => check.into(),
            missing => format!("{check}; it may want {}, which is not set", missing.join(" or ")).into(),
        }
    }
}

impl ProofKind {
    /// Its names in metadata (RFC 8414 §2).
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Basic { .. } => &["client_secret_basic"],
            Self::Post => &["client_secret_post"],
            Self::SecretJwt => &["client_secret_jwt"],
            Self::KeyJwt { .. } | Self::CertificateJwt | Self::Assertion => &["private_key_jwt"],
            Self::Certificate => &["tls_client_auth", "self_signed_tls_client_auth"],
            Self::Nothing { .. } => &["none"],
        }
    }
}

/// What the config says for a method of metadata.
fn written(method: &str) -> Option<&'static str> {
    Some(match method {
        "client_secret_basic" => "`client_auth: basic`",
        "client_secret_post" => "`client_auth: post`",
        "client_secret_jwt" => "`client_auth: client_secret_jwt`",
        "private_key_jwt" => "`client_auth: private_key_jwt`",
        "tls_client_auth" => "`client_auth: tls_client_auth`",
        _ => return None,
    })
}

const HELP_GRANT: &str = "let this client use the grant of `auth.type` at the endpoint";
const HELP_PLAINTEXT: &str = "it speaks TLS there: write https:// where the config has http://";

fn not_an_endpoint(learnt: Learnt<'_>) -> Cow<'static, str> {
    match learnt.url {
        Some(url) => format!("the metadata of `issuer` names {url} as the token endpoint, which it is not").into(),
        None => "check that `token_url` is a token endpoint".into(),
    }
}
