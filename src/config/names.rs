//! Names that point to something else in the file: a certificate, a service.

use std::collections::HashSet;
use std::rc::Rc;

use schemars::{Schema, SchemaGenerator, json_schema};

use super::diagnostic::Reported;
use super::node::{Node, quoted};
use super::read::{FromNode, SectionReader};
use super::reference::{self, Accepts};
use super::suggest::nearest;
use crate::name::{CertificateName, ServiceName};

/// The names that a section defines. Each of ten thousand routes asks for one of a thousand.
pub(super) struct KnownNames {
    as_written: Vec<String>,
    known: HashSet<String>,
}

impl FromIterator<String> for KnownNames {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        let as_written: Vec<_> = names.into_iter().collect();
        Self { known: as_written.iter().cloned().collect(), as_written }
    }
}

impl FromNode for CertificateName {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        let names = Rc::clone(&reader.certificates);
        let name = existing(node, "certificate", &names, reader)?;
        Self::parse(&name).map_err(|_| Reported)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        name_schema(generator)
    }
}

impl FromNode for ServiceName {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        let names = Rc::clone(&reader.services);
        let name = existing(node, "service", &names, reader)?;
        Self::parse(&name).map_err(|_| Reported)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        name_schema(generator)
    }
}

fn name_schema(generator: &mut SchemaGenerator) -> Schema {
    let name = json_schema!({ "type": ["string", "integer"], "pattern": "^[a-z0-9][a-z0-9_-]{0,62}$" });
    reference::schema(name, Accepts::Text, generator)
}

/// Reads a name that one of the known things has.
fn existing(node: &Node, what: &str, names: &KnownNames, reader: &mut SectionReader<'_>) -> Result<String, Reported> {
    let found = reference::text(node, Accepts::Text, &format!("the name of a {what}"), reader)?;
    let Some(found) = found else {
        // Under `--no-secrets` a name from elsewhere stands for any that there is.
        return names.as_written.first().cloned().ok_or_else(|| report_missing(node, what, "", names, reader));
    };
    if names.known.contains(found.value.as_str()) {
        return Ok((*found.value).clone());
    }
    let reported = report_missing(node, what, &found.value, names, reader);
    found.name_origin(reader.report);
    Err(reported)
}

fn report_missing(node: &Node, what: &str, name: &str, names: &KnownNames, reader: &mut SectionReader<'_>) -> Reported {
    let named = quoted(name);
    let message = match nearest(name, names.as_written.iter().map(String::as_str)) {
        Some(meant) => format!("there is no {what} {named}, did you mean \"{meant}\"?"),
        None if named.starts_with('"') => format!("there is no {what} {named}"),
        None => format!("there is no such {what}"),
    };
    let error = reader.report.error(node.span, message);
    if names.as_written.is_empty() {
        error.help(format!("define it under `{what}s`"));
    } else {
        error.help(format!("under `{what}s` are: {}", names.as_written.join(", ")));
    }
    Reported
}
