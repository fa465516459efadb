//! The entries of `auth`: one method and its fields.
//!
//! A new method is a variant here, an arm in `Auth::read` and `Auth::oauth2`, and a row in `METHODS`; where it puts its
//! credential is said in `place`.

mod later;
mod oauth2;
mod place;

use http::HeaderName;
use schemars::{Schema, SchemaGenerator, json_schema};

pub use oauth2::{ClientAuth, EndpointCertificate, OAuth2, RefreshAhead};

use super::diagnostic::Reported;
use super::json_schema::{self, Property};
use super::node::{Node, Value};
use super::read::{Fields, FromNode, FromText, Reader, Wrong};
use super::reference::{self, Accepts};
use super::section::{one_of, section};
use super::value::{At, HeaderFields, header_value};
use crate::secret::Secret;
pub(super) use place::report_overlap_with_headers;

/// One authentication method with its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Basic` (RFC 7617).
    Basic {
        /// Has no colon.
        username: At<String>,
        /// Has no control character.
        password: At<Secret>,
    },
    /// `Authorization: Bearer` (RFC 6750).
    Bearer {
        /// Can be sent in a field.
        token: At<Secret>,
    },
    /// A key in a field, a query parameter or a cookie.
    ApiKey {
        /// Can be sent where it goes.
        key: At<Secret>,
        /// Where it goes.
        place: At<ApiKeyPlace>,
        /// Put before the key as it is.
        prefix: String,
    },
    /// Fields with secret values.
    Headers {
        /// Names and values.
        set: Vec<(At<HeaderName>, At<Secret>)>,
    },
    /// `oauth2_client_credentials` (RFC 6749 §4.4).
    ClientCredentials(Box<OAuth2>),
}

/// Where an API key goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiKeyPlace {
    /// A field of the request.
    Header(HeaderName),
    /// A query parameter.
    Query(String),
    /// A cookie.
    Cookie(String),
}

/// `auth` as it is written: one method or a list of them.
pub(super) struct Methods(Vec<At<Auth>>);

impl From<Methods> for Vec<At<Auth>> {
    fn from(methods: Methods) -> Self {
        methods.0
    }
}

impl FromNode for Methods {
    fn from_node(node: &Node, reader: &mut Reader<'_>) -> Result<Self, Reported> {
        if reader.overridden.is_some() {
            return Ok(Self(Vec::new()));
        }
        let entries = entries(node);
        let read: Vec<Result<Option<Auth>, Reported>> = entries.iter().map(|entry| Auth::read(entry, reader)).collect();
        reader.auth_unknown |= read.iter().any(Result::is_err);
        let methods = read
            .into_iter()
            .zip(entries)
            .filter_map(|(method, entry)| Some(At { value: method.ok().flatten()?, span: entry.span }));
        let methods: Vec<At<Auth>> = methods.collect();
        place::report_overlap(&methods, reader.report);
        Ok(Self(methods))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let methods: Vec<Schema> = METHODS.iter().map(|(name, keys)| method(name, keys(generator))).collect();
        let one = json_schema!({ "oneOf": methods });
        generator.definitions_mut().insert("Method".to_owned(), one.to_value());
        let method = json_schema!({ "$ref": "#/$defs/Method" });
        json_schema!({ "anyOf": [method, { "type": "array", "items": method }] })
    }
}

/// The methods of an `auth`, one or a list.
pub(super) fn entries(node: &Node) -> &[Node] {
    match &node.value {
        Value::Sequence(entries) => entries.as_slice(),
        _ => std::slice::from_ref(node),
    }
}

