//! Methods that are known by name: those that this version does not speak yet, and those that are no HTTP.

use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::{Reader, report_unknown};
use crate::config::suggest::nearest;
use crate::config::value::Span;

/// Refuses an entry whose method is none of this version's.
pub(super) fn refuse(name: &str, node: &Node, reader: &mut Reader<'_>) -> Reported {
    let span = node.entry("type").map_or(node.span, |entry| entry.value.span);
    if NO_HTTP.contains(&name) {
        reader
            .report
            .error(span, format!("`{name}` is no HTTP authentication"))
            .help("Sidekey speaks HTTP: files are transferred and encrypted by other programs");
        return Reported;
    }
    match LATER.iter().find(|method| method.name == name) {
        Some(method) => method.refuse(span, node, reader),
        None => report_unheard_of(name, span, reader),
    }
    Reported
}

/// A method that comes in a later version.
struct Later {
    name: &'static str,
    with_certificate: Combination,
    keys: &'static [&'static [&'static str]],
}

/// Whether a method and a client certificate go together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Combination {
    Possible,
    Impossible,
}

impl Later {
    fn refuse(&self, span: Span, node: &Node, reader: &mut Reader<'_>) {
        let name = self.name;
        if self.with_certificate == Combination::Impossible && reader.links_certificate {
            reader
                .report
                .error(span, format!("`{name}` can't be combined with a certificate"))
                .help("remove `certificate` from the service, or choose another method");
        } else {
            reader
                .report
                .error(span, format!("`{name}` is not in this version yet"))
                .help(format!("methods of this version: {}", names(super::METHODS.iter().map(|&(name, _)| name))));
        }
        let mut known = vec!["type"];
        known.extend(self.keys.iter().copied().flatten());
        for entry in node.entries().unwrap_or_default() {
            if !known.contains(&entry.key.text.as_str()) {
                report_unknown(entry, &known, reader.report);
            }
        }
    }
}

fn report_unheard_of(name: &str, span: Span, reader: &mut Reader<'_>) {
    let now = super::METHODS.iter().map(|&(name, _)| name);
    let all = now.clone().chain(LATER.iter().map(|method| method.name));
    let message = match nearest(name, all) {
        Some(meant) => format!("this is no authentication method, did you mean \"{meant}\"?"),
        None => "this is no authentication method".to_owned(),
    };
    reader.report.error(span, message).help(format!("one of: {}", names(now)));
}

fn names<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

const NO_HTTP: [&str; 4] = ["ftp", "sftp", "gpg_encrypt", "gpg_decrypt"];

const OAUTH2: &[&str] = &[
    "token_url",
    "issuer",
    "client_id",
    "client_secret",
    "client_auth",
    "client_key",
    "client_key_id",
    "client_key_algorithm",
    "client_assertion",
    "client_assertion_audience",
    "scope",
    "audience",
    "resource",
    "params",
    "headers",
    "certificate",
    "tls",
    "dpop",
    "token_header",
    "token_prefix",
    "refresh_ahead",
    "default_lifetime",
    "on_unauthorized",
    "timeout",
];

const LATER: [Later; 10] = [
    Later {
        name: "oauth2_password",
        with_certificate: Combination::Possible,
        keys: &[OAUTH2, &["username", "password"]],
    },
    Later {
        name: "oauth2_refresh_token",
        with_certificate: Combination::Possible,
        keys: &[OAUTH2, &["refresh_token", "state_file"]],
    },
    Later { name: "oauth2_jwt_bearer", with_certificate: Combination::Possible, keys: &[OAUTH2, &["assertion"]] },
    Later {
        name: "oauth2_token_exchange",
        with_certificate: Combination::Possible,
        keys: &[
            OAUTH2,
            &["subject_token", "subject_token_type", "actor_token", "actor_token_type", "requested_token_type"],
        ],
    },
    Later {
        name: "aws_sigv4",
        with_certificate: Combination::Possible,
        keys: &[&[
            "region",
            "service",
            "access_key_id",
            "secret_access_key",
            "session_token",
            "profile",
            "web_identity",
            "max_signed_body",
        ]],
    },
    Later {
        name: "hmac",
        with_certificate: Combination::Impossible,
        keys: &[&[
            "key",
            "key_encoding",
            "algorithm",
            "encoding",
            "header",
            "prefix",
            "template",
            "timestamp_format",
            "timestamp_header",
            "nonce_header",
            "max_signed_body",
        ]],
    },
    Later { name: "google_places", with_certificate: Combination::Impossible, keys: &[&["key"]] },
    Later { name: "twilio", with_certificate: Combination::Impossible, keys: &[&["account_sid", "auth_token"]] },
    Later { name: "plaid", with_certificate: Combination::Impossible, keys: &[&["client_id", "secret"]] },
    Later { name: "canada_post", with_certificate: Combination::Impossible, keys: &[&["username", "password"]] },
];
