//! `api_key`: a key in a field, a query parameter or a cookie.

use http::HeaderName;

use super::{AnyText, Auth, CertificateUse, MethodRow, attachment};
use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::{SectionFields, SectionReader, Wrong};
use crate::config::secret_value::KeySecret;
use crate::config::section::section;
use crate::config::value::At;
use crate::secret::Secret;

pub(super) const METHOD: MethodRow =
    MethodRow { name: "api_key", certificate: CertificateUse::Allowed, keys: ApiKeyKeys::properties, read };

section! {
    struct ApiKeyKeys {
        /// The key.
        key: At<Secret> as At<KeySecret>,
        /// The field that carries the key.
        header: Option<At<HeaderName>> = None,
        /// The query parameter that carries the key.
        query: Option<At<String>> = None,
        /// The cookie that carries the key.
        cookie: Option<At<String>> = None,
        /// Put before the key as written, no space added.
        prefix: String as AnyText = String::new(),
    }
}

fn read(fields: &mut SectionFields<'_>, node: &Node, reader: &mut SectionReader<'_>) -> Result<Option<Auth>, Reported> {
    let ApiKeyKeys { key, header, query, cookie, prefix } = ApiKeyKeys::from_fields(fields, reader)?;
    let written = ["header", "query", "cookie"].iter().filter(|key| node.entry(key).is_some()).count();
    if written != 1 {
        let wrong = Wrong::new("an API key goes to exactly one place");
        return Err(wrong.help("write one of `header`, `query` and `cookie`").report(node.span, reader.report));
    }
    let attachment = match (header, query, cookie) {
        (Some(name), ..) => attachment::header(name, prefix, key, reader)?,
        (_, Some(name), _) => attachment::query(name, prefix, key),
        (.., Some(name)) => attachment::cookie(name, prefix, key, reader)?,
        // The one that is written could not be read.
        (None, None, None) => return Err(Reported),
    };
    Ok(Some(Auth::fixed(METHOD.name, vec![attachment])))
}
