//! What a worker keeps for its next request: one buffer to read into, and one to write lines in.
//!
//! Thousands of connections may be idle or wait for an answer; those that move bytes in this moment are few.

use std::cell::Cell;

use bytes::BytesMut;

struct Spare {
    buffer: Cell<Option<BytesMut>>,
    lines: Cell<Option<Vec<u8>>>,
}

thread_local! {
    static SPARE: Spare = const { Spare { buffer: Cell::new(None), lines: Cell::new(None) } };
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

/// Heads are smaller; one that is not was rare, and need not stay.
const LINES_BYTES: usize = 16 * 1024;
