//! Flow control, as the other end counts it.

use proptest::prelude::*;

use super::*;

/// What happens to three uploads on one connection.
#[derive(Clone, Debug)]
enum Step {
    /// So much of an upload is ready; as much goes as may.
    Send(usize, usize),
    /// What is written goes on.
    Write,
    OpenStream(usize, u32),
    OpenAll(u32),
    /// SETTINGS give every stream another window.
    Settle(u32),
}

const UPLOADS: usize = 3;

proptest! {
    #[test]
    fn no_byte_is_sent_for_which_there_is_no_room_and_none_waits_for_nothing(steps in prop::collection::vec(step(), 1..120)) {
        let mut multiplexer = Multiplexer::new(Moment::now());
        let keys: Vec<_> = (0..UPLOADS).map(|_| multiplexer.begin(&get("/"), StreamEnd::Later)).collect();
        written(&mut multiplexer);
        // As the service counts.
        let mut all = i64::from(frames::FIRST_WINDOW);
        let mut each = [i64::from(frames::FIRST_WINDOW); UPLOADS];
        let mut initial = i64::from(frames::FIRST_WINDOW);
        let mut queued = [0; UPLOADS];
        for step in steps {
            match step {
                Step::Send(upload, bytes) => {
                    let room = multiplexer.room(keys[upload]);
                    let open = all.min(each[upload]).max(0) as usize;
                    match room {
                        UploadRoom::Bytes(room) => prop_assert!(room > 0 && room <= open),
                        UploadRoom::NoWindow => prop_assert_eq!(open, 0),
                        UploadRoom::Crowded => prop_assert!(queued[upload] > 0),
                        UploadRoom::Never => prop_assert!(false),
                    }
                    if let UploadRoom::Bytes(room) = room {
                        let bytes = bytes.min(room);
                        multiplexer.send(keys[upload], &vec![0; bytes], StreamEnd::Later);
                        queued[upload] += bytes;
                        all -= bytes as i64;
                        each[upload] -= bytes as i64;
                    }
                    prop_assert!(queued[upload] <= 32 * 1024, "one upload holds no more");
                }
                Step::Write => {
                    let mut rest = &written(&mut multiplexer)[..];
                    while let Some(frame) = frames::FrameHead::of(rest) {
                        if let Some(upload) = keys.iter().position(|key| key.number == frame.stream) {
                            prop_assert!(frame.kind == frames::DATA && frame.length <= frames::FRAME_BYTES);
                            queued[upload] -= frame.length;
                        }
                        rest = &rest[frames::FRAME_HEAD_BYTES + frame.length..];
                    }
                    prop_assert_eq!(queued, [0; UPLOADS], "all that was sent was written");
                }
                Step::OpenStream(upload, bytes) => {
                    each[upload] += i64::from(bytes);
                    let open = frame(frames::WINDOW_UPDATE, 0, keys[upload].number, &bytes.to_be_bytes());
                    prop_assert_eq!(come(&mut multiplexer, &open), Ok(()));
                }
                Step::OpenAll(bytes) => {
                    all += i64::from(bytes);
                    let open = frame(frames::WINDOW_UPDATE, 0, 0, &bytes.to_be_bytes());
                    prop_assert_eq!(come(&mut multiplexer, &open), Ok(()));
                }
                Step::Settle(window) => {
                    each.iter_mut().for_each(|room| *room += i64::from(window) - initial);
                    initial = i64::from(window);
                    let settings = frame(frames::SETTINGS, 0, 0, &[&[0, 4][..], &window.to_be_bytes()].concat());
                    prop_assert_eq!(come(&mut multiplexer, &settings), Ok(()));
                }
            }
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..UPLOADS, 1..40_000_usize).prop_map(|(upload, bytes)| Step::Send(upload, bytes)),
        2 => Just(Step::Write),
        1 => (0..UPLOADS, 1..100_000_u32).prop_map(|(upload, bytes)| Step::OpenStream(upload, bytes)),
        1 => (1..100_000_u32).prop_map(Step::OpenAll),
        1 => (0..100_000_u32).prop_map(Step::Settle),
    ]
}

#[test]
fn windows_are_opened_as_an_app_reads_and_never_for_one_that_does_not() {
    const PIECE: usize = 16 * 1024;
    let (mut multiplexer, keys) = asked(2);
    let begin = [head(1, 0, &[0x88]), head(3, 0, &[0x88])].concat();
    assert_eq!(come(&mut multiplexer, &begin), Ok(()));
    let mut window = 1024 * 1024;

    for round in 0..200 {
        // As much as it may send; the other is read by nobody.
        let data = frame(frames::DATA, 0, 1, &[7; PIECE]);
        assert_eq!(come(&mut multiplexer, &data), Ok(()), "{round}");
        window -= PIECE;
        assert!(matches!(multiplexer.take_part(keys[0]), NextPart::Data(data, _) if data.len() == PIECE));
        let opened = written(&mut multiplexer);
        if !opened.is_empty() {
            assert_eq!(opened, frame(frames::WINDOW_UPDATE, 0, 1, &(512_u32 * 1024).to_be_bytes()));
            window += 512 * 1024;
        }
        assert!(window >= PIECE, "it would have to wait");
    }
    for _ in 0..64 {
        assert_eq!(come(&mut multiplexer, &frame(frames::DATA, 0, 3, &[7; PIECE])), Ok(()));
    }
    assert!(written(&mut multiplexer).is_empty());
    assert_eq!(come(&mut multiplexer, &frame(frames::DATA, 0, 3, &[7])), Ok(()));
    let reset = frame(frames::RST_STREAM, 0, 3, &u32::from(Reason::FLOW_CONTROL_ERROR).to_be_bytes());
    assert_eq!(written(&mut multiplexer), reset, "it passed its window");
}

#[test]
fn what_only_fills_frames_up_is_taken_as_it_comes() {
    let (mut multiplexer, _) = asked(1);
    assert_eq!(come(&mut multiplexer, &head(1, 0, &[0x88])), Ok(()));
    let filled = frame(frames::DATA, 8, 1, &[&[250, b'x'][..], &[0; 250]].concat());
    let mut opened = 0;
    for _ in 0..5_000 {
        assert_eq!(come(&mut multiplexer, &filled), Ok(()));
        let update = written(&mut multiplexer);
        if !update.is_empty() {
            assert_eq!(update.len(), 13);
            opened += 1;
        }
    }
    // 5,000 pieces of a byte, and 251 bytes beside each.
    assert_eq!(opened, 2);
}
