//! What of a target AWS reads in another way than its own crate does. Pure.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// A path as S3 has it in its canonical form: it decodes the key, and encodes all of it but letters, digits, `-._~` and
/// `/`. A `/` that was encoded stays so.
pub(super) fn of_storage(path: &str) -> Cow<'_, str> {
    if path.bytes().all(is_plain) {
        return Cow::Borrowed(path);
    }
    // It reads one as a space, in a path too.
    let key = |segment: &str| {
        let segment = segment.replace('+', "%20");
        percent_encode(&percent_decode_str(&segment).collect::<Vec<_>>(), NOT_PLAIN).to_string()
    };
    path.split('/').map(key).collect::<Vec<_>>().join("/").into()
}

/// Whether what a query says is UTF-8, once it is decoded.
pub(super) fn is_text(query: &str) -> bool {
    percent_decode_str(query).decode_utf8().is_ok()
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/')
}

/// What is encoded in a key: its slashes too, for one that is part of a key came encoded.
const NOT_PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

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
