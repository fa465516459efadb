//! `identities`: the many callers that a load test pretends to be.
//!
//! A set is laid over the service's own `auth`, and the result is read like any other, so that every rule of a method
//! holds for it. The service's own `auth` is then not read by itself: it may lack what each set brings.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderName;
use schemars::{Schema, SchemaGenerator, json_schema};

use super::Service;
use crate::config::auth::{self, Auth, Methods};
use crate::config::csv::{self, Row};
use crate::config::diagnostic::{Report, Reported};
use crate::config::node::{Entry, Key, Kind, Node, Scalar, Value};
use crate::config::read::{FromNode, Reader, Wrong, mismatch, report_repeated, report_unknown};
use crate::config::section::{read_section, section, words};
use crate::config::value::{At, Span};
use crate::config::{Secrets, check, mask};
use crate::name::CertificateName;

/// `identities`: who the service is called as, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identities {
    /// At least one; none where a file has them and is not read (`check --no-secrets`).
    pub sets: Arc<[IdentitySet]>,
    /// Which of them a request is sent as.
    pub pick: Pick,
}

/// One of the identities: what it overrides, and all that follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentitySet {
    /// Unique, and no other set's number.
    pub name: Option<At<String>>,
    /// Instead of the service's.
    pub certificate: Option<At<CertificateName>>,
    /// The service's methods with what the set overrides.
    pub auth: Vec<At<Auth>>,
}

/// How a request gets its identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pick {
    /// In turn.
    RoundRobin,
    /// Each connection of an app gets the next, and keeps it.
    Connection,
    /// The app says which, in this field.
    Header(HeaderName),
}

impl fmt::Display for Identities {
    /// How many there are, and how one of them is picked.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sets.len() {
            0 => formatter.write_str("one of those in its file")?,
            count => write!(formatter, "one of {count}")?,
        }
        match &self.pick {
            Pick::RoundRobin => formatter.write_str(", in turn"),
            Pick::Connection => formatter.write_str(", for each connection the next"),
            Pick::Header(name) => write!(formatter, ", as `{name}` says"),
        }
    }
}

words! {
    /// `pick`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum PickWord ("a way to pick an identity") {
        /// In turn.
        "round_robin" => RoundRobin,
        /// One for each connection of an app.
        "connection" => Connection,
        /// The app says which.
        "header" => Header,
    }
}

section! {
    struct Keys {
        /// What each identity overrides: its `name`, `certificate`, and keys of the service's `auth`.
        sets: Option<Sets> = None,
        /// The same as a CSV file with a header line of these keys.
        file: Option<PathBuf> = None,
        /// How a request gets its identity; by default in turn.
        pick: Option<At<PickWord>> = None,
        /// For `pick: header`: the field in which the app says the name or the number (from 0) of a set.
        header: Option<At<HeaderName>> = None,
    }
}

read_section!(Keys);

impl FromNode for Identities {
    fn from_node(node: &Node, reader: &mut Reader<'_>) -> Result<Self, Reported> {
        // From here on methods are read.
        let base = reader.overridden.take();
        let keys = Keys::from_node(node, reader)?;
        let pick = keys.pick(node, reader.report);
        let template = Template::of(base.as_ref(), reader);
        let sets = match (node.entry("sets"), node.entry("file")) {
            (Some(sets), None) => template?.read_all(&keys.sets.ok_or(Reported)?.0, sets.value.span, reader),
            (None, Some(file)) => template?.read_file(&keys.file.ok_or(Reported)?, file.value.span, reader),
            (sets, _) => {
                let place = sets.map_or(node.span, |sets| sets.key.span);
                let wrong = Wrong::new("the identities stand in one place");
                Err(wrong.help("write either `sets: […]` or `file: ids.csv`").report(place, reader.report))
            }
        }?;
        check_names(&sets, reader.report);
        Ok(Self { sets: sets.into(), pick: pick? })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        Keys::schema(generator)
    }
}

impl Keys {
    fn pick(&self, node: &Node, report: &mut Report) -> Result<Pick, Reported> {
        let unread = |key, read: bool| node.entry(key).is_some() && !read;
        if unread("pick", self.pick.is_some()) || unread("header", self.header.is_some()) {
            return Err(Reported);
        }
        match (&self.pick, &self.header) {
            (Some(At { value: PickWord::Header, .. }), Some(header)) => Ok(Pick::Header(header.value.clone())),
            (Some(At { value: PickWord::Header, span }), None) => {
                let wrong = Wrong::new("`pick: header` needs the name of the field");
                Err(wrong.help("add `header: X-Identity`").report(*span, report))
            }
            (_, Some(header)) => {
                let wrong = Wrong::new("nobody would look at this field");
                Err(wrong.help("add `pick: header`, or remove `header`").report(header.span, report))
            }
            (Some(At { value: PickWord::Connection, .. }), None) => Ok(Pick::Connection),
            (Some(At { value: PickWord::RoundRobin, .. }) | None, None) => Ok(Pick::RoundRobin),
        }
    }
}

