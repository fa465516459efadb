//! The attempts: what is sent, and what is due.

use Due::{Arrives, BrokenOff, Denied, Refused};
use Form::{Chunked, Length, NoBody};
use Next::{Nobodys, Served};

/// One attempt. `SERVICE` and `NUMBER` stand for the service and the run, `SMUGGLED` for [`SMUGGLED`].
pub struct Attempt {
    pub what: &'static str,
    pub sent: &'static str,
    pub due: Due,
}

/// What has to become of it.
#[derive(Clone, Copy)]
pub enum Due {
    /// An answer of ours with this code, whose detail says this (or, by where it was cut, what stands behind the `|`), and the
    /// end of the connection.
    Refused(&'static str, &'static str),
    /// As `Refused`, but it is known where it ends: the request behind it is served.
    Denied(&'static str, &'static str),
    /// No service takes it for whole, and the detail of our answer says this, if nobody was quicker.
    BrokenOff(&'static str),
    /// It arrives with this body in this form, and the request behind it is served or not.
    Arrives { body: &'static str, form: Form, next: Next },
}

/// How a service learns where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    NoBody,
    Length(usize),
    Chunked,
}

/// What becomes of the request behind an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Served,
    /// The attempt was the last on its connection.
    Nobodys,
}

/// A request that would be one for both, Sidekey and the service.
pub const SMUGGLED: &str = "GET /SERVICE/smuggled-NUMBER HTTP/1.1\r\nHost: localhost\r\n\r\n";

const fn attempt(what: &'static str, sent: &'static str, due: Due) -> Attempt {
    Attempt { what, sent, due }
}

