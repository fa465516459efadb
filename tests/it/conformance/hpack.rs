//! Compression of fields (RFC 7541): each form in which a field can be written means the same, and what can't be read ends
//! the connection, as each side would go on with another table.

use super::http2::{Outcome, PROTOCOL_ERROR, Row, check, head, served};
use crate::lab::frames::{END_HEADERS, END_STREAM, HEADERS, fields, frame};

/// A request with this block.
fn request(block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, block)
}

/// `:method: GET` and the rest, in front of a field.
fn with(field: &[u8]) -> Vec<u8> {
    request(&[&head("GET"), field].concat())
}

/// Two requests on one connection, the second of which takes from the table what the first has put there.
fn both(first: &[u8], second: &[u8]) -> Vec<u8> {
    let on_three = frame(HEADERS, END_HEADERS | END_STREAM, 3, second);
    [request(first), on_three].concat()
}

#[tokio::test]
async fn every_form_of_a_field_is_read() {
    // `/echo/x` under Huffman's code (appendix B): it is nothing but the path.
    let path = &[0x44, 0x85, 0x60, 0xa4, 0x9c, 0xec, 0x79][..];
    let plain = &[0x44, 7, b'/', b'e', b'c', b'h', b'o', b'/', b'x'][..];
    // `:method: GET` and `:scheme: http` by their numbers, `:authority` by its name's.
    let start = &[0x82, 0x86, 0x41, 9, b'l', b'o', b'c', b'a', b'l', b'h', b'o', b's', b't'][..];
    let block = |path: &[u8]| [start, path].concat();
    // They are the last that were put there: 62 is the path, 63 the authority.
    let again = &[0x82, 0x86, 0xbf, 0xbe][..];
    let rows: Vec<Row> = vec![
        ("6.1", "fields by their number in the static table", request(&block(plain)), 1, served("")),
        ("6.1", "fields by their number in the dynamic table", both(&block(plain), again), 3, served("")),
        ("6.2.1", "put into the table, under a known name", with(b"\x50\x01a"), 1, served("")),
        ("6.2.1", "put into the table, under a new name", with(b"\x40\x01x\x01a"), 1, served("")),
        ("6.2.1", "put into the table, in Huffman's code", with(b"\x50\x81\x1f"), 1, served("")),
        ("6.2.2", "not put there, under a known name", with(b"\x0f\x01\x01a"), 1, served("")),
        ("6.2.2", "not put there, under a new name", with(b"\x00\x01x\x01a"), 1, served("")),
        ("6.2.2", "not put there, in Huffman's code", with(b"\x00\x81\xf3\x81\x1f"), 1, served("")),
        ("6.2.3", "never put there, under a known name", with(b"\x1f\x01\x01a"), 1, served("")),
        ("6.2.3", "never put there, under a new name", with(b"\x10\x01x\x01a"), 1, served("")),
        ("6.2.3", "never put there, in Huffman's code", with(b"\x10\x81\xf3\x81\x1f"), 1, served("")),
        ("6.3", "a smaller table", request(&[&[0x20][..], &head("GET")].concat()), 1, served("")),
        ("6.3", "two sizes at once", request(&[&[0x20, 0x3f, 0xe1, 0x1f][..], &head("GET")].concat()), 1, served("")),
        ("5.2", "a path in Huffman's code", request(&block(path)), 1, served("")),
    ];
    check(rows, &[]).await;
}

#[tokio::test]
async fn what_can_not_be_decompressed_ends_the_connection() {
    // §4.3 of RFC 9113 has COMPRESSION_ERROR (9); h2 has no code of its own for it.
    let ended = Outcome::Ended(PROTOCOL_ERROR);
    let never =
        fields(&[(":method", "GET"), (":scheme", "http"), (":authority", "localhost"), (":path", "/echo/never")]);
    let row =
        |section, what, field: &[u8]| -> Row { (section, what, request(&[&never, field].concat()), 1, ended.clone()) };
    let mut rows = vec![
        row("2.3.3", "a number behind the table", &[0xc6]),
        row("2.3.3", "a name's number behind the table", b"\x7f\x07\x01a"),
        row("4.2", "another size at the end of a block", &[0x21]),
        row("5.1", "a number without an end", &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        row("5.2", "a text that goes on behind the block", b"\x00\x01x\x09a"),
        row("5.2", "Huffman's code with a byte of padding", b"\x00\x01x\x82\x1f\xff"),
        row("5.2", "Huffman's code padded with zeros", b"\x00\x01x\x81\x18"),
        row("5.2", "the end of a text in Huffman's code", b"\x00\x01x\x85\x1f\xff\xff\xff\xff"),
        row("6.1", "the number 0", &[0x80]),
    ];
    // 5,000 where 4,096 are allowed.
    let size = [&[0x3f, 0xe9, 0x26][..], &never].concat();
    rows.push(("6.3", "a table over its limit", request(&size), 1, ended));
    check(rows, &[]).await;
}
