//! A folder's entries as the app gets them, piece by piece. Pure.

use http::HeaderMap;
use http::header::ACCEPT;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::entry::{EntryKind, Found};
use super::path::href;

/// In which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    /// A line of JSON each.
    Lines,
    /// An `href` a line.
    Text,
}

#[derive(Serialize)]
struct EntryJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    href: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
}

impl Form {
    /// What the app likes best of the three; JSON if it does not say.
    pub(crate) fn wanted(fields: &HeaderMap) -> Self {
        let accepted = fields.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut best = (Self::Json, 0.0);
        for range in accepted.flat_map(|list| list.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let form = match parts.next().map(str::to_ascii_lowercase).as_deref() {
                Some("application/json" | "*/*" | "application/*") => Self::Json,
                Some("application/x-ndjson") => Self::Lines,
                Some("text/plain" | "text/*") => Self::Text,
                _ => continue,
            };
            let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
            if quality > best.1 {
                best = (form, quality);
            }
        }
        best.0
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Lines => "application/x-ndjson",
            Self::Text => "text/plain; charset=utf-8",
        }
    }

    pub(crate) fn begin(self, out: &mut Vec<u8>) {
        if self == Self::Json {
            out.extend_from_slice(b"{\"entries\":[");
        }
    }

    /// `is_first`: of all of the listing.
    pub(crate) fn write(self, name: &[u8], found: &Found, is_first: bool, out: &mut Vec<u8>) {
        let href = href(name, found.kind == EntryKind::Folder);
        if self == Self::Text {
            out.extend_from_slice(href.as_bytes());
            return out.push(b'\n');
        }
        if self == Self::Json && !is_first {
            out.push(b',');
        }
        let entry = EntryJson {
            name: std::str::from_utf8(name).ok(),
            href,
            kind: match found.kind {
                EntryKind::File => "file",
                EntryKind::Folder => "directory",
                EntryKind::Link => "link",
                EntryKind::Other => "other",
            },
            size: found.version.size.filter(|_| found.kind == EntryKind::File),
            modified: found.version.modified.and_then(moment),
        };
        // Text and numbers are always written.
        drop(serde_json::to_writer(&mut *out, &entry));
        if self == Self::Lines {
            out.push(b'\n');
        }
    }

    pub(crate) fn end(self, out: &mut Vec<u8>) {
        if self == Self::Json {
            out.extend_from_slice(b"]}");
        }
    }
}

fn moment(seconds: i64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(seconds).ok()?.format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::super::conditions::FileVersion;
    use super::*;

    fn listed(form: Form) -> String {
        let file = Found { kind: EntryKind::File, version: FileVersion { size: Some(12), modified: Some(0) } };
        let folder = Found { kind: EntryKind::Folder, version: FileVersion { size: Some(4096), modified: None } };
        let mut out = Vec::new();
        form.begin(&mut out);
        form.write("a \"b\"".as_bytes(), &file, true, &mut out);
        form.write(b"\xE9", &folder, false, &mut out);
        form.end(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn entries_have_three_forms() {
        let file =
            r#"{"name":"a \"b\"","href":"a%20%22b%22","type":"file","size":12,"modified":"1970-01-01T00:00:00Z"}"#;
        let folder = r#"{"href":"%E9/","type":"directory"}"#;
        assert_eq!(listed(Form::Json), format!(r#"{{"entries":[{file},{folder}]}}"#));
        assert_eq!(listed(Form::Lines), format!("{file}\n{folder}\n"));
        assert_eq!(listed(Form::Text), "a%20%22b%22\n%E9/\n");
    }

    #[test]
    fn the_app_says_which_it_likes() {
        let wanted = |accept: &str| {
            let mut fields = HeaderMap::new();
            fields.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
            Form::wanted(&fields)
        };
        assert_eq!(Form::wanted(&HeaderMap::new()), Form::Json);
        assert_eq!(wanted("*/*"), Form::Json);
        assert_eq!(wanted("text/html, text/plain;q=0.5"), Form::Text);
        assert_eq!(wanted("text/plain;q=0.5, application/x-ndjson"), Form::Lines);
        assert_eq!(wanted("image/png"), Form::Json);
    }
}
