//! A type's name is declared once, so that whoever searches for it finds it and nothing else.

use std::collections::BTreeMap;

use super::{Source, identifier, sources};

/// Each room has one of these, and none is mentioned outside without its room.
const EVERYWHERE: [&str; 1] = ["Error"];

/// Declared more than once, still.
const KNOWN: &[&str] = &[
    "Allow",
    "Answer",
    "Assertion",
    "Authority",
    "Body",
    "Certificate",
    "Context",
    "Endpoint",
    "Entry",
    "Exchange",
    "Failure",
    "Fields",
    "Found",
    "Gate",
    "Grant",
    "Identities",
    "Kept",
    "Kind",
    "Lease",
    "Outcome",
    "Place",
    "Service",
    "Stream",
    "Token",
    "Upload",
    "Worker",
];

#[test]
fn a_types_name_is_declared_once() {
    let files = sources();
    let mut declared: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for file in files.iter().filter(|file| !file.is_test) {
        for name in file.shown_types() {
            declared.entry(name).or_default().push(&file.name);
        }
    }
    assert!(declared.len() > 200, "found only {} types: the reader of sources is broken", declared.len());

    let repeated: BTreeMap<_, _> = declared.iter().filter(|(_, files)| files.len() > 1).collect();

    let listed = |name: &str| EVERYWHERE.contains(&name) || KNOWN.contains(&name);
    let new: Vec<_> = repeated.iter().filter(|(name, _)| !listed(name)).collect();
    assert!(new.is_empty(), "declared more than once: {new:#?}");
    let gone: Vec<_> =
        EVERYWHERE.iter().chain(KNOWN).filter(|name| !repeated.contains_key(&(**name).to_owned())).collect();
    assert!(gone.is_empty(), "declared once by now: {gone:?}");
}

impl Source {
    /// The types that other files can see. What a file keeps to itself is not searched for from elsewhere.
    fn shown_types(&self) -> Vec<String> {
        let kinds = ["struct ", "enum ", "trait ", "union ", "type "];
        let places = kinds.iter().flat_map(|kind| self.places(kind).into_iter().map(move |at| (at, at + kind.len())));
        let shown = places.filter(|(at, _)| {
            let line = self.code[..*at].rfind('\n').map_or(0, |end| end + 1);
            !self.is_test(*at) && self.code[line..*at].starts_with("pub")
        });
        shown.map(|(_, name)| identifier(&self.code[name..])).collect()
    }
}
