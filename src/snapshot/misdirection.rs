//! A service that asks TLS for one name and is called by another in `Host`: some servers answer 421 to that
//! (RFC 9110 §15.5.20), and the app can't know why.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use http::uri::Authority;

use crate::config::{Scheme, ServiceConfig};

/// Two names for one service, and which key makes them one.
#[derive(Debug)]
pub(crate) struct Misdirection {
    server_name: String,
    host: Authority,
    written: WrittenNames,
    told: AtomicBool,
}

/// Which of the two the config says itself.
#[derive(Clone, Copy, Debug)]
enum WrittenNames {
    /// The other one is the URL's.
    ServerName,
    /// The other one is the URL's.
    HostHeader,
    Both,
}

impl Misdirection {
    /// `None` where both say the same, or there is no TLS.
    pub(super) fn of(service: &ServiceConfig, host: &Authority) -> Option<Self> {
        if service.url.value.scheme != Scheme::Https {
            return None;
        }
        let written = service.tls.as_ref().and_then(|tls| tls.value.server_name.as_ref());
        let server_name = written.map_or(&service.url.value.authority.host, |written| &written.value);
        let is_same = bare(host.host()).eq_ignore_ascii_case(server_name);
        let written = match (written, &service.host_header) {
            (Some(_), Some(_)) => WrittenNames::Both,
            (None, Some(_)) => WrittenNames::HostHeader,
            (_, None) => WrittenNames::ServerName,
        };
        let (server_name, host) = (server_name.clone(), host.clone());
        (!is_same).then_some(Self { server_name, host, written, told: AtomicBool::new(false) })
    }

    /// Says once, for each time that the service is configured anew, what to write.
    #[cold]
    pub(crate) fn tell(&self, service: &str) {
        // Nobody waits here while another worker writes the log.
        if !self.told.swap(true, Relaxed) {
            tracing::warn!(service, "{self}");
        }
    }
}

impl fmt::Display for Misdirection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server_name, host, .. } = self;
        // An address is asked for by nobody (RFC 6066 §3).
        match server_name.parse::<IpAddr>() {
            Ok(_) => write!(formatter, "it answered 421: TLS asked for no name")?,
            Err(_) => write!(formatter, "it answered 421: TLS asked for `{server_name}`")?,
        }
        write!(formatter, ", and `Host` says `{host}`; if it goes by one name in both, ")?;
        match self.written {
            WrittenNames::ServerName => write!(formatter, "write `host_header: {server_name}` too"),
            WrittenNames::HostHeader => write!(formatter, "write `tls.server_name: {}` too", bare(host.host())),
            WrittenNames::Both => write!(formatter, "make `host_header` and `tls.server_name` the same"),
        }
    }
}

/// Without the brackets of an IPv6 address, and the dot that may end a name.
fn bare(host: &str) -> &str {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigSource, Inputs, Secrets, load};

    #[track_caller]
    fn check(keys: &str, expected: Option<&str>) {
        let text = format!("services: {{ a: {{ {keys} }} }}");
        let (config, report) = load(&ConfigSource::Text(text), &Inputs::new(Secrets::Read));
        let config = config.unwrap_or_else(|| panic!("{:?}", report.diagnostics()));
        let service = config.services.values().next().expect("a service");
        let written = service.value.host_header.as_ref();
        let url = service.value.url.value.authority.to_string();
        let host = written.map_or_else(|| url.parse().expect("a host"), |host| host.value.authority().clone());

        let found = Misdirection::of(&service.value, &host).map(|found| found.to_string());

        match (found, expected) {
            (Some(found), Some(expected)) => assert!(found.ends_with(expected), "{keys}: {found}"),
            (found, expected) => assert_eq!(found.as_deref(), expected, "{keys}"),
        }
    }

    #[test]
    fn two_names_are_told_with_the_key_that_makes_them_one() {
        check("url: 'https://a.example:8443'", None);
        check("url: 'https://[::1]'", None);
        check("url: 'http://a.example', host_header: b.example", None);
        check(
            "url: 'https://a.example', tls: { server_name: b.example }",
            Some(
                "TLS asked for `b.example`, and `Host` says `a.example`; if it goes by one name in both, write `host_header: b.example` too",
            ),
        );
        check("url: 'https://a.example', host_header: b.example", Some("write `tls.server_name: b.example` too"));
        check(
            "url: 'https://10.0.0.1', host_header: 'b.example:444'",
            Some(
                "it answered 421: TLS asked for no name, and `Host` says `b.example:444`; if it goes by one name in both, write `tls.server_name: b.example` too",
            ),
        );
        check(
            "url: 'https://a.example', host_header: b.example, tls: { server_name: c.example }",
            Some(
                "TLS asked for `c.example`, and `Host` says `b.example`; if it goes by one name in both, make `host_header` and `tls.server_name` the same",
            ),
        );
        check("url: 'https://10.0.0.1', host_header: 'B.example.:444', tls: { server_name: b.example }", None);
    }
}
