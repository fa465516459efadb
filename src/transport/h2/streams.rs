//! The streams of a connection: what is to come of each answer, and what of each request may go. Pure: what frames mean for
//! them, and no frame.
//!
//! ```text
//!  answer:   Head ──► Body ──► Ended       request:  going ──► gone
//!                └──────────────┴── ending ──┴───────────┘
//! ```
//!
//! An answer that has Ended is whole, whatever becomes of its stream then.

use std::task::{Context, Waker};

use bytes::Bytes;
use h2::Reason;
use http::HeaderMap;

use super::answer::{AnswerHead, HeadFault};
use super::backlog::Backlog;
use super::ending::StreamEnding;
use super::flow::{ReceiveWindow, SendWindow};
use super::frames::StreamEnd;
use super::outbox::OutboxRound;
use crate::transport::bounds::INTERIM_ANSWERS;

/// A stream, as whoever waits for it knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StreamKey {
    place: usize,
    pub(super) number: u32,
}

/// Those that somebody waits for.
#[derive(Default)]
pub(super) struct StreamTable {
    /// 0: the place is free. Beside the streams, so that one is found without a look at the others.
    numbers: Vec<u32>,
    streams: Vec<Option<Stream>>,
    count: usize,
}

pub(super) struct Stream {
    pub(super) number: u32,
    inward: Inward,
    head: Option<AnswerHead>,
    interim: u32,
    backlog: Backlog,
    trailers: Option<Box<HeaderMap>>,
    /// What is to come of the body, if that is known.
    left: Option<u64>,
    asks_for_head: bool,
    window: ReceiveWindow,
    /// Who waits for the answer, and whether anybody may.
    pub(super) reader: Option<Waker>,
    pub(super) has_reader: bool,
    /// What of the request may go, if more of it is to.
    pub(super) room: SendWindow,
    is_going: bool,
    queued: QueuedUpload,
    /// Who waits for room, or writes the request, and whether anybody may.
    pub(super) writer: Option<Waker>,
    pub(super) has_writer: bool,
    ending: Option<StreamEnding>,
}

/// How far the answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inward {
    Head,
    Body,
    Ended,
}

/// What comes next of an answer's body.
pub(super) enum NextPart {
    /// With what the service is to be told now that there is room for.
    Data(Bytes, Option<u32>),
    Trailers(HeaderMap),
    End,
    Broken(StreamEnding),
    /// It has not come.
    Nothing,
}

impl Stream {
    /// A request was begun, whose end is with its head or later.
    pub(super) fn new(
        number: u32,
        end: StreamEnd,
        asks_for_head: bool,
        window: ReceiveWindow,
        room: SendWindow,
    ) -> Self {
        let is_going = end == StreamEnd::Later;
        Self {
            number,
            inward: Inward::Head,
            head: None,
            interim: 0,
            backlog: Backlog::default(),
            trailers: None,
            left: None,
            asks_for_head,
            window,
            reader: None,
            has_reader: true,
            room,
            is_going,
            queued: QueuedUpload::default(),
            writer: None,
            has_writer: is_going,
            ending: None,
        }
    }

    // What comes.

    /// # Errors
    ///
    /// Why the stream is to be reset.
    pub(super) fn head_came(
        &mut self,
        head: Result<AnswerHead, HeadFault>,
        end: StreamEnd,
    ) -> Result<(), StreamEnding> {
        let head = head.map_err(|fault| match fault {
            HeadFault::Malformed => MALFORMED,
            HeadFault::TooMuch(why) => StreamEnding::Refused(why),
        })?;
        if head.is_interim() {
            self.interim += 1;
            return match end {
                StreamEnd::Here => Err(MALFORMED),
                StreamEnd::Later if self.interim > INTERIM_ANSWERS => Err(StreamEnding::Refused(TOO_MANY_INTERIM)),
                StreamEnd::Later => Ok(()),
            };
        }
        let has_no_body = self.asks_for_head || head.is_bodiless();
        self.left = if has_no_body { Some(0) } else { head.length };
        if end == StreamEnd::Here && self.left.is_some_and(|left| left > 0) {
            return Err(MALFORMED);
        }
        self.head = Some(head);
        self.inward = Inward::Body;
        self.went_on(end);
        Ok(())
    }

