//! `headers`: fields with secret values.

use http::HeaderName;

use super::{Auth, Certificate, Method, attachment};
use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::{Fields, Reader};
use crate::config::section::section;
use crate::config::value::{At, HeaderFields};
use crate::secret::Secret;

pub(super) const METHOD: Method =
    Method { name: "headers", certificate: Certificate::Allowed, keys: Keys::properties, read };

section! {
    struct Keys {
        /// Fields and their secret values.
        set: Vec<(At<HeaderName>, At<Secret>)> as HeaderFields<At<Secret>>,
    }
}

fn read(fields: &mut Fields<'_>, _: &Node, reader: &mut Reader<'_>) -> Result<Option<Auth>, Reported> {
    let Keys { set } = Keys::from_fields(fields, reader)?;
    let header = |(name, value)| attachment::header(name, String::new(), value, reader);
    let attachments: Result<Vec<_>, Reported> = set.into_iter().map(header).collect();
    Ok(Some(Auth::fixed(METHOD.name, attachments?)))
}
