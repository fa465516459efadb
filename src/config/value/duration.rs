//! Durations: `500ms`, `5s`, `2m`, `1h`, and `off` where "none" makes sense.

use std::time::Duration;

use schemars::{Schema, json_schema};

use crate::config::read::{FromText, Wrong};

/// Reads a duration, as on the command line.
///
/// # Errors
/// What is wrong, and what to write.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    Duration::from_text(text)
        .map_err(|wrong| wrong.help.map_or_else(|| wrong.message.clone(), |help| format!("{}; {help}", wrong.message)))
}

impl FromText for Duration {
    const WHAT: &'static str = "a duration";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let digits = text.len() - text.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let wrong = || Wrong::new("this is not a duration").help("write `500ms`, `5s`, `2m` or `1h`");
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "" => return Err(Wrong::new("a duration needs a unit").help(format!("write `{number}s` for seconds"))),
            _ => return Err(wrong()),
        };
        let total = number.checked_mul(milliseconds).map(Self::from_millis).filter(|total| *total <= LONGEST);
        total.ok_or_else(|| {
            Wrong::new("this duration is longer than a year").help("write `off` where there should be no limit")
        })
    }

    fn placeholder() -> Self {
        Self::from_secs(1)
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h)$" })
    }
}

/// A duration that is longer than none.
pub(in crate::config) struct Positive(Duration);

impl From<Positive> for Duration {
    fn from(duration: Positive) -> Self {
        duration.0
    }
}

impl FromText for Positive {
    const WHAT: &'static str = Duration::WHAT;

    fn from_text(text: &str) -> Result<Self, Wrong> {
        match Duration::from_text(text)? {
            Duration::ZERO => Err(Wrong::new("this duration must be longer than 0")),
            duration => Ok(Self(duration)),
        }
    }

    fn placeholder() -> Self {
        Self(Duration::placeholder())
    }

    fn schema() -> Schema {
        <Duration as FromText>::schema()
    }
}

/// A duration, or `off`.
pub(in crate::config) struct OrOff(Option<Duration>);

impl From<OrOff> for Option<Duration> {
    fn from(duration: OrOff) -> Self {
        duration.0
    }
}

impl FromText for OrOff {
    const WHAT: &'static str = "a duration or `off`";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        if text == "off" {
            return Ok(Self(None));
        }
        match Duration::from_text(text)? {
            Duration::ZERO => Err(Wrong::new("this duration must be longer than 0").help("write `off` for no limit")),
            duration => Ok(Self(Some(duration))),
        }
    }

    fn placeholder() -> Self {
        Self(Some(Duration::placeholder()))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^([0-9]+(ms|s|m|h)|off)$" })
    }
}

/// A clock plus this never overflows.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3_600);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<Duration, &str>) {
        let read = Duration::from_text(text).map_err(|wrong| wrong.message);
        assert_eq!(read, expected.map_err(str::to_owned), "{text:?}");
    }

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit() {
        check("500ms", Ok(Duration::from_millis(500)));
        check("5s", Ok(Duration::from_secs(5)));
        check("2m", Ok(Duration::from_secs(120)));
        check("1h", Ok(Duration::from_secs(3_600)));
        check("0s", Ok(Duration::ZERO));
        check("5", Err("a duration needs a unit"));
        check("1.5s", Err("this is not a duration"));
        check("-5s", Err("this is not a duration"));
        check("", Err("this is not a duration"));
        check("5 s", Err("this is not a duration"));
        check("99999999999999999999s", Err("this is not a duration"));
        check("9999999h", Err("this duration is longer than a year"));
    }

    #[test]
    fn off_is_no_duration_but_where_none_makes_sense() {
        check("off", Err("this is not a duration"));
        assert_eq!(OrOff::from_text("off").unwrap().0, None);
        assert_eq!(OrOff::from_text("0s").err().unwrap().help.unwrap(), "write `off` for no limit");
    }
}
