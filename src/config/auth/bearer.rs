//! `bearer` (RFC 6750) with a token that does not change.

use super::{Auth, Certificate, Method, attachment};
use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::{Fields, Reader};
use crate::config::section::section;
use crate::config::value::At;
use crate::secret::Secret;

pub(super) const METHOD: Method =
    Method { name: "bearer", certificate: Certificate::Allowed, keys: Keys::properties, read };

section! {
    struct Keys {
        /// The token.
        token: At<Secret>,
    }
}

fn read(fields: &mut Fields<'_>, node: &Node, reader: &mut Reader<'_>) -> Result<Option<Auth>, Reported> {
    let Keys { token } = Keys::from_fields(fields, reader)?;
    let bearer = attachment::bearer(token, node.span, reader)?;
    Ok(Some(Auth::fixed(METHOD.name, vec![bearer])))
}
