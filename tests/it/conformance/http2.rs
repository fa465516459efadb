//! Frames and streams (RFC 9113 §3 to §7): what an app may send is served, what it may not ends a stream or the connection
//! with the code that stands there.
//!
//! Where the code is another one, [`OTHERWISE`] says so, and `docs/protocols.md` does.

use super::Echo;
use crate::lab::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITY, PUSH_PROMISE,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, WITH_PRIORITY, fields, frame,
};
use crate::lab::raw_http2::Frames;

/// What becomes of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A 200 with this body.
    Served(Vec<u8>),
    /// Another answer: its block of fields.
    Answered(Vec<u8>),
    /// RST_STREAM with this code.
    Reset(u32),
    /// GOAWAY with this code, and then the end.
    Ended(u32),
    /// The end without a word.
    Closed,
}

/// A section, what is done, the frames, the stream that is looked at, and what has to become of it.
pub(super) type Row = (&'static str, &'static str, Vec<u8>, u32, Outcome);

pub(super) fn served(body: &str) -> Outcome {
    Outcome::Served(body.into())
}

/// Reads on until it is clear what became of a stream.
pub(super) async fn outcome(frames: &mut Frames, of: u32) -> Outcome {
    let mut body = None;
    while let Some((kind, flags, stream, payload)) = frames.next().await {
        let code = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
        match (kind, &mut body) {
            (GOAWAY, _) if code(&payload[4..8]) != NO_ERROR => {
                while frames.next().await.is_some() {}
                return Outcome::Ended(code(&payload[4..8]));
            }
            _ if stream != of || stream == 0 => {}
            (RST_STREAM, _) => return Outcome::Reset(code(&payload)),
            (HEADERS, None) if payload.first() != Some(&STATUS_200) => return Outcome::Answered(payload),
            (HEADERS, None) => body = Some(Vec::new()),
            (DATA, Some(body)) => body.extend(payload),
            _ => {}
        }
        if let (Some(body), true) = (&body, stream == of && kind <= HEADERS && flags & END_STREAM != 0) {
            return Outcome::Served(body.clone());
        }
    }
    Outcome::Closed
}

/// Sends each row's frames on a connection of its own, and looks whether others are served meanwhile.
pub(super) async fn check(rows: Vec<Row>, otherwise: &[(&str, u32)]) {
    let echo = Echo::start().await;
    let mut known: Vec<_> = otherwise.iter().map(|(what, _)| *what).collect();
    let mut wrong = Vec::new();
    assert!(!rows.is_empty());
    for (section, what, bytes, of, expected) in rows {
        let mut frames = Frames::open(&echo.sidekey.address).await;
        frames.write(&bytes).await;

        let seen = outcome(&mut frames, of).await;

        let other = otherwise.iter().find(|(other, _)| *other == what).map(|(_, code)| *code);
        known.retain(|other| *other != what);
        let expected = other.map_or(expected, Outcome::Ended);
        if seen != expected {
            wrong.push(format!("§{section} {what}: {seen:?} and not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(known, Vec::<&str>::new(), "no row is called so");
    let mut other = Frames::open(&echo.sidekey.address).await;
    other.write(&get(1)).await;
    assert_eq!(outcome(&mut other, 1).await, served(""));
    let arrived = echo.service.heads();
    assert!(arrived.iter().all(|head| head.contains("/x") && !head.contains("never")), "{arrived:?}");
}

/// The block of a request for what is sent back.
pub(super) fn head(method: &str) -> Vec<u8> {
    fields(&[(":method", method), (":scheme", "http"), (":authority", "localhost"), (":path", "/echo/x")])
}

/// A whole request without a body.
pub(super) fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &head("GET"))
}

/// The head of a request whose body follows.
fn post(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &head("POST"))
}

fn hello(stream: u32) -> Vec<u8> {
    frame(DATA, END_STREAM, stream, b"hello")
}

fn setting(number: u8, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&[0, number], &value.to_be_bytes()[..]].concat())
}

fn number(value: u32) -> [u8; 4] {
    value.to_be_bytes()
}

/// A stream it depends on, and a weight.
fn priority(on: u32, weight: u8) -> Vec<u8> {
    [&number(on)[..], &[weight]].concat()
}

