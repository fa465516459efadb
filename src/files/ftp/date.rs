//! Dates in the lines of `LIST`: only where they end counts, as a name follows there. Pure.

use super::facts::digits;
use super::list::Words;

/// What follows a date and a time, if a line goes on with these.
pub(super) fn after(line: &[u8]) -> Option<&[u8]> {
    by_words(line).or_else(|| by_numbers(line))
}

/// `Nov 29 18:42`, `29 Nov 2024`, `29. Nov 18:42`, `Nov 29 18:42:10 2024`.
fn by_words(line: &[u8]) -> Option<&[u8]> {
    let mut rest = Words(line);
    let [first, second, time] = [rest.next()?, rest.next()?, rest.next()?];
    if !(is_month(first) && is_day(second) || is_day(first) && is_month(second)) {
        return None;
    }
    match clock(time) {
        Some(Clock::Minutes) => {}
        // With seconds it is the long form, which always has the year behind.
        Some(Clock::Seconds) => {
            let _year = rest.next().filter(|year| is_year(year))?;
        }
        Some(Clock::Fractions) => return None,
        None if is_year(time) => {}
        None => return None,
    }
    Some(rest.0)
}

/// `2026-11-29 18:42`, `2026-11-29 18:42:10.123456789 +0100`.
fn by_numbers(line: &[u8]) -> Option<&[u8]> {
    let mut rest = Words(line);
    let [date, time] = [rest.next()?, rest.next()?];
    let is_date = date.len() == 10
        && numbers(date, b'-')
            .is_some_and(|[year, month, day]| year >= 1000 && (1..=12).contains(&month) && (1..=31).contains(&day));
    if !is_date {
        return None;
    }
    // Who tells fractions of a second tells the zone as well.
    if matches!(clock(time)?, Clock::Fractions) {
        let _zone = rest.next().filter(|zone| is_zone(zone))?;
    }
    Some(rest.0)
}

/// `11-29-26`, `2026-11-29`, `29.11.2026`, `11/29/2026`, as Windows has it: nothing hangs on which number is which.
pub(super) fn is_numeric(word: &[u8]) -> bool {
    word.len() >= 8 && [b'-', b'/', b'.'].into_iter().any(|between| numbers(word, between).is_some())
}

/// `18:42`, `06:42PM`.
pub(super) fn is_time(word: &[u8]) -> bool {
    let without = [&b"AM"[..], b"PM", b"am", b"pm"].into_iter().find_map(|half| word.strip_suffix(half));
    matches!(clock(without.unwrap_or(word)), Some(Clock::Minutes | Clock::Seconds))
}

enum Clock {
    Minutes,
    Seconds,
    Fractions,
}

fn clock(word: &[u8]) -> Option<Clock> {
    let mut parts = word.split(|byte| *byte == b':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next());
    let is_within = |part: &[u8], most: u64| part.len() <= 2 && digits(part).is_some_and(|part| part <= most);
    if !is_within(hour, 24) || minute.len() != 2 || !is_within(minute, 59) || parts.next().is_some() {
        return None;
    }
    let Some(second) = second else { return Some(Clock::Minutes) };
    let (whole, fraction) = match second.iter().position(|byte| *byte == b'.') {
        None => (second, None),
        Some(point) => (second.get(..point)?, Some(second.get(point + 1..)?)),
    };
    match fraction {
        _ if whole.len() != 2 || !is_within(whole, 60) => None,
        None => Some(Clock::Seconds),
        Some(fraction) => digits(fraction.get(..fraction.len().min(9))?).map(|_| Clock::Fractions),
    }
}

/// Of any language: its name, or its number with a sign for it behind.
fn is_month(word: &[u8]) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_alphabetic() || *byte >= 0x80;
    let name = word.strip_suffix(b".").unwrap_or(word);
    let counted = name.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, sign) = name.split_at(counted);
    let is_number = number.is_empty() || digits(number).is_some_and(|month| (1..=12).contains(&month));
    (2..=LONGEST_MONTH).contains(&sign.len()) && sign.iter().all(is_letter) && is_number
}

/// `1`, `01`, `1.`, or with a sign for it behind.
fn is_day(word: &[u8]) -> bool {
    let counted = word.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, sign) = word.split_at(counted);
    let is_sign = matches!(sign, b"" | b"." | b",") || sign.iter().all(|byte| *byte >= 0x80);
    number.len() <= 2 && digits(number).is_some_and(|day| (1..=31).contains(&day)) && is_sign
}

fn is_year(word: &[u8]) -> bool {
    word.len() == 4 && digits(word).is_some_and(|year| year >= 1000)
}

fn is_zone(word: &[u8]) -> bool {
    word.len() == 5 && matches!(word.first(), Some(b'+' | b'-')) && word.get(1..).and_then(digits).is_some()
}

fn numbers(word: &[u8], between: u8) -> Option<[u64; 3]> {
    let parts = word.split(|byte| *byte == between).map(digits).collect::<Option<Vec<_>>>()?;
    parts.try_into().ok()
}

/// In bytes: of UTF-8 a letter may take four.
const LONGEST_MONTH: usize = 24;
