//! `services`: where requests go, and what they carry.

use http::{HeaderName, HeaderValue, Method};
use schemars::{Schema, SchemaGenerator};

use super::identities::{self, IdentitiesConfig};
use super::{FilesConfig, OutboundProxyConfig, PoolConfig, Retry, ServiceLimits, Timeouts, Tls};
use crate::config::auth::{self, Auth, Methods};
use crate::config::check;
use crate::config::diagnostic::Reported;
use crate::config::json_schema;
use crate::config::node::{Node, Value};
use crate::config::read::{FromNode, FromText, SectionFields, SectionReader, Wrong};
use crate::config::section::{read_section, section, words};
use crate::config::value::{At, HeaderFields, HostHeader, ListenAddress, OwnListen, Scheme, ServiceUrl, Url};
use crate::name::CertificateName;

section! {
    /// An entry of `services`.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ServiceConfig {
        /// For people; by default the name. It may change, the name may not.
        pub title: Option<String> = None,
        /// `https://` or `http://`, host, optional port and base path; or `sftp://`, `ftp://` or `ftps://`, whose path is that
        /// of a folder, `/~/` the login's own; or `openpgp:`, where bodies are encrypted or decrypted and come back.
        pub url: At<Url> as At<ServiceUrl>,
        /// A name under `certificates`: mutual TLS to `url` and to the token endpoint.
        pub certificate: Option<At<CertificateName>> = None,
        /// One authentication method or a list of them; empty: none.
        pub auth: Vec<At<Auth>> as Methods = Vec::new(),
        /// Trust for `url`; by default the system's authorities.
        pub tls: Option<At<Tls>> = None,
        /// `auto` lets the handshake decide; `2` on an `http://` URL is prior knowledge.
        pub http_version: HttpVersion = HttpVersion::Auto,
        /// Whether the service is reached by `/NAME/…`, `NAME.localhost` and as a forward proxy.
        pub default_routes: bool = true,
        /// Anything else is answered with 403 and never sent; `None`: all is sent.
        pub allow: Option<AllowConfig> = None,
        /// What is sent as `Host`, or as `:authority` over HTTP/2, instead of the URL's host and port; TLS goes by the URL
        /// (and `tls.server_name`) all the same.
        pub host_header: Option<At<HostHeader>> = None,
        /// Changes of the request's fields.
        pub headers: RequestHeaders = RequestHeaders::default(),
        /// Changes of the answer's fields.
        pub response_headers: ResponseHeaders = ResponseHeaders::default(),
        /// What becomes of a field that our credential owns, if the app sent it.
        pub on_client_authorization: OnClientAuthorization = OnClientAuthorization::Replace,
        /// Lets a credential go over `http://` to another machine.
        pub allow_plaintext_credentials: bool = false,
        /// How long to wait for the service.
        pub timeouts: Timeouts = Timeouts::default(),
        /// When a request is sent again.
        pub retry: Retry = Retry::default(),
        /// Connections to the service.
        pub pool: PoolConfig = PoolConfig::default(),
        /// The HTTP proxy through which service and token endpoint are reached, or `none`; by default the one that
        /// `HTTPS_PROXY` names, but for what `NO_PROXY` lists. Never used for this machine.
        pub outbound_proxy: OutboundProxyConfig = OutboundProxyConfig::FromEnvironment,
        /// For load tests: who the service is called as, one after the other; by default as itself alone. Then `auth` is
        /// that of the first.
        pub identities: Option<IdentitiesConfig> = None,
        /// Whether `Set-Cookie` of answers is made the app's.
        pub cookies: Cookies = Cookies::Map,
        /// What becomes of the app's `Forwarded` and `X-Forwarded-…`.
        pub forwarded: Forwarded = Forwarded::Drop,
        /// Whether our `Via` goes on requests; without it a loop is not seen.
        pub via: bool = true,
        /// What is sent to it at most; by default all.
        pub limits: ServiceLimits = ServiceLimits::default(),
        /// Addresses of its own: all that arrives there goes to it. A port alone is one of `localhost`.
        pub listen: Vec<At<ListenAddress>> as OwnListen = Vec::new(),
        /// For `sftp://`, `ftp://` and `ftps://`: what becomes of requests for files.
        pub files: FilesConfig = FilesConfig::default(),
        /// Adds `Server-Timing` to answers: where the time of each request went.
        pub server_timing: bool = false,
        /// `required`: `/readyz` waits for this service's first token.
        pub ready: Ready = Ready::Optional,
    }
}

