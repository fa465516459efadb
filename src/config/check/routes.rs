//! Where routes and services lead: to the service that was meant, and not back to us.

use std::net::IpAddr;

use crate::config::diagnostic::Report;
use crate::config::schema::{Config, RouteConfig, ServiceConfig};
use crate::config::value::{At, ListenAddress};
use crate::name::ServiceName;

pub(super) fn check(config: &Config, report: &mut Report) {
    for service in config.services.values() {
        check_admin_port(&service.value, config, report);
    }
    for route in &config.routes {
        check_suffix(&route.value, report);
        check_default_routes(route, config, report);
    }
}

/// The admin port trusts who comes from this machine: through the proxy everybody would.
fn check_admin_port(service: &ServiceConfig, config: &Config, report: &mut Report) {
    let authority = &service.url.value.authority;
    let admin = config.admin.iter().flat_map(|admin| &admin.listen);
    let is_ours = |address: &At<ListenAddress>| leads_to(&authority.host, authority.port, &address.value);
    if let Some(address) = admin.into_iter().find(|address| is_ours(address)) {
        let error = report
            .error(service.url.span, "this is Sidekey's own admin port: whoever may use the proxy could reload it");
        if address.span != crate::config::value::Span::NOWHERE {
            error.also(address.span, "it listens here");
        }
        error.help("name the port of the service, or move the admin port: `admin: { listen: … }`");
    }
}

fn leads_to(host: &str, port: u16, listener: &ListenAddress) -> bool {
    let address = host.parse().ok().map(|address: IpAddr| address.to_canonical());
    let is_localhost = host == "localhost" || host.ends_with(".localhost");
    let is_here = is_localhost || address.is_some_and(|address| address.is_loopback() || address.is_unspecified());
    match listener {
        ListenAddress::Localhost { port: ours } => is_here && port == *ours,
        ListenAddress::Tcp(ours) => {
            let ip = ours.ip().to_canonical();
            let is_same = address == Some(ip) || (is_here && ip.is_unspecified());
            port == ours.port() && (is_same || (is_localhost && ip.is_loopback()))
        }
        ListenAddress::Unix(_) => false,
    }
}

/// Under such a name a browser says nothing of itself without TLS, and its owner may point it here (DNS rebinding).
fn check_suffix(route: &RouteConfig, report: &mut Report) {
    let Some(host) = &route.host else { return };
    // Nobody can have a name under `localhost`: browsers ask no DNS for it.
    if host.value.starts_with("*.") && !host.value.ends_with(".localhost") {
        report
            .warning(
                host.span,
                format!("a page of whoever has a name under `{}` may read what this service answers", &host.value[2..]),
            )
            .help("name each host in a route of its own, or set `access.token`");
    }
}

/// An explicit route wins over a default one, and whoever calls the other service by its name then gets to this one.
fn check_default_routes(route: &At<RouteConfig>, config: &Config, report: &mut Report) {
    let At { value: RouteConfig { path, host, methods, headers, service, .. }, span } = route;
    // One that asks for more parts requests among services: that is what it is for.
    if !methods.is_empty() || !headers.is_empty() {
        return;
    }
    let host = host.as_ref().map(|host| host.value.as_str());
    let path = path.as_ref().map_or("", |path| path.value.strip_suffix('/').unwrap_or(&path.value));
    let taken = config
        .services
        .iter()
        .filter(|(name, other)| **name != service.value && other.value.default_routes)
        .find_map(|(name, other)| Some((name, taken_from(name, &other.value, host, path, config)?)));
    if let Some((name, what)) = taken {
        report
            .warning(
                *span,
                format!("this takes the default route {what} of the service `{name}`: it goes to `{}`", service.value),
            )
            .help(format!(
                "give this route another path or host; `default_routes: false` on `{name}` says that it is meant"
            ));
    }
}

/// Which default route of a service a route without `methods` and `headers` wins over, as a whole.
fn taken_from(
    name: &ServiceName,
    service: &ServiceConfig,
    host: Option<&str>,
    path: &str,
    config: &Config,
) -> Option<String> {
    let is_prefix = |of: &str| of.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let by_path = format!("/{name}");
    match host {
        None => (path == by_path).then(|| format!("by path (`{by_path}`)")),
        Some("localhost") if is_prefix(&by_path) => Some(format!("by path (`http://localhost{by_path}`)")),
        Some(host) if path.is_empty() && host == format!("{name}.localhost") => Some(format!("by host (`{host}`)")),
        Some(host) if (host, path) == host_and_path(service) && is_alone_there(service, config) => {
            Some(format!("as a forward proxy (`http://{host}{path}`)"))
        }
        Some(_) => None,
    }
}

/// Host and base path: where a service is, but for the port, which no route asks for.
fn host_and_path(service: &ServiceConfig) -> (&str, &str) {
    let url = &service.url.value;
    (&url.authority.host, url.path.strip_suffix('/').unwrap_or(&url.path))
}

/// Services that share their place have no forward-proxy route, and an explicit one is what helps there.
fn is_alone_there(service: &ServiceConfig, config: &Config) -> bool {
    let others = config.services.values().filter(|other| other.value.default_routes);
    others.filter(|other| host_and_path(&other.value) == host_and_path(service)).count() == 1
}
