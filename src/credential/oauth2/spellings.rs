//! Our own secrets, recognized in the words of an endpoint however these spell them.
//!
//! An endpoint that complains may repeat what it was sent: as it was, percent-encoded as it stood in the form, encoded
//! once more for HTML or JSON, as the base64 of a Basic header, in capital letters, or several of these, one around the
//! other. So its words are read in each of these ways, and what turns out to be a secret is taken out of them where it
//! stands.

use std::ops::Range;

use zeroize::Zeroizing;

use crate::legible::legible;
use crate::secret::Secret;

/// The secrets that went into a token request.
pub(in crate::credential) struct Spellings(Vec<Secret>);

impl Spellings {
    pub(in crate::credential) fn of<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        // An empty text would be found between any two letters.
        let secrets = secrets.into_iter().filter(|secret| !secret.is_empty());
        Self(secrets.map(|secret| Secret::new(secret.to_owned())).collect())
    }

    /// Words of the endpoint as they may be shown: stripped of our secrets, at most `longest` characters, escaped.
    pub(in crate::credential) fn quote(&self, words: &str, longest: usize) -> String {
        // Stripped first: cutting or escaping could leave half a secret that is no longer recognized.
        shortened(&self.strip(words, |_| true), longest)
    }

    /// As [`Spellings::quote`]; `None` where they hold a secret so short that stars in its place would tell it: what
    /// stands around them is known.
    pub(super) fn words(&self, words: &str, longest: usize) -> Option<String> {
        Some(shortened(&self.stripped(words)?, longest))
    }

    /// A word that is meant for programs. It stays though a short secret is a part of it: a secret of `client` would
    /// else take the `invalid_client` that says what is wrong.
    pub(super) fn code(&self, code: &str, longest: usize) -> Option<String> {
        let is_word = code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte));
        if !is_word || self.0.iter().any(|secret| secret.expose().eq_ignore_ascii_case(code)) {
            return self.words(code, longest);
        }
        Some(shortened(&self.strip(code, |secret| !is_short(secret)), longest))
    }

    /// Words without our secrets, whole and as they were written; `None` as for [`Spellings::words`].
    pub(super) fn stripped(&self, words: &str) -> Option<String> {
        let is_told = self.0.iter().any(is_short) && self.strip(words, is_short) != words;
        (!is_told).then(|| self.strip(words, |_| true))
    }

    fn strip(&self, words: &str, which: impl Fn(&Secret) -> bool) -> String {
        let secrets: Vec<_> = self.0.iter().filter(|secret| which(secret)).collect();
        let mut found = Vec::new();
        if !secrets.is_empty() {
            find(&secrets, &DecodedWords::plain(words), DEEPEST, &mut found);
        }
        found.sort_by_key(|range| (range.start, range.end));
        let mut stripped = String::with_capacity(words.len());
        let mut done = 0;
        for Range { start, end } in found {
            if start >= done {
                stripped.push_str(words.get(done..start).unwrap_or_default());
                stripped.push_str("***");
            }
            // Those that overlap are taken out together: one that is part of another must not leave its rest behind.
            done = done.max(end);
        }
        stripped.push_str(words.get(done..).unwrap_or_default());
        stripped
    }
}

/// Whether it is easily guessed from the words around it.
fn is_short(secret: &Secret) -> bool {
    secret.expose().len() < TOLD_BY_STARS
}

