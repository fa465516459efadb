//! What a static method puts on each request: a field, a query parameter or a cookie, with a value that is known.

use http::{HeaderName, header};

use super::{Auth, check_value};
use crate::config::diagnostic::Reported;
use crate::config::read::{SectionReader, Wrong};
use crate::config::value::{At, Span};
use crate::secret::Secret;

/// A method that puts the same on each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Static {
    /// What the config calls it.
    pub method: &'static str,
    /// Each takes another place.
    pub attachments: Vec<At<Attachment>>,
}

/// One place of a request, and what comes there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// `Authorization: Basic` (RFC 7617).
    Basic {
        /// Has no colon.
        username: String,
        /// Has no control character.
        password: Secret,
    },
    /// A field; prefix and value together can be sent in one.
    Header {
        /// The field.
        name: HeaderName,
        /// Put before the value as it is.
        prefix: String,
        /// The rest.
        value: Secret,
    },
    /// A query parameter.
    Query {
        /// As a form is decoded.
        name: String,
        /// Put before the value as it is.
        prefix: String,
        /// The rest.
        value: Secret,
    },
    /// A cookie; prefix and value together can be one (RFC 6265 §4.1.1).
    Cookie {
        /// The cookie.
        name: String,
        /// Put before the value as it is.
        prefix: String,
        /// The rest.
        value: Secret,
    },
}

impl Auth {
    /// A static method.
    pub(super) fn fixed(method: &'static str, attachments: Vec<At<Attachment>>) -> Self {
        Self::Static(Static { method, attachments })
    }
}

/// `Authorization: Basic`, written at `span`.
pub(super) fn basic(
    username: At<String>,
    password: At<Secret>,
    span: Span,
    reader: &mut SectionReader<'_>,
) -> Result<At<Attachment>, Reported> {
    if username.value.contains(':') {
        // RFC 7617 §2: what follows the first colon is the password.
        let wrong = Wrong::new("a user name for Basic has no colon");
        return Err(wrong.report(username.span, reader.report));
    }
    if password.value.expose().contains(char::is_control) {
        let wrong = Wrong::new("the password has a line break or another control character");
        return Err(wrong.report(password.span, reader.report));
    }
    Ok(At { value: Attachment::Basic { username: username.value, password: password.value }, span })
}

/// `Authorization: Bearer`, written at `span`.
pub(super) fn bearer(
    token: At<Secret>,
    span: Span,
    reader: &mut SectionReader<'_>,
) -> Result<At<Attachment>, Reported> {
    header(At { value: header::AUTHORIZATION, span }, "Bearer ".to_owned(), token, reader)
}

/// A field.
pub(super) fn header(
    name: At<HeaderName>,
    prefix: String,
    value: At<Secret>,
    reader: &mut SectionReader<'_>,
) -> Result<At<Attachment>, Reported> {
    check_value(&value, &prefix, reader)?;
    Ok(At { value: Attachment::Header { name: name.value, prefix, value: value.value }, span: name.span })
}

/// A query parameter.
pub(super) fn query(name: At<String>, prefix: String, value: At<Secret>) -> At<Attachment> {
    At { value: Attachment::Query { name: name.value, prefix, value: value.value }, span: name.span }
}

/// A cookie. Refuses what would end one early (RFC 6265 §4.1.1).
pub(super) fn cookie(
    name: At<String>,
    prefix: String,
    value: At<Secret>,
    reader: &mut SectionReader<'_>,
) -> Result<At<Attachment>, Reported> {
    let octet = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\');
    if HeaderName::from_bytes(name.value.as_bytes()).is_err() {
        return Err(Wrong::new("this is not the name of a cookie").report(name.span, reader.report));
    }
    if !prefix.bytes().chain(value.value.expose().bytes()).all(octet) {
        let wrong = Wrong::new("this can't be the value of a cookie").help("it has a space, `\"`, `,`, `;` or `\\`");
        return Err(wrong.report(value.span, reader.report));
    }
    Ok(At { value: Attachment::Cookie { name: name.value, prefix, value: value.value }, span: name.span })
}
