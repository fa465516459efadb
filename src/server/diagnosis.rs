//! What is wrong with a request that could not be parsed, in words of our own: which byte, which field.
//!
//! hyper's parser says that there is no request, and little more. What it read of one is looked at here once more, in
//! the order in which it reads. Pure: bytes and hyper's error in, a code and a sentence out.

use std::error::Error as _;

use super::refusal::ConnectionRefusal;
use crate::code::Code;

/// Why there is no request in what was read.
///
/// `refused` is a byte of its target that nobody takes there, and its place in its line, from 1.
pub(super) fn diagnose(error: &hyper::Error, read: &[u8], refused: Option<(u8, usize)>) -> ConnectionRefusal {
    if read.starts_with(&TLS_HANDSHAKE) {
        return ConnectionRefusal::tls_hello();
    }
    let (code, detail) = find(error, read, refused);
    ConnectionRefusal::new(code, detail)
}

fn find(error: &hyper::Error, read: &[u8], refused: Option<(u8, usize)>) -> (Code, String) {
    if error.is_parse_too_large() {
        let detail =
            "the request's head is over `limits.header_size` or `limits.headers`, or its target over 65,534 bytes";
        return (Code::HeadersTooLarge, detail.to_owned());
    }
    if error.is_parse_version_h2() {
        return (Code::BadRequest, "HTTP/2 begins here on a connection that began with HTTP/1".to_owned());
    }
    // Some faults hyper finds only when it has taken the head out of what it read. It tells them apart in its text alone.
    let text = error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    let known = HYPERS.iter().find(|(hypers, _)| text.contains(hypers)).map(|(_, ours)| (*ours).to_owned());
    // A line that is no request's goes by the same text as a target that is none, and is in what was read still. What comes
    // behind a head that was taken is there otherwise, a body maybe, of which nothing is to be said.
    let bad_target = || request_line(first_line(without_empty_lines(read))).filter(|_| may_begin_request(read));
    if let (true, Some((byte, at))) = (text.contains(INVALID_URI), refused) {
        let found = named_at(byte, at);
        return (Code::BadRequest, format!("{found} in the path of the request's target: write it as `%{byte:02X}`"));
    }
    let found = match known {
        Some(known) if text.contains(INVALID_URI) => bad_target().or(Some(known)),
        Some(known) => Some(known),
        None => look(read),
    };
    (Code::BadRequest, found.unwrap_or_else(|| NOTHING_FOUND.to_owned()))
}

/// What stands in a head that is none, if it is found.
fn look(read: &[u8]) -> Option<String> {
    let read = without_empty_lines(read);
    let mut lines = read.split_inclusive(|byte| *byte == b'\n').enumerate();
    let (_, first) = lines.next()?;
    request_line(first).or_else(|| lines.find_map(|(at, line)| field_line(at, line)))
}

fn first_line(read: &[u8]) -> &[u8] {
    read.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default()
}

/// Whether these are a request's first bytes: `METHOD /` or `METHOD http`, with the method in upper case.
fn may_begin_request(read: &[u8]) -> bool {
    let read = without_empty_lines(read);
    let method = read.iter().position(|byte| !byte.is_ascii_uppercase()).unwrap_or(0);
    // Invariant: it was found there.
    let target = &read[method..];
    method > 0 && (target.starts_with(b" /") || target.starts_with(b" http"))
}

/// RFC 9112 §2.2 has empty lines before a request ignored.
fn without_empty_lines(read: &[u8]) -> &[u8] {
    let from = read.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(read.len());
    // Invariant: at most all of it is passed over.
    &read[from..]
}

