//! What a token is asked for with: the grants, and the fields that each has of its own.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use schemars::{Schema, SchemaGenerator, json_schema};

use super::client::JwsAlgorithm;
use super::json::Json;
use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::{FromNode, SectionFields, SectionReader, Wrong};
use crate::config::section::{read_section, section};
use crate::config::value::{At, Positive};
use crate::secret::Secret;

/// What a token is asked for with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantConfig {
    /// The client alone (RFC 6749 §4.4).
    ClientCredentials,
    /// Name and password of a user (RFC 6749 §4.3).
    Password {
        /// The user.
        username: String,
        /// The user's.
        password: Secret,
    },
    /// A refresh token (RFC 6749 §6).
    RefreshToken {
        /// The first one; the endpoint may replace it.
        refresh_token: Secret,
        /// Keeps one that replaced it across restarts.
        state_file: Option<At<PathBuf>>,
    },
    /// A JWT of our own (RFC 7523 §2.1).
    JwtBearer(Box<AssertionConfig>),
    /// Another token (RFC 8693).
    TokenExchange(Box<ExchangeConfig>),
}

/// The JWT that a token is asked for with (RFC 7523 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssertionConfig {
    /// PEM file of the key that signs.
    pub key: At<PathBuf>,
    /// The `kid` of its head.
    pub key_id: Option<String>,
    /// The `alg`; `None`: the usual one of the key's kind.
    pub algorithm: Option<At<JwsAlgorithm>>,
    /// `iss`; `None`: the client's name.
    pub issuer: Option<String>,
    /// `sub`.
    pub subject: Option<String>,
    /// `aud`; `None`: the issuer, else the token endpoint.
    pub audience: Option<String>,
    /// From `iat` to `exp`.
    pub lifetime: Duration,
    /// More claims.
    pub claims: Vec<(String, serde_json::Value)>,
}

/// What is exchanged, and for what (RFC 8693 §2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeConfig {
    /// On whose behalf.
    pub subject_token: SubjectToken,
    /// What kind of token it is.
    pub subject_token_type: String,
    /// Who acts.
    pub actor_token: Option<Secret>,
    /// What kind of token that is.
    pub actor_token_type: String,
    /// What kind of token is asked for.
    pub requested_token_type: String,
}

/// Where the subject's token comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectToken {
    /// The config: one subject for all requests.
    Fixed(Secret),
    /// This field of each request.
    FromHeader(HeaderName),
}

/// Reads the fields of one grant.
pub(super) type Read = fn(&mut SectionFields<'_>, &Node, &mut SectionReader<'_>) -> Result<GrantConfig, Reported>;

impl GrantConfig {
    /// What the config calls the method.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            Self::ClientCredentials => "oauth2_client_credentials",
            Self::Password { .. } => "oauth2_password",
            Self::RefreshToken { .. } => "oauth2_refresh_token",
            Self::JwtBearer(_) => "oauth2_jwt_bearer",
            Self::TokenExchange(_) => "oauth2_token_exchange",
        }
    }

    /// The field of a request that brings the token which is exchanged.
    pub(in crate::config) fn subject_field(&self) -> Option<&HeaderName> {
        match self {
            Self::TokenExchange(exchange) => match &exchange.subject_token {
                SubjectToken::FromHeader(name) => Some(name),
                SubjectToken::Fixed(_) => None,
            },
            Self::ClientCredentials | Self::Password { .. } | Self::RefreshToken { .. } | Self::JwtBearer(_) => None,
        }
    }

    /// Whether the client need not have a name.
    pub(super) fn is_nameless(&self) -> bool {
        matches!(self, Self::JwtBearer(_) | Self::TokenExchange(_))
    }

    /// The fields of the form that it writes.
    pub(super) fn form_fields(&self) -> &'static [&'static str] {
        match self {
            Self::ClientCredentials => &[],
            Self::Password { .. } => &["username", "password"],
            Self::RefreshToken { .. } => &["refresh_token"],
            Self::JwtBearer(_) => &["assertion"],
            Self::TokenExchange(_) => {
                &["subject_token", "subject_token_type", "actor_token", "actor_token_type", "requested_token_type"]
            }
        }
    }
}

section! {
    pub(super) struct PasswordKeys {
        /// The user.
        username: String,
        /// The user's password.
        password: Secret,
    }
}

pub(super) fn password(
    fields: &mut SectionFields<'_>,
    _: &Node,
    reader: &mut SectionReader<'_>,
) -> Result<GrantConfig, Reported> {
    let PasswordKeys { username, password } = PasswordKeys::from_fields(fields, reader)?;
    Ok(GrantConfig::Password { username, password })
}

section! {
    pub(super) struct RefreshTokenKeys {
        /// The refresh token; one that the endpoint gives in its place is used from then on.
        refresh_token: Secret,
        /// Keeps the refresh token across restarts, mode 0600, locked.
        state_file: Option<At<PathBuf>> = None,
    }
}

