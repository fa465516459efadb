//! From an issuer's metadata (RFC 8414 §3.2, OpenID Connect Discovery §4.2) to its token endpoint.
//!
//! Pure and bounded, as `answer` is: it reads what a stranger wrote, and says where our credentials go.

use std::borrow::Cow;

use http::StatusCode;
use http::header::LOCATION;
use serde::Deserialize;
use serde_json::Value;

use super::answer::{TokenAnswer, is_compressed, object, readable};
use super::spellings::Spellings;
use crate::config::{Scheme, Url};

/// What of an issuer's metadata means something to us.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) token_endpoint: Url,
    /// How clients may authenticate there; `None`: it does not say.
    pub(super) auth_methods: Option<Vec<String>>,
}

/// What a document is held against.
pub(super) struct Expected<'a> {
    /// As it is written in the config.
    pub(super) issuer: &'a str,
    pub(super) scheme: Scheme,
    /// Whether a plain endpoint of another machine will do.
    pub(super) plaintext: bool,
    /// Whether the endpoint is shown a certificate.
    pub(super) certificate: bool,
}

/// Why a document says nothing that we could use.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum MetadataError {
    /// There is none here.
    Absent,
    /// What is here can't be read, now.
    Unusable(String),
    /// It says what must not be followed: somebody must change the config, or the document.
    Wrong(String, Cow<'static, str>),
}

/// Reads what was found at one of the places where an issuer may have its metadata.
pub(super) fn read(answer: &TokenAnswer<'_>, expected: &Expected<'_>) -> Result<Metadata, MetadataError> {
    match answer.status.as_u16() {
        200 => {}
        408 | 429 => return Err(unusable(answer.status, "")),
        400..=499 => return Err(MetadataError::Absent),
        300..=399 => return Err(redirected(answer)),
        _ => return Err(unusable(answer.status, "")),
    }
    let document: Option<Document> = readable(answer).and_then(object);
    let document = document.ok_or_else(|| match answer {
        TokenAnswer { body: None, .. } => unusable(answer.status, " with more than 64 KiB"),
        TokenAnswer { fields, .. } if is_compressed(fields) => unusable(answer.status, " compressed"),
        _ => unusable(answer.status, " with something that is no metadata in JSON"),
    })?;
    expect_issuer(&document, expected)?;
    let token_endpoint = token_endpoint(&document, expected)?;
    Ok(Metadata { token_endpoint, auth_methods: auth_methods(document.token_endpoint_auth_methods_supported) })
}

/// The members that mean something to us; of any kind, so that an odd one is judged by itself.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    issuer: Value,
    token_endpoint: Value,
    token_endpoint_auth_methods_supported: Value,
    mtls_endpoint_aliases: Value,
}

/// One issuer must not speak for another (RFC 8414 §3.3).
fn expect_issuer(document: &Document, expected: &Expected<'_>) -> Result<(), MetadataError> {
    match document.issuer.as_str() {
        Some(issuer) if issuer == expected.issuer => Ok(()),
        Some(issuer) => {
            let what = format!("has the metadata of the issuer `{}`, not of `{}`", quote(issuer), expected.issuer);
            Err(MetadataError::Wrong(what, cure(issuer, document, expected)))
        }
        None => Err(MetadataError::Wrong("has metadata that name no `issuer`".to_owned(), HELP_TOKEN_URL.into())),
    }
}