/// `sets`: what they mean depends on the service's `auth`.
struct Sets(Vec<Node>);

impl FromNode for Sets {
    fn from_node(node: &Node, reader: &mut Reader<'_>) -> Result<Self, Reported> {
        match &node.value {
            Value::Sequence(sets) if sets.is_empty() => {
                let wrong = Wrong::new("there is no identity in here");
                Err(wrong.help("add a set, or remove `identities`").report(node.span, reader.report))
            }
            Value::Sequence(sets) => Ok(Self(sets.clone())),
            _ => Err(mismatch(node, "a list", reader.report)),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let (name, certificate) = (String::schema(generator), CertificateName::schema(generator));
        json_schema!({
            "type": "array",
            "items": { "type": "object", "properties": { "name": name, "certificate": certificate } },
        })
    }
}

/// The service's own `auth`, which every set is laid over.
struct Template {
    methods: Vec<Method>,
    /// The keys of a set.
    known: Vec<&'static str>,
    links_certificate: bool,
}

struct Method {
    node: Node,
    keys: Vec<&'static str>,
}

impl Template {
    fn of(base: Option<&Node>, reader: &mut Reader<'_>) -> Result<Self, Reported> {
        let mut methods = Vec::new();
        for entry in base.map(auth::entries).unwrap_or_default() {
            let Some(keys) = auth::keys(entry, reader) else {
                // Whatever is wrong with it is said as it would be without identities.
                reader.auth_unknown = true;
                let _unread = base.map(|base| Methods::from_node(base, reader));
                return Err(Reported);
            };
            methods.push(Method { node: entry.clone(), keys });
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
    fn read_file(&self, path: &Path, span: Span, reader: &mut Reader<'_>) -> Result<Vec<IdentitySet>, Reported> {
        if !reader.report.reads_secrets() {
            reader.auth_unknown = true;
            return Ok(Vec::new());
        }
        let (file, public) = reader.report.read_table(path, span).ok_or(Reported)?;
        let table = Table::read(file, span, &self.known, reader.report)?;
        if public && table.has_secrets() {
            reader.report.warn_of_public(path, span);
        }
        self.read_all(&table.sets, span, reader)
    }

    /// Stops at a handful of problems: ten thousand that are wrong are wrong in the same way.
    fn read_all(&self, sets: &[Node], place: Span, reader: &mut Reader<'_>) -> Result<Vec<IdentitySet>, Reported> {
        let first = reader.report.count();
        let mut read = Vec::with_capacity(sets.len());
        for set in sets {
            let before = reader.report.count();
            let identity = self.read(set, reader);
            reader.report.forget_repeated(before);
            read.extend(identity);
            if reader.report.count() > first + MOST_PROBLEMS {
                reader.report.error(place, "too many of the identities are wrong: not all were looked at");
                break;
            }
        }
        if read.len() < sets.len() { Err(Reported) } else { Ok(read) }
    }

    fn read(&self, set: &Node, reader: &mut Reader<'_>) -> Result<IdentitySet, Reported> {
        let Some(entries) = set.entries() else { return Err(mismatch(set, "a mapping", reader.report)) };
        let own = |key: &str| entries.iter().find(|entry| entry.key.text == key);
        let name = own("name").map(|entry| At::<String>::from_node(&entry.value, reader)).transpose();
        let certificate = own("certificate").map(|entry| At::from_node(&entry.value, reader)).transpose();
        reader.links_certificate = self.links_certificate || own("certificate").is_some();
        let methods = self.lay_over(set, entries, reader.report);
        let before = reader.auth_unknown;
        reader.auth_unknown = false;
        let auth: Result<Vec<At<Auth>>, Reported> =
            methods.and_then(|methods| Methods::from_node(&methods, reader)).map(Into::into);
        let unread = std::mem::replace(&mut reader.auth_unknown, before);
        reader.links_certificate = self.links_certificate;
        let (name, certificate, auth) = (name?, certificate?, auth?);
        if unread && reader.report.reads_secrets() {
            return Err(Reported);
        }
        reader.auth_unknown |= unread;
        Ok(IdentitySet { name, certificate, auth })
    }

    /// The service's methods with the set's keys in the place of their own, or beside them.
    fn lay_over(&self, set: &Node, entries: &[Entry], report: &mut Report) -> Result<Node, Reported> {
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
}

impl Template {
    fn refuse(&self, entry: &Entry, report: &mut Report) -> Reported {
        if entry.key.text == "type" {
            let wrong = Wrong::new("an identity has the method of its service");
            return wrong.help("make another service for another method").report(entry.key.span, report);
        }
        report_unknown(entry, &self.known, report);
        Reported
    }
}

fn override_entry(method: &mut Node, entry: &Entry) {
    let Value::Mapping(entries) = &mut method.value else { return };
    match entries.iter_mut().find(|own| own.key.text == entry.key.text) {
        Some(own) => *own = entry.clone(),
        None => entries.push(entry.clone()),
    }
}

/// A CSV file as a list of sets.
struct Table {
    columns: Vec<String>,
    sets: Vec<Node>,
}

impl Table {
    fn read(file: u16, place: Span, known: &[&'static str], report: &mut Report) -> Result<Self, Reported> {
        let text = report.text(file);
        let mut rows = csv::rows(&text);
        let header = rows.next().transpose();
        let shown = header.as_ref().ok().and_then(Option::as_ref).map_or(0, |header| end_of(header));
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

    fn has_secrets(&self) -> bool {
        self.columns.iter().any(|column| mask::may_hold_a_secret(column) || column == "key")
    }
}

/// The keys that the first line names. One that nobody knows may be a value: then there is no such line.
fn read_header(file: u16, header: Row, known: &[&'static str], report: &mut Report) -> Result<Vec<Key>, Reported> {
    let mut keys: Vec<Key> = Vec::with_capacity(header.len());
    let mut outcome = Ok(());
    for cell in header {
        let span = at(file, cell.place);
        let key = Key { text: cell.text.trim().to_owned(), span, defined: span };
        let first = keys.iter().find(|known| known.text == key.text).map(|first| first.span);
        let entry = Entry { key, value: Node { span, defined: span, value: Value::Null } };
        if !known.contains(&entry.key.text.as_str()) {
            report_unknown(&entry, known, report);
            outcome = Err(Reported);
        } else if let Some(first) = first {
            report_repeated(&Entry { value: text_node(span, ""), ..entry.clone() }, first, report);
            outcome = Err(Reported);
        }
        keys.push(entry.key);
    }
    outcome.map(|()| keys)
}

/// An empty cell overrides nothing.
fn set(file: u16, span: Span, header: &[Key], row: Row) -> Node {
    let cells = header.iter().zip(row).filter(|(_, cell)| !cell.text.is_empty());
    let entries =
        cells.map(|(key, cell)| Entry { key: key.clone(), value: text_node(at(file, cell.place), &cell.text) });
    Node { span, defined: span, value: Value::Mapping(entries.collect()) }
}

fn text_node(span: Span, text: &str) -> Node {
    let kind = match text {
        "true" | "false" => Kind::Bool,
        number if number.parse::<f64>().is_ok() => Kind::Number,
        _ => Kind::Text,
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

/// Each name leads to one set.
fn check_names(sets: &[IdentitySet], report: &mut Report) {
    if !report.reads_secrets() {
        // A name from elsewhere is not known.
        return;
    }
    let mut seen: HashMap<&str, Span> = HashMap::new();
    for (number, set) in sets.iter().enumerate() {
        let Some(name) = &set.name else { continue };
        if let Some(first) = seen.insert(&name.value, name.span) {
            report.error(name.span, "two identities have this name").label("again here").also(first, "first here");
        }
        if name.value.parse().is_ok_and(|other: usize| other != number && other < sets.len()) {
            let wrong = Wrong::new("this name is the number of another identity");
            wrong
                .help("identities are numbered from 0 in the order in which they are written")
                .report(name.span, report);
        }
    }
}

/// Makes the service what its first identity is, and checks it as each of them.
pub(in crate::config) fn check(service: &mut Service, auth: Option<&Node>, reader: &mut Reader<'_>) {
    let Some(identities) = service.identities.take() else {
        reader.auth_unknown = true;
        return;
    };
    if identities.sets.is_empty() {
        service.auth = guess(auth, reader);
    }
    let certificate = service.certificate.clone();
    let first = reader.report.count();
    for set in identities.sets.iter() {
        let before = reader.report.count();
        service.auth.clone_from(&set.auth);
        service.certificate = set.certificate.clone().or_else(|| certificate.clone());
        check::service(service, reader);
        reader.report.forget_repeated(before);
        if reader.report.count() > first + MOST_PROBLEMS {
            break;
        }
    }
    if let Some(set) = identities.sets.first() {
        service.auth.clone_from(&set.auth);
    }
    service.certificate = certificate;
    service.identities = Some(identities);
}

/// What can be said of `auth` without the sets, for people.
fn guess(auth: Option<&Node>, reader: &Reader<'_>) -> Vec<At<Auth>> {
    let mut nobody = Report::new(Secrets::Skip);
    let mut reader = Reader {
        report: &mut nobody,
        certificates: Rc::clone(&reader.certificates),
        services: Rc::clone(&reader.services),
        links_certificate: reader.links_certificate,
        auth_unknown: false,
        overridden: None,
    };
    auth.and_then(|auth| Methods::from_node(auth, &mut reader).ok()).map(Into::into).unwrap_or_default()
}

/// The keys of a set that are not of `auth`.
const OWN_KEYS: [&str; 2] = ["name", "certificate"];

/// As many are told.
const MOST_PROBLEMS: usize = 8;
