//! Lines of `MLSD` and `MLST` (RFC 3659 §7): facts, a blank, and a name. Pure.

use time::{Date, Month, PrimitiveDateTime, Time};

use super::super::entry::EntryKind;
use super::FtpEntry;
use super::lines::UnreadLine;

/// What a line of a listing says. `None` for an empty one, and for the folder itself and the one above.
pub(super) fn entry(line: &[u8]) -> Result<Option<(&[u8], FtpEntry)>, UnreadLine> {
    if line.is_empty() {
        return Ok(None);
    }
    let (facts, name) = split(line).ok_or(UnreadLine)?;
    let (itself, entry) = read(facts).ok_or(UnreadLine)?;
    let is_other = !matches!(name, b"." | b"..") && !matches!(itself, Itself::Folder);
    Ok(is_other.then_some((name, entry)))
}

/// What the line says that `MLST` gives of one name, whatever that is called there.
pub(super) fn of_itself(line: &[u8]) -> Option<FtpEntry> {
    let (facts, _) = split(line)?;
    let (_, entry) = read(facts)?;
    facts.contains(&b'=').then_some(entry)
}

/// Whether it is the folder that is listed, or the one above.
enum Itself {
    Folder,
    Other,
}

/// A name may begin with blanks. Facts end with `;` and a blank; a target of a link among them may have blanks, too.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let first_blank = line.iter().position(|byte| *byte == b' ')?;
    let end = match first_blank {
        // There are no facts.
        0 => 0,
        _ => line.windows(2).position(|bytes| bytes == b"; ").map_or(first_blank, |semicolon| semicolon + 1),
    };
    let (facts, name) = line.split_at(end);
    Some((facts, name.get(1..).filter(|name| !name.is_empty())?))
}

fn read(facts: &[u8]) -> Option<(Itself, FtpEntry)> {
    let (mut itself, mut entry) = (Itself::Other, FtpEntry { kind: EntryKind::Other, size: None, modified: None });
    for fact in facts.split(|byte| *byte == b';').filter(|fact| !fact.is_empty()) {
        let equals = fact.iter().position(|byte| *byte == b'=')?;
        let (key, value) = (fact.get(..equals)?.to_ascii_lowercase(), fact.get(equals + 1..)?);
        match &*key {
            b"type" => (itself, entry.kind) = kind(value),
            b"size" => entry.size = digits(value),
            b"modify" => entry.modified = moment(value),
            _ => {}
        }
    }
    Some((itself, entry))
}

fn kind(value: &[u8]) -> (Itself, EntryKind) {
    let value = value.to_ascii_lowercase();
    match &*value {
        b"file" => (Itself::Other, EntryKind::File),
        b"dir" => (Itself::Other, EntryKind::Folder),
        b"cdir" | b"pdir" => (Itself::Folder, EntryKind::Folder),
        // `OS.unix=symlink` at ProFTPD, `OS.unix=slink:TARGET` at others.
        value if value.starts_with(b"os.unix=symlink") || value.starts_with(b"os.unix=slink") => {
            (Itself::Other, EntryKind::Link)
        }
        _ => (Itself::Other, EntryKind::Other),
    }
}

/// `20261129184200` or `20261129184200.123`, in UTC (RFC 3659 §2.3).
pub(super) fn moment(value: &[u8]) -> Option<i64> {
    let whole = value.split(|byte| *byte == b'.').next().filter(|whole| whole.len() == 14)?;
    let part = |from: usize, to: usize| digits(whole.get(from..to)?);
    let month = Month::try_from(u8::try_from(part(4, 6)?).ok()?).ok()?;
    let date =
        Date::from_calendar_date(i32::try_from(part(0, 4)?).ok()?, month, u8::try_from(part(6, 8)?).ok()?).ok()?;
    let of_day = |from| u8::try_from(part(from, from + 2)?).ok();
    // A leap second is the last one that a minute has here.
    let time = Time::from_hms(of_day(8)?, of_day(10)?, of_day(12)?.min(59)).ok()?;
    Some(PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp())
}

pub(super) fn digits(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| is_number)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(kind: EntryKind, size: Option<u64>, modified: Option<i64>) -> FtpEntry {
        FtpEntry { kind, size, modified }
    }

    #[test]
    fn facts_of_real_servers_are_read() {
        type Case = (&'static [u8], Option<(&'static [u8], FtpEntry)>);
        let cases: [Case; 7] = [
            (
                b"modify=20261129184200;perm=adfrw;size=12;type=file;unique=801U2;UNIX.mode=0644; a b",
                Some((b"a b", found(EntryKind::File, Some(12), Some(1_795_977_720)))),
            ),
            (
                b"Type=file;Size=5;Modify=20001231235960.5; \xE9",
                Some((b"\xE9", found(EntryKind::File, Some(5), Some(978_307_199)))),
            ),
            (b"type=dir;sizd=4096; folder", Some((b"folder", found(EntryKind::Folder, None, None)))),
            (b"type=OS.unix=symlink; l", Some((b"l", found(EntryKind::Link, None, None)))),
            (b"type=OS.unix=slink:/a b;size=1; l; m", Some((b"l; m", found(EntryKind::Link, Some(1), None)))),
            (b"type=cdir; /out", None),
            (b"type=dir; ..", None),
        ];
        for (line, wanted) in cases {
            assert_eq!(entry(line), Ok(wanted), "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn a_line_whose_facts_or_name_can_not_be_told_is_no_entry_that_is_left_out() {
        for line in ["hello world", "type=file;whatever; b", "type=file;size=1; ", "type=file;size=1;a", "a"] {
            assert_eq!(entry(line.as_bytes()), Err(UnreadLine), "{line}");
        }
        assert_eq!(entry(b""), Ok(None));
        assert!(matches!(entry(b" no facts; at all"), Ok(Some((b"no facts; at all", _)))));
    }

    #[test]
    fn moments_that_are_none_are_left_out() {
        for moment_of in ["2026112918420", "20261329184200", "20260230184200", "2026112918420x", ""] {
            assert_eq!(moment(moment_of.as_bytes()), None, "{moment_of}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(Some((name, _))) = entry(&line) {
                assert!(line.ends_with(name));
            }
        }
    }
}