pub(super) fn refresh_token(
    fields: &mut SectionFields<'_>,
    node: &Node,
    reader: &mut SectionReader<'_>,
) -> Result<GrantConfig, Reported> {
    let RefreshTokenKeys { refresh_token, state_file } = RefreshTokenKeys::from_fields(fields, reader)?;
    if node.entry("state_file").is_some() && state_file.is_none() {
        return Err(Reported);
    }
    Ok(GrantConfig::RefreshToken { refresh_token, state_file })
}

section! {
    pub(super) struct JwtBearerKeys {
        /// The JWT that the token is asked for with.
        assertion: AssertionConfig,
    }
}

pub(super) fn jwt_bearer(
    fields: &mut SectionFields<'_>,
    _: &Node,
    reader: &mut SectionReader<'_>,
) -> Result<GrantConfig, Reported> {
    let JwtBearerKeys { assertion } = JwtBearerKeys::from_fields(fields, reader)?;
    Ok(GrantConfig::JwtBearer(Box::new(assertion)))
}

section! {
    struct AssertionKeys {
        /// PEM file of the key that signs: PKCS#8, PKCS#1 or SEC1.
        key: At<PathBuf>,
        /// The `kid` of its head.
        key_id: Option<String> = None,
        /// How it is signed; by default RS256, ES256, ES384, ES512 or EdDSA, as the key is.
        algorithm: Option<At<JwsAlgorithm>> = None,
        /// `iss`; by default `client_id`.
        issuer: Option<String> = None,
        /// `sub`: the user or account that the token is for.
        subject: Option<String> = None,
        /// `aud`; by default `issuer` of the method, else `token_url`.
        audience: Option<String> = None,
        /// Time from `iat` to `exp`.
        lifetime: Duration as Positive = Duration::from_secs(60),
        /// More claims.
        claims: Vec<(String, Json)> = Vec::new(),
    }
}

read_section!(AssertionKeys);

impl FromNode for AssertionConfig {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        let keys = AssertionKeys::from_node(node, reader)?;
        for entry in node.entry("claims").and_then(|claims| claims.value.entries()).unwrap_or_default() {
            if OWN_CLAIMS.contains(&entry.key.text.as_str()) {
                let wrong = Wrong::new(format!(
                    "the claim `{}` has a key of its own, or is written anew each time",
                    entry.key.text
                ));
                wrong.help("remove it from `claims`").report(entry.key.span, reader.report);
            }
        }
        if node.entry("algorithm").is_some() && keys.algorithm.is_none() {
            return Err(Reported);
        }
        Ok(Self {
            key: keys.key,
            key_id: keys.key_id,
            algorithm: keys.algorithm,
            issuer: keys.issuer,
            subject: keys.subject,
            audience: keys.audience,
            lifetime: keys.lifetime,
            claims: keys.claims.into_iter().map(|(name, claim)| (name, claim.0)).collect(),
        })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        AssertionKeys::schema(generator)
    }
}

/// Claims that are written from other keys, or for each JWT.
const OWN_CLAIMS: [&str; 6] = ["iss", "sub", "aud", "exp", "iat", "jti"];

section! {
    pub(super) struct ExchangeKeys {
        /// The subject's token: a secret, or `{ from_header: NAME }`, the field of the request that brings it.
        subject_token: SubjectToken,
        /// What kind of token that is.
        subject_token_type: String = ACCESS_TOKEN.to_owned(),
        /// The token of who acts for the subject.
        actor_token: Option<Secret> = None,
        /// What kind of token that is.
        actor_token_type: Option<At<String>> = None,
        /// What kind of token is asked for.
        requested_token_type: String = ACCESS_TOKEN.to_owned(),
    }
}

pub(super) fn token_exchange(
    fields: &mut SectionFields<'_>,
    node: &Node,
    reader: &mut SectionReader<'_>,
) -> Result<GrantConfig, Reported> {
    let keys = ExchangeKeys::from_fields(fields, reader)?;
    if let Some(written) = keys.actor_token_type.as_ref().filter(|_| node.entry("actor_token").is_none()) {
        // RFC 8693 §2.1.
        let wrong = Wrong::new("`actor_token_type` has no `actor_token` to tell about").help("remove it");
        return Err(wrong.report(written.span, reader.report));
    }
    Ok(GrantConfig::TokenExchange(Box::new(ExchangeConfig {
        subject_token: keys.subject_token,
        subject_token_type: keys.subject_token_type,
        actor_token: keys.actor_token,
        actor_token_type: keys.actor_token_type.map_or_else(|| ACCESS_TOKEN.to_owned(), |written| written.value),
        requested_token_type: keys.requested_token_type,
    })))
}

section! {
    struct FromHeader {
        from_header: HeaderName,
    }
}

read_section!(FromHeader);

impl FromNode for SubjectToken {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        if node.entry("from_header").is_some() {
            return FromHeader::from_node(node, reader).map(|field| Self::FromHeader(field.from_header));
        }
        Secret::from_node(node, reader).map(Self::Fixed)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let (secret, field) = (Secret::schema(generator), FromHeader::schema(generator));
        json_schema!({ "anyOf": [secret, field] })
    }
}

/// RFC 8693 §3.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
