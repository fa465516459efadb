//! One connection's streams and frames. Pure: what came is put in, what is to be written comes out, and no socket is here.

use bytes::{Buf, Bytes, BytesMut};
use h2::Reason;
use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, Method};
use hyper::body::Body as _;

use super::capacity::{STREAMS, StreamCapacity};
use super::ending::StreamEnding;
use super::flood::FloodMeter;
use super::flow::{ReceiveWindow, SendWindow};
use super::frames::{self, FIRST_WINDOW, FRAME_HEAD_BYTES, StreamEnd};
use super::hpack::{HeadDecoder, HeadEncoder, RequestLine};
use super::outbox::Outbox;
use super::streams::{NextPart, Stream, StreamKey, StreamTable};
use crate::clock::Moment;
use crate::transport::Outgoing;

pub(super) struct Multiplexer {
    pub(super) outbox: Outbox,
    pub(super) streams: StreamTable,
    pub(super) flood: FloodMeter,
    pub(super) incoming: IncomingState,
    encoder: HeadEncoder,
    /// Of all streams together.
    room: SendWindow,
    /// What every new stream has.
    stream_room: u32,
    /// Of requests.
    pub(super) capacity: StreamCapacity,
    /// The stream of an upload that waits for that.
    held: Option<u32>,
    next_number: u32,
    /// Why no more requests are taken.
    refusal: Option<StreamEnding>,
    /// Nothing is read or written any more.
    is_over: bool,
    /// Some upload waits for the outbox to be emptied.
    is_crowded: bool,
    /// What is owed of answers to PING and SETTINGS.
    pub(super) owed: usize,
}

/// What is known of what comes, beside its streams.
pub(super) struct IncomingState {
    pub(super) decoder: HeadDecoder,
    /// Of all streams together.
    pub(super) window: ReceiveWindow,
    /// How much may still come for streams that we have reset.
    pub(super) strays: u64,
    /// A head of which more is to come.
    pub(super) block: Option<HeadBlock>,
}

/// A head in several frames.
pub(super) struct HeadBlock {
    pub(super) stream: u32,
    pub(super) end: StreamEnd,
    pub(super) bytes: Vec<u8>,
    /// What it counts so far: no frame counts less than a little.
    pub(super) counted: usize,
}

/// Who has a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamSide {
    Answer,
    Request,
}

/// How much of an upload may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UploadRoom {
    Bytes(usize),
    /// The service has not said how much of one it takes.
    Held,
    /// The service's windows are full. An end and trailers need none (RFC 9113 §6.9).
    NoWindow,
    /// What waits for the socket is enough.
    Crowded,
    /// The service wants no more of it.
    Never,
}

impl Multiplexer {
    /// With what a connection begins with written down.
    pub(super) fn new(now: Moment) -> Self {
        let mut outbox = Outbox::default();
        frames::write_preface(STREAM_WINDOW, ALL_WINDOW, BORNE_HEAD_BYTES, outbox.open());
        Self {
            outbox,
            streams: StreamTable::default(),
            flood: FloodMeter::new(now),
            incoming: IncomingState {
                decoder: HeadDecoder::new(),
                window: ReceiveWindow::new(ALL_WINDOW),
                strays: 0,
                block: None,
            },
            encoder: HeadEncoder::new(),
            room: SendWindow::new(FIRST_WINDOW),
            stream_room: FIRST_WINDOW,
            capacity: StreamCapacity::new(),
            held: None,
            next_number: 1,
            refusal: None,
            is_over: false,
            is_crowded: false,
            owed: 0,
        }
    }

    // Requests.

    /// Why no more requests are taken.
    pub(super) fn refusal(&self) -> Option<&StreamEnding> {
        self.refusal.as_ref()
    }

    pub(super) fn is_full(&self) -> bool {
        self.streams.count() >= self.capacity.most()
    }

    /// Begins a stream, with a request's head.
    pub(super) fn begin(&mut self, outgoing: &Outgoing, end: StreamEnd) -> StreamKey {
        let number = self.next_number;
        self.next_number += 2;
        if self.next_number > LAST_NUMBER {
            self.refuse(StreamEnding::Exhausted);
        }
        self.write_head(outgoing, number, end);
        self.capacity.queued(self.outbox.rest().len());
        if !self.capacity.is_settled() && !goes_whole(outgoing) {
            self.held = Some(number);
        }
        let (window, room) = (ReceiveWindow::new(STREAM_WINDOW), SendWindow::new(self.stream_room));
        self.streams.add(Stream::new(number, end, outgoing.method == Method::HEAD, window, room))
    }

    fn write_head(&mut self, outgoing: &Outgoing, number: u32, end: StreamEnd) {
        let out = self.outbox.open();
        let begin = out.len();
        out.extend_from_slice(&[0; FRAME_HEAD_BYTES]);
        let line = RequestLine {
            method: &outgoing.method,
            scheme: outgoing.scheme,
            authority: outgoing.authority.as_str(),
            target: outgoing.target.as_str(),
        };
        self.encoder.begin(&line, out);
        for (name, value) in outgoing.fields.iter().filter(|(name, _)| !is_only_of_http1(name)) {
            self.encoder.add(name, value, out);
        }
        match outgoing.body.size_hint().exact() {
            // What has no body by its nature need not say so.
            Some(0) if matches!(outgoing.method, Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS) => {}
            Some(length) => self.encoder.add_length(length, out),
            None => {}
        }
        frames::frame_head(begin, number, end, out);
    }

