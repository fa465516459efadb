//! A worker's own copies of what goes into fields.
//!
//! Names and values are reference-counted, and a count that all workers move is a cache line that they fight for. So
//! each worker copies the bytes once per value, and attaching one moves a count that only this worker knows.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::Slot;

/// What a worker has of its own for one credential, by the place of the part that it is of.
#[derive(Debug, Default)]
pub(crate) struct Attachments {
    copies: Vec<Option<TokenCopy>>,
    /// Where the tokens of subjects are: held weakly, for how many there are is another's affair.
    subjects: HashMap<(usize, [u8; 32]), Weak<Slot>>,
}

#[derive(Debug)]
struct TokenCopy {
    generation: u64,
    name: HeaderName,
    value: HeaderValue,
}

impl Attachments {
    /// Sets the field of the part at `place`; `value` is asked for only if the copy is of another generation.
    pub(super) fn attach(
        &mut self,
        place: usize,
        generation: u64,
        name: &HeaderName,
        value: impl FnOnce() -> HeaderValue,
        fields: &mut HeaderMap,
    ) {
        if self.copies.len() <= place {
            self.copies.resize_with(place + 1, || None);
        }
        let copy = &mut self.copies[place];
        let copied = match copy {
            Some(copied) if copied.generation == generation => copied,
            _ => copy.insert(TokenCopy { generation, name: own_name(name), value: value() }),
        };
        fields.insert(copied.name.clone(), copied.value.clone());
    }

    /// The slot of a subject of the part at `place`, if it is known here and still kept.
    pub(super) fn slot_of(&self, place: usize, subject: &[u8; 32]) -> Option<Arc<Slot>> {
        self.subjects.get(&(place, *subject)).and_then(Weak::upgrade)
    }

    /// Knows the slot of this subject from now on.
    pub(super) fn remember(&mut self, place: usize, subject: [u8; 32], slot: &Arc<Slot>) {
        if self.subjects.len() >= SUBJECTS_KNOWN {
            self.subjects.retain(|_, slot| slot.strong_count() > 0);
        }
        if self.subjects.len() >= SUBJECTS_KNOWN {
            // To ask for them again costs each a message, and no token.
            self.subjects.clear();
        }
        self.subjects.insert((place, subject), Arc::downgrade(slot));
    }
}

/// A value that shares nothing with `value`.
pub(crate) fn own_value(value: &HeaderValue) -> HeaderValue {
    // The bytes are a field's value already; were they not, sharing them would still be right.
    let mut own = HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone());
    own.set_sensitive(value.is_sensitive());
    own
}

/// A name that shares nothing with `name`.
pub(crate) fn own_name(name: &HeaderName) -> HeaderName {
    HeaderName::from_bytes(name.as_str().as_bytes()).unwrap_or_else(|_| name.clone())
}

/// Of one service, by one worker.
const SUBJECTS_KNOWN: usize = 1_000;

#[cfg(test)]
mod tests {
    use http::header::AUTHORIZATION;

    use super::*;

    #[test]
    fn a_value_is_made_once_per_generation() {
        let mut own = Attachments::default();
        let mut fields = HeaderMap::new();
        let mut made = 0;

        for generation in [1, 1, 1, 2, 2] {
            let value = || {
                made += 1;
                HeaderValue::from(generation)
            };
            own.attach(3, generation, &AUTHORIZATION, value, &mut fields);
        }

        assert_eq!(made, 2);
        assert_eq!(fields.get_all(AUTHORIZATION).iter().collect::<Vec<_>>(), ["2"]);
    }

    #[test]
    fn a_copy_stays_as_secret_as_its_original() {
        let mut value = HeaderValue::from_static("Bearer secret");
        value.set_sensitive(true);

        assert!(own_value(&value).is_sensitive());
    }
}
