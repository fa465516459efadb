//! The fields that all OAuth 2.0 methods share, and how the client authenticates.

use std::time::Duration;

use http::{HeaderName, StatusCode, header};
use schemars::{Schema, SchemaGenerator, json_schema};

use super::{AnyText, check_value};
use crate::config::diagnostic::{Report, Reported};
use crate::config::node::Node;
use crate::config::read::{Fields, FromNode, FromText, Reader, Wrong};
use crate::config::schema::Tls;
use crate::config::section::{not_among, one_of, section};
use crate::config::value::{At, EndpointUrl, HeaderFields, Positive, Scheme, Span, Status, Url, header_value};
use crate::name::CertificateName;
use crate::secret::Secret;

/// The fields that all OAuth 2.0 methods share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth2 {
    /// The token endpoint.
    pub token_url: At<Url>,
    /// The client's name at the endpoint.
    pub client_id: At<String>,
    /// How the client authenticates there.
    pub client_auth: ClientAuth,
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
    /// The field that carries the token.
    pub token_header: HeaderName,
    /// Empty: the bare token.
    pub token_prefix: String,
    /// When the token is refreshed.
    pub refresh_ahead: RefreshAhead,
    /// The life of a token that does not say how long it lives.
    pub default_lifetime: Duration,
    /// Statuses of the service that mean that the token is dead.
    pub on_unauthorized: Vec<StatusCode>,
    /// For one token request.
    pub timeout: Duration,
}

/// How the client authenticates at the token endpoint (RFC 6749 §2.3, RFC 8705 §2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// `Authorization: Basic` with the secret.
    Basic(At<Secret>),
    /// The secret in the form.
    Post(At<Secret>),
    /// The client certificate.
    TlsClientAuth,
    /// The name alone.
    None,
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
    pub(super) struct Keys {
        /// The token endpoint.
        token_url: At<Url> as At<EndpointUrl>,
        /// The client's name at the endpoint.
        client_id: At<String>,
        /// The client's secret.
        client_secret: Option<At<Secret>> = None,
        /// How the client authenticates; by default `basic` with a secret, `tls_client_auth` with a certificate and no
        /// secret, else `none`.
        client_auth: Option<At<ClientAuthWord>> = None,
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
        /// The field that carries the token.
        token_header: HeaderName = header::AUTHORIZATION,
        /// Put before the token with a space; empty for the bare token.
        token_prefix: String as Prefix = "Bearer".to_owned(),
        /// What is left of the token's life when it is refreshed: a share (`20%`) or a duration.
        refresh_ahead: RefreshAhead = RefreshAhead::Share(0.2),
        /// The life of a token that does not say how long it lives.
        default_lifetime: Duration as Positive = Duration::from_secs(300),
        /// Statuses of the service that mean that the token is dead.
        on_unauthorized: Vec<Status> = vec![Status(StatusCode::UNAUTHORIZED)],
        /// For one token request.
        timeout: Duration as Positive = Duration::from_secs(10),
    }
}

impl OAuth2 {
    pub(super) fn read(fields: &mut Fields<'_>, node: &Node, reader: &mut Reader<'_>) -> Result<Self, Reported> {
        let keys = Keys::from_fields(fields, reader)?;
        if keys.is_incomplete(node) {
            return Err(Reported);
        }
        let client_auth = keys.client_auth(reader)?;
        keys.check_request(&client_auth, reader)?;
        let scope: Vec<String> = keys.scope.into_iter().map(String::from).filter(|scope| !scope.is_empty()).collect();
        Ok(Self {
            token_url: keys.token_url,
            client_id: keys.client_id,
            client_auth,
            scope: (!scope.is_empty()).then(|| scope.join(" ")),
            audience: keys.audience,
            resource: keys.resource,
            params: keys.params,
            headers: keys.headers,
            certificate: keys.certificate,
            tls: keys.tls,
            token_header: keys.token_header,
            token_prefix: keys.token_prefix,
            refresh_ahead: keys.refresh_ahead,
            default_lifetime: keys.default_lifetime,
            on_unauthorized: keys.on_unauthorized.into_iter().map(|status| status.0).collect(),
            timeout: keys.timeout,
        })
    }
}

impl Keys {
    /// Whether a key that decides how the client authenticates could not be read, which has been reported.
    fn is_incomplete(&self, node: &Node) -> bool {
        let written = |key: &str| node.entry(key).is_some();
        (written("client_auth") && self.client_auth.is_none())
            || (written("client_secret") && self.client_secret.is_none())
            || (written("certificate") && self.certificate == EndpointCertificate::OfService)
    }