fn padded(padding: u8, text: &[u8]) -> Vec<u8> {
    [&[padding], text, &vec![0; padding.into()]].concat()
}

/// One payload in several frames of a kind, each with its flags.
fn in_pieces(payload: &[u8], stream: u32, pieces: usize) -> Vec<u8> {
    let size = payload.len().div_ceil(pieces);
    let last = payload.len().div_ceil(size) - 1;
    let parts = payload.chunks(size).enumerate().map(|(at, part)| {
        let ends = if at == last { END_HEADERS } else { 0 };
        match at {
            0 => frame(HEADERS, END_STREAM | ends, stream, part),
            _ => frame(CONTINUATION, ends, stream, part),
        }
    });
    parts.collect::<Vec<_>>().concat()
}

/// A block whose end does not come.
fn open_block(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM, stream, &head("GET"))
}

#[tokio::test]
async fn what_an_app_may_send_is_served() {
    let reserved = [&frame(PING, 0, 0, &[1; 8])[..5], &[0x80, 0, 0, 0], &[1; 8]].concat();
    let block = head("GET");
    let with_priority = [priority(0, 255), block.clone()].concat();
    let padded_with_priority = [&[3][..], &with_priority, &[0; 3]].concat();
    let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(&[("x-trailer", "1")]));
    #[rustfmt::skip] // A line for each.
    let rows: Vec<Row> = vec![
        ("3.4", "a request right behind the preface", get(1), 1, served("")),
        ("4.1", "a frame of an unknown kind", [frame(0xfe, 0xff, 0, &[1; 9]), get(1)].concat(), 1, served("")),
        ("4.1", "a flag that means nothing there", [frame(PING, 0xfe, 0, &[1; 8]), get(1)].concat(), 1, served("")),
        ("4.1", "the bit before a stream's number", [reserved, get(1)].concat(), 1, served("")),
        ("4.2", "DATA of 2^14 bytes", [post(1), frame(DATA, 1, 1, &[b'x'; 1 << 14])].concat(), 1, served(&"x".repeat(1 << 14))),
        ("5.1", "PRIORITY on an idle stream", [frame(PRIORITY, 0, 1, &priority(0, 9)), get(1)].concat(), 1, served("")),
        ("5.1", "WINDOW_UPDATE on a half-closed stream", [get(1), frame(WINDOW_UPDATE, 0, 1, &number(9))].concat(), 1, served("")),
        ("5.1", "PRIORITY on a half-closed stream", [get(1), frame(PRIORITY, 0, 1, &priority(0, 9))].concat(), 1, served("")),
        ("5.1", "RST_STREAM on a half-closed stream", [get(1), frame(RST_STREAM, 0, 1, &number(8)), get(3)].concat(), 3, served("")),
        ("5.1", "WINDOW_UPDATE on a reset stream", [get(1), frame(RST_STREAM, 0, 1, &number(8)), frame(WINDOW_UPDATE, 0, 1, &number(9)), get(3)].concat(), 3, served("")),
        ("5.1.1", "a number that leaves some out", get(77), 77, served("")),
        ("5.3", "a weight of 1", [frame(PRIORITY, 0, 1, &priority(0, 0)), get(1)].concat(), 1, served("")),
        ("5.3", "a weight of 256", [frame(PRIORITY, 0, 1, &priority(0, 255)), get(1)].concat(), 1, served("")),
        ("5.3", "a stream that depends on another alone", [frame(PRIORITY, 0, 3, &priority(0x8000_0001, 9)), get(3)].concat(), 3, served("")),
        ("5.3", "PRIORITY for a higher stream first", [frame(PRIORITY, 0, 9, &priority(0, 9)), get(1)].concat(), 1, served("")),
        ("5.5", "an extension's frame on a stream", [post(1), frame(0x16, 0, 1, b"ext"), hello(1)].concat(), 1, served("hello")),
        ("6.1", "DATA", [post(1), hello(1)].concat(), 1, served("hello")),
        ("6.1", "DATA in several frames", [post(1), frame(DATA, 0, 1, b"hel"), frame(DATA, 0, 1, b""), frame(DATA, 1, 1, b"lo")].concat(), 1, served("hello")),
        ("6.1", "DATA with padding", [post(1), frame(DATA, END_STREAM | PADDED, 1, &padded(200, b"hello"))].concat(), 1, served("hello")),
        ("6.1", "DATA that is all padding", [post(1), frame(DATA, END_STREAM | PADDED, 1, &padded(9, b""))].concat(), 1, served("")),
        ("6.2", "HEADERS with padding", frame(HEADERS, 5 | PADDED, 1, &padded(9, &block)), 1, served("")),
        ("6.2", "HEADERS with a priority", frame(HEADERS, 5 | WITH_PRIORITY, 1, &with_priority), 1, served("")),
        ("6.2", "HEADERS with both", frame(HEADERS, 5 | WITH_PRIORITY | PADDED, 1, &padded_with_priority), 1, served("")),
        ("6.5", "SETTINGS without any", [frame(SETTINGS, 0, 0, &[]), get(1)].concat(), 1, served("")),
        ("6.5.2", "a setting that nobody knows", [setting(0xfe, 7), get(1)].concat(), 1, served("")),
        ("6.5.2", "the largest frame and window", [setting(5, 0xff_ffff), setting(4, 0x7fff_ffff), get(1)].concat(), 1, served("")),
        ("6.5.3", "one setting twice, the last counts", [setting(4, 0), setting(4, 100), post(1), hello(1)].concat(), 1, served("hello")),
        ("6.7", "the answer to a PING that nobody sent", [frame(PING, ACK, 0, &[9; 8]), get(1)].concat(), 1, served("")),
        ("6.8", "a GOAWAY with a code that nobody knows", [get(1), frame(GOAWAY, 0, 0, &[number(0), number(0xff)].concat())].concat(), 1, served("")),
        ("6.9", "WINDOW_UPDATE for all", [frame(WINDOW_UPDATE, 0, 0, &number(9)), get(1)].concat(), 1, served("")),
        ("6.9", "WINDOW_UPDATE for a stream", [post(1), frame(WINDOW_UPDATE, 0, 1, &number(9)), hello(1)].concat(), 1, served("hello")),
        ("6.10", "a block in two frames", in_pieces(&block, 1, 2), 1, served("")),
        ("6.10", "a block in many", in_pieces(&block, 1, 9), 1, served("")),
        ("7", "RST_STREAM with a code that nobody knows", [post(1), frame(RST_STREAM, 0, 1, &number(0xff)), get(3)].concat(), 3, served("")),
        ("8.1", "trailers", [post(1), frame(DATA, 0, 1, b"hello"), trailers].concat(), 1, served("hello")),
        // The RFC would have it malformed; h2 drops it without a word, and so it names nothing.
        ("8.1", "a pseudo-field among trailers", [post(1), frame(HEADERS, 5, 1, &fields(&[(":path", "/echo/never")]))].concat(), 1, served("")),
    ];
    check(rows, &[]).await;
}

