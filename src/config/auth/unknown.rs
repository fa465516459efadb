//! What `type` can't be: names that this build lacks, names that nobody has heard of, and methods beside a certificate
//! that they can't be combined with.

use super::methods;
use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::SectionReader;
use crate::config::suggest::nearest;

/// Refuses an entry whose method is none.
pub(super) fn refuse(name: &str, node: &Node, reader: &mut SectionReader<'_>) -> Reported {
    let span = node.entry("type").map_or(node.span, |entry| entry.value.span);
    reader.report.mask_beside_type(node);
    if let Some(feature) = missing_feature(name) {
        reader
            .report
            .error(span, format!("this build of Sidekey has no `{name}`"))
            .help(format!("use a build with the cargo feature `{feature}`, which is on unless it is switched off"));
        return Reported;
    }
    let known = methods().map(|method| method.name);
    // By the name of a grant, or of the protocol, alone.
    let part_of: Vec<_> =
        known.clone().filter(|method| method.split_once('_').is_some_and(|of| of.0 == name || of.1 == name)).collect();
    let meant = nearest(name, known.clone()).or(part_of.first().copied().filter(|_| part_of.len() == 1));
    let message = match meant {
        Some(meant) => format!("this is no authentication method, did you mean \"{meant}\"?"),
        None => "this is no authentication method".to_owned(),
    };
    let known = if meant.is_none() && !part_of.is_empty() { part_of } else { known.collect() };
    reader.report.error(span, message).help(format!("one of: {}", known.join(", ")));
    Reported
}

/// Refuses a method whose vendor knows no client certificates.
pub(super) fn refuse_certificate(name: &str, node: &Node, reader: &mut SectionReader<'_>) -> Reported {
    let span = node.entry("type").map_or(node.span, |entry| entry.value.span);
    reader
        .report
        .error(span, format!("`{name}` does not support mutual TLS"))
        .help("remove `certificate` from the service, or choose another method");
    Reported
}

/// The cargo feature without which a method is in no build, if this one was made without.
pub(super) fn missing_feature(name: &str) -> Option<&'static str> {
    OPTIONAL.iter().find(|(method, _, is_there)| *method == name && !is_there).map(|(_, feature, _)| *feature)
}

/// Methods that not every build has, the feature that each needs, and whether this build was made with it.
const OPTIONAL: [(&str, &str, bool); 4] = [
    ("sftp", "files", cfg!(feature = "files")),
    ("ftp", "files", cfg!(feature = "files")),
    ("gpg_encrypt", "openpgp", cfg!(feature = "openpgp")),
    ("gpg_decrypt", "openpgp", cfg!(feature = "openpgp")),
];
