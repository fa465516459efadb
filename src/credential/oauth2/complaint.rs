//! What an endpoint says of a request that it did not grant, wherever it says it.
//!
//! RFC 6749 §5.2 knows two members. Gateways before endpoints, and endpoints older than the RFC, say it elsewhere, and it
//! is what a person needs to read: so it is looked for in all the places where one of them puts it, in the order in which
//! these are meant for people. Pure: nothing of it is shown before it has gone through `Spellings`.

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::spellings::Spellings;

/// What it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Complaint {
    /// One word, for programs: `invalid_client`.
    pub(super) code: Option<String>,
    /// For people.
    pub(super) words: Option<String>,
}

impl Complaint {
    /// Reads the answer's body, which may be anything, and what its head says beside it.
    pub(super) fn of(body: &[u8], fields: &HeaderMap, status: StatusCode, secrets: &Spellings) -> Self {
        let mut complaint = match serde_json::from_slice(without_mark(body)) {
            Ok(value @ (Value::Object(_) | Value::Array(_))) => Self::in_json(&value),
            // What says that all is well and is no JSON may be a token, in whatever clothes: it is shown to nobody.
            _ if status.is_success() && !is_page(body) => Self::default(),
            _ => Self { code: None, words: plain(body, secrets) },
        };
        if complaint.code.is_none() {
            complaint.code = challenge(fields, "error");
        }
        if complaint.words.is_none() {
            complaint.words = challenge(fields, "error_description");
        }
        complaint
    }

    fn in_json(value: &Value) -> Self {
        let error = value.get("error").or_else(|| value.get("Error")).filter(|error| !is_nothing(error));
        let (code, inside) = match error {
            Some(Value::String(code)) => (Some(code.clone()), None),
            // Google, Graph and many others: the error is an object of its own.
            Some(object @ Value::Object(_)) => (first_text(object, &CODES), first_text(object, &WORDS)),
            _ => (first_text(value, &["errorCode", "error_code", "code"]), None),
        };
        let fault = || {
            // Apigee.
            let fault = value.get("fault")?;
            first_text(fault, &["faultstring", "faultcode"])
        };
        let first_of_many = || match value.get("errors").unwrap_or(value).get(0)? {
            Value::String(text) if value.is_object() => Some(text.clone()),
            one => first_text(one, &WORDS),
        };
        let words = first_text(value, &WORDS).or(inside).or_else(fault).or_else(first_of_many);
        Self { words: words.filter(|words| code.as_ref() != Some(words)), code }
    }
}

/// Whether an `error` member says that there is none: some endpoints send one beside each token.
pub(super) fn is_nothing(error: &Value) -> bool {
    error.is_null() || error.as_str().is_some_and(|error| error.trim().is_empty())
}

/// Some endpoints begin their JSON by a byte order mark, which RFC 8259 §8.1 lets a reader pass over.
pub(super) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

