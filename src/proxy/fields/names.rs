//! Names that are looked for in a head, under any spelling.

use http::{HeaderMap, HeaderName};

use crate::spelling::same_field;

/// A few names. A worker's own copies, so that using one touches no reference count that other workers touch.
#[derive(Debug, Default)]
pub(crate) struct FieldNames {
    names: Box<[HeaderName]>,
    /// How long they are, a bit for each length: nearly every field of a head is ruled out by this one look.
    lengths: u64,
}

impl FieldNames {
    pub(super) fn has(&self, name: &str) -> bool {
        self.lengths & length_bit(name) != 0 && self.names.iter().any(|one| same_field(name, one.as_str()))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &HeaderName> {
        self.names.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}

impl FromIterator<HeaderName> for FieldNames {
    fn from_iter<I: IntoIterator<Item = HeaderName>>(names: I) -> Self {
        let names: Box<[_]> = names.into_iter().collect();
        let lengths = names.iter().fold(0, |all, name| all | length_bit(name.as_str()));
        Self { names, lengths }
    }
}

/// The longest share the last bit.
fn length_bit(name: &str) -> u64 {
    1 << name.len().min(63)
}

/// Removes every field whose name is unwanted. Looks at each name once; only a hit costs more.
pub(super) fn remove_where(fields: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    while let Some(name) = fields.keys().find(|name| unwanted(name.as_str())).cloned() {
        fields.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_under_any_spelling_whatever_its_length() {
        let long = "x-".repeat(40);
        let names: FieldNames =
            ["x-api-key", "cookie", &long].map(|name| HeaderName::try_from(name).unwrap()).into_iter().collect();

        for name in ["x-api-key", "X_Api.Key", "cookie", &long, &long.replace('-', "_").to_uppercase()] {
            assert!(names.has(name), "{name}");
        }
        for name in ["x-api-ke", "host", &long[1..], ""] {
            assert!(!names.has(name), "{name}");
        }
    }
}
