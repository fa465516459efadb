//! How a section of the file becomes a value: one trait for nodes, one for text, and the fields of a mapping.
//!
//! A reader never stops at the first problem. A field that is wrong is reported and then read as if it were absent,
//! so that all others are looked at too; the config is dropped in the end because the report holds an error.

use std::collections::BTreeMap;
use std::rc::Rc;

use schemars::{Schema, SchemaGenerator, json_schema};

use super::diagnostic::{Report, Reported};
use super::inputs::Inputs;
use super::mask;
use super::names::KnownNames;
use super::node::{MappingEntry, Node, ScalarKind, Value, quoted};
use super::reference::{self, Accepts};
use super::suggest::nearest;
pub(super) use super::text::{FromText, Wrong};
use super::value::{At, Span};

/// What a section is read with: where values from elsewhere come from, where problems go, and the names that references
/// may point to.
pub(super) struct SectionReader<'r> {
    pub(super) inputs: &'r Inputs,
    pub(super) report: &'r mut Report,
    pub(super) certificates: Rc<KnownNames>,
    pub(super) services: Rc<KnownNames>,
    /// Whether the service that is being read links a certificate.
    pub(super) links_certificate: bool,
    /// Whether a method of the service that is being read could not be.
    pub(super) auth_unknown: bool,
    /// The `auth` of a service that has `identities`: read with what each of them overrides, and not by itself.
    pub(super) overridden: Option<Node>,
}

impl<'r> SectionReader<'r> {
    /// A reader of this tree.
    pub(super) fn new(tree: &Node, inputs: &'r Inputs, report: &'r mut Report) -> Self {
        let names = |section: &str| {
            let entries = tree.entry(section).and_then(|entry| entry.value.entries()).unwrap_or_default();
            Rc::new(entries.iter().map(|entry| entry.key.text.clone()).collect())
        };
        let (certificates, services) = (names("certificates"), names("services"));
        Self { inputs, report, certificates, services, links_certificate: false, auth_unknown: false, overridden: None }
    }
}

/// Something that a node of the file can be read as.
pub(super) trait FromNode: Sized {
    /// Reads it, and reports what is wrong with it.
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported>;

    /// Describes what is accepted, for the JSON Schema.
    fn schema(generator: &mut SchemaGenerator) -> Schema;
}

impl<T: FromText> FromNode for T {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        let Some(text) = reference::text(node, Accepts::Text, T::WHAT, reader)? else {
            return Ok(T::placeholder());
        };
        T::from_text(&text.value).map_err(|wrong| {
            let reported = wrong.report(node.span, reader.report);
            text.name_origin(reader.report);
            reported
        })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        reference::schema(T::schema(), Accepts::Text, generator)
    }
}

impl<T: FromNode> FromNode for At<T> {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        Ok(Self { value: T::from_node(node, reader)?, span: node.span })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        T::schema(generator)
    }
}

impl<T: FromNode> FromNode for Option<T> {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        T::from_node(node, reader).map(Some)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        T::schema(generator)
    }
}

/// A list, or one item instead of a list of one.
impl<T: FromNode> FromNode for Vec<T> {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        match &node.value {
            Value::Sequence(items) => Ok(each(items, reader)),
            _ => Ok(vec![T::from_node(node, reader)?]),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let item = T::schema(generator);
        json_schema!({ "anyOf": [item, { "type": "array", "items": item }] })
    }
}

/// A list that must be written as one, since an item is a mapping.
pub(super) struct List<T>(pub(super) Vec<T>);

impl<T> From<List<T>> for Vec<T> {
    fn from(list: List<T>) -> Self {
        list.0
    }
}

impl<T: FromNode> FromNode for List<T> {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        match &node.value {
            Value::Sequence(items) => Ok(Self(each(items, reader))),
            _ => Err(mismatch(node, "a list", reader.report)),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": T::schema(generator) })
    }
}

/// The items that could be read; the others have been reported.
fn each<T: FromNode>(items: &[Node], reader: &mut SectionReader<'_>) -> Vec<T> {
    items.iter().filter_map(|item| T::from_node(item, reader).ok()).collect()
}

impl FromNode for bool {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        match node.scalar() {
            Some(scalar) if scalar.kind == ScalarKind::Bool => Ok(scalar.text.eq_ignore_ascii_case("true")),
            _ => Err(mismatch(node, "`true` or `false`", reader.report)),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "boolean" })
    }
}

/// The key of a mapping whose keys are names of the user's.
pub(super) trait FromKey: Sized {
    fn from_key(entry: &MappingEntry, report: &mut Report) -> Result<Self, Reported>;
}

