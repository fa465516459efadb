//! Lines of `LIST`, which no standard describes: as `ls -l` has them, or as Windows does. Pure.
//!
//! Their times are in the server's own zone, which it does not tell, and are passed over.

use super::super::entry::EntryKind;
use super::FtpEntry;
use super::facts::digits;

/// What a line says. `None` for one that is none (`total 12`), and for the folder itself and the one above.
pub(super) fn entry(line: &[u8]) -> Option<(&[u8], FtpEntry)> {
    let (name, entry) = unix(line).or_else(|| windows(line))?;
    (!name.is_empty() && !matches!(name, b"." | b"..")).then_some((name, entry))
}

/// `-rw-r--r-- 1 owner group 12 Nov 29 18:42 name`: the name follows the time after one blank, whatever is in it.
fn unix(line: &[u8]) -> Option<(&[u8], FtpEntry)> {
    let kind = match line.first()? {
        b'-' => EntryKind::File,
        b'd' => EntryKind::Folder,
        b'l' => EntryKind::Link,
        b'b' | b'c' | b'p' | b's' => EntryKind::Other,
        _ => return None,
    };
    let rights = line.get(1..10)?;
    if !rights.iter().all(|byte| matches!(byte, b'r' | b'w' | b'x' | b'-' | b's' | b'S' | b't' | b'T' | b'l')) {
        return None;
    }
    let mut rest = Words(line);
    let [_rights, _links, _owner] = [rest.next()?, rest.next()?, rest.next()?];
    // Some leave the group out, and then a month stands where the size would: it is looked for from behind.
    let (size, month) = match (rest.next()?, rest.next()?) {
        (size, month) if is_month(month) => (digits(size), month),
        (_group, size) => (digits(size), rest.next()?),
    };
    if !is_month(month) {
        return None;
    }
    let [_day, _time] = [rest.next()?, rest.next()?];
    let name = rest.0.strip_prefix(b" ")?;
    let entry = FtpEntry { kind, size: size.filter(|_| kind == EntryKind::File), modified: None };
    Some((if kind == EntryKind::Link { without_target(name) } else { name }, entry))
}

/// `11-29-26  06:42PM       <DIR>          name`, `11-29-2026  18:42  12 name`.
fn windows(line: &[u8]) -> Option<(&[u8], FtpEntry)> {
    let mut rest = Words(line);
    let [date, time, size] = [rest.next()?, rest.next()?, rest.next()?];
    let is_date = date.len() >= 8 && date.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'/'));
    if !is_date || !time.contains(&b':') {
        return None;
    }
    let entry = match size {
        b"<DIR>" => FtpEntry { kind: EntryKind::Folder, size: None, modified: None },
        b"<SYMLINK>" | b"<SYMLINKD>" | b"<JUNCTION>" => FtpEntry { kind: EntryKind::Link, size: None, modified: None },
        size => FtpEntry { kind: EntryKind::File, size: Some(digits(size)?), modified: None },
    };
    // A name may begin with blanks, and nobody could tell: after a folder's mark there are ten.
    let name = rest.0.get(rest.0.iter().position(|byte| *byte != b' ')?..)?;
    Some((if entry.kind == EntryKind::Link { without_target(name).trim_suffix_bracket() } else { name }, entry))
}

/// ` -> ` may be in a name, too; the first is the likelier one.
fn without_target(name: &[u8]) -> &[u8] {
    let arrow = name.windows(4).position(|bytes| bytes == b" -> ");
    arrow.and_then(|at| name.get(..at)).unwrap_or(name)
}

trait Bracket {
    fn trim_suffix_bracket(&self) -> &[u8];
}

impl Bracket for [u8] {
    /// Windows writes a link's target in brackets behind its name.
    fn trim_suffix_bracket(&self) -> &[u8] {
        let open = self.windows(2).position(|bytes| bytes == b" [").filter(|_| self.ends_with(b"]"));
        open.and_then(|at| self.get(..at)).unwrap_or(self)
    }
}

fn is_month(word: &[u8]) -> bool {
    const MONTHS: [&[u8]; 12] =
        [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
    MONTHS.contains(&&*word.to_ascii_lowercase())
}

/// Words of a line, and what is left of it.
struct Words<'a>(&'a [u8]);

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_of_real_servers_are_read() {
        type Case = (&'static str, Option<(&'static str, EntryKind, Option<u64>)>);
        let cases: [Case; 15] = [
            ("-rw-------    1 1000     1000           12 Nov 29 18:42 a", Some(("a", EntryKind::File, Some(12)))),
            (
                "-rw-r--r--   1 ftp      ftp    5000000000 Nov 29  2024  two  blanks ",
                Some((" two  blanks ", EntryKind::File, Some(5_000_000_000))),
            ),
            (
                "drwxr-xr-x    2 1000     1000         4096 Nov 29 18:42 folder",
                Some(("folder", EntryKind::Folder, None)),
            ),
            (
                "lrwxrwxrwx    1 0        0               2 Nov 29 18:42 link -> a b",
                Some(("link", EntryKind::Link, None)),
            ),
            ("prw-r--r--    1 0        0               0 Nov 29 18:42 pipe", Some(("pipe", EntryKind::Other, None))),
            (
                "-rw-r--r--    1 owner       77 Jan  2 03:04 without a group",
                Some(("without a group", EntryKind::File, Some(77))),
            ),
            (
                "drwxrwxrwt    2 0        0            4096 Nov 29 18:42 sticky",
                Some(("sticky", EntryKind::Folder, None)),
            ),
            ("drwxr-xr-x    2 0        0            4096 Nov 29 18:42 .", None),
            ("drwxr-xr-x    2 0        0            4096 Nov 29 18:42 ..", None),
            ("total 12", None),
            ("11-29-26  06:42PM       <DIR>          folder", Some(("folder", EntryKind::Folder, None))),
            ("11-29-2026  06:42PM                   12 a b", Some(("a b", EntryKind::File, Some(12)))),
            ("11-29-26  06:42PM       <SYMLINK>      link [C:\\a]", Some(("link", EntryKind::Link, None))),
            ("nothing of the kind", None),
            ("", None),
        ];
        for (line, wanted) in cases {
            let read = entry(line.as_bytes());
            let told = read.as_ref().map(|(name, entry)| (std::str::from_utf8(name).unwrap(), entry.kind, entry.size));
            assert_eq!(told, wanted, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_left_out(line in "[-dlrwx0-9 :<>JanDIR]{0,60}") {
            let _entry = entry(line.as_bytes());
        }
    }
}
