//! The scheme `Bearer` in the value of a field (RFC 6750 §2.1).

/// What follows `Bearer`, however that is spelt, without spaces around it: `b""` where the scheme stands alone. `None`: it
/// is another scheme, or none.
pub(crate) fn bearer(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    let (scheme, token) = value.split_at(value.iter().position(|byte| *byte == b' ').unwrap_or(value.len()));
    scheme.eq_ignore_ascii_case(b"bearer").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_what_follows_the_scheme_in_any_case() {
        for value in ["Bearer a.b", "bearer a.b", "BEARER   a.b ", " Bearer a.b"] {
            assert_eq!(bearer(value.as_bytes()), Some(&b"a.b"[..]), "{value}");
        }
        assert_eq!(bearer(b"Bearer a b"), Some(&b"a b"[..]));
    }

    #[test]
    fn a_scheme_may_stand_alone() {
        assert_eq!(bearer(b"Bearer"), Some(&b""[..]));
        assert_eq!(bearer(b"Bearer "), Some(&b""[..]));
    }

    #[test]
    fn another_scheme_is_none() {
        for value in ["", "a.b", "Basic YTpi", "Bearera", "DPoP a.b", "Bearer\ta"] {
            assert_eq!(bearer(value.as_bytes()), None, "{value}");
        }
    }
}
