//! Whom apps may have a tunnel to: an entry of `connect.allow`.

use std::fmt;

use schemars::{Schema, json_schema};

use super::host::{host, parse_port, split_port};
use crate::config::text::{FromText, Wrong};

/// A host and a port that apps may have a tunnel to; or, with `*.`, every name below one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelTarget {
    hosts: TunnelHosts,
    /// The one port.
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TunnelHosts {
    /// A name or an address, lower case, without brackets.
    One(String),
    /// Of `*.example.com` what follows the star.
    Below(String),
}

/// How a host and a port are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TunnelGrant {
    /// As one of many names.
    Below,
    /// By its own name.
    Exact,
}

impl TunnelTarget {
    /// Whether this host (lower case, no brackets, no trailing dot) is one of them at this port, and how.
    #[must_use]
    pub fn grants(&self, host: &str, port: u16) -> Option<TunnelGrant> {
        let is_below = |suffix: &str| host.strip_suffix(suffix).is_some_and(|before| !before.is_empty());
        match &self.hosts {
            _ if self.port != port => None,
            TunnelHosts::One(one) => (one == host).then_some(TunnelGrant::Exact),
            TunnelHosts::Below(suffix) => is_below(suffix).then_some(TunnelGrant::Below),
        }
    }

    pub(in crate::config) fn port(&self) -> u16 {
        self.port
    }

    /// The one host that it names.
    pub(in crate::config) fn one(&self) -> Option<(&str, u16)> {
        match &self.hosts {
            TunnelHosts::One(host) => Some((host, self.port)),
            TunnelHosts::Below(_) => None,
        }
    }
}

impl fmt::Display for TunnelTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hosts {
            TunnelHosts::One(host) if host.contains(':') => write!(formatter, "[{host}]:{}", self.port),
            TunnelHosts::One(host) => write!(formatter, "{host}:{}", self.port),
            TunnelHosts::Below(suffix) => write!(formatter, "*{suffix}:{}", self.port),
        }
    }
}

impl FromText for TunnelTarget {
    const WHAT: &'static str = "a host and a port";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let example = "write `api.example.com:443` or `\"*.example.com:443\"`";
        if text.contains('/') {
            return Err(Wrong::new("a tunnel leads to a host and a port, and to no URL").help(example));
        }
        let (name, Some(port)) = split_port(text) else { return Err(Wrong::new("the port is missing").help(example)) };
        let port = parse_port(port).map_err(|wrong| wrong.help(example))?;
        let hosts = match name.strip_prefix("*.") {
            Some(suffix) => TunnelHosts::Below(format!(".{}", host(suffix)?)),
            None if name.contains('*') => {
                return Err(Wrong::new("a `*` stands for whole labels at the beginning of a name").help(example));
            }
            None => TunnelHosts::One(host(name)?),
        };
        Ok(Self { hosts, port })
    }

    fn placeholder() -> Self {
        Self { hosts: TunnelHosts::One("placeholder.invalid".to_owned()), port: 443 }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^(\\*\\.)?[^*/@]+:[0-9]+$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, host: &str, port: u16, expected: Option<TunnelGrant>) {
        let target = TunnelTarget::from_text(text).unwrap();

        assert_eq!(target.grants(host, port), expected, "{text} {host}:{port}");
    }

    #[test]
    fn a_name_is_allowed_by_itself_and_a_star_allows_what_is_below() {
        let (exact, below) = (Some(TunnelGrant::Exact), Some(TunnelGrant::Below));
        check("API.example.com.:443", "api.example.com", 443, exact);
        check("api.example.com:443", "api.example.com", 8443, None);
        check("api.example.com:443", "x.api.example.com", 443, None);
        check("*.example.com:443", "api.example.com", 443, below);
        check("*.example.com:443", "a.b.example.com", 443, below);
        check("*.example.com:443", "example.com", 443, None);
        check("*.example.com:443", "badexample.com", 443, None);
        check("[::0001]:443", "::1", 443, exact);
        check("10.0.0.1:443", "10.0.0.1", 443, exact);
    }

    #[track_caller]
    fn check_refused(text: &str, message: &str) {
        assert_eq!(TunnelTarget::from_text(text).unwrap_err().message, message, "{text}");
    }

    #[test]
    fn what_names_no_host_and_port_is_refused() {
        check_refused("api.example.com", "the port is missing");
        check_refused("[::1]", "the port is missing");
        check_refused("api.example.com:https", "a port is a number from 1 to 65535");
        check_refused("api.example.com:", "a port is a number from 1 to 65535");
        check_refused("api.example.com:0", "a port is a number from 1 to 65535");
        check_refused("https://api.example.com:443", "a tunnel leads to a host and a port, and to no URL");
        check_refused("*:443", "a `*` stands for whole labels at the beginning of a name");
        check_refused("api*.example.com:443", "a `*` stands for whole labels at the beginning of a name");
        check_refused("::1:443", "this is not a host");
        check_refused("*.:443", "the host is missing");
    }

    #[test]
    fn a_target_is_shown_as_it_is_written() {
        for text in ["api.example.com:443", "*.example.com:443", "[::1]:8443"] {
            assert_eq!(TunnelTarget::from_text(text).unwrap().to_string(), text);
        }
    }
}
