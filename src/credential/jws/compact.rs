//! A JWS in its compact form (RFC 7515 §7.1), taken apart. Nothing of it is verified: that is for who is meant by it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What of it can be read without a key.
pub(crate) struct Compact<'t> {
    header: &'t str,
    payload: &'t str,
}

impl<'t> Compact<'t> {
    /// `None`: it is a token of another kind.
    pub(crate) fn of(token: &'t str) -> Option<Self> {
        let mut parts = token.split('.');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(header), Some(payload), Some(_), None) => Some(Self { header, payload }),
            _ => None,
        }
    }

    /// The bytes of its header; `None`: they are no base64.
    pub(crate) fn header(&self) -> Option<Vec<u8>> {
        URL_SAFE_NO_PAD.decode(self.header).ok()
    }

    /// The bytes of its payload, a JWT's claims; `None`: they are no base64.
    pub(crate) fn payload(&self) -> Option<Vec<u8>> {
        URL_SAFE_NO_PAD.decode(self.payload).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_payload_are_read_and_no_signature_is_asked_for() {
        let compact = Compact::of("e30.eyJhIjoxfQ.").unwrap();

        assert_eq!(compact.header().unwrap(), b"{}");
        assert_eq!(compact.payload().unwrap(), br#"{"a":1}"#);
    }

    #[test]
    fn what_has_not_three_parts_is_another_token() {
        for token in ["", "opaque", "a.b", "a.b.c.d.e"] {
            assert!(Compact::of(token).is_none(), "{token}");
        }
        assert_eq!(Compact::of("a=.*.").unwrap().payload(), None);
    }
}
