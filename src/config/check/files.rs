//! What must hold of a service that files are asked of, and what no other may have.

use crate::config::auth::{Auth, FileLogin, FtpLogin, Transform};
use crate::config::diagnostic::Report;
use crate::config::node::Node;
use crate::config::read::SectionReader;
use crate::config::value::{At, Scheme, Span};

use super::methods::MethodsOfService;

/// Checks a service whose URL is one of files; `node` is what it was read from.
pub(in crate::config) fn files(service: &MethodsOfService<'_>, node: &Node, reader: &mut SectionReader<'_>) {
    let scheme = service.url.value.scheme;
    refuse_keys(scheme, node, reader.report);
    if let Some(identities) = node.entry("identities") {
        reader
            .report
            .error(identities.key.span, format!("`identities` are not had at {}", of(scheme)))
            .also(service.url.span, "files are asked for here")
            .help("make a service of each login");
        // What is in `auth` was read for them alone.
        return;
    }
    if reader.auth_unknown {
        return;
    }
    if let Some(login) = check_logins(service, reader.report) {
        check_tls(service, login, reader.report);
    }
}

/// Refuses what only a service of files may have.
pub(in crate::config) fn no_files(service: &MethodsOfService<'_>, node: &Node, reader: &mut SectionReader<'_>) {
    if service.url.value.is_placeholder() {
        // It comes from elsewhere, which is not read: it may be one.
        return;
    }
    let scheme = service.url.value.scheme;
    if let Some(files) = node.entry("files") {
        reader
            .report
            .error(files.key.span, format!("`files` means nothing at {}", of(scheme)))
            .also(service.url.span, "no files are asked for here")
            .help("remove `files`, or write an `sftp://`, `ftp://` or `ftps://` URL");
    }
    for method in service.all() {
        let Some(Transform::Encrypt(encrypt)) = method.value.transform() else { continue };
        if let Some(suffix) = &encrypt.name_suffix {
            reader
                .report
                .error(suffix.span, format!("`name_suffix` means nothing at {}", of(scheme)))
                .also(service.url.span, "no files are asked for here")
                .help("remove it: it is the end of a file's name");
        }
    }
    for (login, span) in logins(service) {
        let method = login.method();
        reader
            .report
            .error(span, format!("`{method}` does not log in to {}", of(scheme)))
            .also(service.url.span, "no files are asked for here")
            .help(format!("write `url: {method}://…`, or another method"));
    }
}

/// Keys of HTTP, and of ways that files do not go.
fn refuse_keys(scheme: Scheme, node: &Node, report: &mut Report) {
    let of_http = [
        ("http_version", "no HTTP is spoken to it"),
        ("host_header", "no `Host` is sent to it"),
        ("cookies", "it sets none"),
        ("headers", "no fields are sent to it"),
    ];
    let of_sftp = [
        ("certificate", "SSH knows no such certificates: a login shows `private_key`"),
        ("tls", "SSH is spoken without TLS: the server is known by `host_key` or `known_hosts`"),
    ];
    let of_ftp = [("outbound_proxy", "FTP needs connections to ports that no proxy is asked for")];
    let beside = if scheme == Scheme::Sftp { &of_sftp[..] } else { &of_ftp[..] };
    for (key, why) in of_http.iter().chain(beside) {
        if let Some(entry) = node.entry(key) {
            report
                .error(entry.key.span, format!("`{key}` means nothing at {}", of(scheme)))
                .help(format!("remove it: {why}"));
        }
    }
}

/// The login of the service, which must have one, and no method of HTTP.
fn check_logins<'s>(service: &MethodsOfService<'s>, report: &mut Report) -> Option<&'s FileLogin> {
    let scheme = service.url.value.scheme;
    let wanted = if scheme == Scheme::Sftp { "sftp" } else { "ftp" };
    let is_of_http = |method: &&At<Auth>| method.value.file_login().is_none() && method.value.transform().is_none();
    for method in service.auth.iter().filter(is_of_http) {
        report
            .error(method.span, format!("this method puts something on requests of HTTP, and {} gets none", of(scheme)))
            .help(format!("remove it: the login is `auth: {{ type: {wanted}, … }}`"));
    }
    let mut found: Option<(&FileLogin, Span)> = None;
    let mut is_wrong = false;
    for (login, span) in logins(service) {
        if !login.fits(scheme) {
            is_wrong = true;
            report
                .error(span, format!("`{}` does not log in to {}", login.method(), of(scheme)))
                .help(format!("write `type: {wanted}`, or another URL"));
        } else if let Some((_, first)) = found {
            report
                .error(span, format!("{} has one login", of(scheme)))
                .label("again here")
                .also(first, "first here")
                .help("remove one of them; a key and a password stand in one");
        } else {
            found = Some((login, span));
        }
    }
    if found.is_none() && !is_wrong {
        report
            .error(service.url.span, format!("{} has a login", of(scheme)))
            .help(format!("add `auth: {{ type: {wanted}, username: …, … }}`"));
    }
    found.map(|(login, _)| login)
}

fn logins<'s>(service: &MethodsOfService<'s>) -> impl Iterator<Item = (&'s FileLogin, Span)> + use<'s> {
    service.all().filter_map(|method| Some((method.value.file_login()?, method.span)))
}

/// What FTP does with TLS.
fn check_tls(service: &MethodsOfService<'_>, login: &FileLogin, report: &mut Report) {
    let FileLogin::Ftp(login) = login else { return };
    let FtpLogin { tls, .. } = &**login;
    let url = &service.url;
    if let (Scheme::Ftps, Some(tls)) = (url.value.scheme, tls) {
        report
            .error(tls.span, "`ftps://` is TLS from the first byte")
            .also(url.span, "by this URL")
            .help("remove `tls` here, or write `ftp://`");
        return;
    }
    let Some(off) = tls.as_ref().filter(|_| login.is_plain()) else { return };
    if !service.allow_plaintext_credentials && !url.value.is_loopback() {
        report
            .error(off.span, "credentials would be sent unencrypted to another machine")
            .help("remove `tls: off`, or accept it with `allow_plaintext_credentials: true`");
    }
    if let Some(certificate) = service.certificate {
        report
            .error(certificate.span, "nothing would use this certificate")
            .also(off.span, "no TLS here")
            .help("remove `tls: off`, or remove `certificate`");
    }
    if let Some(trust) = service.tls {
        report
            .warning(trust, "`tls` has no effect here")
            .also(off.span, "no TLS here")
            .help("remove `tls: off` from the login, or remove `tls`");
    }
}

/// A service with this scheme. All of them are spoken with a vowel first.
fn of(scheme: Scheme) -> String {
    format!("an `{}` service", scheme.start())
}