/// The keys that an entry of `auth` may have beside `type`; `None` if its method is unknown or can't be known.
pub(super) fn keys(entry: &Node, reader: &mut Reader<'_>) -> Option<Vec<&'static str>> {
    let name = MethodName::from_node(&entry.entry("type")?.value, reader).ok()?.0?;
    let (_, keys) = METHODS.iter().find(|(known, _)| *known == name)?;
    Some(keys(&mut SchemaGenerator::default()).iter().map(|property| property.key).collect())
}

/// Describes an `auth` that `identities` complete: any of its keys but `type` may be missing.
pub(super) fn schema_of_overridden(generator: &mut SchemaGenerator) -> Schema {
    let lenient = |mut property: Property| {
        property.required = false;
        property
    };
    let methods = METHODS.iter().map(|(name, keys)| method(name, keys(generator).into_iter().map(lenient).collect()));
    let one = json_schema!({ "oneOf": methods.collect::<Vec<Schema>>() });
    generator.definitions_mut().insert("OverriddenMethod".to_owned(), one.to_value());
    let method = json_schema!({ "$ref": "#/$defs/OverriddenMethod" });
    json_schema!({ "anyOf": [method, { "type": "array", "items": method }] })
}

/// The keys of a method beside `type`.
type Keys = fn(&mut SchemaGenerator) -> Vec<Property>;

/// The methods of this version.
const METHODS: [(&str, Keys); 6] = [
    ("none", |_| Vec::new()),
    ("basic", BasicKeys::properties),
    ("bearer", BearerKeys::properties),
    ("api_key", ApiKeyKeys::properties),
    ("headers", HeadersKeys::properties),
    ("oauth2_client_credentials", oauth2::Keys::properties),
];

fn method(name: &str, mut properties: Vec<Property>) -> Schema {
    let about = "The authentication method.";
    properties.insert(0, Property { key: "type", about, schema: one_of(&[name]), required: true });
    json_schema::object(properties)
}

impl Auth {
    /// The fields of an OAuth 2.0 method.
    pub(super) fn oauth2(&self) -> Option<&OAuth2> {
        match self {
            Self::ClientCredentials(oauth2) => Some(oauth2),
            Self::Basic { .. } | Self::Bearer { .. } | Self::ApiKey { .. } | Self::Headers { .. } => None,
        }
    }

    /// Reads an entry; `None` for `{type: none}`.
    fn read(node: &Node, reader: &mut Reader<'_>) -> Result<Option<Self>, Reported> {
        let mut fields = Fields::open(node, reader.report)?;
        let Some(name) = fields.required::<MethodName>("type", reader)?.0 else {
            // The method comes from elsewhere, which `--no-secrets` does not read: nothing can be said about it.
            reader.auth_unknown = true;
            return Ok(None);
        };
        let method = match name.as_str() {
            "none" => Ok(None),
            "basic" => BasicKeys::from_fields(&mut fields, reader).and_then(|keys| keys.finish(reader)).map(Some),
            "bearer" => BearerKeys::from_fields(&mut fields, reader).and_then(|keys| keys.finish(reader)).map(Some),
            "api_key" => {
                ApiKeyKeys::from_fields(&mut fields, reader).and_then(|keys| keys.finish(node, reader)).map(Some)
            }
            "headers" => HeadersKeys::from_fields(&mut fields, reader).and_then(|keys| keys.finish(reader)).map(Some),
            "oauth2_client_credentials" => {
                OAuth2::read(&mut fields, node, reader).map(|oauth2| Some(Self::ClientCredentials(Box::new(oauth2))))
            }
            _ => return Err(later::refuse(&name, node, reader)),
        };
        fields.close(reader.report);
        method
    }
}

/// `type`; `None` if it comes from elsewhere and is not read.
struct MethodName(Option<String>);

impl FromNode for MethodName {
    fn from_node(node: &Node, reader: &mut Reader<'_>) -> Result<Self, Reported> {
        let text = reference::text(node, Accepts::Text, "an authentication method", reader.report)?;
        Ok(Self(text.map(|found| (*found.value).clone())))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

section! {
    struct BasicKeys {
        /// The user; has no colon.
        username: At<String>,
        /// The password.
        password: At<Secret>,
    }
}

impl BasicKeys {
    fn finish(self, reader: &mut Reader<'_>) -> Result<Auth, Reported> {
        if self.username.value.contains(':') {
            // RFC 7617 §2: what follows the first colon is the password.
            let wrong = Wrong::new("a user name for Basic has no colon");
            return Err(wrong.report(self.username.span, reader.report));
        }
        if self.password.value.expose().contains(char::is_control) {
            let wrong = Wrong::new("the password has a line break or another control character");
            return Err(wrong.report(self.password.span, reader.report));
        }
        Ok(Auth::Basic { username: self.username, password: self.password })
    }
}

section! {
    struct BearerKeys {
        /// The token.
        token: At<Secret>,
    }
}

impl BearerKeys {
    fn finish(self, reader: &mut Reader<'_>) -> Result<Auth, Reported> {
        check_value(&self.token, "", reader)?;
        Ok(Auth::Bearer { token: self.token })
    }
}

section! {
    struct ApiKeyKeys {
        /// The key.
        key: At<Secret>,
        /// The field that carries the key.
        header: Option<At<HeaderName>> = None,
        /// The query parameter that carries the key.
        query: Option<At<String>> = None,
        /// The cookie that carries the key.
        cookie: Option<At<String>> = None,
        /// Put before the key as written, no space added.
        prefix: String as AnyText = String::new(),
    }
}

impl ApiKeyKeys {
    fn finish(self, node: &Node, reader: &mut Reader<'_>) -> Result<Auth, Reported> {
        let written = ["header", "query", "cookie"].iter().filter(|key| node.entry(key).is_some()).count();
        if written != 1 {
            let wrong = Wrong::new("an API key goes to exactly one place");
            return Err(wrong.help("write one of `header`, `query` and `cookie`").report(node.span, reader.report));
        }
        let place = self.place().ok_or(Reported)?;
        match &place.value {
            ApiKeyPlace::Header(_) => check_value(&self.key, &self.prefix, reader)?,
            ApiKeyPlace::Cookie(name) => check_cookie(name, place.span, &self.key, &self.prefix, reader)?,
            ApiKeyPlace::Query(_) => {}
        }
        Ok(Auth::ApiKey { key: self.key, place, prefix: self.prefix })
    }

    fn place(&self) -> Option<At<ApiKeyPlace>> {
        let header = self.header.clone().map(|name| At { value: ApiKeyPlace::Header(name.value), span: name.span });
        let query = self.query.clone().map(|name| At { value: ApiKeyPlace::Query(name.value), span: name.span });
        let cookie = self.cookie.clone().map(|name| At { value: ApiKeyPlace::Cookie(name.value), span: name.span });
        header.or(query).or(cookie)
    }
}

section! {
    struct HeadersKeys {
        /// Fields and their secret values.
        set: Vec<(At<HeaderName>, At<Secret>)> as HeaderFields<At<Secret>>,
    }
}

impl HeadersKeys {
    fn finish(self, reader: &mut Reader<'_>) -> Result<Auth, Reported> {
        for (_, value) in &self.set {
            check_value(value, "", reader)?;
        }
        Ok(Auth::Headers { set: self.set })
    }
}

/// Refuses a secret that can't be the value of a field.
fn check_value(secret: &At<Secret>, prefix: &str, reader: &mut Reader<'_>) -> Result<(), Reported> {
    let value = zeroize::Zeroizing::new(format!("{prefix}{}", secret.value.expose()));
    header_value(&value).map(drop).map_err(|wrong| wrong.report(secret.span, reader.report))
}

/// Refuses what would end a cookie early (RFC 6265 §4.1.1).
fn check_cookie(
    name: &str,
    span: super::value::Span,
    secret: &At<Secret>,
    prefix: &str,
    reader: &mut Reader<'_>,
) -> Result<(), Reported> {
    let octet = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\');
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(Wrong::new("this is not the name of a cookie").report(span, reader.report));
    }
    if !prefix.bytes().chain(secret.value.expose().bytes()).all(octet) {
        let wrong = Wrong::new("this can't be the value of a cookie").help("it has a space, `\"`, `,`, `;` or `\\`");
        return Err(wrong.report(secret.span, reader.report));
    }
    Ok(())
}

/// Text that may be empty.
struct AnyText(String);

impl From<AnyText> for String {
    fn from(text: AnyText) -> Self {
        text.0
    }
}

impl FromText for AnyText {
    const WHAT: &'static str = "text";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        if text.contains(char::is_control) {
            return Err(Wrong::new("this text has a line break or another control character"));
        }
        Ok(Self(text.to_owned()))
    }

    fn placeholder() -> Self {
        Self(String::new())
    }
}
