//! `host_header`: what a service is told that it was called by.

use std::fmt;

use http::uri::Authority;
use schemars::{Schema, json_schema};

use super::host::{host, parse_port, split_port};
use crate::config::text::{FromText, Wrong};

/// A host with or without a port, sent as it is written: a port that is the scheme's default is somebody's wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostHeader(Authority);

impl HostHeader {
    /// As requests have it.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.0
    }
}

impl fmt::Display for HostHeader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.as_str())
    }
}

impl FromText for HostHeader {
    const WHAT: &'static str = "a host with or without a port";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let alone = bare(text);
        if alone != text {
            let wrong = Wrong::new("a `Host` has neither scheme nor user nor path");
            return Err(match Self::from_text(alone) {
                Ok(host) => wrong.help(format!("write `{host}`")),
                Err(_) => wrong.help(FORMS),
            });
        }
        let (name, port) = split_port(text);
        host(name).map_err(|wrong| if name.is_ascii() { wrong.help(FORMS) } else { wrong })?;
        port.map(parse_port).transpose()?;
        text.parse().map(Self).map_err(|_| Wrong::new("this can't be sent as a `Host`").help(FORMS))
    }

    fn placeholder() -> Self {
        Self(Authority::from_static("placeholder.invalid"))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^(\\[[0-9A-Fa-f:.]+\\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?$" })
    }
}

/// What a URL has between its scheme, or its user, and its path.
fn bare(text: &str) -> &str {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}

const FORMS: &str = "write a host, or a host and a port: `api.example`, `api.example:8443`, `[2001:db8::1]:8443`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_sent_as_it_is_written() {
        for text in ["api.example", "API.example:443", "10.0.0.1:80", "[::1]", "[2001:db8::1]:8443", "my_service", "a."]
        {
            assert_eq!(HostHeader::from_text(text).expect(text).authority(), text);
        }
    }

    #[test]
    fn what_is_no_host_is_told_what_to_write() {
        let check = |text: &str, expected: &str| {
            let wrong = HostHeader::from_text(text).expect_err(text).in_one_line();
            assert!(wrong.contains(expected), "{text}: {wrong}");
        };
        check("https://api.example:8443/v1?x=1", "write `api.example:8443`");
        check("api.example/v1", "write `api.example`");
        check("user:pass@api.example", "write `api.example`");
        check("api.example:", "a port is a number from 1 to 65535");
        check("api.example:0", "a port is a number from 1 to 65535");
        check("api.example:65536", "a port is a number from 1 to 65535");
        check("api.example:https", "a port is a number from 1 to 65535");
        check("::1", "`[2001:db8::1]:8443`");
        check("[::1", "this is not a host");
        check("*.example", "this is not a host");
        check("b\u{fc}cher.example", "`xn--");
        check("api.example\r\nX-Evil: 1", "this is not a host");
        check("api example", "this is not a host");
        check(":8443", "the host is missing");
        check("//", "neither scheme nor user nor path");
    }
}
