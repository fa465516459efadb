//! A CSV file of identities.

use std::ops::Range;

use crate::config::csv::{self, Cell, Row};
use crate::config::diagnostic::{Report, Reported};
use crate::config::mask;
use crate::config::node::{MappingEntry, Node, NodeKey, Scalar, ScalarKind, Value};
use crate::config::read::{Wrong, report_repeated, report_unknown};
use crate::config::value::Span;

/// A CSV file as a list of sets.
pub(super) struct IdentityTable {
    columns: Vec<String>,
    pub(super) sets: Vec<Node>,
}

impl IdentityTable {
    pub(super) fn read(file: u16, place: Span, known: &[&'static str], report: &mut Report) -> Result<Self, Reported> {
        let text = report.text(file);
        let mut rows = csv::rows(&text);
        let header = rows.next().transpose();
        let shown = header.as_ref().ok().and_then(Option::as_ref).map_or(0, end_of);
        // Any value may be a secret.
        report.mask(at(file, shown..text.len()));
        let header = match header {
            Ok(Some(header)) => read_header(file, header, known, report)?,
            Ok(None) => {
                let wrong = Wrong::new("this file is empty");
                return Err(wrong.help("its first line names the columns").report(place, report));
            }
            Err(broken) => return Err(report_broken(file, broken.place, report)),
        };
        let mut sets = Vec::new();
        for row in rows {
            let row = row.map_err(|broken| report_broken(file, broken.place, report))?;
            let span = at(file, row.first().map_or(0, |cell| cell.place.start)..end_of(&row));
            if row.len() != header.len() {
                let wrong = format!("this line has {} columns, the first has {}", row.len(), header.len());
                return Err(Wrong::new(wrong).report(span, report));
            }
            sets.push(set(file, span, &header, row));
        }
        if sets.is_empty() {
            let wrong = Wrong::new("there is no identity in this file");
            return Err(wrong.help("each line after the first is one").report(place, report));
        }
        Ok(Self { columns: header.into_iter().map(|key| key.text).collect(), sets })
    }

    pub(super) fn has_secrets(&self) -> bool {
        self.columns.iter().any(|column| mask::may_hold_a_secret(column))
    }
}

/// The keys that the first line names. One that nobody knows may be a value: then there is no such line.
fn read_header(file: u16, header: Row, known: &[&'static str], report: &mut Report) -> Result<Vec<NodeKey>, Reported> {
    let mut keys: Vec<NodeKey> = Vec::with_capacity(header.len());
    let mut outcome = Ok(());
    if let [only] = header.as_slice()
        && let Some(parted) = parted_otherwise(&only.text, known)
    {
        let wrong = Wrong::new(format!("the columns of this file are parted by {parted}"));
        return Err(wrong.help("write it with commas").report(at(file, only.place.clone()), report));
    }
    for cell in header {
        let span = at(file, cell.place);
        let key = NodeKey { text: cell.text.trim().to_owned(), span, defined: span };
        let first = keys.iter().find(|known| known.text == key.text).map(|first| first.span);
        let entry = MappingEntry { key, value: Node { span, defined: span, value: Value::Null } };
        if !known.contains(&entry.key.text.as_str()) {
            report_unknown(&entry, known, report);
            outcome = Err(Reported);
        } else if let Some(first) = first {
            report_repeated(&MappingEntry { value: text_node(span, ""), ..entry.clone() }, first, report);
            outcome = Err(Reported);
        }
        keys.push(entry.key);
    }
    outcome.map(|()| keys)
}

/// Some spreadsheets write semicolons, or tabs, and call that CSV.
fn parted_otherwise(line: &str, known: &[&'static str]) -> Option<&'static str> {
    let parts =
        |by: char| line.contains(by) && line.split(by).all(|name| known.contains(&name.trim().trim_matches('"')));
    [(';', "semicolons"), ('\t', "tabs")].into_iter().find(|(by, _)| parts(*by)).map(|(_, words)| words)
}

/// An empty cell overrides nothing. White space around a value is no part of it, as in the first line: whoever lines
/// columns up does not mean it.
fn set(file: u16, span: Span, header: &[NodeKey], row: Row) -> Node {
    let cells = header.iter().zip(row).filter(|(_, cell)| !cell.text.trim().is_empty());
    let value = |cell: Cell| text_node(at(file, cell.place), cell.text.trim());
    let entries = cells.map(|(key, cell)| MappingEntry { key: key.clone(), value: value(cell) });
    Node { span, defined: span, value: Value::Mapping(entries.collect()) }
}

fn text_node(span: Span, text: &str) -> Node {
    let kind = match text {
        "true" | "false" => ScalarKind::Bool,
        number if number.parse::<f64>().is_ok() => ScalarKind::Number,
        _ => ScalarKind::Text,
    };
    Node { span, defined: span, value: Value::Scalar(Scalar { text: text.to_owned().into(), kind }) }
}

fn report_broken(file: u16, place: Range<usize>, report: &mut Report) -> Reported {
    let wrong = Wrong::new("this quoted value does not end where it should");
    wrong.help("a quote within quotes is written twice").report(at(file, place), report)
}

fn end_of(row: &Row) -> usize {
    row.last().map_or(0, |cell| cell.place.end)
}

fn at(file: u16, place: Range<usize>) -> Span {
    let byte = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    Span { file, start: byte(place.start), end: byte(place.end) }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const KNOWN: [&str; 3] = ["name", "username", "password"];

    fn read(text: &str) -> (Result<IdentityTable, Reported>, Vec<String>) {
        let mut report = Report::default();
        let file = report.add_text("ids.csv".to_owned(), PathBuf::new(), text.to_owned().into());
        let table = IdentityTable::read(file, Span::NOWHERE, &KNOWN, &mut report);
        (table, report.diagnostics().iter().map(|said| said.message.clone()).collect())
    }

    /// Each set's `key=value`s.
    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let (table, said) = read(text);
        let table = table.unwrap_or_else(|_| panic!("{text:?}: {said:?}"));
        let shown = |set: &Node| {
            let entries = set.entries().unwrap_or_default().iter();
            let pairs =
                entries.map(|entry| format!("{}={}", entry.key.text, entry.value.scalar().unwrap().text.as_str()));
            pairs.collect::<Vec<_>>().join("|")
        };

        assert_eq!(table.sets.iter().map(shown).collect::<Vec<_>>(), expected, "{text:?}");
    }

    #[test]
    fn white_space_around_names_and_values_is_dropped_however_the_cell_is_written() {
        let plain = &["name=alice|username=me|password=pass word"];
        check("name,username,password\nalice,me,pass word\n", plain);
        check(" name , username\t,password \n alice ,\tme , pass word  \n", plain);
        check("name,username,password\r\nalice,me,pass word\r\n", plain);
        check("name,username,password \r\nalice,me,pass word \r\n", plain);
        check("\u{feff}name,username,password\r\nalice,me,pass word", plain);
        check("\u{feff}\"name\",\"username\",\"password\"\r\n\"alice\",\"me\",\"pass word\"\r\n", plain);
        check("name,username,password\n\" alice \",\"me\t\",\"\tpass word \"\n", plain);
        check("name, \"username\" ,password\nalice, \"me\", \"pass word\" \n", plain);
        check("name,username,password\nalice,me,\"\npass word\r\n\"", plain);
        check("name,username,password\nalice,me,\u{a0}pass word\u{a0}", plain);
    }

    #[test]
    fn what_stands_inside_a_value_stays_and_an_empty_cell_overrides_nothing() {
        check("name,username,password\na,,  \nb,\" \",x\n", &["name=a", "name=b|password=x"]);
        check("name,password\na,\"x, \"\"y\"\"  z\"", &["name=a|password=x, \"y\"  z"]);
        check("name,password\na,it's \"quoted\" \n", &["name=a|password=it's \"quoted\""]);
    }

    #[test]
    fn columns_that_are_not_parted_by_commas_are_told() {
        let said = |text| read(text).1;
        assert_eq!(said("name;username;password\na;b;c\n"), ["the columns of this file are parted by semicolons"]);
        assert_eq!(said("name\tusername\na\tb\n"), ["the columns of this file are parted by tabs"]);
    }
}