impl FromNode for ServiceConfig {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        let mut fields = SectionFields::open(node, reader.report)?;
        reader.links_certificate = node.entry("certificate").is_some();
        reader.auth_unknown = false;
        let auth = node.entry("auth").map(|entry| &entry.value);
        let has_identities = node.entry("identities").is_some();
        reader.overridden = has_identities.then(|| auth.cloned().unwrap_or_else(|| node.without_items()));
        let service = Self::from_fields(&mut fields, reader);
        reader.overridden = None;
        fields.close(reader.report);
        let mut service = service?;
        let methods = service.methods();
        check::transforms(&methods, reader);
        if service.url.value.scheme.is_of_files() {
            check::files(&methods, node, reader);
            return Ok(service);
        }
        check::no_files(&methods, node, reader);
        if service.url.value.scheme == Scheme::OpenPgp {
            check::openpgp(&methods, node, reader);
            return Ok(service);
        }
        if has_identities {
            identities::check(&mut service, auth, reader);
        } else {
            check::service(&service, reader);
        }
        Ok(service)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let (whole, overridden) = (Methods::schema(generator), auth::schema_of_overridden(generator));
        let mut properties = Self::properties(generator);
        for auth in properties.iter_mut().filter(|property| property.key == "auth") {
            auth.schema = schemars::json_schema!({ "anyOf": [whole, overridden] });
        }
        let mut schema = json_schema::object(properties);
        schema.insert("if".to_owned(), serde_json::json!({ "properties": { "identities": false } }));
        schema.insert("then".to_owned(), serde_json::json!({ "properties": { "auth": whole } }));
        schema
    }
}

impl ServiceConfig {
    fn methods(&self) -> check::MethodsOfService<'_> {
        let sets = self.identities.iter().flat_map(|identities| identities.sets.iter());
        check::MethodsOfService {
            url: &self.url,
            auth: &self.auth,
            of_sets: sets.flat_map(|set| &set.auth).collect(),
            certificate: self.certificate.as_ref(),
            tls: self.tls.as_ref().map(|tls| tls.span),
            allow_plaintext_credentials: self.allow_plaintext_credentials,
        }
    }

    /// The keys, as they are written, in which another version of this service differs.
    #[must_use]
    pub fn changed_keys(&self, other: &Self) -> Vec<&'static str> {
        let changes = [
            ("title", self.title != other.title),
            ("url", self.url != other.url),
            ("certificate", self.certificate != other.certificate),
            ("auth", self.auth != other.auth),
            ("tls", self.tls != other.tls),
            ("http_version", self.http_version != other.http_version),
            ("default_routes", self.default_routes != other.default_routes),
            ("allow", self.allow != other.allow),
            ("host_header", self.host_header != other.host_header),
            ("headers", self.headers != other.headers),
            ("response_headers", self.response_headers != other.response_headers),
            ("on_client_authorization", self.on_client_authorization != other.on_client_authorization),
            ("allow_plaintext_credentials", self.allow_plaintext_credentials != other.allow_plaintext_credentials),
            ("timeouts", self.timeouts != other.timeouts),
            ("retry", self.retry != other.retry),
            ("pool", self.pool != other.pool),
            ("outbound_proxy", self.outbound_proxy != other.outbound_proxy),
            ("identities", self.identities != other.identities),
            ("cookies", self.cookies != other.cookies),
            ("forwarded", self.forwarded != other.forwarded),
            ("via", self.via != other.via),
            ("limits", self.limits != other.limits),
            ("listen", self.listen != other.listen),
            ("files", self.files != other.files),
            ("server_timing", self.server_timing != other.server_timing),
            ("ready", self.ready != other.ready),
        ];
        changes.into_iter().filter(|&(_, changed)| changed).map(|(key, _)| key).collect()
    }
}

words! {
    /// `http_version`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum HttpVersion ("a version of HTTP that is spoken here") {
        /// What the handshake (ALPN) agrees on; HTTP/1.1 without one.
        "auto" => Auto,
        /// HTTP/1.1.
        "1.1" => Http1,
        /// HTTP/2.
        "2" => Http2,
    }
}

