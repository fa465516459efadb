//! Lines of `LIST`, which no standard describes: as `ls -l` has them, or as Windows does. Pure.
//!
//! Their times are in the server's own zone, which it does not tell, and are passed over. A name is read only where it is certain
//! where it begins: a line of another form is no entry that could be left out.

use super::super::entry::EntryKind;
use super::facts::digits;
use super::lines::UnreadLine;
use super::{FtpEntry, date};

/// What a line says. `None` for one that is known to be none (`total 12`), and for the folder itself and the one above.
pub(super) fn entry(line: &[u8]) -> Result<Option<(&[u8], FtpEntry)>, UnreadLine> {
    if is_heading(line) {
        return Ok(None);
    }
    let (name, entry) = unix(line).or_else(|| windows(line)).filter(|(name, _)| !name.is_empty()).ok_or(UnreadLine)?;
    Ok((!matches!(name, b"." | b"..")).then_some((name, entry)))
}

/// Nothing, or how many blocks all of it takes.
fn is_heading(line: &[u8]) -> bool {
    let mut words = Words(line);
    let is_total = |word: &[u8]| word.eq_ignore_ascii_case(b"total");
    match (words.next(), words.next(), words.next()) {
        (None, ..) => true,
        (Some(first), Some(size), None) => is_total(first) && size.first().is_some_and(u8::is_ascii_digit),
        _ => false,
    }
}

/// `-rw-r--r-- 1 owner group 12 Nov 29 18:42 name`: the name follows the time after one blank, whatever is in it.
fn unix(line: &[u8]) -> Option<(&[u8], FtpEntry)> {
    let kind = match line.first()? {
        b'-' => EntryKind::File,
        b'd' => EntryKind::Folder,
        b'l' => EntryKind::Link,
        b'b' | b'c' | b'p' | b's' | b'D' => EntryKind::Other,
        _ => return None,
    };
    let mut rest = Words(line);
    let rights = rest.next()?.get(1..)?;
    // What follows nine of them says that there are more elsewhere.
    let (rights, more) = rights.split_at_checked(9)?;
    let is_right = |byte: &u8| matches!(byte, b'r' | b'w' | b'x' | b'-' | b's' | b'S' | b't' | b'T' | b'l' | b'L');
    if !rights.iter().all(is_right) || !matches!(more, b"" | b"+" | b"." | b"@") {
        return None;
    }
    let (size, after) = size_and_date(rest.0)?;
    let name = after.strip_prefix(b" ")?;
    let entry = FtpEntry { kind, size: size.filter(|_| kind == EntryKind::File), modified: None };
    Some((if kind == EntryKind::Link { without_target(name) } else { name }, entry))
}

/// Behind the rights stand how many links there are, the owner and the group, mostly; some leave one out, and an owner may have
/// blanks. A size before a date is what all have. It is looked for first where most have it: behind it a name may look like a
/// size and a date, too.
fn size_and_date(behind_rights: &[u8]) -> Option<(Option<u64>, &[u8])> {
    [3, 2, 1, 0].into_iter().chain(4..MOST_WORDS).find_map(|skipped| {
        let mut rest = Words(behind_rights);
        let size = rest.nth(skipped)?;
        is_size(size).then(|| date::after(rest.0)).flatten().map(|after| (number(size), after))
    })
}

/// `12`, `1,234`, `8,` of two numbers of a device, and `4.0K`, which says too little to be a size.
fn is_size(word: &[u8]) -> bool {
    let (first, rest) = word.split_first().unwrap_or((&0, b""));
    first.is_ascii_digit() && rest.iter().all(|byte| byte.is_ascii_digit() || b",.KMGTB".contains(byte))
}

/// Digits, as they are or in groups of three.
fn number(word: &[u8]) -> Option<u64> {
    if !word.contains(&b',') {
        return digits(word);
    }
    let groups: Vec<_> = word.split(|byte| *byte == b',').collect();
    let (first, others) = groups.split_first()?;
    let is_grouped = (1..=3).contains(&first.len()) && others.iter().all(|group| group.len() == 3);
    is_grouped.then(|| digits(&groups.concat())).flatten()
}

