//! What a service may do and what it may not, frame by frame, cut anywhere; and whatever else may come.

use proptest::prelude::*;

use http::Method;

use super::*;
use crate::transport::RequestBody;
use crate::transport::tests::lab::outgoing;

/// What a service says to two requests, and how each of them ends.
fn script() -> Vec<u8> {
    let rest = [&[0x88, 0x0f, 0x0d, 0x01, b'5'][..], b"\x40\x03x-y\x84\xf9\x63\xe7\x1f"].concat();
    let (first, second) = rest.split_at(7);
    [
        frame(frames::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100, 0, 4, 0, 1, 0, 0]),
        frame(frames::SETTINGS, frames::ACK, 0, &[]),
        frame(frames::PING, 0, 0, b"12345678"),
        head(3, 0, b"\x08\x03103"),
        frame(frames::HEADERS, 0, 1, first),
        frame(frames::CONTINUATION, 0, 1, &[]),
        frame(frames::CONTINUATION, frames::END_HEADERS, 1, second),
        frame(frames::PRIORITY, 0, 1, &[0; 5]),
        frame(0x77, 0xff, 5, b"unknown"),
        frame(frames::DATA, 8, 1, &[&[3][..], b"hel", &[0; 3]].concat()),
        frame(frames::DATA, 0, 1, b""),
        head(3, 0, &[0x89, 0xbe]),
        frame(frames::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 7]),
        frame(frames::DATA, frames::END_STREAM, 1, b"lo"),
        frame(frames::RST_STREAM, 0, 3, &[0, 0, 0, 8]),
        frame(frames::GOAWAY, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 0, b'b', b'y', b'e']),
    ]
    .concat()
}

#[test]
fn frames_mean_the_same_wherever_they_are_cut() {
    let script = script();
    let whole = play([&script[..]].into_iter());
    assert_eq!(whole.0[0].status, Some(StatusCode::OK));
    assert_eq!((&whole.0[0].body[..], whole.0[0].end.as_deref()), (&b"hello"[..], Some("whole")));
    assert_eq!(whole.0[0].fields["x-y"].len(), 4);
    assert_eq!(whole.0[1].status, Some(StatusCode::NO_CONTENT));
    assert_eq!(whole.0[1].fields["x-y"], whole.0[0].fields["x-y"]);
    assert_eq!(whole.0[1].end.as_deref(), Some("ResetByService(CANCEL)"));

    for at in 0..=script.len() {
        let (first, second) = script.split_at(at);
        assert_eq!(play([first, second].into_iter()), whole, "cut at {at}");
    }
    assert_eq!(play(script.chunks(1)), whole);
}

/// What is told of the two answers, and all that is written.
fn play<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Told>, Vec<u8>) {
    let (mut multiplexer, keys) = asked(2);
    let (mut came, mut all) = (BytesMut::new(), vec![Told::default(); 2]);
    for piece in pieces {
        came.extend_from_slice(piece);
        multiplexer.take(&mut came).unwrap();
        all.iter_mut().zip(&keys).for_each(|(told, key)| told.read_on(&mut multiplexer, *key));
    }
    assert!(came.is_empty());
    (all, written(&mut multiplexer))
}

