//! Comma-separated values (RFC 4180), each with its place.
//!
//! Read by hand rather than with a library: a cell may be a secret, so every copy of it is wiped, and an error must be
//! able to point at it.

use std::ops::Range;

use zeroize::Zeroizing;

/// The value of one column of one line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) text: Zeroizing<String>,
    /// Where it stands, quotes included.
    pub(super) place: Range<usize>,
}

/// One line, or several where a quoted cell has line breaks.
pub(super) type Row = Vec<Cell>;

/// A quoted cell does not end, or goes on after its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BrokenTable {
    pub(super) place: Range<usize>,
}

/// The rows of a text, empty lines aside; ends with the first that is broken.
pub(super) fn rows(text: &str) -> impl Iterator<Item = Result<Row, BrokenTable>> {
    // Spreadsheets write a byte order mark.
    let mut at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    std::iter::from_fn(move || {
        at += text[at..].bytes().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        if at >= text.len() {
            return None;
        }
        let row = row(text, &mut at);
        if row.is_err() {
            at = text.len();
        }
        Some(row)
    })
}

fn row(text: &str, at: &mut usize) -> Result<Row, BrokenTable> {
    let mut cells = Vec::new();
    loop {
        let start = *at;
        // Whoever writes a space after each comma means no value that begins with a quote.
        let first = start + blanks(&text[start..]);
        if text[first..].starts_with('"') {
            let (value, end) = quoted(text, first)?;
            cells.push(Cell { text: value, place: first..end });
            *at = end + blanks(&text[end..]);
        } else {
            let (value, end) = bare(text, start);
            cells.push(Cell { text: value, place: start..end });
            *at = end;
        }
        if !text[*at..].starts_with(',') {
            return Ok(cells);
        }
        *at += 1;
    }
}

fn bare(text: &str, start: usize) -> (Zeroizing<String>, usize) {
    let length = text[start..].find([',', '\n']).unwrap_or(text.len() - start);
    let cell = &text[start..start + length];
    let cell = cell.strip_suffix('\r').unwrap_or(cell);
    // The `\r` of a line's end is skipped with its `\n`.
    let end = if text[start + length..].starts_with(',') { start + length } else { start + cell.len() };
    (Zeroizing::new(text[start..end].to_owned()), end)
}

fn quoted(text: &str, start: usize) -> Result<(Zeroizing<String>, usize), BrokenTable> {
    // As long as it can get: a buffer that grows leaves copies behind.
    let rest = &text[start + 1..];
    let mut from = 0;
    let closing = loop {
        let quote = from + rest[from..].find('"').ok_or(BrokenTable { place: start..start + 1 })?;
        if !rest[quote + 1..].starts_with('"') {
            break quote;
        }
        from = quote + 2;
    };
    let end = start + closing + 2;
    let after = &text[end + blanks(&text[end..])..];
    if !(after.is_empty() || after.starts_with([',', '\r', '\n'])) {
        return Err(BrokenTable { place: start..end });
    }
    let mut value = Zeroizing::new(String::with_capacity(closing));
    // Two quotes stand for one.
    for (nth, part) in rest[..closing].split("\"\"").enumerate() {
        value.push_str(if nth == 0 { "" } else { "\"" });
        value.push_str(part);
    }
    Ok((value, end))
}

/// How many bytes of white space `text` begins with, line breaks aside.
fn blanks(text: &str) -> usize {
    text.bytes().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A cell as a careful program writes it.
    fn written(cell: &str) -> String {
        format!("\"{}\"", cell.replace('"', "\"\""))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(table in prop::collection::vec(prop::collection::vec("[a\",\n\r é]{0,5}", 1..4), 0..4)) {
            let lines = table.iter().map(|row| row.iter().map(|cell| written(cell)).collect::<Vec<_>>().join(","));
            let text = lines.collect::<Vec<_>>().join("\r\n");

            let read: Vec<Vec<String>> =
                rows(&text).map(|row| row.expect("a row").iter().map(|cell| cell.text.to_string()).collect()).collect();

            prop_assert_eq!(read, table);
        }

        #[test]
        fn no_text_is_too_odd_and_no_place_outside_of_it(text in "[a\",\n\r\t \u{feff}é]{0,40}") {
            for row in rows(&text) {
                let places: Vec<_> = match row {
                    Ok(cells) => cells.into_iter().map(|cell| cell.place).collect(),
                    Err(broken) => vec![broken.place],
                };
                prop_assert!(!places.is_empty() && places.into_iter().all(|place| text.get(place).is_some()));
            }
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &[&[&str]]) {
        let rows: Vec<Row> = rows(text).map(|row| row.expect("a row")).collect();
        let texts: Vec<Vec<&str>> =
            rows.iter().map(|row| row.iter().map(|cell| cell.text.as_str()).collect()).collect();
        assert_eq!(texts, expected, "{text:?}");
        for cell in rows.iter().flatten() {
            let written = &text[cell.place.clone()];
            assert!(written == *cell.text || written.starts_with('"'), "{written:?} is not {:?}", cell.text);
        }
    }

    #[test]
    fn a_row_is_a_line_and_a_cell_what_stands_between_commas() {
        check("a,b\n1,2\n", &[&["a", "b"], &["1", "2"]]);
        check("a,b\r\n1,2\r\n", &[&["a", "b"], &["1", "2"]]);
        check("a\n\n\r\n1", &[&["a"], &["1"]]);
        check(",\n,,", &[&["", ""], &["", "", ""]]);
        check("\u{feff}name\nä", &[&["name"], &["ä"]]);
        check("", &[]);
    }

    #[test]
    fn a_quoted_cell_may_hold_commas_quotes_and_line_breaks() {
        check("\"a,b\",c", &[&["a,b", "c"]]);
        check("\"say \"\"no\"\"\"\n\"\"", &[&["say \"no\""], &[""]]);
        check("\"two\nlines\",x\r\ny", &[&["two\nlines", "x"], &["y"]]);
        check("\"\"\"\"", &[&["\""]]);
        check("a\"b,c", &[&["a\"b", "c"]]);
        check("a, \"b, c\" ,d\r\n\t\"e\"\t", &[&["a", "b, c", "d"], &["e"]]);
        check("a, b\" ,c", &[&["a", " b\" ", "c"]]);
    }

    #[test]
    fn a_quote_that_does_not_end_ends_the_reading() {
        let found: Vec<_> = rows("a\n\"b\nc").collect();
        assert_eq!(found.last(), Some(&Err(BrokenTable { place: 2..3 })));

        let found: Vec<_> = rows("a\n\"b\"c\nd").collect();
        assert_eq!(found.last(), Some(&Err(BrokenTable { place: 2..5 })));
    }
}
