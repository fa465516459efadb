//! What must hold between the parts of a config, each of which is right by itself.

mod access;
mod files;
mod methods;
mod openpgp;
mod proxy;
mod routes;

use super::auth;
use super::auth::oauth2::{ClientAuth, EndpointCertificate, OAuth2};
use super::diagnostic::Report;
use super::inputs::Inputs;
use super::read::SectionReader;
use super::schema::{Config, ServiceConfig};
use super::value::{At, ListenAddress, Scheme, Span, Url};
pub(super) use files::{files, no_files};
pub(super) use methods::MethodsOfService;
pub(super) use openpgp::{openpgp, transforms};

/// Checks a service.
pub(super) fn service(service: &ServiceConfig, reader: &mut SectionReader<'_>) {
    if reader.auth_unknown {
        // What is said below would follow from a method that could not be read, and has been reported.
        return;
    }
    let report = &mut *reader.report;
    check_plaintext(service, report);
    check_certificate(service, report);
    check_tls(service, report);
    let named = service.headers.set.iter().map(|(name, _)| name).chain(&service.headers.remove);
    auth::report_overlap_with_headers(&service.auth, named, report);
}

/// Checks the listeners, who may use them, and where routes and services lead.
pub(super) fn config(config: &Config, inputs: &Inputs, report: &mut Report) {
    check_proxy_listeners(config, report);
    check_admin_listeners(config, report);
    check_hand_out(config, report);
    check_collisions(config, report);
    access::check(config, inputs, report);
    proxy::check(config, inputs, report);
    routes::check(config, report);
}

fn check_plaintext(service: &ServiceConfig, report: &mut Report) {
    if service.allow_plaintext_credentials {
        return;
    }
    let mut exposed = Vec::new();
    // What becomes of bodies is no credential.
    if service.auth.iter().any(|method| method.value.transform().is_none()) && service.url.value.is_exposed() {
        exposed.push(service.url.span);
    }
    exposed.extend(
        oauth2(service)
            .map(|method| &method.endpoint)
            .filter(|endpoint| endpoint.value.url().is_exposed())
            .map(|endpoint| endpoint.span),
    );
    exposed.extend(sts_urls(service).filter(|url| url.value.is_exposed()).map(|url| url.span));
    for span in exposed {
        report
            .error(span, "credentials would be sent unencrypted to another machine")
            .help("use `https://`, or accept it with `allow_plaintext_credentials: true`");
    }
}

fn check_certificate(service: &ServiceConfig, report: &mut Report) {
    if let Some(certificate) = &service.certificate {
        let at_endpoint = oauth2(service)
            .any(|method| method.certificate == EndpointCertificate::OfService && uses_certificate(method));
        if service.url.value.scheme != Scheme::Https && !at_endpoint {
            report
                .error(certificate.span, "nothing would use this certificate")
                .also(service.url.span, "no TLS here")
                .help("use an `https://` URL, or remove `certificate`");
        }
    }
    for method in oauth2(service) {
        if let EndpointCertificate::Named(name) = &method.certificate
            && !uses_certificate(method)
        {
            report
                .error(name.span, "nothing would use this certificate")
                .also(method.endpoint.span, "no TLS here")
                .help("use an `https://` token endpoint, or remove `certificate`");
        }
    }
}

/// Whether the certificate is shown to the token endpoint, or its key signs what is sent there.
fn uses_certificate(method: &OAuth2) -> bool {
    let signs = matches!(&method.client_auth, ClientAuth::PrivateKeyJwt(key) if key.file.is_none());
    signs || method.endpoint.value.url().scheme == Scheme::Https
}

fn check_tls(service: &ServiceConfig, report: &mut Report) {
    let Some(tls) = &service.tls else { return };
    let at_endpoint = oauth2(service).any(|method| method.tls.is_none())
        || sts_urls(service).any(|url| url.value.scheme == Scheme::Https);
    if service.url.value.scheme == Scheme::Http && !at_endpoint {
        report
            .warning(tls.span, "`tls` has no effect here")
            .also(service.url.span, "no TLS here")
            .help("use an `https://` URL, or remove `tls`");
    }
}

