//! What `type` can't be: names that are no HTTP authentication, names that nobody has heard of, and methods beside a
//! certificate that they can't be combined with.

use super::METHODS;
use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::SectionReader;
use crate::config::suggest::nearest;

/// Refuses an entry whose method is none.
pub(super) fn refuse(name: &str, node: &Node, reader: &mut SectionReader<'_>) -> Reported {
    let span = node.entry("type").map_or(node.span, |entry| entry.value.span);
    if NO_HTTP.contains(&name) {
        reader
            .report
            .error(span, format!("`{name}` is no HTTP authentication"))
            .help("Sidekey speaks HTTP: files are transferred and encrypted by other programs");
        return Reported;
    }
    let known = METHODS.iter().map(|method| method.name);
    let message = match nearest(name, known.clone()) {
        Some(meant) => format!("this is no authentication method, did you mean \"{meant}\"?"),
        None => "this is no authentication method".to_owned(),
    };
    let known: Vec<&str> = known.collect();
    reader.report.error(span, message).help(format!("one of: {}", known.join(", ")));
    Reported
}

/// Refuses a method whose vendor knows no client certificates.
pub(super) fn refuse_certificate(name: &str, node: &Node, reader: &mut SectionReader<'_>) -> Reported {
    let span = node.entry("type").map_or(node.span, |entry| entry.value.span);
    reader
        .report
        .error(span, format!("`{name}` can't be combined with a certificate"))
        .help("remove `certificate` from the service, or choose another method");
    Reported
}

const NO_HTTP: [&str; 4] = ["ftp", "sftp", "gpg_encrypt", "gpg_decrypt"];
