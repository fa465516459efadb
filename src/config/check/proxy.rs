//! Whether the way out leads back in: an outbound proxy that is Sidekey itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::{oauth2, sts_urls};
use crate::config::diagnostic::Report;
use crate::config::inputs::Inputs;
use crate::config::proxy_variables::{EnvironmentProxy, ProxyVariables};
use crate::config::schema::{Config, OutboundProxyConfig, ServiceConfig};
use crate::config::value::{At, ListenAddress, Scheme, Span, TunnelTarget, Url, UrlAuthority};

/// Checks the proxies that services name, and has the one of the environment used unless it is Sidekey itself.
pub(super) fn check(config: &Config, inputs: &Inputs, report: &mut Report) {
    for service in config.services.values() {
        let OutboundProxyConfig::Through(proxy) = &service.value.outbound_proxy else { continue };
        if let Some(own) = own_listener(config, &proxy.value.address.authority) {
            report
                .error(proxy.span, format!("this proxy is Sidekey itself, which listens on `{own}`"))
                .help("name the proxy of your network here, or remove `outbound_proxy`");
        }
    }
    check_tunnels(config, report);
    if inputs.follows_references() {
        let variables = ProxyVariables::read(crate::config::source::variable);
        inputs.use_environment_proxy(of_environment(config, variables, report));
    }
}

/// What is wrong is said once, at the first service that would be reached through it.
fn of_environment(config: &Config, variables: ProxyVariables, report: &mut Report) -> Option<EnvironmentProxy> {
    let (variable, named) = variables.named?;
    let proxy = named.as_ref().ok();
    let exposed = config.services.values().find_map(|service| exposed_to_environment(&service.value, proxy));
    // Tunnels have no key of their own for it.
    let or_none = if exposed.is_some() { "; or write `outbound_proxy: none`" } else { "" };
    let user = exposed.or_else(|| exposed_tunnel(config, proxy));
    match named {
        Ok(proxy) => {
            let Some(own) = own_listener(config, &proxy.address.authority) else { return Some(proxy) };
            if let Some(span) = user {
                report
                    .warning(span, format!("`{variable}` is Sidekey itself, which listens on `{own}`: it is ignored"))
                    .help(format!("apps find Sidekey by `http_proxy`; unset `{variable}`{or_none}"));
            }
        }
        Err(wrong) => {
            if let Some(span) = user {
                let help = wrong.help.unwrap_or_else(|| "check it".to_owned());
                report
                    .error(span, format!("`{variable}` in the environment, the proxy for this: {}", wrong.message))
                    .help(format!("{help}{or_none}"));
            }
        }
    }
    None
}

/// Where a service has a URL that is reached through the proxy of the environment; `None` for `proxy`: it can't be read.
fn exposed_to_environment(service: &ServiceConfig, proxy: Option<&EnvironmentProxy>) -> Option<Span> {
    if service.outbound_proxy != OutboundProxyConfig::FromEnvironment {
        return None;
    }
    let endpoints = oauth2(service).map(|method| (method.endpoint.value.url(), method.endpoint.span));
    let at = |url: &At<Url>| url.span;
    let all = std::iter::once((&service.url.value, at(&service.url)))
        .chain(endpoints)
        .chain(sts_urls(service).map(|url| (&url.value, at(url))));
    let mut through = all.filter(|(url, _)| {
        let exempt = proxy.is_some_and(|proxy| proxy.exempt.covers(&url.authority.host, url.authority.port));
        url.scheme == Scheme::Https && !url.is_on_this_machine() && !exempt
    });
    through.next().map(|(_, span)| span)
}

/// As [`exposed_to_environment`], of the tunnels of `connect`.
fn exposed_tunnel(config: &Config, proxy: Option<&EnvironmentProxy>) -> Option<Span> {
    let is_exposed = |target: &TunnelTarget| {
        let Some((host, port)) = target.one() else { return true };
        let authority = UrlAuthority { host: host.to_owned(), port, default_port: false };
        let url = Url { scheme: Scheme::Https, authority, path: String::new(), query: None };
        !url.is_on_this_machine() && !proxy.is_some_and(|proxy| proxy.exempt.covers(host, port))
    };
    config.connect.allow.iter().find(|entry| is_exposed(&entry.value)).map(|entry| entry.span)
}

