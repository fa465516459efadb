//! Hosts, and what HTTP fields are made of: names, values, methods.

use std::net::{IpAddr, Ipv6Addr};

use http::{HeaderName, HeaderValue, Method, header};
use schemars::{Schema, SchemaGenerator, json_schema};

use super::At;
use crate::config::diagnostic::{Report, Reported};
use crate::config::node::{MappingEntry, Node};
use crate::config::read::{FromKey, FromNode, FromText, SectionReader, Wrong, mismatch};
use crate::name::{CertificateName, ServiceName};

/// A host as it is compared: lower case, without a trailing dot, brackets or port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct Host(pub(in crate::config) String);

impl FromText for Host {
    const WHAT: &'static str = "a host";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        host(text).map(Self)
    }

    fn placeholder() -> Self {
        Self("placeholder.invalid".to_owned())
    }
}

/// Reads the host of a URL or of a `Host` field, without a port.
pub(super) fn host(text: &str) -> Result<String, Wrong> {
    if text.is_empty() {
        return Err(Wrong::new("the host is missing"));
    }
    if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address
            .parse::<Ipv6Addr>()
            .map(|address| address.to_string())
            .map_err(|_| Wrong::new("this is no IPv6 address"));
    }
    if text.contains(':') {
        return Err(
            Wrong::new("this is not a host").help("an IPv6 address stands in brackets, and a host has no port here")
        );
    }
    if !text.is_ascii() {
        return Err(Wrong::new("a host is written in ASCII").help("write the `xn--…` form of the name"));
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(legal);
    // A name whose last label is a number is an IPv4 address to some and a name to others.
    let number = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if name.len() > 253 || !name.split('.').all(label) || (number && name.parse::<IpAddr>().is_err()) {
        return Err(Wrong::new("this is not a host"));
    }
    Ok(name)
}

/// Whether Sidekey alone writes a field: hop-by-hop fields, framing and routing.
fn is_owned(name: &HeaderName) -> bool {
    const OWNED: [HeaderName; 11] = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::EXPECT,
        header::HOST,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::VIA,
    ];
    OWNED.contains(name) || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

impl FromText for HeaderName {
    const WHAT: &'static str = "the name of an HTTP field";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let name = Self::from_bytes(text.as_bytes()).map_err(|_| {
            Wrong::new("this is not the name of an HTTP field").help("letters, digits and `-`, like `X-Api-Key`")
        })?;
        if is_owned(&name) {
            let help = match name {
                header::HOST => "to have another one sent, write `host_header` beside `url`",
                _ => "remove it: it is sent as it has to be",
            };
            return Err(Wrong::new(format!("`{name}` is written by Sidekey itself")).help(help));
        }
        Ok(name)
    }

    fn placeholder() -> Self {
        Self::from_static("x-placeholder")
    }
}

impl FromText for HeaderValue {
    const WHAT: &'static str = "the value of an HTTP field";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        header_value(text)
    }

    fn placeholder() -> Self {
        Self::from_static("placeholder")
    }
}

/// Reads the value of a field; what would be sent differently than it was written is refused.
pub(in crate::config) fn header_value(text: &str) -> Result<HeaderValue, Wrong> {
    let wrong = || {
        Wrong::new("this can't be the value of an HTTP field")
            .help("it has no line break or other control character, and no space at its start or end")
    };
    if text.trim_matches([' ', '\t']).len() != text.len() {
        return Err(wrong());
    }
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| wrong())
}

impl FromText for Method {
    const WHAT: &'static str = "an HTTP method";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let method = Self::from_bytes(text.as_bytes()).map_err(|_| Wrong::new("this is not an HTTP method"))?;
        let usual = text.to_ascii_uppercase();
        if usual != text && matches!(usual.as_str(), "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "PATCH" | "OPTIONS") {
            // Methods are compared with case (RFC 9110 §9.1): `get` would match nothing.
            return Err(Wrong::new("methods are written in capitals").help(format!("write `{usual}`")));
        }
        Ok(method)
    }

    fn placeholder() -> Self {
        Self::GET
    }
}

