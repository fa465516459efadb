//! What a worker keeps for its next request: one buffer to read into, one to write lines in, and one map for fields.
//!
//! Thousands of connections may be idle or wait for an answer; those that move bytes in this moment are few.

use std::cell::Cell;
use std::thread::LocalKey;

use bytes::BytesMut;
use http::HeaderMap;

thread_local! {
    static BUFFER: Scratch<BytesMut> = const { Cell::new(None) };
    static LINES: Scratch<Vec<u8>> = const { Cell::new(None) };
    static FIELDS: Scratch<HeaderMap> = const { Cell::new(None) };
}

type Scratch<T> = Cell<Option<T>>;

/// A buffer to read into, of any capacity; its memory is used again once nobody holds a slice of it.
pub(super) fn buffer() -> BytesMut {
    take(&BUFFER)
}

pub(super) fn keep_buffer(buffer: BytesMut) {
    keep(&BUFFER, buffer);
}

pub(super) fn lines() -> Vec<u8> {
    take(&LINES)
}

pub(super) fn keep_lines(lines: Vec<u8>) {
    if lines.capacity() <= LINES_BYTES {
        keep(&LINES, lines);
    }
}

/// A map without fields.
pub(super) fn fields() -> HeaderMap {
    take(&FIELDS)
}

pub(super) fn keep_fields(mut fields: HeaderMap) {
    // Names and values may be secrets, and hold the buffers that they came in.
    fields.clear();
    keep(&FIELDS, fields);
}

fn take<T: Default>(place: &'static LocalKey<Scratch<T>>) -> T {
    place.try_with(Cell::take).ok().flatten().unwrap_or_default()
}

fn keep<T>(place: &'static LocalKey<Scratch<T>>, spare: T) {
    // A thread that ends keeps nothing.
    place.try_with(|place| place.set(Some(spare))).ok();
}

/// Heads are smaller; one that is not was rare, and need not stay.
const LINES_BYTES: usize = 16 * 1024;
