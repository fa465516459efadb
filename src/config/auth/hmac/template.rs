//! What is signed: text with placeholders, taken apart when it is read.

use http::HeaderName;

use crate::config::read::{FromText, Wrong};
use crate::config::suggest::nearest;

/// What is signed, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureTemplate(Vec<TemplatePart>);

/// A part of what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplatePart {
    /// As it is.
    Text(String),
    /// `{method}`.
    Method,
    /// `{path}`, as it is sent.
    Path,
    /// `{query}`, as it is sent, without `?`; empty if there is none.
    Query,
    /// `{host}`, as it is sent.
    Host,
    /// `{timestamp}`.
    Timestamp,
    /// `{nonce}`.
    Nonce,
    /// `{body_sha256}`, in lower-case hex; of nothing, if there is no body.
    BodySha256,
    /// `{header:content-length}`; empty if none is sent.
    ContentLength,
    /// `{header:NAME}`; empty if it is not sent.
    Header(HeaderName),
}

impl SignatureTemplate {
    /// Its parts.
    #[must_use]
    pub fn pieces(&self) -> &[TemplatePart] {
        &self.0
    }
}

impl FromText for SignatureTemplate {
    const WHAT: &'static str = "a template";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            let (piece, after) = match brace.get(..2) {
                Some(twice @ ("{{" | "}}")) => (TemplatePart::Text(twice[..1].to_owned()), &brace[2..]),
                _ => placeholder(brace)?,
            };
            pieces.extend([TemplatePart::Text(before.to_owned()), piece]);
            rest = after;
        }
        pieces.push(TemplatePart::Text(rest.to_owned()));
        pieces.retain(|piece| *piece != TemplatePart::Text(String::new()));
        if pieces.is_empty() {
            return Err(Wrong::new("the template is empty"));
        }
        Ok(Self(pieces))
    }

    fn placeholder() -> Self {
        Self(vec![TemplatePart::Method])
    }
}

/// The placeholder at the start of `text`, and what follows it.
fn placeholder(text: &str) -> Result<(TemplatePart, &str), Wrong> {
    let Some((name, after)) = text.strip_prefix('{').and_then(|open| open.split_once('}')) else {
        let side = if text.starts_with('}') { "`}` closes no placeholder" } else { "`{` opens no placeholder" };
        return Err(Wrong::new(side).help(HELP));
    };
    if let Some(name) = name.strip_prefix("header:") {
        return Ok((field(name)?, after));
    }
    match PLACEHOLDERS.iter().find(|(known, _)| *known == name) {
        Some((_, piece)) => Ok((piece.clone(), after)),
        None => Err(unknown(name)),
    }
}

fn field(name: &str) -> Result<TemplatePart, Wrong> {
    // Both are written by Sidekey itself, but what it will write is known.
    match name.to_ascii_lowercase().as_str() {
        "host" => Ok(TemplatePart::Host),
        "content-length" => Ok(TemplatePart::ContentLength),
        _ => HeaderName::from_text(name).map(TemplatePart::Header),
    }
}

fn unknown(name: &str) -> Wrong {
    let message = match nearest(name, PLACEHOLDERS.iter().map(|(known, _)| *known)) {
        Some(meant) => format!("this template has an unknown placeholder, did you mean `{{{meant}}}`?"),
        None => "this template has an unknown placeholder".to_owned(),
    };
    Wrong::new(message).help(HELP)
}

const PLACEHOLDERS: [(&str, TemplatePart); 7] = [
    ("method", TemplatePart::Method),
    ("path", TemplatePart::Path),
    ("query", TemplatePart::Query),
    ("host", TemplatePart::Host),
    ("timestamp", TemplatePart::Timestamp),
    ("nonce", TemplatePart::Nonce),
    ("body_sha256", TemplatePart::BodySha256),
];

const HELP: &str = "the placeholders are {method}, {path}, {query}, {host}, {timestamp}, {nonce}, {body_sha256} and \
                    {header:NAME}; a brace itself is written `{{` or `}}`";

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> TemplatePart {
        TemplatePart::Text(text.to_owned())
    }

    #[track_caller]
    fn check(template: &str, expected: Result<&[TemplatePart], &str>) {
        let read = SignatureTemplate::from_text(template).map_err(|wrong| wrong.message);

        assert_eq!(read.as_ref().map(SignatureTemplate::pieces).map_err(String::as_str), expected);
    }

    #[test]
    fn a_template_is_text_and_placeholders() {
        check("v1", Ok(&[text("v1")]));
        check("{method}\n{path}", Ok(&[TemplatePart::Method, text("\n"), TemplatePart::Path]));
        check("{query}{host}", Ok(&[TemplatePart::Query, TemplatePart::Host]));
        check(
            "a{timestamp}b{nonce}c",
            Ok(&[text("a"), TemplatePart::Timestamp, text("b"), TemplatePart::Nonce, text("c")]),
        );
        check("{body_sha256}", Ok(&[TemplatePart::BodySha256]));
        check("{header:X-Key}", Ok(&[TemplatePart::Header(HeaderName::from_static("x-key"))]));
        check("{header:Host}{header:Content-Length}", Ok(&[TemplatePart::Host, TemplatePart::ContentLength]));
    }

    #[test]
    fn a_brace_is_written_twice() {
        check("{{method}}", Ok(&[text("{"), text("method"), text("}")]));
        check("{{{method}}}", Ok(&[text("{"), TemplatePart::Method, text("}")]));
    }

    #[test]
    fn what_is_no_placeholder_is_refused() {
        check("{methd}", Err("this template has an unknown placeholder, did you mean `{method}`?"));
        check("{}", Err("this template has an unknown placeholder"));
        check("{body}", Err("this template has an unknown placeholder"));
        check("{method", Err("`{` opens no placeholder"));
        check("method}", Err("`}` closes no placeholder"));
        check("{header:}", Err("this is not the name of an HTTP field"));
        check("{header:te}", Err("`te` is written by Sidekey itself"));
        check("", Err("the template is empty"));
    }
}
