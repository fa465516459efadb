//! What is sent for what was asked, byte for byte, and what is refused because it could name something else.
//!
//! Promises that the path that was matched is the path that is sent, and that it stays under the service's base path
//! however the service reads it: percent-decoded once, twice or not at all, with `\` as a separator or not, with
//! `;parameters` dropped or kept. The query names nothing on the way: it passes as it came.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};
use http::uri::PathAndQuery;
use percent_encoding::percent_decode;

use super::Match;
use crate::config::Url;

/// Why a request's target is refused: with 400, but [`TargetError::TooLong`] as a head that is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("the path does not start with `/`")]
    NoSlash,
    #[error("the path starts with `//`")]
    DoubleSlash,
    #[error("the path has a dot segment")]
    DotSegment,
    #[error("the path has a `\\`")]
    Backslash,
    #[error("the path has a `%00`")]
    Nul,
    #[error("the path has a control character")]
    Control,
    #[error("the path has a byte that is not ASCII")]
    NotAscii,
    #[error("the path has a broken percent-encoding")]
    BrokenEncoding,
    #[error("the target has userinfo")]
    Userinfo,
    #[error("the host is malformed")]
    Host,
    #[error("the port is malformed")]
    Port,
    #[error("the target is longer than 65,534 bytes")]
    TooLong,
}

/// Checks a path before it is matched.
///
/// # Errors
/// When it has a dot segment in any spelling, `//` at its start, a `\`, `%00`, a control or non-ASCII byte, or a broken
/// percent-encoding. All else could only name what it says, and survives.
pub(crate) fn check(path: &str) -> Result<(), TargetError> {
    if !path.starts_with('/') {
        return Err(TargetError::NoSlash);
    }
    if path.starts_with("//") {
        return Err(TargetError::DoubleSlash);
    }
    // Most paths have neither a dot nor an encoding: one pass over the bytes is all they cost.
    match survey(path.as_bytes())? {
        PathScan { dots: false, encodings: false } => Ok(()),
        PathScan { encodings: false, .. } => refuse_dot_segments(path.bytes()),
        PathScan { .. } => refuse_encoded_dot_segments(path.as_bytes()),
    }
}

/// Whether whoever resolves this path, percent-decodes it or takes `\` for a separator still finds it where it is. It need
/// be none that is carried: clients encode what they were given.
pub(super) fn stays_where_it_is(path: &[u8]) -> bool {
    let moves = |byte: &u8| byte.is_ascii_control() || *byte == b'\\';
    !path.iter().any(moves) && refuse_encoded_dot_segments(path).is_ok()
}

/// The path and query to send: `base_path` (without a trailing slash), then what is left of the request's path, then
/// its query.
///
/// # Errors
/// When what is left starts with `//`, or all of it together is too long.
pub(crate) fn build(asked: &PathAndQuery, found: &Match<'_>, base_path: &str) -> Result<PathAndQuery, TargetError> {
    let base_path = if found.prepend { base_path } else { "" };
    let path = asked.path();
    let rest = path.get(found.strip..).unwrap_or_default();
    if rest.starts_with("//") {
        return Err(TargetError::DoubleSlash);
    }
    // An absolute-form may have a query and no path.
    if base_path.is_empty() && rest.len() == path.len() && asked.as_str().starts_with('/') {
        return Ok(asked.clone());
    }
    join(base_path, rest, asked.query())
}

/// The base path of a service: what its URL's path puts before each request's, `""` or `/…` without a trailing slash.
pub(crate) fn base_path(url: &Url) -> &str {
    url.path.strip_suffix('/').unwrap_or(&url.path)
}

fn join(base_path: &str, rest: &str, query: Option<&str>) -> Result<PathAndQuery, TargetError> {
    let rest = if base_path.is_empty() && rest.is_empty() { "/" } else { rest };
    let mut joined = BytesMut::with_capacity(base_path.len() + rest.len() + query.map_or(0, |query| query.len() + 1));
    joined.put_slice(base_path.as_bytes());
    joined.put_slice(rest.as_bytes());
    if let Some(query) = query {
        joined.put_u8(b'?');
        joined.put_slice(query.as_bytes());
    }
    // Each part was parsed before: only their length can be wrong.
    PathAndQuery::from_maybe_shared(joined.freeze()).map_err(|_| TargetError::TooLong)
}

