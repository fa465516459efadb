//! Words of strangers, as they may stand on a terminal and in a log.
//!
//! They may be of any length, and a log has to be paid for: no more than their beginning is quoted.
//! A control character steers the terminal, one that reorders text makes `user` look like `admin`, and one that takes
//! no room makes two names look alike. Each is spelt out, and all else stays: a reader must see what came.

use std::borrow::Cow;

/// Whether a character shows as itself and leaves its neighbors where they are.
pub(crate) fn is_legible(character: char) -> bool {
    match character {
        ' '..='~' => true,
        '\u{2028}' | '\u{2029}' => false,
        _ if character.is_control() || is_ignorable(character) => false,
        _ => character.is_whitespace() || is_printable(character),
    }
}

/// A character, spelt out (`\n`, `\u{202e}`) if it is not legible.
pub(crate) fn legible(character: char) -> impl Iterator<Item = char> {
    let (plain, spelt) =
        if is_legible(character) { (Some(character), None) } else { (None, Some(character.escape_default())) };
    plain.into_iter().chain(spelt.into_iter().flatten())
}

/// A line or more of output in which whatever is beyond ASCII and not legible is spelt out: what is ASCII was the
/// business of who wrote it.
pub(crate) fn legible_lines(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut lines, character| {
        match character {
            ascii if ascii.is_ascii() => lines.push(ascii),
            other => lines.extend(legible(other)),
        }
        lines
    })
}

/// The same for a text in JSON, spelt as JSON does (RFC 8259 §7): it has no such characters but inside of strings.
pub(crate) fn legible_json(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut json, character| {
        match character {
            '\n' => json.push('\n'),
            plain if is_legible(plain) => json.push(plain),
            other => {
                let mut units = [0; 2];
                json.extend(other.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
            }
        }
        json
    })
}

/// A stranger's words as far as they are quoted: the first 200 bytes, less where they end within a character.
pub(crate) fn excerpt(words: &str) -> Cow<'_, str> {
    if words.len() <= QUOTED_BYTES {
        return Cow::Borrowed(words);
    }
    Cow::Owned(format!("{}…", &words[..words.floor_char_boundary(QUOTED_BYTES)]))
}

/// Nothing is to be seen of these where they are supported (Unicode's `Default_Ignorable_Code_Point`).
fn is_ignorable(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// As the standard library sees it: of no control, format, private or unassigned kind, and no space.
fn is_printable(character: char) -> bool {
    // Behind a letter, for a mark on it is no fault.
    let mut buffer = [b'a'; 5];
    let length = character.encode_utf8(&mut buffer[1..]).len();
    let marked = std::str::from_utf8(&buffer[..=length]).unwrap_or_default();
    marked.escape_debug().nth(1) == Some(character)
}

const QUOTED_BYTES: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_long_words_the_beginning_is_quoted() {
        let (fits, long) = ("a".repeat(200), "a".repeat(201));

        assert_eq!(excerpt(&fits), fits);
        assert_eq!(excerpt(&long), format!("{fits}…"));
        assert_eq!(excerpt(&("a".to_owned() + &"ß".repeat(200))), format!("a{}…", "ß".repeat(99)));
    }

    #[test]
    fn letters_and_marks_of_any_language_are_legible() {
        for character in "aZ0~\\\"'éŁźüñабβ日本\u{3000}語\u{a0}ह\u{940}\u{301}☺€".chars() {
            assert!(is_legible(character), "{:?}", character.escape_unicode());
        }
    }

    #[test]
    fn what_steers_reorders_or_hides_is_spelt_out() {
        let reordering = ['\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}'];
        let hidden = ['\u{ad}', '\u{200b}', '\u{200d}', '\u{2060}', '\u{feff}', '\u{fe0f}', '\u{3164}', '\u{e0041}'];
        let breaking = ['\0', '\t', '\n', '\u{1b}', '\u{7f}', '\u{9b}', '\u{2028}', '\u{2029}', '\u{85}'];

        for character in reordering.into_iter().chain(hidden).chain(breaking) {
            assert!(!is_legible(character), "{}", character.escape_unicode());
        }
        assert_eq!("a\n\u{202e}\u{3164}b".chars().flat_map(legible).collect::<String>(), "a\\n\\u{202e}\\u{3164}b");
    }

    #[test]
    fn lines_keep_their_breaks_and_colors() {
        assert_eq!(
            legible_lines("\u{1b}[32mINFO\u{1b}[0m a\u{202e}b Łódź\u{9b}\n"),
            "\u{1b}[32mINFO\u{1b}[0m a\\u{202e}b Łódź\\u{9b}\n"
        );
    }

    #[test]
    fn json_stays_json() {
        let value = serde_json::json!({ "a\u{202e}": ["\u{7f}\u{e0041}\n", "Łódź"] });

        let text = legible_json(&format!("{value:#}"));

        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        assert!(text.contains(r#""\u007f\udb40\udc41\n""#) && text.contains("Łódź"), "{text}");
    }
}
