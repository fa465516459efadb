//! The config as a tree in which every node knows its place.
//!
//! Scalars keep the spelling of the file (`1.20`, `0600`), since a version or a mode is text to us although YAML sees
//! a number. Text is wiped when the tree is dropped: it may be a secret.

use zeroize::Zeroizing;

use super::value::Span;

/// A value of the file.
#[derive(Clone)]
pub(super) struct Node {
    /// Where it is used: that of the alias for what an alias brings in, that of the key where the value has no text.
    pub(super) span: Span,
    /// Where its text stands; differs from `span` behind an alias.
    pub(super) defined: Span,
    pub(super) value: Value,
}

/// What a node is.
#[derive(Clone)]
pub(super) enum Value {
    Null,
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(Vec<MappingEntry>),
}

/// A scalar as it was spelled.
#[derive(Clone)]
pub(super) struct Scalar {
    pub(super) text: Zeroizing<String>,
    pub(super) kind: ScalarKind,
}

/// What YAML takes a scalar for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScalarKind {
    Text,
    Number,
    Bool,
}

/// A key and its value.
#[derive(Clone)]
pub(super) struct MappingEntry {
    pub(super) key: NodeKey,
    pub(super) value: Node,
}

/// A key of a mapping.
#[derive(Clone)]
pub(super) struct NodeKey {
    pub(super) text: String,
    pub(super) span: Span,
    /// As [`Node::defined`].
    pub(super) defined: Span,
}

impl Node {
    /// Whether it is a list of nothing.
    pub(super) fn is_empty_list(&self) -> bool {
        matches!(&self.value, Value::Sequence(items) if items.is_empty())
    }

    /// The entries, if it is a mapping.
    pub(super) fn entries(&self) -> Option<&[MappingEntry]> {
        match &self.value {
            Value::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    /// The entry named `key`, if it is a mapping that has one.
    pub(super) fn entry(&self, key: &str) -> Option<&MappingEntry> {
        self.entries()?.iter().find(|entry| entry.key.text == key)
    }

    /// The scalar, if it is one.
    pub(super) fn scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// A list of nothing in the place of this node.
    pub(super) fn without_items(&self) -> Self {
        Self { value: Value::Sequence(Vec::new()), ..*self }
    }

    /// The kind of node, for people.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Scalar(Scalar { kind: ScalarKind::Text, .. }) => "text",
            Value::Scalar(Scalar { kind: ScalarKind::Number, .. }) => "a number",
            Value::Scalar(Scalar { kind: ScalarKind::Bool, .. }) => "true or false",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }
}

/// Whether a mapping has nothing but the words of a reference.
pub(super) fn is_reference(entries: &[MappingEntry]) -> bool {
    let source = |entry: &MappingEntry| matches!(entry.key.text.as_str(), "env" | "file" | "credential" | "command");
    entries.iter().any(source)
        && entries.iter().all(|entry| source(entry) || matches!(entry.key.text.as_str(), "default" | "refresh"))
}

/// A key as it may be shown: one that is no plain word may be a secret that slipped in.
pub(super) fn quoted(key: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if key.len() <= 63 && !key.is_empty() && key.bytes().all(plain) { format!("\"{key}\"") } else { "a key".to_owned() }
}
