//! Queries that are none by RFC 3986, as real clients send them: with `"`, `<`, `>`, and bytes that are no UTF-8.
//!
//! The types that a request has here take no such bytes. So a query that has them goes through us in another spelling, each
//! of them as a character for private use, and is written to the service as it came. Promises that what is written is byte
//! for byte what was read, whatever that was: a query that has these very characters gets them spelt, too. Pure.

use std::borrow::Cow;

use http::uri::PathAndQuery;

/// Whether some of these bytes may have to be spelt, in a query, or refused by name, in a path: a backtick, for one.
pub(crate) fn may_need_spelling(bytes: &[u8]) -> bool {
    let found = one_is_marked::<32>(bytes).or_else(|| one_is_marked::<16>(bytes));
    found.unwrap_or_else(|| bytes.iter().any(|byte| mark(*byte) >= 0x80))
}

/// The same; `None`: there are fewer bytes than that. Most heads have no such byte, so there is no way out in between, and
/// the compiler looks at as many bytes at once as one instruction takes; the last look goes over some of them again.
fn one_is_marked<const AT_ONCE: usize>(bytes: &[u8]) -> Option<bool> {
    let last = bytes.last_chunk::<AT_ONCE>()?;
    let mut found = [0; AT_ONCE];
    for chunk in bytes.as_chunks().0.iter().chain([last]) {
        found.iter_mut().zip(chunk).for_each(|(found, byte)| *found |= mark(*byte));
    }
    Some(found.iter().any(|found| *found >= 0x80))
}

/// With the highest bit where the byte is spelt, as [`is_spelt`] has it, or a backtick; in no more instructions than it takes.
fn mark(byte: u8) -> u8 {
    let all_bits = |found: bool| u8::from(found).wrapping_neg();
    // `<` and `>` differ in one bit.
    byte | all_bits(byte == b'"') | all_bits(byte | 2 == b'>') | all_bits(byte == b'`')
}

/// Appends part of a query as it is spelt here.
pub(crate) fn spell(query: &[u8], out: &mut Vec<u8>) {
    for chunk in query.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '<' | '>' => spell_bytes(&[character as u8], out),
                FIRST..=LAST => spell_bytes(character.encode_utf8(&mut [0; 4]).as_bytes(), out),
                other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        spell_bytes(chunk.invalid(), out);
    }
}

/// The first byte that was spelt otherwise, and which of the text's bytes it would be; `None`: the text says what it is.
pub(crate) fn first_spelt(text: &str) -> Option<(u8, usize)> {
    // The quickest look there is, for what hardly any text has.
    memchr::memchr(LEAD, text.as_bytes())?;
    text.char_indices().find_map(|(at, character)| Some((unspelt(character)?, at)))
}

/// The bytes that a target stands for: only its query is ever spelt otherwise.
pub(crate) fn target_as_read(target: &PathAndQuery) -> Cow<'_, [u8]> {
    match target.query() {
        Some(query) if first_spelt(query).is_some() => {
            Cow::Owned([target.path().as_bytes(), b"?", &as_read(query)].concat())
        }
        _ => Cow::Borrowed(target.as_str().as_bytes()),
    }
}

/// The bytes that a text stands for.
pub(crate) fn as_read(text: &str) -> Cow<'_, [u8]> {
    if first_spelt(text).is_none() {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match unspelt(character) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Cow::Owned(bytes)
}

fn spell_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        // Invariant: the last 256 characters for private use end where characters do.
        let character = char::from_u32(FIRST as u32 + u32::from(*byte)).unwrap_or(char::REPLACEMENT_CHARACTER);
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// No other byte ever comes of a character: what did not pass [`spell`] must not become a line break on its way out.
fn unspelt(character: char) -> Option<u8> {
    u8::try_from((character as u32).checked_sub(FIRST as u32)?).ok().filter(|byte| is_spelt(*byte))
}

fn is_spelt(byte: u8) -> bool {
    (byte == b'"') | (byte == b'<') | (byte == b'>') | (byte >= 0x80)
}

/// One character for each byte: the last ones for private use (Unicode, plane 16).
const FIRST: char = '\u{10FF00}';
const LAST: char = '\u{10FFFF}';
/// With which all of them begin in UTF-8.
const LEAD: u8 = 0xF4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spelt(query: &[u8]) -> String {
        let mut out = Vec::new();
        spell(query, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn what_needs_no_spelling_is_not_touched() {
        for query in ["a=1&b={|}^`~[]\\", "b\u{fc}cher=\u{10FEFF}", ""] {
            assert_eq!(spelt(query.as_bytes()), query);
            assert!(matches!(as_read(query), Cow::Borrowed(_)), "{query}");
        }
        assert_eq!(first_spelt(&spelt(b"a=1&x=\"")), Some((b'"', 6)));
        assert_eq!(first_spelt("\u{10FEFF}"), None);
    }

    #[test]
    fn a_byte_that_is_spelt_or_refused_is_seen_wherever_it_stands() {
        for length in 0..70 {
            let plain = vec![b'a'; length];
            assert!(!may_need_spelling(&plain), "{length}");
            for at in 0..length {
                let mut bytes = plain.clone();
                for byte in 0..=u8::MAX {
                    bytes[at] = byte;
                    let is_looked_for = is_spelt(byte) || byte == b'`';
                    assert_eq!(may_need_spelling(&bytes), is_looked_for, "{byte:#x} at {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn nothing_that_would_end_a_line_or_a_target_comes_of_what_was_never_spelt() {
        for character in (0_u32..256).filter_map(|byte| char::from_u32(FIRST as u32 + byte)) {
            let bytes = as_read(&character.to_string()).into_owned();

            assert!(bytes.iter().all(|byte| is_spelt(*byte)), "{character:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_can_stand_in_a_target_comes_out_as_it_went_in(
            pieces in prop::collection::vec(prop_oneof![
                "[!-\"$-~]{0,3}".prop_map(String::into_bytes),
                Just("\u{10FF22}\u{10FFFF}\u{10FEFF}\u{fc}".as_bytes().to_vec()),
                prop::collection::vec(prop_oneof![0x80_u8..=0xff, Just(b'<'), Just(0xf4), Just(0x8f)], 0..6),
            ], 0..8),
        ) {
            let query = pieces.concat();
            let text = spelt(&query);

            let target: PathAndQuery = format!("/?{text}").parse().expect("a target");

            prop_assert_eq!(&*as_read(target.query().unwrap_or_default()), &query[..]);
            prop_assert_eq!(&*target_as_read(&target), &[b"/?", &query[..]].concat()[..]);
            prop_assert_eq!(first_spelt(&text).is_none(), text.as_bytes() == query);
            prop_assert!(may_need_spelling(&query) || text.as_bytes() == query);
        }
    }
}