fn first_text(object: &Value, members: &[&str]) -> Option<String> {
    members.iter().find_map(|member| match object.get(member)? {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

/// A body that is no JSON: its printable characters, or of a page those that a browser would show.
fn plain(body: &[u8], secrets: &Spellings) -> Option<String> {
    let text = String::from_utf8_lossy(without_mark(body));
    // Before anything is left out of it, which could leave a secret that is no longer recognized.
    let text = secrets.stripped(&text)?;
    let text = if is_page(body) { shown_of_page(&text) } else { text };
    let words: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let words: String = words.chars().filter(|char| !char.is_control() && *char != '\u{fffd}').collect();
    (!words.is_empty()).then_some(words)
}

fn is_page(body: &[u8]) -> bool {
    let begin = without_mark(body).trim_ascii_start();
    ["<!doctype html", "<html", "<head", "<body"]
        .iter()
        .any(|tag| begin.get(..tag.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(tag.as_bytes())))
}

/// What stands between the tags, without styles and scripts.
fn shown_of_page(page: &str) -> String {
    let mut shown = String::new();
    let mut hidden = None;
    for piece in page.split('<') {
        let Some((tag, text)) = piece.split_once('>') else { continue };
        let name = tag.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
        match &hidden {
            Some(closing) if name == *closing => hidden = None,
            Some(_) => continue,
            None if name == "style" || name == "script" => hidden = Some(format!("/{name}")),
            None => {}
        }
        if hidden.is_none() {
            shown.push(' ');
            shown.push_str(text);
        }
    }
    shown
}

/// A parameter of a challenge (RFC 6750 §3): `Bearer error="invalid_client", error_description="…"`.
fn challenge(fields: &HeaderMap, parameter: &str) -> Option<String> {
    let pattern = format!("{parameter}=\"");
    let values = fields.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    values.filter_map(|value| value.split_once(&pattern)?.1.split_once('"')).map(|(text, _)| text.to_owned()).next()
}

const CODES: [&str; 5] = ["code", "status", "type", "error", "errorCode"];
const WORDS: [&str; 12] = [
    "error_description",
    "message",
    "Message",
    "errorMessage",
    "error_message",
    "errorSummary",
    "ErrorDescription",
    "description",
    "detail",
    "title",
    "reason",
    "msg",
];

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(body: &[u8], fields: &HeaderMap, status: u16) -> Complaint {
        let status = StatusCode::from_u16(status).expect("a status");
        Complaint::of(body, fields, status, &Spellings::of(["long enough", "x-y<z>-zz"]))
    }

    #[track_caller]
    fn check(body: &str, code: Option<&str>, words: Option<&str>) {
        let complaint = of(body.as_bytes(), &HeaderMap::new(), 400);

        let expected = Complaint { code: code.map(str::to_owned), words: words.map(str::to_owned) };
        assert_eq!(complaint, expected, "{body}");
    }

    #[test]
    fn what_is_said_is_found_wherever_it_is_said() {
        check(r#"{"error":"invalid_client","error_description":"no"}"#, Some("invalid_client"), Some("no"));
        check(r#"{"error":"invalid_client"}"#, Some("invalid_client"), None);
        check("\u{feff}{\"error\":\"invalid_client\"}", Some("invalid_client"), None);
        check(r#"{"error":{"code":"401","message":"no"}}"#, Some("401"), Some("no"));
        check(r#"{"error":{"code":401,"message":"no","status":"UNAUTHENTICATED"}}"#, Some("401"), Some("no"));
        check(r#"{"error":{"type":"auth"},"message":"no"}"#, Some("auth"), Some("no"));
        check(r#"{"message":"no"}"#, None, Some("no"));
        check(r#"{"Message":"no"}"#, None, Some("no"));
        check(r#"{"Error":"no"}"#, Some("no"), None);
        check(r#"{"ErrorCode":"x","Error":"no"}"#, Some("no"), None);
        check(r#"{"fault":{"faultstring":"no","detail":{"errorcode":"x"}}}"#, None, Some("no"));
        check(r#"{"errorCode":"E1","errorSummary":"no"}"#, Some("E1"), Some("no"));
        check(r#"{"errors":[{"message":"no"},{"message":"nor"}]}"#, None, Some("no"));
        check(r#"{"errors":["no"]}"#, None, Some("no"));
        check(r#"[{"message":"no"}]"#, None, Some("no"));
        check(r#"{"title":"Unauthorized","detail":"no","status":401}"#, None, Some("no"));
        check(r#"{"error":"","message":"no"}"#, None, Some("no"));
        check(r#"{"error":null,"error_description":"no"}"#, None, Some("no"));
        check(r#"{"error":"no","error_description":"no"}"#, Some("no"), None);
        check("Unauthorized client\r\n", None, Some("Unauthorized client"));
        check("\"no\"", None, Some("\"no\""));
        check("not long  enough, not long enough", None, Some("not long enough, not ***"));
        check("{}", None, None);
        check("", None, None);
    }

    #[test]
    fn of_a_page_only_what_is_shown_counts() {
        let page = "<!DOCTYPE html><html><head><title>403</title><style>p { color: red }</style>\
             <script>if (1 < 2) alert()</script></head><body>\n<p>Access <b>denied</b></p></body></html>";

        check(page, None, Some("403 Access denied"));
    }

    #[test]
    fn a_secret_is_taken_out_before_anything_else_is() {
        check("<html>x-y<z>-zz!</html>", None, Some("***!"));
        check("<html>x-y&lt;z&gt;-zz!</html>", None, Some("***!"));
    }

    #[test]
    fn what_says_that_all_is_well_may_be_a_token() {
        for body in ["access_token=abc&token_type=bearer", "eyJh.eyJi.c", "\"abc\"", "[\"abc\"]", "<token>abc</token>"]
        {
            assert_eq!(of(body.as_bytes(), &HeaderMap::new(), 200), Complaint::default(), "{body}");
        }
        let page = of(b"<!DOCTYPE html>\n<title>Sign in</title>", &HeaderMap::new(), 200);
        assert_eq!(page.words.as_deref(), Some("Sign in"));
    }

    #[test]
    fn a_challenge_speaks_where_the_body_is_silent() {
        let mut fields = HeaderMap::new();
        let value = "Bearer realm=\"x\", error=\"invalid_token\", error_description=\"it is used up\"";
        fields.insert(WWW_AUTHENTICATE, HeaderValue::from_static(value));

        let complaint = of(b"", &fields, 401);

        assert_eq!(complaint.code.as_deref(), Some("invalid_token"));
        assert_eq!(complaint.words.as_deref(), Some("it is used up"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body: Vec<u8>) {
            of(&body, &HeaderMap::new(), 400);
        }

        #[test]
        fn no_page_makes_it_panic(page in "<(\\PC|[<>/ a-z])*") {
            of(format!("<html>{page}").as_bytes(), &HeaderMap::new(), 400);
        }
    }
}
