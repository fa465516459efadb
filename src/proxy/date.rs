//! The `Date` of an answer that has none.

use std::time::SystemTime;

use http::HeaderValue;

/// The time, as `Date` has it.
pub(super) fn now() -> HeaderValue {
    let text = httpdate::fmt_http_date(SystemTime::now());
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
