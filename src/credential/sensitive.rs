//! Values of fields that must not be shown.

use http::HeaderValue;

/// A field's value that HTTP/2 must not put into its compression tables, and that `Debug` does not print.
pub(super) fn secret_value(text: &str) -> HeaderValue {
    // Invariant: the config refuses secrets that can't be the value of a field, tokens are visible ASCII.
    #[allow(clippy::expect_used)]
    let mut value = HeaderValue::from_bytes(text.as_bytes()).expect("a secret that was checked");
    value.set_sensitive(true);
    value
}