fn shortened(words: &str, longest: usize) -> String {
    let mut characters = words.chars();
    let mut shown: String = characters.by_ref().take(longest).flat_map(escaped).collect();
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

/// Finds the secrets in a reading of the words, and in what becomes of it when it is decoded up to `depth` times.
fn find(secrets: &[&Secret], reading: &DecodedWords, depth: usize, found: &mut Vec<Range<usize>>) {
    for secret in secrets.iter().map(|secret| secret.expose().as_bytes()) {
        if secret.len() >= reading.shortest {
            found.extend(reading.places(secret));
        }
    }
    let Some(depth) = depth.checked_sub(1) else { return };
    for (first, escape) in ESCAPES {
        if let Some(decoded) = reading.unescaped(first, escape) {
            find(secrets, &decoded, depth, found);
        }
    }
    for run in reading.base64_runs() {
        // What stands before it may look like a part of it: then it begins at any of four places.
        for skipped in 0..4 {
            find(secrets, &reading.decoded(run.start + skipped..run.end, run.clone()), depth, found);
        }
    }
}

/// The words, or what they are when something in them is decoded.
struct DecodedWords {
    bytes: Zeroizing<Vec<u8>>,
    /// Where in the words each byte comes from.
    origins: Vec<Range<usize>>,
    /// A secret of fewer bytes may stand here by chance.
    shortest: usize,
}

impl DecodedWords {
    fn plain(words: &str) -> Self {
        let bytes = Zeroizing::new(words.as_bytes().to_vec());
        Self { bytes, origins: (0..words.len()).map(|at| at..at + 1).collect(), shortest: 1 }
    }

    /// For as many bytes as it can become: it never moves, so no unwiped copy is left behind.
    fn empty(most: usize, shortest: usize) -> Self {
        Self { bytes: Zeroizing::new(Vec::with_capacity(most)), origins: Vec::with_capacity(most), shortest }
    }

    /// Where in the words a secret stands.
    fn places(&self, secret: &[u8]) -> impl Iterator<Item = Range<usize>> {
        let windows = self.bytes.windows(secret.len()).enumerate();
        let places = windows.filter(|(_, window)| is_spelling(window, secret)).map(|(at, _)| at);
        places.map(|at| self.origin(at..at + secret.len()))
    }

    fn origin(&self, range: Range<usize>) -> Range<usize> {
        let origins = &self.origins[range];
        origins.first().map_or(0, |first| first.start)..origins.last().map_or(0, |last| last.end)
    }

    /// With what is escaped decoded; `None` if nothing is.
    fn unescaped(&self, first: u8, escape: Escape) -> Option<Self> {
        if !self.bytes.contains(&first) {
            return None;
        }
        let mut decoded = Self::empty(self.bytes.len(), self.shortest);
        let mut at = 0;
        while at < self.bytes.len() {
            let (character, length) = escape(&self.bytes[at..]).unwrap_or((Escaped::Byte(self.bytes[at]), 1));
            let origin = self.origin(at..at + length);
            match character {
                Escaped::Byte(byte) => decoded.push(byte, &origin),
                Escaped::Character(character) => {
                    character.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| decoded.push(byte, &origin));
                }
            }
            at += length;
        }
        // An escape is longer than what it stands for.
        (decoded.bytes.len() < self.bytes.len()).then_some(decoded)
    }

    /// Where base64 may be, its padding included.
    fn base64_runs(&self) -> impl Iterator<Item = Range<usize>> {
        let mut at = 0;
        let length_where =
            |from: usize, is: fn(u8) -> bool| self.bytes[from..].iter().take_while(|byte| is(**byte)).count();
        let runs = std::iter::from_fn(move || {
            at += length_where(at, |byte| sextet(byte).is_none());
            let start = at;
            at += length_where(at, |byte| sextet(byte).is_some());
            let padded = start..at + length_where(at, |byte| byte == b'=').min(2);
            (at > start).then_some(padded)
        });
        runs.filter(|run| run.len() >= SHORTEST_BASE64)
    }

    /// What `part` is in base64. All of it stands for `run`: half of what holds a secret says nothing to anybody.
    fn decoded(&self, part: Range<usize>, run: Range<usize>) -> Self {
        let mut decoded = Self::empty(part.len(), self.shortest.max(NEVER_BY_CHANCE));
        let origin = self.origin(run);
        let (mut bits, mut count) = (0_u32, 0);
        for value in self.bytes[part].iter().filter_map(|byte| sextet(*byte)) {
            (bits, count) = (bits << 6 | value, count + 6);
            if count >= 8 {
                count -= 8;
                decoded.push((bits >> count) as u8, &origin);
            }
        }
        decoded
    }

    fn push(&mut self, byte: u8, origin: &Range<usize>) {
        self.bytes.push(byte);
        self.origins.push(origin.clone());
    }
}

/// Whether these bytes say the secret: a form writes a space as `+`.
fn is_spelling(bytes: &[u8], secret: &[u8]) -> bool {
    let says = |(byte, ours): (&u8, &u8)| byte.eq_ignore_ascii_case(ours) || (*byte == b'+' && *ours == b' ');
    bytes.iter().zip(secret).all(says)
}

/// Decodes the escape at the beginning of these bytes, and says how long it is.
type Escape = fn(&[u8]) -> Option<(Escaped, usize)>;

enum Escaped {
    Byte(u8),
    Character(char),
}

/// `%2F`.
fn percent(bytes: &[u8]) -> Option<(Escaped, usize)> {
    let digits = bytes.strip_prefix(b"%")?.get(..2)?;
    let byte = u8::try_from(number(digits, 16)?).ok()?;
    Some((Escaped::Byte(byte), 3))
}

