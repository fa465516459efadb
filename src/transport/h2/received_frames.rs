//! What each frame means that a service sends (RFC 9113 §6), and which it may not send.

use bytes::Bytes;
use h2::Reason;
use http::HeaderMap;

use super::answer::HeadBuilder;
use super::ending::StreamEnding;
use super::frames::{self, FrameHead, StreamEnd};
use super::multiplexer::{BORNE_HEAD_BYTES, HeadBlock, Multiplexer};
use super::streams::StreamKey;
use crate::transport::scratch;

/// # Errors
///
/// Each gives the reason to give up the connection; what is wrong with one stream ends that stream alone.
impl Multiplexer {
    /// Any frame but DATA with content.
    pub(super) fn frame_came(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Reason> {
        // Nothing may come between two parts of a head (§6.10).
        if self.incoming.block.is_some() != (head.kind == frames::CONTINUATION) {
            return Err(Reason::PROTOCOL_ERROR);
        }
        match head.kind {
            frames::HEADERS => self.head_came(head, payload),
            frames::CONTINUATION => self.head_continued(head, payload),
            frames::DATA => self.data_came(head, Bytes::new()),
            frames::RST_STREAM => self.was_reset(head, payload),
            frames::SETTINGS => self.settings_came(head, payload),
            frames::PING => self.pinged(head, payload),
            frames::GOAWAY => self.goaway_came(head, payload),
            frames::WINDOW_UPDATE => self.window_opened(head, payload),
            // We have said that we want none.
            frames::PUSH_PROMISE => Err(Reason::PROTOCOL_ERROR),
            frames::PRIORITY if head.length != 5 => Err(Reason::FRAME_SIZE_ERROR),
            _ => Ok(()),
        }
    }

    pub(super) fn data_came(&mut self, head: FrameHead, payload: Bytes) -> Result<(), Reason> {
        self.expect_opened(head.stream)?;
        if self.incoming.block.is_some() {
            return Err(Reason::PROTOCOL_ERROR);
        }
        let bytes = head.length as u32;
        // The window of all streams has room for each one's, so it can be opened again whoever reads what, and when.
        self.incoming.window.arrive(bytes).map_err(|_| Reason::FLOW_CONTROL_ERROR)?;
        let told = self.incoming.window.take(bytes);
        self.open_window(0, told);
        let content = head.content(&payload)?;
        if content.is_empty() && bytes > 0 {
            // As good as empty: no reader bounds how many come, and windows open again for what only fills them up.
            self.flood.came(frames::FRAME_HEAD_BYTES + payload.len());
        }
        let Some(key) = self.live(head.stream) else { return self.strayed(bytes) };
        let content = if content.len() == payload.len() { payload } else { payload.slice(content) };
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        match stream.data_came(content, bytes, end(head)) {
            Ok(told) => self.open_window(head.stream, told),
            Err(ending) => self.refuse_stream(key, ending),
        }
        Ok(())
    }

    /// What comes for a stream that we have reset was on its way: no more than its window had room for then.
    /// They are bounded by their bytes, and by their number as what brings no request on.
    fn strayed(&mut self, bytes: u32) -> Result<(), Reason> {
        self.flood.came(frames::FRAME_HEAD_BYTES);
        self.incoming.strays = self.incoming.strays.checked_sub(u64::from(bytes)).ok_or(Reason::STREAM_CLOSED)?;
        Ok(())
    }

    fn head_came(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Reason> {
        self.expect_opened(head.stream)?;
        // Invariant: it is within the payload.
        let part = &payload[head.content(payload)?];
        if head.has(frames::END_HEADERS) {
            return self.read_head(head.stream, end(head), part);
        }
        let block = HeadBlock { stream: head.stream, end: end(head), bytes: part.to_vec(), counted: part.len() };
        self.incoming.block = Some(block);
        Ok(())
    }

    fn head_continued(&mut self, head: FrameHead, part: &[u8]) -> Result<(), Reason> {
        let Some(block) = self.incoming.block.as_mut().filter(|block| block.stream == head.stream) else {
            return Err(Reason::PROTOCOL_ERROR);
        };
        // A head in many frames of next to nothing is longer than it looks.
        block.counted += part.len().max(LEAST_COUNTED);
        if block.counted > BORNE_HEAD_BYTES as usize {
            return Err(Reason::ENHANCE_YOUR_CALM);
        }
        block.bytes.extend_from_slice(part);
        match self.incoming.block.take_if(|_| head.has(frames::END_HEADERS)) {
            Some(block) => self.read_head(block.stream, block.end, &block.bytes),
            None => Ok(()),
        }
    }

    /// Reads a head, or trailers: of a stream that was given up too, for the sake of those that follow.
    fn read_head(&mut self, number: u32, end: StreamEnd, block: &[u8]) -> Result<(), Reason> {
        let key = self.live(number);
        let stream = key.and_then(|key| self.streams.get(key));
        let is_head = stream.is_some_and(|stream| stream.expects_head());
        let mut builder = HeadBuilder::new(if is_head { scratch::fields() } else { HeaderMap::new() });
        let decoded = self.incoming.decoder.decode(block, |field| builder.take(field));
        decoded.map_err(|_| Reason::COMPRESSION_ERROR)?;
        let Some(key) = key else { return Ok(()) };
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        let outcome = if is_head {
            stream.head_came(builder.into_head(), end)
        } else {
            stream.trailers_came(builder.into_trailers(), end)
        };
        if let Err(ending) = outcome {
            self.refuse_stream(key, ending);
        }
        Ok(())
    }

    fn was_reset(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Reason> {
        expect_length(head, 4)?;
        self.expect_opened(head.stream)?;
        let reason = Reason::from(frames::read_number(payload)?);
        if let Some(stream) = self.live(head.stream).and_then(|key| self.streams.get_mut(key)) {
            stream.end(StreamEnding::ResetByService(reason));
        }
        Ok(())
    }

    fn settings_came(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Reason> {
        expect_connection(head)?;
        if head.has(frames::ACK) {
            return expect_length(head, 0);
        }
        self.settle(frames::read_settings(payload)?)?;
        self.answer(frames::SETTINGS, &[]);
        Ok(())
    }

    fn pinged(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Reason> {
        expect_connection(head)?;
        expect_length(head, 8)?;
        if !head.has(frames::ACK) {
            self.answer(frames::PING, payload);
        }
        Ok(())
    }

    fn answer(&mut self, kind: u8, payload: &[u8]) {
        self.owed += frames::FRAME_HEAD_BYTES + payload.len();
        frames::write(kind, frames::ACK, 0, payload, self.outbox.open());
    }

    /// Whether the service asks for more answers than it reads: until it does nothing more is read of it.
    pub(super) fn owes_too_much(&self) -> bool {
        self.owed > OWED_BYTES
    }

    fn goaway_came(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Reason> {
        expect_connection(head)?;
        let last = frames::read_number(payload)? & frames::LARGEST_WINDOW;
        // What else it says is the service's to choose, and may repeat a secret that it was sent.
        let reason = frames::read_number(payload.get(4..).unwrap_or_default())?;
        self.closes(last, Reason::from(reason));
        Ok(())
    }

    fn window_opened(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Reason> {
        expect_length(head, 4)?;
        let bytes = frames::read_number(payload)? & frames::LARGEST_WINDOW;
        if head.stream == 0 {
            return if bytes == 0 { Err(Reason::PROTOCOL_ERROR) } else { self.opened(bytes) };
        }
        self.expect_opened(head.stream)?;
        let Some(key) = self.live(head.stream) else { return Ok(()) };
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        if bytes == 0 {
            self.refuse_stream(key, StreamEnding::ResetForFault(Reason::PROTOCOL_ERROR));
        } else if stream.room.change(i64::from(bytes)).is_err() {
            self.refuse_stream(key, StreamEnding::ResetForFault(Reason::FLOW_CONTROL_ERROR));
        } else {
            stream.wake_writer();
        }
        Ok(())
    }

    fn refuse_stream(&mut self, key: StreamKey, ending: StreamEnding) {
        let reason = match ending {
            StreamEnding::ResetForFault(reason) => reason,
            _ => Reason::CANCEL,
        };
        self.reset(key, reason, ending);
    }

    /// A stream on which something may still come.
    fn live(&self, number: u32) -> Option<StreamKey> {
        let key = self.streams.find(number)?;
        self.streams.get(key).filter(|stream| !stream.is_closed()).map(|_| key)
    }

    /// None of its own is ever opened by a service, and none of ours that we did not open (§5.1).
    fn expect_opened(&self, number: u32) -> Result<(), Reason> {
        if self.was_opened(number) { Ok(()) } else { Err(Reason::PROTOCOL_ERROR) }
    }
}

fn expect_connection(head: FrameHead) -> Result<(), Reason> {
    if head.stream == 0 { Ok(()) } else { Err(Reason::PROTOCOL_ERROR) }
}

fn expect_length(head: FrameHead, length: usize) -> Result<(), Reason> {
    if head.length == length { Ok(()) } else { Err(Reason::FRAME_SIZE_ERROR) }
}

fn end(head: FrameHead) -> StreamEnd {
    if head.has(frames::END_STREAM) { StreamEnd::Here } else { StreamEnd::Later }
}

/// What each frame of a head counts at least, past the first: 256 of them are as much as is borne.
const LEAST_COUNTED: usize = 1024;

/// A thousand answers to PING.
const OWED_BYTES: usize = 16 * 1024;
