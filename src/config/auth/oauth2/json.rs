//! Claims of a JWT as they are written in the config: any JSON.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Number, Value as JsonValue};

use crate::config::diagnostic::Reported;
use crate::config::node::{Node, Scalar, ScalarKind, Value, is_reference};
use crate::config::read::{FromNode, SectionReader, mismatch};
use crate::config::reference::{self, Accepts};

/// Any JSON; a mapping with one of the words of a reference is one.
pub(super) struct Json(pub(super) JsonValue);

impl FromNode for Json {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        match &node.value {
            Value::Scalar(scalar) => Ok(Self(of_scalar(scalar))),
            Value::Sequence(items) => {
                let items: Result<Vec<_>, _> = items.iter().map(|item| Self::from_node(item, reader)).collect();
                Ok(Self(items?.into_iter().map(|item| item.0).collect()))
            }
            Value::Mapping(entries) if is_reference(entries) => {
                let found = reference::text(node, Accepts::Text, "a claim", reader)?;
                Ok(Self(found.map_or_else(|| "placeholder".into(), |found| found.value.as_str().into())))
            }
            Value::Mapping(entries) => {
                let mut members = serde_json::Map::new();
                for entry in entries {
                    members.insert(entry.key.text.clone(), Self::from_node(&entry.value, reader)?.0);
                }
                Ok(Self(members.into()))
            }
            Value::Null => Err(mismatch(node, "a claim", reader.report)),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({})
    }
}

/// A number that JSON can't hold as it is spelt (`0600`, `1_000`) stays text.
fn of_scalar(scalar: &Scalar) -> JsonValue {
    let text = scalar.text.as_str();
    match scalar.kind {
        ScalarKind::Bool => text.eq_ignore_ascii_case("true").into(),
        ScalarKind::Number => serde_json::from_str::<Number>(text).map_or_else(|_| text.into(), JsonValue::Number),
        ScalarKind::Text => text.into(),
    }
}
