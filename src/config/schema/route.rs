//! `routes`: what leads to a service beside its default routes.

use http::{HeaderName, HeaderValue, Method};

use crate::config::diagnostic::Reported;
use crate::config::json_schema;
use crate::config::node::Node;
use crate::config::read::{FromNode, FromText, SectionFields, SectionReader, Wrong};
use crate::config::section::section;
use crate::config::value::{At, HeaderFields, Host};
use crate::name::ServiceName;

/// An entry of `routes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteConfig {
    /// A prefix that starts with `/`.
    pub path: Option<At<String>>,
    /// Exact, or `*.suffix`; lower case, no trailing dot, no port.
    pub host: Option<At<String>>,
    /// Empty: all.
    pub methods: Vec<Method>,
    /// Fields that the request must have.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Where it leads.
    pub service: At<ServiceName>,
    /// Whether `path` is taken off before the request is sent.
    pub strip_path: bool,
}

section! {
    struct RouteKeys {
        /// A prefix of the path, matched on whole segments.
        path: Option<At<PathPrefix>> = None,
        /// The request's host, exact or `*.suffix`.
        host: Option<At<WrittenHostPattern>> = None,
        /// The request's method.
        methods: Vec<Method> = Vec::new(),
        /// Fields that the request must have, with their values.
        headers: Vec<(HeaderName, HeaderValue)> as HeaderFields<HeaderValue> = Vec::new(),
        /// The service that the request goes to.
        service: At<ServiceName>,
        /// Takes `path` off before the request is sent.
        strip_path: bool = true,
    }
}

impl FromNode for RouteConfig {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        let mut fields = SectionFields::open(node, reader.report)?;
        let keys = RouteKeys::from_fields(&mut fields, reader);
        fields.close(reader.report);
        let keys = keys?;
        Ok(Self {
            path: keys.path.map(|path| At { value: path.value.0, span: path.span }),
            host: keys.host.map(|host| At { value: host.value.0, span: host.span }),
            methods: keys.methods,
            headers: keys.headers,
            service: keys.service,
            strip_path: keys.strip_path,
        })
    }

    fn schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        json_schema::object(RouteKeys::properties(generator))
    }
}

/// The beginning of a path.
struct PathPrefix(String);

impl FromText for PathPrefix {
    const WHAT: &'static str = "the beginning of a path";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let legal = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'?' | b'#');
        let dots = |segment: &str| matches!(segment, "." | "..");
        if !text.starts_with('/') {
            return Err(Wrong::new("a path begins with `/`"));
        }
        if !text.bytes().all(legal) || text.starts_with("//") || text.split('/').any(dots) || text.contains('*') {
            return Err(
                Wrong::new("no request has a path that begins like this").help("write a plain prefix, like `/pay`")
            );
        }
        Ok(Self(text.to_owned()))
    }

    fn placeholder() -> Self {
        Self("/placeholder".to_owned())
    }
}

/// A host, or `*.suffix`.
struct WrittenHostPattern(String);

impl FromText for WrittenHostPattern {
    const WHAT: &'static str = "a host or `*.suffix`";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        match text.strip_prefix("*.") {
            Some(suffix) => Host::from_text(suffix).map(|suffix| Self(format!("*.{}", suffix.0))),
            None => Host::from_text(text).map(|host| Self(host.0)),
        }
    }

    fn placeholder() -> Self {
        Self("placeholder.invalid".to_owned())
    }
}