/// `&amp;`, `&#38;` or `&#x26;`.
fn entity(bytes: &[u8]) -> Option<(Escaped, usize)> {
    let rest = bytes.strip_prefix(b"&")?;
    let name = &rest[..rest.iter().take(LONGEST_ENTITY).position(|byte| *byte == b';')?];
    let named = || NAMED.iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes())).map(|(_, is)| *is);
    let numbered = || match name {
        [b'#', b'x' | b'X', digits @ ..] => char::from_u32(number(digits, 16)?),
        [b'#', digits @ ..] => char::from_u32(number(digits, 10)?),
        _ => None,
    };
    let character = named().or_else(numbered)?;
    Some((Escaped::Character(character), name.len() + 2))
}

/// `\/` or `\u002f`.
fn backslash(bytes: &[u8]) -> Option<(Escaped, usize)> {
    match bytes.strip_prefix(b"\\")? {
        [plain @ (b'/' | b'\\' | b'"' | b'\''), ..] => Some((Escaped::Byte(*plain), 2)),
        [b'u', rest @ ..] => Some((Escaped::Character(char::from_u32(number(rest.get(..4)?, 16)?)?), 6)),
        _ => None,
    }
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    // `from_str_radix` takes a sign too.
    let text = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
    u32::from_str_radix(text, radix).ok()
}

/// The six bits of a digit of base64, of either alphabet.
fn sextet(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    };
    Some(value.into())
}

/// A character as it may stand in a log line, a terminal and a header. A backslash is doubled, so that what is spelt
/// out can't be taken for what was written so.
fn escaped(character: char) -> impl Iterator<Item = char> {
    let doubled = (character == '\\').then_some('\\');
    doubled.into_iter().chain(legible(character))
}

/// Each with the byte that it begins with.
const ESCAPES: [(u8, Escape); 3] = [(b'%', percent), (b'&', entity), (b'\\', backslash)];

/// Bytes.
const TOLD_BY_STARS: usize = 8;

/// A base64 of an encoded pair, percent-encoded.
const DEEPEST: usize = 3;

/// Four bytes.
const SHORTEST_BASE64: usize = 6;

/// Bytes that look like chance, as most words do when they are read as base64, hold any two or three sooner or later.
const NEVER_BY_CHANCE: usize = 4;

/// `&#x10ffff;`, with zeros before it.
const LONGEST_ENTITY: usize = 12;

