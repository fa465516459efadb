//! What is an answer, and what is none.

use http::Method;
use proptest::prelude::*;

use super::beside_hyper::answers;
use crate::transport::h1::trial::{Whole, pieces_make_no_difference, read, reuse_is_earned};

const OK: &str = "HTTP/1.1 200 OK\r\n";

#[test]
fn a_body_ends_where_the_head_says() {
    for (rest, body, reusable) in [
        ("content-length: 0\r\n\r\n", "", true),
        ("content-length: 5\r\n\r\nhello", "hello", true),
        ("content-length: 005\r\n\r\nhello", "hello", true),
        ("content-length: 5\r\nconnection: x, Close\r\n\r\nhello", "hello", false),
        ("content-length: 5\r\n\r\nhello?", "hello", false),
        ("transfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello", true),
        ("transfer-encoding: chunked\r\n\r\n2;a=\"b\"\r\nhe\r\n0003 \t;x\r\nllo\r\n000\r\n\r\n", "hello", true),
        ("transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n", "hello", true),
        ("transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello", false),
        ("transfer-encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n", "", false),
        ("\r\nhello", "hello", false),
    ] {
        let answer = read_get(&format!("{OK}{rest}")).unwrap_or_else(|error| panic!("{error} in {rest}"));

        assert_eq!((text(&answer.body), answer.reusable), (body, reusable), "{rest}");
    }
}

#[test]
fn trailers_come_with_the_end() {
    let answer =
        read_get(&format!("{OK}transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: 1\r\na: 2\r\n\r\n")).unwrap();

    assert_eq!(answer.trailers, [("a".to_owned(), b"1".to_vec()), ("a".to_owned(), b"2".to_vec())]);
}

#[test]
fn some_answers_have_no_body_whatever_they_say() {
    for head in ["HTTP/1.1 204 No Content\r\n", "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n"] {
        let answer = read_get(&format!("{head}\r\n")).unwrap();
        assert!(answer.body.is_empty() && answer.reusable, "{head}");
    }

    let head = format!("{OK}content-length: 5\r\n\r\n");
    let answer = read(&Method::HEAD, [head.as_bytes()]).unwrap();
    assert!(answer.body.is_empty() && answer.reusable);
}

#[test]
fn a_body_that_is_announced_where_none_may_be_ends_the_connection() {
    for (head, reusable) in [
        ("HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n", true),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n", false),
        ("HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n", false),
        ("HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n", true),
        ("HTTP/1.1 205 Reset Content\r\ncontent-length: 5\r\n", false),
        ("HTTP/1.1 205 Reset Content\r\ntransfer-encoding: chunked\r\n", false),
        ("HTTP/1.1 205 Reset Content\r\n", false),
    ] {
        let answer = read_get(&format!("{head}\r\n")).unwrap_or_else(|error| panic!("{error} in {head}"));
        assert_eq!((text(&answer.body), answer.reusable), ("", reusable), "{head}");
    }
}

#[test]
fn what_two_readers_could_read_differently_is_no_answer() {
    for (rest, why) in [
        ("content-length: 5\r\ncontent-length: 5\r\n\r\nhello", "it has two `Content-Length`"),
        ("content-length: 5, 5\r\n\r\nhello", "its `Content-Length` is no number"),
        ("content-length: +5\r\n\r\nhello", "its `Content-Length` is no number"),
        ("content-length: 5x\r\n\r\nhello", "its `Content-Length` is no number"),
        ("content-length:\r\n\r\n", "its `Content-Length` is no number"),
        ("content-length: 18446744073709551616\r\n\r\n", "its `Content-Length` is no number"),
        ("transfer-encoding: gzip, chunked\r\n\r\n", CODING),
        ("transfer-encoding: gzip\r\n\r\n", CODING),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n", CODING),
        ("x: 1\r\n folded\r\n\r\n", "the name of a field has bytes that no name has"),
        ("x y: 1\r\n\r\n", "the name of a field has bytes that no name has"),
        ("x: \0\r\n\r\n", "the value of a field has bytes that no value has"),
    ] {
        let error = read_get(&format!("{OK}{rest}")).expect_err(rest);

        assert_eq!(error, format!("the service does not speak HTTP as it should: {why}"), "{rest}");
    }
    let error = read_get("\u{15}\u{3}\u{1}\0\u{2}\u{2}\u{16}").unwrap_err();
    assert!(error.contains("if this port speaks TLS, its url begins with https://"), "{error}");
    let error = read_get("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n").unwrap_err();
    assert_eq!(error, format!("the service does not speak HTTP as it should: {CODING}"));
}