    /// How much of a request's body may go now.
    pub(super) fn room(&mut self, key: StreamKey) -> UploadRoom {
        let Some(stream) = self.streams.get(key).filter(|stream| stream.is_going()) else { return UploadRoom::Never };
        if self.held == Some(key.number) {
            return UploadRoom::Held;
        }
        let window = stream.room.room().min(self.room.room());
        if window == 0 {
            return UploadRoom::NoWindow;
        }
        let queue = stream.most_to_queue(self.outbox.round);
        if queue == 0 {
            self.is_crowded = true;
            return UploadRoom::Crowded;
        }
        UploadRoom::Bytes(window.min(queue))
    }

    /// Writes a piece of a request's body, no more than there is room for. For an end that nothing stands before no room is needed.
    pub(super) fn send(&mut self, key: StreamKey, data: &[u8], end: StreamEnd) {
        let round = self.outbox.round;
        let Some(stream) = self.streams.get_mut(key).filter(|stream| stream.is_going()) else { return };
        stream.queue(data.len(), round);
        self.room.take(data.len());
        if end == StreamEnd::Here {
            stream.wrote_end();
        }
        let out = self.outbox.open();
        let mut rest = data;
        loop {
            let (part, after) = rest.split_at(rest.len().min(frames::FRAME_BYTES));
            rest = after;
            let end = if rest.is_empty() { end } else { StreamEnd::Later };
            frames::write_data(key.number, end, part, out);
            if rest.is_empty() {
                break;
            }
        }
        self.capacity.queued(self.outbox.rest().len());
    }

    /// Writes what a request ends with.
    pub(super) fn send_trailers(&mut self, key: StreamKey, trailers: &HeaderMap) {
        let Some(stream) = self.streams.get_mut(key).filter(|stream| stream.is_going()) else { return };
        stream.wrote_end();
        let out = self.outbox.open();
        let begin = out.len();
        out.extend_from_slice(&[0; FRAME_HEAD_BYTES]);
        self.encoder.begin_block(out);
        trailers.iter().for_each(|(name, value)| self.encoder.add_once(name, value, out));
        frames::frame_head(begin, key.number, StreamEnd::Here, out);
    }

    // Answers.

    /// What comes next of an answer's body.
    pub(super) fn take_part(&mut self, key: StreamKey) -> NextPart {
        // Nobody asks for a stream that was let go of; if anybody did, what is not known is not whole.
        let Some(stream) = self.streams.get_mut(key) else { return NextPart::Broken(StreamEnding::closed()) };
        let part = stream.take_part();
        if let NextPart::Data(_, told) = &part {
            self.flood.came_on();
            self.open_window(key.number, *told);
        }
        part
    }

    /// Tells the service that it may send so much more, if that is worth a frame.
    pub(super) fn open_window(&mut self, stream: u32, bytes: Option<u32>) {
        if let Some(bytes) = bytes {
            frames::write_window_update(stream, bytes, self.outbox.open());
        }
    }

    // Ends.

    /// Resets a stream. What is on its way for it is borne.
    pub(super) fn reset(&mut self, key: StreamKey, reason: Reason, ending: StreamEnding) {
        let Some(stream) = self.streams.get_mut(key).filter(|stream| !stream.is_closed()) else { return };
        if !stream.has_ended() {
            // On its way can be no more than all streams together may send.
            let most = u64::from(self.incoming.window.left());
            self.incoming.strays = most.min(self.incoming.strays + u64::from(stream.may_come()));
        }
        stream.end(ending);
        frames::write_reset(key.number, reason, self.outbox.open());
    }

