//! Distinguished names as text (RFC 4514): `CN=app,O=Example`, the most specific part first.

use x509_parser::asn1_rs::{Any, Tag, ToDer};
use x509_parser::x509::{AttributeTypeAndValue, RelativeDistinguishedName, X509Name};

use crate::hex::hex;
use crate::legible::is_legible;

/// The whole name; `""` if it is empty.
pub(super) fn text(name: &X509Name<'_>) -> String {
    let mut parts: Vec<_> = name.iter_rdn().map(relative).collect();
    parts.reverse();
    parts.join(",")
}

fn relative(part: &RelativeDistinguishedName<'_>) -> String {
    part.iter().map(attribute).collect::<Vec<_>>().join("+")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let short_name = SHORT_NAMES.iter().find(|(known, _)| *known == oid).map(|(_, name)| *name);
    match (short_name, value(attribute.attr_value())) {
        (Some(name), Some(value)) => format!("{name}={}", escape(&value)),
        (name, _) => format!("{}={}", name.unwrap_or(&oid), hex_value(attribute.attr_value())),
    }
}

fn value(value: &Any<'_>) -> Option<String> {
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString => {
            std::str::from_utf8(value.data).ok().map(str::to_owned)
        }
        // T.61 in name only: what is written under this tag is Latin-1.
        Tag::TeletexString => Some(value.data.iter().copied().map(char::from).collect()),
        Tag::BmpString => {
            let units = value.data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        _ => None,
    }
}

/// `#` and the BER in hex, for what has no text (RFC 4514 §2.4).
fn hex_value(value: &Any<'_>) -> String {
    let ber = value.to_der_vec().unwrap_or_default();
    format!("#{}", hex(&ber))
}

/// Escapes what RFC 4514 §2.4 wants escaped, and what is not legible, so that a name stays on its line and in its place.
fn escape(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut escaped = String::with_capacity(value.len());
    for (place, character) in value.chars().enumerate() {
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => escaped.extend(['\\', character]),
            '#' if place == 0 => escaped.push_str("\\#"),
            ' ' if place == 0 || place == last => escaped.push_str("\\ "),
            plain if is_legible(plain) => escaped.push(plain),
            other => escaped.push_str(&escape_bytes(other)),
        }
    }
    escaped
}

fn escape_bytes(character: char) -> String {
    let mut buffer = [0; 4];
    let bytes = character.encode_utf8(&mut buffer).bytes();
    bytes.map(|byte| format!("\\{byte:02X}")).collect()
}

/// RFC 4514 §3, and the other attributes of names that people know by a word.
const SHORT_NAMES: [(&str, &str); 15] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.12", "title"),
    ("2.5.4.42", "GN"),
    ("2.5.4.97", "organizationIdentifier"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: &str) {
        assert_eq!(escape(value), expected, "{value:?}");
    }

    #[test]
    fn special_characters_of_a_name_are_escaped() {
        check("plain app", "plain app");
        check("Example, Inc.", "Example\\, Inc.");
        check("#1 + \"2\"", "\\#1 \\+ \\\"2\\\"");
        check(" both ends ", "\\ both ends\\ ");
        check(" ", "\\ ");
        check("a\\b<c>;d", "a\\\\b\\<c\\>\\;d");
        check("two\nlines\0", "two\\0Alines\\00");
        check("Łódź", "Łódź");
        check("nimda\u{202e}", "nimda\\E2\\80\\AE");
        check("a\u{200b}b", "a\\E2\\80\\8Bb");
    }
}