#[test]
fn what_no_service_may_send_ends_the_connection() {
    let (protocol, size) = (Reason::PROTOCOL_ERROR, Reason::FRAME_SIZE_ERROR);
    let one = &[0, 0, 0, 1];
    for (name, frames, reason) in [
        ("DATA of no stream", frame(0, 0, 0, b"x"), protocol),
        ("DATA of a stream that was not opened", frame(0, 0, 5, b"x"), protocol),
        ("DATA of a stream of its own", frame(0, 0, 2, b"x"), protocol),
        ("DATA that is filled up with more than there is", frame(0, 8, 1, &[2, 0]), protocol),
        ("HEADERS of no stream", head(0, 0, &[0x88]), protocol),
        ("HEADERS of a stream that was not opened", head(5, 0, &[0x88]), protocol),
        ("HEADERS that are no HPACK", head(1, 0, &[0x80]), Reason::COMPRESSION_ERROR),
        ("a head that does not go on", [frame(1, 0, 1, &[0x88]), frame(6, 0, 0, &[0; 8])].concat(), protocol),
        ("DATA within a head", [frame(1, 0, 1, &[0x88]), frame(0, 0, 1, b"x")].concat(), protocol),
        ("a head that goes on elsewhere", [frame(1, 0, 1, &[0x88]), frame(9, 4, 3, &[])].concat(), protocol),
        ("CONTINUATION of nothing", frame(9, 4, 1, &[]), protocol),
        ("PUSH_PROMISE", frame(5, 4, 1, &[0, 0, 0, 2, 0x82]), protocol),
        ("RST_STREAM of no stream", frame(3, 0, 0, one), protocol),
        ("RST_STREAM of a stream that was not opened", frame(3, 0, 5, one), protocol),
        ("RST_STREAM of three bytes", frame(3, 0, 1, &[0; 3]), size),
        ("SETTINGS of a stream", frame(4, 0, 1, &[]), protocol),
        ("SETTINGS of five bytes", frame(4, 0, 0, &[0; 5]), size),
        ("SETTINGS that push", frame(4, 0, 0, &[0, 2, 0, 0, 0, 1]), protocol),
        ("a note of SETTINGS that says something", frame(4, 1, 0, &[0; 6]), size),
        ("PING of a stream", frame(6, 0, 1, &[0; 8]), protocol),
        ("PING of seven bytes", frame(6, 0, 0, &[0; 7]), size),
        ("GOAWAY of a stream", frame(7, 0, 1, &[0; 8]), protocol),
        ("GOAWAY of seven bytes", frame(7, 0, 0, &[0; 7]), size),
        ("PRIORITY of four bytes", frame(2, 0, 1, &[0; 4]), size),
        ("WINDOW_UPDATE of three bytes", frame(8, 0, 0, &[0; 3]), size),
        ("WINDOW_UPDATE by nothing", frame(8, 0, 0, &[0; 4]), protocol),
        ("WINDOW_UPDATE beyond the largest", frame(8, 0, 0, &[0x7f, 0xff, 0xff, 0xff]), Reason::FLOW_CONTROL_ERROR),
        ("SETTINGS with such a window", frame(4, 0, 0, &[0, 4, 0x80, 0, 0, 0]), Reason::FLOW_CONTROL_ERROR),
        ("a frame that is too long", frame(0x77, 0, 0, &[0; 16 * 1024 + 1]), size),
        ("what is no frame", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), size),
    ] {
        let (mut multiplexer, _) = asked(2);
        assert_eq!(come(&mut multiplexer, &frames), Err(reason), "{name}");
    }
}

