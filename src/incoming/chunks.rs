//! What is wrong with a chunked body (RFC 9112 §7.1), in words of our own.

use std::error::Error as _;
use std::io;

/// The fault for which hyper gave up a body; `None`: it only broke off.
pub(super) fn fault(error: &hyper::Error) -> Option<&'static str> {
    let cause = error.source()?.downcast_ref::<io::Error>()?;
    if !matches!(cause.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) {
        return None;
    }
    // hyper tells them apart in its text alone.
    let text = cause.to_string();
    let known = HYPERS.iter().find(|(hypers, _)| text.contains(hypers));
    Some(known.map_or("a trailer is no `name: value`", |(_, ours)| ours))
}

/// What hyper says, and what we say. All else it says of trailers.
const HYPERS: [(&str, &str); 12] = [
    ("missing size digit", "a chunk does not begin with its size in hexadecimal digits"),
    ("Invalid Size", "the size of a chunk has a byte that is no hexadecimal digit"),
    ("linear white space", "white space within the size of a chunk"),
    ("invalid chunk size: overflow", "the size of a chunk is over 64 bits"),
    ("extension contains newline", "an LF without CR in an extension of a chunk"),
    ("extensions over limit", "the extensions of its chunks are too long"),
    ("chunk size LF", "a CR without LF behind the size of a chunk"),
    ("chunk body CR", "a chunk goes on behind the end that its size gives it"),
    ("chunk body LF", "a CR without LF behind a chunk"),
    ("over limit", "its trailers are over `limits.header_size`"),
    ("count overflow", "its trailers are over `limits.headers`"),
    ("end LF", "a CR without LF behind the last chunk or a trailer"),
];