/// Tunnels lead to none of our own ports: the admin port trusts who comes from this machine, and through the proxy everybody
/// would.
fn check_tunnels(config: &Config, report: &mut Report) {
    for entry in &config.connect.allow {
        let place = |host: &str, port| UrlAuthority { host: host.to_owned(), port, default_port: false };
        let authority = match entry.value.one() {
            Some((host, port)) => place(host, port),
            // Every name below `localhost` is this machine.
            None => match entry.value.grants("x.localhost", entry.value.port()) {
                Some(_) => place("localhost", entry.value.port()),
                None => continue,
            },
        };
        if let Some(own) = own_listener(config, &authority) {
            let admin = own_admin(config).any(|address| address == own);
            let what = if admin {
                "this is Sidekey's own admin port: whoever may use the proxy could reload it".to_owned()
            } else {
                format!("this is Sidekey itself, which listens on `{own}`")
            };
            report.error(entry.span, what).help("list where apps open TLS themselves");
        }
    }
}

impl Config {
    /// Whether the admin port is there.
    pub(crate) fn has_admin_at(&self, peer: SocketAddr) -> bool {
        let host = peer.ip().to_canonical().to_string();
        let authority = UrlAuthority { host, port: peer.port(), default_port: false };
        own_admin(self).any(|address| is_at(address, &authority))
    }
}

fn own_admin(config: &Config) -> impl Iterator<Item = &ListenAddress> {
    let admin = config.admin.iter().flat_map(|admin| admin.listen.iter().chain(&admin.health));
    admin.map(|address| &address.value)
}

/// The listener of ours that is there.
fn own_listener<'c>(config: &'c Config, authority: &UrlAuthority) -> Option<&'c ListenAddress> {
    let all = config.listens().map(|address| &address.value).chain(own_admin(config));
    all.into_iter().find(|address| is_at(address, authority))
}

fn is_at(listener: &ListenAddress, UrlAuthority { host, port, .. }: &UrlAuthority) -> bool {
    let host = host.strip_suffix(".localhost").map_or(host.as_str(), |_| "localhost");
    let there = match host.parse::<IpAddr>() {
        Ok(address) => ListenAddress::Tcp(SocketAddr::new(address.to_canonical(), *port)),
        Err(_) if host == "localhost" => ListenAddress::Localhost { port: *port },
        // Whom another name leads to is known once it is looked up: then nothing is forwarded for it here.
        Err(_) => return false,
    };
    // A listener on every address of this machine has none of another's.
    let is_here = there.is_local() || !is_on_all_addresses(listener) || is_of_this_machine(&there);
    there.collides_with(listener) && is_here
}

fn is_on_all_addresses(listener: &ListenAddress) -> bool {
    matches!(listener, ListenAddress::Tcp(address) if address.ip().is_unspecified())
}