#[rustfmt::skip] // A line for each.
pub const ATTEMPTS: &[Attempt] = &[
    // Both framings, of which the one is taken and the connection ends (RFC 9112 §6.3).
    attempt("a length and chunks", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nSMUGGLED", Arrives { body: "", form: Chunked, next: Nobodys }),
    attempt("chunks and a length", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Arrives { body: "", form: Chunked, next: Nobodys }),
    attempt("chunks and a longer length", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 300\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Arrives { body: "hello", form: Chunked, next: Nobodys }),
    attempt("chunks and what is no length", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: none\r\n\r\n0\r\n\r\nSMUGGLED", Arrives { body: "", form: Chunked, next: Nobodys }),
    attempt("no length and chunks", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nContent-Length: none\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nSMUGGLED", Refused("bad_request", "its `Content-Length` is no number, or there are two that differ")),
    attempt("chunks between two lengths", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nSMUGGLED", Arrives { body: "", form: Chunked, next: Nobodys }),
    attempt("chunks that are called of this connection", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nConnection: Transfer-Encoding\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nSMUGGLED", Arrives { body: "", form: Chunked, next: Nobodys }),
    // Codings in other clothes (RFC 9112 §6.1).
    attempt("coding: an x in front", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Refused("bad_request", "the last coding of its `Transfer-Encoding` is not `chunked`")),
    attempt("coding: an x behind", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunkedx\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Refused("bad_request", "the last coding of its `Transfer-Encoding` is not `chunked`")),
    attempt("coding: a quoted coding", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: \"chunked\"\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Refused("bad_request", "the last coding of its `Transfer-Encoding` is not `chunked`")),
    attempt("coding: a parameter", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked;q=1\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Refused("bad_request", "the last coding of its `Transfer-Encoding` is not `chunked`")),
    attempt("coding: identity behind", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, identity\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Refused("bad_request", "the last coding of its `Transfer-Encoding` is not `chunked`")),
    attempt("coding: identity in front", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: identity, chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Refused("not_implemented", "`Transfer-Encoding: identity, chunked`")),
    attempt("coding: gzip in front", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Refused("not_implemented", "`Transfer-Encoding: gzip, chunked`")),
    attempt("coding: chunked twice", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Refused("not_implemented", "`Transfer-Encoding: chunked, chunked`")),
    attempt("coding: a comma behind", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked,\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Refused("bad_request", "the last coding of its `Transfer-Encoding` is not `chunked`")),
    attempt("coding: a comma in front", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: , chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Refused("not_implemented", "`Transfer-Encoding: , chunked`")),
    attempt("coding: no coding", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: \r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Refused("bad_request", "the last coding of its `Transfer-Encoding` is not `chunked`")),
    attempt("coding: an empty line of it, and chunked", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: \r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Refused("not_implemented", "`Transfer-Encoding: , chunked`")),
    attempt("coding: two lines, identity the last", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Refused("bad_request", "the last coding of its `Transfer-Encoding` is not `chunked`")),
    attempt("coding: two lines, chunked the last", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Refused("not_implemented", "`Transfer-Encoding: identity, chunked`")),
    attempt("coding: two lines of chunked", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Refused("not_implemented", "`Transfer-Encoding: chunked, chunked`")),
    attempt("coding: a vertical tab in front", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: \x0bchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Refused("bad_request", "the byte 0x0B at byte 20 of the line in the value of the field `Transfer-Encoding`")),
    attempt("coding: a vertical tab behind", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\x0b\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Refused("bad_request", "the byte 0x0B at byte 27 of the line in the value of the field `Transfer-Encoding`")),
    attempt("coding: a form feed in front", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: \x0cchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Refused("bad_request", "the byte 0x0C at byte 20 of the line in the value of the field `Transfer-Encoding`")),
    attempt("coding: NUL behind", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\0\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Refused("bad_request", "a NUL at byte 27 of the line in the value of the field `Transfer-Encoding`")),
    attempt("coding: a space that is none of ASCII", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: \u{a0}chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Refused("bad_request", "the last coding of its `Transfer-Encoding` is not `chunked`")),
    attempt("coding: a folded line", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: \r\n chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Refused("bad_request", "line 3 after the first begins with white space")),
    attempt("coding: upper case", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Arrives { body: "hello", form: Chunked, next: Served }),
    attempt("coding: a space behind", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked \r\n\r\n5\r\nhello\r\n0\r\n\r\n", Arrives { body: "hello", form: Chunked, next: Served }),
    attempt("coding: a tab behind", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\t\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Arrives { body: "hello", form: Chunked, next: Served }),
    attempt("coding: a tab in front", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding:\tchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Arrives { body: "hello", form: Chunked, next: Served }),
    attempt("coding: no space in front", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding:chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Arrives { body: "hello", form: Chunked, next: Served }),
    attempt("coding: a space before the colon", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Refused("bad_request", "a space at byte 18 of the line in the name of the field `Transfer-Encoding `")),
    attempt("coding: a tab before the colon", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding\t: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Refused("bad_request", "a tab at byte 18 of the line in the name of the field `Transfer-Encoding")),
    attempt("coding: a space before the name", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\n Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Refused("bad_request", "line 2 after the first begins with white space")),
    attempt("coding: in a folded line", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nX: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Refused("bad_request", "line 3 after the first begins with white space")),
    attempt("coding: behind a bare CR", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nX: y\rTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Refused("bad_request", "a CR without LF at byte 5 of the line in the value of the field `X`")),
    attempt("coding: behind a bare LF", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Arrives { body: "hello", form: Chunked, next: Served }),
    attempt("coding: an underscore in its name", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello", Arrives { body: "hello", form: Length(5), next: Served }),
    attempt("coding: of the content", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello", Arrives { body: "hello", form: Length(5), next: Served }),
    attempt("coding: in HTTP/1.0", "POST /SERVICE/x-NUMBER HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", Refused("bad_request", "it is HTTP/1.0 and has a `Transfer-Encoding`")),
    // Lengths (RFC 9110 §8.6).
    attempt("length: a sign", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nContent-Length: +5\r\n\r\nhelloSMUGGLED", Refused("bad_request", "its `Content-Length` is no number, or there are two that differ")),
    attempt("length: below nothing", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\nhelloSMUGGLED", Refused("bad_request", "its `Content-Length` is no number, or there are two that differ")),
    attempt("length: another base", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0x5\r\n\r\nhelloSMUGGLED", Refused("bad_request", "its `Content-Length` is no number, or there are two that differ")),
    attempt("length: a comma", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5, 5\r\n\r\nhelloSMUGGLED", Refused("bad_request", "its `Content-Length` is no number, or there are two that differ")),
    attempt("length: two in one line", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5 6\r\n\r\nhelloSMUGGLED", Refused("bad_request", "its `Content-Length` is no number, or there are two that differ")),
    attempt("length: a half", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5.0\r\n\r\nhelloSMUGGLED", Refused("bad_request", "its `Content-Length` is no number, or there are two that differ")),
    attempt("length: nothing", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nContent-Length: \r\n\r\nhelloSMUGGLED", Refused("bad_request", "its `Content-Length` is no number, or there are two that differ")),
    attempt("length: a letter behind", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5a\r\n\r\nhelloSMUGGLED", Refused("bad_request", "its `Content-Length` is no number, or there are two that differ")),
    attempt("length: over 64 bits", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nContent-Length: 18446744073709551621\r\n\r\nhelloSMUGGLED", Refused("bad_request", "its `Content-Length` is no number, or there are two that differ")),
    attempt("length: quoted", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nContent-Length: \"5\"\r\n\r\nhelloSMUGGLED", Refused("bad_request", "its `Content-Length` is no number, or there are two that differ")),
    attempt("length: an underscore", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1_0\r\n\r\nhelloSMUGGLED", Refused("bad_request", "its `Content-Length` is no number, or there are two that differ")),
    attempt("length: a vertical tab", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nContent-Length: \x0b5\r\n\r\nhelloSMUGGLED", Refused("bad_request", "the byte 0x0B at byte 17 of the line in the value of the field `Content-Length`")),
    attempt("length: NUL", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\0\r\n\r\nhelloSMUGGLED", Refused("bad_request", "a NUL at byte 18 of the line in the value of the field `Content-Length`")),
    attempt("length: a digit that is none of ASCII", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nContent-Length: \u{ff15}\r\n\r\nhelloSMUGGLED", Refused("bad_request", "its `Content-Length` is no number, or there are two that differ")),
    attempt("length: two that differ", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhelloSMUGGLED", Refused("bad_request", "its `Content-Length` is no number, or there are two that differ")),
    attempt("length: two, one of them signed", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: +5\r\n\r\nhelloSMUGGLED", Refused("bad_request", "its `Content-Length` is no number, or there are two that differ")),
    attempt("length: a space before the colon", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nContent-Length : 5\r\n\r\nhelloSMUGGLED", Refused("bad_request", "a space at byte 15 of the line in the name of the field `Content-Length `")),
    attempt("length: a folded line", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nContent-Length: \r\n 5\r\n\r\nhelloSMUGGLED", Refused("bad_request", "line 3 after the first begins with white space")),
    attempt("length: the same twice", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", Arrives { body: "hello", form: Length(5), next: Served }),
    attempt("length: white space around it", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nContent-Length:  5 \t\r\n\r\nhello", Arrives { body: "hello", form: Length(5), next: Served }),
    attempt("length: zeros in front", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0005\r\n\r\nhello", Arrives { body: "hello", form: Length(5), next: Served }),
    attempt("length: called of this connection", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nConnection: Content-Length\r\nContent-Length: 5\r\n\r\nhello", Arrives { body: "hello", form: Length(5), next: Served }),
    attempt("length: another with an underscore", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nContent_Length: 50\r\nContent-Length: 5\r\n\r\nhello", Arrives { body: "hello", form: Length(5), next: Served }),
    attempt("length: of a GET", "GET /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello", Arrives { body: "hello", form: Length(5), next: Served }),
    attempt("length: with an expectation that waits for nothing", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", Arrives { body: "hello", form: Length(5), next: Served }),
    // Chunks (RFC 9112 §7.1).
    attempt("chunk: an extension", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b;c=\"d\"\r\nhello\r\n0;e\r\n\r\n", Arrives { body: "hello", form: Chunked, next: Served }),
    attempt("chunk: zeros in front", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0005\r\nhello\r\n000\r\n\r\n", Arrives { body: "hello", form: Chunked, next: Served }),
    attempt("chunk: a body that looks like an end", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n21\r\n0\r\n\r\nGET /smuggled-1 HTTP/1.1\r\n\r\n\r\n0\r\n\r\n", Arrives { body: "0\r\n\r\nGET /smuggled-1 HTTP/1.1\r\n\r\n", form: Chunked, next: Served }),
    attempt("chunk: an LF in an extension", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5;a\nhello\r\n0\r\n\r\n", BrokenOff("an LF without CR in an extension of a chunk")),
    attempt("chunk: an LF behind the size", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", BrokenOff("the size of a chunk has a byte that is no hexadecimal digit")),
    attempt("chunk: a CR alone behind the size", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\rhello\r\n0\r\n\r\n", BrokenOff("a CR without LF behind the size of a chunk")),
    attempt("chunk: a sign", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n", BrokenOff("a chunk does not begin with its size in hexadecimal digits")),
    attempt("chunk: below nothing", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n", BrokenOff("a chunk does not begin with its size in hexadecimal digits")),
    attempt("chunk: another way to write its base", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", BrokenOff("the size of a chunk has a byte that is no hexadecimal digit")),
    attempt("chunk: a space in front of the size", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n", BrokenOff("a chunk does not begin with its size in hexadecimal digits")),
    attempt("chunk: an underscore", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0_5\r\nhello\r\n0\r\n\r\n", BrokenOff("the size of a chunk has a byte that is no hexadecimal digit")),
    attempt("chunk: a space within the size", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5 5\r\nhello\r\n0\r\n\r\n", BrokenOff("white space within the size of a chunk")),
    attempt("chunk: no size", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n", BrokenOff("a chunk does not begin with its size in hexadecimal digits")),
    attempt("chunk: a size over 64 bits", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n", BrokenOff("the size of a chunk is over 64 bits")),
    attempt("chunk: the largest size", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nhello\r\n0\r\n\r\n", BrokenOff("the app's body broke off")),
    attempt("chunk: more than its size", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n", BrokenOff("a chunk goes on behind the end that its size gives it")),
    attempt("chunk: no line end behind it", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n", BrokenOff("a chunk goes on behind the end that its size gives it")),
    attempt("chunk: an LF behind it", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n", BrokenOff("a chunk goes on behind the end that its size gives it")),
    attempt("chunk: a CR alone behind it", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r0\r\n\r\n", BrokenOff("a CR without LF behind a chunk")),
    attempt("chunk: two other bytes behind it", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n", BrokenOff("a chunk goes on behind the end that its size gives it")),
    attempt("chunk: no end behind the last", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nSMUGGLED", BrokenOff("a trailer is no `name: value`")),
    attempt("chunk: an LF alone behind the last", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\nSMUGGLED", Arrives { body: "", form: Chunked, next: Served }),
    attempt("chunk: a space before the colon of a trailer", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX : y\r\n\r\nSMUGGLED", BrokenOff("a trailer is no `name: value`")),
    attempt("chunk: trailers that name framing and host", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTrailer: Content-Length, Transfer-Encoding, Host, Authorization\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nContent-Length: 50\r\nTransfer-Encoding: x\r\nHost: elsewhere\r\nAuthorization: x\r\n\r\n", Arrives { body: "hello", form: Chunked, next: Served }),
    attempt("chunk: a trailer that nobody announced", "POST /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n", Arrives { body: "hello", form: Chunked, next: Served }),
    // Lines and names (RFC 9112 §2.2, §5).
    attempt("line: LF alone everywhere", "GET /SERVICE/x-NUMBER HTTP/1.1\nHost: localhost\n\n", Arrives { body: "", form: NoBody, next: Served }),
    attempt("line: empty lines in front", "\r\n\r\nGET /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\n\r\n", Arrives { body: "", form: NoBody, next: Served }),
    attempt("line: a CR alone behind the version", "GET /SERVICE/x-NUMBER HTTP/1.1\rHost: localhost\r\n\r\n", Refused("bad_request", "`HTTP/1.1\\r")),
    attempt("line: a CR alone in the target", "GET /SERVICE/x-NUMBER\rx HTTP/1.1\r\nHost: localhost\r\n\r\n", Refused("bad_request", " of the line in the request's target|names no version of HTTP")),
    attempt("line: a tab for a space", "GET\t/SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\n\r\n", Refused("bad_request", "a tab at byte 4 of the line in the request's method")),
    attempt("line: two requests in one line", "GET /SERVICE/x-NUMBER HTTP/1.1 GET /SERVICE/smuggled-NUMBER HTTP/1.1\r\nHost: localhost\r\n\r\n", Refused("bad_request", "`HTTP/1.1 ")),
    attempt("line: no version", "GET /SERVICE/x-NUMBER\r\n\r\n", Refused("bad_request", "the first line names no version of HTTP: it ends after the target")),
    attempt("line: NUL in a name", "GET /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nX\0: y\r\n\r\n", Refused("bad_request", "a NUL at byte 2 of the line in the name of the field `X")),
    attempt("line: NUL in a value", "GET /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n", Refused("bad_request", "a NUL at byte 5 of the line in the value of the field `X`")),
    attempt("line: a line without a colon", "GET /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nSMUGGLED", Refused("bad_request", "`GET ")),
    attempt("line: a folded line", "GET /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nX: a\r\n\tb\r\n\r\n", Refused("bad_request", "line 3 after the first begins with white space")),
    attempt("line: a bare CR before the empty line", "GET /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\n\rX: y\r\n\r\n", Refused("bad_request", "a CR without LF at byte 1 of the line in the name of the field")),
    attempt("line: an upgrade that its service does not make", "GET /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", Arrives { body: "", form: NoBody, next: Served }),
    attempt("line: an upgrade to HTTP/2", "GET /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n", Arrives { body: "", form: NoBody, next: Served }),
    // Who is asked (RFC 9112 §3.2, §3.3).
    attempt("host: absolute-form with another", "GET http://localhost/SERVICE/x-NUMBER HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n", Arrives { body: "", form: NoBody, next: Served }),
    attempt("host: absolute-form with a second one behind", "GET http://localhost/SERVICE/x-NUMBER HTTP/1.1\r\nHost: elsewhere.example\r\nHost: localhost\r\n\r\n", Denied("bad_request", "the request has more than one `Host` field")),
    attempt("host: absolute-form with userinfo", "GET http://elsewhere@localhost/SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\n\r\n", Denied("bad_request", "the target has userinfo")),
    attempt("host: absolute-form without a host", "GET http:///SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\n\r\n", Refused("bad_request", "the request's target is neither a path nor a whole URL")),
    attempt("host: none", "GET /SERVICE/x-NUMBER HTTP/1.1\r\nX: y\r\n\r\n", Denied("bad_request", "the request has no `Host` field")),
    attempt("host: two", "GET /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nHost: elsewhere.example\r\n\r\n", Denied("bad_request", "the request has more than one `Host` field")),
    attempt("host: the same twice", "GET /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", Denied("bad_request", "the request has more than one `Host` field")),
    attempt("host: empty", "GET /SERVICE/x-NUMBER HTTP/1.1\r\nHost:\r\n\r\n", Denied("bad_request", "`Host: `: the host is malformed")),
    attempt("host: userinfo", "GET /SERVICE/x-NUMBER HTTP/1.1\r\nHost: elsewhere@localhost\r\n\r\n", Denied("bad_request", "`Host: elsewhere@localhost`: the target has userinfo")),
    attempt("host: a list", "GET /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost, elsewhere.example\r\n\r\n", Denied("bad_request", "`Host: localhost, elsewhere.example`: the host is malformed")),
    attempt("host: a path", "GET /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost/elsewhere\r\n\r\n", Denied("bad_request", "`Host: localhost/elsewhere`: the host is malformed")),
    attempt("host: a space", "GET /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost elsewhere\r\n\r\n", Denied("bad_request", "`Host: localhost elsewhere`: the host is malformed")),
    attempt("host: a port that is none", "GET /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost:80x\r\n\r\n", Denied("bad_request", "`Host: localhost:80x`: the port is malformed")),
    attempt("host: a space before the colon", "GET /SERVICE/x-NUMBER HTTP/1.1\r\nHost : localhost\r\n\r\n", Refused("bad_request", "a space at byte 5 of the line in the name of the field `Host `")),
    attempt("host: a folded one", "GET /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\n\telsewhere.example\r\n\r\n", Refused("bad_request", "line 2 after the first begins with white space")),
    attempt("host: another name with it", "GET /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Host: elsewhere.example\r\nForwarded: host=elsewhere.example\r\n\r\n", Arrives { body: "", form: NoBody, next: Served }),
    attempt("host: called of this connection", "GET /SERVICE/x-NUMBER HTTP/1.1\r\nHost: localhost\r\nConnection: Host\r\n\r\n", Arrives { body: "", form: NoBody, next: Served }),
];
