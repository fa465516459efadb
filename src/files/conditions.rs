//! Conditions on a request for a file (RFC 9110 §13), and the one range that is asked for (§14). Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
use http::{HeaderMap, HeaderName};

/// What is known of the file that a request is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileVersion {
    pub(crate) size: Option<u64>,
    /// Seconds since 1970.
    pub(crate) modified: Option<i64>,
}

/// What becomes of a request by its conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    GoesOn,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// Which part of a file is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RangePart {
    Whole,
    /// From the first byte to before the second.
    Range(u64, u64),
    /// 416.
    Unsatisfiable,
}

impl FileVersion {
    /// A weak one: a file that changes twice within a second, and keeps its size, has the same. None where only the size is
    /// known: another version may well have the same.
    pub(crate) fn tag(self) -> Option<String> {
        let (size, modified) = self.size.zip(self.modified)?;
        Some(format!("W/\"{modified:x}-{size:x}\""))
    }

    /// `Last-Modified`.
    pub(crate) fn moment(self) -> Option<SystemTime> {
        let seconds = u64::try_from(self.modified?).ok()?;
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    }
}

/// Whether a request to read goes on; what it is about is there.
pub(crate) fn of_reading(fields: &HeaderMap, version: FileVersion) -> Condition {
    if !allows(fields, Some(version)) {
        return Condition::Failed;
    }
    let is_unchanged = match all(fields, &IF_NONE_MATCH) {
        Some(tags) => matches(&tags, version),
        None => {
            let since = moment(fields, &IF_MODIFIED_SINCE);
            since.zip(version.moment()).is_some_and(|(since, modified)| modified <= since)
        }
    };
    if is_unchanged { Condition::NotModified } else { Condition::GoesOn }
}

/// Whether a request to change goes on; `None`: there is no such file.
pub(crate) fn of_writing(fields: &HeaderMap, version: Option<FileVersion>) -> Condition {
    let is_in_the_way = || {
        let tags = all(fields, &IF_NONE_MATCH);
        tags.zip(version).is_some_and(|(tags, version)| matches(&tags, version))
    };
    if !allows(fields, version) || is_in_the_way() { Condition::Failed } else { Condition::GoesOn }
}

/// Whether it depends on what is there.
pub(crate) fn has_any(fields: &HeaderMap) -> bool {
    [IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE].iter().any(|name| fields.contains_key(name))
}

/// Whether no file may be there: what `If-None-Match: *` says.
pub(crate) fn wants_none(fields: &HeaderMap) -> bool {
    all(fields, &IF_NONE_MATCH).is_some_and(|tags| tags.trim() == "*")
}

/// `If-Match` and `If-Unmodified-Since`. Our tags are weak and compared all the same: there are no others.
fn allows(fields: &HeaderMap, version: Option<FileVersion>) -> bool {
    if let Some(tags) = all(fields, &IF_MATCH) {
        return version.is_some_and(|version| matches(&tags, version));
    }
    match (moment(fields, &IF_UNMODIFIED_SINCE), version) {
        (Some(since), Some(version)) => version.moment().is_none_or(|modified| modified <= since),
        // Without such a file, or such a date on either side, there is no condition (RFC 9110 §13.1.4).
        _ => true,
    }
}

fn matches(tags: &str, version: FileVersion) -> bool {
    if tags.trim() == "*" {
        return true;
    }
    let Some(own) = version.tag() else { return false };
    let own = own.trim_start_matches("W/");
    tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == own)
}

/// The one range of `Range`, of a file of this size. What is no range of bytes, or several, asks for all of it.
pub(crate) fn part(fields: &HeaderMap, size: u64) -> RangePart {
    // With a weak tag or a date nobody can tell that the rest is of the same file.
    if fields.contains_key(IF_RANGE) {
        return RangePart::Whole;
    }
    let Some(range) = all(fields, &RANGE).and_then(|range| single(&range)) else { return RangePart::Whole };
    match range {
        (Some(first), last) if first < size => {
            let end = last.map_or(size, |last| last.saturating_add(1).min(size));
            RangePart::Range(first, end)
        }
        (None, Some(last)) if last > 0 && size > 0 => RangePart::Range(size.saturating_sub(last), size),
        _ => RangePart::Unsatisfiable,
    }
}

/// `bytes=A-B`, `A-` or `-N`.
fn single(range: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, range) = range.split_once('=')?;
    let (first, last) = range.split_once('-').filter(|_| unit.trim().eq_ignore_ascii_case("bytes"))?;
    let number = |text: &str| match text.trim() {
        "" => Some(None),
        // What no number here can hold is beyond any file.
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(Some(digits.parse().unwrap_or(u64::MAX))),
        _ => None,
    };
    match (number(first)?, number(last)?) {
        (Some(first), Some(last)) if last < first => None,
        (None, None) => None,
        range => Some(range),
    }
}

