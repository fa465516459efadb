//! `allow`: which requests a service may be sent.

use http::Method;

use crate::config::{self, Report};

/// Methods, and patterns over the path that is sent.
#[derive(Debug)]
pub(crate) struct Allow {
    /// Empty: all.
    methods: Vec<Method>,
    /// Empty: all.
    paths: Vec<Pattern>,
}

/// A pattern's segments.
#[derive(Debug)]
struct Pattern(Vec<PatternSegment>);

#[derive(Debug)]
enum PatternSegment {
    /// `**`: any number of segments, also none.
    Any,
    /// The pieces between the `*`s of one segment; a single piece has to be equal.
    Pieces(Vec<String>),
}

impl Allow {
    /// Reads it, and reports patterns that nothing under this base path can match.
    pub(crate) fn compile(written: &config::AllowConfig, base_path: &str, report: &mut Report) -> Self {
        let allow = Self::read(written);
        let idle = written.paths.iter().zip(&allow.paths).filter(|(_, pattern)| !pattern.reaches_under(base_path));
        for (path, _) in idle {
            let message =
                format!("no request matches this: every path that is sent begins with `{base_path}`, as the url does");
            report.warning(path.span, message).help(format!("write `{base_path}{}`", path.value));
        }
        allow
    }

    pub(crate) fn read(written: &config::AllowConfig) -> Self {
        let paths = written.paths.iter().map(|path| Pattern::compile(&path.value)).collect();
        Self { methods: written.methods.clone(), paths }
    }

    /// Whether some methods are refused.
    pub(crate) fn limits_methods(&self) -> bool {
        !self.methods.is_empty()
    }

    /// Whether some paths are refused.
    pub(crate) fn limits_paths(&self) -> bool {
        !self.paths.is_empty()
    }

    /// Whether a request with this method and this path (as sent, base path included) may go.
    pub(crate) fn admits(&self, method: &Method, path_sent: &str) -> bool {
        let method_fits = self.methods.is_empty() || self.methods.contains(method);
        method_fits && (self.paths.is_empty() || self.paths.iter().any(|pattern| pattern.fits(path_sent)))
    }
}

impl Pattern {
    fn compile(written: &str) -> Self {
        let segments = written.split('/').skip(1).map(|segment| match segment {
            "**" => PatternSegment::Any,
            pieces => PatternSegment::Pieces(pieces.split('*').map(str::to_owned).collect()),
        });
        Self(segments.collect())
    }

    /// Whether it fits any path that lies under `base_path`.
    fn reaches_under(&self, base_path: &str) -> bool {
        let segments: Vec<&str> = base_path.split('/').skip(1).collect();
        reaches_under(&self.0, &segments)
    }

    fn fits(&self, path: &str) -> bool {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        fits(&self.0, &segments)
    }
}

/// Greedy with one step back, so that a pattern with many `**` takes no exponential time.
fn fits(pattern: &[PatternSegment], path: &[&str]) -> bool {
    let (mut at, mut on) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while on < path.len() {
        match pattern.get(at) {
            Some(PatternSegment::Any) => {
                retry = Some((at, on));
                at += 1;
                continue;
            }
            Some(PatternSegment::Pieces(pieces)) if segment_fits(pieces, path[on]) => {
                at += 1;
                on += 1;
                continue;
            }
            _ => {}
        }
        // The last `**` takes one segment more.
        let Some((any, taken)) = retry else { return false };
        retry = Some((any, taken + 1));
        at = any + 1;
        on = taken + 1;
    }
    pattern[at..].iter().all(|rest| matches!(rest, PatternSegment::Any))
}

/// Whether `pattern` fits `path`, or `path` with some more segments. Once the segments are used up there is always a
/// rest that fits; until then the first `**` takes all of them.
fn reaches_under(pattern: &[PatternSegment], path: &[&str]) -> bool {
    match (pattern, path) {
        (_, []) | ([PatternSegment::Any, ..], _) => true,
        ([PatternSegment::Pieces(pieces), pattern @ ..], [segment, path @ ..]) => {
            segment_fits(pieces, segment) && reaches_under(pattern, path)
        }
        ([], _) => false,
    }
}

