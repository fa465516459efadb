//! What somebody pasted where the path of a file is wanted, or a name: the key itself, in most cases.
//!
//! Pure. Who is shown such a text is shown a secret, so it is told by its look, is never quoted, and never becomes a path.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What a text is that can't be a path; `None` if it can be one.
pub(super) fn no_path(text: &str) -> Option<&'static str> {
    let is_json = text.trim_start().starts_with('{') && text.contains('"');
    match () {
        () if is_credential(text) => credential(text),
        () if is_json => Some("JSON text"),
        () if text.contains(['\n', '\r']) => Some("text of several lines"),
        () if is_too_long(text) => Some("too long for a path"),
        () => None,
    }
}

/// Whether a text is a key, a certificate or a token wherever it stands.
pub(super) fn is_credential(text: &str) -> bool {
    credential(text).is_some()
}

fn credential(text: &str) -> Option<&'static str> {
    match () {
        () if text.contains(PEM) => Some("PEM text"),
        () if is_key_in_base64(text) => Some("a key or a certificate in base64"),
        () if is_jwt(text) => Some("a JWT"),
        () => None,
    }
}

/// What PEM begins with.
pub(super) const PEM: &str = "-----BEGIN";

/// Whether a text can be the name of an environment variable (POSIX.1-2017, 8.1).
pub(super) fn is_variable_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// By its beginning alone, for the end may have been lost.
fn is_key_in_base64(text: &str) -> bool {
    // As `data:application/x-pkcs12;base64,…` has it, or in quotes.
    let text = text.rsplit([',', ':']).next().unwrap_or_default();
    let mut head = String::with_capacity(DECODED_HEAD);
    for character in text.chars().filter(|character| !is_around(*character)).take(DECODED_HEAD) {
        match character {
            '-' => head.push('+'),
            '_' => head.push('/'),
            character => head.push(character),
        }
    }
    let Ok(head) = STANDARD.decode(&head) else { return false };
    head.len() == DECODED_HEAD / 4 * 3 && (begins_as_der(&head) || MAGIC.iter().any(|magic| head.starts_with(magic)))
}

fn is_around(character: char) -> bool {
    character.is_whitespace() || matches!(character, '"' | '\'')
}

/// A sequence that begins as a key, a PKCS#12 file, an encrypted key or a certificate does: with a small version, or with
/// another sequence.
fn begins_as_der(bytes: &[u8]) -> bool {
    let [0x30, length, rest @ ..] = bytes else { return false };
    let more = if *length < 0x80 { 0 } else { usize::from(*length & 0x7f) };
    let inside = rest.get(more..).unwrap_or_default();
    matches!(inside, [0x02, 0x01, 0..=3, ..] | [0x30, ..] | [0x06, 0x09, ..])
}

/// RFC 7519 §3: the header is a JSON object, so that its base64 begins with `eyJ`.
fn is_jwt(text: &str) -> bool {
    let text = text.trim();
    let is_base64 = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte));
    text.starts_with("eyJ") && text.split('.').count() >= 3 && text.split('.').all(is_base64)
}

/// Such a path can't be opened on Linux, whatever the file system.
fn is_too_long(text: &str) -> bool {
    text.len() >= LONGEST_PATH || text.split('/').any(|name| name.len() > LONGEST_NAME)
}

/// Characters of base64 that are decoded: more than a plain word has, and fewer than the smallest key, of Ed25519, which
/// takes 64.
const DECODED_HEAD: usize = 40;
/// PEM, a key of OpenSSH's, and two kinds of Java's keystores.
const MAGIC: [&[u8]; 4] = [b"-----BEGIN", b"openssh-key-v1", &[0xfe, 0xed, 0xfe, 0xed], &[0xce, 0xce, 0xce, 0xce]];
/// `PATH_MAX` and `NAME_MAX`.
const LONGEST_PATH: usize = 4096;
const LONGEST_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_paths() {
        let deep =
            "/var/lib/kubelet/pods/0b5d4a1e-2f0c-4a51-8a2e-7d1f5f0f6a1d/volumes/kubernetes.io~secret/x".repeat(20);
        for path in [
            "tls/app.key",
            "/run/secrets/MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQ",
            "MIIEclients/production/certificates/partners/leaf",
            "sha256/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "{{ .Values.key }}",
            "eyJ.pem",
            "a b/ü.pem",
            "C:\\tls\\app.key",
            &deep,
        ] {
            assert_eq!(no_path(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_told() {
        const ED25519: &str = "MC4CAQAwBQYDK2VwBCIEIE8Vn3pVw0k3nPqzWmZs1yY4nXvQ2oZk0h3Jb1m0r9aF";
        for (text, told) in [
            (ED25519, "a key or a certificate in base64"),
            (&format!("\"{ED25519}\""), "a key or a certificate in base64"),
            (&format!("{}\n{}", &ED25519[..20], &ED25519[20..]), "a key or a certificate in base64"),
            (&format!("data:application/pkcs8;base64,{ED25519}"), "a key or a certificate in base64"),
            ("/u3+7QAAAAIAAAABAAAAAQABYQAAAYTn0xkQAAABQDCCATww", "a key or a certificate in base64"),
            ("x -----BEGIN ", "PEM text"),
            (" { \"kty\": \"EC\" }", "JSON text"),
            ("eyJhbGciOiJFUzI1NiJ9.e30.c2ln", "a JWT"),
            ("a\rb", "text of several lines"),
            (&"x".repeat(256), "too long for a path"),
            (&"x/".repeat(2048), "too long for a path"),
        ] {
            assert_eq!(no_path(text), Some(told), "{text}");
        }
    }

    #[test]
    fn a_variable_has_a_plain_name() {
        for (text, expected) in
            [("A", true), ("_a1", true), ("API_SECRET", true), ("", false), ("1A", false), ("a-b", false), ("ä", false)]
        {
            assert_eq!(is_variable_name(text), expected, "{text}");
        }
    }
}
