//! A type's name is declared once, so that whoever searches for it finds it and nothing else.

use std::collections::BTreeMap;

use super::{Source, identifier, sources};

/// Each room has one of these, and none is mentioned outside without its room.
const EVERYWHERE: [&str; 1] = ["Error"];

#[test]
fn a_types_name_is_declared_once() {
    let files = sources();
    let mut declared: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for file in files.iter().filter(|file| !file.is_test) {
        for name in file.types() {
            declared.entry(name).or_default().push(&file.name);
        }
    }
    assert!(declared.len() > 200, "found only {} types: the reader of sources is broken", declared.len());

    let repeated: BTreeMap<_, _> = declared.iter().filter(|(_, files)| files.len() > 1).collect();

    let listed = |name: &str| EVERYWHERE.contains(&name);
    let new: Vec<_> = repeated.iter().filter(|(name, _)| !listed(name)).collect();
    assert!(new.is_empty(), "declared more than once: {new:#?}");
    let gone: Vec<_> = EVERYWHERE.iter().filter(|name| !repeated.contains_key(&(**name).to_owned())).collect();
    assert!(gone.is_empty(), "declared once by now: {gone:?}");
}

impl Source {
    /// The types that are declared here, but for those of a trait, which are the trait's.
    fn types(&self) -> Vec<String> {
        let kinds = ["struct ", "enum ", "trait ", "union ", "type "];
        let places = kinds.iter().flat_map(|kind| self.places(kind).into_iter().map(move |at| (at, *kind)));
        let declared = places.filter(|(at, kind)| {
            let line = self.code[..*at].rfind('\n').map_or(0, |end| end + 1);
            let before = &self.code[line..*at];
            let is_declaration = before.trim().is_empty() || before.trim_start().starts_with("pub");
            let is_of_a_trait = *kind == "type " && before.starts_with(char::is_whitespace);
            !self.is_test(*at) && is_declaration && !is_of_a_trait
        });
        declared.map(|(at, kind)| identifier(&self.code[at + kind.len()..])).filter(|name| !name.is_empty()).collect()
    }
}
