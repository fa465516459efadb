//! The methods that get a token from an OAuth 2.0 endpoint: the fields that they share.

mod client;
mod grant;
mod json;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, StatusCode, header};
use schemars::{Schema, SchemaGenerator, json_schema};

pub use client::{ClientAuth, ClientKey, JwsAlgorithm};
pub use grant::{AssertionConfig, ExchangeConfig, GrantConfig, SubjectToken};

use super::{AnyText, Auth, CertificateUse, MethodRow, check_value};
use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::{FromNode, FromText, SectionFields, SectionReader, Wrong};
use crate::config::schema::Tls;
use crate::config::section::section;
use crate::config::value::{At, EndpointUrl, HeaderFields, Issuer, Positive, StatusNumber, Url, header_value};
use crate::name::CertificateName;
use crate::secret::Secret;
use client::{ClientAssertion, ClientAuthWord};

pub(super) const CLIENT_CREDENTIALS: MethodRow = MethodRow {
    name: "oauth2_client_credentials",
    certificate: CertificateUse::Allowed,
    keys: OAuth2Keys::properties,
    read: |fields, node, reader| read(fields, node, reader, |_, _, _| Ok(GrantConfig::ClientCredentials)),
};

pub(super) const PASSWORD: MethodRow = MethodRow {
    name: "oauth2_password",
    certificate: CertificateUse::Allowed,
    keys: |generator| [OAuth2Keys::properties(generator), grant::PasswordKeys::properties(generator)].concat(),
    read: |fields, node, reader| read(fields, node, reader, grant::password),
};

pub(super) const REFRESH_TOKEN: MethodRow = MethodRow {
    name: "oauth2_refresh_token",
    certificate: CertificateUse::Allowed,
    keys: |generator| [OAuth2Keys::properties(generator), grant::RefreshTokenKeys::properties(generator)].concat(),
    read: |fields, node, reader| read(fields, node, reader, grant::refresh_token),
};

pub(super) const JWT_BEARER: MethodRow = MethodRow {
    name: "oauth2_jwt_bearer",
    certificate: CertificateUse::Allowed,
    keys: |generator| [OAuth2Keys::properties(generator), grant::JwtBearerKeys::properties(generator)].concat(),
    read: |fields, node, reader| read(fields, node, reader, grant::jwt_bearer),
};

pub(super) const TOKEN_EXCHANGE: MethodRow = MethodRow {
    name: "oauth2_token_exchange",
    certificate: CertificateUse::Allowed,
    keys: |generator| [OAuth2Keys::properties(generator), grant::ExchangeKeys::properties(generator)].concat(),
    read: |fields, node, reader| read(fields, node, reader, grant::token_exchange),
};

/// A method that gets a token from an OAuth 2.0 endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth2 {
    /// What the token is asked for with.
    pub grant: GrantConfig,
    /// Where tokens come from.
    pub endpoint: At<EndpointConfig>,
    /// The client's name at the endpoint; only a grant that needs none may lack it.
    pub client_id: Option<String>,
    /// How the client authenticates there.
    pub client_auth: ClientAuth,
    /// `aud` of the client's JWT; `None`: the issuer, else the token endpoint.
    pub client_assertion_audience: Option<String>,
    /// Scopes, in the order written; joined by one space.
    pub scope: Option<String>,
    /// For whom the token is.
    pub audience: Option<String>,
    /// RFC 8707.
    pub resource: Vec<String>,
    /// More fields of the form.
    pub params: Vec<(String, At<Secret>)>,
    /// More fields of the token request's head.
    pub headers: Vec<(At<HeaderName>, At<Secret>)>,
    /// For the token endpoint.
    pub certificate: EndpointCertificate,
    /// Trust for the token endpoint; `None`: the service's `ca`, `system_roots` and `min_version`.
    pub tls: Option<At<Tls>>,
    /// Whether tokens are bound to a key of ours (RFC 9449).
    pub dpop: bool,
    /// The field that carries the token.
    pub token_header: HeaderName,
    /// Empty: the bare token.
    pub token_prefix: String,
    /// Whether it is written how the token is sent, so that its type need not say it.
    pub names_its_type: bool,
    /// When the token is refreshed.
    pub refresh_ahead: RefreshAhead,
    /// The life of a token that does not say how long it lives.
    pub default_lifetime: Duration,
    /// Statuses of the service that mean that the token is dead.
    pub on_unauthorized: Vec<StatusCode>,
    /// For one token request.
    pub timeout: Duration,
}

