//! The words of our own answers: each with its HTTP status and its `Proxy-Status` error (RFC 9209).
//!
//! This is the table of `docs/errors.md`, and nothing else: which failure gets which word is decided where the
//! failure is known, in each room's own error type.

use http::StatusCode;

/// What went wrong, in one word that users, logs and metrics share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Code {
    BadRequest,
    Forbidden,
    NoRoute,
    MethodNotAllowed,
    ProxyAuthenticationRequired,
    RequestTimeout,
    BodyTooLarge,
    RateLimited,
    HeadersTooLarge,
    InternalError,
    NotImplemented,
    ProxyLoopDetected,
    TokenRejected,
    TokenUnavailable,
    CredentialUnavailable,
    DnsError,
    DnsTimeout,
    ConnectionRefused,
    ConnectionTerminated,
    ConnectionTimeout,
    TlsCertificateError,
    TlsAlertReceived,
    TlsProtocolError,
    HttpProtocolError,
    HttpResponseIncomplete,
    HttpResponseTimeout,
    HttpUpgradeFailed,
    DecryptFailed,
    Overloaded,
    FileNotFound,
    FileForbidden,
    FileConflict,
    PreconditionFailed,
    RangeNotSatisfiable,
    FileNoSpace,
    FileUnsupported,
    FileError,
    LoginRejected,
    HostKeyMismatch,
    Unauthorized,
    NotFound,
    Conflict,
    ConfigInvalid,
    NotReady,
}

impl Code {
    /// Whether the status page lists such an answer: somebody has to do something about it.
    pub(crate) fn is_news(self) -> bool {
        let is_a_missing_token = matches!(self, Self::ProxyAuthenticationRequired | Self::Unauthorized);
        self.status().is_server_error() || is_a_missing_token
    }

    /// Every code, in the order of the table.
    pub(crate) const ALL: [Self; 44] = [
        Self::BadRequest,
        Self::Forbidden,
        Self::NoRoute,
        Self::MethodNotAllowed,
        Self::ProxyAuthenticationRequired,
        Self::RequestTimeout,
        Self::BodyTooLarge,
        Self::RateLimited,
        Self::HeadersTooLarge,
        Self::InternalError,
        Self::NotImplemented,
        Self::ProxyLoopDetected,
        Self::TokenRejected,
        Self::TokenUnavailable,
        Self::CredentialUnavailable,
        Self::DnsError,
        Self::DnsTimeout,
        Self::ConnectionRefused,
        Self::ConnectionTerminated,
        Self::ConnectionTimeout,
        Self::TlsCertificateError,
        Self::TlsAlertReceived,
        Self::TlsProtocolError,
        Self::HttpProtocolError,
        Self::HttpResponseIncomplete,
        Self::HttpResponseTimeout,
        Self::HttpUpgradeFailed,
        Self::DecryptFailed,
        Self::Overloaded,
        Self::FileNotFound,
        Self::FileForbidden,
        Self::FileConflict,
        Self::PreconditionFailed,
        Self::RangeNotSatisfiable,
        Self::FileNoSpace,
        Self::FileUnsupported,
        Self::FileError,
        Self::LoginRejected,
        Self::HostKeyMismatch,
        Self::Unauthorized,
        Self::NotFound,
        Self::Conflict,
        Self::ConfigInvalid,
        Self::NotReady,
    ];

    /// The word as users see it, in `type`, logs and metrics.
    pub(crate) const fn word(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status of our answer.
    pub(crate) const fn status(self) -> StatusCode {
        self.row().1
    }

    /// The `error` parameter of `Proxy-Status` (RFC 9209 §2.3); `None` for words of the admin port alone, which sends
    /// none, whatever the word.
    pub(crate) const fn proxy_status(self) -> Option<&'static str> {
        self.row().2
    }

