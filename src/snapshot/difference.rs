//! What a reload changes, service by service: a type, so that it can be logged, shown and tested.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use super::{Service, Snapshot};

/// What one snapshot changes in another. Names and keys only: holds no value of the config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) services: Vec<Change>,
    pub(crate) certificates: Vec<Change>,
    /// Top-level keys, as they are written.
    pub(crate) sections: Vec<&'static str>,
    /// Of those, the ones that are of no effect before a restart.
    pub(crate) needs_restart: Vec<&'static str>,
}

/// What became of one service or certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) name: String,
    pub(crate) kind: ChangeKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    Added,
    Removed,
    /// A certificate whose files hold another one.
    Rotated,
    Changed {
        /// As they are written.
        keys: Vec<&'static str>,
        /// `None`: it had no token.
        token: Option<TokenChange>,
    },
}

/// What became of a service's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenChange {
    Kept,
    Dropped,
    /// Of several identities, some are kept.
    Partly,
}

impl Difference {
    /// What `new` changes in `old`.
    pub(crate) fn between(old: &Snapshot, new: &Snapshot) -> Self {
        let sections = sections(old, new);
        let needs_restart = sections.iter().copied().filter(|key| NEEDS_RESTART.contains(key)).collect();
        Self { services: services(old, new), certificates: certificates(old, new), sections, needs_restart }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.services.is_empty() && self.certificates.is_empty() && self.sections.is_empty()
    }

    /// A line for each change.
    pub(crate) fn lines(&self) -> Vec<String> {
        let services = self.services.iter().map(|change| format!("service {change}"));
        let certificates = self.certificates.iter().map(|change| format!("certificate {change}"));
        let sections = self.sections.iter().map(|key| {
            let restart = if self.needs_restart.contains(key) { ", which needs a restart" } else { "" };
            format!("`{key}` changed{restart}")
        });
        services.chain(certificates).chain(sections).collect()
    }
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}` ", self.name)?;
        let (keys, token) = match &self.kind {
            ChangeKind::Added => return formatter.write_str("added"),
            ChangeKind::Removed => return formatter.write_str("removed"),
            ChangeKind::Rotated => return formatter.write_str("rotated"),
            ChangeKind::Changed { keys, token } => (keys, token),
        };
        write!(formatter, "changed ({})", keys.join(", "))?;
        match token {
            None => Ok(()),
            Some(TokenChange::Kept) => formatter.write_str(", token kept"),
            Some(TokenChange::Dropped) => formatter.write_str(", token dropped"),
            Some(TokenChange::Partly) => formatter.write_str(", some tokens dropped"),
        }
    }
}

fn services(old: &Snapshot, new: &Snapshot) -> Vec<Change> {
    let mut changes = Vec::new();
    for service in &new.services {
        let name = service.name.to_string();
        match old.service(&name) {
            None => changes.push(Change { name, kind: ChangeKind::Added }),
            Some(known) if Arc::ptr_eq(known, service) => {}
            Some(known) => {
                let kind = ChangeKind::Changed { keys: known.changed_keys(service), token: token(known, service) };
                changes.push(Change { name, kind });
            }
        }
    }
    let gone = old.services.iter().filter(|service| new.service(service.name.as_str()).is_none());
    changes.extend(gone.map(|service| Change { name: service.name.to_string(), kind: ChangeKind::Removed }));
    changes
}

fn token(old: &Service, new: &Service) -> Option<TokenChange> {
    let had: HashSet<_> = old.slots().map(Arc::as_ptr).collect();
    let has: HashSet<_> = new.slots().map(Arc::as_ptr).collect();
    match had.intersection(&has).count() {
        _ if had.is_empty() => None,
        0 => Some(TokenChange::Dropped),
        kept if kept == had.len() => Some(TokenChange::Kept),
        _ => Some(TokenChange::Partly),
    }
}

fn certificates(old: &Snapshot, new: &Snapshot) -> Vec<Change> {
    let mut changes = Vec::new();
    for certificate in &new.certificates {
        let name = certificate.name.to_string();
        match old.certificate(&name) {
            None => changes.push(Change { name, kind: ChangeKind::Added }),
            Some(known) if Arc::ptr_eq(known, certificate) => {}
            Some(known) if !known.same_material(certificate) => {
                changes.push(Change { name, kind: ChangeKind::Rotated })
            }
            // The same one under another title: all else is its material.
            Some(_) => changes.push(Change { name, kind: ChangeKind::Changed { keys: vec!["title"], token: None } }),
        }
    }
    let gone = old.certificates.iter().filter(|known| new.certificate(known.name.as_str()).is_none());
    changes.extend(gone.map(|known| Change { name: known.name.to_string(), kind: ChangeKind::Removed }));
    changes
}

fn sections(old: &Snapshot, new: &Snapshot) -> Vec<&'static str> {
    let (old, new) = (&old.config, &new.config);
    let sections = [
        ("listen", old.listen != new.listen),
        ("admin", old.admin != new.admin),
        ("access", old.access != new.access),
        ("connect", old.connect != new.connect),
        ("log", old.log != new.log),
        ("limits", old.limits != new.limits),
        ("shutdown", old.shutdown != new.shutdown),
        ("routes", old.routes != new.routes),
        ("workers", old.workers != new.workers),
    ];
    sections.into_iter().filter(|&(_, changed)| changed).map(|(key, _)| key).collect()
}

/// Threads are started once.
const NEEDS_RESTART: [&str; 1] = ["workers"];
