//! A value of which parts are replaced, from its start to its end.

use std::ops::Range;

/// The value so far. Nothing is copied before the first part that is replaced.
pub(super) struct Edit<'v> {
    value: &'v [u8],
    edited: Vec<u8>,
    copied: usize,
    is_changed: bool,
}

impl<'v> Edit<'v> {
    pub(super) fn of(value: &'v [u8]) -> Self {
        Self { value, edited: Vec::new(), copied: 0, is_changed: false }
    }

    /// Puts `pieces` in the place of what stands at `range`, which comes after those before.
    pub(super) fn replace(&mut self, range: Range<usize>, pieces: &[&[u8]]) {
        let kept = self.value.get(self.copied..range.start).unwrap_or_default();
        self.edited.reserve(self.value.len() + pieces.iter().map(|piece| piece.len()).sum::<usize>());
        self.edited.extend_from_slice(kept);
        pieces.iter().for_each(|piece| self.edited.extend_from_slice(piece));
        self.copied = range.end;
        self.is_changed = true;
    }

    /// What came of it; `None`: nothing was replaced.
    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        self.edited.extend_from_slice(self.value.get(self.copied..).filter(|_| self.is_changed)?);
        Some(self.edited)
    }
}