#[test]
fn what_is_wrong_with_one_stream_ends_that_stream_alone() {
    let length_5 = b"\x88\x0f\x0d\x015";
    for (name, frames, reason) in [
        ("content before a head", frame(0, 0, 1, b"x"), Reason::PROTOCOL_ERROR),
        ("a head without a status", head(1, 0, b"\x00\x01x\x01y"), Reason::PROTOCOL_ERROR),
        ("a name in capitals", head(1, 0, b"\x88\x00\x01X\x01y"), Reason::PROTOCOL_ERROR),
        ("a field of a connection", head(1, 0, b"\x88\x00\x0aconnection\x05close"), Reason::PROTOCOL_ERROR),
        ("an interim answer that is the end", head(1, 1, b"\x08\x03103"), Reason::PROTOCOL_ERROR),
        ("a length without content", head(1, 1, length_5), Reason::PROTOCOL_ERROR),
        ("less than was said", [head(1, 0, length_5), frame(0, 1, 1, b"x")].concat(), Reason::PROTOCOL_ERROR),
        ("more than was said", [head(1, 0, length_5), frame(0, 0, 1, b"123456")].concat(), Reason::PROTOCOL_ERROR),
        ("content of a 204", [head(1, 0, &[0x89]), frame(0, 0, 1, b"x")].concat(), Reason::PROTOCOL_ERROR),
        (
            "trailers that are no end",
            [head(1, 0, &[0x88]), head(1, 0, b"\x00\x01x\x01y")].concat(),
            Reason::PROTOCOL_ERROR,
        ),
        ("trailers with a status", [head(1, 0, &[0x88]), head(1, 1, &[0x88])].concat(), Reason::PROTOCOL_ERROR),
        ("a window opened by nothing", frame(8, 0, 1, &[0; 4]), Reason::PROTOCOL_ERROR),
        ("a window beyond the largest", frame(8, 0, 1, &[0x7f, 0xff, 0xff, 0xff]), Reason::FLOW_CONTROL_ERROR),
        ("two lengths", head(1, 0, b"\x88\x0f\x0d\x015\x0f\x0d\x015"), Reason::CANCEL),
    ] {
        let (mut multiplexer, keys) = asked(2);
        assert_eq!(come(&mut multiplexer, &frames), Ok(()), "{name}");
        assert_eq!(written(&mut multiplexer), frame(3, 0, 1, &u32::from(reason).to_be_bytes()), "{name}");
        let end = told(&mut multiplexer, keys[0]).end.unwrap();
        assert!(end.starts_with("ResetForFault") || end.starts_with("Refused"), "{name}: {end}");

        // What was on its way, and the other answer.
        let rest = [frame(0, 0, 1, b"rest"), head(1, 1, b"\x00\x01x\x01y"), head(3, 1, &[0x88])].concat();
        assert_eq!(come(&mut multiplexer, &rest), Ok(()), "{name}");
        assert_eq!(told(&mut multiplexer, keys[1]).end.as_deref(), Some("whole"), "{name}");
        assert!(written(&mut multiplexer).is_empty(), "{name}");
    }
}

#[test]
fn a_stream_that_was_given_up_gets_what_was_on_its_way_and_no_more() {
    let (mut multiplexer, keys) = asked(1);
    assert_eq!(come(&mut multiplexer, &head(1, 0, &[0x88])), Ok(()));
    multiplexer.let_go(keys[0], StreamSide::Answer);
    assert_eq!(written(&mut multiplexer), frame(3, 0, 1, &u32::from(Reason::CANCEL).to_be_bytes()));

    for _ in 0..64 {
        assert_eq!(come(&mut multiplexer, &frame(0, 0, 1, &[7; 16 * 1024])), Ok(()));
    }

    assert_eq!(come(&mut multiplexer, &frame(0, 0, 1, &[7])), Err(Reason::STREAM_CLOSED));
}

#[test]
fn a_whole_answer_stays_whole_whatever_follows() {
    for after in [frame(3, 0, 1, &[0; 4]), frame(0, 0, 1, b"more"), frame(7, 0, 0, &[0; 8]), frame(8, 0, 1, &[0; 4])] {
        let mut multiplexer = Multiplexer::new(Moment::now());
        let key = multiplexer.begin(&get("/"), StreamEnd::Later);
        let answer = [head(1, 0, &[0x88]), frame(0, 1, 1, b"hello"), after.clone()].concat();
        assert_eq!(come(&mut multiplexer, &answer), Ok(()));
        multiplexer.end(&StreamEnding::closed());

        let told = told(&mut multiplexer, key);

        assert_eq!((&told.body[..], told.end.as_deref()), (&b"hello"[..], Some("whole")), "{after:?}");
        assert_eq!(multiplexer.room(key), UploadRoom::Never);
    }
}