/// Where tokens come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointConfig {
    /// The token endpoint itself.
    Token(Url),
    /// Who says where it is (RFC 8414).
    Issuer(Issuer),
}

impl EndpointConfig {
    /// The URL that was written.
    #[must_use]
    pub fn url(&self) -> &Url {
        match self {
            Self::Token(url) | Self::Issuer(Issuer { url, .. }) => url,
        }
    }

    /// What a JWT that is made for it calls it: the issuer as it is written, else the token endpoint.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Token(url) => url.to_string(),
            Self::Issuer(issuer) => issuer.written.clone(),
        }
    }
}

/// For people: without a query, which may hold a secret.
impl fmt::Display for EndpointConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Url { query: None, ..self.url().clone() }.fmt(formatter)
    }
}

/// Which certificate the token endpoint sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointCertificate {
    /// The service's, if it has one.
    OfService,
    /// Another.
    Named(At<CertificateName>),
    /// None.
    None,
}

/// When a token is refreshed in the background.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RefreshAhead {
    /// This share of its life is left; 0.2 by default.
    Share(f64),
    /// This much of its life is left.
    Fixed(Duration),
}

// A share is never NaN: it is read from text that has digits.
impl Eq for RefreshAhead {}

section! {
    struct OAuth2Keys {
        /// The token endpoint; this or `issuer`.
        token_url: Option<At<EndpointUrl>> = None,
        /// The issuer, which says where its token endpoint is (RFC 8414, OpenID Connect Discovery); this or `token_url`.
        issuer: Option<At<Issuer>> = None,
        /// The client's name at the endpoint.
        client_id: Option<At<String>> = None,
        /// The client's secret.
        client_secret: Option<At<Secret>> = None,
        /// How the client authenticates; by default `basic` with a secret, `private_key_jwt` with `client_key`,
        /// `tls_client_auth` with a certificate and neither, else `none`.
        client_auth: Option<At<ClientAuthWord>> = None,
        /// PEM file of the key that signs the client's JWT; by default that of the certificate that the endpoint sees.
        client_key: Option<At<PathBuf>> = None,
        /// The `kid` of the client's JWT.
        client_key_id: Option<At<String>> = None,
        /// How the client's JWT is signed; by default RS256, ES256, ES384, ES512 or EdDSA, as the key is.
        client_key_algorithm: Option<At<JwsAlgorithm>> = None,
        /// A JWT that somebody else made.
        client_assertion: Option<At<ClientAssertion>> = None,
        /// `aud` of the client's JWT; by default `issuer`, else `token_url`.
        client_assertion_audience: Option<At<String>> = None,
        /// Scopes: a text with spaces between them, or a list.
        scope: Vec<AnyText> = Vec::new(),
        /// For whom the token is.
        audience: Option<String> = None,
        /// Resources that the token is for (RFC 8707): one or a list.
        resource: Vec<String> = Vec::new(),
        /// More fields of the form.
        params: Vec<(String, At<Secret>)> = Vec::new(),
        /// More fields of the token request's head.
        headers: Vec<(At<HeaderName>, At<Secret>)> as HeaderFields<At<Secret>> = Vec::new(),
        /// Certificate for the token endpoint, a name or `none`; by default the service's.
        certificate: EndpointCertificate = EndpointCertificate::OfService,
        /// Trust for the token endpoint; by default the service's `ca`, `system_roots` and `min_version`; `{}` is the
        /// system's authorities.
        tls: Option<At<Tls>> = None,
        /// Whether tokens are bound to a key of ours (DPoP, RFC 9449).
        dpop: bool = false,
        /// The field that carries the token.
        token_header: HeaderName = header::AUTHORIZATION,
        /// Put before the token with a space; empty for the bare token. By default `Bearer`, or `DPoP`.
        token_prefix: Option<TokenPrefix> = None,
        /// What is left of the token's life when it is refreshed: a share (`20%`) or a duration.
        refresh_ahead: RefreshAhead = RefreshAhead::Share(0.2),
        /// The life of a token that does not say how long it lives.
        default_lifetime: Duration as Positive = Duration::from_secs(300),
        /// Statuses of the service that mean that the token is dead.
        on_unauthorized: Vec<StatusNumber> = vec![StatusNumber(StatusCode::UNAUTHORIZED)],
        /// For one token request.
        timeout: Duration as Positive = Duration::from_secs(10),
    }
}