/// `11-29-26  06:42PM       <DIR>          name`, `2026-11-29  18:42  1,234 name`.
fn windows(line: &[u8]) -> Option<(&[u8], FtpEntry)> {
    let mut rest = Words(line);
    let [date, time, mut size] = [rest.next()?, rest.next()?, rest.next()?];
    if !date::is_numeric(date) || !date::is_time(time) {
        return None;
    }
    if matches!(size, b"AM" | b"PM" | b"am" | b"pm") {
        size = rest.next()?;
    }
    let entry = match size {
        b"<DIR>" => FtpEntry { kind: EntryKind::Folder, size: None, modified: None },
        b"<SYMLINK>" | b"<SYMLINKD>" | b"<JUNCTION>" => FtpEntry { kind: EntryKind::Link, size: None, modified: None },
        size => FtpEntry { kind: EntryKind::File, size: Some(number(size)?), modified: None },
    };
    // A name may begin with blanks, and nobody could tell: after a folder's mark there are ten.
    let name = rest.0.get(rest.0.iter().position(|byte| *byte != b' ')?..)?;
    Some((if entry.kind == EntryKind::Link { without_bracket(without_target(name)) } else { name }, entry))
}

/// ` -> ` may be in a name, too; the first is the likelier one.
fn without_target(name: &[u8]) -> &[u8] {
    let arrow = name.windows(4).position(|bytes| bytes == b" -> ");
    arrow.and_then(|at| name.get(..at)).unwrap_or(name)
}

/// Windows writes a link's target in brackets behind its name.
fn without_bracket(name: &[u8]) -> &[u8] {
    let open = name.windows(2).position(|bytes| bytes == b" [").filter(|_| name.ends_with(b"]"));
    open.and_then(|at| name.get(..at)).unwrap_or(name)
}

/// Words of a line, and what is left of it.
pub(super) struct Words<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.0.iter().position(|byte| *byte != b' ')?;
        let from = self.0.get(start..)?;
        let end = from.iter().position(|byte| *byte == b' ').unwrap_or(from.len());
        let (word, rest) = from.split_at(end);
        self.0 = rest;
        Some(word)
    }
}

