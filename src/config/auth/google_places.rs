//! `google_places`: the API key in the query.

use super::{Auth, Certificate, Method, attachment};
use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::{Fields, Reader};
use crate::config::section::section;
use crate::config::value::At;
use crate::secret::Secret;

pub(super) const METHOD: Method =
    Method { name: "google_places", certificate: Certificate::Refused, keys: Keys::properties, read };

section! {
    struct Keys {
        /// The API key.
        key: At<Secret>,
    }
}

fn read(fields: &mut Fields<'_>, node: &Node, reader: &mut Reader<'_>) -> Result<Option<Auth>, Reported> {
    let Keys { key } = Keys::from_fields(fields, reader)?;
    let query = attachment::query(At { value: "key".to_owned(), span: node.span }, String::new(), key);
    Ok(Some(Auth::fixed(METHOD.name, vec![query])))
}
