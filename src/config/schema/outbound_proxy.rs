//! `outbound_proxy`: the HTTP proxy on the way out.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::config::diagnostic::Reported;
use crate::config::json_schema;
use crate::config::node::{Node, Value, is_reference};
use crate::config::read::{FromNode, FromText, SectionFields, SectionReader, Wrong, mismatch};
use crate::config::section::section;
use crate::config::value::{At, ProxyAddress, ProxyLogin, Span, check_proxy_username};
use crate::secret::Secret;

/// `outbound_proxy`: the HTTP proxy through which a service and its token endpoint are reached. What is on this machine
/// is reached without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OutboundProxyConfig {
    /// The one that the environment names, if it names one.
    #[default]
    FromEnvironment,
    /// None, whatever the environment says.
    None,
    /// This one.
    Through(At<ProxyConfig>),
}

/// A proxy that the config names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyConfig {
    /// Where it is.
    pub address: ProxyAddress,
    /// With what it lets us in.
    pub login: Option<ProxyLogin>,
}

section! {
    struct ProxyKeys {
        /// `http://` or `https://` (the proxy itself is reached over TLS), host and port.
        url: ProxyAddress,
        /// Of the proxy's user.
        username: Option<At<String>> = None,
        /// Of the proxy's user.
        password: Option<At<Secret>> = None,
    }
}

impl FromNode for OutboundProxyConfig {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        let through = |address, login| Self::Through(At { value: ProxyConfig { address, login }, span: node.span });
        match &node.value {
            Value::Mapping(entries) if !is_reference(entries) => {
                let (address, login) = ProxyKeys::read(node, reader)?;
                Ok(through(address, login))
            }
            Value::Scalar(_) | Value::Mapping(_) => Ok(match AddressOrNone::from_node(node, reader)? {
                AddressOrNone::Address(address) => through(address, None),
                AddressOrNone::None => Self::None,
            }),
            Value::Null | Value::Sequence(_) => Err(mismatch(node, "`none`, a URL or a mapping", reader.report)),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let keys = json_schema::object(ProxyKeys::properties(generator));
        json_schema!({ "anyOf": [<AddressOrNone as FromNode>::schema(generator), keys] })
    }
}

/// What stands in one word.
enum AddressOrNone {
    Address(ProxyAddress),
    None,
}

impl FromText for AddressOrNone {
    const WHAT: &'static str = ProxyAddress::WHAT;

    fn from_text(text: &str) -> Result<Self, Wrong> {
        if text == "none" { Ok(Self::None) } else { ProxyAddress::from_text(text).map(Self::Address) }
    }

    fn placeholder() -> Self {
        Self::None
    }

    fn schema() -> Schema {
        json_schema!({ "anyOf": [{ "const": "none" }, <ProxyAddress as FromText>::schema()] })
    }
}

impl ProxyKeys {
    fn read(node: &Node, reader: &mut SectionReader<'_>) -> Result<(ProxyAddress, Option<ProxyLogin>), Reported> {
        let mut fields = SectionFields::open(node, reader.report)?;
        let keys = Self::from_fields(&mut fields, reader);
        fields.close(reader.report);
        let Self { url, username, password } = keys?;
        let (username, password) = match (username, password) {
            (None, None) => return Ok((url, None)),
            (Some(username), Some(password)) => (username, password.value),
            (Some(lone), None) => return Err(report_half(lone.span, "password", reader)),
            (None, Some(lone)) => return Err(report_half(lone.span, "username", reader)),
        };
        check_proxy_username(&username.value).map_err(|wrong| wrong.report(username.span, reader.report))?;
        Ok((url, Some(ProxyLogin { username: username.value, password })))
    }
}

fn report_half(span: Span, missing: &str, reader: &mut SectionReader<'_>) -> Reported {
    reader.report.error(span, "a proxy is shown a user and a password, or neither").help(format!("add `{missing}: …`"));
    Reported
}
