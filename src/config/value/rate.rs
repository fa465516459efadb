//! How often: `100/s`.

use std::fmt;
use std::time::Duration;

use schemars::{Schema, json_schema};

use crate::config::read::{FromText, Wrong};

/// So many in each second, minute or hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    requests: u32,
    unit: RateUnit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RateUnit {
    Second,
    Minute,
    Hour,
}

impl Rate {
    /// The time from one to the next, if they come evenly; rounded up, so that there are never more.
    #[must_use]
    pub fn interval(self) -> Duration {
        let period = Duration::from_secs(self.unit.seconds());
        Duration::from_nanos(u64::try_from(period.as_nanos().div_ceil(self.requests.into())).unwrap_or(u64::MAX))
    }
}

impl RateUnit {
    const ALL: [Self; 3] = [Self::Second, Self::Minute, Self::Hour];

    fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
        }
    }

    fn letter(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "m",
            Self::Hour => "h",
        }
    }
}

/// As it is written.
impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.requests, self.unit.letter())
    }
}

impl std::str::FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::from_text(text).map_err(Wrong::in_one_line)
    }
}

impl FromText for Rate {
    const WHAT: &'static str = "a rate";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let wrong = || Wrong::new("this is no rate").help("write `100/s`, `30/m` or `1000/h`");
        let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
        let unit = RateUnit::ALL.into_iter().find(|known| known.letter() == unit).ok_or_else(wrong)?;
        if number.is_empty() || !number.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(wrong());
        }
        match number.parse() {
            Ok(requests) if (1..=MOST).contains(&requests) => Ok(Self { requests, unit }),
            _ => Err(Wrong::new(format!("expected a whole number from 1 to {MOST}, and a unit")).help("write `100/s`")),
        }
    }

    fn placeholder() -> Self {
        Self { requests: 1, unit: RateUnit::Second }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+/[smh]$" })
    }
}

const MOST: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<u64, &str>) {
        let read = Rate::from_text(text).map(|rate| {
            assert_eq!(rate.to_string(), text);
            u64::try_from(rate.interval().as_nanos()).unwrap()
        });
        assert_eq!(read.map_err(|wrong| wrong.message), expected.map_err(str::to_owned), "{text:?}");
    }

    #[test]
    fn a_rate_is_a_number_in_each_second_minute_or_hour() {
        check("100/s", Ok(10_000_000));
        check("1/s", Ok(1_000_000_000));
        check("3/s", Ok(333_333_334));
        check("30/m", Ok(2_000_000_000));
        check("1/h", Ok(3_600_000_000_000));
        check("1000000/s", Ok(1_000));
        for text in ["100", "100/", "/s", "100/sec", "100 / s", "-1/s", "+1/s", "1.5/s", "1e3/s", "100/d", ""] {
            check(text, Err("this is no rate"));
        }
        for text in ["0/s", "1000001/s", "99999999999/h"] {
            check(text, Err("expected a whole number from 1 to 1000000, and a unit"));
        }
    }
}
