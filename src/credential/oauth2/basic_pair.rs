//! Id and secret of a client as Basic has them (RFC 6749 §2.3.1).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, CONTROLS, PercentEncode, utf8_percent_encode};

use crate::secret::Secret;

/// Id and secret, each encoded before they are joined (RFC 6749 §2.3.1).
pub(super) fn basic_pair(id: &str, secret: &Secret) -> Secret {
    let pair = Secret::of_parts(|| encoded(id).chain([":"]).chain(encoded(secret.expose())));
    // It measures what it encodes: one allocation.
    Secret::new(STANDARD.encode(pair.expose()))
}

/// With as little encoded as says the same: a form's decoder reads back what was written, and so do the many endpoints that
/// decode nothing, or `%` alone. Were all encoded that a form encodes, they would read another secret.
fn encoded(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, ENCODED)
}

/// Whether encoding makes another text of it.
pub(super) fn is_changed(text: &str) -> bool {
    encoded(text).map(str::len).sum::<usize>() != text.len()
}

/// All but ASCII is encoded too. A `:` ends the id.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%').add(b'+').add(b'&').add(b':').add(b' ');

#[cfg(test)]
mod tests {
    use form_urlencoded::parse;

    use super::*;

    /// The pair as it is before it becomes base64.
    #[track_caller]
    fn check(id: &str, secret: &str, pair: &str) {
        let sent = basic_pair(id, &Secret::new(secret.to_owned()));
        let decoded = STANDARD.decode(sent.expose()).expect("base64");

        assert_eq!(String::from_utf8_lossy(&decoded), pair);
        assert_eq!(is_changed(id) || is_changed(secret), format!("{id}:{secret}") != pair, "{pair}");
        // RFC 6749 §2.3.1: what a form's decoder makes of both is what was written.
        let (sent_id, sent_secret) = pair.split_once(':').expect("a pair");
        for (sent, written) in [(sent_id, id), (sent_secret, secret)] {
            let form = format!("v={sent}");
            let read = parse(form.as_bytes()).next().map(|(_, value)| value.into_owned());
            assert_eq!(read.as_deref(), Some(written));
        }
    }

    #[test]
    fn of_id_and_secret_only_what_would_be_read_otherwise_is_encoded() {
        check("app", "secret", "app:secret");
        check("app", "~/=!*'()-_.$@,;?#[]{}|\\^`\"<>", "app:~/=!*'()-_.$@,;?#[]{}|\\^`\"<>");
        check("app", "a b", "app:a%20b");
        check("app", "a+b", "app:a%2Bb");
        check("app", "a&b", "app:a%26b");
        check("app", "a%b", "app:a%25b");
        check("app", "a%20b", "app:a%2520b");
        check("a:b", "c:d", "a%3Ab:c%3Ad");
        check("app", "a\tb\u{7f}", "app:a%09b%7F");
        check("ä", "ü€", "%C3%A4:%C3%BC%E2%82%AC");
        check("https://app.example/id", "s", "https%3A//app.example/id:s");
        check("app", "", "app:");
    }
}
