//! A body in memory.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use hyper::body::Frame;

use super::held::HeldPermit;

/// A body in memory: at most what `keep_bytes` allows.
///
/// The first piece is kept by reference. Later ones are copied together: a piece of a few bytes can hold a whole read
/// buffer, so a body that drips in would pin thousands of them.
#[derive(Clone, Default)]
pub(crate) struct Copied {
    first: Bytes,
    rest: BytesMut,
    trailers: Option<HeaderMap>,
    /// The right to hold it, where it is held for more than to be sent again: as long as any copy.
    permit: Option<Rc<HeldPermit>>,
}

impl Copied {
    pub(super) fn add(&mut self, frame: &Frame<Bytes>) {
        match frame.data_ref() {
            Some(data) if self.first.is_empty() => self.first = data.clone(),
            Some(data) => self.rest.extend_from_slice(data),
            None => self.trailers = frame.trailers_ref().cloned(),
        }
    }

    /// As [`Copied::add`], with all of it together if there is more than one piece: see [`Copied::in_one_piece`]. `announced`
    /// is how much its sender said there would be.
    pub(super) fn join(&mut self, frame: &Frame<Bytes>, announced: usize) {
        let another = frame.data_ref().is_some_and(|data| !data.is_empty());
        if another && !self.first.is_empty() {
            // All at once: memory that grew would take up to twice as much.
            self.rest.reserve(announced);
            self.rest.extend_from_slice(&std::mem::take(&mut self.first));
        }
        match frame.data_ref() {
            Some(data) if !self.rest.is_empty() => self.rest.extend_from_slice(data),
            _ => self.add(frame),
        }
    }

    /// Nothing more comes to what was joined: copies of it are counted from now on, and not made.
    pub(super) fn in_one_piece(mut self) -> Self {
        if !self.rest.is_empty() {
            self.first = std::mem::take(&mut self.rest).freeze();
        }
        self
    }

    pub(super) fn next(&mut self) -> Option<Frame<Bytes>> {
        if !self.first.is_empty() {
            return Some(Frame::data(std::mem::take(&mut self.first)));
        }
        if !self.rest.is_empty() {
            return Some(Frame::data(std::mem::take(&mut self.rest).freeze()));
        }
        // The last piece is another's by now.
        self.permit = None;
        self.trailers.take().map(Frame::trailers)
    }

    /// What it takes up.
    pub(super) fn memory(&self) -> usize {
        self.first.len() + self.rest.capacity()
    }

    pub(super) fn len(&self) -> usize {
        self.first.len() + self.rest.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The right to hold it.
    pub(super) fn hold(&mut self, permit: HeldPermit) {
        self.permit = Some(Rc::new(permit));
    }

    /// What is left of it, in order.
    pub(super) fn pieces(&self) -> [&[u8]; 2] {
        [&self.first, &self.rest]
    }

    pub(super) fn has_trailers(&self) -> bool {
        self.trailers.is_some()
    }
}
