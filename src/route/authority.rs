//! Host and port as a request names them: in its `Host` field, in `:authority`, or in an absolute-form target.
//!
//! Promises one spelling for each host: lower case, no trailing dot, no brackets, IPv6 in its short form. Leaves to
//! others what a host is good for: `Table` knows the services', `access` the local names.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use super::target::TargetError;

/// A host, and the port if one was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestAuthority<'a> {
    /// Lower case, without a trailing dot; an IPv6 address has no brackets.
    pub(crate) host: Cow<'a, str>,
    pub(crate) port: Option<u16>,
}

impl<'a> RequestAuthority<'a> {
    /// Reads `host`, `host:port`, `[v6]` or `[v6]:port`; allocates nothing for a name that is in its one spelling.
    ///
    /// # Errors
    /// When there is userinfo, or the host or the port is malformed. Stricter than RFC 3986 §3.2.2, which allows
    /// percent-encodings and `!$&'()*+,;=` in a name: none of ours has them, and others might decode them.
    pub(crate) fn parse(text: &'a str) -> Result<Self, TargetError> {
        if text.contains('@') {
            return Err(TargetError::Userinfo);
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(bracketed) => {
                let (address, after) = bracketed.split_once(']').ok_or(TargetError::Host)?;
                (ipv6(address)?, after)
            }
            None => {
                let (name, after) = text.split_at(text.find(':').unwrap_or(text.len()));
                (name_or_ipv4(name)?, after)
            }
        };
        Ok(Self { host, port: read_port(port)? })
    }
}

fn ipv6(address: &str) -> Result<Cow<'_, str>, TargetError> {
    let parsed: Ipv6Addr = address.parse().map_err(|_| TargetError::Host)?;
    Ok(parsed.to_string().into())
}

fn name_or_ipv4(text: &str) -> Result<Cow<'_, str>, TargetError> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let labels_filled = name.split('.').all(|label| !label.is_empty());
    if name.len() > LONGEST_NAME || !labels_filled || !name.bytes().all(allowed) {
        return Err(TargetError::Host);
    }
    let is_lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
    Ok(if is_lower { name.into() } else { name.to_ascii_lowercase().into() })
}

/// Reads what follows the host: nothing, `:` or `:port` (an empty port is no port, RFC 3986 §3.2.3).
fn read_port(after: &str) -> Result<Option<u16>, TargetError> {
    if after.is_empty() || after == ":" {
        return Ok(None);
    }
    let digits = after.strip_prefix(':').ok_or(TargetError::Port)?;
    // `u16::from_str` would take a leading `+`.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(TargetError::Port);
    }
    digits.parse().map(Some).map_err(|_| TargetError::Port)
}

/// What DNS allows, in bytes. It also bounds how many suffixes of a host the table looks up.
const LONGEST_NAME: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, host: &str, port: Option<u16>) {
        let parsed = RequestAuthority::parse(text);
        assert_eq!(parsed, Ok(RequestAuthority { host: host.into(), port }), "{text:?}");
    }

    #[track_caller]
    fn check_refused(text: &str, why: &str) {
        let refused = RequestAuthority::parse(text).expect_err(text);
        assert_eq!(refused.to_string(), why, "{text:?}");
    }

    #[test]
    fn a_host_has_one_spelling() {
        check("localhost", "localhost", None);
        check("LocalHost:9800", "localhost", Some(9800));
        check("api.partner.example.", "api.partner.example", None);
        check("my_service.localhost:80", "my_service.localhost", Some(80));
        check("127.0.0.1:1", "127.0.0.1", Some(1));
        check("[::1]", "::1", None);
        check("[0:0:0:0:0:0:0:1]:443", "::1", Some(443));
        check("[2001:DB8::A]", "2001:db8::a", None);
        check("localhost:", "localhost", None);
    }

    #[test]
    fn a_name_in_its_one_spelling_is_not_copied() {
        for text in ["localhost:9800", "api.partner.example.", "127.0.0.1:9800"] {
            let parsed = RequestAuthority::parse(text).expect(text);

            assert!(matches!(parsed.host, Cow::Borrowed(_)), "{text:?}");
        }
    }

    #[test]
    fn a_malformed_host_is_refused() {
        let long = "a".repeat(254);
        let hosts = ["", ":9800", ".", "..", "a..b", ".a", "a..", "a b", "a,b", "a/b", "%6cocalhost", "bücher", "a\t"];
        for text in hosts.into_iter().chain(["[", "[]", "[::1", "[1.2.3.4]", "[fe80::1%25eth0]", &long]) {
            check_refused(text, "the host is malformed");
        }
    }

    #[test]
    fn a_malformed_port_is_refused() {
        for text in ["a:b", "a:+1", "a:-1", "a:65536", "a:80:80", "::1", "[::1]80", "[::1]]", "a: 80"] {
            let expected = if text == "::1" { "the host is malformed" } else { "the port is malformed" };
            check_refused(text, expected);
        }
    }

    #[test]
    fn userinfo_is_refused() {
        for text in ["user@localhost", "user:password@localhost:9800", "localhost@", "@localhost"] {
            check_refused(text, "the target has userinfo");
        }
    }
}
