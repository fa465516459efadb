//! The only writer of our own answers, the admin port's included.

use std::fmt::Write as _;

use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, DATE, PROXY_AUTHENTICATE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};

use super::exchange::ExchangeRecord;
use super::{Error, ResponseBody, date};
use crate::code::Code;
#[cfg(feature = "files")]
use crate::files::FileErrorKind;

/// The body of a problem (RFC 9457).
#[derive(Debug, Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    service: &'a str,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// Tells the app why there is no answer of the service, in the words that the exchange has noted.
pub(super) fn answer(error: &Error, exchange: &ExchangeRecord) -> Response<ResponseBody> {
    let (code, detail) = (error.code(), exchange.detail());
    let mut answer = if exchange.wants_grpc() {
        for_grpc(code, detail)
    } else {
        for_http(code, error.status(), detail, exchange.service(), Map::new())
    };
    let fields = answer.headers_mut();
    explain(fields, code);
    #[cfg(feature = "files")]
    match error.file_error().map(|error| error.kind) {
        Some(FileErrorKind::Method) => drop(fields.insert(ALLOW, HeaderValue::from_static(crate::files::ALLOWED))),
        Some(FileErrorKind::Range { size }) => {
            if let Ok(range) = HeaderValue::try_from(format!("bytes */{size}")) {
                fields.insert(http::header::CONTENT_RANGE, range);
            }
        }
        _ => {}
    }
    proxy_status(fields, code);
    #[cfg(feature = "openpgp")]
    if let Error::OnlyPost { .. } = error {
        fields.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    if let Some(seconds) = error.retry_after() {
        fields.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if exchange.method() == Method::HEAD {
        *answer.body_mut() = ResponseBody::whole("");
    }
    answer
}

/// Answers with a problem outside of any exchange: a request too broken to parse, a head that came too slowly.
pub(crate) fn bare(code: Code, detail: &str) -> Response<ResponseBody> {
    let mut answer = for_http(code, code.status(), detail, "", Map::new());
    explain(answer.headers_mut(), code);
    proxy_status(answer.headers_mut(), code);
    answer
}

/// The same to a gRPC client, which reads nothing else.
pub(super) fn bare_for_grpc(code: Code, detail: &str) -> Response<ResponseBody> {
    let mut answer = for_grpc(code, detail);
    proxy_status(answer.headers_mut(), code);
    answer
}

/// Answers with a problem on the admin port, which is no proxy and says nothing of one.
///
/// `more` are members of the problem beside its own.
pub(crate) fn admin(code: Code, detail: &str, more: Map<String, Value>) -> Response<ResponseBody> {
    for_http(code, code.status(), detail, "", more)
}

/// Answers an `OPTIONS` that asks about Sidekey itself (RFC 9110 §9.3.7).
pub(super) fn options() -> Response<ResponseBody> {
    let mut answer = Response::new(ResponseBody::whole(""));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let fields = answer.headers_mut();
    fields.insert(ALLOW, HeaderValue::from_static(CARRIED));
    fields.insert(DATE, date::now());
    answer
}

/// Answers an `OPTIONS` that asks about a file: what its server can do is no matter of one file.
#[cfg(feature = "files")]
pub(super) fn file_options() -> Response<ResponseBody> {
    let mut answer = options();
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(crate::files::ALLOWED));
    answer
}

fn for_http(
    code: Code,
    status: StatusCode,
    detail: &str,
    service: &str,
    more: Map<String, Value>,
) -> Response<ResponseBody> {
    let r#type = format!("urn:sidekey:error:{}", code.word());
    let problem = Problem { r#type, title: code.title(), status: status.as_u16(), detail, service, more };
    let mut json = Vec::with_capacity(PROBLEM_BYTES + detail.len() + service.len());
    if serde_json::to_writer(&mut json, &problem).is_err() {
        // Nothing in it can fail to be written; the status would say the most of it even then.
        json.clear();
    }
    let length = json.len();
    let mut answer = Response::new(ResponseBody::whole(json));
    *answer.status_mut() = status;
    let fields = answer.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    fields.insert(DATE, date::now());
    answer
}

/// A trailers-only answer: the client looks at `grpc-status` alone.
fn for_grpc(code: Code, detail: &str) -> Response<ResponseBody> {
    let mut answer = Response::new(ResponseBody::whole(""));
    let fields = answer.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    fields.insert(&GRPC_STATUS, HeaderValue::from_static(grpc_status(code.status())));
    fields.insert(&GRPC_MESSAGE, grpc_message(code, detail));
    fields.insert(DATE, date::now());
    answer
}

/// gRPC's own mapping of HTTP statuses, as its clients apply it to proxies that know no gRPC.
fn grpc_status(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "13",
        401 => "16",
        403 => "7",
        404 => "12",
        429 | 502 | 503 | 504 => "14",
        _ => "2",
    }
}

/// Percent-encoded, as gRPC's HTTP/2 protocol wants it.
fn grpc_message(code: Code, detail: &str) -> HeaderValue {
    let mut message = format!("{}: ", code.word());
    for byte in detail.bytes() {
        match byte {
            b'%' | 0x00..=0x1f | 0x7f.. => {
                // Writing to a `String` can't fail.
                let _ = write!(message, "%{byte:02X}");
            }
            _ => message.push(char::from(byte)),
        }
    }
    HeaderValue::try_from(message).unwrap_or_else(|_| HeaderValue::from_static(code.word()))
}

/// The fields that a status asks for.
fn explain(fields: &mut HeaderMap, code: Code) {
    match code {
        Code::MethodNotAllowed => {
            fields.insert(ALLOW, HeaderValue::from_static(CARRIED));
        }
        Code::Unauthorized => {
            // No `Basic`: a browser would ask its user for it, keep it, and show it for any page.
            fields.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Code::ProxyAuthenticationRequired => {
            fields.append(PROXY_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"sidekey\", charset=\"UTF-8\""));
            fields.append(PROXY_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sidekey\""));
        }
        _ => {}
    }
}