const CODING: &str = "its transfer coding is not the one of HTTP/1.1, `chunked`";

#[test]
fn a_broken_body_breaks_off() {
    let long = format!("1;{}\r\nx\r\n0\r\n\r\n", "x".repeat(17 * 1024));
    let many = format!("0\r\n{}", "x: y\r\n".repeat(101));
    for (body, why) in [
        ("5\r\nhell", "the connection ended in the middle of it"),
        ("5\r\nhello\r\n", "the connection ended in the middle of it"),
        ("0\r\n", "the connection ended in the middle of it"),
        ("\r\nhello\r\n0\r\n\r\n", "a chunk has no size"),
        ("-5\r\nhello\r\n0\r\n\r\n", "a chunk has no size"),
        ("5 5\r\nhello\r\n0\r\n\r\n", "a chunk has no size"),
        ("5\nhello\r\n0\r\n\r\n", "a chunk has no size"),
        ("10000000000000000\r\nhello", "a chunk has no size"),
        ("5\r\nhello?\r\n0\r\n\r\n", "a chunk is longer than its size"),
        ("0\r\nx: 1\n\r\n", "a line of its trailers ends without CR"),
        ("0\r\nno field\r\n\r\n", "the name of a field has bytes that no name has"),
        (&long, "the line of a chunk's size is longer than 16 KiB"),
        (&many, "it has more than 100 fields"),
    ] {
        let answer = format!("{OK}transfer-encoding: chunked\r\n\r\n{body}");
        let error = read_get(&answer).expect_err(body);

        assert_eq!(error, format!("the service's answer broke off: {why}"), "{body:.40}");
    }
}

#[test]
fn a_head_that_comes_byte_by_byte_is_the_same_head() {
    let long = format!("{OK}{}content-length: 2\r\n\r\nok", "x-long: y\r\n".repeat(90));
    let bytes = long.as_bytes();

    let answer = read(&Method::GET, bytes.chunks(1)).unwrap();

    assert_eq!(Ok(answer), read_get(&long));
}

#[test]
fn trailers_without_end_do_not_fill_memory() {
    let head = format!("{OK}transfer-encoding: chunked\r\n\r\n0\r\nx: ");
    let flood = [b'x'; 1024];
    let pieces = std::iter::once(head.as_bytes()).chain(std::iter::repeat_n(&flood[..], 65));

    let error = read(&Method::GET, pieces).unwrap_err();

    assert_eq!(error, "the service's answer broke off: its trailers are longer than 64 KiB");
}

proptest! {
    #[test]
    fn pieces_of_an_answer_make_no_difference(answer in answers(), cuts in cuts()) {
        pieces_make_no_difference(&answer, &cuts);
    }

    #[test]
    fn pieces_of_anything_make_no_difference(
        start in prop::sample::select(vec!["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"]),
        rest in prop::collection::vec(any::<u8>(), 0..200),
        cuts in cuts(),
    ) {
        pieces_make_no_difference(&[start.as_bytes(), &rest].concat(), &cuts);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_connection_is_used_again_only_after_an_exchange_that_ended_on_both_sides(
        kept in prop::collection::vec((kept(), prop::collection::vec(1_u8..80, 0..2)), 1..4),
        other in answers(),
        late in prop::collection::vec(any::<u8>(), 1..5),
    ) {
        // So that answers end where pieces do, as they must, more often than by chance.
        let cuts: Vec<_> = kept.iter().flat_map(|(answer, cuts)| [&cuts[..], &[rest(answer, cuts)]].concat()).collect();
        let bytes: Vec<_> = kept.iter().flat_map(|(answer, _)| answer.bytes()).chain(other).collect();
        reuse_is_earned(&bytes, &cuts, &late);
    }
}

/// Answers that keep their connection alive.
fn kept() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 205 Reset Content\r\ntransfer-encoding: chunked\r\n\r\n",
    ])
}

/// What is left of an answer after these pieces.
fn rest(answer: &str, cuts: &[u8]) -> u8 {
    let cut: usize = cuts.iter().copied().map(usize::from).sum();
    u8::try_from(answer.len().saturating_sub(cut)).unwrap()
}

fn cuts() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(1_u8..40, 1..8)
}

fn read_get(answer: &str) -> Result<Whole, String> {
    read(&Method::GET, [answer.as_bytes()])
}

fn text(body: &[u8]) -> &str {
    std::str::from_utf8(body).unwrap()
}
