//! What the service has us remember: the dynamic table of HPACK (RFC 7541 §2.3.2), as its encoder has it.

use std::collections::VecDeque;

use http::HeaderValue;

use super::known::ReceivedName;

/// A field as it came, fit for an answer or not: what is remembered of one that is not still takes up its place.
#[derive(Clone, Debug)]
pub(in crate::transport::h2) struct ReceivedField {
    pub(in crate::transport::h2) name: ReceivedName,
    /// `None`: it has bytes that no value has.
    pub(in crate::transport::h2) value: Option<HeaderValue>,
    /// How long both were when they came.
    pub(in crate::transport::h2) name_bytes: usize,
    pub(in crate::transport::h2) value_bytes: usize,
}

/// The newest fields, as far as there is room.
pub(super) struct ReceivedTable {
    /// The newest last.
    fields: VecDeque<ReceivedField>,
    bytes: usize,
    limit: usize,
}

impl ReceivedField {
    /// What it counts (§4.1).
    pub(in crate::transport::h2) fn bytes(&self) -> usize {
        self.name_bytes + self.value_bytes + 32
    }
}

impl ReceivedTable {
    pub(super) fn new(limit: usize) -> Self {
        Self { fields: VecDeque::new(), bytes: 0, limit }
    }

    /// The field that came so many before the newest.
    pub(super) fn get(&self, before: usize) -> Option<&ReceivedField> {
        self.fields.get(self.fields.len().checked_sub(before + 1)?)
    }

    /// One that takes up more than there is at all leaves nothing (§4.4).
    pub(super) fn insert(&mut self, field: ReceivedField) {
        self.forget(self.limit.saturating_sub(field.bytes()));
        if field.bytes() <= self.limit {
            self.bytes += field.bytes();
            self.fields.push_back(field);
        }
    }

    pub(super) fn resize(&mut self, limit: usize) {
        self.limit = limit;
        self.forget(limit);
    }

    /// Forgets the oldest until the rest takes up no more than this.
    fn forget(&mut self, most: usize) {
        while self.bytes > most {
            let Some(oldest) = self.fields.pop_front() else { return };
            self.bytes -= oldest.bytes();
        }
    }
}