/// All values of a field, as one list.
fn all(fields: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values: Vec<_> = fields.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

fn moment(fields: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(fields.get(name)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: FileVersion = FileVersion { size: Some(100), modified: Some(1_700_000_000) };
    const TAG: &str = "W/\"6553f100-64\"";

    fn fields(all: &[(&'static str, &str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn reading_goes_on_unless_nothing_changed() {
        let at = "Tue, 14 Nov 2023 22:13:20 GMT";
        let before = "Tue, 14 Nov 2023 22:13:19 GMT";
        let check = |given: &[(&'static str, &str)], wanted| {
            assert_eq!(of_reading(&fields(given), VERSION), wanted, "{given:?}");
        };
        assert_eq!(VERSION.tag().unwrap(), TAG);
        check(&[], Condition::GoesOn);
        check(&[("if-none-match", TAG)], Condition::NotModified);
        check(&[("if-none-match", "\"6553f100-64\", \"x\"")], Condition::NotModified);
        check(&[("if-none-match", "*")], Condition::NotModified);
        check(&[("if-none-match", "\"x\""), ("if-modified-since", at)], Condition::GoesOn);
        check(&[("if-modified-since", at)], Condition::NotModified);
        check(&[("if-modified-since", before)], Condition::GoesOn);
        check(&[("if-modified-since", "yesterday")], Condition::GoesOn);
        check(&[("if-match", "\"x\"")], Condition::Failed);
        check(&[("if-match", TAG)], Condition::GoesOn);
        check(&[("if-unmodified-since", before)], Condition::Failed);
        check(&[("if-match", TAG), ("if-unmodified-since", before)], Condition::GoesOn);
    }

    #[test]
    fn a_size_alone_tells_no_version_from_another() {
        let version = FileVersion { modified: None, ..VERSION };
        let reading = |name, value: &str| of_reading(&fields(&[(name, value)]), version);

        assert_eq!(version.tag(), None);
        assert_eq!(reading("if-none-match", "W/\"--64\""), Condition::GoesOn);
        assert_eq!(reading("if-none-match", "*"), Condition::NotModified);
        assert_eq!(reading("if-match", "W/\"--64\""), Condition::Failed);
        assert_eq!(reading("if-match", "*"), Condition::GoesOn);
    }

    #[test]
    fn a_date_is_no_condition_of_a_file_whose_time_nobody_knows() {
        let version = FileVersion { modified: None, ..VERSION };
        let since = fields(&[("if-unmodified-since", "Tue, 14 Nov 2023 22:13:19 GMT")]);

        assert_eq!(of_reading(&since, version), Condition::GoesOn);
        assert_eq!(of_writing(&since, Some(version)), Condition::GoesOn);
        assert_eq!(of_writing(&since, Some(VERSION)), Condition::Failed);
    }

    #[test]
    fn writing_goes_on_if_what_is_there_is_what_was_meant() {
        let check = |given: &[(&'static str, &str)], there, missing| {
            assert_eq!(of_writing(&fields(given), Some(VERSION)), there, "{given:?}");
            assert_eq!(of_writing(&fields(given), None), missing, "{given:?}");
        };
        check(&[], Condition::GoesOn, Condition::GoesOn);
        check(&[("if-none-match", "*")], Condition::Failed, Condition::GoesOn);
        check(&[("if-match", "*")], Condition::GoesOn, Condition::Failed);
        check(&[("if-match", TAG)], Condition::GoesOn, Condition::Failed);
        check(&[("if-match", "\"x\"")], Condition::Failed, Condition::Failed);
    }

    #[test]
    fn one_range_is_a_part_and_anything_else_the_whole() {
        let check = |range: &str, size, wanted| {
            assert_eq!(part(&fields(&[("range", range)]), size), wanted, "{range}");
        };
        check("bytes=0-0", 100, RangePart::Range(0, 1));
        check("bytes=10-", 100, RangePart::Range(10, 100));
        check("bytes=10-500", 100, RangePart::Range(10, 100));
        check("bytes=-10", 100, RangePart::Range(90, 100));
        check("bytes=-500", 100, RangePart::Range(0, 100));
        check("bytes=100-", 100, RangePart::Unsatisfiable);
        check("bytes=-0", 100, RangePart::Unsatisfiable);
        check("bytes=0-", 0, RangePart::Unsatisfiable);
        check("bytes=-5", 0, RangePart::Unsatisfiable);
        check("bytes=5-3", 100, RangePart::Whole);
        check("bytes=0-1,5-6", 100, RangePart::Whole);
        check("bytes=-", 100, RangePart::Whole);
        check("bytes=+1-2", 100, RangePart::Whole);
        check("lines=0-1", 100, RangePart::Whole);
        check("bytes=0-18446744073709551615", 100, RangePart::Range(0, 100));
        check("Bytes=0-4", 100, RangePart::Range(0, 5));
        check("BYTES=0-4", 100, RangePart::Range(0, 5));
        check("bytes=99999999999999999999-", 100, RangePart::Unsatisfiable);
        check("bytes=99999999999999999999-99999999999999999999", 100, RangePart::Unsatisfiable);
        check("bytes=1-99999999999999999999", 100, RangePart::Range(1, 100));
        check("bytes=-99999999999999999999", 100, RangePart::Range(0, 100));
        assert_eq!(part(&fields(&[("range", "bytes=0-1"), ("if-range", TAG)]), 100), RangePart::Whole);
    }
}
