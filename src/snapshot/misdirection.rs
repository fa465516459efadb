//! A service that asks TLS for one name and is called by another in `Host`: some servers answer 421 to that
//! (RFC 9110 §15.5.20), and the app can't know why.

use std::fmt;
use std::sync::Once;

use http::uri::Authority;

use crate::config::{Scheme, ServiceConfig};

/// Two names for one service, and which key makes them one.
#[derive(Debug)]
pub(crate) struct Misdirection {
    /// That TLS asks for; an address is asked for by nobody (RFC 6066 §3).
    server_name: String,
    host: Authority,
    key: &'static str,
    told: Once,
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
        let key = if service.host_header.is_some() { "tls.server_name" } else { "host_header" };
        (!is_same).then(|| Self { server_name: server_name.clone(), host: host.clone(), key, told: Once::new() })
    }

    /// Says once, for each time that the service is configured anew, what to write.
    #[cold]
    pub(crate) fn tell(&self, service: &str) {
        self.told.call_once(|| tracing::warn!(service, "{self}"));
    }
}

impl fmt::Display for Misdirection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server_name, host, key, .. } = self;
        let missing = if *key == "host_header" { server_name } else { bare(host.host()) };
        write!(
            formatter,
            "it answered 421: TLS asked for `{server_name}`, and `Host` says `{host}`; if it goes by one name in both, \
             write `{key}: {missing}` too"
        )
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
        check("url: 'https://10.0.0.1', host_header: 'b.example:444'", Some("write `tls.server_name: b.example` too"));
        check("url: 'https://10.0.0.1', host_header: 'B.example.:444', tls: { server_name: b.example }", None);
    }
}
