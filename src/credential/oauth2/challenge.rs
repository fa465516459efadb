//! What a `WWW-Authenticate` says (RFC 9110 §11.6.1).
//!
//! ```text
//!  Bearer realm="a, b", DPoP algs="ES256", error="use_dpop_nonce"
//!  └─ one challenge ─┘  └────────────── another ───────────────┘
//! ```

use http::HeaderValue;

/// Whether the line has a challenge of `scheme` (in lower case) with this `error`.
pub(super) fn has_error(line: &HeaderValue, scheme: &str, error: &str) -> bool {
    let mut ours = false;
    for member in members(line.as_bytes()) {
        // What begins with a word and a space begins a challenge; what is only `name=value` goes on with the last one.
        let (word, rest) = split_word(member);
        let parameter = if is_parameter(rest) {
            member
        } else {
            ours = word.eq_ignore_ascii_case(scheme.as_bytes());
            rest
        };
        if ours && value_of(parameter, "error").is_some_and(|value| value == error.as_bytes()) {
            return true;
        }
    }
    false
}

/// The members of the list, not split in quoted strings.
fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let separator = move |byte: &u8| {
        if std::mem::take(&mut escaped) {
            return false;
        }
        match byte {
            b'"' => quoted = !quoted,
            b'\\' => escaped = quoted,
            b',' => return !quoted,
            _ => {}
        }
        false
    };
    line.split(separator).map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// A token at the front, and what follows it.
fn split_word(member: &[u8]) -> (&[u8], &[u8]) {
    let end = member.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'=' | b'"')).unwrap_or(member.len());
    let (word, rest) = member.split_at(end);
    (word, rest.trim_ascii_start())
}

fn is_parameter(after_the_name: &[u8]) -> bool {
    after_the_name.first() == Some(&b'=')
}

/// The value of this parameter, if it is that: a token or a quoted string without escapes.
fn value_of<'a>(parameter: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (word, rest) = split_word(parameter);
    let value = rest.strip_prefix(b"=")?.trim_ascii();
    let named = word.eq_ignore_ascii_case(name.as_bytes());
    named.then(|| value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(line: &'static str, asks: bool) {
        let line = HeaderValue::from_static(line);

        assert_eq!(has_error(&line, "dpop", "use_dpop_nonce"), asks, "{line:?}");
    }

    #[test]
    fn a_server_that_wants_a_nonce_is_understood() {
        check(r#"DPoP error="use_dpop_nonce", error_description="Resource server requires nonce in DPoP proof""#, true);
        check(r#"dpop realm="a, b", algs="ES256 PS256", error=use_dpop_nonce"#, true);
        check(r#"Bearer realm="x", DPoP algs="ES256",error = "use_dpop_nonce""#, true);
        check(r#"DPoP realm="x", error="use_dpop_nonce", Bearer error="invalid_token""#, true);
        check(r#"DPoP, DPoP ERROR="use_dpop_nonce""#, true);
        check(r#"Negotiate abc==, DPoP error="use_dpop_nonce""#, true);
    }

    #[test]
    fn one_that_wants_another_token_is_not_taken_for_it() {
        check("DPoP", false);
        check("", false);
        check(r#"DPoP error="invalid_token""#, false);
        check(r#"DPoP error="invalid_token", error_description="use_dpop_nonce""#, false);
        check(r#"DPoP realm="DPoP error=use_dpop_nonce, error=use_dpop_nonce""#, false);
        check(r#"DPoP realm="a\", error=use_dpop_nonce""#, false);
        check(r#"Bearer error="use_dpop_nonce""#, false);
        check(r#"DPoP algs="ES256", Bearer error="use_dpop_nonce""#, false);
        check(r#"error="use_dpop_nonce""#, false);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            // Those that a field can have; chance alone would seldom make a line of them.
            line in proptest::collection::vec(prop_oneof![32..=126_u8, 128..=255_u8, Just(b'\t'), Just(b'"')], 0..60),
            before in prop::sample::select(vec!["", "DPoP ", "DPoP error=", "Bearer a=\"b\", DPoP error=\""]),
        ) {
            let line = HeaderValue::from_bytes(&[before.as_bytes(), &line].concat()).expect("a field's value");

            has_error(&line, "dpop", "use_dpop_nonce");
        }
    }
}
