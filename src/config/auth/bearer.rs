//! `bearer` (RFC 6750) with a token that does not change.

use super::{Auth, CertificateUse, MethodRow, attachment};
use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::{SectionFields, SectionReader};
use crate::config::section::section;
use crate::config::value::At;
use crate::secret::Secret;

pub(super) const METHOD: MethodRow =
    MethodRow { name: "bearer", certificate: CertificateUse::Allowed, keys: BearerKeys::properties, read };

section! {
    struct BearerKeys {
        /// The token.
        token: At<Secret>,
    }
}

fn read(fields: &mut SectionFields<'_>, node: &Node, reader: &mut SectionReader<'_>) -> Result<Option<Auth>, Reported> {
    let BearerKeys { token } = BearerKeys::from_fields(fields, reader)?;
    if token.value.expose().get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME)) {
        reader
            .report
            .warning(token.span, "the token begins with `Bearer `, and is sent with another one before it")
            .help("write the token alone");
    }
    let bearer = attachment::bearer(token, node.span, reader)?;
    Ok(Some(Auth::fixed(METHOD.name, vec![bearer])))
}

const SCHEME: &str = "Bearer ";
