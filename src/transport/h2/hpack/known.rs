//! The fields that everybody knows (RFC 7541 Appendix A), as answers have them.

use http::header::{self, HeaderName, HeaderValue};

/// What a field of an answer is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::transport::h2) enum ReceivedName {
    /// `:status`.
    Status,
    Plain(HeaderName),
    /// One that no answer has: any other pseudo-header field, or what is no name in HTTP/2.
    Forbidden,
}

/// The name of this number, and how long it is; `None`: the number is none of these.
pub(super) fn name(number: usize) -> Option<(ReceivedName, usize)> {
    match number {
        // `:authority`, `:method`, `:path`, `:scheme`.
        1 => Some((ReceivedName::Forbidden, 10)),
        2..=3 | 6..=7 => Some((ReceivedName::Forbidden, 7)),
        4..=5 => Some((ReceivedName::Forbidden, 5)),
        8..FIRST_PLAIN => Some((ReceivedName::Status, 7)),
        _ => {
            let name = PLAIN_NAMES.get(number.checked_sub(FIRST_PLAIN)?)?;
            Some((ReceivedName::Plain(name.clone()), name.as_str().len()))
        }
    }
}

/// The value of this number.
pub(super) fn value(number: usize) -> HeaderValue {
    HeaderValue::from_static(match number {
        8 => "200",
        9 => "204",
        10 => "206",
        11 => "304",
        12 => "400",
        13 => "404",
        14 => "500",
        16 => "gzip, deflate",
        // Of pseudo-header fields that no answer has nobody reads more than the name.
        _ => "",
    })
}

/// Numbers above it are those of fields that came on the connection (§2.3.3).
pub(super) const LAST_KNOWN: usize = 61;

const FIRST_PLAIN: usize = 15;

static PLAIN_NAMES: [HeaderName; LAST_KNOWN + 1 - FIRST_PLAIN] = [
    header::ACCEPT_CHARSET,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::ACCEPT_RANGES,
    header::ACCEPT,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::AGE,
    header::ALLOW,
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_LOCATION,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::DATE,
    header::ETAG,
    header::EXPECT,
    header::EXPIRES,
    header::FROM,
    header::HOST,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::LAST_MODIFIED,
    header::LINK,
    header::LOCATION,
    header::MAX_FORWARDS,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::RANGE,
    header::REFERER,
    header::REFRESH,
    header::RETRY_AFTER,
    header::SERVER,
    header::SET_COOKIE,
    header::STRICT_TRANSPORT_SECURITY,
    header::TRANSFER_ENCODING,
    header::USER_AGENT,
    header::VARY,
    header::VIA,
    header::WWW_AUTHENTICATE,
];
