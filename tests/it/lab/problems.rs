//! The table of our own answers, as the users' documentation has it.

use super::client::Answer;

/// Code, status, and the `error` of `Proxy-Status`.
const TABLE: [(&str, u16, &str); 38] = [
    ("bad_request", 400, "http_request_error"),
    ("forbidden", 403, "http_request_denied"),
    ("no_route", 404, "destination_not_found"),
    ("method_not_allowed", 405, "http_request_denied"),
    ("proxy_authentication_required", 407, "http_request_denied"),
    ("unauthorized", 401, "http_request_denied"),
    ("request_timeout", 408, "http_request_error"),
    ("body_too_large", 413, "http_request_error"),
    ("rate_limited", 429, "http_request_error"),
    ("headers_too_large", 431, "http_request_error"),
    ("not_implemented", 501, "http_request_error"),
    ("token_rejected", 502, "proxy_configuration_error"),
    ("token_unavailable", 503, "destination_unavailable"),
    ("credential_unavailable", 503, "proxy_configuration_error"),
    ("dns_error", 502, "dns_error"),
    ("connection_refused", 502, "connection_refused"),
    ("connection_terminated", 502, "connection_terminated"),
    ("tls_certificate_error", 502, "tls_certificate_error"),
    ("tls_alert_received", 502, "tls_alert_received"),
    ("tls_protocol_error", 502, "tls_protocol_error"),
    ("http_protocol_error", 502, "http_protocol_error"),
    ("http_response_incomplete", 502, "http_response_incomplete"),
    ("decrypt_failed", 502, "http_response_incomplete"),
    ("overloaded", 503, "connection_limit_reached"),
    ("file_not_found", 404, "http_request_denied"),
    ("file_forbidden", 403, "http_request_denied"),
    ("file_conflict", 409, "http_request_denied"),
    ("precondition_failed", 412, "http_request_denied"),
    ("range_not_satisfiable", 416, "http_request_denied"),
    ("file_no_space", 507, "http_response_incomplete"),
    ("file_unsupported", 501, "http_response_incomplete"),
    ("file_error", 502, "http_response_incomplete"),
    ("login_rejected", 502, "proxy_configuration_error"),
    ("host_key_mismatch", 502, "tls_certificate_error"),
    ("connection_timeout", 504, "connection_timeout"),
    ("http_response_timeout", 504, "http_response_timeout"),
    ("dns_timeout", 504, "dns_timeout"),
    ("proxy_loop_detected", 508, "proxy_loop_detected"),
];

/// Words of the admin port alone, which sends no `Proxy-Status`.
const ADMIN: [(&str, u16); 4] = [("not_found", 404), ("conflict", 409), ("config_invalid", 422), ("not_ready", 503)];

/// Checks that `answer` is our own with this code, and returns its `detail`.
#[track_caller]
pub fn check(answer: &Answer, code: &str) -> String {
    let (_, status, error) = TABLE.into_iter().find(|row| row.0 == code).unwrap_or_else(|| panic!("{code}?"));
    let detail = check_problem(answer, code, status);
    let proxy_status = answer.field("proxy-status").unwrap_or_default();
    assert!(proxy_status.starts_with(&format!("sidekey; error={error}")), "{proxy_status:?} of {answer:?}");
    detail
}

/// As [`check`], on the admin port.
#[track_caller]
pub fn check_admin(answer: &Answer, code: &str) -> String {
    let shared = TABLE.into_iter().map(|(code, status, _)| (code, status));
    let (_, status) = ADMIN.into_iter().chain(shared).find(|row| row.0 == code).unwrap_or_else(|| panic!("{code}?"));
    assert_eq!(answer.field("proxy-status"), None, "{answer:?}");
    check_problem(answer, code, status)
}

#[track_caller]
fn check_problem(answer: &Answer, code: &str, status: u16) -> String {
    assert_eq!(answer.field("content-type").as_deref(), Some("application/problem+json"), "{answer:?}");
    let problem = answer.json();
    assert_eq!(problem["type"], format!("urn:sidekey:error:{code}"), "{problem}");
    assert_eq!((answer.status, problem["status"].as_u64()), (status, Some(status.into())), "{problem}");
    assert!(!problem["title"].as_str().unwrap_or_default().is_empty(), "{problem}");
    let detail = problem["detail"].as_str().unwrap_or_default().to_owned();
    assert!(!detail.is_empty(), "a detail says what to do: {problem}");
    detail
}
