//! Numbers: counts within bounds, sizes, HTTP statuses, permission bits.

use http::StatusCode;
use schemars::{Schema, SchemaGenerator, json_schema};

use super::At;
use crate::config::diagnostic::Reported;
use crate::config::node::{Node, ScalarKind};
use crate::config::read::{FromNode, FromText, SectionReader, Wrong, mismatch};

/// A whole number from `LEAST` to `MOST`, written as a number.
pub(in crate::config) struct InRange<const LEAST: usize, const MOST: usize>(usize);

impl<const LEAST: usize, const MOST: usize> FromNode for InRange<LEAST, MOST> {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        let Some(scalar) = node.scalar().filter(|scalar| scalar.kind == ScalarKind::Number) else {
            return Err(mismatch(node, "a number", reader.report));
        };
        match scalar.text.parse() {
            Ok(number) if (LEAST..=MOST).contains(&number) => Ok(Self(number)),
            _ => {
                Err(Wrong::new(format!("expected a whole number from {LEAST} to {MOST}"))
                    .report(node.span, reader.report))
            }
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": LEAST, "maximum": MOST })
    }
}

impl<const LEAST: usize, const MOST: usize> From<InRange<LEAST, MOST>> for usize {
    fn from(number: InRange<LEAST, MOST>) -> Self {
        number.0
    }
}

impl<const LEAST: usize, const MOST: usize> From<InRange<LEAST, MOST>> for Option<usize> {
    fn from(number: InRange<LEAST, MOST>) -> Self {
        Some(number.0)
    }
}

/// A size in bytes from `LEAST` to `MOST` KiB: `64KiB`, `8MiB`, `1GiB`, `1TiB`.
pub(in crate::config) struct Size<const LEAST: usize, const MOST: usize>(usize);

impl<const LEAST: usize, const MOST: usize> FromText for Size<LEAST, MOST> {
    const WHAT: &'static str = "a size";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let digits = text.len() - text.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let wrong = || Wrong::new("this is not a size").help(UNITS);
        if number.is_empty() {
            return Err(wrong());
        }
        let number: usize = number.parse().unwrap_or(usize::MAX);
        let bytes = match unit {
            "KiB" => number.checked_mul(1 << 10),
            "MiB" => number.checked_mul(1 << 20),
            "GiB" => number.checked_mul(1 << 30),
            "TiB" => number.checked_mul(1 << 40),
            "" => return Err(Wrong::new("a size needs a unit").help(UNITS)),
            unit => return Err(Wrong::new(format!("`{unit}` is no unit of a size")).help(UNITS)),
        };
        match bytes {
            Some(bytes) if (LEAST << 10..=MOST << 10).contains(&bytes) => Ok(Self(bytes)),
            _ => Err(Wrong::new(format!("expected a size from {} to {}", shown(LEAST), shown(MOST)))),
        }
    }

    fn placeholder() -> Self {
        Self(LEAST << 10)
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+(KiB|MiB|GiB|TiB)$" })
    }
}

/// A number of KiB in the largest unit that it is a whole number of.
fn shown(kib: usize) -> String {
    let units = [(30, "TiB"), (20, "GiB"), (10, "MiB")];
    let unit = units.into_iter().find(|(bits, _)| kib >= 1 << bits && kib.is_multiple_of(1 << bits));
    unit.map_or_else(|| format!("{kib}KiB"), |(bits, name)| format!("{}{name}", kib >> bits))
}

const UNITS: &str = "write `64KiB`, `8MiB` or `1GiB`";

impl<const LEAST: usize, const MOST: usize> From<Size<LEAST, MOST>> for usize {
    fn from(size: Size<LEAST, MOST>) -> Self {
        size.0
    }
}

impl<const LEAST: usize, const MOST: usize> From<Size<LEAST, MOST>> for Option<usize> {
    fn from(size: Size<LEAST, MOST>) -> Self {
        Some(size.0)
    }
}

/// A status that a service may answer with for good: 400 to 599.
pub(in crate::config) struct StatusNumber(pub(in crate::config) StatusCode);

impl FromNode for StatusNumber {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        let number = InRange::<400, 599>::from_node(node, reader)?.0;
        let status = u16::try_from(number).ok().and_then(|number| StatusCode::from_u16(number).ok());
        status.map(Self).ok_or(Reported)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        InRange::<400, 599>::schema(generator)
    }
}

/// Permission bits in octal: `"0600"`.
pub(in crate::config) struct Mode(u32);

impl FromText for Mode {
    const WHAT: &'static str = "permission bits";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let digits = text.strip_prefix("0o").unwrap_or(text);
        let octal = (1..=4).contains(&digits.len()) && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
        match u32::from_str_radix(digits, 8) {
            Ok(mode) if octal && mode <= 0o777 => Ok(Self(mode)),
            _ => Err(Wrong::new("these are no permission bits").help("write them in octal, like `\"0600\"`")),
        }
    }

    fn placeholder() -> Self {
        Self(0o600)
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["string", "integer"] })
    }
}

impl From<At<Mode>> for At<u32> {
    fn from(mode: At<Mode>) -> Self {
        Self { value: mode.value.0, span: mode.span }
    }
}

impl From<Mode> for u32 {
    fn from(mode: Mode) -> Self {
        mode.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_size(text: &str, expected: Result<usize, &str>) {
        let read = Size::<8, 1024>::from_text(text).map(usize::from).map_err(|wrong| wrong.message);
        assert_eq!(read, expected.map_err(str::to_owned), "{text:?}");
    }

    #[test]
    fn a_size_is_a_whole_number_and_a_unit_within_its_bounds() {
        check_size("64KiB", Ok(65_536));
        check_size("1MiB", Ok(1 << 20));
        check_size("64", Err("a size needs a unit"));
        check_size("1GiB", Err("expected a size from 8KiB to 1MiB"));
        check_size("64KB", Err("`KB` is no unit of a size"));
        check_size("big", Err("this is not a size"));
        check_size("7KiB", Err("expected a size from 8KiB to 1MiB"));
        check_size("99999999999999999MiB", Err("expected a size from 8KiB to 1MiB"));
    }

    #[track_caller]
    fn check_mode(text: &str, expected: Option<u32>) {
        assert_eq!(Mode::from_text(text).ok().map(u32::from), expected, "{text:?}");
    }

    #[test]
    fn permission_bits_are_octal() {
        check_mode("0600", Some(0o600));
        check_mode("660", Some(0o660));
        check_mode("0o666", Some(0o666));
        check_mode("0680", None);
        check_mode("1777", None);
        check_mode("+600", None);
        check_mode("", None);
    }
}