#[tokio::test]
async fn what_no_app_may_send_ends_the_stream_or_the_connection() {
    use Outcome::{Ended, Reset};
    let block = head("GET");
    let never =
        fields(&[(":method", "GET"), (":scheme", "http"), (":authority", "localhost"), (":path", "/echo/never")]);
    let window = |stream, by| frame(WINDOW_UPDATE, 0, stream, &number(by));
    #[rustfmt::skip] // A line for each.
    let rows: Vec<Row> = vec![
        ("4.2", "DATA over the size", [post(1), frame(DATA, 0, 1, &[0; 16_385])].concat(), 0, Ended(FRAME_SIZE_ERROR)),
        ("4.2", "HEADERS over the size", frame(HEADERS, 5, 1, &fields(&[("x", "y")]).repeat(4_100)), 0, Ended(FRAME_SIZE_ERROR)),
        ("4.3", "a block that can't be decompressed", frame(HEADERS, 5, 1, &[0xff; 20]), 0, Ended(COMPRESSION_ERROR)),
        ("4.3", "PRIORITY within a block", [open_block(1), frame(PRIORITY, 0, 1, &priority(0, 9))].concat(), 0, Ended(PROTOCOL_ERROR)),
        ("4.3", "another stream within a block", [open_block(1), get(3)].concat(), 0, Ended(PROTOCOL_ERROR)),
        ("5.1", "DATA on an idle stream", frame(DATA, 0, 1, b"x"), 0, Ended(PROTOCOL_ERROR)),
        ("5.1", "RST_STREAM on an idle stream", frame(RST_STREAM, 0, 1, &number(8)), 0, Ended(PROTOCOL_ERROR)),
        ("5.1", "WINDOW_UPDATE on an idle stream", window(1, 9), 0, Ended(PROTOCOL_ERROR)),
        ("5.1", "CONTINUATION on an idle stream", frame(CONTINUATION, END_HEADERS, 1, &never), 0, Ended(PROTOCOL_ERROR)),
        ("5.1", "CONTINUATION on a half-closed stream", [get(1), frame(CONTINUATION, END_HEADERS, 1, &never)].concat(), 0, Ended(PROTOCOL_ERROR)),
        ("5.1", "CONTINUATION on a reset stream", [post(1), frame(RST_STREAM, 0, 1, &number(8)), frame(CONTINUATION, END_HEADERS, 1, &never)].concat(), 0, Ended(PROTOCOL_ERROR)),
        ("5.1.1", "a stream with an even number", get(2), 0, Ended(PROTOCOL_ERROR)),
        ("5.1.1", "a stream with a lower number", [get(5), frame(HEADERS, 5, 3, &never)].concat(), 0, Ended(PROTOCOL_ERROR)),
        ("5.5", "an extension's frame within a block", [open_block(1), frame(0x16, 0, 0, b"ext")].concat(), 0, Ended(PROTOCOL_ERROR)),
        ("6.1", "DATA on no stream", frame(DATA, 0, 0, b"x"), 0, Ended(PROTOCOL_ERROR)),
        ("6.1", "more padding than there is", [post(1), frame(DATA, PADDED, 1, &[200, 1, 2])].concat(), 0, Ended(PROTOCOL_ERROR)),
        ("6.2", "HEADERS on no stream", frame(HEADERS, 5, 0, &block), 0, Ended(PROTOCOL_ERROR)),
        ("6.2", "more padding than there are fields", frame(HEADERS, 5 | PADDED, 1, &[200, 1, 2]), 0, Ended(PROTOCOL_ERROR)),
        ("6.3", "PRIORITY on no stream", frame(PRIORITY, 0, 0, &priority(0, 9)), 0, Ended(PROTOCOL_ERROR)),
        ("6.3", "PRIORITY of another length", [post(1), frame(PRIORITY, 0, 1, &[0; 4])].concat(), 1, Reset(FRAME_SIZE_ERROR)),
        ("6.4", "RST_STREAM on no stream", frame(RST_STREAM, 0, 0, &number(8)), 0, Ended(PROTOCOL_ERROR)),
        ("6.4", "RST_STREAM of another length", [post(1), frame(RST_STREAM, 0, 1, &[0; 3])].concat(), 0, Ended(FRAME_SIZE_ERROR)),
        ("6.5", "an acknowledgement with settings", frame(SETTINGS, ACK, 0, &[0; 6]), 0, Ended(FRAME_SIZE_ERROR)),
        ("6.5", "SETTINGS on a stream", frame(SETTINGS, 0, 1, &[]), 0, Ended(PROTOCOL_ERROR)),
        ("6.5", "SETTINGS of another length", frame(SETTINGS, 0, 0, &[0; 5]), 0, Ended(FRAME_SIZE_ERROR)),
        ("6.5.2", "push neither on nor off", setting(2, 2), 0, Ended(PROTOCOL_ERROR)),
        ("6.5.2", "a window over its limit", setting(4, 0x8000_0000), 0, Ended(FLOW_CONTROL_ERROR)),
        ("6.5.2", "frames below the least size", setting(5, 16_383), 0, Ended(PROTOCOL_ERROR)),
        ("6.5.2", "frames over the greatest size", setting(5, 0x100_0000), 0, Ended(PROTOCOL_ERROR)),
        ("6.6", "PUSH_PROMISE", [post(1), frame(PUSH_PROMISE, END_HEADERS, 1, &[&number(2)[..], &never].concat())].concat(), 0, Ended(PROTOCOL_ERROR)),
        ("6.7", "PING on a stream", frame(PING, 0, 1, &[0; 8]), 0, Ended(PROTOCOL_ERROR)),
        ("6.7", "PING of another length", frame(PING, 0, 0, &[0; 7]), 0, Ended(FRAME_SIZE_ERROR)),
        ("6.8", "GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8]), 0, Ended(PROTOCOL_ERROR)),
        ("6.9", "a window that grows by nothing", window(0, 0), 0, Ended(PROTOCOL_ERROR)),
        ("6.9", "a stream's window that grows by nothing", [post(1), window(1, 0)].concat(), 1, Reset(PROTOCOL_ERROR)),
        ("6.9", "WINDOW_UPDATE of another length", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1]), 0, Ended(FRAME_SIZE_ERROR)),
        ("6.9.1", "everyone's window over its limit", window(0, 0x7fff_ffff), 0, Ended(FLOW_CONTROL_ERROR)),
        ("6.9.1", "a stream's window over its limit", [post(1), window(1, 0x7fff_ffff)].concat(), 1, Reset(FLOW_CONTROL_ERROR)),
        ("6.9.2", "a setting that takes a window over its limit", [post(1), window(1, 0x7000_0000), setting(4, 0x7fff_ffff)].concat(), 0, Ended(FLOW_CONTROL_ERROR)),
        ("6.10", "DATA within a block", [open_block(1), frame(DATA, 0, 1, b"x")].concat(), 0, Ended(PROTOCOL_ERROR)),
        ("6.10", "CONTINUATION on no stream", [open_block(1), frame(CONTINUATION, END_HEADERS, 0, &[])].concat(), 0, Ended(PROTOCOL_ERROR)),
        ("6.10", "CONTINUATION behind a whole block", [post(1), frame(CONTINUATION, END_HEADERS, 1, &never)].concat(), 0, Ended(PROTOCOL_ERROR)),
        ("6.10", "CONTINUATION behind a block's end", [in_pieces(&block, 1, 3), frame(CONTINUATION, END_HEADERS, 1, &never)].concat(), 0, Ended(PROTOCOL_ERROR)),
        ("6.10", "CONTINUATION behind DATA", [post(1), frame(DATA, 0, 1, b"x"), frame(CONTINUATION, END_HEADERS, 1, &never)].concat(), 0, Ended(PROTOCOL_ERROR)),
        ("8.1", "trailers that do not end the stream", [post(1), frame(HEADERS, END_HEADERS, 1, &fields(&[("x-trailer", "1")]))].concat(), 1, Reset(PROTOCOL_ERROR)),
    ];
    check(rows, OTHERWISE).await;
}