#[test]
fn a_head_in_too_many_frames_is_not_read_to_its_end() {
    let (mut multiplexer, _) = asked(1);
    assert_eq!(come(&mut multiplexer, &frame(1, 0, 1, &[0x88])), Ok(()));
    let frames = (0..).find(|_| come(&mut multiplexer, &frame(9, 0, 1, &[])).is_err()).unwrap();
    assert_eq!(frames, 255);

    let (mut multiplexer, _) = asked(1);
    assert_eq!(come(&mut multiplexer, &frame(1, 0, 1, &[0x88])), Ok(()));
    let long = frame(9, 0, 1, &[0; 16 * 1024]);
    assert_eq!((0..15).map(|_| come(&mut multiplexer, &long)).collect::<Vec<_>>(), vec![Ok(()); 15]);
    assert_eq!(come(&mut multiplexer, &long), Err(Reason::ENHANCE_YOUR_CALM));
}

#[test]
fn a_goaway_tells_those_it_does_not_cover_and_lets_the_others_be() {
    let (mut multiplexer, keys) = asked(2);
    let goaway = frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 2]);

    assert_eq!(come(&mut multiplexer, &[goaway, head(1, 1, &[0x88])].concat()), Ok(()));

    assert!(matches!(multiplexer.refusal(), Some(StreamEnding::ClosedByService(Reason::INTERNAL_ERROR))));
    assert_eq!(told(&mut multiplexer, keys[0]).end.as_deref(), Some("whole"));
    assert_eq!(told(&mut multiplexer, keys[1]).end.as_deref(), Some("ClosedByService(INTERNAL_ERROR)"));
}

#[test]
fn a_service_that_reads_no_answers_to_its_pings_is_read_no_further() {
    let (mut multiplexer, _) = asked(1);
    let pings = frame(6, 0, 0, &[0; 8]).repeat(1_000);

    assert_eq!(come(&mut multiplexer, &pings), Ok(()));
    assert!(multiplexer.owes_too_much());
    written(&mut multiplexer);

    assert!(!multiplexer.owes_too_much());
}

#[test]
fn what_would_stop_in_the_middle_of_the_first_window_waits_for_the_services_settings() {
    let upload = |length: usize| outgoing(Method::POST, "/", RequestBody::Whole(Some(vec![0; length].into())));
    let fits = frames::FIRST_WINDOW as usize;
    for (length, goes) in [(1, true), (fits, true), (fits + 1, false)] {
        let (mut multiplexer, _) = asked(0);
        let key = multiplexer.begin(&upload(length), StreamEnd::Later);

        assert_eq!(multiplexer.room(key) != UploadRoom::Held, goes, "{length}");

        // With a window of 1,023, as the service's.
        assert_eq!(come(&mut multiplexer, &frame(frames::SETTINGS, 0, 0, &[0, 4, 0, 0, 3, 255])), Ok(()));
        assert_eq!(multiplexer.room(key), UploadRoom::Bytes(1_023), "{length}");
    }
}

#[test]
fn frames_that_are_filled_up_with_nothing_and_those_that_come_too_late_are_a_flood_too() {
    for (name, flood) in [
        ("filled up with nothing", frame(frames::DATA, 8, 1, &[0])),
        ("filled up, and nothing else", frame(frames::DATA, 8, 1, &[&[200][..], &[0; 200]].concat())),
        ("too late", frame(frames::DATA, 0, 3, b"x")),
    ] {
        let (mut multiplexer, keys) = asked(2);
        assert_eq!(come(&mut multiplexer, &head(1, 0, &[0x88])), Ok(()));
        multiplexer.let_go(keys[1], StreamSide::Answer);

        let flooded = (0..300_000).find_map(|_| multiplexer.take(&mut BytesMut::from(&flood[..])).err());

        assert!(matches!(flooded, Some(StreamEnding::Flooded)), "{name}: {flooded:?}");
    }
}

#[test]
fn what_may_come_too_late_is_no_more_than_was_on_its_way_for_all_streams_together() {
    let (mut multiplexer, _) = asked(0);
    for _ in 0..1_000 {
        let key = multiplexer.begin(&get("/"), StreamEnd::Here);
        multiplexer.let_go(key, StreamSide::Answer);
        written(&mut multiplexer);
    }

    assert_eq!(multiplexer.incoming.strays, u64::from(multiplexer.incoming.window.left()));
}