words! {
    /// What becomes of a field that our credential owns, if the app sent it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum OnClientAuthorization ("an answer to the app's own credential") {
        /// Ours is sent.
        "replace" => Replace,
        /// The app's is sent, and ours is not added.
        "keep" => Keep,
        /// The request is answered with 400.
        "reject" => Reject,
    }
}

words! {
    /// `cookies`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Cookies ("a way with cookies of answers") {
        /// Their paths are those of the request's route, and they need no TLS.
        "map" => Map,
        /// They are left as they are.
        "keep" => Keep,
    }
}

words! {
    /// `forwarded`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Forwarded ("an answer to the app's own `Forwarded`") {
        /// The service is told nothing of who called the app.
        "drop" => Drop,
        /// The app's go on; none is added.
        "keep" => Keep,
    }
}

words! {
    /// `ready`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Ready ("what readiness may depend on") {
        /// `/readyz` does not wait for this service.
        "optional" => Optional,
        /// `/readyz` waits for its first token.
        "required" => Required,
    }
}

section! {
    /// `headers`.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct RequestHeaders {
        /// Fields that are sent, whatever the app sent under their names.
        pub set: Vec<(At<HeaderName>, HeaderValue)> as HeaderFields<HeaderValue> = Vec::new(),
        /// Fields of the app that are not sent.
        pub remove: Vec<At<HeaderName>> = Vec::new(),
        /// Sends names `Like-This` over HTTP/1.1, for old services.
        pub title_case: bool = false,
    }
}

section! {
    /// `response_headers`.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct ResponseHeaders {
        /// Fields that the app gets, whatever the service sent under their names.
        pub set: Vec<(At<HeaderName>, HeaderValue)> as HeaderFields<HeaderValue> = Vec::new(),
        /// Fields of the service that the app does not get.
        pub remove: Vec<At<HeaderName>> = Vec::new(),
    }
}

read_section!(RequestHeaders, ResponseHeaders);

/// `allow`: anything else is answered with 403 and never sent. An empty list allows all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowConfig {
    /// Methods that are sent.
    pub methods: Vec<Method>,
    /// Patterns of paths that are sent: `*` within a segment, `**` any number of segments, also none.
    pub paths: Vec<At<String>>,
}

section! {
    struct AllowKeys {
        /// Methods that are sent; by default all.
        methods: Vec<Method> = Vec::new(),
        /// Patterns of paths, base path included, that are sent; by default all. `*` matches within a segment, `**` any
        /// number of segments, also none.
        paths: Vec<At<PathPattern>> = Vec::new(),
    }
}

read_section!(AllowKeys);

impl FromNode for AllowConfig {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        let keys = AllowKeys::from_node(node, reader)?;
        for key in ["methods", "paths"] {
            let entry = node
                .entry(key)
                .filter(|entry| matches!(&entry.value.value, Value::Sequence(items) if items.is_empty()));
            if let Some(entry) = entry {
                reader.report.error(entry.key.span, format!("`{key}` names none")).help("remove it to allow all");
            }
        }
        let paths = keys.paths.into_iter().map(|path| At { value: path.value.0, span: path.span }).collect();
        Ok(Self { methods: keys.methods, paths })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        AllowKeys::schema(generator)
    }
}

/// A pattern of `allow.paths`.
struct PathPattern(String);

impl FromText for PathPattern {
    const WHAT: &'static str = "a pattern of paths";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let legal = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'?' | b'#');
        let dots = |segment: &str| matches!(segment, "." | "..");
        let mixed = |segment: &str| segment.contains("**") && segment != "**";
        if !text.starts_with('/') {
            return Err(Wrong::new("a path begins with `/`"));
        }
        if !text.bytes().all(legal) || text.split('/').any(dots) {
            return Err(Wrong::new("no request has a path like this"));
        }
        if text.split('/').any(mixed) {
            return Err(Wrong::new("`**` stands for whole segments").help("write `/v1/**`, or `*` within a segment"));
        }
        Ok(Self(text.to_owned()))
    }

    fn placeholder() -> Self {
        Self("/**".to_owned())
    }
}
