//! The service's own `auth` as what each set of `identities` is laid over.

use std::path::Path;

use super::table::IdentityTable;
use super::{IdentitySet, MOST_ERRORS};
use crate::config::auth::{self, Auth, Methods};
use crate::config::diagnostic::{Report, Reported};
use crate::config::node::{MappingEntry, Node, Value};
use crate::config::read::{FromNode, SectionReader, Wrong, mismatch, report_unknown};
use crate::config::value::{At, Span};

/// The methods of the service, which every set is laid over.
pub(super) struct IdentityTemplate {
    methods: Vec<TemplateMethod>,
    /// The keys of a set.
    known: Vec<&'static str>,
    links_certificate: bool,
}

struct TemplateMethod {
    node: Node,
    keys: Vec<&'static str>,
}

impl IdentityTemplate {
    pub(super) fn of(base: Option<&Node>, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        let mut methods = Vec::new();
        for entry in base.map(auth::entries).unwrap_or_default() {
            let Some(keys) = auth::keys(entry, reader) else {
                // Whatever is wrong with it is said as it would be without identities.
                reader.auth_unknown = true;
                let _unread = base.map(|base| Methods::from_node(base, reader));
                return Err(Reported);
            };
            methods.push(TemplateMethod { node: entry.clone(), keys });
        }
        let mut known = OWN_KEYS.to_vec();
        for key in methods.iter().flat_map(|method| &method.keys) {
            if !known.contains(key) {
                known.push(key);
            }
        }
        Ok(Self { methods, known, links_certificate: reader.links_certificate })
    }

    /// Reads a CSV file; one that is not read (`check --no-secrets`) has no sets.
    pub(super) fn read_file(
        &self,
        path: &Path,
        span: Span,
        reader: &mut SectionReader<'_>,
    ) -> Result<Vec<IdentitySet>, Reported> {
        if !reader.inputs.reads_secrets() {
            reader.auth_unknown = true;
            return Ok(Vec::new());
        }
        let (file, public) = reader.inputs.read_table(path, span, reader.report).ok_or(Reported)?;
        let table = IdentityTable::read(file, span, &self.known, reader.report)?;
        if public && table.has_secrets() {
            reader.inputs.warn_of_public(path, span, reader.report);
        }
        self.read_all(&table.sets, span, reader)
    }

    /// Stops at a handful of errors: ten thousand that are wrong are wrong in the same way.
    pub(super) fn read_all(
        &self,
        sets: &[Node],
        place: Span,
        reader: &mut SectionReader<'_>,
    ) -> Result<Vec<IdentitySet>, Reported> {
        let mut errors = 0;
        let mut read = Vec::with_capacity(sets.len());
        for set in sets {
            let before = reader.report.count();
            read.extend(self.read(set, reader));
            errors += reader.report.forget_repeated(before);
            if errors > MOST_ERRORS {
                reader.report.error(place, "too many of the identities are wrong: not all were looked at");
                break;
            }
        }
        if read.len() < sets.len() { Err(Reported) } else { Ok(read) }
    }

    fn read(&self, set: &Node, reader: &mut SectionReader<'_>) -> Result<IdentitySet, Reported> {
        let Some(entries) = set.entries() else { return Err(mismatch(set, "a mapping", reader.report)) };
        let own = |key: &str| entries.iter().find(|entry| entry.key.text == key);
        let name = own("name").map(|entry| At::<String>::from_node(&entry.value, reader)).transpose();
        let certificate = own("certificate").map(|entry| At::from_node(&entry.value, reader)).transpose();
        let methods = self.lay_over(set, entries, reader.report);
        reader.links_certificate = self.links_certificate || own("certificate").is_some();
        let auth = methods.and_then(|methods| read_methods(&methods, reader));
        reader.links_certificate = self.links_certificate;
        Ok(IdentitySet { name: name?, certificate: certificate?, auth: auth? })
    }

    /// The service's methods with the set's keys in the place of their own, or beside them.
    fn lay_over(&self, set: &Node, entries: &[MappingEntry], report: &mut Report) -> Result<Node, Reported> {
        let mut methods: Vec<Node> =
            self.methods.iter().map(|method| Node { span: set.span, ..method.node.clone() }).collect();
        let mut outcome = Ok(());
        for entry in entries.iter().filter(|entry| !OWN_KEYS.contains(&entry.key.text.as_str())) {
            // The first method that has such a key.
            let place = self.methods.iter().position(|method| method.keys.contains(&entry.key.text.as_str()));
            match place.and_then(|place| methods.get_mut(place)) {
                Some(method) => override_entry(method, entry),
                None => outcome = Err(self.refuse(entry, report)),
            }
        }
        outcome.map(|()| Node { span: set.span, defined: set.defined, value: Value::Sequence(methods) })
    }

    fn refuse(&self, entry: &MappingEntry, report: &mut Report) -> Reported {
        if entry.key.text == "type" {
            let wrong = Wrong::new("an identity has the method of its service");
            return wrong.help("make another service for another method").report(entry.key.span, report);
        }
        report_unknown(entry, &self.known, report);
        Reported
    }
}

/// Reads the methods of one set. One that is unknown is so for this set; but where nothing is read from elsewhere
/// (`check --no-secrets`), nothing can be said about the service.
fn read_methods(methods: &Node, reader: &mut SectionReader<'_>) -> Result<Vec<At<Auth>>, Reported> {
    let before = std::mem::replace(&mut reader.auth_unknown, false);
    let auth = Methods::from_node(methods, reader).map(Vec::from);
    let unknown = std::mem::replace(&mut reader.auth_unknown, before);
    if unknown && reader.inputs.reads_secrets() {
        return Err(Reported);
    }
    reader.auth_unknown |= unknown;
    auth
}

fn override_entry(method: &mut Node, entry: &MappingEntry) {
    let Value::Mapping(entries) = &mut method.value else { return };
    match entries.iter_mut().find(|own| own.key.text == entry.key.text) {
        Some(own) => *own = entry.clone(),
        None => entries.push(entry.clone()),
    }
}

/// The keys of a set that are not of `auth`.
const OWN_KEYS: [&str; 2] = ["name", "certificate"];