#[tokio::test]
async fn what_comes_for_a_stream_that_is_over_reaches_nobody() {
    let echo = Echo::start().await;
    let never =
        fields(&[(":method", "GET"), (":scheme", "http"), (":authority", "localhost"), (":path", "/echo/never")]);
    for (what, late) in [("DATA", frame(DATA, 0, 1, b"x")), ("HEADERS", frame(HEADERS, 5, 1, &never))] {
        // §5.1: whether its app ended it, reset it, or has the whole answer.
        for (state, first) in
            [("half-closed", get(1)), ("reset", [post(1), frame(RST_STREAM, 0, 1, &number(8))].concat())]
        {
            let mut frames = Frames::open(&echo.sidekey.address).await;
            frames.write(&[first, late.clone()].concat()).await;
            let seen = outcome(&mut frames, 1).await;
            let expected =
                [Outcome::Reset(STREAM_CLOSED), Outcome::Ended(STREAM_CLOSED), Outcome::Ended(PROTOCOL_ERROR)];
            assert!(expected.contains(&seen), "{what} on one that is {state}: {seen:?}");
        }
        let mut frames = Frames::open(&echo.sidekey.address).await;
        frames.write(&get(1)).await;
        assert_eq!(outcome(&mut frames, 1).await, served(""));
        frames.write(&late).await;
        let seen = outcome(&mut frames, 1).await;
        let expected = [Outcome::Reset(STREAM_CLOSED), Outcome::Ended(STREAM_CLOSED), Outcome::Ended(PROTOCOL_ERROR)];
        assert!(expected.contains(&seen), "{what} on one that is answered: {seen:?}");
    }
    assert!(echo.service.heads().iter().all(|head| !head.contains("never")));
}

