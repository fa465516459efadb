//! Flow control, as the other end counts it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::body::{Body, Frame};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::*;
use crate::transport::body::{BodyError, UploadBody};
use crate::transport::h2::connection::{Connection, StreamHold};
use crate::transport::h2::outflow::Outflow;

/// What happens to three uploads on one connection.
#[derive(Clone, Debug)]
enum Step {
    /// An app sends so much of an upload.
    Give(usize, usize),
    /// An app ends its upload.
    End(usize, LastFrame),
    /// An app gives its upload up.
    Drop(usize),
    /// What is written goes on.
    Write,
    OpenStream(usize, u32),
    OpenAll(u32),
    /// SETTINGS give every stream another window.
    Settle(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastFrame {
    /// The last of the content, which is known to be the last.
    Known,
    /// Nothing beside the end.
    Bare,
    Trailers,
}

const UPLOADS: usize = 3;

/// What an app has sent and nobody has taken.
#[derive(Default)]
struct Sent {
    frames: VecDeque<Frame<Bytes>>,
    end: Option<LastFrame>,
    waker: Option<Waker>,
    /// How often something was taken, or was told to have gone on.
    told: usize,
}

#[derive(Clone, Default)]
struct ScriptedBody(Rc<RefCell<Sent>>);

impl ScriptedBody {
    fn change(&self, change: impl FnOnce(&mut Sent)) {
        let mut sent = self.0.borrow_mut();
        change(&mut sent);
        sent.waker.take().into_iter().for_each(Waker::wake);
    }
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut sent = self.0.borrow_mut();
        match sent.frames.pop_front() {
            Some(frame) => {
                sent.told += 1;
                Poll::Ready(Some(Ok(frame)))
            }
            None if sent.end.is_some() => Poll::Ready(None),
            None => {
                sent.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let sent = self.0.borrow();
        sent.frames.is_empty() && sent.end == Some(LastFrame::Known)
    }
}

impl UploadBody for ScriptedBody {
    fn moved_on(&mut self) {
        self.0.borrow_mut().told += 1;
    }
}

struct Upload {
    app: ScriptedBody,
    /// It is polled when it was woken, and not before.
    task: Arc<WokenTask>,
    key: StreamKey,
    /// `None`: it was given up.
    flow: Option<(Outflow<ScriptedBody>, StreamHold)>,
    /// How much the app has sent, and how much of it was handed on.
    given: usize,
    sent: usize,
    is_over: bool,
    /// What of it was handed on and not written, and what the service still takes of it.
    queued: usize,
    room: i64,
    /// What the service has seen.
    has_ended: bool,
    was_reset: bool,
}

/// A connection with its uploads, and what the service knows of them.
struct Scene {
    connection: Rc<RefCell<Connection>>,
    uploads: Vec<Upload>,
    room: i64,
    first_room: i64,
}

impl Scene {
    fn new() -> Self {
        let connection = Rc::new(RefCell::new(Connection::unwired()));
        let room = i64::from(frames::FIRST_WINDOW);
        let upload = |_| {
            let app = ScriptedBody::default();
            let key = connection.borrow_mut().multiplexer.begin(&get("/"), StreamEnd::Later);
            let hold = |side| StreamHold::new(&connection, key, side);
            let flow = Some((Outflow::new(app.clone(), hold(StreamSide::Request)), hold(StreamSide::Answer)));
            let task = Arc::new(WokenTask(true.into()));
            Upload {
                app,
                task,
                key,
                flow,
                given: 0,
                sent: 0,
                is_over: false,
                queued: 0,
                room,
                has_ended: false,
                was_reset: false,
            }
        };
        let uploads = (0..UPLOADS).map(upload).collect();
        let mut scene = Self { connection, uploads, room, first_room: room };
        scene.come(&frame(frames::SETTINGS, 0, 0, &[]));
        written(&mut scene.connection.borrow_mut().multiplexer);
        scene
    }

    fn come(&mut self, bytes: &[u8]) {
        assert_eq!(come(&mut self.connection.borrow_mut().multiplexer, bytes), Ok(()));
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Give(upload, bytes) => {
                let upload = &mut self.uploads[upload];
                let content = Frame::data(vec![0; bytes].into());
                if upload.app.0.borrow().end.is_none() {
                    upload.given += bytes;
                    upload.app.change(|sent| sent.frames.push_back(content));
                }
            }
            Step::End(upload, last) => self.uploads[upload].app.change(|sent| {
                if sent.end.replace(last).is_none() && last == LastFrame::Trailers {
                    let fields = [("x-y".parse().unwrap(), "z".parse().unwrap())];
                    sent.frames.push_back(Frame::trailers(fields.into_iter().collect()));
                }
            }),
            Step::Drop(upload) => self.uploads[upload].flow = None,
            Step::Write => self.write()?,
            Step::OpenStream(upload, bytes) => {
                let upload = &mut self.uploads[upload];
                upload.room += i64::from(bytes);
                let number = upload.key.number;
                self.come(&frame(frames::WINDOW_UPDATE, 0, number, &bytes.to_be_bytes()));
            }
            Step::OpenAll(bytes) => {
                self.room += i64::from(bytes);
                self.come(&frame(frames::WINDOW_UPDATE, 0, 0, &bytes.to_be_bytes()));
            }
            Step::Settle(window) => {
                let change = i64::from(window) - std::mem::replace(&mut self.first_room, i64::from(window));
                self.uploads.iter_mut().for_each(|upload| upload.room += change);
                self.come(&frame(frames::SETTINGS, 0, 0, &[&[0, 4][..], &window.to_be_bytes()].concat()));
            }
        }
        Ok(())
    }

    /// Polls whoever was woken, until nobody is.
    fn run(&mut self) -> Result<(), TestCaseError> {
        while let Some(upload) = self.uploads.iter_mut().find(|upload| upload.task.0.swap(false, Ordering::Relaxed)) {
            let waker = Waker::from(Arc::clone(&upload.task));
            let Some((flow, _)) = upload.flow.as_mut().filter(|_| !upload.is_over) else { continue };
            let told_before = upload.app.0.borrow().told;
            upload.is_over = flow.poll(&mut Context::from_waker(&waker)).is_ready();
            let more = flow.written() as usize - upload.sent;
            let is_told = upload.app.0.borrow().told > told_before;
            prop_assert!(more == 0 || is_told, "content went on, and nobody was told");
            upload.sent += more;
            upload.queued += more;
            prop_assert!(more == 0 || more as i64 <= self.room.min(upload.room), "the service has no room for it");
            upload.room -= more as i64;
            self.room -= more as i64;
            prop_assert!(upload.queued <= MOST_QUEUED, "one upload holds no more");
        }
        Ok(())
    }

    /// Whoever has something to hand on, or its end, waits for a window or for the socket.
    fn none_waits_for_nothing(&self) -> Result<(), TestCaseError> {
        for upload in self.uploads.iter().filter(|upload| upload.flow.is_some() && !upload.is_over) {
            let is_crowded = upload.queued == MOST_QUEUED;
            if upload.given > upload.sent {
                prop_assert!(is_crowded || self.room.min(upload.room) <= 0, "it waits, and there is room");
            } else if upload.app.0.borrow().end.is_some() {
                prop_assert!(is_crowded, "its end waits, and needs no room");
            }
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), TestCaseError> {
        let bytes = written(&mut self.connection.borrow_mut().multiplexer);
        let mut rest = &bytes[..];
        while let Some(frame) = frames::FrameHead::of(rest) {
            if let Some(upload) = self.uploads.iter_mut().find(|upload| upload.key.number == frame.stream) {
                prop_assert!(!upload.was_reset, "nothing comes after a reset");
                if frame.kind == frames::RST_STREAM {
                    upload.was_reset = true;
                } else {
                    prop_assert!(!upload.has_ended, "nothing comes after an end");
                    upload.has_ended = frame.has(frames::END_STREAM);
                }
                if frame.kind == frames::DATA {
                    prop_assert!(frame.length <= frames::FRAME_BYTES);
                    upload.queued -= frame.length;
                }
            }
            rest = &rest[frames::FRAME_HEAD_BYTES + frame.length..];
        }
        for upload in &self.uploads {
            prop_assert_eq!(upload.queued, 0, "all that was sent was written");
            prop_assert_eq!(upload.has_ended, upload.is_over);
            // Nobody waits for its answer any more.
            prop_assert_eq!(upload.was_reset, upload.flow.is_none());
        }
        Ok(())
    }
}

/// Two frames of the longest.
const MOST_QUEUED: usize = 32 * 1024;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_byte_is_sent_for_which_there_is_no_room_and_none_waits_for_nothing(steps in prop::collection::vec(step(), 1..120)) {
        let mut scene = Scene::new();
        for step in &steps {
            scene.step(step)?;
            scene.run()?;
            scene.none_waits_for_nothing()?;
        }
        scene.step(&Step::Write)?;
    }
}

fn step() -> impl Strategy<Value = Step> {
    let last = prop::sample::select(vec![LastFrame::Known, LastFrame::Bare, LastFrame::Trailers]);
    prop_oneof![
        16 => (0..UPLOADS, 0..40_000_usize).prop_map(|(upload, bytes)| Step::Give(upload, bytes)),
        1 => (0..UPLOADS, last).prop_map(|(upload, last)| Step::End(upload, last)),
        1 => (0..4 * UPLOADS).prop_map(|upload| if upload < UPLOADS { Step::Drop(upload) } else { Step::Write }),
        8 => Just(Step::Write),
        4 => (0..UPLOADS, 1..100_000_u32).prop_map(|(upload, bytes)| Step::OpenStream(upload, bytes)),
        2 => (1..100_000_u32).prop_map(Step::OpenAll),
        4 => (0..100_000_u32).prop_map(Step::Settle),
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
