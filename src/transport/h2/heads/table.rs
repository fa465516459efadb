//! What a connection has carried: the dynamic table of HPACK (RFC 7541 §2.3.2), as the service has it.

use std::collections::VecDeque;

use http::HeaderName;
use zeroize::Zeroizing;

/// Fields that the service was told to remember, so that a number stands for them.
pub(super) struct FieldTable {
    /// The oldest first.
    entries: VecDeque<RememberedField>,
    /// As RFC 7541 §4.1 counts.
    bytes: usize,
    limit: usize,
    /// The place after the one that was found last: requests have their fields in the same order, mostly.
    next: usize,
}

/// A field's name, which a pseudo-header field has too.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum FieldName {
    Method,
    Authority,
    Plain(HeaderName),
}

struct RememberedField {
    name: FieldName,
    /// It may be a credential.
    value: Zeroizing<Vec<u8>>,
}

impl FieldTable {
    pub(super) fn new(limit: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, limit, next: 0 }
    }

    /// The number that stands for a field.
    pub(super) fn find(&mut self, name: &FieldName, value: &[u8]) -> Option<usize> {
        let count = self.entries.len();
        let start = if self.next < count { self.next } else { 0 };
        let is_there = |place: &usize| self.entries.get(*place).is_some_and(|entry| entry.is(name, value));
        let place = (start..count).chain(0..start).find(is_there)?;
        self.next = place + 1;
        Some(FIRST_NUMBER + (count - 1 - place))
    }

    /// Whether a field leaves room for others: one that does not would only drive them out.
    pub(super) fn may_have(&self, name: &FieldName, value: &[u8]) -> bool {
        size(name, value) <= self.limit / 4 * 3
    }

    /// Whether it can be remembered, and nothing forgotten for it.
    pub(super) fn has_room_beside(&self, name: &FieldName, value: &[u8]) -> bool {
        self.bytes + size(name, value) <= self.limit
    }

    /// Remembers a field, and forgets the oldest that leave no room for it, in the moment in which the service does.
    pub(super) fn insert(&mut self, name: FieldName, value: &[u8]) {
        self.bytes += size(&name, value);
        self.entries.push_back(RememberedField { name, value: Zeroizing::new(value.to_vec()) });
        self.forget();
    }

    /// Keeps to what the service bears from now on.
    pub(super) fn resize(&mut self, limit: usize) {
        self.limit = limit;
        self.forget();
    }

    fn forget(&mut self) {
        while self.bytes > self.limit {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.bytes -= size(&oldest.name, &oldest.value);
            self.next = self.next.saturating_sub(1);
        }
    }
}

impl RememberedField {
    fn is(&self, name: &FieldName, value: &[u8]) -> bool {
        self.name == *name && self.value.as_slice() == value
    }
}

impl FieldName {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Method => ":method",
            Self::Authority => ":authority",
            Self::Plain(name) => name.as_str(),
        }
    }
}

fn size(name: &FieldName, value: &[u8]) -> usize {
    name.as_str().len() + value.len() + 32
}

/// Numbers below are those of fields that everybody knows (RFC 7541 Appendix A).
const FIRST_NUMBER: usize = 62;