#[tokio::test]
async fn a_stream_too_many_is_refused_and_the_others_go_on() {
    let echo = Echo::start().await;
    let mut frames = Frames::open(&echo.sidekey.address).await;
    // The limit is said with the first settings, which are acknowledged here (§5.1.2).
    let (kind, _, _, settings) = frames.next().await.unwrap();
    assert_eq!(kind, SETTINGS);
    let limit = settings.chunks(6).find(|setting| setting[..2] == [0, 3]).expect("a limit");
    let limit = u32::from_be_bytes(limit[2..].try_into().unwrap());
    let all: Vec<_> = (0..=limit).map(|at| post(2 * at + 1)).collect();
    frames.write(&all.concat()).await;

    assert_eq!(outcome(&mut frames, 2 * limit + 1).await, Outcome::Reset(REFUSED_STREAM));
    frames.write(&hello(1)).await;
    assert_eq!(outcome(&mut frames, 1).await, served("hello"));
}

#[tokio::test]
async fn the_first_frame_of_the_server_is_its_settings_and_ours_are_acknowledged() {
    let echo = Echo::start().await;
    let mut frames = Frames::open(&echo.sidekey.address).await;
    let (kind, flags, stream, _) = frames.next().await.unwrap();
    assert_eq!((kind, flags, stream), (SETTINGS, 0, 0), "§3.4");

    frames.write(&[setting(3, 7), frame(PING, 0, 0, b"whatever")].concat()).await;

    let (mut acknowledged, mut answered) = (0, None);
    while acknowledged < 2 || answered.is_none() {
        match frames.next().await.expect("the connection goes on") {
            (SETTINGS, ACK, 0, payload) if payload.is_empty() => acknowledged += 1,
            (PING, ACK, 0, payload) => answered = Some(payload),
            _ => {}
        }
    }
    assert_eq!(answered.as_deref(), Some(&b"whatever"[..]), "§6.7");
}