#[test]
fn a_service_that_reads_nothing_is_sent_no_more_requests_before_long() {
    let (mut multiplexer, _) = asked(0);
    assert_eq!(come(&mut multiplexer, &frame(frames::SETTINGS, 0, 0, &[])), Ok(()));
    written(&mut multiplexer);
    let mut request = get("/");
    request.fields.insert("x-long", "x".repeat(8 * 1024).parse().unwrap());
    let mut begun = 0;
    // Each is given up, and leaves its head.
    while !multiplexer.is_full() && begun < 1_000 {
        let key = multiplexer.begin(&request, StreamEnd::Here);
        multiplexer.let_go(key, StreamSide::Answer);
        begun += 1;
    }

    assert!((127..140).contains(&begun), "{begun}");
    written(&mut multiplexer);
    assert!(!multiplexer.is_full());
}

#[test]
fn a_table_that_was_emptied_between_two_heads_is_said_to_have_been() {
    let (mut multiplexer, _) = asked(0);
    let sizes = [&[0, 1, 0, 0, 0, 0][..], &[0, 1, 0, 0, 16, 0]].concat();
    assert_eq!(come(&mut multiplexer, &frame(frames::SETTINGS, 0, 0, &sizes)), Ok(()));
    written(&mut multiplexer);

    multiplexer.begin(&get("/"), StreamEnd::Here);

    // RFC 7541 §4.2: the least, and the last, which is 4,096.
    let head = written(&mut multiplexer);
    assert_eq!(head[frames::FRAME_HEAD_BYTES..][..4], [0x20, 0x3f, 0xe1, 0x1f]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_comes_is_understood_or_refused(
        came in prop::collection::vec((0..11_u8, any::<u8>(), 0..6_u32, payload()), 1..40),
        lets_go in prop::collection::vec(0..40_usize, 0..3),
    ) {
        let (mut multiplexer, keys) = asked(2);
        let upload = multiplexer.begin(&get("/"), StreamEnd::Later);
        let mut answers = vec![Told::default(); 3];
        for (at, (kind, flags, stream, payload)) in came.iter().enumerate() {
            if multiplexer.take(&mut BytesMut::from(&frame(*kind, *flags, *stream, payload)[..])).is_err() {
                multiplexer.end(&StreamEnding::closed());
                break;
            }
            if lets_go.contains(&at) {
                multiplexer.let_go(keys[0], StreamSide::Answer);
                multiplexer.let_go(upload, StreamSide::Request);
            }
            if let UploadRoom::Bytes(room) = multiplexer.room(upload) {
                multiplexer.send(upload, &vec![0; room.min(100)], StreamEnd::Later);
            }
            answers.iter_mut().zip([keys[0], keys[1], upload]).for_each(|(told, key)| told.read_on(&mut multiplexer, key));
        }
        let sent: usize = came.iter().map(|(.., payload)| payload.len()).sum();
        let told: usize = answers.iter().map(|told| told.body.len()).sum();
        prop_assert!(told <= sent);
        // All that is written is whole frames.
        let bytes = written(&mut multiplexer);
        let mut rest = &bytes[..];
        while let Some(frame) = frames::FrameHead::of(rest) {
            rest = &rest[frames::FRAME_HEAD_BYTES + frame.length..];
        }
        prop_assert!(rest.is_empty());
    }
}

/// Heads that are in order, numbers, and anything.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(vec![0x88]),
        Just(b"\x88\x0f\x0d\x015".to_vec()),
        Just(b"\x40\x01x\x01y".to_vec()),
        Just(vec![0x88, 0xbe]),
        Just(b"hello".to_vec()),
        any::<[u8; 4]>().prop_map(Vec::from),
        (0..200_u32).prop_map(|number| number.to_be_bytes().to_vec()),
        any::<[u8; 8]>().prop_map(Vec::from),
        prop::collection::vec(any::<u8>(), 0..40),
    ]
}
