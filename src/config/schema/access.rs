//! `admin` and `access`: the doors of the process, and who may go through them.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::{FromNode, FromText, SectionReader, Wrong};
use crate::config::section::{read_section, section};
use crate::config::value::{At, Host, ListenAddress, Mode};
use crate::secret::Secret;

section! {
    with defaults
    /// `admin`.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct AdminConfig {
        /// Where the admin API and the metrics are.
        pub listen: Vec<At<ListenAddress>> = vec![At::nowhere(ListenAddress::Localhost { port: 9900 })],
        /// Asked for as `Authorization: Bearer`; required for an address that is not loopback.
        pub token: Option<At<Secret>> = None,
        /// A second listener on any address for `/livez`, `/readyz` and `/metrics` alone, without token.
        pub health: Vec<At<ListenAddress>> = Vec::new(),
        /// Lets who has `token` read the credentials of services, to send them themselves.
        pub hand_out: At<bool> = At::nowhere(false),
    }
}

read_section!(AdminConfig);

/// `admin` as it is written: a section, or `off`.
pub(super) struct AdminOrOff(Option<AdminConfig>);

impl From<AdminOrOff> for Option<AdminConfig> {
    fn from(admin: AdminOrOff) -> Self {
        admin.0
    }
}

impl FromNode for AdminOrOff {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        match node.scalar() {
            Some(scalar) if *scalar.text == "off" => Ok(Self(None)),
            Some(_) => Err(Wrong::new("expected a mapping or `off`").report(node.span, reader.report)),
            None => Ok(Self(Some(AdminConfig::from_node(node, reader)?))),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [AdminConfig::schema(generator), { "const": "off" }] })
    }
}

section! {
    with defaults
    /// `access`: who may use the proxy.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct AccessConfig {
        /// Lets `listen` name addresses that other machines reach; needs `token`.
        pub allow_remote: bool = false,
        /// Names beside `localhost` under which all routes count; lower case, without a trailing dot.
        pub hosts: Vec<At<String>> as Hosts = Vec::new(),
        /// Web pages that may use the proxy (`https://app.example`), lower case; `*` lets everything in that browsers send.
        pub origins: Vec<At<String>> as Origins = Vec::new(),
        /// Lets people look at services with a browser, by host: `http://NAME.localhost:9800/`.
        pub browsers: bool = false,
        /// Asked for as `Proxy-Authorization`, on TCP listeners.
        pub token: Option<At<Secret>> = None,
        /// Users, by name or number, that may connect to unix sockets; all may if it is empty.
        pub unix_users: Vec<At<String>> = Vec::new(),
        /// Permission bits of the unix sockets.
        pub unix_mode: At<u32> as At<Mode> = At::nowhere(0o600),
    }
}

read_section!(AccessConfig);

/// A list of texts of one kind, each kept as a `String`.
macro_rules! texts {
    ($name:ident, $item:ty) => {
        struct $name(Vec<At<$item>>);

        impl From<$name> for Vec<At<String>> {
            fn from(texts: $name) -> Self {
                texts.0.into_iter().map(|text| At { value: text.value.0, span: text.span }).collect()
            }
        }

        impl FromNode for $name {
            fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
                FromNode::from_node(node, reader).map(Self)
            }

            fn schema(generator: &mut SchemaGenerator) -> Schema {
                Vec::<At<$item>>::schema(generator)
            }
        }
    };
}

texts!(Hosts, Host);
texts!(Origins, ListedOrigin);

/// The origin of a web page (RFC 6454), or `*`.
struct ListedOrigin(String);

impl FromText for ListedOrigin {
    const WHAT: &'static str = "an origin";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let origin = text.to_ascii_lowercase();
        let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        let bare = authority.is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
        });
        if bare || origin == "*" {
            return Ok(Self(origin));
        }
        Err(Wrong::new("this is not an origin")
            .help("write it as a browser does: `https://app.example`, without a path"))
    }

    fn placeholder() -> Self {
        Self("https://placeholder.invalid".to_owned())
    }
}