    /// The `title` of the problem (RFC 9457 §3.1.3): the same for every occurrence of this code.
    pub(crate) const fn title(self) -> &'static str {
        self.row().3
    }

    /// Place in [`Code::ALL`], for tables of counters.
    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    const fn row(self) -> (&'static str, StatusCode, Option<&'static str>, &'static str) {
        use StatusCode as S;
        match self {
            Self::BadRequest => ("bad_request", S::BAD_REQUEST, Some("http_request_error"), "Bad request"),
            Self::Forbidden => ("forbidden", S::FORBIDDEN, Some("http_request_denied"), "Forbidden"),
            Self::NoRoute => ("no_route", S::NOT_FOUND, Some("destination_not_found"), "No route"),
            Self::MethodNotAllowed => {
                ("method_not_allowed", S::METHOD_NOT_ALLOWED, Some("http_request_denied"), "Method not allowed")
            }
            Self::ProxyAuthenticationRequired => (
                "proxy_authentication_required",
                S::PROXY_AUTHENTICATION_REQUIRED,
                Some("http_request_denied"),
                "Proxy authentication required",
            ),
            Self::RequestTimeout => {
                ("request_timeout", S::REQUEST_TIMEOUT, Some("http_request_error"), "Request timed out")
            }
            Self::BodyTooLarge => {
                ("body_too_large", S::PAYLOAD_TOO_LARGE, Some("http_request_error"), "Body too large")
            }
            Self::RateLimited => {
                ("rate_limited", S::TOO_MANY_REQUESTS, Some("http_request_error"), "Too many requests")
            }
            Self::HeadersTooLarge => (
                "headers_too_large",
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                Some("http_request_error"),
                "Request head too large",
            ),
            Self::InternalError => {
                ("internal_error", S::INTERNAL_SERVER_ERROR, Some("proxy_internal_error"), "Internal error")
            }
            Self::NotImplemented => {
                ("not_implemented", S::NOT_IMPLEMENTED, Some("http_request_error"), "Not implemented")
            }
            Self::ProxyLoopDetected => {
                ("proxy_loop_detected", S::LOOP_DETECTED, Some("proxy_loop_detected"), "Proxy loop detected")
            }
            Self::TokenRejected => {
                ("token_rejected", S::BAD_GATEWAY, Some("proxy_configuration_error"), "Token request rejected")
            }
            Self::TokenUnavailable => {
                ("token_unavailable", S::SERVICE_UNAVAILABLE, Some("destination_unavailable"), "No token to be had")
            }
            Self::CredentialUnavailable => (
                "credential_unavailable",
                S::SERVICE_UNAVAILABLE,
                Some("proxy_configuration_error"),
                "No credential to be had",
            ),
            Self::DnsError => ("dns_error", S::BAD_GATEWAY, Some("dns_error"), "Name look-up failed"),
            Self::DnsTimeout => ("dns_timeout", S::GATEWAY_TIMEOUT, Some("dns_timeout"), "Name look-up timed out"),
            Self::ConnectionRefused => {
                ("connection_refused", S::BAD_GATEWAY, Some("connection_refused"), "Connection refused")
            }
            Self::ConnectionTerminated => {
                ("connection_terminated", S::BAD_GATEWAY, Some("connection_terminated"), "Connection terminated")
            }
            Self::ConnectionTimeout => {
                ("connection_timeout", S::GATEWAY_TIMEOUT, Some("connection_timeout"), "Connection timed out")
            }
            Self::TlsCertificateError => (
                "tls_certificate_error",
                S::BAD_GATEWAY,
                Some("tls_certificate_error"),
                "The service's certificate is not trusted",
            ),
            Self::TlsAlertReceived => {
                ("tls_alert_received", S::BAD_GATEWAY, Some("tls_alert_received"), "The service refused the handshake")
            }
            Self::TlsProtocolError => {
                ("tls_protocol_error", S::BAD_GATEWAY, Some("tls_protocol_error"), "TLS protocol error")
            }
            Self::HttpProtocolError => {
                ("http_protocol_error", S::BAD_GATEWAY, Some("http_protocol_error"), "HTTP protocol error")
            }
            Self::HttpResponseIncomplete => {
                ("http_response_incomplete", S::BAD_GATEWAY, Some("http_response_incomplete"), "Incomplete answer")
            }
            Self::HttpResponseTimeout => {
                ("http_response_timeout", S::GATEWAY_TIMEOUT, Some("http_response_timeout"), "Answer timed out")
            }
            Self::HttpUpgradeFailed => {
                ("http_upgrade_failed", S::BAD_GATEWAY, Some("http_upgrade_failed"), "No WebSocket")
            }
            Self::DecryptFailed => {
                ("decrypt_failed", S::BAD_GATEWAY, Some("http_response_incomplete"), "The message can't be decrypted")
            }
            Self::Overloaded => {
                ("overloaded", S::SERVICE_UNAVAILABLE, Some("connection_limit_reached"), "Too many connections")
            }
            Self::FileNotFound => ("file_not_found", S::NOT_FOUND, Some("http_request_denied"), "No such file"),
            Self::FileForbidden => {
                ("file_forbidden", S::FORBIDDEN, Some("http_request_denied"), "The partner does not permit it")
            }
            Self::FileConflict => {
                ("file_conflict", S::CONFLICT, Some("http_request_denied"), "Something is in the way")
            }
            Self::PreconditionFailed => {
                ("precondition_failed", S::PRECONDITION_FAILED, Some("http_request_denied"), "Precondition failed")
            }
            Self::RangeNotSatisfiable => (
                "range_not_satisfiable",
                S::RANGE_NOT_SATISFIABLE,
                Some("http_request_denied"),
                "The range is not within the file",
            ),
            Self::FileNoSpace => {
                ("file_no_space", S::INSUFFICIENT_STORAGE, Some("http_response_incomplete"), "No space at the partner")
            }
            Self::FileUnsupported => (
                "file_unsupported",
                S::NOT_IMPLEMENTED,
                Some("http_response_incomplete"),
                "The partner's server can't do it",
            ),
            Self::FileError => {
                ("file_error", S::BAD_GATEWAY, Some("http_response_incomplete"), "The partner's server failed")
            }
            Self::LoginRejected => {
                ("login_rejected", S::BAD_GATEWAY, Some("proxy_configuration_error"), "The partner refused the login")
            }
            Self::HostKeyMismatch => (
                "host_key_mismatch",
                S::BAD_GATEWAY,
                Some("tls_certificate_error"),
                "The partner's host key is not known",
            ),
            Self::Unauthorized => ("unauthorized", S::UNAUTHORIZED, Some("http_request_denied"), "Unauthorized"),
            Self::NotFound => ("not_found", S::NOT_FOUND, None, "Not found"),
            Self::Conflict => ("conflict", S::CONFLICT, None, "Conflict"),
            Self::ConfigInvalid => ("config_invalid", S::UNPROCESSABLE_ENTITY, None, "Invalid config"),
            Self::NotReady => ("not_ready", S::SERVICE_UNAVAILABLE, None, "Not ready"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_stands_at_its_own_index() {
        for (place, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code.index(), place, "{}", code.word());
        }
    }
}