/// What a path has that needs a closer look.
#[derive(Default)]
struct PathScan {
    dots: bool,
    encodings: bool,
}

/// Refuses single bytes and broken encodings, in one pass.
fn survey(path: &[u8]) -> Result<PathScan, TargetError> {
    let mut seen = PathScan::default();
    for (at, byte) in path.iter().enumerate() {
        match byte {
            b'.' => seen.dots = true,
            b'%' => {
                seen.encodings = true;
                let pair = path.get(at + 1..at + 3).ok_or(TargetError::BrokenEncoding)?;
                if encoded(pair[0], pair[1]).ok_or(TargetError::BrokenEncoding)? == 0 {
                    return Err(TargetError::Nul);
                }
            }
            b'\\' => return Err(TargetError::Backslash),
            0x00..=0x1f | 0x7f => return Err(TargetError::Control),
            0x80.. => return Err(TargetError::NotAscii),
            _ => {}
        }
    }
    Ok(seen)
}

/// Looks at the path as a service sees it that decodes it, and as one does behind a gateway that has decoded it before.
fn refuse_encoded_dot_segments(path: &[u8]) -> Result<(), TargetError> {
    let once: Cow<'_, [u8]> = percent_decode(path).into();
    refuse_dot_segments(once.iter().copied())?;
    refuse_dot_segments(percent_decode(&once))
}

fn refuse_dot_segments(path: impl Iterator<Item = u8>) -> Result<(), TargetError> {
    let end = std::iter::once(b'/');
    let mut segment = SegmentKind::Empty;
    for byte in path.chain(end) {
        segment = match (segment, byte) {
            // Servlet containers drop `;parameters` before they resolve dots, and who decodes too early ends the path at
            // `?` or `#`, which stand here only encoded.
            (SegmentKind::Dot | SegmentKind::Dots, b'/' | b'\\' | b';' | b'?' | b'#') => {
                return Err(TargetError::DotSegment);
            }
            (_, b'/' | b'\\') => SegmentKind::Empty,
            (SegmentKind::Empty, b'.') => SegmentKind::Dot,
            (SegmentKind::Dot, b'.') => SegmentKind::Dots,
            _ => SegmentKind::Ordinary,
        };
    }
    Ok(())
}

/// What a segment is as far as it was read.
#[derive(Clone, Copy)]
enum SegmentKind {
    Empty,
    /// `.`
    Dot,
    /// `..`
    Dots,
    Ordinary,
}