fn oauth2(service: &ServiceConfig) -> impl Iterator<Item = &OAuth2> {
    service.auth.iter().filter_map(|method| method.value.oauth2())
}

/// Where keys are asked for that a method signs with.
fn sts_urls(service: &ServiceConfig) -> impl Iterator<Item = &At<Url>> {
    service.auth.iter().filter_map(|method| method.value.sts_url())
}

fn check_proxy_listeners(config: &Config, report: &mut Report) {
    let missing = match (config.access.allow_remote, &config.access.token) {
        (true, Some(_)) => return,
        (true, None) => "set `access.token`",
        (false, Some(_)) => "set `access.allow_remote: true`",
        (false, None) => "set `access.allow_remote: true` and `access.token`",
    };
    for address in config.listens().filter(|address| !address.value.is_local()) {
        report
            .error(address.span, format!("`{}` can be reached from other machines", address.value))
            .help(format!("{missing}, or listen on `localhost`"));
    }
}

fn check_admin_listeners(config: &Config, report: &mut Report) {
    let Some(admin) = config.admin.as_ref().filter(|admin| admin.token.is_none()) else { return };
    for address in admin.listen.iter().filter(|address| !address.value.is_local()) {
        report
            .error(address.span, format!("the admin API at `{}` can be reached from other machines", address.value))
            .help("set `admin.token`, or listen on `localhost`");
    }
}

fn check_hand_out(config: &Config, report: &mut Report) {
    let Some(admin) = config.admin.as_ref().filter(|admin| admin.token.is_none() && admin.hand_out.value) else {
        return;
    };
    report
        .error(admin.hand_out.span, "credentials would be handed out to whoever asks")
        .help("set `admin.token` too: then only those who have it get them");
}

/// Who listens at an address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ListenOwner {
    Apps,
    Service,
    Admin,
}

/// Where only one of the two was written, the error stands there: the other is a default.
fn report_taken(
    (owner, address): (ListenOwner, &At<ListenAddress>),
    (first_owner, first): (ListenOwner, &At<ListenAddress>),
    report: &mut Report,
) {
    let is_default = |address: &At<ListenAddress>| address.span == Span::NOWHERE;
    let (written, default) = match (is_default(address), is_default(first)) {
        (true, false) => (first, owner),
        (false, true) => (address, first_owner),
        _ => {
            let error = report.error(address.span, format!("`{}` is taken already", address.value));
            error.also(first.span, format!("by `{}`", first.value)).help("choose another port");
            return;
        }
    };
    let (whose, moved) = match default {
        ListenOwner::Admin => ("the admin port's", "set `admin: { listen: … }` or `admin: off`"),
        ListenOwner::Apps | ListenOwner::Service => ("that of `listen`", "set `listen`"),
    };
    report
        .error(written.span, format!("`{}` is {whose} by default", written.value))
        .help(format!("choose another port, or {moved}"));
}

fn check_collisions(config: &Config, report: &mut Report) {
    let own = config.services.values().flat_map(|service| &service.value.listen);
    let admin = config.admin.iter().flat_map(|admin| admin.listen.iter().chain(&admin.health));
    let all: Vec<(ListenOwner, &At<ListenAddress>)> =
        (config.listen.iter().map(|address| (ListenOwner::Apps, address)))
            .chain(own.map(|address| (ListenOwner::Service, address)))
            .chain(admin.map(|address| (ListenOwner::Admin, address)))
            .collect();
    for (at, one) in all.iter().enumerate() {
        // Invariant: it is one of their places.
        if let Some(first) = all[..at].iter().find(|(_, first)| first.value.collides_with(&one.1.value)) {
            report_taken(*one, *first, report);
        }
    }
}