/// Whether an address is one of this machine's: the kernel answers with the very address as the nearest to it. Nothing is
/// sent.
fn is_of_this_machine(there: &ListenAddress) -> bool {
    let ListenAddress::Tcp(there) = there else { return true };
    let any: IpAddr = if there.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let nearest = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(there)?;
        socket.local_addr()
    };
    there.ip().is_unspecified() || nearest().is_ok_and(|address| address.ip() == there.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{check_messages, valid};

    fn listening(listen: &str, proxy: &str) -> String {
        format!("listen: '{listen}'\nservices: {{ a: {{ url: 'https://a.example', outbound_proxy: '{proxy}' }} }}")
    }

    #[test]
    fn the_admin_port_is_known_by_where_it_is() {
        let config = valid(
            "admin: { listen: 'localhost:9900', health: '0.0.0.0:9901' }\nservices: { a: { url: 'https://a.example' } }",
        );
        let has = |peer: &str| config.has_admin_at(peer.parse().unwrap());

        assert!(has("127.0.0.1:9900") && has("[::1]:9900") && has("[::ffff:127.0.0.1]:9900"));
        assert!(has("127.0.0.1:9901") && has("127.9.9.9:9901"));
        assert!(!has("127.0.0.1:9800") && !has("192.0.2.1:9900") && !has("192.0.2.1:9901"));
    }

    #[test]
    fn a_proxy_that_is_a_listener_of_ours_is_refused_however_it_is_written() {
        for (listen, proxy) in [
            ("localhost:9800", "http://localhost:9800"),
            ("localhost:9800", "http://LOCALHOST.:9800/"),
            ("localhost:9800", "http://127.0.0.1:9800"),
            ("localhost:9800", "https://[::1]:9800"),
            ("localhost:9800", "http://x.localhost:9800"),
            ("127.0.0.1:9800", "http://localhost:9800"),
            ("127.0.0.1:80", "http://localhost"),
        ] {
            let said = format!("this proxy is Sidekey itself, which listens on `{listen}`");
            check_messages(&listening(listen, proxy), &[&said]);
        }
        check_messages(
            &listening("localhost:1", "http://localhost:9900"),
            &["this proxy is Sidekey itself, which listens on `localhost:9900`"],
        );
    }

    #[test]
    fn another_proxy_at_the_same_port_is_none_of_ours() {
        for (listen, proxy) in [
            ("localhost:9800", "http://proxy.corp:9800"),
            ("localhost:9800", "http://localhost:3128"),
            ("127.0.0.1:9800", "http://127.0.0.2:9800"),
            ("unix:/run/sidekey.sock", "http://localhost:9800"),
        ] {
            valid(&listening(listen, proxy));
        }
    }

    #[test]
    fn a_listener_on_all_addresses_is_no_machine_elsewhere() {
        let all: ListenAddress = "0.0.0.0:9800".parse().unwrap();
        let at = |host: &str| is_at(&all, &UrlAuthority { host: host.to_owned(), port: 9800, default_port: false });

        assert!(at("127.0.0.1") && at("localhost"));
        // TEST-NET-1 (RFC 5737) is nobody's.
        assert!(!at("192.0.2.1"));
    }

    fn of(variable: &str, listen: &str, service: &str) -> (Option<String>, Vec<String>) {
        let config = valid(&format!("listen: '{listen}'\nservices: {{ a: {{ {service} }} }}"));
        let mut report = Report::default();
        let variables = ProxyVariables::read(|name| (name == "HTTPS_PROXY").then(|| variable.into()));

        let proxy = of_environment(&config, variables, &mut report);

        let said = report.diagnostics().iter().map(|diagnostic| diagnostic.message.clone()).collect();
        (proxy.map(|proxy| proxy.address.to_string()), said)
    }

    #[test]
    fn the_environments_proxy_is_ignored_with_a_warning_where_it_is_sidekey_itself() {
        let own = "http://me:hunter2@localhost:9800";
        let warning = "`HTTPS_PROXY` is Sidekey itself, which listens on `localhost:9800`: it is ignored".to_owned();

        assert_eq!(of(own, "localhost:9800", "url: 'https://a.example'"), (None, vec![warning]));
        assert_eq!(of(own, "localhost:9800", "url: 'https://a.example', outbound_proxy: none"), (None, vec![]));
        assert_eq!(of(own, "localhost:9800", "url: 'http://a.example'"), (None, vec![]));
        assert_eq!(
            of(own, "localhost:1", "url: 'https://a.example'"),
            (Some("http://localhost:9800".to_owned()), vec![])
        );
    }

    #[test]
    fn the_environments_proxy_that_can_not_be_read_is_an_error_where_it_would_be_used() {
        let wrong = "socks5://me:hunter2@proxy.corp";
        let error =
            "`HTTPS_PROXY` in the environment, the proxy for this: a proxy is spoken to by `http://` or `https://`";

        assert_eq!(of(wrong, "localhost:9800", "url: 'https://a.example'"), (None, vec![error.to_owned()]));
        for unused in
            ["url: 'https://localhost:1'", "url: 'https://a.example', outbound_proxy: none", "url: 'http://a.example'"]
        {
            assert_eq!(of(wrong, "localhost:9800", unused), (None, vec![]), "{unused}");
        }
    }

    #[test]
    fn a_tunnel_goes_by_the_environments_proxy_too() {
        let error =
            "`HTTPS_PROXY` in the environment, the proxy for this: a proxy is spoken to by `http://` or `https://`";
        for (allow, said) in [("'a.example:443'", vec![error.to_owned()]), ("'localhost:443', '[::1]:8443'", vec![])] {
            let config = valid(&format!("connect: {{ allow: [{allow}] }}\nservices: {{}}"));
            let mut report = Report::default();
            let variables =
                ProxyVariables::read(|name| (name == "HTTPS_PROXY").then(|| "socks5://me:hunter2@proxy.corp".into()));

            assert_eq!(of_environment(&config, variables, &mut report), None);

            let messages: Vec<_> = report.diagnostics().iter().map(|one| one.message.clone()).collect();
            assert_eq!(messages, said, "{allow}");
        }
    }
}
