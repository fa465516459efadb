//! `NO_PROXY`: what is reached without the proxy of the environment.
//!
//! There is no standard for it. What is read here is what curl and Go read alike; where they differ, what most programs do:
//! `.example.com` is `example.com` and everything below it.

use std::net::IpAddr;

/// What is reached without the proxy of the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoProxy(Vec<Exemption>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Exemption {
    hosts: Hosts,
    /// `None`: every port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    All,
    /// The name and all below it; lower case, without a dot at either end.
    Below(String),
    /// The addresses that begin with as many bits of this one.
    Network(IpAddr, u8),
}

impl NoProxy {
    /// Reads the list: names, addresses and networks, with or without a port, parted by commas or white space. What is none
    /// of these covers nothing.
    pub(crate) fn parse(text: &str) -> Self {
        let entries = text.split(|part: char| part == ',' || part.is_whitespace()).filter(|entry| !entry.is_empty());
        Self(entries.filter_map(Exemption::parse).collect())
    }

    /// Whether this host (lower case, no brackets, no trailing dot) is reached without a proxy at this port.
    #[must_use]
    pub fn covers(&self, host: &str, port: u16) -> bool {
        let address = host.parse().map(|address: IpAddr| address.to_canonical()).ok();
        self.0.iter().any(|entry| entry.port.is_none_or(|only| only == port) && entry.hosts.have(host, address))
    }

    /// As one text: equal lists cover the same.
    pub(crate) fn canonical(&self) -> String {
        format!("{:?}", self.0)
    }
}

impl Exemption {
    fn parse(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self { hosts: Hosts::All, port: None });
        }
        if let Some(network) = network(entry) {
            return Some(Self { hosts: network, port: None });
        }
        // Only what is no address of IPv6 has its port behind the last colon.
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (entry, None),
        };
        let unbracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let hosts = match network(unbracketed.unwrap_or(host)) {
            Some(network) => network,
            None if unbracketed.is_some() => return None,
            None => name(host)?,
        };
        Some(Self { hosts, port })
    }
}

/// An address, or a network in the notation of CIDR (RFC 4632 §3.1).
fn network(text: &str) -> Option<Hosts> {
    let text = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().ok()?;
    let canonical = address.to_canonical();
    let most = if canonical.is_ipv4() { 32 } else { 128 };
    let Some(bits) = bits else { return Some(Hosts::Network(canonical, most)) };
    // Of an IPv4 address in IPv6's clothes the first 96 bits are the clothes.
    let clothes = if address.is_ipv6() && canonical.is_ipv4() { 96 } else { 0 };
    let bits = bits.parse::<u8>().ok()?.checked_sub(clothes)?;
    (bits <= most).then_some(Hosts::Network(canonical, bits))
}

fn name(text: &str) -> Option<Hosts> {
    let name = text.strip_prefix('*').unwrap_or(text);
    let name = name.strip_prefix('.').unwrap_or(name);
    let name = name.strip_suffix('.').unwrap_or(name);
    (!name.is_empty() && !name.contains(['*', '/', '[', ']', '@'])).then(|| Hosts::Below(name.to_ascii_lowercase()))
}

impl Hosts {
    fn have(&self, host: &str, address: Option<IpAddr>) -> bool {
        match (self, address) {
            (Self::All, _) => true,
            (Self::Below(name), None) => {
                host.strip_suffix(name.as_str()).is_some_and(|before| before.is_empty() || before.ends_with('.'))
            }
            (Self::Network(network, bits), Some(address)) => {
                let [one, other] = [network, &address].map(left_aligned);
                network.is_ipv4() == address.is_ipv4() && (one ^ other).leading_zeros() >= u32::from(*bits)
            }
            (Self::Below(_), Some(_)) | (Self::Network(..), None) => false,
        }
    }
}

fn left_aligned(address: &IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(*address)) << 96,
        IpAddr::V6(address) => u128::from(*address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(list: &str, covered: &[(&str, u16)], others: &[(&str, u16)]) {
        let list = NoProxy::parse(list);

        for (host, port) in covered {
            assert!(list.covers(host, *port), "{host}:{port} {list:?}");
        }
        for (host, port) in others {
            assert!(!list.covers(host, *port), "{host}:{port} {list:?}");
        }
    }

    #[test]
    fn a_name_covers_itself_and_all_below_it() {
        let below = [("example.com", 443), ("api.example.com", 443), ("a.b.example.com", 8443)];
        let others = [("badexample.com", 443), ("example.com.evil.test", 443), ("com", 443), ("10.0.0.1", 443)];
        for list in
            ["example.com", ".example.com", "*.example.com", "Example.COM.", "other, example.com", "other example.com"]
        {
            check(list, &below, &others);
        }
    }

    #[test]
    fn a_star_covers_everything_and_nothing_covers_nothing() {
        check("*", &[("example.com", 443), ("10.0.0.1", 1), ("::1", 1)], &[]);
        check("a.test,*", &[("example.com", 443)], &[]);
        for list in
            ["", " , ,", "**", "*x*", "10.0.0.0/33", "10.0.0.0/x", "[example.com]", "example.com:https", "::1/129"]
        {
            check(list, &[], &[("example.com", 443), ("10.0.0.1", 443), ("::1", 443)]);
        }
    }

    #[test]
    fn an_address_covers_itself_however_it_is_written() {
        check("10.0.0.1", &[("10.0.0.1", 443), ("::ffff:10.0.0.1", 443)], &[("10.0.0.11", 443), ("110.0.0.1", 443)]);
        check("::ffff:10.0.0.1", &[("10.0.0.1", 443)], &[("10.0.0.2", 443)]);
        check("fd00:0:0::1", &[("fd00::1", 443)], &[("fd00::2", 443), ("fd00::1.example", 443)]);
        check("[fd00::1]", &[("fd00::1", 443)], &[("fd00::2", 443)]);
        // No name ends in a number, so this is no domain of `x.10.0.0.1`.
        check("10.0.0.1", &[], &[("x.10.0.0.1", 443)]);
    }

    #[test]
    fn a_network_covers_the_addresses_in_it() {
        check("10.0.0.0/8", &[("10.255.0.1", 443), ("::ffff:10.1.2.3", 443)], &[("11.0.0.1", 443), ("fd00::1", 443)]);
        check("10.1.2.3/24", &[("10.1.2.200", 443)], &[("10.1.3.1", 443)]);
        check("0.0.0.0/0", &[("192.0.2.1", 443)], &[("fd00::1", 443), ("example.com", 443)]);
        check("fd00::/8", &[("fd12::1", 443)], &[("fe80::1", 443), ("10.0.0.1", 443)]);
        check("::ffff:10.0.0.0/104", &[("10.1.2.3", 443)], &[("11.0.0.1", 443)]);
        check("192.0.2.1/32", &[("192.0.2.1", 443)], &[("192.0.2.0", 443)]);
    }

    #[test]
    fn a_port_narrows_what_is_covered() {
        check("example.com:8443", &[("example.com", 8443), ("api.example.com", 8443)], &[("example.com", 443)]);
        check("10.0.0.1:8443", &[("10.0.0.1", 8443)], &[("10.0.0.1", 443)]);
        check("[fd00::1]:8443", &[("fd00::1", 8443)], &[("fd00::1", 443)]);
        check("example.com:8443,example.com:443", &[("example.com", 443)], &[("example.com", 80)]);
    }
}