const NAMED: [(&str, char); 5] = [("amp", '&'), ("lt", '<'), ("gt", '>'), ("quot", '"'), ("apos", '\'')];

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(secrets: &[&str], words: &str, longest: usize, shown: &str) {
        let spellings = Spellings::of(secrets.iter().copied());

        assert_eq!(spellings.quote(words, longest), shown);
    }

    #[test]
    fn words_of_the_endpoint_are_shortened_and_escaped() {
        check(&[], "the client's \"name\" is unknown", 80, "the client's \"name\" is unknown");
        check(&[], "for ever and ever", 8, "for ever…");
        check(&[], "line\nbreak\u{1b}[31m", 80, "line\\nbreak\\u{1b}[31m");
        check(&[], "left\u{202e}right", 80, "left\\u{202e}right");
        check(&[], "Schlüssel", 80, "Schlüssel");
    }

    #[test]
    fn our_secrets_are_taken_out_however_they_are_spelt() {
        check(&["s3 cr&t"], "bad secret s3 cr&t", 80, "bad secret ***");
        check(&["s3 cr&t"], "bad form client_secret=s3+cr%26t!", 80, "bad form client_secret=***!");
        check(&["s3 cr&t"], "at s3%20cr%26t", 80, "at ***");
    }

    #[test]
    fn an_encoded_secret_is_found_in_any_case_and_encoded_twice() {
        check(&["s3 cr&t/ü"], "at s3%20cr%26t%2f%c3%bc!", 80, "at ***!");
        check(&["s3 cr&t/ü"], "at S3%20CR%26T%2F%C3%BC!", 80, "at ***!");
        check(&["s3 cr&t/ü"], "at s3+cr%26t/%c3%bc!", 80, "at ***!");
        check(&["s3 cr&t/ü"], "at s3%2520cr%2526t%252f%25c3%25bc!", 80, "at ***!");
        check(&["s3<cr>&\"t'"], "no s3&lt;cr&gt;&amp;&quot;t&#39;!", 80, "no ***!");
        check(&["s3<cr>&\"t'"], "no s3&LT;cr&#X3e;&AMP;&#34;t&apos;!", 80, "no ***!");
        check(&["s3<cr>&\"t'"], "no s3&amp;lt;cr&amp;gt;&amp;amp;&amp;quot;t&amp;#x27;!", 80, "no ***!");
        check(&["p%41&x-long"], "no p%41&amp;x-long!", 80, "no ***!");
        check(&["a/b\"c\\d"], r#"no a\/b\"c\\d, no a\u002fb\u0022c\u005Cd!"#, 80, "no ***, no ***!");
    }

    #[test]
    fn a_secret_in_base64_is_found_wherever_it_stands() {
        for before in ["", "a", "ab", "abc", "client:"] {
            let pair = format!("{before}hunter2-ü~?");
            let basic = format!("bad header Basic {}, sorry", STANDARD.encode(&pair));
            check(&["hunter2-ü~?"], &basic, 200, "bad header Basic ***, sorry");
            let url_safe = format!("bad value {}.", URL_SAFE_NO_PAD.encode(&pair));
            check(&["hunter2-ü~?"], &url_safe, 200, "bad value ***.");
            let encoded: String = form_urlencoded::byte_serialize(STANDARD.encode(&pair).as_bytes()).collect();
            check(&["hunter2-ü~?"], &format!("bad value {encoded}."), 200, "bad value ***.");
        }
        let encoded_twice = STANDARD.encode("client:hunter2-%c3%bc%7e%3f");
        check(&["hunter2-ü~?"], &format!("got {encoded_twice}"), 200, "got ***");
        check(&["hunter2-ü~?"], &format!("/path/{}", STANDARD.encode("hunter2-ü~?")), 200, "***");
    }

    /// Ways to write a text within another.
    const WRAPS: [fn(&str) -> String; 5] = [
        |text| form_urlencoded::byte_serialize(text.as_bytes()).collect(),
        |text| text.bytes().map(|byte| format!("%{byte:02x}")).collect(),
        |text| {
            let special = |letter: char| if letter.is_ascii_alphanumeric() { None } else { Some(u32::from(letter)) };
            text.chars().map(|letter| special(letter).map_or(letter.to_string(), |code| format!("&#{code};"))).collect()
        },
        |text| text.replace('\\', "\\\\").replace('"', "\\\"").replace('/', "\\/"),
        |text| STANDARD.encode(format!("id:{text}")),
    ];

    proptest! {
        #[test]
        fn a_secret_is_found_in_whatever_it_is_wrapped(secret in "[ -~äß]{8,24}", wraps in vec(0..WRAPS.len(), 0..=DEEPEST)) {
            let wrapped = wraps.iter().fold(secret.clone(), |text, wrap| WRAPS[*wrap](&text));

            let shown = Spellings::of([&*secret]).quote(&format!("said: {wrapped} ."), 4_000);

            prop_assert_eq!(shown, "said: *** .", "{}", wrapped);
        }

        #[test]
        fn no_words_make_it_panic(secret in "\\PC{1,8}", words in "(\\PC|[%&#;x0-9a-f=\\\\])*") {
            Spellings::of([&*secret]).quote(&words, 200);
        }
    }

    #[test]
    fn other_words_stay_as_they_are() {
        let words = "100% sure &amp; 50%25, hunter3 aHVudGVyMw== %zz &#0; &#x110000; \\u12 & Authentication";
        let shown = words.replace('\\', "\\\\");

        check(&["hunter2", "s", "Au", "abc"], words, 200, &shown.replace('s', "***").replace("Au", "***"));
    }

    #[test]
    fn a_secret_is_found_even_where_the_text_is_cut() {
        check(&["hunter2-hunter2"], "no hunter2-hunter2", 8, "no ***");
    }

    #[test]
    fn words_that_hold_a_short_secret_are_left_out_and_codes_stay() {
        let spellings = Spellings::of(["test", "long-enough"]);
        let words = |words| spellings.words(words, 80);

        assert_eq!(words("bad secret"), Some("bad secret".to_owned()));
        assert_eq!(words("bad secret long-enough"), Some("bad secret ***".to_owned()));
        for told in ["bad secret test", "this is a TEST", "t%65st", "bad dGVzdA==", "test long-enough"] {
            assert_eq!(words(told), None, "{told}");
        }
        let code = |code| spellings.code(code, 80);
        assert_eq!(code("invalid_test"), Some("invalid_test".to_owned()));
        assert_eq!(code("got_long-enough"), Some("got_***".to_owned()));
        for told in ["test", "Test", "no test", "test!"] {
            assert_eq!(code(told), None, "{told}");
        }
    }

    #[test]
    fn a_secret_that_is_part_of_another_leaves_no_rest() {
        check(&["abc", "abc-long"], "got abc-long", 80, "got ***");
    }
}