    /// So much came of the body, in a frame that counts `bytes`. Gives what the service is to be told that there is room for.
    ///
    /// # Errors
    ///
    /// Why the stream is to be reset.
    pub(super) fn data_came(&mut self, data: Bytes, bytes: u32, end: StreamEnd) -> Result<Option<u32>, StreamEnding> {
        let fault = StreamEnding::ResetForFault;
        self.window.arrive(bytes).map_err(|_| fault(Reason::FLOW_CONTROL_ERROR))?;
        match self.inward {
            Inward::Head => return Err(MALFORMED),
            Inward::Body => {}
            Inward::Ended => return Err(fault(Reason::STREAM_CLOSED)),
        }
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(data.len() as u64).ok_or(MALFORMED)?;
        }
        // What only fills the frame up is taken as it comes.
        let filling = bytes - data.len() as u32;
        if self.has_reader {
            self.backlog.push(data);
        }
        self.end_body(end)?;
        Ok(if filling > 0 && self.is_coming() { self.window.take(filling) } else { None })
    }

    /// # Errors
    ///
    /// Why the stream is to be reset: trailers are the end (RFC 9113 §8.1).
    pub(super) fn trailers_came(
        &mut self,
        trailers: Result<HeaderMap, HeadFault>,
        end: StreamEnd,
    ) -> Result<(), StreamEnding> {
        let trailers = trailers.map_err(|fault| match fault {
            HeadFault::Malformed => MALFORMED,
            HeadFault::TooMuch(_) => StreamEnding::Refused("it has too many trailers, or too long ones"),
        })?;
        if self.inward == Inward::Ended {
            return Err(StreamEnding::ResetForFault(Reason::STREAM_CLOSED));
        }
        if end == StreamEnd::Later {
            return Err(MALFORMED);
        }
        self.trailers = Some(Box::new(trailers));
        self.end_body(end)
    }

    pub(super) fn expects_head(&self) -> bool {
        self.inward == Inward::Head
    }

    /// It came to an end; what had not ended before never does. Nothing is lost of what came.
    pub(super) fn end(&mut self, ending: StreamEnding) {
        self.is_going = false;
        if self.ending.is_none() {
            self.ending = Some(ending);
        }
        self.wake_reader();
        self.wake_writer();
    }

    fn end_body(&mut self, end: StreamEnd) -> Result<(), StreamEnding> {
        if end == StreamEnd::Here && self.left.is_some_and(|left| left > 0) {
            return Err(MALFORMED);
        }
        self.went_on(end);
        Ok(())
    }

    fn went_on(&mut self, end: StreamEnd) {
        if end == StreamEnd::Here {
            self.inward = Inward::Ended;
        }
        self.wake_reader();
    }

    // What its reader takes.

    /// The answer's head, or why there is none.
    pub(super) fn take_head(&mut self) -> Option<Result<AnswerHead, StreamEnding>> {
        match self.head.take() {
            Some(head) => Some(Ok(head)),
            None => self.ending.clone().map(Err),
        }
    }

    /// Whether that is known.
    pub(super) fn has_news(&self) -> bool {
        self.head.is_some() || self.ending.is_some()
    }

    /// Nobody reads it any more.
    pub(super) fn forget_answer(&mut self) {
        (self.head, self.trailers, self.backlog) = (None, None, Backlog::default());
    }

    /// What comes next of its body.
    pub(super) fn take_part(&mut self) -> NextPart {
        if let Some(data) = self.backlog.pop() {
            let told = if self.is_coming() { self.window.take(data.len() as u32) } else { None };
            return NextPart::Data(data, told);
        }
        match (self.inward, &self.ending) {
            (Inward::Ended, _) => self.trailers.take().map_or(NextPart::End, |trailers| NextPart::Trailers(*trailers)),
            (_, Some(ending)) => NextPart::Broken(ending.clone()),
            (_, None) => NextPart::Nothing,
        }
    }

    /// All of a body that has ended in one piece or less; `None`: it is not that. Nothing is left of it then.
    pub(super) fn take_whole(&mut self) -> Option<Bytes> {
        if self.inward != Inward::Ended || self.trailers.is_some() {
            return None;
        }
        self.backlog.take_only()
    }

    /// Whether all of the answer was taken.
    pub(super) fn is_over(&self) -> bool {
        self.inward == Inward::Ended && self.backlog.is_empty() && self.trailers.is_none()
    }

    /// How a body that is empty has ended, if it has: well, or not at all.
    pub(super) fn empty_end(&self) -> Option<Result<(), StreamEnding>> {
        if self.inward == Inward::Ended { Some(Ok(())) } else { self.ending.clone().map(Err) }
    }

    /// Whether somebody waits for its head.
    pub(super) fn is_read_for_head(&self) -> bool {
        self.has_reader && self.expects_head()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.inward == Inward::Ended
    }

    /// How much the service may still send of it.
    pub(super) fn may_come(&self) -> u32 {
        self.window.left()
    }

    fn is_coming(&self) -> bool {
        self.inward != Inward::Ended && self.ending.is_none()
    }

    pub(super) fn wait_to_read(&mut self, cx: &Context<'_>) {
        wait(&mut self.reader, cx);
    }

    pub(super) fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    // What its writer writes.

    /// Whether more of the request may go, now or later.
    pub(super) fn is_going(&self) -> bool {
        self.is_going
    }

    /// How much of it may wait for the socket beside what does.
    pub(super) fn most_to_queue(&self, round: OutboxRound) -> usize {
        self.queued.most_more(round)
    }

    /// So much waits for the socket.
    pub(super) fn queue(&mut self, bytes: usize, round: OutboxRound) {
        self.queued.add(bytes, round);
        self.room.take(bytes);
    }

    /// The end of the request was written.
    pub(super) fn wrote_end(&mut self) {
        self.is_going = false;
    }

    pub(super) fn wait_to_write(&mut self, cx: &Context<'_>) {
        wait(&mut self.writer, cx);
    }

    pub(super) fn wake_writer(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    /// Whether nothing more comes or goes.
    pub(super) fn is_closed(&self) -> bool {
        self.ending.is_some() || (self.inward == Inward::Ended && !self.is_going)
    }
}

