//! A request's target given as any bytes, as tests and the fuzz target do it.

use http::uri::PathAndQuery;
use percent_encoding::percent_decode;

use super::target::{build, check};
use super::{Match, RouteKind};

/// Panics unless a target that is let through is sent byte for byte, and names a place under the base path to every
/// service, however it reads paths. Says whether it is let through.
pub(crate) fn nothing_leaves_the_base_path(bytes: &[u8]) -> bool {
    let Ok(asked) = PathAndQuery::try_from(bytes) else { return false };
    if check(asked.path()).is_err() {
        return false;
    }
    let first_segment = asked.path()[1..].find('/').map_or(asked.path().len(), |slash| 1 + slash);
    for strip in [0, first_segment] {
        let found = Match { service: 0, kind: RouteKind::DefaultPath, strip, prefix: "", within: "", prepend: true };
        // What is too long, or starts with `//` now, is refused here.
        let Ok(sent) = build(&asked, &found, "/base/path") else { continue };

        assert_eq!(sent.path(), format!("/base/path{}", &asked.path()[strip..]));
        assert_eq!(sent.query(), asked.query());
        stays_under(&sent, &["base", "path"]);
    }
    true
}

/// Panics where a service that decodes the path up to twice would find it elsewhere.
#[track_caller]
pub(super) fn stays_under(sent: &PathAndQuery, base: &[&str]) {
    for decodings in 0..3 {
        let place = resolve(sent.path(), decodings);
        assert!(
            place.iter().zip(base).filter(|(one, other)| one == other).count() == base.len(),
            "decoded {decodings} times, {sent} is at {place:?}"
        );
    }
}

/// Reads a path as the most obliging service would, and says where it ends up.
fn resolve(path: &str, decodings: usize) -> Vec<String> {
    let mut bytes = path.as_bytes().to_vec();
    for _ in 0..decodings {
        bytes = percent_decode(&bytes).collect();
    }
    // Who decodes too early takes what comes then for the query, or for a fragment.
    let end = bytes.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(bytes.len());
    let mut place = Vec::new();
    for segment in String::from_utf8_lossy(&bytes[..end]).split(['/', '\\']) {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => drop(place.pop()),
            name => place.push(name.to_owned()),
        }
    }
    place
}
