//! `headers`: fields with secret values.

use http::HeaderName;

use super::{Auth, CertificateUse, MethodRow, attachment};
use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::{SectionFields, SectionReader};
use crate::config::section::section;
use crate::config::value::{At, HeaderFields};
use crate::secret::Secret;

pub(super) const METHOD: MethodRow =
    MethodRow { name: "headers", certificate: CertificateUse::Allowed, keys: HeadersKeys::properties, read };

section! {
    struct HeadersKeys {
        /// Fields and their secret values.
        set: Vec<(At<HeaderName>, At<Secret>)> as HeaderFields<At<Secret>>,
    }
}

fn read(fields: &mut SectionFields<'_>, _: &Node, reader: &mut SectionReader<'_>) -> Result<Option<Auth>, Reported> {
    let HeadersKeys { set } = HeadersKeys::from_fields(fields, reader)?;
    let header = |(name, value)| attachment::header(name, String::new(), value, reader);
    let attachments: Result<Vec<_>, Reported> = set.into_iter().map(header).collect();
    Ok(Some(Auth::fixed(METHOD.name, attachments?)))
}