/// Reads the fields of a method.
fn read(
    fields: &mut SectionFields<'_>,
    node: &Node,
    reader: &mut SectionReader<'_>,
    grant: grant::Read,
) -> Result<Option<Auth>, Reported> {
    // Both are read before either is given up: a user wants to hear of all that is wrong.
    let keys = OAuth2Keys::from_fields(fields, reader);
    let grant = grant(fields, node, reader);
    let (keys, grant) = (keys?, grant?);
    let endpoint = keys.endpoint(node, reader)?;
    if keys.is_incomplete(node) {
        return Err(Reported);
    }
    keys.check_client_id(&grant, node, reader)?;
    let client_auth = keys.client_auth(&endpoint, node, reader)?;
    keys.check_request(&client_auth, &grant, reader)?;
    keys.warn_of_bound_refresh_token(&client_auth, &grant, node, reader);
    keys.check_proof(node, reader)?;
    let scope: Vec<String> = keys.scope.into_iter().map(String::from).filter(|scope| !scope.is_empty()).collect();
    let usual_prefix = if keys.dpop { "DPoP" } else { "Bearer" };
    let names_its_type = ["token_header", "token_prefix"].iter().any(|key| node.entry(key).is_some());
    Ok(Some(Auth::OAuth2(Box::new(OAuth2 {
        names_its_type,
        grant,
        endpoint,
        client_id: keys.client_id.map(|id| id.value),
        client_auth,
        client_assertion_audience: keys.client_assertion_audience.map(|audience| audience.value),
        scope: (!scope.is_empty()).then(|| scope.join(" ")),
        audience: keys.audience,
        resource: keys.resource,
        params: keys.params,
        headers: keys.headers,
        certificate: keys.certificate,
        tls: keys.tls,
        dpop: keys.dpop,
        token_header: keys.token_header,
        token_prefix: keys.token_prefix.map_or_else(|| usual_prefix.to_owned(), |prefix| prefix.0),
        refresh_ahead: keys.refresh_ahead,
        default_lifetime: keys.default_lifetime,
        on_unauthorized: keys.on_unauthorized.into_iter().map(|status| status.0).collect(),
        timeout: keys.timeout,
    }))))
}

impl OAuth2Keys {
    fn endpoint(&self, node: &Node, reader: &mut SectionReader<'_>) -> Result<At<EndpointConfig>, Reported> {
        let written = |key: &str| node.entry(key).is_some();
        match (&self.token_url, &self.issuer) {
            (Some(url), None) if !written("issuer") => {
                Ok(At { value: EndpointConfig::Token(url.value.clone().into()), span: url.span })
            }
            (None, Some(url)) if !written("token_url") => {
                Ok(At { value: EndpointConfig::Issuer(url.value.clone()), span: url.span })
            }
            (Some(url), Some(issuer)) => {
                reader
                    .report
                    .error(issuer.span, "`issuer` and `token_url` both say where tokens come from")
                    .also(url.span, "the other one")
                    .help("keep one of them");
                Err(Reported)
            }
            (None, None) if !written("issuer") && !written("token_url") => {
                reader
                    .report
                    .error(node.span, "`token_url` is missing")
                    .label("needs `token_url` or `issuer`")
                    .help("add `token_url: …`, or `issuer: …` to have the endpoint discovered");
                Err(Reported)
            }
            // The one that is written could not be read.
            _ => Err(Reported),
        }
    }

