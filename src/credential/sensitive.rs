//! Values of fields that must not be shown.

use http::HeaderValue;

/// A field's value that `Debug` does not print, and that HTTP/2 compresses only where nobody could guess it.
pub(super) fn secret_value(text: &str) -> HeaderValue {
    // Invariant: the config refuses secrets that can't be the value of a field, tokens are visible ASCII.
    #[allow(clippy::expect_used)]
    let mut value = HeaderValue::from_bytes(text.as_bytes()).expect("a secret that was checked");
    value.set_sensitive(true);
    value
}