/// What to do about metadata of another issuer. To write that one in the config is a cure only where its metadata are looked
/// for in the same place: those of a parent path, of `http`, or of a name with a placeholder would not be found there.
fn cure(found: &str, document: &Document, expected: &Expected<'_>) -> Cow<'static, str> {
    if found.contains(['{', '}']) {
        return "they are of any tenant: name yours in `issuer`, or set `token_url` instead of it".into();
    }
    let place = |issuer: &str| {
        let Url { scheme, authority, mut path, .. } = Url::endpoint(issuer)?;
        if path.ends_with('/') {
            path.pop();
        }
        Some((scheme, authority, path))
    };
    let ours = place(expected.issuer);
    if place(found).is_some_and(|theirs| Some(theirs) == ours) {
        return "write `issuer` exactly as its metadata does".into();
    }
    // Only one that is of the host that was named: what another host's metadata say is no reason to send a secret there.
    let named = document.token_endpoint.as_str().filter(|endpoint| {
        let theirs = Url::endpoint(endpoint).map(|url| (url.scheme, url.authority));
        theirs.is_some() && theirs == ours.map(|(scheme, authority, _)| (scheme, authority))
    });
    match named {
        Some(endpoint) => format!("set `token_url: {}` instead of `issuer`", quote(endpoint)).into(),
        None => HELP_TOKEN_URL.into(),
    }
}

fn token_endpoint(document: &Document, expected: &Expected<'_>) -> Result<Url, MetadataError> {
    // RFC 8705 §5: a client with a certificate goes where one is asked for.
    let alias = document.mtls_endpoint_aliases.get("token_endpoint").filter(|_| expected.certificate);
    let Some(named) = alias.unwrap_or(&document.token_endpoint).as_str() else {
        return Err(MetadataError::Wrong(
            "names no `token_endpoint` in its metadata".to_owned(),
            HELP_TOKEN_URL.into(),
        ));
    };
    let Some(url) = Url::endpoint(named) else {
        let what = format!("names a `token_endpoint` that can't be asked: `{}`", quote(named));
        return Err(MetadataError::Wrong(what, HELP_TOKEN_URL.into()));
    };
    let downgrade = expected.scheme == Scheme::Https && url.scheme == Scheme::Http;
    if downgrade || (url.is_exposed() && !expected.plaintext) {
        let what = format!("names a `token_endpoint` without TLS: `{}`", quote(named));
        let help = "credentials are not sent there; set `token_url` instead of `issuer`";
        return Err(MetadataError::Wrong(what, help.into()));
    }
    Ok(url)
}

fn auth_methods(value: Value) -> Option<Vec<String>> {
    let Value::Array(methods) = value else { return None };
    Some(methods.iter().filter_map(Value::as_str).map(quote).collect())
}

/// Where it leads to is told: it may well be the issuer that should be in the config.
fn redirected(answer: &TokenAnswer<'_>) -> MetadataError {
    let target = answer.fields.get(LOCATION).map(|target| String::from_utf8_lossy(target.as_bytes()));
    let target = target.map(|target| format!(", a redirect to {}", quote(&target))).unwrap_or_default();
    unusable(answer.status, &format!("{target}, and redirects are not followed"))
}

fn unusable(status: StatusCode, more: &str) -> MetadataError {
    MetadataError::Unusable(format!("answered {}{more}", status.as_u16()))
}

/// No secret of ours was sent for a document, so none can be in it.
fn quote(text: &str) -> String {
    Spellings::of([]).quote(text, LONGEST_QUOTE)
}

const HELP_TOKEN_URL: &str = "set `token_url` instead of `issuer`";
const LONGEST_QUOTE: usize = 200;

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://idp.example/realms/x";

    fn expected() -> Expected<'static> {
        Expected { issuer: ISSUER, scheme: Scheme::Https, plaintext: false, certificate: false }
    }

    fn answered(status: u16, body: &[u8], expected: &Expected<'_>) -> Result<Metadata, MetadataError> {
        let status = StatusCode::from_u16(status).expect("a status");
        read(&TokenAnswer { status, fields: &HeaderMap::new(), body: Some(body) }, expected)
    }

    #[track_caller]
    fn check_endpoint(document: &Value, expected: &Expected<'_>, endpoint: &str) {
        let metadata = answered(200, document.to_string().as_bytes(), expected).expect("metadata");

        assert_eq!(metadata.token_endpoint.to_string(), endpoint, "{document}");
    }

    #[track_caller]
    fn check_wrong(document: &Value, expected: &Expected<'_>, text: &str) {
        let unfit = answered(200, document.to_string().as_bytes(), expected).expect_err("nothing to follow");

        let MetadataError::Wrong(what, help) = unfit else { panic!("{unfit:?}") };
        assert_eq!(format!("{what}; {help}"), text, "{document}");
    }

    #[test]
    fn the_token_endpoint_is_the_one_that_is_named() {
        let document = json!({ "issuer": ISSUER, "token_endpoint": "https://tokens.example:8443/t?v=1" });
        check_endpoint(&document, &expected(), "https://tokens.example:8443/t?v=1");
    }

    #[test]
    fn a_client_with_a_certificate_goes_to_the_alias_where_there_is_one() {
        let named = json!({ "issuer": ISSUER, "token_endpoint": "https://idp.example/t" });
        let mut aliased = named.clone();
        aliased["mtls_endpoint_aliases"] = json!({ "token_endpoint": "https://mtls.idp.example/t" });
        let with_certificate = Expected { certificate: true, ..expected() };

        check_endpoint(&aliased, &expected(), "https://idp.example/t");
        check_endpoint(&aliased, &with_certificate, "https://mtls.idp.example/t");
        check_endpoint(&named, &with_certificate, "https://idp.example/t");
        aliased["mtls_endpoint_aliases"] = json!({ "revocation_endpoint": "https://mtls.idp.example/r" });
        check_endpoint(&aliased, &with_certificate, "https://idp.example/t");
        aliased["mtls_endpoint_aliases"] = json!({ "token_endpoint": 1 });
        let text = "names no `token_endpoint` in its metadata; set `token_url` instead of `issuer`";
        check_wrong(&aliased, &with_certificate, text);
    }

    #[test]
    fn an_issuer_is_compared_byte_for_byte() {
        let check = |other: &str, endpoint: &str, cure: &str| {
            let document = json!({ "issuer": other, "token_endpoint": endpoint });
            let text = format!("has the metadata of the issuer `{other}`, not of `{ISSUER}`; {cure}");
            check_wrong(&document, &expected(), &text);
        };
        let endpoint = "https://idp.example/t";
        for same in
            ["https://idp.example/realms/x/", "https://IDP.example/realms/x", "https://idp.example:443/realms/x"]
        {
            check(same, endpoint, "write `issuer` exactly as its metadata does");
        }
        let cure = "set `token_url: https://idp.example/t` instead of `issuer`";
        for other in ["https://idp.example", "http://idp.example/realms/x", "https://idp.example/realms/y", "idp", ""] {
            check(other, endpoint, cure);
        }
        let cure = "set `token_url` instead of `issuer`";
        for elsewhere in ["https://evil.example/t", "http://idp.example/t", "https://idp.example:8443/t", "/t"] {
            check("https://idp.example", elsewhere, cure);
        }
        let cure = "they are of any tenant: name yours in `issuer`, or set `token_url` instead of it";
        check("https://idp.example/{tenantid}/v2.0", endpoint, cure);
        let nameless = json!({ "token_endpoint": "https://idp.example/t" });
        let text = "has metadata that name no `issuer`; set `token_url` instead of `issuer`";
        check_wrong(&nameless, &expected(), text);
    }

    #[test]
    fn no_credential_goes_to_a_place_without_tls() {
        let document = |endpoint: &str| json!({ "issuer": ISSUER, "token_endpoint": endpoint });
        let plain = |plaintext| Expected { scheme: Scheme::Http, plaintext, ..expected() };
        let refused = |endpoint: &str| {
            format!(
                "names a `token_endpoint` without TLS: `{endpoint}`; \
                 credentials are not sent there; set `token_url` instead of `issuer`"
            )
        };

        for endpoint in ["http://idp.example/t", "http://127.0.0.1/t"] {
            check_wrong(&document(endpoint), &expected(), &refused(endpoint));
        }
        let allowed = Expected { plaintext: true, ..expected() };
        check_wrong(&document("http://idp.example/t"), &allowed, &refused("http://idp.example/t"));
        check_wrong(&document("http://idp.example/t"), &plain(false), &refused("http://idp.example/t"));
        check_endpoint(&document("http://127.0.0.1/t"), &plain(false), "http://127.0.0.1/t");
        check_endpoint(&document("http://idp.example/t"), &plain(true), "http://idp.example/t");
        check_endpoint(&document("https://idp.example/t"), &plain(false), "https://idp.example/t");
    }

    #[test]
    fn an_endpoint_that_is_no_url_is_refused() {
        for endpoint in ["/token", "ftp://idp.example/t", "https://u:p@idp.example/t", "https://idp.example/t#f"] {
            let document = json!({ "issuer": ISSUER, "token_endpoint": endpoint });
            let text = format!(
                "names a `token_endpoint` that can't be asked: `{endpoint}`; set `token_url` instead of `issuer`"
            );
            check_wrong(&document, &expected(), &text);
        }
    }

    #[track_caller]
    fn check_unfit(status: u16, body: &[u8], unfit: MetadataError) {
        assert_eq!(answered(status, body, &expected()), Err(unfit), "{status}");
    }

    #[test]
    fn what_is_no_document_is_none() {
        let unusable = |what: &str| MetadataError::Unusable(what.to_owned());
        for status in [400, 401, 403, 404, 405, 410] {
            check_unfit(status, b"{}", MetadataError::Absent);
        }
        check_unfit(200, b"<html>", unusable("answered 200 with something that is no metadata in JSON"));
        check_unfit(200, b"[]", unusable("answered 200 with something that is no metadata in JSON"));
        check_unfit(302, b"", unusable("answered 302, and redirects are not followed"));
        let moved = HeaderMap::from_iter([(LOCATION, HeaderValue::from_static("https://idp.example/x"))]);
        let redirect = TokenAnswer { status: StatusCode::FOUND, fields: &moved, body: Some(b"") };
        let told = "answered 302, a redirect to https://idp.example/x, and redirects are not followed";
        assert_eq!(read(&redirect, &expected()), Err(unusable(told)));
        check_unfit(429, b"", unusable("answered 429"));
        check_unfit(503, b"", unusable("answered 503"));
        let long = TokenAnswer { status: StatusCode::OK, fields: &HeaderMap::new(), body: None };
        assert_eq!(read(&long, &expected()), Err(unusable("answered 200 with more than 64 KiB")));
    }

    #[test]
    fn it_says_how_clients_may_authenticate_if_it_does() {
        let methods = |methods: Value| {
            let document = json!({
                "issuer": ISSUER, "token_endpoint": "https://idp.example/t",
                "token_endpoint_auth_methods_supported": methods,
            });
            answered(200, document.to_string().as_bytes(), &expected()).expect("metadata").auth_methods
        };

        assert_eq!(methods(json!(["none", 1, "private_key_jwt"])), Some(vec!["none".into(), "private_key_jwt".into()]));
        assert_eq!(methods(json!("none")), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(status in 100_u16..1000, body: Vec<u8>) {
            answered(status, &body, &expected()).ok();
        }

        #[test]
        fn no_endpoint_makes_it_panic(endpoint in "\\PC{0,40}") {
            let document = json!({ "issuer": ISSUER, "token_endpoint": endpoint });
            answered(200, document.to_string().as_bytes(), &expected()).ok();
        }
    }
}