fn segment_fits(pieces: &[String], segment: &str) -> bool {
    let [first, middle @ .., last] = pieces else {
        return pieces.first().is_some_and(|only| only == segment);
    };
    // Only a pattern that has a `%` itself may have been written for one.
    if has_separator(segment) && !pieces.iter().any(|piece| piece.contains('%')) {
        return false;
    }
    let Some(mut rest) = segment.strip_prefix(first.as_str()) else { return false };
    for piece in middle {
        let Some(found) = rest.find(piece.as_str()) else { return false };
        if has_separator(&rest[..found]) {
            return false;
        }
        rest = &rest[found + piece.len()..];
    }
    rest.strip_suffix(last.as_str()).is_some_and(|covered| !has_separator(covered))
}

/// Whether a `/` or `\` is in what a `*` stands for, encoded, or encoded twice: a service that decodes it would see two
/// segments where one was allowed.
fn has_separator(covered: &str) -> bool {
    let covered = covered.to_ascii_lowercase();
    ["%2f", "%5c", "%252f", "%255c"].iter().any(|separator| covered.contains(separator))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::At;

    #[track_caller]
    fn check(pattern: &str, path: &str, fits: bool) {
        assert_eq!(Pattern::compile(pattern).fits(path), fits, "{pattern} over {path}");
    }

    #[test]
    fn a_star_stays_within_its_segment_and_two_span_any_number() {
        check("/v1/orders", "/v1/orders", true);
        check("/v1/orders", "/v1/orders/", false);
        check("/v1/orders", "/v1/ordersX", false);
        check("/v1/*", "/v1/orders", true);
        check("/v1/*", "/v1/a%20b", true);
        check("/v1/a%2fb*", "/v1/a%2fbc", true);
        for separator in ["%2f", "%2F", "%5c", "%252f", "%255C"] {
            check("/v1/*", &format!("/v1/a{separator}b"), false);
            check("/v1/a*c*d", &format!("/v1/a{separator}cd"), false);
            check("/v1/**", &format!("/v1/a{separator}b"), true);
        }
        check("/v1/*", "/v1/orders/7", false);
        check("/v1/*/items", "/v1/7/items", true);
        check("/v1/a*c", "/v1/abc", true);
        check("/v1/a*c", "/v1/ac", true);
        check("/v1/a*b*c", "/v1/aXbYc", true);
        check("/v1/a*b*c", "/v1/aXcYb", false);
        check("/v1/ab*bc", "/v1/abc", false);
        check("/v1/**", "/v1", true);
        check("/v1/**", "/v1/", true);
        check("/v1/**", "/v1/a/b/c", true);
        check("/v1/**", "/v2/a", false);
        check("/v1/**", "/v1X", false);
        check("/**/items", "/items", true);
        check("/**/items", "/v1/orders/items", true);
        check("/**/items/*", "/v1/items/items/7", true);
        check("/**", "/", true);
    }

    #[test]
    fn a_pattern_that_the_base_path_rules_out_is_reported() {
        let idle = |pattern: &str, base_path: &str| {
            let written = config::AllowConfig { methods: Vec::new(), paths: vec![At::nowhere(pattern.to_owned())] };
            let mut report = Report::default();
            Allow::compile(&written, base_path, &mut report);
            report.render(config::Color::Plain)
        };

        for (pattern, base_path) in [
            ("/orders/**", ""),
            ("/v1/orders", "/v1"),
            ("/v1", "/v1"),
            ("/*/orders", "/v1"),
            ("/**/orders", "/v1/eu"),
            ("/v1/**", "/v1/eu"),
            ("/v*/eu/x", "/v1/eu"),
        ] {
            assert_eq!(idle(pattern, base_path), "", "{pattern} under {base_path}");
        }
        for (pattern, base_path) in
            [("/orders/**", "/v1"), ("/v1", "/v1/eu"), ("/v1X/**", "/v1"), ("/*", "/v1/eu"), ("/", "/v1")]
        {
            let message =
                format!("no request matches this: every path that is sent begins with `{base_path}`, as the url does");
            let help = format!("write `{base_path}{pattern}`");
            let text = idle(pattern, base_path);
            assert!(text.starts_with(&format!("warning: {message}\n")) && text.contains(&help), "{text}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = "/**/a".repeat(30) + "/b";

        check(&pattern, &"/a".repeat(2_000), false);
    }

    #[test]
    fn methods_and_paths_must_both_fit() {
        let allow = Allow { methods: vec![Method::GET], paths: vec![Pattern::compile("/v1/**")] };

        assert!(allow.admits(&Method::GET, "/v1/orders"));
        assert!(!allow.admits(&Method::POST, "/v1/orders"));
        assert!(!allow.admits(&Method::GET, "/v2"));
    }
}