    fn check_client_id(
        &self,
        grant: &GrantConfig,
        node: &Node,
        reader: &mut SectionReader<'_>,
    ) -> Result<(), Reported> {
        let needs_issuer = matches!(grant, GrantConfig::JwtBearer(assertion) if assertion.issuer.is_none());
        if self.client_id.is_some() || (grant.is_nameless() && !needs_issuer) {
            return Ok(());
        }
        let error = reader.report.error(node.span, "`client_id` is missing").label("needs `client_id`");
        error.help(if needs_issuer {
            "add `client_id: …`, or `issuer` to `assertion`"
        } else {
            "add `client_id: …`"
        });
        Err(Reported)
    }

    /// Refuses what would contradict the request that the method makes.
    fn check_request(
        &self,
        client_auth: &ClientAuth,
        grant: &GrantConfig,
        reader: &mut SectionReader<'_>,
    ) -> Result<(), Reported> {
        for (name, value) in &self.params {
            if RESERVED.contains(&name.as_str()) || grant.form_fields().contains(&name.as_str()) {
                let wrong = Wrong::new(format!("`{name}` is not an extra field of the form"));
                return Err(wrong
                    .help("it has a key of its own, or is written by the method")
                    .report(value.span, reader.report));
            }
        }
        for (name, value) in &self.headers {
            // A client authenticates once (RFC 6749 §2.3).
            let authenticates = name.value == header::AUTHORIZATION && *client_auth != ClientAuth::None;
            if authenticates || name.value == header::CONTENT_TYPE || name.value.as_str() == "dpop" {
                let wrong = Wrong::new(format!("`{}` is written by the token request itself", name.value));
                let help = if authenticates { "remove it, or write `client_auth: none`" } else { "remove it" };
                return Err(wrong.help(help).report(name.span, reader.report));
            }
            check_value(value, "", reader)?;
        }
        Ok(())
    }

    /// The refresh token of a client that shows nothing else is bound to the key of its proofs (RFC 9449 §5), and ours
    /// ends with the process.
    fn warn_of_bound_refresh_token(
        &self,
        client_auth: &ClientAuth,
        grant: &GrantConfig,
        node: &Node,
        reader: &mut SectionReader<'_>,
    ) {
        if self.dpop && *client_auth == ClientAuth::None && matches!(grant, GrantConfig::RefreshToken { .. }) {
            reader.report.warning(node.span, "the next process can't use a refresh token that this one has got").help(
                "let the client authenticate, or remove `dpop: true`: its refresh tokens are bound to the DPoP key",
            );
        }
    }

    /// Token and proof are two fields (RFC 9449 §7.1).
    fn check_proof(&self, node: &Node, reader: &mut SectionReader<'_>) -> Result<(), Reported> {
        if !self.dpop || self.token_header.as_str() != "dpop" {
            return Ok(());
        }
        reader
            .report
            .error(node.span, "the field `dpop` has the proof, and can't have the token too")
            .help("remove `token_header: dpop`");
        Err(Reported)
    }
}

/// The word before the token; may be empty.
struct TokenPrefix(String);

impl FromText for TokenPrefix {
    const WHAT: &'static str = "text";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        header_value(text).map(|_| Self(text.to_owned()))
    }

    fn placeholder() -> Self {
        Self(String::new())
    }
}

/// Fields of the form that have keys of their own.
const RESERVED: [&str; 8] = [
    "grant_type",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "scope",
    "audience",
    "resource",
];

impl FromNode for EndpointCertificate {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        if node.scalar().is_some_and(|scalar| *scalar.text == "none") {
            return Ok(Self::None);
        }
        At::<CertificateName>::from_node(node, reader).map(Self::Named)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        CertificateName::schema(generator)
    }
}

impl FromText for RefreshAhead {
    const WHAT: &'static str = "a share or a duration";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let Some(percent) = text.strip_suffix('%') else {
            return Positive::from_text(text)
                .map(|duration| Self::Fixed(duration.into()))
                .map_err(|wrong| wrong.help("write `20%` or `30s`"));
        };
        let digits = percent.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        match percent.parse::<f64>() {
            Ok(percent) if digits && percent > 0.0 && percent <= 100.0 => Ok(Self::Share(percent / 100.0)),
            _ => Err(Wrong::new("expected a share of more than 0 and at most 100 percent")),
        }
    }

    fn placeholder() -> Self {
        Self::Share(0.2)
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^([0-9.]+%|[0-9]+(ms|s|m|h))$" })
    }
}
