//! `plaid`: id and secret of the client, a field each.

use http::HeaderName;

use super::{Auth, Certificate, Method, attachment};
use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::{Fields, Reader};
use crate::config::section::section;
use crate::config::value::At;
use crate::secret::Secret;

pub(super) const METHOD: Method =
    Method { name: "plaid", certificate: Certificate::Refused, keys: Keys::properties, read };

section! {
    struct Keys {
        /// The client's id.
        client_id: At<Secret>,
        /// The client's secret.
        secret: At<Secret>,
    }
}

fn read(fields: &mut Fields<'_>, node: &Node, reader: &mut Reader<'_>) -> Result<Option<Auth>, Reported> {
    let Keys { client_id, secret } = Keys::from_fields(fields, reader)?;
    let mut header = |name, value| {
        let name = At { value: HeaderName::from_static(name), span: node.span };
        attachment::header(name, String::new(), value, reader)
    };
    Ok(Some(Auth::fixed(METHOD.name, vec![header("plaid-client-id", client_id)?, header("plaid-secret", secret)?])))
}
