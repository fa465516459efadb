//! Secrets in clothes that somebody else put on them: an editor's newline, a spreadsheet's byte order mark, quotes for a
//! shell, a variable that nothing replaces.
//!
//! Pure. What it says never holds a part of the secret.

/// What is odd about a secret, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SecretOddity {
    pub(super) what: &'static str,
    pub(super) help: &'static str,
    /// Whether no text has it. A key may be bytes.
    pub(super) is_no_text: bool,
}

/// All that is odd about a secret that comes from elsewhere, the worst first.
pub(super) fn oddities(secret: &str) -> Vec<SecretOddity> {
    let found = [unprintable(secret), spaced(secret), quoted(secret), variable(secret), short(secret)];
    found.into_iter().flatten().collect()
}

/// A variable that nothing replaces; looked for in what stands in the config too.
pub(super) fn variable(secret: &str) -> Option<SecretOddity> {
    let name = secret.strip_prefix('$')?;
    let name = name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or(name);
    let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then_some(odd(
        "the secret looks like a variable, and nothing replaces it: it is sent as it stands",
        "write `{ env: NAME }` to have the variable's value",
    ))
}

fn unprintable(secret: &str) -> Option<SecretOddity> {
    let breaks = ['\n', '\r'];
    let what = if secret.starts_with(BYTE_ORDER_MARK) {
        "the secret begins with a byte order mark"
    } else if secret.contains(BYTE_ORDER_MARK) {
        "the secret has a byte order mark in it"
    } else if secret.ends_with(breaks) {
        "the secret ends with a line break"
    } else if secret.contains(breaks) {
        "the secret has a line break in it"
    } else if secret.contains('\0') {
        "the secret has a NUL in it"
    } else if secret.contains('\t') {
        "the secret has a tab in it"
    } else if secret.contains(char::is_control) {
        "the secret has a control character in it"
    } else {
        return None;
    };
    let help = "write the secret alone: one line of UTF-8 text, with one newline after it at most";
    Some(SecretOddity { is_no_text: true, ..odd(what, help) })
}

fn spaced(secret: &str) -> Option<SecretOddity> {
    let is_space = |end: char| end.is_whitespace() && !end.is_control();
    let is_spaced = secret.starts_with(is_space) || secret.ends_with(is_space);
    let help = "write it without, if it is no part of the secret: it is sent as it stands";
    is_spaced.then_some(odd("the secret has white space around it", help))
}

fn quoted(secret: &str) -> Option<SecretOddity> {
    let inside = |quote| secret.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    let is_quoted = ['"', '\''].into_iter().any(|quote| inside(quote).is_some());
    let help = "write it without, if they are no part of the secret: they are sent as they stand";
    is_quoted.then_some(odd("the secret has quotes around it", help))
}

fn short(secret: &str) -> Option<SecretOddity> {
    let help = "have a longer one issued: one so short is easily guessed";
    (secret.len() < SHORTEST).then_some(odd("the secret has less than 8 bytes", help))
}

const fn odd(what: &'static str, help: &'static str) -> SecretOddity {
    SecretOddity { what, help, is_no_text: false }
}

/// Byte order mark.
const BYTE_ORDER_MARK: char = '\u{feff}';
const SHORTEST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(secret: &str, expected: &[&str]) {
        let found: Vec<_> = oddities(secret).iter().map(|odd| odd.what.trim_start_matches("the secret ")).collect();

        assert_eq!(found, expected, "{secret:?}");
    }

    #[test]
    fn a_plain_secret_has_nothing_odd() {
        for plain in [
            "hunter2-hunter2",
            "hunter 2-hunter",
            "\"hunter2",
            "hunter2'\"",
            "pass$word",
            "$2b$10$hash",
            "$-money-money",
            "${a b}c-and-more",
            "ünïcödé",
        ] {
            check(plain, &[]);
        }
    }

    #[test]
    fn what_no_text_has_is_named() {
        check("hunter2-hunter2\n", &["ends with a line break"]);
        check("hunter2-hunter2\r", &["ends with a line break"]);
        check("hunter2\nhunter2", &["has a line break in it"]);
        check("\u{feff}hunter2-hunter2", &["begins with a byte order mark"]);
        check("hunter2\u{feff}-hunter2", &["has a byte order mark in it"]);
        check("hunter2\0hunter2", &["has a NUL in it"]);
        check("hunter2\thunter2", &["has a tab in it"]);
        check("hunter2\u{7f}hunter2", &["has a control character in it"]);
        check("hunter2\u{9b}hunter2", &["has a control character in it"]);
    }

    #[test]
    fn what_somebody_put_around_it_is_named() {
        check(" hunter2-hunter2", &["has white space around it"]);
        check("hunter2-hunter2\u{a0}", &["has white space around it"]);
        check("\"hunter2-hunter2\"", &["has quotes around it"]);
        check("'hunter2-hunter2'", &["has quotes around it"]);
        check("\"\"", &["has quotes around it", "has less than 8 bytes"]);
        check("\"", &["has less than 8 bytes"]);
        check("hunter2", &["has less than 8 bytes"]);
        check("hunter2!", &[]);
    }

    #[test]
    fn a_variable_that_nothing_replaces_is_named() {
        let looks = "looks like a variable, and nothing replaces it: it is sent as it stands";
        check("${CLIENT_SECRET}", &[looks]);
        check("$CLIENT_SECRET", &[looks]);
        check("$_a1", &[looks, "has less than 8 bytes"]);
        check("${CLIENT_SECRET", &[]);
        check("${CLIENT-SECRET}", &[]);
        check("$1CLIENT_SECRET", &[]);
        check("${CLIENT_SECRET}x", &[]);
    }
}