/// Of an owner and a group, with blanks in both.
const MOST_WORDS: usize = 12;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Told<'a> = (&'a str, EntryKind, Option<u64>);

    #[track_caller]
    fn check(line: &str, wanted: Result<Option<Told<'_>>, UnreadLine>) {
        let read = entry(line.as_bytes());
        let told =
            read.map(|read| read.map(|(name, entry)| (std::str::from_utf8(name).unwrap(), entry.kind, entry.size)));
        assert_eq!(told, wanted, "{line}");
    }

    #[track_caller]
    fn is_file(line: &str, name: &str, size: impl Into<Option<u64>>) {
        check(line, Ok(Some((name, EntryKind::File, size.into()))));
    }

    #[test]
    fn lines_of_real_servers_are_read() {
        is_file("-rw-------    1 1000     1000           12 Nov 29 18:42 a", "a", 12);
        is_file("-rw-r--r--   1 ftp      ftp    5000000000 Nov 29  2024  two  blanks ", " two  blanks ", 5_000_000_000);
        is_file("-rw-r--r--    1 owner       77 Jan  2 03:04 without a group", "without a group", 77);
        is_file("11-29-2026  06:42PM                   12 a b", "a b", 12);
        for (line, name, kind) in [
            ("drwxr-xr-x    2 1000     1000         4096 Nov 29 18:42 folder", "folder", EntryKind::Folder),
            ("lrwxrwxrwx    1 0        0               2 Nov 29 18:42 link -> a b", "link", EntryKind::Link),
            ("prw-r--r--    1 0        0               0 Nov 29 18:42 pipe", "pipe", EntryKind::Other),
            ("brw-rw----    1 root disk 8, 0 Jan 01 00:00 sda", "sda", EntryKind::Other),
            ("drwxrwxrwt    2 0        0            4096 Nov 29 18:42 sticky", "sticky", EntryKind::Folder),
            ("11-29-26  06:42PM       <DIR>          folder", "folder", EntryKind::Folder),
            ("11-29-26  06:42PM       <SYMLINK>      link [C:\\a]", "link", EntryKind::Link),
        ] {
            check(line, Ok(Some((name, kind, None))));
        }
    }

    #[test]
    fn what_is_known_to_be_no_entry_is_left_out() {
        for line in [
            "drwxr-xr-x    2 0        0            4096 Nov 29 18:42 .",
            "drwxr-xr-x    2 0        0            4096 Nov 29 18:42 ..",
            "11-29-26  06:42PM       <DIR>          ..",
            "total 12",
            "total 4.0K",
            "Total 0",
            "",
            "  ",
        ] {
            check(line, Ok(None));
        }
    }

    #[test]
    fn other_dates_and_sizes_and_owners_are_read_where_the_name_is_certain() {
        is_file("-rw-rw-r--+ 1 o g 5 Jan 01 00:00 acl", "acl", 5);
        is_file("-rw-r--r--. 1 o g 5 Jan 01 00:00 selinux", "selinux", 5);
        is_file("-rw-r--r-- 1 DOMAIN\\some user group 5 Jan 01 00:00 blanks", "blanks", 5);
        is_file("-rw-r--r-- 1 o g 5 1. Jan 00:00 day first", "day first", 5);
        is_file("-rw-r--r-- 1 o g 5 01 Jan 2024  blank", " blank", 5);
        is_file("-rw-r--r-- 1 o g 5 2026-01-01 00:00 iso", "iso", 5);
        is_file("-rw-r--r-- 1 o g 5 2026-01-01 00:00:00.000000000 +0100 full iso", "full iso", 5);
        is_file("-rw-r--r-- 1 o g 5 Jan  1 00:00:59 2024 bsd", "bsd", 5);
        is_file("-rw-r--r-- 1 o g 5 jan. 01 00:00 french", "french", 5);
        is_file("-rw-r--r-- 1 o g 5 Mär 01 00:00 german", "german", 5);
        is_file("-rw-r--r-- 1 o g 5  1月  1 2024 japanese", "japanese", 5);
        is_file("-rw-r--r-- 1 o g 1,234,567 Jan 01 00:00 commas", "commas", 1_234_567);
        is_file("-rw-r--r-- 1 o g 4.0K Jan 01 00:00 rounded", "rounded", None);
        is_file("-rw-r--r-- 1 o g 1,23 Jan 01 00:00 what", "what", None);
        is_file("-rw-r--r-- 1 o 7 Jan 01 00:00 report 9 Feb 02 2024 x", "report 9 Feb 02 2024 x", 7);
        is_file("-rw-r--r-- 1 jan 20 2024 Jan 01 00:00 group of digits", "group of digits", 2024);
        is_file("-rw-r--r-- 1 o g 5 Jan 01 00:00 7 Feb 02 2024 x", "7 Feb 02 2024 x", 5);
        is_file("2026-01-01  00:00  1,234 comma.txt", "comma.txt", 1_234);
        is_file("01.02.2026  06:42 PM  12 dots", "dots", 12);
    }

    #[test]
    fn what_nobody_understands_is_no_entry_to_be_left_out() {
        for line in [
            "FILE.TXT;1  5/6  1-JAN-2026 00:00:00 [O,G] (RWED,RE,,)",
            "nothing of the kind",
            "name",
            "12",
            "total",
            "total 12 files",
            "-rw-r--r-- 1 o g 5 Jan 01 00:00",
            "-rw-r--r-- 1 o g 5 Jan 01 00:00 ",
            "-rw-r--r-- 1 o g 5 yesterday a",
            "-rw-r--r-- 1 o g 5 Jan 01 00:00:59 seconds alone",
            "-rw-r--r-- 1 o g 5 2026-01-01 00:00:00.000 no zone",
            "-rw-r--r-- 1 o g 5 2026-13-01 00:00 a",
            "-rw-r--r-- 1 o g 5 Jan 32 00:00 a",
            "-rw-r--r-- 1 o g 5 Jan 01 24:61 a",
            "?rw-r--r-- 1 o g 5 Jan 01 00:00 a",
            "01-01-26  12:00AM  five a",
            "01-01-26  12:00AM  1,23 a",
            "01-01-26  later  5 a",
        ] {
            check(line, Err(UnreadLine));
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in "[-dlrwx0-9 :<>JanDIR,.]{0,60}") {
            if let Ok(Some((name, _))) = entry(line.as_bytes()) {
                prop_assert!(!name.is_empty() && line.contains(std::str::from_utf8(name).unwrap()));
            }
        }
    }
}
