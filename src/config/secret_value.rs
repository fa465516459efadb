//! Values that are secret: in the config, or from elsewhere.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::diagnostic::{Report, Reported};
use super::node::Node;
use super::read::{FromNode, SectionReader};
use super::reference::{Accepts, FoundText, schema, text};
use super::secret_clothes::{self, SecretOddity};
use super::value::{At, Span};
use crate::secret::Secret;

/// A text that never leaves this process but where it is meant to go.
impl FromNode for Secret {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        secret(node, SecretKind::Text, reader)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        schema(json_schema!({ "type": ["string", "number", "boolean"] }), Accepts::Secret, generator)
    }
}

/// The value of a field that is called `key`.
pub(super) struct KeySecret(Secret);

impl FromNode for KeySecret {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        secret(node, SecretKind::Key, reader).map(Self)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        Secret::schema(generator)
    }
}

impl From<At<KeySecret>> for At<Secret> {
    fn from(key: At<KeySecret>) -> Self {
        Self { value: key.value.0, span: key.span }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SecretKind {
    Text,
    /// It may be bytes.
    Key,
}

fn secret(node: &Node, kind: SecretKind, reader: &mut SectionReader<'_>) -> Result<Secret, Reported> {
    let Some(mut found) = text(node, Accepts::Secret, "a secret", reader)? else {
        return Ok(Secret::new("placeholder".to_owned()));
    };
    if found.value.is_empty() {
        reader.report.error(node.span, "the secret is empty");
        found.name_origin(reader.report);
        return Err(Reported);
    }
    if found.origin.is_none() {
        reader.inputs.has_secret_inside(node.span, reader.report);
    }
    check_clothes(&found, kind, node.span, reader.report)?;
    Ok(Secret::new(std::mem::take(&mut *found.value)))
}

/// What stands in the config itself is there to see; only that a variable is not replaced is news there.
fn check_clothes(found: &FoundText, kind: SecretKind, span: Span, report: &mut Report) -> Result<(), Reported> {
    let odd = match &found.origin {
        Some(_) => secret_clothes::oddities(&found.value),
        None => secret_clothes::variable(&found.value).into_iter().collect(),
    };
    for SecretOddity { what, help, is_no_text } in odd {
        let is_wrong = is_no_text && kind == SecretKind::Text;
        let diagnostic = if is_wrong { report.error(span, what) } else { report.warning(span, what) };
        diagnostic.help(help);
        found.name_origin(report);
        if is_wrong {
            return Err(Reported);
        }
    }
    Ok(())
}
