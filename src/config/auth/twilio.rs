//! `twilio`: the account and its token as user and password.

use super::{Auth, CertificateUse, MethodRow, attachment};
use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::{SectionFields, SectionReader};
use crate::config::section::section;
use crate::config::value::At;
use crate::secret::Secret;

pub(super) const METHOD: MethodRow =
    MethodRow { name: "twilio", certificate: CertificateUse::Refused, keys: TwilioKeys::properties, read };

section! {
    struct TwilioKeys {
        /// The account's SID, or that of an API key.
        account_sid: At<String>,
        /// The account's token, or the secret of the API key.
        auth_token: At<Secret>,
    }
}

fn read(fields: &mut SectionFields<'_>, node: &Node, reader: &mut SectionReader<'_>) -> Result<Option<Auth>, Reported> {
    let TwilioKeys { account_sid, auth_token } = TwilioKeys::from_fields(fields, reader)?;
    let basic = attachment::basic(account_sid, auth_token, node.span, reader)?;
    Ok(Some(Auth::fixed(METHOD.name, vec![basic])))
}
