//! `grpc-timeout`: how long the app that makes a gRPC call waits for it, by its own word. Pure.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

/// What the field says; `None`: nothing, or nothing that gRPC's HTTP/2 protocol knows (at most eight digits and a unit).
pub(super) fn grpc_timeout(fields: &HeaderMap) -> Option<Duration> {
    let (unit, digits) = fields.get(&GRPC_TIMEOUT)?.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > MOST_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = digits.iter().fold(0, |amount, digit| amount * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3_600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const MOST_DIGITS: usize = 8;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_number_and_a_unit_are_a_time_and_nothing_else_is() {
        #[track_caller]
        fn check(text: &str, expected: Option<Duration>) {
            let fields = HeaderMap::from_iter([(GRPC_TIMEOUT.clone(), HeaderValue::from_str(text).unwrap())]);

            assert_eq!(grpc_timeout(&fields), expected, "{text}");
        }

        check("1H", Some(Duration::from_secs(3_600)));
        check("2M", Some(Duration::from_secs(120)));
        check("03S", Some(Duration::from_secs(3)));
        check("99999999m", Some(Duration::from_millis(99_999_999)));
        check("4u", Some(Duration::from_micros(4)));
        check("5n", Some(Duration::from_nanos(5)));
        for text in ["", "S", "5", "5s", "123456789S", "-1S", "+1S", "1.5S", "1 S", " 1S"] {
            check(text, None);
        }
        assert_eq!(grpc_timeout(&HeaderMap::new()), None);
    }
}