/// §6.9: whatever happens to a window, no byte is sent for which it has no room.
#[tokio::test]
async fn windows_are_kept_also_below_nothing() {
    let echo = Echo::start().await;
    let first = [PREFACE, &setting(4, 1)].concat();
    let mut frames = Frames::open_with(&echo.sidekey.address, &first).await;
    frames.write(&[post(1), frame(DATA, END_STREAM, 1, b"0123456789")].concat()).await;
    let mut come = Vec::new();
    // What is sent, and how many bytes there is room for then, all together.
    let steps = [
        (Vec::new(), 1),
        (setting(4, 4), 4),
        // Now there is room for two less than nothing (§6.9.2).
        (setting(4, 2), 4),
        (frame(WINDOW_UPDATE, 0, 1, &number(2)), 4),
        (frame(WINDOW_UPDATE, 0, 1, &number(1)), 5),
        (frame(WINDOW_UPDATE, 0, 1, &number(100)), 10),
    ];
    for (sent, room) in steps {
        frames.write(&sent).await;
        while come.len() < room {
            if let (DATA, _, 1, payload) = frames.next().await.expect("the connection goes on") {
                come.extend(payload);
            }
        }
        // What is sent too much would be before this answer.
        frames.write(&frame(PING, 0, 0, &[3; 8])).await;
        loop {
            match frames.next().await.expect("the connection goes on") {
                (PING, ..) => break,
                (DATA, _, 1, payload) => come.extend(payload),
                _ => {}
            }
        }
        assert_eq!(come.len(), room, "after {sent:?}");
    }
    assert_eq!(come, b"0123456789");
}

/// Where h2 makes another error of it than the RFC does: the connection's, which it may always (§5.4.1), with another code.
const OTHERWISE: &[(&str, u32)] = &[
    ("a block that can't be decompressed", PROTOCOL_ERROR),
    ("PRIORITY of another length", PROTOCOL_ERROR),
    ("RST_STREAM of another length", PROTOCOL_ERROR),
    ("an acknowledgement with settings", PROTOCOL_ERROR),
    ("SETTINGS of another length", PROTOCOL_ERROR),
    ("a window over its limit", PROTOCOL_ERROR),
    ("PING of another length", PROTOCOL_ERROR),
    ("a stream's window that grows by nothing", PROTOCOL_ERROR),
    ("WINDOW_UPDATE of another length", PROTOCOL_ERROR),
];

const NO_ERROR: u32 = 0;
pub(super) const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const COMPRESSION_ERROR: u32 = 9;

/// `:status: 200` in HPACK's static table (RFC 7541, appendix A).
const STATUS_200: u8 = 0x88;
