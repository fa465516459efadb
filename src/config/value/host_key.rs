//! The fingerprint of the key by which a server of SSH is known.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use schemars::{Schema, json_schema};

use crate::config::text::{FromText, Wrong};
use crate::digest::sha256;

/// `SHA256:…`, as `ssh-keygen -l` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKeyFingerprint(String);

impl HostKeyFingerprint {
    /// `SHA256:` and 43 characters of base64.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of(digest: &[u8; 32]) -> Self {
        Self(format!("{START}{}", STANDARD_NO_PAD.encode(digest)))
    }
}

impl FromText for HostKeyFingerprint {
    const WHAT: &'static str = "the fingerprint of a host key";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let digest = text.strip_prefix(START).and_then(digest);
        digest.map(|digest| Self::of(&digest)).ok_or_else(|| other_spelling(text))
    }

    fn placeholder() -> Self {
        Self::of(&[0; 32])
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^SHA256:[A-Za-z0-9+/]{43}=?$" })
    }
}

fn digest(base64: &str) -> Option<[u8; 32]> {
    let bytes = STANDARD_NO_PAD.decode(base64.strip_suffix('=').unwrap_or(base64)).ok()?;
    bytes.try_into().ok()
}

/// How the same is written here, as far as it can be told from what other programs show.
fn other_spelling(text: &str) -> Wrong {
    if let Some(key) = text.split_ascii_whitespace().find_map(whole_key) {
        let wrong = Wrong::new("this is a host key, where its fingerprint is wanted");
        return wrong.help(format!("write `{}`", HostKeyFingerprint::of(&sha256(&key)).0));
    }
    let bare = text.split_ascii_whitespace().find_map(|word| {
        let start = word.get(..START.len()).filter(|start| start.eq_ignore_ascii_case(START));
        digest(start.map_or(word, |start| &word[start.len()..]))
    });
    if let Some(digest) = bare {
        return Wrong::new(NONE).help(format!("write `{}` alone", HostKeyFingerprint::of(&digest).0));
    }
    let hex = text.strip_prefix("MD5:").unwrap_or(text).replace(':', "");
    let bytes = hex.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(hex.len() / 2);
    match bytes {
        Some(16) => Wrong::new("this is the MD5 of a host key, where its SHA-256 is wanted").help(HOW),
        Some(32) => Wrong::new("this is a SHA-256 in hexadecimal digits, where base64 is wanted")
            .help(format!("write `{START}…`: echo {hex} | xxd -r -p | base64")),
        _ => Wrong::new(NONE).help(HOW),
    }
}

/// A public key as it stands in `known_hosts` and `.pub` files: a text and more (RFC 4253 §6.6), in base64.
fn whole_key(word: &str) -> Option<Vec<u8>> {
    let key = STANDARD.decode(word).ok()?;
    let (length, rest) = key.split_first_chunk::<4>()?;
    let name = rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    (rest.len() > name.len() && !name.is_empty() && name.iter().all(u8::is_ascii_graphic)).then_some(key)
}

const START: &str = "SHA256:";
const NONE: &str = "this is not the fingerprint of a host key";
const HOW: &str = "write `SHA256:…`, as the server's owner tells it or, over a way that is trusted, \
                   `ssh-keyscan HOST | ssh-keygen -lf -` shows it";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, (&str, &str)>) {
        let read = HostKeyFingerprint::from_text(text).map(|read| read.0);
        let read = read.map_err(|wrong| (wrong.message, wrong.help.unwrap_or_default()));
        let expected = expected.map(str::to_owned).map_err(|(message, help)| (message.to_owned(), help.to_owned()));
        assert_eq!(read, expected, "{text}");
    }

    #[test]
    fn a_fingerprint_is_written_as_openssh_shows_it() {
        check(SHOWN, Ok(SHOWN));
        check(&format!("{SHOWN}="), Ok(SHOWN));
    }

    #[test]
    fn other_spellings_are_told_how_to_be_written() {
        let alone = format!("write `{SHOWN}` alone");
        let alone = Err((NONE, alone.as_str()));
        check(&SHOWN[7..], alone);
        check(&SHOWN.replace("SHA256", "sha256"), alone);
        check(&format!("256 {SHOWN} files.bank.example (ED25519)"), alone);
        let whole = format!("write `{SHOWN}`");
        let whole = Err(("this is a host key, where its fingerprint is wanted", whole.as_str()));
        check(KEY, whole);
        check(&format!("ssh-ed25519 {KEY}"), whole);
        check(&format!("files.bank.example ssh-ed25519 {KEY} by hand"), whole);
        let md5 = Err(("this is the MD5 of a host key, where its SHA-256 is wanted", HOW));
        check("MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48", md5);
        check("16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48", md5);
        let hex = "00".repeat(32);
        check(
            &hex,
            Err((
                "this is a SHA-256 in hexadecimal digits, where base64 is wanted",
                &format!("write `SHA256:…`: echo {hex} | xxd -r -p | base64"),
            )),
        );
        for text in ["", "SHA256:", "SHA256:JOCC…", "words", &SHOWN[..SHOWN.len() - 1]] {
            check(text, Err((NONE, HOW)));
        }
    }

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
    const SHOWN: &str = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU";
}