fn encoded(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::RouteKind;
    use super::super::trial::stays_under;
    use super::*;

    #[track_caller]
    fn check_refused(path: &str, why: &str) {
        assert_eq!(check(path).expect_err(path).to_string(), why, "{path:?}");
    }

    #[test]
    fn a_dot_segment_is_refused_in_any_spelling() {
        let spelt = [".", "..", "%2e", "%2E", ".%2e", "%2e.", "%2e%2E", "%252e", "%25%32%65.", "%25252e"];
        let ends = [
            "", "/x", "%2f", "%2Fx", "%5c", ";", ";x=y", "%3b", "%3Bx", ";a/b", "%252f", "%3f", "%3Fx", "%23", "%2523x",
        ];
        // Three layers deep is beyond what a service behind one gateway could undo.
        for dots in spelt.into_iter().filter(|dots| *dots != "%25252e") {
            for end in ends {
                for start in ["/", "/a/", "/a%2f", "/a%5C", "/a/b//", "/a%252f"] {
                    check_refused(&format!("{start}{dots}{end}"), "the path has a dot segment");
                }
            }
        }
        assert_eq!(check("/%25252e"), Ok(()));
    }

    #[test]
    fn what_could_be_read_as_something_else_is_refused() {
        check_refused("//evil.example/x", "the path starts with `//`");
        check_refused("//", "the path starts with `//`");
        check_refused("*", "the path does not start with `/`");
        check_refused("", "the path does not start with `/`");
        check_refused("/a\\b", "the path has a `\\`");
        check_refused("/a%00", "the path has a `%00`");
        check_refused("/a\u{7f}", "the path has a control character");
        check_refused("/a\tb", "the path has a control character");
        check_refused("/bücher", "the path has a byte that is not ASCII");
        check_refused("/a%", "the path has a broken percent-encoding");
        check_refused("/a%2", "the path has a broken percent-encoding");
        check_refused("/a%2x", "the path has a broken percent-encoding");
        check_refused("/a%+1", "the path has a broken percent-encoding");
        check_refused("/a%u002e", "the path has a broken percent-encoding");
    }

    #[test]
    fn all_else_survives_byte_for_byte() {
        let paths = [
            "/",
            "/a//b",
            "/a/",
            "/a/;v=1",
            "/;",
            "/...",
            "/.a",
            "/a.",
            "/..a",
            "/a..",
            "/a/.well-known/x",
            "/a;..",
            "/a/b;x=..;",
        ];
        let encoded = [
            "/%2f",
            "/a%2Fb",
            "/a%5cb",
            "/%20%C3%BC",
            "/%25",
            "/100%25",
            "/%2520",
            "/%2500",
            "/%2e%2e%2e",
            "/a%2e%2e",
            "/%2e%2ea",
        ];
        for path in paths.into_iter().chain(encoded) {
            assert_eq!(check(path), Ok(()), "{path:?}");
            check_built(path, 0, "/v1", &format!("/v1{path}"));
            check_built(&format!("{path}?"), 0, "", &format!("{path}?"));
        }
    }

    #[track_caller]
    fn check_built(asked: &str, strip: usize, base_path: &str, expected: &str) {
        let built = build_from(asked, strip, base_path);
        assert_eq!(built.as_ref().map(PathAndQuery::as_str), Ok(expected), "{asked:?}");
    }

    fn build_from(asked: &str, strip: usize, base_path: &str) -> Result<PathAndQuery, TargetError> {
        let asked = PathAndQuery::from_maybe_shared(asked.to_owned().into_bytes()).expect("a path and query");
        let found = Match { service: 0, kind: RouteKind::DefaultPath, strip, prefix: "", within: "", prepend: true };
        build(&asked, &found, base_path)
    }

    #[test]
    fn the_base_path_comes_before_what_is_left_and_the_query_passes_as_it_came() {
        check_built("/pay/orders?x=1&y=%zz//..", 4, "/v1", "/v1/orders?x=1&y=%zz//..");
        check_built("/pay", 4, "/v1", "/v1");
        check_built("/pay/", 4, "/v1", "/v1/");
        check_built("/pay", 4, "", "/");
        check_built("/pay?", 4, "", "/?");
        check_built("/pay/?a?b", 4, "", "/?a?b");
        check_built("?x=1", 0, "", "/?x=1");
        check_built("?x=1", 0, "/v1", "/v1/?x=1");
    }

    #[test]
    fn a_path_that_starts_with_two_slashes_once_stripped_is_refused() {
        for base_path in ["", "/v1"] {
            assert_eq!(build_from("/pay//evil.example", 4, base_path), Err(TargetError::DoubleSlash));
        }
    }

    #[test]
    fn a_target_that_outgrows_its_limit_is_refused() {
        let asked = format!("/{}", "a".repeat(65_530));

        assert_eq!(build_from(&asked, 0, "/v1/").map(|built| built.as_str().len()), Err(TargetError::TooLong));
        assert_eq!(build_from(&asked, 0, "/v1").map(|built| built.as_str().len()), Ok(65_534));
    }

    fn any_path() -> impl Strategy<Value = String> {
        let pieces = [
            "/",
            "/",
            ".",
            ".",
            "..",
            "%2e",
            "%2E",
            "%252e",
            "%25%32%65",
            "%25",
            "2e",
            "%2f",
            "%5c",
            "%252F",
            "\\",
            ";",
            "%3b",
            "%253B",
            "%3f",
            "%253F",
            "%23",
            "a",
            "b",
            "%61",
            "%00",
            "%",
        ];
        let path = prop::collection::vec(proptest::sample::select(pieces.to_vec()), 0..9);
        path.prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn nothing_sent_leaves_the_base_path(path in any_path()) {
            if check(&path).is_err() {
                return Ok(());
            }
            let sent = build_from(&format!("/pay{path}"), 4, "/base/path").expect("checked");

            stays_under(&sent, &["base", "path"]);
        }

        #[test]
        fn nothing_but_dots_slashes_and_encodings_is_refused(path in "(/[a-z0-9_~!$&'()*+,;=:@-]{1,8}){1,6}/?") {
            prop_assert_eq!(check(&path), Ok(()));
        }
    }
}