    /// Nobody reads the answer any more, or writes the request: with neither, the stream is reset unless it has ended.
    pub(super) fn let_go(&mut self, key: StreamKey, side: StreamSide) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        match side {
            StreamSide::Answer => (stream.has_reader, stream.reader) = (false, None),
            StreamSide::Request => (stream.has_writer, stream.writer) = (false, None),
        }
        if !stream.has_reader && !stream.has_writer {
            self.reset(key, Reason::CANCEL, StreamEnding::BrokenOff);
            self.streams.remove(key);
        } else if !stream.has_reader {
            stream.forget_answer();
        }
    }

    /// The service ends the connection: it comes to no stream above `last`.
    pub(super) fn closes(&mut self, last: u32, reason: Reason) {
        self.refuse(StreamEnding::ClosedByService(reason));
        for stream in self.streams.all().filter(|stream| stream.number > last) {
            stream.end(StreamEnding::ClosedByService(reason));
        }
    }

    /// The connection has come to an end for all. What had ended before stays whole.
    pub(super) fn end(&mut self, ending: &StreamEnding) {
        if let StreamEnding::GivenUp(reason) = ending {
            frames::write_goaway(*reason, self.outbox.open());
        }
        self.is_over = true;
        self.refuse(ending.clone());
        self.streams.all().for_each(|stream| stream.end(ending.clone()));
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Says goodbye.
    pub(super) fn take_leave(&mut self) {
        self.refuse(StreamEnding::Exhausted);
        frames::write_goaway(Reason::NO_ERROR, self.outbox.open());
    }

    /// The first reason is the cause.
    fn refuse(&mut self, why: StreamEnding) {
        self.refusal.get_or_insert(why);
        self.capacity.wake_waiting();
    }

    // What the service allows.

    /// It takes so much more of all streams together.
    ///
    /// # Errors
    ///
    /// When that is more than may be.
    pub(super) fn opened(&mut self, bytes: u32) -> Result<(), Reason> {
        self.room.change(i64::from(bytes)).map_err(|_| Reason::FLOW_CONTROL_ERROR)?;
        self.streams.all().for_each(Stream::wake_writer);
        Ok(())
    }

    /// What its settings say.
    ///
    /// # Errors
    ///
    /// When a window becomes larger than any may be.
    pub(super) fn settle(&mut self, settings: frames::ServiceSettings) -> Result<(), Reason> {
        if let Some(table) = settings.table {
            // What the least of them left no room for the service has forgotten, and is told that we have.
            self.encoder.resize(table.least as usize);
            self.encoder.resize(table.last as usize);
        }
        self.capacity.settle(settings.streams);
        if let Some(held) = self.held.take().and_then(|number| self.streams.find(number))
            && let Some(stream) = self.streams.get_mut(held)
        {
            stream.wake_writer();
        }
        if let Some(window) = settings.window {
            let change = i64::from(window) - i64::from(self.stream_room);
            self.stream_room = window;
            for stream in self.streams.all() {
                stream.room.change(change).map_err(|_| Reason::FLOW_CONTROL_ERROR)?;
                stream.wake_writer();
            }
        }
        Ok(())
    }

    /// Whether a stream of this number was ever opened, by us: nobody else may.
    pub(super) fn was_opened(&self, number: u32) -> bool {
        number % 2 == 1 && number < self.next_number
    }

    /// All that waited for the socket went on.
    pub(super) fn drained(&mut self) {
        self.owed = 0;
        if std::mem::take(&mut self.is_crowded) {
            self.streams.all().for_each(Stream::wake_writer);
        }
        self.capacity.drained();
        if self.streams.count() == 0 {
            self.outbox.spare();
        }
    }
}

impl Multiplexer {
    /// Reads what came, as far as it is there.
    ///
    /// # Errors
    ///
    /// Why the connection has to be given up for all.
    pub(super) fn take(&mut self, came: &mut BytesMut) -> Result<(), StreamEnding> {
        while let Some(head) = frames::FrameHead::of(came) {
            if head.length > frames::FRAME_BYTES {
                return Err(StreamEnding::GivenUp(Reason::FRAME_SIZE_ERROR));
            }
            if came.len() < FRAME_HEAD_BYTES + head.length {
                break;
            }
            came.advance(FRAME_HEAD_BYTES);
            let outcome = if head.kind == frames::DATA && head.length > 0 {
                let payload: Bytes = came.split_to(head.length).freeze();
                self.data_came(head, payload)
            } else {
                self.flood.came(FRAME_HEAD_BYTES + head.length);
                // Invariant: so much is there.
                let outcome = self.frame_came(head, &came[..head.length]);
                came.advance(head.length);
                outcome
            };
            outcome.map_err(StreamEnding::GivenUp)?;
        }
        if self.flood.is_flooded(self.streams.count(), BORNE_HEAD_BYTES, Moment::now) {
            return Err(StreamEnding::Flooded);
        }
        Ok(())
    }
}

/// Whether all of an upload goes before a service has said how much of one it takes. What would stop in the middle waits: a service
/// may reset a stream of which more has come by then than it takes from then on (RFC 9113 §6.9.3), and nghttp2's does.
fn goes_whole(outgoing: &Outgoing) -> bool {
    outgoing.body.size_hint().exact().is_some_and(|bytes| bytes <= u64::from(FIRST_WINDOW))
}

fn is_only_of_http1(name: &HeaderName) -> bool {
    matches!(*name, HOST | TRANSFER_ENCODING | EXPECT | CONTENT_LENGTH)
}

/// Enough for 80 Mbit/s a stream over 100 ms; no more than this is left unread by one slow app. The connection's window has
/// room for all streams together, so nobody waits for what another app leaves unread.
const STREAM_WINDOW: u32 = 1024 * 1024;
const ALL_WINDOW: u32 = STREAM_WINDOW * STREAMS as u32;

/// A head of more than [`HEAD_BYTES`](crate::transport::bounds::HEAD_BYTES) is refused, and its stream with it. To refuse no
/// more than that it has to be read: one that is longer than this as it comes ends the connection.
pub(super) const BORNE_HEAD_BYTES: u32 = 4 * crate::transport::bounds::HEAD_BYTES as u32;

/// The last number that a stream may have (RFC 9113 §5.1.1).
const LAST_NUMBER: u32 = (1 << 31) - 1;
