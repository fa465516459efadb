//! `basic` (RFC 7617).

use super::{Auth, CertificateUse, MethodRow, attachment};
use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::{SectionFields, SectionReader};
use crate::config::section::section;
use crate::config::value::At;
use crate::secret::Secret;

pub(super) const METHOD: MethodRow =
    MethodRow { name: "basic", certificate: CertificateUse::Allowed, keys: BasicKeys::properties, read };

section! {
    struct BasicKeys {
        /// The user; has no colon.
        username: At<String>,
        /// The password.
        password: At<Secret>,
    }
}

fn read(fields: &mut SectionFields<'_>, node: &Node, reader: &mut SectionReader<'_>) -> Result<Option<Auth>, Reported> {
    let BasicKeys { username, password } = BasicKeys::from_fields(fields, reader)?;
    let basic = attachment::basic(username, password, node.span, reader)?;
    Ok(Some(Auth::fixed(METHOD.name, vec![basic])))
}