    fn client_auth(&self, reader: &mut Reader<'_>) -> Result<ClientAuth, Reported> {
        let certificate = match self.certificate {
            EndpointCertificate::OfService => reader.links_certificate,
            EndpointCertificate::Named(_) => true,
            EndpointCertificate::None => false,
        };
        let Some(written) = &self.client_auth else {
            return Ok(match &self.client_secret {
                Some(secret) => ClientAuth::Basic(secret.clone()),
                None if certificate => self.over_tls(self.token_url.span, reader.report)?,
                None => ClientAuth::None,
            });
        };
        match (written.value, &self.client_secret) {
            (ClientAuthWord::Unknown, _) => Ok(ClientAuth::None),
            (ClientAuthWord::Basic, Some(secret)) => Ok(ClientAuth::Basic(secret.clone())),
            (ClientAuthWord::Post, Some(secret)) => Ok(ClientAuth::Post(secret.clone())),
            (ClientAuthWord::Basic | ClientAuthWord::Post, None) => Err(Wrong::new("this needs a `client_secret`")
                .help("add `client_secret: { env: NAME }`")
                .report(written.span, reader.report)),
            (ClientAuthWord::TlsClientAuth | ClientAuthWord::None, Some(secret)) => {
                reader
                    .report
                    .error(secret.span, "this secret would never be sent")
                    .also(written.span, "the client authenticates without it")
                    .help("remove `client_secret`, or choose `basic` or `post`");
                Err(Reported)
            }
            (ClientAuthWord::TlsClientAuth, None) if !certificate => {
                Err(Wrong::new("`tls_client_auth` needs a certificate")
                    .help("link one with `certificate: NAME`, in the service or beside `token_url`")
                    .report(written.span, reader.report))
            }
            (ClientAuthWord::TlsClientAuth, None) => self.over_tls(written.span, reader.report),
            (ClientAuthWord::None, None) => Ok(ClientAuth::None),
        }
    }

    fn over_tls(&self, span: Span, report: &mut Report) -> Result<ClientAuth, Reported> {
        if self.token_url.value.scheme == Scheme::Https {
            return Ok(ClientAuth::TlsClientAuth);
        }
        Err(Wrong::new("a client can't show a certificate over `http://`")
            .help("use an `https://` token endpoint, or write `client_auth`")
            .report(span, report))
    }

    /// Refuses what would contradict the request that the method makes.
    fn check_request(&self, client_auth: &ClientAuth, reader: &mut Reader<'_>) -> Result<(), Reported> {
        for (name, value) in &self.params {
            if RESERVED.contains(&name.as_str()) {
                let wrong = Wrong::new(format!("`{name}` is not an extra field of the form"));
                return Err(wrong
                    .help("it has a key of its own, or is written by the method")
                    .report(value.span, reader.report));
            }
        }
        for (name, value) in &self.headers {
            let ours = name.value == header::CONTENT_TYPE
                || (name.value == header::AUTHORIZATION && matches!(client_auth, ClientAuth::Basic(_)));
            if ours {
                let wrong = Wrong::new(format!("`{}` is written by the token request itself", name.value));
                return Err(wrong.help("remove it").report(name.span, reader.report));
            }
            check_value(value, "", reader)?;
        }
        Ok(())
    }
}

/// The word before the token; may be empty.
struct Prefix(String);

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.0
    }
}

impl FromText for Prefix {
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

/// `client_auth` as it is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ClientAuthWord {
    Basic,
    Post,
    TlsClientAuth,
    None,
    /// It comes from elsewhere, which `--no-secrets` does not read.
    Unknown,
}

impl FromText for ClientAuthWord {
    const WHAT: &'static str = "a way to authenticate the client";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        match text {
            "basic" => Ok(Self::Basic),
            "post" => Ok(Self::Post),
            "tls_client_auth" => Ok(Self::TlsClientAuth),
            "none" => Ok(Self::None),
            "client_secret_jwt" | "private_key_jwt" | "assertion" => {
                let help = format!("one of: {}", CLIENT_AUTH.join(", "));
                Err(Wrong::new(format!("`{text}` is not in this version yet")).help(help))
            }
            // The names of the registry (RFC 7591 §2).
            "client_secret_basic" => Err(Wrong::new("this is called `basic` here").help("write `basic`")),
            "client_secret_post" => Err(Wrong::new("this is called `post` here").help("write `post`")),
            "self_signed_tls_client_auth" => {
                Err(Wrong::new("this is called `tls_client_auth` here").help("write `tls_client_auth`"))
            }
            other => Err(not_among(other, Self::WHAT, &CLIENT_AUTH)),
        }
    }

    fn placeholder() -> Self {
        Self::Unknown
    }

    fn schema() -> Schema {
        one_of(&CLIENT_AUTH)
    }
}

const CLIENT_AUTH: [&str; 4] = ["basic", "post", "tls_client_auth", "none"];

impl FromNode for EndpointCertificate {
    fn from_node(node: &Node, reader: &mut Reader<'_>) -> Result<Self, Reported> {
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
