//! Random streams of requests on one connection, with an oracle: what the port was asked is, in order and byte for byte,
//! what was written up to the first request after which the connection can't persist, and nothing else.

use crate::server::trial::{
    Pause, TrialOutcome, TrialPiece, TrialRequest, TrialSocket, answers, asked_of_hyper, no_request_is_made_up, play,
};

/// One request of a stream, and what a reader of RFC 9112 makes of it.
#[derive(Clone, Debug)]
struct Written {
    bytes: Vec<u8>,
    expected: Expected,
}

#[derive(Clone, Debug, PartialEq)]
enum Expected {
    /// The port is asked this; `persists`: another request may follow.
    Asked { line: String, body: Body, persists: bool },
    /// It is no request: 400, and nothing after it.
    Refused,
}

/// What the port reads of a body.
#[derive(Clone, Debug, PartialEq)]
enum Body {
    All(Vec<u8>),
    /// As much as comes before its reader is sent away: some beginning of this.
    Beginning(Vec<u8>),
    None,
}

#[tokio::test(flavor = "local")]
async fn no_stream_of_requests_is_ever_taken_for_another() {
    let count = std::env::var("SIDEKEY_TEST_STREAMS").ok().and_then(|count| count.parse().ok()).unwrap_or(600);
    for seed in 0..count {
        let mut random = fastrand::Rng::with_seed(seed);
        let socket = if random.bool() { TrialSocket::Tcp } else { TrialSocket::Unix };
        let stream = stream(&mut random);
        let bytes: Vec<u8> = stream.iter().flat_map(|request| request.bytes.clone()).collect();

        let outcome = play(socket, &pieces(&bytes, &mut random)).await.unwrap();

        let shown = || format!("seed {seed}, {socket:?}: {:?}\n{stream:#?}", String::from_utf8_lossy(&bytes));
        let expected = until_the_last(&stream);
        check_asked(&outcome.asked, expected, &shown);
        check_answers(&outcome, expected, &shown);
        // hyper's own server differs only in that it goes on after an answer without the body, if that happens to be there.
        let theirs = asked_of_hyper(&bytes).await.unwrap();
        assert!(lines(&theirs).starts_with(&lines(&outcome.asked)), "hyper: {theirs:?}, {}", shown());
    }
}

#[tokio::test(flavor = "local")]
async fn no_bytes_make_up_a_request() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bytes: Vec<u8> = stream(&mut random).into_iter().flat_map(|request| request.bytes).collect();
        for _ in 0..random.usize(0..4) {
            let at = random.usize(..bytes.len());
            bytes[at] = b"\r\n: 0aA\0\xff"[random.usize(..9)];
        }
        let cuts: Vec<u8> = (0..random.usize(1..9)).map(|_| random.u8(..)).collect();

        no_request_is_made_up(&bytes, &cuts).await.unwrap();
    }
}

fn lines(asked: &[TrialRequest]) -> Vec<String> {
    asked.iter().map(|one| one.line.clone()).collect()
}

/// Up to the first one after which nothing may follow.
fn until_the_last(stream: &[Written]) -> &[Written] {
    let is_last = |request: &Written| !matches!(request.expected, Expected::Asked { persists: true, .. });
    &stream[..stream.iter().position(is_last).map_or(stream.len(), |at| at + 1)]
}

#[track_caller]
fn check_asked(asked: &[TrialRequest], expected: &[Written], shown: &impl Fn() -> String) {
    let requests: Vec<_> = expected
        .iter()
        .filter_map(|request| match &request.expected {
            Expected::Asked { line, body, .. } => Some((line, body)),
            Expected::Refused => None,
        })
        .collect();
    assert_eq!(lines(asked), requests.iter().map(|(line, _)| (*line).clone()).collect::<Vec<_>>(), "{}", shown());
    for (one, (_, body)) in asked.iter().zip(requests) {
        match body {
            Body::All(body) => assert_eq!((&one.body, one.whole), (body, true), "{}", shown()),
            Body::Beginning(body) => assert!(body.starts_with(&one.body), "{one:?}, {}", shown()),
            Body::None => assert!(one.body.is_empty(), "{one:?}, {}", shown()),
        }
    }
}

