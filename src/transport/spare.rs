//! What a worker keeps for its next request: one buffer to read into, one to write lines in, and one map for fields.
//!
//! Thousands of connections may be idle or wait for an answer; those that move bytes in this moment are few.

use std::cell::Cell;

use bytes::BytesMut;
use http::HeaderMap;

struct Spare {
    buffer: Cell<Option<BytesMut>>,
    lines: Cell<Option<Vec<u8>>>,
    fields: Cell<Option<HeaderMap>>,
}

thread_local! {
    static SPARE: Spare = const { Spare { buffer: Cell::new(None), lines: Cell::new(None), fields: Cell::new(None) } };
}

/// A buffer to read into, of any capacity; its memory is used again once nobody holds a slice of it.
pub(super) fn buffer() -> BytesMut {
    SPARE.try_with(|spare| spare.buffer.take()).ok().flatten().unwrap_or_default()
}

pub(super) fn keep_buffer(buffer: BytesMut) {
    // A thread that ends keeps nothing.
    SPARE.try_with(|spare| spare.buffer.set(Some(buffer))).ok();
}

pub(super) fn lines() -> Vec<u8> {
    SPARE.try_with(|spare| spare.lines.take()).ok().flatten().unwrap_or_default()
}

pub(super) fn keep_lines(lines: Vec<u8>) {
    if lines.capacity() <= LINES_BYTES {
        SPARE.try_with(|spare| spare.lines.set(Some(lines))).ok();
    }
}

/// A map without fields.
pub(super) fn fields() -> HeaderMap {
    SPARE.try_with(|spare| spare.fields.take()).ok().flatten().unwrap_or_default()
}

pub(super) fn keep_fields(mut fields: HeaderMap) {
    // Names and values may be secrets, and hold the buffers that they came in.
    fields.clear();
    SPARE.try_with(|spare| spare.fields.set(Some(fields))).ok();
}

/// Heads are smaller; one that is not was rare, and need not stay.
const LINES_BYTES: usize = 16 * 1024;
