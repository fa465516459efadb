//! `tls`: trust for one endpoint.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::{Schema, SchemaGenerator, json_schema};

use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::{FromNode, FromText, SectionReader, Wrong};
use crate::config::section::{read_section, section, words};
use crate::config::value::{At, Host};

section! {
    /// `tls`: trust for one endpoint.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Tls {
        /// PEM files of trusted authorities, instead of the system's; empty: the system's.
        pub ca: Vec<At<PathBuf>> = Vec::new(),
        /// Trusts the system's authorities beside `ca`.
        pub system_roots: bool = false,
        /// The name that is asked for and checked, instead of the URL's host.
        pub server_name: Option<At<String>> as ServerName = None,
        /// The oldest version of TLS that is spoken.
        pub min_version: Option<TlsVersion> = None,
        /// SHA-256 of the SubjectPublicKeyInfo of the peer's own certificate, in base64; one of them must match, on top
        /// of the authorities.
        pub pin_sha256: Vec<At<[u8; 32]>> = Vec::new(),
        /// Trusts every certificate: for experiments only.
        pub danger_skip_verification: bool = false,
    }
}

read_section!(Tls);

words! {
    /// `tls.min_version`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum TlsVersion ("a version of TLS that is spoken here") {
        /// RFC 5246.
        "1.2" => Tls12,
        /// RFC 8446.
        "1.3" => Tls13,
    }
}

/// A name, or an IP address, that a certificate can be checked against.
struct ServerName(At<Host>);

impl From<ServerName> for Option<At<String>> {
    fn from(name: ServerName) -> Self {
        Some(At { value: name.0.value.0, span: name.0.span })
    }
}

impl FromNode for ServerName {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        FromNode::from_node(node, reader).map(Self)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        <At<Host> as FromNode>::schema(generator)
    }
}

impl FromText for [u8; 32] {
    const WHAT: &'static str = "a SHA-256 in base64";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let digest = STANDARD.decode(text).ok().and_then(|bytes| Self::try_from(bytes).ok());
        digest.ok_or_else(|| Wrong::new("this is not a SHA-256 in base64").help(other_spelling(text)))
    }

    fn placeholder() -> Self {
        [0; 32]
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9+/]{43}=$" })
    }
}

/// How a pin of other programs is written here.
fn other_spelling(text: &str) -> String {
    if let Some(pin) = ["sha256//", "sha256/"].iter().find_map(|prefix| text.strip_prefix(prefix)) {
        return match pin.split_once(';') {
            Some(_) => "curl separates pins by `;`, here they are a list, each without `sha256//`".to_owned(),
            None => format!("without `sha256//`, which is curl's spelling: {pin}"),
        };
    }
    let digits: String = text.chars().filter(|char| *char != ':').collect();
    if digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return format!("these are hex digits; in base64: echo {digits} | xxd -r -p | base64");
    }
    "44 characters, the last of them `=`".to_owned()
}
