//! `twilio`: the account and its token as user and password.

use super::{Auth, Certificate, Method, attachment};
use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::{Fields, Reader};
use crate::config::section::section;
use crate::config::value::At;
use crate::secret::Secret;

pub(super) const METHOD: Method =
    Method { name: "twilio", certificate: Certificate::Refused, keys: Keys::properties, read };

section! {
    struct Keys {
        /// The account's SID, or that of an API key.
        account_sid: At<String>,
        /// The account's token, or the secret of the API key.
        auth_token: At<Secret>,
    }
}

fn read(fields: &mut Fields<'_>, node: &Node, reader: &mut Reader<'_>) -> Result<Option<Auth>, Reported> {
    let Keys { account_sid, auth_token } = Keys::from_fields(fields, reader)?;
    let basic = attachment::basic(account_sid, auth_token, node.span, reader)?;
    Ok(Some(Auth::fixed(METHOD.name, vec![basic])))
}
