//! Readers that have a buffer of their own.

use std::io::{BufRead, Read};

/// What `Read::read` is for one of them.
pub(super) fn read(source: &mut impl BufRead, into: &mut [u8]) -> std::io::Result<usize> {
    let length = source.fill_buf()?.read(into)?;
    source.consume(length);
    Ok(length)
}