/// A mapping from names to values, in the order of the file.
impl<K: FromKey, V: FromNode> FromNode for Vec<(K, V)> {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        let Some(entries) = node.entries() else { return Err(mismatch(node, "a mapping", reader.report)) };
        let pairs = entries.iter().filter_map(|entry| {
            let key = K::from_key(entry, reader.report);
            let value = V::from_node(&entry.value, reader);
            Some((key.ok()?, value.ok()?))
        });
        Ok(pairs.collect())
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": V::schema(generator) })
    }
}

/// Named things; what is wrong with one of them leaves the others.
impl<K: FromKey + Ord, V: FromNode> FromNode for BTreeMap<K, At<V>> {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        let Some(entries) = node.entries() else { return Err(mismatch(node, "a mapping", reader.report)) };
        let mut named = Self::new();
        for entry in entries {
            let key = K::from_key(entry, reader.report);
            let value = V::from_node(&entry.value, reader);
            if let (Ok(key), Ok(value)) = (key, value) {
                named.insert(key, At { value, span: entry.key.span });
            }
        }
        Ok(named)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "propertyNames": { "pattern": "^[a-z0-9][a-z0-9_-]{0,62}$" },
            "additionalProperties": V::schema(generator),
        })
    }
}

/// Reports that a node is of another kind than what is read there.
pub(super) fn mismatch(node: &Node, expected: &str, report: &mut Report) -> Reported {
    if matches!(node.value, Value::Null) {
        report.error(node.span, "this key has no value").help(format!("write {expected}, or remove the key"));
    } else {
        report.error(node.span, format!("expected {expected}, found {}", node.kind()));
    }
    Reported
}

/// The fields of a mapping while a section is read from it.
pub(super) struct SectionFields<'n> {
    node: &'n Node,
    entries: &'n [MappingEntry],
    known: Vec<&'static str>,
}

impl<'n> SectionFields<'n> {
    /// Begins to read a section.
    pub(super) fn open(node: &'n Node, report: &mut Report) -> Result<Self, Reported> {
        match node.entries() {
            Some(entries) => Ok(Self { node, entries, known: Vec::new() }),
            None => Err(mismatch(node, "a mapping", report)),
        }
    }

    /// The entry of a key, which is a known one from now on.
    pub(super) fn entry(&mut self, key: &'static str) -> Option<&'n MappingEntry> {
        self.known.push(key);
        self.entries.iter().find(|entry| entry.key.text == key)
    }

    /// Reads a field that may be absent.
    pub(super) fn optional<T: FromNode>(&mut self, key: &'static str, reader: &mut SectionReader<'_>) -> Option<T> {
        let entry = self.entry(key)?;
        T::from_node(&entry.value, reader).ok()
    }

    /// Reads a field that must be there.
    pub(super) fn required<T: FromNode>(
        &mut self,
        key: &'static str,
        reader: &mut SectionReader<'_>,
    ) -> Result<T, Reported> {
        match self.entry(key) {
            Some(entry) => T::from_node(&entry.value, reader),
            None => {
                reader
                    .report
                    .error(self.node.span, format!("`{key}` is missing"))
                    .label(format!("needs `{key}`"))
                    .help(format!("add `{key}: …`"));
                Err(Reported)
            }
        }
    }

    /// Ends the section, and reports the keys that nobody asked for.
    pub(super) fn close(self, report: &mut Report) {
        for entry in self.entries {
            if !self.known.contains(&entry.key.text.as_str()) {
                report_unknown(entry, &self.known, report);
            }
        }
    }
}

/// Reports a key that is none of the known ones.
pub(super) fn report_unknown(entry: &MappingEntry, known: &[&'static str], report: &mut Report) {
    let meant = nearest(&entry.key.text, known.iter().copied());
    if meant.is_none_or(mask::may_hold_a_secret) {
        report.mask_all(&entry.value);
    }
    let message = match meant {
        Some(meant) => format!("unknown key {}, did you mean \"{meant}\"?", quoted(&entry.key.text)),
        None => format!("unknown key {}", shown_key(entry, report)),
    };
    let error = report.error(entry.key.span, message);
    if !known.is_empty() {
        error.help(format!("known here: {}", known.join(", ")));
    }
}

/// A key as it may be quoted. One without a value may be a value without its key, and a secret then.
pub(super) fn shown_key(entry: &MappingEntry, report: &mut Report) -> String {
    let key = quoted(&entry.key.text);
    if matches!(entry.value.value, Value::Null) || !key.starts_with('"') {
        report.mask(entry.key.defined);
        return "with a name that is not shown".to_owned();
    }
    key
}

/// Reports a key that stands at `first` already.
pub(super) fn report_repeated(entry: &MappingEntry, first: Span, report: &mut Report) {
    let key = shown_key(entry, report);
    report
        .error(entry.key.span, format!("key {key} is defined twice"))
        .label("again here")
        .also(first, "first here")
        .help("remove one of them");
}
