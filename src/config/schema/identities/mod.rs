//! `identities`: the many callers that a load test pretends to be.
//!
//! A set is laid over the service's own `auth`, and the result is read like any other, so that every rule of a method
//! holds for it. The service's own `auth` is then not read by itself: it may lack what each set brings.

mod table;
mod template;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderName;
use schemars::{Schema, SchemaGenerator, json_schema};

use self::template::IdentityTemplate;
use super::ServiceConfig;
use crate::config::auth::{self, Auth, Methods};
use crate::config::diagnostic::{Report, Reported};
use crate::config::node::{Node, Value};
use crate::config::read::{FromNode, SectionReader, Wrong, mismatch};
use crate::config::section::{read_section, section, words};
use crate::config::value::{At, Span};
use crate::config::{Inputs, Secrets, check};
use crate::name::CertificateName;

/// `identities`: who the service is called as, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentitiesConfig {
    /// At least one; none where a file has them and is not read (`check --no-secrets`).
    pub sets: Arc<[IdentitySet]>,
    /// Which of them a request is sent as.
    pub pick: PickConfig,
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
pub enum PickConfig {
    /// In turn.
    RoundRobin,
    /// Each connection of an app gets the next, and keeps it.
    Connection,
    /// The app says which, in this field.
    Header(At<HeaderName>),
}

impl fmt::Display for IdentitiesConfig {
    /// How many there are, and how one of them is picked.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sets.len() {
            0 => formatter.write_str("one of those in its file")?,
            count => write!(formatter, "one of {count}")?,
        }
        match &self.pick {
            PickConfig::RoundRobin => formatter.write_str(", in turn"),
            PickConfig::Connection => formatter.write_str(", for each connection the next"),
            PickConfig::Header(name) => write!(formatter, ", as `{}` says", name.value),
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
    struct IdentitiesKeys {
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

read_section!(IdentitiesKeys);

impl FromNode for IdentitiesConfig {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        // From here on methods are read.
        let base = reader.overridden.take();
        let keys = IdentitiesKeys::from_node(node, reader)?;
        let pick = keys.pick(node, reader.report);
        let template = IdentityTemplate::of(base.as_ref(), reader);
        let sets = match (node.entry("sets"), node.entry("file")) {
            (Some(sets), None) => template?.read_all(&keys.sets.ok_or(Reported)?.0, sets.value.span, reader),
            (None, Some(file)) => template?.read_file(&keys.file.ok_or(Reported)?, file.value.span, reader),
            (sets, _) => {
                let place = sets.map_or(node.span, |sets| sets.key.span);
                let wrong = Wrong::new("the identities stand in one place");
                Err(wrong.help("write either `sets: […]` or `file: ids.csv`").report(place, reader.report))
            }
        }?;
        check_names(&sets, reader.inputs, reader.report);
        Ok(Self { sets: sets.into(), pick: pick? })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        IdentitiesKeys::schema(generator)
    }
}

impl IdentitiesKeys {
    fn pick(&self, node: &Node, report: &mut Report) -> Result<PickConfig, Reported> {
        let unread = |key, read: bool| node.entry(key).is_some() && !read;
        if unread("pick", self.pick.is_some()) || unread("header", self.header.is_some()) {
            return Err(Reported);
        }
        match (&self.pick, &self.header) {
            (Some(At { value: PickWord::Header, .. }), Some(header)) => Ok(PickConfig::Header(header.clone())),
            (Some(At { value: PickWord::Header, span }), None) => {
                let wrong = Wrong::new("`pick: header` needs the name of the field");
                Err(wrong.help("add `header: X-Identity`").report(*span, report))
            }
            (_, Some(header)) => {
                let wrong = Wrong::new("nobody would look at this field");
                Err(wrong.help("add `pick: header`, or remove `header`").report(header.span, report))
            }
            (Some(At { value: PickWord::Connection, .. }), None) => Ok(PickConfig::Connection),
            (Some(At { value: PickWord::RoundRobin, .. }) | None, None) => Ok(PickConfig::RoundRobin),
        }
    }
}

/// `sets`: what they mean depends on the service's `auth`.
struct Sets(Vec<Node>);

impl FromNode for Sets {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
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

/// Each name leads to one set.
fn check_names(sets: &[IdentitySet], inputs: &Inputs, report: &mut Report) {
    if !inputs.reads_secrets() {
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
pub(in crate::config) fn check(service: &mut ServiceConfig, auth: Option<&Node>, reader: &mut SectionReader<'_>) {
    let Some(identities) = service.identities.take() else {
        reader.auth_unknown = true;
        return;
    };
    if identities.sets.is_empty() {
        service.auth = guess(auth, reader);
    }
    let certificate = service.certificate.clone();
    let mut errors = 0;
    for set in identities.sets.iter() {
        let before = reader.report.count();
        service.auth.clone_from(&set.auth);
        service.certificate = set.certificate.clone().or_else(|| certificate.clone());
        check::service(service, reader);
        if let PickConfig::Header(name) = &identities.pick {
            auth::report_overlap_with_field(&service.auth, name, reader.report);
        }
        errors += reader.report.forget_repeated(before);
        if errors > MOST_ERRORS {
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
fn guess(auth: Option<&Node>, reader: &SectionReader<'_>) -> Vec<At<Auth>> {
    let (inputs, mut nobody) = (Inputs::new(Secrets::Skip), Report::default());
    let mut reader = SectionReader {
        inputs: &inputs,
        report: &mut nobody,
        certificates: Rc::clone(&reader.certificates),
        services: Rc::clone(&reader.services),
        links_certificate: reader.links_certificate,
        auth_unknown: false,
        overridden: None,
    };
    auth.and_then(|auth| Methods::from_node(auth, &mut reader).ok()).map(Into::into).unwrap_or_default()
}

/// As many are told.
const MOST_ERRORS: usize = 8;