/// One answer for each request, the last one says so, and the connection ends in peace.
#[track_caller]
fn check_answers(outcome: &TrialOutcome, expected: &[Written], shown: &impl Fn() -> String) {
    assert_eq!(outcome.error, None, "{}", shown());
    let answers = answers(&outcome.got);
    assert_eq!(answers.len(), expected.len(), "{answers:#?}, {}", shown());
    for (number, (answer, request)) in answers.iter().zip(expected).enumerate() {
        match &request.expected {
            Expected::Asked { line, persists, .. } => {
                assert_eq!((answer.status, &answer.body), (200, &format!("{number} {line}")), "{}", shown());
                assert_eq!(answer.closes, !persists, "{answer:?}, {}", shown());
            }
            Expected::Refused => assert_eq!((answer.status, answer.closes), (400, true), "{answer:?}, {}", shown()),
        }
    }
}

/// One to six requests; whoever must close writes on all the same.
fn stream(random: &mut fastrand::Rng) -> Vec<Written> {
    (0..random.usize(1..=6)).map(|number| request(number, random)).collect()
}

fn request(number: usize, random: &mut fastrand::Rng) -> Written {
    if random.u8(..) < 16 {
        let bytes = REFUSED[random.usize(..REFUSED.len())];
        return Written { bytes: bytes.to_vec(), expected: Expected::Refused };
    }
    let way = ["read", "read", "unread", "early"][random.usize(..4)];
    let method = ["GET", "POST", "DELETE", "PROPFIND"][random.usize(..4)];
    let line = format!("{method} /{way}/{number}");
    let (connection, closes) = [("", false), ("Connection: close\r\n", true), ("Connection: x, Close\r\n", true)]
        [if random.u8(..) < 32 { random.usize(1..3) } else { 0 }];
    let (version, connection, closes) = match random.u8(..) {
        0..8 => ("1.0", "", true),
        8..24 => ("1.0", "Connection: keep-alive\r\n", false),
        _ => ("1.1", connection, closes),
    };
    let body = body(random);
    let framing = if version == "1.0" { random.usize(0..2) } else { random.usize(0..4) };
    let expect = ["", "Expect: 100-continue\r\n"][usize::from(version == "1.1" && random.u8(..) < 64)];
    let (fields, sent, body) = match framing {
        0 => (String::new(), Vec::new(), Vec::new()),
        1 => (format!("{expect}Content-Length: {}\r\n", body.len()), body.clone(), body),
        _ => (format!("{expect}Transfer-Encoding: chunked\r\n"), chunks(&body, random), body),
    };
    let head = format!("{line} HTTP/{version}\r\nHost: localhost\r\n{connection}{fields}\r\n");
    let has_body = framing >= 2 || !body.is_empty();
    let seen = match way {
        "unread" => Body::None,
        "early" if has_body => Body::Beginning(body),
        _ => Body::All(body),
    };
    let is_last = closes || has_body && way != "read";
    Written {
        bytes: [head.into_bytes(), sent].concat(),
        expected: Expected::Asked { line, body: seen, persists: !is_last },
    }
}

/// What is no request wherever it is cut, and whatever follows.
const REFUSED: [&[u8]; 4] = [
    b"GET /read HTTP/7.0\r\nHost: localhost\r\n\r\n",
    b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1, 2\r\n\r\nab",
    b"POST /read HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\nab",
    b"GET /read HTTP/1.1\r\nBad Name: 1\r\n\r\n",
];

/// Text, or requests of its own.
fn body(random: &mut fastrand::Rng) -> Vec<u8> {
    match random.u8(..4) {
        0 => b"text".repeat(random.usize(0..5_000)),
        _ => b"DELETE /read/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(random.usize(0..4)),
    }
}

fn chunks(body: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut sent = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(random.usize(1..=rest.len()));
        sent.extend(format!("{:x}\r\n", chunk.len()).bytes());
        sent.extend(chunk);
        sent.extend(b"\r\n");
        rest = after;
    }
    sent.extend(if random.u8(..) < 64 { b"0\r\nX-Sum: 1\r\n\r\n".as_slice() } else { b"0\r\n\r\n" });
    sent
}

/// The bytes cut anywhere, mostly into a few pieces, with pauses that are mostly none.
fn pieces(bytes: &[u8], random: &mut fastrand::Rng) -> Vec<TrialPiece> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let longest = [rest.len(), rest.len().min(200), rest.len().min(40), 2][random.usize(..4)].min(rest.len());
        let (piece, after) = rest.split_at(random.usize(1..=longest));
        let pause = match random.u8(..8) {
            0 => Pause::Ticks(random.u32(1..4)),
            1..4 => Pause::Turns(random.u32(1..30)),
            _ => Pause::Turns(0),
        };
        pieces.push(TrialPiece { bytes: piece.to_vec(), pause });
        rest = after;
    }
    pieces
}