/// RFC 9209.
fn proxy_status(fields: &mut HeaderMap, code: Code) {
    let Some(error) = code.proxy_status() else { return };
    if let Ok(value) = HeaderValue::try_from(format!("sidekey; error={error}")) {
        fields.insert(&PROXY_STATUS, value);
    }
}

/// What most problems have beside what happened.
const PROBLEM_BYTES: usize = 192;

static PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
static GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Every method but `CONNECT` and `TRACE`; these are the ones that have names.
const CARRIED: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    /// The head's fields but `date`, sorted, then the body.
    async fn text(answer: Response<ResponseBody>) -> String {
        let (mut head, body) = answer.into_parts();
        head.headers.remove(DATE).expect("every answer of ours has a date");
        let mut fields: Vec<_> =
            head.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        fields.sort();
        let body = body.collect().await.unwrap().to_bytes();
        format!("{}\n{}\n\n{}", head.status, fields.join("\n"), String::from_utf8_lossy(&body))
    }

    #[tokio::test]
    async fn a_problem_says_what_happened_in_the_body_and_to_proxies() {
        let answer = bare(Code::HeadersTooLarge, "the request's head is over `limits.header_size`");

        insta::assert_snapshot!(text(answer).await, @r#"
        431 Request Header Fields Too Large
        content-length: 151
        content-type: application/problem+json
        proxy-status: sidekey; error=http_request_error

        {"type":"urn:sidekey:error:headers_too_large","title":"Request head too large","status":431,"detail":"the request's head is over `limits.header_size`"}
        "#);
    }

    #[tokio::test]
    async fn the_service_is_named_where_there_is_one() {
        insta::assert_snapshot!(text(for_http(Code::DnsError, Code::DnsError.status(), "no such name", "payments", Map::new())).await, @r#"
        502 Bad Gateway
        content-length: 126
        content-type: application/problem+json

        {"type":"urn:sidekey:error:dns_error","title":"Name look-up failed","status":502,"detail":"no such name","service":"payments"}
        "#);
    }

    #[tokio::test]
    async fn a_refused_method_says_which_are_carried() {
        insta::assert_snapshot!(text(bare(Code::MethodNotAllowed, "TRACE is not carried")).await, @r#"
        405 Method Not Allowed
        allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS
        content-length: 121
        content-type: application/problem+json
        proxy-status: sidekey; error=http_request_denied

        {"type":"urn:sidekey:error:method_not_allowed","title":"Method not allowed","status":405,"detail":"TRACE is not carried"}
        "#);
    }

    #[tokio::test]
    async fn a_missing_token_is_asked_for_in_both_schemes() {
        insta::assert_snapshot!(text(bare(Code::ProxyAuthenticationRequired, "send it")).await, @r#"
        407 Proxy Authentication Required
        content-length: 130
        content-type: application/problem+json
        proxy-authenticate: Basic realm="sidekey", charset="UTF-8"
        proxy-authenticate: Bearer realm="sidekey"
        proxy-status: sidekey; error=http_request_denied

        {"type":"urn:sidekey:error:proxy_authentication_required","title":"Proxy authentication required","status":407,"detail":"send it"}
        "#);
    }

    #[tokio::test]
    async fn in_origin_form_a_missing_token_is_asked_for_without_basic() {
        insta::assert_snapshot!(text(bare(Code::Unauthorized, "send it")).await, @r#"
        401 Unauthorized
        content-length: 96
        content-type: application/problem+json
        proxy-status: sidekey; error=http_request_denied
        www-authenticate: Bearer

        {"type":"urn:sidekey:error:unauthorized","title":"Unauthorized","status":401,"detail":"send it"}
        "#);
    }

    #[tokio::test]
    async fn the_admin_port_says_nothing_of_a_proxy() {
        for code in [Code::Unauthorized, Code::Forbidden, Code::NotFound, Code::BadRequest] {
            assert!(!text(admin(code, "no", Map::new())).await.contains("proxy-status"), "{}", code.word());
        }
    }

    #[tokio::test]
    async fn a_grpc_client_gets_a_status_of_its_own_and_no_body() {
        insta::assert_snapshot!(text(for_grpc(Code::TokenUnavailable, "100 % \"sure\", größer\n")).await, @r#"
        200 OK
        content-type: application/grpc
        grpc-message: token_unavailable: 100 %25 "sure", gr%C3%B6%C3%9Fer%0A
        grpc-status: 14
        "#);
    }

    #[test]
    fn every_status_has_its_grpc_counterpart() {
        let unavailable = Code::ALL.into_iter().filter(|code| grpc_status(code.status()) == "14").map(Code::word);

        assert_eq!(
            unavailable.collect::<Vec<_>>(),
            [
                "rate_limited",
                "token_rejected",
                "token_unavailable",
                "credential_unavailable",
                "dns_error",
                "dns_timeout",
                "connection_refused",
                "connection_terminated",
                "connection_timeout",
                "tls_certificate_error",
                "tls_alert_received",
                "tls_protocol_error",
                "http_protocol_error",
                "http_response_incomplete",
                "http_response_timeout",
                "http_upgrade_failed",
                "decrypt_failed",
                "overloaded",
                "file_error",
                "login_rejected",
                "host_key_mismatch",
                "not_ready"
            ]
        );
        let mapped = [400, 401, 403, 404, 405, 500].map(|status| grpc_status(StatusCode::from_u16(status).unwrap()));
        assert_eq!(mapped, ["13", "16", "7", "12", "2", "2"]);
    }
}
