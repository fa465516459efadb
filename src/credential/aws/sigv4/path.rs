//! What of a target AWS reads in another way than its own crate does. Pure.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A path as S3 has it in its canonical form: it decodes the key, and encodes all of it but letters, digits, `-._~` and
/// `/`. A `/` that was encoded stays so.
pub(super) fn of_storage(path: &str) -> Cow<'_, str> {
    if path.bytes().all(is_plain) {
        return Cow::Borrowed(path);
    }
    let mut canonical = String::with_capacity(path.len() + 16);
    for (byte, encoded) in decoded(path) {
        match byte {
            b'/' if encoded => canonical.push_str("%2F"),
            // It reads one as a space, in a path too.
            b'+' if !encoded => canonical.push_str("%20"),
            plain if is_plain(plain) => canonical.push(char::from(plain)),
            // Writing to a `String` can't fail.
            other => drop(write!(canonical, "%{other:02X}")),
        }
    }
    canonical.into()
}

/// Whether what a query says is UTF-8, once it is decoded.
pub(super) fn is_text(query: &str) -> bool {
    !query.contains('%') || String::from_utf8(decoded(query).map(|(byte, _)| byte).collect()).is_ok()
}

/// The bytes that a text stands for, and whether they were encoded.
fn decoded(text: &str) -> impl Iterator<Item = (u8, bool)> {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (&first, after) = rest.split_first()?;
        let digit = |at: usize| after.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (first, digit(0), digit(1)) {
            rest = &after[2..];
            return u8::try_from(high << 4 | low).ok().map(|byte| (byte, true));
        }
        rest = after;
        Some((first, false))
    })
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, canonical: &str) {
        assert_eq!(of_storage(path), canonical);
    }

    #[test]
    fn a_key_is_encoded_as_a_whole_however_it_was_sent() {
        check("/bucket/key", "/bucket/key");
        check("/bucket//a/", "/bucket//a/");
        check("/bucket/a%20b", "/bucket/a%20b");
        check("/bucket/%c3%bc", "/bucket/%C3%BC");
        check("/bucket/day=1/(a)!", "/bucket/day%3D1/%28a%29%21");
        check("/bucket/%7Ea%41", "/bucket/~aA");
        check("/bucket/a%2Fb%2fc", "/bucket/a%2Fb%2Fc");
        check("/bucket/a+b%2Bc", "/bucket/a%20b%2Bc");
        check("/bucket/100%", "/bucket/100%25");
    }

    #[test]
    fn a_query_is_text_if_its_bytes_are() {
        assert!(is_text("") && is_text("a=%C3%BC&b") && is_text("a=%25FF"));
        assert!(!is_text("a=%FF") && !is_text("%C3=1"));
    }
}
