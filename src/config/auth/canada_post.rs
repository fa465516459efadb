//! `canada_post`: the two parts of an API key as user and password.

use super::{Auth, Certificate, Method, attachment};
use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::{Fields, Reader};
use crate::config::section::section;
use crate::config::value::At;
use crate::secret::Secret;

pub(super) const METHOD: Method =
    Method { name: "canada_post", certificate: Certificate::Refused, keys: Keys::properties, read };

section! {
    struct Keys {
        /// The first part of the API key.
        username: At<String>,
        /// The second part of the API key.
        password: At<Secret>,
    }
}

fn read(fields: &mut Fields<'_>, node: &Node, reader: &mut Reader<'_>) -> Result<Option<Auth>, Reported> {
    let Keys { username, password } = Keys::from_fields(fields, reader)?;
    let basic = attachment::basic(username, password, node.span, reader)?;
    Ok(Some(Auth::fixed(METHOD.name, vec![basic])))
}
