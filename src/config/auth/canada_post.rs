//! `canada_post`: the two parts of an API key as user and password.

use super::{Auth, CertificateUse, MethodRow, attachment};
use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::{SectionFields, SectionReader};
use crate::config::section::section;
use crate::config::value::At;
use crate::secret::Secret;

pub(super) const METHOD: MethodRow =
    MethodRow { name: "canada_post", certificate: CertificateUse::Refused, keys: CanadaPostKeys::properties, read };

section! {
    struct CanadaPostKeys {
        /// The first part of the API key.
        username: At<String>,
        /// The second part of the API key.
        password: At<Secret>,
    }
}

fn read(fields: &mut SectionFields<'_>, node: &Node, reader: &mut SectionReader<'_>) -> Result<Option<Auth>, Reported> {
    let CanadaPostKeys { username, password } = CanadaPostKeys::from_fields(fields, reader)?;
    let basic = attachment::basic(username, password, node.span, reader)?;
    Ok(Some(Auth::fixed(METHOD.name, vec![basic])))
}
