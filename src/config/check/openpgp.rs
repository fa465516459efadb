//! What must hold of methods that change bodies, and of an `openpgp:` service, which is nothing else.

use crate::config::auth::hmac::TemplatePart;
use crate::config::auth::{Auth, Signature, Transform};
use crate::config::diagnostic::Report;
use crate::config::node::Node;
use crate::config::read::SectionReader;
use crate::config::value::At;

use super::methods::MethodsOfService;

/// Checks what a service does with bodies beside what else it does.
pub(in crate::config) fn transforms(service: &MethodsOfService<'_>, reader: &mut SectionReader<'_>) {
    let report = &mut *reader.report;
    let encrypts = |method: &&At<Auth>| matches!(method.value.transform(), Some(Transform::Encrypt(_)));
    let Some(encrypt) = service.all().find(encrypts) else { return };
    for method in service.auth.iter().filter(|method| signs_body(&method.value)) {
        report
            .error(method.span, "this method signs the body, and `gpg_encrypt` sends another one")
            .also(encrypt.span, "encrypted by this")
            .help("remove the one or the other: the signature would be over what is not sent");
    }
}

fn signs_body(method: &Auth) -> bool {
    match method {
        Auth::Signs(Signature::AwsSigV4(_)) => true,
        Auth::Signs(Signature::Hmac(hmac)) => {
            hmac.template.pieces().iter().any(|part| matches!(part, TemplatePart::BodySha256))
        }
        _ => false,
    }
}

/// Checks an `openpgp:` service; `node` is what it was read from.
pub(in crate::config) fn openpgp(service: &MethodsOfService<'_>, node: &Node, reader: &mut SectionReader<'_>) {
    refuse_keys(node, reader.report);
    if reader.auth_unknown {
        return;
    }
    let report = &mut *reader.report;
    let [method] = service.auth else {
        report.error(service.url.span, "an `openpgp:` service either encrypts or decrypts what it is sent").help(
            "give it one method: `auth: { type: gpg_encrypt, … }` or `gpg_decrypt`; the other is another service",
        );
        return;
    };
    if method.value.transform().is_none() {
        report
            .error(method.span, "an `openpgp:` service has nobody to log in to")
            .also(service.url.span, "nothing is sent from here")
            .help("write `type: gpg_encrypt` or `gpg_decrypt`");
    }
}

/// Keys of a service that is somewhere.
fn refuse_keys(node: &Node, report: &mut Report) {
    for key in OF_SOMEWHERE {
        if let Some(entry) = node.entry(key) {
            report
                .error(entry.key.span, format!("`{key}` means nothing at an `openpgp:` service"))
                .help("remove it: what is sent to it goes nowhere and comes back");
        }
    }
}

const OF_SOMEWHERE: [&str; 15] = [
    "certificate",
    "tls",
    "http_version",
    "host_header",
    "headers",
    "on_client_authorization",
    "allow_plaintext_credentials",
    "retry",
    "pool",
    "outbound_proxy",
    "identities",
    "cookies",
    "forwarded",
    "via",
    "ready",
];