/// Text that says something.
impl FromText for String {
    const WHAT: &'static str = "text";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        if text.is_empty() {
            return Err(Wrong::new("this text is empty").help("write something, or remove the key"));
        }
        if text.contains(char::is_control) {
            return Err(Wrong::new("this text has a line break or another control character"));
        }
        Ok(text.to_owned())
    }

    fn placeholder() -> Self {
        "placeholder".to_owned()
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"], "minLength": 1 })
    }
}

impl FromKey for String {
    fn from_key(entry: &MappingEntry, report: &mut Report) -> Result<Self, Reported> {
        <Self as FromText>::from_text(&entry.key.text).map_err(|wrong| wrong.report(entry.key.span, report))
    }
}

impl FromKey for At<HeaderName> {
    fn from_key(entry: &MappingEntry, report: &mut Report) -> Result<Self, Reported> {
        let span = entry.key.span;
        HeaderName::from_text(&entry.key.text)
            .map(|value| Self { value, span })
            .map_err(|wrong| wrong.report(span, report))
    }
}

impl FromKey for CertificateName {
    fn from_key(entry: &MappingEntry, report: &mut Report) -> Result<Self, Reported> {
        Self::parse(&entry.key.text).map_err(|wrong| Wrong::new(wrong).report(entry.key.span, report))
    }
}

impl FromKey for ServiceName {
    fn from_key(entry: &MappingEntry, report: &mut Report) -> Result<Self, Reported> {
        Self::parse(&entry.key.text).map_err(|wrong| Wrong::new(wrong).report(entry.key.span, report))
    }
}

/// Fields by name, each name once whatever its case.
pub(in crate::config) struct Fields<V>(pub(in crate::config) Vec<(At<HeaderName>, V)>);

impl<V> From<Fields<V>> for Vec<(At<HeaderName>, V)> {
    fn from(fields: Fields<V>) -> Self {
        fields.0
    }
}

impl<V> From<Fields<V>> for Vec<(HeaderName, V)> {
    fn from(fields: Fields<V>) -> Self {
        fields.0.into_iter().map(|(name, value)| (name.value, value)).collect()
    }
}

impl<V: FromNode> FromNode for Fields<V> {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        let Some(entries) = node.entries() else { return Err(mismatch(node, "a mapping", reader.report)) };
        let mut names: Vec<At<HeaderName>> = Vec::new();
        let mut fields = Vec::new();
        for entry in entries {
            let name = At::<HeaderName>::from_key(entry, reader.report);
            let value = V::from_node(&entry.value, reader);
            if let Ok(name) = &name {
                report_repeated(name, &names, reader.report);
                names.push(name.clone());
            }
            if let (Ok(name), Ok(value)) = (name, value) {
                fields.push((name, value));
            }
        }
        Ok(Self(fields))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        Vec::<(At<HeaderName>, V)>::schema(generator)
    }
}

fn report_repeated(name: &At<HeaderName>, earlier: &[At<HeaderName>], report: &mut Report) {
    if let Some(first) = earlier.iter().find(|first| *first == name) {
        report
            .error(name.span, format!("the field `{}` is set twice", name.value))
            .label("again here")
            .also(first.span, "first here")
            .help("names of fields are compared without case: remove one of them");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(host(text).ok().as_deref(), expected, "{text:?}");
    }

    #[test]
    fn a_host_is_a_name_or_an_address_in_its_comparable_form() {
        check("API.Example.", Some("api.example"));
        check("my_service", Some("my_service"));
        check("127.0.0.1", Some("127.0.0.1"));
        check("[::0001]", Some("::1"));
        check("127.1", None);
        check("1.2.3.4.5", None);
        check("::1", None);
        check("a:80", None);
        check("a..b", None);
        check("bücher.example", None);
        check(&"a".repeat(64), None);
        check("", None);
    }
}