/// `METHOD SP target SP HTTP/1.x` (RFC 9112 §3).
fn request_line(line: &[u8]) -> Option<String> {
    // One that was cut off may have been given up for what it has so far.
    let (line, _) = without_end(line);
    // Invariant: each of these places is one at which a space was found, the byte after it, or the end of the line.
    let end_of = |from: usize| line[from..].iter().position(|byte| *byte == b' ').map(|at| from + at);
    let method = end_of(0).unwrap_or(line.len());
    // Invariant: as above.
    if let Some(at) = line[..method].iter().position(|byte| !is_token(*byte)) {
        return Some(format!("{} in the request's method", byte_at(line, at)));
    }
    if method == 0 || method == line.len() {
        return Some("the first line is no `METHOD target HTTP/1.1`".to_owned());
    }
    let target = method + 1;
    let version = end_of(target).unwrap_or(line.len());
    // Invariant: as above, and the line goes on after the method.
    if let Some(at) = line[target..version].iter().position(|byte| byte.is_ascii_control()) {
        return Some(format!("{} in the request's target", byte_at(line, target + at)));
    }
    let version = line.get(version + 1..).unwrap_or_default();
    if version.starts_with(b"HTTP/1.") && version.len() == b"HTTP/1.1".len() {
        return None;
    }
    Some(match version {
        b"" => "the first line names no version of HTTP: it ends after the target".to_owned(),
        other => format!("`{}` is no version of HTTP that is spoken here", shown(other)),
    })
}

/// `name: value` (RFC 9112 §5), the line of this number after the first.
fn field_line(number: usize, line: &[u8]) -> Option<String> {
    // The last one may be cut off; nothing is wrong with that.
    let (line, is_whole) = without_end(line);
    if line.is_empty() {
        return None;
    }
    // Invariant: it is not empty.
    if matches!(line[0], b' ' | b'\t') {
        return Some(format!(
            "line {number} after the first begins with white space: a field is one line (RFC 9112 §5.2)"
        ));
    }
    let Some(colon) = line.iter().position(|byte| *byte == b':') else {
        // It was given up before its colon came, for what it has so far.
        let stray = line.iter().position(|byte| !is_token(*byte)).filter(|_| !is_whole);
        if let Some(at) = stray {
            return Some(format!("{} in the name of the field `{}`", byte_at(line, at), shown(line)));
        }
        return Some(format!("line {number} after the first has no colon: `{}`", shown(line)));
    };
    // Invariant: the colon was found there.
    let name = &line[..colon];
    if name.is_empty() {
        return Some(format!("line {number} after the first has no name before its colon"));
    }
    if let Some(at) = name.iter().position(|byte| !is_token(*byte)) {
        return Some(format!("{} in the name of the field `{}`", byte_at(line, at), shown(name)));
    }
    // Invariant: the colon was found there.
    let value = line[colon + 1..].iter().position(|byte| !is_of_a_value(*byte));
    value.map(|at| format!("{} in the value of the field `{}`", byte_at(line, colon + 1 + at), shown(name)))
}

