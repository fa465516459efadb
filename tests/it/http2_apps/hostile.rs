//! Clients that mean harm: what each of them may cost is bounded, and others are served meanwhile.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::{Bench, resident_kib};
use crate::lab::Lab;
use crate::lab::client::Request;
use crate::lab::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, fields, frame,
};
use crate::lab::http2_app::Http2App;
use crate::lab::raw_http2::Frames;

fn get(path: &str) -> Vec<u8> {
    fields(&[(":method", "GET"), (":scheme", "http"), (":authority", "localhost"), (":path", path)])
}

/// Writes for as long as it is taken, reading nothing; how many bytes of `most` were.
async fn flood(frames: &mut Frames, pieces: impl Iterator<Item = Vec<u8>>, most: usize) -> usize {
    let mut written = 0;
    for piece in pieces {
        // Two seconds without room for another byte: nobody reads any more, which is a bound, too.
        match tokio::time::timeout(Duration::from_secs(2), frames.0.write_all(&piece)).await {
            Ok(Ok(())) => written += piece.len(),
            Ok(Err(_)) | Err(_) => break,
        }
        if written >= most {
            break;
        }
    }
    written
}

/// Reads until GOAWAY; its code. `None`: the connection was closed without.
async fn goaway(frames: &mut Frames) -> Option<u32> {
    while let Some((kind, _, _, payload)) = frames.next().await {
        if kind == GOAWAY && payload[4..8] != [0; 4] {
            return Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
    }
    None
}

/// Others are served, over both dialects, and memory has not grown.
async fn assert_unimpressed(bench: &Bench, before: usize, what: &str) {
    let grown = resident_kib(&bench.sidekey).saturating_sub(before);
    assert!(grown < 24 * 1024, "{what}: {grown} KiB more");
    assert_eq!(bench.sidekey.send(Request::get("/two/y")).await.status, 200, "{what}");
    let mut app = Http2App::open(&bench.sidekey.address).await;
    assert_eq!(app.get("/two/y").await.unwrap().status, 200, "{what}");
}

#[tokio::test]
async fn requests_that_are_reset_at_once_end_the_connection() {
    let bench = Bench::start().await;
    let before = resident_kib(&bench.sidekey);
    let mut frames = Frames::open(&bench.sidekey.address).await;
    let attack = (0..200_000_u32).map(|number| {
        let stream = 2 * number + 1;
        [frame(HEADERS, END_HEADERS | END_STREAM, stream, &get("/one/x")), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])]
            .concat()
    });

    let written = flood(&mut frames, attack, usize::MAX).await;

    assert_eq!(goaway(&mut frames).await, Some(ENHANCE_YOUR_CALM), "after {written} bytes");
    assert!(bench.one.heads().len() < 5_000, "{} requests reached the service", bench.one.heads().len());
    assert_unimpressed(&bench, before, "rapid reset").await;
}

#[tokio::test]
async fn a_head_without_an_end_ends_the_connection() {
    let bench = Bench::start().await;
    let before = resident_kib(&bench.sidekey);
    for (what, piece) in [("large", fields(&[("x-large", &"y".repeat(120))]).repeat(100)), ("empty", Vec::new())] {
        let mut frames = Frames::open(&bench.sidekey.address).await;
        frames.write(&frame(HEADERS, 0, 1, &get("/one/x"))).await;

        let more = std::iter::repeat_with(|| frame(CONTINUATION, 0, 1, &piece));
        let written = flood(&mut frames, more, 8 << 20).await;

        assert_eq!(goaway(&mut frames).await, Some(ENHANCE_YOUR_CALM), "{what}: after {written} bytes");
        assert!(bench.one.heads().is_empty());
        assert_unimpressed(&bench, before, what).await;
    }
}

#[tokio::test]
async fn questions_whose_answers_nobody_reads_are_not_gathered() {
    let bench = Bench::start().await;
    let before = resident_kib(&bench.sidekey);
    for (what, one) in [("PING", frame(PING, 0, 0, &[7; 8])), ("SETTINGS", frame(SETTINGS, 0, 0, &[]))] {
        let mut frames = Frames::open(&bench.sidekey.address).await;

        flood(&mut frames, std::iter::repeat_with(|| one.repeat(1_000)), 64 << 20).await;

        assert_unimpressed(&bench, before, what).await;
    }
}

#[tokio::test]
async fn answers_that_nobody_lets_through_are_not_gathered() {
    let lab = crate::lab::Lab::start().await;
    let large = crate::lab::fault::Fault::plain(|_| crate::lab::fault::Reply::ok(&"x".repeat(8 << 20))).await;
    let config = format!("services: {{ one: {{ url: '{}', timeouts: {{ idle: 2s }} }} }}", large.url());
    let sidekey = lab.sidekey(&config).await;
    let mut frames = Frames::open(&sidekey.address).await;
    let before = resident_kib(&sidekey);
    // SETTINGS_INITIAL_WINDOW_SIZE of 0.
    frames.write(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
    for number in 0..100 {
        frames.write(&frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &get("/one/x"))).await;
    }

    let (mut heads, mut ends) = (0, 0);
    while ends < 100 {
        match frames.next().await.expect("the connection goes on").0 {
            HEADERS => heads += 1,
            RST_STREAM => ends += 1,
            DATA => panic!("there was no room for it"),
            _ => {}
        }
    }

    assert_eq!(heads, 100);
    let grown = resident_kib(&sidekey).saturating_sub(before);
    assert!(grown < 48 * 1024, "{grown} KiB are held of 800 MiB");
    assert_eq!(sidekey.send(Request::get("/one/y")).await.status, 200);
}

#[tokio::test]
async fn data_on_a_stream_that_has_ended_gets_to_no_service() {
    let bench = Bench::start().await;
    let mut frames = Frames::open(&bench.sidekey.address).await;
    frames.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &get("/two/x"))).await;
    while frames.next().await.is_some_and(|(kind, flags, stream, _)| stream != 1 || kind == HEADERS && flags & 1 == 0) {
    }

    frames.write(&frame(DATA, 0, 1, &[b'x'; 1_000])).await;

    // RFC 9113 §5.1: STREAM_CLOSED.
    let code = loop {
        let (kind, _, stream, payload) = frames.next().await.expect("a word about it");
        match kind {
            RST_STREAM if stream == 1 => break payload,
            GOAWAY => break payload[4..8].to_vec(),
            _ => {}
        }
    };
    assert_eq!(code, [0, 0, 0, 5]);
    assert_eq!(bench.two.heads().len(), 1);
}

const ENHANCE_YOUR_CALM: u32 = 11;

#[tokio::test]
async fn an_answer_of_our_own_that_is_never_read_gives_its_stream_back() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey("services: { one: { url: $SERVICE } }\nlimits: { idle_timeout: 1s }").await;
    let no_window = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let mut frames = Frames::open_with(&sidekey.address, &[PREFACE, &no_window].concat()).await;

    for stream in [1, 3] {
        frames.write(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &get("/nobody"))).await;
        let mut kinds = Vec::new();
        while !kinds.contains(&RST_STREAM) {
            let (kind, _, of, _) = frames.next().await.expect("the connection goes on");
            kinds.extend((of == stream).then_some(kind));
        }
        // The head is out, and the body has no room.
        assert_eq!(kinds, [HEADERS, RST_STREAM]);
    }
}
