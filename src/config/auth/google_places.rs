//! `google_places`: the API key in the query.

use super::{Auth, CertificateUse, MethodRow, attachment};
use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::{SectionFields, SectionReader};
use crate::config::secret_value::KeySecret;
use crate::config::section::section;
use crate::config::value::At;
use crate::secret::Secret;

pub(super) const METHOD: MethodRow =
    MethodRow { name: "google_places", certificate: CertificateUse::Refused, keys: GooglePlacesKeys::properties, read };

section! {
    struct GooglePlacesKeys {
        /// The API key.
        key: At<Secret> as At<KeySecret>,
    }
}

fn read(fields: &mut SectionFields<'_>, node: &Node, reader: &mut SectionReader<'_>) -> Result<Option<Auth>, Reported> {
    let GooglePlacesKeys { key } = GooglePlacesKeys::from_fields(fields, reader)?;
    let query = attachment::query(At { value: "key".to_owned(), span: node.span }, String::new(), key);
    Ok(Some(Auth::fixed(METHOD.name, vec![query])))
}