/// A line without its end, CR LF or LF, and whether that has come: of one that was cut off a CR may be half of it.
fn without_end(line: &[u8]) -> (&[u8], bool) {
    let ended = line.strip_suffix(b"\n");
    let line = ended.unwrap_or(line);
    (line.strip_suffix(b"\r").unwrap_or(line), ended.is_some())
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9110 §5.5, with what it calls obsolete.
fn is_of_a_value(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

fn byte_at(line: &[u8], at: usize) -> String {
    // Invariant: the caller found it there.
    named_at(line[at], at + 1)
}

fn named_at(byte: u8, place: usize) -> String {
    let name = match byte {
        b' ' => "a space".to_owned(),
        b'\t' => "a tab".to_owned(),
        b'`' => "a backtick".to_owned(),
        b'\r' => "a CR without LF".to_owned(),
        0 => "a NUL".to_owned(),
        b'!'..=b'~' => format!("`{}`", char::from(byte)),
        _ => format!("the byte 0x{byte:02X}"),
    };
    format!("{name} at byte {place} of the line")
}

/// What the client sent, short and harmless.
fn shown(bytes: &[u8]) -> String {
    let shown: String = bytes.iter().take(SHOWN).map(|byte| byte.escape_ascii().to_string()).collect();
    if bytes.len() > SHOWN { shown + "…" } else { shown }
}

/// What hyper says, and what we say.
const HYPERS: [(&str, &str); 4] = [
    ("invalid content-length", "its `Content-Length` is no number, or there are two that differ"),
    (
        "invalid transfer-encoding",
        "the last coding of its `Transfer-Encoding` is not `chunked`: nobody can tell where it ends (RFC 9112 §6.3)",
    ),
    (
        INVALID_URI,
        "the request's target is neither a path nor a whole URL, or has a byte that has to be percent-encoded there (RFC 3986)",
    ),
    ("unexpected transfer-encoding", "it is HTTP/1.0 and has a `Transfer-Encoding`, which came with HTTP/1.1"),
];

const INVALID_URI: &str = "invalid URI";
const NOTHING_FOUND: &str = "its head is no HTTP/1.1";
/// A record of a handshake, of any version of TLS.
const TLS_HANDSHAKE: [u8; 2] = [0x16, 0x03];
/// Enough to know a name by.
const SHOWN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let table: [(&[u8], Option<&str>); 20] = [
            (b"\x80\x01\x02", Some("the byte 0x80 at byte 1 of the line in the request's method")),
            (b"nonsense\r\n\r\n", Some("the first line is no `METHOD target HTTP/1.1`")),
            (b"GET /x\r\n\r\n", Some("the first line names no version of HTTP: it ends after the target")),
            (b"\r\n\r\nGET /x HTTP/9.9\r\n\r\n", Some("`HTTP/9.9` is no version of HTTP that is spoken here")),
            (b"G(T /x HTTP/1.1\r\n\r\n", Some("`(` at byte 2 of the line in the request's method")),
            (b" GET /x HTTP/1.1\r\n\r\n", Some("the first line is no `METHOD target HTTP/1.1`")),
            (b"GET /\x01 HTTP/1.1\r\n\r\n", Some("the byte 0x01 at byte 6 of the line in the request's target")),
            (b"GET /x HTTP/1.1\r\nno colon\r\n\r\n", Some("line 1 after the first has no colon: `no colon`")),
            (b"GET /x HTTP/1.1\r\nA: 1\r\n: 2\r\n\r\n", Some("line 2 after the first has no name before its colon")),
            (
                b"GET /x HTTP/1.1\r\nBad Name: 1\r\n\r\n",
                Some("a space at byte 4 of the line in the name of the field `Bad Name`"),
            ),
            (
                b"GET /x HTTP/1.1\r\nHost : a\r\n\r\n",
                Some("a space at byte 5 of the line in the name of the field `Host `"),
            ),
            (
                b"GET /x HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
                Some("line 2 after the first begins with white space: a field is one line (RFC 9112 §5.2)"),
            ),
            (
                b"GET /x HTTP/1.1\r\nX-Y: a\0b\r\n\r\n",
                Some("a NUL at byte 7 of the line in the value of the field `X-Y`"),
            ),
            (
                b"GET /x HTTP/1.1\r\nX-Y: a\rb\r\n\r\n",
                Some("a CR without LF at byte 7 of the line in the value of the field `X-Y`"),
            ),
            (b"GET /x HTTP/1.1\r\nX-Y: caf\xe9\r\n\r\n", None),
            (b"GET /x HTTP/1.1\r\nHost: a\r\nX", Some("line 2 after the first has no colon: `X`")),
            // Given up within a line, for what has come of it.
            (
                b"GET /x HTTP/1.1\r\nHost: a\r\nX\0",
                Some("a NUL at byte 2 of the line in the name of the field `X\\x00`"),
            ),
            (b"GET /x\r", Some("the first line names no version of HTTP: it ends after the target")),
            (b"GET /x HTTP/1.1\r\nX y", Some("a space at byte 2 of the line in the name of the field `X y`")),
            (b"", None),
        ];
        for (read, expected) in table {
            assert_eq!(look(read).as_deref(), expected, "{}", read.escape_ascii());
        }
    }

    #[test]
    fn what_is_shown_of_it_is_short_and_harmless() {
        let long = [b"GET / HTTP/1.1\r\n".as_slice(), &b"\x1b[31m".repeat(100), b"\r\n"].concat();

        let found = look(&long).unwrap();

        assert!(found.len() < 350 && found.contains("\\x1b[31m") && found.ends_with("…`"), "{found}");
    }
}
