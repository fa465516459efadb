//! Hosts, as they are compared.

use std::net::{IpAddr, Ipv6Addr};

use crate::config::text::{FromText, Wrong};

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

/// A host, and what stands behind the colon after it; the colons of an address in brackets are its own.
pub(super) fn split_port(text: &str) -> (&str, Option<&str>) {
    let colon = text.rfind(':').filter(|&colon| text.rfind(']').is_none_or(|bracket| bracket < colon));
    colon.map_or((text, None), |colon| (&text[..colon], Some(&text[colon + 1..])))
}

pub(super) fn parse_port(text: &str) -> Result<u16, Wrong> {
    let digits = text.bytes().all(|digit| digit.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|&port| digits && port != 0)
        .ok_or_else(|| Wrong::new("a port is a number from 1 to 65535"))
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