/// What of an upload waits for the socket since that was last empty. Each has its share, so that none drives out the others,
/// and none holds more memory.
#[derive(Default)]
struct QueuedUpload {
    bytes: usize,
    round: OutboxRound,
}

impl QueuedUpload {
    /// How much more of it may.
    fn most_more(&self, round: OutboxRound) -> usize {
        if self.round == round { QUEUED_BYTES.saturating_sub(self.bytes) } else { QUEUED_BYTES }
    }

    fn add(&mut self, bytes: usize, round: OutboxRound) {
        self.bytes = if self.round == round { self.bytes + bytes } else { bytes };
        self.round = round;
    }
}

fn wait(waiting: &mut Option<Waker>, cx: &Context<'_>) {
    if !waiting.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *waiting = Some(cx.waker().clone());
    }
}

impl StreamTable {
    pub(super) fn add(&mut self, stream: Stream) -> StreamKey {
        let number = stream.number;
        self.count += 1;
        let free = self.numbers.iter().position(|number| *number == 0);
        let place = free.unwrap_or_else(|| {
            self.numbers.push(0);
            self.streams.push(None);
            self.numbers.len() - 1
        });
        // Invariant: it is a place of both.
        (self.numbers[place], self.streams[place]) = (number, Some(stream));
        StreamKey { place, number }
    }

    pub(super) fn find(&self, number: u32) -> Option<StreamKey> {
        let place = self.numbers.iter().position(|other| *other == number)?;
        Some(StreamKey { place, number })
    }

    pub(super) fn get(&self, key: StreamKey) -> Option<&Stream> {
        self.streams.get(key.place)?.as_ref().filter(|stream| stream.number == key.number)
    }

    pub(super) fn get_mut(&mut self, key: StreamKey) -> Option<&mut Stream> {
        self.streams.get_mut(key.place)?.as_mut().filter(|stream| stream.number == key.number)
    }

    pub(super) fn remove(&mut self, key: StreamKey) {
        if self.get(key).is_some() {
            // Invariant: it is there.
            (self.numbers[key.place], self.streams[key.place]) = (0, None);
            self.count -= 1;
        }
    }

    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.streams.iter_mut().flatten()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }
}

const MALFORMED: StreamEnding = StreamEnding::ResetForFault(Reason::PROTOCOL_ERROR);
const TOO_MANY_INTERIM: &str = "it sent more than 32 interim answers";
const _: () = assert!(INTERIM_ANSWERS == 32, "the text above says so");

/// What of one upload waits for the socket: two frames of the longest.
const QUEUED_BYTES: usize = 32 * 1024;
