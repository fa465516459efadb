//! `plaid`: id and secret of the client, a field each.

use http::HeaderName;

use super::{Auth, CertificateUse, MethodRow, attachment};
use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::{SectionFields, SectionReader};
use crate::config::section::section;
use crate::config::value::At;
use crate::secret::Secret;

pub(super) const METHOD: MethodRow =
    MethodRow { name: "plaid", certificate: CertificateUse::Refused, keys: PlaidKeys::properties, read };

section! {
    struct PlaidKeys {
        /// The client's id.
        client_id: At<Secret>,
        /// The client's secret.
        secret: At<Secret>,
    }
}

fn read(fields: &mut SectionFields<'_>, node: &Node, reader: &mut SectionReader<'_>) -> Result<Option<Auth>, Reported> {
    let PlaidKeys { client_id, secret } = PlaidKeys::from_fields(fields, reader)?;
    let mut header = |name, value| {
        let name = At { value: HeaderName::from_static(name), span: node.span };
        attachment::header(name, String::new(), value, reader)
    };
    Ok(Some(Auth::fixed(METHOD.name, vec![header("plaid-client-id", client_id)?, header("plaid-secret", secret)?])))
}
