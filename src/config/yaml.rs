//! YAML text to a tree of nodes: the only module that knows the YAML crate.
//!
//! JSON is YAML, so it comes through here too. Every repeated key is reported with both its places. The crate's own
//! excerpts stay off, since they quote neighboring lines with their secrets; its budget refuses alias bombs and
//! depths that no config has.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Error, Location, MessageFormatter, Options, Spanned};
use zeroize::Zeroizing;

use super::diagnostic::{Report, Reported};
use super::node::{MappingEntry, Node, NodeKey, Scalar, ScalarKind, Value};
use super::read::report_repeated;
use super::value::Span;

/// Parses the file numbered `file`, and reports a syntax error or repeated keys.
pub(super) fn parse(file: u16, report: &mut Report) -> Result<Node, Reported> {
    let text = report.text(file);
    let parsed = serde_saphyr::from_str_with_options::<Spanned<Raw>>(&text, options());
    let source = YamlText { text: &text, file };
    match parsed {
        Ok(tree) => Ok(source.node(tree, None, report)),
        Err(error) => Err(source.refuse(&error, report)),
    }
}

/// The tree as the YAML crate hands it out.
enum Raw {
    Null,
    /// A number or a boolean: the crate has thrown the spelling away, the text of the file has it.
    Typed(ScalarKind),
    Text(Zeroizing<String>),
    Sequence(Vec<Spanned<Self>>),
    Mapping(Vec<(Spanned<Self>, Spanned<Self>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Typed(ScalarKind::Bool))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Typed(ScalarKind::Number))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Typed(ScalarKind::Number))
    }

    fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Typed(ScalarKind::Number))
    }

    fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Typed(ScalarKind::Number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Typed(ScalarKind::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(Zeroizing::new(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Raw, E> {
        Ok(Raw::Text(Zeroizing::new(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut sequence = Vec::new();
        while let Some(item) = items.next_element()? {
            sequence.push(item);
        }
        Ok(Raw::Sequence(sequence))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut mapping = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            mapping.push(entry);
        }
        Ok(Raw::Mapping(mapping))
    }
}

/// The text that the crate's locations refer to.
struct YamlText<'t> {
    text: &'t str,
    file: u16,
}

impl YamlText<'_> {
    /// `key` is the place of the node's key, for values that have no text of their own.
    fn node(&self, raw: Spanned<Raw>, key: Option<Span>, report: &mut Report) -> Node {
        let defined = self.span(raw.defined);
        let span = match (self.span(raw.referenced), key) {
            (own, Some(key)) if own.start == own.end => key,
            (own, _) => own,
        };
        let value = match raw.value {
            Raw::Null => Value::Null,
            Raw::Typed(kind) => Value::Scalar(Scalar { text: self.spelling(defined), kind }),
            Raw::Text(text) => Value::Scalar(Scalar { text: self.overflown(text, defined), kind: ScalarKind::Text }),
            Raw::Sequence(items) => {
                Value::Sequence(items.into_iter().map(|item| self.item(item, span, report)).collect())
            }
            Raw::Mapping(entries) => Value::Mapping(self.mapping(entries, report)),
        };
        Node { span, defined, value }
    }

    /// A block mapping in a list has no text of its own either: it is shown at its first key.
    fn item(&self, raw: Spanned<Raw>, list: Span, report: &mut Report) -> Node {
        let first = match &raw.value {
            Raw::Mapping(entries) => entries.first().map(|(key, _)| self.span(key.referenced)),
            _ => None,
        };
        self.node(raw, Some(first.unwrap_or(list)), report)
    }

    fn mapping(&self, entries: Vec<(Spanned<Raw>, Spanned<Raw>)>, report: &mut Report) -> Vec<MappingEntry> {
        let mut unique: Vec<MappingEntry> = Vec::with_capacity(entries.len());
        let mut places = std::collections::HashMap::new();
        for (key, value) in entries {
            let Some(key) = self.key(key, report) else { continue };
            let value = self.node(value, Some(key.span), report);
            let entry = MappingEntry { key, value };
            match places.get(&entry.key.text) {
                Some(&first) => {
                    report_repeated(&entry, first, report);
                    report.mask_entry(&entry);
                }
                None => {
                    places.insert(entry.key.text.clone(), entry.key.span);
                    unique.push(entry);
                }
            }
        }
        unique
    }

    fn key(&self, raw: Spanned<Raw>, report: &mut Report) -> Option<NodeKey> {
        let span = self.span(raw.referenced);
        let defined = self.span(raw.defined);
        let text = match raw.value {
            Raw::Text(text) => (*text).clone(),
            Raw::Typed(_) => (*self.spelling(defined)).clone(),
            _ => {
                // What stands here may be a template that was not filled in, `token: {{ secret }}`.
                report.mask_line(span);
                report.error(span, "a key must be a plain word").help("quote a value that begins with `{` or `[`");
                return None;
            }
        };
        Some(NodeKey { text, span, defined })
    }

    fn spelling(&self, place: Span) -> Zeroizing<String> {
        let written = self.text.get(place.start as usize..place.end as usize).unwrap_or_default();
        Zeroizing::new(written.to_owned())
    }

    /// Gives text like `12e3456` its spelling back: the crate reads it as a number that is infinite.
    fn overflown(&self, text: Zeroizing<String>, place: Span) -> Zeroizing<String> {
        let spelling = self.spelling(place);
        let infinite = matches!(text.trim_start_matches('-'), ".inf" | ".nan");
        let plain = spelling.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first));
        if infinite && plain { spelling } else { text }
    }

    fn span(&self, location: Location) -> Span {
        let span = location.span();
        let (start, length) = match (span.byte_offset(), span.byte_len()) {
            (Some(start), Some(length)) => (start as usize, length as usize),
            _ => (self.offset(location.line(), location.column()), 0),
        };
        let start = start.min(self.text.len());
        let end = (start + length).min(self.text.len());
        Span { file: self.file, start: as_u32(start), end: as_u32(end) }
    }

    /// Bytes before a line and column, both counted from 1, the column in characters.
    fn offset(&self, line: u64, column: u64) -> usize {
        let before: usize = self.text.split_inclusive('\n').take(as_index(line)).map(str::len).sum();
        let line = &self.text[before.min(self.text.len())..];
        before + line.chars().take(as_index(column)).map(char::len_utf8).sum::<usize>()
    }

    fn refuse(&self, error: &Error, report: &mut Report) -> Reported {
        let start = Span { file: self.file, start: 0, end: 0 };
        let place = error.location().map_or(start, |location| self.span(location));
        let (before, after) = self.text.split_at(place.start.min(as_u32(self.text.len())) as usize);
        let begins = if before.ends_with('\t') { Some('\t') } else { after.chars().next() };
        let (message, help) = explain(error, begins);
        report.mask_unparsed(self.file);
        let reported = report.error(place, message);
        if let Some(help) = help {
            reported.help(help);
        }
        Reported
    }
}

fn explain(error: &Error, begins: Option<char>) -> (String, Option<&'static str>) {
    match error {
        Error::AliasError { error, .. } => explain(error, begins),
        Error::Budget { breach: serde_saphyr::budget::BudgetBreach::Documents { .. }, .. }
        | Error::MultipleDocuments { .. } => {
            ("a second YAML document begins here".to_owned(), Some("a config is one document: remove the `---`"))
        }
        Error::Budget { .. } => (TOO_MUCH.to_owned(), None),
        Error::AliasReplayLimitExceeded { .. } | Error::AliasReplayStackDepthExceeded { .. } => {
            ("the aliases of this file expand to too much".to_owned(), Some("write the values out"))
        }
        Error::UnknownAnchor { .. } => (
            "this alias names no anchor".to_owned(),
            Some("an anchor stands before its alias; quote a value that begins with `*`"),
        ),
        Error::RecursiveReferencesRequireWeakTypes { .. } => ("an anchor contains its own alias".to_owned(), None),
        Error::UnsupportedTag { .. } => {
            ("tags have no meaning here".to_owned(), Some("quote a value that begins with `!`"))
        }
        Error::MergeValueNotMapOrSeqOfMaps { .. } => {
            ("`<<` merges a mapping, or a list of mappings".to_owned(), Some("write `<<: *anchor`"))
        }
        Error::InvalidScalar { .. } => ("the value does not fit its tag".to_owned(), Some("remove the tag")),
        other => match message(other) {
            // The scanner has a limit of its own, and no error of its own for it.
            text if text.contains("recursion limit") => (TOO_MUCH.to_owned(), None),
            text => (format!("this is not valid YAML: {text}"), hint(begins)),
        },
    }
}

fn message(error: &Error) -> String {
    let text = serde_saphyr::DefaultMessageFormatter.format_message(error);
    text.chars().filter(|letter| !letter.is_control()).collect()
}

fn hint(begins: Option<char>) -> Option<&'static str> {
    match begins? {
        '@' | '`' | '%' => Some("quote a value that begins with this character"),
        '\t' => Some("indent with spaces, not with tabs"),
        ':' => Some("put a space after the colon of a key, and quote a value that contains a colon and a space"),
        '"' | '\'' => Some("close the quote"),
        _ => None,
    }
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: 1,
            max_depth: 32,
            max_nodes: 200_000,
            max_events: 500_000,
            max_total_scalar_bytes: 16 << 20,
            max_recorded_anchor_events: 200_000,
            // One anchor for the many services that share its settings is what anchors are for.
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
            max_replay_stack_depth: 16,
        },
        // Each repeated key is an error of its own here, with both places.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        reject_unsupported_tags: true,
        strict_booleans: true,
        with_snippet: false,
    }
}

const TOO_MUCH: &str = "the file is nested too deeply or has too many values";

fn as_u32(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

fn as_index(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX).saturating_sub(1)
}
